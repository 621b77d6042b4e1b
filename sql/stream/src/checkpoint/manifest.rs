//! The file that makes an epoch exist.

use std::collections::BTreeMap;

use ebap_connector::{Epoch, Position};
use serde::{Deserialize, Serialize};

use crate::{accounting::Accounting, pipeline::gaps::Gaps, sinks::Counted, watermark::SavedWatermarks};

/// Rises when an older version could no longer read what this one writes.
pub(crate) const FORMAT: u32 = 2;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    pub(crate) epoch: Epoch,
    /// Rises with every start of the pipeline: what fences sinks of an older one.
    pub(crate) incarnation: u64,
    /// Who wrote it, at random: two instances may have the same to say, and only one of them has said it.
    #[serde(default)]
    pub(crate) writer: u64,
    /// Where each split was read from first.
    pub(crate) start: Position,
    /// The last `ALTER … RESUME FROM` that was done.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) resumed: u64,
    /// Records that `RESUME FROM` has passed over.
    #[serde(default, skip_serializing_if = "Gaps::is_empty")]
    pub(crate) gaps: Gaps,
    /// The next record of each split.
    pub(crate) position: Position,
    pub(crate) watermarks: SavedWatermarks,
    /// Files with the late log, in order.
    pub(crate) late_log: Vec<String>,
    /// The dead letters kept for `stream$dlq`.
    pub(crate) dead_letters: Option<String>,
    /// State of the alerts on views of this pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) alerts: Option<String>,
    /// Of the dead-letter writer.
    pub(crate) dead_letter_token: Option<String>,
    pub(crate) accounting: Accounting,
    /// By object id.
    pub(crate) jobs: BTreeMap<u64, JobFiles>,
    /// Accounting of sinks on the stream, by object id.
    pub(crate) sinks: BTreeMap<u64, Counted>,
    /// Of sinks on the stream whose system holds no position: up to where all is visible outside.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) sink_positions: BTreeMap<u64, Position>,
}

/// A base snapshot and what was merged into it since, epoch by epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobFiles {
    pub(crate) state: Option<String>,
    pub(crate) rows: Option<String>,
    pub(crate) deltas: Vec<String>,
    /// Bytes of the base, and of the deltas: what decides when a new base pays.
    pub(crate) base_bytes: u64,
    pub(crate) delta_bytes: u64,
    pub(crate) accounting: Accounting,
    /// Rows that were left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
    /// Where the files stand, of a job that does not run with the stream: paused, failed, catching up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held: Option<Held>,
    /// Of which query the state is; not known of files of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) definition: Option<u64>,
}

/// The moment that a job's files are of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) position: Position,
    /// Up to which windows are closed.
    pub(crate) watermark: i64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Manifest {
    pub(crate) fn files(&self) -> impl Iterator<Item = &String> {
        let jobs =
            self.jobs.values().flat_map(|job| job.state.iter().chain(&job.rows).chain(&job.deltas).chain(&job.failed));
        jobs.chain(&self.late_log).chain(&self.dead_letters).chain(&self.alerts)
    }
}
