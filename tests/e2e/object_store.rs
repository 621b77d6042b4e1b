//! Catalog and state in an S3 bucket instead of a folder.

use std::sync::Arc;

use anyhow::ensure;
use ebap_tests::{Ebap, EbapOptions, rows};

use crate::pipeline::Shared;

const ROWS: i64 = 20_000;

/// The machine is gone with its disk; another one starts with nothing but the bucket.
pub(crate) async fn state_in_a_bucket_outlives_the_machine(shared: Arc<Shared>) -> anyhow::Result<()> {
    let endpoint = shared.s3().await?;
    let env = [
        ("EBAP_STATE_URL", "s3://warehouse/state-of-e2e"),
        ("AWS_ENDPOINT", &endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "ebapminio"),
        ("AWS_SECRET_ACCESS_KEY", "ebapminio-secret"),
    ];
    let env = || env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let options = || EbapOptions { env: env(), ..EbapOptions::default() };
    let mut first = Ebap::start_with(options()).await?;
    let client = first.connect().await?;
    let stream = format!(
        "CREATE STREAM events (user_id TEXT NOT NULL, action TEXT NOT NULL, timestamp TIMESTAMPTZ NOT NULL,
             WATERMARK FOR timestamp AS timestamp - INTERVAL '1 minute')
         WITH (connector = 'generator', dataset = 'ebap.events', rows = {ROWS}, rate = 10000, splits = 2, seed = 5)"
    );
    let view = "CREATE MATERIALIZED VIEW users AS
                SELECT action, count(*) AS events, count(DISTINCT user_id) AS users FROM events GROUP BY action";
    rows::execute(&client, &[&stream, view, "SELECT count(*) FROM users"]).await?;
    first.kill()?;
    let folder = first.data_dir().to_path_buf();
    drop(first);
    ensure!(!folder.exists(), "nothing of the first machine is left");

    let second = Ebap::start_with(options()).await?;
    let client = second.connect().await?;
    rows::execute(&client, &["FLUSH"]).await?;
    let answer = |from: &str| format!("SELECT action, events, users FROM {from} ORDER BY action");
    let batch = "(SELECT action, count(*) AS events, count(DISTINCT user_id) AS users FROM events GROUP BY action)";
    let live = rows::texts(&client, &answer("users")).await?;
    ensure!(live == rows::texts(&client, &answer(&format!("{batch} AS batch"))).await?, "{live:?}");
    let counted = rows::number(&client, "SELECT CAST(sum(events) AS BIGINT) FROM users").await?;
    ensure!(counted == ROWS, "{counted} of {ROWS} events are counted");
    Ok(())
}
