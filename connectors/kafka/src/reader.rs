//! Reading partitions: one consumer, a queue per partition, so that no partition is read far ahead of
//! another.

use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use ebap_connector::{
    Error, Headers, Offset, Records, Result, SourceReader, SplitId, SplitState, SplitStatus,
    time::{instant, sleep},
};
use rdkafka::{
    Message, Offset as KafkaOffset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, base_consumer::PartitionQueue},
    error::KafkaError,
    message::Headers as _,
    types::RDKafkaErrorCode,
};

use crate::{
    client::{Context, Facts},
    options::KafkaOptions,
    source::{ASK_MAX, partition_of},
};

/// Between two looks into empty queues.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// Statistics and errors served in one go; they pile up while nobody polls.
pub(crate) const SERVED_MAX: usize = 100;

struct Assigned {
    partition: i32,
    queue: PartitionQueue<Context>,
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
                None if self.facts().heard == heard => break,
                Some(Ok(_)) | None => {}
            }
        }
        Ok(())
    }

    /// Passing errors are librdkafka's to retry; the others end the reader.
    fn check(&self, error: &KafkaError, at: Option<&Assigned>) -> Result<()> {
        let topic = &self.options.topic;
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::NoOffset,
            ) => {
                let place = at.map(|at| format!(" partition {} offset {}", at.partition, at.next)).unwrap_or_default();
                Err(Error::refused(
                    self.options.system(),
                    format!(
                        "topic \"{topic}\"{place} is not there any more (retention has passed); drop the stream and create it again with the start you want"
                    ),
                ))
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

    /// What the queue of this split holds now, `rows_max` records at the most, and whether its end was
    /// reached.
    fn take(&self, split: &SplitId, assigned: &Assigned, rows_max: usize) -> Result<(Option<Records>, bool)> {
        let mut ended = assigned.ended;
        let mut records = Records::new(split.clone(), assigned.partition, Offset(assigned.next));
        while records.len() < rows_max {
            match assigned.queue.poll(Duration::ZERO) {
                None => break,
                // Comes in order with the records, and never from before a seek.
                Some(Err(KafkaError::PartitionEOF(_))) => ended = true,
                Some(Err(error)) => self.check(&error, Some(assigned))?,
                // Left over from before a seek.
                Some(Ok(message)) if message.offset() < records.next_offset.0 => {}
                Some(Ok(message)) => {
                    let timestamp_ms = message.timestamp().to_millis().unwrap_or(-1);
                    if let Some(headers) = message.headers() {
                        let headers: Headers = headers
                            .iter()
                            .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                            .collect();
                        records.headers.push((records.len(), headers));
                    }
                    records.push(message.offset(), timestamp_ms, message.key(), message.payload());
                }
            }
        }
        if records.is_empty() {
            // Transaction markers and aborted records take offsets and give no record.
            let known = self.facts().partitions.get(&assigned.partition).copied().unwrap_or_default();
            let whole = known.queued == 0 && known.end.is_some_and(|end| known.fetched <= end);
            if ended && whole && known.fetched > assigned.next {
                records.next_offset = Offset(known.fetched);
            } else {
                return Ok((None, ended));
            }
        }
        Ok((Some(records), ended))
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
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&self.options.topic, partition, KafkaOffset::Offset(offset.0)).map_err(failed)?;
            self.consumer.incremental_assign(&list).map_err(failed)?;
            let queue = self.consumer.split_partition_queue(&self.options.topic, partition);
            let queue = queue.ok_or_else(|| Error::internal(format!("partition {partition} has no queue")))?;
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
                let Some(assigned) = self.splits.get(split).filter(|_| left > 0) else { continue };
                let (records, ended) = self.take(split, assigned, each.min(left))?;
                if let Some(assigned) = self.splits.get_mut(split) {
                    assigned.ended = ended;
                    assigned.next = records.as_ref().map_or(assigned.next, |records| records.next_offset.0);
                }
                left -= records.as_ref().map_or(0, Records::len);
                out.extend(records);
            }
            if !out.is_empty() || begun.elapsed() >= wait {
                return Ok(out);
            }
            sleep(LOOK_AGAIN).await;
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
