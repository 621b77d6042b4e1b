#!/usr/bin/env bash
# Stops what up.sh started, last one first. Data stays; `NAME.sh clean` deletes it.
#
#   down.sh
set -u -o pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
[ $# -eq 0 ] || { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
status=0
# One that does not stop must not keep the others up.
for name in schema-registry connect postgres alertmanager prometheus trino kafka iceberg-rest minio redis; do bash "$here/$name.sh" stop || status=1; done
exit "$status"
