//! What stays when a process dies, and how processes die.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Poll, Waker},
};

use ebap_connector::{AlertEvent, Position, time::Clock};
use object_store::memory::InMemory;
use parking_lot::Mutex;

use super::{
    clock::SimClock,
    random::Random,
    script::{START_US, Script},
    sinks::{RowsOutside, ViewOutside},
    store::{Delayed, Seen, Shown},
    topic::Topic,
};

/// Where a process may be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// An epoch has begun, none of its files is written.
    BeforeState,
    /// A file of state is half on the disk.
    TornState,
    /// All files are written, the manifest is not.
    BetweenStateAndManifest,
    /// The manifest is half on the disk.
    TornManifest,
    /// The manifest is written and nobody has heard of it.
    AfterManifest,
    /// A sink on the stream has its rows prepared and not committed.
    BeforeCommit,
    /// They are committed and nobody has heard of it.
    AfterCommit,
    /// A sink on a view has written its position and no value.
    BetweenPositionAndValues,
    /// Some of the values are written.
    AmongValues,
    /// Somebody is to be told of an alert and has heard nothing.
    BeforeTold,
    /// Has heard, and nobody here knows.
    AfterTold,
    /// Any call that leaves the process.
    Anywhere,
}

impl Point {
    /// Those that the property "killed at every listed point" goes through.
    pub(super) const LISTED: [Self; 11] = [
        Self::BeforeState,
        Self::TornState,
        Self::BetweenStateAndManifest,
        Self::TornManifest,
        Self::AfterManifest,
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::BetweenPositionAndValues,
        Self::AmongValues,
        Self::BeforeTold,
        Self::AfterTold,
    ];
}

/// Dies the `nth` time it passes the point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kill {
    pub(super) point: Point,
    pub(super) nth: u64,
}

/// How often each thing goes wrong, in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// The store refuses, and nothing has happened.
    pub(super) failed: u64,
    /// The store did it, and the answer is lost.
    pub(super) lost: u64,
    /// The request arrives twice.
    pub(super) doubled: u64,
    /// The client gives up, and the request arrives later.
    pub(super) delayed: u64,
    /// The answer takes long.
    pub(super) slow: u64,
    /// A sink or the dead-letter topic: before, after, or in the middle of what it was to do.
    pub(super) outside: u64,
    /// The store says that a manifest exists though none does, as after a 409 of S3.
    pub(super) conflicts: u64,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) clock: Arc<SimClock>,
    pub(super) script: Script,
    pub(super) random: Mutex<Random>,
    pub(super) faults: Faults,
    /// Nothing goes wrong any more.
    pub(super) quiet: AtomicBool,
    pub(super) store: Arc<InMemory>,
    /// Puts whose clients gave up, and which arrive yet.
    pub(super) delayed: Mutex<Vec<Delayed>>,
    /// Every manifest that came to exist, in that order.
    pub(super) seen: Mutex<Vec<Seen>>,
    /// How many more manifests are seen together with the views readers were shown: comparing costs.
    shows_left: AtomicU64,
    pub(super) rows: Mutex<RowsOutside>,
    /// Of the sink whose position nothing outside holds.
    pub(super) samples: Mutex<RowsOutside>,
    pub(super) views: Mutex<BTreeMap<String, ViewOutside>>,
    pub(super) topic: Mutex<Topic>,
    /// The topic: split and offset of each.
    pub(super) dead_letters: Mutex<Vec<(String, i64)>>,
    /// What was told of alerts: to whom and which.
    pub(super) told: Mutex<Vec<(String, AlertEvent)>>,
    /// Sum over all that was done, so that two runs of a seed can be compared.
    pub(super) trace: Mutex<u64>,
}

impl World {
    pub(super) fn new(script: Script, faults: Faults, random: Random) -> Arc<Self> {
        Arc::new(Self {
            clock: SimClock::at(START_US),
            script,
            random: Mutex::new(random),
            faults,
            quiet: AtomicBool::new(false),
            store: Arc::default(),
            delayed: Mutex::default(),
            seen: Mutex::default(),
            shows_left: AtomicU64::new(SHOWS),
            rows: Mutex::default(),
            samples: Mutex::default(),
            views: Mutex::default(),
            topic: Mutex::default(),
            dead_letters: Mutex::default(),
            told: Mutex::default(),
            trace: Mutex::default(),
        })
    }

    pub(super) fn chance(&self, per_mille: u64) -> bool {
        self.random.lock().chance(per_mille)
    }

    /// True where something is to go wrong that does so many times in a thousand.
    pub(super) fn fails(&self, per_mille: u64) -> bool {
        !self.quiet.load(Ordering::Relaxed) && self.chance(per_mille)
    }

    /// True where the views are to be looked at now.
    pub(super) fn shows(&self) -> bool {
        let one = |left: u64| left.checked_sub(1);
        self.chance(SHOWS_PER_MILLE) && self.shows_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one).is_ok()
    }

    fn note(&self, what: u64) {
        let mut trace = self.trace.lock();
        *trace = trace.rotate_left(5) ^ what.wrapping_add(self.clock.now_us().unsigned_abs());
    }
}

const SHOWS: u64 = 2;
const SHOWS_PER_MILLE: u64 = 80;

type Observe = Box<dyn Fn() -> Vec<Shown> + Send>;

/// One process: its way to the world, and its death.
pub(super) struct Process {
    pub(super) world: Arc<World>,
    death: Mutex<Death>,
    /// What readers would see now.
    pub(super) observe: Mutex<Option<Observe>>,
}

#[derive(Debug, Default)]
struct Death {
    kill: Option<Kill>,
    passed: u64,
    dead: bool,
    /// While set, calls that leave the process wait, as those of a machine that is paused.
    paused: bool,
    watcher: Option<Waker>,
    waiting: Vec<Waker>,
}

impl Process {
    pub(super) fn new(world: &Arc<World>, kill: Option<Kill>) -> Arc<Self> {
        let death = Mutex::new(Death { kill, ..Death::default() });
        Arc::new(Self { world: Arc::clone(world), death, observe: Mutex::default() })
    }

    /// Passes a point: returns at once, or never.
    pub(super) async fn pass(&self, point: Point) {
        self.world.note(point as u64);
        {
            let mut death = self.death.lock();
            let Death { kill, passed, dead, .. } = &mut *death;
            if let Some(kill) = kill
                && (kill.point == point || kill.point == Point::Anywhere)
            {
                *passed += 1;
                *dead |= *passed >= kill.nth;
            }
            if death.dead
                && let Some(watcher) = death.watcher.take()
            {
                watcher.wake();
            }
        }
        // Nothing leaves a dead process, and nothing one that is paused.
        std::future::poll_fn(|context| {
            let mut death = self.death.lock();
            if death.dead {
                return Poll::Pending;
            }
            if death.paused {
                death.waiting.push(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    /// True where the process dies now: for points that leave something half done.
    pub(super) fn dies_at(&self, point: Point) -> bool {
        let death = self.death.lock();
        death.kill.is_some_and(|kill| kill.point == point && death.passed + 1 >= kill.nth)
    }

    pub(super) fn pause(&self) {
        self.death.lock().paused = true;
    }

    pub(super) fn go_on(&self) {
        let mut death = self.death.lock();
        death.paused = false;
        death.waiting.drain(..).for_each(Waker::wake);
    }

    /// Resolves when the process has died.
    pub(super) fn died(&self) -> impl Future<Output = ()> {
        std::future::poll_fn(|context| {
            let mut death = self.death.lock();
            death.watcher = Some(context.waker().clone());
            if death.dead { Poll::Ready(()) } else { Poll::Pending }
        })
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("death", &self.death).finish_non_exhaustive()
    }
}

/// The further of two positions, split by split.
pub(super) fn furthest(a: &Position, b: &Position) -> Position {
    let mut out = a.clone();
    for (split, offset) in &b.0 {
        let offset = out.get(split).map_or(*offset, |known| known.max(*offset));
        out.set(split.clone(), offset);
    }
    out
}
