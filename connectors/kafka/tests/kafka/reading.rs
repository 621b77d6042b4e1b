use std::sync::Arc;

use ebap_connector::{Offset, SourceReader, SplitBounds, SplitId};
use rdkafka::producer::{BaseRecord, Producer};

use crate::{
    Row, WAIT,
    broker::{Broker, TIMEOUT, headers, send},
    ensure_eq, partition_rows, read_all, read_to, rows, source, split, until,
};

const PARTITIONS: i32 = 4;
const RECORDS: i64 = 5_000;

fn values(partition: i32, range: std::ops::Range<i64>) -> impl Iterator<Item = String> {
    range.map(move |at| format!("{partition}-{at}"))
}

async fn filled(broker: &Broker, about: &str) -> anyhow::Result<String> {
    let topic = broker.topic(about, PARTITIONS).await?;
    for partition in 0..PARTITIONS {
        broker.produce(&topic, partition, values(partition, 0..RECORDS))?;
    }
    Ok(topic)
}

/// Each partition has these records, in order, each once.
fn ensure_whole(all: &[Row], partition: i32, range: std::ops::Range<i64>) -> anyhow::Result<()> {
    let expected: Vec<String> = values(partition, range.clone()).collect();
    let got = partition_rows(all, partition);
    let wrong = got.iter().zip(range).zip(&expected).find(|((got, at), value)| got.0 != *at || got.1 != *value);
    ensure_eq(wrong, None, &format!("first difference in partition {partition}"))?;
    ensure_eq(got.len(), expected.len(), &format!("records of partition {partition}"))
}

pub(crate) async fn every_record_of_every_partition_is_read_once_from_the_earliest(
    broker: Arc<Broker>,
) -> anyhow::Result<()> {
    let topic = filled(&broker, "whole").await?;
    let source = source(&broker, &topic, &[])?;
    ensure_eq(source.splits().await?, (0..PARTITIONS).map(split).collect(), "splits")?;
    let bounds = SplitBounds { earliest: Offset(0), end: Offset(RECORDS) };
    ensure_eq(source.bounds(&split(2)).await?, bounds, "bounds")?;

    let all = rows(&read_all(&source).await?);
    (0..PARTITIONS).try_for_each(|partition| ensure_whole(&all, partition, 0..RECORDS))
}

pub(crate) async fn keys_headers_times_and_tombstones_are_carried(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.topic("carried", 1).await?;
    let producer = broker.producer(&[])?;
    let plain = || BaseRecord::<[u8], [u8]>::to(&topic).partition(0);
    send(&producer, plain().payload(b"first").timestamp(1_767_225_600_000))?;
    send(&producer, plain().key(b"k").headers(headers(&[("a", Some("1")), ("a", None), ("b", Some(""))])))?;
    send(&producer, plain().key(b"").payload(b""))?;
    producer.flush(TIMEOUT)?;

    let all = read_all(&source(&broker, &topic, &[])?).await?;
    let (mut keys, mut values, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for records in &all {
        for at in 0..records.len() {
            keys.push(records.keys.get(at).map(<[u8]>::to_vec));
            values.push(records.values.get(at).map(<[u8]>::to_vec));
            found.push(records.headers_of(at).cloned());
        }
    }
    ensure_eq(keys, vec![None, Some(b"k".to_vec()), Some(Vec::new())], "keys")?;
    ensure_eq(values, vec![Some(b"first".to_vec()), None, Some(Vec::new())], "values")?;
    let expected =
        vec![("a".to_owned(), Some(b"1".to_vec())), ("a".to_owned(), None), ("b".to_owned(), Some(Vec::new()))];
    ensure_eq(found, vec![None, Some(expected), None], "headers")?;
    ensure_eq(all.first().map(|records| records.timestamps_ms[0]), Some(1_767_225_600_000), "timestamp")
}

pub(crate) async fn a_split_given_again_is_read_again_from_there(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = filled(&broker, "again").await?;
    let source = source(&broker, &topic, &[])?;
    let mut reader = source.reader().await?;
    let end = [(split(1), Offset(RECORDS))];

    reader.assign(split(1), Offset(0)).await?;
    ensure_whole(&rows(&read_to(&mut reader, &end).await?), 1, 0..RECORDS)?;
    reader.assign(split(1), Offset(100)).await?;
    ensure_whole(&rows(&read_to(&mut reader, &end).await?), 1, 100..RECORDS)?;

    // Again while thousands of records lie in the reader, to and fro.
    for begin in [0, 4_000, 17, 4_999, 0] {
        reader.assign(split(1), Offset(begin)).await?;
        read_to(&mut reader, &[(split(1), Offset(begin + 1))]).await?;
    }
    reader.assign(split(1), Offset(3)).await?;
    ensure_whole(&rows(&read_to(&mut reader, &end).await?), 1, 3..RECORDS)?;

    let mut other = source.reader().await?;
    other.assign(split(1), Offset(RECORDS - 1)).await?;
    ensure_whole(&rows(&read_to(&mut other, &end).await?), 1, RECORDS - 1..RECORDS)
}

/// What the client has told of the old place meanwhile must not count for the new one.
pub(crate) async fn a_reader_that_goes_back_after_a_pause_skips_nothing(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = filled(&broker, "pause").await?;
    let source = source(&broker, &topic, &[])?;
    let end = [(split(1), Offset(RECORDS))];
    let mut reader = source.reader().await?;
    reader.assign(split(1), Offset(0)).await?;
    read_to(&mut reader, &end).await?;
    // As long as others take to hear several times from the broker.
    for _ in 0..5 {
        let mut other = source.reader().await?;
        other.assign(split(1), Offset(RECORDS)).await?;
        ends_known(&mut other, &[split(1)]).await?;
    }
    reader.assign(split(1), Offset(3)).await?;
    ensure_whole(&rows(&read_to(&mut reader, &end).await?), 1, 3..RECORDS)
}

pub(crate) async fn the_end_of_an_empty_partition_is_known(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.topic("empty", 1).await?;
    let mut reader = source(&broker, &topic, &[])?.reader().await?;
    reader.assign(split(0), Offset(0)).await?;
    ends_known(&mut reader, &[split(0)]).await?;
    ensure_eq(reader.status()[0].end, Some(Offset(0)), "end")
}

async fn ends_known(reader: &mut Box<dyn SourceReader>, wanted: &[SplitId]) -> anyhow::Result<()> {
    until("status knows the ends", async || {
        reader.poll(wanted, 1, WAIT).await?;
        Ok(reader.status().iter().all(|status| status.end.is_some()).then_some(()))
    })
    .await
}

pub(crate) async fn a_split_joins_a_reader_that_is_reading_without_losing_a_record(
    broker: Arc<Broker>,
) -> anyhow::Result<()> {
    let topic = filled(&broker, "joins").await?;
    let source = source(&broker, &topic, &[])?;
    for _ in 0..10 {
        let mut reader = source.reader().await?;
        let mut all = Vec::new();
        for partition in 0..PARTITIONS {
            reader.assign(split(partition), Offset(0)).await?;
            all.extend(read_to(&mut reader, &[(split(partition), Offset(1))]).await?);
        }
        let ends: Vec<_> = (0..PARTITIONS).map(|partition| (split(partition), Offset(RECORDS))).collect();
        let begun = all.iter().map(|records| (records.split.clone(), records.next_offset)).collect::<Vec<_>>();
        let left: Vec<_> = ends.into_iter().filter(|(split, end)| !begun.contains(&(split.clone(), *end))).collect();
        all.extend(read_to(&mut reader, &left).await?);
        let all = rows(&all);
        (0..PARTITIONS).try_for_each(|partition| ensure_whole(&all, partition, 0..RECORDS))?;
    }
    Ok(())
}

pub(crate) async fn only_wanted_splits_are_read_and_evenly(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = filled(&broker, "wanted").await?;
    let source = source(&broker, &topic, &[])?;
    let mut reader = source.reader().await?;
    for partition in 0..PARTITIONS {
        reader.assign(split(partition), Offset(0)).await?;
    }
    // Until both lie in the reader, so that what a poll gives is its own choice.
    let wanted = [split(0), split(3)];
    let counts = until("a poll gives of both", async || {
        let last = reader.poll(&wanted, 20, WAIT).await?;
        let counts: Vec<usize> = last.iter().map(ebap_connector::Records::len).collect();
        let taken: usize = counts.iter().sum();
        anyhow::ensure!(taken <= 20, "{taken} records where 20 were asked for");
        anyhow::ensure!(last.iter().all(|records| wanted.contains(&records.split)), "a split that is not wanted");
        Ok((counts.len() == 2).then_some(counts))
    });
    ensure_eq(counts.await?, vec![10, 10], "records of each split")?;
    let rest: Vec<_> = [1, 2].map(|partition| (split(partition), Offset(RECORDS))).into();
    let all = rows(&read_to(&mut reader, &rest).await?);
    [1, 2].into_iter().try_for_each(|partition| ensure_whole(&all, partition, 0..RECORDS))
}

pub(crate) async fn next_offset_reaches_the_end_behind_aborted_records(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.topic("aborted", 1).await?;
    let producer = broker.producer(&[("transactional.id", &topic)])?;
    producer.init_transactions(TIMEOUT)?;
    for (value, commit) in [("kept", true), ("aborted", false), ("also kept", true), ("aborted too", false)] {
        producer.begin_transaction()?;
        for _ in 0..10 {
            send(&producer, BaseRecord::<[u8], [u8]>::to(&topic).partition(0).payload(value.as_bytes()))?;
        }
        producer.flush(TIMEOUT)?;
        if commit { producer.commit_transaction(TIMEOUT)? } else { producer.abort_transaction(TIMEOUT)? }
    }
    let source = source(&broker, &topic, &[])?;
    let end = source.bounds(&split(0)).await?.end;
    ensure_eq(end, Offset(44), "40 records and 4 markers")?;
    let mut reader = source.reader().await?;
    reader.assign(split(0), Offset(0)).await?;
    let all = rows(&read_to(&mut reader, &[(split(0), end)]).await?);
    let offsets: Vec<i64> = all.iter().map(|row| row.1).collect();
    ensure_eq(offsets, (0..10).chain(22..32).collect(), "offsets of what was committed")?;

    // From the end on nothing is skipped.
    broker.produce(&topic, 0, ["after".to_owned()])?;
    let all = rows(&read_to(&mut reader, &[(split(0), Offset(45))]).await?);
    ensure_eq(all, vec![(0, 44, "after".to_owned())], "the record behind the markers")
}

pub(crate) async fn records_of_an_open_transaction_wait_for_its_end(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.topic("open", 1).await?;
    broker.produce(&topic, 0, values(0, 0..3))?;
    let producer = broker.producer(&[("transactional.id", &topic)])?;
    producer.init_transactions(TIMEOUT)?;
    producer.begin_transaction()?;
    for value in values(0, 3..5) {
        send(&producer, BaseRecord::<[u8], [u8]>::to(&topic).partition(0).payload(value.as_bytes()))?;
    }
    producer.flush(TIMEOUT)?;
    broker.produce(&topic, 0, values(0, 5..6))?;

    let source = source(&broker, &topic, &[])?;
    ensure_eq(source.bounds(&split(0)).await?.end, Offset(3), "the end is the last stable offset")?;
    let mut reader = source.reader().await?;
    reader.assign(split(0), Offset(0)).await?;
    ensure_whole(&rows(&read_to(&mut reader, &[(split(0), Offset(3))]).await?), 0, 0..3)?;
    ensure_eq(rows(&reader.poll(&[split(0)], 100, WAIT).await?), Vec::new(), "nothing of the open transaction")?;

    producer.commit_transaction(TIMEOUT)?;
    // The marker is written a moment after the commit is answered.
    let end = until("the end is behind the marker", async || {
        let end = source.bounds(&split(0)).await?.end;
        Ok((end == Offset(7)).then_some(end))
    });
    let end = end.await?;
    ensure_whole(&rows(&read_to(&mut reader, &[(split(0), end)]).await?), 0, 3..6)?;
    until("status knows the end", async || {
        reader.poll(&[split(0)], 1, WAIT).await?;
        Ok(reader.status().iter().any(|status| status.end == Some(end)).then_some(()))
    })
    .await
}

pub(crate) async fn each_start_begins_where_it_says(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.topic("start", 2).await?;
    let producer = broker.producer(&[])?;
    for at in 0..10 {
        let value = format!("0-{at}");
        let record = BaseRecord::<[u8], [u8]>::to(&topic).partition(0).payload(value.as_bytes());
        send(&producer, record.timestamp(1_767_225_600_000 + at * 1_000))?;
    }
    producer.flush(TIMEOUT)?;
    let cases: [(&[(&str, &str)], i64); 7] = [
        (&[], 0),
        (&[("start", "earliest")], 0),
        (&[("start", "latest")], 10),
        (&[("start", "timestamp"), ("start_timestamp", "2026-01-01T00:00:04Z")], 4),
        (&[("start", "timestamp"), ("start_timestamp", "1767225603500")], 4),
        (&[("start", "timestamp"), ("start_timestamp", "2027-01-01T00:00:00Z")], 10),
        (&[("start", "offsets"), ("start_offsets", "0:7,1:0")], 7),
    ];
    for (options, expected) in cases {
        let source = source(&broker, &topic, options)?;
        let start = source.start(&split(0), false).await?;
        ensure_eq(start, Offset(expected), &format!("{options:?}"))?;
        ensure_eq(source.start(&split(0), true).await?, Offset(0), "found while running")?;
        let all = rows(&read_all(&source).await?);
        ensure_eq(all.len() as i64, 10 - expected, &format!("records for {options:?}"))?;
    }
    Ok(())
}

pub(crate) async fn a_partition_added_later_is_read_from_its_first_record(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.topic("added", 1).await?;
    let source = source(&broker, &topic, &[("start", "latest")])?;
    let mut reader = source.reader().await?;
    reader.assign(split(0), source.start(&split(0), false).await?).await?;
    broker.produce(&topic, 0, values(0, 0..10))?;
    ensure_whole(&rows(&read_to(&mut reader, &[(split(0), Offset(10))]).await?), 0, 0..10)?;

    broker.raise_partitions(&topic, 3).await?;
    until("the new partitions are found", async || {
        Ok((source.splits().await? == [split(0), split(1), split(2)]).then_some(()))
    })
    .await?;
    for partition in [1, 2] {
        broker.produce(&topic, partition, values(partition, 0..10))?;
        let begin = source.start(&split(partition), true).await?;
        reader.assign(split(partition), begin).await?;
    }
    let all = rows(&read_to(&mut reader, &[(split(1), Offset(10)), (split(2), Offset(10))]).await?);
    [1, 2].into_iter().try_for_each(|partition| ensure_whole(&all, partition, 0..10))
}
