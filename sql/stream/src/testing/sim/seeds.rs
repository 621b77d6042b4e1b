//! Many seeds, each played once for all properties; a seed that fails says how to play it again.
//!
//! `EBAP_SIM_SEEDS=1000` sets how many, `EBAP_SIM_SEED=17` plays one.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{properties, run::Run, world::Point};

const SEEDS: u64 = 50;
/// Debug builds plan SQL deep down the stack.
const STACK_BYTES: usize = 32 << 20;

/// What one seed broke, by property.
type Broken = BTreeMap<&'static str, String>;

/// What came of one seed.
#[derive(Debug, Default)]
struct Verdict {
    broken: Broken,
    killed: Vec<Point>,
}

/// A seed in which nothing could be judged breaks every property.
const PANICKED: &str = "panicked";

pub(super) fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number of seeds"));
    match number("EBAP_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("EBAP_SIM_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

/// One seed in so many, for what plays each several times; one that was asked for is always played.
pub(super) fn every(divisor: u64) -> Vec<u64> {
    let all = seeds();
    if all.len() == 1 { all } else { all.into_iter().filter(|seed| seed.is_multiple_of(divisor)).collect() }
}

/// Runs `play` for every seed, on as many threads as there are cores. What it panics with is kept.
pub(super) fn for_each_seed<T: Send>(seeds: &[u64], play: impl Fn(u64) -> T + Sync) -> Vec<(u64, Result<T, String>)> {
    let (next, done) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            let outcome = catch_unwind(AssertUnwindSafe(|| play(*seed))).map_err(|panic| {
                let text = panic.downcast_ref::<String>().cloned();
                text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
            });
            done.lock().expect("no panic leaves a worker").push((*seed, outcome));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(seeds.len()) {
            std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work).expect("a thread");
        }
    });
    let mut done = done.into_inner().expect("no panic leaves a worker");
    done.sort_by_key(|(seed, _)| *seed);
    done
}

/// Every seed judged by every property, once, whichever test asks first.
fn verdicts() -> &'static BTreeMap<u64, Verdict> {
    static VERDICTS: OnceLock<BTreeMap<u64, Verdict>> = OnceLock::new();
    VERDICTS.get_or_init(|| {
        let judged = for_each_seed(&seeds(), |seed| {
            let run = Run::of_seed(seed);
            let verdicts = properties::ALL.iter().filter_map(|(name, check)| Some((*name, check(&run).err()?)));
            Verdict { broken: verdicts.collect(), killed: run.killed.clone() }
        });
        let panicked = |text| Verdict { broken: Broken::from([(PANICKED, text)]), ..Verdict::default() };
        judged.into_iter().map(|(seed, verdict)| (seed, verdict.unwrap_or_else(panicked))).collect()
    })
}

/// # Panics
/// Where a seed breaks the property, with the command that plays it again.
pub(super) fn assert_holds(property: &str) {
    let broken = verdicts().iter().filter_map(|(seed, Verdict { broken, .. })| {
        let message = broken.get(property).or_else(|| broken.get(PANICKED))?;
        Some(format!("{message}\n  {}", replay(*seed, property)))
    });
    let broken: Vec<String> = broken.collect();
    let (some, all) = (broken.len(), verdicts().len());
    assert!(broken.is_empty(), "{property}: broken by {some} of {all} seeds\n{}", broken.join("\n"));
}

/// How often processes were killed at each point, over all seeds.
pub(super) fn deaths() -> Vec<(Point, usize)> {
    let count = |point: Point| verdicts().values().flat_map(|one| &one.killed).filter(|one| **one == point).count();
    Point::LISTED.into_iter().chain([Point::Anywhere]).map(|point| (point, count(point))).collect()
}

/// The command that plays one seed for one test.
pub(super) fn replay(seed: u64, test: &str) -> String {
    format!("EBAP_SIM_SEED={seed} cargo test -p ebap-stream --lib sim::properties::{test}")
}

/// Plays these seeds for one test of its own.
///
/// # Panics
/// Where one of them does, with the command that plays it again.
pub(super) fn assert_each(test: &str, seeds: &[u64], play: impl Fn(u64) + Sync) {
    let broken = for_each_seed(seeds, play).into_iter().filter_map(|(seed, outcome)| {
        let message = outcome.err()?;
        Some(format!("{message}\n  {}", replay(seed, test)))
    });
    let broken: Vec<String> = broken.collect();
    assert!(broken.is_empty(), "{test}: broken by {} of {} seeds\n{}", broken.len(), seeds.len(), broken.join("\n"));
}
