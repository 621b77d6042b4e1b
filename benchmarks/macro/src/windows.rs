//! t1, t3 and d1: tumbling windows over a full topic, results when windows close, compared with the
//! batch answer.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use ebap_connector::time;
use ebap_tests::{Ebap, rows};
use serde_json::json;
use tokio_postgres::Client;

use crate::{
    args::Job,
    bench::Bench,
    events::FLUSH_REGION,
    expected::{self, Expected, SIZES, Windows, differences},
    meter::{Meter, merge},
    server,
};

const STREAM: &str = "bench";
/// As long as the other engines wait for what is out of order.
const WATERMARK: &str = "timestamp - INTERVAL '10 seconds'";

/// Runs on one server: the first finds it cold, the later ones warm.
pub(crate) async fn run(bench: &Bench, job: Job) -> anyhow::Result<()> {
    let expected = expected::of(bench).await?;
    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    let pid = ebap.pid().context("the server runs")?;
    let stream = server::events_stream(STREAM, &bench.bootstrap, &bench.args.topic, WATERMARK, "earliest");
    let statements = [stream, view(job)];
    let records = bench.args.rows() + u64::try_from(bench.args.partitions)?;
    for run in 1..=bench.args.runs {
        let (meter, began_us) = (Meter::start(pid, bench.broker), time::now_us());
        server::create(&client, &statements).await?;
        rows::execute(&client, &["FLUSH"]).await?;
        let figures = meter.finish()?.json(bench.args.rows());

        let wrong = wrong(&client, job, &expected).await?;
        let accounted = "SELECT CAST(sum(consumed) AS BIGINT) FROM ebap.accounting WHERE job = 'answer'";
        let consumed = u64::try_from(rows::number(&client, accounted).await?)?;
        ensure!(consumed == records, "{consumed} of {records} records are accounted for");
        let checkpoints = server::checkpoints(&client, STREAM, began_us).await?;
        let more = json!({ "run": run, "cold": run == 1, "correct": wrong.is_none(), "note": &wrong });
        bench.report("ebap", &job.name(), merge(merge(figures, checkpoints), more))?;
        ensure!(wrong.is_none(), "the view is not the batch answer: {wrong:?}");
        rows::execute(&client, &[&format!("DROP STREAM {STREAM} CASCADE")]).await?;
    }
    Ok(())
}

fn view(job: Job) -> String {
    let (columns, keys) = match job {
        Job::D1 => ("region, count(DISTINCT user_id) AS users", "region"),
        _ => ("region, action, count(*) AS events, sum(metadata['amount']) AS amount", "region, action"),
    };
    let sizes = if job == Job::T3 { &SIZES[..] } else { &SIZES[..1] };
    let sizes: String = sizes.iter().map(|(_, size)| format!(", INTERVAL '{size}'")).collect();
    format!(
        "CREATE MATERIALIZED VIEW answer AS SELECT {columns} FROM {STREAM} GROUP BY {keys}
         WINDOW TUMBLE (timestamp{sizes}) EMIT ON WINDOW CLOSE"
    )
}

/// In which way the view is not the batch answer.
async fn wrong(client: &Client, job: Job, expected: &Expected) -> anyhow::Result<Option<String>> {
    let start = "CAST(EXTRACT(EPOCH FROM window_start) * 1000 AS BIGINT)";
    if job == Job::D1 {
        let sql = format!("SELECT {start}, region, users FROM answer WHERE region <> '{FLUSH_REGION}'");
        let rows = rows::texts(client, &sql).await?;
        let count = rows.len();
        let mut users = BTreeMap::new();
        for row in rows {
            users.insert((row[0].parse()?, row[1].clone()), row[2].parse()?);
        }
        ensure!(users.len() == count, "a window and key came twice");
        return Ok(differences(&users, &expected.users()));
    }
    for (name, size) in if job == Job::T3 { &SIZES[..] } else { &SIZES[..1] } {
        let sql = format!(
            "SELECT {start}, region, action, events, CAST(round(amount * 100) AS BIGINT) FROM answer
             WHERE region <> '{FLUSH_REGION}' AND window_size = INTERVAL '{size}'"
        );
        let rows = rows::texts(client, &sql).await?;
        let count = rows.len();
        let mut windows = Windows::new();
        for row in rows {
            windows.insert((row[0].parse()?, row[1].clone(), row[2].clone()), (row[3].parse()?, row[4].parse()?));
        }
        ensure!(windows.len() == count, "a window and key came twice");
        if let Some(wrong) = differences(&windows, &expected.windows(name)) {
            return Ok(Some(format!("{size}: {wrong}")));
        }
    }
    Ok(None)
}
