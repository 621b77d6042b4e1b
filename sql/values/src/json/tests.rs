use super::{Change, Json, Step, parse};

fn json(text: &str) -> Json {
    Json::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn a_text_is_read_as_postgresql_reads_it() {
    for (text, shown) in [
        ("{\"b\":1,\"aa\":2,\"a\":3,\"b\":4}", "{\"a\": 3, \"b\": 4, \"aa\": 2}"),
        (
            " [ 1 , -0, 1.50, 1e2, 1E-3, 12345678901234567890.123 ] ",
            "[1, 0, 1.50, 100, 0.001, 12345678901234567890.123]",
        ),
        ("\"\\u00e9\\ud83d\\ude00\\/\\b\\u0001\"", "\"é😀/\\b\\u0001\""),
        ("[[],{},null,true,false]", "[[], {}, null, true, false]"),
    ] {
        assert_eq!(json(text).to_string(), shown, "{text}");
    }
    for text in [
        "",
        " ",
        "nul",
        "nulls",
        "01",
        "+1",
        "1.",
        ".5",
        "1e",
        "1x",
        "'a'",
        "[1,]",
        "{\"a\"}",
        "{a:1}",
        "[1] x",
        "\"a",
        "\"\\x\"",
        "\"\u{1}\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "NaN",
        "\u{a0}1",
        "[",
        "{\"a\":1,}",
        "\"\\u12\"",
    ] {
        assert_eq!(Json::parse(text).map_err(|error| error.sqlstate).err(), Some("22P02"), "{text}");
    }
    assert_eq!(Json::parse("\"\\u0000\"").map_err(|error| error.sqlstate).err(), Some("22P05"));
    assert_eq!(Json::parse("1e200000").map_err(|error| error.sqlstate).err(), Some("22003"));
    assert!(parse("\"\\ud800 \\u0000\"").is_ok(), "a json keeps what it is not asked for");
    let deep = "[".repeat(100_000);
    assert_eq!(Json::parse(&deep).map_err(|error| error.sqlstate).err(), Some("54001"));
}

#[test]
fn parts_of_a_json_are_as_they_are_written() {
    let text = "{\"a\": [1,  2.50], \"a\\u0062\": {\"c\": \"x\\n\"}, \"a\": [3,  {\"k\":1e5}]}";
    let node = parse(text).expect("json");
    let found = |path: &[Step<'_>]| node.find(path).expect("keys").map(|node| node.text);
    assert_eq!(found(&[Step::Key("a")]), Some("[3,  {\"k\":1e5}]"));
    assert_eq!(found(&[Step::Key("ab"), Step::Key("c")]), Some("\"x\\n\""));
    assert_eq!(found(&[Step::Either("a"), Step::Either("-1"), Step::Either("k")]), Some("1e5"));
    assert_eq!(found(&[Step::Index(0)]), None);
    assert_eq!(found(&[Step::Key("a"), Step::Key("0")]), None);
    assert_eq!(found(&[Step::Either("a"), Step::Either(" +1")]), Some("{\"k\":1e5}"));
    assert_eq!(found(&[Step::Either("a"), Step::Either("1 ")]), None);
    let text = parse("[\"a\\tb\", null]").expect("json");
    let of = |at| text.find(&[Step::Index(at)]).expect("keys").expect("an item").to_text();
    assert_eq!(of(0), Ok(Some("a\tb".to_owned())));
    assert_eq!(of(1), Ok(None));
}

#[test]
fn values_have_the_order_of_postgresql() {
    let ordered = [
        "[]",
        "null",
        "\"\"",
        "\"a\"",
        "\"ab\"",
        "\"b\"",
        "-2",
        "-1.5",
        "0",
        "1",
        "1.5",
        "10",
        "false",
        "true",
        "[null]",
        "[[]]",
        "[1, 2]",
        "[[], 1]",
        "[[1], 1]",
        "{}",
        "{\"a\": 1}",
        "{\"b\": 1}",
        "{\"a\": 1, \"b\": 1}",
    ];
    let keys: Vec<Vec<u8>> = ordered
        .iter()
        .map(|text| {
            let mut key = Vec::new();
            json(text).encode_key(&mut key);
            key
        })
        .collect();
    for (at, pair) in keys.windows(2).enumerate() {
        assert!(pair[0] < pair[1], "{} < {}", ordered[at], ordered[at + 1]);
    }
    let key = |text: &str| {
        let mut key = Vec::new();
        json(text).encode_key(&mut key);
        key
    };
    assert_eq!(key("[1.0, {\"a\": 0}]"), key("[1, {\"a\": -0.00}]"));
    assert_eq!(json("[1.0, {\"a\": 0.50}]").canonical().to_string(), "[1, {\"a\": 0.5}]");
}

#[test]
fn one_value_contains_another_by_its_parts() {
    for (whole, part, holds) in [
        ("[1, 2, [3]]", "[1]", true),
        ("[1, 2, [3]]", "3", false),
        ("[1, 2]", "1.0", true),
        ("[[1, 2]]", "[[1]]", true),
        ("[[1, 2]]", "[1]", false),
        ("{\"a\": {\"b\": 1, \"c\": 2}}", "{\"a\": {\"b\": 1}}", true),
        ("{\"a\": [1]}", "{\"a\": 1}", false),
        ("{\"a\": 1}", "{}", true),
        ("1", "[1]", false),
        ("[]", "[]", true),
        ("{}", "[]", false),
        ("null", "null", true),
    ] {
        assert_eq!(json(whole).contains(&json(part)), holds, "{whole} @> {part}");
    }
}

#[test]
fn values_are_changed_at_the_end_of_a_path() {
    let changed = |text: &str, path: &[&str], change| {
        let path: Vec<Option<&str>> = path.iter().map(|step| Some(*step)).collect();
        json(text).changed(&path, change, &json("9")).map(|value| value.to_string()).map_err(|error| error.sqlstate)
    };
    let ok = |text: &str| Ok(text.to_owned());
    assert_eq!(changed("{\"a\": {\"b\": 1}}", &["a", "b"], Change::Set), ok("{\"a\": {\"b\": 9}}"));
    assert_eq!(changed("{\"a\": 1}", &["b"], Change::Replace), ok("{\"a\": 1}"));
    assert_eq!(changed("{\"a\": 1}", &["b", "c"], Change::Set), ok("{\"a\": 1}"));
    assert_eq!(changed("[1, 2]", &["-5"], Change::Set), ok("[9, 1, 2]"));
    assert_eq!(changed("[1, 2]", &["7"], Change::Set), ok("[1, 2, 9]"));
    assert_eq!(changed("[1, 2]", &["-1"], Change::InsertAfter), ok("[1, 2, 9]"));
    assert_eq!(changed("[1, 2]", &["0"], Change::InsertBefore), ok("[9, 1, 2]"));
    assert_eq!(changed("[1, 2]", &["-1"], Change::Delete), ok("[1]"));
    assert_eq!(changed("[1, 2]", &["x"], Change::Delete), Err("22P02"));
    assert_eq!(changed("{\"a\": 1}", &["a"], Change::InsertAfter), Err("22023"));
    assert_eq!(changed("1", &["a"], Change::Set), Err("22023"));
    assert_eq!(json("{\"a\": 1}").concat(json("[2]")).to_string(), "[{\"a\": 1}, 2]");
    assert_eq!(json("{\"a\": 1}").concat(json("{\"a\": 2}")).to_string(), "{\"a\": 2}");
    assert_eq!(
        json("[\"a\", 1, \"b\"]").without(&["a"]).map(|value| value.to_string()),
        ok("[1, \"b\"]").map_err(|_: &str| unreachable!())
    );
}
