//! Sums of floats beyond the largest one: the group has no value, is left out and stands in `view$errors`, in views
//! that group a stream as in flows. An infinity that came stays one.

use super::rig::Rig;

const READINGS: &str = "CREATE STREAM readings (g TEXT, x DOUBLE PRECISION, r REAL, at TIMESTAMPTZ NOT NULL,
    WATERMARK FOR at AS at - INTERVAL '1 second') WITH (connector = 'test', idle_timeout = '1 hour');";

/// Views with a column `g`, of which group `large` has no value.
const VIEWS: [(&str, &str); 9] = [
    ("sums", "SELECT g, sum(x) AS s FROM readings GROUP BY g"),
    ("means", "SELECT g, avg(x) AS s FROM readings GROUP BY g"),
    ("spreads", "SELECT g, stddev(x) AS s FROM readings GROUP BY g"),
    ("pairs", "SELECT g, covar_pop(x, x) AS s FROM readings GROUP BY g"),
    ("reals", "SELECT g, sum(r) AS s FROM readings GROUP BY g"),
    ("distinct_sums", "SELECT g, sum(DISTINCT x) AS s FROM readings GROUP BY g"),
    ("windows", "SELECT g, sum(x) AS s FROM readings GROUP BY g WINDOW TUMBLE (at, INTERVAL '1 minute')"),
    (
        "closed",
        "SELECT g, avg(x) AS s FROM readings GROUP BY g WINDOW TUMBLE (at, INTERVAL '1 minute') EMIT ON WINDOW CLOSE",
    ),
    (
        "hops",
        "SELECT g, sum(x) AS s FROM readings GROUP BY g WINDOW HOP (at, INTERVAL '30 seconds', INTERVAL '1 minute')",
    ),
];

fn reading(g: &str, number: &str, second: i64) -> String {
    // As many times the largest REAL as the other is of the largest DOUBLE PRECISION, about.
    let real = match number.strip_suffix("e308") {
        Some(digits) => format!("{}e38", digits.replacen('1', "3", 1)),
        None => number.to_owned(),
    };
    format!(r#"{{"g":"{g}","x":"{number}","r":"{real}","at":"2026-01-01T00:{:02}:{:02}Z"}}"#, second / 60, second % 60)
}

async fn shown(rig: &Rig, view: &str) -> String {
    let groups = rig.query(&format!("SELECT string_agg(DISTINCT g, ',' ORDER BY g) AS g FROM {view}")).await;
    groups.lines().nth(3).unwrap_or_default().trim_matches(['|', ' ']).to_owned()
}

async fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.sql(READINGS).await;
    for (view, query) in VIEWS {
        rig.sql(&format!("CREATE MATERIALIZED VIEW {view} AS {query}")).await;
    }
    rig
}

async fn all_leave_out_the_large(rig: &Rig, when: &str) {
    for (view, _) in VIEWS {
        assert_eq!(shown(rig, view).await, "endless,small", "{view} {when}");
        let errors = rig.query(&format!("SELECT row, sqlstate, reason FROM \"{view}$errors\"")).await;
        assert!(errors.contains(r#":"large""#) && errors.contains("22003"), "{view} {when}: {errors}");
        assert!(errors.contains("value out of range: overflow"), "{view} {when}: {errors}");
    }
    let sums = rig.query("SELECT g, s FROM sums ORDER BY g").await;
    assert!(sums.contains("| endless | inf |") && sums.contains("| small   | 7.0 |"), "{sums}");
    let means = rig.query("SELECT g, s FROM closed ORDER BY g").await;
    assert!(means.contains("| endless | inf |") && means.contains("| small   | 3.5 |"), "{means}");
}

/// Before the watermark closes their window, and behind it.
fn first() -> [String; 3] {
    [reading("large", "1e308", 0), reading("small", "3", 1), reading("endless", "Infinity", 2)]
}

fn second() -> [String; 3] {
    [reading("large", "1.1e308", 3), reading("small", "4", 4), reading("endless", "1", 5)]
}

fn later() -> [String; 1] {
    [reading("small", "NULL", 600).replace("\"NULL\"", "null")]
}

#[tokio::test]
async fn a_sum_that_overflows_in_one_step_is_left_out_also_when_killed() {
    let mut rig = rig().await;
    rig.outside.produce("0", first().into_iter().chain(second()));
    rig.outside.produce("0", later());
    rig.flush().await;
    all_leave_out_the_large(&rig, "at once").await;
    rig.kill();
    rig.start().await;
    rig.flush().await;
    all_leave_out_the_large(&rig, "after a restart").await;
}

#[tokio::test]
async fn a_sum_that_overflows_in_a_later_step_takes_its_row_away() {
    let mut rig = rig().await;
    rig.outside.produce("0", first());
    rig.flush().await;
    assert_eq!(shown(&rig, "sums").await, "endless,large,small");
    rig.kill();
    rig.start().await;
    rig.outside.produce("0", second());
    rig.outside.produce("0", later());
    rig.flush().await;
    all_leave_out_the_large(&rig, "later").await;
    // What came as an infinity wins over what overflows.
    rig.outside.produce("0", [reading("large", "-Infinity", 601)]);
    rig.flush().await;
    let sums = rig.query("SELECT g, s FROM sums ORDER BY g").await;
    assert!(sums.contains("| large   | -inf |"), "{sums}");
}

#[tokio::test]
async fn a_view_that_stops_at_an_error_stops_at_a_sum_that_overflows() {
    let mut rig = rig().await;
    for (view, query) in [
        ("strict", "SELECT g, sum(x) AS s FROM readings GROUP BY g"),
        ("strict_mean", "SELECT avg(x) AS s FROM readings"),
    ] {
        rig.sql(&format!("CREATE MATERIALIZED VIEW {view} WITH (on_error = 'stop') AS {query}")).await;
    }
    rig.outside.produce("0", first());
    rig.flush().await;
    rig.outside.produce("0", second().into_iter().take(1));
    let stopped = rig.try_flush().await.expect_err("it has stopped");
    assert!(stopped.contains("\"strict\" has failed: 22003: value out of range: overflow"), "{stopped}");
    let states = rig.query("SELECT name, state FROM jobs WHERE name IN ('strict_mean', 'sums') ORDER BY name").await;
    // With an infinity the mean is infinite, whatever comes.
    assert!(states.contains("| strict_mean | running |") && states.contains("| sums        | running |"), "{states}");
}
