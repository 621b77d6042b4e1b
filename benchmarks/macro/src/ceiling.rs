//! What consuming alone costs: the records are counted and thrown away.

use std::time::Duration;

use anyhow::{Context, bail};
use ebap_connector::time;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use serde_json::{Value, json};

use crate::machine;

const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) fn measure(bootstrap: &str, topic: &str) -> anyhow::Result<Value> {
    let consumer: BaseConsumer = ClientConfig::new()
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
        .context("a consumer")?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).context("metadata")?;
    let (mut assignment, mut wanted) = (TopicPartitionList::new(), 0_i64);
    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), TIMEOUT).context("end offsets")?;
        assignment.add_partition_offset(topic, partition.id(), Offset::Offset(low))?;
        wanted += high - low;
    }
    let cpu_before = machine::cpu_seconds(std::process::id()).unwrap_or_default();
    let began = time::instant();
    consumer.assign(&assignment).context("assign")?;
    let (mut read, mut bytes) = (0_i64, 0);
    while read < wanted {
        let Some(message) = consumer.poll(TIMEOUT) else { bail!("{} records do not come", wanted - read) };
        bytes += message.context("consume")?.payload().map_or(0, <[u8]>::len);
        read += 1;
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu_seconds = machine::cpu_seconds(std::process::id()).unwrap_or_default() - cpu_before;
    Ok(json!({
        "records": read,
        "bytes": bytes,
        "seconds": seconds,
        "events_per_second": (read as f64 / seconds).round(),
        "cpu_seconds": cpu_seconds,
        "events_per_cpu_second": (read as f64 / cpu_seconds).round(),
    }))
}
