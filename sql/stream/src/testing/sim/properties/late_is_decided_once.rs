//! What an epoch says of a record's lateness every later epoch says too, and so do the stream, its
//! `$late`, and the accounting. Where nothing is late by the script, nothing is late.

use ebap_connector::Position;

use super::super::{life, oracle, run::Run, seeds};
use crate::late_log::{LateRun, LateRuns};

/// Runs that begin below the position: what was decided then.
fn below(late: &LateRuns, position: &Position) -> Vec<(String, LateRun)> {
    let runs = late.iter().flat_map(|(split, runs)| {
        let end = position.get(split).map_or(0, |offset| offset.0);
        runs.iter().filter(move |run| run.start < end).map(move |run| (split.to_string(), *run))
    });
    runs.collect()
}

pub(super) fn check(run: &Run) -> Result<(), String> {
    let epochs =
        run.epochs("events", |seen| (seen.manifest.epoch.0, seen.manifest.position.clone(), seen.late.clone()));
    for pair in epochs.windows(2) {
        let [(epoch, position, late), (_, _, later)] = pair else { continue };
        let (before, after) = (below(late, position), below(later, position));
        if before != after {
            return Err(format!("decided in epoch {epoch}: {before:?}, said afterwards: {after:?}"));
        }
    }
    let (_, position, late) = epochs.last().ok_or("there is no epoch")?;
    let splits = &run.world.script.events;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime of one thread");
    let wanted = runtime.block_on(life::ask("events", oracle::table(splits, position, late), life::EVENTS_COLUMNS));
    if let Some(difference) = oracle::difference(&run.ending.events, &wanted) {
        return Err(format!("the stream shows other rows or other lateness than the log: {difference}"));
    }
    let marked = oracle::rows(splits, position, late).filter(|(.., mark)| mark.is_some()).count();
    let shown = run.ending.late.lines().filter(|line| line.starts_with("| ") && !line.contains("id")).count();
    if shown != marked {
        return Err(format!("events$late shows {shown} rows, the log has {marked}"));
    }
    Ok(())
}

#[test]
fn late_is_decided_once() {
    seeds::assert_holds("late_is_decided_once");
}
