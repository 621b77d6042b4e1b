//! 10,000 windows pass and the state does not grow: neither groups in memory, nor rows of a view with
//! `retention`, nor files in the store.

use futures::TryStreamExt;
use object_store::path::Path;

use crate::testing::rig::Rig;

const WINDOWS: i64 = 10_000;
const LOOKS: i64 = 40;

/// What is held at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    groups: i64,
    rows: i64,
    /// Files of state and what they weigh; manifests are kept by number.
    files: i64,
    bytes: i64,
}

async fn held(rig: &Rig) -> Held {
    let number = async |sql: &str| -> i64 {
        let text = rig.query(sql).await;
        let line = text.lines().nth(3).expect("a row").trim_matches(['|', ' ']).to_owned();
        line.parse().expect("a number")
    };
    let groups = number("SELECT sum(groups) AS n FROM jobs").await;
    let rows = number("SELECT sum(rows) AS n FROM jobs").await;
    let all: Vec<_> = rig.store.list(Some(&Path::from("pipelines"))).try_collect().await.expect("in memory");
    let state = all.iter().filter(|file| file.location.as_ref().contains("/state/"));
    let (files, bytes) = state.fold((0, 0), |(files, bytes), file| (files + 1, bytes + file.size as i64));
    Held { groups, rows, files, bytes }
}

#[tokio::test]
async fn state_stays_flat_over_10_000_windows() {
    let mut rig = Rig::new();
    rig.config.deltas_max = 20;
    rig.config.files_kept = std::time::Duration::ZERO;
    rig.sql(
        "CREATE STREAM events (id BIGINT NOT NULL, timestamp TIMESTAMPTZ NOT NULL,
             WATERMARK FOR timestamp AS timestamp - INTERVAL '5 seconds') WITH (connector = 'test')",
    )
    .await;
    let aggregates = "count(*) AS events, count(DISTINCT id) AS ids, sum(id) AS sum";
    for (view, emit) in [("open", ""), ("closed", "EMIT ON WINDOW CLOSE")] {
        rig.sql(&format!(
            "CREATE MATERIALIZED VIEW {view} WITH (retention = '1 minute') AS SELECT {aggregates} FROM events
                 WINDOW TUMBLE (timestamp, INTERVAL '1 second', INTERVAL '10 seconds') {emit}"
        ))
        .await;
    }
    let line = |second: i64| {
        let time = format!("2026-01-01T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60);
        format!(r#"{{"id":{},"timestamp":"{time}"}}"#, second % 13)
    };
    let each = WINDOWS / LOOKS;
    let mut looks = Vec::new();
    for look in 0..LOOKS {
        rig.outside.produce("0", (look * each..(look + 1) * each).map(line));
        rig.flush().await;
        looks.push(held(&rig).await);
        if look == LOOKS / 2 {
            rig.kill();
            rig.start().await;
        }
    }
    let (first, second) = looks.split_at(looks.len() / 2);
    let most = |looks: &[Held], of: fn(&Held) -> i64| looks.iter().map(of).max().unwrap_or_default();
    for (what, of) in [
        ("groups", (|held| held.groups) as fn(&Held) -> i64),
        ("rows", |held| held.rows),
        ("files", |held| held.files),
        ("bytes", |held| held.bytes),
    ] {
        let (before, after) = (most(first, of), most(second, of));
        // What an epoch holds depends on where it was cut; growth would be of another order.
        assert!(after <= before * 2, "{what} grew from {before} to {after}: {looks:?}");
    }
}
