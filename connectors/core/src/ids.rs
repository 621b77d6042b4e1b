//! Newtypes for everything that is a number, so that an offset is never passed for an event time.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The unit of a source with its own order: a Kafka partition, a generator's lane, a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SplitId(Arc<str>);

impl SplitId {
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SplitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Position in a split of the **next** record to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Offset(pub i64);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a durable checkpoint, rising by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl Epoch {
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Time in the row, microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventTime(pub i64);

impl EventTime {
    pub const MIN: Self = Self(i64::MIN);

    pub fn minus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_sub(micros))
    }
}

/// The offsets of all splits of a source at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position(pub BTreeMap<SplitId, Offset>);

impl Position {
    pub fn get(&self, split: &SplitId) -> Option<Offset> {
        self.0.get(split).copied()
    }

    pub fn set(&mut self, split: SplitId, offset: Offset) {
        self.0.insert(split, offset);
    }

    /// True where every split of `other` has been read at least as far here.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(split, offset)| self.get(split).is_some_and(|mine| mine >= *offset))
    }

    /// A number that grows with the position: what orders the values a pipeline publishes.
    pub fn version(&self) -> u64 {
        self.0.values().map(|offset| u64::try_from(offset.0).unwrap_or(0)).sum()
    }
}
