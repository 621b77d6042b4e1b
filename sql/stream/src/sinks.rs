//! Sinks as the loop drives them: one kind on a stream, one on a view.

use std::sync::Arc;

use arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    compute::{concat_batches, filter_record_batch},
    datatypes::{Int64Type, Schema, SchemaRef},
};
use ebap_connector::{
    ChangeBatch, ConnectorRegistry, Epoch, Options, Position, Retry, Sink, SinkContext, SinkInput, SinkPartition,
    time::{Backoff, Clock},
};
use ebap_sql::{Run, SinkPlan};
use serde::{Deserialize, Serialize};

use crate::{
    EngineConfig, Result,
    accounting::{Accounting, Counts},
    catch_up::CatchUp,
    prepare::StepBatch,
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
    /// Time the loop has waited for it.
    pub(crate) waited_us: u64,
}

impl SinkHead {
    fn new(plan: Arc<SinkPlan>, config: &EngineConfig) -> Self {
        let backoff = Backoff::new(config.backoff_first, config.backoff_max);
        let run = plan.run;
        let state = if run.paused { SinkState::Paused } else { NOW };
        Self { plan, state, message: None, backoff, visible: None, run, waited_us: 0 }
    }

    /// The loop has waited for the sink since then.
    fn waited(&mut self, since_us: i64, clock: &dyn Clock) {
        self.waited_us += u64::try_from(clock.monotonic_us() - since_us).unwrap_or(0);
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

    pub(crate) fn run(&mut self) {
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

    pub(crate) fn info(&self) -> SinkInfo {
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
            waited_us: self.waited_us,
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

/// A sink on a view: absolute values, in step with the view.
pub(crate) struct ViewSink {
    pub(crate) head: SinkHead,
    sink: Option<Box<dyn Sink>>,
    /// Nothing is written before the view has read this far.
    until: Position,
    /// Rows that may be outside. What of them the view no longer has goes when all of it is written.
    stale: Vec<RecordBatch>,
}

impl ViewSink {
    pub(crate) fn new(plan: Arc<SinkPlan>, config: &EngineConfig) -> Self {
        Self { head: SinkHead::new(plan, config), sink: None, until: Position::default(), stale: Vec::new() }
    }

    /// The view's rows change without the sink being told: all of them are to be written again, and those
    /// that were there and are not any more are to go.
    pub(crate) fn replace(&mut self, rows: Vec<RecordBatch>) {
        if matches!(self.head.state, SinkState::Running) {
            self.head.state = SinkState::CatchingUp;
            self.stale = rows;
        }
    }

    /// Follows `ALTER`.
    pub(crate) fn set_run(&mut self, run: Run, view: &ViewStore) -> Result<()> {
        let was_running = self.wants_changes();
        if self.head.set_run(run) {
            self.sink = None;
            if was_running {
                self.stale = view.snapshot()?;
            }
        }
        Ok(())
    }

    pub(crate) fn wants_changes(&self) -> bool {
        matches!(self.head.state, SinkState::Running)
    }

    /// Opens what waits, and writes the whole view where that is due.
    pub(crate) async fn tend(
        &mut self,
        connectors: &dyn ConnectorRegistry,
        incarnation: u64,
        view: &ViewStore,
        position: &Position,
        clock: &dyn Clock,
    ) {
        let (now_us, begun_us) = (clock.now_us(), clock.monotonic_us());
        if self.head.due(now_us) {
            match self.open(connectors, incarnation).await {
                Ok(()) => self.head.state = SinkState::CatchingUp,
                Err(error) => self.head.fail(&error, now_us),
            }
        }
        if matches!(self.head.state, SinkState::CatchingUp) && position.covers(&self.until) {
            match self.write_all(view, position).await {
                Ok(()) => self.head.run(),
                Err(error) => self.lose(&error, now_us),
            }
            self.head.waited(begun_us, clock);
        }
    }

    async fn open(&mut self, connectors: &dyn ConnectorRegistry, incarnation: u64) -> ebap_connector::Result<()> {
        let mut sink = build(&self.head.plan, connectors, incarnation).map_err(connector_error)?;
        self.until = sink.open().await?.position.unwrap_or_default();
        self.sink = Some(sink);
        Ok(())
    }

    async fn write_all(&mut self, view: &ViewStore, position: &Position) -> ebap_connector::Result<()> {
        let Some(sink) = &mut self.sink else { return Ok(()) };
        let rows = view.snapshot().map_err(connector_error)?;
        if !self.stale.is_empty() {
            // In one batch, so that a value that stays is replaced and never away.
            let inserts = one_batch(view.schema(), &rows).map_err(connector_error)?;
            let deletes = one_batch(view.schema(), &self.stale).map_err(connector_error)?;
            sink.write(SinkInput::Changes(ChangeBatch { deletes, inserts }), position).await?;
            self.stale.clear();
            return Ok(());
        }
        for inserts in rows {
            let deletes = RecordBatch::new_empty(inserts.schema());
            sink.write(SinkInput::Changes(ChangeBatch { deletes, inserts }), position).await?;
        }
        sink.sweep(position).await
    }

    pub(crate) async fn write(&mut self, changes: &[ChangeBatch], position: &Position, clock: &dyn Clock) {
        if !self.wants_changes() {
            return;
        }
        let begun_us = clock.monotonic_us();
        for change in changes {
            let Some(sink) = &mut self.sink else { break };
            if let Err(error) = sink.write(SinkInput::Changes(change.clone()), position).await {
                self.lose(&error, clock.now_us());
            }
        }
        self.head.waited(begun_us, clock);
    }

    pub(crate) async fn checkpoint(&mut self, epoch: Epoch, position: &Position, force: bool, clock: &dyn Clock) {
        if !self.wants_changes() {
            return;
        }
        let begun_us = clock.monotonic_us();
        let Some(sink) = &mut self.sink else { return };
        match sink.checkpoint(epoch, position, force).await {
            Ok(Some(visible)) => self.head.visible = Some(visible),
            Ok(None) => {}
            Err(error) => self.lose(&error, clock.now_us()),
        }
        self.head.waited(begun_us, clock);
    }

    fn lose(&mut self, error: &ebap_connector::Error, now_us: i64) {
        self.sink = None;
        self.head.fail(error, now_us);
    }
}

/// A sink on a stream: every row once, the position kept outside together with the rows.
pub(crate) struct RowsSink {
    pub(crate) plan: Arc<SinkPlan>,
    sink: Box<dyn Sink>,
    columns: Vec<usize>,
    offset_column: usize,
    /// Rows below are outside already.
    position: Position,
    pub(crate) counted: Counted,
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
        Self { plan, sink, columns, offset_column: declared + 1, position, counted }
    }

    pub(crate) async fn write(&mut self, step: &StepBatch) -> Result<()> {
        for split in &step.splits {
            let from = self.position.get(&split.split).unwrap_or_default();
            let (first, end) = split.offsets;
            let mut batch = split.batch.clone();
            if self.counted.position.get(&split.split).is_none_or(|counted| end > counted.0) {
                let counts = Counts {
                    consumed: split.consumed,
                    emitted: batch.num_rows() as u64,
                    dead_lettered: split.rejected,
                    ..Counts::default()
                };
                self.counted.accounting.add(&split.split, counts);
                self.counted.position.set(split.split.clone(), ebap_connector::Offset(end));
            }
            if end <= from.0 {
                continue;
            }
            if first < from.0 {
                let offsets = batch.column(self.offset_column).as_primitive::<Int64Type>();
                let mask: BooleanArray = offsets.values().iter().map(|offset| Some(*offset >= from.0)).collect();
                batch = filter_record_batch(&batch, &mask)?;
            }
            self.position.set(split.split.clone(), ebap_connector::Offset(end));
            if batch.num_rows() > 0 {
                let rows = batch.project(&self.columns)?;
                self.sink.write(SinkInput::Rows(rows), &self.position).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn checkpoint(&mut self, epoch: Epoch, force: bool) -> Result<Option<Position>> {
        Ok(self.sink.checkpoint(epoch, &self.position, force).await?)
    }
}

/// The place of a sink on a stream in its pipeline, whether it runs or not.
pub(crate) struct RowsSinkJob {
    pub(crate) head: SinkHead,
    pub(crate) running: Option<RowsSink>,
    /// While it catches up.
    pub(crate) catching: Option<CatchUp>,
    counted: Counted,
}

impl RowsSinkJob {
    pub(crate) fn new(plan: Arc<SinkPlan>, config: &EngineConfig, counted: Counted) -> Self {
        Self { head: SinkHead::new(plan, config), running: None, catching: None, counted }
    }

    /// Follows `ALTER`. What is outside says where it goes on, so nothing else has to be kept.
    pub(crate) fn set_run(&mut self, run: Run) {
        let was_paused = matches!(self.head.state, SinkState::Paused);
        if self.head.set_run(run) {
            if let Some(running) = self.running.take() {
                self.counted = running.counted;
            }
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
        if let Some(running) = self.running.take() {
            self.counted = running.counted;
        }
        self.head.fail(error, now_us);
    }

    pub(crate) async fn write(&mut self, step: &StepBatch, clock: &dyn Clock) {
        let begun_us = clock.monotonic_us();
        let Some(running) = &mut self.running else { return };
        if let Err(error) = running.write(step).await {
            self.lose(&connector_error(error), clock.now_us());
        }
        self.head.waited(begun_us, clock);
    }

    pub(crate) async fn checkpoint(&mut self, epoch: Epoch, force: bool, clock: &dyn Clock) {
        let begun_us = clock.monotonic_us();
        let Some(running) = &mut self.running else { return };
        match running.checkpoint(epoch, force).await {
            Ok(Some(visible)) => self.head.visible = Some(visible),
            Ok(None) => {}
            Err(error) => self.lose(&connector_error(error), clock.now_us()),
        }
        self.head.waited(begun_us, clock);
    }
}

fn one_batch(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch> {
    // Columns of two views that were swapped may differ in whether they can be null.
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Ok(concat_batches(&Arc::new(Schema::new(fields.collect::<Vec<_>>())), batches)?)
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
