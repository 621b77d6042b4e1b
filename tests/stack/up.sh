#!/usr/bin/env bash
# Starts Redis, MinIO, an Iceberg REST catalog, Kafka, Trino, Prometheus, Alertmanager, PostgreSQL, Kafka
# Connect and a schema registry on loopback, and prints where they are. Those that run already are left alone.
# Ports and keys: the head of each script beside this one.
#
#   up.sh
set -eu -o pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
[ $# -eq 0 ] || { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
# Each stands on those before it.
for name in redis minio iceberg-rest kafka trino prometheus alertmanager postgres connect schema-registry; do bash "$here/$name.sh" start; done
# shellcheck source=lib.sh
. "$here/lib.sh"
cat <<TEXT
Redis         redis://127.0.0.1:$REDIS_PORT
S3 (MinIO)    $S3_ENDPOINT  bucket $S3_BUCKET, key $S3_ACCESS_KEY, secret $S3_SECRET_KEY
Iceberg REST  $ICEBERG_REST_URI  warehouse $ICEBERG_WAREHOUSE
Kafka         $(bash "$here/kafka.sh" bootstrap)
Trino         http://127.0.0.1:$TRINO_PORT  catalog iceberg, users admin (all) and any other (read)
Prometheus    http://127.0.0.1:$PROMETHEUS_PORT  remote write at /api/v1/write
Alertmanager  http://127.0.0.1:$ALERTMANAGER_PORT
PostgreSQL    $(bash "$here/postgres.sh" url)
Kafka Connect $(bash "$here/connect.sh" url)
Registry      $(bash "$here/schema-registry.sh" url)
TEXT
