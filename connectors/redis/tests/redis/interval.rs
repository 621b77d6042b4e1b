//! `flush_interval`: what is written once, and when.

use std::time::Duration;

use ebap_connector::{Epoch, Error};

use crate::{ask, at, changes, database, everything_expires, hash, sink_with};

#[tokio::test]
async fn versions_of_a_key_within_the_interval_are_written_once() {
    let (url, mut redis) = database(17).await;
    // A stream shows every write.
    for (kind, key) in [("hash", "activity:1m:eu"), ("stream", "log")] {
        let key_option = if kind == "stream" { "log" } else { "activity:{window_size}:{region}" };
        let options = [("flush_interval", "1 minute"), ("type", kind), ("key", key_option)];
        let mut context = crate::context(&url, 1);
        context.id = kind.to_owned();
        options.iter().for_each(|(name, value)| context.options.set(*name, *value));
        let mut sink = ebap_redis::sink(&context).expect("options are fine");
        sink.open().await.expect("open");
        for offset in 1..100 {
            let step = changes(&[("eu", Some(offset - 1))], &[("eu", Some(offset))]);
            sink.write(step, &at(offset)).await.expect("write");
        }
        assert_eq!(sink.checkpoint(Epoch(1), &at(99), false).await.expect("checkpoint"), None);
        let there: i64 = ask(&mut redis, &["EXISTS", key]).await;
        assert_eq!(there, 0, "the interval is not over");
        let visible = sink.checkpoint(Epoch(2), &at(99), true).await.expect("checkpoint");
        assert_eq!(visible, Some(at(99)), "a checkpoint that must makes all visible");
    }
    assert_eq!(hash(&mut redis, "activity:1m:eu").await["_version"], "99");
    let written: i64 = ask(&mut redis, &["XLEN", "log"]).await;
    assert_eq!(written, 1, "99 versions, one write");
    everything_expires(&mut redis).await;
}

#[tokio::test]
async fn what_waits_says_for_how_long() {
    let (url, _redis) = database(15).await;
    let mut sink = sink_with(&url, 1, &[("flush_interval", "50ms")]);
    sink.open().await.expect("open");
    assert!(sink.flush_due() > Some(Duration::from_millis(50)), "nothing waits, it only looks after Redis");
    sink.write(changes(&[], &[("eu", Some(1))]), &at(1)).await.expect("write");
    let due = sink.flush_due().expect("something waits");
    assert!(due <= Duration::from_millis(50), "{due:?}");
    while !sink.flush_due().expect("it still waits").is_zero() {
        tokio::task::yield_now().await;
    }
    assert_eq!(sink.flush().await.expect("flush"), Some(at(1)));
    assert!(sink.flush_due() > Some(Duration::from_millis(50)));
}

#[tokio::test]
async fn a_loss_is_noticed_also_where_nothing_is_written() {
    let (url, mut redis) = database(18).await;
    let mut sink = sink_with(&url, 1, &[]);
    sink.open().await.expect("open");
    sink.write(changes(&[], &[("eu", Some(1))]), &at(1)).await.expect("write");
    assert_eq!(sink.flush().await.expect("all is there"), Some(at(1)));
    ask::<()>(&mut redis, &["FLUSHDB"]).await;
    let lost = sink.flush().await;
    assert!(matches!(lost, Err(Error::Unreachable { .. })), "{lost:?}");
}

#[tokio::test]
async fn the_position_is_stored_before_the_values() {
    let (url, mut redis) = database(0).await;
    let mut sink = sink_with(&url, 1, &[("type", "string")]);
    sink.open().await.expect("open");
    // A key of somebody else's, of a type that the write fails at.
    ask::<()>(&mut redis, &["HSET", "ebap:version:{activity:1m:eu}", "a", "b"]).await;
    sink.write(changes(&[], &[("eu", Some(1))]), &at(7)).await.expect_err("the values cannot be written");
    let stored: String = ask(&mut redis, &["HGET", "ebap:sink:{sink-1}", "split:0"]).await;
    assert_eq!(stored, "7", "what may have been written is known");
    let indexed: Vec<String> = ask(&mut redis, &["ZRANGE", "ebap:sink:{sink-1}:rows", "0", "-1"]).await;
    assert_eq!(indexed, ["activity:1m:eu"]);
}
