//! What the loop says of itself, for the tables of schema `ebap` and the metrics.

use std::collections::BTreeMap;

use ebap_connector::{SplitId, SplitState};

use super::{Pipeline, ViewSlot, ViewState};
use crate::status::{JobInfo, SinkInfo, SplitInfo};

/// How often the tables of schema `ebap` are brought up to date.
const STATUS_INTERVAL_US: i64 = 100_000;
/// The same for a job that is idle.
const IDLE_INTERVAL_US: i64 = 1_000_000;

impl Pipeline {
    /// Brings the tables of schema `ebap` up to date.
    pub(super) fn report(&mut self) {
        let now_us = self.runtime.clock.now_us();
        if now_us >= self.status_at_us {
            self.report_now();
        }
    }

    pub(super) fn report_now(&mut self) {
        let interval_us = if self.is_idle() { IDLE_INTERVAL_US } else { STATUS_INTERVAL_US };
        self.status_at_us = self.runtime.clock.now_us() + interval_us;
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
                _ if self.paused => ("paused", None),
                _ if self.waiting.as_ref().is_some_and(|waiting| waiting.holds(split)) => {
                    ("retrying", self.waiting.as_ref().map(|waiting| waiting.message().to_owned()))
                }
                Some(SplitState::Retrying(error)) => ("retrying", Some(error.clone())),
                Some(SplitState::Finished) => ("finished", None),
                _ if idle => ("idle", None),
                _ => ("running", None),
            };
            let watermark = watermark.map(|watermark| watermark.0);
            let future = self.watermarks.future(split);
            let missed = self.accounting.0.get(split).map_or(0, |counts| counts.missed);
            let info = SplitInfo { offset: offset.0, end, watermark, future, missed, state: state.to_owned(), error };
            splits.insert(split.clone(), info);
        }
        metrics::gauge!("ebap_lag_records", "stream" => self.name().to_owned()).set(lag as f64);
        let (jobs, sinks) = self.job_infos(u64::try_from(lag).unwrap_or(0));
        let alerts = self.alert_infos();
        self.runtime.status.set_running(splits, jobs, sinks, alerts);
    }

    fn job_infos(&self, lag: u64) -> (Vec<JobInfo>, Vec<SinkInfo>) {
        let now_us = self.runtime.clock.now_us();
        let (mut jobs, mut sinks) = (vec![self.own_info(lag)], Vec::new());
        for view in self.views.values() {
            let info = self.view_info(view, lag);
            jobs[0].behind_us += info.behind_us;
            match &view.plan {
                // Of a table the rows, the groups and the memory are those of its one job.
                None => {
                    (jobs[0].rows, jobs[0].memory_bytes) = (info.rows, info.memory_bytes);
                    if !matches!(view.state, ViewState::Running(_)) {
                        (jobs[0].state, jobs[0].message) = (info.state, info.message);
                    }
                }
                Some(_) => jobs.push(info),
            }
            sinks.extend(view.sinks.iter().map(|sink| sink.head.info(now_us)));
        }
        for sink in self.sinks.values() {
            let info = sink.head.info(now_us);
            jobs[0].behind_us += info.behind_us;
            let now = self.position.version();
            let (lag, progress) = match (&sink.catching, sink.is_running()) {
                (Some(catching), _) => (Some(lag + catching.left(now)), Some(catching.percent(now))),
                (None, true) => (Some(lag), Some(100.0)),
                (None, false) => (None, None),
            };
            jobs.push(JobInfo {
                name: info.name.clone(),
                kind: "sink",
                state: info.state.clone(),
                message: info.message.clone(),
                lag,
                progress,
                behind_us: info.behind_us,
                accounting: sink.counted().accounting.clone(),
                ..JobInfo::default()
            });
            sinks.push(info);
        }
        (jobs, sinks)
    }

    fn own_info(&self, lag: u64) -> JobInfo {
        let state = match (self.paused, &self.waiting) {
            (true, _) => "paused",
            (false, Some(_)) => "retrying",
            (false, None) => "running",
        };
        JobInfo {
            name: self.name().to_owned(),
            kind: self.runtime.kind(),
            state: state.to_owned(),
            message: self.waiting.as_ref().map(|waiting| waiting.message().to_owned()).or_else(|| self.ahead()),
            lag: Some(lag),
            watermark: Some(self.watermarks.current().0),
            accounting: self.accounting.clone(),
            figures: self.figures,
            ..JobInfo::default()
        }
    }

    /// That rows came with event times too far ahead of the clock.
    fn ahead(&self) -> Option<String> {
        let rows: u64 = self.position.0.keys().map(|split| self.watermarks.future(split)).sum();
        let such = if rows == 1 { "1 row was" } else { &format!("{rows} rows were") };
        (rows > 0).then(|| {
            format!("{such} further ahead of the clock than future_max allows, and did not raise the watermark")
        })
    }

    fn view_info(&self, view: &ViewSlot, lag: u64) -> JobInfo {
        let (now, now_us) = (self.position.version(), self.runtime.clock.now_us());
        let mut info = JobInfo {
            name: view.name().to_owned(),
            kind: "materialized view",
            rows: Some(view.store.rows() as u64),
            memory_bytes: view.memory_bytes.map(|bytes| bytes as u64),
            behind_us: view.sinks.iter().map(|sink| sink.head.info(now_us).behind_us).sum(),
            ..JobInfo::default()
        };
        // Where it stands: what it has read, and up to where its windows are closed.
        let start = || self.runtime.start.read().version();
        let saved = || match &view.saved {
            Some(saved) => (saved.position.version(), Some(saved.watermark)),
            None => (start(), None),
        };
        let (state, (at, watermark)) = match &view.state {
            ViewState::Running(_) => ("running", (now, Some(self.watermarks.current().0))),
            ViewState::Paused(Some((_, held))) => ("paused", (held.position.version(), Some(held.watermark))),
            ViewState::Paused(None) => ("paused", saved()),
            ViewState::CatchingUp => ("catching up", saved()),
            ViewState::Retrying { .. } => ("retrying", saved()),
            ViewState::Failed { .. } => ("failed", saved()),
        };
        info.state = state.to_owned();
        info.lag = Some(lag + now.saturating_sub(at));
        info.watermark = watermark;
        match &view.state {
            ViewState::Running(job) | ViewState::Paused(Some((job, _))) => {
                info.groups = Some(job.state_groups() as u64);
                info.accounting = job.accounting.clone();
                info.figures = job.figures;
                info.message = job.failed.message(view.name());
            }
            ViewState::Failed { reason, counted } => {
                info.message = Some(reason.clone());
                info.accounting = counted.clone();
            }
            ViewState::Retrying { message, .. } => {
                info.message = Some(message.clone());
                info.accounting = view.files.accounting.clone();
            }
            ViewState::CatchingUp | ViewState::Paused(None) => info.accounting = view.files.accounting.clone(),
        }
        info.message =
            view.note.clone().filter(|_| info.state != "failed" && info.state != "retrying").or(info.message);
        match (&view.state, &view.catching) {
            (ViewState::Running(_), _) => info.progress = Some(100.0),
            (ViewState::CatchingUp, Some(catching)) => {
                info.progress = Some(catching.percent(now));
                info.lag = Some(lag + catching.left(now));
            }
            _ => {}
        }
        info
    }
}
