use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, AsArray},
    datatypes::{DataType, Field, Int64Type, Schema as ArrowSchema, TimeUnit},
    util::pretty::pretty_format_batches,
};
use ebap_connector::{Offset, Options, SplitId, Wanted};
use ebap_schema_registry::{Schema, wire};
use proptest::prelude::*;

use super::*;

/// Avro's binary encoding, by hand.
#[derive(Clone, Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn of(id: u32) -> Self {
        Self(wire::prefix(id).to_vec())
    }

    fn long(mut self, value: i64) -> Self {
        let mut left = ((value << 1) ^ (value >> 63)) as u64;
        while left >= 0x80 {
            self.0.push(left as u8 | 0x80);
            left >>= 7;
        }
        self.0.push(left as u8);
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        self.long(bytes.len() as i64).raw(bytes)
    }

    fn double(self, value: f64) -> Self {
        self.raw(&value.to_le_bytes())
    }
}

fn zoned() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

fn marked(name: &str, marker: &str) -> Field {
    let metadata = HashMap::from([("ebap.type".to_owned(), marker.to_owned())]);
    Field::new(name, DataType::Utf8, true).with_metadata(metadata)
}

fn decoder(fields: Vec<Field>, wanted: Wanted, schemas: &[(u32, &str)]) -> AvroDecoder {
    let mut options = Options::default();
    options.set("schema_registry", "http://127.0.0.1:1");
    let schema = Arc::new(ArrowSchema::new(fields));
    let spec = DecodeSpec { format: "avro".to_owned(), schema, key: Vec::new(), options, wanted };
    let mut decoder = AvroDecoder::new(&spec).expect("options fit");
    for (id, text) in schemas {
        let schema = Schema { id: *id, kind: Kind::Avro, text: (*text).to_owned(), references: Vec::new() };
        let known = decoder.columns.reader(&schema).map_err(|reason| format!("schema {id}: {reason}"));
        decoder.schemas.put(*id, known);
    }
    decoder
}

fn records(values: &[Vec<u8>]) -> Records {
    let mut records = Records::new(SplitId::new("0"), 0, Offset(0));
    for (at, value) in values.iter().enumerate() {
        records.push(at as i64, -1, None, Some(value));
    }
    records
}

fn decode(decoder: &mut AvroDecoder, values: &[Bytes]) -> Decoded {
    let values: Vec<Vec<u8>> = values.iter().map(|value| value.0.clone()).collect();
    let decoded = decoder.decode(&records(&values)).expect("data never fails the call");
    assert_eq!(decoded.rows.len(), decoded.batch.num_rows());
    assert_eq!(decoded.rows.len() + decoded.rejected.len(), values.len(), "each record is somewhere, once");
    decoded
}

fn shown(decoded: &Decoded) -> String {
    pretty_format_batches(std::slice::from_ref(&decoded.batch)).expect("a table").to_string()
}

fn reasons(decoded: &Decoded) -> Vec<(u32, &str)> {
    decoded.rejected.iter().map(|rejected| (rejected.record, rejected.reason.as_str())).collect()
}

const ONE: &str = r#"{"type":"record","name":"E","fields":[
    {"name":"id","type":"string"},{"name":"amount","type":"int"},{"name":"gone","type":"string"}]}"#;
const TWO: &str = r#"{"type":"record","name":"E","fields":[
    {"name":"amount","type":["null","long"]},{"name":"id","type":"string"}]}"#;
const THREE: &str = r#"{"type":"record","name":"E","fields":[
    {"name":"id","type":"string"},{"name":"kind","type":{"type":"enum","name":"K","symbols":["view","cart"]}},
    {"name":"amount","type":"long","default":7}]}"#;

fn columns() -> Vec<Field> {
    vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("amount", DataType::Int64, false),
        Field::new("kind", DataType::Utf8, true),
    ]
}

/// As many items as there are none: to negate the number is a panic of the library.
#[test]
fn a_block_of_the_least_number_of_items_is_a_dead_letter() {
    const LISTS: &str = r#"{"type":"record","name":"L","fields":[
        {"name":"id","type":"string"},{"name":"l","type":{"type":"array","items":"long"}}]}"#;
    let fields = || {
        let items = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
        vec![Field::new("id", DataType::Utf8, false), Field::new("l", items, true)]
    };
    let mut id_alone = Wanted::nothing();
    id_alone.add(["id"]);
    for wanted in [Wanted::All, id_alone] {
        let mut decoder = decoder(fields(), wanted, &[(1, LISTS)]);
        let good = |id: &str| Bytes::of(1).text(id).long(1).long(7).long(0);
        let bad = |count: i64| Bytes::of(1).text("bad").long(count).long(1).long(7).long(0);
        let decoded = decode(&mut decoder, &[good("a"), bad(i64::MIN), good("b"), bad(i64::MIN + 1), good("c")]);
        assert_eq!(decoded.rows, [0, 2, 4], "{:?}", reasons(&decoded));
    }
}

#[test]
fn three_schemas_and_garbage_between_keep_their_order_and_every_bad_record_says_why() {
    let mut decoder = decoder(columns(), Wanted::All, &[(1, ONE), (2, TWO), (3, THREE)]);
    decoder.schemas.put(9, Err("schema 9 is PROTOBUF, not AVRO".to_owned()));
    let decoded = decode(
        &mut decoder,
        &[
            Bytes::of(1).text("a").long(10).text("dropped"),
            Bytes::of(2).long(1).long(20).text("b"),
            Bytes::default().raw(b"{\"id\": \"json\"}"),
            Bytes::of(3).text("c").long(1).long(30),
            Bytes::of(2).long(0).text("null amount"),
            Bytes::of(1).text("d").long(40),
            Bytes::of(1).text("e").long(50).text("x"),
            Bytes::of(9).text("another kind"),
            Bytes::of(3).text("f").long(5).long(60),
            Bytes::of(1).text("g").long(70).text("x").text("more"),
            Bytes::default().raw(&[0, 0, 0]),
            Bytes::of(2).long(1).long(80).bytes(&[0xff, 0xfe]),
            Bytes::of(2).long(1).long(90).text("h"),
        ],
    );
    assert_eq!(decoded.rows, [0, 1, 3, 6, 12]);
    assert_eq!(
        shown(&decoded),
        "\
+----+--------+------+
| id | amount | kind |
+----+--------+------+
| a  | 10     |      |
| b  | 20     |      |
| c  | 30     | cart |
| e  | 50     |      |
| h  | 90     |      |
+----+--------+------+"
    );
    let reasons = reasons(&decoded);
    let of = |record: u32| reasons.iter().find(|(at, _)| *at == record).map_or("", |(_, reason)| *reason);
    assert_eq!(reasons.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [2, 4, 5, 7, 8, 9, 10, 11]);
    assert!(of(2).contains("it begins with the byte 0x7b"), "{}", of(2));
    assert_eq!(of(4), "null value in column \"amount\" violates not-null constraint");
    assert_eq!(of(5), "does not fit schema 1: bad varint");
    assert_eq!(of(7), "schema 9 is PROTOBUF, not AVRO");
    assert!(of(8).starts_with("does not fit schema 3: "), "{}", of(8));
    assert!(of(9).starts_with("does not fit schema 1: "), "{}", of(9));
    assert!(of(10).contains("it has 3 bytes"), "{}", of(10));
    assert!(of(11).starts_with("does not fit schema 2: "), "{}", of(11));
    // What was bad has left nothing behind.
    let again = decode(&mut decoder, &[Bytes::of(1).text("z").long(1).text("x")]);
    assert_eq!(again.rows, [0]);
}

#[test]
fn a_schema_whose_types_do_not_go_with_the_columns_is_named_with_the_column() {
    let text = ONE.replace("\"int\"", "\"string\"");
    let union = ONE.replace("\"int\"", "[\"int\",\"string\"]");
    let mut decoder = decoder(columns(), Wanted::All, &[(4, &text), (5, &union), (6, "\"string\""), (7, "{nonsense")]);
    let values = [4, 5, 6, 7].map(Bytes::of);
    let decoded = decode(&mut decoder, &values);
    let reasons = reasons(&decoded);
    assert_eq!(reasons[0].1, "schema 4: column \"amount\" is of type bigint but the schema has text");
    assert_eq!(
        reasons[1].1,
        "schema 5: column \"amount\" is of type bigint but the schema has a union of several types"
    );
    assert_eq!(reasons[2].1, "schema 6: it is no record, so its values have no columns");
    assert!(reasons[3].1.starts_with("schema 7: it cannot be read: "), "{}", reasons[3].1);
}

#[test]
fn every_type_finds_its_column() {
    let schema = r#"{"type":"record","name":"E","namespace":"shop","fields":[
        {"name":"uuid","type":{"type":"string","logicalType":"uuid"}},
        {"name":"token","type":"string"},
        {"name":"at_ms","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"at_us","type":{"type":"long","logicalType":"timestamp-micros"}},
        {"name":"at_text","type":"string"},
        {"name":"at_long","type":"long"},
        {"name":"day","type":{"type":"int","logicalType":"date"}},
        {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
        {"name":"ratio","type":"float"},
        {"name":"small","type":"int"},
        {"name":"flag","type":"boolean"},
        {"name":"raw","type":"bytes"},
        {"name":"inner","type":["null",{"type":"record","name":"Inner","fields":[
            {"name":"b","type":["null","string"]},{"name":"a","type":"int"}]}]},
        {"name":"tags","type":{"type":"array","items":"string"}},
        {"name":"more","type":{"type":"map","values":"long"}},
        {"name":"body","type":"string"}]}"#;
    let list = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    let entries = DataType::Struct(
        vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int32, true)].into(),
    );
    let inner =
        DataType::Struct(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)].into());
    let fields = vec![
        marked("uuid", "uuid"),
        marked("token", "uuid"),
        Field::new("at_ms", zoned(), false),
        Field::new("at_us", zoned(), false),
        Field::new("at_text", zoned(), false),
        Field::new("at_long", zoned(), false),
        Field::new("day", DataType::Date32, false),
        Field::new("price", DataType::Decimal128(12, 3), false),
        Field::new("ratio", DataType::Float64, false),
        Field::new("small", DataType::Int16, false),
        Field::new("flag", DataType::Boolean, false),
        Field::new("raw", DataType::Binary, false),
        Field::new("inner", inner, true),
        Field::new("tags", list, false),
        Field::new("more", DataType::Map(Arc::new(Field::new("entries", entries, false)), false), false),
        marked("body", "json"),
    ];
    let value = |token: &str, small: i64, more: i64, body: &str| {
        Bytes::of(1)
            .text("6E8BC430-9C3A-11D9-9669-0800200C9A66")
            .text(token)
            .long(1_767_225_600_123)
            .long(1_767_225_600_123_456)
            .text("2026-01-01T00:00:00Z")
            .long(1_767_225_600)
            .long(20_454)
            .bytes(&[0x04, 0xd2])
            .raw(&0.5f32.to_le_bytes())
            .long(small)
            .raw(&[1])
            .bytes(&[0xff, 0])
            .long(1)
            .long(0)
            .long(-3)
            .long(2)
            .text("x")
            .text("y")
            .long(0)
            .long(1)
            .text("k")
            .long(more)
            .long(0)
            .text(body)
    };
    let token = "6e8bc430-9c3a-11d9-9669-0800200c9a66";
    let mut decoder = decoder(fields, Wanted::All, &[(1, schema)]);
    let decoded = decode(
        &mut decoder,
        &[
            value(token, 7, 5, "{\"a\": 1}"),
            value("no", 7, 5, "1"),
            value(token, 70_000, 5, "1"),
            value(token, 7, 1 << 40, "1"),
            value(token, 7, 5, "{"),
        ],
    );
    let reasons = reasons(&decoded);
    assert_eq!(
        reasons,
        [
            (1, "column \"token\": invalid input syntax for type uuid: \"no\""),
            (2, "column \"small\": 70000 is out of range for type smallint"),
            (3, "column \"more[]\": 1099511627776 is out of range for type integer"),
            (4, "column \"body\": invalid input syntax for type json: \"{\""),
        ]
    );
    let text = shown(&decoded);
    for part in [
        "2026-01-01T00:00:00.123Z",
        "2026-01-01T00:00:00.123456Z",
        "2026-01-01 ",
        " 12.340 ",
        " 0.5 ",
        "{a: -3, b: }",
        "[x, y]",
        "{k: 5}",
        "ff00",
        "{\"a\": 1}",
        token,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn digits_are_not_lost_and_null_stays_null() {
    let schema = r#"{"type":"record","name":"E","fields":[
        {"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}]}]}"#;
    let fields = vec![Field::new("price", DataType::Decimal128(6, 2), true)];
    let price = |thousandths: i32| Bytes::of(1).long(1).bytes(&thousandths.to_be_bytes());
    let mut decoder = decoder(fields, Wanted::All, &[(1, schema)]);
    let decoded = decode(&mut decoder, &[price(1_230), price(1_234), price(99_999_990), Bytes::of(1).long(0)]);
    assert_eq!(
        reasons(&decoded),
        [
            (1, "column \"price\": 1.234 does not fit numeric(6, 2)"),
            (2, "column \"price\": 99999.990 does not fit numeric(6, 2)")
        ]
    );
    assert_eq!(shown(&decoded), "+-------+\n| price |\n+-------+\n| 1.23  |\n|       |\n+-------+");
}

#[test]
fn records_are_judged_by_columns_that_nobody_reads() {
    let mut wanted = Wanted::nothing();
    wanted.add(["id"]);
    let mut decoder = decoder(columns(), wanted, &[(2, TWO)]);
    let decoded = decode(&mut decoder, &[Bytes::of(2).long(1).long(20).text("b"), Bytes::of(2).long(0).text("c")]);
    assert_eq!(decoded.rows, [0]);
    assert_eq!(decoded.batch.column(0).as_string::<i32>().value(0), "b");
    assert_eq!(decoded.batch.column(1).null_count(), 1);
}

#[test]
fn a_schema_without_any_of_the_columns_gives_rows_of_nulls() {
    let schema = r#"{"type":"record","name":"E","fields":[{"name":"other","type":"double"}]}"#;
    let mut decoder = decoder(vec![Field::new("id", DataType::Utf8, true)], Wanted::All, &[(1, schema)]);
    let decoded = decode(&mut decoder, &[Bytes::of(1).double(1.0), Bytes::of(1).double(2.0)]);
    assert_eq!((decoded.rows.len(), decoded.batch.column(0).null_count()), (2, 2));
}

#[test]
fn a_type_is_known_where_the_field_that_defines_it_is_no_column() {
    let schema = r#"{"type":"record","name":"E","fields":[
        {"name":"before","type":["null",{"type":"record","name":"Row","fields":[{"name":"a","type":"long"}]}]},
        {"name":"after","type":["null","Row"]}]}"#;
    let row = DataType::Struct(vec![Field::new("a", DataType::Int64, true)].into());
    let mut decoder = decoder(vec![Field::new("after", row, true)], Wanted::All, &[(1, schema)]);
    let decoded = decode(&mut decoder, &[Bytes::of(1).long(1).long(5).long(1).long(6), Bytes::of(1).long(0).long(0)]);
    assert_eq!(shown(&decoded), "+--------+\n| after  |\n+--------+\n| {a: 6} |\n|        |\n+--------+");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_the_bytes_good_records_beside_them_are_rows(
        garbage in prop::collection::vec((1u32..5, prop::collection::vec(any::<u8>(), 0..40)), 1..8),
        cut in 0usize..12,
    ) {
        let mut decoder = decoder(columns(), Wanted::All, &[(1, ONE), (2, TWO), (3, THREE)]);
        decoder.schemas.put(4, Err("none".to_owned()));
        let good = |amount: i64| Bytes::of(1).text("good").long(amount).text("x");
        let mut values = Vec::new();
        for (at, (id, bytes)) in garbage.iter().enumerate() {
            values.push(good(at as i64));
            values.push(Bytes::of(*id).raw(bytes));
            let mut short = good(1).0;
            short.truncate(cut.min(short.len() - 1));
            values.push(Bytes(short));
        }
        let decoded = decode(&mut decoder, &values);
        let amounts = decoded.batch.column(1).as_primitive::<Int64Type>();
        for at in 0..garbage.len() {
            let row = decoded.rows.iter().position(|record| *record == 3 * at as u32).expect("the good one is a row");
            prop_assert_eq!(amounts.value(row), at as i64);
            prop_assert!(!decoded.rows.contains(&(3 * at as u32 + 2)));
        }
    }
}

#[test]
fn names_without_capitals_take_what_differs_in_capitals_alone() {
    let schema = |names: [&str; 2]| {
        format!(
            r#"{{"type":"record","name":"E","fields":[{{"name":"{}","type":"string"}},{{"name":"{}","type":"string"}}]}}"#,
            names[0], names[1]
        )
    };
    let all = [schema(["userId", "Tier"]), schema(["userid", "tier"]), schema(["userId", "userID"])];
    let fields = vec![Field::new("userid", DataType::Utf8, true), Field::new("Tier", DataType::Utf8, true)];
    let schemas: Vec<(u32, &str)> = (1..).zip(all.iter().map(String::as_str)).collect();
    let mut decoder = decoder(fields, Wanted::All, &schemas);
    let values = [1, 2, 3].map(|id| Bytes::of(id).text("a").text("b"));
    let decoded = decode(&mut decoder, &values);
    let rows: Vec<[Option<&str>; 2]> = (0..2)
        .map(|row| [0, 1].map(|column| decoded.batch.column(column).as_string::<i32>().iter().nth(row).flatten()))
        .collect();
    assert_eq!(rows, [[Some("a"), Some("b")], [Some("a"), None]]);
    let reason = "schema 3: column \"userid\" may be \"userId\" or \"userID\" of the record; declare it in quotes, as it is there";
    assert_eq!(reasons(&decoded), [(2, reason)]);
}
