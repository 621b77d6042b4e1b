//! What a snapshot says of the sink that made it, and finding the newest one of ours.

use std::collections::HashMap;

use ebap_connector::{Epoch, Error, Position, Result};
use iceberg::{spec::Snapshot, table::Table};

const SINK: &str = "ebap.sink";
const EPOCH: &str = "ebap.epoch";
const POSITION: &str = "ebap.position";
const INCARNATION: &str = "ebap.incarnation";
const COMMIT: &str = "ebap.commit";

/// One commit of a sink, as its snapshot tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Unique per set of files; the same in every attempt to commit them.
    pub(crate) commit: String,
    pub(crate) incarnation: u64,
    pub(crate) epoch: Epoch,
    pub(crate) position: Position,
}

impl Mark {
    pub(crate) fn properties(&self, sink_id: &str) -> Result<HashMap<String, String>> {
        let position = serde_json::to_string(&self.position).map_err(Error::internal)?;
        let pairs = [
            (SINK, sink_id.to_owned()),
            (EPOCH, self.epoch.to_string()),
            (POSITION, position),
            (INCARNATION, self.incarnation.to_string()),
            (COMMIT, self.commit.clone()),
        ];
        Ok(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn read(snapshot: &Snapshot, sink_id: &str) -> Result<Option<Self>> {
        let summary = &snapshot.summary().additional_properties;
        if summary.get(SINK).map(String::as_str) != Some(sink_id) {
            return Ok(None);
        }
        let bad = |name: &str| {
            Error::internal(format!("snapshot {} has no readable \"{name}\" in its summary", snapshot.snapshot_id()))
        };
        let text = |name: &str| summary.get(name).ok_or_else(|| bad(name));
        Ok(Some(Self {
            commit: text(COMMIT)?.clone(),
            incarnation: text(INCARNATION)?.parse().map_err(|_| bad(INCARNATION))?,
            epoch: Epoch(text(EPOCH)?.parse().map_err(|_| bad(EPOCH))?),
            position: serde_json::from_str(text(POSITION)?).map_err(|_| bad(POSITION))?,
        }))
    }
}

/// The newest commit of this sink among the ancestors of the current snapshot. A snapshot that was rolled back is no
/// ancestor, so its rows come again.
pub(crate) fn newest(table: &Table, sink_id: &str) -> Result<Option<Mark>> {
    let metadata = table.metadata();
    let mut next = metadata.current_snapshot();
    while let Some(snapshot) = next {
        if let Some(mark) = Mark::read(snapshot, sink_id)? {
            return Ok(Some(mark));
        }
        next = snapshot.parent_snapshot_id().and_then(|parent| metadata.snapshot_by_id(parent));
    }
    Ok(None)
}
