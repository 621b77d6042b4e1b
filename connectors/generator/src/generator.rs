//! One record from its offset: how good it is, when it happened, its key and its bytes.

use ebap_connector::{EventTime, Offset, Result};

use crate::{
    GeneratorOptions,
    dataset::{RowShape, Shape},
    draw::Draw,
    options::{FIXED_START_US, StartTime},
    text,
};

/// Makes any record of a data set, in any order. Shared freely between threads.
#[derive(Debug)]
pub struct Generator {
    options: GeneratorOptions,
    shape: Shape,
    start_us: i64,
    period_ns: u64,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Number of the row over all splits.
    pub row: u64,
    /// The time the row stands for; with a rate the time it is due.
    pub frontier: EventTime,
    /// The time in the row, to the millisecond as it is written there.
    pub event_time: EventTime,
    pub quality: Quality,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    OnTime,
    Late,
    Bad(BadKind),
}

/// Why a record cannot become a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BadKind {
    /// Cut off in the middle.
    BrokenJson,
    /// A column that is `NOT NULL` is not there.
    MissingField,
    /// Breaks a `CHECK`: a value that is not in the list.
    UnlistedValue,
    MalformedUuid,
    TextForNumber,
    /// A value of no bytes.
    EmptyValue,
}

impl Generator {
    /// # Errors
    /// `Option` for a value outside its limits, `Schema` for a column of a type that has no JSON form.
    pub fn new(options: GeneratorOptions) -> Result<Self> {
        options.check()?;
        let shape = Shape::new(&options)?;
        let rate = options.rate.unwrap_or(options.event_rate);
        let period_ns = (1e9 / rate).round() as u64;
        let mut generator = Self { options, shape, start_us: FIXED_START_US, period_ns };
        generator.start_us = match generator.options.start_time {
            StartTime::At(start_us) => start_us,
            _ if generator.starts_now() => 0,
            _ => FIXED_START_US,
        };
        Ok(generator)
    }

    pub fn options(&self) -> &GeneratorOptions {
        &self.options
    }

    /// Whether rows are numbered from 1970 and reading begins with the one due now.
    pub fn starts_now(&self) -> bool {
        let GeneratorOptions { start_time, rate, .. } = &self.options;
        match start_time {
            StartTime::Now => true,
            StartTime::Unset => rate.is_some() && self.rows().is_none(),
            StartTime::At(_) => false,
        }
    }

    /// Rows over all splits; none goes on for ever.
    pub fn rows(&self) -> Option<u64> {
        self.options.rows_in_all()
    }

    /// Time from one row to the next.
    pub fn period_ns(&self) -> u64 {
        self.period_ns
    }

    pub fn frontier(&self, row: u64) -> EventTime {
        let since_us = row.saturating_mul(self.period_ns) / 1_000;
        EventTime(self.start_us.saturating_add_unsigned(since_us))
    }

    /// Rows whose frontier the clock has reached.
    pub fn rows_due(&self, now_us: i64) -> u64 {
        let Ok(since_us) = u64::try_from(now_us.saturating_sub(self.start_us)) else { return 0 };
        let due = (since_us.saturating_add(1).saturating_mul(1_000) - 1) / self.period_ns + 1;
        self.rows().map_or(due, |rows| rows.min(due))
    }

    /// How many of the first `rows` rows belong to the split.
    pub fn rows_in_split(&self, split: u32, rows: u64) -> u64 {
        let splits = u64::from(self.options.splits);
        rows.saturating_sub(u64::from(split)).div_ceil(splits)
    }

    pub fn row(&self, split: u32, offset: Offset) -> u64 {
        offset.0.unsigned_abs().saturating_mul(u64::from(self.options.splits)).saturating_add(u64::from(split))
    }

    /// Writes the record at this offset over what `key` and `value` held. The key is empty where
    /// the data set has none.
    pub fn write_record(&self, split: u32, offset: Offset, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Written {
        key.clear();
        value.clear();
        let row = self.row(split, offset);
        let mut draw = Draw::new(self.options.seed, row);
        let quality = self.quality(&mut draw);
        let frontier = self.frontier(row);
        let behind_us = match quality {
            Quality::Late => {
                let late_by_us = self.options.late_by_us.unsigned_abs();
                late_by_us + draw.below(late_by_us + 1)
            }
            Quality::OnTime | Quality::Bad(_) => draw.below(self.options.disorder_us.unsigned_abs() + 1),
        };
        let event_time_us = frontier.0.saturating_sub_unsigned(behind_us).clamp(text::TIME_MIN_US, text::TIME_MAX_US);
        let event_time_us = event_time_us - event_time_us.rem_euclid(1_000);
        let bad = match quality {
            Quality::Bad(kind) => Some(kind),
            Quality::OnTime | Quality::Late => None,
        };
        let shape_of_row = RowShape { row, seed: self.options.seed, users: self.options.users, event_time_us, bad };
        self.shape.write(&shape_of_row, &mut draw, key, value);
        match bad {
            Some(BadKind::BrokenJson) => value.truncate(value.len() / 2),
            Some(BadKind::EmptyValue) => value.clear(),
            _ => {}
        }
        Written { row, frontier, event_time: EventTime(event_time_us), quality }
    }

    fn quality(&self, draw: &mut Draw) -> Quality {
        let at = draw.unit();
        let GeneratorOptions { bad_share, late_share, .. } = self.options;
        if at < bad_share {
            Quality::Bad(*draw.pick(self.shape.bad_kinds()))
        } else if at < bad_share + late_share {
            Quality::Late
        } else {
            Quality::OnTime
        }
    }
}

#[cfg(test)]
mod tests;
