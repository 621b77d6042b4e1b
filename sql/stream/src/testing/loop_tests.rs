//! What a user of streams and views would notice, with a source in the test's hands.

use super::rig::Rig;

const EVENTS: &str = "CREATE STREAM events (
    id BIGINT NOT NULL, region TEXT CHECK (region <> 'nowhere'), amount DOUBLE, timestamp TIMESTAMPTZ NOT NULL,
    WATERMARK FOR timestamp AS timestamp - INTERVAL '10 seconds'
) WITH (connector = 'test', idle_timeout = '1 hour')";

const ACTIVITY: &str = "CREATE MATERIALIZED VIEW activity AS
    SELECT region, count(*) AS events, count(DISTINCT id) AS ids, sum(amount) AS revenue
    FROM events GROUP BY region
    WINDOW TUMBLE (timestamp, INTERVAL '1 minute', INTERVAL '5 minutes')";

/// The view again as a batch over the rows that were not late for it.
const BATCH: &str = "SELECT date_bin(INTERVAL '1 minute', timestamp) AS window_start, region, count(*) AS events,
    count(DISTINCT id) AS ids, sum(amount) AS revenue FROM events
    WHERE NOT (_late AND date_bin(INTERVAL '1 minute', timestamp) + INTERVAL '1 minute' <= _watermark)
    GROUP BY 1, 2 ORDER BY 1, 2";

const LIVE: &str = "SELECT window_start, region, events, ids, revenue FROM activity
    WHERE window_size = INTERVAL '1 minute' ORDER BY 1, 2";

fn line(id: i64, second: i64) -> String {
    let region = ["eu", "us", "ap"][(id % 3) as usize];
    format!(
        r#"{{"id":{},"region":"{region}","amount":{},"timestamp":"2026-01-01T{:02}:{:02}:{:02}Z"}}"#,
        id % 50,
        id % 7,
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Events in order, every twentieth half an hour late.
fn lines(range: std::ops::Range<i64>) -> impl Iterator<Item = String> {
    range.map(|id| line(id, if id % 20 == 19 { (7200 + id - 1800).max(0) } else { 7200 + id }))
}

#[tokio::test]
async fn a_view_equals_the_batch_over_the_rows_on_time() {
    let mut rig = Rig::new();
    rig.outside.produce("0", lines(0..1000));
    rig.outside.produce("1", lines(0..1000));
    rig.sql(EVENTS).await;
    rig.sql(ACTIVITY).await;
    rig.flush().await;
    assert_eq!(rig.query(LIVE).await, rig.query(BATCH).await);
    let sums = "SELECT window_size, sum(events) AS events FROM activity GROUP BY 1 ORDER BY events";
    let sums = rig.query(sums).await;
    let counted: Vec<&str> = sums.lines().filter(|line| line.contains("min")).collect();
    assert_eq!(counted.len(), 2, "{sums}");
    let events = |line: &str| line.rsplit('|').nth(1).map(|text| text.trim().to_owned());
    assert_eq!(events(counted[0]), events(counted[1]), "the sizes add up: {sums}");
}

#[tokio::test]
async fn late_rows_are_counted_left_out_and_readable() {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    rig.sql(ACTIVITY).await;
    rig.outside.produce("0", lines(0..500));
    rig.flush().await;
    let late = rig.query("SELECT count(*) AS n FROM \"events$late\"").await;
    let accounted = rig.query("SELECT late AS n FROM accounting WHERE job = 'activity'").await;
    assert_eq!(late, accounted);
    let odd = "SELECT count(*) AS n FROM accounting WHERE consumed <> emitted + late + dead_lettered + filtered";
    assert!(rig.query(odd).await.contains("| 0 |"));
}

#[tokio::test]
async fn what_cannot_become_a_row_is_kept_with_its_reason() {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    rig.outside.produce("0", [line(1, 1), "{broken".to_owned(), line(2, 2).replace("ap", "nowhere")]);
    rig.flush().await;
    let letters = rig.query("SELECT _offset, reason FROM \"events$dlq\" WHERE _offset = 2").await;
    assert!(letters.contains("violates check constraint \"events_region_check\""), "{letters}");
    assert!(rig.query("SELECT count(*) AS n FROM \"events$dlq\"").await.contains("| 2 |"));
    assert!(rig.query("SELECT count(*) AS n FROM events").await.contains("| 1 |"));
}

/// The rig has three lanes; a step of four splits fills them.
#[tokio::test]
async fn splits_decoded_on_several_cores_give_the_same_answer() {
    let mut rig = Rig::new();
    for split in ["0", "1", "2", "3"] {
        let lines = lines(0..400).enumerate();
        let broken = |(at, line): (usize, String)| if at % 100 == 50 { format!("{{{split}") } else { line };
        rig.outside.produce(split, lines.map(broken));
    }
    rig.config.step_rows_max = 1_000;
    rig.sql(EVENTS).await;
    rig.sql(ACTIVITY).await;
    rig.flush().await;
    assert_eq!(rig.query(LIVE).await, rig.query(BATCH).await);
    let letters =
        "SELECT _partition, array_agg(_offset ORDER BY _offset) AS at FROM \"events$dlq\" GROUP BY 1 ORDER BY 1";
    let letters = rig.query(letters).await;
    for split in 0..4 {
        assert!(letters.contains(&format!("| {split}          | [50, 150, 250, 350] |")), "{letters}");
    }
    let odd = "SELECT count(*) AS n FROM accounting WHERE consumed <> 400";
    assert!(rig.query(odd).await.contains("| 0 |"));
}

/// Only what jobs read is made of a record, and a record is judged by all of it.
#[tokio::test]
async fn what_no_job_reads_is_checked_and_a_view_added_later_has_its_columns() {
    let mut rig = Rig::new();
    rig.sql(
        "CREATE STREAM events (id BIGINT NOT NULL, region TEXT, note TEXT NOT NULL,
             metadata STRUCT<amount DOUBLE, platform TEXT>, timestamp TIMESTAMPTZ NOT NULL,
             platform TEXT AS (metadata['platform']),
             WATERMARK FOR timestamp AS timestamp - INTERVAL '10 seconds'
         ) WITH (connector = 'test', idle_timeout = '1 hour')",
    )
    .await;
    let line = |id: i64, note: &str| {
        let metadata = format!(r#"{{"amount":{id},"platform":"p{}"}}"#, id % 2);
        format!(r#"{{"id":{id},"region":"eu","note":{note},"metadata":{metadata},"timestamp":"2026-01-01T00:00:00Z"}}"#)
    };
    rig.sql(
        "CREATE MATERIALIZED VIEW sums AS SELECT region, sum(metadata['amount']) AS amount FROM events GROUP BY region",
    )
    .await;
    rig.outside.produce("0", [line(1, "\"a\""), line(2, "7"), line(3, "null"), line(4, "\"b\"")]);
    rig.flush().await;
    assert!(rig.query("SELECT amount FROM sums").await.contains("| 5.0 "), "two of the four are rows");
    let rejected = "SELECT _offset FROM \"events$dlq\" WHERE _offset IN (1, 2)";
    assert!(rig.query(&rejected.replace("_offset FROM", "count(*) AS n FROM")).await.contains("| 2 "));

    rig.sql("CREATE MATERIALIZED VIEW notes AS SELECT id, note || '!' AS note FROM events WHERE platform = 'p1'").await;
    rig.sql("CREATE MATERIALIZED VIEW places AS SELECT _offset % 2 AS odd, count(_key) AS keys, min(_partition) AS partition, count(metadata) AS n FROM events GROUP BY 1").await;
    rig.flush().await;
    rig.outside.produce("0", [line(5, "\"c\""), line(6, "[]"), line(7, "\"d\"")]);
    rig.flush().await;
    assert!(rig.query("SELECT amount FROM sums").await.contains("| 17.0 "));
    let notes = rig.query("SELECT id, note FROM notes ORDER BY id").await;
    for row in ["| 1  | a!", "| 5  | c!", "| 7  | d!"] {
        assert!(notes.contains(row), "{row} in {notes}");
    }
    assert_eq!(notes.lines().count(), 7, "{notes}");
    let places = rig.query("SELECT odd, partition, n FROM places ORDER BY odd").await;
    assert!(places.contains("| 0   | 0         | 3 ") && places.contains("| 1   | 0         | 1 "), "{places}");
    assert!(rig.query("SELECT count(*) AS n FROM \"events$dlq\"").await.contains("| 3 "));
}

#[tokio::test]
async fn a_view_created_later_equals_one_created_before() {
    let mut rig = Rig::new();
    rig.outside.produce("0", lines(0..700));
    rig.outside.produce("1", lines(0..900));
    rig.sql(EVENTS).await;
    rig.sql(ACTIVITY).await;
    rig.flush().await;
    rig.outside.produce("1", lines(900..1200));
    rig.flush().await;
    rig.sql(&ACTIVITY.replace("VIEW activity", "VIEW later")).await;
    rig.flush().await;
    let all = |view: &str| format!("SELECT * FROM {view} ORDER BY window_size, window_start, region");
    assert_eq!(rig.query(&all("activity")).await, rig.query(&all("later")).await);
}

#[tokio::test]
async fn killed_at_any_time_the_answer_is_the_same_and_every_row_is_in_the_sink_once() {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    rig.sql(ACTIVITY).await;
    rig.sql("CREATE SINK rows FROM events WITH (connector = 'test')").await;
    for round in 0..12 {
        rig.outside.produce("0", lines(round * 100..(round + 1) * 100));
        rig.outside.produce("1", lines(round * 100..(round + 1) * 100));
        if round % 3 == 2 {
            rig.flush().await;
        }
        rig.kill();
        rig.start().await;
    }
    rig.flush().await;
    assert_eq!(rig.query(LIVE).await, rig.query(BATCH).await);
    let rows: usize = rig.outside.committed.lock().0.iter().map(arrow::array::RecordBatch::num_rows).sum();
    assert_eq!(rows, 2400);
    let counted = "SELECT job, sum(consumed) AS consumed FROM accounting GROUP BY job HAVING sum(consumed) <> 2400";
    assert!(!rig.query(counted).await.contains("| 2"), "every job has consumed each record once");
}

#[tokio::test]
async fn a_window_that_emits_on_close_appears_once_and_stays_after_a_kill() {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    rig.sql(
        "CREATE MATERIALIZED VIEW final AS SELECT window_start, count(*) AS events
             FROM TUMBLE(events, timestamp, INTERVAL '1 minute') GROUP BY window_start EMIT ON WINDOW CLOSE",
    )
    .await;
    rig.outside.produce("0", (0..130).map(|second| line(second, second)));
    rig.flush().await;
    let all = "SELECT * FROM final ORDER BY window_start";
    let before = rig.query(all).await;
    assert_eq!(before.lines().filter(|line| line.contains("60")).count(), 1, "one window has closed: {before}");
    rig.kill();
    rig.start().await;
    rig.outside.produce("0", (130..140).map(|second| line(second, second)));
    rig.flush().await;
    let after = rig.query(all).await;
    assert_eq!(after.lines().filter(|line| line.contains("| 60 ")).count(), 2, "{after}");
}

#[tokio::test]
async fn an_idle_split_does_not_hold_windows_open_and_a_new_one_is_read() {
    let mut rig = Rig::new();
    rig.sql(&EVENTS.replace("1 hour", "10 ms")).await;
    rig.sql(
        "CREATE MATERIALIZED VIEW final AS SELECT window_start, count(*) AS events
             FROM TUMBLE(events, timestamp, INTERVAL '1 minute') GROUP BY window_start EMIT ON WINDOW CLOSE",
    )
    .await;
    rig.outside.produce("0", [line(0, 0)]);
    rig.flush().await;
    rig.outside.produce("1", [line(0, 1), line(0, 90)]);
    rig.flush().await;
    loop {
        if rig.query("SELECT * FROM final").await.contains("| 2 ") {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn running_groups_filters_and_having_follow_the_stream() {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    rig.sql("CREATE MATERIALIZED VIEW totals AS SELECT region, count(*) FILTER (WHERE amount > 3) AS large, avg(amount) AS mean,
             approx_distinct(id) AS ids, array_agg(DISTINCT amount ORDER BY amount) AS amounts
             FROM events WHERE region <> 'ap' GROUP BY region HAVING count(*) > 10").await;
    rig.outside.produce("0", lines(0..30));
    rig.flush().await;
    assert!(!rig.query("SELECT * FROM totals").await.contains("eu"), "ten rows are not more than ten");
    rig.outside.produce("0", lines(30..300));
    rig.flush().await;
    let live = rig.query("SELECT region, large, mean, ids FROM totals ORDER BY region").await;
    let batch =
        "SELECT region, count(*) FILTER (WHERE amount > 3) AS large, avg(amount) AS mean, approx_distinct(id) AS ids
                 FROM events WHERE region <> 'ap' GROUP BY region HAVING count(*) > 10 ORDER BY region";
    assert_eq!(live, rig.query(batch).await);
    rig.kill();
    rig.start().await;
    rig.flush().await;
    assert_eq!(live, rig.query("SELECT region, large, mean, ids FROM totals ORDER BY region").await);
    assert!(rig.query("SELECT filtered FROM accounting WHERE job = 'totals'").await.contains("| 100 "));
}

#[tokio::test]
async fn a_table_holds_the_newest_row_per_key() {
    let mut rig = Rig::new();
    rig.sql("CREATE TABLE users (id BIGINT PRIMARY KEY, tier TEXT) WITH (connector = 'test')").await;
    rig.outside.produce("0", (0..300).map(|at| format!(r#"{{"id":{},"tier":"t{at}"}}"#, at % 3)));
    rig.flush().await;
    rig.kill();
    rig.start().await;
    rig.flush().await;
    let rows = rig.query("SELECT * FROM users ORDER BY id").await;
    assert!(rows.contains("t297") && rows.contains("t298") && rows.contains("t299"), "{rows}");
    assert!(rig.query("SELECT count(*) AS n FROM users").await.contains("| 3 |"));
}

#[tokio::test]
async fn two_instances_on_one_state_are_fenced() {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    rig.flush().await;
    let mut second = rig.twin();
    second.start().await;
    second.flush().await;
    rig.outside.produce("0", lines(0..10));
    let fenced = rig.try_flush().await.expect_err("the older instance stops");
    assert!(fenced.contains("another process runs \"events\""), "{fenced}");
    second.flush().await;
    assert!(second.query("SELECT consumed AS n FROM accounting WHERE job = 'events'").await.contains("| 10 |"));
}
