"""Every kind of view over a backlog, its answer compared with DuckDB's: `make bench-backlog`.

  backlog.py [--rows N] [--keys one,ten,all] [--kinds tumble,hop] [--memory 4GiB]
  backlog.py --flink [--rows N]

A file of rows is read as a stream by a server of its own. Each view is created when the stream has been read, so that
it catches up over all of it, and is dropped before the next. One JSON line a view; exit status 1 where one differs.
`--flink`: a join of ten keys within a second, summed by hour, on this server and on Flink SQL, which read the same file.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import psycopg

# Columns of the keys: one, ten, and as many as there are rows, at most this many.
ALL_KEYS = 1_000_000
KEYS = {"one": "k_one", "ten": "k_ten", "all": "k_all"}
# Rows are ten milliseconds apart, and up to half a second out of order; the watermark waits for two.
START_MS = 1_767_225_600_000
TABLE_KEYS = 100_000
# What the server may map beyond its budget: the binary, thread stacks, what the allocator keeps.
ADDRESSES_BEYOND_GIB = 4
START_S = 60

ROWS = f"""SELECT id, 1 AS k_one, id * 7919 % 10 AS k_ten, id * 2654435761 % {{keys}} AS k_all,
    id * 48271 % 99991 AS v, 't' || (id * 31 % 1000) AS t, {START_MS} + id * 10 + id * 16807 % 97 * 5 AS ts
    FROM range({{rows}}) r (id)"""
# A table is changed again and again: 70 of 100 times to another tier.
CHANGES = "SELECT {key} AS user_id, CAST(id * 16807 % 7 AS BIGINT) AS tier, id AS version FROM range({rows}) r (id)"

STREAM = """CREATE STREAM rows (id BIGINT NOT NULL, k_one BIGINT, k_ten BIGINT, k_all BIGINT, v BIGINT, t TEXT,
    ts TIMESTAMPTZ NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '2 seconds')
    WITH (connector = 'file', path = '{path}', format = 'json', timestamp_unit = 'ms')"""
TABLE = """CREATE TABLE {name} (user_id BIGINT PRIMARY KEY, tier BIGINT, version BIGINT)
    WITH (connector = 'file', path = '{path}', format = 'json')"""


def bin_ms(width_ms):
    return f"ts // {width_ms} * {width_ms}"


def epoch(column):
    return f"CAST(extract(epoch FROM {column}) * 1000 AS BIGINT) AS {column}"


def tumble(aggregates, ours=None, width_ms=60_000, interval="1 minute"):
    return (
        f"SELECT {{k}} AS k, {ours or aggregates} FROM rows GROUP BY {{k}} WINDOW TUMBLE (ts, INTERVAL '{interval}')",
        f"SELECT {bin_ms(width_ms)} AS window_start, {{k}} AS k, {aggregates} FROM rows GROUP BY ALL",
    )


def grouped(aggregates, ours=None):
    return (
        f"SELECT {{k}} AS k, {ours or aggregates} FROM rows GROUP BY {{k}}",
        f"SELECT {{k}} AS k, {aggregates} FROM rows GROUP BY {{k}}",
    )


def joined(select, theirs):
    """Rows of a key within {within}, the earlier on the left. `theirs` is of the pairs that DuckDB has found once."""
    condition = "a.{k} = b.{k} AND b.ts BETWEEN a.ts + INTERVAL '1 millisecond' AND a.ts + INTERVAL '{within} milliseconds'"
    return select.replace("MEET", condition), theirs


# A row is looked up in its stretch of time and the next: DuckDB would compare all rows of a key with each other.
PAIRS = """CREATE OR REPLACE TABLE pairs AS SELECT a.id AS a, b.id AS b, a.v AS x, b.v AS y
    FROM (SELECT *, ts // {within} + unnest([0, 1]) AS stretch FROM rows) a
    JOIN (SELECT *, ts // {within} AS stretch FROM rows) b
        ON a.{k} = b.{k} AND a.stretch = b.stretch AND b.ts BETWEEN a.ts + 1 AND a.ts + {within}"""
SUMS = "count(*) AS n, sum(a.v) AS x, sum(b.v) AS y"
ALONE = "SELECT {n} AS n, {x} AS x, {y} AS y FROM rows WHERE id NOT IN (SELECT {of} FROM pairs)"
LEFT_ALONE = ALONE.format(n=1, x="v", y="NULL", of="a")
RIGHT_ALONE = ALONE.format(n=1, x="NULL", y="v", of="b")
MET = "SELECT 1 AS n, x, y FROM pairs"
EXISTS = "SELECT count(*) AS n, sum(id) AS s FROM (SELECT a.id FROM rows a WHERE {word} (SELECT 1 FROM rows b WHERE MEET)) q"


# Beside Flink: an hour is that of the earlier row.
JOIN = """CREATE MATERIALIZED VIEW joined AS SELECT date_trunc('hour', a.ts) AS hour, count(*) AS n, sum(a.v) AS x, sum(b.v) AS y
    FROM rows a JOIN rows b ON a.k_ten = b.k_ten
    AND b.ts BETWEEN a.ts + INTERVAL '1 millisecond' AND a.ts + INTERVAL '1 second' GROUP BY 1"""


def summed(*parts):
    return f"SELECT coalesce(sum(n), 0) AS n, sum(x) AS x, sum(y) AS y FROM ({' UNION ALL '.join(parts)}) q"


HOPS = f"""SELECT CAST(pane - hop * 20000 AS BIGINT) AS window_start, k, sum(n) AS n, sum(s) AS s
    FROM (SELECT {bin_ms(20_000)} AS pane, {{k}} AS k, count(*) AS n, sum(v) AS s FROM rows WHERE v % 2 = 0 GROUP BY ALL) panes, range(3) h (hop)
    GROUP BY ALL"""
SESSIONS = """SELECT min(ts) AS window_start, k, count(*) AS n FROM (
    SELECT k, ts, sum(begins) OVER (PARTITION BY k ORDER BY ts, id ROWS UNBOUNDED PRECEDING) AS session FROM (
        SELECT {k} AS k, ts, id, CASE WHEN ts - lag(ts) OVER (PARTITION BY {k} ORDER BY ts, id) < 200 THEN 0 ELSE 1 END AS begins
        FROM rows) marked) numbered
    GROUP BY k, session"""
RANKED = "SELECT k, id, v FROM (SELECT {{k}} AS k, id, v, {rank}() OVER (PARTITION BY {{k}} ORDER BY v DESC{then}) AS r FROM rows) q WHERE r <= {most}"

# Name: the view, DuckDB's query, columns of both, and the keys where not all of them. Columns are integers.
KINDS = {
    "tumble": (*tumble("count(*) AS n, sum(v) AS s, min(v) AS low, max(v) AS high"), "window_start k n s low high"),
    "hop": (
        "SELECT {k} AS k, count(*) AS n, sum(v) AS s FROM rows WHERE v % 2 = 0 GROUP BY {k}"
        " WINDOW HOP (ts, INTERVAL '20 seconds', INTERVAL '1 minute')",
        HOPS, "window_start k n s"),
    "session": (
        "SELECT {k} AS k, count(*) AS n FROM rows GROUP BY {k} WINDOW SESSION (ts, INTERVAL '200 milliseconds')",
        SESSIONS, "window_start k n"),
    "distinct_in_window": (*tumble("count(DISTINCT t) AS n", width_ms=3_600_000, interval="1 hour"), "window_start k n"),
    "running": (*grouped("count(*) AS n, sum(v) AS s, min(v) AS low, max(v) AS high"), "k n s low high"),
    "running_distinct": (*grouped("count(DISTINCT v) AS n"), "k n"),
    "array_agg": (*grouped("len(list(v)) AS n", "cardinality(array_agg(v)) AS n"), "k n"),
    "string_agg": (
        *grouped("length(string_agg(t, ',' ORDER BY id)) AS n"), "k n"),
    "percentile": (
        *grouped("CAST(quantile_cont(v, 0.5) * 2 AS BIGINT) AS n",
                 "CAST(percentile_cont(0.5) WITHIN GROUP (ORDER BY v) * 2 AS BIGINT) AS n"), "k n"),
    "top_of_each": (*[RANKED.format(rank="row_number", then=", id", most=3)] * 2, "k id v"),
    "rank_of_each": (*[RANKED.format(rank="rank", then="", most=2)] * 2, "k id v"),
    "top": (*["SELECT {k} AS k, id, v FROM rows ORDER BY v DESC, id LIMIT 100"] * 2, "k id v"),
    "distinct": (*["SELECT DISTINCT {k} AS k, v % 100 AS w FROM rows"] * 2, "k w"),
    "distinct_on": (
        *["SELECT DISTINCT ON ({k}) {k} AS k, id, v FROM rows ORDER BY {k}, ts DESC, id"] * 2, "k id v"),
    "rows": (*["SELECT {k} AS k, id, v FROM rows WHERE v % 3 = 0"] * 2, "k id v"),
    "interval_join": (*joined(f"SELECT {SUMS} FROM rows a JOIN rows b ON MEET", summed(MET)), "n x y"),
    "interval_left_join": (*joined(f"SELECT {SUMS} FROM rows a LEFT JOIN rows b ON MEET", summed(MET, LEFT_ALONE)), "n x y"),
    "interval_full_join": (*joined(f"SELECT {SUMS} FROM rows a FULL JOIN rows b ON MEET", summed(MET, LEFT_ALONE, RIGHT_ALONE)), "n x y"),
    "exists": (
        *joined(EXISTS.format(word="EXISTS"), "SELECT count(*) AS n, sum(id) AS s FROM rows WHERE id IN (SELECT a FROM pairs)"), "n s"),
    "not_exists": (
        *joined(EXISTS.format(word="NOT EXISTS"), "SELECT count(*) AS n, sum(id) AS s FROM rows WHERE id NOT IN (SELECT a FROM pairs)"),
        "n s"),
    "with_table": (
        *["SELECT {k} AS k, u.tier, count(*) AS n, sum(r.v) AS s FROM rows r JOIN users u ON u.user_id = r.v GROUP BY {k}, u.tier"] * 2,
        "k tier n s"),
    "of_table": (*["SELECT tier, count(*) AS n, sum(version) AS s FROM changes_{k} GROUP BY tier"] * 2, "tier n s"),
    "of_aggregates": (*["SELECT m, count(*) AS n FROM (SELECT {k} AS k, max(v) AS m FROM rows GROUP BY {k}) q GROUP BY m"] * 2, "m n"),
    "join_of_aggregates": (
        *["SELECT a.k, a.n, b.m FROM (SELECT {k} AS k, count(*) AS n FROM rows GROUP BY {k}) a"
          " JOIN (SELECT {k} AS k, max(v) AS m FROM rows WHERE v % 2 = 0 GROUP BY {k}) b ON a.k = b.k"] * 2, "k n m"),
    "union": (*["SELECT {k} AS k, v % 10 AS w FROM rows UNION SELECT {k} AS k, v % 13 AS w FROM rows"] * 2, "k w"),
}


def fingerprint(columns, of):
    """The count, the sum of each column, and a sum in which columns and their order count."""
    mixed = " + ".join(f"coalesce(CAST({name} AS BIGINT), -1) * {prime}" for name, prime in zip(columns, (1_000_003, 7_919, 104_729, 31, 611_953)))
    sums = ", ".join(f"CAST(coalesce(sum({name}), 0) AS NUMERIC(38, 0))" for name in columns)
    return f"SELECT count(*), {sums}, CAST(coalesce(sum(({mixed}) % 2147483647), 0) AS NUMERIC(38, 0)) FROM {of}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self, folder, memory):
        port = free_port()
        limit_kib = (gib(memory) + ADDRESSES_BEYOND_GIB) * 1024 * 1024
        command = [os.environ["EBAP_BIN"], "server", "--pg-listen", f"127.0.0.1:{port}", "--http-listen", f"127.0.0.1:{free_port()}",
                   "--data-dir", str(folder / "data"), "--memory-limit", memory]
        with open(folder / "log", "w") as log:
            self.process = subprocess.Popen(["bash", "-c", f'ulimit -v {limit_kib}; exec "$@"', "ebap", *command], stdout=log, stderr=log)
        until = time.time() + START_S
        while True:
            try:
                self.connection = psycopg.connect(f"host=127.0.0.1 port={port} user=ebap dbname=ebap", autocommit=True)
                return
            except psycopg.OperationalError:
                if time.time() > until or self.process.poll() is not None:
                    self.stop()
                    sys.exit(f"the server does not answer: {(folder / 'log').read_text()[-2000:]}")
                time.sleep(0.1)

    def run(self, text):
        return self.connection.execute(text)

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_mib(self):
        """Since the last call."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        peak = next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return peak

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


def gib(text):
    if not text.endswith("GiB"):
        sys.exit(f"--memory {text}: write it as 4GiB")
    return int(text.removesuffix("GiB"))


def fill(duck, folder, rows):
    """The same rows in DuckDB and in files."""
    def write(name, query):
        duck.execute(f"CREATE TABLE {name} AS {query}")
        duck.execute(f"COPY {name} TO '{folder / name}.jsonl' (FORMAT json)")

    duck.execute("CREATE TABLE made AS SELECT '' AS last")
    write("rows", ROWS.format(rows=rows, keys=ALL_KEYS))
    write("users", CHANGES.format(rows=TABLE_KEYS, key="id"))
    for name, column in KEYS.items():
        key = {"one": "1", "ten": "id * 7919 % 10", "all": f"id * 2654435761 % {ALL_KEYS}"}[name]
        write(f"changes_{column}", CHANGES.format(rows=rows, key=key))
        # What is left of them, as a table has it.
        duck.execute(f"CREATE OR REPLACE TABLE changes_{column} AS SELECT user_id, arg_max(tier, version) AS tier,"
                     f" max(version) AS version FROM changes_{column} GROUP BY user_id")


def compare(server, duck, kind, keys):
    view, query, columns = KINDS[kind]
    columns, column = columns.split(), KEYS[keys]
    # The more rows a key has, the less of them are joined.
    place = {"k": column, "within": {"one": 20, "ten": 1000, "all": 1000}[keys]}
    server.peak_mib()
    cpu, begun = server.cpu_seconds(), time.time()
    figures = {"kind": kind, "keys": keys}
    try:
        server.run(f"CREATE MATERIALIZED VIEW compared AS {view.format(**place)}")
        server.run("FLUSH")
        figures |= {"seconds": round(time.time() - begun, 2), "cpu_seconds": round(server.cpu_seconds() - cpu, 2)}
        figures["state_mib"] = server.run("SELECT memory_bytes / 1048576 FROM ebap.jobs WHERE name = 'compared'").fetchone()[0]
        if " pairs" in query and duck.execute("SELECT last FROM made").fetchone()[0] != keys:
            duck.execute(PAIRS.format(**place))
            duck.execute("UPDATE made SET last = ?", [keys])
        shown = ", ".join(epoch(name) if name == "window_start" else name for name in columns)
        ours = server.run(fingerprint(columns, f"(SELECT {shown} FROM compared) q")).fetchone()
        theirs = duck.execute(fingerprint(columns, f"({query.format(**place)}) q")).fetchone()
        ours, theirs = [int(one) for one in ours], [int(one) for one in theirs]
        figures |= {"view_rows": ours[0], "correct": ours == theirs}
        if ours != theirs:
            figures["note"] = f"{ours} and not {theirs}"
    except psycopg.Error as error:
        figures |= {"seconds": round(time.time() - begun, 2), "correct": False, "note": str(error)[:300]}
    figures["peak_rss_mib"] = server.peak_mib()
    server.run("DROP MATERIALIZED VIEW IF EXISTS compared")
    return figures


def hours(rows):
    """Sums of each hour, as flink_job.py compares them."""
    return {str(int(start)): [int(n), int(x), int(y)] for start, n, x, y in rows}


def beside_flink(server, duck, folder, rows):
    """The same join twice on each engine. Gives how many runs differ from DuckDB's answer."""
    duck.execute(PAIRS.format(k="k_ten", within=1000))
    of_hour = f"SELECT r.{bin_ms(3_600_000)} AS hour, count(*), sum(x), sum(y) FROM pairs JOIN rows r ON r.id = pairs.a GROUP BY hour"
    wanted = hours(duck.execute(of_hour).fetchall())
    (folder / "expected.json").write_text(json.dumps(wanted))
    differing = 0
    for run in (1, 2):
        server.peak_mib()
        cpu, begun = server.cpu_seconds(), time.time()
        server.run(JOIN)
        server.run("FLUSH")
        seconds, cpu = time.time() - begun, server.cpu_seconds() - cpu
        ours = hours(server.run("SELECT extract(epoch FROM hour) * 1000, n, x, y FROM joined").fetchall())
        server.run("DROP MATERIALIZED VIEW joined")
        differing += ours != wanted
        print(json.dumps({
            "engine": "ebap", "job": "join", "run": run, "cold": run == 1, "events": rows, "seconds": round(seconds, 3),
            "cpu_seconds": round(cpu, 2), "events_per_cpu_second": round(rows / cpu), "peak_rss_mib": server.peak_mib(),
            "correct": ours == wanted}), flush=True)
    flink = Path(__file__).resolve().parent.parent / "peers" / "flink.sh"
    surroundings = os.environ | {
        "BACKLOG_ROWS": str(folder / "rows.jsonl"), "BACKLOG_EXPECTED": str(folder / "expected.json"), "BENCH_EVENTS": str(rows)}
    done = subprocess.run(["bash", str(flink), "join"], env=surroundings, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="", flush=True)
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    return differing + (done.returncode != 0) + sum(not figures["correct"] for figures in runs)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rows", type=int, default=5_000_000)
    arguments.add_argument("--keys", default=",".join(KEYS))
    arguments.add_argument("--kinds", default=",".join(KINDS))
    arguments.add_argument("--memory", default="4GiB")
    arguments.add_argument("--flink", action="store_true")
    given = arguments.parse_args()
    differing = 0
    with tempfile.TemporaryDirectory(prefix="ebap-backlog-") as folder:
        folder, duck = Path(folder), duckdb.connect()
        duck.execute("SET TimeZone = 'UTC'; SET memory_limit = '6GB'")
        duck.execute(f"SET temp_directory = '{folder}'")
        fill(duck, folder, given.rows)
        server = Server(folder, given.memory)
        try:
            server.run(STREAM.format(path=folder / "rows.jsonl"))
            server.run(TABLE.format(name="users", path=folder / "users.jsonl"))
            for column in KEYS.values():
                if "of_table" in given.kinds:
                    server.run(TABLE.format(name=f"changes_{column}", path=folder / f"changes_{column}.jsonl"))
            server.run("FLUSH")
            for keys in [] if given.flink else given.keys.split(","):
                for kind in given.kinds.split(","):
                    figures = {"rows": given.rows, "memory": given.memory} | compare(server, duck, kind, keys)
                    differing += not figures["correct"]
                    print(json.dumps(figures), flush=True)
            if given.flink:
                differing += beside_flink(server, duck, folder, given.rows)
        finally:
            server.stop()
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
