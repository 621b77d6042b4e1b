//! Where every record went: `consumed = emitted + late + dead_lettered + filtered + failed + missed`, per split and job.

use std::collections::BTreeMap;

use ebap_connector::SplitId;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) consumed: u64,
    pub(crate) emitted: u64,
    pub(crate) late: u64,
    pub(crate) dead_lettered: u64,
    pub(crate) filtered: u64,
    /// Rows that an expression of the job could not be computed for.
    #[serde(default)]
    pub(crate) failed: u64,
    /// Records that were gone before they were read.
    #[serde(default)]
    pub(crate) missed: u64,
}

impl Counts {
    /// # Panics
    /// Where a record is missing or counted twice: that is a bug, and no wrong answer may go on.
    pub(crate) fn add(&mut self, more: Self) {
        assert_eq!(
            more.consumed,
            more.emitted + more.late + more.dead_lettered + more.filtered + more.failed + more.missed,
            "{more:?} does not add up"
        );
        self.consumed += more.consumed;
        self.emitted += more.emitted;
        self.late += more.late;
        self.dead_lettered += more.dead_lettered;
        self.filtered += more.filtered;
        self.failed += more.failed;
        self.missed += more.missed;
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Accounting(pub(crate) BTreeMap<SplitId, Counts>);

impl Accounting {
    pub(crate) fn add(&mut self, split: &SplitId, counts: Counts) {
        if let Some(held) = self.0.get_mut(split) {
            held.add(counts);
        } else {
            let mut first = Counts::default();
            first.add(counts);
            self.0.insert(split.clone(), first);
        }
    }
}
