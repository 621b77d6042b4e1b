//! Numbers of views over rows that come and go: exact, or an error, and what has left is no longer in them.

use super::rig::Rig;

const READINGS: &str = "CREATE STREAM readings (
    id BIGINT NOT NULL, k BIGINT, x BIGINT, d DOUBLE, m NUMERIC(38, 0), timestamp TIMESTAMPTZ NOT NULL,
    WATERMARK FOR timestamp AS timestamp - INTERVAL '10 seconds'
) WITH (connector = 'test', idle_timeout = '1 hour');";
const LAST: &str =
    "CREATE MATERIALIZED VIEW last AS SELECT k, last_value(d ORDER BY id) AS d, last_value(x ORDER BY id) AS x,
    last_value(m ORDER BY id) AS m FROM readings GROUP BY k;";

fn reading(id: i64, k: i64, number: &str) -> String {
    format!(r#"{{"id":{id},"k":{k},{number},"timestamp":"2026-01-01T00:00:{:02}Z"}}"#, id % 60)
}

fn double(id: i64, k: i64, d: &str) -> String {
    reading(id, k, &format!(r#""d":"{d}""#))
}

/// A view of the newest value of each key, and what is made of them.
async fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.sql(&format!("{READINGS}{LAST}")).await;
    rig.sql("CREATE MATERIALIZED VIEW v AS SELECT sum(d) AS s, avg(d) AS a, max(d) AS m, count(d) AS c FROM last")
        .await;
    rig.sql("CREATE MATERIALIZED VIEW w AS SELECT stddev(d) AS e, var_pop(d) AS f FROM last").await;
    rig
}

#[tokio::test]
async fn nan_and_infinity_leave_a_sum_with_their_rows_also_when_killed() {
    let mut rig = rig().await;
    let sums = "SELECT s, a, m, c FROM v";
    rig.outside.produce("0", [double(1, 1, "1.5"), double(2, 2, "Infinity"), double(3, 3, "2.5")]);
    rig.flush().await;
    assert!(rig.query(sums).await.contains("| inf | inf | inf | 3 |"), "{}", rig.query(sums).await);
    for (id, value, wanted) in [
        (4, "7.0", "| 11.0 | 3.6666666666666665 | 7.0 | 3 |"),
        (5, "NaN", "| NaN | NaN | NaN | 3 |"),
        (6, "8.0", "| 12.0 | 4.0 | 8.0 | 3 |"),
        (7, "-Infinity", "| -inf | -inf | 2.5 | 3 |"),
        (8, "0.5", "| 4.5 | 1.5 | 2.5 | 3 |"),
    ] {
        rig.outside.produce("0", [double(id, 2, value)]);
        rig.flush().await;
        let found = rig.query(sums).await;
        assert!(found.contains(wanted), "{value}: {found}");
        rig.kill();
        rig.start().await;
        rig.flush().await;
        assert_eq!(rig.query(sums).await, found, "{value}");
    }
    let near = rig.query("SELECT abs(e - 1.0) < 1e-9 AS e, abs(f - 0.6666666667) < 1e-9 AS f FROM w").await;
    assert!(near.contains("| true | true |"), "{near}");
}

#[tokio::test]
async fn a_small_number_is_not_lost_beside_large_ones() {
    let mut rig = rig().await;
    // A variance of such numbers is beyond a double, which is an error as in PostgreSQL.
    rig.sql("DROP MATERIALIZED VIEW w").await;
    rig.outside.produce("0", [double(1, 1, "1e300"), double(2, 2, "1"), double(3, 3, "-1e300"), double(4, 4, "0.1")]);
    rig.flush().await;
    assert!(rig.query("SELECT s, c FROM v").await.contains("| 1.1 | 4 |"), "{}", rig.query("SELECT s, c FROM v").await);
    rig.outside.produce("0", [double(5, 1, "0.2"), double(6, 3, "1e-7")]);
    rig.flush().await;
    let sum = rig.query("SELECT s FROM v").await;
    assert!(sum.contains("| 1.3000001 |"), "{sum}");
}

#[tokio::test]
async fn windows_that_share_panes_let_nan_go_with_its_pane() {
    let mut rig = Rig::new();
    rig.sql(READINGS).await;
    rig.sql(
        "CREATE MATERIALIZED VIEW h AS SELECT window_start, sum(d) AS s FROM readings
         GROUP BY window_start WINDOW HOP (timestamp, INTERVAL '10 seconds', INTERVAL '20 seconds')",
    )
    .await;
    rig.outside.produce("0", [double(1, 1, "NaN"), double(12, 1, "1.5"), double(25, 1, "2.5"), double(33, 1, "1e300")]);
    rig.flush().await;
    let found = rig.query("SELECT s FROM h ORDER BY window_start").await;
    let sums: Vec<&str> = found.lines().filter_map(|line| line.strip_prefix("| ")).skip(1).collect();
    let sums: Vec<&str> = sums.iter().map(|line| line.trim_end_matches('|').trim()).collect();
    assert_eq!(sums, ["NaN", "NaN", "4.0", "1e300", "1e300"], "{found}");
}

#[tokio::test]
async fn a_sum_of_doubles_beyond_a_double_is_not_shown_and_said() {
    let mut rig = rig().await;
    rig.sql("DROP MATERIALIZED VIEW w").await;
    rig.outside.produce("0", [double(1, 1, "1.7e308"), double(2, 2, "1.7e308")]);
    rig.flush().await;
    assert!(rig.query("SELECT count(*) AS n FROM v").await.contains("| 0 |"));
    assert!(rig.query("SELECT reason FROM \"v$errors\"").await.contains("value out of range: overflow"));
    assert!(rig.query("SELECT count(*) AS n FROM last").await.contains("| 2 |"));
    rig.outside.produce("0", [double(3, 2, "-1.7e308")]);
    rig.flush().await;
    assert!(rig.query("SELECT s FROM v").await.contains("| 0.0 |"));
}

#[tokio::test]
async fn a_sum_beyond_its_type_is_never_another_number() {
    let mut rig = Rig::new();
    rig.sql(&format!("{READINGS}{LAST}")).await;
    for (view, from) in [("steps", "readings"), ("flow", "last")] {
        rig.sql(&format!("CREATE MATERIALIZED VIEW {view} AS SELECT sum(x) AS s FROM {from}")).await;
        rig.sql(&format!("CREATE MATERIALIZED VIEW {view}_m AS SELECT sum(m) AS s FROM {from}")).await;
    }
    let x = i64::MAX;
    rig.outside.produce("0", (0..2).map(|id| reading(id, id, &format!(r#""x":{x},"m":"{}""#, "9".repeat(38)))));
    let failed = rig.try_flush().await.err().unwrap_or_default();
    for (view, wanted) in [
        ("steps", "18446744073709551614"),
        ("flow", "18446744073709551614"),
        ("steps_m", "199999999999999999999999999999999999998"),
        ("flow_m", "199999999999999999999999999999999999998"),
    ] {
        match rig.try_query(&format!("SELECT CAST(s AS TEXT) AS s FROM {view}")).await {
            Ok(found) => assert!(found.contains(wanted), "{view}: {found}"),
            Err(error) => assert!(error.contains("22003") && failed.contains(view), "{view}: {error}"),
        }
    }
}
