//! Determinism, shares, times, and that good records are good and bad ones are bad.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use serde_json::Value;

use super::*;
use crate::{Dataset, dataset};

struct Record {
    key: Vec<u8>,
    value: Vec<u8>,
    written: Written,
}

impl Record {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.value).expect("a good record is JSON")
    }
}

fn generator(dataset: Dataset, set: impl FnOnce(&mut GeneratorOptions)) -> Generator {
    let mut options = GeneratorOptions::new(dataset);
    set(&mut options);
    Generator::new(options).expect("the options are valid")
}

fn record(generator: &Generator, split: u32, offset: i64) -> Record {
    let (mut key, mut value) = (b"old".to_vec(), b"old".to_vec());
    let written = generator.write_record(split, Offset(offset), &mut key, &mut value);
    Record { key, value, written }
}

fn records(generator: &Generator, rows: i64) -> impl Iterator<Item = Record> {
    (0..rows).map(|offset| record(generator, 0, offset))
}

fn text<'a>(json: &'a Value, pointer: &str) -> &'a str {
    json.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} of {json} is text"))
}

fn time_us(json: &Value, pointer: &str) -> i64 {
    let text = text(json, pointer);
    assert!(text.len() == 24 && text.ends_with('Z'), "{text}");
    chrono::DateTime::parse_from_rfc3339(text).expect("ISO-8601").timestamp_micros()
}

fn is_uuid(text: &str) -> bool {
    let dashes = [8, 13, 18, 23];
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| {
            if dashes.contains(&at) { byte == b'-' } else { matches!(byte, b'0'..=b'9' | b'a'..=b'f') }
        })
}

/// Every type a column can be declared with.
fn all_types() -> Dataset {
    let tagged = |name: &str, tag: &str| {
        let metadata = HashMap::from([("ebap.type".to_owned(), tag.to_owned())]);
        Field::new(name, DataType::Utf8, false).with_metadata(metadata)
    };
    let utc = Some("+00:00".into());
    let item = Arc::new(Field::new("item", DataType::Int32, true));
    let inner = vec![Field::new("region", DataType::Utf8, true), Field::new("x\"y", DataType::Float64, true)];
    let entry = vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int64, true)];
    let entries = Arc::new(Field::new("entries", DataType::Struct(entry.into()), false));
    Dataset::Any(Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        tagged("event", "uuid"),
        tagged("doc", "json"),
        Field::new("small", DataType::Int16, true),
        Field::new("ratio", DataType::Float32, true),
        Field::new("price", DataType::Decimal128(6, 2), true),
        Field::new("tiny", DataType::Decimal128(3, 3), true),
        Field::new("flag", DataType::Boolean, true),
        Field::new("day", DataType::Date32, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, utc), true),
        Field::new("local", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("blob", DataType::Binary, true),
        Field::new("user_id", DataType::Utf8, true),
        Field::new("note", DataType::Utf8, true),
        Field::new("meta", DataType::Struct(inner.into()), true),
        Field::new("list", DataType::List(item), true),
        Field::new("map", DataType::Map(entries, false), true),
    ])))
}

#[test]
fn a_record_is_the_same_whenever_and_in_whatever_order_it_is_made() {
    let platform = [Dataset::Events, Dataset::Metrics, Dataset::Users, Dataset::UserChanges, Dataset::Regions];
    for dataset in platform.into_iter().chain([all_types()]) {
        let make = || generator(dataset.clone(), |options| (options.bad_share, options.late_share) = (0.2, 0.2));
        let (forwards, backwards) = (make(), make());
        let mut again: Vec<Record> = (0..500).rev().map(|offset| record(&backwards, 0, offset)).collect();
        again.reverse();
        for (one, other) in records(&forwards, 500).zip(again) {
            assert_eq!((one.key, one.value, one.written), (other.key, other.value, other.written));
        }
    }
}

#[test]
fn another_seed_gives_other_records() {
    let one = generator(Dataset::Events, |_| {});
    let other = generator(Dataset::Events, |options| options.seed = 2);
    assert_ne!(record(&one, 0, 5).value, record(&other, 0, 5).value);
}

#[test]
fn the_same_rows_come_out_however_many_splits_they_are_spread_over() {
    let single = generator(Dataset::Events, |options| options.rows = Some(10));
    let spread = generator(Dataset::Events, |options| (options.rows, options.splits) = (Some(10), 4));
    let in_splits: Vec<u64> = (0..4).map(|split| spread.rows_in_split(split, 10)).collect();
    assert_eq!(in_splits, [3, 3, 2, 2]);
    for row in 0..10 {
        assert_eq!(record(&single, 0, row).value, record(&spread, row as u32 % 4, row / 4).value);
    }
}

#[test]
fn late_and_bad_rows_have_their_shares() {
    let generator = generator(Dataset::Events, |options| (options.late_share, options.bad_share) = (0.01, 0.005));
    let (mut late, mut bad) = (0, 0);
    for record in records(&generator, 100_000) {
        match record.written.quality {
            Quality::Late => late += 1,
            Quality::Bad(_) => bad += 1,
            Quality::OnTime => {}
        }
    }
    // Five standard deviations either way.
    assert!((850..=1_150).contains(&late) && (390..=610).contains(&bad), "{late} late, {bad} bad");
}

#[test]
fn actions_have_their_shares() {
    let generator = generator(Dataset::Events, |_| {});
    let mut counts: HashMap<String, usize> = HashMap::new();
    for record in records(&generator, 20_000) {
        *counts.entry(text(&record.json(), "/action").to_owned()).or_default() += 1;
    }
    for (action, share) in [("view", 10_000), ("cart", 4_000), ("login", 4_000), ("purchase", 2_000)] {
        assert!(counts[action].abs_diff(share) < 400, "{counts:?}");
    }
    assert_eq!(counts.len(), 4);
}

#[test]
fn every_event_has_the_fields_of_the_contract() {
    let generator = generator(Dataset::Events, |options| options.users = 50);
    let (mut named, mut located) = (0, 0);
    for record in records(&generator, 2_000) {
        let json = record.json();
        let user = text(&json, "/user_id").to_owned();
        assert_eq!(record.key, user.as_bytes());
        let number: u64 = user.strip_prefix('u').and_then(|number| number.parse().ok()).expect("uN");
        assert!(number < 50);
        assert!(is_uuid(text(&json, "/id")), "{json}");
        let amount = json.pointer("/metadata/amount").and_then(Value::as_f64).expect("a number");
        assert!((0.0..500.0).contains(&amount) && ((amount * 100.0).round() - amount * 100.0).abs() < 1e-6);
        assert!(text(&json, "/metadata/item_id").starts_with("item-"));
        assert!(dataset::PLATFORMS.contains(&text(&json, "/metadata/platform")));
        assert_eq!(text(&json, "/metadata/email"), format!("{user}@example.com"));
        assert!(json.pointer("/metadata/region").is_none(), "{json}");
        named += usize::from(dataset::TITLES.contains(&text(&json, "/location")));
        located += usize::from(dataset::LOCATIONS.contains(&text(&json, "/location")));
        let hash = json.pointer("/metadata/payment_hash").and_then(Value::as_str);
        assert_eq!(hash.map(str::len), (text(&json, "/action") == "purchase").then_some(32));
        assert_eq!(time_us(&json, "/timestamp"), record.written.event_time.0);
        assert!((180..=330).contains(&record.value.len()), "{} bytes", record.value.len());
    }
    assert!(named > 100 && located > 1_000 && named + located == 2_000, "{named} by name, {located} by point");
}

#[test]
fn a_user_keeps_region_and_platform() {
    let generator = generator(Dataset::Events, |options| options.users = 5);
    let mut homes: HashMap<String, (String, String)> = HashMap::new();
    for record in records(&generator, 500) {
        let json = record.json();
        let home = (text(&json, "/location").to_owned(), text(&json, "/metadata/platform").to_owned());
        assert_eq!(*homes.entry(text(&json, "/user_id").to_owned()).or_insert(home.clone()), home);
    }
}

#[test]
fn every_metric_has_the_fields_of_the_contract() {
    let generator = generator(Dataset::Metrics, |_| {});
    let mut names = HashMap::new();
    for record in records(&generator, 1_000) {
        let json = record.json();
        let name = text(&json, "/metric_name").to_owned();
        assert_eq!(record.key, name.as_bytes());
        assert!(json["value"].is_number(), "{json}");
        assert_eq!(json["timestamp"].as_i64(), Some(record.written.event_time.0 / 1_000));
        assert!(dataset::REGIONS.contains(&text(&json, "/labels/region")));
        assert!(dataset::PLATFORMS.contains(&text(&json, "/labels/platform")));
        let load = json["value"].as_f64().filter(|_| name == "system.cpu.load").unwrap_or(0.5);
        assert!((0.0..=1.0).contains(&load), "{json}");
        *names.entry(name).or_insert(0) += 1;
    }
    for name in ["checkout.error_rate", "system.cpu.load", "system.latency.p99", "payment.success_rate", "api.requests"]
    {
        assert!(names.contains_key(name), "{names:?}");
    }
}

#[test]
fn users_come_once_each_and_then_again_with_another_tier() {
    let generator = generator(Dataset::Users, |options| (options.users, options.rows) = (10, Some(20)));
    let all: Vec<Value> = records(&generator, 20).map(|record| record.json()).collect();
    for (number, (first, second)) in all[..10].iter().zip(&all[10..]).enumerate() {
        assert_eq!((&first["user_id"], &second["user_id"]), (&number.into(), &number.into()));
        assert_eq!(first["created_at"], second["created_at"]);
        assert_ne!(text(first, "/tier"), text(second, "/tier"));
        assert!(dataset::TIERS.contains(&text(first, "/tier")) && !text(first, "/country").is_empty());
        assert!(time_us(first, "/created_at") < FIXED_START_US);
    }
}

#[test]
fn a_change_event_has_the_row_and_the_key_of_its_profile() {
    let of = |dataset: Dataset| generator(dataset, |options| (options.users, options.rows) = (10, Some(20)));
    let (rows, changes) = (of(Dataset::Users), of(Dataset::UserChanges));
    for (number, (row, change)) in records(&rows, 20).zip(records(&changes, 20)).enumerate() {
        let json = change.json();
        assert_eq!(json["after"], row.json());
        assert!(json["before"].is_null() && json["op"] == if number < 10 { "c" } else { "u" }, "{json}");
        assert_eq!(json["source"]["ts_us"].as_i64(), Some(change.written.event_time.0));
        let key: Value = serde_json::from_slice(&change.key).expect("a key is JSON");
        assert_eq!(key["user_id"], number % 10);
        assert_eq!(row.key, (number % 10).to_string().as_bytes());
    }
}

#[test]
fn regions_come_once_each_with_their_centres() {
    let generator = generator(Dataset::Regions, |_| {});
    assert_eq!(generator.rows(), Some(8));
    for (at, record) in records(&generator, 8).enumerate() {
        let json = record.json();
        assert_eq!((text(&json, "/name"), text(&json, "/title")), (dataset::REGIONS[at], dataset::TITLES[at]));
        let number = |name: &str| json[name].as_f64().expect("a number");
        assert_eq!(format!("{:.2},{:.2}", number("lat"), number("lng")), dataset::LOCATIONS[at]);
        assert_eq!(record.key, dataset::REGIONS[at].as_bytes());
    }
}

#[test]
fn user_profiles_end_after_one_for_each_user() {
    assert_eq!(generator(Dataset::Users, |options| options.users = 7).rows(), Some(7));
    assert_eq!(generator(Dataset::UserChanges, |options| options.users = 7).rows(), Some(7));
    assert_eq!(generator(Dataset::Events, |options| options.users = 7).rows(), None);
}

#[test]
fn declared_columns_are_filled_by_type() {
    let generator = generator(all_types(), |_| {});
    for record in records(&generator, 300) {
        let json = record.json();
        assert!(record.key.is_empty(), "there is no key to choose");
        assert_eq!(json["id"], record.written.row);
        assert!(is_uuid(text(&json, "/event")) && json["doc"]["n"].is_u64() && json["flag"].is_boolean());
        assert!(json["small"].as_i64().is_some_and(|small| small < 1_000));
        assert!(json["price"].as_f64().is_some_and(|price| price < 10_000.0));
        assert!(json["tiny"].as_f64().is_some_and(|tiny| tiny < 1.0));
        let at = time_us(&json, "/at");
        assert_eq!(at, record.written.event_time.0);
        assert_eq!(format!("{}Z", text(&json, "/local")), text(&json, "/at"));
        assert_eq!(text(&json, "/day"), &text(&json, "/at")[..10]);
        assert!(text(&json, "/blob").len() == 16 && text(&json, "/note").starts_with("note-"));
        assert!(dataset::REGIONS.contains(&text(&json, "/meta/region")) && json["meta"]["x\"y"].is_number());
        assert!(json["list"].as_array().is_some_and(|list| list.iter().all(Value::is_i64)));
        assert!(json["map"].as_object().is_some_and(|map| map.values().all(Value::is_i64)));
    }
}

#[test]
fn a_column_that_cannot_be_filled_is_refused_by_name() {
    let schema = Schema::new(vec![Field::new("wait", DataType::Duration(TimeUnit::Second), true)]);
    let error = Generator::new(GeneratorOptions::new(Dataset::Any(Arc::new(schema)))).expect_err("no JSON form");
    assert!(error.to_string().starts_with("column \"wait\""), "{error}");
}

/// What a strict reader of the events would say.
fn fault(value: &[u8]) -> Option<BadKind> {
    if value.is_empty() {
        return Some(BadKind::EmptyValue);
    }
    let Ok(json) = serde_json::from_slice::<Value>(value) else { return Some(BadKind::BrokenJson) };
    let Some(id) = json.get("id").and_then(Value::as_str) else { return Some(BadKind::MissingField) };
    if !is_uuid(id) {
        return Some(BadKind::MalformedUuid);
    }
    if !dataset::ACTIONS.contains(&text(&json, "/action")) {
        return Some(BadKind::UnlistedValue);
    }
    (!json["metadata"]["amount"].is_number()).then_some(BadKind::TextForNumber)
}

#[test]
fn bad_events_are_bad_in_the_way_they_say_and_good_ones_are_not() {
    let generator = generator(Dataset::Events, |options| options.bad_share = 0.5);
    let mut kinds: HashMap<BadKind, usize> = HashMap::new();
    for record in records(&generator, 4_000) {
        let expected = match record.written.quality {
            Quality::Bad(kind) => Some(kind),
            Quality::OnTime | Quality::Late => None,
        };
        assert_eq!(fault(&record.value), expected, "{}", String::from_utf8_lossy(&record.value));
        if let Some(kind) = expected {
            *kinds.entry(kind).or_default() += 1;
        }
    }
    assert_eq!(kinds.len(), 6, "every kind comes: {kinds:?}");
}

#[test]
fn bad_records_of_the_other_shapes_are_bad_too() {
    for (dataset, required, number) in
        [(Dataset::Metrics, "metric_name", "value"), (Dataset::Users, "user_id", "user_id"), (all_types(), "id", "id")]
    {
        let generator = generator(dataset, |options| (options.bad_share, options.rows) = (1.0, Some(500)));
        for record in records(&generator, 500) {
            let Quality::Bad(kind) = record.written.quality else { panic!("all are bad") };
            let json = serde_json::from_slice::<Value>(&record.value);
            match kind {
                BadKind::BrokenJson => assert!(json.is_err() && !record.value.is_empty()),
                BadKind::EmptyValue => assert!(record.value.is_empty()),
                BadKind::MissingField => assert!(json.expect("JSON").get(required).is_none()),
                BadKind::TextForNumber => assert!(json.expect("JSON")[number].is_string()),
                BadKind::MalformedUuid => assert!(!is_uuid(text(&json.expect("JSON"), "/event"))),
                BadKind::UnlistedValue => panic!("these shapes have no list"),
            }
        }
    }
}

#[test]
fn event_time_lies_behind_the_frontier_by_disorder_or_by_lateness() {
    let generator = generator(Dataset::Events, |options| {
        (options.disorder_us, options.late_share, options.late_by_us) = (500_000, 0.3, 60_000_000);
    });
    for record in records(&generator, 5_000) {
        let Written { row, frontier, event_time, quality } = record.written;
        assert_eq!(frontier.0, FIXED_START_US + i64::try_from(row).expect("small") * 1_000);
        let behind_us = frontier.0 - event_time.0;
        let range = if quality == Quality::Late { 60_000_000..=120_001_000 } else { 0..=501_000 };
        assert!(range.contains(&behind_us), "{quality:?}: {behind_us}");
    }
}

#[test]
fn without_disorder_event_time_is_the_frontier() {
    let generator = generator(Dataset::Events, |options| (options.disorder_us, options.event_rate) = (0, 3.0));
    let times: Vec<i64> = records(&generator, 4).map(|record| record.written.event_time.0 - FIXED_START_US).collect();
    assert_eq!(times, [0, 333_000, 666_000, 999_000]);
}

#[test]
fn a_row_is_due_when_its_frontier_has_come() {
    let start_us = 1_000_000_000;
    let rates = [0.1, 1.0, 7.0, 1_000.0, 333_333.0, 1e7];
    for rate in rates {
        let generator = generator(Dataset::Events, |options| {
            (options.rate, options.start_time) = (Some(rate), StartTime::At(start_us));
        });
        assert_eq!(generator.rows_due(start_us - 1), 0);
        for now_us in (start_us..start_us + 3_000_000).step_by(77_777) {
            let due = generator.rows_due(now_us);
            assert!(generator.frontier(due - 1).0 <= now_us && generator.frontier(due).0 > now_us, "{rate} {now_us}");
        }
    }
}
