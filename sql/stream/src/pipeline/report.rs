//! What the loop says of itself, for the tables of schema `ebap` and the metrics.

use std::collections::BTreeMap;

use ebap_connector::{SplitId, SplitState};

use super::{Pipeline, ViewState, kind_text};
use crate::status::{JobInfo, SinkInfo, SplitInfo};

/// How often the tables of schema `ebap` are brought up to date.
const STATUS_INTERVAL_US: i64 = 100_000;

impl Pipeline {
    /// Brings the tables of schema `ebap` up to date.
    pub(super) fn report(&mut self) {
        let now_us = self.runtime.clock.now_us();
        if now_us >= self.status_at_us {
            self.report_now();
        }
    }

    pub(super) fn report_now(&mut self) {
        self.status_at_us = self.runtime.clock.now_us() + STATUS_INTERVAL_US;
        let known: BTreeMap<SplitId, _> =
            self.reader.status().into_iter().map(|status| (status.split.clone(), status)).collect();
        let mut splits = BTreeMap::new();
        let mut lag = 0;
        for (split, offset) in &self.position.0 {
            let (watermark, idle) = self.watermarks.of(split);
            let status = known.get(split);
            let end = status.and_then(|status| status.end).map(|end| end.0.max(offset.0));
            lag += end.map_or(0, |end| end - offset.0);
            let (state, error) = match status.map(|status| &status.state) {
                Some(SplitState::Retrying(error)) => ("retrying", Some(error.clone())),
                Some(SplitState::Finished) => ("finished", None),
                _ if idle => ("idle", None),
                _ => ("running", None),
            };
            let watermark = watermark.map(|watermark| watermark.0);
            splits
                .insert(split.clone(), SplitInfo { offset: offset.0, end, watermark, state: state.to_owned(), error });
        }
        metrics::gauge!("ebap_lag_records", "stream" => self.name().to_owned()).set(lag as f64);
        let (jobs, sinks) = self.job_infos();
        self.runtime.status.set_running(splits, jobs, sinks);
    }

    fn own_info(&self) -> JobInfo {
        JobInfo {
            name: self.name().to_owned(),
            kind: kind_text(self.runtime.plan.kind),
            state: if self.paused { "paused" } else { "running" }.to_owned(),
            accounting: self.accounting.clone(),
            ..JobInfo::default()
        }
    }

    fn job_infos(&self) -> (Vec<JobInfo>, Vec<SinkInfo>) {
        let (mut jobs, mut sinks) = (vec![self.own_info()], Vec::new());
        for view in self.views.values() {
            let rows = Some(view.store.rows() as u64);
            match &view.plan {
                None => jobs[0].rows = rows,
                Some(plan) => {
                    let mut info =
                        JobInfo { name: plan.name.clone(), kind: "materialized view", rows, ..JobInfo::default() };
                    match &view.state {
                        ViewState::CatchingUp => info.state = "catching up".to_owned(),
                        ViewState::Running(job) => {
                            info.state = "running".to_owned();
                            info.groups = Some(job.state_groups() as u64);
                            info.accounting = job.accounting.clone();
                        }
                        ViewState::Paused(held) => {
                            info.state = "paused".to_owned();
                            if let Some((job, _)) = held {
                                info.groups = Some(job.state_groups() as u64);
                                info.accounting = job.accounting.clone();
                            }
                        }
                        ViewState::Retrying { message, .. } => {
                            info.state = "retrying".to_owned();
                            info.message = Some(message.clone());
                        }
                        ViewState::Failed(message) => {
                            info.state = "failed".to_owned();
                            info.message = Some(message.clone());
                        }
                    }
                    jobs.push(info);
                }
            }
            sinks.extend(view.sinks.iter().map(|sink| sink.head.info()));
        }
        for sink in self.sinks.values() {
            let info = sink.head.info();
            jobs.push(JobInfo {
                name: info.name.clone(),
                kind: "sink",
                state: info.state.clone(),
                message: info.message.clone(),
                accounting: sink.counted().accounting.clone(),
                ..JobInfo::default()
            });
            sinks.push(info);
        }
        (jobs, sinks)
    }
}
}
