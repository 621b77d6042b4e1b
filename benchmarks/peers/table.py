#!/usr/bin/env python3
"""The table and the picture of benchmarks/README.md from the newest run in results.jsonl.

  table.py [RESULTS]          print the table
  table.py --write [RESULTS]  put it between its markers in ../README.md, and draw ../peers.svg
"""

import json
import sys
from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).resolve().parent
README, PICTURE = HERE.parent / "README.md", HERE.parent / "peers.svg"
BEGIN, END = "<!-- peers:begin, written by benchmarks/peers/table.py -->", "<!-- peers:end -->"
ENGINES = {"ebap": "#2a6fdb", "flink": "#c8552b", "spark": "#b8952a"}
JOBS = {"t1": "T1: 1 min, count and sum", "t3": "T3: 1 min + 5 min + 1 h", "d1": "D1: 1 min, distinct users"}
# Others' CPU beyond which a figure is not to be compared, as a share of the run on all cores.
QUIET_SHARE = 0.05


def newest(path):
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    sessions = [line["session"] for line in lines if line.get("session")]
    if not sessions:
        sys.exit(f"{path} holds no run")
    return max(sessions), [line for line in lines if line.get("session") == max(sessions)]


def number(value, digits=0):
    return "" if value is None else f"{value:,.{digits}f}"


def ratio(line, lines):
    """EBAP's events per CPU-second by this line's, same job and temperature."""
    ours = next((other for other in lines if other["engine"] == "ebap" and (other["job"], other["run"]) == (line["job"], line["run"])), None)
    if not ours or line["engine"] == "ebap":
        return ""
    return f"{ours['events_per_cpu_second'] / line['events_per_cpu_second']:.1f} x"


def disturbed(line, cores):
    return line["others_cpu_seconds"] > QUIET_SHARE * cores * line["seconds"]


def table(session, lines):
    machine = next((line["machine"] for line in lines if line.get("machine")), {})
    cores = machine.get("cores", 1)
    versions = dict.fromkeys(f"{line['engine']} {line['version']}" for line in lines if line["engine"] in ENGINES)
    commit = next((line["commit"] for line in lines if line.get("commit")), "unknown")
    profile = next((line["profile"] for line in lines if line.get("profile")), "unknown")
    out = [f"Run of {session}: {machine.get('cpu', 'unknown CPU')}, {cores} cores, {machine.get('memory', '')}, kernel "
           f"{machine.get('kernel', '')}. {', '.join(versions)}; EBAP at {commit}, {profile} build.", "",
           "| job | engine | | events/s | events per CPU-second | EBAP is | CPU-s per million | peak RSS MiB | answers | others' CPU-s |",
           "|---|---|---|--:|--:|--:|--:|--:|---|--:|"]
    for line in sorted((line for line in lines if line["job"] in JOBS), key=order):
        out.append(f"| {line['job'].upper()} | {line['engine']} | {'cold' if line['run'] == 1 else 'warm'} | {number(line['events_per_second'])} "
                   f"| {number(line['events_per_cpu_second'])} | {ratio(line, lines)} | {number(line['cpu_seconds_per_million'], 2)} "
                   f"| {number(line['peak_rss_mib'])} | {'equal' if line['correct'] else '**differ**'} "
                   f"| {number(line['others_cpu_seconds'], 1)}{' (!)' if disturbed(line, cores) else ''} |")
    for line in (line for line in lines if line["job"] == "ceiling"):
        out.append(f"| ceiling | {line['engine']} | | {number(line['events_per_second'])} | {number(line['events_per_cpu_second'])} | "
                   f"| {number(line['cpu_seconds_per_million'], 2)} | {number(line['peak_rss_mib'])} | | {number(line['others_cpu_seconds'], 1)} |")
    live = sorted((line for line in lines if line["job"] == "l1"), key=order)
    if live:
        out += ["", "| L1 | | events/s | p50 ms | p99 ms | max ms | CPU-s per million | peak RSS MiB | answers |", "|---|---|--:|--:|--:|--:|--:|--:|---|"]
        for line in live:
            out.append(f"| {line['engine']} | {'cold' if line['run'] == 1 else 'warm'} | {number(line['rate'])} | {number(line['p50_ms'], 1)} | {number(line['p99_ms'], 1)} "
                       f"| {number(line['max_ms'], 1)} | {number(line['cpu_seconds_per_million'], 2)} | {number(line['peak_rss_mib'])} | {'equal' if line['correct'] else '**differ**'} |")
    if any(disturbed(line, cores) for line in lines if "others_cpu_seconds" in line and line["job"] in JOBS):
        out += ["", "(!) Something else ran on the machine: not to be compared."]
    return "\n".join(out)


def order(line):
    return [*JOBS, "l1"].index(line["job"]), list(ENGINES).index(line["engine"]), line["run"]


def panel(title, unit, bars, top, width):
    """BARS: (label, engine, value). Returns the picture's lines and its height."""
    left, row, scale = 130, 20, max((value for _, _, value in bars), default=1)
    out = [f'<text x="0" y="{top + 14}" class="title">{escape(title)}</text>']
    y = top + 26
    for label, engine, value in bars:
        length = max(1, round((width - left - 110) * value / scale))
        out += [f'<text x="{left - 8}" y="{y + 13}" class="label">{escape(label)}</text>',
                f'<rect x="{left}" y="{y + 2}" width="{length}" height="{row - 6}" fill="{ENGINES[engine]}"/>',
                f'<text x="{left + length + 6}" y="{y + 13}">{value:,.0f}{unit}</text>']
        y += row
    return out, y - top + 14


def picture(session, lines):
    """Warm runs: the last of each engine."""
    width, top, out = 640, 24, []
    warm = {(line["job"], line["engine"]): line for line in sorted(lines, key=lambda line: line.get("run", 0)) if line["engine"] in ENGINES}
    for job, title in JOBS.items():
        bars = [(engine, engine, warm[job, engine]["events_per_cpu_second"]) for engine in ENGINES if (job, engine) in warm]
        drawn, height = panel(title + ", events per CPU-second", "", bars, top, width)
        out, top = out + drawn, top + height
    bars = [(f"{engine} {name}", engine, warm["l1", engine][f"{name}_ms"]) for engine in ENGINES for name in ("p50", "p99")
            if ("l1", engine) in warm and warm["l1", engine].get(f"{name}_ms") is not None]
    if bars:
        drawn, height = panel("L1: end of a window to its result, ms (less is better)", " ms", bars, top, width)
        out, top = out + drawn, top + height
    style = "text{font:12px sans-serif;fill:#333}.title{font-weight:bold}.label{text-anchor:end}"
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" height="{top}" role="img">'
            f'<style>{style}</style><rect width="{width}" height="{top}" fill="#fff"/><text x="0" y="14">Warm runs of {escape(session)}</text>')
    return "\n".join([head, *out, "</svg>", ""])


def main(arguments):
    write = "--write" in arguments
    paths = [argument for argument in arguments if not argument.startswith("--")]
    session, lines = newest(Path(paths[0]) if paths else HERE / "results.jsonl")
    text = table(session, lines)
    if not write:
        print(text)
        return
    readme = README.read_text()
    before, found, rest = readme.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        sys.exit(f"{README} has no markers for the table")
    PICTURE.write_text(picture(session, lines))
    image = f"![Events per CPU-second and latency of each engine]({PICTURE.name})"
    README.write_text(f"{before}{BEGIN}\n{text}\n\n{image}\n{END}{after}")


if __name__ == "__main__":
    main(sys.argv[1:])
