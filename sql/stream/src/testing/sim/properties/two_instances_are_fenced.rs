//! Two processes over one state: one goes on and is exact, the other stops and says why. Also where
//! one of them was paused in the middle of a request for longer than manifests are kept.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ebap_catalog::Catalog;
use ebap_connector::time::Clock;

use super::{
    super::{
        cases, life,
        life::{Complaints, End},
        random::Random,
        run::{Mode, Run, config, faults},
        script::{SECOND_US, Script},
        seeds,
        world::{Process, World},
    },
    accounting_adds_up, answer_equals_batch, late_is_decided_once, no_duplicate, no_loss, nothing_goes_back,
};
use crate::EngineConfig;

/// Both processes over the world until all is read; what the loser says.
async fn both(world: &Arc<World>, catalog: &Catalog, config: &EngineConfig, paused: bool) -> String {
    let within = |random: &mut Random, most_ms: i64| Duration::from_millis(random.within(0, most_ms).unsigned_abs());
    let (first_ms, second_ms, third_ms) = {
        let mut random = world.random.lock();
        (within(&mut random, 6_000), within(&mut random, 200), within(&mut random, 6_000))
    };
    let older = Process::new(world, None);
    let engine = life::start(&older, config);
    life::reconcile(&engine, catalog).await;
    world.clock.sleep(first_ms).await;
    if paused {
        older.pause();
    }
    world.clock.sleep(second_ms).await;
    let newer = Process::new(world, None);
    let other = life::start(&newer, config);
    life::reconcile(&other, catalog).await;
    world.clock.sleep(third_ms).await;
    let left_us = (world.script.end_us - world.clock.now_us()).max(0);
    if paused {
        // For less than a pause that counts, or until some or all of the manifests it knew are gone.
        let slept = within(&mut world.random.lock(), 60_000);
        world.clock.sleep(Duration::from_micros(left_us.unsigned_abs()) + slept).await;
    } else {
        world.clock.sleep(Duration::from_micros(left_us.unsigned_abs())).await;
    }
    older.go_on();
    // Who has nothing to write does not notice that somebody else does.
    let last_us = world.script.end_us + LAST_US + SECOND_US - world.clock.now_us();
    world.clock.sleep(Duration::from_micros(last_us.unsigned_abs())).await;
    let mut lost = String::new();
    for _ in 0..100 {
        let (one, two) = (engine.flush().await, other.flush().await);
        match (one, two) {
            (Ok(()), Err(error)) | (Err(error), Ok(())) => {
                let said = error.chain();
                if said.contains(SUPERSEDED) {
                    return said;
                }
                lost = said;
            }
            (Err(one), Err(two)) => lost = format!("both: {}, {}", one.chain(), two.chain()),
            (Ok(()), Ok(())) => "both go on".clone_into(&mut lost),
        }
        world.clock.sleep(Duration::from_millis(200)).await;
    }
    lost
}

/// The message of the loser.
const SUPERSEDED: &str = "another process runs \"events\"";
/// Each is as long as a simulation and looked at as closely.
const SEEDS_DIVISOR: u64 = 5;
/// From the end of the script to one more record, for which both are awake.
const LAST_US: i64 = 100 * SECOND_US;

fn play(seed: u64) {
    let mut random = Random::new(seed ^ 0x2B);
    let mut script = Script::draw(&mut random);
    script.add_last(script.end_us + LAST_US);
    let mode = random.pick(&[Mode::Straight, Mode::EveryStep, Mode::Anywhere]);
    let paused = random.chance(300);
    let faults = if mode == Mode::Straight { Default::default() } else { faults(&mut random) };
    let config = config(mode, &mut random);
    let world = World::new(script, faults, random.fork());
    let mut catalog = life::with(&Catalog::default(), cases::EVENTS);
    for case in cases::FIRST {
        catalog = life::with(&catalog, case.create);
    }
    for (_, _, create) in cases::SINKS {
        catalog = life::with(&catalog, create);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime of one thread");
    let said = runtime.block_on(async {
        tokio::select! {
            biased;
            said = both(&world, &catalog, &config, paused) => said,
            () = world.clock.run() => unreachable!("time does not end"),
        }
    });
    drop(runtime);
    assert!(said.contains(SUPERSEDED), "{said}");
    let mut complaints = Complaints::new();
    let end = life::live(&world, &mut catalog, &config, None, true, &mut complaints);
    let End::Finished(ending) = end else { unreachable!("nobody kills the last process") };
    // The topic is not fenced: until the loser stops, both deliver what they reject.
    let letters: BTreeSet<(String, i64)> = world.dead_letters.lock().drain(..).collect();
    world.dead_letters.lock().extend(letters);
    let run = Run { world, catalog, ending: *ending, complaints, killed: Vec::new() };
    for check in [
        accounting_adds_up::check,
        answer_equals_batch::check,
        late_is_decided_once::check,
        no_duplicate::check,
        no_loss::check,
        nothing_goes_back::check,
    ] {
        check(&run).unwrap_or_else(|message| panic!("{message}"));
    }
}

#[test]
fn two_instances_are_fenced() {
    seeds::assert_each("two_instances_are_fenced", &seeds::every(SEEDS_DIVISOR), play);
}
