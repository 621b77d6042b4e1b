//! Metrics from Kafka to Prometheus.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, ensure};
use ebap_connector::time;
use ebap_tests::{Ebap, kafka::Kafka, rows, wait};
use serde_json::Value;

use crate::pipeline::Shared;

const TOPIC: &str = "ebap.metrics.telemetry";
const HOSTS: [&str; 2] = ["host-1", "host-2"];

/// One a second, up to about now. A host has a partition, so its samples are in order.
fn produce(kafka: &Kafka, first_ms: i64, numbers: std::ops::Range<i64>) -> anyhow::Result<()> {
    for (partition, host) in (0..).zip(HOSTS) {
        let record = |n: i64| {
            let timestamp = first_ms + n * 1_000;
            format!(
                r#"{{"name":"cpu.usage","value":{n},"labels":{{"host":"{host}","zone":""}},"timestamp":{timestamp}}}"#
            )
        };
        let records: Vec<String> = numbers.clone().map(record).collect();
        kafka.produce(TOPIC, partition, records.iter().map(String::as_str))?;
    }
    Ok(())
}

/// Of each host the samples of the last hour: milliseconds and value.
async fn samples(shared: &Shared) -> anyhow::Result<BTreeMap<String, Vec<(i64, String)>>> {
    let answer: Value = serde_json::from_str(&shared.ask_prometheus("cpu_usage[1h]").await?)?;
    let mut hosts = BTreeMap::new();
    for series in answer["data"]["result"].as_array().with_context(|| answer.to_string())? {
        let labels = series["metric"].as_object().context("labels")?;
        ensure!(labels.keys().eq(["__name__", "cluster", "host"]), "{labels:?}");
        let sample = |sample: &Value| {
            let at_ms = (sample[0].as_f64().unwrap_or_default() * 1e3).round() as i64;
            (at_ms, sample[1].as_str().unwrap_or_default().to_owned())
        };
        let all = series["values"].as_array().context("samples")?.iter().map(sample);
        hosts.insert(labels["host"].as_str().unwrap_or_default().to_owned(), all.collect());
    }
    Ok(hosts)
}

fn expected(first_ms: i64, numbers: std::ops::Range<i64>) -> BTreeMap<String, Vec<(i64, String)>> {
    let samples: Vec<_> = numbers.map(|n| (first_ms + n * 1_000, n.to_string())).collect();
    HOSTS.map(|host| (host.to_owned(), samples.clone())).into()
}

pub(crate) async fn every_sample_outlives_a_kill(shared: Arc<Shared>) -> anyhow::Result<()> {
    let (bootstrap, prometheus) = (shared.kafka().await?, shared.prometheus().await?);
    let kafka = Kafka::new(&bootstrap);
    kafka.create_topic(TOPIC, 2).await?;
    let mut ebap = Ebap::start().await?;
    let mut client = ebap.connect().await?;
    let stream = format!(
        "CREATE STREAM metrics (name TEXT NOT NULL, value DOUBLE PRECISION NOT NULL, labels MAP<TEXT, TEXT>,
             timestamp TIMESTAMPTZ NOT NULL, WATERMARK FOR timestamp AS timestamp - INTERVAL '1 minute')
         WITH (connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = '{TOPIC}', format = 'json')"
    );
    let sink = format!(
        "CREATE SINK telemetry FROM metrics
         WITH (connector = 'prometheus', url = '{prometheus}/api/v1/write', external_labels = 'cluster=eu-1')"
    );
    let first_ms = time::now_us() / 1_000 - 3_000_000;
    produce(&kafka, first_ms, 0..500)?;
    rows::execute(&client, &[&stream, &sink, "FLUSH"]).await?;
    ensure!(samples(&shared).await? == expected(first_ms, 0..500), "what was flushed is there");

    produce(&kafka, first_ms, 500..1_500)?;
    let read = "SELECT CAST(sum(\"offset\") AS BIGINT) FROM ebap.splits WHERE source = 'metrics'";
    let more = async || Ok(Some(rows::number(&client, read).await?).filter(|read| *read > 1_000));
    wait::until("more is read", wait::PATIENCE, more).await?;
    ebap.kill()?;
    produce(&kafka, first_ms, 1_500..2_500)?;
    ebap.start_again().await?;
    client = ebap.connect().await?;
    rows::execute(&client, &["FLUSH"]).await?;
    ensure!(samples(&shared).await? == expected(first_ms, 0..2_500), "some samples are not there after the kill");

    // Samples that came again may have been refused; one that is out of order is so for certain.
    let before = rows::number(&client, "SELECT refused FROM ebap.sinks WHERE name = 'telemetry'").await?;
    produce(&kafka, first_ms - 500, 100..101)?;
    rows::execute(&client, &["FLUSH"]).await?;
    wait::until("what was refused is counted", wait::PATIENCE, async || {
        let state = rows::texts(&client, "SELECT state, refused FROM ebap.sinks WHERE name = 'telemetry'").await?;
        Ok((state == [["running", (before + HOSTS.len() as i64).to_string().as_str()]]).then_some(()))
    })
    .await?;
    let (_, metrics) = ebap.http("/metrics").await?;
    let line = "ebap_sink_left_out_rows_total{job=\"telemetry\",connector=\"prometheus\",source=\"metrics\",reason=\"refused\"} ";
    let counted = metrics.lines().find_map(|one| one.strip_prefix(line)).context("the metric is missing")?;
    ensure!(counted == (before + 2).to_string(), "{counted} at /metrics, {before} before");
    Ok(())
}
