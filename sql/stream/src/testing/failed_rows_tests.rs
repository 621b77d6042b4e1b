//! A row that an expression cannot be computed for is left out; the view goes on, says so, and counts it.

use super::rig::Rig;

const SOURCES: &str = "CREATE STREAM readings (
    id BIGINT NOT NULL, x BIGINT, word TEXT, timestamp TIMESTAMPTZ NOT NULL,
    WATERMARK FOR timestamp AS timestamp - INTERVAL '10 seconds'
) WITH (connector = 'test', idle_timeout = '1 hour');
CREATE TABLE rates (k TEXT PRIMARY KEY, x BIGINT)
WITH (connector = 'test', splits = 'r', format = 'changes', idle_timeout = '1 hour');";

/// A view, and the batch query over the rows that can be computed.
const VIEWS: [(&str, &str, &str); 16] = [
    ("rows", "SELECT id, 10 / x AS y FROM readings", "SELECT id, 10 / x AS y FROM good"),
    ("casts", "SELECT id, word::INT AS y FROM readings", "SELECT id, word::INT AS y FROM good"),
    ("filters", "SELECT id FROM readings WHERE 10 / x > 2", "SELECT id FROM good WHERE 10 / x > 2"),
    (
        "args",
        "SELECT id % 3 AS g, sum(10 / x) AS s, count(*) AS n FROM readings GROUP BY id % 3",
        "SELECT id % 3 AS g, sum(10 / x) AS s, count(*) AS n FROM good GROUP BY id % 3",
    ),
    (
        "keys",
        "SELECT 10 / x AS g, count(*) AS n FROM readings GROUP BY 10 / x",
        "SELECT 10 / x AS g, count(*) AS n FROM good GROUP BY 10 / x",
    ),
    (
        "tumbling",
        "SELECT count(*) AS n, sum(10 / x) AS s, count(DISTINCT 10 / x) AS d FROM readings
            WINDOW TUMBLE (timestamp, INTERVAL '20 seconds', INTERVAL '1 minute')",
        "SELECT date_bin(INTERVAL '20 seconds', timestamp) AS window_start,
            date_bin(INTERVAL '20 seconds', timestamp) + INTERVAL '20 seconds' AS window_end, count(*) AS n, sum(10 / x) AS s,
            count(DISTINCT 10 / x) AS d FROM good GROUP BY 1, 2
         UNION ALL SELECT date_bin(INTERVAL '1 minute', timestamp), date_bin(INTERVAL '1 minute', timestamp) + INTERVAL '1 minute',
            count(*), sum(10 / x), count(DISTINCT 10 / x) FROM good GROUP BY 1, 2",
    ),
    (
        "hopping",
        "SELECT sum(10 / x) AS s FROM readings WINDOW HOP (timestamp, INTERVAL '1 minute', INTERVAL '1 minute')",
        "SELECT date_bin(INTERVAL '1 minute', timestamp) AS window_start,
            date_bin(INTERVAL '1 minute', timestamp) + INTERVAL '1 minute' AS window_end, sum(10 / x) AS s
         FROM good GROUP BY 1, 2",
    ),
    (
        "sessions",
        "SELECT count(*) AS n, max(10 / x) AS m FROM readings WINDOW SESSION (timestamp, INTERVAL '1 hour')",
        "SELECT min(timestamp) AS window_start, max(timestamp) + INTERVAL '1 hour' AS window_end, count(*) AS n,
            max(10 / x) AS m FROM good",
    ),
    ("firsts", "SELECT DISTINCT 10 / x AS y FROM readings", "SELECT DISTINCT 10 / x AS y FROM good"),
    (
        "top",
        "SELECT id, n FROM (SELECT id, ROW_NUMBER() OVER (PARTITION BY id % 2 ORDER BY 10 / x, id) AS n FROM readings) WHERE n <= 3",
        "SELECT id, n FROM (SELECT id, ROW_NUMBER() OVER (PARTITION BY id % 2 ORDER BY 10 / x, id) AS n FROM good) WHERE n <= 3",
    ),
    (
        "levels",
        "SELECT n, count(*) AS c FROM (SELECT 10 / x AS g, count(*) AS n FROM readings GROUP BY 10 / x) GROUP BY n",
        "SELECT n, count(*) AS c FROM (SELECT 10 / x AS g, count(*) AS n FROM good GROUP BY 10 / x) GROUP BY n",
    ),
    (
        "pairs",
        "SELECT a.id, b.id AS other FROM readings a JOIN readings b ON 10 / a.x = b.x
            AND b.timestamp BETWEEN a.timestamp AND a.timestamp + INTERVAL '10 seconds'",
        "SELECT a.id, b.id AS other FROM good a JOIN readings b ON 10 / a.x = b.x
            AND b.timestamp BETWEEN a.timestamp AND a.timestamp + INTERVAL '10 seconds'",
    ),
    (
        "conditions",
        "SELECT a.id, b.id AS other FROM readings a JOIN readings b ON a.id % 5 = b.id % 5
            AND b.timestamp BETWEEN a.timestamp AND a.timestamp + INTERVAL '10 seconds' AND 10 / (a.x * b.x) > 0",
        "SELECT a.id, b.id AS other FROM good a JOIN good b ON a.id % 5 = b.id % 5
            AND b.timestamp BETWEEN a.timestamp AND a.timestamp + INTERVAL '10 seconds' AND 10 / (a.x * b.x) > 0",
    ),
    (
        "looked_up",
        "SELECT r.id, 10 / t.x AS y FROM readings r JOIN rates t ON t.k = 'k' || (r.id % 4)::TEXT",
        "SELECT r.id, 10 / t.x AS y FROM readings r JOIN (SELECT * FROM rates WHERE x <> 0) t ON t.k = 'k' || (r.id % 4)::TEXT",
    ),
    (
        "of_table",
        "SELECT sum(10 / x) AS s, count(*) AS n FROM rates",
        "SELECT sum(10 / x) AS s, count(*) AS n FROM rates WHERE x <> 0",
    ),
    (
        "groups_that_fail",
        "SELECT id % 7 AS g, 100 / (sum(x) - 12) AS y FROM readings GROUP BY id % 7",
        "SELECT g, 100 / (s - 12) AS y FROM (SELECT id % 7 AS g, sum(x) AS s FROM readings GROUP BY id % 7) WHERE s <> 12",
    ),
];

fn reading(id: i64) -> String {
    let word = if bad(id) { "odd".to_owned() } else { id.to_string() };
    let x = if bad(id) { 0 } else { id % 5 + 1 };
    format!(r#"{{"id":{id},"x":{x},"word":"{word}","timestamp":"2026-01-01T00:{:02}:{:02}Z"}}"#, id / 60 % 60, id % 60)
}

fn bad(id: i64) -> bool {
    id % 6 == 4
}

fn rate(k: i64, x: i64, op: &str) -> String {
    format!(r#"{{"k":"k{k}","x":{x},"op":"{op}"}}"#)
}

/// Lines of the answer, in order.
fn sorted(table: &str) -> Vec<String> {
    let mut rows: Vec<String> =
        table.lines().filter(|line| line.starts_with('|')).skip(1).map(|line| line.replace(' ', "")).collect();
    rows.sort();
    rows
}

async fn compare(rig: &Rig, when: &str) {
    for (name, _, batch) in VIEWS {
        if name == "looked_up" && when.starts_with("after") {
            // Rows keep what they met, and the table has changed.
            continue;
        }
        let batch = batch.replace("FROM good", "FROM (SELECT * FROM readings WHERE x <> 0)");
        let batch = batch.replace("JOIN good", "JOIN (SELECT * FROM readings WHERE x <> 0)");
        let columns = match name {
            "tumbling" => "window_start, window_end, n, s, d",
            "hopping" => "window_start, window_end, s",
            "sessions" => "window_start, window_end, n, m",
            _ => "*",
        };
        let shown = sorted(&rig.query(&format!("SELECT {columns} FROM {name}")).await);
        assert_eq!(shown, sorted(&rig.query(&batch).await), "{name}, {when}");
        assert!(!shown.is_empty(), "{name} has no row, {when}");
    }
    let odd = "SELECT job FROM accounting WHERE consumed <> emitted + late + dead_lettered + filtered + failed";
    assert_eq!(sorted(&rig.query(odd).await), [""; 0], "{when}");
    let stopped = rig.query("SELECT name, state, message FROM jobs WHERE state <> 'running'").await;
    assert_eq!(sorted(&stopped), [""; 0], "{when}");
}

#[tokio::test]
async fn every_kind_of_view_is_the_batch_answer_without_the_rows_that_fail() {
    let mut rig = Rig::new();
    rig.declare(SOURCES);
    for (name, query, _) in VIEWS {
        rig.declare(&format!("CREATE MATERIALIZED VIEW {name} AS {query}"));
    }
    rig.outside.produce("r", [rate(0, 2, "c"), rate(1, 0, "c"), rate(2, 5, "c"), rate(3, 0, "c")]);
    rig.outside.produce("0", (0..80).map(reading));
    rig.start().await;
    rig.flush().await;
    compare(&rig, "at first").await;
    // What could not be computed becomes what can, and the other way round.
    rig.outside.produce("r", [rate(1, 10, "u"), rate(2, 0, "u"), rate(3, 0, "d")]);
    rig.outside.produce("0", (80..120).map(reading));
    rig.kill();
    rig.start().await;
    rig.flush().await;
    compare(&rig, "after a crash").await;
    rig.outside.produce("0", (120..200).map(reading));
    rig.stop().await;
    rig.start().await;
    rig.flush().await;
    compare(&rig, "after a stop").await;
}

#[tokio::test]
async fn a_view_that_comes_later_leaves_out_the_same_rows() {
    let mut rig = Rig::new();
    rig.declare(SOURCES);
    rig.outside.produce("r", [rate(0, 2, "c"), rate(1, 0, "c"), rate(2, 1, "c")]);
    rig.outside.produce("0", (0..150).map(reading));
    rig.start().await;
    rig.flush().await;
    for (name, query, _) in VIEWS {
        rig.declare(&format!("CREATE MATERIALIZED VIEW {name} AS {query}"));
    }
    rig.start().await;
    rig.flush().await;
    compare(&rig, "later").await;
}

#[tokio::test]
async fn what_was_left_out_is_counted_and_can_be_read() {
    let mut rig = Rig::new();
    rig.declare(SOURCES);
    for (name, query, _) in VIEWS {
        rig.declare(&format!("CREATE MATERIALIZED VIEW {name} AS {query}"));
    }
    rig.outside.produce("0", (0..18).map(reading));
    rig.start().await;
    rig.flush().await;
    // Each of the views that read the stream alone has left out the three rows, once.
    for name in
        ["rows", "casts", "filters", "args", "keys", "tumbling", "hopping", "sessions", "firsts", "top", "levels"]
    {
        let counted =
            rig.query(&format!("SELECT consumed, failed FROM accounting WHERE job = '{name}' AND failed > 0")).await;
        assert_eq!(sorted(&counted), ["|18|3|"], "{name}");
        let errors = rig.query(&format!("SELECT _offset FROM \"{name}$errors\"")).await;
        assert_eq!(sorted(&errors), ["|10|", "|16|", "|4|"], "{name}");
    }
    let first = rig.query("SELECT _partition, \"row\", sqlstate, reason FROM \"rows$errors\" WHERE _offset = 4").await;
    assert!(
        first.contains(r#"| 0          | {"id":"4","#) && first.contains(r#""x":"0"} | 22012    | division by zero |"#),
        "{first}"
    );
    let cast = rig.query("SELECT sqlstate, reason FROM \"casts$errors\" WHERE _offset = 4").await;
    assert!(cast.contains("| 22P02    | invalid input syntax for type integer: \"odd\" |"), "{cast}");
    let message = rig.query("SELECT message FROM jobs WHERE name = 'rows'").await;
    assert!(message.contains("3 rows were left out, see rows$errors; the newest: division by zero"), "{message}");
    // A crash takes nothing of it away, and counts nothing twice.
    rig.kill();
    rig.outside.produce("0", [reading(22)]);
    rig.start().await;
    rig.flush().await;
    for name in ["rows", "args", "top"] {
        let counted =
            rig.query(&format!("SELECT consumed, failed FROM accounting WHERE job = '{name}' AND failed > 0")).await;
        assert_eq!(sorted(&counted), ["|19|4|"], "{name}");
        let errors = rig.query(&format!("SELECT _offset FROM \"{name}$errors\"")).await;
        assert_eq!(sorted(&errors), ["|10|", "|16|", "|18|", "|4|"], "{name}");
    }
}

#[tokio::test]
async fn a_value_that_an_aggregate_does_not_take_is_left_out_too() {
    let mut rig = Rig::new();
    rig.declare(SOURCES);
    rig.declare(
        "CREATE MATERIALIZED VIEW objects AS SELECT id % 2 AS g,
            json_object_agg(CASE WHEN x = 0 THEN NULL ELSE word END, x)::TEXT AS o FROM readings GROUP BY id % 2",
    );
    rig.outside.produce("0", (0..6).map(reading));
    rig.start().await;
    rig.flush().await;
    let shown = rig.query("SELECT g, o FROM objects ORDER BY g").await;
    assert!(shown.contains(r#"{ "0" : 1, "2" : 3 }"#) && shown.contains(r#"{ "1" : 2, "3" : 4, "5" : 1 }"#), "{shown}");
    let counted = rig.query("SELECT consumed, emitted, failed FROM accounting WHERE job = 'objects'").await;
    assert_eq!(sorted(&counted), ["|6|5|1|"]);
    let errors = rig.query("SELECT _offset FROM \"objects$errors\"").await;
    assert_eq!(sorted(&errors), ["|4|"]);
}

#[tokio::test]
async fn many_rows_that_fail_are_all_counted_and_the_newest_are_kept() {
    let mut rig = Rig::new();
    rig.declare(SOURCES);
    rig.declare("CREATE MATERIALIZED VIEW v AS SELECT word::INT AS n FROM readings");
    rig.outside
        .produce("0", (0..3_000).map(|id| reading(id).replace(&format!("\"word\":\"{id}\""), "\"word\":\"odd\"")));
    rig.start().await;
    rig.flush().await;
    let counted = rig.query("SELECT consumed, emitted, failed FROM accounting WHERE job = 'v'").await;
    assert_eq!(sorted(&counted), ["|3000|0|3000|"]);
    let errors = rig.query("SELECT count(*) AS n, max(_offset) AS newest FROM \"v$errors\"").await;
    assert_eq!(sorted(&errors), ["|200|2999|"]);
}

/// A record may have 16 MiB; what is kept of it stands in memory, in each checkpoint and in `ebap.jobs`.
#[tokio::test]
async fn of_a_long_value_the_beginning_is_kept() {
    let mut rig = Rig::new();
    rig.declare(SOURCES);
    rig.declare("CREATE MATERIALIZED VIEW v AS SELECT word::INT AS n FROM readings");
    let long = "ä".repeat(100_000);
    rig.outside.produce("0", (3..6).map(|id| reading(id).replace("\"word\":\"odd\"", &format!("\"word\":\"{long}\""))));
    rig.start().await;
    rig.flush().await;
    let kept =
        rig.query("SELECT length(\"row\") AS r, length(reason) AS l, left(reason, 41) AS t FROM \"v$errors\"").await;
    assert_eq!(sorted(&kept), ["|1001|1001|invalidinputsyntaxfortypeinteger:\"ä|"]);
    let told = rig.query("SELECT length(message) < 2000 AS short FROM jobs WHERE name = 'v'").await;
    assert_eq!(sorted(&told), ["|true|"]);
}

/// Sums that no DOUBLE PRECISION is: of groups over what changes, of sessions, and of those that have ended.
#[tokio::test]
async fn a_group_that_has_no_value_is_left_out_until_it_has_one() {
    let mut rig = Rig::new();
    rig.sql(
        "CREATE TABLE amounts (id TEXT PRIMARY KEY, g TEXT, x DOUBLE PRECISION)
         WITH (connector = 'test', splits = 'r', format = 'changes', idle_timeout = '1 hour');
         CREATE STREAM visits (g TEXT, x DOUBLE PRECISION, at TIMESTAMPTZ NOT NULL,
            WATERMARK FOR at AS at - INTERVAL '1 second') WITH (connector = 'test', splits = 'v');",
    )
    .await;
    for view in [
        "sums AS SELECT g, sum(x) AS s FROM amounts GROUP BY g",
        "of_sums AS SELECT count(*) AS n, max(s) AS m FROM (SELECT g, sum(x) AS s FROM amounts GROUP BY g) AS q",
        "spans AS SELECT g, sum(x) AS s FROM visits GROUP BY g WINDOW SESSION (at, INTERVAL '1 minute')",
        "ended AS SELECT g, sum(x) AS s FROM visits GROUP BY g WINDOW SESSION (at, INTERVAL '1 minute')
            EMIT ON WINDOW CLOSE",
    ] {
        rig.sql(&format!("CREATE MATERIALIZED VIEW {view}")).await;
    }
    let amount = |id: &str, g: &str, x: &str| format!(r#"{{"id":"{id}","g":"{g}","x":{x}}}"#);
    rig.outside.produce("r", [amount("a", "one", "1e308"), amount("b", "one", "1e308"), amount("c", "two", "3")]);
    let visit =
        |g: &str, x: &str, minute: i64| format!(r#"{{"g":"{g}","x":{x},"at":"2026-01-01T00:{minute:02}:00Z"}}"#);
    let large = [visit("one", "1e308", 0), visit("one", "1.1e308", 0), visit("two", "3", 0), visit("two", "4", 10)];
    rig.outside.produce("v", large);
    rig.flush().await;
    let two = ["+-----+-----+", "| g   | s   |", "+-----+-----+", "| two | 3.0 |", "+-----+-----+"];
    assert_eq!(rig.query("SELECT g, s FROM sums").await.lines().collect::<Vec<_>>(), two);
    for view in ["spans", "ended"] {
        let shown = rig.query(&format!("SELECT g, s FROM {view} WHERE s < 4")).await;
        assert_eq!(shown.lines().collect::<Vec<_>>(), two, "{view}");
        let errors = rig.query(&format!("SELECT row, reason FROM \"{view}$errors\"")).await;
        assert!(errors.contains("out of range"), "{view}: {errors}");
    }
    assert!(rig.query("SELECT n, m FROM of_sums").await.contains("| 1 | 3.0 |"));
    let errors = rig.query("SELECT row, sqlstate FROM \"sums$errors\"").await;
    assert!(errors.contains(r#"{"g":"one"}"#) && errors.contains("22003"), "{errors}");
    // A change gives it a value again, also when the server has died between.
    rig.kill();
    rig.start().await;
    rig.outside.produce("r", [amount("b", "one", "-1e308")]);
    rig.flush().await;
    let sums = rig.query("SELECT g, s FROM sums ORDER BY g").await;
    assert!(sums.contains("| one | 0.0 |") && sums.contains("| two | 3.0 |"), "{sums}");
    assert!(rig.query("SELECT n, m FROM of_sums").await.contains("| 2 | 3.0 |"));
    // Who wants it stops at it.
    rig.outside.produce("r", [amount("b", "one", "1e308")]);
    rig.sql(
        "CREATE MATERIALIZED VIEW strict WITH (on_error = 'stop') AS SELECT g, sum(x) AS s FROM amounts GROUP BY g",
    )
    .await;
    let stopped = rig.try_flush().await.expect_err("it has stopped");
    assert!(stopped.contains("\"strict\" has failed: 22003"), "{stopped}");
}
