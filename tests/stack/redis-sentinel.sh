#!/usr/bin/env bash
# A Redis with a replica, and one sentinel that watches them under the name "ebap".
#
#   redis-sentinel.sh start          start and wait until the sentinel knows the replica
#   redis-sentinel.sh stop | status | clean
#   redis-sentinel.sh cli ARGS...    redis-cli on the sentinel
#
# Env: STACK_HOME
#      REDIS_SENTINEL_PORT   on 127.0.0.1 (default 16487); the master and the replica are on the two ports before it
ST_NAME=redis-sentinel
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"

PORT="${REDIS_SENTINEL_PORT:-16487}"
MASTER=$((PORT - 2))
REPLICA=$((PORT - 1))
INST="$STACK_HOME/data/redis-sentinel-$PORT"
PIDFILE="$INST/sentinel.pid"
LOGFILE="$INST/sentinel.log"

redis() { local port="$1"; shift; REDIS_PORT="$port" bash "$ST_DIR/redis.sh" "$@"; }
cli() { redis-cli -h 127.0.0.1 -p "$PORT" "$@"; }
knows_replica() { cli SENTINEL REPLICAS ebap | grep -qx "$REPLICA"; }

start() {
  redis "$MASTER" start && redis "$REPLICA" start || exit
  st_lock "redis-sentinel-$PORT" 120
  if st_pid "$PIDFILE" >/dev/null; then st_log "already running"; return 0; fi
  st_need_port_free "$PORT"
  redis "$REPLICA" cli REPLICAOF 127.0.0.1 "$MASTER" >/dev/null
  mkdir -p "$INST"
  cat >"$INST/sentinel.conf" <<P
bind 127.0.0.1
port $PORT
dir "$INST"
sentinel monitor ebap 127.0.0.1 $MASTER 1
sentinel down-after-milliseconds ebap 1000
sentinel failover-timeout ebap 5000
P
  st_spawn "$PIDFILE" "$LOGFILE" redis-server "$INST/sentinel.conf" --sentinel
  st_wait Sentinel "$PIDFILE" "$LOGFILE" 60 knows_replica
  st_log "ready: 127.0.0.1:$PORT"
}

both() { local status=0; redis "$MASTER" "$1" || status=$?; redis "$REPLICA" "$1" || status=$?; return $status; }

case "${1:-}" in
  install) redis "$MASTER" install ;;
  start) start ;;
  stop) st_stop "$PIDFILE" Sentinel 20; both stop ;;
  status) both status && st_status "$PIDFILE" "Sentinel on 127.0.0.1:$PORT" ;;
  clean) st_stop "$PIDFILE" Sentinel 20; both clean; rm -rf "$INST" ;;
  cli) shift; cli "$@" ;;
  *) st_usage ;;
esac
