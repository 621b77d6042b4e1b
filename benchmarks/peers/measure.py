"""CPU, memory and right answers, the same for every engine. Reads /proc; needs nothing but Python."""

import json
import os
import subprocess
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
EVENTS = int(os.environ["EVENTS"])
SIZES = ("1m", "5m", "1h")
FLUSH_REGION = "flush"
MEMORY_PERIOD_S = 0.2


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def stat(pid):
    """The fields of /proc/PID/stat after the name, which may hold spaces; empty where there is no such process."""
    return read(f"/proc/{pid}/stat").rpartition(")")[2].split()


def tree(roots):
    """The processes and all that descend from them."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := stat(name)):
            parents.setdefault(int(fields[1]), []).append(int(name))
    found, todo = [], list(roots)
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo.extend(parents.get(pid, []))
    return found


def cpu_seconds(pids):
    """User and system time so far."""
    return sum(sum(int(field) for field in fields[11:13]) for pid in pids if (fields := stat(pid))) / TICKS


def machine_seconds():
    """For which any core did anything since the machine started."""
    ticks = [int(field) for field in read("/proc/stat").split("\n")[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS


def broker_pid():
    path = f"{os.environ['STACK_HOME']}/data/kafka-{os.environ['KAFKA_PORT']}-n1/node-1.pid"
    return [int(text.split()[0])] if (text := read(path)) else []


def load():
    return os.getloadavg()[0]


class Memory(threading.Thread):
    """Samples what the processes hold together until `stop`."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self.pids, self.peak, self.stopped = pids, 0, threading.Event()
        self.start()

    def run(self):
        while not self.stopped.wait(MEMORY_PERIOD_S):
            held = sum(int(fields[21]) for pid in self.pids if (fields := stat(pid)))
            self.peak = max(self.peak, held * PAGE)

    def stop(self):
        self.stopped.set()
        self.join()
        return self.peak >> 20


class Meter:
    """Time, CPU and memory from here to `finish`, of the trees that ROOTS have now: a producer that is started
    later is no part of the engine."""

    def __init__(self, roots):
        self.pids = tree(roots)
        self.load, self.began, self.before = load(), time.time(), self.cpu()
        self.others_before = self.before
        self.memory = Memory(self.pids)

    def cpu(self):
        return cpu_seconds(self.pids), cpu_seconds(broker_pid()), machine_seconds()

    def forget_others(self):
        """What others used until now was in the service of this run."""
        self.others_before = self.cpu()

    def finish(self, events=EVENTS, seconds=None):
        """SECONDS where the engine's own clock knows better."""
        now, seconds = self.cpu(), seconds or time.time() - self.began
        engine, broker = now[0] - self.before[0], now[1] - self.before[1]
        spent, on_broker, on_machine = (after - before for after, before in zip(now, self.others_before))
        return {
            "events": events,
            "seconds": round(seconds, 3),
            "events_per_second": round(events / seconds),
            "cpu_seconds": round(engine, 2),
            "cpu_seconds_per_million": round(engine / (events / 1e6), 3),
            "events_per_cpu_second": round(events / engine) if engine else None,
            "peak_rss_mib": self.memory.stop(),
            "broker_cpu_seconds": round(broker, 2),
            "others_cpu_seconds": round(max(0.0, on_machine - spent - on_broker), 2),
            "load_before": self.load,
        }


def expected():
    with open(os.environ["EXPECTED"]) as file:
        answers = json.load(file)
    assert answers["events"] == EVENTS, "the expected answers are of another topic"
    return answers


def differences(got, wanted):
    for key, value in wanted.items():
        if got.get(key) != value:
            return f"{key} should be {value} and is {got.get(key)}"
    extra = next((key for key in got if key not in wanted), None)
    return f"{extra} should not be there" if extra else None


def wrong_windows(rows, size):
    """In which way ROWS of (start ms, region, action, count, sum) are not the batch answer; None where they are."""
    wanted = {(start, region, action): (count, cents) for start, region, action, count, cents in expected()["windows"][size]}
    got = {}
    for start, region, action, count, total in rows:
        if region == FLUSH_REGION:
            continue
        if (start, region, action) in got:
            return f"{size}: a window came twice: {start} {region} {action}"
        got[start, region, action] = count, round(total * 100)
    wrong = differences(got, wanted)
    return f"{size}: {wrong}" if wrong else None


def wrong_users(rows):
    """The same for rows of (start ms, region, distinct users)."""
    rows = [((start, region), users) for start, region, users in rows if region != FLUSH_REGION]
    if len(dict(rows)) != len(rows):
        return "a window came twice"
    return differences(dict(rows), {(start, region): users for start, region, users in expected()["users"]})


def latency(arrived, by_second, warm_up, last=2):
    """ARRIVED: (window start ms, count, time of arrival) for each row. BY_SECOND: records produced. For each whole
    second after the first WARM_UP ones: how long after its end the last of its rows was there. The LAST seconds
    have nothing after them that would close their windows."""
    seen, counts = {}, {}
    for start_ms, count, at in arrived:
        second = start_ms // 1000
        seen[second] = max(at, seen.get(second, 0))
        counts[second] = counts.get(second, 0) + count
    produced = {int(second): count for second, count in by_second.items()}
    seconds = sorted(produced)[max(1, warm_up):-last]
    wrong = [second for second in seconds if counts.get(second) != produced[second]]
    waits = sorted((seen[second] - second - 1) * 1000 for second in seconds if second in seen)
    quantile = lambda share: round(waits[min(len(waits) - 1, int(len(waits) * share))], 1) if waits else None
    note = f"second {wrong[0]} has {produced[wrong[0]]} records, the result {counts.get(wrong[0])}" if wrong else None
    return {"windows": len(seconds), "p50_ms": quantile(0.5), "p90_ms": quantile(0.9), "p99_ms": quantile(0.99),
            "max_ms": quantile(1.0), "correct": not wrong, "note": note}


def live():
    """Produces into the live topic at the rate, returns records by second."""
    command = [os.environ["BENCH_BIN"], "live", "--bootstrap", os.environ["BOOTSTRAP"], "--topic", os.environ["TOPIC"],
               "--rate", os.environ["LIVE_RATE"], "--seconds", os.environ["LIVE_SECONDS"], "--warm-up", os.environ["LIVE_WARM_UP"]]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def report(engine, version, job, figures):
    """One JSON line to stdout."""
    line = {"benchmark": "peers", "session": os.environ["BENCH_SESSION"], "engine": engine, "version": version, "job": job, **figures,
            "java": os.environ.get("PEER_JAVA"), "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    print(json.dumps(line), flush=True)
