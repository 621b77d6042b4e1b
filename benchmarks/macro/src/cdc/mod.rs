//! Rows of PostgreSQL by way of Debezium: the snapshot, then changes at a steady rate while events join the table.
//!
//! ```text
//! changes, probes ──> PostgreSQL ──> Connect ──> topic of changes ──> table ──+
//!                                                      |                      +──> met: a row per event
//!                                                  followed here              |    probe: what those of one user met
//!                                                            events ──────────+
//! ```
//!
//! Beside the changes, one user's row is changed again and again and asked for, as `freshness` does: from before the statement is
//! given to PostgreSQL until an answer shows an event that has met it. When all is over, what every event met is compared
//! with the topic of changes, and what a last round of events met with the rows that PostgreSQL has at last.

mod changes;
mod probe;

use std::time::Instant;

use anyhow::{Context, ensure};
use ebap_connector::time;
use ebap_tests::{
    Ebap, Service, Stack,
    cdc::{self, People},
    rows, wait,
};
use serde_json::json;
use tokio_postgres::{Client, NoTls};

use crate::{
    bench::Bench,
    events::Draw,
    meter::{Meter, merge, round},
    paced::{Pace, Paced},
    server,
    topic::Filler,
};

use changes::{Changes, Feed};
use probe::{PROBE, Probe};

const USERS: i64 = 100_000;
/// Ids that are nobody's at first.
const SPARE: i64 = 10_000;
/// Changes a second, each a transaction.
const CHANGES: u64 = 2_000;
/// Events a second.
const RATE: u64 = 5_000;
const LINGER_MS: u32 = 5;
/// One event in so many is of the user who is watched, and half of the others of those who are changed most.
const PROBE_SHARE: u64 = 8;
const HOT: u64 = 500;

pub(crate) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let (rate, args) = (bench.args.rate.unwrap_or(RATE), &bench.args);
    let count = args.rows.map_or(Ok(USERS), i64::try_from).context("--rows")?;
    let mut stack = Stack::new()?;
    stack.connect_bootstrap = Some(bench.bootstrap.clone());
    stack.need(&[Service::Postgres, Service::Connect])?;
    let postgres = connect(&stack).await?;
    let people = People::new(7, count, SPARE);
    postgres.batch_execute(&format!("{}; {}", people.create_sql(), Probe::insert_sql())).await.context("people")?;

    let name = format!("bench{}", time::now_us());
    let (changes_topic, events_topic) = (format!("{name}.cdc.people"), format!("{name}.events"));
    bench.create_topic(&events_topic).await?;
    let began = time::instant();
    cdc::register(&stack.connect_url(), &name, &cdc::connector_of(&name, "people")?)?;
    let feed = Feed::follow(&bench.bootstrap, &changes_topic).await?;
    wait::until("the snapshot is in the topic", wait::PATIENCE, async || {
        Ok((feed.look()?.records > count as usize).then_some(()))
    })
    .await?;
    let snapshot_seconds = began.elapsed().as_secs_f64();

    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    let began = time::instant();
    server::create(&client, &statements(bench, &changes_topic, &events_topic)).await?;
    rows::execute(&client, &["FLUSH"]).await?;
    let load_seconds = began.elapsed().as_secs_f64();
    let table = "SELECT count(*), sum(version), sum(balance) FROM people";
    ensure!(
        rows::texts(&client, table).await? == rows::texts(&postgres, table).await?,
        "the snapshot is not the table"
    );

    let meter = Meter::start(ebap.pid().context("the server runs")?, bench.broker);
    let producer = produce(bench, &events_topic, rate, people.ids().count() as u64);
    let changes = Changes::start(connect(&stack).await?, people, CHANGES);
    let mut probe = Probe::new(&ebap, &postgres).await?;
    probe.run(args.warm_up, args.seconds).await?;
    let (people, made) = changes.finish().await?;
    producer.stop();
    let sent = producer.finish()?;
    let ended: Instant = time::instant();
    wait::until("all changes are in the topic", wait::PATIENCE, async || {
        let feed = feed.look()?;
        let known = people.ids().all(|id| feed.history.last(id) == people.row(id));
        Ok((known && feed.history.states(PROBE).len() == probe.states()).then_some(()))
    })
    .await?;
    let topic_behind_ms = ended.elapsed().as_secs_f64() * 1e3;
    rows::execute(&client, &["FLUSH"]).await?;
    let flushed_ms = ended.elapsed().as_secs_f64() * 1e3;
    let figures = meter.finish()?.json(sent.records);

    let all: Vec<i64> = people.ids().collect();
    last_round(bench, &events_topic, sent.records, &all)?;
    rows::execute(&client, &["FLUSH"]).await?;
    let feed = feed.finish()?;
    let mut met = cdc::all_met(&client, "met").await?;
    let (partitions, first_last) = (i64::from(args.partitions), i64::try_from(sent.records)?);
    for met in &met {
        let place = (i64::from(met.lane), met.offset);
        ensure!(place == (met.n % partitions, met.n / partitions), "{met:?} did not stand there");
        let last = met.n >= first_last;
        ensure!(!last || met.row.as_ref() == people.row(met.id), "{met:?}, at last {:?}", people.row(met.id));
    }
    cdc::met_once(&mut met, usize::try_from(sent.records)? + all.len(), &feed.history)?;
    let after_visible = probe.check(&met, &sent, &feed.history)?;
    ensure!(rows::texts(&client, table).await? == rows::texts(&postgres, table).await?, "the tables differ at the end");

    let nobody = met.iter().filter(|met| met.row.is_none() && met.n < first_last).count();
    let more = json!({
        "run": 1, "rate": rate, "users": count, "snapshot_seconds": round(snapshot_seconds, 1),
        "load_seconds": round(load_seconds, 2), "changes": made.count,
        "changes_per_second": round(made.count as f64 / made.seconds, 1), "deletes": made.deletes,
        "visible": probe.visible(), "visible_deletes": probe.visible_deletes(),
        "visible_second_half": probe.second_half(), "probes_in_topic": probe.in_topic(&feed),
        "changes_in_topic": made.in_topic(&feed, probe.since()?), "topic_behind_ms": round(topic_behind_ms, 1),
        "flushed_ms": round(flushed_ms, 1), "compared": met.len(), "met_nobody": nobody,
        "met_behind_a_visible_probe": after_visible, "correct": true,
    });
    bench.report("ebap", "cdc", merge(figures, more))
}

async fn connect(stack: &Stack) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(&stack.postgres_url(), NoTls).await.context("PostgreSQL")?;
    // Ends with the client; a lost connection shows in its next call.
    tokio::spawn(connection);
    Ok(client)
}

fn statements(bench: &Bench, changes: &str, events: &str) -> Vec<String> {
    let with = |topic: &str, format: &str| {
        let bootstrap = &bench.bootstrap;
        format!("WITH (connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = '{topic}', format = '{format}')")
    };
    vec![
        format!("CREATE TABLE people ({}) {}", People::columns(), with(changes, "debezium-json")),
        format!("CREATE STREAM visits (n BIGINT NOT NULL, user_id BIGINT NOT NULL) {}", with(events, "json")),
        "CREATE MATERIALIZED VIEW met AS
         SELECT v.n, v._partition AS lane, v._offset AS place, v.user_id, p.version, p.name, p.tier, p.balance
         FROM visits v LEFT JOIN people p ON p.user_id = v.user_id"
            .to_owned(),
        format!(
            "CREATE MATERIALIZED VIEW probe AS SELECT max(p.version) AS version, count(*) - count(p.version) AS absent
             FROM visits v LEFT JOIN people p ON p.user_id = v.user_id WHERE v.user_id = {PROBE}"
        ),
    ]
}

/// Until it is stopped.
fn produce(bench: &Bench, topic: &str, rate: u64, users: u64) -> Paced {
    let pace = Pace {
        bootstrap: bench.bootstrap.clone(),
        topic: topic.to_owned(),
        partitions: bench.args.partitions,
        rate,
        total: u64::MAX,
        linger_ms: LINGER_MS,
    };
    let write = move |n, _now_ms, _key: &mut String, value: &mut String| {
        let mut draw = Draw::new(n);
        let user = match (draw.below(PROBE_SHARE), draw.below(2)) {
            (0, _) => PROBE as u64,
            (_, 0) => 1 + draw.below(HOT),
            _ => 1 + draw.below(users),
        };
        std::fmt::Write::write_fmt(value, format_args!(r#"{{"n":{n},"user_id":{user}}}"#))
    };
    Paced::start(pace, Box::new(write))
}

/// One event of everybody who is, was or may be there.
fn last_round(bench: &Bench, topic: &str, first: u64, users: &[i64]) -> anyhow::Result<()> {
    let mut filler = Filler::connect(&bench.bootstrap, topic)?;
    for (n, user) in (first..).zip(users) {
        let partition = i32::try_from(n % u64::try_from(bench.args.partitions)?)?;
        filler.send(Some(partition), "", &format!(r#"{{"n":{n},"user_id":{user}}}"#))?;
    }
    filler.flush()
}
