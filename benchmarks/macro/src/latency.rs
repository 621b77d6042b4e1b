//! From handing a record to the producer until a query over pgwire shows it.
//!
//! Every record carries a number that rises by one; number `n` goes to partition `n` modulo their
//! number. A session asks without a pause for the newest number of each partition; up to the least of
//! them every number is visible, and those that no earlier answer showed became so at the moment this
//! answer arrived. So the figure includes the producer's linger, the
//! broker, the step, publishing, and the round trip of the query; it is never too small.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context, ensure};
use ebap_connector::time;
use ebap_tests::{Ebap, wait};
use serde_json::json;

use crate::{
    bench::Bench,
    consumer::Pass,
    histogram::Histogram,
    meter::{Meter, merge},
    paced::{Pace, Paced, Sent},
    server,
};

const RATE: u64 = 10_000;
const LINGER_MS: u32 = 1;

pub(crate) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let (rate, args) = (bench.args.rate.unwrap_or(RATE), &bench.args);
    let partitions = args.partitions;
    let total = rate * (args.warm_up + args.seconds);
    floor(bench, rate, total).await?;
    let topic = topic(bench).await?;
    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    let stream = format!(
        "CREATE STREAM marks (n BIGINT NOT NULL, region TEXT, amount DOUBLE, at TIMESTAMPTZ NOT NULL,
            WATERMARK FOR at AS at - INTERVAL '10 seconds')
         WITH (connector = 'kafka', bootstrap_servers = '{}', topic = '{topic}', format = 'json')",
        bench.bootstrap
    );
    let view = "CREATE MATERIALIZED VIEW newest AS SELECT _partition AS lane, region, count(*) AS marks, max(n) AS n FROM marks
        GROUP BY _partition, region WINDOW TUMBLE (at, INTERVAL '1 minute')";
    server::create(&client, &[stream, view.to_owned()]).await?;

    let meter = Meter::start(ebap.pid().context("the server runs")?, bench.broker);
    let producer = produce(bench, topic, rate, total);
    let seen = watch(&ebap, total, partitions).await?;
    let figures = meter.finish()?.json(total);
    let sent = producer.finish()?;
    let waits = waits(&sent, &seen, rate * args.warm_up);
    ensure!(waits.total() > 0, "nothing was measured");
    let more = json!({ "run": 1, "rate": rate, "answers": seen.len() });
    bench.report("ebap", "latency", merge(merge(figures, waits.json()), more))
}

/// A topic of its own each time: a broker that stays has the marks of earlier runs.
pub(crate) async fn topic(bench: &Bench) -> anyhow::Result<String> {
    let topic = format!("bench-latency-{}", time::now_us());
    bench.create_topic(&topic).await?;
    Ok(topic)
}

pub(crate) fn produce(bench: &Bench, topic: String, rate: u64, total: u64) -> Paced {
    let (bootstrap, partitions) = (bench.bootstrap.clone(), bench.args.partitions);
    Paced::start(
        Pace { bootstrap, topic, partitions, rate, total, linger_ms: LINGER_MS },
        Box::new(|n, now_ms, _key, value| {
            std::fmt::Write::write_fmt(
                value,
                format_args!(r#"{{"n":{n},"region":"r{}","amount":1.5,"at":{now_ms}}}"#, n % 8),
            )
        }),
    )
}

/// The same for a plain consumer, which is what producer and broker take of the figure. Also warms the broker.
async fn floor(bench: &Bench, rate: u64, total: u64) -> anyhow::Result<()> {
    let (topic, partitions) = (topic(bench).await?, u64::try_from(bench.args.partitions)?);
    let pass = Pass::open(&bench.bootstrap, &topic)?;
    let producer = produce(bench, topic, rate, total);
    let seen = tokio::task::block_in_place(|| {
        let (mut ends, mut seen) = (BTreeMap::<i32, u64>::new(), Vec::new());
        pass.follow(total, |partition, offset| {
            ends.insert(partition, u64::try_from(offset)? + 1);
            // Number `n` is in partition `n` modulo their number, at the offset that is the quotient.
            let whole = if ends.len() as u64 == partitions { ends.values().min().copied().unwrap_or(0) } else { 0 };
            if seen.last().is_none_or(|(_, before)| whole * partitions > *before) {
                seen.push((time::instant(), whole * partitions));
            }
            Ok(())
        })?;
        anyhow::Ok(seen)
    })?;
    let waits = waits(&producer.finish()?, &seen, rate * bench.args.warm_up);
    ensure!(waits.total() > 0, "nothing was measured");
    bench.report("plain consumer", "latency", merge(waits.json(), json!({ "run": 1, "rate": rate })))
}

/// For each answer that showed more: when it came, and how many numbers, from 0 on, it showed for certain.
async fn watch(ebap: &Ebap, total: u64, partitions: i32) -> anyhow::Result<Vec<(Instant, u64)>> {
    let client = ebap.connect().await?;
    let newest = "SELECT lane, max(n) AS n FROM newest GROUP BY lane";
    let sql = format!(
        "SELECT CAST(CASE WHEN count(*) = {partitions} THEN min(n) + 1 ELSE 0 END AS BIGINT) FROM ({newest}) AS newest"
    );
    let statement = client.prepare(&sql).await.context("the query of the view")?;
    let mut seen: Vec<(Instant, u64)> = Vec::new();
    // The last of the slowest partition.
    let last = total - u64::try_from(partitions)? + 1;
    let patience = wait::PATIENCE * 2;
    wait::until_busy("all marks are visible", patience, async || {
        let count = u64::try_from(client.query_one(&statement, &[]).await?.try_get::<_, i64>(0)?)?;
        if seen.last().is_none_or(|(_, before)| count > *before) {
            seen.push((time::instant(), count));
        }
        Ok((count >= last).then_some(()))
    })
    .await?;
    Ok(seen)
}

/// How long each record waited, those of the warm-up left out.
pub(crate) fn waits(sent: &Sent, seen: &[(Instant, u64)], warm_up: u64) -> Histogram {
    let (mut waits, mut next, mut turn) = (Histogram::new(), warm_up, 0);
    for (at, count) in seen {
        let until = (*count).min(sent.records);
        while next < until {
            while sent.turns.get(turn + 1).is_some_and(|(first, _)| *first <= next) {
                turn += 1;
            }
            let Some((_, handed_over)) = sent.turns.get(turn) else { return waits };
            let turn_end = sent.turns.get(turn + 1).map_or(sent.records, |(first, _)| *first);
            let records = turn_end.min(until) - next;
            waits.add(at.saturating_duration_since(*handed_over).as_secs_f64() * 1e3, records);
            next += records;
        }
    }
    waits
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;

    #[test]
    fn every_record_after_the_warm_up_waits_until_the_first_answer_that_shows_it() {
        let began = time::instant();
        let at = |ms| began + Duration::from_millis(ms);
        let turns = vec![(0, at(0)), (10, at(1)), (20, at(2))];
        let sent = Sent { turns, by_second: BTreeMap::new(), records: 30 };
        let waits = waits(&sent, &[(at(3), 15), (at(8), 30)], 5).json();
        assert_eq!(waits["records"], 25);
        // Five at 3 ms, five at 2, five at 7, ten at 6.
        assert_eq!((&waits["p50_ms"], &waits["max_ms"]), (&json!(6.1), &json!(7.0)));
    }
}
