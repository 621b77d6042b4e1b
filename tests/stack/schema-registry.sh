#!/usr/bin/env bash
# A schema registry (Apicurio Registry) that speaks the Confluent Schema Registry API: Avro, JSON Schema
# and Protobuf; HTTP and HTTPS on loopback.
#
#   schema-registry.sh install          fetch it from Maven Central (about 160 MiB)
#   schema-registry.sh start            start and wait until it answers
#   schema-registry.sh stop | status    by PID file; status exits 3 when not running
#   schema-registry.sh url              what to give as option `schema_registry`
#   schema-registry.sh post PATH JSON   post something; prints the answer (/subjects/NAME/versions '{"schema": "…"}')
#   schema-registry.sh clean            stop and delete its data
#
# Env: STACK_HOME                  (default $HOME/.cache/ebap-stack)
#      SCHEMA_REGISTRY_PORT        on 127.0.0.1 (default 18081)
#      SCHEMA_REGISTRY_TLS_PORT    HTTPS (default the port behind it); the certificate it shows is its own
#                                  issuer's: STACK_HOME/data/schema-registry-PORT/tls/ca.crt
#      SCHEMA_REGISTRY_HEAP        (default 384m)
#      APICURIO_VERSION            (default below)
#
# Its schemas are in a file of its data: they outlive a restart. The compatibility of all subjects is
# BACKWARD, as Confluent's is where nothing else is said.
ST_NAME=schema-registry
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh" || exit 1

APICURIO_VERSION="${APICURIO_VERSION:-3.3.3}"
SCHEMA_REGISTRY_TLS_PORT="${SCHEMA_REGISTRY_TLS_PORT:-$((SCHEMA_REGISTRY_PORT + 1))}"
SCHEMA_REGISTRY_HEAP="${SCHEMA_REGISTRY_HEAP:-384m}"
SCHEMA_REGISTRY_START_TIMEOUT="${SCHEMA_REGISTRY_START_TIMEOUT:-180}"
DIST="$STACK_HOME/apicurio-$APICURIO_VERSION"
INST="$STACK_HOME/data/schema-registry-$SCHEMA_REGISTRY_PORT"
PIDFILE="$INST/registry.pid"
LOGFILE="$INST/registry.log"
URL="http://127.0.0.1:$SCHEMA_REGISTRY_PORT/apis/ccompat/v7"

install() {
  st_need curl curl
  [ ! -f "$DIST/.ok" ] || return 0
  st_lock apicurio-install
  [ ! -f "$DIST/.ok" ] || { st_unlock; return 0; }
  st_java 21
  st_log "fetching Apicurio Registry $APICURIO_VERSION"
  local tmp; tmp="$(mktemp -d "$STACK_HOME/.apicurio-install.XXXXXX")"
  # A Maven repository of its own, so that the big archive goes when it is unpacked.
  if ! st_mvn "-Dmaven.repo.local=$tmp/m2" "$ST_MVN_DEP:copy" "-DoutputDirectory=$tmp" \
    "-Dartifact=io.apicurio:apicurio-registry-app:$APICURIO_VERSION:tar.gz:all"; then
    rm -rf "$tmp"; st_die "Apicurio Registry $APICURIO_VERSION could not be fetched with Maven"
  fi
  rm -rf "$tmp/m2"
  if ! { mkdir "$tmp/app" && tar -xzf "$tmp"/apicurio-registry-app-*.tar.gz -C "$tmp/app" && rm -f "$tmp"/*.tar.gz &&
    [ -f "$tmp/app/quarkus-run.jar" ]; }; then
    rm -rf "$tmp"; st_die "the archive of Apicurio Registry $APICURIO_VERSION is broken"
  fi
  touch "$tmp/.ok"; chmod 755 "$tmp"
  rm -rf "$DIST"; mv "$tmp" "$DIST"
  st_unlock
  st_log "installed Apicurio Registry $APICURIO_VERSION ($(du -sm "$DIST" | cut -f1) MiB)"
}

rest() { curl -sS -f --noproxy '*' --max-time 20 -H 'Content-Type: application/vnd.schemaregistry.v1+json' "$@"; }
ready() { rest -o /dev/null "$URL/subjects"; }

start() {
  install
  st_lock "schema-registry-$SCHEMA_REGISTRY_PORT" 300
  mkdir -p "$INST/tmp"
  if ! st_pid "$PIDFILE" >/dev/null; then
    st_java 21
    st_need_port_free "$SCHEMA_REGISTRY_PORT"
    st_need_port_free "$SCHEMA_REGISTRY_TLS_PORT"
    st_certificates "$INST/tls" registry
    st_spawn "$PIDFILE" "$LOGFILE" "$JAVA" -Xms64m "-Xmx$SCHEMA_REGISTRY_HEAP" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
      -Djava.awt.headless=true -Djava.net.preferIPv4Stack=true "-Djava.io.tmpdir=$INST/tmp" \
      -Dquarkus.http.host=127.0.0.1 "-Dquarkus.http.port=$SCHEMA_REGISTRY_PORT" \
      "-Dquarkus.http.ssl-port=$SCHEMA_REGISTRY_TLS_PORT" -Dquarkus.http.insecure-requests=enabled \
      "-Dquarkus.http.ssl.certificate.files=$INST/tls/registry.crt" \
      "-Dquarkus.http.ssl.certificate.key-files=$INST/tls/registry.key" \
      -Dquarkus.management.host=127.0.0.1 -Dquarkus.management.port=0 \
      -Dquarkus.http.access-log.enabled=false -Dquarkus.otel.sdk.disabled=true \
      -Dapicurio.storage.kind=sql -Dapicurio.storage.sql.kind=h2 "-Dapicurio.datasource.url=jdbc:h2:file:$INST/db" \
      -Dapicurio.datasource.jdbc.initial-size=2 -Dapicurio.datasource.jdbc.min-size=2 -Dapicurio.datasource.jdbc.max-size=10 \
      -jar "$DIST/app/quarkus-run.jar"
  fi
  st_wait "the schema registry" "$PIDFILE" "$LOGFILE" "$SCHEMA_REGISTRY_START_TIMEOUT" ready
  if [ ! -f "$INST/.configured" ]; then
    # Apicurio's own is NONE.
    rest -o /dev/null -X PUT -d '{"compatibility":"BACKWARD"}' "$URL/config" || st_die "the compatibility cannot be set"
    touch "$INST/.configured"
  fi
  st_unlock
  st_log "ready: $URL"
}

case "${1:-}" in
  install) install ;;
  start) start ;;
  stop) st_stop "$PIDFILE" "schema registry" 20 ;;
  status) st_status "$PIDFILE" "schema registry ($URL)" ;;
  clean) st_stop "$PIDFILE" "schema registry" 10; rm -rf "$INST" ;;
  url) echo "$URL" ;;
  post) rest -X POST -d "${3:?a body}" "$URL${2:?a path}" ;;
  *) st_usage ;;
esac
