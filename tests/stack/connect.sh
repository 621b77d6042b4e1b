#!/usr/bin/env bash
# Kafka Connect (one distributed worker, from Kafka's own jars) with Debezium's connector for PostgreSQL and
# Apicurio's converters, which write Avro by the schemas of a registry, from Maven Central; REST on loopback.
#
#   connect.sh install            fetch the jars (idempotent)
#   connect.sh start              start and wait until it takes connectors; needs kafka.sh's broker
#   connect.sh stop | status      by PID file; status exits 3 when not running
#   connect.sh url                print the REST address
#   connect.sh clean              stop and delete its files; its topics are the broker's
#
# Connectors are made by docker/connect/register.sh. Their `${env:POSTGRES_…}` are those of this script.
#
# Env: STACK_HOME         (default $HOME/.cache/ebap-stack)
#      CONNECT_PORT       on 127.0.0.1 (default 18083)
#      CONNECT_BOOTSTRAP  (default what `kafka.sh bootstrap` prints: KAFKA_PORT and KAFKA_NODES count)
#      CONNECT_HEAP       (default 512m)
#      DEBEZIUM_VERSION, CONVERTER_VERSION   (default below)
#      POSTGRES_…         of postgres.sh
ST_NAME=connect
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh" || exit 1

KAFKA_VERSION="${KAFKA_VERSION:-4.3.1}"
DEBEZIUM_VERSION="${DEBEZIUM_VERSION:-3.6.3.Final}"
# The newest of which Maven Central has all parts.
CONVERTER_VERSION="${CONVERTER_VERSION:-2.6.13.Final}"
CONNECT_PORT="${CONNECT_PORT:-18083}"
CONNECT_HEAP="${CONNECT_HEAP:-512m}"
CONNECT_START_TIMEOUT="${CONNECT_START_TIMEOUT:-120}"
DIST="$STACK_HOME/kafka-$KAFKA_VERSION"
PLUGINS="$STACK_HOME/debezium-$DEBEZIUM_VERSION"
CONVERTERS="$STACK_HOME/apicurio-converters-$CONVERTER_VERSION"
INST="$STACK_HOME/data/connect-$CONNECT_PORT"
PIDFILE="$INST/connect.pid"
LOGFILE="$INST/connect.log"
URL="http://127.0.0.1:$CONNECT_PORT"

install() {
  bash "$ST_DIR/kafka.sh" install || exit 1
  install_converters
  [ ! -f "$PLUGINS/.ok" ] || return 0
  st_lock debezium-install
  [ ! -f "$PLUGINS/.ok" ] || { st_unlock; return 0; }
  st_java 17
  st_log "fetching Debezium's connector for PostgreSQL $DEBEZIUM_VERSION"
  local tmp; tmp="$(mktemp -d "$STACK_HOME/.debezium-install.XXXXXX")"
  if ! st_mvn "$ST_MVN_DEP:copy" "-DoutputDirectory=$tmp" \
    "-Dartifact=io.debezium:debezium-connector-postgres:$DEBEZIUM_VERSION:tar.gz:plugin"; then
    rm -rf "$tmp"; st_die "Debezium $DEBEZIUM_VERSION could not be fetched with Maven"
  fi
  if ! { tar -xzf "$tmp"/*-plugin.tar.gz -C "$tmp" && rm -f "$tmp"/*-plugin.tar.gz; }; then
    rm -rf "$tmp"; st_die "the archive of Debezium $DEBEZIUM_VERSION is broken"
  fi
  touch "$tmp/.ok"; chmod 755 "$tmp"
  rm -rf "$PLUGINS"; mv "$tmp" "$PLUGINS"
  st_unlock
  st_log "installed Debezium $DEBEZIUM_VERSION ($(du -sm "$PLUGINS" | cut -f1) MiB)"
}

install_converters() {
  [ ! -f "$CONVERTERS/.ok" ] || return 0
  st_lock converters-install
  [ ! -f "$CONVERTERS/.ok" ] || { st_unlock; return 0; }
  st_java 17
  st_log "fetching Apicurio's converters $CONVERTER_VERSION"
  local tmp; tmp="$(mktemp -d "$STACK_HOME/.converters-install.XXXXXX")"
  cat >"$tmp/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>ebap</groupId><artifactId>converters</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>io.apicurio</groupId><artifactId>apicurio-registry-utils-converter</artifactId>
    <version>$CONVERTER_VERSION</version>
  </dependency></dependencies>
</project>
POM
  # Connect has its own classes of Kafka and of the log.
  if ! st_mvn -f "$tmp/pom.xml" "$ST_MVN_DEP:copy-dependencies" "-DoutputDirectory=$tmp/converters" \
    -DincludeScope=runtime -DexcludeGroupIds=org.apache.kafka,org.slf4j; then
    rm -rf "$tmp"; st_die "Apicurio's converters $CONVERTER_VERSION could not be fetched with Maven"
  fi
  rm -f "$tmp/pom.xml"; touch "$tmp/.ok"; chmod 755 "$tmp"
  rm -rf "$CONVERTERS"; mv "$tmp" "$CONVERTERS"
  st_unlock
  st_log "installed Apicurio's converters $CONVERTER_VERSION ($(du -sm "$CONVERTERS" | cut -f1) MiB)"
}

write_conf() {
  local bootstrap replicas=1 first
  bootstrap="${CONNECT_BOOTSTRAP:-$(bash "$ST_DIR/kafka.sh" bootstrap)}"
  case "$bootstrap" in *,*,*) replicas=3 ;; esac
  first="${bootstrap%%,*}"
  st_port_open "${first##*:}" || st_die "no Kafka broker at $bootstrap (run kafka.sh start first)"
  cat >"$INST/connect.properties" <<CONF
bootstrap.servers=$bootstrap
group.id=ebap-connect-$CONNECT_PORT
listeners=http://127.0.0.1:$CONNECT_PORT
rest.advertised.host.name=127.0.0.1
rest.advertised.port=$CONNECT_PORT
key.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable=false
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=false
config.storage.topic=_connect-configs-$CONNECT_PORT
config.storage.replication.factor=$replicas
offset.storage.topic=_connect-offsets-$CONNECT_PORT
offset.storage.partitions=1
offset.storage.replication.factor=$replicas
status.storage.topic=_connect-status-$CONNECT_PORT
status.storage.partitions=1
status.storage.replication.factor=$replicas
offset.flush.interval.ms=1000
scheduled.rebalance.max.delay.ms=0
topic.creation.enable=true
config.providers=env
config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider
config.providers.env.param.allowlist.pattern=POSTGRES_.*
plugin.path=$PLUGINS,$CONVERTERS
plugin.discovery=hybrid_warn
CONF
}

# The REST server answers early; this path does once the worker has joined its group.
ready() { curl -sS -f --noproxy '*' --max-time 20 -o /dev/null "$URL/connectors"; }

start() {
  install
  mkdir -p "$INST"
  st_lock "connect-$CONNECT_PORT"
  if ! st_pid "$PIDFILE" >/dev/null; then
    st_java 17
    st_need_port_free "$CONNECT_PORT"
    write_conf
    export POSTGRES_HOST=127.0.0.1 POSTGRES_PORT POSTGRES_DB POSTGRES_USER POSTGRES_PASSWORD
    st_spawn "$PIDFILE" "$LOGFILE" "$JAVA" -Xms64m "-Xmx$CONNECT_HEAP" -XX:+UseSerialGC -Djava.awt.headless=true \
      -Djava.net.preferIPv4Stack=true "-Dlog4j2.configurationFile=$DIST/log4j2.xml" -cp "$DIST/libs/*" \
      org.apache.kafka.connect.cli.ConnectDistributed "$INST/connect.properties"
  fi
  st_wait "Kafka Connect" "$PIDFILE" "$LOGFILE" "$CONNECT_START_TIMEOUT" ready
  st_unlock
  st_log "ready: $URL"
}

case "${1:-}" in
  install) install ;;
  start) start ;;
  stop) st_stop "$PIDFILE" "Kafka Connect" 30 ;;
  status) st_status "$PIDFILE" "Kafka Connect on $URL" ;;
  clean) st_stop "$PIDFILE" "Kafka Connect" 10 KILL; rm -rf "$INST" ;;
  url) echo "$URL" ;;
  *) st_usage ;;
esac
