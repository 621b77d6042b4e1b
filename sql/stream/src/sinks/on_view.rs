//! A sink on a view: absolute values, behind the view by what its queue holds.

use std::sync::Arc;

use arrow::array::RecordBatch;
use ebap_connector::{ChangeBatch, ConnectorRegistry, Epoch, Position, SinkInput, time::Clock};
use ebap_sql::{Run, SinkPlan};
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::{
    SinkHead, SinkState, build, connector_error,
    task::{All, Opening, Returned, SinkTask, Spawn},
};
use crate::{EngineConfig, Result, view::store::ViewStore};

pub(crate) struct ViewSink {
    pub(crate) head: SinkHead,
    opening: Option<Opening>,
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
        Self { head, opening: None, task: None, ended: None, until: Position::default(), stale: Vec::new() }
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
        if self.head.rebuild(run) {
            // Nothing is known of what is outside, and what it still has to do is among what it is to do again.
            self.stale.clear();
            if let Some(task) = self.task.take() {
                self.ended = task.end();
            }
        }
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

    /// Opens what waits, and gives it the whole view where that is due; waits for nothing.
    pub(crate) fn tend(
        &mut self,
        (connectors, incarnation): (&dyn ConnectorRegistry, u64),
        view: &ViewStore,
        position: &Position,
        clock: &dyn Clock,
        spawn: Spawn<'_>,
    ) {
        let now_us = clock.now_us();
        self.look(now_us);
        if self.head.due(now_us) {
            self.open((connectors, incarnation), now_us, spawn);
        }
        if matches!(self.head.state, SinkState::CatchingUp)
            && position.covers(&self.until)
            && let Some(task) = self.task.as_ref().filter(|task| task.is_idle())
        {
            match view.snapshot() {
                Ok(rows) => {
                    // Should it fail, the sink itself finds out what goes (`has_ended`).
                    let (schema, stale) = (Arc::clone(view.schema()), std::mem::take(&mut self.stale));
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
        if let Some(error) = task.failed() {
            self.lose(&error, now_us);
        } else if self.wants_changes() && task.is_idle() {
            self.head.run(now_us);
        }
    }

    /// Begins to open it, or takes it where it is open by now.
    fn open(&mut self, (connectors, incarnation): (&dyn ConnectorRegistry, u64), now_us: i64, spawn: Spawn<'_>) {
        if !self.has_ended() {
            return;
        }
        let Some(opening) = &mut self.opening else {
            match build(&self.head.plan, connectors, incarnation) {
                Ok(sink) => self.opening = Some(Opening::start(sink, spawn)),
                Err(error) => self.head.fail(&connector_error(error), now_us),
            }
            return;
        };
        let Some(opened) = opening.done() else { return };
        self.opening = None;
        match opened {
            Ok((sink, opened)) => {
                self.until = opened.position.unwrap_or_default();
                self.task = Some(SinkTask::start(sink, &self.head.told, spawn));
                self.head.state = SinkState::CatchingUp;
            }
            Err(error) => self.head.fail(&error, now_us),
        }
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

    /// What the view has told it is in this epoch.
    pub(crate) fn seal(&self, epoch: Epoch, position: &Position) {
        // One that is behind may have been told a part of a step.
        if self.wants_changes()
            && let Some(task) = &self.task
        {
            task.seal(epoch, position);
        }
    }

    pub(crate) fn durable(&self, epoch: Epoch) {
        if let Some(task) = &self.task {
            task.durable(epoch);
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
