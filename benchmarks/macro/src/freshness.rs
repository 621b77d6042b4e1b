//! A change of a table: from handing it to the producer until a view shows an event that has met it.
//!
//! Events come at a steady rate, so one meets the table every so often (the time between two is in the figure). The
//! table's row carries a number that rises by one with each change; the view shows the highest that an event has met.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ebap_connector::time;
use ebap_tests::{Ebap, wait};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::json;

use crate::{bench::Bench, histogram::Histogram, latency, meter::merge, server};

const RATE: u64 = 10_000;
const CHANGES: i64 = 200;
/// Between two changes: others are visible by then.
const PAUSE: Duration = Duration::from_millis(100);
const FLUSH_MAX: Duration = Duration::from_secs(10);

pub(crate) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let rate = bench.args.rate.unwrap_or(RATE);
    let (topic, users) = (latency::topic(bench).await?, format!("bench-users-{}", time::now_us()));
    bench.create_topic(&users).await?;
    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    let with = |topic: &str| {
        format!(
            "WITH (connector = 'kafka', bootstrap_servers = '{}', topic = '{topic}', format = 'json')",
            bench.bootstrap
        )
    };
    server::create(
        &client,
        &[
            format!("CREATE TABLE tiers (region TEXT PRIMARY KEY, version BIGINT) {}", with(&users)),
            format!(
                "CREATE STREAM marks (n BIGINT NOT NULL, region TEXT, amount DOUBLE, at TIMESTAMPTZ NOT NULL,
                     WATERMARK FOR at AS at - INTERVAL '10 seconds') {}",
                with(&topic)
            ),
            "CREATE MATERIALIZED VIEW met AS SELECT m.region, max(t.version) AS version, count(*) AS marks
             FROM marks m JOIN tiers t ON t.region = m.region GROUP BY m.region"
                .to_owned(),
        ],
    )
    .await?;
    // Long enough for all changes; what is left of it is not waited for.
    let seconds = bench.args.warm_up + 4 * CHANGES as u64 * u64::try_from(PAUSE.as_millis())? / 1_000;
    let events = latency::produce(bench, topic, rate, rate * seconds);
    let statement =
        client.prepare("SELECT CAST(coalesce(max(version), -1) AS BIGINT) FROM met WHERE region = 'r1'").await?;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &bench.bootstrap)
        .set("linger.ms", "0")
        .create()
        .context("a producer")?;
    let mut waits = Histogram::new();
    for version in 0..CHANGES {
        let value = format!(r#"{{"region":"r1","version":{version}}}"#);
        let began: Instant = time::instant();
        producer
            .send(BaseRecord::<str, str>::to(&users).key("r1").payload(&value))
            .map_err(|(error, _)| error)
            .context("a change of the table")?;
        // Sent by a thread of its own; `flush` would look only every 100 ms whether it is.
        producer.poll(Duration::ZERO);
        wait::until_busy("the change is visible", wait::PATIENCE, async || {
            let shown: i64 = client.query_one(&statement, &[]).await?.try_get(0)?;
            Ok((shown >= version).then_some(()))
        })
        .await?;
        // The first ones wait for the events of the warm-up.
        if version >= CHANGES / 10 {
            waits.add(began.elapsed().as_secs_f64() * 1e3, 1);
        }
        time::sleep(PAUSE).await;
    }
    producer.flush(FLUSH_MAX).context("changes of the table")?;
    ensure!(!events.is_done(), "the events ended before the changes");
    events.stop();
    events.finish()?;
    let more = json!({ "run": 1, "rate": rate, "changes": CHANGES });
    bench.report("ebap", "freshness", merge(waits.json(), more))
}
