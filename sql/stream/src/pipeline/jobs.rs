//! Which jobs run on the stream: taking them on, letting them go, having them join.

use std::{collections::BTreeMap, sync::Arc};

use ebap_connector::{Position, Retry};
use ebap_sql::{OnError, Run, ViewPlan};
use tokio::task::AbortHandle;

use super::{JobSet, Lanes, Pipeline, Tasks, ViewSlot, ViewState};
use crate::{
    Error, Result,
    catch_up::{self, CatchUp, CatchUpEnd, CatchUpJob, JOIN_RECORDS_MAX, Turn},
    checkpoint::{Held, JobFiles},
    guard::{guarded, guarded_async},
    needs,
    pipeline::{flush::FailedJob, range::RangeReader},
    sinks::{RowsSink, RowsSinkJob, SinkState, ViewSink, connector_error},
    view::{
        ViewJob,
        bad_rows::{BadRows, Scratch},
        store::ViewStore,
    },
};

impl ViewSlot {
    /// The job ends. What was last made durable of it stays, for whoever resumes it.
    pub(super) fn fail(&mut self, error: &Error) {
        tracing::error!(job = self.name(), error = error.chain(), "the job has stopped");
        self.stop(error);
    }

    /// Stops the job. True where it is to begin again without the rows that it cannot be computed for.
    pub(super) fn fail_at_rows(&mut self, error: &Error) -> bool {
        let skips = self.plan.as_ref().is_some_and(|plan| plan.on_error == OnError::Skip);
        // Once: what fails without the rows that fail alone is not about rows.
        let again = skips && matches!(error, Error::DataFusion(_)) && !self.leaving_out;
        if again {
            tracing::warn!(job = self.name(), error = error.chain(), "the job begins again without the rows that fail");
            self.stop(error);
        } else {
            self.fail(error);
        }
        again
    }

    fn stop(&mut self, error: &Error) {
        let reason = error.reason();
        let counted = match &self.state {
            ViewState::Running(job) | ViewState::Paused(Some((job, _))) => job.accounting.clone(),
            ViewState::CatchingUp | ViewState::Paused(None) | ViewState::Retrying { .. } | ViewState::Failed { .. } => {
                self.files.accounting.clone()
            }
        };
        self.set_state(ViewState::Failed { reason, counted });
    }

    /// What it does from now on; whoever reads the view is told where that is nothing.
    pub(super) fn set_state(&mut self, state: ViewState) -> ViewState {
        let before = std::mem::replace(&mut self.state, state);
        self.tell_readers();
        before
    }

    pub(super) fn tell_readers(&self) {
        self.store.set_failure(self.failure().map(FailedJob::error));
    }

    fn kind(&self) -> &'static str {
        if self.plan.is_some() { "materialized view" } else { "table" }
    }

    /// Of the view, or of the table.
    pub(super) fn name(&self) -> &str {
        self.plan.as_ref().map_or(&self.table, |plan| &plan.name)
    }

    /// Why it has failed, if it has.
    pub(super) fn failure(&self) -> Option<FailedJob> {
        match &self.state {
            ViewState::Failed { reason, .. } => {
                Some(FailedJob { kind: self.kind(), name: self.name().to_owned(), reason: reason.clone() })
            }
            ViewState::CatchingUp | ViewState::Running(_) | ViewState::Paused(_) | ViewState::Retrying { .. } => None,
        }
    }

    /// Whether it or a sink of it is about to do something for which the loop has to look.
    pub(super) fn is_under_way(&self) -> bool {
        match &self.state {
            ViewState::CatchingUp | ViewState::Retrying { .. } => true,
            ViewState::Running(_) => self.sinks.iter().any(|sink| !sink.head.settled()),
            ViewState::Paused(_) | ViewState::Failed { .. } => false,
        }
    }

    /// Whether its rows change when nothing but time passes.
    pub(super) fn follows_clock(&self) -> bool {
        matches!(&self.state, ViewState::Running(job) if job.follows_clock())
    }

    /// Lets its rows go, which statements that were prepared before a `DROP` would keep.
    fn end(&self) {
        let name = self.plan.as_ref().map_or(&self.table, |plan| &plan.name);
        self.store.set_failure(Some(Error::sql("42P01", format!("relation \"{name}\" does not exist"))));
        self.store.clear();
    }

    /// `table`: whose rows they are where there is no plan.
    pub(super) fn new(
        table: &str,
        plan: Option<Arc<ViewPlan>>,
        store: Arc<ViewStore>,
        state: ViewState,
        run: Run,
    ) -> Self {
        store.set_failure(None);
        Self {
            table: table.to_owned(),
            plan,
            store,
            state,
            run,
            sinks: Vec::new(),
            alerts: Vec::new(),
            files: JobFiles::default(),
            saved: None,
            left: None,
            catching: None,
            memory_bytes: None,
            base_due: true,
            note: None,
            leaves_out: false,
            leaving_out: false,
            begins_anew: false,
        }
    }
}

impl Pipeline {
    /// Makes what runs be what `jobs` says.
    pub(super) async fn set_jobs(&mut self, jobs: &JobSet) -> Result<()> {
        self.set_paused(jobs.run.paused);
        let own = jobs.table.as_ref().map(|_| self.runtime.plan.id.0);
        // Before a view goes: its sinks may follow its name to another one.
        let view_sinks = self.take_view_sinks(jobs)?;
        let alerts = self.take_alerts(jobs);
        self.views.retain(|id, slot| {
            let stays = Some(*id) == own || jobs.views.iter().any(|(plan, _)| plan.id.0 == *id);
            if !stays {
                slot.end();
            }
            stays
        });
        self.sinks.retain(|id, _| jobs.sinks.iter().any(|plan| plan.id.0 == *id));
        if let (Some(store), Some(id)) = (&jobs.table, own) {
            // A table is paused by not reading it: its rows are a job like a view's.
            self.set_view(id, None, store, Run { paused: false, ..jobs.run }).await?;
        }
        for (plan, store) in &jobs.views {
            self.set_view(plan.id.0, Some(Arc::clone(plan)), store, plan.run).await?;
        }
        self.set_sinks(jobs, view_sinks)?;
        self.set_alerts(jobs, alerts)?;
        self.views.values_mut().for_each(|view| view.left = None);
        self.decode_for(jobs)?;
        self.dirty = true;
        Ok(())
    }

    /// From the next step on makes what these jobs read. One that joins later reads what it has missed
    /// with a decoder of its own.
    fn decode_for(&mut self, jobs: &JobSet) -> Result<()> {
        let wanted = needs::wanted(self.runtime.plans(), jobs);
        if wanted != self.wanted {
            self.lanes = Lanes::new(&self.runtime, &wanted)?;
            self.wanted = wanted;
        }
        Ok(())
    }

    async fn set_view(&mut self, id: u64, plan: Option<Arc<ViewPlan>>, store: &Arc<ViewStore>, run: Run) -> Result<()> {
        match self.views.get_mut(&id) {
            Some(slot) => {
                let definition = |plan: &Option<Arc<ViewPlan>>| plan.as_ref().map(|plan| plan.definition);
                let another = definition(&slot.plan) != definition(&plan);
                slot.plan = plan;
                if another {
                    return self.start_another(id, run);
                }
                slot.rename();
                self.set_run(id, run).await
            }
            None => {
                let state = if run.paused { ViewState::Paused(None) } else { ViewState::CatchingUp };
                let mut slot = ViewSlot::new(&self.runtime.plan.name, plan, Arc::clone(store), state, run);
                slot.note = self.rebuilt.remove(&id);
                self.views.insert(id, slot);
                if run.paused { Ok(()) } else { self.start_anew(id) }
            }
        }
    }

    pub(super) fn view_job(&self, plan: Option<&ViewPlan>, store: &Arc<ViewStore>) -> Result<ViewJob> {
        let (source, mut config) = (&self.runtime.plan, self.runtime.config.clone());
        let mut job = match plan {
            None => ViewJob::table(source, Arc::clone(store), &config),
            Some(plan) => {
                config.state_bytes_max = plan.memory_limit.unwrap_or(config.state_bytes_max);
                ViewJob::view(source, plan, Arc::clone(store), &config)
            }
        }?;
        job.clock = Some(Arc::clone(&self.runtime.clock));
        Ok(job)
    }

    /// A view that it reads is another one from now on: it begins again.
    fn start_another(&mut self, id: u64, run: Run) -> Result<()> {
        let Some(slot) = self.views.get_mut(&id) else { return Ok(()) };
        slot.keep_for_sinks()?;
        slot.run = run;
        if run.paused || slot.catching.is_some() {
            slot.store.clear();
            (slot.files, slot.saved, slot.base_due) = (JobFiles::default(), None, true);
            slot.set_state(if run.paused { ViewState::Paused(None) } else { ViewState::CatchingUp });
            if let Some(catching) = &slot.catching {
                // Its job writes into the same rows, so that the other one waits for its end.
                catching.stop();
                slot.begins_anew = true;
            }
            return Ok(());
        }
        self.start_anew(id)
    }

    /// A view without state: it runs at once where nothing has been read yet, else it reads what it has missed.
    pub(super) fn start_anew(&mut self, id: u64) -> Result<()> {
        let Some(slot) = self.views.get(&id) else { return Ok(()) };
        let mut job = match guarded(|| self.view_job(slot.plan.as_deref(), &slot.store)) {
            Ok(job) => job,
            Err(error) => {
                // The others on the stream go on.
                if let Some(slot) = self.views.get_mut(&id) {
                    slot.fail(&error);
                }
                return Ok(());
            }
        };
        let start = self.runtime.start.read().clone();
        let at_start = self.position == start;
        let Some(slot) = self.views.get_mut(&id) else { return Ok(()) };
        slot.store.clear();
        (slot.files, slot.saved, slot.base_due) = (JobFiles::default(), None, true);
        if let Err(error) = guarded(|| job.begin()) {
            slot.fail(&error);
            return Ok(());
        }
        if at_start {
            slot.set_state(ViewState::Running(Box::new(job)));
        } else {
            self.catch_view_up(id, job, start);
        }
        Ok(())
    }

    pub(super) fn catch_view_up(&mut self, id: u64, mut job: ViewJob, from: Position) {
        if let Some(slot) = self.views.get_mut(&id)
            && std::mem::take(&mut slot.leaves_out)
        {
            slot.leaving_out = true;
            job.bad_rows = Some(BadRows::new(self.scratch_of(id)));
        }
        let catching = self.catch_up(CatchUpJob::View(Box::new(job)), from);
        if let Some(slot) = self.views.get_mut(&id) {
            slot.set_state(ViewState::CatchingUp);
            slot.catching = Some(catching);
        }
    }

    /// Makes jobs of the same view over nothing.
    fn scratch_of(&self, id: u64) -> Scratch {
        let (source, config) = (Arc::clone(&self.runtime.plan), self.runtime.config.clone());
        let plan = self.views.get(&id).and_then(|slot| slot.plan.clone());
        let clock = Arc::clone(&self.runtime.clock);
        Box::new(move || {
            let schema = plan.as_ref().map_or(&source.schema, |plan| &plan.schema);
            let store = Arc::new(ViewStore::new(Arc::clone(schema)));
            let mut job = match &plan {
                Some(plan) => ViewJob::view(&source, plan, store, &config)?,
                None => ViewJob::table(&source, store, &config)?,
            };
            job.clock = Some(Arc::clone(&clock));
            Ok(job)
        })
    }

    /// Reads from there on its own until it can join.
    fn catch_up(&self, job: CatchUpJob, from: Position) -> CatchUp {
        let (progress, run) = catch_up::start(&self.runtime, job, from, &self.commands, self.generation);
        spawn(&self.tasks, run);
        progress
    }

    /// The sinks of all views. One whose view is another from now on must take away what only the old view has.
    fn take_view_sinks(&mut self, jobs: &JobSet) -> Result<BTreeMap<u64, ViewSink>> {
        let mut taken = BTreeMap::new();
        for (id, view) in &mut self.views {
            for mut sink in view.sinks.drain(..) {
                let Some(plan) = jobs.sinks.iter().find(|plan| plan.id == sink.head.plan.id) else { continue };
                if plan.from.0 != *id {
                    sink.replace(view.store.snapshot()?);
                }
                taken.insert(plan.id.0, sink);
            }
        }
        Ok(taken)
    }

    fn set_sinks(&mut self, jobs: &JobSet, mut view_sinks: BTreeMap<u64, ViewSink>) -> Result<()> {
        let config = &self.runtime.config;
        for plan in &jobs.sinks {
            if plan.on_view {
                let Some(view) = self.views.get_mut(&plan.from.0) else { continue };
                let sink = view_sinks.remove(&plan.id.0);
                let mut sink = sink.unwrap_or_else(|| ViewSink::new(Arc::clone(plan), config));
                sink.head.plan = Arc::clone(plan);
                if let Some(rows) = &view.left {
                    sink.replace(rows.clone());
                }
                sink.set_run(plan.run, &view.store)?;
                view.sinks.push(sink);
            } else {
                let fresh = || {
                    let (id, saved) = (&plan.id.0, self.manifest.as_ref());
                    let counted = saved.and_then(|saved| saved.sinks.get(id).cloned()).unwrap_or_default();
                    let kept = saved.and_then(|saved| saved.sink_positions.get(id).cloned());
                    RowsSinkJob::new(Arc::clone(plan), config, counted, kept)
                };
                self.sinks.entry(plan.id.0).or_insert_with(fresh).set_run(plan.run);
            }
        }
        Ok(())
    }

    /// Opens sinks that wait, and brings those that are behind up to the stream; waits for none of them.
    pub(super) fn tend_sinks(&mut self) {
        let clock = self.runtime.clock.as_ref();
        let (now_us, by) = (clock.now_us(), (self.runtime.connectors.as_ref(), self.incarnation));
        let spawn = |run| spawn(&self.tasks, run);
        for view in self.views.values_mut().filter(|view| matches!(view.state, ViewState::Running(_))) {
            for sink in &mut view.sinks {
                sink.tend(by, &view.store, &self.position, clock, &spawn);
            }
        }
        let start = self.runtime.start.read().clone();
        let mut opened = Vec::new();
        for (id, sink) in &mut self.sinks {
            sink.look(now_us);
            opened.extend(sink.open(by, &start, now_us, &spawn).map(|(sink, from)| (*id, sink, from)));
        }
        for (id, sink, from) in opened {
            self.feed(id, sink, from);
        }
    }

    fn feed(&mut self, id: u64, sink: RowsSink, from: Position) {
        if from.covers(&self.position) {
            let now_us = self.runtime.clock.now_us();
            if let Some(job) = self.sinks.get_mut(&id) {
                job.join(sink.on_task(&|run| spawn(&self.tasks, run)), now_us);
            }
            return;
        }
        self.catch_sink_up(id, Box::new(sink), from);
    }

    pub(super) fn catch_sink_up(&mut self, id: u64, sink: Box<RowsSink>, from: Position) {
        let catching = self.catch_up(CatchUpJob::Sink(sink), from);
        if let Some(job) = self.sinks.get_mut(&id) {
            job.head.state = SinkState::CatchingUp;
            job.catching = Some(catching);
        }
    }

    /// A catch-up has ended: the job reads the little that is missing and joins.
    pub(super) async fn caught_up(&mut self, end: CatchUpEnd) {
        self.dirty = true;
        let id = end.id().0;
        if let Some(view) = self.views.get_mut(&id)
            && std::mem::take(&mut view.begins_anew)
        {
            drop(end);
            view.catching = None;
            view.store.clear();
            if !matches!(view.state, ViewState::Paused(_))
                && let Err(error) = self.start_anew(id)
            {
                tracing::warn!(error = error.chain(), "the view cannot begin again");
            }
            return;
        }
        match end {
            CatchUpEnd::Failed { id, counted, error } => {
                let now_us = self.runtime.clock.now_us();
                if let Some(view) = self.views.get_mut(&id.0) {
                    view.catching = None;
                    match (&view.state, error.retry()) {
                        (ViewState::Paused(_), _) => {}
                        (_, Retry::Backoff) => {
                            tracing::warn!(error = error.chain(), "the job tries again to catch up");
                            let until_us = now_us + super::micros(self.runtime.config.backoff_max);
                            view.set_state(ViewState::Retrying { until_us, message: error.chain() });
                        }
                        (_, Retry::Never) => {
                            if view.fail_at_rows(&error)
                                && let Err(error) = self.start_behind_bad_rows(id.0).await
                            {
                                tracing::warn!(error = error.chain(), "the job cannot leave rows out");
                            }
                        }
                    }
                } else if let Some(sink) = self.sinks.get_mut(&id.0) {
                    sink.catching = None;
                    match sink.head.state {
                        SinkState::Paused => sink.keep_counted(counted),
                        SinkState::Waiting { .. } | SinkState::CatchingUp | SinkState::Running | SinkState::Failed => {
                            sink.lose_counted(counted, &connector_error(error), now_us);
                        }
                    }
                }
            }
            CatchUpEnd::Joins { job: CatchUpJob::View(job), turn } => self.join_view(job, turn).await,
            CatchUpEnd::Joins { job: CatchUpJob::Sink(sink), turn } => self.join_sink(sink, turn.range).await,
            CatchUpEnd::Stopped { job: CatchUpJob::View(job), at } => self.view_stopped(job, at),
            CatchUpEnd::Stopped { job: CatchUpJob::Sink(sink), at } => self.sink_stopped(sink, at),
        }
    }

    /// Too much to read between two steps. A large step may have been made since it was near.
    fn is_far(&self, at: &Position) -> bool {
        let step = self.runtime.config.step_rows_max as u64;
        self.position.version().saturating_sub(at.version()) > JOIN_RECORDS_MAX + 2 * step
    }

    /// It was told to stop, and goes on from there if it was told otherwise since.
    fn view_stopped(&mut self, job: Box<ViewJob>, at: Position) {
        let id = job.id.0;
        let Some(view) = self.views.get_mut(&id) else { return };
        view.catching = None;
        if !matches!(view.state, ViewState::Paused(_)) {
            return self.catch_view_up(id, *job, at);
        }
        let watermark = view.saved.as_ref().map_or(i64::MIN, |saved| saved.watermark);
        view.hold(job, Held { position: at, watermark });
        view.base_due = true;
    }

    fn sink_stopped(&mut self, sink: Box<RowsSink>, at: Position) {
        let id = sink.plan.id.0;
        let Some(job) = self.sinks.get_mut(&id) else { return };
        job.catching = None;
        match job.head.state {
            // What is outside decides where it goes on.
            SinkState::Paused => job.keep_counted(sink.counted),
            SinkState::Waiting { .. } | SinkState::CatchingUp | SinkState::Running | SinkState::Failed => {
                self.catch_sink_up(id, sink, at);
            }
        }
    }

    async fn join_view(&mut self, job: Box<ViewJob>, mut turn: Turn) {
        let id = job.id.0;
        let Some(view) = self.views.get_mut(&id) else { return };
        view.catching = None;
        let range = &mut turn.range;
        if matches!(view.state, ViewState::Paused(_)) || self.is_far(range.position()) {
            return self.view_stopped(job, range.position().clone());
        }
        let mut job = CatchUpJob::View(job);
        let mut joined = range.extend(&self.position).await;
        if joined.is_ok() {
            joined = guarded_async(job.drain(range)).await;
        }
        let (watermark, CatchUpJob::View(mut job)) = (self.watermarks.current().0, job) else { return };
        let Some(view) = self.views.get_mut(&id) else { return };
        match joined.and_then(|()| guarded(|| job.advance(watermark, false))) {
            Ok(_) => {
                view.note = job.bad_rows.take().and_then(|bad| bad.message()).or_else(|| view.note.take());
                view.set_state(ViewState::Running(job));
                view.leaving_out = false;
                view.base_due = true;
                view.rename();
            }
            Err(error) => view.fail(&error),
        }
    }

    async fn join_sink(&mut self, sink: Box<RowsSink>, range: RangeReader) {
        let (id, now_us) = (sink.plan.id.0, self.runtime.clock.now_us());
        let Some(job) = self.sinks.get_mut(&id) else { return };
        job.catching = None;
        if matches!(job.head.state, SinkState::Paused) || self.is_far(range.position()) {
            return self.sink_stopped(sink, range.position().clone());
        }
        let mut sink = sink.on_task(&|run| spawn(&self.tasks, run));
        let joined = offer_rest(&mut sink, range, &self.position).await;
        let Some(job) = self.sinks.get_mut(&id) else { return };
        match joined {
            Ok(true) => job.join(sink, now_us),
            Ok(false) => {
                let (sink, from) = sink.returning();
                self.catch_sink_up(id, Box::new(sink), from);
            }
            Err(error) => job.lose_counted(sink.counted, &connector_error(error), now_us),
        }
    }
}

/// The little that is missing up to there into the sink's queue; false where that is full.
async fn offer_rest(sink: &mut RowsSink, mut range: RangeReader, to: &Position) -> Result<bool> {
    range.extend(to).await?;
    while let Some(step) = range.next().await? {
        if !sink.offer(&step)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// In the background, as long as this start of the pipeline.
pub(super) fn spawn(tasks: &Tasks, run: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
    let mut tasks = tasks.lock();
    while tasks.try_join_next().is_some() {}
    tasks.spawn(run)
}
