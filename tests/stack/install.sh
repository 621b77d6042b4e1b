#!/usr/bin/env bash
# Fetches and builds the services, all or those named; quiet where all is there.
#
#   install.sh [redis] [kafka] [iceberg-rest] [trino] [minio] [prometheus] [alertmanager] [postgres] [connect] [schema-registry]
set -eu -o pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
[ $# -gt 0 ] || set -- redis kafka iceberg-rest trino minio prometheus alertmanager postgres connect schema-registry
for name in "$@"; do
  case "$name" in
    redis | kafka | iceberg-rest | trino | minio | prometheus | alertmanager | postgres | connect | schema-registry) ;;
    *) sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
  esac
  bash "$here/$name.sh" install
done
