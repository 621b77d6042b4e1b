"""A query of Nexmark as a Flink SQL job. Called by flink.sh.

  nexmark_job.py sql QUERY RUN                 print the job
  nexmark_job.py follow QUERY RUN LOG_OFFSET   measure it from here to its end; print one JSON line
"""

import os
import sys
from pathlib import Path

import flink_job
import measure

QUERIES = Path(__file__).resolve().parent.parent / "nexmark"
# Beside those of t1, what the public suite sets: it lets an aggregate take many rows at a time.
SETTINGS = {
    "pipeline.object-reuse": "true",
    "table.local-time-zone": "UTC",
    "table.optimizer.agg-phase-strategy": "TWO_PHASE",
    "table.exec.mini-batch.enabled": "true",
    "table.exec.mini-batch.allow-latency": "2 s",
    "table.exec.mini-batch.size": "5000",
    "table.optimizer.distinct-agg.split.enabled": "true",
}


def sql(query, run):
    name = f"{query}-{run}"
    source = (QUERIES / "stream.flink.sql").read_text()
    for variable, value in {"TOPIC": os.environ["TOPIC"], "BOOTSTRAP": os.environ["BOOTSTRAP"], "NAME": name}.items():
        source = source.replace("${" + variable + "}", value)
    settings = [f"SET '{key}' = '{value}';" for key, value in {"pipeline.name": name, **SETTINGS}.items()]
    print("\n".join([*settings, source, (QUERIES / f"{query}.flink.sql").read_text()]))


def follow(query, run):
    figures = flink_job.finished(f"{query}-{run}")
    measure.report("flink", os.environ["FLINK_VERSION"], "nexmark", {**figures, "query": query, "run": run, "cold": run == 1})


match sys.argv[1:]:
    case ["sql", query, run]:
        sql(query, run)
    case ["follow", query, run, _]:
        follow(query, int(run))
    case _:
        sys.exit(__doc__)
