#!/usr/bin/env bash
# Fetches Apache Flink and Apache Spark from PyPI and Maven Central; quiet where both are there.
#
#   install.sh [flink] [spark]
set -u -o pipefail
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh" || exit 1

flink() {
  [ -f "$FLINK_DIST/.ok" ] && return 0
  peer_java; peer_python
  st_lock peers-flink
  [ -f "$FLINK_DIST/.ok" ] && { st_unlock; return 0; }
  st_log "fetching Flink $FLINK_VERSION"
  local tmp; tmp="$(mktemp -d "$PEERS_HOME/.flink.XXXXXX")"
  # The Python package carries Flink's whole binary distribution, less the SQL gateway.
  python3 -m pip download -q --no-deps -d "$tmp" "apache-flink-libraries==$FLINK_VERSION" >&2 &&
    python3 -m zipfile -e "$tmp"/*.whl "$tmp/unpacked" || { rm -rf "$tmp"; st_die "Flink could not be fetched"; }
  peer_jars "$tmp/unpacked/pyflink/lib-client" false "org.apache.flink:flink-sql-gateway:$FLINK_VERSION"
  peer_jars "$tmp/unpacked/pyflink/lib-kafka" false "org.apache.flink:flink-sql-connector-kafka:$FLINK_KAFKA_VERSION"
  touch "$tmp/unpacked/pyflink/.ok"
  rm -rf "$FLINK_DIST"; mv "$tmp/unpacked/pyflink" "$FLINK_DIST"; rm -rf "$tmp"
  st_unlock
}

spark() {
  [ -f "$SPARK_DIST/.ok" ] && return 0
  peer_java; peer_python
  st_lock peers-spark
  [ -f "$SPARK_DIST/.ok" ] && { st_unlock; return 0; }
  st_log "fetching Spark $SPARK_VERSION"
  rm -rf "$SPARK_DIST"
  python3 -m pip install -q --target "$SPARK_DIST/python" "pyspark==$SPARK_VERSION" >&2 || st_die "Spark could not be fetched"
  peer_jars "$SPARK_DIST/lib-kafka" true "org.apache.spark:spark-sql-kafka-0-10_2.13:$SPARK_VERSION"
  touch "$SPARK_DIST/.ok"
  st_unlock
}

[ $# -gt 0 ] || set -- flink spark
for name in "$@"; do
  case "$name" in flink | spark) "$name" ;; *) st_usage ;; esac
done
