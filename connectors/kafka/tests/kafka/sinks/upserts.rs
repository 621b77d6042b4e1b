//! On a view whose rows change.

use std::sync::Arc;

use ebap_connector::{Epoch, SinkContext};
use rdkafka::producer::{BaseRecord, Producer};

use super::{Row, at, changes, context, epoch, json, records, sink, write_all};
use crate::{
    PATIENCE,
    broker::{Broker, send},
    ensure_eq,
};

fn view(broker: &Broker, topic: &str, incarnation: u64) -> SinkContext {
    SinkContext { on_view: true, upsert_key: vec![0], ..context(broker, topic, incarnation) }
}

fn record(row: Row) -> (String, String) {
    (key(row.0), json(row))
}

fn key(region: &str) -> String {
    format!(r#"{{"region":"{region}"}}"#)
}

fn tombstone(region: &str) -> (String, String) {
    (key(region), "tombstone".to_owned())
}

pub(crate) async fn changes_are_seen_when_their_epoch_is_durable(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.unused_name("sink-durable");
    let mut view = sink(&view(&broker, &topic, 1))?;
    view.open().await?;
    write_all(&mut view, &[("eu", 1, 1)], &at(1)).await?;
    view.seal(Epoch(5), &at(1)).await?;
    // Of the epoch that follows.
    view.write(changes(&[("eu", 1, 1)], &[("eu", 1, 2)]), &at(2)).await?;
    ensure_eq(view.durable(Epoch(4)).await?, None, "another epoch")?;
    ensure_eq(records(&broker, &topic)?, vec![], "not durable yet")?;
    ensure_eq(view.durable(Epoch(5)).await?, Some(at(1)), "what is visible")?;
    ensure_eq(records(&broker, &topic)?, vec![record(("eu", 1, 1))], "what was sealed")?;
    epoch(&mut view, 6, &at(2)).await?;
    ensure_eq(records(&broker, &topic)?, vec![record(("eu", 1, 1)), record(("eu", 1, 2))], "the rest")
}

pub(crate) async fn an_update_is_one_record_and_a_row_that_goes_a_tombstone(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.unused_name("sink-upserts");
    let mut view = sink(&view(&broker, &topic, 1))?;
    view.open().await?;
    write_all(&mut view, &[("eu", 1, 1), ("us", 1, 1)], &at(2)).await?;
    epoch(&mut view, 1, &at(2)).await?;
    view.write(changes(&[("eu", 1, 1)], &[("eu", 1, 2)]), &at(3)).await?;
    view.write(changes(&[("us", 1, 1)], &[]), &at(4)).await?;
    // Came and went between two epochs: nobody hears of it.
    view.write(changes(&[], &[("mea", 1, 1)]), &at(5)).await?;
    view.write(changes(&[("mea", 1, 1)], &[]), &at(6)).await?;
    epoch(&mut view, 2, &at(6)).await?;
    let expected = vec![record(("eu", 1, 1)), record(("us", 1, 1)), record(("eu", 1, 2)), tombstone("us")];
    ensure_eq(records(&broker, &topic)?, expected, "records")
}

pub(crate) async fn a_view_that_is_written_again_adds_only_what_differs(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.unused_name("sink-again");
    let mut first = sink(&view(&broker, &topic, 1))?;
    first.open().await?;
    let rows = [("eu", 1, 1), ("us", 1, 1), ("mea", 1, 1)];
    write_all(&mut first, &rows, &at(3)).await?;
    epoch(&mut first, 1, &at(3)).await?;
    // Behind: all of it again, with rows that may be outside.
    first.begin_all().await?;
    first.write(changes(&rows, &rows), &at(3)).await?;
    first.sweep(&at(3)).await?;
    epoch(&mut first, 2, &at(3)).await?;
    let mut expected: Vec<_> = rows.into_iter().map(record).collect();
    ensure_eq(records(&broker, &topic)?, expected.clone(), "nothing differs")?;
    drop(first);

    let mut second = sink(&view(&broker, &topic, 2))?;
    second.open().await?;
    write_all(&mut second, &[("eu", 1, 2), ("us", 1, 1)], &at(4)).await?;
    epoch(&mut second, 3, &at(4)).await?;
    expected.extend([record(("eu", 1, 2)), tombstone("mea")]);
    ensure_eq(records(&broker, &topic)?, expected.clone(), "what differs")?;

    // A row that was sealed before all was written again, and is not there any more.
    second.write(changes(&[], &[("apac", 1, 1)]), &at(5)).await?;
    second.seal(Epoch(4), &at(5)).await?;
    write_all(&mut second, &[("eu", 1, 2), ("us", 1, 1)], &at(6)).await?;
    second.durable(Epoch(4)).await?;
    epoch(&mut second, 5, &at(6)).await?;
    expected.extend([record(("apac", 1, 1)), tombstone("apac")]);
    ensure_eq(records(&broker, &topic)?, expected, "what was sealed goes again")
}

pub(crate) async fn what_others_write_to_the_topic_stays(broker: Arc<Broker>) -> anyhow::Result<()> {
    let topic = broker.topic("sink-shared", 1).await?;
    let producer = broker.producer(&[])?;
    send(&producer, BaseRecord::<[u8], [u8]>::to(&topic).key(b"theirs").payload(b"1"))?;
    producer.flush(PATIENCE)?;
    let mut view = sink(&view(&broker, &topic, 1))?;
    view.open().await?;
    write_all(&mut view, &[("eu", 1, 1)], &at(1)).await?;
    epoch(&mut view, 1, &at(1)).await?;
    let expected = vec![("theirs".to_owned(), "1".to_owned()), record(("eu", 1, 1))];
    ensure_eq(records(&broker, &topic)?, expected, "no tombstone for what is not ours")
}
