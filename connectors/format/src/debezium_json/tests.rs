use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::AsArray,
    datatypes::{DataType, Field, Schema, TimeUnit},
    util::pretty::pretty_format_batches,
};
use ebap_connector::{Offset, Options, SplitId, Wanted};

use super::*;
use serde_json::Value;

/// As a connector wrote them for a table with REPLICA IDENTITY FULL: a snapshot, an insert, updates, a delete with its
/// tombstone, and a change of the primary key.
const USERS: &str = include_str!("../../fixtures/debezium-users.jsonl");

fn zoned() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

fn users() -> Vec<Field> {
    vec![
        Field::new("user_id", DataType::Int64, false),
        Field::new("tier", DataType::Utf8, false),
        Field::new("email", DataType::Utf8, true),
        Field::new("balance", DataType::Decimal128(12, 2), false),
        Field::new("created_at", zoned(), false),
    ]
}

type Line = (Option<String>, Option<String>);

fn decode_with(fields: Vec<Field>, key: &[usize], options: &[(&str, &str)], lines: &[Line]) -> Decoded {
    let mut given = Options::default();
    options.iter().for_each(|(name, value)| given.set(*name, *value));
    let (schema, key) = (Arc::new(Schema::new(fields)), key.to_vec());
    let spec = DecodeSpec { format: "debezium-json".to_owned(), schema, key, options: given, wanted: Wanted::All };
    let mut records = Records::new(SplitId::new("0"), 0, Offset(0));
    for (at, (key, value)) in lines.iter().enumerate() {
        let (key, value) = (key.as_ref().map(String::as_bytes), value.as_ref().map(String::as_bytes));
        records.push(at as i64, -1, key, value);
    }
    crate::decoder(&spec).expect("a decoder").decode(&records).expect("decodes")
}

fn decode(fields: Vec<Field>, lines: &[Line]) -> Decoded {
    decode_with(fields, &[0], &[], lines)
}

fn line(key: &str, value: &str) -> Line {
    (Some(key.to_owned()), Some(value.to_owned()))
}

fn put(after: &str) -> Line {
    line("{}", &format!(r#"{{"before":null,"after":{after},"source":{{}},"op":"c"}}"#))
}

fn reasons(decoded: &Decoded) -> Vec<&str> {
    decoded.rejected.iter().map(|rejected| rejected.reason.as_str()).collect()
}

/// `wrapped`: as `schemas.enable = true` has them.
fn recorded(wrapped: bool) -> Vec<Line> {
    let text = |value: &Value| match value {
        Value::Null => None,
        value if wrapped => Some(format!(r#"{{"schema":{{"type":"struct","fields":[]}},"payload":{value}}}"#)),
        value => Some(value.to_string()),
    };
    let lines = USERS.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of the fixture"));
    lines.map(|line| (text(&line["key"]), text(&line["value"]))).collect()
}

#[test]
fn what_a_connector_wrote_is_rows_and_deletes() {
    for wrapped in [false, true] {
        let decoded = decode(users(), &recorded(wrapped));
        assert_eq!(reasons(&decoded), [""; 0]);
        assert_eq!(decoded.rows, (0..10).collect::<Vec<u32>>());
        let deletes: Vec<(u32, Option<i64>)> =
            decoded.deletes.iter().map(|delete| (delete.record, delete.at.map(|at| at.0))).collect();
        let at = [Some(1_795_429_494_244_519), None, Some(1_795_429_494_372_755), None];
        assert_eq!(deletes, [5, 6, 7, 8].into_iter().zip(at).collect::<Vec<_>>());
        let batch = decoded.batch.project(&[0, 1, 2, 3]).expect("four columns");
        let shown = pretty_format_batches(&[batch]).expect("prints").to_string();
        let rows: Vec<String> = shown.lines().skip(3).map(|line| line.replace(' ', "")).collect();
        assert_eq!(
            rows[..5],
            [
                "|1|gold|ada@example.com|100.50|",
                "|2|free||0.00|",
                "|3|silver|grace@example.com|12.34|",
                "|3|platinum|grace@example.com|13.34|",
                "|2|free|linus@example.com|0.00|",
            ]
        );
        let keys: Vec<&str> = rows[5..10].iter().filter_map(|row| row.split('|').nth(1)).collect();
        assert_eq!(keys, ["1", "1", "3", "3", "30"]);
    }
}

#[test]
fn the_key_of_a_delete_is_where_there_is_one() {
    let delete = |before: &str| format!(r#"{{"op":"d",{before}"after":null,"source":{{"ts_ms":7}}}}"#);
    let lines = [
        // REPLICA IDENTITY DEFAULT: the key alone, NULLs around it, or nothing.
        line(r#"{"user_id":1}"#, &delete(r#""before":{"user_id":1},"#)),
        line(r#"{"user_id":2}"#, &delete(r#""before":{"user_id":2,"tier":null,"balance":null},"#)),
        line(r#"{"user_id":3}"#, &delete(r#""before":null,"#)),
        line(r#"{"user_id":4}"#, &delete("")),
        line(r#"{"schema":{"type":"struct"},"payload":{"user_id":5}}"#, &delete("")),
        (Some(r#"{"schema":null,"payload":{"user_id":6}}"#.to_owned()), None),
        (Some("7".to_owned()), None),
        // What is wrong beside the key is nobody's concern.
        (None, Some(delete(r#""before":{"user_id":8,"tier":[1]},"#))),
        (None, Some(delete(""))),
        (None, None),
        (Some("Struct{user_id=1}".to_owned()), None),
        line(r#"{"id":1}"#, &delete("")),
        line(r#"{"user_id":"one"}"#, &delete("")),
    ];
    let decoded = decode(users(), &lines);
    assert_eq!(decoded.rows, (0..8).collect::<Vec<u32>>());
    assert_eq!(decoded.deletes.len(), 8);
    assert_eq!(decoded.deletes[0].at, Some(EventTime(7_000)));
    let keys = pretty_format_batches(&[decoded.batch.project(&[0]).expect("the key")]).expect("prints").to_string();
    let keys: String = keys.chars().filter(char::is_ascii_digit).collect();
    assert_eq!(keys, "12345678");
    let null = "a delete: null value in column \"user_id\" violates not-null constraint";
    assert_eq!(
        reasons(&decoded),
        [
            null,
            "the record has neither a key nor a value",
            "the key of the record is invalid JSON: expected value at line 1 column 1",
            null,
            "a delete: column \"user_id\" is of type bigint but the value is \"one\"",
        ]
    );
}

#[test]
fn a_key_of_several_columns_is_an_object() {
    let fields = || vec![Field::new("a", DataType::Int64, false), Field::new("b", DataType::Utf8, false)];
    let lines = [
        (Some(r#"{"b":"x","a":1}"#.to_owned()), None),
        (Some("1".to_owned()), None),
        (Some(r#"{"a":1}"#.to_owned()), None),
    ];
    let decoded = decode_with(fields(), &[0, 1], &[], &lines);
    assert_eq!(decoded.rows, [0]);
    assert_eq!(
        reasons(&decoded),
        [
            "the key of the record is not a JSON object",
            "a delete: null value in column \"b\" violates not-null constraint",
        ]
    );
}

#[test]
fn what_is_no_change_of_a_row_is_skipped_or_rejected_with_its_reason() {
    let lines = [
        line("{}", r#"{"op":"m","message":{"prefix":"p","content":"aGk="}}"#),
        line("{}", r#"{"op":"t","before":null,"after":null,"source":{}}"#),
        line("{}", r#"{"op":"x"}"#),
        line("{}", r#"{"user_id":1,"tier":"gold"}"#),
        line("{}", r#"{"op":"c","before":null,"after":null}"#),
        line("{}", r#"{"op":"c","after":{"#),
        line("{}", "[]"),
        line("{}", ""),
        put(r#"{"user_id":1,"tier":null,"balance":"1.00","created_at":0}"#),
        put(r#"{"user_id":1,"tier":"gold","balance":"1.005","created_at":0}"#),
        // NUMERIC as bytes, as `decimal.handling.mode = precise` has it.
        put(r#"{"user_id":1,"tier":"gold","balance":"J0I=","created_at":0}"#),
        put(r#"{"user_id":1,"tier":"gold","balance":{"scale":2,"value":"J0I="},"created_at":0}"#),
        put(r#"{"user_id":1,"tier":"__debezium_unavailable_value","balance":"1.00","created_at":0}"#),
        line(
            "{}",
            r#"{"op":"u","before":{"user_id":1},"after":{"user_id":2,"tier":"a","balance":"1","created_at":0}}"#,
        ),
    ];
    let decoded = decode(users(), &lines);
    assert_eq!((decoded.rows.len(), decoded.skipped), (0, 1));
    let as_bytes = "; set decimal.handling.mode = string in the Debezium connector";
    assert_eq!(
        reasons(&decoded),
        [
            "TRUNCATE is not followed; DELETE the rows, or create the table again",
            "the change has op \"x\", which is none of r, c, u, d, m, t",
            "the record has no \"op\": it is no change event of Debezium",
            "a change with op \"c\" has no \"after\"",
            "invalid JSON: EOF while parsing an object at line 1 column 19",
            "the record is not a JSON object",
            "invalid JSON: EOF while parsing a value at line 1 column 0",
            "null value in column \"tier\" violates not-null constraint",
            "column \"balance\": 1.005 does not fit numeric(12, 2)",
            &format!("column \"balance\": invalid input syntax for type numeric: \"J0I=\"{as_bytes}"),
            &format!(
                "column \"balance\" is of type numeric but the value is {{\"scale\":2,\"value\":\"J0I=\"}}{as_bytes}"
            ),
            "column \"tier\" was not sent, as it is large and has not changed: set REPLICA IDENTITY FULL",
            "an update changes \"user_id\", which the database does not take for the key: declare its primary key",
        ]
    );
}

#[test]
fn times_are_read_in_all_encodings_of_the_connector() {
    let json = Field::new("j", DataType::Utf8, true);
    let json = json.with_metadata(HashMap::from([("ebap.type".to_owned(), "json".to_owned())]));
    let fields = || {
        vec![
            Field::new("id", DataType::Int64, false),
            Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
            Field::new("zoned", zoned(), true),
            Field::new("day", DataType::Date32, true),
            json.clone(),
        ]
    };
    let lines = [
        // `time.precision.mode = connect`, and `adaptive` with three digits.
        put(r#"{"id":1,"at":1767323045678,"zoned":"2026-01-02T03:04:05.678000Z","day":20455,"j":"{\"a\": [1, 2]}"}"#),
        // `adaptive` with six digits; DATE is days since 1970 in each.
        put(r#"{"id":2,"at":1767323045678000,"zoned":"2026-01-02T04:04:05.678+01:00","day":20455,"j":"7"}"#),
        // Three digits and long ago.
        put(r#"{"id":3,"at":86400000,"zoned":null,"day":-1,"j":null}"#),
    ];
    let decoded = decode(fields(), &lines);
    assert_eq!(reasons(&decoded), [""; 0]);
    let shown = pretty_format_batches(&[decoded.batch]).expect("prints").to_string();
    let rows: Vec<&str> = shown.lines().skip(3).take(3).collect();
    let moment = "2026-01-02T03:04:05.678";
    assert_eq!(
        rows.iter().map(|row| row.split_whitespace().collect::<String>()).collect::<Vec<_>>(),
        [
            format!("|1|{moment}|{moment}Z|2026-01-02|{{\"a\":[1,2]}}|"),
            format!("|2|{moment}|{moment}Z|2026-01-02|7|"),
            "|3|1970-01-02T00:00:00||1969-12-31||".to_owned(),
        ]
    );
    let micros = decode_with(fields(), &[0], &[("timestamp_unit", "us")], &lines[2..]);
    let shown = pretty_format_batches(&[micros.batch]).expect("prints").to_string();
    assert!(shown.contains("1970-01-01T00:01:26.400"), "{shown}");
}

#[test]
fn a_stream_has_no_changes() {
    let schema = Arc::new(Schema::new(users()));
    let (key, options, wanted) = (Vec::new(), Options::default(), Wanted::All);
    let spec = DecodeSpec { format: "debezium-json".to_owned(), schema, key, options, wanted };
    assert!(crate::decoder(&spec).is_err());
}

/// Unquoted in SQL, with capitals in the database: rows, deletes and the check of the key find the same column.
#[test]
fn a_key_that_differs_in_capitals_alone_is_the_key() {
    let fields = || vec![Field::new("userid", DataType::Int64, false), Field::new("Tier", DataType::Utf8, true)];
    let lines = [
        put(r#"{"userId":1,"Tier":"gold"}"#),
        line(r#"{"userId":1}"#, r#"{"op":"d","before":{"userId":1,"Tier":"gold"},"after":null}"#),
        line(r#"{"userId":2}"#, r#"{"op":"d","before":null,"after":null}"#),
        (Some(r#"{"userId":3}"#.to_owned()), None),
        line("{}", r#"{"op":"u","before":{"userId":4},"after":{"userId":5}}"#),
        line("{}", r#"{"op":"c","after":{"userId":6,"userID":7}}"#),
        line("{}", r#"{"op":"d","before":{"userId":6,"userID":7}}"#),
    ];
    let decoded = decode(fields(), &lines);
    assert_eq!((decoded.rows.as_slice(), decoded.deletes.len()), (&[0, 1, 2, 3][..], 3));
    let keys = decoded.batch.column(0).as_primitive::<arrow::datatypes::Int64Type>();
    assert_eq!(keys.values().as_ref(), [1, 1, 2, 3]);
    let ambiguous =
        "column \"userid\" may be \"userId\" or \"userID\" of the record; declare it in quotes, as it is there";
    let reasons = reasons(&decoded);
    assert_eq!(reasons[..2], [change::another_key("userid").as_str(), ambiguous]);
    assert_eq!(reasons[2], format!("a delete: {ambiguous}"));
}
