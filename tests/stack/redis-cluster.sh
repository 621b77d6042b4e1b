#!/usr/bin/env bash
# A Redis Cluster of three masters, loopback only, of the servers that redis.sh starts.
#
#   redis-cluster.sh start           start and wait until all slots are served
#   redis-cluster.sh stop | status   by PID files; status exits 3 when one is not running
#   redis-cluster.sh cli ARGS...     redis-cli -c on the first of them
#   redis-cluster.sh clean           stop and delete the data
#
# Env: STACK_HOME, REDIS_AOF, REDIS_MAXMEMORY   as redis.sh
#      REDIS_CLUSTER_PORT   the first of three ports on 127.0.0.1 (default 16480); 10000 above each is the bus
ST_NAME=redis-cluster
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"

REDIS_CLUSTER_PORT="${REDIS_CLUSTER_PORT:-16480}"
PORTS=("$REDIS_CLUSTER_PORT" "$((REDIS_CLUSTER_PORT + 1))" "$((REDIS_CLUSTER_PORT + 2))")

each() {
  local port
  for port in "${PORTS[@]}"; do REDIS_CLUSTER=yes REDIS_PORT="$port" bash "$ST_DIR/redis.sh" "$@" || return; done
}
cli() { redis-cli -c -h 127.0.0.1 -p "$REDIS_CLUSTER_PORT" "$@"; }
# Every node has to know by itself that all slots are served.
served() {
  local port
  for port in "${PORTS[@]}"; do
    redis-cli -h 127.0.0.1 -p "$port" CLUSTER INFO | tr -d '\r' | grep -qx cluster_state:ok || return 1
  done
}

start() {
  local port i
  each start || exit
  # shellcheck disable=SC2034
  st_lock "redis-cluster-$REDIS_CLUSTER_PORT" 120
  served && return 0
  redis-cli --cluster create "${PORTS[@]/#/127.0.0.1:}" --cluster-replicas 0 --cluster-yes >/dev/null ||
    st_die "the cluster could not be created"
  for ((i = 0; i < 300; i++)); do served && { st_log "ready: ${PORTS[*]/#/127.0.0.1:}"; return 0; }; sleep 0.1; done
  st_die "the cluster does not serve all slots"
}

case "${1:-}" in
  install) each install ;;
  start) start ;;
  stop | status | clean) each "$1" ;;
  cli) shift; cli "$@" ;;
  *) st_usage ;;
esac
