//! What can be set, by `WITH (…)` or by the flags of `ebap generate`, and its limits.

use arrow::datatypes::SchemaRef;
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use ebap_connector::{Error, Options, Result, SourceContext, time};

/// Event time of the first row where none is given and none can follow from the clock:
/// 2026-01-01T00:00:00Z.
pub const FIXED_START_US: i64 = 1_767_225_600_000_000;

const SPLITS_MAX: u32 = 1_024;
/// Below 10 ns per row the period could not be told from its neighbours.
const RATE_MAX: f64 = 1e8;
const RATE_MIN: f64 = 1e-6;
/// A hundred years; keeps all sums of times far from overflow.
const SPAN_MAX_US: i64 = 100 * 366 * 86_400_000_000;

const OWN: [&str; 12] = [
    "dataset",
    "rate",
    "event_rate",
    "rows",
    "seed",
    "users",
    "disorder",
    "late_share",
    "late_by",
    "bad_share",
    "splits",
    "start_time",
];

const USERS: &str = "ebap.users";
const REGIONS: &str = "ebap.regions";
/// The format in which [`USERS`] are change events.
const CHANGES: &str = "debezium-json";

/// What the records are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dataset {
    Events,
    Metrics,
    /// User profiles, each a row.
    Users,
    /// The same as change events of Debezium.
    UserChanges,
    /// The regions of the other sets, with their names and centres.
    Regions,
    /// One value of its type for each of these columns.
    Any(SchemaRef),
}

/// Event time of row 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartTime {
    /// Rows are numbered from 1970; the first one read is the one due now.
    Now,
    /// Microseconds since 1970.
    At(i64),
    /// Not said: `Now` with a rate and no end, else [`FIXED_START_US`].
    Unset,
}

#[derive(Clone, Debug, PartialEq)]
pub struct GeneratorOptions {
    pub dataset: Dataset,
    /// Rows a second, over all splits; none is as fast as they are read.
    pub rate: Option<f64>,
    /// Rows to a second of event time where there is no rate.
    pub event_rate: f64,
    /// Rows over all splits; none goes on for ever.
    pub rows: Option<u64>,
    pub seed: u64,
    /// Different users.
    pub users: u64,
    /// How far the event time of a row on time lies behind the frontier, at the most.
    pub disorder_us: i64,
    /// Part of the rows that are late, 0 to 1.
    pub late_share: f64,
    /// A late row lies between this and twice this behind the frontier.
    pub late_by_us: i64,
    /// Part of the records that cannot become a row, 0 to 1.
    pub bad_share: f64,
    pub splits: u32,
    pub start_time: StartTime,
}

impl GeneratorOptions {
    pub fn new(dataset: Dataset) -> Self {
        Self {
            dataset,
            rate: None,
            event_rate: 1_000.0,
            rows: None,
            seed: 1,
            users: 10_000,
            disorder_us: 2_000_000,
            late_share: 0.0,
            late_by_us: 2 * 3_600_000_000,
            bad_share: 0.0,
            splits: 1,
            start_time: StartTime::Unset,
        }
    }

    pub(crate) fn from_context(context: &SourceContext) -> Result<Self> {
        let options = &context.options;
        options.only_of_stream(&OWN, &[])?;
        let dataset = match options.get("dataset") {
            None | Some("any") => Dataset::Any(context.schema.clone()),
            Some("ebap.events") => Dataset::Events,
            Some("ebap.metrics") => Dataset::Metrics,
            Some(USERS) if options.get("format") == Some(CHANGES) => Dataset::UserChanges,
            Some(USERS) => Dataset::Users,
            Some(REGIONS) => Dataset::Regions,
            Some(other) => {
                let known = "ebap.events, ebap.metrics, ebap.users, ebap.regions, any";
                return Err(Error::option("dataset", format!("\"{other}\" is not one of {known}")));
            }
        };
        if let Some(format) = options.get("format").filter(|format| *format != "json")
            && dataset != Dataset::UserChanges
        {
            let message = format!(
                "\"{format}\" is not what a generator writes; it writes json, and the data set {USERS} in {CHANGES} too"
            );
            return Err(Error::option("format", message));
        }
        let base = Self::new(dataset);
        let parsed = Self {
            rate: options.number("rate")?,
            event_rate: options.number("event_rate")?.unwrap_or(base.event_rate),
            rows: options.number("rows")?,
            seed: options.number("seed")?.unwrap_or(base.seed),
            users: options.number("users")?.unwrap_or(base.users),
            disorder_us: duration_us(options, "disorder")?.unwrap_or(base.disorder_us),
            late_share: options.number("late_share")?.unwrap_or(base.late_share),
            late_by_us: duration_us(options, "late_by")?.unwrap_or(base.late_by_us),
            bad_share: options.number("bad_share")?.unwrap_or(base.bad_share),
            splits: options.number("splits")?.unwrap_or(base.splits),
            start_time: options.get("start_time").map_or(Ok(StartTime::Unset), parse_start_time)?,
            dataset: base.dataset,
        };
        Ok(parsed)
    }

    /// Rows in all; profiles end after one for each user, and regions after the last, unless told otherwise.
    pub(crate) fn rows_in_all(&self) -> Option<u64> {
        self.rows.or(match &self.dataset {
            Dataset::Users | Dataset::UserChanges => Some(self.users),
            Dataset::Regions => Some(crate::dataset::REGIONS.len() as u64),
            Dataset::Events | Dataset::Metrics | Dataset::Any(_) => None,
        })
    }

    /// # Errors
    /// `Option` for the first value outside its limits.
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |option: &str, message: &str| Err(Error::option(option, message));
        let rates = [("rate", self.rate), ("event_rate", Some(self.event_rate))];
        for (name, rate) in rates.into_iter().filter_map(|(name, rate)| Some((name, rate?))) {
            if !(RATE_MIN..=RATE_MAX).contains(&rate) {
                return refuse(name, "must lie between 0.000001 and 100,000,000 rows a second");
            }
        }
        for (name, share) in [("late_share", self.late_share), ("bad_share", self.bad_share)] {
            if !(0.0..=1.0).contains(&share) {
                return refuse(name, "must lie between 0 and 1");
            }
        }
        if self.late_share + self.bad_share > 1.0 {
            return refuse("bad_share", "and late_share must not exceed 1 together");
        }
        for (name, span_us) in [("disorder", self.disorder_us), ("late_by", self.late_by_us)] {
            if !(0..=SPAN_MAX_US).contains(&span_us) {
                return refuse(name, "must not exceed 100 years");
            }
        }
        if self.users == 0 {
            return refuse("users", "must be at least 1");
        }
        if !(1..=SPLITS_MAX).contains(&self.splits) {
            return refuse("splits", "must lie between 1 and 1024");
        }
        if self.rows.is_some_and(|rows| i64::try_from(rows).is_err()) {
            return refuse("rows", "is too large");
        }
        if self.start_time == StartTime::Now && (self.rate.is_none() || self.rows_in_all().is_some()) {
            return refuse(
                "start_time",
                "'now' needs a rate and no end: after a restart the rows would be others; give a time",
            );
        }
        Ok(())
    }
}

/// `now`, an ISO-8601 time (UTC where it has no zone) or a date.
///
/// # Errors
/// `Option` where it is none of them.
pub fn parse_start_time(text: &str) -> Result<StartTime> {
    if text.eq_ignore_ascii_case("now") {
        return Ok(StartTime::Now);
    }
    let zoned = DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_micros());
    let plain = || {
        let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
        formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
    };
    let date = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    let time_us = zoned.ok().or_else(|| plain().or_else(date).map(|time| time.and_utc().timestamp_micros()));
    time_us
        .filter(|time_us| (crate::text::TIME_MIN_US..=crate::text::TIME_MAX_US).contains(time_us))
        .map(StartTime::At)
        .ok_or_else(|| {
            Error::option(
                "start_time",
                format!("\"{text}\" is neither 'now' nor a time such as '2026-01-01T00:00:00Z'"),
            )
        })
}

/// Writes the time of the clock into `start_time` where the rows would otherwise begin with the
/// one due now, and changes nothing else. Whoever creates a stream calls this before storing the
/// options: then offset 0 is the first row ever, a view created later and a `SELECT` from the
/// stream read the same rows, and the rows due while the server was down are there after a restart.
pub fn pin_start(options: &mut Options) {
    let ends = options.get("rows").is_some() || matches!(options.get("dataset"), Some(USERS | REGIONS));
    let now = options.get("start_time").is_none_or(|text| text.eq_ignore_ascii_case("now"));
    if options.get("rate").is_some() && !ends && now {
        let mut text = Vec::with_capacity(24);
        crate::text::timestamp(&mut text, time::now_us());
        text.push(b'Z');
        options.set("start_time", String::from_utf8_lossy(&text));
    }
}

fn duration_us(options: &Options, name: &str) -> Result<Option<i64>> {
    let duration = options.duration(name)?;
    Ok(duration.map(|duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Schema;

    use super::*;
    use crate::source;

    fn error_of(options: &[(&str, &str)]) -> String {
        let options = Options(options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect());
        let schema = Arc::new(Schema::empty());
        let context = SourceContext {
            name: "s".to_owned(),
            id: "1".to_owned(),
            connector: "generator".to_owned(),
            schema,
            options,
        };
        source(&context).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn options_of_every_stream_are_accepted() {
        let options = [
            ("connector", "generator"),
            ("format", "json"),
            ("start", "latest"),
            ("idle_timeout", "5s"),
            ("timestamp_unit", "ms"),
        ];
        assert_eq!(
            error_of(&[&options[..], &[("dataset", "ebap.events"), ("rate", "10"), ("rows", "1_000")]].concat()),
            ""
        );
    }

    #[test]
    fn bad_options_are_refused_by_name() {
        for (name, value, part) in [
            ("rat", "5", "did you mean \"rate\""),
            ("dataset", "ebap.event", "is not one of"),
            ("rate", "0", "rows a second"),
            ("rate", "NaN", "rows a second"),
            ("late_share", "1.5", "between 0 and 1"),
            ("bad_share", "-0.1", "between 0 and 1"),
            ("users", "0", "at least 1"),
            ("splits", "0", "between 1 and 1024"),
            ("rows", "-1", "not a number in range"),
            ("disorder", "soon", "not a duration"),
            ("start_time", "yesterday", "neither 'now' nor a time"),
            ("start_time", "now", "needs a rate and no end"),
            ("format", "csv", "it writes json"),
            ("format", "debezium-json", "the data set ebap.users in debezium-json too"),
            ("start", "-5", "earliest"),
        ] {
            let error = error_of(&[("dataset", "ebap.events"), (name, value)]);
            assert!(error.starts_with(&format!("option \"{name}\"")) || name == "rat", "{error}");
            assert!(error.contains(part), "{name} = {value}: {error}");
        }
    }

    #[test]
    fn start_times_are_read_with_and_without_zone() {
        let expected = Some(StartTime::At(FIXED_START_US));
        for text in ["2026-01-01T00:00:00Z", "2026-01-01 00:00:00", "2026-01-01", "2026-01-01T02:00:00+02:00"] {
            assert_eq!(parse_start_time(text).ok(), expected, "{text}");
        }
        assert_eq!(parse_start_time("NOW").ok(), Some(StartTime::Now));
    }

    #[test]
    fn only_a_stream_that_would_start_now_is_pinned() {
        let pinned = |options: &[(&str, &str)]| {
            let mut options =
                Options(options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect());
            pin_start(&mut options);
            options.get("start_time").map(str::to_owned)
        };
        let text = pinned(&[("rate", "5")]).expect("pinned");
        assert!(matches!(parse_start_time(&text), Ok(StartTime::At(_))), "{text}");
        assert_eq!(pinned(&[("rate", "5"), ("rows", "10")]), None);
        assert_eq!(pinned(&[("rows", "10")]), None);
        assert_eq!(pinned(&[("rate", "5"), ("dataset", "ebap.users")]), None);
        assert_eq!(pinned(&[("rate", "5"), ("dataset", "ebap.regions")]), None);
        assert_eq!(pinned(&[("rate", "5"), ("start_time", "2026-01-01")]).as_deref(), Some("2026-01-01"));
    }
}
