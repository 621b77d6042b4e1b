//! How fast `activity`, as the platform has it, catches up with a topic of `ebap generate`.

use anyhow::{Context, ensure};
use ebap_connector::time;
use ebap_tests::{Ebap, rows, server::generate};
use serde_json::json;

use crate::{
    bench::Bench,
    consumer,
    meter::{Meter, merge},
    server,
};

const TOPIC: &str = "bench-generated";

pub(crate) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let expected = bench.args.rows();
    match consumer::records(&bench.bootstrap, TOPIC)? {
        Some(records) if records == expected => {}
        Some(records) => anyhow::bail!("topic {TOPIC} holds {records} records: delete it"),
        None => {
            bench.create_topic(TOPIC).await?;
            generate(&bench.bootstrap, TOPIC, &["--rows", &expected.to_string(), "--seed", "42"])?;
        }
    }
    for run in 1..=bench.args.runs {
        // Each on a server of its own that starts empty.
        let ebap = Ebap::start().await?;
        let client = ebap.connect().await?;
        let pid = ebap.pid().context("the server runs")?;
        let (meter, began_us) = (Meter::start(pid, bench.broker), time::now_us());
        server::create(&client, &[stream(&bench.bootstrap), ACTIVITY.to_owned()]).await?;
        rows::execute(&client, &["FLUSH"]).await?;
        let figures = meter.finish()?.json(expected);
        let accounted = "SELECT CAST(sum(consumed) AS BIGINT) FROM ebap.accounting WHERE job = 'activity'";
        let consumed = u64::try_from(rows::number(&client, accounted).await?)?;
        ensure!(consumed == expected, "{consumed} of {expected} records are accounted for");
        let checkpoints = server::checkpoints(&client, "events", began_us).await?;
        let view_rows = rows::number(&client, "SELECT count(*) FROM activity").await?;
        let more = json!({ "run": run, "cold": true, "view_rows": view_rows });
        bench.report("ebap", "catch-up", merge(merge(figures, checkpoints), more))?;
    }
    Ok(())
}

/// As in `sql/migrations`: three sizes, distinct users.
pub(crate) const ACTIVITY: &str = "CREATE MATERIALIZED VIEW activity AS
    SELECT region, action, count(*) AS events, count(DISTINCT user_id) AS users, sum(metadata['amount']) AS revenue
    FROM events GROUP BY region, action
    WINDOW TUMBLE (timestamp, INTERVAL '1 minute', INTERVAL '5 minutes', INTERVAL '1 hour')";

fn stream(bootstrap: &str) -> String {
    format!(
        "CREATE STREAM events (
            id UUID NOT NULL, user_id TEXT NOT NULL,
            action TEXT NOT NULL CHECK (action IN ('purchase', 'view', 'cart', 'login')),
            metadata STRUCT<amount DOUBLE, item_id TEXT, region TEXT, platform TEXT>,
            location TEXT, timestamp TIMESTAMPTZ NOT NULL, region TEXT AS (metadata['region']),
            WATERMARK FOR timestamp AS timestamp - INTERVAL '10 seconds')
         WITH (connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = '{TOPIC}', format = 'json')"
    )
}
