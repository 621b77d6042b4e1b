//! Values of every type by the extended protocol, as text and binary.

use std::{
    error::Error,
    fmt::Debug,
    time::{Duration, UNIX_EPOCH},
};

use bytes::BytesMut;
use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type};

use crate::process::Server;

/// A parameter that travels as text, whatever its type.
#[derive(Debug)]
struct Text(&'static str);

impl ToSql for Text {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}

/// The bytes of a value as they travel.
#[derive(Debug, PartialEq)]
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

async fn one<T>(server: &Server, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> (Type, T)
where
    T: for<'b> FromSql<'b>,
{
    let client = server.connect().await;
    let row = client.query_one(sql, parameters).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    (row.columns()[0].type_().clone(), row.try_get(0).unwrap_or_else(|error| panic!("{sql}: {error:?}")))
}

async fn gives<T>(server: &Server, sql: &str, parameters: &[&(dyn ToSql + Sync)], expected: T)
where
    T: for<'b> FromSql<'b> + Debug + PartialEq,
{
    assert_eq!(one::<T>(server, sql, parameters).await.1, expected, "{sql}");
}

#[tokio::test]
async fn results_are_binary() {
    let server = Server::start();
    let at = UNIX_EPOCH + Duration::from_micros(1_767_323_045_678_900);
    assert_eq!(one(&server, "SELECT true", &[]).await, (Type::BOOL, true));
    assert_eq!(one(&server, "SELECT 7::smallint", &[]).await, (Type::INT2, 7_i16));
    assert_eq!(one(&server, "SELECT 7::int", &[]).await, (Type::INT4, 7_i32));
    assert_eq!(one(&server, "SELECT 7::bigint", &[]).await, (Type::INT8, 7_i64));
    assert_eq!(one(&server, "SELECT 1.5::real", &[]).await, (Type::FLOAT4, 1.5_f32));
    assert_eq!(one(&server, "SELECT 1.5::double precision", &[]).await, (Type::FLOAT8, 1.5_f64));
    assert_eq!(one(&server, "SELECT 'text'", &[]).await, (Type::TEXT, "text".to_owned()));
    assert_eq!(one(&server, "SELECT NULL::text", &[]).await, (Type::TEXT, None::<String>));
    assert_eq!(one(&server, "SELECT decode('00ff', 'hex')", &[]).await, (Type::BYTEA, vec![0_u8, 255]));
    let sql = "SELECT TIMESTAMPTZ '2026-01-02 03:04:05.6789+00'";
    assert_eq!(one(&server, sql, &[]).await, (Type::TIMESTAMPTZ, at));
    let sql = "SELECT TIMESTAMP '2026-01-02 03:04:05.6789'";
    assert_eq!(one(&server, sql, &[]).await, (Type::TIMESTAMP, at));
    assert_eq!(one(&server, "SELECT ARRAY[1, 2]::bigint[]", &[]).await, (Type::INT8_ARRAY, vec![1_i64, 2]));
    // Days from 2000; four digits each, the first of weight 0; microseconds, days, months.
    assert_eq!(one(&server, "SELECT DATE '2000-01-02'", &[]).await, (Type::DATE, Raw(vec![0, 0, 0, 1])));
    let digits = [0, 2, 0, 0, 0, 0, 0, 2, 0, 1, 0x13, 0x88];
    assert_eq!(one(&server, "SELECT 1.5::numeric(10, 2)", &[]).await, (Type::NUMERIC, Raw(digits.to_vec())));
    let interval = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];
    assert_eq!(one(&server, "SELECT INTERVAL '2 months 1 day'", &[]).await, (Type::INTERVAL, Raw(interval.to_vec())));
}

/// As PostgreSQL tells of the same statements.
#[tokio::test]
async fn a_parameter_has_the_type_of_its_first_use() {
    let server = Server::start();
    let client = server.connect().await;
    for (sql, declared, expected) in [
        ("SELECT $1 NOT IN ($2, $3)", &[Type::INT4][..], &[Type::INT4, Type::INT4, Type::INT4][..]),
        ("SELECT $1 IN ($2, $3)", &[Type::UNKNOWN, Type::UNKNOWN, Type::INT4], &[Type::INT4, Type::INT4, Type::INT4]),
        ("SELECT $1 BETWEEN $2 AND $3", &[Type::INT8], &[Type::INT8, Type::INT8, Type::INT8]),
        ("SELECT $1 NOT BETWEEN $2 AND $3", &[Type::UNKNOWN, Type::DATE], &[Type::DATE, Type::DATE, Type::DATE]),
        ("SELECT $1 BETWEEN SYMMETRIC $2 AND $3", &[Type::UNKNOWN, Type::INT2], &[Type::INT2, Type::INT2, Type::INT2]),
        ("SELECT 1 BETWEEN $1 AND $2", &[], &[Type::INT4, Type::INT4]),
        ("SELECT $1 BETWEEN $2 AND $3", &[], &[Type::TEXT, Type::TEXT, Type::TEXT]),
        ("SELECT $1 LIKE $2", &[], &[Type::TEXT, Type::TEXT]),
    ] {
        let prepared = client.prepare_typed(sql, declared).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(prepared.params(), expected, "{sql}");
    }
    let sql = "SELECT $1 NOT BETWEEN $2 AND $3";
    let error = client.prepare_typed(sql, &[Type::UNKNOWN, Type::UNKNOWN, Type::FLOAT4]).await.expect_err(sql);
    let error = error.as_db_error().expect("the server says it");
    assert_eq!((error.code().code(), error.message()), ("42883", "operator does not exist: text > real"));
    let refused = client.query_one("SELECT 42 NOT IN (42, $1)", &[&Text("-")]).await.expect_err("it is no number");
    assert_eq!(refused.code().map(|code| code.code()), Some("22P02"), "{refused:?}");
}

#[tokio::test]
async fn parameters_are_binary_or_text() {
    let server = Server::start();
    let at = UNIX_EPOCH + Duration::from_micros(1_767_323_045_678_900);
    gives(&server, "SELECT $1::bigint + 1", &[&6_i64], 7_i64).await;
    gives(&server, "SELECT $1::bigint + 1", &[&Text("6")], 7_i64).await;
    gives(&server, "SELECT $1::int", &[&6_i32], 6_i32).await;
    gives(&server, "SELECT $1::smallint", &[&6_i16], 6_i16).await;
    gives(&server, "SELECT $1::double precision * 2", &[&1.5_f64], 3.0_f64).await;
    gives(&server, "SELECT $1::double precision * 2", &[&Text("1.5")], 3.0_f64).await;
    gives(&server, "SELECT $1::text || 'x'", &[&"y"], "yx".to_owned()).await;
    gives(&server, "SELECT $1::text", &[&None::<String>], None::<String>).await;
    gives(&server, "SELECT NOT $1::boolean", &[&false], true).await;
    gives(&server, "SELECT NOT $1::boolean", &[&Text("f")], true).await;
    gives(&server, "SELECT $1::timestamptz", &[&at], at).await;
    gives(&server, "SELECT $1::timestamptz", &[&Text("2026-01-02 03:04:05.6789+00")], at).await;
    let sql = "SELECT count(*) FROM generate_series(1, 10) AS s(value) WHERE value > $1 AND value <= $2";
    gives(&server, sql, &[&3_i32, &Text("7")], 4_i64).await;
}

/// A parameter has the type without its length: the cast is what cuts, pads and rounds.
#[tokio::test]
async fn a_cast_gives_a_parameter_the_length_of_the_type() {
    let server = Server::start();
    let client = server.connect().await;
    for (cast, value, expected) in [
        ("varchar(2)", "abc", "ab"),
        ("char(5)", "abc", "abc  "),
        ("varchar(5)", "äöü", "äöü"),
        ("numeric(5,1)", "1.25", "1.3"),
        ("time(1)", "12:34:56.789", "12:34:56.8"),
        ("timestamp(0)", "2026-01-01 00:00:00.7", "2026-01-01 00:00:01"),
    ] {
        let sql = format!("SELECT concat('<', format('%s', $1::{cast}), '>')");
        let statement = client.prepare(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let row = client.query_one(&statement, &[&Text(value)]).await;
        let shown: String = row.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0);
        assert_eq!(shown, format!("<{expected}>"), "{sql} with {value}");
    }
    let sql = "SELECT $1::numeric(3,1)";
    let statement = client.prepare(sql).await.expect("a statement");
    let error = client.query_one(&statement, &[&Text("123.4")]).await.expect_err("too large");
    assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("22003"));
}

#[tokio::test]
async fn a_parameter_keeps_its_value_beside_every_type() {
    let server = Server::start();
    let client = server.connect().await;
    let (small, int, big) = ("(1::smallint), (2), (3)", "(1), (2), (3)", "(1::bigint), (2), (3)");
    let (scaled, double) = ("(1.50::numeric(10,2)), (2)", "(1.5::double precision), (2)");
    for (rows, condition, of, value, expected) in [
        (int, "x = $1", Type::NUMERIC, "1.5", ""),
        (int, "x = $1", Type::FLOAT8, "1.5", ""),
        (int, "x < $1", Type::NUMERIC, "2.9", "1,2"),
        (int, "x < $1", Type::FLOAT8, "2.9", "1,2"),
        (small, "x > $1", Type::NUMERIC, "1.5", "2,3"),
        (small, "x < $1", Type::INT8, "9223372036854775807", "1,2,3"),
        (big, "x >= $1", Type::FLOAT8, "2.5", "3"),
        (big, "x IN ($1, 3)", Type::NUMERIC, "1.5", "3"),
        (int, "x BETWEEN $1 AND 3", Type::NUMERIC, "1.5", "2,3"),
        (int, "x IS DISTINCT FROM $1", Type::NUMERIC, "1.5", "1,2,3"),
        (int, "x * $1 = 3.3", Type::NUMERIC, "1.1", "3"),
        (int, "CASE WHEN x > $1 THEN true END", Type::FLOAT8, "2.5", "3"),
        (scaled, "x < $1", Type::NUMERIC, "1.504", "1.50"),
        (scaled, "x > $1", Type::INT4, "1", "1.50,2"),
        (double, "x > $1", Type::NUMERIC, "1.49", "1.5,2"),
        (double, "x = $1", Type::INT4, "2", "2"),
        ("('a'), ('b')", "x = ANY ($1)", Type::TEXT_ARRAY, "{b,c}", "b"),
        (int, "x = ANY ($1)", Type::NUMERIC_ARRAY, "{1.5,2.0}", "2"),
        (int, "x <> ALL ($1)", Type::INT8_ARRAY, "{1,9223372036854775807}", "2,3"),
        ("(DATE '2026-01-01'), ('2026-01-02')", "x > $1", Type::TIMESTAMP, "2026-01-01 12:00", "2026-01-02"),
        ("(TIMESTAMP '2026-01-01 12:00')", "x > $1", Type::DATE, "2026-01-01", "2026-01-01 12:00:00"),
    ] {
        let sql = format!("SELECT string_agg(x::text, ',' ORDER BY x) FROM (VALUES {rows}) AS t(x) WHERE {condition}");
        let statement = client.prepare_typed(&sql, &[of]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let row =
            client.query_one(&statement, &[&Text(value)]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(row.get::<_, Option<String>>(0).unwrap_or_default(), expected, "{sql} with {value}");
    }
}
