#!/usr/bin/env bash
# MinIO, an S3 server, built with the documented `go install`. Loopback only.
#
#   minio.sh install           build (idempotent; minutes the first time)
#   minio.sh start             start, wait until ready, create the bucket
#   minio.sh stop | status     by PID file; status exits 3 when not running
#   minio.sh bucket NAME       create a bucket if missing
#   minio.sh clean             stop and delete the data
#
# Env: STACK_HOME     (default $HOME/.cache/ebap-stack)
#      MINIO_PORT     S3 API on 127.0.0.1 (default 19000)
#      S3_ACCESS_KEY, S3_SECRET_KEY, S3_REGION, S3_BUCKET   defaults in lib.sh
#      MINIO_VERSION  a version of the module github.com/minio/minio
#      GO_BUILD_JOBS  go install's -p (default 1: about 1.4 GiB at its peak)
ST_NAME=minio
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"

# What @latest gave in November 2026; release tags are refused. Its go.mod has no replace,
# which go install would not take.
MINIO_VERSION="${MINIO_VERSION:-v0.0.0-20260212201848-7aac2a2c5b7c}"
GO_BUILD_JOBS="${GO_BUILD_JOBS:-1}"
DIST="$STACK_HOME/minio-$MINIO_VERSION"
INST="$STACK_HOME/data/minio-$MINIO_PORT"
PIDFILE="$INST/minio.pid"
LOGFILE="$INST/minio.log"

install() {
  [ -x "$DIST/minio" ] && return 0
  st_lock minio-install 3600
  [ -x "$DIST/minio" ] && { st_unlock; return 0; }
  st_need go golang
  # Since 1.21 go fetches the newer one that MinIO wants by itself; Debian 12's is older.
  local go; go="$(go env GOVERSION)"
  [ "$(printf '%s\n' go1.21 "$go" | sort -V | head -1)" = go1.21 ] ||
    st_die "MinIO needs Go 1.24, or at least 1.21, which fetches it by itself; here is $go. Put a newer go on PATH"
  st_log "building MinIO $MINIO_VERSION (minutes; -p $GO_BUILD_JOBS)"
  local tmp log; tmp="$(mktemp -d "$STACK_HOME/.minio-install.XXXXXX")"; log="$STACK_HOME/minio-build.log"
  if ! (cd "$tmp" && GOBIN="$tmp" GOFLAGS=-buildvcs=false GOWORK=off \
    nice -n 10 go install -p "$GO_BUILD_JOBS" -trimpath -ldflags '-s -w' \
    "github.com/minio/minio@$MINIO_VERSION") >"$log" 2>&1 9>&-; then
    tail -20 "$log" >&2; rm -rf "$tmp"; st_die "go install failed; log: $log"
  fi
  mkdir -p "$DIST" && mv -f "$tmp/minio" "$DIST/minio" && rm -rf "$tmp"
  st_unlock
  st_log "built $DIST/minio"
}

bucket() {
  local code
  code="$(st_s3 -o /dev/null -w '%{http_code}' -X PUT "$S3_ENDPOINT/$1" 2>/dev/null)"
  case "$code" in
    200 | 409) st_s3 -o /dev/null "$S3_ENDPOINT/$1?location=" || st_die "bucket $1 cannot be read" ;;
    *) st_die "creating the bucket $1 failed: HTTP $code" ;;
  esac
}

start() {
  install
  st_lock "minio-$MINIO_PORT" 120
  if st_pid "$PIDFILE" >/dev/null; then st_log "already running"; bucket "$S3_BUCKET"; return 0; fi
  st_need_port_free "$MINIO_PORT"
  mkdir -p "$INST/disk"
  MINIO_ROOT_USER="$S3_ACCESS_KEY" MINIO_ROOT_PASSWORD="$S3_SECRET_KEY" MINIO_REGION="$S3_REGION" \
    MINIO_BROWSER=off MINIO_UPDATE=off MINIO_CI_CD=on HOME="$INST" \
    st_spawn "$PIDFILE" "$LOGFILE" "$DIST/minio" server --quiet --address "127.0.0.1:$MINIO_PORT" "$INST/disk"
  st_wait MinIO "$PIDFILE" "$LOGFILE" 120 curl -sf --max-time 2 "$S3_ENDPOINT/minio/health/ready"
  bucket "$S3_BUCKET"
  st_log "ready: $S3_ENDPOINT, bucket $S3_BUCKET"
}

case "${1:-}" in
  install) install ;;
  start) start ;;
  stop) st_stop "$PIDFILE" MinIO 20 ;;
  status) st_status "$PIDFILE" "MinIO on 127.0.0.1:$MINIO_PORT" ;;
  bucket) [ -n "${2:-}" ] || st_usage; bucket "$2" ;;
  clean) st_stop "$PIDFILE" MinIO 20; rm -rf "$INST" ;;
  *) st_usage ;;
esac
