//! Ten different views on one stream against one of them: what a further view costs, and that the stream
//! is read and decoded once however many there are.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use ebap_tests::{Ebap, rows};
use serde_json::json;

use crate::{
    bench::Bench,
    meter::{Figures, Meter, merge},
    server, topic,
};

const STREAM: &str = "bench";
const WATERMARK: &str = "timestamp - INTERVAL '10 seconds'";

/// Columns and keys; the first is t1's.
const VIEWS: [(&str, &str); 10] = [
    ("region, action, count(*) AS events, sum(metadata['amount']) AS amount", "region, action"),
    ("region, count(*) AS events", "region"),
    ("action, sum(metadata['amount']) AS amount", "action"),
    ("region, avg(metadata['amount']) AS mean", "region"),
    ("metadata['platform'] AS platform, count(*) AS events", "metadata['platform']"),
    ("action, min(metadata['amount']) AS least, max(metadata['amount']) AS most", "action"),
    ("region, metadata['platform'] AS platform, sum(metadata['amount']) AS amount", "region, metadata['platform']"),
    ("location, count(*) AS events", "location"),
    ("region, count(*) FILTER (WHERE action = 'purchase') AS purchases", "region"),
    (
        "action, metadata['platform'] AS platform, count(*) AS events, avg(metadata['amount']) AS mean",
        "action, metadata['platform']",
    ),
];

pub(crate) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let records = topic::ensure_events(bench).await?;
    let ebap = Ebap::start().await?;
    for run in 1..=bench.args.runs {
        let (one, _) = measure(bench, &ebap, 1, records).await?;
        let (ten, counted) = measure(bench, &ebap, VIEWS.len(), records).await?;
        let read = counted.get("ebap_records_total").copied();
        let more = json!({
            "run": run,
            "cold": run == 1,
            "views": VIEWS.len(),
            "one_view": one.json(bench.args.rows()),
            "cpu_ratio": crate::meter::round(ten.cpu_seconds / one.cpu_seconds, 3),
            // Of the ten: as many as the topic has, if it was read once.
            "topic_records": records,
            "read_once": read == Some(records as f64),
            "counters": counted,
        });
        bench.report("ebap", "views10", merge(ten.json(bench.args.rows()), more))?;
    }
    Ok(())
}

async fn measure(
    bench: &Bench,
    ebap: &Ebap,
    views: usize,
    records: u64,
) -> anyhow::Result<(Figures, BTreeMap<String, f64>)> {
    let client = ebap.connect().await?;
    let stream = server::events_stream(STREAM, &bench.bootstrap, &bench.args.topic, WATERMARK, "earliest");
    let mut statements = vec![stream];
    for (at, (columns, keys)) in VIEWS.iter().take(views).enumerate() {
        statements.push(format!(
            "CREATE MATERIALIZED VIEW view_{at} AS SELECT {columns} FROM {STREAM} GROUP BY {keys}
             WINDOW TUMBLE (timestamp, INTERVAL '1 minute')"
        ));
    }
    let before = server::counters(ebap, STREAM).await?;
    let meter = Meter::start(ebap.pid().context("the server runs")?, bench.broker);
    server::create(&client, &statements).await?;
    rows::execute(&client, &["FLUSH"]).await?;
    let figures = meter.finish()?;
    let mut counted = server::counters(ebap, STREAM).await?;
    for (name, value) in &mut counted {
        *value -= before.get(name).copied().unwrap_or_default();
    }
    for at in 0..views {
        let accounted = format!("SELECT CAST(sum(consumed) AS BIGINT) FROM ebap.accounting WHERE job = 'view_{at}'");
        let consumed = u64::try_from(rows::number(&client, &accounted).await?)?;
        ensure!(consumed == records, "view_{at}: {consumed} of {records} records are accounted for");
    }
    rows::execute(&client, &[&format!("DROP STREAM {STREAM} CASCADE")]).await?;
    Ok((figures, counted))
}
