//! What alerts decided is what the data say, and everybody who is told of them heard all of it, in order: whatever died.

use std::collections::{BTreeMap, BTreeSet};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Int64Type, TimestampMicrosecondType},
};

use super::super::{
    cases::{ALERTS, RECEIVERS},
    life::{Decided, ask_rows},
    random::Random,
    run::{Mode, Run},
    script::{SECOND_US, Script},
    seeds,
};

/// What is decided of one key: which state, and as of when.
type Course = Vec<(String, i64)>;

/// One of [`ALERTS`] that goes by windows.
struct Watched {
    alert: &'static str,
    view: &'static str,
    /// Key, beginning and length in seconds of the windows that meet the condition.
    meets: &'static str,
    hold_us: i64,
    keep_us: i64,
    /// Windows are known when they close.
    closed: bool,
}

const CLOSING: Watched = Watched {
    alert: "closing",
    view: "final",
    meets:
        "SELECT '{\"region\":' || coalesce('\"' || region || '\"', 'null') || '}' AS key, window_start, CAST(2 AS BIGINT) AS size
        FROM final WHERE ids % 3 <> 0",
    hold_us: 4 * SECOND_US,
    keep_us: 3 * SECOND_US,
    closed: true,
};

const PEAKS: Watched = Watched {
    alert: "peaks",
    view: "thin",
    meets: "SELECT '{\"region\":' || coalesce('\"' || region || '\"', 'null') || ',\"window_size\":\"' || arrow_cast(window_size, 'Utf8') || '\"}' AS key,
        window_start, CASE WHEN window_size = INTERVAL '2 seconds' THEN CAST(2 AS BIGINT) ELSE 6 END AS size FROM thin WHERE most > 17",
    hold_us: 3 * SECOND_US,
    keep_us: 5 * SECOND_US,
    closed: false,
};

impl Watched {
    /// By runs of windows without a gap, which is not how it is decided while windows come.
    fn course(&self, starts: &BTreeSet<i64>, size_us: i64, at_us: i64) -> Course {
        let mut runs: Vec<(i64, i64)> = Vec::new();
        for start in starts.iter().filter(|start| **start + if self.closed { size_us } else { 1 } <= at_us) {
            match runs.last_mut().filter(|(_, end)| end == start) {
                Some((_, end)) => *end += size_us,
                None => runs.push((*start, start + size_us)),
            }
        }
        // That it is over is known at the end of a window.
        let keep_us = (self.keep_us + size_us - 1) / size_us * size_us;
        let (mut course, mut fires_until): (Course, Option<i64>) = (Vec::new(), None);
        let mut note = |state: &str, at_us: i64| course.push((state.to_owned(), at_us));
        for (begin, end) in runs {
            if let Some(until) = fires_until {
                if begin < until + keep_us {
                    fires_until = Some(end);
                    continue;
                }
                note("normal", until + self.keep_us);
                fires_until = None;
            }
            note("pending", begin);
            if end - begin >= self.hold_us && begin + self.hold_us <= at_us {
                note("firing", begin + self.hold_us);
                fires_until = Some(end);
            } else if end + size_us <= at_us {
                note("normal", end);
            }
        }
        if let Some(until) = fires_until.filter(|until| until + keep_us <= at_us) {
            note("normal", until + self.keep_us);
        }
        course
    }

    /// Of each key what the rows of the view make of it, as far as the stream has come.
    fn wanted(&self, view: &[RecordBatch], at_us: i64) -> BTreeMap<String, Course> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime of one thread");
        let rows = runtime.block_on(ask_rows(self.view, view.to_vec(), self.meets));
        let mut starts: BTreeMap<(String, i64), BTreeSet<i64>> = BTreeMap::new();
        for batch in &rows {
            let (keys, sizes) = (batch.column(0).as_string::<i32>(), batch.column(2).as_primitive::<Int64Type>());
            let times = batch.column(1).as_primitive::<TimestampMicrosecondType>();
            for row in 0..batch.num_rows() {
                let key = (keys.value(row).to_owned(), sizes.value(row) * SECOND_US);
                starts.entry(key).or_default().insert(times.value(row));
            }
        }
        let courses = starts.iter().map(|((key, size_us), starts)| (key.clone(), self.course(starts, *size_us, at_us)));
        courses.filter(|(_, course)| !course.is_empty()).collect()
    }

    fn check(&self, run: &Run, ahead_us: i64) -> Result<(), String> {
        let rows = run.ending.shown.iter().find(|(name, _)| name == self.view);
        let (_, rows) = rows.ok_or_else(|| format!("{} is not shown", self.view))?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime of one thread");
        let context = datafusion::prelude::SessionContext::new().task_ctx();
        let view = datafusion::physical_plan::collect(std::sync::Arc::clone(rows), context);
        let view = runtime.block_on(view).expect("rows in memory");
        let at_us = run.epochs("events", |seen| seen.manifest.watermarks.current.0).last().copied().unwrap_or(i64::MIN);
        let wanted = match view.is_empty() {
            true => BTreeMap::new(),
            false => self.wanted(&view, at_us.saturating_add(ahead_us)),
        };
        let mut found: BTreeMap<String, Course> = BTreeMap::new();
        for one in run.ending.alerts.iter().filter(|one| one.alert == self.alert) {
            found.entry(one.key.clone()).or_default().push((one.to.clone(), one.at_us));
        }
        if found == wanted {
            return Ok(());
        }
        let keys: BTreeSet<&String> = found.keys().chain(wanted.keys()).collect();
        let key = keys.into_iter().find(|key| found.get(*key) != wanted.get(*key)).expect("they differ");
        let (found, wanted) = (found.get(key), wanted.get(key));
        Err(format!("{} of {key} up to {at_us}: decided {found:?}, the data say {wanted:?}", self.alert))
    }
}

/// From state to state without a gap.
fn no_state_is_left_out(decided: &[Decided]) -> Result<(), String> {
    let mut states: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for one in decided {
        let before = states.insert((&one.alert, &one.key), &one.to).unwrap_or("normal");
        if before != one.from || one.from == one.to {
            return Err(format!("{before} before {one:?}"));
        }
    }
    Ok(())
}

/// Each receiver has heard of every change that is in the history and of no other, of those of an alert in their order.
fn everybody_is_told(run: &Run) -> Result<(), String> {
    let told = run.world.told.lock();
    for receiver in RECEIVERS {
        let mut heard: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut seen = BTreeMap::new();
        for (_, event) in told.iter().filter(|(name, _)| name == receiver) {
            if let Some(before) = seen.insert(&event.id, event) {
                if before != event {
                    return Err(format!("{receiver} has heard two things of one id: {before:?} and {event:?}"));
                }
                continue;
            }
            heard.entry(&event.alert).or_default().push(&event.id);
        }
        let mut ids: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for Decided { alert, key, from, to, at_us, decided_us } in &run.ending.alerts {
            let status = if from == "firing" { "resolved" } else { to };
            ids.entry(alert).or_default().push(format!("{alert}/{key}/{at_us}/{status}/{decided_us}"));
        }
        for (alert, ids) in ids {
            let heard = heard.remove(alert).unwrap_or_default();
            let differs = ids.iter().zip(&heard).position(|(id, heard)| id != heard);
            if heard.len() != ids.len() || differs.is_some() {
                let at = differs.unwrap_or(ids.len().min(heard.len()));
                let (id, other, all) = (ids.get(at), heard.get(at), (ids.len(), heard.len()));
                return Err(format!("{receiver}: the change {at} of {all:?} is {id:?}, heard {other:?}"));
            }
        }
        if !heard.is_empty() {
            return Err(format!("{receiver} has heard of what never was: {heard:?}"));
        }
    }
    Ok(())
}

pub(super) fn check(run: &Run) -> Result<(), String> {
    if !run.ending.odd_alerts.is_empty() {
        return Err(format!("odd:\n{}", run.ending.odd_alerts));
    }
    no_state_is_left_out(&run.ending.alerts)?;
    everybody_is_told(run)?;
    CLOSING.check(run, 0)
}

#[test]
fn alerts_follow_the_data() {
    seeds::assert_holds("alerts_follow_the_data");
}

/// Each seed is played on four paths here, so there are fewer.
const SEEDS_DIVISOR: u64 = 10;
/// Of the newest row before the watermark, as `EVENTS` says.
const DELAY_US: i64 = SECOND_US;

/// Windows that are open are decided as rows come: where these are in order, all paths decide alike.
fn play(seed: u64) {
    let mut random = Random::new(seed ^ 0xA1E);
    let script = Script::draw_ordered(&mut random);
    let mut decided = 0;
    for mode in Mode::ALL {
        let run = Run::play(script.clone(), mode, seed, &mut random);
        check(&run).and_then(|()| PEAKS.check(&run, DELAY_US)).unwrap_or_else(|message| panic!("{mode:?}: {message}"));
        decided += run.ending.alerts.iter().filter(|one| one.alert == PEAKS.alert).count();
    }
    assert!(decided > 0, "nothing was decided by {}", ALERTS[1]);
}

#[test]
fn alerts_are_the_same_on_every_path() {
    seeds::assert_each("alerts_are_the_same_on_every_path", &seeds::every(SEEDS_DIVISOR), play);
}
