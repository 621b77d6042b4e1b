#!/usr/bin/env bash
# Spark Structured Streaming on the benchmark's topic: one process, local[2], 4 GiB heap, state in memory.
# The topic must be there: see run.sh.
#
#   spark.sh t1|t3|d1|l1...   runs each job RUNS times in a session of its own, prints one JSON line a run
#
# Run 1 is on a JVM that has just started, the later ones on the warm one. Time: from start() to the end of the
# query. CPU and memory: the process tree.
# Env: KAFKA_PORT, RUNS (2)
set -u -o pipefail
ST_NAME=spark
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh" || exit 1
export SPARK_RUN="$PEERS_HOME/run/spark-$$"

clean() { rm -rf "$SPARK_RUN"; }

job() { # JOB
  local log="$PEERS_HOME/run/spark-$1.log"
  mkdir -p "$SPARK_RUN"
  (cd "$SPARK_RUN" && JAVA_HOME="$(dirname "$(dirname "$JAVA")")" PYTHONPATH="$SPARK_DIST/python" python3 "$BENCH_DIR/spark_job.py" "$1" 2>"$log") ||
    { grep -vE '^\s+at ' "$log" | tail -15 >&2; st_die "job $1; log: $log"; }
  clean
}

[ $# -gt 0 ] || st_usage
bash "$BENCH_DIR/install.sh" spark || exit 1
peer_java
trap clean EXIT
trap 'exit 130' INT TERM
for name in "$@"; do
  case "$name" in t1 | t3 | d1 | l1) job "$name" ;; *) st_usage ;; esac
done
