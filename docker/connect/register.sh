#!/usr/bin/env bash
# Makes a connector of Kafka Connect what a file says, and waits until it and its tasks run. To run it
# again changes nothing.
#
#   register.sh NAME FILE         FILE: the configuration, as JSON
#
# Env: CONNECT_URL      (default http://127.0.0.1:8083)
#      CONNECT_TIMEOUT  seconds for Connect to answer and for the connector to run (default 120)
set -u -o pipefail

die() { printf '[register] ERROR: %s\n' "$*" >&2; exit 1; }

[ $# -eq 2 ] || { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
name="$1" file="$2"
[ -r "$file" ] || die "$file cannot be read"
url="${CONNECT_URL:-http://127.0.0.1:8083}/connectors/$name"
deadline=$((SECONDS + ${CONNECT_TIMEOUT:-120}))

# Prints the body of the answer and, on a line of its own, the status; 000 where there is no answer.
rest() {
  curl -sS --noproxy '*' --max-time 20 -H 'Content-Type: application/json' -w '\n%{http_code}' "$@" 2>&1 || true
}

while :; do
  answer="$(rest -X PUT --data-binary "@$file" "$url/config")"
  case "${answer##*$'\n'}" in
    200 | 201) break ;;
    # Not up yet, or busy with giving tasks to workers.
    000 | 404 | 409 | 503) [ "$SECONDS" -lt "$deadline" ] || die "Connect does not take the connector: $answer" ;;
    *) die "Connect refuses the configuration: $answer" ;;
  esac
  sleep 0.5
done

while :; do
  answer="$(rest "$url/status")"
  status="${answer%$'\n'*}"
  case "$status" in
    *'"state":"FAILED"'*)
      # The trace as it is in the log of the worker.
      printf '%b\n' "$(grep -o '"trace":"[^"]*' <<<"$status" | cut -d'"' -f4)" >&2
      die "connector $name has failed; to start it again: curl -X POST '$url/restart?includeTasks=true&onlyFailed=true'" ;;
    *'"state":"UNASSIGNED"'* | *'"state":"RESTARTING"'* | *'"tasks":[]'*) ;;
    *'"connector":{"state":"RUNNING"'*'"tasks":[{'*'"state":"RUNNING"'*) break ;;
  esac
  [ "$SECONDS" -lt "$deadline" ] || die "connector $name does not run: $status"
  sleep 0.2
done
printf '[register] connector %s runs\n' "$name" >&2
