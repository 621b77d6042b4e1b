//! Statements and questions that several jobs put to the server under test.

use std::collections::BTreeMap;

use anyhow::Context;
use ebap_tests::{Ebap, rows};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// `CREATE STREAM` over a topic of events, with the columns that the other engines declare and as few
/// constraints.
pub(crate) fn events_stream(name: &str, bootstrap: &str, topic: &str, watermark: &str, start: &str) -> String {
    format!(
        "CREATE STREAM {name} (
            id TEXT, user_id TEXT, action TEXT,
            metadata STRUCT<amount DOUBLE, item_id TEXT, region TEXT, platform TEXT>,
            location TEXT, timestamp TIMESTAMPTZ NOT NULL, region TEXT AS (metadata['region']),
            WATERMARK FOR timestamp AS {watermark})
         WITH (connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = '{topic}', format = 'json',
               start = '{start}')"
    )
}

/// A stream and its views in one transaction, so that the stream begins to read with all of them.
pub(crate) async fn create(client: &Client, statements: &[String]) -> anyhow::Result<()> {
    client.batch_execute(&statements.join(";\n")).await.with_context(|| statements.join(";\n"))
}

/// What `ebap.checkpoints` says of a stream since a moment. It remembers the newest hundred.
pub(crate) async fn checkpoints(client: &Client, stream: &str, since_us: i64) -> anyhow::Result<Value> {
    let sql = format!(
        "SELECT duration_ms, bytes FROM ebap.checkpoints
         WHERE source = '{stream}' AND CAST(EXTRACT(EPOCH FROM at) * 1000000 AS BIGINT) >= {since_us}
         ORDER BY duration_ms"
    );
    let (mut durations_ms, mut bytes) = (Vec::new(), 0_u64);
    for row in rows::texts(client, &sql).await? {
        durations_ms.push(row[0].parse::<f64>().context("duration_ms")?);
        bytes += row[1].parse::<u64>().context("bytes")?;
    }
    let middle = durations_ms.get(durations_ms.len() / 2);
    Ok(json!({
        "checkpoints": durations_ms.len(),
        "checkpoint_ms_median": middle,
        "checkpoint_ms_max": durations_ms.last(),
        "checkpoint_bytes": bytes,
    }))
}

/// Counters of the server that carry the stream's label, by name.
pub(crate) async fn counters(ebap: &Ebap, stream: &str) -> anyhow::Result<BTreeMap<String, f64>> {
    let (_, text) = ebap.http("/metrics").await?;
    let label = format!("stream=\"{stream}\"");
    let counters = text.lines().filter_map(|line| {
        let (name, rest) = line.split_once('{')?;
        let (labels, value) = rest.split_once("} ")?;
        (name.ends_with("_total") && labels.contains(&label)).then(|| Some((name.to_owned(), value.parse().ok()?)))?
    });
    Ok(counters.collect())
}
