//! Every record that can become a row is in the sinks on the stream, every other one in the topic of
//! dead letters.

use std::collections::BTreeSet;

use super::super::{run::Run, seeds};

pub(super) fn check(run: &Run) -> Result<(), String> {
    let held: BTreeSet<i64> = run.world.rows.lock().ids.iter().copied().collect();
    let samples: BTreeSet<i64> = run.world.samples.lock().ids.iter().copied().collect();
    let letters: BTreeSet<(String, i64)> = run.world.dead_letters.lock().iter().cloned().collect();
    for split in &run.world.script.events {
        for record in &split.records {
            let there = match &record.row {
                Some(row) => held.contains(&row.id) && samples.contains(&row.id),
                None => letters.contains(&(split.name.clone(), record.offset)),
            };
            if !there {
                return Err(format!("record {} of split {} is nowhere: {}", record.offset, split.name, record.bytes));
            }
        }
    }
    Ok(())
}

#[test]
fn no_loss() {
    seeds::assert_holds("no_loss");
}
