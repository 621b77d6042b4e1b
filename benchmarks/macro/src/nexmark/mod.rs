//! Nexmark: each query as a view of its own over a full topic, compared with the batch answer.
//!
//! A query has a server of its own, so that its memory is that of no other. The first run finds it cold, the later
//! ones warm. A query that is refused, fails or is wrong is a line too; the others are measured, and the job fails
//! at its end.

mod batch;
mod generator;
mod queries;
mod words;

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use ebap_connector::time;
use ebap_tests::{Ebap, rows};
use serde_json::{Value, json};
use tokio_postgres::Client;

use self::{
    batch::{Answer, Batch},
    generator::Generator,
    queries::{QUERIES, Query},
};
use crate::{
    bench::Bench,
    consumer,
    meter::{Figures, Meter, merge},
    server,
    topic::Filler,
};

/// Until a view has read the topic; one that does not come to its end is given up.
const FLUSH_MAX: Duration = Duration::from_secs(600);

pub(crate) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let queries = chosen(&bench.args.queries)?;
    let topic = fill(bench).await?;
    let batch = Batch::read(&bench.bootstrap, &topic).await?;
    let mut failed = Vec::new();
    for query in queries {
        let answer = batch.answer(query).await.with_context(|| format!("the batch answer of {}", query.name))?;
        let ebap = Ebap::start().await?;
        for run in 1..=bench.args.runs {
            let (figures, wrong) = match measure(bench, &ebap, &topic, query, &answer).await {
                Ok((figures, wrong)) => (figures, wrong),
                // Without the statements, which a failed one has as its context.
                Err(error) => (json!({}), Some(error.root_cause().to_string())),
            };
            let more = json!({
                "query": query.name,
                "run": run,
                "cold": run == 1,
                "correct": wrong.is_none(),
                "note": &wrong,
                "answer_rows": answer.rows(),
            });
            bench.report("ebap", "nexmark", merge(figures, more))?;
            if wrong.is_some() {
                failed.push(query.name);
                break;
            }
        }
    }
    ensure!(failed.is_empty(), "not answered, or not right: {}", failed.join(", "));
    Ok(())
}

/// For the other engines.
pub(crate) async fn fill_only(bench: &Bench) -> anyhow::Result<()> {
    let topic = fill(bench).await?;
    bench.report("none", "nexmark-topic", json!({ "topic": topic, "events": bench.args.nexmark_rows() }))
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Query>> {
    if names.is_empty() {
        return Ok(QUERIES.iter().collect());
    }
    let one = |name: &String| QUERIES.iter().find(|query| query.name == *name);
    names.iter().map(|name| one(name).with_context(|| format!("there is no query {name}"))).collect()
}

/// Makes the topic where it is not there; gives its name. Partitions take turns, as nothing in Nexmark is keyed.
async fn fill(bench: &Bench) -> anyhow::Result<String> {
    let (events, partitions) = (bench.args.nexmark_rows(), u64::try_from(bench.args.partitions)?);
    let topic = format!("bench-nexmark-{events}");
    match consumer::records(&bench.bootstrap, &topic)? {
        Some(records) if records == events + partitions => return Ok(topic),
        None => bench.create_topic(&topic).await?,
        Some(0) => {}
        Some(records) => bail!("topic {topic} holds {records} records: delete it"),
    }
    let mut filler = Filler::connect(&bench.bootstrap, &topic)?;
    let (mut generator, mut value) = (Generator::default(), String::new());
    for number in 0..events {
        value.clear();
        generator.write(number, &mut value)?;
        filler.send(Some(i32::try_from(number % partitions)?), "", &value)?;
    }
    filler.flush()?;
    value.clear();
    generator.write_closing(events, &mut value)?;
    for partition in 0..bench.args.partitions {
        filler.send(Some(partition), "", &value)?;
    }
    filler.flush()?;
    let records = consumer::records(&bench.bootstrap, &topic)?;
    ensure!(records == Some(events + partitions), "topic {topic} was filled with {records:?} records");
    Ok(topic)
}

/// The figures, and in which way the answer is not right.
async fn measure(
    bench: &Bench,
    ebap: &Ebap,
    topic: &str,
    query: &Query,
    answer: &Answer,
) -> anyhow::Result<(Value, Option<String>)> {
    let client = ebap.connect().await?;
    let statements = [queries::stream(&bench.bootstrap, topic), query.view.to_owned()];
    let began_us = time::now_us();
    let figures = read_all(bench, ebap, &client, &statements).await?;
    let state = state(&client, query.name).await?;
    let checkpoints = server::checkpoints(&client, "nexmark", began_us).await?;
    let wrong = wrong(&client, query.name, answer).await?;
    rows::execute(&client, &["DROP STREAM nexmark CASCADE"]).await?;
    Ok((merge(merge(figures.json(bench.args.nexmark_rows()), checkpoints), state), wrong))
}

async fn read_all(bench: &Bench, ebap: &Ebap, client: &Client, statements: &[String]) -> anyhow::Result<Figures> {
    let meter = Meter::start(ebap.pid().context("the server runs")?, bench.broker);
    server::create(client, statements).await?;
    match tokio::time::timeout(FLUSH_MAX, rows::execute(client, &["FLUSH"])).await {
        Ok(flushed) => flushed?,
        Err(_) => bail!("FLUSH does not come back in {} s", FLUSH_MAX.as_secs()),
    }
    meter.finish()
}

/// What the server says of the view when it has read all: bytes of state and rows, and records.
async fn state(client: &Client, view: &str) -> anyhow::Result<Value> {
    let sql = format!("SELECT state, memory_bytes, rows, message FROM ebap.jobs WHERE name = '{view}'");
    let jobs = rows::texts(client, &sql).await?;
    let job = jobs.first().with_context(|| format!("there is no job {view}"))?;
    ensure!(job[0] == "running", "{view} is {}: {}", job[0], job[3]);
    let sql = format!(
        "SELECT CAST(sum(consumed) AS BIGINT), CAST(sum(late) AS BIGINT), CAST(sum(dead_lettered) AS BIGINT)
         FROM ebap.accounting WHERE job = '{view}'"
    );
    let counts = rows::texts(client, &sql).await?;
    let counts = counts.first().context("accounting")?;
    let number = |text: &String| text.parse::<u64>().ok();
    Ok(json!({
        "state_bytes": number(&job[1]),
        "view_rows": number(&job[2]),
        "consumed": number(&counts[0]),
        "late": number(&counts[1]),
        "dead_lettered": number(&counts[2]),
    }))
}

async fn wrong(client: &Client, view: &str, answer: &Answer) -> anyhow::Result<Option<String>> {
    let (rows, whole) = answer.questions(view);
    let rows = rows::texts(client, &rows).await?.concat();
    let whole = match whole {
        None => None,
        Some(sql) => Some(rows::texts(client, &sql).await?.concat()),
    };
    Ok(answer.wrong(rows, whole))
}
