//! Real files in a folder of the test's own.

use std::{fs, io::Write, path::Path, time::Duration};

use arrow::datatypes::Schema;
use ebap_connector::{Options, Records, SplitState};
use tempfile::TempDir;

use super::*;
use crate::RECORD_BYTES_MAX;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn write(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) {
    fs::write(folder.path().join(name), content).expect("the folder is ours");
}

fn append(folder: &TempDir, name: &str, content: &str) {
    let file = fs::OpenOptions::new().append(true).open(folder.path().join(name));
    file.and_then(|mut file| file.write_all(content.as_bytes())).expect("the folder is ours");
}

fn try_open(path: &Path, options: &[(&str, &str)]) -> Result<Arc<dyn Source>> {
    let mut all = Options(options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect());
    all.set("path", path.display().to_string());
    let schema = Arc::new(Schema::empty());
    source(&SourceContext { name: "s".into(), id: "1".into(), connector: "file".into(), schema, options: all })
}

fn open(folder: &TempDir, name: &str, options: &[(&str, &str)]) -> Arc<dyn Source> {
    try_open(&folder.path().join(name), options).expect("the options are valid")
}

async fn reader_at(source: &Arc<dyn Source>, offset: i64) -> (Box<dyn SourceReader>, Vec<SplitId>) {
    let splits = source.splits().await.expect("the files are there");
    let mut reader = source.reader().await.expect("a reader");
    for split in &splits {
        reader.assign(split.clone(), Offset(offset)).await.expect("assigned");
    }
    (reader, splits)
}

async fn poll(reader: &mut dyn SourceReader, splits: &[SplitId]) -> Vec<Records> {
    reader.poll(splits, 1_000, Duration::ZERO).await.expect("no fault")
}

fn lines(records: &[Records]) -> Vec<String> {
    let values = records.iter().flat_map(|records| (0..records.len()).filter_map(|index| records.values.get(index)));
    values.map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

#[tokio::test]
async fn every_line_is_a_record_at_its_byte() {
    let folder = folder();
    write(&folder, "in.jsonl", "{\"a\":1}\n\n{\"a\":2}\r\n{\"a\":3}");
    let source = open(&folder, "in.jsonl", &[]);
    let (mut reader, splits) = reader_at(&source, 0).await;
    assert_eq!(splits, [SplitId::new("in.jsonl")]);
    let records = poll(reader.as_mut(), &splits).await;
    assert_eq!(lines(&records), ["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"]);
    assert_eq!(records[0].offsets, [0, 9, 18]);
    assert_eq!(records[0].next_offset, Offset(25));
    assert_eq!(source.bounds(&splits[0]).await.ok().map(|bounds| bounds.end), Some(Offset(25)));
    assert!(!source.unbounded() && reader.status()[0].state == SplitState::Finished);
}

#[tokio::test]
async fn a_restart_goes_on_at_the_byte_where_reading_stopped() {
    let folder = folder();
    let all: Vec<String> = (0..5_000).map(|number| format!("{{\"n\":{number},\"é\":\"ü\"}}")).collect();
    write(&folder, "in.jsonl", all.join("\n"));
    let mut seen = Vec::new();
    let mut offset = Offset(0);
    while seen.len() < all.len() {
        let (mut reader, splits) = reader_at(&open(&folder, "in.jsonl", &[]), offset.0).await;
        let records = reader.poll(&splits, 777, Duration::ZERO).await.expect("no fault");
        assert!(!records.is_empty());
        offset = records[0].next_offset;
        seen.extend(lines(&records));
    }
    assert_eq!(seen, all);
}

#[tokio::test]
async fn a_followed_file_gives_a_line_once_it_is_whole() {
    let folder = folder();
    write(&folder, "in.jsonl", "one\ntw");
    let source = open(&folder, "in.jsonl", &[("follow", "true")]);
    let (mut reader, splits) = reader_at(&source, 0).await;
    assert_eq!(lines(&poll(reader.as_mut(), &splits).await), ["one"]);
    assert_eq!(source.bounds(&splits[0]).await.ok().map(|bounds| bounds.end), Some(Offset(4)));
    assert!(poll(reader.as_mut(), &splits).await.is_empty());
    append(&folder, "in.jsonl", "o\nthree\n");
    assert_eq!(lines(&poll(reader.as_mut(), &splits).await), ["two", "three"]);
    assert!(source.unbounded() && reader.status()[0].state == SplitState::Running);
}

#[tokio::test]
async fn lines_that_are_only_empty_move_the_offset() {
    let folder = folder();
    write(&folder, "in.jsonl", "\n\r\n\n");
    let (mut reader, splits) = reader_at(&open(&folder, "in.jsonl", &[]), 0).await;
    let records = poll(reader.as_mut(), &splits).await;
    assert!(records[0].is_empty() && records[0].next_offset == Offset(4));
}

#[tokio::test]
async fn a_pattern_reads_all_files_that_match_and_finds_new_ones() {
    let folder = folder();
    write(&folder, "b.jsonl", "b\n");
    write(&folder, "a.jsonl", "a\n");
    write(&folder, ".hidden.jsonl", "no\n");
    write(&folder, "a.csv", "no\n");
    let source = open(&folder, "*.jsonl", &[("follow", "true"), ("start", "latest")]);
    let (mut reader, splits) = reader_at(&source, 0).await;
    assert_eq!(splits, [SplitId::new("a.jsonl"), SplitId::new("b.jsonl")]);
    let mut found = lines(&poll(reader.as_mut(), &splits).await);
    found.sort();
    assert_eq!(found, ["a", "b"]);
    write(&folder, "aa.jsonl", "new\n");
    let splits = source.splits().await.expect("still there");
    assert_eq!(splits.last(), Some(&SplitId::new("aa.jsonl")), "a new file does not renumber the others");
    assert_eq!(source.start(&splits[0], false).await.ok(), Some(Offset(2)));
    assert_eq!(source.start(&splits[2], true).await.ok(), Some(Offset(0)));
}

#[tokio::test]
async fn a_missing_file_is_unreachable_and_named() {
    let folder = folder();
    for (name, part) in [("gone.jsonl", "gone.jsonl"), ("*.jsonl", "no file matches"), ("no/x*", "no")] {
        let error = open(&folder, name, &[]).splits().await.expect_err("nothing is there");
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains(part) && error.to_string().contains(&folder.path().display().to_string()));
    }
}

#[tokio::test]
async fn a_file_that_goes_away_is_retried_and_read_on_when_it_is_back() {
    let folder = folder();
    write(&folder, "in.jsonl", "one\n");
    let (mut reader, splits) = reader_at(&open(&folder, "in.jsonl", &[("follow", "on")]), 0).await;
    poll(reader.as_mut(), &splits).await;
    fs::remove_file(folder.path().join("in.jsonl")).expect("it is there");
    assert!(poll(reader.as_mut(), &splits).await.is_empty());
    let state = reader.status().remove(0).state;
    assert!(matches!(&state, SplitState::Retrying(text) if text.contains("in.jsonl")), "{state:?}");
    write(&folder, "in.jsonl", "one\ntwo\n");
    assert_eq!(lines(&poll(reader.as_mut(), &splits).await), ["two"]);
    assert_eq!(reader.status()[0].state, SplitState::Running);
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let folder = folder();
    write(&folder, "in.jsonl", "one\ntwo\n");
    let (mut reader, splits) = reader_at(&open(&folder, "in.jsonl", &[("follow", "true")]), 8).await;
    write(&folder, "in.jsonl", "one\n");
    let error = reader.poll(&splits, 10, Duration::ZERO).await.expect_err("shorter than the offset");
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("truncated to 4 bytes while reading had come to byte 8"), "{error}");
}

#[tokio::test]
async fn an_overlong_line_is_refused_by_its_byte_and_the_longest_allowed_is_read() {
    let folder = folder();
    let mut content = b"one\n".to_vec();
    content.resize(4 + RECORD_BYTES_MAX, b'x');
    content.push(b'\n');
    write(&folder, "in.jsonl", &content);
    let (mut reader, splits) = reader_at(&open(&folder, "in.jsonl", &[]), 0).await;
    assert_eq!(poll(reader.as_mut(), &splits).await[0].len(), 2);
    content.insert(4, b'x');
    write(&folder, "in.jsonl", &content);
    let (mut reader, splits) = reader_at(&open(&folder, "in.jsonl", &[]), 0).await;
    let error = reader.poll(&splits, 10, Duration::ZERO).await.expect_err("too long");
    assert!(error.to_string().contains("the line at byte 4 is longer than"), "{error}");
}

#[test]
fn bad_options_are_refused_by_name() {
    for (name, value, part) in [
        ("folow", "true", "did you mean \"follow\""),
        ("follow", "maybe", "is not a boolean"),
        ("start", "7", "earliest"),
    ] {
        let error = try_open(Path::new("in.jsonl"), &[(name, value)]).err().expect("refused").to_string();
        assert!(error.contains(&format!("option \"{name}\"")) && error.contains(part), "{error}");
    }
}

/// The header of each answer, and the rows.
async fn csv_rows(source: &Arc<dyn Source>, from: i64, rows_max: usize) -> (Vec<String>, Vec<Records>) {
    let (mut reader, splits) = reader_at(source, from).await;
    let records = reader.poll(&splits, rows_max, Duration::ZERO).await.expect("no fault");
    let header = |records: &Records| String::from_utf8_lossy(records.header.as_deref().unwrap_or(b"-")).into_owned();
    (records.iter().map(header).collect(), records)
}

#[tokio::test]
async fn a_header_comes_with_every_answer_and_is_no_record() {
    let folder = folder();
    write(&folder, "in.csv", "\u{feff}\r\nid,\"na\nme\"\r\n1,ann\r\n2,\"bob\r\n,b\"\r\n3,cy");
    let source = open(&folder, "in.csv", &[("format", "csv"), ("csv.header", "true")]);
    let mut seen = Vec::new();
    let mut offset = Offset(0);
    for _ in 0..3 {
        let (headers, records) = csv_rows(&source, offset.0, 1).await;
        assert_eq!(headers, ["id,\"na\nme\""], "also behind a restart in the middle");
        seen.extend(records[0].offsets.iter().zip(lines(&records)).map(|(at, line)| (*at, line)));
        offset = records[0].next_offset;
    }
    assert_eq!(seen, [(17, "1,ann".to_owned()), (24, "2,\"bob\r\n,b\"".to_owned()), (37, "3,cy".to_owned())]);
    assert_eq!(offset, Offset(41));
    assert!(csv_rows(&source, 41, 1).await.1.is_empty());
}

#[tokio::test]
async fn every_file_has_a_header_of_its_own() {
    let folder = folder();
    write(&folder, "a.csv", "id,name\n1,ann\n");
    write(&folder, "b.csv", "name,id\nbob,2\n");
    write(&folder, "c.csv", "");
    let source = open(&folder, "*.csv", &[("format", "csv"), ("csv.header", "true")]);
    let (mut headers, records) = csv_rows(&source, 0, 10).await;
    headers.sort();
    assert_eq!(headers, ["id,name", "name,id"]);
    let mut rows = lines(&records);
    rows.sort();
    assert_eq!(rows, ["1,ann", "bob,2"]);
}

#[tokio::test]
async fn a_followed_csv_file_waits_for_the_header_and_for_whole_records() {
    let folder = folder();
    write(&folder, "in.csv", "id,na");
    let source = open(&folder, "in.csv", &[("format", "csv"), ("csv.header", "true"), ("follow", "true")]);
    let (mut reader, splits) = reader_at(&source, 0).await;
    let end = async || source.bounds(&splits[0]).await.expect("the file is there").end.0;
    assert!(poll(reader.as_mut(), &splits).await.is_empty());
    assert_eq!(end().await, 0);
    append(&folder, "in.csv", "me\n");
    let records = poll(reader.as_mut(), &splits).await;
    assert!(records[0].is_empty() && records[0].next_offset == Offset(8));
    append(&folder, "in.csv", "1,\"ann\n");
    assert!(poll(reader.as_mut(), &splits).await.is_empty());
    assert_eq!(end().await, 8, "what is not whole is not there");
    let state = reader.status().remove(0).state;
    let expected = "the quote behind byte 8 is not closed yet";
    assert!(matches!(&state, SplitState::Retrying(text) if text.contains(expected)), "{state:?}");
    append(&folder, "in.csv", "\n2,\"\"");
    assert!(poll(reader.as_mut(), &splits).await.is_empty());
    append(&folder, "in.csv", "\"\n3,b\n4");
    assert_eq!(lines(&poll(reader.as_mut(), &splits).await), ["1,\"ann\n\n2,\"\"\"", "3,b"]);
    assert_eq!(reader.status()[0].state, SplitState::Running);
    assert_eq!(end().await, 26);
    // Behind the end, and with a reader that has never seen the beginning.
    let (mut later, _) = reader_at(&source, 26).await;
    append(&folder, "in.csv", ",c\n");
    for reader in [reader.as_mut(), later.as_mut()] {
        let records = poll(reader, &splits).await;
        assert_eq!((lines(&records), records[0].header.as_deref()), (vec!["4,c".to_owned()], Some(&b"id,name"[..])));
    }
}

#[tokio::test]
async fn the_latest_record_of_csv_is_not_the_last_line() {
    let folder = folder();
    write(&folder, "in.csv", "1,a\n2,\"x\ny\n");
    let options = [("format", "csv"), ("follow", "true"), ("start", "latest")];
    let source = open(&folder, "in.csv", &options);
    let splits = source.splits().await.expect("the file is there");
    assert_eq!(source.start(&splits[0], false).await.ok(), Some(Offset(4)));
    let source = open(&folder, "in.csv", &[("follow", "true"), ("start", "latest")]);
    assert_eq!(source.start(&splits[0], false).await.ok(), Some(Offset(11)), "as lines it is");
}

#[tokio::test]
async fn a_quote_that_is_never_closed_costs_its_own_line() {
    let folder = folder();
    write(&folder, "in.csv", "1,a\n2,\"b\n3,c\n");
    let (mut reader, splits) = reader_at(&open(&folder, "in.csv", &[("format", "csv")]), 0).await;
    let records = poll(reader.as_mut(), &splits).await;
    assert_eq!(
        (lines(&records), records[0].offsets.clone()),
        (["1,a", "2,\"b", "3,c"].map(str::to_owned).to_vec(), vec![0, 4, 9])
    );
    assert_eq!(reader.status()[0].state, SplitState::Finished);
}

/// From every offset that was given, and with answers of every size: the same records.
#[tokio::test]
async fn an_offset_is_always_between_two_records() {
    let folder = folder();
    let content = "a,\"\n\"\n\n\"x\"\"\n,\",1\n2,\"open\n3,\"c\nd\" e\n\"\"\n5,f\n";
    write(&folder, "in.csv", content);
    for follow in ["false", "true"] {
        let source = open(&folder, "in.csv", &[("format", "csv"), ("follow", follow)]);
        let (_, whole) = csv_rows(&source, 0, 100).await;
        let whole: Vec<(i64, String)> = whole[0].offsets.iter().copied().zip(lines(&whole)).collect();
        assert!(whole.len() > 3, "{whole:?}");
        for size in 1..whole.len() {
            let (mut seen, mut offset) = (Vec::new(), Offset(0));
            loop {
                let (_, records) = csv_rows(&source, offset.0, size).await;
                let Some(part) = records.first() else { break };
                seen.extend(part.offsets.iter().copied().zip(lines(&records)));
                offset = part.next_offset;
            }
            assert_eq!(seen, whole, "{size} at a time");
        }
    }
}
