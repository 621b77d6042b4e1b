//! Where records come from.
//!
//! A source is a set of *splits*, each with its own order; a *position* maps each split to the
//! offset of its next record. Exactly-once rests on one rule: reading a split again from the same
//! offset gives the same records. The engine saves the position and the state computed from what
//! lies below it in one manifest; after a crash it opens the splits at that position.

use std::time::Duration;

use async_trait::async_trait;

use crate::{Offset, Records, Result, SplitId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitBounds {
    /// First offset still held.
    pub earliest: Offset,
    /// Offset behind the last record that may be read now (last stable offset for `read_committed`).
    pub end: Offset,
}

/// One kind of source with its options parsed. Cheap to hold; connects when asked.
#[async_trait]
pub trait Source: Send + Sync {
    /// The splits there are now. Called again from time to time; a split is never taken away.
    ///
    /// # Errors
    /// `Unreachable` where the system is away: the engine asks again with backoff.
    async fn splits(&self) -> Result<Vec<SplitId>>;

    /// Earliest and end offset of the split now.
    async fn bounds(&self, split: &SplitId) -> Result<SplitBounds>;

    /// Where a split starts for the `start` option, the first time it is read. A split found
    /// while running starts at its earliest record, whatever the option says.
    async fn start(&self, split: &SplitId, found_while_running: bool) -> Result<Offset>;

    /// A reader without splits.
    async fn reader(&self) -> Result<Box<dyn SourceReader>>;

    /// False where the source ends by itself (a file that is not followed, a generator with `rows`).
    fn unbounded(&self) -> bool {
        true
    }
}

/// Reads splits. Several readers of one source do not disturb each other.
#[async_trait]
pub trait SourceReader: Send {
    /// Reads this split too, from this offset. Given a split it already reads, seeks.
    async fn assign(&mut self, split: SplitId, offset: Offset) -> Result<()>;

    /// Records of any of the splits in `wanted`, at most `rows_max` in all and about the same
    /// number from each. Returns as soon as there is something, after `wait` at the latest; an
    /// empty answer is no error. While the system is away it answers nothing and `status` says so.
    /// Dropping the future loses no record.
    async fn poll(&mut self, wanted: &[SplitId], rows_max: usize, wait: Duration) -> Result<Vec<Records>>;

    /// What is known of each assigned split without asking the system.
    fn status(&self) -> Vec<SplitStatus>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitStatus {
    pub split: SplitId,
    /// End offset last heard of.
    pub end: Option<Offset>,
    pub state: SplitState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SplitState {
    Running,
    /// The system is away, or what comes next is not whole yet; the reader goes on trying. The text names the system
    /// and the fault.
    Retrying(String),
    /// A bounded split has been read to its end.
    Finished,
}
