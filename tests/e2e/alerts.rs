//! An alert on the real parts: events in Kafka; Alertmanager, a topic and Redis are told; the server is killed when it
//! pends and when it fires.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Context, ensure};
use ebap_connector::time;
use ebap_tests::{Ebap, kafka::Kafka, rows, wait};
use redis::AsyncTypedCommands;
use serde_json::Value;

use crate::pipeline::Shared;

const EVENTS: &str = "ebap.metrics.checkout";
const CHANGES: &str = "ebap.alerts.changes";

/// The share of checkouts that fail, every five seconds; a spike of 50 s, and from second 400 one of 5 minutes and 1.
fn produce(kafka: &Kafka, first_ms: i64, seconds: std::ops::Range<i64>) -> anyhow::Result<()> {
    let hot = |second: i64| (100..150).contains(&second) || (400..701).contains(&second);
    let record = |second: i64| {
        let rate = if hot(second) { 0.05 } else { 0.001 };
        format!(r#"{{"service":"web","rate":{rate},"timestamp":{}}}"#, first_ms + second * 1_000)
    };
    let records: Vec<String> = seconds.step_by(5).map(record).collect();
    kafka.produce(EVENTS, 0, records.iter().map(String::as_str))
}

/// What the topic has been told: each change once, by its id, in order.
fn changes(kafka: &Kafka) -> anyhow::Result<Vec<(String, bool)>> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for record in kafka.read_all(CHANGES)? {
        let text = record.value.context("a change has no value")?;
        let json: Value = serde_json::from_slice(&text).context("a change is no JSON")?;
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        if seen.insert(text("id")) {
            found.push((text("status"), json["page"].as_bool().unwrap_or_default()));
        }
    }
    Ok(found)
}

fn expected(upto: usize) -> Vec<(String, bool)> {
    let all = [("pending", false), ("normal", false), ("pending", false), ("firing", true), ("resolved", true)];
    all[..upto].iter().map(|(status, page)| ((*status).to_owned(), *page)).collect()
}

pub(crate) async fn an_alert_pages_once_whatever_dies(shared: Arc<Shared>) -> anyhow::Result<()> {
    let (bootstrap, redis_url, alertmanager) = shared.alerts().await?;
    let kafka = Kafka::new(&bootstrap);
    kafka.create_topic(EVENTS, 1).await?;
    kafka.create_topic(CHANGES, 1).await?;
    let redis = redis::Client::open(redis_url.as_str()).context("the address of Redis")?;
    let mut redis = redis.get_multiplexed_async_connection().await.context("connect to Redis")?;
    let mut ebap = Ebap::start().await?;
    let mut client = ebap.connect().await?;
    let statements = [
        format!(
            "CREATE STREAM checkout (service TEXT, rate DOUBLE PRECISION, timestamp TIMESTAMPTZ NOT NULL,
                 WATERMARK FOR timestamp AS timestamp - INTERVAL '10 minutes')
             WITH (connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = '{EVENTS}', format = 'json')"
        ),
        "CREATE MATERIALIZED VIEW error_rate AS SELECT service, avg(rate) AS rate FROM checkout GROUP BY service
             WINDOW TUMBLE (timestamp, INTERVAL '10 seconds')"
            .to_owned(),
        format!(
            "CREATE ALERT checkout_errors ON error_rate WHEN rate > 0.01 FOR INTERVAL '5 minutes'
             WITH (severity = 'page', summary = '{{service}}: {{value}} of the checkouts fail', alertmanager = '{alertmanager}',
                   bootstrap_servers = '{bootstrap}', topic = '{CHANGES}', redis = '{redis_url}')"
        ),
    ];
    let statements: Vec<&str> = ["BEGIN"].into_iter().chain(statements.iter().map(String::as_str)).collect();
    rows::execute(&client, &statements).await?;
    rows::execute(&client, &["COMMIT"]).await?;
    // On a full window, in a past that Alertmanager takes.
    let first_ms = (time::now_us() / 10_000_000 - 360) * 10_000;

    let state = "SELECT state, colour FROM ebap.alerts";
    let told = async |count: usize| {
        wait::until("the topic is told", wait::PATIENCE, async || {
            let found = changes(&kafka)?;
            Ok((found.len() >= count).then_some(found))
        })
        .await
    };
    produce(&kafka, first_ms, 0..430)?;
    rows::execute(&client, &["FLUSH"]).await?;
    ensure!(rows::texts(&client, state).await? == [["pending", "yellow"]]);
    ensure!(told(3).await? == expected(3), "{:?}", changes(&kafka)?);
    let pending = redis.hgetall("ebap:alert:checkout_errors:web").await.context("HGETALL")?;
    ensure!(pending["state"] == "pending" && pending["colour"] == "yellow", "{pending:?}");
    ensure!(shared.alertmanager_has().await?.trim() == "[]", "50 seconds page nobody");

    ebap.kill()?;
    produce(&kafka, first_ms, 430..705)?;
    ebap.start_again().await?;
    client = ebap.connect().await?;
    rows::execute(&client, &["FLUSH"]).await?;
    ensure!(rows::texts(&client, state).await? == [["firing", "red"]]);
    ensure!(told(4).await? == expected(4), "{:?}", changes(&kafka)?);
    let firing = async || -> anyhow::Result<Vec<Value>> {
        serde_json::from_str(&shared.alertmanager_has().await?).context("Alertmanager's answer")
    };
    let found = wait::until("Alertmanager has it", wait::PATIENCE, async || {
        Ok(Some(firing().await?).filter(|found| !found.is_empty()))
    })
    .await?;
    ensure!(found.len() == 1 && found[0]["labels"]["service"] == "web", "{found:?}");
    ensure!(found[0]["annotations"]["summary"] == "web: 0.05 of the checkouts fail", "{found:?}");

    ebap.kill()?;
    ebap.start_again().await?;
    client = ebap.connect().await?;
    rows::execute(&client, &["FLUSH"]).await?;
    ensure!(rows::texts(&client, state).await? == [["firing", "red"]]);
    ensure!(firing().await?.len() == 1, "it fires once");
    let (_, metrics) = ebap.http("/metrics").await?;
    let line = "ebap_alert_keys{alert=\"checkout_errors\",state=\"firing\"} 1";
    ensure!(metrics.lines().any(|one| one == line), "{metrics}");
    produce(&kafka, first_ms, 705..1_000)?;
    rows::execute(&client, &["FLUSH"]).await?;
    ensure!(told(5).await? == expected(5), "{:?}", changes(&kafka)?);
    wait::until("Alertmanager has nothing", wait::PATIENCE, async || Ok(firing().await?.is_empty().then_some(())))
        .await?;
    wait::until("Redis shows it", wait::PATIENCE, async || {
        let now = redis.clone().hgetall("ebap:alert:checkout_errors:web").await.context("HGETALL")?;
        Ok((now["state"] == "normal" && now["colour"] == "green").then_some(()))
    })
    .await?;
    ensure!(redis.ttl("ebap:alert:checkout_errors:web").await.context("TTL")?.raw() > 0, "it expires");
    let history = "SELECT string_agg(to_state, ' ' ORDER BY at, decided_at) FROM ebap.alert_history";
    ensure!(rows::texts(&client, history).await? == [["pending normal pending firing normal"]]);
    Ok(())
}
