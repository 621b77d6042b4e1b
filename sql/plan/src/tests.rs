//! Every error with its SQLSTATE and the place it is about: one table per part that finds them.

use ebap_catalog::Catalog;

use crate::{Error, Statement, apply, parse, plan_query};

const SETUP: &str = "
    CREATE CONNECTION broker TO KAFKA (bootstrap_servers = 'k:9092');
    CREATE SECRET token AS 'abc';
    CREATE STREAM s (id BIGINT NOT NULL, region TEXT, at TIMESTAMPTZ NOT NULL, WATERMARK FOR at AS at)
        WITH (connection = broker, topic = 's');
    CREATE STREAM timeless (id BIGINT, at TIMESTAMPTZ) WITH (connector = 'file', path = 'x');
    CREATE TABLE users (id BIGINT PRIMARY KEY, tier TEXT) WITH (connector = 'file', path = 'x');
    CREATE MATERIALIZED VIEW v AS SELECT region, count(*) AS n FROM s GROUP BY region;
    CREATE MATERIALIZED VIEW w AS SELECT region, max(id) AS n FROM s GROUP BY region;
    CREATE MATERIALIZED VIEW other AS SELECT region FROM s;
    CREATE SINK out FROM v WITH (connector = 'redis', url = 'x', key = 'y');";

pub(crate) fn catalog() -> Catalog {
    parse(SETUP).expect("the setup parses").into_iter().fold(Catalog::default(), |catalog, one| {
        apply(&catalog, &one.statement, &one.text, 0).expect(&one.text).catalog
    })
}

/// The place as the word that starts there.
fn place(sql: &str, error: &Error) -> String {
    let Some(position) = error.position else { return "-".to_owned() };
    let rest: String = sql.chars().skip(position - 1).collect();
    rest.split([' ', ',', ')'])
        .next()
        .map_or_else(String::new, |word| if word.is_empty() { "$".to_owned() } else { word.to_owned() })
}

pub(crate) fn check<T: AsRef<str>>(table: &[(T, &str, &str, &str)], run: impl Fn(&str) -> Option<Error>) {
    let mut wrong = Vec::new();
    for (sql, code, at, message) in table {
        let sql = sql.as_ref();
        let found = run(sql).map_or_else(
            || "no error".to_owned(),
            |error| format!("{} at {}: {}", error.sqlstate, place(sql, &error), error.message),
        );
        if found != format!("{code} at {at}: {message}") {
            wrong.push(format!("{sql}\n  wanted {code} at {at}: {message}\n  found  {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_parser_says_where() {
    let table = [
        (
            "SELECT count(*) FROM TUMBLE (s, at, INTERVAL '1 minute')",
            "0A000",
            "TUMBLE",
            "TUMBLE outside of a materialized view is not supported",
        ),
        (
            "SELECT s.id FROM s JOIN v FOR SYSTEM_TIME AS OF s.at ON true",
            "0A000",
            "FOR",
            "FOR SYSTEM_TIME AS OF outside of a materialized view is not supported",
        ),
        ("SELEC 1", "42601", "SELEC", "syntax error at or near \"SELEC\""),
        ("SELECT 'open", "42601", "'open", "unterminated string literal"),
        ("CREATE STREAM", "42601", "$", "syntax error at end of input"),
        ("CREATE STREAM s (id BIGINT)", "42601", "$", "syntax error at end of input"),
        ("CREATE STREAM s (id NOTYPE) WITH (x = 1)", "42704", "NOTYPE", "type \"notype\" does not exist"),
        (
            "CREATE STREAM s (id NUMERIC(50)) WITH (x = 1)",
            "22023",
            "NUMERIC(50",
            "NUMERIC precision 50 must be between 1 and 38, its scale at most that",
        ),
        (
            "CREATE STREAM s (id VARCHAR(5)) WITH (x = 1)",
            "0A000",
            "VARCHAR(5",
            "a length for type varchar is not supported",
        ),
        ("CREATE STREAM s (id INT) WITH (x = 1, x = 2)", "42701", "x", "option \"x\" specified more than once"),
        (
            "CREATE STREAM s (id INT, WATERMARK FOR at AS at * 2) WITH (x = 1)",
            "0A000",
            "WATERMARK",
            "a watermark of the form at * 2 is not supported",
        ),
        ("CREATE STREAM lake.s (id INT) WITH (x = 1)", "3F000", "lake.s", "schema \"lake\" cannot hold objects"),
        ("CREATE VIEW v AS SELECT 1", "0A000", "CREATE", "CREATE VIEW is not supported"),
        ("CREATE INDEX i ON s (id)", "0A000", "CREATE", "CREATE INDEX is not supported"),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT 1 EMIT SOMETIMES",
            "42601",
            "SOMETIMES",
            "syntax error at or near \"SOMETIMES\"",
        ),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT 1 FROM s WINDOW HOP (at, 1)",
            "42601",
            "-",
            "WINDOW HOP needs a time column, a slide and a size",
        ),
        (
            "CREATE SINK k FROM v PARTITIONED BY (week(at)) WITH (x = 1)",
            "0A000",
            "week(at",
            "partition transform week is not supported",
        ),
        ("DROP STREAM s CASCADE NOW", "42601", "NOW", "syntax error at or near \"NOW\""),
        ("ALTER STREAM s", "42601", "$", "syntax error at end of input"),
        ("ALTER STREAM s PAUSE NOW", "42601", "NOW", "syntax error at or near \"NOW\""),
        ("ALTER TABLE s ADD COLUMN x INT", "0A000", "ADD", "ALTER TABLE ... ADD is not supported"),
        ("ALTER STREAM s SWAP WITH t", "0A000", "SWAP", "SWAP WITH of a stream is not supported"),
        ("ALTER SECRET s PAUSE", "0A000", "SECRET", "ALTER SECRET is not supported"),
        ("COMMENT ON STREAM s IS 5", "42601", "5", "syntax error at or near \"5\""),
        ("FLUSH NOW", "42601", "NOW", "syntax error at or near \"NOW\""),
    ];
    check(&table, |sql| parse(sql).err());
}

fn applied(sql: &str) -> Option<Error> {
    let one = parse(sql).expect(sql).pop().expect(sql);
    match &one.statement {
        Statement::Query(query) => plan_query(&catalog(), query, &one.text).err(),
        statement => apply(&catalog(), statement, &one.text, 0).err(),
    }
}

#[test]
fn what_a_statement_does_to_the_catalog_is_refused_with_a_code() {
    let table = [
        ("CREATE STREAM v (id INT) WITH (connector = 'file')", "42P07", "-", "materialized view \"v\" already exists"),
        ("CREATE SECRET token AS 'x'", "42710", "-", "secret \"token\" already exists"),
        ("CREATE STREAM x (id INT) WITH (connection = nope)", "42704", "-", "connection \"nope\" does not exist"),
        (
            "CREATE STREAM x (id INT) WITH (connector = 'file', y = SECRET nope)",
            "42704",
            "-",
            "secret \"nope\" does not exist",
        ),
        ("CREATE STREAM x (id INT) WITH (topic = 't')", "22023", "-", "option \"connector\": is required"),
        (
            "CREATE STREAM x (id INT) WITH (connection = broker, connector = 'file')",
            "22023",
            "-",
            "option \"connector\": \"file\" does not fit the connection, which is to kafka",
        ),
        ("CREATE SINK x FROM nope WITH (connector = 'redis')", "42P01", "-", "relation \"nope\" does not exist"),
        ("DROP STREAM s", "2BP01", "-", "cannot drop stream \"s\" because other objects depend on it"),
        ("DROP STREAM v", "42809", "-", "\"v\" is not a stream"),
        ("DROP SINK nope", "42704", "-", "sink \"nope\" does not exist"),
        ("COMMENT ON COLUMN s.nope IS 'x'", "42703", "-", "column \"nope\" of relation \"s\" does not exist"),
        ("COMMENT ON SINK nope IS 'x'", "42704", "-", "sink \"nope\" does not exist"),
        ("ALTER STREAM nope PAUSE", "42P01", "-", "stream \"nope\" does not exist"),
        ("ALTER SINK nope RESUME", "42704", "-", "sink \"nope\" does not exist"),
        ("ALTER STREAM v PAUSE", "42809", "-", "\"v\" is not a stream"),
        ("ALTER MATERIALIZED VIEW v SWAP WITH v", "42P16", "-", "a materialized view cannot be swapped with itself"),
        ("ALTER MATERIALIZED VIEW v SWAP WITH nope", "42P01", "-", "materialized view \"nope\" does not exist"),
        (
            "ALTER MATERIALIZED VIEW other SWAP WITH v",
            "42P16",
            "-",
            "cannot swap \"other\" with \"v\": they have 1 and 2 columns",
        ),
    ];
    check(&table, applied);
}

#[test]
fn what_cannot_be_planned_is_refused_with_a_code_and_a_place() {
    let view = |query: &str| format!("CREATE MATERIALIZED VIEW x AS {query}");
    let views = [
        ("SELECT nix FROM s", "42703", "nix", "column \"nix\" does not exist"),
        ("SELECT id FROM nowhere", "42P01", "-", "relation \"nowhere\" does not exist"),
        ("SELECT nofunction(id) FROM s", "42883", "nofunction(id", "function nofunction does not exist"),
        ("SELECT now() AS n FROM s", "0A000", "-", "now() in a materialized view is not supported"),
        (
            "SELECT id, rank() OVER (ORDER BY id) AS r FROM s",
            "0A000",
            "-",
            "RANK() without a bound in a materialized view is not supported",
        ),
        (
            "SELECT id, lag(id) OVER (ORDER BY id) AS r FROM s",
            "0A000",
            "-",
            "lag() OVER in a materialized view is not supported",
        ),
        (
            "SELECT id, n, m FROM (SELECT id, RANK() OVER (ORDER BY id) AS n, RANK() OVER (ORDER BY region) AS m FROM s) WHERE n = 1",
            "0A000",
            "-",
            "RANK() without a bound in a materialized view is not supported",
        ),
        (
            "SELECT id FROM s WHERE id > 1 OR EXISTS (SELECT 1 FROM users WHERE users.id = s.id)",
            "0A000",
            "-",
            "EXISTS or IN as a part of an OR or a value in a materialized view is not supported",
        ),
        (
            "SELECT id FROM users WHERE id IN (SELECT id FROM s)",
            "0A000",
            "-",
            "EXISTS or IN of rows of a table in a stream in a materialized view is not supported",
        ),
        (
            "SELECT id FROM s WHERE at < now() - INTERVAL '5 minutes'",
            "0A000",
            "-",
            "the condition s.\"at\" < now() - INTERVAL '5 MINS' of the clock in a materialized view is not supported",
        ),
        (
            "SELECT s.id FROM s JOIN users FOR SYSTEM_TIME AS OF s.at + INTERVAL '1 hour' AS p ON p.id = s.id",
            "0A000",
            "-",
            "FOR SYSTEM_TIME AS OF s.at + INTERVAL '1 hour' is not supported",
        ),
        (
            "SELECT s.id FROM s RIGHT JOIN users FOR SYSTEM_TIME AS OF s.at AS p ON p.id = s.id",
            "0A000",
            "-",
            "FOR SYSTEM_TIME AS OF here is not supported",
        ),
        (
            "SELECT s.id FROM users FOR SYSTEM_TIME AS OF s.at AS p JOIN s ON p.id = s.id",
            "0A000",
            "-",
            "FOR SYSTEM_TIME AS OF here is not supported",
        ),
        (
            "SELECT s.id FROM s JOIN s FOR SYSTEM_TIME AS OF s.at AS p ON p.id = s.id",
            "0A000",
            "-",
            "FOR SYSTEM_TIME AS OF of \"s\" is not supported",
        ),
        (
            "WITH q AS (SELECT id FROM users) SELECT s.id FROM s JOIN q FOR SYSTEM_TIME AS OF s.at AS p ON p.id = s.id",
            "0A000",
            "-",
            "FOR SYSTEM_TIME AS OF of \"q\" is not supported",
        ),
        (
            "SELECT t.id FROM timeless t JOIN users FOR SYSTEM_TIME AS OF t.at AS p ON p.id = t.id",
            "42P17",
            "-",
            "the time of FOR SYSTEM_TIME AS OF has no watermark, so versions would be kept for ever",
        ),
        ("SELECT s.id, s.id FROM s", "42701", "-", "column \"id\" specified more than once"),
        (
            "SELECT a.id FROM s a JOIN s b ON a.id = b.id",
            "0A000",
            "-",
            "a join of two streams that would keep their rows for ever is not supported",
        ),
        (
            "SELECT id, ROW_NUMBER() OVER (ORDER BY id) AS r FROM s",
            "0A000",
            "-",
            "ROW_NUMBER() without a bound in a materialized view is not supported",
        ),
        (
            "WITH RECURSIVE t AS (SELECT id FROM s UNION ALL SELECT id FROM t) SELECT id FROM t",
            "0A000",
            "-",
            "WITH RECURSIVE is not supported",
        ),
        (
            "SELECT id FROM s ORDER BY id",
            "0A000",
            "-",
            "ORDER BY without LIMIT in a materialized view is not supported",
        ),
        ("SELECT id FROM s LIMIT 1", "0A000", "-", "LIMIT without ORDER BY in a materialized view is not supported"),
        ("SELECT 1 AS one", "0A000", "-", "a query without a stream in a materialized view is not supported"),
        ("SELECT id, region AS id FROM s", "42702", "id", "column reference \"id\" is ambiguous"),
        (
            "SELECT region, count(*) FROM s GROUP BY region EMIT FINAL",
            "0A000",
            "EMIT",
            "EMIT ON WINDOW CLOSE without a window is not supported",
        ),
        (
            "SELECT id FROM HOP(s, at, INTERVAL '2 minutes', INTERVAL '3 minutes')",
            "22023",
            "-",
            "the size INTERVAL '3 minutes' is not a multiple of the slide INTERVAL '2 minutes'",
        ),
        (
            "SELECT count(*) AS n FROM s WINDOW TUMBLE (at, INTERVAL '2 minutes', INTERVAL '3 minutes')",
            "22023",
            "-",
            "window sizes must be multiples of the smallest",
        ),
        (
            "SELECT count(*) AS n FROM TUMBLE(s, at, INTERVAL '1 minute')",
            "42803",
            "-",
            "a view over TUMBLE must group by window_start or window_end",
        ),
    ];
    check(&views.map(|(query, code, at, message)| (view(query), code, at, message)), applied);
    let table = [
        (
            "CREATE MATERIALIZED VIEW x WITH (retention = 'long') AS SELECT id FROM s",
            "22023",
            "-",
            "option \"retention\": \"long\" is not a duration",
        ),
        (
            "CREATE MATERIALIZED VIEW x WITH (memory_limit = '0') AS SELECT id FROM s",
            "22023",
            "-",
            "option \"memory_limit\": \"0\" is not a size such as '512 MB'",
        ),
        (
            "CREATE MATERIALIZED VIEW x WITH (colour = 'red') AS SELECT id FROM s",
            "22023",
            "-",
            "option \"colour\": is not known here",
        ),
        (
            "CREATE STREAM x (a INT, a INT) WITH (connector = 'file')",
            "42701",
            "a",
            "column \"a\" specified more than once",
        ),
        (
            "CREATE STREAM x (_late INT) WITH (connector = 'file')",
            "42939",
            "_late",
            "column name \"_late\" is reserved for a virtual column",
        ),
        ("CREATE STREAM x (a INT PRIMARY KEY) WITH (connector = 'file')", "42P16", "-", "a stream has no primary key"),
        ("CREATE TABLE x (a INT) WITH (connector = 'file')", "42P16", "-", "a table needs a primary key"),
        (
            "CREATE STREAM x (a INT) WITH (connector = 'file', format = 'debezium-json')",
            "0A000",
            "format",
            "format 'debezium-json' for a stream is not supported",
        ),
        (
            "CREATE STREAM x (a INT, WATERMARK FOR b AS b) WITH (connector = 'file')",
            "42703",
            "b",
            "column \"b\" does not exist",
        ),
        (
            "CREATE STREAM x (a INT, WATERMARK FOR a AS a) WITH (connector = 'file')",
            "42804",
            "a",
            "watermark column \"a\" must be of type TIMESTAMPTZ",
        ),
        (
            "CREATE STREAM x (a INT CHECK (nix > 1)) WITH (connector = 'file')",
            "42703",
            "nix",
            "column \"nix\" does not exist",
        ),
        (
            "CREATE STREAM x (a INT, b INT AS (a + 1), c INT AS (b + 1)) WITH (connector = 'file')",
            "0A000",
            "-",
            "a computed column that refers to the computed column \"b\" is not supported",
        ),
        (
            "CREATE STREAM x (a INT) WITH (connector = 'file', idle_timeout = 'soon')",
            "22023",
            "-",
            "option \"idle_timeout\": \"soon\" is not a duration",
        ),
        (
            "CREATE SINK x FROM v PARTITIONED BY (nix) WITH (connector = 'redis')",
            "42703",
            "-",
            "column \"nix\" does not exist",
        ),
        (
            "CREATE MATERIALIZED VIEW x AS SELECT count(*) AS n FROM timeless WINDOW TUMBLE (at, INTERVAL '1 minute')",
            "42P17",
            "-",
            "stream \"timeless\" has no watermark, so a window would never close",
        ),
        ("SELECT id FROM s AS a, s AS b", "42702", "id", "column reference \"id\" is ambiguous"),
        ("SELECT _nope FROM s", "42703", "_nope", "column \"_nope\" does not exist"),
    ];
    check(&table, applied);
}

#[test]
fn a_swap_rewrites_the_names_alone() {
    let apply_to = |catalog: Catalog, sql: &str| {
        let one = parse(sql).expect(sql).pop().expect(sql);
        apply(&catalog, &one.statement, &one.text, 0).expect(sql)
    };
    let before = catalog();
    let swapped = apply_to(before.clone(), "ALTER MATERIALIZED VIEW v SWAP WITH w");
    let sql = |name: &str| swapped.catalog.relation(name).map(|view| view.sql.clone());
    let of = |name: &str| before.relation(name).map(|view| view.sql.clone()).unwrap_or_default();
    assert_eq!(sql("v"), Some(of("w").replace("VIEW w", "VIEW v")));
    assert_eq!(sql("w"), Some(of("v").replace("VIEW v", "VIEW w")));
    let plans = crate::plan_catalog(&swapped.catalog).expect("the sink finds its view, which is younger");
    assert_eq!(plans.sinks[0].from, before.relation("w").expect("there").id);
    let back = apply_to(swapped.catalog, "ALTER MATERIALIZED VIEW w SWAP WITH v");
    assert_eq!((back.catalog, back.tag.as_str()), (before, "ALTER MATERIALIZED VIEW"));
}

#[test]
fn pausing_and_resuming_are_facts_of_the_catalog() {
    let mut catalog = catalog();
    let mut said = Vec::new();
    for action in ["PAUSE", "PAUSE", "RESUME", "RESUME"] {
        let sql = format!("ALTER SINK out {action}");
        let one = parse(&sql).expect(&sql).pop().expect(&sql);
        let applied = apply(&catalog, &one.statement, &one.text, 0).expect(&sql);
        catalog = applied.catalog;
        let run = crate::plan_catalog(&catalog).expect("it plans").sinks[0].run;
        said.push((run.paused, run.resumes, applied.notices.join("")));
    }
    let notice = "sink \"out\" is paused already".to_owned();
    let none = String::new();
    assert_eq!(said, [(true, 0, none.clone()), (true, 0, notice), (false, 1, none.clone()), (false, 2, none)]);
}
