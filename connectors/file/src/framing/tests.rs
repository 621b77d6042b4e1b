//! Files in a folder of the test's own, cut into records.

use std::fs;

use super::*;

fn csv() -> Framing {
    let mut options = Options::default();
    options.set("format", "csv");
    Framing::of(&options).expect("the options are valid")
}

/// The records of a file with this content and where each ends, and what came instead of a last one.
fn records(framing: &Framing, content: &[u8], follow: bool, from: u64) -> (Vec<(String, u64)>, Found) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("in");
    fs::write(&path, content).expect("the folder is ours");
    let mut reader = RecordReader::new(&path, File::open(&path).expect("it is there"), framing, follow);
    reader.seek(from).expect("a file");
    let (mut all, mut record) = (Vec::new(), Vec::new());
    loop {
        match reader.next(&mut record).expect("no fault") {
            Found::Record => all.push((String::from_utf8_lossy(&record).into_owned(), reader.at())),
            nothing => return (all, nothing),
        }
    }
}

fn texts(framing: &Framing, content: &str, follow: bool) -> Vec<String> {
    records(framing, content.as_bytes(), follow, 0).0.into_iter().map(|(text, _)| text).collect()
}

#[test]
fn a_quoted_field_holds_line_breaks() {
    for (content, expected) in [
        ("1,\"a\nb\"\n2,c\n", vec!["1,\"a\nb\"", "2,c"]),
        ("1,\"a\r\nb\"\r\n2,c\r\n", vec!["1,\"a\r\nb\"", "2,c"]),
        ("1,\"a\n\n\"\"\n,b\"\n2,c", vec!["1,\"a\n\n\"\"\n,b\"", "2,c"]),
        ("\"\n\",\"\n\"\n", vec!["\"\n\",\"\n\""]),
        ("5\" pipe\n6\" pipe\n", vec!["5\" pipe", "6\" pipe"]),
        ("\"a\"\n\"b\"", vec!["\"a\"", "\"b\""]),
    ] {
        assert_eq!(texts(&csv(), content, false), expected, "{content:?}");
        let lines = texts(&Framing::Lines { raw: false }, content, false);
        assert_eq!(lines.len(), content.lines().count(), "lines are records in every other format");
    }
}

#[test]
fn a_quote_that_nothing_closes_takes_its_line_alone() {
    let content = "1,a\n2,\"b\n3,c\n4,d\n";
    assert_eq!(texts(&csv(), content, false), ["1,a", "2,\"b", "3,c", "4,d"]);
    // Where more may come, it may be the beginning of a record.
    let (found, nothing) = records(&csv(), content.as_bytes(), true, 0);
    assert_eq!((found.len(), nothing), (1, Found::Nothing { open: true }));
    let (_, nothing) = records(&csv(), b"1,a\n2,\"b", true, 0);
    assert_eq!(nothing, Found::Nothing { open: false }, "half a line is nothing unusual");
}

/// Every quote behind the open one is of a pair, so that none closes it.
#[test]
fn a_quote_is_looked_for_so_far_and_no_further() {
    let mut content = b"1,a\n2,\"b\n".to_vec();
    let row = format!("3,\"\",{}\n", "x".repeat(4_000));
    while content.len() < RECORD_BYTES_MAX + (1 << 20) {
        content.extend_from_slice(row.as_bytes());
    }
    let rows = content.iter().filter(|byte| **byte == b'\n').count();
    for follow in [false, true] {
        let (found, nothing) = records(&csv(), &content, follow, 0);
        assert_eq!((found[1].0.as_str(), found.len()), ("2,\"b", rows));
        assert_eq!(nothing, Found::Nothing { open: false });
    }
    content.truncate(RECORD_BYTES_MAX);
    let (found, nothing) = records(&csv(), &content, true, 0);
    assert_eq!((found.len(), nothing), (1, Found::Nothing { open: true }), "it may still be closed");
}

#[test]
fn where_a_record_ends_does_not_depend_on_where_reading_began() {
    let content = "\u{feff}a,\"\n\"\n\n\"x\"\"\n,\",1\n2,\"open\n3,\"c\nd\" e\n5,f";
    for follow in [false, true] {
        let (all, _) = records(&csv(), content.as_bytes(), follow, 0);
        assert!(all.len() > 3);
        for (at, (_, end)) in all.iter().enumerate() {
            let (rest, _) = records(&csv(), content.as_bytes(), follow, *end);
            assert_eq!(rest, all[at + 1..], "from {end}");
        }
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_record() {
    let lines = Framing::Lines { raw: false };
    for framing in [&csv(), &lines] {
        assert_eq!(records(framing, b"\xef\xbb\xbfa\nb\n", false, 0).0, [("a".to_owned(), 5), ("b".to_owned(), 7)]);
        assert_eq!(texts(framing, "a\n\u{feff}b\n", false), ["a", "\u{feff}b"]);
        assert_eq!(records(framing, b"\xef\xbb", false, 0).0.len(), 1);
    }
    assert_eq!(texts(&csv(), "\u{feff}\"a\nb\",c\n", false), ["\"a\nb\",c"]);
    assert_eq!(texts(&Framing::Lines { raw: true }, "\u{feff}a\n", false), ["\u{feff}a"]);
}
