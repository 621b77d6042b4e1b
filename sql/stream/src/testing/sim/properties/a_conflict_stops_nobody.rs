//! S3 answers 409 to a create that meets another request: nobody has taken the number, and the put is done again.

use std::sync::Arc;

use ebap_catalog::Catalog;
use ebap_connector::Epoch;

use super::super::{
    cases, life,
    random::Random,
    run::{Mode, config},
    script::Script,
    store::SimStore,
    world::{Faults, Process, World},
};
use crate::checkpoint::CheckpointStore;

#[test]
fn a_409_of_nobody_is_no_fence_and_no_failure() {
    let mut random = Random::new(409);
    let script = Script::draw(&mut random);
    let config = config(Mode::EveryStep, &mut random);
    let faults = Faults { conflicts: 250, ..Faults::default() };
    let world = World::new(script, faults, random.fork());
    let catalog = life::with(&Catalog::default(), cases::EVENTS);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime of one thread");
    let played = async {
        let process = Process::new(&world, None);
        let engine = life::start(&process, &config);
        life::reconcile(&engine, &catalog).await;
        for _ in 0..30 {
            // Not `life::flush`, which hides that a pipeline starts again.
            engine.flush().await.expect("nothing else goes wrong");
        }
        let store = CheckpointStore::new(Arc::new(SimStore(Arc::clone(&process))), "1", "events");
        store.recover().await.expect("it answers").manifest.expect("there is one")
    };
    let newest = runtime.block_on(async {
        tokio::select! {
            biased;
            newest = played => newest,
            () = world.clock.run() => unreachable!("time does not end"),
        }
    });
    assert_eq!(newest.incarnation, Epoch(1).0, "of the first start");
    assert!(newest.epoch.0 > 10, "{} epochs", newest.epoch.0);
}
