//! Reading partitions: one consumer, a queue per partition, so that no partition is read far ahead of
//! another.

use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use ebap_connector::{
    Error, Offset, Records, Result, SourceReader, SplitId, SplitState, SplitStatus,
    time::{instant, sleep},
};
use rdkafka::{
    Message, Offset as KafkaOffset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    types::RDKafkaErrorCode,
};

use crate::{
    client::{Context, Facts},
    options::KafkaOptions,
    queue::PartitionQueue,
    source::{ASK_MAX, partition_of},
};

/// Between two looks into empty queues.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(10);
/// Statistics and errors served in one go; they pile up while nobody polls.
pub(crate) const SERVED_MAX: usize = 100;

struct Assigned {
    partition: i32,
    queue: PartitionQueue,
    next: i64,
    /// The end was reached since the split was assigned or sought. What statistics say of how far was
    /// fetched counts only then: before that it may be from before the seek.
    ended: bool,
}

pub(crate) struct KafkaReader {
    options: Arc<KafkaOptions>,
    consumer: Arc<BaseConsumer<Context>>,
    splits: BTreeMap<SplitId, Assigned>,
    /// Which of the wanted splits is looked at first.
    turn: usize,
}

impl KafkaReader {
    pub(crate) fn new(options: Arc<KafkaOptions>) -> Result<Self> {
        let consumer: BaseConsumer<Context> = options
            .consumer_config()
            .set("statistics.interval.ms", "200")
            .set("enable.partition.eof", "true")
            .create_with_context(Context::default())
            .map_err(|error| Error::option("kafka", error.to_string()))?;
        Ok(Self { options, consumer: Arc::new(consumer), splits: BTreeMap::new(), turn: 0 })
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.consumer.context().facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves callbacks; the queues of partitions are polled by themselves.
    fn serve(&self) -> Result<()> {
        for _ in 0..SERVED_MAX {
            let heard = self.facts().heard;
            match self.consumer.poll(Duration::ZERO) {
                Some(Err(error)) => self.check(&error, None)?,
                // It would be lost, and silently: reading again from the last epoch is better.
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let reason = format!("partition {partition} offset {offset} came past its queue");
                    return Err(Error::unreachable(self.options.system(), reason));
                }
                None if self.facts().heard == heard => break,
                None => {}
            }
        }
        Ok(())
    }

    /// Passing errors are librdkafka's to retry; the others end the reader.
    /// `at`: partition and offset.
    fn check(&self, error: &KafkaError, at: Option<(i32, i64)>) -> Result<()> {
        let topic = &self.options.topic;
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::NoOffset,
            ) => {
                let place =
                    at.map(|(partition, offset)| format!(" partition {partition} offset {offset}")).unwrap_or_default();
                Err(Error::Gone {
                    message: format!(
                        "topic \"{topic}\"{place} is not there any more (retention has passed); ALTER STREAM or TABLE ... RESUME FROM EARLIEST goes on with what there is, FROM LATEST with what comes"
                    ),
                })
            }
            Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                Err(Error::refused(self.options.system(), error))
            }
            _ => {
                tracing::debug!(%error, topic, "kafka tries again");
                Ok(())
            }
        }
    }

    /// What the queue of this split holds now, `rows_max` records at the most.
    fn take(&mut self, split: &SplitId, rows_max: usize) -> Result<Option<Records>> {
        let Some(assigned) = self.splits.get_mut(split) else { return Ok(None) };
        let mut records = Records::new(split.clone(), assigned.partition, Offset(assigned.next));
        let mut failed = Vec::new();
        while records.len() < rows_max && failed.is_empty() {
            let batch = assigned.queue.take(rows_max - records.len());
            if batch.len() == 0 {
                break;
            }
            records.reserve(batch.len(), batch.key_bytes(), batch.value_bytes());
            for message in batch.iter() {
                match message.error() {
                    // Comes in order with the records, and never from before a seek.
                    Some(RDKafkaErrorCode::PartitionEOF) => assigned.ended = true,
                    Some(code) => failed.push(code),
                    // Left over from before a seek.
                    None if message.offset() < records.next_offset.0 => {}
                    None => {
                        if let Some(headers) = message.headers() {
                            records.headers.push((records.len(), headers));
                        }
                        records.push(message.offset(), message.timestamp_ms(), message.key(), message.value());
                    }
                }
            }
        }
        let (next, ended) = (assigned.next, assigned.ended);
        for code in failed {
            self.check(&KafkaError::MessageConsumption(code), Some((records.partition, next)))?;
        }
        if records.is_empty() {
            // Transaction markers and aborted records take offsets and give no record.
            let known = self.facts().partitions.get(&records.partition).copied().unwrap_or_default();
            let whole = known.queued == 0 && known.end.is_some_and(|end| known.fetched <= end);
            if ended && whole && known.fetched > next {
                records.next_offset = Offset(known.fetched);
            } else {
                return Ok(None);
            }
        }
        if let Some(assigned) = self.splits.get_mut(split) {
            assigned.next = records.next_offset.0;
        }
        Ok(Some(records))
    }
}

#[async_trait]
impl SourceReader for KafkaReader {
    async fn assign(&mut self, split: SplitId, offset: Offset) -> Result<()> {
        let partition = partition_of(&split)?;
        let system = self.options.system();
        let failed = |error: KafkaError| Error::unreachable(system.clone(), error);
        if let Some(assigned) = self.splits.get_mut(&split) {
            let (consumer, topic) = (Arc::clone(&self.consumer), self.options.topic.clone());
            let seek = tokio::task::spawn_blocking(move || {
                consumer.seek(&topic, partition, KafkaOffset::Offset(offset.0), ASK_MAX)
            });
            seek.await.map_err(Error::internal)?.map_err(failed)?;
            (assigned.next, assigned.ended) = (offset.0, false);
        } else {
            // Before records can come: those would lie in the consumer's own queue, which is not read.
            let queue = PartitionQueue::split(&self.consumer, &self.options.topic, partition);
            let queue = queue.ok_or_else(|| Error::internal(format!("partition {partition} has no queue")))?;
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&self.options.topic, partition, KafkaOffset::Offset(offset.0)).map_err(failed)?;
            self.consumer.incremental_assign(&list).map_err(failed)?;
            self.splits.insert(split, Assigned { partition, queue, next: offset.0, ended: false });
        }
        Ok(())
    }

    async fn poll(&mut self, wanted: &[SplitId], rows_max: usize, wait: Duration) -> Result<Vec<Records>> {
        let (begun, each) = (instant(), (rows_max / wanted.len().max(1)).max(1));
        loop {
            self.serve()?;
            let (mut out, mut left) = (Vec::new(), rows_max);
            // Another one first each time, or the last would starve where there are more than `rows_max`.
            self.turn = self.turn.wrapping_add(1);
            for split in wanted.iter().cycle().skip(self.turn % wanted.len().max(1)).take(wanted.len()) {
                if left == 0 {
                    break;
                }
                let records = self.take(split, each.min(left))?;
                left -= records.as_ref().map_or(0, Records::len);
                out.extend(records);
            }
            if !out.is_empty() || begun.elapsed() >= wait {
                return Ok(out);
            }
            // Whoever has waited for long can wait a little longer.
            sleep((begun.elapsed() / 16).clamp(LOOK_AGAIN, LOOK_AGAIN_MAX)).await;
        }
    }

    fn status(&self) -> Vec<SplitStatus> {
        let facts = self.facts();
        let status = self.splits.iter().map(|(split, assigned)| {
            let end = facts.partitions.get(&assigned.partition).and_then(|known| known.end);
            SplitStatus {
                split: split.clone(),
                end: end.map(|end| Offset(end.max(assigned.next))),
                state: match &facts.away {
                    Some(reason) => SplitState::Retrying(format!("{}: {reason}", self.options.system())),
                    None => SplitState::Running,
                },
            }
        });
        status.collect()
    }
}
