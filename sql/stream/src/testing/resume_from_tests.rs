//! A stream that retention has passed, and `ALTER … RESUME FROM`.

use super::rig::Rig;

const EVENTS: &str = "CREATE STREAM events (id BIGINT NOT NULL, timestamp TIMESTAMPTZ NOT NULL,
    WATERMARK FOR timestamp AS timestamp - INTERVAL '5 seconds') WITH (connector = 'test')";
const TOTALS: &str = "CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n, sum(id) AS sum FROM events";
const SINK: &str = "CREATE SINK rows FROM events WITH (connector = 'test')";
const COUNTED: &str = "SELECT job, split, consumed, emitted, missed FROM accounting ORDER BY job, split";

fn lines(ids: std::ops::Range<i64>) -> impl Iterator<Item = String> {
    ids.map(|id| format!(r#"{{"id":{id},"timestamp":"2026-01-01T00:00:{:02}Z"}}"#, id % 60))
}

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// The cells of an answer, row by row.
async fn rows(rig: &Rig, sql: &str) -> Vec<Vec<String>> {
    let text = rig.query(sql).await;
    let lines = text.lines().skip(3).filter(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// A hundred rows are in the views, a hundred more came while nothing ran, and the first of these are gone.
async fn behind(gone_below: i64) -> Rig {
    let mut rig = Rig::new();
    for sql in [EVENTS, TOTALS, SINK] {
        rig.sql(sql).await;
    }
    rig.outside.produce("0", lines(0..100));
    rig.flush().await;
    rig.stop().await;
    rig.outside.produce("0", lines(100..200));
    rig.outside.expire("0", gone_below);
    rig.start().await;
    let error = rig.try_flush().await.expect_err("what comes next is gone");
    assert!(error.contains("offset 100 of split 0 is not there any more"), "{error}");
    rig
}

async fn failed(rig: &Rig) -> bool {
    rig.query("SELECT state FROM jobs WHERE name = 'events'").await.contains("failed")
}

#[tokio::test]
async fn from_earliest_goes_on_with_what_there_is() {
    let mut rig = behind(150).await;
    rig.sql("ALTER STREAM events RESUME").await;
    rig.try_flush().await.expect_err("it is still gone");
    let stopped = tokio::time::timeout(PATIENCE, async { while !failed(&rig).await {} });
    stopped.await.expect("it says that it has failed");
    rig.sql("ALTER STREAM events RESUME FROM EARLIEST").await;
    rig.flush().await;
    let sum = (0..100).chain(150..200).sum::<i64>().to_string();
    assert_eq!(rows(&rig, "SELECT n, sum FROM totals").await, [["150", &sum]]);
    for again in 0..3 {
        let all: Vec<_> = ["events", "rows", "totals"].map(|job| vec![job, "0", "200", "150", "50"]).into();
        assert_eq!(rows(&rig, COUNTED).await, all, "start {again}");
        let splits = rows(&rig, "SELECT \"offset\", state, missed FROM splits").await;
        assert_eq!(splits[0][0], "200");
        assert_eq!(splits[0][2], "50", "start {again}");
        rig.kill();
        rig.start().await;
        rig.flush().await;
    }
    assert_eq!(rows(&rig, "SELECT n, sum FROM totals").await, [["150", &sum]]);
    let outside: usize = rig.outside.committed.lock().0.iter().map(arrow::array::RecordBatch::num_rows).sum();
    assert_eq!(outside, 150, "the sink has each row once");
}

#[tokio::test]
async fn from_latest_goes_on_with_what_comes() {
    let mut rig = behind(150).await;
    rig.sql("ALTER STREAM events RESUME FROM LATEST").await;
    rig.flush().await;
    assert_eq!(rows(&rig, "SELECT n FROM totals").await, [["100"]]);
    rig.outside.produce("0", lines(200..210));
    rig.flush().await;
    assert_eq!(rows(&rig, "SELECT n FROM totals").await, [["110"]]);
    let all: Vec<_> = ["events", "rows", "totals"].map(|job| vec![job, "0", "210", "110", "100"]).into();
    assert_eq!(rows(&rig, COUNTED).await, all);
    // Once: what comes after a restart is not left out.
    rig.stop().await;
    rig.outside.produce("0", lines(210..220));
    rig.start().await;
    rig.flush().await;
    assert_eq!(rows(&rig, "SELECT n FROM totals").await, [["120"]]);
}

#[tokio::test]
async fn a_death_before_it_is_durable_misses_nothing_twice() {
    for deaths in 1..6 {
        let mut rig = behind(150).await;
        rig.declare("ALTER STREAM events RESUME FROM EARLIEST");
        for _ in 0..deaths {
            rig.start().await;
            for _ in 0..deaths * 7 {
                tokio::task::yield_now().await;
            }
            rig.kill();
        }
        rig.start().await;
        rig.flush().await;
        let all: Vec<_> = ["events", "rows", "totals"].map(|job| vec![job, "0", "200", "150", "50"]).into();
        assert_eq!(rows(&rig, COUNTED).await, all, "{deaths} deaths");
        assert_eq!(rows(&rig, "SELECT n FROM totals").await, [["150"]]);
    }
}

#[tokio::test]
async fn a_split_with_all_of_its_records_goes_on_where_it_was() {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    rig.sql(TOTALS).await;
    rig.outside.produce("0", lines(0..10));
    rig.outside.produce("1", lines(10..20));
    rig.flush().await;
    rig.stop().await;
    rig.outside.produce("0", lines(20..40));
    rig.outside.produce("1", lines(40..60));
    rig.outside.expire("0", 25);
    rig.start().await;
    rig.try_flush().await.expect_err("split 0 has lost some");
    rig.sql("ALTER STREAM events RESUME FROM LATEST").await;
    rig.flush().await;
    let counted = rows(&rig, "SELECT split, consumed, missed FROM accounting WHERE job = 'totals' ORDER BY 1").await;
    assert_eq!(counted, [["0", "30", "20"], ["1", "30", "0"]]);
    // And it can happen again.
    rig.stop().await;
    rig.outside.produce("0", lines(60..80));
    rig.outside.expire("0", 45);
    rig.start().await;
    rig.try_flush().await.expect_err("it has lost some again");
    rig.sql("ALTER STREAM events RESUME FROM EARLIEST").await;
    rig.flush().await;
    let counted = rows(&rig, "SELECT split, consumed, missed FROM accounting WHERE job = 'totals' ORDER BY 1").await;
    assert_eq!(counted, [["0", "50", "35"], ["1", "30", "0"]]);
}

#[tokio::test]
async fn a_view_that_was_paused_passes_over_the_same() {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    rig.sql(TOTALS).await;
    rig.outside.produce("0", lines(0..50));
    rig.flush().await;
    rig.sql("ALTER MATERIALIZED VIEW totals PAUSE").await;
    rig.outside.produce("0", lines(50..100));
    rig.flush().await;
    rig.stop().await;
    rig.outside.produce("0", lines(100..200));
    rig.outside.expire("0", 150);
    rig.start().await;
    rig.try_flush().await.expect_err("what comes next is gone");
    rig.sql("ALTER STREAM events RESUME FROM EARLIEST").await;
    rig.flush().await;
    rig.sql("ALTER MATERIALIZED VIEW totals RESUME").await;
    rig.flush().await;
    let counted = rows(&rig, "SELECT job, consumed, emitted, missed FROM accounting ORDER BY job").await;
    assert_eq!(counted, [["events", "200", "150", "50"], ["totals", "200", "100", "100"]]);
    assert_eq!(rows(&rig, "SELECT n FROM totals").await, [["100"]]);
    // What is created now reads what the source has.
    rig.sql("CREATE MATERIALIZED VIEW later AS SELECT count(*) AS n FROM events").await;
    rig.flush().await;
    assert_eq!(rows(&rig, "SELECT n FROM later").await, [["50"]]);
}
