#!/usr/bin/env bash
# Prometheus from Debian's package prometheus, loopback only. It scrapes nothing: what it has was
# written to it (remote write). Samples out of order are refused, which is its default.
#
#   prometheus.sh install          install the package if prometheus is missing (root)
#   prometheus.sh start            start and wait until it is ready
#   prometheus.sh stop | status    by PID file; status exits 3 when not running
#   prometheus.sh query EXPR       the answer to an instant query, as JSON
#   prometheus.sh clean            stop and delete its data
#
# Env: STACK_HOME            (default $HOME/.cache/ebap-stack)
#      PROMETHEUS_PORT       on 127.0.0.1 (default 19290)
#      PROMETHEUS_RETENTION  (default 24h)
ST_NAME=prometheus
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"

PROMETHEUS_RETENTION="${PROMETHEUS_RETENTION:-24h}"
INST="$STACK_HOME/data/prometheus-$PROMETHEUS_PORT"
PIDFILE="$INST/prometheus.pid"
LOGFILE="$INST/prometheus.log"
URL="http://127.0.0.1:$PROMETHEUS_PORT"

install() {
  st_need curl curl
  st_need prometheus prometheus
}
ready() { curl -sS -f --max-time 5 "$URL/-/ready"; }

start() {
  install
  st_lock "prometheus-$PROMETHEUS_PORT" 120
  if st_pid "$PIDFILE" >/dev/null; then st_log "already running"; return 0; fi
  st_need_port_free "$PROMETHEUS_PORT"
  mkdir -p "$INST/db"
  # What it needs to start at all: there is nothing to scrape.
  printf 'global:\n  scrape_interval: 1m\n' >"$INST/prometheus.yml"
  st_spawn "$PIDFILE" "$LOGFILE" prometheus \
    --config.file="$INST/prometheus.yml" \
    --storage.tsdb.path="$INST/db" \
    --storage.tsdb.retention.time="$PROMETHEUS_RETENTION" \
    --web.listen-address="127.0.0.1:$PROMETHEUS_PORT" \
    --web.enable-remote-write-receiver
  st_wait Prometheus "$PIDFILE" "$LOGFILE" 60 ready
  st_log "ready: $URL"
}

case "${1:-}" in
  install) install ;;
  start) start ;;
  stop) st_stop "$PIDFILE" Prometheus 30 ;;
  status) st_status "$PIDFILE" "Prometheus on $URL" ;;
  clean) st_stop "$PIDFILE" Prometheus 30; rm -rf "$INST" ;;
  query) curl -sS --max-time 20 -G "$URL/api/v1/query" --data-urlencode "query=${2:?an expression}" ;;
  *) st_usage ;;
esac
