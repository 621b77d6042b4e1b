//! Records as a broken or a hostile producer would write them, of every format: valid ones, values at the limits of their
//! types and beyond, and bytes that are changed at random.

use crate::random::Random;

/// The columns that records of the formats in text are read into.
pub const COLUMNS: &str = "b BOOLEAN, i2 SMALLINT, i4 INT, i8 BIGINT, f4 REAL, f8 DOUBLE, n NUMERIC(30, 4), t TEXT, \
                           u UUID, d DATE, ts TIMESTAMP, tz TIMESTAMPTZ NOT NULL, by BYTEA, \
                           s STRUCT<a BIGINT, b STRUCT<c TEXT>>, l BIGINT[], m MAP<TEXT, BIGINT>, j JSON";
/// Those that a line of separated values can hold.
pub const FLAT_COLUMNS: &str = "b BOOLEAN, i2 SMALLINT, i4 INT, i8 BIGINT, f4 REAL, f8 DOUBLE, n NUMERIC(30, 4), t TEXT, \
                                u UUID, d DATE, ts TIMESTAMP, tz TIMESTAMPTZ NOT NULL";
/// The columns that the schemas below share.
pub const BINARY_COLUMNS: &str =
    "b BOOLEAN, i4 INT, i8 BIGINT, f4 REAL, f8 DOUBLE, t TEXT, tz TIMESTAMPTZ NOT NULL, l BIGINT[]";

pub const AVRO: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"b","type":"boolean"},{"name":"i4","type":"int"},{"name":"i8","type":["null","long"]},
    {"name":"f4","type":"float"},{"name":"f8","type":"double"},{"name":"t","type":"string"},
    {"name":"tz","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"l","type":{"type":"array","items":"long"}}]}"#;
pub const PROTOBUF: &str = "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; message R { bool b = 1; \
                            int32 i4 = 2; optional int64 i8 = 3; float f4 = 4; double f8 = 5; string t = 6; \
                            google.protobuf.Timestamp tz = 7; repeated int64 l = 8; }";
pub const JSON_SCHEMA: &str = r#"{"type":"object","properties":{"b":{"type":["boolean","null"]},"i4":{"type":"integer"},
    "i8":{"type":["integer","null"]},"f4":{"type":"number"},"f8":{"type":"number"},"t":{"type":"string"},
    "tz":{"type":"string","format":"date-time"},"l":{"type":"array","items":{"type":["integer","null"]}}}}"#;

const NUMBERS: [&str; 26] = [
    "0",
    "-0",
    "1",
    "-1",
    "1.5",
    "1e400",
    "-1e400",
    "1e-400",
    "123456789012345678901234567890123456789012345678901234567890",
    "1.7976931348623157e308",
    "-9223372036854775808",
    "9223372036854775807",
    "9223372036854775808",
    "32768",
    "2147483648",
    "0.00000000000000000000000000000000000001",
    "99999999999999999999999999.9999",
    "253402300800000",
    "-62135596800001",
    "8210266876799999999",
    "1e5",
    "NaN",
    "Infinity",
    "01",
    "1.",
    "-",
];

const TEXTS: [&str; 34] = [
    "",
    "a",
    "2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00.123456789+23:59",
    "2026-01-01",
    "2026-02-30",
    "9999-12-31T23:59:59.999999Z",
    "294247-01-10T04:00:54.775807Z",
    "294276-12-31T23:59:59Z",
    "5874897-12-31",
    "5874898-01-01",
    "-4713-01-01T00:00:00Z",
    "0000-00-00",
    "0001-01-01T00:00:00Z",
    "+275760-09-13T00:00:00Z",
    "infinity",
    "-infinity",
    "NaN",
    "6f9619ff-8b86-d011-b42d-00c04fc964ff",
    "6f9619ff-8b86-d011-b42d-00c04fc964f",
    "AAH/",
    "====",
    "\\u0000",
    "\\ud800",
    "\\udc00\\ud800",
    "ä\u{301}\u{202e}\u{feff}",
    "1e999999999",
    "99999999999999999999999999999999999999999999",
    "0x10",
    "{\\\"a\\\": [1]}",
    "\\",
    "\\\"",
    "24:00:00",
    "true",
];

/// One record. `id` is that of the schema, for formats that name one.
pub fn record(format: &str, random: &mut Random, id: u32) -> Vec<u8> {
    let plain = match format {
        "csv" => flat(random).into_bytes(),
        "raw" if random.one_in(2) => json(random, 2).into_bytes(),
        "raw" => garbage(random),
        "debezium-json" => change(random).into_bytes(),
        "avro" => framed(id, avro(random)),
        "protobuf" => framed(id, protobuf(random)),
        "json-schema" => framed(id, object(random, &["b", "i4", "i8", "f4", "f8", "t", "tz", "l"]).into_bytes()),
        _ => {
            let all =
                ["b", "i2", "i4", "i8", "f4", "f8", "n", "t", "u", "d", "ts", "tz", "by", "s", "l", "m", "j", "other"];
            object(random, &all).into_bytes()
        }
    };
    match random.below(4) {
        0 => mutated(random, plain),
        _ => plain,
    }
}

fn object(random: &mut Random, names: &[&str]) -> String {
    let mut fields = Vec::new();
    for name in names {
        if random.one_in(6) {
            continue;
        }
        fields.push(format!("\"{name}\":{}", of_column(random, name)));
        if random.one_in(60) {
            fields.push(format!("\"{name}\":{}", json(random, 2)));
        }
    }
    format!("{{{}}}", fields.join(","))
}

/// Mostly what the column takes, so that one wrong value is not behind another.
fn of_column(random: &mut Random, name: &str) -> String {
    if random.one_in(60) {
        return json(random, 3);
    }
    let text = |text: &str| format!("\"{text}\"");
    let small = random.below(2000) as i64 - 1000;
    match name {
        "b" => (*random.of(&["true", "false", "null"])).to_owned(),
        "i2" | "i4" | "i8" => small.to_string(),
        "f4" | "f8" => format!("{}", small as f64 / 8.0),
        "n" => text(&format!("{small}.{:04}", random.below(10_000))),
        "u" => text("6f9619ff-8b86-d011-b42d-00c04fc964ff"),
        "d" => text(&format!("{:04}-{:02}-{:02}", random.below(9999), 1 + random.below(12), 1 + random.below(31))),
        "ts" => text(&format!("2026-01-{:02}T12:{:02}:00", 1 + random.below(28), random.below(60))),
        // Some far away, so that they move the watermark.
        "tz" if random.one_in(400) => text(random.of::<&str>(&["9999-12-31T00:00:00Z", "0001-01-01T00:00:00Z"])),
        "tz" => text(&format!("2026-01-01T{:02}:{:02}:{:02}Z", random.below(24), random.below(60), random.below(60))),
        "by" => text("AAH/"),
        "s" => format!("{{\"a\":{small},\"b\":{{\"c\":\"x\"}}}}"),
        "l" => format!("[{small},null]"),
        "m" => format!("{{\"x\":{small}}}"),
        "j" => json(random, 3),
        // Escapes that are no text are among them.
        _ if random.one_in(5) => text(random.of::<&str>(&TEXTS)),
        _ => text(random.of::<&str>(&["", "a", "ä", "2026-01-01", "x,y", "\u{202e}", "\\u0041\\ud83d\\ude00"])),
    }
}

fn json(random: &mut Random, depth: usize) -> String {
    match random.below(if depth == 0 { 4 } else { 8 }) {
        0 => (*random.of(&NUMBERS)).to_owned(),
        1 | 2 => format!("\"{}\"", random.of(&TEXTS)),
        3 => (*random.of(&["true", "false", "null", "nul", "TRUE"])).to_owned(),
        4 => {
            let items: Vec<String> = (0..random.below(4)).map(|_| json(random, depth - 1)).collect();
            format!("[{}]", items.join(","))
        }
        5 => {
            let fields: Vec<String> = (0..random.below(4))
                .map(|_| format!("\"{}\":{}", random.of(&TEXTS), json(random, depth - 1)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        // Deep, and now and then deeper than any stack.
        6 => {
            let deep = if random.one_in(50) { 100_000 } else { random.below(200) };
            let (open, close) = *random.of(&[("[", "]"), ("{\"a\":", "}")]);
            format!("{}1{}", open.repeat(deep), close.repeat(deep))
        }
        _ => format!("\"{}\"", "x".repeat(random.below(5_000))),
    }
}

fn flat(random: &mut Random) -> String {
    let cells = ["b", "i2", "i4", "i8", "f4", "f8", "n", "t", "u", "d", "ts", "tz"].iter().map(|name| {
        let value = match random.below(60) {
            0 => (*random.of(&NUMBERS)).to_owned(),
            1 => (*random.of(&TEXTS)).to_owned(),
            _ => of_column(random, name),
        };
        if random.one_in(40) { value } else { value.trim_matches('"').to_owned() }
    });
    let cells: Vec<String> = cells.collect();
    cells.join(if random.one_in(50) { ";" } else { "," })
}

fn change(random: &mut Random) -> String {
    let row = |random: &mut Random| {
        if random.one_in(20) {
            return json(random, 2);
        }
        let more = object(random, &["i8", "f8", "n", "t", "tz"]);
        let key = random.below(50);
        let key = if random.one_in(40) { json(random, 1) } else { key.to_string() };
        let rest = more.trim_start_matches('{');
        let comma = if rest == "}" { "" } else { "," };
        format!("{{\"id\":{key}{comma}{rest}")
    };
    let (before, after) = (row(random), row(random));
    let op = *random.of(&["c", "c", "u", "u", "d", "d", "r", "r", "r", "t", "m", "x", ""]);
    let payload = format!(
        "{{\"before\":{before},\"after\":{after},\"op\":\"{op}\",\"source\":{{\"ts_us\":{}}},\"ts_ms\":{}}}",
        if random.one_in(10) { *random.of(&NUMBERS) } else { "1767225600000000" },
        if random.one_in(10) { *random.of(&NUMBERS) } else { "1767225600000" },
    );
    if random.one_in(9) { format!("{{\"schema\":{},\"payload\":{payload}}}", json(random, 2)) } else { payload }
}

fn framed(id: u32, value: Vec<u8>) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), &value].concat()
}

const LONGS: [i64; 9] =
    [0, 1, -1, i64::MAX, i64::MIN, 1_767_225_600_000_000, 253_402_300_799_999_999, -62_135_596_800_000_001, 1 << 31];
const DOUBLES: [f64; 7] = [0.0, -0.0, 1.5, f64::NAN, f64::INFINITY, f64::MAX, 5e-324];

fn varint(mut left: u64, bytes: &mut Vec<u8>) {
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
}

fn long(value: i64, bytes: &mut Vec<u8>) {
    varint(((value << 1) ^ (value >> 63)) as u64, bytes);
}

fn moment(random: &mut Random) -> i64 {
    if random.one_in(30) { *random.of(&LONGS) } else { 1_767_225_600_000_000 + random.below(86_400) as i64 * 1_000_000 }
}

/// Without the least number: of a block of so many items the decoder makes a dead letter by catching a panic of
/// arrow-avro, which stands in the log. Its unit tests have the case.
const AVRO_LONGS: [i64; 8] =
    [0, 1, -1, i64::MAX, -i64::MAX, 1_767_225_600_000_000, 253_402_300_799_999_999, -62_135_596_800_000_001];

fn avro(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![random.below(3) as u8];
    long(if random.one_in(10) { *random.of(&AVRO_LONGS) } else { random.below(1000) as i64 }, &mut bytes);
    let branch = if random.one_in(20) { *random.of(&AVRO_LONGS) } else { random.below(2) as i64 };
    long(branch, &mut bytes);
    if branch == 1 {
        long(*random.of(&AVRO_LONGS), &mut bytes);
    }
    bytes.extend_from_slice(&(*random.of(&DOUBLES) as f32).to_le_bytes());
    bytes.extend_from_slice(&random.of(&DOUBLES).to_le_bytes());
    let text = *random.of(&TEXTS);
    // A length that is not that of the text, now and then.
    long(if random.one_in(20) { *random.of(&AVRO_LONGS) } else { text.len() as i64 }, &mut bytes);
    bytes.extend_from_slice(text.as_bytes());
    long(moment(random), &mut bytes);
    // Blocks of items; a negative count has the block's length behind it.
    for _ in 0..random.below(3) {
        let count = if random.one_in(20) { *random.of(&AVRO_LONGS) } else { random.below(4) as i64 };
        long(count, &mut bytes);
        for _ in 0..count.clamp(0, 4) {
            long(*random.of(&AVRO_LONGS), &mut bytes);
        }
    }
    bytes.push(0);
    bytes
}

fn protobuf(random: &mut Random) -> Vec<u8> {
    // The first message of the schema.
    let mut bytes = vec![0];
    for field in 1..=9_u64 {
        if random.one_in(5) && field != 7 {
            continue;
        }
        let wire = match field {
            _ if random.one_in(15) => random.below(8) as u64,
            4 => 5,
            5 => 1,
            6..=8 => 2,
            _ => 0,
        };
        varint(field << 3 | wire, &mut bytes);
        match wire {
            0 => varint(*random.of(&LONGS) as u64, &mut bytes),
            1 => bytes.extend_from_slice(&random.of(&DOUBLES).to_le_bytes()),
            5 => bytes.extend_from_slice(&(*random.of(&DOUBLES) as f32).to_le_bytes()),
            2 => {
                let mut inner = Vec::new();
                match field {
                    7 => {
                        inner.push(8);
                        varint((moment(random) / 1_000_000) as u64, &mut inner);
                        inner.push(16);
                        varint(if random.one_in(20) { *random.of(&LONGS) as u64 } else { 1000 }, &mut inner);
                    }
                    8 => (0..random.below(4)).for_each(|_| varint(*random.of(&LONGS) as u64, &mut inner)),
                    _ => inner.extend_from_slice(random.of(&TEXTS).as_bytes()),
                }
                let length = if random.one_in(20) { *random.of(&LONGS) as u64 } else { inner.len() as u64 };
                varint(length, &mut bytes);
                bytes.extend_from_slice(&inner);
            }
            _ => {}
        }
    }
    bytes
}

pub fn garbage(random: &mut Random) -> Vec<u8> {
    (0..1 + random.below(200)).map(|_| random.number() as u8).collect()
}

/// The bytes with one or a few changes.
pub fn mutated(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..1 + random.below(4) {
        if bytes.is_empty() {
            return garbage(random);
        }
        let (at, other) = (random.below(bytes.len()), random.below(bytes.len()));
        let (from, to) = (at.min(other), at.max(other));
        match random.below(8) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.number() as u8,
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(from..to)),
            4 => bytes.insert(at, *random.of(&[0, 0xff, b'"', b'{', b'[', b',', b'\\', b'9', b'-', 0x80])),
            5 => {
                let copy = bytes[from..to].to_vec();
                bytes.splice(at..at, copy);
            }
            6 => bytes[from..to].reverse(),
            _ => {
                let more = garbage(random);
                bytes.splice(at..at, more);
            }
        }
    }
    bytes
}
