//! From handing a record to the producer until Redis has what it changed.
//!
//! Every record changes a key of its own: number `n` the key of `n` modulo `KEYS`. A reader asks without a pause for some
//! of them. What it finds new there became visible at the moment that answer arrived, so the figure includes the
//! producer's linger, the broker, the step, the sink's interval, and the round trip; it is never too small. No key changes
//! twice within the interval, so as many keys are written per second as records are produced.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context, ensure};
use ebap_connector::time;
use ebap_tests::{Ebap, Service, Stack, wait};
use redis::aio::MultiplexedConnection;
use serde_json::json;

use crate::{
    bench::Bench,
    histogram::Histogram,
    latency,
    meter::{Meter, merge},
    paced::Sent,
    server,
};

/// Records, and with them changed keys, a second.
const RATES: [u64; 2] = [10_000, 50_000];
const KEYS: u64 = 20_000;
const WATCHED: u64 = 64;

pub(crate) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let mut stack = Stack::new()?;
    stack.need(&[Service::Redis])?;
    for rate in bench.args.rate.map_or(RATES.to_vec(), |rate| vec![rate]) {
        at_rate(bench, &stack.redis_url(), rate).await?;
    }
    Ok(())
}

async fn at_rate(bench: &Bench, url: &str, rate: u64) -> anyhow::Result<()> {
    let total = rate * (bench.args.warm_up + bench.args.seconds);
    let topic = latency::topic(bench).await?;
    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    let statements = [
        format!(
            "CREATE STREAM marks (n BIGINT NOT NULL, region TEXT, amount DOUBLE)
             WITH (connector = 'kafka', bootstrap_servers = '{}', topic = '{topic}', format = 'json')",
            bench.bootstrap
        ),
        format!(
            "CREATE MATERIALIZED VIEW newest AS SELECT n % {KEYS} AS k, max(n) AS n, count(*) AS marks, sum(amount) AS amount
             FROM marks GROUP BY n % {KEYS}"
        ),
        format!("CREATE SINK hot FROM newest WITH (connector = 'redis', url = '{url}', key = 'bench:{topic}:{{k}}')"),
    ];
    server::create(&client, &statements).await?;
    let redis = redis::Client::open(url).context("the address of Redis")?;
    let mut redis = redis.get_multiplexed_async_connection().await.context("connect to Redis")?;

    let meter = Meter::start(ebap.pid().context("the server runs")?, bench.broker);
    let cpu_before = cpu_seconds(&mut redis).await?;
    let producer = latency::produce(bench, topic.clone(), rate, total);
    let began = time::instant();
    let seen = watch(&mut redis, &topic, total).await?;
    let seconds = began.elapsed().as_secs_f64();
    let redis_cpu = (cpu_seconds(&mut redis).await? - cpu_before) / seconds;
    let figures = meter.finish()?.json(total);
    let sent = producer.finish()?;
    let measured = rate * bench.args.warm_up;
    let half = measured + (total - measured) / 2;
    let waits = waits(&sent, &seen, measured);
    ensure!(waits.total() > 0, "nothing was measured");
    let more = json!({
        "run": 1, "rate": rate, "changed_keys_per_s": total as f64 / seconds, "redis_cpu": redis_cpu,
        "second_half": self::waits(&sent, &seen, half).json(),
    });
    bench.report("ebap", "redis", merge(merge(figures, waits.json()), more))
}

/// When which number was first seen.
async fn watch(redis: &mut MultiplexedConnection, topic: &str, total: u64) -> anyhow::Result<Vec<(Instant, u64)>> {
    let watched: Vec<u64> = (0..WATCHED).map(|index| index * (KEYS / WATCHED)).collect();
    let mut ask = redis::pipe();
    for key in &watched {
        ask.hget(format!("bench:{topic}:{key}"), "n");
    }
    let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
    let mut seen = Vec::new();
    wait::until_busy("all marks are in Redis", wait::PATIENCE * 2, async || {
        let found: Vec<Option<u64>> = ask.query_async(redis).await.context("HGET")?;
        let now = time::instant();
        for (key, n) in watched.iter().zip(found) {
            let Some(n) = n else { continue };
            if newest.insert(*key, n) != Some(n) {
                seen.push((now, n));
            }
        }
        let complete = watched.iter().all(|key| newest.get(key).is_some_and(|n| n + KEYS >= total));
        Ok(complete.then_some(()))
    })
    .await?;
    Ok(seen)
}

/// How long each of the numbers that were seen waited, from this one on.
fn waits(sent: &Sent, seen: &[(Instant, u64)], from: u64) -> Histogram {
    let mut waits = Histogram::new();
    for (at, n) in seen.iter().filter(|(_, n)| *n >= from) {
        let turn = sent.turns.partition_point(|(first, _)| first <= n);
        let Some((_, handed_over)) = turn.checked_sub(1).and_then(|turn| sent.turns.get(turn)) else { continue };
        waits.add(at.saturating_duration_since(*handed_over).as_secs_f64() * 1e3, 1);
    }
    waits
}

/// That Redis has used.
async fn cpu_seconds(redis: &mut MultiplexedConnection) -> anyhow::Result<f64> {
    let info: String = redis::cmd("INFO").arg("cpu").query_async(redis).await.context("INFO")?;
    let of = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    of("used_cpu_sys:").zip(of("used_cpu_user:")).map(|(sys, user)| sys + user).context("no figures of the processor")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_number_waits_from_when_its_turn_was_handed_over() {
        let began = time::instant();
        let at = |ms| began + Duration::from_millis(ms);
        let sent = Sent { turns: vec![(0, at(0)), (10, at(10))], by_second: BTreeMap::new(), records: 20 };
        let waits = waits(&sent, &[(at(3), 2), (at(12), 9), (at(17), 10)], 9).json();
        assert_eq!((&waits["records"], &waits["max_ms"]), (&json!(2), &json!(12.0)));
    }
}
