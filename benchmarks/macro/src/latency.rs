//! From handing a record to the producer until a query over pgwire shows it.
//!
//! Every record carries a number that rises by one; number `n` goes to partition `n` modulo their
//! number. A session asks without a pause for the newest number of each partition; up to the least of
//! them every number is visible, and those that no earlier answer showed became so at the moment this
//! answer arrived. So the figure includes the producer's linger, the
//! broker, the step, publishing, and the round trip of the query; it is never too small.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use ebap_connector::time;
use ebap_tests::{Ebap, kafka::Kafka, rows, wait};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
    types::RDKafkaErrorCode,
};
use serde_json::{Value, json};

const TOPIC: &str = "bench-latency";
const PARTITIONS: i32 = 4;
/// Records of one turn of the producer; between two turns it sleeps.
const TURNS_PER_SECOND: u64 = 1_000;
/// More than partitions finish a batch in a turn.
const REPORTS_PER_TURN: usize = 16;

pub(crate) async fn measure(
    ebap: &Ebap,
    kafka: &Kafka,
    bootstrap: &str,
    rate: u64,
    seconds: u64,
    warm_up: u64,
) -> anyhow::Result<Value> {
    kafka.create_topic(TOPIC, PARTITIONS).await?;
    let client = ebap.connect().await?;
    let stream = format!(
        "CREATE STREAM marks (n BIGINT NOT NULL, region TEXT, amount DOUBLE, at TIMESTAMPTZ NOT NULL,
            WATERMARK FOR at AS at - INTERVAL '10 seconds')
         WITH (connector = 'kafka', bootstrap_servers = '{bootstrap}', topic = '{TOPIC}', format = 'json')"
    );
    let view = "CREATE MATERIALIZED VIEW newest AS SELECT _partition AS lane, region, count(*) AS marks, max(n) AS n FROM marks
        GROUP BY _partition, region WINDOW TUMBLE (at, INTERVAL '1 minute')";
    rows::execute(&client, &[&stream, view]).await?;

    let total = rate * (warm_up + seconds);
    let stopped = Arc::new(AtomicBool::new(false));
    let producer = {
        let (bootstrap, stopped) = (bootstrap.to_owned(), Arc::clone(&stopped));
        thread::spawn(move || produce(&bootstrap, rate, total, &stopped))
    };
    let seen = watch(ebap, total).await;
    stopped.store(true, Ordering::Relaxed);
    let sent = producer.join().map_err(|_| anyhow::anyhow!("the producer panicked"))??;
    summarize(&sent, &seen?, usize::try_from(rate * warm_up)?, rate)
}

/// Sends at the rate; gives when each number was handed over.
fn produce(bootstrap: &str, rate: u64, total: u64, stopped: &AtomicBool) -> anyhow::Result<Vec<Instant>> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("linger.ms", "1")
        .set("acks", "1")
        .create()
        .context("a producer")?;
    let mut sent = Vec::with_capacity(usize::try_from(total)?);
    let began = time::instant();
    let mut value = String::new();
    while (sent.len() as u64) < total && !stopped.load(Ordering::Relaxed) {
        let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
        while (sent.len() as u64) < due.min(total) {
            let n = sent.len() as u64;
            let at_us = time::now_us();
            value.clear();
            std::fmt::Write::write_fmt(
                &mut value,
                format_args!(r#"{{"n":{n},"region":"r{}","amount":1.5,"at":{}}}"#, n % 8, at_us / 1_000),
            )?;
            sent.push(time::instant());
            let mut record =
                BaseRecord::<(), str>::to(TOPIC).partition(i32::try_from(n % PARTITIONS as u64)?).payload(&value);
            while let Err((error, again)) = producer.send(record) {
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    return Err(error).context("produce");
                }
                if stopped.load(Ordering::Relaxed) {
                    return Ok(sent);
                }
                producer.poll(Duration::from_millis(1));
                record = again;
            }
        }
        // One call serves one report; those not served yet count as queued.
        for _ in 0..REPORTS_PER_TURN {
            producer.poll(Duration::ZERO);
        }
        thread::sleep(Duration::from_micros(1_000_000 / TURNS_PER_SECOND));
    }
    producer.flush(Duration::from_secs(30)).context("produce")?;
    Ok(sent)
}

/// For each answer that showed more: when it came, and how many numbers, from 0 on, it showed for certain.
async fn watch(ebap: &Ebap, total: u64) -> anyhow::Result<Vec<(Instant, i64)>> {
    let client = ebap.connect().await?;
    let newest = "SELECT lane, max(n) AS n FROM newest GROUP BY lane";
    let sql = format!(
        "SELECT CAST(CASE WHEN count(*) = {PARTITIONS} THEN min(n) + 1 ELSE 0 END AS BIGINT) FROM ({newest}) AS newest"
    );
    let statement = client.prepare(&sql).await.context("the query of the view")?;
    let mut seen: Vec<(Instant, i64)> = Vec::new();
    // The last of the slowest partition.
    let last = i64::try_from(total)? - i64::from(PARTITIONS) + 1;
    let patience = wait::PATIENCE * 2;
    wait::until_busy("all marks are visible", patience, async || {
        let count: i64 = client.query_one(&statement, &[]).await?.try_get(0)?;
        if seen.last().is_none_or(|(_, before)| count > *before) {
            seen.push((time::instant(), count));
        }
        Ok((count >= last).then_some(()))
    })
    .await?;
    Ok(seen)
}

fn summarize(sent: &[Instant], seen: &[(Instant, i64)], warm_up: usize, rate: u64) -> anyhow::Result<Value> {
    let mut waits_us = Vec::with_capacity(sent.len());
    let mut next = 0;
    for (at, count) in seen {
        let until = usize::try_from(*count)?.min(sent.len());
        for handed_over in sent.iter().take(until).skip(next.max(warm_up)) {
            waits_us.push(at.saturating_duration_since(*handed_over).as_micros() as u64);
        }
        next = next.max(until);
    }
    ensure!(!waits_us.is_empty(), "nothing was measured");
    waits_us.sort_unstable();
    let at = |share: f64| waits_us[((waits_us.len() - 1) as f64 * share) as usize] as f64 / 1e3;
    Ok(json!({
        "rate": rate,
        "records": waits_us.len(),
        "answers": seen.len(),
        "p50_ms": at(0.5),
        "p90_ms": at(0.9),
        "p99_ms": at(0.99),
        "max_ms": at(1.0),
    }))
}
