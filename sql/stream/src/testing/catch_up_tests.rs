//! Many jobs that are behind their stream at once.

use std::time::Duration;

use super::rig::Rig;

/// Views that are made at once; more than may read at once.
const VIEWS: usize = 30;

fn stream(name: &str) -> String {
    format!(
        "CREATE STREAM {name} (id BIGINT NOT NULL, timestamp TIMESTAMPTZ NOT NULL,
            WATERMARK FOR timestamp AS timestamp - INTERVAL '10 seconds')
         WITH (connector = 'test', splits = '{name}')"
    )
}

fn view(number: usize, stream: &str) -> String {
    format!("CREATE MATERIALIZED VIEW {stream}_{number} AS SELECT id % 7 AS k, count(*) AS n FROM {stream} GROUP BY 1;")
}

fn views(numbers: std::ops::Range<usize>, stream: &str) -> String {
    numbers.map(|number| view(number, stream)).collect()
}

fn lines(range: std::ops::Range<i64>) -> impl Iterator<Item = String> {
    range.map(|id| format!(r#"{{"id":{id},"timestamp":"2026-01-01T00:{:02}:{:02}Z"}}"#, id / 60 % 60, id % 60))
}

/// With this many records read by the stream `a`.
async fn rig_behind(records: i64) -> Rig {
    let mut rig = Rig::new();
    rig.config.backoff_max = Duration::from_millis(20);
    rig.outside.produce("a", lines(0..records));
    rig.sql(&stream("a")).await;
    rig.flush().await;
    rig
}

async fn counted(rig: &Rig, view: &str) -> String {
    rig.query(&format!("SELECT sum(n) AS n FROM {view}")).await
}

async fn states(rig: &Rig) -> String {
    rig.query("SELECT state, count(*) AS n FROM jobs GROUP BY 1 ORDER BY 1").await
}

#[tokio::test]
async fn views_made_at_once_read_the_stream_a_few_at_a_time() {
    let mut rig = rig_behind(500).await;
    rig.outside.readers_most();
    rig.sql(&views(0..VIEWS, "a")).await;
    rig.flush().await;
    let most = rig.outside.readers_most();
    // The stream's own is one of them.
    assert!((2..=1 + rig.config.view_catch_ups_max).contains(&most), "{most} readers at once");
    for number in [0, 1, VIEWS / 2, VIEWS - 1] {
        assert!(counted(&rig, &format!("a_{number}")).await.contains("| 500 "), "view {number}");
    }
    assert!(states(&rig).await.contains(&format!("| running | {} ", VIEWS + 1)), "{}", states(&rig).await);
}

#[tokio::test]
async fn a_view_that_waits_for_its_turn_can_be_paused_resumed_and_dropped() {
    let mut rig = rig_behind(300).await;
    *rig.outside.silent.lock() = Some("a".to_owned());
    rig.sql(&views(0..VIEWS, "a")).await;
    let (paused, dropped, resumed) = (VIEWS - 1, VIEWS - 2, VIEWS - 3);
    rig.sql(&format!("ALTER MATERIALIZED VIEW a_{paused} PAUSE; ALTER MATERIALIZED VIEW a_{resumed} PAUSE;")).await;
    rig.sql(&format!("DROP MATERIALIZED VIEW a_{dropped}; ALTER MATERIALIZED VIEW a_{resumed} RESUME;")).await;
    // Those that read are stopped too, although nothing comes.
    rig.sql("DROP MATERIALIZED VIEW a_0; ALTER MATERIALIZED VIEW a_1 PAUSE;").await;
    *rig.outside.silent.lock() = None;
    rig.flush().await;
    assert!(counted(&rig, &format!("a_{resumed}")).await.contains("| 300 "));
    let running = VIEWS - 4 + 1;
    let stand = states(&rig).await;
    assert!(stand.contains("| paused  | 2 ") && stand.contains(&format!("| running | {running} ")), "{stand}");
    rig.sql(&format!("ALTER MATERIALIZED VIEW a_{paused} RESUME; ALTER MATERIALIZED VIEW a_1 RESUME;")).await;
    rig.flush().await;
    for number in [1, 2, paused] {
        assert!(counted(&rig, &format!("a_{number}")).await.contains("| 300 "), "view {number}");
    }
}

#[tokio::test]
async fn a_source_that_is_down_keeps_no_view_of_another_waiting() {
    let mut rig = rig_behind(300).await;
    rig.outside.produce("down", lines(0..200));
    rig.sql(&stream("down")).await;
    rig.flush().await;
    *rig.outside.silent.lock() = Some("down".to_owned());
    rig.sql(&views(0..VIEWS, "down")).await;
    rig.sql(&views(0..3, "a")).await;
    let stand = "SELECT count(*) AS n FROM jobs WHERE name LIKE 'a%' AND state = 'running'";
    let mut looks = 0;
    while !rig.query(stand).await.contains("| 4 ") {
        looks += 1;
        assert!(looks < 100_000, "views of a stream that is there wait for one that is not");
        tokio::task::yield_now().await;
    }
    assert!(counted(&rig, "a_2").await.contains("| 300 "));
    *rig.outside.silent.lock() = None;
    rig.flush().await;
    assert!(counted(&rig, &format!("down_{}", VIEWS - 1)).await.contains("| 200 "));
}

#[tokio::test]
async fn sinks_made_at_once_read_the_stream_a_few_at_a_time_and_lose_nothing() {
    let mut rig = rig_behind(400).await;
    rig.config.sink_catch_ups_max = 2;
    rig.kill();
    rig.start().await;
    rig.outside.forgets.store(true, std::sync::atomic::Ordering::Relaxed);
    rig.outside.readers_most();
    let sinks: String = (0..8).map(|sink| format!("CREATE SINK s{sink} FROM a WITH (connector = 'test');")).collect();
    rig.sql(&sinks).await;
    rig.flush().await;
    assert!(rig.outside.readers_most() <= 3);
    let rows: usize = rig.outside.committed.lock().0.iter().map(arrow::array::RecordBatch::num_rows).sum();
    assert_eq!(rows, 8 * 400);
}

#[tokio::test]
async fn a_view_whose_definition_changes_while_it_catches_up_begins_again() {
    let mut rig = rig_behind(300).await;
    rig.sql("CREATE MATERIALIZED VIEW x AS SELECT id % 7 AS k, id AS i FROM a").await;
    rig.sql("CREATE MATERIALIZED VIEW y AS SELECT id % 3 AS k, id AS i FROM a WHERE id < 200").await;
    rig.flush().await;
    *rig.outside.silent.lock() = Some("a".to_owned());
    let over = |name: &str| format!("CREATE MATERIALIZED VIEW {name} AS SELECT k, count(*) AS n FROM x GROUP BY k");
    rig.sql(&format!("{};{}", over("going"), over("held"))).await;
    rig.sql("ALTER MATERIALIZED VIEW held PAUSE").await;
    for _ in 0..3 {
        rig.sql("ALTER MATERIALIZED VIEW x SWAP WITH y").await;
    }
    *rig.outside.silent.lock() = None;
    rig.flush().await;
    rig.sql("ALTER MATERIALIZED VIEW held RESUME").await;
    rig.flush().await;
    let batch = rig.query("SELECT k, count(*) AS n FROM x GROUP BY k ORDER BY k").await;
    assert!(batch.contains("| 2 | 66 ") && !batch.contains("| 3 |"), "{batch}");
    for view in ["going", "held"] {
        assert_eq!(rig.query(&format!("SELECT k, n FROM {view} ORDER BY k")).await, batch, "{view}");
    }
}
