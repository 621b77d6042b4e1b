//! The same for topics that sinks write: a reader of committed records sees each row of the stream once, each final
//! window once, and at each key what the view has. The server is killed again and again, and Kafka once.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use ebap_tests::{
    Ebap, Service, Stack,
    kafka::{Kafka, Record},
    rows,
};
use serde_json::Value;
use tokio_postgres::Client;

use super::{ROWS, STREAM, compare, options, read_at_least, rows_before};

const VIEWS: [&str; 2] = [
    "CREATE MATERIALIZED VIEW counts AS
     SELECT user_id, count(*) AS events, sum(CAST(round(metadata['amount'] * 100) AS BIGINT)) AS cents
     FROM events GROUP BY user_id HAVING count(*) % 5 <> 0",
    "CREATE MATERIALIZED VIEW minutes AS SELECT action, count(*) AS events, max(user_id) AS last_user
     FROM events GROUP BY action WINDOW TUMBLE (timestamp, INTERVAL '1 minute', INTERVAL '10 minutes') EMIT ON WINDOW CLOSE",
];

pub(crate) async fn run(kills: i64) -> anyhow::Result<()> {
    let mut stack = Stack::new()?;
    stack.need(&[Service::Kafka])?;
    let data = tempfile::tempdir().context("a data directory")?;
    let mut ebap = Ebap::start_with(options(&data)).await?;
    let bootstrap = stack.bootstrap();
    let sink = |name: &str, from: &str, more: &str| {
        format!(
            "CREATE SINK \"{name}\" FROM {from}
             WITH (connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = '{name}'{more})"
        )
    };
    let sinks = [
        sink("all-events", "events", ", partitions = 3, key = 'user_id', commit_interval = '100ms'"),
        sink("user-counts", "counts", ", partitions = 2"),
        sink("closed-minutes", "minutes", ""),
    ];
    let client = ebap.connect().await?;
    rows::execute(&client, &[STREAM, VIEWS[0], VIEWS[1], &sinks[0], &sinks[1], &sinks[2]]).await?;
    let rounds = kills.max(1);
    for round in 1..=rounds {
        read_at_least(&ebap.connect().await?, rows_before(round, rounds)).await?;
        if round == rounds / 2 + 1 {
            stack.run(Service::Kafka, &["kill-node", "1"])?;
            stack.run(Service::Kafka, &["start-node", "1"])?;
        }
        if round <= kills {
            ebap.kill()?;
            ebap.start_again().await?;
        }
    }
    let client = ebap.connect().await?;
    read_at_least(&client, ROWS).await?;
    rows::execute(&client, &["FLUSH"]).await?;
    let kafka = Kafka::new(bootstrap);
    verify_events(&client, &kafka).await?;
    verify_counts(&client, &kafka).await?;
    verify_minutes(&client, &kafka).await
}

fn json(record: &Record) -> anyhow::Result<Value> {
    serde_json::from_slice(record.value.as_deref().context("a tombstone")?).context("a value that is no JSON")
}

fn field(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::String(text) => text.clone(),
        Value::Null => "NULL".to_owned(),
        other => other.to_string(),
    }
}

/// Late rows are among them.
async fn verify_events(client: &Client, kafka: &Kafka) -> anyhow::Result<()> {
    let mut expected = rows::texts(client, "SELECT id, user_id, action FROM events").await?;
    let mut found = Vec::new();
    for record in kafka.read_committed("all-events")? {
        let value = json(&record)?;
        found.push(vec![field(&value, "id"), field(&value, "user_id"), field(&value, "action")]);
    }
    compare("events", &mut expected, &mut found)
}

async fn verify_counts(client: &Client, kafka: &Kafka) -> anyhow::Result<()> {
    let mut expected = rows::texts(client, "SELECT user_id, events, cents FROM counts").await?;
    let mut held: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
    for record in kafka.read_committed("user-counts")? {
        let key = record.key.clone().context("a record without a key")?;
        let before = held.insert(key.clone(), record.value.clone());
        // Compaction may have taken the record between, but never between a row and what it says again.
        ensure!(before != Some(record.value), "{} came twice", String::from_utf8_lossy(&key));
    }
    let mut found = Vec::new();
    for value in held.into_values().flatten() {
        let value: Value = serde_json::from_slice(&value)?;
        found.push(vec![field(&value, "user_id"), field(&value, "events"), field(&value, "cents")]);
    }
    compare("counts", &mut expected, &mut found)
}

async fn verify_minutes(client: &Client, kafka: &Kafka) -> anyhow::Result<()> {
    let columns = "window_end, window_size, action, events, last_user";
    let mut expected = rows::texts(client, &format!("SELECT {columns} FROM minutes")).await?;
    let batch =
        "SELECT date_bin(INTERVAL '1 minute', timestamp) + INTERVAL '1 minute' AS window_end, '00:01:00', action,
            count(*) AS events, max(user_id) AS last_user
        FROM events WHERE NOT _late OR date_bin(INTERVAL '1 minute', timestamp) + INTERVAL '1 minute' > _watermark
        GROUP BY 1, 2, 3";
    let (mut found, mut last) = (Vec::new(), BTreeMap::new());
    for record in kafka.read_committed("closed-minutes")? {
        let value = json(&record)?;
        let end = field(&value, "window_end").replace('T', " ").replace('Z', "+00");
        let before: Option<String> = last.insert(record.partition, end.clone());
        ensure!(before.is_none_or(|before| before <= end), "window {end} came after a later one");
        let named = ["window_size", "action", "events", "last_user"].map(|name| field(&value, name));
        found.push([vec![end], named.to_vec()].concat());
    }
    compare("minutes", &mut expected, &mut found)?;
    let closed: Vec<_> = found.iter().filter(|row| row[1] == "00:01:00").cloned().collect();
    let newest = closed.iter().map(|row| row[0].clone()).max().unwrap_or_default();
    let mut batch = rows::texts(client, batch).await?;
    batch.retain(|row| row[0] <= newest);
    compare("minutes of the batch", &mut batch, &mut { closed })
}
