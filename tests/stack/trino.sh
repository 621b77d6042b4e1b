#!/usr/bin/env bash
# Trino (one node: coordinator and worker), loopback only, with the catalog `iceberg` on
# the REST catalog of iceberg-rest.sh and the S3 server of minio.sh.
#
#   trino.sh install           fetch and unpack (idempotent; about 820 MB is fetched)
#   trino.sh start             start and wait until it has run a query
#   trino.sh stop | status     by PID file; status exits 3 when not running
#   trino.sh cli ARGS...       the Trino CLI, e.g. trino.sh cli --user admin --execute 'SELECT 1'
#   trino.sh clean             stop and delete its data and configuration
#
# Env: STACK_HOME         (default $HOME/.cache/ebap-stack)
#      TRINO_PORT         on 127.0.0.1 (default 18080)
#      TRINO_HEAP         (default 1g)
#      TRINO_FAST         1 (default): quick start for tests; 0: full speed of queries
#      TRINO_JVM_OPTS     more JVM options, split at spaces
#      TRINO_RULES        access-control rules file, re-read every 5 s (default trino/rules.json
#                         beside this script: users admin and trino-admin may do anything,
#                         every other user may only SELECT from iceberg); "none" = no control
#      TRINO_AUDIT_KAFKA  bootstrap servers; when set, Trino's own kafka-event-listener sends
#                         an event for each query there (topic and broker must exist, or
#                         Trino does not start); start's own check is user stack-health
#      TRINO_AUDIT_TOPIC  (default ebap.audit.logs)
#      TRINO_AUDIT_EVENT  created (at submission) or completed (at the end; default)
#      MINIO_PORT, ICEBERG_REST_PORT, S3_*   as for minio.sh and iceberg-rest.sh
#      ICEBERG_REST_URI, ICEBERG_WAREHOUSE   another REST catalog than iceberg-rest.sh's
ST_NAME=trino
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"

# The newest that Maven Central holds as a server: later ones only put single jars there.
TRINO_VERSION="${TRINO_VERSION:-476}"
TRINO_HEAP="${TRINO_HEAP:-1g}"
TRINO_FAST="${TRINO_FAST:-1}"
TRINO_RULES="${TRINO_RULES:-$ST_DIR/trino/rules.json}"
TRINO_AUDIT_KAFKA="${TRINO_AUDIT_KAFKA:-}"
TRINO_AUDIT_TOPIC="${TRINO_AUDIT_TOPIC:-ebap.audit.logs}"
TRINO_AUDIT_EVENT="${TRINO_AUDIT_EVENT:-completed}"
TRINO_START_TIMEOUT="${TRINO_START_TIMEOUT:-240}"
PLUGINS="iceberg kafka-event-listener http-event-listener memory tpch"
DIST="$STACK_HOME/trino-$TRINO_VERSION"
INST="$STACK_HOME/data/trino-$TRINO_PORT"
PIDFILE="$INST/trino.pid"
LOGFILE="$INST/trino.log"
URI="http://127.0.0.1:$TRINO_PORT"

install() {
  [ -f "$DIST/.ok" ] && return 0
  st_lock trino-install
  [ -f "$DIST/.ok" ] && { st_unlock; return 0; }
  st_java 24
  local tmp src p repo
  tmp="$(mktemp -d "$STACK_HOME/.trino-install.XXXXXX")"
  st_log "fetching Trino $TRINO_VERSION"
  # A Maven repository of its own, so that the big archive goes when it is unpacked.
  repo="$tmp/m2"
  if ! st_mvn -Dmaven.repo.local="$repo" "$ST_MVN_DEP:get" -Dtransitive=false \
    -Dartifact="io.trino:trino-server:$TRINO_VERSION:tar.gz" ||
    ! st_mvn -Dmaven.repo.local="$repo" "$ST_MVN_DEP:get" -Dtransitive=false \
      -Dartifact="io.trino:trino-cli:$TRINO_VERSION:jar:executable"; then
    rm -rf "$tmp"; st_die "Trino $TRINO_VERSION could not be fetched"
  fi
  st_log "unpacking"
  # All of it: its plugins share jars as hard links, so a part alone does not unpack.
  nice -n 10 tar -xzf "$repo/io/trino/trino-server/$TRINO_VERSION/trino-server-$TRINO_VERSION.tar.gz" \
    -C "$tmp" --no-same-owner || { rm -rf "$tmp"; st_die "the archive does not unpack"; }
  src="$tmp/trino-server-$TRINO_VERSION"
  mkdir -p "$tmp/dist/plugin"
  mv "$src/lib" "$tmp/dist/lib"
  for p in $PLUGINS; do
    mv "$src/plugin/$p" "$tmp/dist/plugin/$p" || { rm -rf "$tmp"; st_die "no plugin $p in the archive"; }
  done
  mv "$repo/io/trino/trino-cli/$TRINO_VERSION/trino-cli-$TRINO_VERSION-executable.jar" "$tmp/dist/trino-cli.jar"
  touch "$tmp/dist/.ok"
  rm -rf "$DIST" && mv "$tmp/dist" "$DIST" || st_die "cannot write $DIST"
  rm -rf "$tmp"
  st_unlock
  st_log "installed in $DIST"
}

configure() {
  local etc="$INST/etc"
  rm -rf "$etc"
  mkdir -p "$etc/catalog" "$INST/var" "$INST/tmp"
  chmod 700 "$INST"
  cat >"$etc/config.properties" <<P
coordinator=true
node-scheduler.include-coordinator=true
http-server.http.port=$TRINO_PORT
discovery.uri=$URI
plugin.dir=$DIST/plugin
catalog.config-dir=$etc/catalog
query.max-memory=400MB
query.max-memory-per-node=400MB
memory.heap-headroom-per-node=200MB
catalog.management=static
task.concurrency=2
P
  cat >"$etc/log.properties" <<P
io.trino=INFO
io.airlift=WARN
P
  cat >"$etc/catalog/iceberg.properties" <<P
connector.name=iceberg
iceberg.catalog.type=rest
iceberg.rest-catalog.uri=$ICEBERG_REST_URI
iceberg.rest-catalog.warehouse=$ICEBERG_WAREHOUSE
fs.native-s3.enabled=true
s3.endpoint=$S3_ENDPOINT
s3.region=$S3_REGION
s3.path-style-access=true
s3.aws-access-key=$S3_ACCESS_KEY
s3.aws-secret-key=$S3_SECRET_KEY
P
  if [ "$TRINO_RULES" != none ]; then
    [ -r "$TRINO_RULES" ] || st_die "cannot read the rules file $TRINO_RULES"
    cat >"$etc/access-control.properties" <<P
access-control.name=file
security.config-file=$(readlink -f "$TRINO_RULES")
security.refresh-period=5s
P
    echo "access-control.config-files=$etc/access-control.properties" >>"$etc/config.properties"
  fi
  if [ -n "$TRINO_AUDIT_KAFKA" ]; then
    local created=false completed=false
    case "$TRINO_AUDIT_EVENT" in
      created) created=true ;; completed) completed=true ;;
      *) st_die "TRINO_AUDIT_EVENT must be created or completed" ;;
    esac
    cat >"$etc/event-listener.properties" <<P
event-listener.name=kafka
kafka-event-listener.broker-endpoints=$TRINO_AUDIT_KAFKA
kafka-event-listener.client-id=trino-audit
kafka-event-listener.publish-created-event=$created
kafka-event-listener.publish-completed-event=$completed
kafka-event-listener.excluded-fields=payload,plan,jsonPlan,operatorSummaries,taskStatistics,optimizerRulesSummaries,planNodeStatsAndCosts,outputBufferUtilization,outputBufferMetrics,cpuTimeDistribution,stageGcStatistics
P
    [ $created = true ] && echo "kafka-event-listener.created-event.topic=$TRINO_AUDIT_TOPIC" >>"$etc/event-listener.properties"
    [ $completed = true ] && echo "kafka-event-listener.completed-event.topic=$TRINO_AUDIT_TOPIC" >>"$etc/event-listener.properties"
    echo "event-listener.config-files=$etc/event-listener.properties" >>"$etc/config.properties"
  fi
}

ready() {
  curl -sf --max-time 5 "$URI/v1/info" | grep -q '"starting":false'
}

# query SQL: runs it over the REST protocol, without the CLI's own start
query() {
  local r next
  r="$(curl -sf --max-time 30 -H 'X-Trino-User: stack-health' --data-binary "$1" "$URI/v1/statement")" || return 1
  while next="$(printf '%s' "$r" | sed -n 's/.*"nextUri":"\([^"]*\)".*/\1/p')"; [ -n "$next" ]; do
    r="$(curl -sf --max-time 30 -H 'X-Trino-User: stack-health' "$next")" || return 1
  done
  printf '%s' "$r" | grep -q '"state":"FINISHED"'
}

start() {
  install
  st_lock "trino-$TRINO_PORT" 300
  if st_pid "$PIDFILE" >/dev/null; then st_log "already running"; return 0; fi
  st_java 24
  st_need_port_free "$TRINO_PORT"
  ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
  configure
  cd "$INST" || st_die "cannot enter $INST"
  # Halves the time of a start: no slow compiler, and an archive of parsed classes that the
  # first stop writes (116 MB) and the JVM rewrites by itself when it does not fit.
  local fast=()
  [ "$TRINO_FAST" = 0 ] || fast=(-XX:TieredStopAtLevel=1 -XX:+AutoCreateSharedArchive
    -XX:SharedArchiveFile="$DIST/trino-jdk$JAVA_MAJOR.jsa" -Xlog:cds=off -Xlog:aot=off)
  # Faster where the runtime has it; a trimmed one may not.
  local vector=()
  "$JAVA" --list-modules | grep -q '^jdk.incubator.vector' && vector=(--add-modules=jdk.incubator.vector)
  # shellcheck disable=SC2086
  st_spawn "$PIDFILE" "$LOGFILE" "$JAVA" -server "-Xmx$TRINO_HEAP" -XX:+UseG1GC -XX:G1HeapRegionSize=4M \
    -XX:+ExitOnOutOfMemoryError -XX:+ExplicitGCInvokesConcurrent -XX:-OmitStackTraceInFastThrow \
    -XX:ReservedCodeCacheSize=256M -XX:+EnableDynamicAgentLoading \
    --enable-native-access=ALL-UNNAMED --sun-misc-unsafe-memory-access=allow "${vector[@]}" \
    -Djdk.attach.allowAttachSelf=true -Djdk.nio.maxCachedBufferSize=2000000 -Dfile.encoding=UTF-8 \
    -Djava.io.tmpdir="$INST/tmp" "${fast[@]}" ${TRINO_JVM_OPTS:-} \
    -Dnode.environment=test -Dnode.id=stack -Dnode.data-dir="$INST/var" \
    -Dnode.bind-ip=127.0.0.1 -Dnode.internal-address=127.0.0.1 \
    -Dlog.levels-file="$INST/etc/log.properties" -Dconfig="$INST/etc/config.properties" \
    -cp "$DIST/lib/*" io.trino.server.TrinoServer
  st_wait Trino "$PIDFILE" "$LOGFILE" "$TRINO_START_TIMEOUT" ready
  st_wait "Trino's first query" "$PIDFILE" "$LOGFILE" 90 query 'SELECT 1'
  st_log "ready: $URI"
}

case "${1:-}" in
  install) install ;;
  start) start ;;
  stop) st_stop "$PIDFILE" Trino 60 ;;
  status) st_status "$PIDFILE" "Trino on 127.0.0.1:$TRINO_PORT" ;;
  clean) st_stop "$PIDFILE" Trino 60; rm -rf "$INST" ;;
  cli)
    shift
    [ -f "$DIST/trino-cli.jar" ] || st_die "not installed: run trino.sh install"
    st_java 11
    [ "$JAVA_MAJOR" -ge 24 ] && JAVA="$JAVA --enable-native-access=ALL-UNNAMED"
    # shellcheck disable=SC2086
    exec $JAVA -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -jar "$DIST/trino-cli.jar" --server "$URI" "$@"
    ;;
  *) st_usage ;;
esac
