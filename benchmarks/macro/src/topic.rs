//! Filling topics as fast as one producer can.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
    types::RDKafkaErrorCode,
};

use crate::{bench::Bench, consumer, events::EventWriter};

const FLUSH_MAX: Duration = Duration::from_secs(120);
/// Records between two looks at what has been delivered.
const POLL_EVERY: u64 = 1_024;

/// The topic of t1, t3, d1: `--rows` events, keyed by user, and one flush record for each partition.
/// Left alone where it is full already; returns its records.
pub(crate) async fn ensure_events(bench: &Bench) -> anyhow::Result<u64> {
    let (topic, rows, partitions) = (&bench.args.topic, bench.args.rows(), bench.args.partitions);
    let wanted = rows + u64::try_from(partitions)?;
    match consumer::records(&bench.bootstrap, topic)? {
        Some(records) if records == wanted => return Ok(wanted),
        None => bench.create_topic(topic).await?,
        Some(0) => {}
        Some(records) => bail!("topic {topic} holds {records} records and not {wanted}: delete it, or name another"),
    }
    let mut filler = Filler::connect(&bench.bootstrap, topic)?;
    let (mut events, mut key, mut value) = (EventWriter::default(), String::new(), String::new());
    for row in 0..rows {
        key.clear();
        value.clear();
        events.write_row(row, &mut key, &mut value)?;
        filler.send(None, &key, &value)?;
    }
    // They come last in their partitions only if all others are there.
    filler.flush()?;
    for partition in 0..partitions {
        value.clear();
        events.write_flush(partition, &mut value)?;
        filler.send(Some(partition), "flush", &value)?;
    }
    filler.flush()?;
    let records = consumer::records(&bench.bootstrap, topic)?;
    ensure!(records == Some(wanted), "topic {topic} was filled with {records:?} records and not {wanted}");
    Ok(wanted)
}

/// A producer that waits while its queue is full.
pub(crate) struct Filler {
    producer: BaseProducer,
    topic: String,
    sent: u64,
}

impl Filler {
    pub(crate) fn connect(bootstrap: &str, topic: &str) -> anyhow::Result<Self> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("linger.ms", "50")
            .set("batch.size", "524288")
            .set("queue.buffering.max.messages", "500000")
            .set("partitioner", "murmur2_random")
            .create()
            .context("a producer")?;
        Ok(Self { producer, topic: topic.to_owned(), sent: 0 })
    }

    pub(crate) fn send(&mut self, partition: Option<i32>, key: &str, value: &str) -> anyhow::Result<()> {
        let mut record = BaseRecord::<str, str>::to(&self.topic).key(key).payload(value);
        record.partition = partition;
        while let Err((error, again)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error).context("produce");
            }
            self.producer.poll(Duration::from_millis(10));
            record = again;
        }
        self.sent += 1;
        if self.sent.is_multiple_of(POLL_EVERY) {
            self.producer.poll(Duration::ZERO);
        }
        Ok(())
    }

    pub(crate) fn flush(&self) -> anyhow::Result<()> {
        self.producer.flush(FLUSH_MAX).context("produce")
    }
}
