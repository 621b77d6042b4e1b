//! What somebody who reads Redis sees of a view, against a real server on its own port.

use std::{collections::BTreeMap, path::PathBuf, process::Command, sync::Arc, sync::OnceLock};

use arrow::{
    array::{ArrayRef, Int64Array, IntervalMonthDayNanoArray, RecordBatch, StringArray},
    datatypes::{DataType, Field, IntervalMonthDayNanoType, IntervalUnit, Schema, SchemaRef},
};
use ebap_connector::{ChangeBatch, Epoch, Error, Offset, Options, Position, Sink, SinkContext, SinkInput, SplitId};
use redis::{AsyncTypedCommands, aio::MultiplexedConnection};

const PORT: u16 = 16_479;

/// Starts the server once per process; starting it again finds it running.
fn server() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        // What cargo says now: a build cache may be shared by clones, and the path of another be compiled in.
        let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").to_owned());
        let default = PathBuf::from(here).join("../../tests/stack");
        let stack = std::env::var_os("EBAP_STACK_DIR").map_or(default, PathBuf::from);
        let started = Command::new(stack.join("redis.sh")).arg("start").env("REDIS_PORT", PORT.to_string()).status();
        assert!(started.expect("tests/stack/redis.sh runs").success(), "redis did not start");
    });
}

/// A database of its own for each test, empty.
async fn database(number: u8) -> (String, MultiplexedConnection) {
    server();
    let url = format!("redis://127.0.0.1:{PORT}/{number}");
    let client = redis::Client::open(url.as_str()).expect("url");
    let mut connection = client.get_multiplexed_async_connection().await.expect("redis answers");
    connection.flushdb().await.expect("flush");
    (url, connection)
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("window_size", DataType::Interval(IntervalUnit::MonthDayNano), false),
        Field::new("region", DataType::Utf8, true),
        Field::new("count", DataType::Int64, true),
    ]))
}

fn context(url: &str, incarnation: u64) -> SinkContext {
    let mut options = Options::default();
    options.set("connector", "redis");
    options.set("url", url);
    options.set("key", "activity:{window_size}:{region}");
    SinkContext {
        name: "hot".into(),
        id: "sink-1".into(),
        schema: schema(),
        upsert_key: vec![0, 1],
        on_view: true,
        time_column: None,
        partitions: Vec::new(),
        options,
        incarnation,
    }
}

fn sink(url: &str, incarnation: u64) -> Box<dyn Sink> {
    ebap_redis::sink(&context(url, incarnation)).expect("options are fine")
}

/// One-minute rows of region and count.
fn rows(values: &[(&str, Option<i64>)]) -> RecordBatch {
    let minute = IntervalMonthDayNanoType::make_value(0, 0, 60_000_000_000);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(IntervalMonthDayNanoArray::from(vec![minute; values.len()])),
        Arc::new(StringArray::from_iter_values(values.iter().map(|(region, _)| region))),
        Arc::new(Int64Array::from_iter(values.iter().map(|(_, count)| *count))),
    ];
    RecordBatch::try_new(schema(), columns).expect("columns fit")
}

fn changes(deletes: &[(&str, Option<i64>)], inserts: &[(&str, Option<i64>)]) -> SinkInput {
    SinkInput::Changes(ChangeBatch { deletes: rows(deletes), inserts: rows(inserts) })
}

fn position(splits: &[(&str, i64)]) -> Position {
    Position(splits.iter().map(|(split, offset)| (SplitId::new(*split), Offset(*offset))).collect())
}

async fn hash(connection: &mut MultiplexedConnection, key: &str) -> BTreeMap<String, String> {
    connection.hgetall(key).await.expect("hgetall").into_iter().collect()
}

#[tokio::test]
async fn a_row_is_a_hash_with_its_version_and_a_time_to_live() {
    let (url, mut redis) = database(1).await;
    let mut sink = sink(&url, 1);
    assert_eq!(sink.open().await.expect("open").position, None);
    sink.write(changes(&[], &[("eu", Some(7)), ("us", None)]), &position(&[("0", 10)])).await.expect("write");

    let expected = [("_version", "10"), ("count", "7"), ("region", "eu"), ("window_size", "00:01:00")];
    let expected: BTreeMap<_, _> = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    assert_eq!(hash(&mut redis, "activity:1m:eu").await, expected);
    assert!(!hash(&mut redis, "activity:1m:us").await.contains_key("count"), "NULL is an absent field");
    for key in redis.keys("*").await.expect("keys") {
        let ttl_ms: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut redis).await.expect("pttl");
        assert!(ttl_ms > 0, "\"{key}\" never expires");
    }
    let at = position(&[("0", 10)]);
    assert_eq!(sink.checkpoint(Epoch(1), &at, false).await.expect("checkpoint"), Some(at));
}

#[tokio::test]
async fn an_older_value_never_replaces_a_newer_one() {
    let (url, mut redis) = database(2).await;
    let mut sink = sink(&url, 1);
    sink.open().await.expect("open");
    sink.write(changes(&[], &[("eu", Some(9))]), &position(&[("0", 10)])).await.expect("write");
    sink.write(changes(&[], &[("eu", Some(8))]), &position(&[("0", 9)])).await.expect("replay");
    assert_eq!(hash(&mut redis, "activity:1m:eu").await["count"], "9");
    sink.write(changes(&[("eu", Some(8))], &[]), &position(&[("0", 9)])).await.expect("replay of a delete");
    assert_eq!(hash(&mut redis, "activity:1m:eu").await["count"], "9");
    sink.write(changes(&[], &[("eu", Some(11))]), &position(&[("0", 10)])).await.expect("same version");
    assert_eq!(hash(&mut redis, "activity:1m:eu").await["count"], "11", "as new is new enough");
    // More digits, not a greater text: 9 < 10 < 100.
    sink.write(changes(&[], &[("eu", None)]), &position(&[("0", 100)])).await.expect("newer");
    assert!(!hash(&mut redis, "activity:1m:eu").await.contains_key("count"), "a value that became NULL is gone");
}

#[tokio::test]
async fn a_deleted_row_is_gone_and_an_updated_one_stays() {
    let (url, mut redis) = database(3).await;
    let mut sink = sink(&url, 1);
    sink.open().await.expect("open");
    sink.write(changes(&[], &[("eu", Some(1)), ("us", Some(1))]), &position(&[("0", 2)])).await.expect("write");
    let both = changes(&[("eu", Some(1)), ("us", Some(1))], &[("us", Some(2))]);
    sink.write(both, &position(&[("0", 3)])).await.expect("write");
    assert_eq!(hash(&mut redis, "activity:1m:eu").await, BTreeMap::new());
    assert_eq!(hash(&mut redis, "activity:1m:us").await["count"], "2");
}

#[tokio::test]
async fn the_furthest_position_is_read_back_per_split() {
    let (url, _redis) = database(4).await;
    let mut first = sink(&url, 1);
    first.open().await.expect("open");
    first.write(changes(&[], &[("eu", Some(1))]), &position(&[("0", 10), ("1", 5)])).await.expect("write");
    first.write(changes(&[], &[]), &position(&[("0", 9), ("1", 6)])).await.expect("write");
    let opened = sink(&url, 2).open().await.expect("open");
    assert_eq!(opened.position, Some(position(&[("0", 10), ("1", 6)])));
}

#[tokio::test]
async fn a_newer_incarnation_fences_an_older_one() {
    let (url, mut redis) = database(5).await;
    let (mut old, mut new) = (sink(&url, 9), sink(&url, 10));
    old.open().await.expect("open");
    new.open().await.expect("open");
    new.write(changes(&[], &[("eu", Some(2))]), &position(&[("0", 5)])).await.expect("write");
    let refused = old.write(changes(&[("eu", Some(2))], &[("us", Some(1))]), &position(&[("0", 99)])).await;
    assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
    assert_eq!(hash(&mut redis, "activity:1m:us").await, BTreeMap::new(), "the loser wrote nothing");
    assert_eq!(hash(&mut redis, "activity:1m:eu").await["count"], "2", "the loser deleted nothing");
    let reopened = old.open().await;
    assert!(matches!(reopened, Err(Error::Fenced { .. })), "{reopened:?}");
    assert_eq!(new.open().await.expect("its own again").position, Some(position(&[("0", 5)])));
}

#[tokio::test]
async fn what_is_not_written_again_after_opening_is_swept_away() {
    let (url, mut redis) = database(8).await;
    redis.set("activity:1m:theirs", "of somebody else").await.expect("set");
    let mut old = sink(&url, 1);
    old.open().await.expect("open");
    let names: Vec<_> = (0..2_500).map(|n| n.to_string()).collect();
    let values: Vec<_> = names.iter().map(|name| (name.as_str(), Some(1))).collect();
    old.write(changes(&[], &values), &position(&[("0", 10)])).await.expect("write");
    let mut new = sink(&url, 2);
    new.open().await.expect("open");
    // The whole view as it is now, in two parts, at the very position that was published before.
    let at = position(&[("0", 10)]);
    new.write(changes(&[], &values[..3]), &at).await.expect("write");
    new.write(changes(&[], &[("eu", Some(2))]), &at).await.expect("write");
    new.sweep(&at).await.expect("sweep");
    let mut keys = redis.keys("activity:*").await.expect("keys");
    keys.sort();
    assert_eq!(keys, ["activity:1m:0", "activity:1m:1", "activity:1m:2", "activity:1m:eu", "activity:1m:theirs"]);
    // Later changes are changes and no whole view.
    new.write(changes(&[], &[("eu", Some(3))]), &position(&[("0", 11)])).await.expect("write");
    new.sweep(&position(&[("0", 11)])).await.expect("nothing to sweep");
    assert_eq!(redis.keys("activity:*").await.expect("keys").len(), 5);
}

#[tokio::test]
async fn a_server_that_lost_its_memory_is_opened_again() {
    let (url, mut redis) = database(6).await;
    let mut sink = sink(&url, 1);
    sink.open().await.expect("open");
    sink.write(changes(&[], &[("eu", Some(1))]), &position(&[("0", 1)])).await.expect("write");
    redis.flushdb().await.expect("flush");
    let lost = sink.write(changes(&[], &[("us", Some(1))]), &position(&[("0", 2)])).await;
    assert!(matches!(lost, Err(Error::Unreachable { .. })), "{lost:?}");
    assert_eq!(sink.open().await.expect("open").position, None);
    sink.write(changes(&[], &[("us", Some(1))]), &position(&[("0", 2)])).await.expect("write");
    assert_eq!(hash(&mut redis, "activity:1m:us").await["count"], "1");
}

#[tokio::test]
async fn more_rows_than_one_pipeline_holds_all_arrive() {
    let (url, mut redis) = database(7).await;
    let mut sink = sink(&url, 1);
    sink.open().await.expect("open");
    let names: Vec<_> = (0..2_500).map(|n| n.to_string()).collect();
    let values: Vec<_> = names.iter().map(|name| (name.as_str(), Some(1))).collect();
    sink.write(changes(&[], &values), &position(&[("0", 2_500)])).await.expect("write");
    assert_eq!(redis.keys("activity:*").await.expect("keys").len(), 2_500);
}

#[tokio::test]
async fn a_server_that_is_away_is_named_without_the_password() {
    let mut sink = sink("redis://user:hunter2@127.0.0.1:1/0", 1);
    let error = sink.open().await.expect_err("nothing listens there");
    assert!(matches!(&error, Error::Unreachable { system, .. } if system == "redis 127.0.0.1:1"), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("hunter2"));
}

#[test]
fn what_cannot_work_is_refused_when_the_sink_is_created() {
    let message = |change: &dyn Fn(&mut SinkContext)| {
        let mut context = context("redis://127.0.0.1:1", 1);
        change(&mut context);
        ebap_redis::sink(&context).err().expect("must be refused").to_string()
    };
    assert_eq!(
        message(&|context| context.options.set("key", "activity:{region}")),
        "option \"key\": two rows of the view could share a key: {window_size} is missing"
    );
    assert_eq!(
        message(&|context| context.options.set("key", "{window_size}:{region}:{reqion}")),
        "option \"key\": column \"reqion\" does not exist in the view"
    );
    assert_eq!(
        message(&|context| context.on_view = false),
        "option \"connector\": a redis sink needs a materialized view, as a stream has no key"
    );
    assert_eq!(
        message(&|context| context.options.set("type", "json")),
        "option \"type\": \"json\" is not supported; use 'hash'"
    );
    assert_eq!(
        message(&|context| context.options.set("tll", "1h")),
        "option \"tll\": is not known here; did you mean \"ttl\"?"
    );
    let leaked = message(&|context| context.options.set("url", "http://user:hunter2@host"));
    assert!(!leaked.contains("hunter2"), "{leaked}");
}
