use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema, TimeUnit, TimestampMicrosecondType},
    util::pretty::pretty_format_batches,
};
use ebap_connector::{Offset, Options, SplitId, Wanted};
use proptest::prelude::*;

use super::*;

fn decode(fields: Vec<Field>, lines: &[&[u8]]) -> Decoded {
    decode_wanted(fields, lines, Wanted::All)
}

fn spec(fields: Vec<Field>, wanted: Wanted) -> DecodeSpec {
    let schema = Arc::new(Schema::new(fields));
    DecodeSpec { format: "json".to_owned(), schema, key: Vec::new(), options: Options::default(), wanted }
}

fn decode_wanted(fields: Vec<Field>, lines: &[&[u8]], wanted: Wanted) -> Decoded {
    let mut records = Records::new(SplitId::new("0"), 0, Offset(0));
    for (at, line) in lines.iter().enumerate() {
        records.push(at as i64, -1, None, Some(line));
    }
    let mut decoder = JsonDecoder::new(&spec(fields, wanted)).expect("options fit");
    decoder.decode(&records).expect("data never fails the call")
}

fn reason(of: DataType, line: &str) -> String {
    let decoded = decode(vec![Field::new("c", of, false)], &[line.as_bytes()]);
    decoded.rejected.first().map(|rejected| rejected.reason.clone()).unwrap_or_default()
}

fn nested() -> Vec<Field> {
    let uuid = Field::new("id", DataType::Utf8, false)
        .with_metadata(HashMap::from([("ebap.type".to_owned(), "uuid".to_owned())]));
    let inner = DataType::Struct(
        vec![Field::new("amount", DataType::Float64, true), Field::new("region", DataType::Utf8, true)].into(),
    );
    let entries = DataType::Struct(
        vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int32, true)].into(),
    );
    vec![
        uuid,
        Field::new("metadata", inner, true),
        Field::new("tags", DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))), true),
        Field::new("labels", DataType::Map(Arc::new(Field::new("entries", entries, false)), false), true),
        Field::new("price", DataType::Decimal128(10, 2), true),
        Field::new("timestamp", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), false),
    ]
}

#[test]
fn nested_values_of_every_kind_become_columns() {
    let line = br#"{"id":"0F0E0D0C-0B0A-0908-0706-050403020100","metadata":{"amount":1.5,"region":"eu","x":[1]},"tags":["a",null],
        "labels":{"k":7},"price":"12.30","timestamp":"2026-01-01T00:00:00.5Z","unknown":{}}"#;
    let decoded = decode(nested(), &[line, br#"{"id":"0f0e0d0c0b0a09080706050403020100","timestamp":1767225600}"#]);
    assert_eq!(decoded.rejected, []);
    let shown = pretty_format_batches(&[decoded.batch]).expect("prints").to_string();
    for part in [
        "0f0e0d0c-0b0a-0908-0706-050403020100",
        "{amount: 1.5, region: eu}",
        "[a, ]",
        "{k: 7}",
        "12.30",
        "2026-01-01T00:00:00.500Z",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[test]
fn times_are_read_in_text_and_in_numbers() {
    let zoned = || DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let plain = || DataType::Timestamp(TimeUnit::Microsecond, None);
    let fields = || vec![Field::new("tz", zoned(), true), Field::new("ts", plain(), true)];
    for (at, micros) in [
        (r#""2026-01-01T00:00:00""#, 0),
        (r#""2026-01-01 00:00:00.5""#, 500_000),
        (r#""2026-01-01""#, 0),
        (r#""2026-01-01T02:00:00.000000001+02""#, 0),
        ("1767225600.5", 500_000),
        ("1767225600.123456", 123_456),
        ("1.7672256005e9", 500_000),
        ("1767225600123456789", 123_456),
    ] {
        let decoded = decode(fields(), &[format!("{{\"tz\":{at},\"ts\":{at}}}").as_bytes()]);
        assert_eq!(decoded.rejected, [], "{at}");
        for column in decoded.batch.columns() {
            let found = column.as_primitive::<TimestampMicrosecondType>().value(0);
            assert_eq!(found, 1_767_225_600_000_000 + micros, "{at}");
        }
    }
    for (value, expected) in [
        (r#""""#, "column \"c\": invalid input syntax for type timestamp: \"\""),
        (r#""NaN""#, "column \"c\": invalid input syntax for type timestamp: \"NaN\""),
        (r#""1767225600""#, "column \"c\": invalid input syntax for type timestamp: \"1767225600\""),
        ("1e300", "column \"c\": 1e300 is out of range for type timestamp"),
        ("-9000000000000000000000", "column \"c\": -9000000000000000000000 is out of range for type timestamp"),
        ("true", "column \"c\" is of type timestamp but the value is true"),
    ] {
        assert_eq!(reason(plain(), &format!("{{\"c\":{value}}}")), expected);
    }
}

#[test]
fn what_does_not_fit_is_rejected_with_its_path() {
    let table = [
        (DataType::Int32, r#"{"c":1.5}"#, "column \"c\" is of type integer but the value is 1.5"),
        (DataType::Int32, r#"{"c":3000000000}"#, "column \"c\": 3000000000 is out of range for type integer"),
        (DataType::Utf8, r#"{"c":7}"#, "column \"c\" is of type text but the value is 7"),
        (DataType::Boolean, r#"{"c":"true"}"#, "column \"c\" is of type boolean but the value is \"true\""),
        (
            DataType::Float64,
            r#"{"c":"much"}"#,
            "column \"c\": invalid input syntax for type double precision: \"much\"",
        ),
        (DataType::Decimal128(4, 1), r#"{"c":"1.25"}"#, "column \"c\": 1.25 does not fit numeric(4, 1)"),
        (DataType::Date32, r#"{"c":"2026-02-30"}"#, "column \"c\": invalid input syntax for type date: \"2026-02-30\""),
        (DataType::Utf8, r#"{"d":1}"#, "null value in column \"c\" violates not-null constraint"),
        (DataType::Utf8, "[1]", "the record is not a JSON object"),
        (DataType::Utf8, "", "the record is empty"),
    ];
    for (of, line, expected) in table {
        assert_eq!(reason(of, line), expected, "{line}");
    }
    assert!(reason(DataType::Utf8, r#"{"c":"a"} x"#).starts_with("invalid JSON: trailing characters"));
    assert!(reason(DataType::Utf8, &"[".repeat(500)).starts_with("invalid JSON: recursion limit exceeded"));
}

#[test]
fn a_rejected_record_leaves_no_trace_in_the_rows_around_it() {
    let fields = || vec![Field::new("a", DataType::Utf8, false), Field::new("b", DataType::Int64, false)];
    let decoded = decode(fields(), &[br#"{"a":"x","b":1}"#, br#"{"a":"y","b":"no"}"#, br#"{"a":"z","b":3}"#]);
    assert_eq!((decoded.rows, decoded.rejected.len(), decoded.batch.num_rows()), (vec![0, 2], 1, 2));
}

/// A record that ends inside of a character is invalid, also where the next one goes on with it.
#[test]
fn a_character_cut_in_two_is_not_mended_by_the_next_record() {
    let fields = || vec![Field::new("a", DataType::Utf8, false)];
    let whole = "{\"a\":\"\u{e4}\"}".as_bytes();
    let (cut, rest) = whole.split_at(whole.len() - 3);
    let decoded = decode(fields(), &[cut, rest, whole]);
    assert_eq!((decoded.rows, decoded.rejected.len()), (vec![2], 2));
    let decoded = decode(fields(), &[b"{\"a\":\"x\"}", b"\xff", whole]);
    assert_eq!((decoded.rows, decoded.rejected.len()), (vec![0, 2], 1));
}

/// What lies behind a record in its batch must not complete it.
#[test]
fn a_record_that_breaks_off_is_not_completed_by_the_next() {
    let fields = || vec![Field::new("a", DataType::Int64, false), Field::new("b", DataType::Utf8, true)];
    let whole = br#"{"a":12,"b":"xy"}"#;
    for cut in 1..whole.len() {
        let (first, second) = whole.split_at(cut);
        let decoded = decode(fields(), &[whole, first, second, whole]);
        assert_eq!((decoded.rows, decoded.rejected.len()), (vec![0, 3], 2), "cut at {cut}");
    }
}

#[test]
fn names_without_capitals_take_what_differs_in_capitals_alone() {
    let inner = DataType::Struct(vec![Field::new("itemid", DataType::Int64, true)].into());
    let fields = || {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        vec![text("userid"), text("Tier"), Field::new("metadata", inner.clone(), true)]
    };
    let lines: [&[u8]; 6] = [
        br#"{"userId":"a","Tier":"x","metaData":{"itemId":1}}"#,
        br#"{"USERID":"b","tier":"x","metadata":{"ItemID":2,"itemid":3}}"#,
        br#"{"userId":"no","userid":"c"}"#,
        br#"{"userid":"d","userId":"no"}"#,
        br#"{"userId":"no","userId":"e"}"#,
        br#"{"userId":"no","userID":"no"}"#,
    ];
    let expected = ["a|x|1", "b||3", "c||", "d||", "e||"];
    let rows = |decoded: &Decoded| -> Vec<String> {
        let text = |column: usize, row: usize| {
            let column = decoded.batch.column(column).as_string::<i32>();
            column.iter().nth(row).flatten().unwrap_or_default().to_owned()
        };
        let item = |row: usize| {
            let items = decoded.batch.column(2).as_struct().column(0).as_primitive::<Int64Type>();
            items.iter().nth(row).flatten().map(|item| item.to_string()).unwrap_or_default()
        };
        let row = |row: usize| format!("{}|{}|{}", text(0, row), text(1, row), item(row));
        (0..decoded.batch.num_rows()).map(row).collect()
    };
    for (line, row) in lines.iter().zip(expected) {
        assert_eq!(rows(&decode(fields(), &[line])), [row]);
    }
    // The short way remembers what it has seen.
    assert_eq!(rows(&decode(fields(), &[&lines[..], &lines[..]].concat())), [expected, expected].concat());
    let decoded = decode(fields(), &lines);
    let reason =
        "column \"userid\" may be \"userId\" or \"userID\" of the record; declare it in quotes, as it is there";
    assert_eq!(decoded.rejected, [Rejected { record: 5, reason: reason.to_owned() }]);
}

#[test]
fn what_is_not_wanted_is_checked_and_null() {
    let mut wanted = Wanted::nothing();
    wanted.add(["metadata", "region"]);
    wanted.add(["price"]);
    let good = br#"{"id":"0f0e0d0c-0b0a-0908-0706-050403020100","metadata":{"amount":1,"region":"eu"},"price":2,"timestamp":"2026-01-01T00:00:00Z"}"#;
    let bad = br#"{"id":"no","metadata":{"amount":1,"region":"eu"},"price":2,"timestamp":"2026-01-01T00:00:00Z"}"#;
    let decoded = decode_wanted(nested(), &[good, bad], wanted);
    assert_eq!(decoded.rejected[0].reason, "column \"id\": invalid input syntax for type uuid: \"no\"");
    let shown = pretty_format_batches(&[decoded.batch]).expect("prints").to_string();
    assert!(shown.contains("|    | {amount: , region: eu} |      |        | 2.00  |           |"), "{shown}");
}

/// What the long way alone makes of the same records.
fn decode_the_long_way(fields: Vec<Field>, lines: &[Vec<u8>]) -> (RecordBatch, Vec<u32>) {
    let mut decoder = JsonDecoder::new(&spec(fields, Wanted::All)).expect("options fit");
    let mut rows = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if let Ok(cells) = decoder.row(Some(line)) {
            decoder.columns.append(cells);
            rows.push(at as u32);
        }
    }
    (decoder.columns.finish().expect("cells fit their columns"), rows)
}

fn every_kind() -> Vec<Field> {
    let mut fields = nested();
    fields.extend([
        Field::new("b", DataType::Boolean, true),
        Field::new("i2", DataType::Int16, true),
        Field::new("i4", DataType::Int32, true),
        Field::new("i8", DataType::Int64, true),
        Field::new("f4", DataType::Float32, true),
        Field::new("f8", DataType::Float64, true),
        Field::new("t", DataType::Utf8, true),
        Field::new("d", DataType::Date32, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ]);
    fields
}

/// A JSON value as text: now and then of the wrong type, out of range, or not JSON at all.
fn value_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop_oneof![
            Just("null"),
            Just("true"),
            Just("false"),
            Just("-0"),
            Just("1e3"),
            Just("1e400"),
            Just("01"),
            Just("-"),
            Just("+1"),
            Just(".5"),
            Just("1.")
        ]
        .prop_map(str::to_owned),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        (any::<i32>(), 0_u32..1_000_000).prop_map(|(whole, fraction)| format!("{whole}.{fraction:06}")),
        (any::<i64>(), 0_u32..100).prop_map(|(whole, fraction)| format!("{whole}.{fraction:02}")),
        any::<f64>().prop_map(|number| number.to_string()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap_or_default()),
        "[ -~]{0,12}".prop_map(|text| format!("\"{text}\"")),
        prop_oneof![Just(r#""\u00e4\n\ud83d\ude00""#), Just(r#""\ud800""#), Just(r#""\udc00\ud800""#), Just(r#""\x""#)]
            .prop_map(str::to_owned),
        prop_oneof![
            Just("2026-01-01T00:00:00Z"),
            Just("2026-01-01T00:00:00.123456789Z"),
            Just("2026-02-29T00:00:00Z"),
            Just("2026-01-01 00:00:00+01"),
            Just("2026-01-01T00:00:00"),
            Just("-9999-01-01T00:00:00Z"),
            Just("2026-12-31"),
            Just("2026-12-31T23:59:60Z"),
            Just("NaN"),
            Just("12.345"),
            Just("0f0e0d0c-0b0a-0908-0706-050403020100"),
            Just("0F0E0D0C0B0A09080706050403020100"),
        ]
        .prop_map(|text| format!("\"{text}\"")),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec((prop::sample::select(vec!["amount", "Amount", "region", "k", "a b"]), inner), 0..4)
                .prop_map(|all| {
                    let fields: Vec<String> = all.iter().map(|(key, value)| format!("\"{key}\" :{value}")).collect();
                    format!("{{{}}}", fields.join(", "))
                }),
        ]
    })
}

fn record_text() -> impl Strategy<Value = Vec<u8>> {
    let names: Vec<String> = every_kind().iter().map(|field| field.name().clone()).collect();
    let names: Vec<String> =
        names.into_iter().chain(["unknown", "\\u0074", "T", "I8", "i8", "Metadata"].map(str::to_owned)).collect();
    let field = (prop::sample::select(names), value_text());
    // The two that may not be missing come mostly, and mostly fit.
    let head = prop_oneof![
        4 => Just(r#""id":"0f0e0d0c-0b0a-0908-0706-050403020100","timestamp":"2026-01-01T00:00:00.5Z""#),
        1 => Just(r#""timestamp":1767225600"#)
    ];
    (head, prop::collection::vec(field, 0..6), prop_oneof![9 => Just("}"), 1 => Just("} x")]).prop_map(
        |(head, fields, end)| {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect();
            format!("{{{head}{}{end}", fields.concat()).into_bytes()
        },
    )
}

/// A column or field of `every_kind` each, and all of a struct.
fn paths() -> Vec<Vec<String>> {
    let of_fields = |field: &Field| match field.data_type() {
        DataType::Struct(inner) => inner.iter().map(|inner| vec![field.name().clone(), inner.name().clone()]).collect(),
        _ => Vec::new(),
    };
    let all = every_kind();
    all.iter().flat_map(|field| std::iter::once(vec![field.name().clone()]).chain(of_fields(field))).collect()
}

/// The value at a path as text, row by row.
fn column_at(batch: &RecordBatch, path: &[String]) -> String {
    let mut column = Arc::clone(batch.column_by_name(&path[0]).expect("a column"));
    if let Some(field) = path.get(1) {
        column = Arc::clone(column.as_struct().column_by_name(field).expect("a field"));
    }
    format!("{column:?}")
}

proptest! {
    /// Whatever is wanted: the same rows, the same rejections, the same values where they are wanted.
    #[test]
    fn what_is_wanted_decides_nothing_else(
        lines in prop::collection::vec(record_text(), 1..8),
        paths in prop::sample::subsequence(paths(), 0..paths().len()),
    ) {
        let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let mut wanted = Wanted::nothing();
        paths.iter().for_each(|path| wanted.add(path.iter().map(String::as_str)));
        let (all, some) = (decode(every_kind(), &lines), decode_wanted(every_kind(), &lines, wanted.clone()));
        prop_assert_eq!(&all.rows, &some.rows);
        prop_assert_eq!(&all.rejected, &some.rejected);
        for path in &paths {
            prop_assert_eq!(column_at(&all.batch, path), column_at(&some.batch, path), "{:?}", path);
        }
        for (column, field) in some.batch.columns().iter().zip(all.batch.schema().fields()) {
            if wanted.of(field.name()).is_none() {
                prop_assert_eq!(column.null_count(), some.rows.len(), "{}", field.name());
            }
        }
    }

    /// The short way is short, not lenient: the same rows and the same rejections.
    #[test]
    fn both_ways_agree_on_every_record(lines in prop::collection::vec(record_text(), 1..8)) {
        let decoded = decode(every_kind(), &lines.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let (batch, rows) = decode_the_long_way(every_kind(), &lines);
        prop_assert_eq!(&decoded.rows, &rows);
        prop_assert_eq!(format!("{:?}", decoded.batch), format!("{batch:?}"));
    }

    #[test]
    fn garbage_never_panics_and_every_record_goes_one_way(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20)) {
        let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let decoded = decode(nested(), &lines);
        let mut all: Vec<u32> = decoded.rows.iter().copied().chain(decoded.rejected.iter().map(|one| one.record)).collect();
        all.sort_unstable();
        prop_assert_eq!(all, (0..lines.len() as u32).collect::<Vec<_>>());
        prop_assert_eq!(decoded.batch.num_rows(), decoded.rows.len());
    }
}
