#!/usr/bin/env python3
"""The table of Nexmark in benchmarks/README.md, from the newest run in nexmark.jsonl.

  nexmark_table.py [RESULTS]          print the table
  nexmark_table.py --write [RESULTS]  put it between its markers in ../README.md
"""

import sys
from pathlib import Path

from table import disturbed, newest, number

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- nexmark:begin, written by benchmarks/peers/nexmark_table.py -->", "<!-- nexmark:end -->"
MIB = 1 << 20


def order(query):
    return int(query[1:])


def answers(lines):
    """Of both runs; nothing is said of an engine whose answers go nowhere."""
    if any("events" not in line for line in lines):
        return "**none**"
    return "equal" if all(line["correct"] for line in lines) else "**differ**"


def of(lines, engine, query):
    """Cold and warm."""
    found = sorted((line for line in lines if (line["engine"], line["query"]) == (engine, query)), key=lambda line: line["run"])
    return found, [line for line in found if "events" in line]


def both(lines, key):
    return ", ".join(number(line[key]) for line in lines[:2])


def ratio(ours, theirs):
    """Of the last run of each: the warm ones."""
    if not ours or not theirs or len(ours) != len(theirs):
        return ""
    return f"{ours[-1]['events_per_cpu_second'] / theirs[-1]['events_per_cpu_second']:.1f} x"


def row(lines, query, cores):
    said, ebap = of(lines, "ebap", query)
    _, flink = of(lines, "flink", query)
    noisy = " (!)" if any(disturbed(line, cores) for line in ebap + flink) else ""
    state = number(ebap[0]["state_bytes"] / MIB, 1) if ebap and ebap[0].get("state_bytes") is not None else ""
    rss = [number(found[0]["peak_rss_mib"]) if found else "" for found in (ebap, flink)]
    return (f"| {query}{noisy} | {answers(said) if said else ''} | {both(ebap, 'events_per_second')} | {both(flink, 'events_per_second')} "
            f"| {both(ebap, 'events_per_cpu_second')} | {both(flink, 'events_per_cpu_second')} | {ratio(ebap, flink)} "
            f"| {rss[0]} | {rss[1]} | {state} |")


def table(session, lines):
    ours = next((line for line in lines if line["engine"] == "ebap"), {})
    machine = ours.get("machine", {})
    cores = machine.get("cores", 1)
    versions = dict.fromkeys(f"{line['engine']} {line['version']}" for line in lines)
    events = next((line["events"] for line in lines if "events" in line), 0)
    out = [f"Run of {session}, {number(events)} events: {machine.get('cpu', 'unknown CPU')}, {cores} cores, {machine.get('memory', '')}, kernel "
           f"{machine.get('kernel', '')}. {', '.join(versions)}; EBAP at {ours.get('commit')}, {ours.get('profile')} build.", "",
           "| query | EBAP's answer | events/s, cold and warm | of Flink | events per CPU-second, cold and warm | of Flink | EBAP is, warm "
           "| peak RSS MiB, cold | of Flink | state MiB |",
           "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
    queries = sorted({line["query"] for line in lines}, key=order)
    out += [row(lines, query, cores) for query in queries]
    if any("(!)" in line for line in out):
        out += ["", "(!) In one of the runs more than 5 % of the cores went to something else; the end of Flink's own client is in that."]
    return "\n".join(out)


def main(arguments):
    write = "--write" in arguments
    paths = [argument for argument in arguments if not argument.startswith("--")]
    session, lines = newest(Path(paths[0]) if paths else HERE / "nexmark.jsonl")
    text = table(session, [line for line in lines if line["job"] == "nexmark"])
    if not write:
        print(text)
        return
    before, found, rest = README.read_text().partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        sys.exit(f"{README} has no markers for the table")
    README.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


main(sys.argv[1:])
