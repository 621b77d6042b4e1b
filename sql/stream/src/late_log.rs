//! Which rows were late, and against which watermark, so that it is decided once; and by which clock rows were ahead.
//!
//! Which rows are late depends on how the splits interleave as they are read. A view created later
//! and a `SELECT` from the stream read the same records in another order; were they to decide anew,
//! their answers would differ. So the reader of the stream writes down, for every run of records of
//! a split that held at least one late row, the watermark those records were read under. Records
//! outside of every run were on time, whatever the watermark was. A stream without late rows costs
//! nothing; one with many costs an entry per step and split. A run with a row that is too far ahead of the clock says
//! besides what the clock said.

use std::collections::BTreeMap;

use ebap_connector::{EventTime, Offset, Position, SplitId};
use serde::{Deserialize, Serialize};

/// Records `[start, end)` of a split were read while the stream's watermark stood at `watermark`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LateRun {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) watermark: i64,
    /// The clock, where a row was further ahead of it than `future_max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) read_at_us: Option<i64>,
}

pub(crate) type LateRuns = BTreeMap<SplitId, Vec<LateRun>>;

#[derive(Debug, Default)]
pub(crate) struct LateLog {
    runs: LateRuns,
    /// What the next checkpoint has to save.
    fresh: LateRuns,
}

impl LateLog {
    pub(crate) fn record(&mut self, split: &SplitId, run: LateRun) {
        let runs = self.runs.entry(split.clone()).or_default();
        debug_assert!(runs.last().is_none_or(|last| last.end <= run.start), "runs rise");
        runs.push(run);
        self.fresh.entry(split.clone()).or_default().push(run);
    }

    /// The watermark under which the record was read, if its run held a late row.
    pub(crate) fn watermark(&self, split: &SplitId, offset: i64) -> Option<EventTime> {
        self.run(split, offset).map(|run| EventTime(run.watermark))
    }

    /// The clock by which a row of the record's run was ahead.
    pub(crate) fn read_at(&self, split: &SplitId, offset: i64) -> Option<i64> {
        self.run(split, offset)?.read_at_us
    }

    fn run(&self, split: &SplitId, offset: i64) -> Option<&LateRun> {
        let runs = self.runs.get(split)?;
        let after = runs.partition_point(|run| run.start <= offset);
        runs.get(after.checked_sub(1)?).filter(|run| offset < run.end)
    }

    /// True where no run reaches into these offsets.
    pub(crate) fn none_between(&self, split: &SplitId, start: i64, end: i64) -> bool {
        let Some(runs) = self.runs.get(split) else { return true };
        let first = runs.partition_point(|run| run.end <= start);
        runs.get(first).is_none_or(|run| run.start >= end)
    }

    pub(crate) fn take_fresh(&mut self) -> LateRuns {
        std::mem::take(&mut self.fresh)
    }

    pub(crate) fn all(&self) -> &LateRuns {
        &self.runs
    }

    pub(crate) fn restore(&mut self, runs: LateRuns) {
        for (split, mut more) in runs {
            self.runs.entry(split).or_default().append(&mut more);
        }
    }

    /// Forgets what lies below records the source no longer holds.
    pub(crate) fn forget_below(&mut self, split: &SplitId, earliest: Offset) {
        if let Some(runs) = self.runs.get_mut(split) {
            runs.retain(|run| run.end > earliest.0);
        }
    }

    /// Forgets all beyond a position, when the steps behind it are run again.
    pub(crate) fn rewind(&mut self, position: &Position) {
        self.fresh.clear();
        for (split, runs) in &mut self.runs {
            let end = position.get(split).map_or(0, |offset| offset.0);
            runs.retain(|run| run.end <= end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(start: i64, end: i64, watermark: i64) -> LateRun {
        LateRun { start, end, watermark, read_at_us: None }
    }

    #[test]
    fn a_log_of_an_earlier_version_opens() {
        let saved = r#"{"0":[{"start":10,"end":20,"watermark":5}]}"#;
        let runs: LateRuns = serde_json::from_str(saved).expect("it opens");
        assert_eq!(runs[&SplitId::new("0")], [run(10, 20, 5)]);
        assert_eq!(serde_json::to_string(&runs).expect("it is written"), saved);
    }

    #[test]
    fn a_record_is_looked_up_in_the_run_it_was_read_in() {
        let mut log = LateLog::default();
        let split = SplitId::new("0");
        log.record(&split, run(10, 20, 5));
        log.record(&split, run(40, 50, 7));
        let at = |offset| log.watermark(&split, offset).map(|time| time.0);
        assert_eq!(
            (at(9), at(10), at(19), at(20), at(39), at(45), at(50)),
            (None, Some(5), Some(5), None, None, Some(7), None)
        );
        assert!(
            log.none_between(&split, 20, 40) && !log.none_between(&split, 19, 20) && !log.none_between(&split, 0, 11)
        );
        assert!(log.none_between(&SplitId::new("1"), 0, 100));
    }

    #[test]
    fn replayed_steps_decide_anew() {
        let mut log = LateLog::default();
        let split = SplitId::new("0");
        log.record(&split, run(0, 10, 5));
        log.record(&split, run(10, 20, 6));
        let mut position = Position::default();
        position.set(split.clone(), Offset(10));
        log.rewind(&position);
        assert_eq!(log.watermark(&split, 12), None);
        assert_eq!(log.watermark(&split, 3), Some(EventTime(5)));
    }
}
