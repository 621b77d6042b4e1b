//! Topics as a user of Kafka would make, fill and read them.

use std::time::Duration;

use anyhow::Context;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    producer::{BaseProducer, BaseRecord, Producer},
};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A record as it stands in a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
pub struct Kafka {
    bootstrap: String,
}

impl Kafka {
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self { bootstrap: bootstrap.into() }
    }

    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    fn admin(&self) -> anyhow::Result<AdminClient<DefaultClientContext>> {
        self.config().create().context("an admin client")
    }

    pub async fn create_topic(&self, name: &str, partitions: i32) -> anyhow::Result<()> {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        for result in self.admin()?.create_topics([&topic], &options).await? {
            result.map_err(|(topic, code)| anyhow::anyhow!("topic {topic}: {code}"))?;
        }
        Ok(())
    }

    /// Raises the number of partitions to this.
    pub async fn add_partitions(&self, topic: &str, partitions: usize) -> anyhow::Result<()> {
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        for result in self.admin()?.create_partitions([&NewPartitions::new(topic, partitions)], &options).await? {
            result.map_err(|(topic, code)| anyhow::anyhow!("topic {topic}: {code}"))?;
        }
        Ok(())
    }

    /// Delivers the values to one partition, in order.
    pub fn produce<'a, V: AsRef<[u8]> + ?Sized + 'a>(
        &self,
        topic: &str,
        partition: i32,
        values: impl IntoIterator<Item = &'a V>,
    ) -> anyhow::Result<()> {
        let producer: BaseProducer = self.config().set("linger.ms", "5").create().context("a producer")?;
        for value in values {
            let record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(value.as_ref());
            producer.send(record).map_err(|(error, _)| error).context("produce")?;
            producer.poll(Duration::ZERO);
        }
        producer.flush(TIMEOUT).context("produce")
    }

    /// Delivers records with keys to one partition, in order. One without a value is a tombstone.
    pub fn produce_keyed<'a>(
        &self,
        topic: &str,
        partition: i32,
        records: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> anyhow::Result<()> {
        let producer: BaseProducer = self.config().set("linger.ms", "5").create().context("a producer")?;
        for (key, value) in records {
            let record = BaseRecord::<str, str>::to(topic).partition(partition).key(key);
            let record = match value {
                Some(value) => record.payload(value),
                None => record,
            };
            producer.send(record).map_err(|(error, _)| error).context("produce")?;
            producer.poll(Duration::ZERO);
        }
        producer.flush(TIMEOUT).context("produce")
    }

    /// Deletes the oldest records at once, as retention does in time.
    pub async fn expire(&self, topic: &str, partition: i32, below: i64) -> anyhow::Result<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(below))?;
        self.admin()?.delete_records(&list, &AdminOptions::new().operation_timeout(Some(TIMEOUT))).await?;
        Ok(())
    }

    /// Everything that stands in the topic now.
    pub fn read_all(&self, topic: &str) -> anyhow::Result<Vec<Record>> {
        self.read(topic, "read_uncommitted")
    }

    /// What a reader of committed records comes to now.
    pub fn read_committed(&self, topic: &str) -> anyhow::Result<Vec<Record>> {
        self.read(topic, "read_committed")
    }

    fn read(&self, topic: &str, isolation: &str) -> anyhow::Result<Vec<Record>> {
        let consumer: BaseConsumer = self
            .config()
            .set("group.id", "ebap-tests")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("fetch.queue.backoff.ms", "1")
            .set("isolation.level", isolation)
            .create()
            .context("a consumer")?;
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).context("metadata")?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        let (mut assignment, mut left) = (TopicPartitionList::new(), 0);
        for partition in partitions {
            assignment.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
            left += 1;
        }
        consumer.assign(&assignment).context("assign")?;
        let mut records = Vec::new();
        while left > 0 {
            let message = match consumer.poll(TIMEOUT).with_context(|| format!("{topic} has no end"))? {
                Err(KafkaError::PartitionEOF(_)) => {
                    left -= 1;
                    continue;
                }
                message => message.context("consume")?,
            };
            records.push(Record {
                partition: message.partition(),
                offset: message.offset(),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
            });
        }
        Ok(records)
    }
}
