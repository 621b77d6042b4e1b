//! What somebody who reads Redis sees of a view, against real servers on ports of their own.

mod hash;
mod interval;
mod servers;
mod types;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    array::{ArrayRef, Int64Array, IntervalMonthDayNanoArray, RecordBatch, StringArray},
    datatypes::{DataType, Field, IntervalMonthDayNanoType, IntervalUnit, Schema, SchemaRef},
};
use ebap_connector::{ChangeBatch, Offset, Options, Position, Sink, SinkContext, SinkInput, SplitId};
use redis::{AsyncTypedCommands, FromRedisValue, aio::MultiplexedConnection};

const PORT: u16 = 16_479;

/// Runs a script of the stack; what it prints.
pub(crate) fn stack(script: &str, arguments: &[&str]) -> String {
    // What cargo says now: a build cache may be shared by clones, and the path of another be compiled in.
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").to_owned());
    let default = PathBuf::from(here).join("../../tests/stack");
    let folder = std::env::var_os("EBAP_STACK_DIR").map_or(default, PathBuf::from);
    let ports = [("REDIS_PORT", PORT), ("REDIS_CLUSTER_PORT", 16_480), ("REDIS_TLS_PORT", 16_484)];
    let output = Command::new(folder.join(script))
        .args(arguments)
        .envs(ports.map(|(name, port)| (name, port.to_string())))
        .env("REDIS_SENTINEL_PORT", "16487")
        .output()
        .expect("a script of tests/stack runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{script} {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Starts a server once per process; starting it again finds it running.
pub(crate) fn start(script: &'static str) {
    static STARTED: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if !started.contains(&script) {
        stack(script, &["start"]);
        started.push(script);
    }
}

/// A database of its own for each test, empty.
pub(crate) async fn database(number: u8) -> (String, MultiplexedConnection) {
    start("redis.sh");
    let url = format!("redis://127.0.0.1:{PORT}/{number}");
    let mut connection = connect(&url).await;
    connection.flushdb().await.expect("flush");
    (url, connection)
}

pub(crate) async fn connect(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).expect("url");
    client.get_multiplexed_async_connection().await.expect("redis answers")
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("window_size", DataType::Interval(IntervalUnit::MonthDayNano), false),
        Field::new("region", DataType::Utf8, true),
        Field::new("count", DataType::Int64, true),
    ]))
}

/// Written at once, unless a test says otherwise.
pub(crate) fn context(url: &str, incarnation: u64) -> SinkContext {
    let mut options = Options::default();
    options.set("connector", "redis");
    options.set("url", url);
    options.set("key", "activity:{window_size}:{region}");
    options.set("flush_interval", "0");
    SinkContext {
        name: "hot".into(),
        id: "sink-1".into(),
        schema: schema(),
        upsert_key: vec![0, 1],
        on_view: true,
        on_close: false,
        time_column: None,
        partitions: Vec::new(),
        options,
        incarnation,
        first_version: 0,
    }
}

pub(crate) fn sink(url: &str, incarnation: u64) -> Box<dyn Sink> {
    sink_with(url, incarnation, &[])
}

pub(crate) fn sink_with(url: &str, incarnation: u64, options: &[(&str, &str)]) -> Box<dyn Sink> {
    let mut context = context(url, incarnation);
    for (name, value) in options {
        context.options.set(*name, *value);
    }
    ebap_redis::sink(&context).expect("options are fine")
}

pub(crate) type Row<'a> = (&'a str, Option<i64>);

/// One-minute rows of region and count.
fn rows(values: &[Row<'_>]) -> RecordBatch {
    let minute = IntervalMonthDayNanoType::make_value(0, 0, 60_000_000_000);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(IntervalMonthDayNanoArray::from(vec![minute; values.len()])),
        Arc::new(StringArray::from_iter_values(values.iter().map(|(region, _)| region))),
        Arc::new(Int64Array::from_iter(values.iter().map(|(_, count)| *count))),
    ];
    RecordBatch::try_new(schema(), columns).expect("columns fit")
}

pub(crate) fn changes(deletes: &[Row<'_>], inserts: &[Row<'_>]) -> SinkInput {
    SinkInput::Changes(ChangeBatch { deletes: rows(deletes), inserts: rows(inserts) })
}

pub(crate) fn position(splits: &[(&str, i64)]) -> Position {
    Position(splits.iter().map(|(split, offset)| (SplitId::new(*split), Offset(*offset))).collect())
}

/// Of one split.
pub(crate) fn at(offset: i64) -> Position {
    position(&[("0", offset)])
}

pub(crate) async fn hash(connection: &mut MultiplexedConnection, key: &str) -> BTreeMap<String, String> {
    connection.hgetall(key).await.expect("hgetall").into_iter().collect()
}

/// What a command answers.
pub(crate) async fn ask<T: FromRedisValue>(connection: &mut MultiplexedConnection, command: &[&str]) -> T {
    let mut asked = redis::cmd(command[0]);
    asked.arg(&command[1..]);
    asked.query_async(connection).await.expect("an answer")
}

/// Nothing that EBAP puts into Redis stays there for ever.
pub(crate) async fn everything_expires(connection: &mut MultiplexedConnection) {
    for key in connection.keys("*").await.expect("keys") {
        let ttl_ms: i64 = ask(connection, &["PTTL", &key]).await;
        // -1 is never; -2 says that it is gone by now.
        assert_ne!(ttl_ms, -1, "\"{key}\" never expires");
    }
}
