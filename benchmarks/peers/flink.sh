#!/usr/bin/env bash
# Flink SQL on the benchmark's topic: a standalone cluster (one JobManager, one TaskManager of 2 slots and
# 4 GiB), parallelism 2, exactly-once checkpoints every 10 s. The topic must be there: see run.sh.
#
#   flink.sh t1|t3|d1|l1|join|q0|q1...   starts a cluster for each job, runs it RUNS times, prints one JSON line a run, stops it
#   flink.sh stop             stops a cluster that was left
#
# Run 1 is on JVMs that have just started, the later ones on warm ones. Time: RUNNING to FINISHED by the
# JobManager's clock. CPU and memory: JobManager and TaskManager; the SQL client is in neither.
# Env: KAFKA_PORT, RUNS (2), FLINK_REST_PORT (18981; the next port is used too), FLINK_TM_MEM (4g)
set -u -o pipefail
ST_NAME=flink
# shellcheck source=lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh" || exit 1
export FLINK_REST_PORT="${FLINK_REST_PORT:-18981}" FLINK_RUN="$PEERS_HOME/run/flink-${FLINK_REST_PORT:-18981}"
FLINK_TM_MEM="${FLINK_TM_MEM:-4g}"

# What Flink's own start scripts open to it.
JVM_OPENS=(--add-exports=java.base/sun.net.util=ALL-UNNAMED --add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED
  --add-opens=java.base/sun.nio.ch=ALL-UNNAMED -XX:+IgnoreUnrecognizedVMOptions)
for package in lang net io nio lang.reflect text time util util.concurrent util.concurrent.atomic util.concurrent.locks; do
  JVM_OPENS+=("--add-opens=java.base/java.$package=ALL-UNNAMED")
done

joined() { local IFS=:; printf '%s' "$*"; }
classpath() { joined "$FLINK_DIST"/lib/*.jar "$FLINK_DIST"/lib-kafka/*.jar; }

configure() {
  mkdir -p "$FLINK_RUN/conf" "$FLINK_RUN/tmp" "$FLINK_RUN/checkpoints"
  cat >"$FLINK_RUN/conf/config.yaml" <<YAML
jobmanager.rpc.address: 127.0.0.1
jobmanager.rpc.port: $((FLINK_REST_PORT + 1))
jobmanager.bind-host: 127.0.0.1
jobmanager.memory.process.size: 1g
jobmanager.execution.failover-strategy: region
taskmanager.bind-host: 127.0.0.1
taskmanager.host: 127.0.0.1
taskmanager.numberOfTaskSlots: 2
taskmanager.memory.process.size: $FLINK_TM_MEM
taskmanager.memory.managed.fraction: 0.1
parallelism.default: 2
rest.address: 127.0.0.1
rest.bind-address: 127.0.0.1
rest.port: $FLINK_REST_PORT
io.tmp.dirs: $FLINK_RUN/tmp
state.backend.type: hashmap
execution.checkpointing.storage: filesystem
execution.checkpointing.dir: file://$FLINK_RUN/checkpoints
execution.checkpointing.incremental: true
execution.checkpointing.interval: 10s
execution.checkpointing.mode: EXACTLY_ONCE
restart-strategy.type: disable
YAML
  cat >"$FLINK_RUN/conf/log4j.properties" <<LOG
rootLogger.level = INFO
rootLogger.appenderRef.a.ref = C
appender.c.type = Console
appender.c.name = C
appender.c.target = SYSTEM_ERR
appender.c.layout.type = PatternLayout
appender.c.layout.pattern = %d{ISO8601} %p %c{1} %m%n
LOG
}

start() {
  peer_java
  stop
  st_need_port_free "$FLINK_REST_PORT"; st_need_port_free $((FLINK_REST_PORT + 1))
  rm -rf "$FLINK_RUN"; configure
  export FLINK_CONF_DIR="$FLINK_RUN/conf"
  local classpath log memory=()
  classpath="$(classpath)"
  log="-Dlog4j.configurationFile=file:$FLINK_RUN/conf/log4j.properties"
  # The memory flags that Flink's own start script would use: JVM options, then dynamic ones.
  mapfile -t memory < <("$JAVA" "${JVM_OPENS[@]}" -cp "$FLINK_DIST/bin/bash-java-utils.jar:$classpath" \
    org.apache.flink.runtime.util.bash.BashJavaUtils GET_TM_RESOURCE_PARAMS --configDir "$FLINK_RUN/conf" \
    --bindir "$FLINK_DIST/bin" 2>"$FLINK_RUN/memory.err" | sed -n 's/^BASH_JAVA_UTILS_EXEC_RESULT://p')
  [ "${#memory[@]}" -eq 2 ] || { tail -5 "$FLINK_RUN/memory.err" >&2; st_die "Flink gives no memory parameters"; }
  st_spawn "$FLINK_RUN/jobmanager.pid" "$FLINK_RUN/jobmanager.log" "$JAVA" -Xmx512m -XX:+UseG1GC "${JVM_OPENS[@]}" "$log" \
    -cp "$classpath" org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint \
    --configDir "$FLINK_RUN/conf" -D rest.port="$FLINK_REST_PORT"
  # shellcheck disable=SC2086
  st_spawn "$FLINK_RUN/taskmanager.pid" "$FLINK_RUN/taskmanager.log" "$JAVA" -XX:+UseG1GC ${memory[0]} "${JVM_OPENS[@]}" "$log" \
    -cp "$classpath" org.apache.flink.runtime.taskexecutor.TaskManagerRunner --configDir "$FLINK_RUN/conf" ${memory[1]}
  python3 "$BENCH_DIR/flink_job.py" wait ||
    { tail -20 "$FLINK_RUN/jobmanager.log" "$FLINK_RUN/taskmanager.log" >&2; stop; st_die "the cluster did not start"; }
}

stop() {
  local name
  for name in taskmanager jobmanager; do
    [ -f "$FLINK_RUN/$name.pid" ] && st_stop "$FLINK_RUN/$name.pid" "$name" 15
  done
  return 0
}

# q0 and so on are queries of Nexmark.
program() { case "$1" in q*) echo "$BENCH_DIR/nexmark_job.py" ;; *) echo "$BENCH_DIR/flink_job.py" ;; esac; }

submit() { # JOB RUN
  python3 "$(program "$1")" sql "$1" "$2" >"$FLINK_RUN/job.sql" || exit 1
  "$JAVA" -Xmx512m "${JVM_OPENS[@]}" "-Dlog4j.configurationFile=file:$FLINK_RUN/conf/log4j.properties" \
    -cp "$(joined "$(classpath)" "$FLINK_DIST"/opt/*.jar "$FLINK_DIST"/lib-client/*.jar)" \
    org.apache.flink.table.client.SqlClient embedded -f "$FLINK_RUN/job.sql" >"$FLINK_RUN/client.log" 2>"$FLINK_RUN/client.err"
  grep -q 'Job ID' "$FLINK_RUN/client.log" && return 0
  grep -vE '^\s*$' "$FLINK_RUN/client.log" | tail -15 >&2; tail -5 "$FLINK_RUN/client.err" >&2
  return 1
}

job() { # JOB: each run is followed from before it is submitted
  local run follower ready
  start
  for ((run = 1; run <= RUNS; run++)); do
    ready="$FLINK_RUN/follow.err"; : >"$ready"
    python3 "$(program "$1")" follow "$1" "$run" "$(stat -c %s "$FLINK_RUN/taskmanager.log")" 2>"$ready" &
    follower=$!
    until grep -q ready "$ready"; do kill -0 "$follower" 2>/dev/null || break; sleep 0.1; done
    submit "$1" "$run" || { kill "$follower" 2>/dev/null; st_die "the job was not accepted"; }
    wait "$follower" || { cat "$ready" >&2; st_die "job $1, run $run"; }
  done
  stop
}

[ $# -gt 0 ] || st_usage
[ "$1" = stop ] && { stop; exit 0; }
bash "$BENCH_DIR/install.sh" flink || exit 1
trap stop EXIT
trap 'exit 130' INT TERM
for name in "$@"; do
  case "$name" in t1 | t3 | d1 | l1 | join | q[0-9] | q[0-9][0-9]) job "$name" ;; *) st_usage ;; esac
done
