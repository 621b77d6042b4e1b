//! A steady rate for minutes: three sizes and distinct users. Is the lag flat, how late is an answer, does
//! memory grow, what does a second of checkpoints weigh?
//!
//! Beside `activity` runs a view of four rows that counts the records of each partition. Partitions are
//! in order, so its counts prove which records have been read; an answer counts only when `activity`
//! holds as many. One line a minute, and one for the whole.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ebap_connector::time;
use ebap_tests::{Ebap, rows};
use serde_json::{Value, json};
use tokio_postgres::{Client, Statement};

use crate::{
    bench::Bench,
    catch_up::ACTIVITY,
    events::EventWriter,
    histogram::Histogram,
    latency, machine,
    meter::{Meter, merge, round},
    paced::{Pace, Paced},
    server,
};

const RATE: u64 = 50_000;
const LINGER_MS: u32 = 5;
const USERS: u64 = 1_000_000;
/// Between two looks at the views.
const PAUSE: Duration = Duration::from_millis(5);
const SAMPLE_PERIOD: Duration = Duration::from_secs(1);
const SAMPLES_PER_LINE: usize = 60;
/// After the last record: for what is still on its way.
const PATIENCE: Duration = Duration::from_secs(120);

/// One second.
#[derive(Clone, Copy, Default)]
struct Sample {
    lag: u64,
    rss_mib: u64,
    checkpoint_bytes: u64,
    checkpoint_ms_max: f64,
}

pub(crate) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let (rate, args) = (bench.args.rate.unwrap_or(RATE), &bench.args);
    let topic = format!("bench-soak-{}", time::now_us());
    bench.create_topic(&topic).await?;
    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    let lanes =
        "CREATE MATERIALIZED VIEW lanes AS SELECT _partition AS lane, count(*) AS n FROM events GROUP BY _partition";
    let watermark = "timestamp - INTERVAL '10 seconds'";
    let stream = server::events_stream("events", &bench.bootstrap, &topic, watermark, "earliest");
    server::create(&client, &[stream, ACTIVITY.to_owned(), lanes.to_owned()]).await?;

    let warm_up = rate * args.warm_up;
    let total = warm_up + (rate as f64 * args.minutes * 60.0) as u64;
    let pace = Pace {
        bootstrap: bench.bootstrap.clone(),
        topic,
        partitions: args.partitions,
        rate,
        total,
        linger_ms: LINGER_MS,
    };
    let mut events = EventWriter::default();
    let pid = ebap.pid().context("the server runs")?;
    let meter = Meter::start(pid, bench.broker);
    let write = move |n, now_ms, key: &mut String, value: &mut String| events.write_now(n, now_ms, USERS, key, value);
    let producer = Paced::start(pace, Box::new(write));
    let mut watcher = Watcher::new(&client, args.partitions).await?;
    let (mut samples, mut sampler, mut ended) = (Vec::new(), Sampler::new(pid), None::<Instant>);
    while watcher.visible() < total {
        watcher.look(&client).await?;
        if sampler.is_due() {
            samples.push(sampler.sample(&client, producer.sent().saturating_sub(watcher.visible())).await?);
            if samples.len().is_multiple_of(SAMPLES_PER_LINE) {
                let minute = samples.len() / SAMPLES_PER_LINE;
                let figures = summarize(&samples[samples.len() - SAMPLES_PER_LINE..]);
                bench.report("ebap", "soak-minute", merge(figures, json!({ "minute": minute, "rate": rate })))?;
            }
        }
        if ended.is_none() && producer.is_done() {
            ended = Some(time::instant());
        }
        ensure!(ended.is_none_or(|at| at.elapsed() < PATIENCE), "{} of {total} are visible", watcher.visible());
        time::sleep(PAUSE).await;
    }
    let (figures, sent) = (meter.finish()?.json(total), producer.finish()?);
    let waits: Histogram = latency::waits(&sent, &watcher.seen, warm_up);
    let late = "SELECT CAST(sum(late) AS BIGINT) FROM ebap.accounting WHERE job = 'activity'";
    let more = json!({
        "rate": rate,
        "minutes": args.minutes,
        "users": USERS,
        "answers": watcher.seen.len(),
        "late": rows::number(&client, late).await?,
        "rss_mib_by_minute": samples.chunks(SAMPLES_PER_LINE).filter_map(|chunk| Some(chunk.last()?.rss_mib)).collect::<Vec<_>>(),
    });
    bench.report("ebap", "soak", merge(merge(merge(figures, waits.json()), summarize(&samples)), more))
}

fn summarize(samples: &[Sample]) -> Value {
    let mut lags: Vec<u64> = samples.iter().map(|sample| sample.lag).collect();
    lags.sort_unstable();
    let bytes: u64 = samples.iter().map(|sample| sample.checkpoint_bytes).sum();
    json!({
        "lag_median": lags.get(lags.len() / 2),
        "lag_max": lags.last(),
        "rss_mib": samples.last().map(|sample| sample.rss_mib),
        "rss_mib_max": samples.iter().map(|sample| sample.rss_mib).max(),
        "checkpoint_bytes_per_second": round(bytes as f64 / samples.len().max(1) as f64, 0),
        "checkpoint_ms_max": samples.iter().map(|sample| sample.checkpoint_ms_max).fold(0.0, f64::max),
    })
}

/// Which records are visible for certain, from 0 on.
struct Watcher {
    statement: Statement,
    partitions: u64,
    seen: Vec<(Instant, u64)>,
}

impl Watcher {
    async fn new(client: &Client, partitions: i32) -> anyhow::Result<Self> {
        let sql = "SELECT lane, n, (SELECT CAST(coalesce(sum(events), 0) AS BIGINT) FROM activity
            WHERE window_size = INTERVAL '1 hour') AS counted FROM lanes";
        let statement = client.prepare(sql).await.context("the query of the views")?;
        Ok(Self { statement, partitions: u64::try_from(partitions)?, seen: Vec::new() })
    }

    fn visible(&self) -> u64 {
        self.seen.last().map_or(0, |(_, visible)| *visible)
    }

    async fn look(&mut self, client: &Client) -> anyhow::Result<()> {
        let answer = client.query(&self.statement, &[]).await.context("the query of the views")?;
        let at = time::instant();
        if answer.len() as u64 != self.partitions {
            return Ok(());
        }
        let (mut visible, mut read, mut counted) = (u64::MAX, 0, 0);
        for row in &answer {
            let (lane, n) = (u64::try_from(row.try_get::<_, i32>(0)?)?, u64::try_from(row.try_get::<_, i64>(1)?)?);
            // The lane has its first n; its next is number n * partitions + lane.
            visible = visible.min(n * self.partitions + lane);
            read += n;
            counted = u64::try_from(row.try_get::<_, i64>(2)?)?;
        }
        if counted >= read && visible > self.visible() {
            self.seen.push((at, visible));
        }
        Ok(())
    }
}

struct Sampler {
    pid: u32,
    due: Instant,
    epoch: i64,
}

impl Sampler {
    fn new(pid: u32) -> Self {
        Self { pid, due: time::instant() + SAMPLE_PERIOD, epoch: 0 }
    }

    fn is_due(&self) -> bool {
        time::instant() >= self.due
    }

    async fn sample(&mut self, client: &Client, lag: u64) -> anyhow::Result<Sample> {
        self.due += SAMPLE_PERIOD;
        let sql = format!(
            "SELECT epoch, duration_ms, bytes FROM ebap.checkpoints WHERE source = 'events' AND epoch > {}",
            self.epoch
        );
        let rss_mib = machine::rss_mib(self.pid).unwrap_or_default();
        let mut sample = Sample { lag, rss_mib, ..Sample::default() };
        for row in rows::texts(client, &sql).await? {
            self.epoch = self.epoch.max(row[0].parse()?);
            sample.checkpoint_ms_max = sample.checkpoint_ms_max.max(row[1].parse()?);
            sample.checkpoint_bytes += row[2].parse::<u64>()?;
        }
        Ok(sample)
    }
}
