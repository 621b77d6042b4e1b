//! No record is in the sink on the stream twice, in the topic of dead letters twice, or shown twice.

use std::collections::BTreeSet;

use super::super::{run::Run, seeds};

pub(super) fn check(run: &Run) -> Result<(), String> {
    let mut held = BTreeSet::new();
    for id in &run.world.rows.lock().ids {
        if !held.insert(*id) {
            return Err(format!("the row {id} is in the sink twice"));
        }
    }
    let mut letters = BTreeSet::new();
    for place in run.world.dead_letters.lock().iter() {
        if !letters.insert(place.clone()) {
            return Err(format!("the dead letter {place:?} is in the topic twice"));
        }
    }
    let mut shown = BTreeSet::new();
    for line in run.ending.dead_letters.lines().filter(|line| line.starts_with("| ")) {
        if !shown.insert(line) {
            return Err(format!("events$dlq shows {line} twice"));
        }
    }
    Ok(())
}

#[test]
fn no_duplicate() {
    seeds::assert_holds("no_duplicate");
}
