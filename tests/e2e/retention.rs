//! A server that was away for longer than its topic keeps records.

use std::sync::Arc;

use anyhow::ensure;
use ebap_tests::{Ebap, kafka::Kafka, rows, wait};

use crate::pipeline::Shared;

const TOPIC: &str = "clicks-kept-shortly";

fn clicks(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!(r#"{{"n":{n},"at":"2026-01-01T00:{:02}:30Z"}}"#, n / 60 % 60)).collect()
}

pub(crate) async fn a_stream_that_retention_has_passed_goes_on(shared: Arc<Shared>) -> anyhow::Result<()> {
    let bootstrap = shared.kafka().await?;
    let kafka = Kafka::new(&bootstrap);
    kafka.create_topic(TOPIC, 2).await?;
    let mut ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    let stream = format!(
        "CREATE STREAM clicks (n BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL, WATERMARK FOR at AS at - INTERVAL '1 hour')
         WITH (connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = '{TOPIC}', format = 'json')"
    );
    let view = "CREATE MATERIALIZED VIEW seen AS SELECT count(*) AS clicks, sum(n) AS total FROM clicks";
    for partition in [0, 1] {
        kafka.produce(TOPIC, partition, &clicks(0..100))?;
    }
    rows::execute(&client, &[&stream, view, "FLUSH"]).await?;
    ensure!(ebap.terminate().await?.success(), "it ends in order");
    kafka.produce(TOPIC, 0, &clicks(100..200))?;
    kafka.expire(TOPIC, 0, 150).await?;
    ebap.start_again().await?;

    let client = ebap.connect().await?;
    wait::until("the stream says what is missing", wait::PATIENCE, async || {
        let jobs = rows::texts(&client, "SELECT state, message FROM ebap.jobs WHERE name = 'clicks'").await?;
        let told = jobs[0][0] == "failed" && jobs[0][1].contains("partition 0 offset 100 is not there any more");
        Ok((told && jobs[0][1].contains("RESUME FROM EARLIEST")).then_some(()))
    })
    .await?;
    rows::execute(&client, &["ALTER STREAM clicks RESUME FROM EARLIEST", "FLUSH"]).await?;
    let total = (0..100).sum::<u32>() * 2 + (150..200).sum::<u32>();
    let expected = vec![vec!["250".to_owned(), total.to_string()]];
    let content = "SELECT clicks, total FROM seen";
    ensure!(rows::texts(&client, content).await? == expected, "the state is kept, and what there is was read");
    let counted = "SELECT job, split, consumed, emitted, missed FROM ebap.accounting ORDER BY job, split";
    let all = [
        ["clicks", "0", "200", "150", "50"],
        ["clicks", "1", "100", "100", "0"],
        ["seen", "0", "200", "150", "50"],
        ["seen", "1", "100", "100", "0"],
    ];
    let found = rows::texts(&client, counted).await?;
    ensure!(found == all, "{found:?}");
    ebap.kill()?;
    ebap.start_again().await?;
    let client = ebap.connect().await?;
    rows::execute(&client, &["FLUSH"]).await?;
    ensure!(rows::texts(&client, content).await? == expected, "after a death");
    let found = rows::texts(&client, counted).await?;
    ensure!(found == all, "after a death: {found:?}");
    let refused = client.batch_execute("ALTER STREAM clicks RESUME FROM LATEST").await;
    ensure!(refused.is_err_and(|error| error.code().is_some_and(|code| code.code() == "55000")), "nothing is missing");
    Ok(())
}
