//! A whole simulation from its seed: processes that die and start again over one world.

use std::{sync::Arc, time::Duration};

use ebap_catalog::Catalog;

use super::{
    life::{Complaints, End, Ending, live},
    random::Random,
    script::Script,
    store::Seen,
    world::{Faults, Kill, Point, World},
};
use crate::EngineConfig;

/// What happens to the processes of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing goes wrong, nobody dies before all is read.
    Straight,
    /// Every step is made durable.
    EveryStep,
    /// Killed at one of the listed points, several times.
    Listed,
    /// Killed anywhere, several times.
    Anywhere,
}

impl Mode {
    pub(super) const ALL: [Self; 4] = [Self::Straight, Self::EveryStep, Self::Listed, Self::Anywhere];
}

/// All there is to judge a simulation by.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) world: Arc<World>,
    pub(super) catalog: Catalog,
    pub(super) ending: Ending,
    pub(super) complaints: Complaints,
    /// Where processes were killed.
    pub(super) killed: Vec<Point>,
}

impl Run {
    pub(super) fn of_seed(seed: u64) -> Self {
        let mode = Mode::ALL[(seed % 4) as usize];
        let mut random = Random::new(seed);
        let script = Script::draw(&mut random);
        Self::play(script, mode, seed / 4, &mut random)
    }

    /// `turn` chooses among the listed points, so that a row of seeds visits all of them.
    pub(super) fn play(script: Script, mode: Mode, turn: u64, random: &mut Random) -> Self {
        let faults = match mode {
            Mode::Straight => Faults::default(),
            _ => faults(random),
        };
        let kills = kills(mode, turn, random);
        let config = config(mode, random);
        let world = World::new(script, faults, random.fork());
        let (mut catalog, mut complaints, mut killed) = (Catalog::default(), Complaints::new(), Vec::new());
        let mut kills = kills.into_iter();
        loop {
            let kill = kills.next();
            let end = live(&world, &mut catalog, &config, kill, false, &mut complaints);
            // Some machines are back at once, some after what counts as a pause.
            let down_us = random.pick(&[0, 10_000, 700_000, 40_000_000]);
            match (end, kill) {
                (End::Killed, Some(kill)) => killed.push(kill.point),
                _ => break,
            }
            world.clock.pass(down_us.min(3_000_000));
        }
        world.clock.pass(random.pick(&[0, 700_000, 40_000_000]));
        let End::Finished(ending) = live(&world, &mut catalog, &config, None, true, &mut complaints) else {
            unreachable!("nobody kills the last process");
        };
        Self { world, catalog, ending: *ending, complaints, killed }
    }

    /// Id of an object by its name, if it has been created.
    pub(super) fn id(&self, name: &str) -> Option<u64> {
        self.catalog.objects().find(|object| object.name == name).map(|object| object.id.0)
    }

    /// Every epoch of the stream or table, in order.
    pub(super) fn epochs<T>(&self, source: &str, each: impl FnMut(&Seen) -> T) -> Vec<T> {
        let Some(id) = self.id(source) else { return Vec::new() };
        let mut newest = 0;
        // Not a number below one that exists: whoever was paused until its own number was free again has written
        // what nobody ever opens, and is told so.
        let opens = |seen: &&Seen| {
            let opens = seen.manifest.epoch.0 > newest;
            newest = newest.max(seen.manifest.epoch.0);
            opens
        };
        self.world.seen.lock().iter().filter(|seen| seen.pipeline == id).filter(opens).map(each).collect()
    }
}

pub(super) fn faults(random: &mut Random) -> Faults {
    // Low, as a recovery asks for many files and all of them must answer.
    let mut some = |most: u64| if random.chance(600) { random.below(most + 1) } else { 0 };
    Faults {
        failed: some(4),
        lost: some(4),
        doubled: some(60),
        delayed: some(8),
        slow: some(100),
        outside: some(30),
        conflicts: some(60),
    }
}

fn kills(mode: Mode, turn: u64, random: &mut Random) -> Vec<Kill> {
    match mode {
        Mode::Straight | Mode::EveryStep => Vec::new(),
        Mode::Listed => {
            let points = Point::LISTED;
            let kill = |at: u64| {
                let point = points[((turn + at) % points.len() as u64) as usize];
                Kill { point, nth: 1 + random.below(12) }
            };
            (0..4).map(kill).collect()
        }
        Mode::Anywhere => {
            let count = random.within(2, 6);
            (0..count).map(|_| Kill { point: Point::Anywhere, nth: 1 + random.below(500) }).collect()
        }
    }
}

pub(super) fn config(mode: Mode, random: &mut Random) -> EngineConfig {
    let interval_ms = if mode == Mode::EveryStep { 0 } else { random.pick(&[150, 500, 1_500]) };
    EngineConfig {
        checkpoint_interval: Duration::from_millis(interval_ms),
        // One thread plays the same again.
        lanes: 1,
        checkpoint_waits: random.chance(500),
        step_rows_max: random.pick(&[4, 16, 64]),
        step_wait: Duration::from_millis(100),
        discover_interval: Duration::from_secs(1),
        drift_max: Duration::from_secs(random.pick(&[1, 60])),
        deltas_max: random.pick(&[2, 5, 12]),
        manifests_kept: Duration::from_secs(random.pick(&[8, 30])),
        files_kept: Duration::from_secs(random.pick(&[0, 5])),
        backoff_first: Duration::from_millis(50),
        backoff_max: Duration::from_secs(1),
        ..EngineConfig::default()
    }
}
