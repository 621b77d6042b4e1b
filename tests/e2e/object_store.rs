//! Catalog and state in an S3 bucket instead of a folder.

use std::sync::Arc;

use anyhow::{Context, ensure};
use ebap_tests::{Ebap, EbapOptions, rows, wait};
use tokio_postgres::Client;

use crate::pipeline::Shared;

const ROWS: i64 = 20_000;

const VIEW: &str = "CREATE MATERIALIZED VIEW users AS
    SELECT action, count(*) AS events, count(DISTINCT user_id) AS users FROM events GROUP BY action";

fn stream() -> String {
    format!(
        "CREATE STREAM events (user_id TEXT NOT NULL, action TEXT NOT NULL, timestamp TIMESTAMPTZ NOT NULL,
             WATERMARK FOR timestamp AS timestamp - INTERVAL '1 minute')
         WITH (connector = 'generator', dataset = 'ebap.events', rows = {ROWS}, rate = 10000, splits = 2, seed = 5)"
    )
}

/// A server whose catalog and state are in this folder of the bucket.
async fn start(endpoint: &str, folder: &str) -> anyhow::Result<Ebap> {
    let env = [
        ("EBAP_STATE_URL", format!("s3://warehouse/{folder}")),
        ("AWS_ENDPOINT", endpoint.to_owned()),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "ebapminio".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "ebapminio-secret".to_owned()),
    ];
    let env = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ebap::start_with(EbapOptions { env, ..EbapOptions::default() }).await
}

/// All events are in the view, as a batch has them.
async fn is_whole(client: &Client) -> anyhow::Result<()> {
    rows::execute(client, &["FLUSH"]).await?;
    let answer = |from: &str| format!("SELECT action, events, users FROM {from} ORDER BY action");
    let batch = "(SELECT action, count(*) AS events, count(DISTINCT user_id) AS users FROM events GROUP BY action)";
    let live = rows::texts(client, &answer("users")).await?;
    ensure!(live == rows::texts(client, &answer(&format!("{batch} AS batch"))).await?, "{live:?}");
    let counted = rows::number(client, "SELECT CAST(sum(events) AS BIGINT) FROM users").await?;
    ensure!(counted == ROWS, "{counted} of {ROWS} events are counted");
    Ok(())
}

/// The machine is gone with its disk; another one starts with nothing but the bucket.
pub(crate) async fn state_in_a_bucket_outlives_the_machine(shared: Arc<Shared>) -> anyhow::Result<()> {
    let endpoint = shared.s3().await?;
    let mut first = start(&endpoint, "state-of-e2e").await?;
    let client = first.connect().await?;
    rows::execute(&client, &[&stream(), VIEW, "SELECT count(*) FROM users"]).await?;
    first.kill()?;
    let folder = first.data_dir().to_path_buf();
    drop(first);
    ensure!(!folder.exists(), "nothing of the first machine is left");

    let second = start(&endpoint, "state-of-e2e").await?;
    is_whole(&second.connect().await?).await
}

/// Two servers on one bucket, changed through both at once; then one dies and the other takes over.
pub(crate) async fn two_servers_share_a_bucket(shared: Arc<Shared>) -> anyhow::Result<()> {
    const CLIENTS: usize = 8;
    let endpoint = shared.s3().await?;
    let mut first = start(&endpoint, "state-of-two").await?;
    let second = start(&endpoint, "state-of-two").await?;
    let (client, other) = (first.connect().await?, second.connect().await?);
    rows::execute(&client, &[&stream(), VIEW]).await?;
    let states = "SELECT DISTINCT state FROM ebap.jobs";
    wait::until("the second server knows of the stream", wait::PATIENCE, async || {
        Ok((rows::texts(&other, states).await? == [["superseded"]]).then_some(()))
    })
    .await?;

    let mut changing = Vec::new();
    for number in 0..CLIENTS {
        let session = if number % 2 == 0 { first.connect().await? } else { second.connect().await? };
        changing.push(tokio::spawn(async move {
            for part in 0..5 {
                let create = format!("CREATE FUNCTION f{number}_{part}(x BIGINT) RETURNS BIGINT AS 'x'");
                session.batch_execute(&create).await.with_context(|| create.clone())?;
            }
            anyhow::Ok(())
        }));
    }
    for one in changing {
        one.await??;
    }
    for server in [&client, &other] {
        wait::until("both servers know of all functions", wait::PATIENCE, async || {
            let found = rows::texts(server, "SHOW FUNCTIONS").await?.len();
            ensure!(found <= CLIENTS * 5, "{found} functions");
            Ok((found == CLIENTS * 5).then_some(()))
        })
        .await?;
    }

    first.kill()?;
    rows::execute(&other, &["ALTER STREAM events RESUME"]).await?;
    is_whole(&other).await?;
    // The first is back, and takes over what it runs: nothing is lost or counted twice by it.
    first.start_again().await?;
    is_whole(&first.connect().await?).await?;
    wait::until("the second server stands by again", wait::PATIENCE, async || {
        Ok((rows::texts(&other, states).await? == [["superseded"]]).then_some(()))
    })
    .await
}
