#!/usr/bin/env bash
# EBAP, Flink SQL and Spark on one broker and one topic, one after the other, answers compared: `make bench-peers`.
#
#   run.sh [t1] [t3] [d1] [l1]     default: t1 t3 d1 l1
#   run.sh clean                   deletes the broker's data and the right answers
#
# Installs what is missing, fills the topic where it is not full, appends one JSON line a run to RESULTS, stops
# what it started. Then `table.py` makes the table and the picture of benchmarks/README.md from the newest run.
# Env: EBAP_BIN, BENCH_BIN   the release binaries (make bench-peers builds them)
#      ENGINES               default "ceiling ebap flink spark"
#      RESULTS               default results.jsonl beside this script
#      RUNS (2), BENCH_EVENTS (5000000), LIVE_RATE (20000), KAFKA_PORT (19592), FLINK_REST_PORT (18981)
set -u -o pipefail
ST_NAME=peers
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh" || exit 1
ENGINES="${ENGINES:-ceiling ebap flink spark}"
RESULTS="${RESULTS:-$BENCH_DIR/results.jsonl}"

if [ "${1:-}" = clean ]; then
  bash "$STACK_DIR/kafka.sh" clean
  rm -f "$EXPECTED"
  exit 0
fi
[ $# -gt 0 ] || set -- t1 t3 d1 l1
for name in "$@"; do
  case "$name" in t1 | t3 | d1 | l1) ;; *) st_usage ;; esac
done
[ -x "${BENCH_BIN:-}" ] || st_die "BENCH_BIN is not a program: make bench-peers sets it"
export BENCH_BIN
wants() { case " $ENGINES " in *" $1 "*) return 0 ;; esac; return 1; }

for name in flink spark; do
  ! wants "$name" || bash "$BENCH_DIR/install.sh" "$name" || exit 1
done
# Ours alone: it runs on a port that nothing else of the project uses.
trap 'bash "$STACK_DIR/kafka.sh" stop' EXIT
trap 'exit 130' INT TERM
bash "$STACK_DIR/kafka.sh" start || exit 1

bench() { "$BENCH_BIN" "$@" --bootstrap "$BOOTSTRAP" --topic "$TOPIC" --rows "$EVENTS" --expected "$EXPECTED" --runs "$RUNS"; }
measure() { # ENGINE JOB
  st_log "$1 $2"
  case "$1" in
    ceiling) bench ceiling ;;
    ebap) bench "$2" --rate "$LIVE_RATE" --seconds "$LIVE_SECONDS" --warm-up "$LIVE_WARM_UP" ;;
    *) bash "$BENCH_DIR/$1.sh" "$2" ;;
  esac
}

bench topic >&2 || st_die "the topic could not be filled"
bash "$STACK_DIR/kafka.sh" topic "$TOPIC-live" 4 >&2 || exit 1
status=0
! wants ceiling || measure ceiling "" | tee -a "$RESULTS"
for job in "$@"; do
  for engine in ebap flink spark; do
    wants "$engine" || continue
    measure "$engine" "$job" | tee -a "$RESULTS" || { status=1; st_log "$engine $job failed"; }
  done
done
exit "$status"
