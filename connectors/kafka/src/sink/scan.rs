//! Reading a topic to its end as a reader of committed records sees it.

use std::{collections::BTreeSet, time::Duration};

use ebap_connector::{Error, Result, time::instant};
use rdkafka::{
    Offset as KafkaOffset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::BorrowedMessage,
};

use super::options::SinkOptions;
use crate::source::ASK_MAX;

/// Nothing came for so long.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How far to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// To the first transaction that is open.
    Stable,
    /// To the end that the topic has now. A transaction of somebody else that is open below it is waited for: records of
    /// ours may lie behind.
    End,
}

/// Calls `each` with every committed record. Blocks.
pub(super) fn committed(
    options: &SinkOptions,
    (topic, to): (&str, To),
    mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<()>,
) -> Result<()> {
    let failed = |error: KafkaError| Error::unreachable(options.system(), format!("topic \"{topic}\": {error}"));
    let asker: BaseConsumer = options.consumer_config("read_uncommitted").create().map_err(failed)?;
    let consumer: BaseConsumer = options.consumer_config("read_committed").create().map_err(failed)?;
    let metadata = asker.fetch_metadata(Some(topic), ASK_MAX).map_err(failed)?;
    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|partition| partition.id());
    let partitions: Vec<i32> = partitions.collect();
    if partitions.is_empty() {
        return Err(Error::unreachable(options.system(), format!("topic \"{topic}\": no partition is known yet")));
    }
    let (mut list, mut left) = (TopicPartitionList::new(), BTreeSet::new());
    for partition in partitions {
        let (low, end) = asker.fetch_watermarks(topic, partition, ASK_MAX).map_err(failed)?;
        if low == end {
            continue;
        }
        let begun = instant();
        while to == To::End && consumer.fetch_watermarks(topic, partition, ASK_MAX).map_err(failed)?.1 < end {
            if begun.elapsed() > options.transaction_timeout * 2 {
                let message = format!("topic \"{topic}\": a transaction of somebody else does not end");
                return Err(Error::unreachable(options.system(), message));
            }
            // Nothing is assigned: this waits.
            let _ = consumer.poll(LOOK_AGAIN);
        }
        list.add_partition_offset(topic, partition, KafkaOffset::Offset(low)).map_err(failed)?;
        left.insert(partition);
    }
    if left.is_empty() {
        return Ok(());
    }
    consumer.assign(&list).map_err(failed)?;
    let mut heard = instant();
    while !left.is_empty() {
        match consumer.poll(ASK_MAX) {
            None if heard.elapsed() > SILENCE_MAX => {
                let message = format!("topic \"{topic}\" does not come to its end");
                return Err(Error::unreachable(options.system(), message));
            }
            None => continue,
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                left.remove(&partition);
            }
            Some(message) => each(&message.map_err(failed)?)?,
        }
        heard = instant();
    }
    Ok(())
}
