//! The first rows of what changes until its windows close: as the batch query has them, and without a state that grows.

use super::{
    flow_tests::{EVENTS, event, sorted},
    rig::Rig,
};

/// Windows of every kind of event, of ten seconds.
const WINDOWS: &str = "(SELECT window_start, kind, count(*) AS n FROM TUMBLE(events, timestamp, INTERVAL '10 seconds') GROUP BY window_start, kind)";
const BATCH: &str =
    "(SELECT date_bin(INTERVAL '10 seconds', timestamp) AS window_start, kind, count(*) AS n FROM events
    WHERE NOT _late OR date_bin(INTERVAL '10 seconds', timestamp) + INTERVAL '10 seconds' > _watermark GROUP BY 1, 2)";

fn queries(of: &str) -> [String; 4] {
    let top = |order: &str, bound: &str| {
        format!(
            "SELECT kind, window_start, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY kind ORDER BY {order}) AS r FROM {of}) WHERE r {bound}"
        )
    };
    [
        format!("SELECT DISTINCT ON (kind) kind, window_start, n FROM {of} ORDER BY kind, window_start DESC"),
        top("window_start DESC", "<= 3"),
        top("n DESC, window_start", "IN (2, 5)"),
        format!("SELECT kind, window_start, n FROM {of} ORDER BY n, window_start DESC, kind LIMIT 4 OFFSET 2"),
    ]
}

#[tokio::test]
async fn what_closed_windows_have_decided_is_not_kept() {
    let mut rig = Rig::new();
    rig.declare(EVENTS);
    for (at, query) in queries(WINDOWS).iter().enumerate() {
        rig.declare(&format!("CREATE MATERIALIZED VIEW v{at} AS {query};"));
    }
    rig.start().await;
    for round in 0..12_i64 {
        rig.outside.produce("0", (round * 200..(round + 1) * 200).map(event));
        rig.flush().await;
        if round % 5 == 3 {
            rig.kill();
            rig.start().await;
            rig.flush().await;
        }
        for (at, query) in queries(BATCH).iter().enumerate() {
            let live = rig.query(&format!("SELECT kind, window_start, n FROM v{at}")).await;
            assert_eq!(sorted(&live), sorted(&rig.query(query).await), "round {round}: {query}");
        }
    }
    // 60 windows of three kinds: those that are open, and as many again as are shown.
    let held = rig.query("SELECT max(groups) FROM jobs WHERE kind = 'materialized view'").await;
    let held: i64 = sorted(&held)[0].trim_matches('|').parse().expect("a number");
    assert!(held < 90, "{held} rows are held of 180");
}
