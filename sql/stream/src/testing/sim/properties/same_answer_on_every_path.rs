//! Where nothing can be late, one script has one answer: straight through, with every step made
//! durable, killed at the listed points, killed anywhere.

use std::collections::BTreeMap;

use super::super::{
    cases, oracle,
    random::Random,
    run::{Mode, Run},
    script::Script,
    seeds,
};

/// Each seed is played on four paths here, so there are fewer.
const SEEDS_DIVISOR: u64 = 10;

fn play(seed: u64) {
    let mut random = Random::new(seed ^ 0xA11);
    let script = Script::draw_calm(&mut random);
    let mut first: Option<BTreeMap<String, Vec<String>>> = None;
    for mode in Mode::ALL {
        let run = Run::play(script.clone(), mode, seed, &mut random);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime of one thread");
        let shown = runtime.block_on(async {
            let mut all = BTreeMap::new();
            for (name, rows) in &run.ending.shown {
                // What has closed depends on when the last process ended.
                let Some(case) = cases::case(name).filter(|case| case.name != "final") else { continue };
                all.insert(name.clone(), oracle::shown(&case, std::sync::Arc::clone(rows)).await);
            }
            all
        });
        assert_eq!(run.ending.late, "", "{mode:?}: nothing is late by the script");
        for (name, answers) in first.get_or_insert_with(|| shown.clone()) {
            for (answer, first) in shown[name].iter().zip(answers) {
                let difference = oracle::difference(answer, first);
                assert!(difference.is_none(), "{mode:?}, {name}: {difference:?}");
            }
        }
        assert!(!shown.is_empty(), "there are views to compare");
    }
}

#[test]
fn same_answer_on_every_path() {
    seeds::assert_each("same_answer_on_every_path", &seeds::every(SEEDS_DIVISOR), play);
}
