//! A topic for rejected records: each of them once, with where it came from in its headers.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use ebap_connector::{DeadLetter, DeadLetterWriter, Error, Result, SourceContext};
use rdkafka::{
    Message, Offset as KafkaOffset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedMessage, Header, Headers, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::{options::KafkaOptions, source::ASK_MAX, topic, writer::Deliveries};

const FLUSH_MAX: Duration = Duration::from_secs(30);
/// Letters remembered from after the last epoch, at the most; where there are more, opening fails.
const DELIVERED_MAX: usize = 5_000_000;

struct Writer {
    options: Arc<KafkaOptions>,
    topic: String,
    stream: String,
    producer: Option<Arc<BaseProducer<Deliveries>>>,
    deliveries: Deliveries,
    /// Partition and offset of records that were delivered after the epoch that is resumed.
    delivered: HashSet<(i32, i64)>,
    /// What `open` was given, or the beginning.
    resumed: String,
}

/// The writer for option `dead_letter_topic`; connects when opened.
///
/// # Errors
/// `Option` for a bad option.
pub fn dead_letters(context: &SourceContext) -> Result<Option<Box<dyn DeadLetterWriter>>> {
    let options = KafkaOptions::parse(context)?;
    let Some(topic) = options.dead_letter_topic.clone() else { return Ok(None) };
    let stream = context.name.clone();
    let (deliveries, delivered) = (Deliveries::default(), HashSet::new());
    Ok(Some(Box::new(Writer {
        options: Arc::new(options),
        topic,
        stream,
        producer: None,
        deliveries,
        delivered,
        resumed: String::new(),
    })))
}

impl Writer {
    fn unreachable(&self, error: impl std::fmt::Display) -> Error {
        unreachable(&self.options, &self.topic, error)
    }

    /// What is in the topic behind the token, of this stream.
    fn scan(
        options: &KafkaOptions,
        topic: &str,
        stream: &str,
        from: &BTreeMap<i32, i64>,
    ) -> Result<HashSet<(i32, i64)>> {
        let failed = |error: KafkaError| unreachable(options, topic, error);
        let consumer: BaseConsumer =
            options.consumer_config().set("enable.partition.eof", "true").create().map_err(failed)?;
        let metadata = consumer.fetch_metadata(Some(topic), ASK_MAX).map_err(failed)?;
        let mut delivered = HashSet::new();
        let partitions: Vec<i32> = metadata
            .topics()
            .iter()
            .flat_map(|topic| topic.partitions())
            .map(rdkafka::metadata::MetadataPartition::id)
            .collect();
        // To go on without having looked would deliver letters twice.
        if partitions.is_empty() {
            return Err(unreachable(options, topic, "no partition is known yet"));
        }
        for partition in partitions {
            let (low, high) = consumer.fetch_watermarks(topic, partition, ASK_MAX).map_err(failed)?;
            let start = from.get(&partition).copied().unwrap_or(low).max(low);
            if start >= high {
                continue;
            }
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, partition, KafkaOffset::Offset(start)).map_err(failed)?;
            consumer.assign(&list).map_err(failed)?;
            let mut at = start;
            while at < high {
                match consumer.poll(ASK_MAX) {
                    None => return Err(failed(KafkaError::Global(RDKafkaErrorCode::OperationTimedOut))),
                    // Markers of another client's transactions may be the last in the partition.
                    Some(Err(KafkaError::PartitionEOF(_))) => break,
                    Some(message) => {
                        let message = message.map_err(failed)?;
                        at = message.offset() + 1;
                        delivered.extend(origin(&message, stream, &options.topic));
                    }
                }
                if delivered.len() > DELIVERED_MAX {
                    return Err(Error::Limit {
                        message: format!(
                            "dead-letter topic \"{topic}\" holds more than {DELIVERED_MAX} letters to compare with"
                        ),
                    });
                }
            }
        }
        Ok(delivered)
    }
}

fn unreachable(options: &KafkaOptions, topic: &str, error: impl std::fmt::Display) -> Error {
    Error::unreachable(options.system(), format!("dead-letter topic \"{topic}\": {error}"))
}

/// Where a dead letter came from, if it is of this stream.
fn origin(message: &BorrowedMessage<'_>, stream: &str, topic: &str) -> Option<(i32, i64)> {
    let headers = message.headers()?;
    let text = |name: &str| {
        // The last of a name is ours: the record's own headers come before it.
        let found = headers.iter().filter(|header| header.key == name).last()?;
        std::str::from_utf8(found.value?).ok().map(str::to_owned)
    };
    if text("ebap.stream")? != stream || text("ebap.topic")? != topic {
        return None;
    }
    Some((text("ebap.partition")?.parse().ok()?, text("ebap.offset")?.parse().ok()?))
}

#[async_trait]
impl DeadLetterWriter for Writer {
    async fn open(&mut self, token: Option<&str>) -> Result<()> {
        self.resumed = token.unwrap_or("{}").to_owned();
        let (config, system) = (self.options.base_config(), self.options.system());
        topic::ensure(&config, &system, (&self.topic, Some(1)), &[]).await?;
        let from: BTreeMap<i32, i64> = match token {
            Some(token) => serde_json::from_str(token).map_err(Error::internal)?,
            None => BTreeMap::new(),
        };
        let (options, topic, stream) = (Arc::clone(&self.options), self.topic.clone(), self.stream.clone());
        let found = tokio::task::spawn_blocking(move || Self::scan(&options, &topic, &stream, &from)).await;
        self.delivered = found.map_err(Error::internal)??;
        let mut config = self.options.base_config();
        config.set("enable.idempotence", "true").set("linger.ms", "5").set("message.timeout.ms", "30000");
        let producer: BaseProducer<Deliveries> = config
            .create_with_context(self.deliveries.clone())
            .map_err(|error| Error::option("kafka", error.to_string()))?;
        self.producer = Some(Arc::new(producer));
        Ok(())
    }

    async fn write(&mut self, letters: &[DeadLetter]) -> Result<()> {
        let Some(producer) = &self.producer else { return Err(Error::internal("the dead-letter writer is not open")) };
        for letter in letters {
            if self.delivered.remove(&(letter.partition, letter.offset)) {
                continue;
            }
            let mut headers = OwnedHeaders::new();
            for (key, value) in &letter.headers {
                headers = headers.insert(Header { key, value: value.as_ref() });
            }
            let facts = [
                ("ebap.stream", self.stream.clone()),
                ("ebap.topic", self.options.topic.clone()),
                ("ebap.partition", letter.partition.to_string()),
                ("ebap.offset", letter.offset.to_string()),
                ("ebap.timestamp", letter.timestamp_ms.to_string()),
                ("ebap.reason", letter.reason.clone()),
            ];
            for (key, value) in &facts {
                headers = headers.insert(Header { key, value: Some(value) });
            }
            let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic).headers(headers);
            record.key = letter.key.as_deref();
            record.payload = letter.value.as_deref();
            loop {
                match producer.send(record) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                        record = again;
                        producer.poll(Duration::from_millis(10));
                    }
                    Err((error, _)) => return Err(self.unreachable(error)),
                }
            }
            producer.poll(Duration::ZERO);
        }
        self.deliveries.check(&self.options.system())
    }

    async fn flush(&mut self) -> Result<String> {
        let Some(producer) = self.producer.clone() else {
            return Err(Error::internal("the dead-letter writer is not open"));
        };
        let topic = self.topic.clone();
        let asked = tokio::task::spawn_blocking(move || -> Result<BTreeMap<i32, i64>, KafkaError> {
            if producer.in_flight_count() > 0 {
                producer.flush(FLUSH_MAX)?;
            }
            let metadata = producer.client().fetch_metadata(Some(&topic), ASK_MAX)?;
            let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            let ends = partitions.map(|partition| {
                let (_, high) = producer.client().fetch_watermarks(&topic, partition.id(), ASK_MAX)?;
                Ok((partition.id(), high))
            });
            ends.collect()
        });
        let ends = asked.await.map_err(Error::internal)?.map_err(|error| self.unreachable(error))?;
        self.deliveries.check(&self.options.system())?;
        if !self.delivered.is_empty() {
            // Letters from before the crash are still to be met again: a crash now must find them
            // behind the token once more.
            return Ok(self.resumed.clone());
        }
        serde_json::to_string(&ends).map_err(Error::internal)
    }
}
