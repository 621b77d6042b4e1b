//! What a pipeline says of itself, for the tables of schema `ebap`.

use std::collections::{BTreeMap, VecDeque};

use ebap_connector::{LeftOut, SplitId};
use parking_lot::Mutex;

use crate::{accounting::Accounting, alerts::AlertInfo, figures::Figures};

/// Checkpoints remembered for `ebap.checkpoints`.
const CHECKPOINTS_MAX: usize = 100;

#[derive(Clone, Debug, Default)]
pub(crate) struct SplitInfo {
    pub(crate) offset: i64,
    pub(crate) end: Option<i64>,
    pub(crate) watermark: Option<i64>,
    /// Rows too far ahead of the clock.
    pub(crate) future: u64,
    /// Records that were gone before they were read.
    pub(crate) missed: u64,
    pub(crate) state: String,
    pub(crate) error: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct JobInfo {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) state: String,
    pub(crate) message: Option<String>,
    pub(crate) rows: Option<u64>,
    pub(crate) groups: Option<u64>,
    /// State and rows, as they were last measured.
    pub(crate) memory_bytes: Option<u64>,
    /// Records that the source has and the job has not read.
    pub(crate) lag: Option<u64>,
    /// Of a catch-up, in percent.
    pub(crate) progress: Option<f64>,
    pub(crate) watermark: Option<i64>,
    /// Time that its sinks were too slow for it.
    pub(crate) behind_us: i64,
    pub(crate) accounting: Accounting,
    pub(crate) figures: Figures,
}

#[derive(Clone, Debug)]
pub(crate) struct SinkInfo {
    pub(crate) name: String,
    pub(crate) connector: String,
    pub(crate) state: String,
    pub(crate) position: Option<String>,
    /// Time it was too slow for its job.
    pub(crate) behind_us: i64,
    pub(crate) left_out: LeftOut,
    pub(crate) message: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct CheckpointInfo {
    pub(crate) epoch: u64,
    pub(crate) at_us: i64,
    pub(crate) duration_us: i64,
    pub(crate) bytes: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Info {
    pub(crate) epoch: u64,
    pub(crate) splits: BTreeMap<SplitId, SplitInfo>,
    pub(crate) jobs: Vec<JobInfo>,
    pub(crate) sinks: Vec<SinkInfo>,
    pub(crate) alerts: Vec<AlertInfo>,
    pub(crate) checkpoints: VecDeque<CheckpointInfo>,
}

#[derive(Debug, Default)]
pub(crate) struct Status(Mutex<Info>);

impl Status {
    pub(crate) fn get(&self) -> Info {
        self.0.lock().clone()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.0.lock().epoch
    }

    pub(crate) fn set_running(
        &self,
        splits: BTreeMap<SplitId, SplitInfo>,
        jobs: Vec<JobInfo>,
        sinks: Vec<SinkInfo>,
        alerts: Vec<AlertInfo>,
    ) {
        let mut info = self.0.lock();
        info.splits = splits;
        info.jobs = jobs;
        info.sinks = sinks;
        info.alerts = alerts;
    }

    /// Shows jobs from the moment they are created, and no longer than they exist.
    pub(crate) fn declare(&self, own: &str, jobs: &[(String, &'static str)]) {
        let mut info = self.0.lock();
        info.jobs.retain(|job| job.name == own || jobs.iter().any(|(name, _)| *name == job.name));
        // Where the stream does not run, what is new does not start.
        let down =
            info.jobs.iter().find(|job| job.name == own && matches!(job.state.as_str(), "failed" | "superseded"));
        let (state, message) =
            down.map_or(("starting".to_owned(), None), |down| (down.state.clone(), down.message.clone()));
        for (name, kind) in jobs {
            if info.jobs.iter().all(|job| job.name != *name) {
                let (name, state, message) = (name.clone(), state.clone(), message.clone());
                info.jobs.push(JobInfo { name, kind, state, message, ..JobInfo::default() });
            }
        }
    }

    /// The whole pipeline waits or has stopped.
    pub(crate) fn set_state(&self, name: &str, kind: &'static str, state: &str, message: &str) {
        let mut info = self.0.lock();
        for split in info.splits.values_mut() {
            split.state = state.to_owned();
            split.error = Some(message.to_owned());
        }
        if info.splits.is_empty() {
            let split = SplitInfo { state: state.to_owned(), error: Some(message.to_owned()), ..SplitInfo::default() };
            info.splits.insert(SplitId::new(""), split);
        }
        if state == "failed" || state == "superseded" {
            // None of its jobs goes on here.
            let reason = match state {
                "failed" => format!("\"{name}\" has stopped: {message}"),
                _ => message.to_owned(),
            };
            for job in info.jobs.iter_mut().filter(|job| job.name != name && job.state != "failed") {
                (job.state, job.message) = (state.to_owned(), Some(reason.clone()));
            }
            for alert in &mut info.alerts {
                (alert.undecided, alert.message) = (true, Some(reason.clone()));
            }
        }
        match info.jobs.iter_mut().find(|job| job.name == name) {
            Some(job) => {
                job.state = state.to_owned();
                job.message = Some(message.to_owned());
            }
            None => info.jobs.insert(
                0,
                JobInfo {
                    name: name.to_owned(),
                    kind,
                    state: state.to_owned(),
                    message: Some(message.to_owned()),
                    ..JobInfo::default()
                },
            ),
        }
    }

    pub(crate) fn checkpointed(&self, checkpoint: CheckpointInfo) {
        let mut info = self.0.lock();
        info.epoch = checkpoint.epoch;
        info.checkpoints.push_back(checkpoint);
        if info.checkpoints.len() > CHECKPOINTS_MAX {
            info.checkpoints.pop_front();
        }
    }
}
