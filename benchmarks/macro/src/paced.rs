//! A producer that keeps a rate, and remembers when it handed over what.
//!
//! Record `n` goes to partition `n` modulo their number, in order. The time of a *turn* is taken before
//! its first record is written, so a waiting time that is counted from it is never too small.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use ebap_connector::time;
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
    types::RDKafkaErrorCode,
};

const TURNS_PER_SECOND: u64 = 1_000;
/// More than partitions finish a batch in a turn.
const REPORTS_PER_TURN: usize = 16;
const FLUSH_MAX: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub(crate) struct Pace {
    pub(crate) bootstrap: String,
    pub(crate) topic: String,
    pub(crate) partitions: i32,
    pub(crate) rate: u64,
    pub(crate) total: u64,
    /// How long a record may wait for others; a broker pays for each batch.
    pub(crate) linger_ms: u32,
}

/// What was handed over when.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Number of the first record of a turn, and the turn's time.
    pub(crate) turns: Vec<(u64, Instant)>,
    /// Records by the second of the clock that their event time lies in.
    pub(crate) by_second: BTreeMap<i64, u64>,
    pub(crate) records: u64,
}

/// Writes record `n` of a turn at this time in milliseconds: key, value.
pub(crate) type Write = Box<dyn FnMut(u64, i64, &mut String, &mut String) -> std::fmt::Result + Send>;

/// Runs on a thread of its own until it has sent all, or until it is stopped or dropped.
pub(crate) struct Paced {
    stopped: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<anyhow::Result<Sent>>>,
}

impl Paced {
    pub(crate) fn start(pace: Pace, write: Write) -> Self {
        let (stopped, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = {
            let (stopped, sent) = (Arc::clone(&stopped), Arc::clone(&sent));
            thread::spawn(move || produce(&pace, write, &stopped, &sent))
        };
        Self { stopped, sent, thread: Some(thread) }
    }

    /// Records handed over so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether there is no more to come; also after an error, which `finish` gives.
    pub(crate) fn is_done(&self) -> bool {
        self.thread.as_ref().is_none_or(thread::JoinHandle::is_finished)
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Waits until all is sent, or after [`Paced::stop`] until what was handed over is.
    pub(crate) fn finish(mut self) -> anyhow::Result<Sent> {
        let thread = self.thread.take().context("the producer runs")?;
        thread.join().map_err(|_| anyhow!("the producer panicked"))?
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        self.stop();
    }
}

fn produce(pace: &Pace, mut write: Write, stopped: &AtomicBool, counter: &AtomicU64) -> anyhow::Result<Sent> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &pace.bootstrap)
        .set("linger.ms", pace.linger_ms.to_string())
        .set("acks", "1")
        .set("compression.type", "lz4")
        .create()
        .context("a producer")?;
    let (mut sent, began) = (Sent::default(), time::instant());
    let (mut key, mut value) = (String::new(), String::new());
    while sent.records < pace.total && !stopped.load(Ordering::Relaxed) {
        let due = ((began.elapsed().as_secs_f64() * pace.rate as f64) as u64).min(pace.total);
        if sent.records < due {
            let now_ms = time::now_us() / 1_000;
            sent.turns.push((sent.records, time::instant()));
            *sent.by_second.entry(now_ms.div_euclid(1_000)).or_default() += due - sent.records;
            for n in sent.records..due {
                key.clear();
                value.clear();
                write(n, now_ms, &mut key, &mut value)?;
                let partition = i32::try_from(n % u64::try_from(pace.partitions)?)?;
                let record = BaseRecord::<str, str>::to(&pace.topic).partition(partition).key(&key).payload(&value);
                hand_over(&producer, record, stopped)?;
            }
            sent.records = due;
            counter.store(due, Ordering::Relaxed);
        }
        // One call serves one report; those not served yet count as queued.
        for _ in 0..REPORTS_PER_TURN {
            producer.poll(Duration::ZERO);
        }
        thread::sleep(Duration::from_micros(1_000_000 / TURNS_PER_SECOND));
    }
    producer.flush(FLUSH_MAX).context("produce")?;
    Ok(sent)
}

/// Waits while the queue is full.
fn hand_over(
    producer: &BaseProducer,
    mut record: BaseRecord<'_, str, str>,
    stopped: &AtomicBool,
) -> anyhow::Result<()> {
    while let Err((error, again)) = producer.send(record) {
        let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
        if !full || stopped.load(Ordering::Relaxed) {
            return Err(error).context("produce");
        }
        producer.poll(Duration::from_millis(1));
        record = again;
    }
    Ok(())
}
