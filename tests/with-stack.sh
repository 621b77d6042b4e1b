#!/usr/bin/env bash
# Runs a command with services around it, and stops them, and deletes what they kept, however it ends.
#
#   with-stack.sh "redis kafka" -- cargo test …
#
# The ports are the ones that the tests of the connectors look at; not those of `make stack-up`, so
# that both may run.
set -eu -o pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
stack="${EBAP_STACK_DIR:-$here/stack}"
read -r -a services <<<"$1"
[ "${2:-}" = -- ] || { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
shift 2

export REDIS_PORT=16479 REDIS_CLUSTER_PORT=16480 REDIS_TLS_PORT=16484 REDIS_SENTINEL_PORT=16487
export MINIO_PORT=19100 ICEBERG_REST_PORT=18281 KAFKA_PORT="${KAFKA_PORT:-19192}"
export PROMETHEUS_PORT=19390 ALERTMANAGER_PORT=19393
export POSTGRES_PORT=15532 CONNECT_PORT=18183 SCHEMA_REGISTRY_PORT=18189

started=()
stop_all() {
  local i
  for ((i = ${#started[@]} - 1; i >= 0; i--)); do bash "$stack/${started[i]}.sh" clean || true; done
}
trap stop_all EXIT
trap 'exit 130' INT TERM
for service in "${services[@]}"; do
  started+=("$service")
  bash "$stack/$service.sh" start
done
"$@"
