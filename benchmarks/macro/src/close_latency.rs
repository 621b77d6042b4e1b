//! l1: a steady rate, windows of one second, no watermark delay. How long after its end is a window's
//! result there to be read?
//!
//! A session asks about every millisecond for the windows that the view shows; a window's result is out
//! when an answer has all of its records.

use std::{collections::BTreeMap, io::Write, time::Duration};

use anyhow::{Context, ensure};
use ebap_connector::time;
use ebap_tests::{Ebap, wait};
use serde_json::{Value, json};
use tokio_postgres::Statement;

use crate::{
    bench::Bench,
    events::EventWriter,
    histogram::Histogram,
    meter::{Meter, merge},
    paced::{Pace, Paced, Sent},
    server,
};

const RATE: u64 = 20_000;
const LINGER_MS: u32 = 5;
const USERS: u64 = 100_000;
const PAUSE: Duration = Duration::from_millis(1);
/// Seconds of the end that are not measured: nothing after them closes their windows.
const LAST_SECONDS: usize = 2;

fn producer(bench: &Bench, topic: String) -> Paced {
    let rate = bench.args.rate.unwrap_or(RATE);
    let total = rate * (bench.args.warm_up + bench.args.seconds);
    let pace = Pace {
        bootstrap: bench.bootstrap.clone(),
        topic,
        partitions: bench.args.partitions,
        rate,
        total,
        linger_ms: LINGER_MS,
    };
    let mut events = EventWriter::default();
    Paced::start(pace, Box::new(move |n, now_ms, key, value| events.write_now(n, now_ms, USERS, key, value)))
}

/// For the other engines: produces into `TOPIC-live`, prints records by second and nothing else.
pub(crate) async fn produce_only(bench: &Bench) -> anyhow::Result<()> {
    let sent = producer(bench, bench.args.live_topic()).finish()?;
    let by_second: Value = sent.by_second.iter().map(|(second, count)| (second.to_string(), json!(count))).collect();
    writeln!(std::io::stdout(), "{by_second}").context("stdout")
}

pub(crate) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let topic = format!("bench-close-{}", time::now_us());
    bench.create_topic(&topic).await?;
    let ebap = Ebap::start().await?;
    for run in 1..=bench.args.runs {
        run_once(bench, &ebap, &topic, run).await?;
    }
    Ok(())
}

async fn run_once(bench: &Bench, ebap: &Ebap, topic: &str, run: usize) -> anyhow::Result<()> {
    let client = ebap.connect().await?;
    let view = "CREATE MATERIALIZED VIEW closed AS
        SELECT region, action, count(*) AS events, sum(metadata['amount']) AS amount FROM live GROUP BY region, action
        WINDOW TUMBLE (timestamp, INTERVAL '1 second') EMIT ON WINDOW CLOSE";
    let stream = server::events_stream("live", &bench.bootstrap, topic, "timestamp", "latest");
    server::create(&client, &[stream, view.to_owned()]).await?;
    // The stream has found where the topic ends.
    client.batch_execute("FLUSH").await.context("FLUSH")?;

    let sql = "SELECT CAST(EXTRACT(EPOCH FROM window_start) AS BIGINT), CAST(sum(events) AS BIGINT)
        FROM closed GROUP BY 1 ORDER BY 1 DESC LIMIT 8";
    let statement = client.prepare(sql).await.context("the query of the view")?;
    let (meter, began_us) = (Meter::start(ebap.pid().context("the server runs")?, bench.broker), time::now_us());
    let producer = producer(bench, topic.to_owned());
    let mut windows = Seen::default();
    let patience = wait::PATIENCE + Duration::from_secs(bench.args.warm_up + bench.args.seconds);
    let mut ended = None;
    wait::until_busy("all windows are closed", patience, async || {
        ask(&client, &statement, &mut windows).await?;
        time::sleep(PAUSE).await;
        // After the end one second more: what can close has closed.
        if ended.is_none() && producer.is_done() {
            ended = Some(time::instant());
        }
        Ok(ended.filter(|at| at.elapsed() > Duration::from_secs(1)).map(|_| ()))
    })
    .await?;
    let sent = producer.finish()?;
    let figures = meter.finish()?.json(sent.records);
    let checkpoints = server::checkpoints(&client, "live", began_us).await?;
    let latency = summarize(&sent, &windows, usize::try_from(bench.args.warm_up)?)?;
    let more = json!({ "run": run, "cold": run == 1, "rate": bench.args.rate.unwrap_or(RATE) });
    bench.report("ebap", "l1", merge(merge(merge(figures, checkpoints), latency), more))?;
    client.batch_execute("DROP STREAM live CASCADE").await.context("DROP STREAM")
}

/// By second: records of the window, and when an answer first had as many.
type Seen = BTreeMap<i64, (u64, i64)>;

async fn ask(client: &tokio_postgres::Client, statement: &Statement, seen: &mut Seen) -> anyhow::Result<()> {
    let rows = client.query(statement, &[]).await.context("the query of the view")?;
    let now_us = time::now_us();
    for row in rows {
        let (second, events) = (row.try_get::<_, i64>(0)?, u64::try_from(row.try_get::<_, i64>(1)?)?);
        let known = seen.entry(second).or_insert((events, now_us));
        if events > known.0 {
            *known = (events, now_us);
        }
    }
    Ok(())
}

fn summarize(sent: &Sent, seen: &Seen, warm_up: usize) -> anyhow::Result<Value> {
    let seconds: Vec<_> = sent.by_second.iter().collect();
    // The first second is not a whole one either.
    let measured = seconds.get(warm_up.max(1)..seconds.len().saturating_sub(LAST_SECONDS)).unwrap_or_default();
    ensure!(!measured.is_empty(), "nothing was measured");
    let (mut waits, mut wrong) = (Histogram::new(), None);
    for (second, records) in measured {
        match seen.get(second) {
            Some((events, at_us)) if events == *records => {
                waits.add((at_us - (*second + 1) * 1_000_000) as f64 / 1e3, 1);
            }
            other => wrong = Some(format!("second {second} has {records} records, the view {other:?}")),
        }
    }
    let found =
        json!({ "windows": measured.len(), "records": sent.records, "correct": wrong.is_none(), "note": wrong });
    Ok(merge(waits.json(), found))
}
