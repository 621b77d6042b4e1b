//! Writing records into a topic, for `ebap generate`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ebap_connector::{Error, Result};
use rdkafka::{
    ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
};

use crate::{options::base_config, source::ASK_MAX};

/// How long a flush may take before the broker counts as away.
const FLUSH_MAX: Duration = Duration::from_secs(60);

#[derive(Clone, Default)]
pub(crate) struct Deliveries {
    failed: Arc<AtomicU64>,
    first: Arc<Mutex<Option<String>>>,
}

impl Deliveries {
    /// # Errors
    /// The first delivery that failed since the last call.
    pub(crate) fn check(&self, system: &str) -> Result<()> {
        if self.failed.swap(0, Ordering::AcqRel) == 0 {
            return Ok(());
        }
        let first = self.first.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        Err(Error::unreachable(system, first.unwrap_or_else(|| "a record was not delivered".to_owned())))
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.first.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error.to_string());
            self.failed.fetch_add(1, Ordering::AcqRel);
        }
    }
}

pub struct TopicWriter {
    producer: BaseProducer<Deliveries>,
    deliveries: Deliveries,
    topic: String,
    partitions: i32,
    system: String,
}

impl TopicWriter {
    /// Connects to a topic that exists. `options` are settings of librdkafka.
    ///
    /// # Errors
    /// `Unreachable` where no broker answers; `Refused` where there is no such topic.
    pub fn connect(bootstrap: &str, options: &BTreeMap<String, String>, topic: &str) -> Result<Self> {
        let system = format!("kafka {bootstrap}");
        let mut config = base_config(bootstrap, options.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        config.set("linger.ms", "5").set("batch.num.messages", "20000").set("queue.buffering.max.messages", "200000");
        config.set("enable.idempotence", "true").set("compression.type", "lz4");
        let deliveries = Deliveries::default();
        let producer: BaseProducer<Deliveries> = config
            .create_with_context(deliveries.clone())
            .map_err(|error| Error::option("kafka", error.to_string()))?;
        let metadata = producer.client().fetch_metadata(Some(topic), ASK_MAX);
        let metadata = metadata.map_err(|error| Error::unreachable(&system, error))?;
        let found =
            metadata.topics().iter().find(|found| found.name() == topic).map_or(0, |found| found.partitions().len());
        if found == 0 {
            return Err(Error::refused(system, format!("topic \"{topic}\" does not exist; create it first")));
        }
        let partitions = i32::try_from(found).map_err(Error::internal)?;
        Ok(Self { producer, deliveries, topic: topic.to_owned(), partitions, system })
    }

    pub fn partitions(&self) -> i32 {
        self.partitions
    }

    /// Hands a record over; waits while the client's queue is full.
    ///
    /// # Errors
    /// `Unreachable` where a delivery has failed.
    pub fn send(
        &mut self,
        partition: Option<i32>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp_ms: Option<i64>,
    ) -> Result<()> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic);
        record.partition = partition;
        record.key = key;
        record.payload = value;
        record.timestamp = timestamp_ms;
        loop {
            match self.producer.send(record) {
                Ok(()) => {
                    self.producer.poll(Duration::ZERO);
                    return self.deliveries.check(&self.system);
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    record = again;
                    self.producer.poll(Duration::from_millis(10));
                    self.deliveries.check(&self.system)?;
                }
                Err((error, _)) => return Err(Error::unreachable(&self.system, error)),
            }
        }
    }

    /// Returns when every record is acknowledged.
    ///
    /// # Errors
    /// `Unreachable` where one was not.
    pub fn flush(&mut self) -> Result<()> {
        self.producer.flush(FLUSH_MAX).map_err(|error| Error::unreachable(&self.system, error))?;
        self.deliveries.check(&self.system)
    }
}
