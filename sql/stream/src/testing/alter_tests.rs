//! Pausing, resuming, swapping and outgrowing: what a user of `ALTER` would notice.

use super::rig::Rig;

const EVENTS: &str = "CREATE STREAM events (
    id BIGINT NOT NULL, region TEXT, timestamp TIMESTAMPTZ NOT NULL,
    WATERMARK FOR timestamp AS timestamp - INTERVAL '10 seconds'
) WITH (connector = 'test', idle_timeout = '1 hour')";

/// Events in order, every twentieth half an hour late.
fn lines(range: std::ops::Range<i64>) -> impl Iterator<Item = String> {
    range.map(|id| {
        let second = if id % 20 == 19 { 5400 + id } else { 7200 + id };
        let (region, hour) = (["eu", "us", "ap"][(id % 3) as usize], second / 3600);
        let (minute, second) = (second / 60 % 60, second % 60);
        format!(r#"{{"id":{id},"region":"{region}","timestamp":"2026-01-01T{hour:02}:{minute:02}:{second:02}Z"}}"#)
    })
}

fn windowed(name: &str) -> String {
    format!(
        "CREATE MATERIALIZED VIEW {name} AS SELECT region, count(*) AS events, sum(id) AS ids FROM events GROUP BY region
         WINDOW TUMBLE (timestamp, INTERVAL '1 minute', INTERVAL '5 minutes')"
    )
}

async fn rows(rig: &Rig, view: &str) -> String {
    rig.query(&format!("SELECT * FROM {view} ORDER BY window_size, window_start, region")).await
}

async fn state(rig: &Rig, job: &str) -> String {
    let found = rig.query(&format!("SELECT state FROM jobs WHERE name = '{job}'")).await;
    found.lines().nth(3).unwrap_or_default().trim_matches(['|', ' ']).to_owned()
}

#[tokio::test]
async fn a_paused_view_stands_still_and_comes_back_exact() {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    for view in ["steady", "halted"] {
        rig.sql(&windowed(view)).await;
    }
    rig.outside.produce("0", lines(0..500));
    rig.flush().await;
    let before = rows(&rig, "halted").await;
    rig.sql("ALTER MATERIALIZED VIEW halted PAUSE").await;
    assert_eq!(state(&rig, "halted").await, "paused");
    rig.outside.produce("0", lines(500..1500));
    rig.flush().await;
    assert_eq!(rows(&rig, "halted").await, before);
    assert_ne!(rows(&rig, "steady").await, before, "the others go on");
    let lags = rig.query("SELECT name || ' ' || lag AS lag FROM jobs ORDER BY name").await;
    assert!(["| events 0", "| halted 1000 |", "| steady 0"].iter().all(|line| lags.contains(line)), "{lags}");

    rig.kill();
    rig.start().await;
    rig.flush().await;
    assert_eq!((state(&rig, "halted").await, rows(&rig, "halted").await), ("paused".to_owned(), before));

    rig.sql("ALTER MATERIALIZED VIEW halted RESUME").await;
    rig.outside.produce("0", lines(1500..1700));
    rig.flush().await;
    assert_eq!(state(&rig, "halted").await, "running");
    assert_eq!(rows(&rig, "halted").await, rows(&rig, "steady").await);
    let counts = |job: &str| format!("SELECT consumed, emitted, late FROM accounting WHERE job = '{job}'");
    assert_eq!(rig.query(&counts("halted")).await, rig.query(&counts("steady")).await);
}

#[tokio::test]
async fn killed_at_any_time_around_a_pause_the_answer_is_the_same() {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    for view in ["steady", "halted"] {
        rig.sql(&windowed(view)).await;
    }
    for round in 0..12 {
        rig.outside.produce("0", lines(round * 100..(round + 1) * 100));
        let statement = if round % 2 == 0 { "PAUSE" } else { "RESUME" };
        rig.sql(&format!("ALTER MATERIALIZED VIEW halted {statement}")).await;
        if round % 3 == 1 {
            rig.flush().await;
        }
        rig.kill();
        rig.start().await;
    }
    rig.flush().await;
    assert_eq!(rows(&rig, "halted").await, rows(&rig, "steady").await);
}

#[tokio::test]
async fn a_paused_stream_is_not_read_and_nobody_waits_for_it() {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    rig.sql(&windowed("view")).await;
    rig.outside.produce("0", lines(0..100));
    rig.flush().await;
    rig.sql("ALTER STREAM events PAUSE").await;
    rig.outside.produce("0", lines(100..200));
    rig.flush().await;
    let consumed = "SELECT consumed AS n FROM accounting WHERE job = 'events'";
    assert!(rig.query(consumed).await.contains("| 100 |"));
    rig.kill();
    rig.start().await;
    rig.flush().await;
    assert_eq!(state(&rig, "events").await, "paused");
    assert!(rig.query(consumed).await.contains("| 100 |"));

    // A view that is made meanwhile gets what the stream has read.
    rig.sql(&windowed("later")).await;
    rig.flush().await;
    assert_eq!(rows(&rig, "later").await, rows(&rig, "view").await);

    rig.sql("ALTER STREAM events RESUME").await;
    rig.flush().await;
    assert!(rig.query(consumed).await.contains("| 200 |"));
    assert_eq!(rows(&rig, "later").await, rows(&rig, "view").await);
}

#[tokio::test]
async fn a_sink_gets_every_row_once_around_a_pause() {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    rig.sql("CREATE SINK out FROM events WITH (connector = 'test')").await;
    for round in 0..6 {
        rig.outside.produce("0", lines(round * 100..(round + 1) * 100));
        rig.sql(&format!("ALTER SINK out {}", if round % 2 == 0 { "PAUSE" } else { "RESUME" })).await;
        rig.flush().await;
    }
    let written: usize = rig.outside.committed.lock().0.iter().map(arrow::array::RecordBatch::num_rows).sum();
    assert_eq!(written, 600);
    assert!(rig.query("SELECT consumed AS n FROM accounting WHERE job = 'out'").await.contains("| 600 |"));
}

/// As after a `FLUSHALL`: what is outside is gone, or is what nobody wrote.
#[tokio::test]
async fn a_sink_that_is_rebuilt_writes_every_row_again() {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    rig.sql("CREATE MATERIALIZED VIEW few AS SELECT id % 3 AS n, count(*) AS c FROM events GROUP BY id % 3").await;
    rig.sql("CREATE SINK out FROM few WITH (connector = 'test')").await;
    rig.outside.produce("0", lines(0..90));
    rig.flush().await;
    let before = rig.outside.values.lock().clone();
    assert_eq!(before.len(), 3);
    for pause in [false, true] {
        rig.outside.values.lock().clear();
        if pause {
            rig.sql("ALTER SINK out PAUSE; ALTER SINK out REBUILD; ALTER SINK out RESUME").await;
        } else {
            rig.sql("ALTER SINK out REBUILD").await;
        }
        rig.flush().await;
        assert_eq!(*rig.outside.values.lock(), before);
    }
    // The number is in the catalog, and is not a reason to do it again at every start.
    rig.outside.produce("0", lines(90..93));
    rig.kill();
    rig.start().await;
    rig.flush().await;
    assert!(rig.query("SELECT state FROM sinks WHERE name = 'out'").await.contains("running"));
    assert_ne!(*rig.outside.values.lock(), before);
}

#[tokio::test]
async fn names_are_swapped_and_a_sink_follows_its_name() {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    let view = |name: &str, filter: &str| {
        format!(
            "CREATE MATERIALIZED VIEW {name} AS SELECT region, count(*) AS n FROM events WHERE {filter} GROUP BY region"
        )
    };
    rig.sql(&view("now", "region <> 'eu'")).await;
    rig.sql("CREATE SINK out FROM now WITH (connector = 'test')").await;
    rig.sql(&view("new", "region <> 'us' AND id % 2 = 0")).await;
    rig.outside.produce("0", lines(0..300));
    rig.flush().await;
    let values = |rig: &Rig| rig.outside.values.lock().values().cloned().collect::<Vec<_>>();
    assert_eq!(values(&rig), ["ap 100", "us 100"]);

    rig.sql("ALTER MATERIALIZED VIEW now SWAP WITH new").await;
    rig.flush().await;
    let all = |view: &str| format!("SELECT region || ' ' || n AS row FROM {view} ORDER BY region");
    assert!(rig.query(&all("now")).await.contains("| eu 50 |"), "at once, with the rows it has");
    assert!(rig.query(&all("new")).await.contains("| us 100 |"));
    assert_eq!(values(&rig), ["ap 50", "eu 50"], "what only the old view had is gone");

    rig.outside.produce("0", lines(300..600));
    rig.flush().await;
    assert_eq!(values(&rig), ["ap 100", "eu 100"]);
    rig.kill();
    rig.start().await;
    rig.sql("DROP MATERIALIZED VIEW new").await;
    rig.outside.produce("0", lines(600..900));
    rig.flush().await;
    assert_eq!(values(&rig), ["ap 150", "eu 150"]);
    assert_eq!(state(&rig, "now").await, "running");
}

#[tokio::test]
async fn a_value_that_went_while_the_view_was_paused_goes_outside_too() {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    rig.sql(
        "CREATE MATERIALIZED VIEW few AS SELECT region, count(*) AS n FROM events GROUP BY region HAVING count(*) < 150",
    )
    .await;
    rig.sql("CREATE SINK out FROM few WITH (connector = 'test')").await;
    rig.outside.produce("0", lines(0..300));
    rig.flush().await;
    assert_eq!(rig.outside.values.lock().len(), 3);
    rig.sql("ALTER MATERIALIZED VIEW few PAUSE").await;
    rig.outside.produce("0", lines(300..600));
    rig.flush().await;
    assert_eq!(rig.outside.values.lock().len(), 3);
    rig.sql("ALTER MATERIALIZED VIEW few RESUME").await;
    rig.flush().await;
    let sinks = rig.query("SELECT name, state, message FROM sinks").await;
    assert!(sinks.contains("| running |"), "{sinks}");
    assert_eq!(rig.outside.values.lock().len(), 0);
}

#[tokio::test]
async fn a_view_that_outgrows_its_memory_stops_alone_and_can_be_resumed() {
    let mut rig = Rig::new();
    rig.sql(EVENTS).await;
    rig.sql(&windowed("steady")).await;
    rig.sql(
        "CREATE MATERIALIZED VIEW large WITH (memory_limit = '64 kB', retention = '1 minute') AS
         SELECT id, count(*) AS n FROM events GROUP BY id WINDOW TUMBLE (timestamp, INTERVAL '1 minute')",
    )
    .await;
    // All in one window.
    let line = |id| format!(r#"{{"id":{id},"region":"eu","timestamp":"2026-01-01T02:00:{:02}Z"}}"#, id % 50);
    rig.outside.produce("0", (0..2_000).map(line));
    let flushed = rig.try_flush().await.expect_err("one of them failed");
    assert!(flushed.contains("\"large\" has failed: 53200: "), "{flushed}");
    assert_eq!((state(&rig, "large").await, state(&rig, "steady").await), ("failed".to_owned(), "running".to_owned()));
    let message = rig.query("SELECT message FROM jobs WHERE name = 'large'").await;
    assert!(
        message.contains("53200: \"large\" needs more memory than it may have: the limit is 65536 bytes"),
        "{message}"
    );

    // Hours later all of that is closed and expired.
    rig.outside.produce("0", lines(20_000..20_001));
    rig.try_flush().await.expect_err("it is failed still");
    assert_eq!(state(&rig, "large").await, "failed");
    rig.sql("ALTER MATERIALIZED VIEW large RESUME").await;
    rig.flush().await;
    assert_eq!(state(&rig, "large").await, "running");
    assert!(rig.query("SELECT count(*) AS n FROM large").await.contains("| 1 |"));
}
