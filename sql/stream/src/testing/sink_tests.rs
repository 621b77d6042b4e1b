//! Sinks that are slower than what they are fed with.

use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;

use super::rig::Rig;

const EVENTS: &str = "CREATE STREAM events (id BIGINT NOT NULL, region TEXT) WITH (connector = 'test')";
const VIEW: &str =
    "CREATE MATERIALIZED VIEW counts AS SELECT id % 10 AS digit, count(*) AS n FROM events GROUP BY id % 10";
const SINKS: &str = "CREATE SINK rows FROM events WITH (connector = 'test');
    CREATE SINK digits FROM counts WITH (connector = 'test')";
/// Many times what a sink's queue holds.
const ROWS: i64 = 3_000;
/// Looks before something counts as never coming.
const LOOKS_MAX: usize = 20_000;

fn lines(range: std::ops::Range<i64>) -> impl Iterator<Item = String> {
    range.map(|id| format!(r#"{{"id":{id},"region":"eu"}}"#))
}

/// Until the answer has this.
async fn until(rig: &Rig, sql: &str, wanted: &str) -> String {
    for _ in 0..LOOKS_MAX {
        let answer = rig.query(sql).await;
        if answer.contains(wanted) {
            return answer;
        }
        tokio::task::yield_now().await;
    }
    panic!("never {wanted}: {}", rig.query("SELECT * FROM jobs").await);
}

fn ids(rig: &Rig) -> Vec<i64> {
    let batches = rig.outside.committed.lock().0.clone();
    let of = |batch: &RecordBatch| {
        let ids = batch.column(0).as_any().downcast_ref::<arrow::array::Int64Array>().expect("numbers");
        ids.values().to_vec()
    };
    let mut ids: Vec<i64> = batches.iter().flat_map(of).collect();
    ids.sort_unstable();
    ids
}

fn digits(rig: &Rig) -> Vec<String> {
    rig.outside.values.lock().values().cloned().collect()
}

async fn held_with_all_read() -> Rig {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    rig.sql(VIEW).await;
    rig.sql(SINKS).await;
    rig.outside.produce("0", lines(0..100));
    rig.flush().await;
    rig.outside.held.send_replace(true);
    rig.outside.produce("0", lines(100..ROWS));
    // The view has it all while nothing can be written.
    until(&rig, "SELECT CAST(sum(n) AS BIGINT) AS n FROM counts", &format!("| {ROWS} |")).await;
    rig
}

#[tokio::test]
async fn a_slow_sink_says_so_and_slows_nobody_else() {
    let rig = held_with_all_read().await;
    for sink in ["rows", "digits"] {
        let sql = format!("SELECT state, message, backpressure_ms > 0 AS waits FROM sinks WHERE name = '{sink}'");
        let answer = until(&rig, &sql, "true").await;
        assert!(answer.contains("| catching up | slower than its job"), "{answer}");
    }
    assert!(rig.query("SELECT backpressure_ms > 0 AS waits FROM jobs WHERE name = 'events'").await.contains("true"));

    rig.outside.held.send_replace(false);
    rig.flush().await;
    assert_eq!(ids(&rig), (0..ROWS).collect::<Vec<_>>());
    assert_eq!(digits(&rig), (0..10).map(|digit| format!("{digit} {}", ROWS / 10)).collect::<Vec<_>>());
    let sinks = rig.query("SELECT name FROM sinks WHERE state = 'running' AND message IS NULL").await;
    assert!(sinks.contains("rows") && sinks.contains("digits"), "{sinks}");
    let counted = rig.query("SELECT consumed FROM accounting WHERE job = 'rows'").await;
    assert!(counted.contains(&format!("| {ROWS} ")), "{counted}");
}

#[tokio::test]
async fn a_sink_that_does_not_open_slows_nobody() {
    let mut rig = Rig::new();
    rig.outside.held.send_replace(true);
    rig.sql(EVENTS).await;
    rig.sql(VIEW).await;
    rig.sql(SINKS).await;
    rig.outside.produce("0", lines(0..ROWS));
    until(&rig, "SELECT CAST(sum(n) AS BIGINT) AS n FROM counts", &format!("| {ROWS} |")).await;
    // Nor does a sink that is paused and resumed meanwhile open twice.
    rig.sql("ALTER SINK rows PAUSE; ALTER SINK digits PAUSE").await;
    rig.sql("ALTER SINK rows RESUME; ALTER SINK digits RESUME").await;
    rig.outside.held.send_replace(false);
    rig.flush().await;
    assert_eq!(ids(&rig), (0..ROWS).collect::<Vec<_>>());
    assert_eq!(digits(&rig), (0..10).map(|digit| format!("{digit} {}", ROWS / 10)).collect::<Vec<_>>());
}

#[tokio::test]
async fn killed_while_sinks_are_behind_every_row_is_written_once() {
    let mut rig = held_with_all_read().await;
    rig.kill();
    rig.outside.held.send_replace(false);
    rig.start().await;
    rig.outside.produce("0", lines(ROWS..ROWS + 500));
    rig.flush().await;
    assert_eq!(ids(&rig), (0..ROWS + 500).collect::<Vec<_>>());
    assert_eq!(digits(&rig), (0..10).map(|digit| format!("{digit} {}", (ROWS + 500) / 10)).collect::<Vec<_>>());
}

/// A value that goes while its sink cannot write is not left outside.
#[tokio::test]
async fn a_value_that_goes_while_its_sink_is_behind_goes_outside_too() {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    rig.sql("CREATE MATERIALIZED VIEW few AS SELECT id % 10 AS digit, count(*) AS n FROM events GROUP BY id % 10 HAVING count(*) < 100").await;
    rig.sql("CREATE SINK digits FROM few WITH (connector = 'test')").await;
    rig.outside.produce("0", lines(0..300));
    rig.flush().await;
    assert_eq!(digits(&rig).len(), 10);
    rig.outside.held.send_replace(true);
    rig.outside.produce("0", lines(300..ROWS));
    until(&rig, "SELECT count(*) AS left_over FROM few", "| 0 ").await;
    rig.outside.held.send_replace(false);
    rig.flush().await;
    assert!(digits(&rig).is_empty(), "{:?}", digits(&rig));
}

/// An outside that cannot say what it has, with a sink on the stream.
async fn forgetful() -> Rig {
    let mut rig = Rig::new();
    rig.outside.forgets.store(true, Ordering::SeqCst);
    rig.sql(EVENTS).await;
    rig.sql("CREATE SINK rows FROM events WITH (connector = 'test')").await;
    rig
}

#[tokio::test]
async fn killed_a_sink_goes_on_from_where_the_manifest_has_it_and_nothing_is_lost() {
    let mut rig = forgetful().await;
    rig.outside.produce("0", lines(0..1_000));
    rig.flush().await;
    // The epoch of this one knows that the rows before are outside.
    rig.outside.produce("0", lines(1_000..1_100));
    rig.flush().await;
    rig.kill();
    rig.outside.produce("0", lines(1_100..1_200));
    rig.start().await;
    rig.flush().await;
    let mut ids = ids(&rig);
    let before = ids.partition_point(|id| *id < 1_000);
    assert_eq!(ids[..before], (0..1_000).collect::<Vec<_>>(), "what was known to be outside does not come again");
    ids.dedup();
    assert_eq!(ids, (0..1_200).collect::<Vec<_>>());
    let counted = rig.query("SELECT consumed FROM accounting WHERE job = 'rows'").await;
    assert!(counted.contains("| 1200 "), "{counted}");
}

#[tokio::test]
async fn stopped_in_order_nothing_comes_again() {
    let mut rig = forgetful().await;
    for end in [500, 1_000, 1_500] {
        rig.outside.produce("0", lines(end - 500..end));
        rig.flush().await;
        rig.stop().await;
        rig.start().await;
    }
    rig.outside.produce("0", lines(1_500..1_600));
    rig.flush().await;
    assert_eq!(ids(&rig), (0..1_600).collect::<Vec<_>>());
}

#[tokio::test]
async fn killed_while_it_catches_up_a_sink_without_a_position_outside_loses_nothing() {
    let mut rig = forgetful().await;
    rig.outside.produce("0", lines(0..100));
    rig.flush().await;
    rig.outside.held.send_replace(true);
    rig.outside.produce("0", lines(100..ROWS));
    until(&rig, "SELECT state FROM sinks WHERE name = 'rows'", "catching up").await;
    rig.kill();
    rig.outside.held.send_replace(false);
    rig.start().await;
    rig.flush().await;
    let mut ids = ids(&rig);
    ids.dedup();
    assert_eq!(ids, (0..ROWS).collect::<Vec<_>>());
}

/// However they come to the sink: by the loop or by a catch-up.
#[tokio::test]
async fn rows_that_are_refused_are_counted() {
    let nowhere = |ids: std::ops::Range<i64>| ids.map(|id| format!(r#"{{"id":{id},"region":"nowhere"}}"#));
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    rig.outside.produce("0", nowhere(0..3).chain(lines(3..ROWS)));
    rig.flush().await;
    rig.sql("CREATE SINK rows FROM events WITH (connector = 'test')").await;
    rig.flush().await;
    until(&rig, "SELECT refused, skipped FROM sinks", "| 3       | 0 ").await;
    rig.outside.produce("0", nowhere(ROWS..ROWS + 2));
    rig.flush().await;
    until(&rig, "SELECT refused, skipped FROM sinks", "| 5       | 0 ").await;
}
