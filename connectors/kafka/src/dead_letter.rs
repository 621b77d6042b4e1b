//! A topic for rejected records: each of them once, with where it came from in its headers.
//!
//! The letters of an epoch are one transaction. Its id is of the stream alone, so of two servers that run the stream the
//! newer one ends the other's: what that has not committed is never seen.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use ebap_connector::{DeadLetter, DeadLetterWriter, Error, Result, SourceContext};
use rdkafka::{
    ClientConfig, Message, Offset as KafkaOffset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedMessage, Headers},
    producer::{BaseProducer, Producer, ProducerContext},
};

use crate::{
    options::KafkaOptions,
    source::ASK_MAX,
    topic,
    transactions::{Outgoing, Transactions},
};

/// Epochs come more often (`Pipeline::letters_are_due`).
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);
/// A stream stands still for so long where brokers are away, and says so then.
const COMMIT_MAX: Duration = Duration::from_secs(10);
/// Letters remembered from after the last epoch, at the most; where there are more, opening fails.
const DELIVERED_MAX: usize = 5_000_000;

struct Writer {
    options: Arc<KafkaOptions>,
    topic: String,
    stream: String,
    transactional_id: String,
    /// None until it is opened, and after an error.
    transactions: Option<Transactions>,
    /// Partition and offset of records that were delivered after the epoch that is resumed.
    delivered: HashSet<(i32, i64)>,
    /// Behind what a start has to look for letters.
    token: String,
    /// Letters came since the last flush.
    moved: bool,
}

/// The writer for option `dead_letter_topic`; connects when opened.
///
/// # Errors
/// `Option` for a bad option.
pub fn dead_letters(context: &SourceContext) -> Result<Option<Box<dyn DeadLetterWriter>>> {
    let options = KafkaOptions::parse(context)?;
    let Some(topic) = options.dead_letter_topic.clone() else { return Ok(None) };
    let stream = context.name.clone();
    // The topic is among it, so that two servers that follow the same SQL and write elsewhere do not end each other's.
    let transactional_id = format!("ebap-{topic}-{stream}-{}", context.id);
    Ok(Some(Box::new(Writer {
        options: Arc::new(options),
        topic,
        stream,
        transactional_id,
        transactions: None,
        delivered: HashSet::new(),
        token: String::new(),
        moved: false,
    })))
}

impl Writer {
    fn producer_config(&self) -> ClientConfig {
        let mut config = self.options.base_config();
        config
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .set("transactional.id", &self.transactional_id)
            .set("transaction.timeout.ms", TRANSACTION_TIMEOUT.as_millis().to_string());
        config
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
        self.token = token.unwrap_or("{}").to_owned();
        let (config, system) = (self.options.base_config(), self.options.system());
        topic::ensure(&config, &system, (&self.topic, Some(1)), &[]).await?;
        let from: BTreeMap<i32, i64> = match token {
            Some(token) => serde_json::from_str(token).map_err(Error::internal)?,
            None => BTreeMap::new(),
        };
        let (options, topic, stream) = (Arc::clone(&self.options), self.topic.clone(), self.stream.clone());
        let config = self.producer_config();
        let opened = tokio::task::spawn_blocking(move || {
            // First: behind this, an older writer delivers nothing more, and the look below sees all that it has.
            let transactions = Transactions::take_over(&config, options.system(), COMMIT_MAX)?;
            Ok((transactions, Self::scan(&options, &topic, &stream, &from)?))
        });
        let (transactions, delivered) = opened.await.map_err(Error::internal)??;
        (self.transactions, self.delivered) = (Some(transactions), delivered);
        Ok(())
    }

    async fn write(&mut self, letters: &[DeadLetter]) -> Result<()> {
        let Some(transactions) = &mut self.transactions else { return Err(not_open()) };
        for letter in letters {
            self.moved = true;
            if self.delivered.remove(&(letter.partition, letter.offset)) {
                continue;
            }
            let facts = [
                ("ebap.stream", self.stream.clone()),
                ("ebap.topic", self.options.topic.clone()),
                ("ebap.partition", letter.partition.to_string()),
                ("ebap.offset", letter.offset.to_string()),
                ("ebap.timestamp", letter.timestamp_ms.to_string()),
                ("ebap.reason", letter.reason.clone()),
            ];
            let own = letter.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
            let facts = facts.iter().map(|(name, value)| (*name, Some(value.as_bytes())));
            transactions.send(&Outgoing {
                topic: &self.topic,
                key: letter.key.as_deref(),
                value: letter.value.as_deref(),
                timestamp_ms: None,
                headers: &own.chain(facts).collect::<Vec<_>>(),
            })?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<String> {
        let Some(mut transactions) = self.transactions.take() else { return Err(not_open()) };
        if !self.moved {
            self.transactions = Some(transactions);
            return Ok(self.token.clone());
        }
        let topic = self.topic.clone();
        let committed = tokio::task::spawn_blocking(move || {
            transactions.commit()?;
            let ends = ends(transactions.producer()?, &topic);
            Ok::<_, Error>((transactions, ends))
        });
        // After an error the outcome is unknown: whoever opens again finds out.
        let (transactions, ends) = committed.await.map_err(Error::internal)??;
        self.transactions = Some(transactions);
        let ends = ends.map_err(|error| unreachable(&self.options, &self.topic, error))?;
        self.moved = false;
        if self.delivered.is_empty() {
            self.token = serde_json::to_string(&ends).map_err(Error::internal)?;
        }
        // Else letters from before the crash are still to be met again: a crash now must find them behind the token
        // once more.
        Ok(self.token.clone())
    }
}

/// The offset behind the last record of each partition.
fn ends<C: ProducerContext>(producer: &BaseProducer<C>, topic: &str) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let metadata = producer.client().fetch_metadata(Some(topic), ASK_MAX)?;
    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    let ends = partitions.map(|partition| {
        let (_, high) = producer.client().fetch_watermarks(topic, partition.id(), ASK_MAX)?;
        Ok((partition.id(), high))
    });
    ends.collect()
}

fn not_open() -> Error {
    Error::internal("the dead-letter writer is not open")
}
