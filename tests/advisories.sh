#!/usr/bin/env bash
# Fails where a dependency has a known hole, was withdrawn, or has nobody left to mend it. cargo-deny is on PATH.
#
# The list of holes is fetched. Where that cannot be, the copy of the last time is used, and where there is none this
# says so and ends well: a machine without a way there has to be able to build. `EBAP_ADVISORIES=required` fails then,
# as the daily workflow does.
set -eu -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '[advisories] %s\n' "$*" >&2; }
errors="$(mktemp)"
trap 'rm -f "$errors"' EXIT

fetched=
if timeout "${EBAP_ADVISORIES_SECONDS:-60}" cargo-deny --log-level error fetch db >"$errors" 2>&1; then
  fetched=1
elif [ "${EBAP_ADVISORIES:-}" = required ]; then
  cat "$errors" >&2
  say "the list of advisories cannot be fetched"
  exit 1
fi

if [ -z "$fetched" ]; then
  say "WARNING: the list of advisories cannot be fetched: $(grep -m 1 . "$errors" || echo "no answer")"
  if ! compgen -G "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs/*/.git" >/dev/null; then
    say "WARNING: NOT CHECKED, as there is no copy of it here; .github/workflows/daily.yml checks each day"
    exit 0
  fi
  say "WARNING: checked against the copy of the last time, which may not know the newest"
fi
exec cargo-deny --log-level error --locked --offline check advisories
