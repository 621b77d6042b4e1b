//! Five views, each over the one before: from handing a record to the producer until an answer over the last one shows it,
//! measured as `latency` does. The same answer counts the records in three of the levels: one query sees them at one step,
//! so they are always equal.

use std::time::Instant;

use anyhow::{Context, ensure};
use ebap_connector::time;
use ebap_tests::{Ebap, wait};
use serde_json::json;

use crate::{
    bench::Bench,
    latency,
    meter::{Meter, merge},
    server,
};

const RATE: u64 = 10_000;

pub(crate) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let (rate, args) = (bench.args.rate.unwrap_or(RATE), &bench.args);
    let total = rate * (args.warm_up + args.seconds);
    let topic = latency::topic(bench).await?;
    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    let stream = format!(
        "CREATE STREAM marks (n BIGINT NOT NULL, region TEXT, amount DOUBLE, at TIMESTAMPTZ NOT NULL,
            WATERMARK FOR at AS at - INTERVAL '10 seconds')
         WITH (connector = 'kafka', bootstrap_servers = '{}', topic = '{topic}', format = 'json')",
        bench.bootstrap
    );
    let mut statements = vec![stream];
    for (name, query) in [
        (
            "level1",
            "SELECT _partition AS lane, region, count(*) AS marks, max(n) AS n FROM marks GROUP BY _partition, region",
        ),
        ("level2", "SELECT lane, max(n) AS n, sum(marks) AS marks, count(*) AS regions FROM level1 GROUP BY lane"),
        ("level3", "SELECT lane, n, marks FROM level2 WHERE regions > 0"),
        ("level4", "SELECT min(n) AS least, count(*) AS lanes, sum(marks) AS marks FROM level3"),
        ("level5", "SELECT least + 1 AS visible, lanes, marks FROM level4 WHERE lanes > 0"),
    ] {
        statements.push(format!("CREATE MATERIALIZED VIEW {name} AS {query}"));
    }
    server::create(&client, &statements).await?;

    let meter = Meter::start(ebap.pid().context("the server runs")?, bench.broker);
    let producer = latency::produce(bench, topic, rate, total);
    let seen = watch(&ebap, total, args.partitions).await?;
    let figures = meter.finish()?.json(total);
    let sent = producer.finish()?;
    let waits = latency::waits(&sent, &seen, rate * args.warm_up);
    ensure!(waits.total() > 0, "nothing was measured");
    let more = json!({ "run": 1, "rate": rate, "levels": 5, "answers": seen.len(), "levels_equal": true });
    bench.report("ebap", "levels", merge(merge(figures, waits.json()), more))
}

/// When an answer of the last level showed how many records for certain; fails where two levels of one answer differ.
async fn watch(ebap: &Ebap, total: u64, partitions: i32) -> anyhow::Result<Vec<(Instant, u64)>> {
    let client = ebap.connect().await?;
    let sql = format!(
        "SELECT CAST(CASE WHEN lanes = {partitions} THEN visible ELSE 0 END AS BIGINT), CAST(marks AS BIGINT),
                CAST((SELECT sum(marks) FROM level1) AS BIGINT), CAST((SELECT sum(marks) FROM level3) AS BIGINT)
         FROM level5"
    );
    let statement = client.prepare(&sql).await.context("the query of the levels")?;
    let mut seen: Vec<(Instant, u64)> = Vec::new();
    let last = total - u64::try_from(partitions)? + 1;
    wait::until_busy("all marks are visible", wait::PATIENCE * 2, async || {
        let Some(row) = client.query_opt(&statement, &[]).await? else { return Ok(None) };
        let of = |at: usize| row.try_get::<_, i64>(at);
        let (count, marks) = (u64::try_from(of(0)?)?, [of(1)?, of(2)?, of(3)?]);
        ensure!(marks.iter().all(|other| *other == marks[0]), "levels of one answer differ: {marks:?}");
        if seen.last().is_none_or(|(_, before)| count > *before) {
            seen.push((time::instant(), count));
        }
        Ok((count >= last).then_some(()))
    })
    .await?;
    Ok(seen)
}
