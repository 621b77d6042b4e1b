//! Time and memory of a view grow no faster than the rows of one key, or the number of keys.

use super::rig::Rig;

const READINGS: &str = "CREATE STREAM readings (
    id BIGINT NOT NULL, device TEXT, at TIMESTAMPTZ NOT NULL, WATERMARK FOR at AS at - INTERVAL '1 minute'
) WITH (connector = 'test', idle_timeout = '1 hour');";
const SESSIONS: &str = "CREATE MATERIALIZED VIEW visits AS SELECT device, count(*) AS n, min(id) AS first
    FROM readings GROUP BY device WINDOW SESSION (at, INTERVAL '6 milliseconds');
    CREATE MATERIALIZED VIEW ended AS SELECT device, count(*) AS n, min(id) AS first
    FROM readings GROUP BY device WINDOW SESSION (at, INTERVAL '6 milliseconds') EMIT ON WINDOW CLOSE;";

fn reading(id: i64, ms: i64, device: &str) -> String {
    let time = format!("2026-01-01T00:{:02}:{:02}.{:03}Z", ms / 60_000, ms / 1_000 % 60, ms % 1_000);
    format!(r#"{{"id":{id},"device":"{device}","at":"{time}"}}"#)
}

/// Sessions by gaps between rows in order: how many, rows in all, and the largest.
const BATCH: &str = "SELECT count(*) AS sessions, sum(n) AS readings, max(n) AS most FROM (
    SELECT device, island, count(*) AS n FROM (
        SELECT device, sum(opens) OVER (PARTITION BY device ORDER BY at) AS island FROM (
            SELECT device, at, CASE WHEN at - lag(at) OVER (PARTITION BY device ORDER BY at) < INTERVAL '6 milliseconds'
                THEN 0 ELSE 1 END AS opens FROM readings) AS marked) AS numbered
    GROUP BY device, island) AS grouped";
const LIVE: &str = "SELECT count(*) AS sessions, sum(n) AS readings, max(n) AS most FROM visits";

#[tokio::test]
async fn very_many_sessions_of_one_key_are_each_there_once_also_when_killed() {
    let mut rig = Rig::new();
    // A backlog comes in large steps.
    rig.config.step_rows_max = 16_384;
    rig.sql(&format!("{READINGS}{SESSIONS}")).await;
    // Ten milliseconds apart: each is a session. One in seven comes later.
    let at = |id: i64| if id % 7 == 0 { (id - 40).max(0) * 10 + 3 } else { id * 10 };
    rig.outside.produce("0", (0..40_000).map(|id| reading(id, at(id), "eu")));
    rig.flush().await;
    let before = rig.query(LIVE).await;
    assert_eq!(before, rig.query(BATCH).await);
    rig.kill();
    rig.start().await;
    rig.flush().await;
    assert_eq!(rig.query(LIVE).await, before);
    // Rows between the newest sessions make one of each two, and of some all.
    let between = (39_000..39_500).step_by(2).chain(39_600..39_700);
    rig.outside.produce("0", between.map(|id| reading(100_000 + id, id * 10 + 5, "eu")));
    rig.flush().await;
    let joined = rig.query(LIVE).await;
    assert_ne!(joined, before);
    assert_eq!(joined, rig.query(BATCH).await);
    // All of them end at once.
    rig.outside.produce("0", [reading(1, 3_000_000, "eu"), reading(2, 3_599_000, "eu")]);
    rig.flush().await;
    let all = rig.query("SELECT count(*) AS n FROM ended").await;
    let batch = rig.query("SELECT count(*) - 1 AS n FROM visits").await;
    assert_eq!(all, batch);
}

#[tokio::test]
async fn a_percentile_of_very_many_keys_takes_the_memory_of_its_values() {
    let mut rig = Rig::new();
    rig.config.step_rows_max = 16_384;
    rig.sql(&format!(
        "{READINGS} CREATE MATERIALIZED VIEW middle WITH (memory_limit = '256 MB') AS
         SELECT device, percentile_cont(0.5) WITHIN GROUP (ORDER BY id) AS p, mode() WITHIN GROUP (ORDER BY id) AS m
         FROM readings GROUP BY device"
    ))
    .await;
    rig.outside.produce("0", (0..30_000).map(|id| reading(id, id, &format!("device {}", id % 20_000))));
    rig.flush().await;
    let live = rig.query("SELECT count(*) AS n, sum(p) AS p, sum(m) AS m FROM middle").await;
    let batch = "SELECT count(*) AS n, sum(p) AS p, sum(m) AS m FROM (
        SELECT device, avg(id)::double precision AS p, min(id) AS m FROM readings GROUP BY device) AS each";
    assert_eq!(live, rig.query(batch).await);
}

#[tokio::test]
async fn a_step_that_joins_more_pairs_than_fit_into_memory_is_joined_in_parts() {
    let mut rig = Rig::new();
    rig.config.step_rows_max = 100_000;
    rig.config.view_rows_max = 1_000_000;
    for side in ["a", "b"] {
        rig.outside.produce(side, (0..1_500).map(|id| reading(id, 0, "one")));
        rig.sql(&format!(
            "CREATE STREAM {side} (id BIGINT, device TEXT, at TIMESTAMPTZ NOT NULL,
                WATERMARK FOR at AS at - INTERVAL '10 seconds') WITH (connector = 'test', splits = '{side}')"
        ))
        .await;
    }
    let join = "FROM a FULL JOIN b ON a.device = b.device AND b.at BETWEEN a.at AND a.at + INTERVAL '1 second'";
    rig.sql(&format!("CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n, sum(a.id - b.id) AS d {join}")).await;
    rig.sql(&format!("CREATE MATERIALIZED VIEW pairs AS SELECT a.id AS x, b.id AS y {join} AND a.id = b.id")).await;
    rig.flush().await;
    assert!(rig.query("SELECT n, d FROM counted").await.contains("| 2250000 | 0 |"));
    assert!(rig.query("SELECT count(*) AS n, sum(x - y) AS d FROM pairs").await.contains("| 1500 | 0 |"));
    // A view of all pairs has more rows than a view may have, and says so.
    rig.sql(&format!("CREATE MATERIALIZED VIEW all_pairs AS SELECT a.id AS x, b.id AS y {join}")).await;
    let failed = rig.try_flush().await.expect_err("too many rows");
    assert!(failed.contains("\"all_pairs\" has failed: 53200: "), "{failed}");
    assert!(rig.query("SELECT n, d FROM counted").await.contains("| 2250000 | 0 |"));
}
