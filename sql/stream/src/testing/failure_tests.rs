//! What fails says so: the view that failed, whoever reads it, `FLUSH`, and the alerts on it. The others go on.

use super::rig::Rig;

const READINGS: &str = "CREATE STREAM readings (
    id BIGINT NOT NULL, x BIGINT, timestamp TIMESTAMPTZ NOT NULL,
    WATERMARK FOR timestamp AS timestamp - INTERVAL '10 seconds'
) WITH (connector = 'test', idle_timeout = '1 hour');";
/// Looks before something counts as never coming.
const LOOKS_MAX: usize = 20_000;

fn reading(id: i64, x: i64) -> String {
    format!(r#"{{"id":{id},"x":{x},"timestamp":"2026-01-01T00:{:02}:{:02}Z"}}"#, id / 60 % 60, id % 60)
}

async fn state(rig: &Rig, job: &str) -> String {
    rig.query(&format!("SELECT state, message FROM jobs WHERE name = '{job}'")).await
}

async fn with(views: &[&str], rows: &[(i64, i64)]) -> Rig {
    let mut rig = Rig::new();
    rig.sql(READINGS).await;
    for view in views {
        // One that says otherwise leaves out what it cannot be computed for.
        let view = match view.contains(" WITH (") {
            true => view.replacen(" WITH (", " WITH (on_error = 'stop', ", 1),
            false => view.replacen(" AS ", " WITH (on_error = 'stop') AS ", 1),
        };
        rig.sql(&format!("CREATE MATERIALIZED VIEW {view}")).await;
    }
    rig.outside.produce("0", rows.iter().map(|(id, x)| reading(*id, *x)));
    rig
}

#[tokio::test]
async fn whoever_reads_a_failed_view_and_flush_hear_of_it_and_the_others_go_on() {
    let views = [
        "v AS SELECT id, 10 / x AS y FROM readings",
        "g AS SELECT x % 2 AS odd, sum(10 / x) AS s FROM readings GROUP BY x % 2",
        "f AS SELECT count(*) AS n FROM (SELECT 10 / x AS y, count(*) AS c FROM readings GROUP BY 10 / x)",
        "steady AS SELECT count(*) AS n, sum(x) AS x FROM readings",
    ];
    let rig = with(&views, &[(1, 5), (2, 0), (3, 2)]).await;
    let flushed = rig.try_flush().await.expect_err("three views failed");
    for name in ["v", "g", "f"] {
        assert!(flushed.contains(&format!("\"{name}\"")), "{flushed}");
        let read = rig.try_query(&format!("SELECT * FROM {name}")).await.expect_err("it failed");
        assert!(read.contains(&format!("materialized view \"{name}\" has failed: 22012: ")), "{read}");
        let state = state(&rig, name).await;
        assert!(state.contains("| failed | 22012: "), "{state}");
    }
    assert!(!flushed.contains("steady"), "{flushed}");
    assert!(rig.query("SELECT * FROM steady").await.contains("| 3 | 7 |"));
    let both = rig.try_query("SELECT * FROM steady, v").await.expect_err("one of them failed");
    assert!(both.contains("\"v\" has failed"), "{both}");
}

#[tokio::test]
async fn a_failed_job_stays_in_the_accounting() {
    let rig = with(&["v AS SELECT id, 10 / x AS y FROM readings"], &[(1, 5), (3, 2)]).await;
    rig.flush().await;
    rig.outside.produce("0", [reading(4, 0)]);
    rig.try_flush().await.expect_err("it failed");
    let counted = rig.query("SELECT consumed, emitted FROM accounting WHERE job = 'v'").await;
    assert!(counted.contains("| 2        | 2       |"), "{counted}");
    let of_stream = rig.query("SELECT consumed FROM accounting WHERE job = 'readings'").await;
    assert!(of_stream.contains("| 3        |"), "{of_stream}");
}

#[tokio::test]
async fn resume_goes_on_behind_the_rows_that_cannot_be_computed() {
    let views = [
        "v AS SELECT id, 10 / x AS y FROM readings",
        "g AS SELECT x > 2 AS large, sum(10 / x) AS s, count(*) AS n FROM readings GROUP BY x > 2",
        "f AS SELECT DISTINCT 10 / x AS y FROM readings",
        "h AS SELECT x < 99 AS k, sum(10 / x) AS s FROM readings GROUP BY x < 99 HAVING 10 / (count(*) - 1) < 9",
    ];
    let mut rig = with(&views, &[(1, 5), (2, 0), (3, 2), (4, 0), (5, 1)]).await;
    rig.try_flush().await.expect_err("all failed");
    for view in ["v", "g", "f", "h"] {
        rig.sql(&format!("ALTER MATERIALIZED VIEW {view} RESUME")).await;
    }
    rig.outside.produce("0", [reading(6, 10)]);
    rig.flush().await;
    assert!(rig.query("SELECT count(*) AS n, sum(y) AS y FROM v").await.contains("| 4 | 18 |"));
    let groups = rig.query("SELECT large, s, n FROM g ORDER BY large").await;
    assert!(groups.contains("| false | 15 | 2 |") && groups.contains("| true  | 3  | 2 |"), "{groups}");
    assert!(rig.query("SELECT count(*) AS n FROM f").await.contains("| 4 |"));
    // Of a group of one row the condition cannot be computed, which says nothing about the row.
    assert!(rig.query("SELECT k, s FROM h").await.contains("| true | 18 |"));
    let message = state(&rig, "v").await;
    assert!(message.contains("2 rows were left out when it was resumed; the first: 22012: "), "{message}");
    assert!(message.contains("offset 1)"), "{message}");
    let counted = rig.query("SELECT consumed, emitted, failed FROM accounting WHERE job = 'v'").await;
    assert!(counted.contains("| 6        | 4       | 2      |"), "{counted}");
    // The next one fails it again: nothing is left out that nobody has said a word about.
    rig.outside.produce("0", [reading(7, 0)]);
    rig.try_flush().await.expect_err("failed again");
}

#[tokio::test]
async fn a_failed_view_is_tried_again_by_a_restart_and_says_why_it_fails() {
    let mut rig = with(&["v AS SELECT id, 10 / x AS y FROM readings"], &[(1, 5), (2, 0)]).await;
    rig.try_flush().await.expect_err("it failed");
    rig.kill();
    rig.start().await;
    let flushed = rig.try_flush().await.expect_err("it failed again");
    assert!(flushed.contains("materialized view \"v\" has failed: 22012: "), "{flushed}");
    rig.sql("DROP MATERIALIZED VIEW v").await;
    rig.flush().await;
}

#[tokio::test]
async fn a_view_on_a_failed_view_has_a_state_of_its_own() {
    let views = [
        "v WITH (memory_limit = '64 kB') AS SELECT id, x FROM readings",
        "w AS SELECT count(*) AS n FROM v",
        "bad AS SELECT id, 10 / x AS y FROM readings",
        "on_bad AS SELECT sum(y) AS y FROM bad",
    ];
    let rows: Vec<(i64, i64)> = (0..40_000).map(|id| (id, id % 7)).collect();
    let rig = with(&views, &rows).await;
    let flushed = rig.try_flush().await.expect_err("three failed");
    assert!(flushed.contains("\"v\"") && flushed.contains("\"bad\"") && flushed.contains("\"on_bad\""), "{flushed}");
    // It is computed from the stream, and not from the rows of the view that failed.
    assert!(rig.query("SELECT n FROM w").await.contains("| 40000 |"));
}

#[tokio::test]
async fn an_alert_on_a_failed_view_is_not_normal() {
    let mut rig = with(&["v AS SELECT id, x, 10 / x AS y FROM readings"], &[(1, 5), (2, 1)]).await;
    rig.sql("CREATE ALERT high ON v WHEN y > 9 BY (id)").await;
    rig.sql("CREATE ALERT none ON v WHEN y > 100 NO DATA AFTER INTERVAL '1 millisecond' BY (x)").await;
    rig.sql("CREATE ALERT odd ON v WHEN 10 / (y - 2) > 0").await;
    rig.flush().await;
    let high = "SELECT key, state, message FROM alerts WHERE name = 'high' ORDER BY key";
    until(&rig, high, r#"{"id":"1"} | normal"#).await;
    until(&rig, high, r#"{"id":"2"} | firing"#).await;
    until(&rig, "SELECT key, state, message FROM alerts WHERE name = 'odd'", "| {}  | unknown | 22012: ").await;
    rig.outside.produce("0", [reading(3, 0)]);
    rig.try_flush().await.expect_err("it failed");
    until(&rig, high, r#"{"id":"1"} | unknown | materialized view "v" has failed: 22012: "#).await;
    until(&rig, high, r#"{"id":"2"} | firing  | materialized view "v" has failed"#).await;
    until(&rig, "SELECT key, state FROM alerts WHERE name = 'none' ORDER BY key", r#"{"x":"1"} | firing"#).await;
}

async fn until(rig: &Rig, sql: &str, wanted: &str) {
    for _ in 0..LOOKS_MAX {
        if rig.query(sql).await.contains(wanted) {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("never {wanted}: {}", rig.query(sql).await);
}

#[tokio::test]
async fn the_same_key_twice_is_one_key() {
    let views = [
        "a AS SELECT x, sum(id) AS s FROM readings GROUP BY x, x",
        "b AS SELECT x + 1 AS h, x + 1 AS k, count(*) AS n FROM readings GROUP BY 1, 2",
        "c AS SELECT x, seven, count(*) AS n FROM (SELECT x, 7 AS seven FROM readings) GROUP BY x, seven, x",
        "d AS SELECT h, k, n FROM (SELECT x AS h, x AS k, count(*) AS n FROM readings GROUP BY x, x) WHERE n > 1",
        "e AS SELECT x, count(*) AS n FROM readings GROUP BY x, x WINDOW TUMBLE (timestamp, INTERVAL '1 minute')",
        "f AS SELECT x, count(*) AS n FROM readings GROUP BY x, x WINDOW SESSION (timestamp, INTERVAL '1 minute')",
        "j AS SELECT x AS h, x AS k, max(id) AS m FROM (SELECT x, id FROM readings ORDER BY id DESC LIMIT 2) GROUP BY x, x",
    ];
    let rig = with(&views, &[(1, 1), (2, 1), (3, 2)]).await;
    rig.flush().await;
    for (view, columns, rows) in [
        ("a", "x, s", &["| 1 | 3 |", "| 2 | 3 |"][..]),
        ("b", "h, k, n", &["| 2 | 2 | 2 |", "| 3 | 3 | 1 |"]),
        ("c", "x, seven, n", &["| 1 | 7     | 2 |", "| 2 | 7     | 1 |"]),
        ("d", "h, k, n", &["| 1 | 1 | 2 |"]),
        ("e", "x, n", &["| 1 | 2 |", "| 2 | 1 |"]),
        ("f", "x, n", &["| 1 | 2 |", "| 2 | 1 |"]),
        ("j", "h, k, m", &["| 1 | 1 | 2 |", "| 2 | 2 | 3 |"]),
    ] {
        let found = rig.query(&format!("SELECT {columns} FROM {view} ORDER BY 1")).await;
        rows.iter().for_each(|row| assert!(found.contains(row), "{view}: {found}"));
    }
}

#[tokio::test]
async fn functions_are_not_asked_about_no_rows() {
    let views = [
        "c AS SELECT id, ceil(CAST(x AS NUMERIC(10,2)) + 0.5) AS y FROM readings WHERE id < 0",
        "d AS SELECT id, floor(CAST(x AS NUMERIC(10,2))) AS y FROM readings WHERE id > 2",
        "e AS SELECT floor(CAST(x AS NUMERIC(10,2))) AS y, count(*) AS n FROM readings WHERE id < 0 GROUP BY 1",
        "f AS SELECT count(*) AS n FROM (SELECT DISTINCT ceil(CAST(x AS NUMERIC(10,2))) AS y FROM readings WHERE id < 0)",
    ];
    let rig = with(&views, &[(1, 1), (2, 1), (3, 2)]).await;
    rig.flush().await;
    assert!(rig.query("SELECT count(*) AS n FROM c").await.contains("| 0 |"));
    assert!(rig.query("SELECT count(*) AS n FROM d").await.contains("| 1 |"));
    assert!(rig.query("SELECT count(*) AS n FROM e").await.contains("| 0 |"));
    assert!(rig.query("SELECT n FROM f").await.contains("| 0 |"));
}

#[tokio::test]
async fn a_window_that_ends_where_no_time_is_fails_its_view_alone() {
    let views = [
        "long AS SELECT count(*) AS n FROM readings WINDOW SESSION (timestamp, INTERVAL '106751990 days')",
        "steady AS SELECT count(*) AS n FROM readings WINDOW SESSION (timestamp, INTERVAL '100 days')",
    ];
    let rig = with(&views, &[(1, 1), (2, 1)]).await;
    let flushed = rig.try_flush().await.expect_err("it cannot end");
    assert!(flushed.contains("\"long\" has failed: 22008: timestamp out of range"), "{flushed}");
    assert!(rig.query("SELECT n FROM steady").await.contains("| 2 |"));
}

#[tokio::test]
async fn a_join_that_is_dropped_and_created_again_at_once_has_all_its_rows() {
    let mut rig = Rig::new();
    rig.sql(&format!("{READINGS}{}", READINGS.replace("readings", "others"))).await;
    rig.outside.produce("0", (0..200).map(|id| reading(id, id % 3)));
    for round in 0..10 {
        rig.sql(
            "CREATE MATERIALIZED VIEW v AS SELECT a.id AS x, b.id AS y FROM readings a JOIN others b
             ON a.id = b.id AND b.timestamp BETWEEN a.timestamp - INTERVAL '1 second' AND a.timestamp",
        )
        .await;
        if round % 2 == 0 {
            rig.flush().await;
            assert!(rig.query("SELECT count(*) AS n FROM v").await.contains("| 200 |"), "round {round}");
        }
        rig.sql("DROP MATERIALIZED VIEW v").await;
        let left: Vec<_> = futures::TryStreamExt::try_collect::<Vec<_>>(rig.store.list(None)).await.expect("in memory");
        let joined = left.iter().filter(|file| file.location.as_ref().contains('-') && is_of_a_join(file));
        assert_eq!(joined.count(), 0, "its files are gone when it is");
    }
}

/// Its folder is named by the ids of both streams.
fn is_of_a_join(file: &object_store::ObjectMeta) -> bool {
    file.location.as_ref().split('/').nth(1).is_some_and(|folder| folder.contains('-'))
}
