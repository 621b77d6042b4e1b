# shellcheck shell=bash
# What the scripts of this folder share: where things lie, and fetching from public registries.
# Sourced, not run. Starting, stopping by PID file, Java and Maven are those of tests/stack.
BENCH_DIR="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd -P)"
STACK_DIR="${EBAP_STACK_DIR:-$BENCH_DIR/../../tests/stack}"
ST_NAME="${ST_NAME:-peers}"
# A broker of its own: neither that of `make stack-up` nor one of the tests.
export KAFKA_PORT="${KAFKA_PORT:-19592}" KAFKA_NODES=1
# shellcheck source=../../tests/stack/lib.sh
. "$STACK_DIR/lib.sh" || exit 1

PEERS_HOME="$STACK_HOME/peers"
mkdir -p "$PEERS_HOME/run" || exit 1

# The one place that names versions. Spark: the newest whose Kafka connector is on Maven Central.
FLINK_VERSION="${FLINK_VERSION:-2.3.0}"
FLINK_KAFKA_VERSION="${FLINK_KAFKA_VERSION:-5.0.0-2.2}"
SPARK_VERSION="${SPARK_VERSION:-4.2.0}"
FLINK_DIST="$PEERS_HOME/flink-$FLINK_VERSION-kafka-$FLINK_KAFKA_VERSION"
SPARK_DIST="$PEERS_HOME/spark-$SPARK_VERSION"

BOOTSTRAP="127.0.0.1:$KAFKA_PORT"
TOPIC="${BENCH_TOPIC:-bench-events}"
EVENTS="${BENCH_EVENTS:-5000000}"
EXPECTED="$PEERS_HOME/expected-$TOPIC-$EVENTS.json"
RUNS="${RUNS:-2}"
# l1: JIT compilers get the warm-up, then it is measured.
LIVE_RATE="${LIVE_RATE:-20000}" LIVE_WARM_UP="${LIVE_WARM_UP:-20}" LIVE_SECONDS="${LIVE_SECONDS:-40}"
# One name for all lines of one run of run.sh.
BENCH_SESSION="${BENCH_SESSION:-$(date -u +%Y-%m-%dT%H:%M:%SZ)}"
export FLINK_VERSION SPARK_VERSION FLINK_DIST SPARK_DIST BOOTSTRAP TOPIC EVENTS EXPECTED RUNS
export LIVE_RATE LIVE_WARM_UP LIVE_SECONDS BENCH_SESSION STACK_HOME

# Flink and Spark are both meant for Java 17 and 21, so the newest Java there is may not do.
peer_java() { # sets JAVA
  local candidate version
  for candidate in "${JAVA_HOME:+$JAVA_HOME/bin/java}" "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
    [ -n "$candidate" ] && [ -x "$candidate" ] || continue
    version="$("$candidate" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)"
    case "$version" in 17 | 21) JAVA="$(readlink -f "$candidate")"; PEER_JAVA="$version"; export JAVA PEER_JAVA; return 0 ;; esac
  done
  st_need javac openjdk-17-jdk-headless
  JAVA="$(readlink -f /usr/lib/jvm/java-17-openjdk-*/bin/java | head -n 1)"; PEER_JAVA=17
  export JAVA PEER_JAVA
}

peer_python() { # Python 3 and pip
  st_need python3 python3
  python3 -m pip --version >/dev/null 2>&1 || st_need pip3 python3-pip
}

# peer_jars FOLDER TRANSITIVE GROUP:ARTIFACT:VERSION...: these jars, and with `true` what they need to run.
peer_jars() {
  local folder="$1" transitive="$2" coordinate group artifact version text='' tmp; shift 2
  for coordinate in "$@"; do
    IFS=: read -r group artifact version <<<"$coordinate"
    text+="<dependency><groupId>$group</groupId><artifactId>$artifact</artifactId><version>$version</version></dependency>"
  done
  tmp="$(mktemp -d "$PEERS_HOME/.jars.XXXXXX")"
  cat >"$tmp/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>ebap.bench</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>$text</dependencies></project>
POM
  mkdir -p "$folder"
  local exclude=true; [ "$transitive" = true ] && exclude=false
  st_mvn -f "$tmp/pom.xml" "$ST_MVN_DEP:copy-dependencies" -DincludeScope=runtime "-DexcludeTransitive=$exclude" \
    "-DoutputDirectory=$folder" || { rm -rf "$tmp"; st_die "Maven could not fetch $*"; }
  rm -rf "$tmp"
}
