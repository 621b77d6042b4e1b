use std::collections::HashMap;

use arrow::{array::AsArray, datatypes::Schema, datatypes::TimeUnit, util::pretty::pretty_format_batches};
use ebap_connector::{Offset, Options, SplitId, Wanted};

use super::*;

fn field(name: &str, of: DataType) -> Field {
    Field::new(name, of, true)
}

fn text(name: &str) -> Field {
    field(name, DataType::Utf8)
}

fn decoder(fields: Vec<Field>, options: &[(&str, &str)]) -> CsvDecoder {
    let options = Options(options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
    let schema = Arc::new(Schema::new(fields));
    let spec = DecodeSpec { format: "csv".to_owned(), schema, key: Vec::new(), options, wanted: Wanted::All };
    CsvDecoder::new(&spec).expect("options fit")
}

fn records(header: Option<&str>, lines: &[&str]) -> Records {
    let mut records = Records::new(SplitId::new("0"), 0, Offset(0));
    records.header = header.map(|header| Arc::from(header.as_bytes()));
    for (at, line) in lines.iter().enumerate() {
        records.push(at as i64, -1, None, Some(line.as_bytes()));
    }
    records
}

fn decode(fields: Vec<Field>, header: Option<&str>, lines: &[&str]) -> Decoded {
    decoder(fields, &[]).decode(&records(header, lines)).expect("data never fails the call")
}

/// The rows of columns of text, NULL as `~`.
fn rows(decoded: &Decoded) -> Vec<String> {
    let columns: Vec<_> = decoded.batch.columns().iter().map(|column| column.as_string::<i32>()).collect();
    let row = |at: usize| columns.iter().map(move |column| column.iter().nth(at).flatten().unwrap_or("~"));
    (0..decoded.batch.num_rows()).map(|at| row(at).collect::<Vec<_>>().join("|")).collect()
}

fn reasons(decoded: &Decoded) -> Vec<&str> {
    decoded.rejected.iter().map(|rejected| rejected.reason.as_str()).collect()
}

#[test]
fn an_empty_field_is_null_without_quotes_alone() {
    let lines = ["a,b", ",", "\"\",", " ,\" \"", "\"x\"\"y\",\"a,b\nc\""];
    let decoded = decode(vec![text("a"), text("b")], None, &lines);
    assert_eq!(rows(&decoded), ["a|b", "~|~", "|~", " | ", "x\"y|a,b\nc"]);
    let mut decoder = decoder(vec![text("a")], &[("csv.null", "NULL"), ("csv.delimiter", ";")]);
    let decoded = decoder.decode(&records(None, &["NULL", "\"NULL\"", "", "a,b"])).expect("data never fails the call");
    assert_eq!(rows(&decoded), ["~", "NULL", "", "a,b"]);
}

#[test]
fn what_is_no_record_is_rejected_whole_and_with_its_reason() {
    let lines = ["1,a", "2", "3,a,b", "4,\"a", "5,\"a\" ", "6,a\n7,b", "8,b\r\n", "\u{feff}9,c\n"];
    let decoded = decode(vec![field("id", DataType::Int32), text("t")], None, &lines);
    assert_eq!(decoded.rows, [0, 6, 7]);
    assert_eq!(decoded.batch.num_rows(), 3);
    assert_eq!(decoded.batch.column(1).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(
        reasons(&decoded),
        [
            "the record has 1 fields, the stream 2 columns",
            "the record has 3 fields, the stream 2 columns",
            "field 2 begins with a quote that is not closed",
            "field 2 has text behind its closing quote; a quote inside of quotes is written twice",
            "field 2 has a line break and no quotes around it",
        ]
    );
    let mut broken = records(None, &[]);
    broken.push(0, -1, None, Some(b"1,\xff"));
    let decoded = decoder(vec![text("a"), text("b")], &[]).decode(&broken).expect("data never fails the call");
    assert_eq!(reasons(&decoded), ["the record is not valid UTF-8"]);
}

#[test]
fn the_names_of_the_header_choose_the_columns() {
    let columns = || vec![text("id"), text("name")];
    for (header, lines, expected) in [
        ("id,name", ["1,ann", "2,bob"], ["1|ann", "2|bob"]),
        ("name,id", ["ann,1", "bob,2"], ["1|ann", "2|bob"]),
        ("x,name,\"\",id,", ["-,ann,-,1,-", "-,bob,-,2,-"], ["1|ann", "2|bob"]),
        ("Name, ID ", ["ann,1", "bob,2"], ["1|ann", "2|bob"]),
        ("\u{feff}\"name\",\"i\"\"d\"", ["ann,1", "bob,2"], ["~|ann", "~|bob"]),
        ("name", ["ann", "bob"], ["~|ann", "~|bob"]),
    ] {
        let decoded = decode(columns(), Some(header), &lines);
        assert_eq!(rows(&decoded), expected, "{header}");
        assert_eq!(reasons(&decoded), [""; 0], "{header}");
    }
}

#[test]
fn a_header_that_cannot_be_followed_is_the_reason_of_each_record() {
    let columns = || vec![Field::new("id", DataType::Utf8, false), text("name")];
    for (header, line, reason) in [
        ("id,name", "1", "the record has 1 fields, the header 2"),
        ("name", "ann", "null value in column \"id\" violates not-null constraint"),
        ("1,ann", "2,bob", "the header of the file, 1,ann: it names none of the columns"),
        ("id,id", "1,2", "the header of the file, id,id: it names \"id\" twice"),
        (
            "ID,Id",
            "1,2",
            "the header of the file, ID,Id: column \"id\" may be \"ID\" or \"Id\" of the record; declare it in quotes, as it is there",
        ),
        ("id,\"name", "1,ann", "the header of the file, id,\"name: field 2 begins with a quote that is not closed"),
    ] {
        let decoded = decode(columns(), Some(header), &[line]);
        assert_eq!(reasons(&decoded), [reason], "{header}");
    }
}

#[test]
fn each_file_has_its_own_header() {
    let mut decoder = decoder(vec![text("id"), text("name")], &[]);
    for (header, lines, expected) in [
        (Some("id,name"), ["1,ann"], ["1|ann"]),
        (Some("name,id"), ["bob,2"], ["2|bob"]),
        (None, ["3,cy"], ["3|cy"]),
        (Some("name,id"), ["dee,4"], ["4|dee"]),
    ] {
        let decoded = decoder.decode(&records(header, &lines)).expect("data never fails the call");
        assert_eq!(rows(&decoded), expected);
    }
}

#[test]
fn values_are_those_of_their_types() {
    let json = text("j").with_metadata(HashMap::from([("ebap.type".to_owned(), "json".to_owned())]));
    let fields = vec![
        field("i", DataType::Int64),
        field("f", DataType::Float64),
        field("b", DataType::Boolean),
        field("d", DataType::Decimal128(10, 2)),
        json,
        field("at", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))),
        field("day", DataType::Date32),
    ];
    let lines = [
        "9007199254740993,0.1,t,1.5,\"{\"\"a\"\": 12345678901234567890}\",1767225600.5,2026-01-01",
        " 1 , 2 , true , 3 , [1] , 2026-01-01 , 2026-01-01 ",
        "\"-1\",\"NaN\",false,,null,2026-01-01 02:00:00+02,",
        ",,,,,,",
    ];
    let decoded = decode(fields.clone(), None, &lines);
    assert_eq!(reasons(&decoded), [""; 0]);
    let shown = pretty_format_batches(&[decoded.batch]).expect("prints").to_string();
    for row in [
        "| 9007199254740993 | 0.1 | true  | 1.50 | {\"a\": 12345678901234567890} | 2026-01-01T00:00:00.500Z | 2026-01-01 |",
        "| 1                | 2.0 | true  | 3.00 | [1]                         | 2026-01-01T00:00:00Z     | 2026-01-01 |",
        "| -1               | NaN | false |      | null                        | 2026-01-01T00:00:00Z     |            |",
        "|                  |     |       |      |                             |                          |            |",
    ] {
        assert!(shown.contains(row), "{row} in\n{shown}");
    }
    for (line, reason) in [
        ("1.5,,,,,,", "column \"i\" is of type bigint but the value is 1.5"),
        ("9223372036854775808,,,,,,", "column \"i\": 9223372036854775808 is out of range for type bigint"),
        ("x,,,,,,", "column \"i\" is of type bigint but the value is \"x\""),
        (",1e400,,,,,", "column \"f\": invalid input syntax for type double precision: \"1e400\""),
        (",,maybe,,,,", "column \"b\" is of type boolean but the value is \"maybe\""),
        (",,,,{a},,", "column \"j\": invalid input syntax for type json: \"{a}\""),
        (",,,,,\"\",", "column \"at\": invalid input syntax for type timestamp with time zone: \"\""),
        (",,,,,NaN,", "column \"at\": invalid input syntax for type timestamp with time zone: \"NaN\""),
        (",,,,,-1e19,", "column \"at\": -1e19 is out of range for type timestamp with time zone"),
        (",,,,,,x", "column \"day\": invalid input syntax for type date: \"x\""),
    ] {
        assert_eq!(reasons(&decode(fields.clone(), None, &[line])), [reason], "{line}");
    }
}

#[test]
fn numbers_that_are_times_are_of_the_unit() {
    let fields = || vec![field("at", DataType::Timestamp(TimeUnit::Microsecond, None))];
    for (unit, line) in [("s", "1"), ("ms", "1000"), ("us", "1000000"), ("ns", "1000000000"), ("s", "\"1.0\"")] {
        let mut decoder = decoder(fields(), &[("timestamp_unit", unit)]);
        let decoded = decoder.decode(&records(None, &[line])).expect("data never fails the call");
        let values = decoded.batch.column(0).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
        assert_eq!(values.values().as_ref(), [1_000_000], "{unit} {line}");
    }
}
