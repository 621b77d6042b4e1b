//! A real broker that all tests of this binary share, and topics in it.

use std::{
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, bail};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::{Header, Headers as _, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_PORT: &str = "19392";

/// Stopped, with its data, when dropped, unless it ran before.
pub(crate) struct Broker {
    port: String,
    ours: bool,
    topics: AtomicU32,
}

/// A record as another client of Kafka sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) partition: i32,
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Broker {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let port = std::env::var("KAFKA_PORT").unwrap_or_else(|_| DEFAULT_PORT.to_owned());
        let mut broker = Self { port, ours: false, topics: AtomicU32::new(0) };
        broker.ours = broker.script(&["status"]).is_err();
        broker.script(&["start"])?;
        Ok(broker)
    }

    fn script(&self, args: &[&str]) -> anyhow::Result<()> {
        // What cargo says now: a build cache may be shared by clones, and the path of another be compiled in.
        let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").to_owned());
        let default = PathBuf::from(here).join("../../tests/stack");
        let stack = std::env::var_os("EBAP_STACK_DIR").map_or(default, PathBuf::from);
        let output = Command::new(stack.join("kafka.sh")).args(args).env("KAFKA_PORT", &self.port).output()?;
        if !output.status.success() {
            bail!("kafka.sh {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    pub(crate) fn stop_node(&self) -> anyhow::Result<()> {
        self.script(&["stop-node", "1"])
    }

    pub(crate) fn start_node(&self) -> anyhow::Result<()> {
        self.script(&["start-node", "1"])
    }

    pub(crate) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap()).set("linger.ms", "5").set("group.id", "ebap-kafka-tests");
        config
    }

    fn admin(&self) -> anyhow::Result<AdminClient<DefaultClientContext>> {
        self.config().create().context("an admin client")
    }

    /// A name that no other topic has, on a broker that may have been used before too.
    pub(crate) fn unused_name(&self, about: &str) -> String {
        format!("{about}.{}.{}", std::process::id(), self.topics.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) async fn topic(&self, about: &str, partitions: i32) -> anyhow::Result<String> {
        let name = self.unused_name(about);
        let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        for outcome in self.admin()?.create_topics([&topic], &options).await? {
            outcome.map_err(|(topic, code)| anyhow::anyhow!("topic {topic}: {code}"))?;
        }
        Ok(name)
    }

    pub(crate) async fn raise_partitions(&self, topic: &str, partitions: usize) -> anyhow::Result<()> {
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        for outcome in self.admin()?.create_partitions([&NewPartitions::new(topic, partitions)], &options).await? {
            outcome.map_err(|(topic, code)| anyhow::anyhow!("topic {topic}: {code}"))?;
        }
        Ok(())
    }

    /// What retention does, at once.
    pub(crate) async fn expire(&self, topic: &str, partition: i32, below: i64) -> anyhow::Result<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(below))?;
        self.admin()?.delete_records(&list, &AdminOptions::new().operation_timeout(Some(TIMEOUT))).await?;
        Ok(())
    }

    pub(crate) fn producer(&self, settings: &[(&str, &str)]) -> anyhow::Result<BaseProducer> {
        let mut config = self.config();
        for (name, value) in settings {
            config.set(*name, *value);
        }
        config.create().context("a producer")
    }

    pub(crate) fn produce(
        &self,
        topic: &str,
        partition: i32,
        values: impl IntoIterator<Item = String>,
    ) -> anyhow::Result<()> {
        let producer = self.producer(&[])?;
        for value in values {
            send(&producer, BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(value.as_bytes()))?;
        }
        producer.flush(TIMEOUT).context("produce")
    }

    /// What a reader of committed records comes to now.
    pub(crate) fn read_committed(&self, topic: &str) -> anyhow::Result<Vec<Seen>> {
        self.read(topic, "read_committed")
    }

    /// Whether no transaction is open in the first partition.
    pub(crate) fn is_stable(&self, topic: &str) -> anyhow::Result<bool> {
        let end = |isolation: &str| -> anyhow::Result<i64> {
            let consumer: BaseConsumer = self.config().set("isolation.level", isolation).create()?;
            Ok(consumer.fetch_watermarks(topic, 0, TIMEOUT)?.1)
        };
        Ok(end("read_committed")? == end("read_uncommitted")?)
    }

    pub(crate) fn times(&self, topic: &str) -> anyhow::Result<Vec<i64>> {
        Ok(self.read_committed(topic)?.into_iter().filter_map(|seen| seen.timestamp_ms).collect())
    }

    fn read(&self, topic: &str, isolation: &str) -> anyhow::Result<Vec<Seen>> {
        let mut config = self.config();
        config.set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.set("isolation.level", isolation).create()?;
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        let (mut list, mut left) = (TopicPartitionList::new(), 0);
        for partition in partitions {
            list.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
            left += 1;
        }
        consumer.assign(&list)?;
        let mut seen = Vec::new();
        while left > 0 {
            let message = match consumer.poll(TIMEOUT).with_context(|| format!("{topic} has no end"))? {
                Err(KafkaError::PartitionEOF(_)) => {
                    left -= 1;
                    continue;
                }
                message => message?,
            };
            let headers = message.headers().map(|headers| {
                headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
            });
            seen.push(Seen {
                partition: message.partition(),
                timestamp_ms: message.timestamp().to_millis(),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
                headers: headers.unwrap_or_default(),
            });
        }
        Ok(seen)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = self.script(&["clean"])
        {
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{error:#}\n").as_bytes());
        }
    }
}

pub(crate) fn send(producer: &BaseProducer, record: BaseRecord<'_, [u8], [u8]>) -> anyhow::Result<()> {
    producer.send(record).map_err(|(error, _)| error).context("produce")?;
    producer.poll(Duration::ZERO);
    Ok(())
}

pub(crate) fn headers(pairs: &[(&str, Option<&str>)]) -> OwnedHeaders {
    pairs.iter().fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: *value }))
}
