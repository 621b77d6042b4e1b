//! The `WITH (…)` list: text values with typed access, and errors that name the option.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Options of every stream, whatever its connector.
const OF_EVERY_STREAM: [&str; 9] = [
    "connection",
    "connector",
    "dead_letter_topic",
    "format",
    "future_max",
    "future_rows",
    "idle_timeout",
    "start",
    "timestamp_unit",
];

/// Options by lower-case name. Values are text as the user wrote them (`'30 seconds'`, `earliest`, `5`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options(pub BTreeMap<String, String>);

impl Options {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    pub fn required(&self, name: &str) -> Result<&str> {
        self.get(name).ok_or_else(|| Error::option(name, "is required"))
    }

    pub fn bool(&self, name: &str, default: bool) -> Result<bool> {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("true" | "on" | "yes" | "1") => Ok(true),
            Some("false" | "off" | "no" | "0") => Ok(false),
            Some(other) => Err(Error::option(name, format!("\"{other}\" is not a boolean"))),
        }
    }

    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let digits = text.replace('_', "");
        digits.parse().map(Some).map_err(|_| Error::option(name, format!("\"{text}\" is not a number in range")))
    }

    pub fn duration(&self, name: &str) -> Result<Option<Duration>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        parse_duration(text)
            .map(Some)
            .ok_or_else(|| Error::option(name, format!("\"{text}\" is not a duration such as '30 seconds' or '5m'")))
    }

    pub fn size_bytes(&self, name: &str) -> Result<Option<u64>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        parse_size(text)
            .map(Some)
            .ok_or_else(|| Error::option(name, format!("\"{text}\" is not a size such as '128 MB'")))
    }

    /// Options whose name starts with the prefix, the prefix taken off.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// Refuses every name that neither belongs to every stream, nor is in `own`, nor starts with one of `prefixes`.
    ///
    /// # Errors
    /// `Option`, which names the nearest option that is known.
    pub fn only_of_stream(&self, own: &[&str], prefixes: &[&str]) -> Result<()> {
        self.only(&[own, &OF_EVERY_STREAM].concat(), prefixes)
    }

    /// Refuses every name that is neither in `known` nor starts with one of `prefixes`.
    pub fn only(&self, known: &[&str], prefixes: &[&str]) -> Result<()> {
        for name in self.0.keys() {
            if known.contains(&name.as_str()) || prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            let nearest =
                known.iter().min_by_key(|other| distance(name, other)).filter(|other| distance(name, other) <= 3);
            let hint = nearest.map(|other| format!("; did you mean \"{other}\"?")).unwrap_or_default();
            return Err(Error::option(name, format!("is not known here{hint}")));
        }
        Ok(())
    }
}

/// `30 seconds`, `5m`, `1 hour 30 minutes`, `500ms`; a bare number counts seconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds >= 0.0 && seconds.is_finite() && seconds < 1e12).then(|| Duration::from_secs_f64(seconds));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let seconds = match rest[..letters].to_ascii_lowercase().as_str() {
            "us" | "microsecond" | "microseconds" => 1e-6,
            "ms" | "msec" | "millisecond" | "milliseconds" => 1e-3,
            "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
            "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
            "h" | "hour" | "hours" => 3_600.0,
            "d" | "day" | "days" => 86_400.0,
            "w" | "week" | "weeks" => 604_800.0,
            _ => return None,
        };
        let part = number * seconds;
        if !(0.0..1e12).contains(&part) {
            return None;
        }
        total += Duration::from_micros((part * 1e6).round() as u64);
        rest = rest[letters..].trim_start();
    }
    (!text.is_empty()).then_some(total)
}

/// `128 MB`, `64KiB`, `1048576`. Decimal and binary names both mean powers of 1,024, as in PostgreSQL.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit: u64 = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "kib" | "k" => 1 << 10,
        "mb" | "mib" | "m" => 1 << 20,
        "gb" | "gib" | "g" => 1 << 30,
        "tb" | "tib" | "t" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// Edit distance, for "did you mean".
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let next = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_postgres_and_prometheus_write_them() {
        for (text, seconds) in
            [("30 seconds", 30.0), ("5m", 300.0), ("1 hour 30 minutes", 5_400.0), ("500ms", 0.5), ("2", 2.0)]
        {
            assert_eq!(parse_duration(text).map(|d| d.as_secs_f64()), Some(seconds), "{text}");
        }
        for text in ["", "soon", "5 parsecs", "-1s", "1e400 s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse_size("128 MB"), Some(128 << 20));
        assert_eq!(parse_size("7"), Some(7));
        assert_eq!(parse_size("99999999999999999 TB"), None);
        assert_eq!(parse_size("MB"), None);
    }

    #[test]
    fn an_unknown_option_is_refused_with_the_nearest_name() {
        let mut options = Options::default();
        options.set("topik", "x");
        let error = options.only(&["topic", "format"], &[]).expect_err("unknown");
        assert_eq!(error.to_string(), "option \"topik\": is not known here; did you mean \"topic\"?");
    }
}
