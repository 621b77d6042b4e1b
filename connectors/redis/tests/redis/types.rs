//! Strings, sets, sorted sets and streams.

use ebap_connector::{Error, Sink};
use redis::{AsyncTypedCommands, aio::MultiplexedConnection};

use crate::{Row, ask, at, changes, database, everything_expires, sink_with};

const STRING: [(&str, &str); 1] = [("type", "string")];
const VALUE: [(&str, &str); 2] = [("type", "string"), ("value", "count")];
const SET: [(&str, &str); 3] = [("type", "set"), ("key", "regions:{window_size}"), ("member", "{region}")];
const TOP: [(&str, &str); 4] =
    [("type", "sorted set"), ("key", "top:{window_size}"), ("member", "{region}"), ("score", "count")];
const STREAM: [(&str, &str); 2] = [("type", "stream"), ("key", "log:{window_size}")];

async fn put(sink: &mut dyn Sink, offset: i64, rows: &[Row<'_>]) {
    sink.write(changes(&[], rows), &at(offset)).await.expect("write");
}

async fn remove(sink: &mut dyn Sink, offset: i64, rows: &[Row<'_>]) {
    sink.write(changes(rows, &[]), &at(offset)).await.expect("write");
}

async fn get(redis: &mut MultiplexedConnection, key: &str) -> Option<String> {
    ask(redis, &["GET", key]).await
}

#[tokio::test]
async fn a_row_is_json_or_one_of_its_columns() {
    let (url, mut redis) = database(9).await;
    let mut json = sink_with(&url, 1, &STRING);
    json.open().await.expect("open");
    put(json.as_mut(), 10, &[("e\"u", Some(7)), ("us", None)]).await;
    let expected = r#"{"window_size":"00:01:00","region":"e\"u","count":7}"#;
    assert_eq!(get(&mut redis, "activity:1m:e\"u").await.as_deref(), Some(expected));
    let null = get(&mut redis, "activity:1m:us").await.expect("there");
    assert!(null.ends_with(r#""count":null}"#), "{null}");
    everything_expires(&mut redis).await;
    redis.flushdb().await.expect("flush");

    let mut value = sink_with(&url, 2, &VALUE);
    value.open().await.expect("open");
    put(value.as_mut(), 10, &[("eu", Some(7)), ("us", Some(8))]).await;
    assert_eq!(get(&mut redis, "activity:1m:eu").await.as_deref(), Some("7"));
    put(value.as_mut(), 9, &[("eu", Some(6))]).await;
    remove(value.as_mut(), 9, &[("us", Some(8))]).await;
    assert_eq!(get(&mut redis, "activity:1m:eu").await.as_deref(), Some("7"), "an older value");
    assert_eq!(get(&mut redis, "activity:1m:us").await.as_deref(), Some("8"), "an older deletion");
    put(value.as_mut(), 11, &[("eu", None)]).await;
    remove(value.as_mut(), 11, &[("us", Some(8))]).await;
    assert_eq!(get(&mut redis, "activity:1m:eu").await, None, "NULL is an absent key");
    assert_eq!(get(&mut redis, "activity:1m:us").await, None);
    everything_expires(&mut redis).await;
    assert!(redis.keys("*activity*").await.expect("keys").is_empty(), "a deleted row leaves nothing");
}

#[tokio::test]
async fn rows_are_members_of_a_set() {
    let (url, mut redis) = database(10).await;
    let mut sink = sink_with(&url, 1, &SET);
    sink.open().await.expect("open");
    put(sink.as_mut(), 10, &[("eu", Some(1)), ("us", Some(1)), ("asia", Some(1))]).await;
    remove(sink.as_mut(), 9, &[("eu", Some(1))]).await;
    remove(sink.as_mut(), 11, &[("us", Some(1))]).await;
    let mut members: Vec<String> = ask(&mut redis, &["SMEMBERS", "regions:1m"]).await;
    members.sort();
    assert_eq!(members, ["asia", "eu"]);
    everything_expires(&mut redis).await;
    remove(sink.as_mut(), 12, &[("eu", Some(1)), ("asia", Some(1))]).await;
    assert!(redis.keys("*regions*").await.expect("keys").is_empty(), "nothing is left of an empty set");
}

#[tokio::test]
async fn the_best_are_one_sorted_set() {
    let (url, mut redis) = database(11).await;
    let mut sink = sink_with(&url, 1, &TOP);
    sink.open().await.expect("open");
    put(sink.as_mut(), 10, &[("eu", Some(5)), ("us", Some(7)), ("asia", Some(-1)), ("none", None)]).await;
    let top: Vec<(String, f64)> = ask(&mut redis, &["ZREVRANGE", "top:1m", "0", "-1", "WITHSCORES"]).await;
    assert_eq!(top, [("us".to_owned(), 7.0), ("eu".to_owned(), 5.0), ("asia".to_owned(), -1.0)]);
    // As a top-N view does: one goes and another comes, and the rest is as it was.
    let step = changes(&[("asia", Some(-1)), ("eu", Some(5))], &[("eu", Some(9)), ("africa", Some(8))]);
    sink.write(step, &at(11)).await.expect("write");
    put(sink.as_mut(), 10, &[("us", Some(1)), ("eu", Some(1))]).await;
    let top: Vec<String> = ask(&mut redis, &["ZREVRANGE", "top:1m", "0", "-1"]).await;
    assert_eq!(top, ["eu", "africa", "us"].map(str::to_owned).to_vec());
    assert_eq!(redis.zscore("top:1m", "us").await.expect("score"), Some(1.0), "as new as what was there");
    everything_expires(&mut redis).await;
}

#[tokio::test]
async fn members_that_are_not_written_again_are_swept_away() {
    let (url, mut redis) = database(12).await;
    let mut old = sink_with(&url, 1, &TOP);
    old.open().await.expect("open");
    put(old.as_mut(), 10, &[("eu", Some(5)), ("us", Some(7)), ("a]\",b", Some(1))]).await;
    let mut new = sink_with(&url, 2, &TOP);
    new.open().await.expect("open");
    put(new.as_mut(), 10, &[("us", Some(7))]).await;
    new.sweep(&at(10)).await.expect("sweep");
    let top: Vec<String> = ask(&mut redis, &["ZRANGE", "top:1m", "0", "-1"]).await;
    assert_eq!(top, ["us"]);
    let late = old.write(changes(&[], &[("eu", Some(5))]), &at(99)).await;
    assert!(matches!(late, Err(Error::Fenced { .. })), "{late:?}");
}

/// Entries as lists of field and value.
async fn entries(redis: &mut MultiplexedConnection, key: &str) -> Vec<Vec<String>> {
    let entries: Vec<(String, Vec<String>)> = ask(redis, &["XRANGE", key, "-", "+"]).await;
    entries.into_iter().map(|(_, fields)| fields).collect()
}

#[tokio::test]
async fn a_stream_has_every_change_with_its_version() {
    let (url, mut redis) = database(13).await;
    let mut sink = sink_with(&url, 1, &STREAM);
    sink.open().await.expect("open");
    put(sink.as_mut(), 10, &[("eu", Some(5))]).await;
    put(sink.as_mut(), 11, &[("eu", None)]).await;
    put(sink.as_mut(), 9, &[("eu", Some(4))]).await;
    remove(sink.as_mut(), 12, &[("eu", None)]).await;
    let minute = ["window_size", "00:01:00", "region", "eu"];
    let entry = |op: &str, version: &str, rest: &[&str]| {
        let fields = ["op", op, "_version", version].into_iter().chain(minute).chain(rest.iter().copied());
        fields.map(|field| field.to_owned()).collect::<Vec<_>>()
    };
    let expected = [entry("upsert", "10", &["count", "5"]), entry("upsert", "11", &[]), entry("delete", "12", &[])];
    assert_eq!(entries(&mut redis, "log:1m").await, expected);
    everything_expires(&mut redis).await;

    // Another instance writes every row again, and says of those that are gone that they are.
    put(sink.as_mut(), 12, &[("us", Some(1)), ("asia", Some(1))]).await;
    let mut next = sink_with(&url, 2, &STREAM);
    assert_eq!(next.open().await.expect("open").position, Some(at(12)));
    put(next.as_mut(), 13, &[("asia", Some(2))]).await;
    next.sweep(&at(13)).await.expect("sweep");
    let all = entries(&mut redis, "log:1m").await;
    let last: Vec<_> = all[all.len() - 2..].iter().map(|entry| (&*entry[1], &*entry[3], &*entry[7])).collect();
    assert_eq!(last, [("upsert", "13", "asia"), ("delete", "13", "us")]);
    everything_expires(&mut redis).await;
}

#[tokio::test]
async fn a_stream_has_every_row_of_a_view_without_a_key() {
    let (url, mut redis) = database(19).await;
    let mut context = crate::context(&url, 1);
    context.upsert_key.clear();
    [STREAM[0], STREAM[1]].iter().for_each(|(name, value)| context.options.set(*name, *value));
    let mut sink = ebap_redis::sink(&context).expect("options are fine");
    sink.open().await.expect("open");
    put(sink.as_mut(), 2, &[("eu", Some(1)), ("eu", Some(2))]).await;
    assert_eq!(entries(&mut redis, "log:1m").await.len(), 2);
}

#[tokio::test]
async fn a_stream_is_bounded() {
    let (url, mut redis) = database(14).await;
    let mut sink = sink_with(&url, 1, &[STREAM[0], STREAM[1], ("max_length", "100")]);
    sink.open().await.expect("open");
    for offset in 0..20 {
        let names: Vec<_> = (0..50).map(|n| format!("{offset}-{n}")).collect();
        let rows: Vec<_> = names.iter().map(|name| (name.as_str(), Some(1))).collect();
        put(sink.as_mut(), offset, &rows).await;
    }
    let length: i64 = ask(&mut redis, &["XLEN", "log:1m"]).await;
    // Redis drops whole nodes of a hundred entries.
    assert!((100..=200).contains(&length), "{length} entries");
}
