#!/usr/bin/env bash
# Redis from Debian's package redis-server, loopback only.
#
#   redis.sh install           install the package if redis-server is missing (root)
#   redis.sh start             start and wait until it answers PING
#   redis.sh stop | status     by PID file; status exits 3 when not running
#   redis.sh kill              SIGKILL, as when it crashes
#   redis.sh cli ARGS...       redis-cli on this instance
#   redis.sh clean             stop and delete its data
#
# Env: STACK_HOME      (default $HOME/.cache/ebap-stack)
#      REDIS_PORT      on 127.0.0.1 (default 16379)
#      REDIS_PASSWORD  requirepass (default none)
#      REDIS_AOF       yes or no: append-only file (default no)
#      REDIS_MAXMEMORY (default 256mb, no eviction)
#      REDIS_CLUSTER   yes or no: a node of a cluster (default no), see redis-cluster.sh
#      REDIS_TLS       yes or no: a port with TLS besides, and a user (default no), see redis-tls.sh
ST_NAME=redis
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"

REDIS_PASSWORD="${REDIS_PASSWORD:-}"
REDIS_AOF="${REDIS_AOF:-no}"
REDIS_MAXMEMORY="${REDIS_MAXMEMORY:-256mb}"
REDIS_CLUSTER="${REDIS_CLUSTER:-no}"
REDIS_TLS="${REDIS_TLS:-no}"
INST="$STACK_HOME/data/redis-$REDIS_PORT"
PIDFILE="$INST/redis.pid"
LOGFILE="$INST/redis.log"

install() { st_need redis-server redis-server; }

[ -z "$REDIS_PASSWORD" ] || export REDISCLI_AUTH="$REDIS_PASSWORD"
cli() { redis-cli -h 127.0.0.1 -p "$REDIS_PORT" "$@"; }
pong() { [ "$(cli PING 2>/dev/null)" = PONG ]; }

# An issuer of our own, and a certificate of it for 127.0.0.1.
start() {
  install
  st_lock "redis-$REDIS_PORT" 120
  if st_pid "$PIDFILE" >/dev/null; then st_log "already running"; return 0; fi
  st_need_port_free "$REDIS_PORT"
  mkdir -p "$INST/db"
  local auth="" esc
  if [ -n "$REDIS_PASSWORD" ]; then
    esc="${REDIS_PASSWORD//\\/\\\\}"
    auth="requirepass \"${esc//\"/\\\"}\""
  fi
  (umask 077; cat >"$INST/redis.conf") <<P
bind 127.0.0.1
port $REDIS_PORT
protected-mode yes
$([ "$REDIS_CLUSTER" = yes ] || echo "databases 64")
daemonize no
dir "$INST/db"
appendonly $REDIS_AOF
maxmemory $REDIS_MAXMEMORY
maxmemory-policy noeviction
save 300 1000
cluster-enabled $REDIS_CLUSTER
$auth
P
  if [ "$REDIS_TLS" = yes ]; then
    st_need openssl openssl
    st_need_port_free "$REDIS_TLS_PORT"
    st_certificates "$INST/tls" redis
    cat >>"$INST/redis.conf" <<P
tls-port $REDIS_TLS_PORT
tls-cert-file "$INST/tls/redis.crt"
tls-key-file "$INST/tls/redis.key"
tls-ca-cert-file "$INST/tls/ca.crt"
tls-auth-clients no
P
    # The password as its digest, so that it may have any character.
    printf 'user %s on #%s ~ebap:* ~tls:* +@all -@dangerous -@admin\n' "${REDIS_USER:?}" \
      "$(printf %s "${REDIS_USER_PASSWORD:?}" | sha256sum | cut -d ' ' -f 1)" >>"$INST/redis.conf"
  fi
  st_spawn "$PIDFILE" "$LOGFILE" redis-server "$INST/redis.conf"
  st_wait Redis "$PIDFILE" "$LOGFILE" 60 pong
  st_log "ready: 127.0.0.1:$REDIS_PORT"
}

case "${1:-}" in
  install) install ;;
  start) start ;;
  stop) st_stop "$PIDFILE" Redis 20 ;;
  kill) st_stop "$PIDFILE" Redis 20 KILL ;;
  status) st_status "$PIDFILE" "Redis on 127.0.0.1:$REDIS_PORT" ;;
  clean) st_stop "$PIDFILE" Redis 20; rm -rf "$INST" ;;
  cli) shift; cli "$@" ;;
  *) st_usage ;;
esac
