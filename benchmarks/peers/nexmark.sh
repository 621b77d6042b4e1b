#!/usr/bin/env bash
# Nexmark on EBAP, its answers compared, then on Flink SQL: `make bench-nexmark`.
#
#   nexmark.sh [q0] [q1] ...     default: all
#
# Fills the topic where it is not full, appends one JSON line a run to RESULTS, stops what it started. Then
# `nexmark_table.py` makes the table of benchmarks/README.md from the newest run.
# Env: EBAP_BIN, BENCH_BIN   the release binaries (make bench-nexmark builds them)
#      ENGINES               default "ebap flink"
#      RESULTS               default nexmark.jsonl beside this script
#      RUNS (2), BENCH_EVENTS (1000000), KAFKA_PORT (19592), FLINK_REST_PORT (18981)
set -u -o pipefail
ST_NAME=nexmark
export BENCH_EVENTS="${BENCH_EVENTS:-1000000}" BENCH_TOPIC="bench-nexmark-${BENCH_EVENTS:-1000000}"
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh" || exit 1
ENGINES="${ENGINES:-ebap flink}"
RESULTS="${RESULTS:-$BENCH_DIR/nexmark.jsonl}"

[ $# -gt 0 ] || set -- q0 q1 q2 q3 q4 q5 q7 q8 q9 q11 q12 q14 q15 q16 q17 q18 q19 q20 q21 q22
for name in "$@"; do
  [ -f "$BENCH_DIR/../nexmark/$name.flink.sql" ] || st_usage
done
[ -x "${BENCH_BIN:-}" ] || st_die "BENCH_BIN is not a program: make bench-nexmark sets it"
wants() { case " $ENGINES " in *" $1 "*) return 0 ;; esac; return 1; }

! wants flink || bash "$BENCH_DIR/install.sh" flink || exit 1
# Ours alone: it runs on a port that nothing else of the project uses.
trap 'bash "$STACK_DIR/kafka.sh" stop' EXIT
trap 'exit 130' INT TERM
bash "$STACK_DIR/kafka.sh" start || exit 1

bench() { "$BENCH_BIN" "$@" --bootstrap "$BOOTSTRAP" --rows "$EVENTS" --runs "$RUNS"; }
queries="$*"
status=0
bench nexmark-topic >&2 || st_die "the topic could not be filled"
if wants ebap; then
  st_log "ebap $queries"
  bench nexmark --queries "${queries// /,}" | tee -a "$RESULTS" || status=1
fi
if wants flink; then
  for name in "$@"; do
    st_log "flink $name"
    bash "$BENCH_DIR/flink.sh" "$name" | tee -a "$RESULTS" || { status=1; st_log "flink $name failed"; }
  done
fi
exit "$status"
