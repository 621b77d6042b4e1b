//! Which jobs run on the stream: taking them on, letting them go, having them join.

use std::sync::Arc;

use ebap_connector::Position;
use ebap_sql::SinkPlan;

use super::{JobSet, Pipeline, ViewSlot, ViewState};
use crate::{
    Error, Result,
    catch_up::{self, CatchUpEnd, CatchUpJob},
    checkpoint::JobFiles,
    sinks::{Counted, RowsSink, RowsSinkJob, SinkState, ViewSink, build, connector_error},
    status::{JobInfo, SinkInfo},
    view::ViewJob,
};

impl ViewSlot {
    pub(super) fn fail(&mut self, error: &Error) {
        tracing::error!(error = error.chain(), "the job has stopped");
        self.state = ViewState::Failed(error.chain());
    }

    fn new(plan: Option<Arc<ebap_sql::ViewPlan>>, store: Arc<crate::view::store::ViewStore>, state: ViewState) -> Self {
        Self { plan, store, state, sinks: Vec::new(), files: JobFiles::default(), base_due: true }
    }
}

impl Pipeline {
    /// Makes what runs be what `jobs` says.
    pub(super) async fn set_jobs(&mut self, jobs: &JobSet) -> Result<()> {
        let own = jobs.table.as_ref().map(|_| self.runtime.plan.id.0);
        self.views.retain(|id, _| Some(*id) == own || jobs.views.iter().any(|(plan, _)| plan.id.0 == *id));
        self.sinks.retain(|id, _| jobs.sinks.iter().any(|plan| plan.id.0 == *id));
        for view in self.views.values_mut() {
            view.sinks.retain(|sink| jobs.sinks.iter().any(|plan| plan.id == sink.head.plan.id));
        }
        let config = self.runtime.config.clone();
        if let (Some(store), Some(id)) = (&jobs.table, own)
            && !self.views.contains_key(&id)
        {
            let job = ViewJob::table(&self.runtime.plan, Arc::clone(store), &config)?;
            self.take_on(id, ViewSlot::new(None, Arc::clone(store), ViewState::CatchingUp), job).await;
        }
        for (plan, store) in &jobs.views {
            if !self.views.contains_key(&plan.id.0) {
                let job = ViewJob::view(&self.runtime.plan, plan, Arc::clone(store), &config)?;
                let slot = ViewSlot::new(Some(Arc::clone(plan)), Arc::clone(store), ViewState::CatchingUp);
                self.take_on(plan.id.0, slot, job).await;
            }
        }
        for plan in &jobs.sinks {
            self.add_sink(plan);
        }
        self.dirty = true;
        Ok(())
    }

    /// A new view: at once where nothing has been read yet, else by reading what it has missed.
    async fn take_on(&mut self, id: u64, mut slot: ViewSlot, job: ViewJob) {
        slot.store.clear();
        if self.position == *self.runtime.start.read() {
            slot.state = ViewState::Running(Box::new(job));
        } else {
            self.catch_up(CatchUpJob::View(Box::new(job)), None);
        }
        self.views.insert(id, slot);
    }

    /// Reads from there, or from the beginning, on its own until it can join.
    fn catch_up(&self, job: CatchUpJob, from: Option<Position>) {
        let (runtime, commands, generation) = (Arc::clone(&self.runtime), self.commands.clone(), self.generation);
        let from = from.unwrap_or_else(|| runtime.start.read().clone());
        let mut catch_ups = self.catch_ups.lock();
        while catch_ups.try_join_next().is_some() {}
        catch_ups.spawn(catch_up::run(runtime, job, from, commands, generation));
    }

    fn add_sink(&mut self, plan: &Arc<SinkPlan>) {
        let config = &self.runtime.config;
        if plan.on_view {
            let Some(view) = self.views.get_mut(&plan.from.0) else { return };
            if view.sinks.iter().all(|sink| sink.head.plan.id != plan.id) {
                view.sinks.push(ViewSink::new(Arc::clone(plan), config));
            }
        } else if !self.sinks.contains_key(&plan.id.0) {
            let saved = self.manifest.as_ref().and_then(|manifest| manifest.sinks.get(&plan.id.0).cloned());
            let job = RowsSinkJob::new(Arc::clone(plan), config, saved.unwrap_or_default());
            self.sinks.insert(plan.id.0, job);
        }
    }

    /// Opens sinks that wait, and brings those that are behind up to the stream.
    pub(super) async fn tend_sinks(&mut self) {
        let now_us = self.runtime.clock.now_us();
        for view in self.views.values_mut() {
            if matches!(view.state, ViewState::Running(_)) {
                for sink in &mut view.sinks {
                    let connectors = self.runtime.connectors.as_ref();
                    sink.tend(connectors, self.incarnation, &view.store, &self.position, now_us).await;
                }
            }
        }
        let due: Vec<u64> = self.sinks.iter().filter(|(_, sink)| sink.head.due(now_us)).map(|(id, _)| *id).collect();
        for id in due {
            let Some(sink) = self.sinks.get_mut(&id) else { continue };
            let (plan, counted) = (Arc::clone(&sink.head.plan), sink.counted().clone());
            match open_rows_sink(&plan, &self.runtime, self.incarnation, counted).await {
                Ok((sink, from)) => self.feed(id, sink, from),
                Err(error) => {
                    if let Some(sink) = self.sinks.get_mut(&id) {
                        sink.lose(&error, now_us);
                    }
                }
            }
        }
    }

    fn feed(&mut self, id: u64, sink: RowsSink, from: Position) {
        let Some(job) = self.sinks.get_mut(&id) else { return };
        if from.covers(&self.position) {
            job.running = Some(sink);
            job.head.run();
        } else {
            job.head.state = SinkState::CatchingUp;
            self.catch_up(CatchUpJob::Sink(Box::new(sink)), Some(from));
        }
    }

    /// A job that was behind reads the little that is missing and joins.
    pub(super) async fn caught_up(&mut self, end: CatchUpEnd) {
        let now_us = self.runtime.clock.now_us();
        match end {
            CatchUpEnd::Failed { id, counted, error } => {
                if let Some(view) = self.views.get_mut(&id.0) {
                    view.fail(&error);
                } else if let Some(sink) = self.sinks.get_mut(&id.0) {
                    sink.lose_counted(counted, &connector_error(error), now_us);
                }
            }
            CatchUpEnd::Joins { mut job, mut range } => {
                let mut joined = range.extend(&self.position).await;
                if joined.is_ok() {
                    joined = job.drain(&mut range).await;
                }
                match job {
                    CatchUpJob::View(job) => self.join_view(job, joined),
                    CatchUpJob::Sink(sink) => self.join_sink(*sink, joined, now_us),
                }
                self.dirty = true;
            }
        }
    }

    fn join_view(&mut self, mut job: Box<ViewJob>, joined: Result<()>) {
        let watermark = self.watermarks.current().0;
        let Some(view) = self.views.get_mut(&job.id.0) else { return };
        match joined.and_then(|()| job.advance(watermark, false)) {
            Ok(_) => {
                view.state = ViewState::Running(job);
                view.base_due = true;
            }
            Err(error) => view.fail(&error),
        }
    }

    fn join_sink(&mut self, sink: RowsSink, joined: Result<()>, now_us: i64) {
        let Some(job) = self.sinks.get_mut(&sink.plan.id.0) else { return };
        match joined {
            Ok(()) => {
                job.running = Some(sink);
                job.head.run();
            }
            Err(error) => job.lose_counted(sink.counted, &connector_error(error), now_us),
        }
    }

    pub(super) fn job_infos(&self) -> (Vec<JobInfo>, Vec<SinkInfo>) {
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

/// Opens a sink on a stream; gives where it has to be fed from.
async fn open_rows_sink(
    plan: &Arc<SinkPlan>,
    runtime: &super::SourceRuntime,
    incarnation: u64,
    counted: Counted,
) -> ebap_connector::Result<(RowsSink, Position)> {
    let mut sink = build(plan, runtime.connectors.as_ref(), incarnation).map_err(connector_error)?;
    let opened = sink.open().await?;
    let mut from = runtime.start.read().clone();
    if let Some(position) = opened.position {
        for (split, offset) in position.0 {
            from.set(split, offset);
        }
    }
    Ok((RowsSink::new(Arc::clone(plan), sink, from.clone(), counted), from))
}
