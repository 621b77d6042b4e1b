//! Topics as sinks: what a reader of committed records finds, whatever becomes of the sink.

pub(crate) mod finals;
pub(crate) mod rows;
pub(crate) mod upserts;

use std::sync::Arc;

use arrow::{
    array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use ebap_connector::{ChangeBatch, Epoch, Offset, Options, Position, Sink, SinkContext, SinkInput, SplitId};

use crate::broker::{Broker, Seen};

/// Minutes of windows, and of event times, are counted from here.
const START_US: i64 = 1_767_225_600_000_000;

/// Region, minute, number.
pub(crate) type Row = (&'static str, i64, i64);

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    Arc::new(Schema::new(vec![
        Field::new("region", DataType::Utf8, true),
        Field::new("window_end", time, true),
        Field::new("n", DataType::Int64, true),
    ]))
}

pub(crate) fn batch(rows: &[Row]) -> RecordBatch {
    let times = rows.iter().map(|row| START_US + row.1 * 60_000_000);
    let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("+00:00");
    let columns: [Arc<dyn arrow::array::Array>; 3] = [
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(times),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))),
    ];
    RecordBatch::try_new(schema(), columns.into()).expect("columns of the schema")
}

pub(crate) fn context(broker: &Broker, topic: &str, incarnation: u64) -> SinkContext {
    let mut options = Options::default();
    options.set("bootstrap_servers", broker.bootstrap());
    options.set("topic", topic);
    SinkContext {
        name: "out".to_owned(),
        id: "7".to_owned(),
        schema: schema(),
        upsert_key: Vec::new(),
        on_view: false,
        on_close: false,
        time_column: None,
        partitions: Vec::new(),
        options,
        incarnation,
        first_version: 0,
    }
}

pub(crate) fn sink(context: &SinkContext) -> anyhow::Result<Box<dyn Sink>> {
    Ok(ebap_kafka::sink(context)?)
}

pub(crate) fn at(offset: i64) -> Position {
    Position([(SplitId::new("0"), Offset(offset))].into())
}

pub(crate) fn changes(deletes: &[Row], inserts: &[Row]) -> SinkInput {
    SinkInput::Changes(ChangeBatch { deletes: batch(deletes), inserts: batch(inserts) })
}

/// What the engine does when it gives every row of a view.
pub(crate) async fn write_all(sink: &mut Box<dyn Sink>, rows: &[Row], position: &Position) -> anyhow::Result<()> {
    sink.begin_all().await?;
    sink.write(changes(&[], rows), position).await?;
    Ok(sink.sweep(position).await?)
}

/// What it does when an epoch is made durable.
pub(crate) async fn epoch(sink: &mut Box<dyn Sink>, epoch: u64, position: &Position) -> anyhow::Result<()> {
    sink.seal(Epoch(epoch), position).await?;
    sink.durable(Epoch(epoch)).await?;
    Ok(())
}

/// Keys and values as text, in the order of the topic's one partition; a tombstone has no value.
pub(crate) fn records(broker: &Broker, topic: &str) -> anyhow::Result<Vec<(String, String)>> {
    let text = |bytes: Option<Vec<u8>>, none: &str| {
        bytes.map_or_else(|| none.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let all = broker.read_committed(topic)?.into_iter();
    Ok(all.map(|Seen { key, value, .. }| (text(key, "no key"), text(value, "tombstone"))).collect())
}

pub(crate) fn values(broker: &Broker, topic: &str) -> anyhow::Result<Vec<String>> {
    Ok(records(broker, topic)?.into_iter().map(|(_, value)| value).collect())
}

/// A row as it stands in a record.
pub(crate) fn json((region, minute, n): Row) -> String {
    format!(r#"{{"region":"{region}","window_end":"2026-01-01T00:{minute:02}:00Z","n":{n}}}"#)
}
