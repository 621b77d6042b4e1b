//! A seed plays the same again, or a failure could not be looked at.

use super::super::{run::Run, seeds};

fn play(seed: u64) {
    let (first, second) = (Run::of_seed(seed), Run::of_seed(seed));
    assert_eq!(first.killed, second.killed, "the same deaths");
    assert_eq!(*first.world.trace.lock(), *second.world.trace.lock(), "the same calls at the same moments");
}

#[test]
fn same_seed_same_run() {
    let all = seeds::seeds();
    // One of each mode tells.
    seeds::assert_each("same_seed_same_run", &all[..all.len().min(4)], play);
}
