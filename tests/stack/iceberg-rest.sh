#!/usr/bin/env bash
# Apache Iceberg REST catalog: Iceberg's own REST handlers over a JdbcCatalog kept in
# SQLite, with its files in the S3 server of minio.sh. Loopback only, no login.
#
#   iceberg-rest.sh install        fetch the jars, compile the launcher (idempotent)
#   iceberg-rest.sh start          start and wait until ready (minio.sh must be running)
#   iceberg-rest.sh stop | status  by PID file; status exits 3 when not running
#   iceberg-rest.sh clean          stop and delete the catalog's database
#   iceberg-rest.sh uri            print the catalog's URI
#
# Env: STACK_HOME         (default $HOME/.cache/ebap-stack)
#      ICEBERG_REST_PORT  on 127.0.0.1 (default 18181)
#      ICEBERG_VERSION    (default below)
#      ICEBERG_REST_HEAP  (default 256m)
#      MINIO_PORT, S3_ACCESS_KEY, S3_SECRET_KEY, S3_REGION, S3_BUCKET   as for minio.sh
# Clients: uri as printed, warehouse s3://$S3_BUCKET/, path-style S3 with the same keys.
ST_NAME=iceberg-rest
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"

ICEBERG_VERSION="${ICEBERG_VERSION:-1.11.0}"
ICEBERG_REST_HEAP="${ICEBERG_REST_HEAP:-256m}"
SRC="$ST_DIR/iceberg-rest/IcebergRest.java"
DIST="$STACK_HOME/iceberg-rest-$ICEBERG_VERSION"
INST="$STACK_HOME/data/iceberg-rest-$ICEBERG_REST_PORT"
PIDFILE="$INST/iceberg-rest.pid"
LOGFILE="$INST/iceberg-rest.log"
URI="http://127.0.0.1:$ICEBERG_REST_PORT"

installed() { [ -f "$DIST/.ok" ] && cmp -s "$SRC" "$DIST/IcebergRest.java"; }

install() {
  installed && return 0
  st_lock iceberg-rest-install
  installed && { st_unlock; return 0; }
  st_javac 17
  local tmp d g a v c
  st_log "fetching Iceberg $ICEBERG_VERSION"
  tmp="$(mktemp -d "$STACK_HOME/.iceberg-rest-install.XXXXXX")"
  {
    echo '<project><modelVersion>4.0.0</modelVersion>'
    echo '<groupId>ebap.stack</groupId><artifactId>iceberg-rest</artifactId><version>1</version>'
    echo '<packaging>pom</packaging><dependencies>'
    # group:artifact:version[:classifier]; the REST handlers are in iceberg-core's tests jar
    for d in "org.apache.iceberg:iceberg-core:$ICEBERG_VERSION" \
      "org.apache.iceberg:iceberg-core:$ICEBERG_VERSION:tests" \
      "org.apache.iceberg:iceberg-aws:$ICEBERG_VERSION" \
      "org.apache.iceberg:iceberg-aws-bundle:$ICEBERG_VERSION" \
      org.apache.hadoop:hadoop-client-api:3.4.2 \
      org.apache.hadoop:hadoop-client-runtime:3.4.2 \
      org.eclipse.jetty.ee10:jetty-ee10-servlet:12.1.5 \
      org.xerial:sqlite-jdbc:3.51.1.0 \
      org.slf4j:slf4j-simple:2.0.17; do
      IFS=: read -r g a v c <<<"$d"
      echo "<dependency><groupId>$g</groupId><artifactId>$a</artifactId><version>$v</version>${c:+<classifier>$c</classifier>}</dependency>"
    done
    echo '</dependencies></project>'
  } >"$tmp/pom.xml"
  st_mvn -f "$tmp/pom.xml" "$ST_MVN_DEP:copy-dependencies" -DoutputDirectory="$tmp/lib" ||
    { rm -rf "$tmp"; st_die "the jars could not be fetched"; }
  cp "$SRC" "$tmp/IcebergRest.java"
  mkdir -p "$tmp/classes"
  "$JAVAC" --release 17 -proc:none -cp "$tmp/lib/*" -d "$tmp/classes" "$tmp/IcebergRest.java" ||
    { rm -rf "$tmp"; st_die "the launcher does not compile"; }
  touch "$tmp/.ok"
  rm -rf "$DIST" && mv "$tmp" "$DIST" || st_die "cannot write $DIST"
  st_unlock
  st_log "installed in $DIST"
}

start() {
  install
  st_lock "iceberg-rest-$ICEBERG_REST_PORT" 180
  if st_pid "$PIDFILE" >/dev/null; then st_log "already running"; return 0; fi
  st_java 17
  st_need_port_free "$ICEBERG_REST_PORT"
  st_s3 -o /dev/null "$S3_ENDPOINT/$S3_BUCKET?location=" 2>/dev/null ||
    st_die "no bucket $S3_BUCKET at $S3_ENDPOINT: run minio.sh start first"
  mkdir -p "$INST/db" "$INST/tmp"
  (umask 077; cat >"$INST/catalog.properties") <<P
catalog-impl=org.apache.iceberg.jdbc.JdbcCatalog
uri=jdbc:sqlite:$INST/db/catalog.db?busy_timeout=30000&journal_mode=WAL
jdbc.schema-version=V1
warehouse=s3://$S3_BUCKET
io-impl=org.apache.iceberg.aws.s3.S3FileIO
s3.endpoint=$S3_ENDPOINT
s3.path-style-access=true
s3.access-key-id=$S3_ACCESS_KEY
s3.secret-access-key=$S3_SECRET_KEY
client.region=$S3_REGION
P
  local opts=(-Xmx"$ICEBERG_REST_HEAP" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.io.tmpdir="$INST/tmp"
    -Daws.region="$S3_REGION" -Daws.disableEc2Metadata=true)
  [ "$JAVA_MAJOR" -ge 24 ] && opts+=(--enable-native-access=ALL-UNNAMED)
  st_spawn "$PIDFILE" "$LOGFILE" "$JAVA" "${opts[@]}" -cp "$DIST/classes:$DIST/lib/*" \
    IcebergRest 127.0.0.1 "$ICEBERG_REST_PORT" "$INST/catalog.properties"
  st_wait "Iceberg REST catalog" "$PIDFILE" "$LOGFILE" 120 curl -sf --max-time 5 "$URI/v1/namespaces"
  st_log "ready: $URI, warehouse s3://$S3_BUCKET/"
}

case "${1:-}" in
  install) install ;;
  start) start ;;
  stop) st_stop "$PIDFILE" "Iceberg REST catalog" 20 ;;
  status) st_status "$PIDFILE" "Iceberg REST catalog on 127.0.0.1:$ICEBERG_REST_PORT" ;;
  clean) st_stop "$PIDFILE" "Iceberg REST catalog" 20; rm -rf "$INST" ;;
  uri) echo "$URI" ;;
  *) st_usage ;;
esac
