//! The memory of the process: what it may take, what it takes, and the allocator that counts it.

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    fmt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicIsize, AtomicUsize, Ordering},
};

use datafusion::{
    error::{DataFusionError, Result as DataFusionResult},
    execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation},
};
use ebap_stream::MemoryBudget;
use mimalloc::MiMalloc;

/// Of what there is, this part is ours where nothing else is said.
const SHARE_PERCENT: usize = 60;
/// Counters, so that threads seldom write to the same one.
const COUNTERS: usize = 64;

/// A cache line of its own, as otherwise threads wait for each other.
#[repr(align(128))]
struct Counter(AtomicIsize);

static ALLOCATED: [Counter; COUNTERS] = [const { Counter(AtomicIsize::new(0)) }; COUNTERS];
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Which counter this thread has. It needs no memory and no destructor, so an allocator may use it.
    static COUNTER: Cell<usize> = const { Cell::new(usize::MAX) };
}

fn count(bytes: isize) {
    // A thread that ends has no number any more.
    let at = COUNTER.try_with(|counter| {
        if counter.get() == usize::MAX {
            counter.set(THREADS.fetch_add(1, Ordering::Relaxed) % COUNTERS);
        }
        counter.get()
    });
    ALLOCATED[at.unwrap_or(0)].0.fetch_add(bytes, Ordering::Relaxed);
}

/// Bytes that the process has asked for and not given back.
pub(crate) fn used() -> usize {
    let sum: isize = ALLOCATED.iter().map(|counter| counter.0.load(Ordering::Relaxed)).sum();
    usize::try_from(sum).unwrap_or(0)
}

/// Mimalloc, with a count of what it has given out.
#[derive(Debug)]
pub struct Counting;

static INNER: MiMalloc = MiMalloc;

fn size(layout: Layout) -> isize {
    // A layout is never larger.
    layout.size() as isize
}

// SAFETY: every call goes on to mimalloc as it came; counting allocates nothing and cannot panic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(size(layout));
        // SAFETY: the caller's promises are those that mimalloc asks for.
        unsafe { INNER.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-size(layout));
        // SAFETY: the pointer came from `alloc` with this layout.
        unsafe { INNER.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(size(layout));
        // SAFETY: as in `alloc`.
        unsafe { INNER.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // Rust asks for no more than an `isize` counts.
        count(bytes as isize - size(layout));
        // SAFETY: as in `dealloc`.
        unsafe { INNER.realloc(pointer, layout, bytes) }
    }
}

/// What the process may take where its configuration does not say: a share of what the machine, the group of
/// processes and the limits of the process allow.
pub(crate) fn share_of_all() -> usize {
    let bounds = [machine(), cgroup(), address_space()];
    bounds.into_iter().flatten().min().map_or(usize::MAX, |bytes| bytes / 100 * SHARE_PERCENT)
}

fn machine() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: usize = total.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1_024)
}

fn address_space() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/limits").ok()?;
    text.lines().find_map(|line| line.strip_prefix("Max address space"))?.split_whitespace().next()?.parse().ok()
}

/// The tightest limit on the way from our group to the root, of version 2 or 1.
fn cgroup() -> Option<usize> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().filter_map(of_group).min()
}

fn of_group(line: &str) -> Option<usize> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        v1 if v1.split(',').any(|one| one == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return None,
    };
    let here = PathBuf::from(root).join(path.trim_start_matches('/'));
    let limit = |folder: &Path| std::fs::read_to_string(folder.join(file)).ok()?.trim().parse::<usize>().ok();
    // In a container the path is one of the host, and only the root is there.
    here.ancestors().take_while(|folder| folder.starts_with(root)).filter_map(limit).min()
}

/// The memory of all queries: their own bound, and the budget of the process.
#[derive(Debug)]
pub(crate) struct QueryPool {
    queries: FairSpillPool,
    queries_max: usize,
    budget: MemoryBudget,
}

impl QueryPool {
    pub(crate) fn new(queries_max: usize, budget: MemoryBudget) -> Self {
        Self { queries: FairSpillPool::new(queries_max), queries_max, budget }
    }
}

impl fmt::Display for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} within the process", self.queries)
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &str {
        "queries"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.queries.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.queries.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.queries.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.queries.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DataFusionResult<()> {
        if self.budget.is_exceeded_by(additional) {
            return Err(exhausted("the server", self.budget.limit(), "memory_limit"));
        }
        let grown = self.queries.try_grow(reservation, additional);
        grown.map_err(|_| exhausted("all queries together", self.queries_max, "query_memory_max"))
    }

    fn reserved(&self) -> usize {
        self.queries.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.queries_max)
    }
}

/// What a statement is told that needs more than there is: who may have how much, and by which setting.
pub(crate) fn exhausted(who: &str, bytes: usize, setting: &str) -> DataFusionError {
    DataFusionError::ResourcesExhausted(format!("{who} may take {bytes} bytes ({setting})"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_query_is_refused_by_the_bound_that_it_meets_first() {
        let pool = |queries_max, limit| -> Arc<dyn MemoryPool> {
            Arc::new(QueryPool::new(queries_max, MemoryBudget::new(limit, || 100)))
        };
        for (queries_max, limit, expected) in [
            (1_000, 200, "the server may take 200 bytes (memory_limit)"),
            (50, 10_000, "all queries together may take 50 bytes (query_memory_max)"),
        ] {
            let pool = pool(queries_max, limit);
            let reservation = MemoryConsumer::new("sort").register(&pool);
            reservation.try_grow(40).expect("there is room");
            let error = reservation.try_grow(500).expect_err("too much");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn what_there_is_is_found() {
        assert!(machine().is_some_and(|bytes| bytes > 1 << 20));
        assert!(share_of_all() > 0);
        assert_eq!(of_group("4:cpu,cpuacct:/"), None);
    }
}
