//! What stands in the topic, read and judged by this test alone.

use std::collections::BTreeMap;

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use ebap_tests::kafka::Record;
use serde_json::Value;
use uuid::Uuid;

const ACTIONS: [&str; 4] = ["purchase", "view", "cart", "login"];
const MINUTE_US: i64 = 60_000_000;

/// A record that a stream can take.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) id: Uuid,
    pub(super) user: String,
    pub(super) action: String,
    pub(super) platform: Option<String>,
    pub(super) amount: Option<f64>,
    pub(super) time_us: i64,
}

pub(super) struct Topic {
    pub(super) events: Vec<Event>,
    pub(super) bad: Vec<Record>,
}

impl Topic {
    pub(super) fn new(records: Vec<Record>) -> Self {
        let mut topic = Self { events: Vec::new(), bad: Vec::new() };
        for record in records {
            match event(&record) {
                Some(event) => topic.events.push(event),
                None => topic.bad.push(record),
            }
        }
        topic
    }

    /// `consumed, emitted, late, dead_lettered, filtered` of the view in a partition.
    pub(super) fn counts(&self, partition: i32, late: &BTreeMap<(i32, i64), i64>) -> Vec<i64> {
        let (mut emitted, mut missed) = (0, 0);
        for event in self.events.iter().filter(|event| event.partition == partition) {
            if event.is_late(late) { missed += 1 } else { emitted += 1 }
        }
        let bad = self.bad.iter().filter(|record| record.partition == partition).count() as i64;
        vec![emitted + missed + bad, emitted, missed, bad, 0]
    }
}

impl Event {
    /// Late for a view whose smallest window is a minute: that minute had been closed.
    pub(super) fn is_late(&self, late: &BTreeMap<(i32, i64), i64>) -> bool {
        let end_us = (self.time_us.div_euclid(MINUTE_US) + 1) * MINUTE_US;
        late.get(&(self.partition, self.offset)).is_some_and(|watermark_us| end_us <= *watermark_us)
    }
}

/// What the declaration of `events` lets through.
fn event(record: &Record) -> Option<Event> {
    let value: Value = serde_json::from_slice(record.value.as_deref()?).ok()?;
    let action = value.get("action")?.as_str().filter(|action| ACTIONS.contains(action))?;
    let metadata = value.get("metadata");
    let amount = match metadata.and_then(|metadata| metadata.get("amount")) {
        None | Some(Value::Null) => None,
        Some(Value::Number(number)) => number.as_f64(),
        Some(_) => return None,
    };
    let time_ns = string_to_timestamp_nanos(value.get("timestamp")?.as_str()?).ok()?;
    Some(Event {
        partition: record.partition,
        offset: record.offset,
        id: Uuid::parse_str(value.get("id")?.as_str()?).ok()?,
        user: value.get("user_id")?.as_str()?.to_owned(),
        action: action.to_owned(),
        platform: metadata.and_then(|metadata| metadata.get("platform")).and_then(Value::as_str).map(str::to_owned),
        amount,
        time_us: time_ns.div_euclid(1_000),
    })
}
