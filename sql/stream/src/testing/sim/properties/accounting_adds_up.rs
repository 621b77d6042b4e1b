//! At every epoch, for every split and job: the records below the position were consumed, and each
//! ended as exactly one of emitted, late, dead-lettered, filtered, failed.

use ebap_connector::{Position, SplitId};

use super::super::{run::Run, script::SplitScript, seeds};
use crate::accounting::Accounting;

/// Records of the split below its offset: all of them, and those no row can be made of.
fn below(split: &SplitScript, position: &Position) -> (u64, u64) {
    let end = position.get(&SplitId::new(split.name.as_str())).map_or(0, |offset| offset.0);
    let records = split.records.iter().take_while(|record| record.offset < end);
    records.fold((0, 0), |(all, bad), record| (all + 1, bad + u64::from(record.row.is_none())))
}

fn judge(job: &str, splits: &[SplitScript], position: &Position, accounting: &Accounting) -> Result<(), String> {
    for split in splits {
        let counts = accounting.0.get(&SplitId::new(split.name.as_str())).copied().unwrap_or_default();
        let (consumed, dead_lettered) = below(split, position);
        let sum = counts.emitted + counts.late + counts.dead_lettered + counts.filtered + counts.failed;
        if (counts.consumed, counts.dead_lettered, sum) != (consumed, dead_lettered, consumed) {
            return Err(format!(
                "{job}, split {}: {counts:?}, but {consumed} records and {dead_lettered} bad ones were read",
                split.name
            ));
        }
    }
    Ok(())
}

pub(super) fn check(run: &Run) -> Result<(), String> {
    for source in ["events", "users"] {
        let splits = run.world.script.of(source);
        let judged = run.epochs(source, |seen| {
            let manifest = &seen.manifest;
            judge(source, splits, &manifest.position, &manifest.accounting)?;
            for (id, job) in &manifest.jobs {
                judge(&format!("job {id}"), splits, &manifest.position, &job.accounting)?;
            }
            for (id, sink) in &manifest.sinks {
                judge(&format!("sink {id}"), splits, &sink.position, &sink.accounting)?;
            }
            Ok(())
        });
        judged.into_iter().enumerate().try_for_each(|(at, judged): (usize, Result<(), String>)| {
            judged.map_err(|message| format!("{source}, manifest {at}: {message}"))
        })?;
    }
    Ok(())
}

#[test]
fn accounting_adds_up() {
    seeds::assert_holds("accounting_adds_up");
}
