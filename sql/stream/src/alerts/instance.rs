//! One key of an alert: when the condition held, and what follows from it. Pure: no clock, no I/O.
//!
//! ```text
//! Normal --holds--> Pending --holds for FOR--> Firing --does not hold for KEEP FIRING FOR--> Normal
//!                      +---no longer holds---> Normal
//! ```
//!
//! Of windows the condition is known for the time between a window's beginning and the next one's (its *slice*), as
//! far as the stream has come. A window that has no row, or one that does not meet it, is known not to meet it when
//! the stream is past its end; until then the answer of the windows before stands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    #[default]
    Normal,
    Pending,
    Firing,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }

    pub(crate) fn colour(self) -> &'static str {
        match self {
            Self::Normal => "green",
            Self::Pending => "yellow",
            Self::Firing => "red",
        }
    }
}

/// Times are in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) hold_us: i64,
    pub(crate) keep_us: i64,
    /// Rows are of windows.
    pub(crate) windows: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) from: State,
    pub(crate) to: State,
    /// Event time.
    pub(crate) at_us: i64,
    /// Event time since when the condition holds, or held.
    pub(crate) began_us: i64,
}

/// Columns of `BY` and their values; NULL is none, and not the text `null`.
pub(crate) type Key = BTreeMap<String, Option<String>>;

/// End and length of a slice.
type Slice = (i64, i64);

#[derive(Clone, Copy, Debug)]
struct Standing {
    since_us: i64,
    until_us: i64,
    slice_us: i64,
}

/// The time until the window is over in which it ends: what that window says is known then, and not before.
fn whole(us: i64, slice_us: i64) -> i64 {
    let over = if slice_us > 0 { us % slice_us } else { 0 };
    if over == 0 { us } else { us.saturating_add(slice_us - over) }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) key: Key,
    pub(crate) state: State,
    /// Event time since when it is so: pending and firing, since when the condition holds.
    pub(crate) since_us: Option<i64>,
    /// Event time since when the condition holds that it fires for.
    pub(crate) began_us: Option<i64>,
    /// Event time at which it fired.
    pub(crate) fired_us: Option<i64>,
    /// Event time up to which the condition was last known to hold.
    pub(crate) held_us: Option<i64>,
    /// Of the newest row.
    pub(crate) value: Option<f64>,
    /// Of the newest row that met the condition.
    #[serde(default)]
    pub(crate) met_value: Option<f64>,
    pub(crate) summary: String,
    /// It fires because nothing came.
    pub(crate) no_data: bool,
    /// It fired because nothing came, whatever is so now.
    #[serde(default)]
    pub(crate) missed: bool,
    /// Its firing has been handed to those who are told.
    pub(crate) told: bool,
    /// Processing time of the last change of state.
    pub(crate) changed_us: Option<i64>,
    /// Rows that meet the condition, by slice.
    #[serde(skip)]
    truths: BTreeMap<Slice, i64>,
    /// Rows of the view.
    #[serde(skip)]
    pub(crate) rows: i64,
    /// Processing time of the last row.
    #[serde(skip)]
    pub(crate) data_us: i64,
    /// End of the newest window that `value` is of.
    #[serde(skip)]
    pub(crate) shown_us: i64,
    /// End of the newest window that `met_value` is of.
    #[serde(skip)]
    pub(crate) met_us: i64,
    /// Length of the slice in which the condition held last.
    #[serde(default)]
    slice_us: i64,
    #[serde(skip)]
    held: bool,
}

/// The one slice of rows that are of no window.
const ALWAYS: Slice = (i64::MAX, 0);

impl Instance {
    pub(crate) fn new(key: Key) -> Self {
        Self { key, shown_us: i64::MIN, met_us: i64::MIN, ..Self::default() }
    }

    /// A row that meets the condition came (1) or went (-1).
    pub(crate) fn count(&mut self, slice: Option<Slice>, by: i64) {
        let slice = slice.unwrap_or(ALWAYS);
        let count = self.truths.entry(slice).or_insert(0);
        *count += by;
        if *count == 0 {
            self.truths.remove(&slice);
        }
    }

    /// The rows are counted anew.
    pub(crate) fn forget_rows(&mut self) {
        self.truths.clear();
        self.rows = 0;
        (self.shown_us, self.met_us) = (i64::MIN, i64::MIN);
    }

    /// The value that goes with the summary: it is not of a row that the summary is not of.
    pub(crate) fn told_value(&self) -> Option<f64> {
        if self.missed { self.value } else { self.met_value }
    }

    /// Whether time alone can change it.
    pub(crate) fn is_quiet(&self) -> bool {
        self.state == State::Normal && self.truths.is_empty()
    }

    /// Goes from one time of the stream to another; where `from_us` is none, all before is history.
    pub(crate) fn advance(&mut self, rules: Rules, from_us: Option<i64>, to_us: i64) -> Vec<Change> {
        let mut changes = Vec::new();
        if rules.windows
            && let Some(from_us) = from_us
        {
            for at_us in self.instants(rules, from_us, to_us) {
                self.look_whole(rules, at_us, &mut changes);
            }
        }
        self.look_whole(rules, to_us, &mut changes);
        self.prune(rules, to_us);
        changes
    }

    /// The times between at which something may change, so that what is decided does not depend on how many
    /// records a step takes.
    fn instants(&self, rules: Rules, from_us: i64, to_us: i64) -> Vec<i64> {
        let known = self.truths.keys().flat_map(|(end, length)| {
            let keep = whole(rules.keep_us, *length).max(*length);
            [*end, end.saturating_add(*length), end.saturating_add(keep)]
        });
        let held = self.held_us.map(|held_us| held_us.saturating_add(whole(rules.keep_us, self.slice_us)));
        let mut instants: Vec<i64> = known.chain(held).filter(|at_us| *at_us > from_us && *at_us < to_us).collect();
        instants.sort_unstable();
        instants.dedup();
        instants
    }

    /// Since when, and up to when, the condition is known to hold without a gap, and the length of the last slice; none
    /// where it does not now.
    fn standing(&self, rules: Rules, now_us: i64) -> Option<Standing> {
        if !rules.windows {
            let since_us = if self.held { self.since_us } else { None };
            let standing = Standing { since_us: since_us.unwrap_or(now_us), until_us: now_us, slice_us: 0 };
            return self.truths.contains_key(&ALWAYS).then_some(standing);
        }
        let begun = || self.truths.keys().rev().filter(|(end, length)| end - length < now_us);
        let (end, length) = begun().max_by_key(|(end, length)| end.saturating_add(*length))?;
        if end.saturating_add(*length) <= now_us {
            return None;
        }
        let mut since_us = end - length;
        for (end, length) in begun() {
            if *end < since_us {
                break;
            }
            since_us = since_us.min(end - length);
        }
        Some(Standing { since_us, until_us: now_us.min(*end), slice_us: *length })
    }

    /// What has to hold for a while pends before it fires, also where one step shows both.
    fn look_whole(&mut self, rules: Rules, at_us: i64, changes: &mut Vec<Change>) {
        let change = self.look(rules, at_us);
        changes.extend(change);
        if change.is_some_and(|change| change.to == State::Pending) {
            changes.extend(self.look(rules, at_us));
        }
    }

    fn look(&mut self, rules: Rules, now_us: i64) -> Option<Change> {
        let standing = self.standing(rules, now_us);
        let was_held = std::mem::replace(&mut self.held, standing.is_some());
        if self.no_data {
            return None;
        }
        match (self.state, standing) {
            (State::Normal | State::Pending, Some(Standing { since_us, until_us, slice_us })) => {
                (self.held_us, self.slice_us, self.missed) = (Some(until_us), slice_us, false);
                let fires_us = since_us.saturating_add(rules.hold_us);
                let before = self.state;
                self.since_us = Some(since_us);
                if until_us >= fires_us && (before == State::Pending || rules.hold_us == 0) {
                    (self.fired_us, self.began_us) = (Some(fires_us), Some(since_us));
                    return self.becomes(State::Firing, fires_us);
                }
                (before == State::Normal).then(|| self.becomes(State::Pending, since_us)).flatten()
            }
            (State::Firing, Some(Standing { until_us, slice_us, .. })) => {
                (self.held_us, self.slice_us) = (Some(until_us), slice_us);
                None
            }
            (State::Normal, None) => None,
            (State::Pending, None) => {
                let ended_us = self.ended_us(rules, was_held, now_us);
                self.since_us = Some(ended_us);
                self.becomes(State::Normal, ended_us)
            }
            (State::Firing, None) => {
                let ended_us = self.ended_us(rules, was_held, now_us);
                self.held_us = Some(ended_us);
                let resolved_us = ended_us.saturating_add(rules.keep_us);
                if now_us < ended_us.saturating_add(whole(rules.keep_us, self.slice_us)) {
                    return None;
                }
                self.since_us = Some(resolved_us);
                self.becomes(State::Normal, resolved_us)
            }
        }
    }

    /// When the condition ceased to hold: of windows with the last that met it, else with the step that shows it.
    fn ended_us(&self, rules: Rules, was_held: bool, now_us: i64) -> i64 {
        match self.held_us {
            Some(held_us) if rules.windows || !was_held => held_us,
            _ => now_us,
        }
    }

    fn becomes(&mut self, to: State, at_us: i64) -> Option<Change> {
        let from = std::mem::replace(&mut self.state, to);
        let began_us = self.began_us.unwrap_or(at_us);
        if to != State::Firing {
            (self.fired_us, self.began_us) = (None, None);
        }
        Some(Change { from, to, at_us, began_us })
    }

    /// Nothing has come for too long: it fires, whatever the condition says.
    pub(crate) fn miss_data(&mut self, at_us: i64) -> Option<Change> {
        if std::mem::replace(&mut self.no_data, true) {
            return None;
        }
        if self.state == State::Firing {
            return None;
        }
        (self.since_us, self.fired_us, self.held_us) = (Some(at_us), Some(at_us), Some(at_us));
        (self.began_us, self.missed) = (Some(at_us), true);
        self.becomes(State::Firing, at_us)
    }

    /// Something came again.
    pub(crate) fn have_data(&mut self, rules: Rules, at_us: i64) -> Option<Change> {
        if !std::mem::replace(&mut self.no_data, false) {
            return None;
        }
        if self.standing(rules, at_us).is_some() {
            return None;
        }
        (self.since_us, self.held_us) = (Some(at_us), None);
        self.becomes(State::Normal, at_us)
    }

    /// Slices that can change nothing any more.
    fn prune(&mut self, rules: Rules, now_us: i64) {
        let longest = self.truths.keys().map(|(_, length)| *length).max().unwrap_or(0);
        let keep_us = rules.hold_us.max(rules.keep_us).saturating_add(2 * longest);
        let oldest_us = now_us.saturating_sub(keep_us);
        while let Some(entry) = self.truths.first_entry() {
            if entry.key().0 >= oldest_us {
                break;
            }
            entry.remove();
        }
    }

    /// Whether a slice is of a time that has been let go: what comes for it is no matter.
    pub(crate) fn is_past(rules: Rules, (end, length): Slice, now_us: Option<i64>) -> bool {
        let keep_us = rules.hold_us.max(rules.keep_us).saturating_add(2 * length);
        rules.windows && now_us.is_some_and(|now_us| end < now_us.saturating_sub(keep_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;
    const SECOND: i64 = 1_000_000;

    fn rules(hold: i64, keep: i64) -> Rules {
        Rules { hold_us: hold, keep_us: keep, windows: true }
    }

    /// Windows of a minute that meet the condition, by their number.
    fn with(minutes: impl IntoIterator<Item = i64>) -> Instance {
        let mut instance = Instance::new(BTreeMap::new());
        for minute in minutes {
            instance.count(Some(((minute + 1) * MINUTE, MINUTE)), 1);
        }
        instance
    }

    fn told(changes: Vec<Change>) -> Vec<(&'static str, i64)> {
        changes.into_iter().map(|change| (change.to.name(), change.at_us / SECOND)).collect()
    }

    #[test]
    fn five_minutes_fire_once_and_less_never_does() {
        let mut long = with(10..15);
        let expected = [("pending", 600), ("firing", 900), ("normal", 900)];
        assert_eq!(told(long.advance(rules(5 * MINUTE, 0), Some(0), 30 * MINUTE)), expected);
        let mut short = with(10..14);
        assert_eq!(
            told(short.advance(rules(5 * MINUTE, 0), Some(0), 30 * MINUTE)),
            [("pending", 600), ("normal", 840)]
        );
    }

    #[test]
    fn what_is_decided_does_not_depend_on_how_far_a_step_goes() {
        let rules = rules(3 * MINUTE, 90 * SECOND);
        let minutes = [3, 4, 5, 6, 9, 20, 21, 22, 23, 24, 40];
        let mut at_once = with(minutes);
        let whole = told(at_once.advance(rules, Some(0), 60 * MINUTE));
        assert_eq!(whole.iter().filter(|(to, _)| *to == "firing").count(), 2, "{whole:?}");
        for step in [SECOND, 7 * SECOND, 59 * SECOND, MINUTE, 5 * MINUTE] {
            let mut stepped = with(minutes);
            let (mut at, mut all) = (0, Vec::new());
            while at < 60 * MINUTE {
                let next = (at + step).min(60 * MINUTE);
                all.extend(told(stepped.advance(rules, Some(at), next)));
                at = next;
            }
            assert_eq!(all, whole, "steps of {} s", step / SECOND);
        }
    }

    #[test]
    fn a_window_that_is_open_pends_at_once_and_never_ends_it_early() {
        let rules = rules(2 * MINUTE, 0);
        let mut instance = with([10]);
        assert_eq!(told(instance.advance(rules, Some(0), 10 * MINUTE + 5 * SECOND)), [("pending", 600)]);
        // The next window has no row that meets it yet, and is not over.
        assert_eq!(told(instance.advance(rules, Some(10 * MINUTE + 5), 11 * MINUTE + 50 * SECOND)), []);
        instance.count(Some((12 * MINUTE, MINUTE)), 1);
        assert_eq!(told(instance.advance(rules, Some(11 * MINUTE), 12 * MINUTE)), [("firing", 720)]);
    }

    #[test]
    fn a_correction_of_a_window_that_was_counted_takes_its_time_back() {
        let rules = rules(5 * MINUTE, 0);
        let mut instance = with([10, 11, 12]);
        assert_eq!(told(instance.advance(rules, Some(0), 13 * MINUTE)), [("pending", 600)]);
        instance.count(Some((12 * MINUTE, MINUTE)), -1);
        instance.advance(rules, Some(13 * MINUTE), 13 * MINUTE + 1);
        assert_eq!((instance.state, instance.since_us), (State::Pending, Some(12 * MINUTE)));
    }

    #[test]
    fn it_fires_on_for_as_long_as_it_is_told_to() {
        let rules = rules(0, 3 * MINUTE);
        let mut instance = with([10, 12]);
        let all = told(instance.advance(rules, Some(0), 30 * MINUTE));
        assert_eq!(all, [("firing", 600), ("normal", 13 * 60 + 180)]);
    }

    #[test]
    fn that_it_is_over_is_known_when_a_window_is() {
        let rules = rules(0, 90 * SECOND);
        let mut instance = with([10]);
        assert_eq!(told(instance.advance(rules, Some(0), 12 * MINUTE + 40 * SECOND)), [("firing", 600)]);
        // Its 90 seconds were over in the middle of a window that meets the condition in the end.
        instance.count(Some((13 * MINUTE, MINUTE)), 1);
        assert_eq!(told(instance.advance(rules, Some(12 * MINUTE + 40 * SECOND), 14 * MINUTE)), []);
        let until = 13 * 60 + 90;
        assert_eq!(told(instance.advance(rules, Some(14 * MINUTE), 30 * MINUTE)), [("normal", until)]);
    }

    #[test]
    fn hopping_windows_count_the_time_between_two_of_them() {
        let rules = rules(2 * MINUTE, 0);
        let mut instance = Instance::new(BTreeMap::new());
        // Five minutes long, one each minute: those that end at 15, 16 and 17.
        for end in [15, 16, 17] {
            instance.count(Some((end * MINUTE, MINUTE)), 1);
        }
        let all = told(instance.advance(rules, Some(0), 30 * MINUTE));
        assert_eq!(all, [("pending", 14 * 60), ("firing", 16 * 60), ("normal", 17 * 60)]);
    }

    #[test]
    fn rows_without_windows_hold_from_step_to_step() {
        let rules = Rules { windows: false, ..rules(5 * MINUTE, MINUTE) };
        let mut instance = Instance::new(BTreeMap::new());
        instance.count(None, 1);
        assert_eq!(told(instance.advance(rules, None, 10 * MINUTE)), [("pending", 600)]);
        assert_eq!(told(instance.advance(rules, Some(10 * MINUTE), 14 * MINUTE)), []);
        assert_eq!(told(instance.advance(rules, Some(14 * MINUTE), 16 * MINUTE)), [("firing", 900)]);
        instance.count(None, -1);
        assert_eq!(told(instance.advance(rules, Some(16 * MINUTE), 17 * MINUTE)), []);
        assert_eq!(told(instance.advance(rules, Some(17 * MINUTE), 18 * MINUTE)), [("normal", 1_080)]);
    }

    #[test]
    fn no_data_fires_and_data_resolves() {
        let rules = rules(5 * MINUTE, MINUTE);
        let mut instance = with([]);
        assert_eq!(instance.miss_data(7).map(|change| change.to), Some(State::Firing));
        assert_eq!(instance.miss_data(8), None);
        assert_eq!(instance.advance(rules, Some(0), MINUTE), []);
        assert_eq!(instance.have_data(rules, 9).map(|change| change.to), Some(State::Normal));
    }

    #[test]
    fn what_a_checkpoint_keeps_goes_on_where_it_was() {
        let rules = rules(5 * MINUTE, 0);
        let mut instance = with([10, 11, 12]);
        instance.advance(rules, Some(0), 12 * MINUTE + 30 * SECOND);
        let text = serde_json::to_string(&instance).expect("plain data");
        let mut again: Instance = serde_json::from_str(&text).expect("what was written");
        for minute in 10..15 {
            again.count(Some(((minute + 1) * MINUTE, MINUTE)), 1);
        }
        let all = told(again.advance(rules, Some(12 * MINUTE + 30 * SECOND), 15 * MINUTE));
        assert_eq!(all, [("firing", 900)]);
    }
}
