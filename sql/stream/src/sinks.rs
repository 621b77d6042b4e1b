//! Sinks as the loop drives them: one kind on a stream, one on a view.

use std::sync::Arc;

use arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::Int64Type,
};
use ebap_connector::{
    ChangeBatch, ConnectorRegistry, Epoch, Options, Position, Retry, Sink, SinkContext, SinkInput, SinkPartition,
    time::{Backoff, Clock},
};
use ebap_sql::{Run, SinkPlan};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::{
    EngineConfig, Result,
    accounting::{Accounting, Counts},
    catch_up::CatchUp,
    prepare::{SplitBatch, StepBatch},
    sink_task::{All, Returned, SinkTask, Spawn},
    status::SinkInfo,
    view::store::ViewStore,
};

/// How it stands with a sink.
#[derive(Debug)]
pub(crate) enum SinkState {
    /// To be opened at this processing time.
    Waiting {
        until_us: i64,
    },
    /// On a view: replays without writing up to what was published before. On a stream: reads again
    /// what the outside system does not have.
    CatchingUp,
    Running,
    /// By `ALTER`.
    Paused,
    Failed,
}

/// To be opened at the next opportunity.
const NOW: SinkState = SinkState::Waiting { until_us: i64::MIN };

/// What both kinds have.
#[derive(Debug)]
pub(crate) struct SinkHead {
    pub(crate) plan: Arc<SinkPlan>,
    pub(crate) state: SinkState,
    message: Option<String>,
    backoff: Backoff,
    visible: Option<Position>,
    /// Of the plan, as far as it has been followed.
    run: Run,
    /// Time it was behind its job because it was too slow for it, and since when it is.
    behind_us: i64,
    behind_since_us: Option<i64>,
}

impl SinkHead {
    fn new(plan: Arc<SinkPlan>, config: &EngineConfig) -> Self {
        let backoff = Backoff::new(config.backoff_first, config.backoff_max);
        let run = plan.run;
        let state = if run.paused { SinkState::Paused } else { NOW };
        Self { plan, state, message: None, backoff, visible: None, run, behind_us: 0, behind_since_us: None }
    }

    /// Its queue is full.
    fn fall_behind(&mut self, now_us: i64) {
        tracing::warn!(sink = self.plan.name, "the sink is slower than its job");
        self.state = SinkState::CatchingUp;
        self.message = Some("slower than its job, which does not wait for it".to_owned());
        self.behind_since_us.get_or_insert(now_us);
    }

    fn keep_up(&mut self, now_us: i64) {
        if let Some(since_us) = self.behind_since_us.take() {
            self.behind_us += now_us - since_us;
        }
    }

    pub(crate) fn fail(&mut self, error: &ebap_connector::Error, now_us: i64) {
        self.message = Some(error.to_string());
        self.state = match error.retry() {
            Retry::Never => {
                tracing::error!(sink = self.plan.name, %error, "the sink has stopped");
                SinkState::Failed
            }
            Retry::Backoff => {
                tracing::warn!(sink = self.plan.name, %error, "the sink tries again");
                SinkState::Waiting { until_us: now_us + self.backoff.advance().as_micros() as i64 }
            }
        };
    }

    pub(crate) fn run(&mut self, now_us: i64) {
        self.keep_up(now_us);
        self.state = SinkState::Running;
        self.message = None;
        self.backoff.reset();
    }

    /// Follows `ALTER`. True where the sink has to stop.
    fn set_run(&mut self, run: Run) -> bool {
        let resumed = run.resumes > self.run.resumes;
        self.run = run;
        match (&self.state, run.paused) {
            (SinkState::Paused, false) => self.state = NOW,
            (SinkState::Failed | SinkState::Waiting { .. }, false) if resumed => self.state = NOW,
            (SinkState::Paused, true) | (_, false) => return false,
            (_, true) => self.state = SinkState::Paused,
        }
        self.message = None;
        self.backoff.reset();
        run.paused
    }

    pub(crate) fn due(&self, now_us: i64) -> bool {
        matches!(self.state, SinkState::Waiting { until_us } if until_us <= now_us)
    }

    /// Nothing more is to be waited for.
    pub(crate) fn settled(&self) -> bool {
        matches!(self.state, SinkState::Running | SinkState::Paused | SinkState::Failed)
    }

    pub(crate) fn info(&self, now_us: i64) -> SinkInfo {
        let state = match self.state {
            SinkState::Waiting { .. } => "retrying",
            SinkState::CatchingUp => "catching up",
            SinkState::Running => "running",
            SinkState::Paused => "paused",
            SinkState::Failed => "failed",
        };
        SinkInfo {
            name: self.plan.name.clone(),
            connector: self.plan.connector.clone(),
            state: state.to_owned(),
            position: self.visible.as_ref().map(position_text),
            behind_us: self.behind_us + self.behind_since_us.map_or(0, |since_us| now_us - since_us),
            message: self.message.clone(),
        }
    }
}

/// `{"0": 15, "1": 20}`
pub(crate) fn position_text(position: &Position) -> String {
    serde_json::to_string(position).unwrap_or_default()
}

pub(crate) fn build(plan: &SinkPlan, connectors: &dyn ConnectorRegistry, incarnation: u64) -> Result<Box<dyn Sink>> {
    let partitions = plan.partitions.iter();
    let partitions =
        partitions.map(|one| SinkPartition { column: one.column.clone(), transform: one.transform.clone() }).collect();
    let context = SinkContext {
        name: plan.name.clone(),
        id: plan.id.to_string(),
        schema: Arc::clone(&plan.schema),
        upsert_key: plan.upsert_key.clone(),
        on_view: plan.on_view,
        time_column: plan.time_column,
        partitions,
        options: Options(plan.options.clone()),
        incarnation,
    };
    Ok(connectors.sink(&plan.connector, &context)?)
}

/// A sink on a view: absolute values, behind the view by what its queue holds.
pub(crate) struct ViewSink {
    pub(crate) head: SinkHead,
    task: Option<SinkTask>,
    /// An older task of the same sink, which may not have ended yet.
    ended: Option<Returned>,
    /// Nothing is written before the view has read this far.
    until: Position,
    /// Rows that may be outside. What of them the view no longer has goes when all of it is written.
    stale: Vec<RecordBatch>,
}

impl ViewSink {
    pub(crate) fn new(plan: Arc<SinkPlan>, config: &EngineConfig) -> Self {
        let head = SinkHead::new(plan, config);
        Self { head, task: None, ended: None, until: Position::default(), stale: Vec::new() }
    }

    /// The view's rows change without the sink being told: all of them are to be written again, and those
    /// that were there and are not any more are to go.
    pub(crate) fn replace(&mut self, rows: Vec<RecordBatch>) {
        if matches!(self.head.state, SinkState::Running) {
            self.head.state = SinkState::CatchingUp;
            self.stale.extend(rows);
        }
    }

    /// Follows `ALTER`.
    pub(crate) fn set_run(&mut self, run: Run, view: &ViewStore) -> Result<()> {
        let was_running = self.wants_changes();
        if self.head.set_run(run) {
            // It does what waits, so that what is outside is what the view has now.
            self.ended = self.task.take().and_then(SinkTask::give_back);
            if was_running {
                self.stale.extend(view.snapshot()?);
            }
        }
        Ok(())
    }

    pub(crate) fn wants_changes(&self) -> bool {
        matches!(self.head.state, SinkState::Running)
    }

    /// Whether no older task of it runs any more. One that did not come to its end has left outside nobody knows
    /// what: the sink is asked to find out.
    fn has_ended(&mut self) -> bool {
        match self.ended.as_mut().map(Returned::try_recv) {
            Some(Err(TryRecvError::Empty)) => return false,
            Some(Err(TryRecvError::Closed)) => self.stale.clear(),
            Some(Ok(_)) | None => {}
        }
        self.ended = None;
        true
    }

    /// Opens what waits, and gives it the whole view where that is due.
    pub(crate) async fn tend(
        &mut self,
        (connectors, incarnation): (&dyn ConnectorRegistry, u64),
        view: &ViewStore,
        position: &Position,
        clock: &dyn Clock,
        spawn: Spawn<'_>,
    ) {
        let now_us = clock.now_us();
        self.look(now_us);
        if self.head.due(now_us) && self.has_ended() {
            match self.open((connectors, incarnation), spawn).await {
                Ok(()) => self.head.state = SinkState::CatchingUp,
                Err(error) => self.head.fail(&error, now_us),
            }
        }
        if matches!(self.head.state, SinkState::CatchingUp)
            && position.covers(&self.until)
            && let Some(task) = self.task.as_ref().filter(|task| task.is_idle())
        {
            match view.snapshot() {
                Ok(rows) => {
                    let (schema, stale) = (Arc::clone(view.schema()), self.stale.clone());
                    task.write_all(All { schema, rows, stale }, position);
                    self.head.keep_up(now_us);
                    self.head.state = SinkState::Running;
                }
                Err(error) => self.lose(&connector_error(error), now_us),
            }
        }
    }

    /// Takes note of what its task has done.
    fn look(&mut self, now_us: i64) {
        let Some(task) = &self.task else { return };
        if let Some(visible) = task.visible() {
            self.head.visible = Some(visible);
        }
        if let Some(error) = task.failed() {
            self.lose(&error, now_us);
        } else if self.wants_changes() && task.is_idle() {
            self.stale.clear();
            self.head.run(now_us);
        }
    }

    async fn open(
        &mut self,
        (connectors, incarnation): (&dyn ConnectorRegistry, u64),
        spawn: Spawn<'_>,
    ) -> ebap_connector::Result<()> {
        let mut sink = build(&self.head.plan, connectors, incarnation).map_err(connector_error)?;
        self.until = sink.open().await?.position.unwrap_or_default();
        self.task = Some(SinkTask::start(sink, spawn));
        Ok(())
    }

    /// `view` has the changes already.
    pub(crate) fn write(&mut self, changes: &[ChangeBatch], position: &Position, view: &ViewStore, now_us: i64) {
        if !self.wants_changes() {
            return;
        }
        let Some(task) = &self.task else { return };
        let offer = |change: &ChangeBatch| task.offer(SinkInput::Changes(change.clone()), position);
        let Some(left) = changes.iter().position(|change| !offer(change)) else { return };
        // What is outside when the queue is empty is among the rows there are and those that just went.
        match view.snapshot() {
            Ok(rows) => {
                self.stale.extend(rows);
                self.stale.extend(changes[left..].iter().map(|change| change.deletes.clone()));
                self.head.fall_behind(now_us);
            }
            Err(error) => self.lose(&connector_error(error), now_us),
        }
    }

    /// With `force` gives what tells when all is visible.
    pub(crate) fn checkpoint(&self, epoch: Epoch, position: &Position, force: bool) -> Option<oneshot::Receiver<()>> {
        if !self.wants_changes() {
            return None;
        }
        self.task.as_ref()?.checkpoint(epoch, position, force)
    }

    fn lose(&mut self, error: &ebap_connector::Error, now_us: i64) {
        self.ended = self.task.take().and_then(SinkTask::end);
        self.head.fail(error, now_us);
    }
}

/// A sink on a stream: every row once, the position kept outside together with the rows.
pub(crate) struct RowsSink {
    pub(crate) plan: Arc<SinkPlan>,
    outlet: Outlet,
    columns: Vec<usize>,
    offset_column: usize,
    /// Rows below are outside already, or on the way.
    position: Position,
    pub(crate) counted: Counted,
}

enum Outlet {
    /// Whoever writes waits for it: a catch-up.
    Own(Box<dyn Sink>),
    /// It is the catch-up's when it has done what waits in its queue.
    Returning(Option<Returned>),
    /// Behind a queue: the loop does not wait.
    Task(SinkTask),
}

/// The accounting of a sink on a stream, and the position up to which records are in it. The sink may
/// be fed again from before that position: those records are not counted twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) accounting: Accounting,
    pub(crate) position: Position,
}

impl RowsSink {
    /// Rows below `position` are outside already.
    pub(crate) fn new(plan: Arc<SinkPlan>, sink: Box<dyn Sink>, position: Position, counted: Counted) -> Self {
        let declared = plan.schema.fields().len();
        // Virtual columns follow the declared ones: `_partition`, then `_offset`.
        let columns = (0..declared).collect();
        Self { plan, outlet: Outlet::Own(sink), columns, offset_column: declared + 1, position, counted }
    }

    /// From now on the loop gives it rows.
    fn on_task(mut self, spawn: Spawn<'_>) -> Self {
        if let Outlet::Own(sink) = self.outlet {
            self.outlet = Outlet::Task(SinkTask::start(sink, spawn));
        }
        self
    }

    /// From now on a catch-up gives it rows, from the position behind what it was given.
    fn returning(mut self) -> (Self, Position) {
        if let Outlet::Task(task) = self.outlet {
            self.outlet = Outlet::Returning(task.give_back());
        }
        let from = self.position.clone();
        (self, from)
    }

    /// Waits until the rows are taken.
    pub(crate) async fn write(&mut self, step: &StepBatch) -> Result<()> {
        for split in &step.splits {
            self.count(split);
            let Some(rows) = self.rows(split)? else { continue };
            self.position.set(split.split.clone(), ebap_connector::Offset(split.offsets.1));
            if rows.num_rows() > 0 {
                let position = self.position.clone();
                self.own().await?.write(SinkInput::Rows(rows), &position).await?;
            }
        }
        Ok(())
    }

    /// Lets it commit where that is due, between two steps of a catch-up: what took long to write is not to be
    /// written again after a crash.
    pub(crate) async fn commit(&mut self, epoch: Epoch) -> Result<()> {
        let position = self.position.clone();
        self.own().await?.checkpoint(epoch, &position, false).await?;
        Ok(())
    }

    async fn own(&mut self) -> Result<&mut Box<dyn Sink>> {
        if let Outlet::Returning(returned) = &mut self.outlet {
            let sink = match returned.take() {
                Some(returned) => returned.await.ok(),
                None => None,
            };
            // An error in its queue was what ended it; all of it is written again from what is outside.
            let gone = || ebap_connector::Error::unreachable(&self.plan.name, "what waited could not be written");
            self.outlet = Outlet::Own(sink.ok_or_else(gone)?);
        }
        match &mut self.outlet {
            Outlet::Own(sink) => Ok(sink),
            Outlet::Returning(_) | Outlet::Task(_) => Err(crate::Error::Internal("a sink has two writers".to_owned())),
        }
    }

    /// Without waiting: false where its queue is full. What was taken is counted, the rest is not.
    fn offer(&mut self, step: &StepBatch) -> Result<bool> {
        for split in &step.splits {
            let rows = self.rows(split)?;
            if let (Some(rows), Outlet::Task(task)) = (rows, &self.outlet) {
                let mut position = self.position.clone();
                position.set(split.split.clone(), ebap_connector::Offset(split.offsets.1));
                if rows.num_rows() > 0 && !task.offer(SinkInput::Rows(rows), &position) {
                    return Ok(false);
                }
                self.position = position;
            }
            self.count(split);
        }
        Ok(true)
    }

    /// The rows of the split that are not outside; none where it is wholly.
    fn rows(&self, split: &SplitBatch) -> Result<Option<RecordBatch>> {
        let from = self.position.get(&split.split).unwrap_or_default();
        let (first, end) = split.offsets;
        if end <= from.0 {
            return Ok(None);
        }
        let mut batch = split.batch.clone();
        if first < from.0 {
            let offsets = batch.column(self.offset_column).as_primitive::<Int64Type>();
            let mask: BooleanArray = offsets.values().iter().map(|offset| Some(*offset >= from.0)).collect();
            batch = filter_record_batch(&batch, &mask)?;
        }
        Ok(Some(batch.project(&self.columns)?))
    }

    fn count(&mut self, split: &SplitBatch) {
        let end = split.offsets.1;
        if self.counted.position.get(&split.split).is_some_and(|counted| end <= counted.0) {
            return;
        }
        let counts = Counts {
            consumed: split.consumed,
            emitted: split.batch.num_rows() as u64,
            dead_lettered: split.rejected,
            ..Counts::default()
        };
        self.counted.accounting.add(&split.split, counts);
        self.counted.position.set(split.split.clone(), ebap_connector::Offset(end));
    }

    fn checkpoint(&self, epoch: Epoch, force: bool) -> Option<oneshot::Receiver<()>> {
        match &self.outlet {
            Outlet::Task(task) => task.checkpoint(epoch, &self.position, force),
            Outlet::Own(_) | Outlet::Returning(_) => None,
        }
    }

    fn task(&self) -> Option<&SinkTask> {
        match &self.outlet {
            Outlet::Task(task) => Some(task),
            Outlet::Own(_) | Outlet::Returning(_) => None,
        }
    }

    fn end(self) -> Option<Returned> {
        match self.outlet {
            Outlet::Task(task) => task.end(),
            Outlet::Own(_) | Outlet::Returning(_) => None,
        }
    }
}

/// The place of a sink on a stream in its pipeline, whether it runs or not.
pub(crate) struct RowsSinkJob {
    pub(crate) head: SinkHead,
    running: Option<RowsSink>,
    /// An older task of the same sink, which may not have ended yet.
    ended: Option<Returned>,
    /// While it catches up.
    pub(crate) catching: Option<CatchUp>,
    counted: Counted,
}

impl RowsSinkJob {
    pub(crate) fn new(plan: Arc<SinkPlan>, config: &EngineConfig, counted: Counted) -> Self {
        Self { head: SinkHead::new(plan, config), running: None, ended: None, catching: None, counted }
    }

    /// Follows `ALTER`. What is outside says where it goes on, so nothing else has to be kept.
    pub(crate) fn set_run(&mut self, run: Run) {
        let was_paused = matches!(self.head.state, SinkState::Paused);
        if self.head.set_run(run) {
            self.end();
            if let Some(catching) = &self.catching {
                catching.stop();
            }
        } else if let (true, false, Some(catching)) = (was_paused, run.paused, &self.catching) {
            // It has not noticed yet that it shall stop, or its end is on the way.
            catching.go_on();
            self.head.state = SinkState::CatchingUp;
        }
    }

    pub(crate) fn keep_counted(&mut self, counted: Counted) {
        self.counted = counted;
    }

    pub(crate) fn counted(&self) -> &Counted {
        self.running.as_ref().map_or(&self.counted, |running| &running.counted)
    }

    /// A catch-up ended with this error after having counted so far.
    pub(crate) fn lose_counted(&mut self, counted: Counted, error: &ebap_connector::Error, now_us: i64) {
        self.counted = counted;
        self.lose(error, now_us);
    }

    pub(crate) fn lose(&mut self, error: &ebap_connector::Error, now_us: i64) {
        self.end();
        self.head.fail(error, now_us);
    }

    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            self.counted = running.counted.clone();
            self.ended = running.end();
        }
    }

    /// Whether it is to be opened, and no older task of it runs any more.
    pub(crate) fn due(&mut self, now_us: i64) -> bool {
        if !self.head.due(now_us)
            || self.ended.as_mut().is_some_and(|ended| matches!(ended.try_recv(), Err(TryRecvError::Empty)))
        {
            return false;
        }
        self.ended = None;
        true
    }

    /// From now on it gets what the stream reads.
    pub(crate) fn join(&mut self, sink: RowsSink, now_us: i64, spawn: Spawn<'_>) {
        self.running = Some(sink.on_task(spawn));
        self.head.run(now_us);
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Takes note of what its task has done.
    pub(crate) fn look(&mut self, now_us: i64) {
        let Some(task) = self.running.as_ref().and_then(RowsSink::task) else { return };
        let (visible, error) = (task.visible(), task.failed());
        if visible.is_some() {
            self.head.visible = visible;
        }
        if let Some(error) = error {
            self.lose(&error, now_us);
        }
    }

    /// Gives the sink where it is too slow: it is to catch up on its own, from there.
    pub(crate) fn write(&mut self, step: &StepBatch, now_us: i64) -> Option<(RowsSink, Position)> {
        let running = self.running.as_mut()?;
        match running.offer(step) {
            Ok(true) => None,
            Ok(false) => {
                let (sink, from) = self.running.take()?.returning();
                self.counted = sink.counted.clone();
                self.head.fall_behind(now_us);
                Some((sink, from))
            }
            Err(error) => {
                self.lose(&connector_error(error), now_us);
                None
            }
        }
    }

    /// With `force` gives what tells when all is visible.
    pub(crate) fn checkpoint(&self, epoch: Epoch, force: bool) -> Option<oneshot::Receiver<()>> {
        self.running.as_ref()?.checkpoint(epoch, force)
    }
}

/// The engine's error as a sink's: what is not a connector's own is our bug.
pub(crate) fn connector_error(error: crate::Error) -> ebap_connector::Error {
    match error {
        crate::Error::Connector(inner) => match Arc::try_unwrap(inner) {
            Ok(inner) => inner,
            Err(shared) => ebap_connector::Error::internal(shared),
        },
        other => ebap_connector::Error::internal(other.chain()),
    }
}
