//! How fast `activity` catches up with a topic that is full already.

use anyhow::{Context, ensure};
use ebap_connector::time;
use ebap_tests::{Ebap, rows};
use serde_json::{Value, json};

use crate::machine;

pub(crate) async fn measure(bootstrap: &str, topic: &str, expected: u64) -> anyhow::Result<Value> {
    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    let pid = ebap.pid().context("the server runs")?;
    rows::execute(&client, &[&stream(bootstrap, topic)]).await?;
    let cpu_before = machine::cpu_seconds(pid).unwrap_or_default();
    let began = time::instant();
    rows::execute(&client, &[ACTIVITY, "FLUSH"]).await?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu_seconds = machine::cpu_seconds(pid).unwrap_or_default() - cpu_before;
    let accounted = "SELECT CAST(sum(consumed) AS BIGINT) FROM ebap.accounting WHERE job = 'activity'";
    let consumed = u64::try_from(rows::number(&client, accounted).await?).context("a count")?;
    ensure!(consumed == expected, "{consumed} of {expected} records are accounted for");
    Ok(json!({
        "records": consumed,
        "seconds": seconds,
        "events_per_second": (consumed as f64 / seconds).round(),
        "cpu_seconds": cpu_seconds,
        "events_per_cpu_second": (consumed as f64 / cpu_seconds).round(),
        "peak_memory_mib": machine::peak_mib(pid),
        "view_rows": rows::number(&client, "SELECT count(*) FROM activity").await?,
    }))
}

/// As in `sql/migrations`: three sizes, distinct users.
const ACTIVITY: &str = "CREATE MATERIALIZED VIEW activity AS
    SELECT region, action, count(*) AS events, count(DISTINCT user_id) AS users, sum(metadata['amount']) AS revenue
    FROM events GROUP BY region, action
    WINDOW TUMBLE (timestamp, INTERVAL '1 minute', INTERVAL '5 minutes', INTERVAL '1 hour')";

/// `start = 'earliest'` alone would begin to read at once, so the clock starts with the stream's only view: a stream
/// without one decodes as well, but the two statements follow each other within milliseconds.
fn stream(bootstrap: &str, topic: &str) -> String {
    format!(
        "CREATE STREAM events (
            id UUID NOT NULL, user_id TEXT NOT NULL,
            action TEXT NOT NULL CHECK (action IN ('purchase', 'view', 'cart', 'login')),
            metadata STRUCT<amount DOUBLE, item_id TEXT, region TEXT, platform TEXT>,
            location TEXT, timestamp TIMESTAMPTZ NOT NULL, region TEXT AS (metadata['region']),
            WATERMARK FOR timestamp AS timestamp - INTERVAL '10 seconds')
         WITH (connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = '{topic}', format = 'json')"
    )
}
