//! A stream declared with 30 columns of which a view needs three, against a declaration of those three,
//! over the same topic: what columns cost that nobody asks for.

use std::fmt::Write;

use anyhow::{Context, ensure};
use ebap_tests::{Ebap, rows};
use serde_json::json;

use crate::{
    bench::Bench,
    consumer,
    events::Draw,
    meter::{Figures, Meter, merge, round},
    server,
    topic::Filler,
};

const TOPIC: &str = "bench-wide";
/// Beside `at`, `region` and `amount`.
const OTHERS: usize = 27;
const TYPES: [&str; 3] = ["TEXT", "BIGINT", "DOUBLE"];
/// 2026-01-01T00:00:00Z.
const FIRST_MS: u64 = 1_767_225_600_000;

/// A record of 30 columns is long; a fifth of the rows is as many bytes.
fn rows_of(bench: &Bench) -> u64 {
    (bench.args.rows() / 5).max(1)
}

pub(crate) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let records = rows_of(bench);
    fill(bench, records).await?;
    let ebap = Ebap::start().await?;
    let others: String = (0..OTHERS).map(|at| format!("c{at} {}, ", TYPES[at % TYPES.len()])).collect();
    for run in 1..=bench.args.runs {
        let three = measure(bench, &ebap, "", records).await?;
        let thirty = measure(bench, &ebap, &others, records).await?;
        let more = json!({
            "run": run,
            "cold": run == 1,
            "columns": OTHERS + 3,
            "three_columns": three.json(records),
            "cpu_ratio": round(thirty.cpu_seconds / three.cpu_seconds, 3),
        });
        bench.report("ebap", "wide", merge(thirty.json(records), more))?;
    }
    Ok(())
}

async fn fill(bench: &Bench, records: u64) -> anyhow::Result<()> {
    match consumer::records(&bench.bootstrap, TOPIC)? {
        Some(there) if there == records => return Ok(()),
        Some(there) => anyhow::bail!("topic {TOPIC} holds {there} records: delete it"),
        None => bench.create_topic(TOPIC).await?,
    }
    let mut filler = Filler::connect(&bench.bootstrap, TOPIC)?;
    let mut value = String::new();
    for row in 0..records {
        let mut draw = Draw::new(row);
        value.clear();
        // Needed columns stand at the front, in the middle and at the end.
        write!(value, r#"{{"at":{}"#, FIRST_MS + row / 20)?;
        for at in 0..OTHERS {
            if at == OTHERS / 2 {
                write!(value, r#","region":"region-{}""#, draw.below(8))?;
            }
            let word = draw.below(1_000_000);
            match at % TYPES.len() {
                0 => write!(value, r#","c{at}":"text-{word}""#)?,
                1 => write!(value, r#","c{at}":{word}"#)?,
                _ => write!(value, r#","c{at}":{}.{:02}"#, word / 100, word % 100)?,
            }
        }
        write!(value, r#","amount":{}.5}}"#, draw.below(500))?;
        let partition = i32::try_from(row % u64::try_from(bench.args.partitions)?)?;
        filler.send(Some(partition), "", &value)?;
    }
    filler.flush()
}

async fn measure(bench: &Bench, ebap: &Ebap, others: &str, records: u64) -> anyhow::Result<Figures> {
    let client = ebap.connect().await?;
    let stream = format!(
        "CREATE STREAM wide ({others}at TIMESTAMPTZ NOT NULL, region TEXT, amount DOUBLE,
            WATERMARK FOR at AS at - INTERVAL '10 seconds')
         WITH (connector = 'kafka', bootstrap_servers = '{}', topic = '{TOPIC}', format = 'json')",
        bench.bootstrap
    );
    let view = "CREATE MATERIALIZED VIEW narrow AS SELECT region, count(*) AS events, sum(amount) AS amount FROM wide
        GROUP BY region WINDOW TUMBLE (at, INTERVAL '1 minute')";
    let meter = Meter::start(ebap.pid().context("the server runs")?, bench.broker);
    server::create(&client, &[stream, view.to_owned()]).await?;
    rows::execute(&client, &["FLUSH"]).await?;
    let figures = meter.finish()?;
    let counted = u64::try_from(rows::number(&client, "SELECT CAST(sum(events) AS BIGINT) FROM narrow").await?)?;
    ensure!(counted == records, "{counted} of {records} records are in the view");
    rows::execute(&client, &["DROP STREAM wide CASCADE"]).await?;
    Ok(figures)
}
