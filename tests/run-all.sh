#!/usr/bin/env bash
# All tests, fast ones first. The services of the later ones are fetched and built meanwhile, niced
# and with one job, so that they cost the compiler little.
set -eu -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

make deps
bash tests/deps.sh stack

install_log="$(mktemp)"
nice -n 15 make stack-install >"$install_log" 2>&1 &
install_pid=$!
# Ours alone, by its id; what it has fetched stays for the next run.
trap 'kill "$install_pid" 2>/dev/null || true; rm -f "$install_log"' EXIT

began=$SECONDS
step() {
  printf '\n== %s (after %d s)\n' "$1" "$((SECONDS - began))"
  make --no-print-directory "$1"
}

step fmt
step build
step architecture
# The first step that needs the services.
if ! wait "$install_pid"; then
  cat "$install_log" >&2
  echo "the services could not be installed" >&2
  exit 1
fi
trap 'rm -f "$install_log"' EXIT
step unit
step slt
step conformance
step recovery
step e2e
step fuzz
printf '\nall passed in %d s\n' "$((SECONDS - began))"
