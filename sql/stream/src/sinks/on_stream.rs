//! A sink on a stream: every row once, the position kept outside together with the rows. Where a system outside can
//! hold none, the manifest keeps it (`RowsSinkJob::kept`), and rows behind it come again after a crash.

use std::sync::Arc;

use arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::Int64Type,
};
use ebap_connector::{ConnectorRegistry, Epoch, Offset, Position, Sink, SinkInput};
use ebap_sql::{Run, SinkPlan};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::{
    SinkHead, SinkState, Told, build, connector_error,
    task::{Opening, Returned, SinkTask, Spawn},
};
use crate::{
    EngineConfig, Result,
    accounting::{Accounting, Counts},
    catch_up::CatchUp,
    prepare::{SplitBatch, StepBatch},
};

/// The sink and where it stands.
pub(crate) struct RowsSink {
    pub(crate) plan: Arc<SinkPlan>,
    outlet: Outlet,
    columns: Vec<usize>,
    offset_column: usize,
    /// Rows below are outside already, or on the way.
    position: Position,
    pub(crate) counted: Counted,
    told: Arc<Mutex<Told>>,
}

enum Outlet {
    /// Whoever writes waits for it: a catch-up.
    Own(Box<dyn Sink>),
    /// It is the catch-up's when it has done what waits in its queue (`RowsSink::ready`).
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
    fn new(head: &SinkHead, sink: Box<dyn Sink>, position: Position, counted: Counted) -> Self {
        let (plan, told) = (Arc::clone(&head.plan), Arc::clone(&head.told));
        let declared = plan.schema.fields().len();
        // Virtual columns follow the declared ones: `_partition`, then `_offset`.
        let columns = (0..declared).collect();
        Self { plan, outlet: Outlet::Own(sink), columns, offset_column: declared + 1, position, counted, told }
    }

    /// From now on the loop gives it rows.
    pub(crate) fn on_task(mut self, spawn: Spawn<'_>) -> Self {
        if let Outlet::Own(sink) = self.outlet {
            self.outlet = Outlet::Task(SinkTask::start(sink, &self.told, spawn));
        }
        self
    }

    /// From now on a catch-up gives it rows, from the position behind what it was given.
    pub(crate) fn returning(mut self) -> (Self, Position) {
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
            self.position.set(split.split.clone(), Offset(split.offsets.1));
            if rows.num_rows() > 0 {
                let position = self.position.clone();
                let sink = self.own()?;
                let written = sink.write(SinkInput::Rows(rows), &position).await;
                let left_out = sink.take_left_out();
                self.told.lock().left_out += left_out;
                written?;
            }
        }
        Ok(())
    }

    /// Lets it commit where that is due, between two steps of a catch-up: what took long to write is not to be
    /// written again after a crash.
    pub(crate) async fn commit(&mut self, epoch: Epoch) -> Result<()> {
        let position = self.position.clone();
        let sink = self.own()?;
        let visible = sink.checkpoint(epoch, &position, false).await;
        let left_out = sink.take_left_out();
        let mut told = self.told.lock();
        told.left_out += left_out;
        if let Some(visible) = visible? {
            told.visible = Some(visible);
        }
        Ok(())
    }

    /// Waits until it has done what its queue still held: a catch-up begins with this, so that nobody else has to.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        let Outlet::Returning(returned) = &mut self.outlet else { return Ok(()) };
        let sink = match returned.take() {
            Some(returned) => returned.await.ok(),
            None => None,
        };
        // An error in its queue was what ended it; all of it is written again from what is outside.
        let gone = || ebap_connector::Error::unreachable(&self.plan.name, "what waited could not be written");
        self.outlet = Outlet::Own(sink.ok_or_else(gone)?);
        Ok(())
    }

    fn own(&mut self) -> Result<&mut dyn Sink> {
        match &mut self.outlet {
            Outlet::Own(sink) => Ok(sink.as_mut()),
            Outlet::Returning(_) | Outlet::Task(_) => Err(crate::Error::Internal("a sink has two writers".to_owned())),
        }
    }

    /// Without waiting: false where its queue is full. What was taken is counted, the rest is not.
    pub(crate) fn offer(&mut self, step: &StepBatch) -> Result<bool> {
        for split in &step.splits {
            let rows = self.rows(split)?;
            if let (Some(rows), Outlet::Task(task)) = (rows, &self.outlet) {
                let mut position = self.position.clone();
                position.set(split.split.clone(), Offset(split.offsets.1));
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
            filtered: split.skipped,
            late: 0,
            failed: 0,
            missed: split.missed,
        };
        self.counted.accounting.add(&split.split, counts);
        self.counted.position.set(split.split.clone(), Offset(end));
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
    opening: Option<Opening>,
    running: Option<RowsSink>,
    /// An older task of the same sink, which may not have ended yet.
    ended: Option<Returned>,
    /// While it catches up.
    pub(crate) catching: Option<CatchUp>,
    counted: Counted,
    /// Its position is to be kept here, as nothing outside holds it.
    keeps_position: bool,
}

impl RowsSinkJob {
    /// `kept`: of a sink that has its position kept, the one of the manifest.
    pub(crate) fn new(plan: Arc<SinkPlan>, config: &EngineConfig, counted: Counted, kept: Option<Position>) -> Self {
        let (head, keeps_position) = (SinkHead::new(plan, config), kept.is_some());
        head.told.lock().visible = kept;
        Self { head, opening: None, running: None, ended: None, catching: None, counted, keeps_position }
    }

    /// What a manifest has to keep of its position: nothing, where what is outside says it.
    pub(crate) fn kept(&self) -> Option<Position> {
        self.keeps_position.then(|| self.head.told.lock().visible.clone()).flatten()
    }

    /// Follows `ALTER`. It goes on from what is outside, or from what is kept.
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

    /// Begins to open it where it waits, or gives it where it is open by now, with where it has to be fed from.
    /// `start`: where the stream began.
    pub(crate) fn open(
        &mut self,
        (connectors, incarnation): (&dyn ConnectorRegistry, u64),
        start: &Position,
        now_us: i64,
        spawn: Spawn<'_>,
    ) -> Option<(RowsSink, Position)> {
        let ended = self.ended.as_mut().is_none_or(|ended| !matches!(ended.try_recv(), Err(TryRecvError::Empty)));
        if !self.head.due(now_us) || !ended {
            return None;
        }
        self.ended = None;
        let Some(opening) = &mut self.opening else {
            match build(&self.head.plan, connectors, incarnation) {
                Ok(sink) => self.opening = Some(Opening::start(sink, spawn)),
                Err(error) => self.lose(&connector_error(error), now_us),
            }
            return None;
        };
        let opened = opening.done()?;
        self.opening = None;
        match opened {
            Ok((sink, opened)) => {
                self.keeps_position = !sink.holds_position();
                Some(self.opened(sink, opened.position.or_else(|| self.kept()), start))
            }
            Err(error) => {
                self.lose(&error, now_us);
                None
            }
        }
    }

    fn opened(&self, sink: Box<dyn Sink>, position: Option<Position>, start: &Position) -> (RowsSink, Position) {
        let mut outside = start.clone();
        for (split, offset) in position.unwrap_or_default().0 {
            outside.set(split, offset);
        }
        // A crash may have come between the sink's commit and the epoch that knows of it: those rows are
        // outside, and have yet to be counted.
        let mut from = outside.clone();
        for (split, offset) in &outside.0 {
            let counted = self.counted.position.get(split).or_else(|| start.get(split)).unwrap_or(*offset);
            from.set(split.clone(), counted.min(*offset));
        }
        (RowsSink::new(&self.head, sink, outside, self.counted.clone()), from)
    }

    /// From now on it gets what the stream reads.
    pub(crate) fn join(&mut self, sink: RowsSink, now_us: i64) {
        self.running = Some(sink);
        self.head.run(now_us);
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Takes note of what its task has done.
    pub(crate) fn look(&mut self, now_us: i64) {
        let Some(task) = self.running.as_ref().and_then(RowsSink::task) else { return };
        if let Some(error) = task.failed() {
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
