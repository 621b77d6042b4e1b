//! Joins of streams by a range of time: rows of one key are found by their time, and not tried one by one.

use super::rig::Rig;

const CLICKS: &str = "CREATE STREAM clicks (
    id BIGINT NOT NULL, region TEXT, at TIMESTAMPTZ, timestamp TIMESTAMPTZ NOT NULL,
    WATERMARK FOR timestamp AS timestamp - INTERVAL '10 seconds'
) WITH (connector = 'test', idle_timeout = '1 hour');";

/// Ten milliseconds apart, one in seven out of order.
fn click(id: i64) -> String {
    let ms = if id % 7 == 0 { (id - 40).max(0) * 10 } else { id * 10 };
    let time = format!("2026-01-01T00:{:02}:{:02}.{:03}Z", ms / 60_000, ms / 1_000 % 60, ms % 1_000);
    let at = if id % 11 == 0 { "null".to_owned() } else { format!("\"{time}\"") };
    format!(r#"{{"id":{id},"region":"eu","at":{at},"timestamp":"{time}"}}"#)
}

async fn rig() -> Rig {
    let mut rig = Rig::new();
    // All in one step.
    rig.config.step_rows_max = 16_384;
    rig.sql(&format!("{CLICKS}{}", CLICKS.replace("clicks", "orders"))).await;
    rig
}

#[tokio::test]
async fn many_rows_of_one_key_in_a_step_cost_what_they_meet() {
    let mut rig = rig().await;
    rig.sql(
        "CREATE MATERIALIZED VIEW near AS SELECT c.id AS click, o.id AS purchase FROM clicks c JOIN orders o
         ON c.region = o.region AND o.timestamp BETWEEN c.timestamp AND c.timestamp + INTERVAL '50 milliseconds'",
    )
    .await;
    rig.outside.produce("0", (0..6_000).filter(|id| id % 7 > 0).map(click));
    rig.flush().await;
    let found = rig
        .query("SELECT count(*) AS n, min(purchase - click) AS least, max(purchase - click) AS most FROM near")
        .await;
    assert!(found.contains("| 22286 | 0     | 5    |") || found.lines().count() == 5, "{found}");
    let batch = "SELECT count(*) AS n FROM clicks c JOIN orders o ON o.id BETWEEN c.id AND c.id + 5";
    assert_eq!(rig.query("SELECT count(*) AS n FROM near").await, rig.query(batch).await);
}

#[tokio::test]
async fn every_form_of_a_range_gives_what_the_batch_gives_also_when_killed() {
    let forms = [
        (
            "between",
            "JOIN",
            "o.timestamp BETWEEN c.timestamp - INTERVAL '30 milliseconds' AND c.timestamp + INTERVAL '50 milliseconds'",
        ),
        ("strict", "JOIN", "o.timestamp > c.timestamp AND o.timestamp < c.timestamp + INTERVAL '60 milliseconds'"),
        ("turned", "JOIN", "c.timestamp <= o.timestamp + INTERVAL '20 milliseconds' AND o.timestamp <= c.timestamp"),
        (
            "outer",
            "LEFT JOIN",
            "o.id % 2 = 0 AND o.timestamp BETWEEN c.timestamp AND c.timestamp + INTERVAL '10 milliseconds'",
        ),
        (
            "both",
            "FULL JOIN",
            "o.id % 3 = 0 AND o.timestamp BETWEEN c.timestamp AND c.timestamp + INTERVAL '10 milliseconds'",
        ),
        (
            "nulls",
            "JOIN",
            "o.at BETWEEN c.at AND c.at + INTERVAL '20 milliseconds' AND o.timestamp BETWEEN c.timestamp - INTERVAL '1 second' AND c.timestamp + INTERVAL '1 second'",
        ),
        (
            "open",
            "JOIN",
            "o.timestamp BETWEEN c.timestamp - INTERVAL '1 second' AND c.timestamp + INTERVAL '1 second' AND o.id = c.id + 1",
        ),
    ];
    let mut rig = rig().await;
    rig.config.step_rows_max = 64;
    let query = |join: &str, on: &str| {
        format!("SELECT c.id AS click, o.id AS purchase FROM clicks c {join} orders o ON c.region = o.region AND {on}")
    };
    for (name, join, on) in forms {
        rig.sql(&format!("CREATE MATERIALIZED VIEW \"{name}\" AS {}", query(join, on))).await;
    }
    for part in 0..3 {
        rig.outside.produce("0", (part * 100..(part + 1) * 100).map(click));
        rig.flush().await;
        rig.kill();
        rig.start().await;
    }
    rig.flush().await;
    for (name, join, on) in forms {
        let live = rig.query(&format!("SELECT click, purchase FROM \"{name}\" ORDER BY 1, 2")).await;
        let batch = rig.query(&format!("SELECT * FROM ({}) ORDER BY 1, 2", query(join, on))).await;
        assert!(live.lines().count() > 20, "{name}: {live}");
        assert_eq!(live, batch, "{name}");
    }
}

#[tokio::test]
async fn a_row_that_its_time_has_let_go_is_met_no_more() {
    let mut rig = rig().await;
    rig.sql(
        "CREATE MATERIALIZED VIEW near AS SELECT c.id AS click, o.id AS purchase FROM clicks c JOIN orders o
         ON c.region = o.region AND o.timestamp BETWEEN c.timestamp AND c.timestamp + INTERVAL '1 second'",
    )
    .await;
    rig.outside.produce("0", (0..5_000).filter(|id| id % 7 > 0).map(click));
    rig.flush().await;
    let groups = rig.query("SELECT groups FROM jobs WHERE name = 'near'").await;
    let kept: i64 = groups.split('|').filter_map(|cell| cell.trim().parse().ok()).next().unwrap_or(0);
    // Of fifty seconds about eleven are kept, of two streams.
    assert!((1..2_600).contains(&kept), "{groups}");
}
