//! A view of aggregates without keys has a row before the first row comes, as the query has over an empty table.

use super::rig::Rig;

const SOURCES: &str = "CREATE STREAM readings (g TEXT, x BIGINT, at TIMESTAMPTZ NOT NULL,
    WATERMARK FOR at AS at - INTERVAL '1 second') WITH (connector = 'test', idle_timeout = '1 hour');
CREATE TABLE amounts (id TEXT PRIMARY KEY, x BIGINT)
WITH (connector = 'test', splits = 'r', format = 'changes', idle_timeout = '1 hour');";

/// A view, its row before any came, and the one behind two readings (1, 2) and two amounts (5, 6).
const VIEWS: [(&str, &str, &str, &str); 10] = [
    ("totals", "SELECT count(*) AS a, sum(x) AS b, count(DISTINCT x) AS c FROM readings", "0,NULL,0", "2,3,2"),
    (
        "lists",
        "SELECT array_length(array_agg(x), 1) AS a, max(g) AS b, avg(x) AS c FROM readings",
        "NULL,NULL,NULL",
        "2,a,1.5000000000000000",
    ),
    (
        "spreads",
        "SELECT stddev(x) AS a, string_agg(g, '+') AS b, bool_or(x > 1) AS c FROM readings",
        "NULL,NULL,NULL",
        "0.70710678118654752440,a+a,true",
    ),
    ("nothing", "SELECT count(*) AS a, sum(x) AS b, 1 AS c FROM readings WHERE x > 100", "0,NULL,1", "0,NULL,1"),
    (
        "computed",
        "SELECT coalesce(sum(x), -1) AS a, count(*) + 1 AS b, 'all' AS c FROM readings",
        "-1,1,all",
        "3,3,all",
    ),
    ("amounts_of_all", "SELECT count(*) AS a, sum(x) AS b, max(x) AS c FROM amounts", "0,NULL,NULL", "2,11,6"),
    (
        "of_groups",
        "SELECT count(*) AS a, sum(n) AS b, 1 AS c FROM (SELECT g, count(*) AS n FROM readings GROUP BY g) AS q",
        "0,NULL,1",
        "1,2,1",
    ),
    ("of_totals", "SELECT a + 1 AS a, b, c FROM totals", "1,NULL,0", "3,3,2"),
    (
        "both",
        "SELECT r.n AS a, m.n AS b, 1 AS c FROM (SELECT count(*) AS n FROM readings) AS r CROSS JOIN (SELECT count(*) AS n FROM amounts) AS m",
        "0,0,1",
        "2,2,1",
    ),
    (
        "groups_of_one",
        "SELECT a, count(*) AS b, max(b) AS c FROM (SELECT count(*) AS a, sum(x) AS b FROM amounts) AS q GROUP BY a",
        "0,1,NULL",
        "2,1,11",
    ),
];

async fn row(rig: &Rig, view: &str) -> String {
    let text = "coalesce(a::text, 'NULL') || ',' || coalesce(b::text, 'NULL') || ',' || coalesce(c::text, 'NULL')";
    let table = rig.query(&format!("SELECT {text} AS all FROM {view}")).await;
    let rows: Vec<&str> = table.lines().skip(3).take_while(|line| line.starts_with('|')).collect();
    rows.iter().map(|row| row.trim_matches(['|', ' '])).collect::<Vec<_>>().join(";")
}

async fn all(rig: &Rig, when: &str, expected: impl Fn(&(&str, &str, &'static str, &'static str)) -> &'static str) {
    for view in &VIEWS {
        assert_eq!(row(rig, view.0).await, expected(view), "{} {when}", view.0);
    }
}

async fn create(rig: &mut Rig) {
    for (view, query, ..) in VIEWS {
        rig.sql(&format!("CREATE MATERIALIZED VIEW {view} AS {query}")).await;
    }
}

#[tokio::test]
async fn an_aggregate_of_no_rows_is_there_from_the_start_and_when_all_have_gone() {
    let mut rig = Rig::new();
    rig.sql(SOURCES).await;
    create(&mut rig).await;
    all(&rig, "at first", |view| view.2).await;
    rig.flush().await;
    rig.kill();
    rig.start().await;
    rig.flush().await;
    all(&rig, "after a restart", |view| view.2).await;
    let reading = |x: i64| format!(r#"{{"g":"a","x":{x},"at":"2026-01-01T00:00:0{x}Z"}}"#);
    rig.outside.produce("0", [reading(1), reading(2)]);
    rig.outside.produce("r", [r#"{"id":"a","x":5}"#, r#"{"id":"b","x":6}"#].map(str::to_owned));
    rig.flush().await;
    all(&rig, "with rows", |view| view.3).await;
    rig.kill();
    rig.start().await;
    rig.flush().await;
    all(&rig, "with rows after a restart", |view| view.3).await;
    let gone = |id: &str| format!(r#"{{"id":"{id}","op":"d"}}"#);
    rig.outside.produce("r", [gone("a"), gone("b")]);
    rig.flush().await;
    assert_eq!(row(&rig, "amounts_of_all").await, "0,NULL,NULL");
    assert_eq!(row(&rig, "groups_of_one").await, "0,1,NULL");
}

#[tokio::test]
async fn a_view_that_is_made_later_catches_up_to_its_row() {
    let mut rig = Rig::new();
    rig.sql(SOURCES).await;
    rig.outside.produce("0", [r#"{"g":"a","x":1,"at":"2026-01-01T00:00:01Z"}"#.to_owned()]);
    rig.flush().await;
    create(&mut rig).await;
    rig.flush().await;
    assert_eq!(row(&rig, "nothing").await, "0,NULL,1");
    assert_eq!(row(&rig, "totals").await, "1,1,1");
    assert_eq!(row(&rig, "amounts_of_all").await, "0,NULL,NULL");
}

#[tokio::test]
async fn what_has_keys_or_windows_or_fails_of_no_rows_has_none() {
    let mut rig = Rig::new();
    rig.sql(SOURCES).await;
    for (view, query) in [
        ("groups", "SELECT g, count(*) AS n FROM readings GROUP BY g"),
        ("windows", "SELECT count(*) AS n FROM readings WINDOW TUMBLE (at, INTERVAL '1 minute')"),
        ("sessions", "SELECT count(*) AS n FROM readings WINDOW SESSION (at, INTERVAL '1 minute')"),
        ("some", "SELECT count(*) AS n FROM readings HAVING count(*) > 0"),
        ("ratio", "SELECT 10 / count(*) AS n FROM readings"),
    ] {
        rig.sql(&format!("CREATE MATERIALIZED VIEW {view} AS {query}")).await;
        let rows = rig.query(&format!("SELECT count(*) AS n FROM {view}")).await;
        assert!(rows.contains("| 0 |"), "{view}: {rows}");
    }
    let errors = rig.query("SELECT sqlstate FROM \"ratio$errors\"").await;
    assert!(errors.contains("| 22012"), "{errors}");
    rig.outside.produce("0", [r#"{"g":"a","x":1,"at":"2026-01-01T00:00:01Z"}"#.to_owned()]);
    rig.flush().await;
    assert!(rig.query("SELECT n FROM ratio").await.contains("| 10 |"));
}
