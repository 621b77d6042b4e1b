//! Functions: how they are written, what calls become, and every refusal with its place.

use ebap_catalog::{Catalog, ObjectKind};

use super::expand_functions;
use crate::{
    Error, Statement, apply,
    apply::canonical,
    parse, plan_catalog, plan_query,
    tests::{catalog, check},
};

const FUNCTIONS: &str = "
    CREATE FUNCTION pct(part BIGINT, total BIGINT) RETURNS DOUBLE PRECISION AS '100.0 * part / total';
    CREATE FUNCTION twice(BIGINT) RETURNS BIGINT AS '$1 * 2';
    CREATE FUNCTION share(x BIGINT) RETURNS NUMERIC(10, 2) AS 'pct(part => x, total => twice(share.x))';
    CREATE FUNCTION lonely() RETURNS TEXT AS $$'it''s'$$;
    CREATE FUNCTION \"Loud\"(t TEXT) RETURNS TEXT LANGUAGE sql AS 'upper(t)' IMMUTABLE;
    CREATE MATERIALIZED VIEW used AS SELECT region, share(sum(id)) FROM s GROUP BY region;";

fn with_functions() -> Catalog {
    parse(FUNCTIONS)
        .expect("they parse")
        .into_iter()
        .fold(catalog(), |catalog, one| apply(&catalog, &one.statement, &one.text, 0).expect(&one.text).catalog)
}

fn applied(sql: &str) -> Option<Error> {
    let one = parse(sql).map(|mut all| all.pop().expect(sql));
    match one {
        Err(error) => Some(error),
        Ok(one) => match &one.statement {
            Statement::Query(query) => plan_query(&with_functions(), query, &one.text).err(),
            statement => apply(&with_functions(), statement, &one.text, 0).err(),
        },
    }
}

fn expanded(sql: &str) -> String {
    let parsed = parse(sql).expect(sql).pop().expect(sql);
    let Statement::Query(mut query) = parsed.statement else { panic!("{sql}") };
    expand_functions(&with_functions(), &mut query, sql).expect(sql);
    query.to_string()
}

#[test]
fn a_call_becomes_the_expression_of_the_function() {
    for (sql, becomes) in [
        (
            "SELECT pct(a, b + 1) FROM t",
            "SELECT CAST(100.0 * CAST(a AS BIGINT) / CAST(b + 1 AS BIGINT) AS DOUBLE PRECISION) AS \"pct\" FROM t",
        ),
        (
            "SELECT PCT(total => a, part => $1) AS x, pct FROM t",
            "SELECT CAST(100.0 * CAST($1 AS BIGINT) / CAST(a AS BIGINT) AS DOUBLE PRECISION) AS x, pct FROM t",
        ),
        (
            "SELECT public.twice(1) + 1, twice(2), twice(3)",
            "SELECT CAST(CAST(1 AS BIGINT) * 2 AS BIGINT) + 1, CAST(CAST(2 AS BIGINT) * 2 AS BIGINT) AS \"twice\", \
             CAST(CAST(3 AS BIGINT) * 2 AS BIGINT)",
        ),
        (
            "SELECT a FROM t WHERE share(a) > 0",
            "SELECT a FROM t WHERE CAST(CAST(100.0 * CAST(CAST(a AS BIGINT) AS BIGINT) / CAST(CAST(CAST(CAST(a AS \
             BIGINT) AS BIGINT) * 2 AS BIGINT) AS BIGINT) AS DOUBLE PRECISION) AS NUMERIC(10,2)) > 0",
        ),
        ("SELECT lonely()", "SELECT CAST('it''s' AS TEXT) AS \"lonely\""),
        (
            "SELECT (SELECT \"Loud\"('a')), loud('b'), other.twice(1)",
            "SELECT (SELECT CAST(upper(CAST('a' AS TEXT)) AS TEXT) AS \"Loud\"), loud('b'), other.twice(1)",
        ),
    ] {
        assert_eq!(expanded(sql), becomes, "{sql}");
    }
}

#[test]
fn the_canonical_form_parses_to_itself() {
    let catalog = with_functions();
    let functions = catalog.objects().filter(|object| object.kind == ObjectKind::Function);
    let texts: Vec<&str> = functions.map(|object| object.sql.as_str()).collect();
    let wanted = [
        "CREATE FUNCTION pct(part BIGINT, total BIGINT) RETURNS DOUBLE PRECISION AS '100.0 * part / total'",
        "CREATE FUNCTION twice(BIGINT) RETURNS BIGINT AS '$1 * 2'",
        "CREATE FUNCTION share(x BIGINT) RETURNS NUMERIC(10, 2) AS 'pct(part => x, total => twice(share.x))'",
        "CREATE FUNCTION lonely() RETURNS TEXT AS '''it''''s'''",
        "CREATE FUNCTION \"Loud\"(t TEXT) RETURNS TEXT AS 'upper(t)'",
    ];
    assert_eq!(texts, wanted);
    for text in texts {
        let one = parse(text).expect(text).pop().expect(text);
        let Statement::Create(create) = one.statement else { panic!("{text}") };
        assert_eq!(canonical(&create), text);
    }
}

#[test]
fn types_are_what_columns_of_them_are() {
    let sql = "CREATE FUNCTION f(a INT[], b TIMESTAMPTZ, c DATE, d JSONB, timestamp TIMESTAMP WITH TIME ZONE)
        RETURNS TIMESTAMPTZ AS 'CASE WHEN c IS NULL OR d IS NULL OR a[1] > 0 THEN b ELSE timestamp + INTERVAL ''1 day'' END'";
    assert_eq!(applied(sql), None);
    let catalog = parse(
        "CREATE FUNCTION later(x TIMESTAMPTZ) RETURNS TIMESTAMPTZ AS 'x + INTERVAL ''1 day''';
        CREATE STREAM clock (at TIMESTAMPTZ NOT NULL, next TIMESTAMPTZ AS (later(at)), CHECK (later(at) > at))
            WITH (connector = 'file', path = 'x');
        CREATE MATERIALIZED VIEW v AS SELECT later(at) FROM clock",
    )
    .expect("it parses")
    .into_iter()
    .fold(Catalog::default(), |catalog, one| apply(&catalog, &one.statement, &one.text, 0).expect(&one.text).catalog);
    let plans = plan_catalog(&catalog).expect("it plans");
    let (column, shown) = (plans.sources[0].schema.field(0), plans.views[0].schema.field(0));
    assert_eq!((shown.name().as_str(), shown.data_type()), ("later", column.data_type()));
    let stream = catalog.relation("clock").expect("there");
    assert_eq!(stream.depends_on, [catalog.find(ObjectKind::Function, "later").expect("there").id]);
}

#[test]
fn what_a_function_may_be() {
    let function = |rest: &str| format!("CREATE FUNCTION f{rest}");
    let table = [
        ("(x BIGINT) RETURNS BIGINT", "42601", "$", "syntax error at end of input"),
        ("(x BIGINT) RETURNS BIGINT AS x", "42601", "x", "syntax error at or near \"x\""),
        ("(x BIGINT) RETURNS BIGINT AS ''", "42601", "'", "syntax error at end of input"),
        ("(x BIGINT) RETURNS BIGINT AS 'x + '", "42601", "'", "syntax error at end of input"),
        ("(x BIGINT) RETURNS BIGINT AS 'x, x'", "42601", "$", "syntax error at or near \",\""),
        ("(x BIGINT) RETURNS BIGINT AS '''a'' || ]'", "42601", "]'", "syntax error at or near \"]\""),
        ("(x BIGINT) RETURNS BIGINT AS $b$ x ] $b$", "42601", "]", "syntax error at or near \"]\""),
        ("(x BIGINT) RETURNS BIGINT AS 'SELECT x'", "0A000", "SELECT", "a function that is a query is not supported"),
        ("(x BIGINT) RETURNS BIGINT AS '(SELECT 1)'", "0A000", "SELECT", "a sub-query in a function is not supported"),
        ("(x BIGINT) RETURNS BIGINT AS 'sum(x)'", "0A000", "-", "an aggregate function in a function is not supported"),
        (
            "(x BIGINT) RETURNS BIGINT AS '1 + rank() OVER ()'",
            "0A000",
            "rank(",
            "a window function in a function is not supported",
        ),
        ("(x BIGINT) RETURNS BIGINT AS 'x + y'", "42703", "y'", "column \"y\" does not exist"),
        ("(x BIGINT) RETURNS BIGINT AS 'x + s.id'", "42703", "s.id'", "column s.id does not exist"),
        ("(x BIGINT) RETURNS BIGINT AS 'x + $2'", "42P02", "$2'", "there is no parameter $2"),
        ("(x BIGINT) RETURNS BIGINT AS 'nothing(x)'", "42883", "nothing(x", "function nothing does not exist"),
        ("(x TEXT) RETURNS BIGINT AS 'abs(x)'", "42883", "abs(x", "function abs(text) does not exist"),
        ("(x BIGINT) RETURNS BIGINT AS 'f(x - 1)'", "42P19", "f(x", "function \"f\" calls itself"),
        (
            "(x BIGINT) RETURNS BIGINT AS 'twice(x, 1)'",
            "42883",
            "twice(x",
            "function twice(2 arguments) does not exist",
        ),
        ("(x NOTYPE) RETURNS BIGINT AS '1'", "42704", "NOTYPE", "type \"notype\" does not exist"),
        ("(notype) RETURNS BIGINT AS '1'", "42704", "notype", "type \"notype\" does not exist"),
        ("(x BIGINT) RETURNS SETOF AS '1'", "42704", "SETOF", "type \"setof\" does not exist"),
        (
            "(x MAP<TEXT, INT>) RETURNS BIGINT AS '1'",
            "0A000",
            "MAP<TEXT",
            "a function of type MAP<TEXT, INTEGER> is not supported",
        ),
        ("(x TEXT) RETURNS UUID AS 'x'", "0A000", "UUID", "RETURNS UUID is not supported"),
        ("(x INT, x INT) RETURNS INT AS 'x'", "42P13", "x", "argument name \"x\" used more than once"),
        ("(x INT) RETURNS INT AS 'x' AS 'x'", "42601", "AS", "a function has one expression"),
        ("(x INT) RETURNS INT LANGUAGE plpgsql AS 'x'", "0A000", "plpgsql", "LANGUAGE plpgsql is not supported"),
        ("(x INT) RETURNS INT AS 'x' STRICT", "0A000", "STRICT", "STRICT of a function is not supported"),
    ];
    check(&table.map(|(rest, code, at, message)| (function(rest), code, at, message)), applied);
    let table = [
        ("CREATE FUNCTION lower(x TEXT) RETURNS TEXT AS 'x'", "42723", "lower(x", "function \"lower\" is built in"),
        ("CREATE OR REPLACE FUNCTION sum(INT) RETURNS INT AS '1'", "42723", "sum(INT", "function \"sum\" is built in"),
        ("ALTER FUNCTION twice PAUSE", "0A000", "FUNCTION", "ALTER FUNCTION is not supported"),
    ];
    check(&table, applied);
    assert_eq!(applied("CREATE FUNCTION f(x INT) RETURNS INT IMMUTABLE LANGUAGE 'SQL' AS E'x'"), None);
    assert_eq!(applied("CREATE FUNCTION \"Lower\"(x TEXT) RETURNS TEXT AS 'lower(x)'"), None);
}

#[test]
fn what_a_call_may_be() {
    let table = [
        ("SELECT twice()", "42883", "twice(", "function twice(0 arguments) does not exist"),
        ("SELECT pct(1)", "42883", "pct(1", "function pct(1 argument) does not exist"),
        ("SELECT pct(1, 2, 3)", "42883", "pct(1", "function pct(3 arguments) does not exist"),
        ("SELECT pct(1, part => 2)", "42883", "pct(1", "function pct(2 arguments) does not exist"),
        ("SELECT pct(1, nix => 2)", "42883", "pct(1", "function pct(2 arguments) does not exist"),
        (
            "SELECT twice(DISTINCT id) FROM s",
            "42809",
            "twice(DISTINCT",
            "DISTINCT specified, but twice is not an aggregate function",
        ),
        (
            "SELECT twice(id) OVER () FROM s",
            "42809",
            "twice(id",
            "OVER specified, but twice is not an aggregate function",
        ),
        ("SELECT twice(*) FROM s", "42809", "twice(*", "* specified, but twice is not an aggregate function"),
        ("SELECT twice(nix) FROM s", "42703", "nix", "column \"nix\" does not exist"),
        (
            "CREATE MATERIALIZED VIEW x AS SELECT pct(id) FROM s",
            "42883",
            "pct(id",
            "function pct(1 argument) does not exist",
        ),
    ];
    check(&table, applied);
    assert_eq!(applied("SELECT twice(id), twice(id + 1), sum(twice(id)) FROM s GROUP BY twice(id), id"), None);
}

#[test]
fn what_is_used_stays() {
    let in_use = |name: &str| format!("cannot drop function \"{name}\" because other objects depend on it");
    let (share, twice) = (in_use("share"), in_use("twice"));
    let table = [
        ("DROP FUNCTION share", "2BP01", "-", share.as_str()),
        ("DROP FUNCTION twice", "2BP01", "-", twice.as_str()),
        ("CREATE OR REPLACE FUNCTION share(x BIGINT) RETURNS INT AS '1'", "2BP01", "-", share.as_str()),
        ("CREATE FUNCTION share(x BIGINT) RETURNS INT AS '1'", "42723", "-", "function \"share\" already exists"),
        ("DROP FUNCTION nix", "42883", "-", "function \"nix\" does not exist"),
        ("COMMENT ON FUNCTION nix IS 'x'", "42883", "-", "function \"nix\" does not exist"),
    ];
    check(&table, applied);
    let change = |sql: &str| {
        let one = parse(sql).expect(sql).pop().expect(sql);
        apply(&with_functions(), &one.statement, &one.text, 0).expect(sql)
    };
    let dropped = change("DROP FUNCTION twice CASCADE");
    assert_eq!(dropped.notices, ["drop cascades to materialized view used", "drop cascades to function share"]);
    let replaced = change("CREATE OR REPLACE FUNCTION lonely(x INT) RETURNS INT AS 'x'");
    assert!(replaced.catalog.find(ObjectKind::Function, "lonely").is_some_and(|object| object.sql.contains("x INT")));
    assert_eq!(change("CREATE FUNCTION IF NOT EXISTS twice() RETURNS INT AS '1'").notices.len(), 1);
}

#[test]
fn calls_do_not_become_more_than_there_is_room_for() {
    let mut catalog = Catalog::default();
    let mut refused = None;
    for at in 0..20 {
        let body = if at == 0 { "x + x".to_owned() } else { format!("f{}(x) + f{}(x)", at - 1, at - 1) };
        let sql = format!("CREATE FUNCTION f{at}(x BIGINT) RETURNS BIGINT AS '{body}'");
        let one = parse(&sql).expect(&sql).pop().expect(&sql);
        match apply(&catalog, &one.statement, &one.text, 0) {
            Ok(applied) => catalog = applied.catalog,
            Err(error) => {
                refused = Some((at, error.sqlstate));
                break;
            }
        }
    }
    assert!(refused.is_some_and(|(at, code)| at > 5 && code == "54001"), "{refused:?}");
}
