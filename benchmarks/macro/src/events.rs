//! The events of t1, t3, d1 and l1, the same for every engine: some 244 bytes each, eight regions,
//! 100,000 users, a row a function of its number.
//!
//! Not those of `ebap generate`: every engine must take them without constraints of its own, and an
//! engine that closes windows only by watermark needs the flush records at the end.

use std::fmt::Write;

use chrono::DateTime;

/// 2026-01-01T00:00:00Z.
const FIRST_MS: i64 = 1_767_225_600_000;
const ROWS_PER_EVENT_SECOND: u64 = 20_000;
/// How far event times lie out of order, at the most.
const DISORDER_MS: u64 = 2_000;
/// Far enough to close a window of an hour.
const FLUSH_MS: i64 = FIRST_MS + 6 * 3_600_000;
/// Region of the flush records; no answer counts them.
pub(crate) const FLUSH_REGION: &str = "flush";

const USERS: u64 = 100_000;
const ITEMS: u64 = 5_000;
const REGIONS: [(&str, &str); 8] = [
    ("us-east-1", "38.95,-77.45"),
    ("us-west-2", "45.84,-119.70"),
    ("eu-west-1", "53.35,-6.26"),
    ("eu-central-1", "50.11,8.68"),
    ("ap-south-1", "19.08,72.88"),
    ("ap-northeast-1", "35.68,139.77"),
    ("sa-east-1", "-23.55,-46.63"),
    ("ca-central-1", "45.50,-73.57"),
];
const PLATFORMS: [&str; 3] = ["ios", "android", "web"];
const ACTIONS: [&str; 10] = ["view", "view", "view", "view", "view", "cart", "cart", "login", "login", "purchase"];

/// SplitMix64: small, and the same everywhere.
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(row: u64) -> Self {
        Self(row.wrapping_mul(0xD1B5_4A32_D192_ED03) ^ 0x6562_6170)
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.word()) * u128::from(bound)) >> 64) as u64
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// The text of a time, kept for the next, which is often the same.
#[derive(Default)]
pub(crate) struct TimeText {
    last_ms: i64,
    text: String,
}

impl TimeText {
    pub(crate) fn of(&mut self, at_ms: i64) -> &str {
        if at_ms != self.last_ms || self.text.is_empty() {
            self.last_ms = at_ms;
            self.text.clear();
            let time = DateTime::from_timestamp_millis(at_ms).unwrap_or_default();
            // Writing into a string does not fail.
            let _ = write!(self.text, "{}", time.format("%Y-%m-%dT%H:%M:%S%.3fZ"));
        }
        &self.text
    }
}

#[derive(Default)]
pub(crate) struct EventWriter {
    time: TimeText,
}

impl EventWriter {
    /// A row of the full topic, with the event time that its number has; any user in any region.
    pub(crate) fn write_row(&mut self, row: u64, key: &mut String, value: &mut String) -> std::fmt::Result {
        let mut draw = Draw::new(row);
        let behind_ms = draw.below(DISORDER_MS) as i64;
        let at_ms = FIRST_MS + (row * 1_000 / ROWS_PER_EVENT_SECOND) as i64 + behind_ms;
        let (user, region) = (draw.below(USERS), draw.pick(&REGIONS));
        self.write(&mut draw, at_ms, user, region, key, value)
    }

    /// An event of this moment; a user stays in one region.
    pub(crate) fn write_now(
        &mut self,
        row: u64,
        at_ms: i64,
        users: u64,
        key: &mut String,
        value: &mut String,
    ) -> std::fmt::Result {
        let mut draw = Draw::new(row);
        let user = draw.below(users);
        let region = Draw::new(user).pick(&REGIONS);
        self.write(&mut draw, at_ms, user, region, key, value)
    }

    fn write(
        &mut self,
        draw: &mut Draw,
        at_ms: i64,
        user: u64,
        (region, place): (&str, &str),
        key: &mut String,
        value: &mut String,
    ) -> std::fmt::Result {
        let (high, low) = (draw.word(), draw.word());
        let cents = 100 + draw.below(49_900);
        write!(key, "user-{user}")?;
        write!(
            value,
            r#"{{"id":"{:08x}-{:04x}-{:04x}-{:04x}-{:012x}","user_id":"{key}","action":"{}","metadata":{{"amount":{}.{:02},"item_id":"item-{}","region":"{region}","platform":"{}"}},"location":"{place}","timestamp":"{}"}}"#,
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff,
            draw.pick(&ACTIONS),
            cents / 100,
            cents % 100,
            draw.below(ITEMS),
            draw.pick(&PLATFORMS),
            self.time.of(at_ms),
        )
    }

    /// The record that ends each partition.
    pub(crate) fn write_flush(&mut self, partition: i32, value: &mut String) -> std::fmt::Result {
        write!(
            value,
            r#"{{"id":"00000000-0000-0000-0000-{partition:012}","user_id":"flush","action":"view","metadata":{{"amount":0.00,"item_id":"flush","region":"{FLUSH_REGION}","platform":"web"}},"location":"0,0","timestamp":"{}"}}"#,
            self.time.of(FLUSH_MS),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_function_of_its_number_and_has_the_size_it_says() {
        let write = |row| {
            let (mut key, mut value) = (String::new(), String::new());
            EventWriter::default().write_row(row, &mut key, &mut value).expect("strings take all");
            (key, value)
        };
        let sizes: usize = (0..1_000).map(|row| write(row).1.len()).sum();
        assert!((238..252).contains(&(sizes / 1_000)), "{}", sizes / 1_000);
        let (key, value) = write(77);
        assert_eq!((key, value.clone()), write(77));
        let event: serde_json::Value = serde_json::from_str(&value).expect("JSON");
        assert!(event["timestamp"].as_str().is_some_and(|at| at.starts_with("2026-01-01T00:00:0")), "{event}");
    }
}
