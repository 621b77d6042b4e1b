use std::sync::Arc;

use arrow::{
    datatypes::{DataType, Field, Schema as ArrowSchema},
    util::pretty::pretty_format_batches,
};
use ebap_connector::{Offset, Options, SplitId, Wanted};
use ebap_schema_registry::wire;

use super::*;

const VALUE: u32 = 1;
const KEY: u32 = 2;

/// As Debezium's converter names and nests them.
const ENVELOPE: &str = r#"{"type":"record","name":"Envelope","namespace":"ebap.public.users","fields":[
    {"name":"before","type":["null",{"type":"record","name":"Value","fields":[
        {"name":"id","type":"long"},{"name":"tier","type":["null","string"]},
        {"name":"balance","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
        {"name":"born","type":["null",{"type":"int","connect.name":"io.debezium.time.Date"}]}]}],"default":null},
    {"name":"after","type":["null","Value"],"default":null},
    {"name":"source","type":{"type":"record","name":"Source","namespace":"io.debezium","fields":[
        {"name":"ts_ms","type":"long"},{"name":"ts_us","type":["null","long"]}]}},
    {"name":"op","type":"string"}]}"#;
const OF_KEY: &str = r#"{"type":"record","name":"Key","fields":[{"name":"id","type":"long"}]}"#;

fn long(value: i64) -> Vec<u8> {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [long(text.len() as i64), text.as_bytes().to_vec()].concat()
}

struct Row<'a>(i64, Option<&'a str>, i16);

fn row(row: Option<Row<'_>>) -> Vec<u8> {
    let Some(Row(id, tier, cents)) = row else { return long(0) };
    let tier = tier.map_or_else(|| long(0), |tier| [long(1), text(tier)].concat());
    let balance = [long(2), cents.to_be_bytes().to_vec()].concat();
    [long(1), long(id), tier, balance, long(1), long(20_454)].concat()
}

fn change(before: Option<Row<'_>>, after: Option<Row<'_>>, op: &str) -> Vec<u8> {
    let source = [long(1_767_225_600_000), long(1), long(1_767_225_600_000_123)].concat();
    [wire::prefix(VALUE).to_vec(), row(before), row(after), source, text(op)].concat()
}

fn key(id: i64) -> Vec<u8> {
    [wire::prefix(KEY).to_vec(), long(id)].concat()
}

/// Key and value.
type Pair = (Option<Vec<u8>>, Option<Vec<u8>>);

fn decode(records: &[Pair]) -> Decoded {
    let mut options = Options::default();
    options.set("schema_registry", "http://127.0.0.1:1");
    let schema = Arc::new(ArrowSchema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("tier", DataType::Utf8, false),
        Field::new("balance", DataType::Decimal128(12, 2), true),
        Field::new("born", DataType::Date32, true),
    ]));
    let spec = DecodeSpec { format: "debezium-avro".to_owned(), schema, key: vec![0], options, wanted: Wanted::All };
    let mut decoder = DebeziumAvroDecoder::new(&spec).expect("options fit");
    let found = |id: u32, text: &str| Schema { id, kind: Kind::Avro, text: text.to_owned(), references: Vec::new() };
    let value = reader(&found(VALUE, ENVELOPE), &decoder.columns, &decoder.schema);
    decoder.values.put(VALUE, value);
    decoder.keys.put(KEY, AvroReader::new(&found(KEY, OF_KEY), |_| true));
    let mut all = Records::new(SplitId::new("0"), 0, Offset(0));
    for (at, (key, value)) in records.iter().enumerate() {
        all.push(at as i64, -1, key.as_deref(), value.as_deref());
    }
    let decoded = decoder.decode(&all).expect("data never fails the call");
    let counted = decoded.rows.len() + decoded.rejected.len() + decoded.skipped as usize;
    assert_eq!(counted, records.len(), "each record is somewhere, once");
    decoded
}

#[test]
fn a_snapshot_changes_deletes_and_tombstones_are_rows_in_order() {
    let put = |id, tier, cents, op| (Some(key(id)), Some(change(None, Some(Row(id, Some(tier), cents)), op)));
    let decoded = decode(&[
        put(1, "gold", 1_234, "r"),
        put(2, "free", -5, "c"),
        (Some(key(1)), Some(change(Some(Row(1, Some("gold"), 1)), Some(Row(1, Some("free"), 99)), "u"))),
        // A delete with all of the row, one with none of it, and a tombstone alone.
        (Some(key(2)), Some(change(Some(Row(2, Some("free"), -5)), None, "d"))),
        (Some(key(3)), Some(change(None, None, "d"))),
        (Some(key(4)), None),
        (Some(key(5)), Some(change(None, None, "m"))),
        put(6, "gold", 7, "c"),
    ]);
    assert_eq!(decoded.rows, [0, 1, 2, 3, 4, 5, 7]);
    assert_eq!(decoded.skipped, 1);
    let times: Vec<(u32, Option<i64>)> =
        decoded.deletes.iter().map(|delete| (delete.record, delete.at.map(|at| at.0))).collect();
    assert_eq!(times, [(3, Some(1_767_225_600_000_123)), (4, Some(1_767_225_600_000_123)), (5, None)]);
    assert_eq!(
        pretty_format_batches(&[decoded.batch]).expect("a table").to_string(),
        "\
+----+------+---------+------------+
| id | tier | balance | born       |
+----+------+---------+------------+
| 1  | gold | 12.34   | 2026-01-01 |
| 2  | free | -0.05   | 2026-01-01 |
| 1  | free | 0.99    | 2026-01-01 |
| 2  | free | -0.05   | 2026-01-01 |
| 3  |      |         |            |
| 4  |      |         |            |
| 6  | gold | 0.07    | 2026-01-01 |
+----+------+---------+------------+"
    );
}

#[test]
fn what_is_no_change_of_this_table_says_why() {
    let decoded = decode(&[
        (Some(key(1)), Some(change(None, Some(Row(1, None, 0)), "c"))),
        (Some(key(1)), Some(change(None, None, "u"))),
        (Some(key(1)), Some(change(Some(Row(1, Some("a"), 0)), Some(Row(2, Some("a"), 0)), "u"))),
        (Some(key(1)), Some(change(None, Some(Row(1, Some("a"), 0)), "x"))),
        (Some(b"{\"id\": 1}".to_vec()), None),
        (None, Some(change(None, None, "d"))),
        (None, None),
        (Some(key(1)), Some(change(None, Some(Row(1, Some("__debezium_unavailable_value"), 0)), "u"))),
        (Some(key(1)), Some(b"garbage".to_vec())),
    ]);
    let reasons: Vec<&str> = decoded.rejected.iter().map(|rejected| rejected.reason.as_str()).collect();
    assert_eq!(reasons.len(), 9);
    assert_eq!(reasons[0], "null value in column \"tier\" violates not-null constraint");
    assert_eq!(reasons[1], "a change with op \"u\" has no \"after\"");
    assert!(reasons[2].starts_with("an update changes \"id\""), "{}", reasons[2]);
    assert!(reasons[3].contains("op \"x\""), "{}", reasons[3]);
    assert!(reasons[4].starts_with("the key of a delete: not in the wire format"), "{}", reasons[4]);
    assert_eq!(reasons[5], "the key of a delete: the record is empty");
    assert_eq!(reasons[6], "the record has neither a key nor a value");
    assert!(reasons[7].contains("REPLICA IDENTITY FULL"), "{}", reasons[7]);
    assert!(reasons[8].contains("begins with the byte 0x67"), "{}", reasons[8]);
}
