#!/usr/bin/env bash
# Real Apache Kafka (KRaft, no ZooKeeper) from Maven Central, loopback only.
#
#   kafka.sh install              fetch the jars (idempotent)
#   kafka.sh start                start and wait until ready (installs if needed)
#   kafka.sh stop | status        by PID file; status exits 3 when not running
#   kafka.sh clean                stop and delete this instance's data
#   kafka.sh bootstrap            print the bootstrap.servers value
#   kafka.sh topic NAME [PARTITIONS [RF [key=value ...]]]   create if missing
#   kafka.sh run CLASS ARGS...    any Kafka tool class, e.g.
#       kafka.sh run org.apache.kafka.tools.TopicCommand --bootstrap-server "$(kafka.sh bootstrap)" --list
#   kafka.sh stop-node N | kill-node N | start-node N | pause-node N | resume-node N
#
# Env: STACK_HOME   jars and data               (default $HOME/.cache/ebap-stack)
#      KAFKA_PORT   first client port           (default 19092; N nodes use N ports,
#                   controllers use KAFKA_PORT+100 onward)
#      KAFKA_NODES  1 or 3                      (default 1; each node is controller+broker,
#                   so any one of 3 may be lost)
#      KAFKA_HEAP   heap of each broker         (default 512m)
#      KAFKA_AUTO_CREATE  auto.create.topics    (default false)
#      KAFKA_SESSION_MS   broker session timeout    (default 6000)
#      KAFKA_EXTRA_CONF   file with more broker properties, read at each start
#      KAFKA_VERSION      (default below)
# Give the same KAFKA_PORT and KAFKA_NODES to stop/status as to start; instances with
# other ports have their own data and may run side by side.
ST_NAME=kafka
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh" || exit 1

KAFKA_VERSION="${KAFKA_VERSION:-4.3.1}"
KAFKA_PORT="${KAFKA_PORT:-19092}"
KAFKA_NODES="${KAFKA_NODES:-1}"
KAFKA_HEAP="${KAFKA_HEAP:-512m}"
KAFKA_START_TIMEOUT="${KAFKA_START_TIMEOUT:-120}"
LOG4J_VERSION=2.25.3
DIST="$STACK_HOME/kafka-$KAFKA_VERSION"
INST="$STACK_HOME/data/kafka-$KAFKA_PORT-n$KAFKA_NODES"

case "$KAFKA_NODES" in 1 | 3) ;; *) st_die "KAFKA_NODES must be 1 or 3" ;; esac

port() { echo $((KAFKA_PORT + $1 - 1)); }
cport() { echo $((KAFKA_PORT + 100 + $1 - 1)); }
nodes() { seq 1 "$KAFKA_NODES"; }
pidfile() { echo "$INST/node-$1.pid"; }
logfile() { echo "$INST/node-$1.log"; }
bootstrap() { local n s=; for n in $(nodes); do s="$s,127.0.0.1:$(port "$n")"; done; echo "${s#,}"; }

install() {
  [ -f "$DIST/.ok" ] && return 0
  st_lock "kafka-install"
  [ -f "$DIST/.ok" ] && { st_unlock; return 0; }
  st_java 17
  st_log "fetching Kafka $KAFKA_VERSION"
  local tmp; tmp="$(mktemp -d "$STACK_HOME/.kafka-install.XXXXXX")"
  cat >"$tmp/pom.xml" <<POM
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>ebap.stack</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$KAFKA_VERSION</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$KAFKA_VERSION</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>connect-runtime</artifactId><version>$KAFKA_VERSION</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>connect-json</artifactId><version>$KAFKA_VERSION</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>connect-transforms</artifactId><version>$KAFKA_VERSION</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>$LOG4J_VERSION</version></dependency>
  </dependencies>
</project>
POM
  if ! st_mvn -f "$tmp/pom.xml" "$ST_MVN_DEP:copy-dependencies" -DincludeScope=runtime "-DoutputDirectory=$tmp/libs"; then
    rm -rf "$tmp"; st_die "Kafka $KAFKA_VERSION could not be fetched with Maven"
  fi
  [ -f "$tmp/libs/kafka_2.13-$KAFKA_VERSION.jar" ] || { rm -rf "$tmp"; st_die "the Kafka jar is missing after the fetch"; }
  log4j_conf INFO STDOUT >"$tmp/log4j2.xml"
  log4j_conf WARN STDERR >"$tmp/log4j2-tools.xml"
  touch "$tmp/.ok"; chmod 755 "$tmp"
  rm -rf "$DIST"; mv "$tmp" "$DIST"
  st_unlock
  st_log "installed Kafka $KAFKA_VERSION ($(du -sm "$DIST" | cut -f1) MiB)"
}

log4j_conf() { # LEVEL STDOUT|STDERR
  cat <<XML
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders>
    <Console name="C" target="SYSTEM_${2#STD}"><PatternLayout pattern="%d{ISO8601} %p [%t] %m (%c{1})%n"/></Console>
  </Appenders>
  <Loggers>
    <Root level="$1"><AppenderRef ref="C"/></Root>
    <Logger name="kafka.request.logger" level="WARN"/>
    <Logger name="state.change.logger" level="WARN"/>
    <Logger name="org.apache.kafka.common.utils.AppInfoParser" level="WARN"/>
    <Logger name="org.apache.kafka.common.config.AbstractConfig" level="WARN"/>
  </Loggers>
</Configuration>
XML
}

jvm() { # JVM arguments shared by every Kafka process
  JVM=("$JAVA" -XX:+UseSerialGC -Djava.awt.headless=true -Djava.net.preferIPv4Stack=true -cp "$DIST/libs/*")
}

run_tool() {
  install; st_java 17; jvm
  exec "${JVM[@]:0:1}" -Xmx256m -XX:TieredStopAtLevel=1 -Xshare:auto "-Dlog4j2.configurationFile=$DIST/log4j2-tools.xml" \
    "${JVM[@]:1}" "$@"
}

write_conf() { # NODE
  local n="$1" i voters= rf="$KAFKA_NODES" isr=1
  [ "$rf" -eq 3 ] && isr=2
  for i in $(nodes); do voters="$voters,$i@127.0.0.1:$(cport "$i")"; done
  mkdir -p "$INST/node-$n"
  {
    cat <<CONF
process.roles=broker,controller
node.id=$n
controller.quorum.voters=${voters#,}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$(port "$n"),CONTROLLER://127.0.0.1:$(cport "$n")
advertised.listeners=PLAINTEXT://127.0.0.1:$(port "$n")
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$INST/node-$n/log
auto.create.topics.enable=${KAFKA_AUTO_CREATE:-false}
num.partitions=1
default.replication.factor=$rf
offsets.topic.num.partitions=8
offsets.topic.replication.factor=$rf
transaction.state.log.num.partitions=8
transaction.state.log.replication.factor=$rf
transaction.state.log.min.isr=$isr
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=$rf
share.coordinator.state.topic.min.isr=$isr
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=4
background.threads=4
log.cleaner.dedupe.buffer.size=16777216
log.retention.hours=24
CONF
    # a killed broker is noticed, and may register again, after the session timeout
    printf 'broker.heartbeat.interval.ms=1000\nbroker.session.timeout.ms=%s\n' "${KAFKA_SESSION_MS:-6000}"
    if [ -n "${KAFKA_EXTRA_CONF:-}" ]; then
      cat "$KAFKA_EXTRA_CONF" || st_die "cannot read KAFKA_EXTRA_CONF=$KAFKA_EXTRA_CONF"
    fi
  } >"$INST/node-$n/server.properties"
}

format() { # NODE: storage format, once for each data directory
  local n="$1" out
  [ -f "$INST/node-$n/log/meta.properties" ] && return 0
  if [ ! -s "$INST/cluster.id" ]; then
    echo "E$(head -c 32 /dev/urandom | base64 | tr -d '+/=\n' | cut -c1-20)w" >"$INST/cluster.id"
  fi
  out="$(run_tool kafka.tools.StorageTool format --ignore-formatted -t "$(cat "$INST/cluster.id")" \
    -c "$INST/node-$n/server.properties" 2>&1)" || { printf '%s\n' "$out" >&2; st_die "storage format of node $n failed"; }
}

spawn_node() { # NODE
  local n="$1"
  write_conf "$n"; format "$n"
  st_java 17; jvm
  st_need_port_free "$(port "$n")"; st_need_port_free "$(cport "$n")"
  st_spawn "$(pidfile "$n")" "$(logfile "$n")" "${JVM[@]:0:1}" -Xms128m "-Xmx$KAFKA_HEAP" \
    "-Dlog4j2.configurationFile=$DIST/log4j2.xml" "${JVM[@]:1}" kafka.Kafka "$INST/node-$n/server.properties"
}

# Kafka logs this after the broker has been unfenced, so clients may connect.
ready() { grep -q 'Kafka Server started' "$(logfile "$1")" && st_port_open "$(port "$1")"; }

start() {
  local n
  install
  mkdir -p "$INST"
  st_lock "kafka-$KAFKA_PORT-n$KAFKA_NODES"
  for n in $(nodes); do st_pid "$(pidfile "$n")" >/dev/null || spawn_node "$n"; done
  for n in $(nodes); do
    st_wait "kafka node $n" "$(pidfile "$n")" "$(logfile "$n")" "$KAFKA_START_TIMEOUT" ready "$n"
  done
  st_unlock
  st_log "ready: $(bootstrap)"
}

node_arg() { case "${1:-}" in [1-3]) [ "$1" -le "$KAFKA_NODES" ] || st_die "no node $1" ;; *) st_die "which node? (1..$KAFKA_NODES)" ;; esac }

case "${1:-}" in
  install) install ;;
  start) start ;;
  stop)
    # all nodes are asked at once: a node waits for a controller quorum while it ends
    for n in $(nodes); do p="$(st_pid "$(pidfile "$n")")" && kill -s TERM "$p"; done
    for n in $(nodes); do st_stop "$(pidfile "$n")" "node $n" 30; done ;;
  status) rc=0; for n in $(nodes); do st_status "$(pidfile "$n")" "kafka node $n (127.0.0.1:$(port "$n"))" || rc=3; done; exit $rc ;;
  clean) for n in $(nodes); do st_stop "$(pidfile "$n")" "node $n" 5 KILL; done; rm -rf "$INST" ;;
  bootstrap) bootstrap ;;
  topic)
    [ -n "${2:-}" ] || st_die "usage: kafka.sh topic NAME [PARTITIONS [RF [key=value ...]]]"
    name="$2" parts="${3:-1}" rf="${4:-$KAFKA_NODES}"; shift; shift; [ $# -gt 0 ] && shift; [ $# -gt 0 ] && shift
    cfg=(); for kv in "$@"; do cfg+=(--config "$kv"); done
    run_tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$(bootstrap)" --create --if-not-exists \
      --topic "$name" --partitions "$parts" --replication-factor "$rf" ${cfg[@]+"${cfg[@]}"} ;;
  run) shift; [ $# -gt 0 ] || st_die "usage: kafka.sh run CLASS ARGS..."; run_tool "$@" ;;
  start-node) node_arg "${2:-}"; install; mkdir -p "$INST"; st_pid "$(pidfile "$2")" >/dev/null || spawn_node "$2"
    st_wait "kafka node $2" "$(pidfile "$2")" "$(logfile "$2")" "$KAFKA_START_TIMEOUT" ready "$2" ;;
  stop-node) node_arg "${2:-}"; st_stop "$(pidfile "$2")" "node $2" 30 ;;
  kill-node) node_arg "${2:-}"; st_stop "$(pidfile "$2")" "node $2" 5 KILL ;;
  pause-node) node_arg "${2:-}"; p="$(st_pid "$(pidfile "$2")")" || st_die "node $2 is not running"; kill -s STOP "$p" ;;
  resume-node) node_arg "${2:-}"; p="$(st_pid "$(pidfile "$2")")" || st_die "node $2 is not running"; kill -s CONT "$p" ;;
  *) st_usage ;;
esac
