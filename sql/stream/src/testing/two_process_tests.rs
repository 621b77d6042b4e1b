//! Two processes on one state, and what stays in the store for the one that is behind.

use std::{collections::BTreeSet, time::Duration};

use ebap_connector::Epoch;
use futures::TryStreamExt;
use object_store::{ObjectStoreExt, PutPayload, path::Path};

use super::rig::Rig;
use crate::{
    Error,
    checkpoint::{CheckpointStore, Manifest},
};

const EVENTS: &str = "CREATE STREAM events (id BIGINT NOT NULL, timestamp TIMESTAMPTZ NOT NULL,
    WATERMARK FOR timestamp AS timestamp - INTERVAL '5 seconds') WITH (connector = 'test')";
const TOTALS: &str =
    "CREATE MATERIALIZED VIEW totals AS SELECT id % 7 AS part, count(*) AS n FROM events GROUP BY id % 7";
const STATE: &str = "pipelines/1/state";

fn lines(ids: std::ops::Range<i64>) -> impl Iterator<Item = String> {
    ids.map(|id| format!(r#"{{"id":{id},"timestamp":"2026-01-01T00:00:{:02}Z"}}"#, id % 60))
}

async fn names(rig: &Rig, folder: &str) -> BTreeSet<String> {
    let files: Vec<_> = rig.store.list(Some(&Path::from(folder))).try_collect().await.expect("in memory");
    files.iter().filter_map(|file| file.location.filename().map(str::to_owned)).collect()
}

async fn manifests(rig: &Rig) -> Vec<Manifest> {
    let mut found = Vec::new();
    for name in names(rig, "pipelines/1/manifest").await {
        let path = Path::from("pipelines/1/manifest").join(name);
        let bytes = rig.store.get(&path).await.expect("it was listed").bytes().await.expect("in memory");
        found.push(serde_json::from_slice(&bytes).expect("it is whole"));
    }
    found
}

/// Asks until the answer holds this; the engine goes on beside it.
async fn until(rig: &Rig, sql: &str, expected: &str) -> String {
    let asked = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let found = rig.query(sql).await;
            if found.contains(expected) {
                return found;
            }
        }
    });
    asked.await.unwrap_or_else(|_| panic!("{sql} never has {expected}"))
}

#[tokio::test]
async fn an_owner_with_nothing_to_write_notices_that_another_has_taken_over() {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    rig.sql(TOTALS).await;
    rig.outside.produce("0", lines(0..20));
    rig.flush().await;
    let mut second = rig.twin();
    second.start().await;
    second.flush().await;
    let states = until(&rig, "SELECT name, state FROM jobs ORDER BY name", "superseded").await;
    assert!(!states.contains("running") && !states.contains("failed"), "{states}");
    for sql in ["SELECT * FROM totals", "SELECT * FROM events", "SELECT * FROM \"events$dlq\""] {
        let error = rig.try_query(sql).await.expect_err("it may be behind");
        assert!(error.contains("is not up to date here: another process runs \"events\""), "{error}");
    }
    // The one that has it goes on.
    second.outside.produce("0", lines(20..40));
    second.flush().await;
    assert!(second.query("SELECT CAST(sum(n) AS BIGINT) AS n FROM totals").await.contains("| 40 |"));
    // And the older one can have it back.
    rig.sql("ALTER STREAM events RESUME").await;
    rig.flush().await;
    assert!(rig.query("SELECT CAST(sum(n) AS BIGINT) AS n FROM totals").await.contains("| 40 |"));
    until(&second, "SELECT name, state FROM jobs", "superseded").await;
}

#[tokio::test]
async fn what_another_server_resumes_or_drops_is_left_to_it() {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    rig.sql(TOTALS).await;
    rig.flush().await;
    let mut second = rig.twin();
    second.follow().await;
    until(&second, "SELECT name, state FROM jobs", "superseded").await;
    second.declare("ALTER STREAM events RESUME");
    second.follow().await;
    rig.outside.produce("0", lines(0..20));
    rig.flush().await;
    let states = second.query("SELECT name, state FROM jobs").await;
    assert!(!states.contains("running"), "who only hears of RESUME takes nothing over: {states}");
    second.declare("DROP MATERIALIZED VIEW totals; DROP STREAM events");
    second.start().await;
    assert!(!names(&rig, STATE).await.is_empty(), "the files are of the one that runs it");
    rig.outside.produce("0", lines(20..40));
    rig.flush().await;
    assert!(rig.query("SELECT CAST(sum(n) AS BIGINT) AS n FROM totals").await.contains("| 40 |"));
    rig.declare("DROP MATERIALIZED VIEW totals; DROP STREAM events");
    rig.follow().await;
    assert_eq!(names(&rig, "pipelines/1").await, BTreeSet::new());
}

#[tokio::test]
async fn files_stay_for_whoever_reads_an_older_epoch() {
    let mut rig = Rig::new();
    rig.config.deltas_max = 3;
    rig.sql(EVENTS).await;
    rig.sql(TOTALS).await;
    for part in 0..20 {
        rig.outside.produce("0", lines(part * 10..part * 10 + 10));
        rig.flush().await;
        if part == 10 {
            rig.kill();
            rig.start().await;
        }
    }
    let (kept, files) = (manifests(&rig).await, names(&rig, STATE).await);
    assert!(kept.len() >= 20, "{} manifests", kept.len());
    for manifest in kept {
        let missing: Vec<_> = manifest.files().filter(|file| !files.contains(*file)).collect();
        assert!(missing.is_empty(), "epoch {}: {missing:?}", manifest.epoch.0);
    }
}

#[tokio::test]
async fn what_earlier_starts_have_left_goes() {
    let mut rig = Rig::new();
    rig.config.files_kept = Duration::ZERO;
    rig.sql(EVENTS).await;
    rig.sql(TOTALS).await;
    rig.outside.produce("0", lines(0..10));
    rig.flush().await;
    rig.kill();
    let own = names(&rig, STATE).await;
    let [torn, later, foreign] = ["000000000001-00-2-delta.arrow", "900000000000-00-2-delta.arrow", "notes"];
    for name in [torn, later, foreign] {
        rig.store.put(&Path::from(STATE).join(name), PutPayload::from_static(b"x")).await.expect("in memory");
    }
    rig.start().await;
    rig.flush().await;
    let gone = tokio::time::timeout(Duration::from_secs(60), async {
        while names(&rig, STATE).await.contains(torn) {
            rig.flush().await;
        }
    });
    gone.await.expect("it is of no manifest");
    let left = names(&rig, STATE).await;
    assert!(left.contains(later) && left.contains(foreign), "another process may be writing it: {left:?}");
    rig.stop().await;
    let newest = manifests(&rig).await.pop().expect("there are some");
    assert!(newest.files().all(|file| left.contains(file) || !own.contains(file)), "nothing that is named goes");
    rig.start().await;
    rig.flush().await;
    assert!(rig.query("SELECT CAST(sum(n) AS BIGINT) AS n FROM totals").await.contains("| 10 |"));
}

#[tokio::test]
async fn a_writer_whose_number_is_free_again_is_told_of_later_epochs() {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    for part in 0..5 {
        rig.outside.produce("0", lines(part * 10..part * 10 + 10));
        rig.flush().await;
    }
    rig.stop().await;
    let store = CheckpointStore::new(std::sync::Arc::clone(&rig.store), "1", "events");
    let all = manifests(&rig).await;
    let (second, newest) = (all[1].clone(), all[all.len() - 1].epoch);
    let is_fenced = |done: crate::Result<()>| matches!(done, Err(Error::Fenced { .. }));
    assert!(is_fenced(store.look_at_next(second.epoch).await));
    assert!(is_fenced(store.look_behind(second.epoch).await));
    let mut other = second.clone();
    other.writer += 1;
    assert!(is_fenced(store.publish(&other).await.map(drop)), "the number is taken");
    for old in &all[..all.len() - 1] {
        let path = Path::from("pipelines/1/manifest").join(format!("{:012}.json", old.epoch.0));
        rig.store.delete(&path).await.expect("it is there");
    }
    store.publish(&other).await.expect("the number is free again");
    assert!(is_fenced(store.look_behind(other.epoch).await));
    store.look_behind(newest).await.expect("nothing is later than the newest");
    store.look_at_next(Epoch(newest.0)).await.expect("nothing is later than the newest");
}
