//! `FOR SYSTEM_TIME AS OF`: each event meets the row that a table had at the time of the event, whatever came first.

use super::{
    flow_tests::{EVENTS, event, sorted},
    rig::Rig,
};

/// The table, and all rows that it ever had.
const RATES: &str = "CREATE TABLE rates (user_id TEXT PRIMARY KEY, rate BIGINT, at TIMESTAMPTZ NOT NULL,
    WATERMARK FOR at AS at - INTERVAL '10 seconds') WITH (connector = 'test', splits = 'r', idle_timeout = '1 hour');
    CREATE STREAM rate_log (user_id TEXT, rate BIGINT, at TIMESTAMPTZ NOT NULL) WITH (connector = 'test', splits = 'r');";

/// A rate of one of nine users; they come mostly in the order of their times, each at a time of its own.
fn rate(at: i64) -> String {
    let second = at / 2 + at * 5 % 7;
    format!(
        r#"{{"user_id":"user-{}","rate":{at},"at":"2026-01-01T00:{:02}:{:02}.{:03}Z"}}"#,
        at * 5 % 9,
        second / 60 % 60,
        second % 60,
        at % 1_000
    )
}

/// Events that are never late, with the rate of their time.
fn met(kind: &str) -> String {
    format!(
        "(SELECT e.*, r.rate FROM (SELECT * FROM events WHERE id % 37 <> 0) e {kind} JOIN
          (SELECT *, lead(at) OVER (PARTITION BY user_id ORDER BY at) AS until FROM rate_log) r
          ON r.user_id = e.user_id AND r.at <= e.timestamp AND (r.until IS NULL OR e.timestamp < r.until))"
    )
}

/// What each view holds, and what it is to hold.
fn answers() -> [(&'static str, String); 5] {
    let window = "date_bin(INTERVAL '10 seconds', timestamp)";
    let of_size = |size: &str| {
        let start = format!("date_bin(INTERVAL '{size}', timestamp)");
        format!(
            "SELECT {start} AS window_start, INTERVAL '{size}' AS window_size, count(DISTINCT rate) AS n FROM {} GROUP BY 1",
            met("LEFT")
        )
    };
    [
        (
            "SELECT window_start, window_size, n FROM sizes",
            format!("{} UNION ALL {}", of_size("10 seconds"), of_size("1 minute")),
        ),
        ("SELECT id, rate FROM with_rate WHERE id % 37 <> 0", format!("SELECT id, rate FROM {}", met("LEFT"))),
        ("SELECT id, rate FROM rated", format!("SELECT id, rate FROM {} WHERE rate % 2 = 0", met("INNER"))),
        (
            "SELECT window_start, kind, n, s FROM sums",
            format!(
                "SELECT {window} AS window_start, kind, count(*) AS n, sum(rate) AS s FROM {} GROUP BY 1, 2",
                met("LEFT")
            ),
        ),
        ("SELECT id, rate, other FROM twice", format!("SELECT id, rate, rate + 1 AS other FROM {}", met("LEFT"))),
    ]
}

async fn created() -> Rig {
    let mut rig = Rig::new();
    rig.config.checkpoint_interval = std::time::Duration::from_millis(20);
    rig.declare(EVENTS);
    rig.declare(RATES);
    rig.declare(
        "CREATE MATERIALIZED VIEW with_rate AS SELECT e.id, r.rate FROM events e
         LEFT JOIN rates FOR SYSTEM_TIME AS OF e.timestamp AS r ON r.user_id = e.user_id;
         CREATE MATERIALIZED VIEW rated AS SELECT e.id, rates.rate FROM events e
         JOIN rates FOR SYSTEM_TIME AS OF e.timestamp ON rates.user_id = e.user_id AND rates.rate % 2 = 0 WHERE e.id % 37 <> 0;
         CREATE MATERIALIZED VIEW sums AS SELECT e.kind, count(*) AS n, sum(r.rate) AS s FROM (SELECT * FROM events WHERE id % 37 <> 0) e
         LEFT JOIN rates FOR SYSTEM_TIME AS OF e.timestamp r ON r.user_id = e.user_id GROUP BY e.kind
         WINDOW TUMBLE (e.timestamp, INTERVAL '10 seconds');
         CREATE MATERIALIZED VIEW sizes AS SELECT count(DISTINCT r.rate) AS n FROM (SELECT * FROM events WHERE id % 37 <> 0) e
         LEFT JOIN rates FOR SYSTEM_TIME AS OF e.timestamp r ON r.user_id = e.user_id
         WINDOW TUMBLE (e.timestamp, INTERVAL '10 seconds', INTERVAL '1 minute');
         CREATE MATERIALIZED VIEW twice AS SELECT e.id, r.rate, o.rate + 1 AS other FROM (SELECT * FROM events WHERE id % 37 <> 0) e
         LEFT JOIN rates FOR SYSTEM_TIME AS OF e.timestamp AS r ON r.user_id = e.user_id
         LEFT JOIN rates FOR SYSTEM_TIME AS OF e.timestamp AS o ON o.user_id = e.user_id;",
    );
    rig.start().await;
    rig
}

async fn compare(rig: &Rig, moment: &str) {
    for (live, batch) in answers() {
        let (found, expected) = (sorted(&rig.query(live).await), sorted(&rig.query(&batch).await));
        let only =
            |a: &[String], b: &[String]| a.iter().filter(|row| !b.contains(row)).take(5).cloned().collect::<Vec<_>>();
        let (more, less) = (only(&found, &expected), only(&expected, &found));
        assert!(found == expected && !found.is_empty(), "{moment}: {live}\nonly live {more:?}\nonly batch {less:?}");
    }
}

#[tokio::test]
async fn events_meet_the_row_of_their_time_at_every_flush() {
    let rig = created().await;
    for round in 0..5_i64 {
        // By turns the table is ahead of the stream, and behind it.
        let rates = if round % 2 == 0 { round * 60..round * 60 + 20 } else { round * 60 - 40..round * 60 + 60 };
        rig.outside.produce("r0", rates.map(rate));
        for split in 0..2 {
            let lines = (round * 100..(round + 1) * 100).filter(|at| at % 2 == split).map(event);
            rig.outside.produce(&split.to_string(), lines);
        }
        rig.flush().await;
        compare(&rig, &format!("round {round}")).await;
    }
    let held = rig.query("SELECT max(groups) FROM jobs WHERE kind = 'materialized view'").await;
    let held: i64 = sorted(&held)[0].trim_matches('|').parse().expect("a number");
    assert!(held < 400, "{held} rows are held of 800");
}

#[tokio::test]
async fn events_meet_the_row_of_their_time_also_when_killed() {
    let mut rig = created().await;
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
    compare(&rig, "killed eight times").await;
}

#[tokio::test]
async fn a_table_without_a_time_has_rows_from_when_they_were_read_on() {
    let mut rig = Rig::new();
    rig.declare(EVENTS);
    rig.declare(
        "CREATE TABLE users (user_id TEXT PRIMARY KEY, tier TEXT) WITH (connector = 'test', splits = 'u');
         CREATE MATERIALIZED VIEW met AS SELECT e.id, u.tier FROM events e
         LEFT JOIN users FOR SYSTEM_TIME AS OF e.timestamp AS u ON u.user_id = e.user_id;
         CREATE MATERIALIZED VIEW newest AS SELECT e.id, u.tier FROM events e
         LEFT JOIN users FOR SYSTEM_TIME AS OF PROCTIME() AS u ON u.user_id = e.user_id;",
    );
    let tier = |tier: &str| format!(r#"{{"user_id":"user-1","tier":"{tier}"}}"#);
    let of_user = |id: i64, year: i64| {
        let event = format!(r#"{{"id":{id},"user_id":"user-1","kind":"buy","timestamp":"{year}-01-01T00:00:00Z"}}"#);
        [event]
    };
    rig.outside.produce("u0", [tier("free")]);
    rig.outside.produce("0", of_user(1, 2001));
    rig.start().await;
    rig.flush().await;
    rig.outside.produce("u0", [tier("paid")]);
    rig.flush().await;
    rig.outside.produce("0", of_user(2, 2126));
    for killed in [false, true] {
        if killed {
            rig.kill();
            rig.start().await;
        }
        rig.flush().await;
        assert_eq!(sorted(&rig.query("SELECT id, tier FROM met").await), ["|1||", "|2|paid|"]);
        assert_eq!(sorted(&rig.query("SELECT id, tier FROM newest").await), ["|1|free|", "|2|paid|"]);
    }
}
