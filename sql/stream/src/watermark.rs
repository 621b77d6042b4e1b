//! "No more rows below this event time are expected": per split, and the minimum over the splits.
//!
//! # Invariants
//! - The watermark of the stream never goes back.
//! - It is a minimum: a split without records holds it back until it counts as idle; an idle split
//!   holds nothing back and moves nothing forward.

use std::collections::BTreeMap;

use ebap_connector::{EventTime, SplitId};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug)]
struct Split {
    /// Largest event time seen that was not too far ahead of the clock.
    newest_us: Option<i64>,
    /// Rows that were.
    future: u64,
    /// Processing time of the last record.
    active_us: i64,
    idle: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Watermarks {
    delay_us: i64,
    idle_timeout_us: i64,
    splits: BTreeMap<SplitId, Split>,
    current: EventTime,
}

/// What a manifest keeps of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedWatermarks {
    pub(crate) current: EventTime,
    pub(crate) newest_us: BTreeMap<SplitId, Option<i64>>,
    /// Rows too far ahead of the clock, where there were some.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) future: BTreeMap<SplitId, u64>,
}

impl Default for SavedWatermarks {
    fn default() -> Self {
        Self { current: EventTime::MIN, newest_us: BTreeMap::new(), future: BTreeMap::new() }
    }
}

impl Watermarks {
    pub(crate) fn new(delay_us: i64, idle_timeout_us: i64) -> Self {
        Self { delay_us, idle_timeout_us, splits: BTreeMap::new(), current: EventTime::MIN }
    }

    pub(crate) fn restore(&mut self, saved: &SavedWatermarks, now_us: i64) {
        self.current = saved.current;
        for (split, newest_us) in &saved.newest_us {
            let future = saved.future.get(split).copied().unwrap_or(0);
            let state = Split { newest_us: *newest_us, future, active_us: now_us, idle: false };
            self.splits.insert(split.clone(), state);
        }
    }

    pub(crate) fn save(&self) -> SavedWatermarks {
        let newest_us = self.splits.iter().map(|(split, state)| (split.clone(), state.newest_us)).collect();
        let future = self.splits.iter().filter(|(_, state)| state.future > 0);
        let future = future.map(|(split, state)| (split.clone(), state.future)).collect();
        SavedWatermarks { current: self.current, newest_us, future }
    }

    pub(crate) fn add(&mut self, split: &SplitId, now_us: i64) {
        self.splits.entry(split.clone()).or_insert(Split {
            newest_us: None,
            future: 0,
            active_us: now_us,
            idle: false,
        });
    }

    /// The stream was not read for a while: that nothing came meanwhile makes no split idle.
    pub(crate) fn wake(&mut self, now_us: i64) {
        for state in self.splits.values_mut() {
            state.active_us = now_us;
        }
    }

    /// Notes that the split gave records, the newest of them at `newest`.
    pub(crate) fn observe(&mut self, split: &SplitId, newest: Option<EventTime>, now_us: i64) {
        let Some(state) = self.splits.get_mut(split) else { return };
        state.active_us = now_us;
        state.idle = false;
        state.newest_us = state.newest_us.max(newest.map(|time| time.0));
    }

    /// Counts rows that were too far ahead of the clock to raise the watermark.
    pub(crate) fn count_future(&mut self, split: &SplitId, rows: u64) {
        if let Some(state) = self.splits.get_mut(split) {
            state.future += rows;
        }
    }

    /// Rows of the split that were too far ahead of the clock.
    pub(crate) fn future(&self, split: &SplitId) -> u64 {
        self.splits.get(split).map_or(0, |state| state.future)
    }

    /// Recomputes and gives the stream's watermark.
    pub(crate) fn advance(&mut self, now_us: i64) -> EventTime {
        for state in self.splits.values_mut() {
            state.idle = now_us - state.active_us >= self.idle_timeout_us;
        }
        // Where all have gone idle since the last call, the one that was active last was alone before it
        // did: calling more often would have found it so, and the answer must not depend on that.
        let last_active_us = self.splits.values().map(|state| state.active_us).max();
        let all_idle = self.splits.values().all(|state| state.idle);
        let counts = |state: &&Split| if all_idle { Some(state.active_us) == last_active_us } else { !state.idle };
        let mut lowest: Option<i64> = None;
        for state in self.splits.values().filter(counts) {
            let Some(newest) = state.newest_us else { return self.current };
            lowest = Some(lowest.map_or(newest, |low| low.min(newest)));
        }
        if let Some(lowest) = lowest {
            self.current = self.current.max(EventTime(lowest.saturating_sub(self.delay_us)));
        }
        self.current
    }

    pub(crate) fn current(&self) -> EventTime {
        self.current
    }

    /// Watermark of one split and whether it is idle.
    pub(crate) fn of(&self, split: &SplitId) -> (Option<EventTime>, bool) {
        let Some(state) = self.splits.get(split) else { return (None, false) };
        (state.newest_us.map(|newest| EventTime(newest.saturating_sub(self.delay_us))), state.idle)
    }

    /// Largest event time seen in the split.
    pub(crate) fn newest(&self, split: &SplitId) -> Option<i64> {
        self.splits.get(split).and_then(|state| state.newest_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_splits() -> (Watermarks, SplitId, SplitId) {
        let mut watermarks = Watermarks::new(10, 1_000);
        let (a, b) = (SplitId::new("0"), SplitId::new("1"));
        watermarks.add(&a, 0);
        watermarks.add(&b, 0);
        (watermarks, a, b)
    }

    #[test]
    fn the_slowest_split_holds_the_watermark() {
        let (mut watermarks, a, b) = two_splits();
        watermarks.observe(&a, Some(EventTime(500)), 1);
        assert_eq!(watermarks.advance(1), EventTime::MIN, "the other split is unknown");
        watermarks.observe(&b, Some(EventTime(200)), 2);
        assert_eq!(watermarks.advance(2), EventTime(190));
        watermarks.observe(&a, Some(EventTime(900)), 3);
        assert_eq!(watermarks.advance(3), EventTime(190));
    }

    #[test]
    fn an_idle_split_does_not_hold_it_and_never_moves_it_back() {
        let (mut watermarks, a, b) = two_splits();
        watermarks.observe(&a, Some(EventTime(500)), 900);
        assert_eq!(watermarks.advance(1_000), EventTime(490));
        watermarks.observe(&b, Some(EventTime(100)), 1_001);
        assert_eq!(watermarks.advance(1_001), EventTime(490));
    }

    #[test]
    fn splits_that_go_idle_between_two_looks_count_as_if_one_after_the_other() {
        let (mut watermarks, a, b) = two_splits();
        watermarks.observe(&a, Some(EventTime(100)), 0);
        watermarks.observe(&b, Some(EventTime(900)), 5);
        assert_eq!(watermarks.advance(9_000), EventTime(890));
    }

    #[test]
    fn all_idle_leaves_it_where_it_is_and_a_restart_keeps_it() {
        let (mut watermarks, a, b) = two_splits();
        watermarks.observe(&a, Some(EventTime(500)), 0);
        watermarks.observe(&b, Some(EventTime(400)), 0);
        assert_eq!(watermarks.advance(0), EventTime(390));
        assert_eq!(watermarks.advance(5_000), EventTime(390));
        let mut again = Watermarks::new(10, 1_000);
        again.restore(&watermarks.save(), 9_000);
        assert_eq!(again.advance(9_000), EventTime(390));
        again.observe(&a, Some(EventTime(300)), 9_001);
        assert_eq!(again.advance(9_001), EventTime(390));
    }

    #[test]
    fn a_pause_makes_no_split_idle() {
        let (mut watermarks, a, b) = two_splits();
        watermarks.observe(&a, Some(EventTime(500)), 0);
        watermarks.observe(&b, Some(EventTime(900)), 500);
        assert_eq!(watermarks.advance(500), EventTime(490));
        watermarks.wake(50_000);
        assert_eq!(watermarks.advance(50_001), EventTime(490), "the slower one was not read either");
    }
}
