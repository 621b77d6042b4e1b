//! Reading a topic: our reader beside a plain `BaseConsumer` that throws records away, in turns in the
//! same run. Needs a broker, whose address is in `EBAP_BENCH_KAFKA`; fills a topic there once.
//!
//! Figures are processor time of the whole process, librdkafka's own threads included.

use std::{env, time::Duration};

use anyhow::{Context, bail};
use cpu_time::ProcessTime;
use ebap_bench_micro::{ROWS, events, events_schema};
use ebap_connector::{DecodeSpec, Options, Records, SourceContext, Wanted};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseProducer, BaseRecord, Producer},
};

const TOPIC: &str = "ebap.micro.events";
const PARTITIONS: i32 = 2;
/// Rounds of `ROWS` records: two million in all.
const FILLS: usize = 245;
const TIMEOUT: Duration = Duration::from_secs(60);
const TURNS: usize = 5;

fn main() -> anyhow::Result<()> {
    let Ok(bootstrap) = env::var("EBAP_BENCH_KAFKA") else {
        println!("consume: set EBAP_BENCH_KAFKA to the address of a broker");
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let records = runtime.block_on(fill(&bootstrap))?;
    for _ in 0..TURNS {
        report("plain", records, || plain(&bootstrap, records))?;
        report("ours", records, || runtime.block_on(ours(&bootstrap, records, &mut |_| Ok(()))))?;
        let mut wanted = Wanted::nothing();
        for path in [&["action"][..], &["metadata", "amount"], &["metadata", "platform"], &["timestamp"]] {
            wanted.add(path.iter().copied());
        }
        let spec = DecodeSpec {
            format: "json".to_owned(),
            schema: events_schema(),
            key: Vec::new(),
            options: Options::default(),
            wanted,
        };
        let mut decoder = ebap_format::decoder(&spec)?;
        let mut decode = |records: &Records| decoder.decode(records).map(drop).context("decode");
        report("ours, four decoded", records, || runtime.block_on(ours(&bootstrap, records, &mut decode)))?;
    }
    Ok(())
}

fn report(name: &str, records: i64, read: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let (began, begun) = (ProcessTime::now(), ebap_connector::time::instant());
    read()?;
    let (cpu, wall) = (began.elapsed().as_secs_f64(), begun.elapsed().as_secs_f64());
    println!(
        "{name}: {:.3} us of processor time a record, {:.0} records/s",
        cpu * 1e6 / records as f64,
        records as f64 / wall
    );
    Ok(())
}

/// Creates and fills the topic where it is not there; gives how many records it holds.
async fn fill(bootstrap: &str) -> anyhow::Result<i64> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("linger.ms", "50").set("batch.size", "1000000");
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let topic = NewTopic::new(TOPIC, PARTITIONS, TopicReplication::Fixed(1));
    let made = admin.create_topics([&topic], &AdminOptions::new()).await?;
    if made.iter().all(Result::is_ok) {
        let producer: BaseProducer = config.create()?;
        let events = events();
        for at in 0..FILLS * ROWS {
            let (partition, row) = ((at % 2) as i32, at % ROWS);
            let mut record = BaseRecord::to(TOPIC).partition(partition);
            record.key = events.keys.get(row);
            record.payload = events.values.get(row);
            while let Err((error, unsent)) = producer.send::<[u8], [u8]>(record) {
                if error.rdkafka_error_code() != Some(rdkafka::types::RDKafkaErrorCode::QueueFull) {
                    bail!("produce: {error}");
                }
                producer.poll(Duration::from_millis(10));
                record = unsent;
            }
        }
        producer.flush(TIMEOUT)?;
    }
    let consumer: BaseConsumer = config.create()?;
    let mut records = 0;
    for partition in 0..PARTITIONS {
        let (low, high) = consumer.fetch_watermarks(TOPIC, partition, TIMEOUT)?;
        records += high - low;
    }
    Ok(records)
}

/// As the macro benchmark's ceiling.
fn plain(bootstrap: &str, records: i64) -> anyhow::Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "ebap-bench")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "2")
        .set("queued.min.messages", "1000000")
        .set("queued.max.messages.kbytes", "262144")
        .set("fetch.message.max.bytes", "8388608")
        .set("check.crcs", "false")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(TOPIC, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let mut read = 0;
    while read < records {
        let message = consumer.poll(TIMEOUT).context("no record comes")??;
        read += i64::from(message.payload().is_some());
    }
    Ok(())
}

async fn ours(
    bootstrap: &str,
    records: i64,
    take: &mut dyn FnMut(&Records) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let options = [("bootstrap_servers", bootstrap), ("topic", TOPIC)];
    let context = SourceContext {
        name: "bench".to_owned(),
        id: "1".to_owned(),
        connector: "kafka".to_owned(),
        schema: events_schema(),
        options: Options(options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()),
    };
    let source = ebap_kafka::source(&context)?;
    let mut reader = source.reader().await?;
    let splits = source.splits().await?;
    for split in &splits {
        reader.assign(split.clone(), source.start(split, false).await?).await?;
    }
    let mut read = 0;
    while read < records {
        for records in reader.poll(&splits, ROWS, TIMEOUT).await? {
            take(&records)?;
            read += records.len() as i64;
        }
    }
    Ok(())
}
