//! A row as a hash, and what holds for every type: versions, fences, sweeping, what is refused.

use std::collections::BTreeMap;

use ebap_connector::{Epoch, Error, SinkContext};
use redis::AsyncTypedCommands;

use crate::{changes, context, database, everything_expires, hash, position, sink};

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
    everything_expires(&mut redis).await;
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
        "option \"type\": \"json\" is not supported; use 'hash', 'string', 'set', 'sorted set' or 'stream'"
    );
    assert_eq!(
        message(&|context| context.options.set("tll", "1h")),
        "option \"tll\": is not known here; did you mean \"ttl\"?"
    );
    let message_with = |options: &[(&str, &str)]| {
        message(&|context| options.iter().for_each(|(name, value)| context.options.set(*name, *value)))
    };
    assert_eq!(
        message_with(&[("type", "set"), ("key", "k:{window_size}"), ("member", "{count}")]),
        "option \"member\": two rows of the view could share a key and a member: {region} is missing"
    );
    assert_eq!(
        message_with(&[("type", "zset"), ("member", "{region}"), ("score", "region")]),
        "option \"score\": column \"region\" is not a number"
    );
    assert_eq!(message_with(&[("score", "count")]), "option \"score\": is of type 'sorted set', not of 'hash'");
    assert_eq!(
        message_with(&[("sentinel", "ebap"), ("cluster", "true")]),
        "option \"sentinel\": cannot be used together with cluster"
    );
    assert_eq!(
        message_with(&[("ca_cert", "/tmp/ca.crt")]),
        "option \"ca_cert\": needs a url that begins with rediss://"
    );
    assert_eq!(
        message_with(&[("url", "rediss://127.0.0.1:1/#insecure")]),
        "option \"url\": #insecure is not supported; give the certificate's issuer as ca_cert"
    );
    let leaked = message(&|context| context.options.set("url", "http://user:hunter2@host"));
    assert!(!leaked.contains("hunter2"), "{leaked}");
}
