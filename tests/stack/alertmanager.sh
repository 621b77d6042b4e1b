#!/usr/bin/env bash
# Alertmanager from Debian's package prometheus-alertmanager, alone and on loopback only. It keeps
# alerts and shows them at /api/v2/alerts; it tells nobody, unless a configuration says whom.
#
#   alertmanager.sh install          install the package if prometheus-alertmanager is missing (root)
#   alertmanager.sh start            start and wait until it is ready
#   alertmanager.sh stop | status    by PID file; status exits 3 when not running
#   alertmanager.sh alerts           the alerts that it has, as JSON
#   alertmanager.sh clean            stop and delete its data
#
# Env: STACK_HOME           (default $HOME/.cache/ebap-stack)
#      ALERTMANAGER_PORT    on 127.0.0.1 (default 19293)
#      ALERTMANAGER_CONFIG  a configuration file of one's own (default: one receiver that does nothing)
ST_NAME=alertmanager
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"

INST="$STACK_HOME/data/alertmanager-$ALERTMANAGER_PORT"
PIDFILE="$INST/alertmanager.pid"
LOGFILE="$INST/alertmanager.log"
URL="http://127.0.0.1:$ALERTMANAGER_PORT"

install() {
  st_need curl curl
  st_need prometheus-alertmanager prometheus-alertmanager
}
ready() { curl -sS -f --max-time 5 "$URL/-/ready"; }

start() {
  install
  st_lock "alertmanager-$ALERTMANAGER_PORT" 120
  if st_pid "$PIDFILE" >/dev/null; then st_log "already running"; return 0; fi
  st_need_port_free "$ALERTMANAGER_PORT"
  mkdir -p "$INST/db"
  local config="${ALERTMANAGER_CONFIG:-}"
  if [ -z "$config" ]; then
    config="$INST/alertmanager.yml"
    # An alert of another set of labels is a group of its own, and is seen at once.
    cat >"$config" <<'Y'
route:
  receiver: nobody
  group_by: ['...']
  group_wait: 0s
receivers:
  - name: nobody
Y
  fi
  # Without an address for the cluster it does not look for peers.
  st_spawn "$PIDFILE" "$LOGFILE" prometheus-alertmanager \
    --config.file="$config" \
    --storage.path="$INST/db" \
    --web.listen-address="127.0.0.1:$ALERTMANAGER_PORT" \
    --cluster.listen-address=
  st_wait Alertmanager "$PIDFILE" "$LOGFILE" 60 ready
  st_log "ready: $URL"
}

case "${1:-}" in
  install) install ;;
  start) start ;;
  stop) st_stop "$PIDFILE" Alertmanager 20 ;;
  status) st_status "$PIDFILE" "Alertmanager on $URL" ;;
  clean) st_stop "$PIDFILE" Alertmanager 20; rm -rf "$INST" ;;
  alerts) curl -sS --max-time 20 "$URL/api/v2/alerts" ;;
  *) st_usage ;;
esac
