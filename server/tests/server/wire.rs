//! Values as they go to a client, as text and in binary: of each type, and of its extremes. What is expected
//! is what PostgreSQL answers.

use std::error::Error;

use tokio_postgres::{
    Client,
    types::{FromSql, Type},
};

use crate::process::{Server, error, failure, value};

/// A value's bytes as they travel, in hexadecimal.
#[derive(Debug, PartialEq)]
struct Hex(String);

impl<'a> FromSql<'a> for Hex {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

async fn binary(client: &Client, sql: &str) -> (Type, String) {
    let row = client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let value: Option<Hex> = row.try_get(0).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    (row.columns()[0].type_().clone(), value.map_or_else(|| "NULL".to_owned(), |hex| hex.0))
}

/// Of each expression: its type, its text, its bytes.
async fn travels(client: &Client, all: &[(&str, Type, &str, &str)]) {
    for (expression, of, text, bytes) in all {
        let sql = format!("SELECT {expression}");
        assert_eq!(value(client, &sql).await, *text, "{sql}");
        assert_eq!(binary(client, &sql).await, (of.clone(), (*bytes).to_owned()), "{sql}");
    }
}

#[tokio::test]
async fn numbers_travel_in_their_whole_range() {
    let server = Server::start();
    let client = server.connect().await;
    travels(
        &client,
        &[
            ("true", Type::BOOL, "t", "01"),
            ("'-32768'::smallint", Type::INT2, "-32768", "8000"),
            ("'2147483647'::int", Type::INT4, "2147483647", "7fffffff"),
            ("'-9223372036854775808'::bigint", Type::INT8, "-9223372036854775808", "8000000000000000"),
            ("'1e-20'::real", Type::FLOAT4, "1e-20", "1e3ce508"),
            ("'-Infinity'::double precision", Type::FLOAT8, "-Infinity", "fff0000000000000"),
            ("1.50::numeric(10,2)", Type::NUMERIC, "1.50", "000200000000000200011388"),
            ("0::numeric(5,3)", Type::NUMERIC, "0.000", "0000000000000003"),
            // Beyond 96 bits, and a scale beyond 28: these once filled the memory.
            (
                "CAST('79228162514264337593543950336' AS NUMERIC(38,0))",
                Type::NUMERIC,
                "79228162514264337593543950336",
                "00080007000000000007240c0659059210f1172f112b0150",
            ),
            (
                "CAST('99999999999999999999999999999999999999' AS NUMERIC(38,0))",
                Type::NUMERIC,
                "99999999999999999999999999999999999999",
                "000a0009000000000063270f270f270f270f270f270f270f270f270f",
            ),
            (
                "CAST('-0.00000000000000000000000000000000000001' AS NUMERIC(38,38))",
                Type::NUMERIC,
                "-0.00000000000000000000000000000000000001",
                "0001fff6400000260064",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn text_bytes_and_null_travel_as_they_are() {
    let server = Server::start();
    let client = server.connect().await;
    travels(
        &client,
        &[
            ("'naïve'", Type::TEXT, "naïve", "6e61c3af7665"),
            ("''", Type::TEXT, "", ""),
            ("NULL", Type::TEXT, "NULL", "NULL"),
            ("NULL::bigint", Type::INT8, "NULL", "NULL"),
            ("NULL::interval", Type::INTERVAL, "NULL", "NULL"),
            ("NULL::numeric(10,2)", Type::NUMERIC, "NULL", "NULL"),
            ("NULL::timestamptz", Type::TIMESTAMPTZ, "NULL", "NULL"),
            ("'\\x00ff'::bytea", Type::BYTEA, "\\x00ff", "00ff"),
        ],
    )
    .await;
}

#[tokio::test]
async fn times_travel_in_their_whole_range() {
    let server = Server::start();
    let client = server.connect().await;
    travels(
        &client,
        &[
            ("DATE '0001-01-01'", Type::DATE, "0001-01-01", "fff4dbf9"),
            ("TIMESTAMP '0001-01-01 00:00:00'", Type::TIMESTAMP, "0001-01-01 00:00:00", "ff1fe2ffc59c6000"),
            ("INTERVAL '1 month -1 day 0.5 seconds'", Type::INTERVAL, "1 mon -1 days +00:00:00.5", INTERVAL),
            ("TIME '23:59:59.5'", Type::TIME, "23:59:59.5", "000000141dcfbee0"),
            // 99999-12-31, 4713-01-01 BC and 294246-12-31.
            ("arrow_cast(arrow_cast(35804721, 'Int32'), 'Date32')", Type::DATE, "99999-12-31", "02222b64"),
            (
                "arrow_cast(-210863520000000000, 'Timestamp(Microsecond, None)')",
                Type::TIMESTAMP,
                "4713-01-01 00:00:00 BC",
                "fd0f7fbdaf17e000",
            ),
            (
                "arrow_cast(9223371244799999999, 'Timestamp(Microsecond, None)')",
                Type::TIMESTAMP,
                "294246-12-31 23:59:59.999999",
                "7ffca2465aa35fff",
            ),
            ("arrow_cast(9223372036854775807, 'Timestamp(Microsecond, None)')", Type::TIMESTAMP, "infinity", MAX),
        ],
    )
    .await;
}

const INTERVAL: &str = "000000000007a120ffffffff00000001";
const MAX: &str = "7fffffffffffffff";

#[tokio::test]
async fn arrays_travel_with_their_elements() {
    let server = Server::start();
    let client = server.connect().await;
    travels(
        &client,
        &[
            ("ARRAY[1, NULL]::int[]", Type::INT4_ARRAY, "{1,NULL}", "000000010000000100000017000000020000000100000004\
              00000001ffffffff"),
            (
                "ARRAY['a b', 'NULL', NULL, '', 'x\"\\y']",
                Type::TEXT_ARRAY,
                "{\"a b\",\"NULL\",NULL,\"\",\"x\\\"\\\\y\"}",
                "000000010000000100000019000000050000000100000003612062000000044e554c4cffffffff000000000000000478225c79",
            ),
            (
                "ARRAY[CAST('79228162514264337593543950336' AS NUMERIC(38,0)), NULL]",
                Type::NUMERIC_ARRAY,
                "{79228162514264337593543950336,NULL}",
                "0000000100000001000006a4000000020000000100000018\
                 00080007000000000007240c0659059210f1172f112b0150ffffffff",
            ),
            (
                "ARRAY[TIMESTAMP '2026-01-01 00:00:00']",
                Type::TIMESTAMP_ARRAY,
                "{\"2026-01-01 00:00:00\"}",
                "00000001000000000000045a0000000100000001000000080002ea470ae86000",
            ),
            ("arrow_cast(ARRAY[1, 2], 'LargeList(Int32)')", Type::INT4_ARRAY, "{1,2}", TWO),
            ("arrow_cast(ARRAY[1, 2], 'FixedSizeList(2, Int32)')", Type::INT4_ARRAY, "{1,2}", TWO),
        ],
    )
    .await;
}

const TWO: &str = "000000010000000000000017000000020000000100000004000000010000000400000002";

#[tokio::test]
async fn columns_are_described_as_postgresql_describes_them() {
    let server = Server::start();
    let client = server.connect().await;
    let sql = "SELECT 1.5::numeric(10,2), 'x', true, 1::bigint, ARRAY[1], INTERVAL '1 day', now()";
    let statement = client.prepare(sql).await.expect(sql);
    let columns: Vec<_> = statement.columns().iter().map(|one| (one.type_().clone(), one.type_modifier())).collect();
    assert_eq!(columns[0], (Type::NUMERIC, 655_366));
    for (at, of) in [(1, Type::TEXT), (2, Type::BOOL), (3, Type::INT8), (5, Type::INTERVAL), (6, Type::TIMESTAMPTZ)] {
        assert_eq!(columns[at], (of, -1), "{at}");
    }
}

#[tokio::test]
async fn times_are_shown_in_the_zone_of_the_session() {
    let server = Server::start();
    let client = server.connect().await;
    let sql = "SELECT TIMESTAMPTZ '2026-07-01 12:00:00+00'";
    for (zone, text) in [
        ("UTC", "2026-07-01 12:00:00+00"),
        ("Europe/Berlin", "2026-07-01 14:00:00+02"),
        ("Asia/Kathmandu", "2026-07-01 17:45:00+05:45"),
        ("America/New_York", "2026-07-01 08:00:00-04"),
    ] {
        client.batch_execute(&format!("SET TIME ZONE '{zone}'")).await.expect(zone);
        assert_eq!(value(&client, sql).await, text, "{zone}");
    }
    assert_eq!(failure(&client, "SET TIME ZONE 'Nowhere/City'").await.0, "22023");
    assert_eq!(value(&client, sql).await, "2026-07-01 08:00:00-04");
}

#[tokio::test]
async fn a_value_that_cannot_travel_ends_its_statement_alone() {
    let server = Server::start();
    let client = server.connect().await;
    let beyond = "arrow_cast(9223372036854775807, 'Timestamp(Second, None)')";
    let rows = format!("SELECT {beyond} FROM generate_series(1, 3)");
    for sql in [format!("SELECT {beyond}"), rows] {
        assert_eq!(failure(&client, &sql).await.0, "22008", "{sql}");
        assert_eq!(
            client
                .query(&sql, &[])
                .await
                .err()
                .and_then(|error| error.code().cloned())
                .map(|code| code.code().to_owned()),
            Some("22008".to_owned()),
            "{sql}"
        );
        assert_eq!(value(&client, "SELECT 1").await, "1");
    }
}

/// Dimensions, whether there are NULLs, the type of the elements; of each dimension the length and the first number.
#[tokio::test]
async fn an_array_of_arrays_travels_as_postgresql_has_it() {
    let server = Server::start();
    let client = server.connect().await;
    let (of, bytes) = binary(&client, "SELECT ARRAY[ARRAY[1, 2], ARRAY[3, NULL]]").await;
    let words = [2, 1, 23, 2, 1, 2, 1, 4, 1, 4, 2, 4, 3, -1].map(|word: i32| format!("{word:08x}"));
    assert_eq!((of, bytes), (Type::INT4_ARRAY, words.concat()));
    let message = "multidimensional arrays must have sub-arrays with matching dimensions; to_jsonb shows any others";
    let ragged = "SELECT array_agg(a) FROM (VALUES (ARRAY[1]), (ARRAY[1, 2])) t(a)";
    assert_eq!(failure(&client, ragged).await, error("2202E", message));
}

#[tokio::test]
async fn what_is_nested_travels_as_json() {
    let server = Server::start();
    let client = server.connect().await;
    for (expression, text) in [
        ("named_struct('a', 1, 'b', 'x\"y')", r#"{"a":1,"b":"x\"y"}"#),
        ("named_struct('a', 'NaN'::double precision, 'b', NULL)", r#"{"a":"NaN"}"#),
        ("ARRAY[named_struct('a', 'Infinity'::double precision)]", r#"[{"a":"Infinity"}]"#),
        ("to_jsonb(ARRAY[ARRAY[1, 2], ARRAY[3]])", "[[1, 2], [3]]"),
    ] {
        assert_eq!(value(&client, &format!("SELECT {expression}")).await, text, "{expression}");
    }
}
