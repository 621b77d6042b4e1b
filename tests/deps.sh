#!/usr/bin/env bash
# Installs what is missing and says so; does nothing where all is there.
#
#   deps.sh build   to compile and run ebap
#   deps.sh stack   for the services under tests/stack too
set -eu -o pipefail

need_stack=
case "${1:-build}" in
  build) ;;
  stack) need_stack=1 ;;
  *) sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac

say() { printf '[deps] %s\n' "$*" >&2; }

if ! command -v cargo >/dev/null; then
  say "cargo is not on PATH: install Rust with rustup (https://rustup.rs), then run this again"
  exit 1
fi

missing=()
command_from() { command -v "$1" >/dev/null || missing+=("$2"); }
# By the file a build would look for, so that a package of another name is good too.
library_from() { pkg-config --exists "$1" 2>/dev/null || missing+=("$2"); }

command_from g++ g++
command_from mold mold
command_from cmake cmake
command_from make make
command_from pkg-config pkg-config
library_from openssl libssl-dev
library_from libcurl libcurl4-openssl-dev
library_from zlib zlib1g-dev

java_major() { # of the newest java there is, 0 for none
  local best=0 candidate version
  for candidate in "${JAVA_HOME:+$JAVA_HOME/bin/java}" "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
    [ -n "$candidate" ] && [ -x "$candidate" ] || continue
    version="$("$candidate" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)"
    [ -n "$version" ] && [ "$version" -gt "$best" ] && best="$version"
  done
  echo "$best"
}

if [ -n "$need_stack" ]; then
  command_from curl curl
  command_from psql postgresql-client
  command_from redis-server redis-server
  command_from prometheus prometheus
  command_from prometheus-alertmanager prometheus-alertmanager
  command_from mvn maven
  # Not on PATH, where Debian has it.
  compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || command_from postgres postgresql
  command_from go golang
  # Trino wants 24 at least.
  [ "$(java_major)" -ge 24 ] || missing+=(openjdk-25-jdk-headless)
fi

[ ${#missing[@]} -gt 0 ] || exit 0
if ! command -v apt-get >/dev/null; then
  say "missing, and there is no apt-get to install them: ${missing[*]}"
  exit 1
fi
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
say "installing: ${missing[*]}"
# Packages with a daemon must not start one on its usual port.
policy=/usr/sbin/policy-rc.d
made_policy=
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
  made_policy=1
fi
status=0
"${as_root[@]}" apt-get update -qq &&
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "${missing[@]}" || status=$?
[ -z "$made_policy" ] || "${as_root[@]}" rm -f "$policy"
[ "$status" = 0 ] || say "apt-get could not install: ${missing[*]}"
exit "$status"
