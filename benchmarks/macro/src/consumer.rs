//! Reading a topic once, from its beginning to what is its end now.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context, bail};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};

const TIMEOUT: Duration = Duration::from_secs(60);
/// Within which a reader sees that it is stopped.
const STOP_SEEN: Duration = Duration::from_millis(100);

fn connect(bootstrap: &str) -> anyhow::Result<BaseConsumer> {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "ebap-bench")
        .set("enable.auto.commit", "false")
        // The defaults leave the fetcher asleep for a second when its queue is full.
        .set("fetch.queue.backoff.ms", "2")
        .set("queued.min.messages", "1000000")
        .set("queued.max.messages.kbytes", "262144")
        .set("fetch.message.max.bytes", "8388608")
        .set("check.crcs", "false")
        .create()
        .context("a consumer")
}

/// Where each partition begins, and records of all partitions together; none where there is no such topic.
fn extent(consumer: &BaseConsumer, topic: &str) -> anyhow::Result<Option<(TopicPartitionList, u64)>> {
    // All topics: asking for one by name would make some brokers create it.
    let metadata = consumer.fetch_metadata(None, TIMEOUT).context("metadata")?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
    let (mut assignment, mut records) = (TopicPartitionList::new(), 0);
    for partition in found.partitions() {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), TIMEOUT).context("end offsets")?;
        assignment.add_partition_offset(topic, partition.id(), Offset::Offset(low))?;
        records += u64::try_from(high - low).context("offsets")?;
    }
    Ok(Some((assignment, records)))
}

pub(crate) fn records(bootstrap: &str, topic: &str) -> anyhow::Result<Option<u64>> {
    Ok(extent(&connect(bootstrap)?, topic)?.map(|(_, records)| records))
}

/// A consumer that has not begun to read.
pub(crate) struct Pass {
    consumer: BaseConsumer,
    assignment: TopicPartitionList,
    records: u64,
}

impl Pass {
    pub(crate) fn open(bootstrap: &str, topic: &str) -> anyhow::Result<Self> {
        let consumer = connect(bootstrap)?;
        let (assignment, records) = extent(&consumer, topic)?.with_context(|| format!("there is no topic {topic}"))?;
        Ok(Self { consumer, assignment, records })
    }

    /// Gives every value to `take`; returns how many there were.
    pub(crate) fn read(&self, mut take: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<u64> {
        self.read_timed(|_, value| take(value))
    }

    /// The same with the record's time, in milliseconds.
    pub(crate) fn read_timed(&self, mut take: impl FnMut(i64, &[u8]) -> anyhow::Result<()>) -> anyhow::Result<u64> {
        self.consumer.assign(&self.assignment).context("assign")?;
        for read in 0..self.records {
            let Some(message) = self.consumer.poll(TIMEOUT) else {
                bail!("{} records do not come", self.records - read)
            };
            let message = message.context("consume")?;
            take(message.timestamp().to_millis().unwrap_or_default(), message.payload().unwrap_or_default())?;
        }
        Ok(self.records)
    }

    /// Gives key and value of each record when it comes, until it is stopped.
    pub(crate) fn follow_until(
        &self,
        stopped: &AtomicBool,
        mut take: impl FnMut(Option<&[u8]>, Option<&[u8]>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.consumer.assign(&self.assignment).context("assign")?;
        while !stopped.load(Ordering::Relaxed) {
            let Some(message) = self.consumer.poll(STOP_SEEN) else { continue };
            let message = message.context("consume")?;
            take(message.key(), message.payload())?;
        }
        Ok(())
    }

    /// Waits for `total` records and tells partition and offset of each when it comes.
    pub(crate) fn follow(
        &self,
        total: u64,
        mut take: impl FnMut(i32, i64) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.consumer.assign(&self.assignment).context("assign")?;
        for read in 0..total {
            let Some(message) = self.consumer.poll(TIMEOUT) else { bail!("{} records do not come", total - read) };
            let message = message.context("consume")?;
            take(message.partition(), message.offset())?;
        }
        Ok(())
    }
}
