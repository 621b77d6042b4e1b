use std::sync::Arc;

use anyhow::Context;
use ebap_connector::{DeadLetter, DeadLetterWriter};
use rdkafka::producer::{BaseRecord, Producer};

use crate::{
    broker::{Broker, Seen, TIMEOUT, send},
    context, ensure_eq, split,
};

const STREAM: &str = "events";

fn letter(partition: i32, offset: i64) -> DeadLetter {
    DeadLetter {
        split: split(partition),
        partition,
        offset,
        timestamp_ms: 1_767_225_600_000,
        key: (offset % 2 == 0).then(|| b"key".to_vec()),
        value: Some(format!("{{broken {partition}/{offset}").into_bytes()),
        headers: vec![("trace".to_owned(), Some(vec![0, 255]))],
        reason: "column \"id\" is missing".to_owned(),
        rejected_at_us: 1_767_225_601_000_000,
    }
}

fn writer(broker: &Broker, stream: &str, topic: &str) -> anyhow::Result<Box<dyn DeadLetterWriter>> {
    let context = context(broker, stream, "source", &[("dead_letter_topic", topic)]);
    ebap_kafka::dead_letters(&context)?.context("a writer")
}

fn values(seen: &[Seen]) -> Vec<String> {
    let text = |seen: &Seen| String::from_utf8_lossy(seen.value.as_deref().unwrap_or_default()).into_owned();
    let mut values: Vec<String> = seen.iter().map(text).collect();
    values.sort();
    values
}

pub(crate) async fn a_letter_keeps_its_bytes_and_tells_where_it_came_from(broker: Arc<Broker>) -> anyhow::Result<()> {
    // Made by the writer.
    let topic = broker.unused_name("dlq.made");
    let mut writer = writer(&broker, STREAM, &topic)?;
    writer.open(None).await?;
    let tombstone = DeadLetter { key: None, value: None, headers: Vec::new(), ..letter(1, 8) };
    let binary = DeadLetter { value: Some(vec![0, 159, 146, 150]), ..letter(2, 14) };
    writer.write(&[binary, tombstone]).await?;
    writer.flush().await?;

    let seen = broker.read_committed(&topic)?;
    let [first, second] = &seen[..] else { anyhow::bail!("{seen:?}") };
    ensure_eq((&first.key, &first.value), (&Some(b"key".to_vec()), &Some(vec![0, 159, 146, 150])), "bytes")?;
    ensure_eq((&second.key, &second.value), (&None, &None), "no bytes")?;
    ensure_eq(first.headers.first(), Some(&("trace".to_owned(), Some(vec![0, 255]))), "its own header")?;
    let expected = [
        ("ebap.stream", "events"),
        ("ebap.topic", "source"),
        ("ebap.partition", "2"),
        ("ebap.offset", "14"),
        ("ebap.reason", "column \"id\" is missing"),
        ("ebap.timestamp", "1767225600000"),
    ];
    for (name, value) in expected {
        let found = first.headers.iter().find(|(found, _)| found == name);
        ensure_eq(found, Some(&(name.to_owned(), Some(value.as_bytes().to_vec()))), name)?;
    }
    let none = ebap_kafka::dead_letters(&context(&broker, STREAM, "source", &[]))?;
    anyhow::ensure!(none.is_none(), "a stream without a dead-letter topic has no writer");
    Ok(())
}

pub(crate) async fn a_letter_is_delivered_once_when_the_writer_is_opened_again(
    broker: Arc<Broker>,
) -> anyhow::Result<()> {
    let topic = broker.topic("dlq.again", 3).await?;
    let letters = |range: std::ops::Range<i64>| range.map(|at| letter((at % 3) as i32, at)).collect::<Vec<_>>();
    let expected = |range: std::ops::Range<i64>| {
        let mut values: Vec<String> = range.map(|at| format!("{{broken {}/{at}", at % 3)).collect();
        values.sort();
        values
    };

    // Delivered, but the process ends before its first epoch.
    let mut first = writer(&broker, STREAM, &topic)?;
    first.open(None).await?;
    first.write(&letters(0..50)).await?;
    first.flush().await?;
    drop(first);

    let mut second = writer(&broker, STREAM, &topic)?;
    second.open(None).await?;
    second.write(&letters(0..70)).await?;
    let token = second.flush().await?;
    ensure_eq(values(&broker.read_committed(&topic)?), expected(0..70), "none twice")?;
    // Delivered after the epoch.
    second.write(&letters(70..90)).await?;
    second.flush().await?;
    drop(second);

    let mut third = writer(&broker, STREAM, &topic)?;
    third.open(Some(&token)).await?;
    third.write(&letters(70..100)).await?;
    let token = third.flush().await?;
    ensure_eq(values(&broker.read_committed(&topic)?), expected(0..100), "none twice, none lost")?;
    ensure_eq(third.flush().await?, token.clone(), "a token says where the topic ends")?;

    // Letters of another stream over the same topic are not taken for ours.
    let mut other = writer(&broker, "other", &topic)?;
    other.open(None).await?;
    other.write(&letters(0..10)).await?;
    other.flush().await?;
    ensure_eq(broker.read_committed(&topic)?.len(), 110, "letters of both")?;

    // Another client's transaction leaves markers at the end of the topic.
    let producer = broker.producer(&[("transactional.id", &topic)])?;
    producer.init_transactions(TIMEOUT)?;
    producer.begin_transaction()?;
    send(&producer, BaseRecord::<[u8], [u8]>::to(&topic).partition(0).payload(b"aborted"))?;
    producer.flush(TIMEOUT)?;
    producer.abort_transaction(TIMEOUT)?;
    let mut fourth = writer(&broker, STREAM, &topic)?;
    Ok(fourth.open(Some(&token)).await?)
}

pub(crate) async fn of_two_servers_the_one_that_took_over_delivers_each_letter(
    broker: Arc<Broker>,
) -> anyhow::Result<()> {
    let topic = broker.topic("dlq.two", 2).await?;
    let letters = |range: std::ops::Range<i64>| range.map(|at| letter(0, at)).collect::<Vec<_>>();
    let expected: Vec<String> = (0..9).map(|at| format!("{{broken 0/{at}")).collect();
    let mut older = writer(&broker, STREAM, &topic)?;
    older.open(None).await?;
    older.write(&letters(0..3)).await?;
    let token = older.flush().await?;
    // It stops here for as long as another server takes over, and wakes up with letters in hand.
    older.write(&letters(3..6)).await?;

    let mut newer = writer(&broker, STREAM, &topic)?;
    newer.open(Some(&token)).await?;
    let late = older.flush().await;
    anyhow::ensure!(late.is_err(), "an older server delivers nothing more: {late:?}");
    newer.write(&letters(3..9)).await?;
    let token = newer.flush().await?;
    ensure_eq(values(&broker.read_committed(&topic)?), expected.clone(), "each once")?;
    anyhow::ensure!(older.write(&letters(6..7)).await.is_err(), "it is not open any more");

    // What was not flushed is not there, and a start behind it delivers it.
    newer.write(&letters(9..10)).await?;
    drop(newer);
    let mut third = writer(&broker, STREAM, &topic)?;
    third.open(Some(&token)).await?;
    ensure_eq(values(&broker.read_committed(&topic)?), expected, "an open transaction ends with its writer")?;
    third.write(&letters(9..10)).await?;
    third.flush().await?;
    ensure_eq(broker.read_committed(&topic)?.len(), 10, "and then it is")?;

    // Another installation with the same names writes into the same topic, and ends nobody.
    let mut context = context(&broker, "others", "source", &[("dead_letter_topic", &topic)]);
    context.name = STREAM.to_owned();
    let mut other = ebap_kafka::dead_letters(&context)?.context("a writer")?;
    other.open(None).await?;
    third.write(&letters(10..11)).await?;
    third.flush().await?;
    Ok(())
}
