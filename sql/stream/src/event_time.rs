//! Decides by the event time of a row whether the row is late, and whether the time is too far ahead of
//! the clock to raise the watermark.
//!
//! A device with a wrong clock must not make the rows of all others late. So an event time is compared with the time at
//! which the record came to be: its own timestamp where the source has one, which every reader finds again, and never
//! more than the clock. Both decisions are made where a record is first read, and stand in the late log.

use arrow::array::{BooleanArray, Int64Array, TimestampMicrosecondArray};
use ebap_connector::{EventTime, Records, SplitId};
use ebap_sql::FutureLimit;

use crate::late_log::LateLog;

/// By what it is decided whether rows are late, and whether they are ahead of the clock.
#[derive(Clone, Copy)]
pub(crate) enum Decided<'a> {
    /// By the watermark and the clock as the records are read.
    Live { watermark: EventTime, now_us: i64 },
    /// As it was decided when they were read first.
    Logged(&'a LateLog),
}

/// The watermark that each late row came behind.
pub(crate) struct Late {
    pub(crate) rows: u64,
    pub(crate) late: BooleanArray,
    /// NULL where the row is on time.
    pub(crate) watermarks: TimestampMicrosecondArray,
}

impl Decided<'_> {
    /// True where the log says that none of these rows was late or ahead of the clock. `offsets` rise.
    fn is_clean(&self, split: &SplitId, offsets: &[i64]) -> bool {
        match (self, offsets) {
            (Self::Logged(log), [first, .., last] | [first @ last]) => log.none_between(split, *first, *last + 1),
            (Self::Logged(_) | Self::Live { .. }, _) => offsets.is_empty(),
        }
    }

    /// Which of these rows are late. `times`: event times in microseconds.
    pub(crate) fn late(&self, split: &SplitId, times: &[i64], offsets: &Int64Array) -> Late {
        let oldest = times.iter().min().copied().unwrap_or(i64::MAX);
        let none = match self {
            Self::Live { watermark, .. } => oldest >= watermark.0,
            Self::Logged(_) => self.is_clean(split, offsets.values()),
        };
        if none {
            return Late::none(times.len());
        }
        let under = |offset: i64| match self {
            Self::Live { watermark, .. } => Some(*watermark),
            Self::Logged(log) => log.watermark(split, offset),
        };
        let rows = times.iter().zip(offsets.values());
        let watermarks: TimestampMicrosecondArray =
            rows.map(|(time, offset)| under(*offset).filter(|mark| *time < mark.0).map(|mark| mark.0)).collect();
        let late: BooleanArray = watermarks.iter().map(|mark| Some(mark.is_some())).collect();
        Late { rows: late.true_count() as u64, late, watermarks: watermarks.with_timezone("+00:00") }
    }

    /// Which rows are further ahead of the clock than the limit; none where no row is. `rows`: the record of each.
    pub(crate) fn ahead(
        &self,
        limit: FutureLimit,
        records: &Records,
        rows: &[u32],
        times: &[i64],
    ) -> Option<BooleanArray> {
        let max_us = limit.max_us?;
        let newest = times.iter().max()?;
        if let Self::Live { now_us, .. } = self {
            let oldest_ms = records.timestamps_ms.iter().filter(|ms| **ms != UNKNOWN_MS).min();
            let came_us = oldest_ms.map_or(*now_us, |ms| ms.saturating_mul(1_000).min(*now_us));
            if *newest <= came_us.saturating_add(max_us) {
                return None;
            }
        } else {
            let ends: Vec<i64> =
                [rows.first(), rows.last()].into_iter().flatten().map(|row| offset(records, *row)).collect();
            if self.is_clean(&records.split, &ends) {
                return None;
            }
        }
        let clock = |row: u32| match self {
            Self::Live { now_us, .. } => Some(*now_us),
            Self::Logged(log) => log.read_at(&records.split, offset(records, row)),
        };
        let is_ahead = |(time, row): (&i64, &u32)| {
            clock(*row).is_some_and(|now_us| {
                let came_us = match records.timestamps_ms[*row as usize] {
                    UNKNOWN_MS => now_us,
                    ms => ms.saturating_mul(1_000).min(now_us),
                };
                *time > came_us.saturating_add(max_us)
            })
        };
        let mask: BooleanArray = times.iter().zip(rows).map(is_ahead).map(Some).collect();
        (mask.true_count() > 0).then_some(mask)
    }
}

/// The timestamp of a record whose source has none.
const UNKNOWN_MS: i64 = -1;

fn offset(records: &Records, row: u32) -> i64 {
    records.offsets[row as usize]
}

impl Late {
    pub(crate) fn none(count: usize) -> Self {
        let watermarks = TimestampMicrosecondArray::new_null(count).with_timezone("+00:00");
        Self { rows: 0, late: BooleanArray::from(vec![false; count]), watermarks }
    }
}

#[cfg(test)]
mod tests {
    use ebap_connector::Offset;
    use ebap_sql::FutureRows;

    use super::*;
    use crate::late_log::LateRun;

    const LIMIT: FutureLimit = FutureLimit { max_us: Some(600), rows: FutureRows::Keep };

    /// One record per timestamp, at offsets from 10.
    fn records(timestamps_ms: &[i64]) -> Records {
        let mut records = Records::new(SplitId::new("0"), 0, Offset(10));
        for (at, ms) in timestamps_ms.iter().enumerate() {
            records.push(10 + at as i64, *ms, None, None);
        }
        records
    }

    fn ahead(decided: Decided<'_>, timestamps_ms: &[i64], times: &[i64]) -> Option<Vec<bool>> {
        let rows: Vec<u32> = (0..times.len() as u32).collect();
        let mask = decided.ahead(LIMIT, &records(timestamps_ms), &rows, times)?;
        Some(mask.iter().map(|value| value == Some(true)).collect())
    }

    #[test]
    fn a_time_is_compared_with_when_its_record_came_and_never_with_more_than_the_clock() {
        let live = Decided::Live { watermark: EventTime::MIN, now_us: 5_000 };
        assert_eq!(ahead(live, &[-1, -1], &[5_600, i64::MIN]), None);
        assert_eq!(ahead(live, &[-1, -1], &[5_601, 0]), Some(vec![true, false]));
        assert_eq!(ahead(live, &[2, 4], &[2_601, 2_601]), Some(vec![true, false]), "a record of before");
        assert_eq!(
            ahead(live, &[9_000, i64::MAX], &[5_601, 5_600]),
            Some(vec![true, false]),
            "a wrong clock there too"
        );
        assert_eq!(ahead(live, &[i64::MIN, -1], &[0, i64::MAX]), Some(vec![true, true]), "the limits of the type");
    }

    #[test]
    fn no_limit_takes_every_time() {
        let live = Decided::Live { watermark: EventTime::MIN, now_us: 0 };
        let limit = FutureLimit { max_us: None, ..LIMIT };
        assert!(live.ahead(limit, &records(&[-1]), &[0], &[i64::MAX]).is_none());
    }

    #[test]
    fn who_reads_again_later_decides_as_at_first() {
        let mut log = LateLog::default();
        log.record(&SplitId::new("0"), LateRun { start: 10, end: 12, watermark: 7, read_at_us: Some(5_000) });
        assert_eq!(ahead(Decided::Logged(&log), &[-1, -1, -1], &[5_601, 5_600, 9_999]), Some(vec![true, false, false]));
        let late = Decided::Logged(&log).late(&SplitId::new("0"), &[6, 7, 0], &Int64Array::from(vec![10, 11, 12]));
        assert_eq!((late.rows, late.late), (1, BooleanArray::from(vec![true, false, false])));
    }
}
