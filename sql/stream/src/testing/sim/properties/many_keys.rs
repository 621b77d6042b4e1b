//! More keys in one pane than DataFusion's partial aggregation keeps before it would give up
//! (100,000), over a death: all of them are there, each with its own count.

use crate::testing::rig::Rig;

const KEYS: i64 = 120_000;

#[tokio::test]
async fn more_than_100_000_keys_in_one_pane() {
    let mut rig = Rig::new();
    rig.config.step_rows_max = 30_000;
    rig.sql(
        "CREATE STREAM events (id BIGINT NOT NULL, timestamp TIMESTAMPTZ NOT NULL,
             WATERMARK FOR timestamp AS timestamp - INTERVAL '10 seconds') WITH (connector = 'test')",
    )
    .await;
    rig.sql(
        "CREATE MATERIALIZED VIEW wide AS SELECT id, count(*) AS events FROM events GROUP BY id
             WINDOW TUMBLE (timestamp, INTERVAL '1 hour')",
    )
    .await;
    let line = |id: i64| format!(r#"{{"id":{id},"timestamp":"2026-01-01T10:{:02}:00Z"}}"#, id % 60);
    rig.outside.produce("0", (0..KEYS).map(line));
    rig.flush().await;
    rig.kill();
    rig.start().await;
    // A third of the keys once more, so that restored state is merged into.
    rig.outside.produce("0", (0..KEYS / 3).map(line));
    rig.flush().await;
    let counted = rig.query("SELECT events, count(*) AS keys FROM wide GROUP BY events ORDER BY events").await;
    let once = format!("| 1      | {} |", KEYS - KEYS / 3);
    let twice = format!("| 2      | {} |", KEYS / 3);
    assert!(counted.contains(&once) && counted.contains(&twice) && counted.lines().count() == 6, "{counted}");
}
