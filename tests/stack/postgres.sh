#!/usr/bin/env bash
# PostgreSQL from Debian's package postgresql, loopback only, with logical replication for Debezium.
#
#   postgres.sh install           install the package if there is no server (root)
#   postgres.sh start             make the data directory, the role and the database once; start and wait
#   postgres.sh stop | status     by PID file; status exits 3 when not running
#   postgres.sh psql ARGS...      psql as the application's role on its database
#   postgres.sh url               print the address, with role and password
#   postgres.sh clean             stop and delete its data
#
# Env: STACK_HOME      (default $HOME/.cache/ebap-stack)
#      POSTGRES_PORT   on 127.0.0.1 (default 15432)
#      POSTGRES_DB, POSTGRES_USER, POSTGRES_PASSWORD  of the application (default ebap, each)
#      POSTGRES_RUN_USER  whom the server runs as where this runs as root (default postgres); where that
#                      user cannot pass through STACK_HOME the data lies in /var/lib/ebap-stack
ST_NAME=postgres
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh" || exit 1

RUN_USER="${POSTGRES_RUN_USER:-postgres}"
INST="$STACK_HOME/data/postgres-$POSTGRES_PORT"
PIDFILE="$INST/postgres.pid"
LOGFILE="$INST/postgres.log"

find_bin() { # sets BIN to the folder of the newest server
  local folder
  BIN=
  for folder in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V -r) "$(pg_config --bindir 2>/dev/null || true)"; do
    if [ -n "$folder" ] && [ -x "$folder/postgres" ] && [ -x "$folder/initdb" ]; then BIN="$folder"; return 0; fi
  done
  return 1
}

install() {
  find_bin && return 0
  st_need postgres postgresql
  find_bin || st_die "postgresql is installed, but its server was not found"
}

as_server() { # a command as the user of the server, who is never root
  if [ "$(id -u)" -eq 0 ]; then
    setpriv --reuid="$RUN_USER" --regid="$(id -g "$RUN_USER")" --init-groups --reset-env -- "$@"
  else "$@"; fi
}

place_data() { # sets DATA to a folder that the server's user can reach
  local root="$INST"
  mkdir -p "$INST"
  if [ "$(id -u)" -eq 0 ]; then
    id "$RUN_USER" >/dev/null 2>&1 || st_die "no system user $RUN_USER to run the server as (set POSTGRES_RUN_USER)"
    as_server test -x "$INST" || root="/var/lib/ebap-stack/postgres-$POSTGRES_PORT"
    mkdir -p "$root"
  fi
  DATA="$root/data"
  if [ "$(id -u)" -eq 0 ] && [ ! -d "$DATA" ]; then
    mkdir -m 700 "$DATA" && chown "$RUN_USER:" "$DATA"
    as_server test -w "$DATA" || st_die "user $RUN_USER cannot write $DATA"
  fi
}

admin() { PGPASSWORD=postgres psql -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$POSTGRES_PORT" -U postgres -d postgres "$@"; }
app() { PGPASSWORD="$POSTGRES_PASSWORD" psql -X -h 127.0.0.1 -p "$POSTGRES_PORT" -U "$POSTGRES_USER" -d "$POSTGRES_DB" "$@"; }
# A server that recovers answers pg_isready before it takes statements.
ready() { admin -c 'SELECT 1' >/dev/null 2>&1; }
url() { echo "postgresql://$POSTGRES_USER:$POSTGRES_PASSWORD@127.0.0.1:$POSTGRES_PORT/$POSTGRES_DB"; }

init_data() {
  [ ! -f "$DATA/PG_VERSION" ] || return 0
  local password; password="$(mktemp)"
  echo postgres >"$password"; chmod 644 "$password"
  as_server "$BIN/initdb" -D "$DATA" -U postgres --pwfile="$password" --auth=scram-sha-256 --encoding=UTF8 \
    --locale=C.UTF-8 --no-sync >"$INST/initdb.log" 2>&1 </dev/null ||
    { cat "$INST/initdb.log" >&2; rm -f "$password"; st_die "initdb failed"; }
  rm -f "$password"
}

init_database() {
  [ "$(admin -At -c "SELECT count(*) FROM pg_roles WHERE rolname = '$POSTGRES_USER'")" = 1 ] ||
    admin -c "CREATE ROLE \"$POSTGRES_USER\" LOGIN REPLICATION PASSWORD '$POSTGRES_PASSWORD'" || st_die "cannot create the role"
  [ "$(admin -At -c "SELECT count(*) FROM pg_database WHERE datname = '$POSTGRES_DB'")" = 1 ] ||
    admin -c "CREATE DATABASE \"$POSTGRES_DB\" OWNER \"$POSTGRES_USER\"" || st_die "cannot create the database"
}

start() {
  install
  st_lock "postgres-$POSTGRES_PORT" 120
  place_data
  if ! st_pid "$PIDFILE" >/dev/null; then
    st_need_port_free "$POSTGRES_PORT"
    init_data
    # Nothing here outlives a power cut, so nothing is synced.
    local server=("$BIN/postgres" -D "$DATA" -p "$POSTGRES_PORT" -c listen_addresses=127.0.0.1 -c unix_socket_directories=
      -c wal_level=logical -c max_wal_senders=8 -c max_replication_slots=8 -c max_slot_wal_keep_size=1GB
      -c shared_buffers=64MB -c max_connections=50 -c fsync=off -c full_page_writes=off -c jit=off
      -c timezone=UTC -c log_timezone=UTC)
    # setpriv becomes the server, so the PID stays the same.
    [ "$(id -u)" -ne 0 ] || server=(setpriv --reuid="$RUN_USER" --regid="$(id -g "$RUN_USER")" --init-groups --reset-env -- "${server[@]}")
    st_spawn "$PIDFILE" "$LOGFILE" "${server[@]}"
  fi
  st_wait PostgreSQL "$PIDFILE" "$LOGFILE" 60 ready
  init_database
  st_unlock
  st_log "ready: $(url)"
}

case "${1:-}" in
  install) install ;;
  start) start ;;
  # INT: connections are ended, not waited for.
  stop) st_stop "$PIDFILE" PostgreSQL 30 INT ;;
  status) st_status "$PIDFILE" "PostgreSQL on 127.0.0.1:$POSTGRES_PORT" ;;
  clean)
    st_stop "$PIDFILE" PostgreSQL 30 INT
    if [ -d "$INST" ]; then
      place_data; rm -rf "$DATA" "$INST"
      rmdir "$(dirname "$DATA")" /var/lib/ebap-stack 2>/dev/null || true
    fi ;;
  psql) shift; app "$@" ;;
  url) url ;;
  *) st_usage ;;
esac
