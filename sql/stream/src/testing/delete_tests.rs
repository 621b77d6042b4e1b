//! Rows of tables that go: nothing that comes later sees them, and what has met them stays as it was.

use super::{
    flow_tests::{EVENTS, event, sorted},
    rig::Rig,
};

/// The table, and all that was ever said of it.
const USERS: &str = "CREATE TABLE users (
    user_id TEXT PRIMARY KEY, tier TEXT NOT NULL CHECK (tier IS NOT NULL), round BIGINT NOT NULL, shout TEXT NOT NULL AS (upper(tier))
) WITH (connector = 'test', splits = 'u', format = 'changes');
CREATE STREAM user_log (user_id TEXT, tier TEXT, round BIGINT, op TEXT) WITH (connector = 'test', splits = 'u');";

/// Of one of nine users, who by turns come, change and go.
fn change(at: i64, round: i64) -> String {
    let user = format!("\"user_id\":\"user-{}\"", at * 7 % 9);
    match at * at % 5 {
        0 | 3 => format!(r#"{{{user},"round":{round},"op":"d"}}"#),
        more => format!(
            r#"{{{user},"tier":"tier-{}","round":{round},"op":"{}"}}"#,
            at % 4,
            ["r", "c", "u"][more as usize % 3]
        ),
    }
}

/// What the table holds behind a round: of each user the newest word, where that is not that it went.
fn behind(round: &str) -> String {
    format!(
        "(SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY _offset DESC) AS back
          FROM user_log WHERE round <= {round}) WHERE back = 1 AND op <> 'd')"
    )
}

async fn created() -> Rig {
    let mut rig = Rig::new();
    rig.config.checkpoint_interval = std::time::Duration::from_millis(20);
    rig.declare(EVENTS);
    rig.declare(USERS);
    rig.declare(
        "CREATE MATERIALIZED VIEW met AS SELECT e.id, u.tier, u.shout FROM events e LEFT JOIN users u ON u.user_id = e.user_id;
         CREATE MATERIALIZED VIEW known AS SELECT e.id, u.tier FROM events e JOIN users u ON u.user_id = e.user_id;
         CREATE MATERIALIZED VIEW unknown AS SELECT e.id FROM events e WHERE e.user_id NOT IN (SELECT user_id FROM users);
         CREATE MATERIALIZED VIEW tiers AS SELECT tier, count(*) AS n, max(user_id) AS last FROM users GROUP BY tier;
         CREATE MATERIALIZED VIEW spent AS SELECT u.user_id, u.tier, b.n FROM users u
         LEFT JOIN (SELECT user_id, count(*) AS n FROM events GROUP BY user_id) b ON b.user_id = u.user_id;
         CREATE MATERIALIZED VIEW pairs AS SELECT a.user_id, b.user_id AS other FROM users a JOIN users b
         ON a.tier = b.tier AND a.user_id < b.user_id;
         CREATE SINK out FROM users WITH (connector = 'test');",
    );
    rig.start().await;
    rig
}

/// `rounds`: those that are over; events of one come behind the changes of it.
async fn compare(rig: &Rig, rounds: i64, moment: &str) {
    let (now, events) = (behind(&rounds.to_string()), "(SELECT *, id / 60 AS round FROM events)");
    let met = |kind: &str, columns: &str| {
        let rounds = (0..rounds).map(|round| {
            let (then, events) =
                (behind(&round.to_string()), format!("(SELECT * FROM {events} WHERE round = {round})"));
            format!("SELECT {columns} FROM {events} e {kind} JOIN {then} u ON u.user_id = e.user_id")
        });
        rounds.collect::<Vec<_>>().join(" UNION ALL ")
    };
    let answers = [
        ("SELECT user_id, tier, shout FROM users", format!("SELECT user_id, tier, upper(tier) FROM {now}")),
        ("SELECT id, tier, shout FROM met", met("LEFT", "e.id, u.tier, upper(u.tier)")),
        ("SELECT id, tier FROM known", met("", "e.id, u.tier")),
        (
            "SELECT id FROM unknown",
            format!(
                "SELECT id FROM ({}) WHERE tier IS NULL AND user_id IS NOT NULL",
                met("LEFT", "e.id, e.user_id, u.tier")
            ),
        ),
        (
            "SELECT tier, n, last FROM tiers",
            format!("SELECT tier, count(*) AS n, max(user_id) AS last FROM {now} GROUP BY tier"),
        ),
        (
            "SELECT user_id, tier, n FROM spent",
            format!(
                "SELECT u.user_id, u.tier, b.n FROM {now} u
                 LEFT JOIN (SELECT user_id, count(*) AS n FROM events GROUP BY user_id) b ON b.user_id = u.user_id"
            ),
        ),
        (
            "SELECT user_id, other FROM pairs",
            format!(
                "SELECT a.user_id, b.user_id AS other FROM {now} a JOIN {now} b ON a.tier = b.tier AND a.user_id < b.user_id"
            ),
        ),
    ];
    for (live, batch) in answers {
        let (found, expected) = (sorted(&rig.query(live).await), sorted(&rig.query(&batch).await));
        assert_eq!(found, expected, "{moment}: {live}");
        assert!(!found.is_empty() || live.contains("pairs"), "{moment}: {live} is empty");
    }
}

#[tokio::test]
async fn a_row_that_went_is_in_no_later_answer() {
    let rig = created().await;
    for round in 0..5_i64 {
        rig.outside.produce("u0", (round * 20..(round + 1) * 20).map(|at| change(at, round)));
        rig.flush().await;
        rig.outside.produce("0", (round * 60..(round + 1) * 60).map(event));
        rig.flush().await;
        compare(&rig, round + 1, &format!("round {round}")).await;
    }
    let put: Vec<String> = rig.outside.values.lock().values().map(|row| row.replace(' ', "|")).collect();
    let there: Vec<String> = sorted(&rig.query("SELECT user_id, tier, round, shout FROM users").await);
    assert_eq!(put.iter().map(|row| format!("|{row}|")).collect::<Vec<_>>(), there, "the sink has what the table has");
}

#[tokio::test]
async fn a_row_that_went_is_in_no_later_answer_also_when_killed() {
    let mut rig = created().await;
    for round in 0..8_i64 {
        rig.outside.produce("u0", (round * 20..(round + 1) * 20).map(|at| change(at, round)));
        if round % 2 == 1 {
            rig.kill();
            rig.start().await;
        }
        rig.flush().await;
        rig.outside.produce("0", (round * 60..(round + 1) * 60).map(event));
        if round % 3 == 1 {
            rig.flush().await;
        }
        rig.kill();
        rig.start().await;
        rig.flush().await;
        compare(&rig, round + 1, &format!("killed in round {round}")).await;
    }
}

#[tokio::test]
async fn deletes_and_what_says_nothing_are_accounted_for() {
    let mut rig = created().await;
    let gone = |user: i64| format!(r#"{{"user_id":"user-{user}","op":"d"}}"#);
    let message = r#"{"op":"m"}"#.to_owned();
    rig.outside.produce("u0", [change(1, 0), message, gone(7), gone(7), gone(8)]);
    rig.outside.produce("0", (0..10).map(event));
    for killed in [false, true] {
        if killed {
            rig.kill();
            rig.start().await;
        }
        rig.flush().await;
        let counts = "SELECT DISTINCT consumed, emitted, dead_lettered, filtered FROM accounting
                      WHERE job IN ('users', 'tiers', 'spent') AND split IN ('u0', '1/u0')";
        assert_eq!(sorted(&rig.query(counts).await), ["|5|4|0|1|"]);
        let odd = "SELECT count(*) AS n FROM accounting WHERE consumed <> emitted + late + dead_lettered + filtered";
        assert_eq!(sorted(&rig.query(odd).await), ["|0|"]);
        assert!(sorted(&rig.query("SELECT * FROM users").await).is_empty());
    }
}

/// A table whose rows say from when they hold, and all that was ever said of it.
const RATES: &str = "CREATE TABLE rates (user_id TEXT PRIMARY KEY, rate BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL,
    WATERMARK FOR at AS at - INTERVAL '10 seconds') WITH (connector = 'test', splits = 'r', format = 'changes', idle_timeout = '1 hour');
    CREATE STREAM rate_log (user_id TEXT, rate BIGINT, op TEXT, at TIMESTAMPTZ NOT NULL) WITH (connector = 'test', splits = 'r');";

/// Each at a time of its own, in order.
fn rate(at: i64) -> String {
    let ms = at * 500 + at * 5 % 7;
    let (user, time) = (
        format!("\"user_id\":\"user-{}\"", at * 5 % 9),
        format!("2026-01-01T00:{:02}:{:02}.{:03}Z", ms / 60_000, ms / 1_000 % 60, ms % 1_000),
    );
    match at % 4 {
        3 => {
            let us = 1_767_225_600_000_000 + ms * 1_000;
            format!(r#"{{{user},"at":"{time}","op":"d","at_us":{us}}}"#)
        }
        _ => format!(r#"{{{user},"rate":{at},"at":"{time}","op":"u"}}"#),
    }
}

#[tokio::test]
async fn events_meet_no_row_that_went_before_their_time() {
    let mut rig = Rig::new();
    rig.config.checkpoint_interval = std::time::Duration::from_millis(20);
    rig.declare(EVENTS);
    rig.declare(RATES);
    rig.declare(
        "CREATE MATERIALIZED VIEW with_rate AS SELECT e.id, r.rate FROM events e
         LEFT JOIN rates FOR SYSTEM_TIME AS OF e.timestamp AS r ON r.user_id = e.user_id;
         CREATE MATERIALIZED VIEW rated AS SELECT e.id, r.rate FROM events e
         JOIN rates FOR SYSTEM_TIME AS OF e.timestamp AS r ON r.user_id = e.user_id;",
    );
    rig.start().await;
    for round in 0..8_i64 {
        rig.outside.produce("r0", (round * 40..(round + 1) * 40).map(rate));
        for split in 0..2 {
            let lines = (round * 80..(round + 1) * 80).filter(|at| at % 2 == split).map(event);
            rig.outside.produce(&split.to_string(), lines);
        }
        if round % 2 == 1 {
            rig.flush().await;
        }
        rig.kill();
        rig.start().await;
    }
    rig.flush().await;
    let batch = |kind: &str| {
        format!(
            "SELECT e.id, r.rate FROM (SELECT * FROM events WHERE id % 37 <> 0) e {kind} JOIN
             (SELECT * FROM (SELECT *, lead(at) OVER (PARTITION BY user_id ORDER BY at) AS until FROM rate_log) WHERE op <> 'd') r
             ON r.user_id = e.user_id AND r.at <= e.timestamp AND (r.until IS NULL OR e.timestamp < r.until)"
        )
    };
    for (view, kind) in [("with_rate", "LEFT"), ("rated", "")] {
        let found = sorted(&rig.query(&format!("SELECT id, rate FROM {view} WHERE id % 37 <> 0")).await);
        assert_eq!(found, sorted(&rig.query(&batch(kind)).await), "{view}");
    }
    let met = sorted(&rig.query("SELECT count(*), count(rate) FROM with_rate").await);
    let numbers: Vec<i64> = met[0].split('|').filter_map(|number| number.parse().ok()).collect();
    assert!(numbers[1] > 100 && numbers[0] - numbers[1] > 100, "{numbers:?}");
}
