//! Groups by every type of key, with NULL, NaN, -0.0, the empty string and times before 1970 among
//! the keys: the same groups as a batch has, before and after a death, from a base and from deltas.

use crate::testing::rig::Rig;

const KEYS: &str = "CREATE STREAM keys (
    t TEXT, i BIGINT, f_text TEXT, f DOUBLE AS (CAST(f_text AS DOUBLE)), b BOOLEAN, moment TIMESTAMPTZ,
    timestamp TIMESTAMPTZ NOT NULL, WATERMARK FOR timestamp AS timestamp - INTERVAL '1 hour'
) WITH (connector = 'test')";

/// Values of each type as they stand in JSON.
const TEXTS: [&str; 6] = ["null", r#""""#, r#"" ""#, r#""a""#, r#""A""#, r#""ä€𝄞""#];
const INTS: [&str; 5] = ["null", "0", "-1", "9223372036854775807", "-9223372036854775808"];
const FLOATS: [&str; 8] = ["null", r#""NaN""#, r#""0""#, r#""-0""#, r#""inf""#, r#""-inf""#, r#""5e-324""#, r#""0.1""#];
const BOOLS: [&str; 3] = ["null", "true", "false"];
const TIMES: [&str; 4] =
    ["null", r#""1969-12-31T23:59:59.999999Z""#, r#""1970-01-01T00:00:00Z""#, r#""2026-01-01T00:00:00.000001Z""#];

/// Distinct keys of each view; all of them together come from the batch alone.
const VIEWS: [(&str, &str, usize); 6] = [
    ("by_t", "t", 6),
    ("by_i", "i", 5),
    ("by_f", "f", 7),
    ("by_b", "b", 3),
    ("by_moment", "moment", 4),
    ("by_all", "t, i, f, b, moment", 0),
];

fn lines(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|at| {
        format!(
            r#"{{"t":{},"i":{},"f_text":{},"b":{},"moment":{},"timestamp":"2026-01-01T00:{:02}:00Z"}}"#,
            TEXTS[at % TEXTS.len()],
            INTS[at % INTS.len()],
            FLOATS[at / 2 % FLOATS.len()],
            BOOLS[at / 3 % BOOLS.len()],
            TIMES[at / 5 % TIMES.len()],
            at % 7 * 5
        )
    })
}

async fn compare(rig: &Rig) {
    for (view, keys, groups) in VIEWS {
        let running = rig.query(&format!("SELECT {keys}, events FROM {view} ORDER BY {keys}")).await;
        let batch = format!("SELECT {keys}, count(*) AS events FROM keys GROUP BY {keys} ORDER BY {keys}");
        assert_eq!(running, rig.query(&batch).await, "{view}");
        let windows = rig.query(&format!("SELECT window_start, {keys}, events FROM w_{view} ORDER BY 1, {keys}")).await;
        let batch = format!(
            "SELECT date_bin(INTERVAL '10 minutes', timestamp) AS window_start, {keys}, count(*) AS events
             FROM keys GROUP BY 1, {keys} ORDER BY 1, {keys}"
        );
        assert_eq!(windows, rig.query(&batch).await, "w_{view}");
        // Four lines are the frame of the table.
        assert!(groups == 0 || running.lines().count() == groups + 4, "{view} has {groups} groups:\n{running}");
    }
}

#[tokio::test]
async fn keys_of_every_type_are_the_groups_of_the_batch() {
    let mut rig = Rig::new();
    rig.sql(KEYS).await;
    for (view, keys, _) in VIEWS {
        rig.sql(&format!(
            "CREATE MATERIALIZED VIEW {view} AS SELECT {keys}, count(*) AS events FROM keys GROUP BY {keys}"
        ))
        .await;
        rig.sql(&format!(
            "CREATE MATERIALIZED VIEW w_{view} AS SELECT {keys}, count(*) AS events FROM keys GROUP BY {keys}
                 WINDOW TUMBLE (timestamp, INTERVAL '10 minutes')"
        ))
        .await;
    }
    rig.outside.produce("0", lines(0..300));
    rig.flush().await;
    compare(&rig).await;
    rig.kill();
    rig.start().await;
    rig.flush().await;
    compare(&rig).await;
    rig.outside.produce("0", lines(300..600));
    rig.flush().await;
    // Deltas over the base that the first process wrote, and then a base over all.
    rig.kill();
    rig.config.deltas_max = 0;
    rig.start().await;
    rig.outside.produce("0", lines(600..700));
    rig.flush().await;
    rig.kill();
    rig.start().await;
    rig.flush().await;
    compare(&rig).await;
}
