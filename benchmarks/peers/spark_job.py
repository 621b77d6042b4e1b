"""One Spark Structured Streaming job, RUNS times in one session. Called by spark.sh: spark_job.py JOB

local[2], 4 GiB heap, exactly-once with Trigger.AvailableNow: everything that is in the topic, then the windows
that the watermark closes. One micro-batch, which is Spark's best case here.
"""

import glob
import os
import sys
import time

from pyspark.sql import SparkSession, functions as F

import measure

JOB, RUNS = sys.argv[1], int(os.environ["RUNS"])
RUN_DIR, DIST = os.environ["SPARK_RUN"], os.environ["SPARK_DIST"]
SCHEMA = ("id string, user_id string, action string, metadata struct<amount: double, item_id: string, region: string, "
          "platform: string>, location string, timestamp timestamp")
SIZES = {"1m": "1 minute", "5m": "5 minutes", "1h": "1 hour"}
# Two cores: two tasks a stage.
PARTITIONS = 2


def session():
    # The Kafka connector's jars, less those that PySpark ships itself.
    own = {os.path.basename(jar) for jar in glob.glob(f"{DIST}/python/pyspark/jars/*.jar")}
    jars = sorted(jar for jar in glob.glob(f"{DIST}/lib-kafka/*.jar") if os.path.basename(jar) not in own)
    settings = {
        "spark.jars": ",".join(jars),
        "spark.driver.memory": "4g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.local.dir": f"{RUN_DIR}/tmp",
        "spark.scheduler.mode": "FAIR",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(PARTITIONS),
        "spark.sql.streaming.metricsEnabled": "false",
        "spark.sql.warehouse.dir": f"{RUN_DIR}/warehouse",
        "spark.ui.enabled": "false",
    }
    builder = SparkSession.builder.master("local[2]").appName(JOB)
    for key, value in settings.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("WARN")
    return spark


def events(topic, offsets):
    options = {
        "kafka.bootstrap.servers": os.environ["BOOTSTRAP"],
        "subscribe": topic,
        "startingOffsets": offsets,
        "kafka.max.poll.records": "5000",
        "kafka.fetch.max.bytes": "52428800",
        "kafka.max.partition.fetch.bytes": "8388608",
    }
    records = spark.readStream.format("kafka").options(**options).load()
    return records.select(F.from_json(F.col("value").cast("string"), SCHEMA).alias("e")).select("e.*")


def sums(stream, size):
    window, region = F.window("timestamp", size).alias("w"), F.col("metadata.region").alias("region")
    counted = stream.groupBy(window, region, "action").agg(F.count("*").alias("n"), F.sum("metadata.amount").alias("total"))
    return counted.select(F.unix_millis("w.start").alias("start"), "region", "action", "n", "total")


def full():
    return events(os.environ["TOPIC"], "earliest").withWatermark("timestamp", "10 seconds")


def users():
    """Streams refuse count(DISTINCT); the size of a set was faster than two windowed aggregates in a chain."""
    stream = full().select("timestamp", F.col("metadata.region").alias("region"), "user_id")
    window = F.window("timestamp", "1 minute").alias("w")
    counted = stream.groupBy(window, "region").agg(F.size(F.collect_set("user_id")).alias("n"))
    return counted.select(F.unix_millis("w.start").alias("start"), "region", "n")


def start(frame, name):
    return (frame.writeStream.format("memory").queryName(name).outputMode("append")
            .option("checkpointLocation", f"{RUN_DIR}/checkpoints-{name}").trigger(availableNow=True).start())


def queries(run):
    """By size. Spark has no statement set: three sizes are three queries, and each reads the topic."""
    if JOB == "d1":
        return {"users": start(users(), f"d1_{run}")}
    sizes = ["1m"] if JOB == "t1" else list(SIZES)
    return {size: start(sums(full(), SIZES[size]), f"{JOB}_{run}_{size}") for size in sizes}


def wrong(started):
    for size, query in started.items():
        rows = [tuple(row) for row in spark.table(query.name).collect()]
        difference = measure.wrong_users(rows) if JOB == "d1" else measure.wrong_windows(rows, size)
        if difference:
            return difference
    return None


def full_run(run):
    meter = measure.Meter([os.getpid()])
    started = queries(run)
    for query in started.values():
        query.awaitTermination()
    figures = meter.finish()
    batches = sum(len(query.recentProgress) for query in started.values())
    difference = wrong(started)
    measure.report("spark", os.environ["SPARK_VERSION"], JOB, {
        **figures, "run": run, "cold": run == 1, "correct": difference is None, "note": difference, "micro_batches": batches})


def live_run(run):
    """Micro-batches as fast as they come, no watermark delay."""
    rows = []

    def sink(frame, _batch):
        got = frame.collect()
        now = time.time()
        rows.extend((row.start, row.n, now) for row in got)

    stream = events(os.environ["TOPIC"] + "-live", "latest").withWatermark("timestamp", "0 seconds")
    query = (sums(stream, "1 second").writeStream.foreachBatch(sink).outputMode("append")
             .option("checkpointLocation", f"{RUN_DIR}/checkpoints-l1-{run}").start())
    # Until it has found where the topic ends: nothing tells.
    time.sleep(8)
    meter = measure.Meter([os.getpid()])
    by_second = measure.live()
    time.sleep(5)
    figures = meter.finish(events=sum(by_second.values()))
    query.stop()
    latency = measure.latency(rows, by_second, int(os.environ["LIVE_WARM_UP"]))
    measure.report("spark", os.environ["SPARK_VERSION"], "l1", {
        **figures, **latency, "run": run, "cold": run == 1, "rate": int(os.environ["LIVE_RATE"])})


spark = session()
try:
    measure_run = live_run if JOB == "l1" else full_run
    for number in range(1, RUNS + 1):
        measure_run(number)
finally:
    spark.stop()
