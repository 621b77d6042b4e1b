//! Rows of PostgreSQL change while events come and the server is killed: what each event met is a row of its time.

use std::sync::Arc;

use anyhow::{Context, ensure};
use ebap_tests::{
    Ebap,
    cdc::{self, History, People},
    kafka::Kafka,
    rows, wait,
};
use serde_json::json;
use tokio_postgres::NoTls;

use crate::pipeline::Shared;

const VISITS: &str = "visits-cdc";
const CHANGES: &str = "people.cdc.people";
const PARTITIONS: i64 = 3;
const ROUNDS: usize = 30;
const CHANGES_A_ROUND: usize = 60;

/// Makes the next events, of these users.
fn visit(kafka: &Kafka, first: usize, users: &[i64]) -> anyhow::Result<()> {
    let event = |(n, user): (i64, &i64)| (n % PARTITIONS, json!({"n": n, "user_id": user}).to_string());
    let events: Vec<(i64, String)> = (i64::try_from(first)?..).zip(users).map(event).collect();
    for partition in 0..PARTITIONS {
        let its = events.iter().filter(|(lane, _)| *lane == partition).map(|(_, event)| event.as_str());
        kafka.produce(VISITS, i32::try_from(partition)?, its)?;
    }
    Ok(())
}

fn history(kafka: &Kafka) -> anyhow::Result<History> {
    let mut history = History::default();
    for record in kafka.read_all(CHANGES)? {
        history.add(record.key.as_deref(), record.value.as_deref())?;
    }
    Ok(history)
}

pub(crate) async fn each_event_meets_a_row_of_its_time(shared: Arc<Shared>) -> anyhow::Result<()> {
    let (bootstrap, postgres_url, connect_url) = shared.cdc().await?;
    let (postgres, connection) = tokio_postgres::connect(&postgres_url, NoTls).await.context("PostgreSQL")?;
    // Ends with the client; a lost connection shows in its next call.
    tokio::spawn(connection);
    let kafka = Kafka::new(&bootstrap);
    let mut people = People::new(7, 2_000, 400);
    postgres.batch_execute(&people.create_sql()).await.context("people")?;
    cdc::register(&connect_url, "ebap-people", &cdc::connector_of("people", "people")?)?;
    kafka.create_topic(VISITS, i32::try_from(PARTITIONS)?).await?;
    wait::until("the snapshot is in the topic", wait::PATIENCE, async || {
        // Brokers cannot be asked about a topic that is just being made.
        Ok(kafka.read_all(CHANGES).is_ok_and(|found| found.len() == 2_000).then_some(()))
    })
    .await?;

    let mut server = Ebap::start().await?;
    let mut ebap = server.connect().await?;
    let with = |topic: &str, format: &str| {
        format!("WITH (connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = '{topic}', format = '{format}')")
    };
    let table = format!("CREATE TABLE people ({}) {}", People::columns(), with(CHANGES, "debezium-json"));
    let stream = format!("CREATE STREAM visits (n BIGINT NOT NULL, user_id BIGINT) {}", with(VISITS, "json"));
    let view = "CREATE MATERIALIZED VIEW met AS
        SELECT v.n, v._partition AS lane, v._offset AS place, v.user_id, p.version, p.name, p.tier, p.balance
        FROM visits v LEFT JOIN people p ON p.user_id = v.user_id";
    rows::execute(&ebap, &[&table, &stream, view, "FLUSH"]).await?;

    let mut events = 0;
    for round in 0..ROUNDS {
        let mut changed = Vec::new();
        for _ in 0..CHANGES_A_ROUND {
            let change = people.change();
            // Each in a transaction of its own.
            postgres.batch_execute(&change.sql()).await.with_context(|| change.sql())?;
            changed.extend(change.ids());
        }
        visit(&kafka, events, &changed)?;
        events += changed.len();
        if round == ROUNDS / 2 {
            server.kill()?;
            server.start_again().await?;
            ebap = server.connect().await?;
        }
    }
    let ids: Vec<i64> = people.ids().collect();
    let known = wait::until("the topic has all changes", wait::PATIENCE, async || {
        let found = history(&kafka)?;
        Ok(ids.iter().all(|id| found.last(*id) == people.row(*id)).then_some(found))
    })
    .await?;
    rows::execute(&ebap, &["FLUSH"]).await?;
    visit(&kafka, events, &ids)?;
    rows::execute(&ebap, &["FLUSH"]).await?;

    let mut met = cdc::all_met(&ebap, "met").await?;
    for last in met.iter().filter(|met| met.n >= events as i64) {
        ensure!(last.row.as_ref() == people.row(last.id), "behind all changes: {last:?}, {:?}", people.row(last.id));
    }
    ensure!(met.iter().any(|met| met.n < events as i64 && met.row.is_none()), "no event met a deleted row");
    cdc::met_once(&mut met, events + ids.len(), &known)?;
    let all = "SELECT user_id, version, name, tier, balance FROM people ORDER BY user_id";
    ensure!(rows::texts(&ebap, all).await? == rows::texts(&postgres, all).await?, "the tables differ");
    Ok(())
}
