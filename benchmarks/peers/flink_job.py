"""A Flink SQL job: its text, its progress over REST, its results out of the TaskManager's log. Called by flink.sh.

  flink_job.py wait           until both slots are there
  flink_job.py sql JOB RUN    print the job
  flink_job.py follow JOB RUN LOG_OFFSET
                              measure it from here to its end; print one JSON line
"""

import json
import os
import re
import sys
import threading
import time
import urllib.request
from datetime import datetime, timezone

import measure

RUN_DIR = os.environ["FLINK_RUN"]
URL = f"http://127.0.0.1:{os.environ['FLINK_REST_PORT']}"
START_S, JOB_S, POLL_S = 120, 900, 0.2

SOURCE = """
CREATE TABLE events (
  id STRING, user_id STRING, action STRING,
  metadata ROW<amount DOUBLE, item_id STRING, region STRING, platform STRING>,
  location STRING, `timestamp` TIMESTAMP_LTZ(3),
  WATERMARK FOR `timestamp` AS `timestamp`{delay}
) WITH ('connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{bootstrap}',
  'properties.group.id' = 'flink-{name}', {bounds},
  'properties.fetch.max.bytes' = '52428800', 'properties.max.partition.fetch.bytes' = '8388608',
  'properties.max.poll.records' = '5000',
  'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601', 'json.ignore-parse-errors' = 'false');
"""
FULL = "'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'"
LIVE = "'scan.startup.mode' = 'latest-offset'"
SUMS_SINK = """CREATE TABLE out_{size} (start_at TIMESTAMP(3), region STRING, action STRING, n BIGINT, total DOUBLE)
  WITH ('connector' = 'print', 'print-identifier' = '{name}-{size}');
"""
SUMS = """INSERT INTO out_{size} SELECT window_start, metadata.region, action, COUNT(*), SUM(metadata.amount)
  FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(`timestamp`), INTERVAL {interval}))
  GROUP BY window_start, window_end, metadata.region, action;
"""
USERS = """CREATE TABLE out_users (start_at TIMESTAMP(3), region STRING, n BIGINT)
  WITH ('connector' = 'print', 'print-identifier' = '{name}-users');
INSERT INTO out_users SELECT window_start, metadata.region, COUNT(DISTINCT user_id)
  FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(`timestamp`), INTERVAL '1' MINUTE))
  GROUP BY window_start, window_end, metadata.region;
"""
BACKLOG = """
CREATE TABLE backlog (id BIGINT, k_ten BIGINT, v BIGINT, ts BIGINT, happened AS TO_TIMESTAMP_LTZ(ts, 3),
  WATERMARK FOR happened AS happened - INTERVAL '2' SECOND)
  WITH ('connector' = 'filesystem', 'path' = 'file://{path}', 'format' = 'json');
CREATE TABLE out_pairs (start_at TIMESTAMP(3), n BIGINT, x BIGINT, y BIGINT)
  WITH ('connector' = 'print', 'print-identifier' = '{name}-pairs');
CREATE VIEW pairs AS SELECT a.happened AS happened, a.v AS x, b.v AS y FROM backlog a JOIN backlog b ON a.k_ten = b.k_ten
  AND b.happened BETWEEN a.happened + INTERVAL '0.001' SECOND AND a.happened + INTERVAL '1' SECOND;
INSERT INTO out_pairs SELECT window_start, COUNT(*), SUM(x), SUM(y)
  FROM TABLE(TUMBLE(TABLE pairs, DESCRIPTOR(happened), INTERVAL '1' HOUR)) GROUP BY window_start, window_end;
"""
INTERVALS = {"1s": "'1' SECOND", "1m": "'1' MINUTE", "5m": "'5' MINUTE", "1h": "'1' HOUR"}
SIZES = {"t1": ["1m"], "t3": ["1m", "5m", "1h"], "l1": ["1s"]}


def get(path):
    with urllib.request.urlopen(URL + path, timeout=10) as answer:
        return json.load(answer)


def wait():
    until = time.time() + START_S
    while time.time() < until:
        try:
            if get("/overview").get("slots-available") == 2:
                return
        except OSError:
            pass  # It does not listen yet.
        time.sleep(POLL_S)
    sys.exit(f"no two slots after {START_S} s")


def sql(job, run):
    name, live = f"{job}-{run}", job == "l1"
    settings = {"pipeline.name": name, "pipeline.object-reuse": "true", "table.local-time-zone": "UTC",
                "table.optimizer.agg-phase-strategy": "TWO_PHASE"}
    parts = [f"SET '{key}' = '{value}';" for key, value in settings.items()]
    if job == "join":
        parts.append(BACKLOG.format(path=os.environ["BACKLOG_ROWS"], name=name))
        print("\n".join(parts))
        return
    parts.append(SOURCE.format(name=name, bootstrap=os.environ["BOOTSTRAP"], topic=os.environ["TOPIC"] + ("-live" if live else ""),
                               delay="" if live else " - INTERVAL '10' SECOND", bounds=LIVE if live else FULL))
    if job == "d1":
        parts.append(USERS.format(name=name))
    else:
        sizes = SIZES[job]
        parts += [SUMS_SINK.format(size=size, name=name) for size in sizes]
        inserts = [SUMS.format(size=size, interval=INTERVALS[size]) for size in sizes]
        # One statement set is one job, with one source for all three.
        parts += ["EXECUTE STATEMENT SET\nBEGIN\n", *inserts, "END;"] if len(inserts) > 1 else inserts
    print("\n".join(parts))


def processes():
    return [int(measure.read(f"{RUN_DIR}/{name}.pid").split()[0]) for name in ("jobmanager", "taskmanager")]


def milliseconds(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp() * 1000)


def result(line, name):
    """(sink, columns) of a line that the print connector wrote, else None."""
    found = re.match(rf"{re.escape(name)}-(\w+):?(?:\d+> |> )?\+I\[(.*)\]", line)
    return (found[1], found[2].split(", ")) if found else None


def find(name):
    return next((job for job in get("/jobs/overview")["jobs"] if job["name"] == name), None)


def wrong(job, name, offset):
    rows = {}
    with open(f"{RUN_DIR}/taskmanager.log", errors="replace") as log:
        log.seek(offset)
        for line in log:
            if found := result(line, name):
                rows.setdefault(found[0], []).append(found[1])
    if job == "join":
        pairs = {str(milliseconds(start)): [int(n), int(x), int(y)] for start, n, x, y in rows.get("pairs", [])}
        return measure.differences(pairs, json.loads(measure.read(os.environ["BACKLOG_EXPECTED"])))
    if job == "d1":
        return measure.wrong_users([(milliseconds(start), region, int(users)) for start, region, users in rows.get("users", [])])
    for size in SIZES[job]:
        sums = [(milliseconds(start), region, action, int(n), float(total)) for start, region, action, n, total in rows.get(size, [])]
        if difference := measure.wrong_windows(sums, size):
            return difference
    return None


def finished(name):
    """Figures of a job from here to its end. CPU counts before the SQL client starts: the whole job, and some seconds
    of an idle cluster."""
    meter, until = measure.Meter(processes()), time.time() + JOB_S
    print("ready", file=sys.stderr, flush=True)
    submitted = False
    while not (found := find(name)) or found["state"] not in ("FINISHED", "FAILED", "CANCELED"):
        if found and not submitted:
            submitted = True
            meter.forget_others()  # The client, a JVM of its own.
        if time.time() > until:
            sys.exit(f"{name} did not end in {JOB_S} s")
        time.sleep(POLL_S)
    if found["state"] != "FINISHED":
        sys.exit(f"{name} {found['state']}: {json.dumps(get('/jobs/' + found['jid'] + '/exceptions'))[:1500]}")
    at = get(f"/jobs/{found['jid']}")["timestamps"]
    figures = meter.finish(seconds=(at["FINISHED"] - at["RUNNING"]) / 1000)
    checkpoints = get(f"/jobs/{found['jid']}/checkpoints")
    newest = (checkpoints.get("latest") or {}).get("completed") or {}
    return {**figures, "checkpoints": checkpoints["counts"]["completed"], "checkpoint_state_bytes": newest.get("state_size")}


def follow(job, run, offset):
    name = f"{job}-{run}"
    figures = finished(name)
    difference = wrong(job, name, offset)
    measure.report("flink", os.environ["FLINK_VERSION"], job, {
        **figures, "run": run, "cold": run == 1, "correct": difference is None, "note": difference})


class Tail(threading.Thread):
    """When which result was in the log."""

    def __init__(self, name, offset):
        super().__init__(daemon=True)
        self.prefix, self.offset, self.rows, self.stopped = name, offset, [], threading.Event()
        self.start()

    def run(self):
        with open(f"{RUN_DIR}/taskmanager.log", errors="replace") as log:
            log.seek(self.offset)
            rest = ""
            while not self.stopped.is_set():
                text = log.read()
                if not text:
                    self.stopped.wait(0.005)
                    continue
                now = time.time()
                *lines, rest = (rest + text).split("\n")
                for line in lines:
                    if found := result(line, self.prefix):
                        start, _, _, count, _ = found[1]
                        self.rows.append((milliseconds(start), int(count), now))


def follow_live(run, offset):
    name, until = f"l1-{run}", time.time() + START_S
    print("ready", file=sys.stderr, flush=True)
    while not (found := find(name)) or found["state"] != "RUNNING":
        if time.time() > until:
            sys.exit(f"{name} does not run after {START_S} s")
        time.sleep(POLL_S)
    # RUNNING is said before the tasks have found where the topic ends.
    while any(vertex["status"] != "RUNNING" for vertex in get(f"/jobs/{found['jid']}")["vertices"]):
        time.sleep(POLL_S)
    time.sleep(4)
    tail, meter = Tail(name, offset), measure.Meter(processes())
    by_second = measure.live()
    time.sleep(3)
    figures = meter.finish(events=sum(by_second.values()))
    tail.stopped.set()
    tail.join()
    request = urllib.request.Request(f"{URL}/jobs/{found['jid']}?mode=cancel", method="PATCH")
    urllib.request.urlopen(request, timeout=10).close()
    while find(name)["state"] not in ("CANCELED", "FINISHED", "FAILED") and time.time() < until + JOB_S:
        time.sleep(POLL_S)
    latency = measure.latency(tail.rows, by_second, int(os.environ["LIVE_WARM_UP"]))
    measure.report("flink", os.environ["FLINK_VERSION"], "l1", {
        **figures, **latency, "run": run, "cold": run == 1, "rate": int(os.environ["LIVE_RATE"])})


def main():
    match sys.argv[1:]:
        case ["wait"]:
            wait()
        case ["sql", job, run]:
            sql(job, run)
        case ["follow", "l1", run, offset]:
            follow_live(int(run), int(offset))
        case ["follow", job, run, offset]:
            follow(job, int(run), int(offset))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
