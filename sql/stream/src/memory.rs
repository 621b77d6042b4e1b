//! The one budget of memory: what the state of all jobs, what queries and what clients take together.
//!
//! The process is measured as a whole, so that what nobody counts counts too. Whoever asks for more when it
//! is used up is refused; of the jobs that one stops which has the most, if it is they who use it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

/// What the process may take, and what it takes.
#[derive(Clone, Debug)]
pub struct MemoryBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    limit: usize,
    used: fn() -> usize,
    /// State of each job, as it was last looked at.
    jobs: Mutex<BTreeMap<u64, usize>>,
    next_job: AtomicU64,
}

impl MemoryBudget {
    /// `used` measures the process.
    pub fn new(limit: usize, used: fn() -> usize) -> Self {
        Self(Arc::new(Budget { limit, used, jobs: Mutex::default(), next_job: AtomicU64::default() }))
    }

    pub fn unlimited() -> Self {
        Self::new(usize::MAX, || 0)
    }

    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Whether this many more bytes are too many.
    pub fn is_exceeded_by(&self, bytes: usize) -> bool {
        (self.0.used)().saturating_add(bytes) > self.0.limit
    }

    /// A job's part, which ends with the job.
    pub(crate) fn share(&self) -> MemoryShare {
        MemoryShare { job: self.0.next_job.fetch_add(1, Ordering::Relaxed), budget: self.clone() }
    }
}

/// A job's part of the budget.
#[derive(Debug)]
pub(crate) struct MemoryShare {
    budget: MemoryBudget,
    job: u64,
}

impl MemoryShare {
    /// Notes what the job has now.
    ///
    /// # Errors
    /// The limit, where this is the job that has to stop.
    pub(crate) fn note(&self, bytes: usize) -> Result<(), usize> {
        let limit = self.budget.limit();
        let mut jobs = self.budget.0.jobs.lock();
        jobs.insert(self.job, bytes);
        let has_most = jobs.values().all(|other| *other <= bytes);
        // Else it is queries that take the memory, and they are refused more.
        let by_jobs = jobs.values().sum::<usize>() > limit / 2;
        if has_most && by_jobs && self.budget.is_exceeded_by(0) { Err(limit) } else { Ok(()) }
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.budget.0.jobs.lock().remove(&self.job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_with_the_most_state_stops() {
        let budget = MemoryBudget::new(100, || 110);
        let (small, large) = (budget.share(), budget.share());
        assert_eq!(large.note(80), Err(100));
        assert_eq!(small.note(20), Ok(()));
        drop(large);
        // What is left is not the work of jobs.
        assert_eq!(small.note(20), Ok(()));
        assert!(budget.is_exceeded_by(0));
        assert_eq!(MemoryBudget::new(100, || 90).share().note(80), Ok(()));
        assert_eq!(MemoryBudget::unlimited().share().note(usize::MAX), Ok(()));
    }
}
