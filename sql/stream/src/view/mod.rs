//! A materialized view or table as a job: takes steps, keeps rows, gives changes and deltas.

pub(crate) mod bad_rows;
mod columns;
mod delta;
mod distinct;
mod flow;
mod frozen;
mod groups;
mod interner;
mod pairs;
mod partial;
pub(crate) mod store;
mod windows;

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array},
    compute::{filter, filter_record_batch, take, take_record_batch},
    datatypes::{DataType, Field, Int64Type, Schema, TimestampMicrosecondType, UInt32Type},
    row::{RowConverter, SortField},
};
use ebap_catalog::ObjectId;
use ebap_connector::{
    ChangeBatch,
    time::{Clock, instant},
};
use ebap_sql::{AggregatePlan, Emit, OnError, SourcePlan, ViewPlan, ViewQuery};

use crate::{
    EngineConfig, Error, Result,
    accounting::{Accounting, Counts},
    failed_rows::{FailedRows, Failing, Source},
    figures::{Figures, Operator},
    memory::MemoryShare,
    prepare::{SplitBatch, StepBatch},
    rows::{Computed, RowOps, adapted_batch},
};
use bad_rows::BadRows;
use flow::FlowState;
use frozen::FrozenGroups;
use groups::{GroupState, Touched};
use partial::PartialAggregate;
use store::{FrozenRows, RowId, ViewStore};

const TIME_COLUMN: &str = "__time";
/// Last column in what a table saves of an epoch: whether the row of the key went. Older states have none.
const DELETED_COLUMN: &str = "__deleted";
const SNAPSHOT_ROWS: usize = 65_536;
/// Rows between two looks at how much memory a view takes.
const MEASURE_ROWS: usize = 32_768;

/// What a job saves at an epoch.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    pub(crate) state: Vec<RecordBatch>,
    pub(crate) rows: Vec<RecordBatch>,
}

/// State and rows of a job at a moment.
#[derive(Debug)]
pub(crate) struct Frozen {
    groups: Option<FrozenGroups>,
    /// Of a flow, ready to be written.
    flow: Vec<RecordBatch>,
    rows: FrozenRows,
}

impl Frozen {
    /// Takes as long as it has much.
    pub(crate) fn saved(&self) -> Result<Saved> {
        let state = match &self.groups {
            Some(groups) => groups.batches(SNAPSHOT_ROWS)?,
            None => self.flow.clone(),
        };
        let rows = self.rows.rows()?.iter().map(|(batch, times)| with_times(batch, times)).collect::<Result<_>>()?;
        Ok(Saved { state, rows })
    }
}

#[derive(Debug)]
enum Kind {
    /// `GROUP BY`, with a window or running.
    Groups { state: Box<GroupState>, output: RowOps, pane_us: Option<i64> },
    /// Projection and filter: a row of the view per row of the stream.
    Rows,
    /// Operators over changelogs.
    Flow(Box<FlowState>),
    /// A table: the newest row per key.
    Keyed { converter: RowConverter, key: Vec<usize>, index: HashMap<Box<[u8]>, RowId> },
}

pub(crate) struct ViewJob {
    pub(crate) id: ObjectId,
    pub(crate) name: String,
    input: RowOps,
    kind: Kind,
    emit: Emit,
    retention_us: Option<i64>,
    time_column: Option<usize>,
    watermark_column: usize,
    pub(crate) store: Arc<ViewStore>,
    /// Rows since the last epoch; groups keep their own.
    delta: Vec<RecordBatch>,
    watermark: i64,
    pub(crate) accounting: Accounting,
    pub(crate) figures: Figures,
    rows_max: usize,
    state_bytes_max: usize,
    /// Of what the process may take.
    memory: MemoryShare,
    on_error: OnError,
    /// Rows that it could not be computed for.
    pub(crate) failed: FailedRows,
    /// Since they were last written down.
    failed_changed: bool,
    /// While it catches up after it has failed: leaves out what it cannot be computed for.
    pub(crate) bad_rows: Option<BadRows>,
    /// It is only tried whether rows can be computed.
    rows_alone: bool,
    /// Rows taken since its memory was last measured.
    unmeasured_rows: usize,
    /// While it catches up.
    behind: Option<Behind>,
    /// For rows that leave by it.
    pub(crate) clock: Option<Arc<dyn Clock>>,
}

/// Rows that a job has taken since it fell behind, and how many they were when readers were last shown what they give.
#[derive(Debug, Default)]
struct Behind {
    taken: usize,
    shown: usize,
}

impl Behind {
    /// Whether to show what there is. Each time twice as many rows have been taken: a long list of a group is made
    /// anew each time.
    fn shows(&mut self, rows: usize) -> bool {
        self.taken += rows;
        let due = self.taken >= self.shown.saturating_mul(2);
        if due {
            self.shown = self.taken;
        }
        due
    }
}

/// The rows of one split that belong to the view.
struct Admitted {
    batch: RecordBatch,
    times: Vec<i64>,
    /// Which rows of the split they are; none: all of them, in order.
    rows: Option<UInt32Array>,
    counts: Counts,
}

impl ViewJob {
    pub(crate) fn view(
        source: &SourcePlan,
        plan: &ViewPlan,
        store: Arc<ViewStore>,
        config: &EngineConfig,
    ) -> Result<Self> {
        let (input, kind) = match (&plan.query, &plan.flow) {
            (ViewQuery::Steps(steps), _) => {
                let input = RowOps::build(&steps.input, &source.full_schema)?;
                let kind = match &steps.aggregate {
                    Some(aggregate) => Self::groups(&steps.input, &input, aggregate)?,
                    None => Kind::Rows,
                };
                (input, kind)
            }
            (ViewQuery::Flow, Some(flow)) => {
                (RowOps::columns(&source.full_schema, &[])?, Kind::Flow(Box::new(FlowState::new(flow, &plan.schema)?)))
            }
            (ViewQuery::Flow, None) => return Err(Error::Internal("a view without a plan".to_owned())),
        };
        Ok(Self::new(source, (plan.id, plan.name.clone()), input, kind, store, config).emitting(plan))
    }

    pub(crate) fn table(source: &SourcePlan, store: Arc<ViewStore>, config: &EngineConfig) -> Result<Self> {
        let columns: Vec<usize> = (0..source.schema.fields().len()).collect();
        // Of a row that goes all but the key may be NULL.
        let nullable = source.full_schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let input = RowOps::columns(&Arc::new(Schema::new(nullable.collect::<Vec<_>>())), &columns)?;
        let types = source.primary_key.iter().map(|at| SortField::new(source.schema.field(*at).data_type().clone()));
        let converter = RowConverter::new(types.collect())?;
        let kind = Kind::Keyed { converter, key: source.primary_key.clone(), index: HashMap::new() };
        Ok(Self::new(source, (source.id, source.name.clone()), input, kind, store, config))
    }

    fn new(
        source: &SourcePlan,
        (id, name): (ObjectId, String),
        input: RowOps,
        kind: Kind,
        store: Arc<ViewStore>,
        config: &EngineConfig,
    ) -> Self {
        Self {
            id,
            name,
            input,
            kind,
            emit: Emit::Update,
            retention_us: None,
            time_column: source.watermark.map(|watermark| watermark.column),
            watermark_column: source.full_schema.fields().len().saturating_sub(1),
            store,
            delta: Vec::new(),
            watermark: i64::MIN,
            accounting: Accounting::default(),
            figures: Figures::default(),
            rows_max: config.view_rows_max,
            state_bytes_max: config.state_bytes_max,
            memory: config.memory.share(),
            on_error: OnError::default(),
            failed: FailedRows::default(),
            failed_changed: false,
            bad_rows: None,
            rows_alone: false,
            unmeasured_rows: 0,
            behind: None,
            clock: None,
        }
    }

    fn now_us(&self) -> i64 {
        self.clock.as_ref().map_or(0, |clock| clock.now_us())
    }

    fn emitting(mut self, plan: &ViewPlan) -> Self {
        self.emit = plan.emit;
        self.retention_us = plan.retention_us;
        self.on_error = plan.on_error;
        self
    }

    fn groups(plan: &datafusion::logical_expr::LogicalPlan, input: &RowOps, aggregate: &AggregatePlan) -> Result<Kind> {
        let partial = PartialAggregate::new(plan, input.schema(), aggregate)?;
        let window = aggregate.window.as_ref();
        let state = GroupState::new(partial, window, Arc::clone(&aggregate.groups_schema))?;
        let output = RowOps::build(&aggregate.output, &aggregate.groups_schema)?;
        Ok(Kind::Groups { state: Box::new(state), output, pane_us: window.map(|window| window.pane_us) })
    }

    /// Takes the rows of a step. `wanted`: gives what changed in the view.
    ///
    /// # Errors
    /// `Memory` too, where what it holds has outgrown its bound, caught up or not.
    pub(crate) fn process(&mut self, step: &StepBatch, wanted: bool) -> Result<Vec<ChangeBatch>> {
        let changes = match self.bad_rows.take() {
            None => self.take_step(step, wanted)?,
            Some(mut bad) => {
                let good = bad.without(step, self.now_us())?;
                let found = bad.take_found();
                self.bad_rows = Some(bad);
                self.keep_failed(found);
                self.take_step(&good, wanted)?
            }
        };
        self.unmeasured_rows += step.splits.iter().map(|split| split.batch.num_rows()).sum::<usize>();
        if self.unmeasured_rows >= MEASURE_ROWS {
            self.check_memory()?;
        }
        Ok(changes)
    }

    /// Nothing is made of groups and joins: only what is computed of each row alone can fail.
    fn rows_alone(mut self) -> Self {
        self.rows_alone = true;
        if let Kind::Flow(flow) = &mut self.kind {
            flow.rows_alone();
        }
        self
    }

    fn take_step(&mut self, step: &StepBatch, wanted: bool) -> Result<Vec<ChangeBatch>> {
        let failing = Failing::new(self.on_error, self.now_us());
        let changes = match self.kind {
            Kind::Flow(_) => self.process_flow(step, wanted, &failing),
            Kind::Groups { .. } | Kind::Rows | Kind::Keyed { .. } => self.process_rows(step, wanted, &failing),
        }?;
        self.keep_failed(failing.into_failed());
        Ok(changes)
    }

    /// Keeps what was left out, for whoever reads it.
    fn keep_failed(&mut self, failed: FailedRows) {
        if failed.count > 0 {
            self.failed.append(failed);
            self.failed_changed = true;
            self.store.set_failed(self.failed.clone());
        }
    }

    fn process_rows(&mut self, step: &StepBatch, wanted: bool, failing: &Failing) -> Result<Vec<ChangeBatch>> {
        let begun = instant();
        let (mut batches, mut times, mut deleted, mut rows) = (Vec::new(), Vec::new(), Vec::new(), 0);
        // `counts` has one entry for each split, `sources` for each batch: its split, and its rows of that split.
        let (mut counts, mut sources): (Vec<Counts>, Vec<_>) = (Vec::new(), Vec::new());
        for split in &step.splits {
            let at = counts.len();
            let admitted = self.admit(split, failing, (step, at))?;
            counts.push(admitted.counts);
            rows += split.batch.num_rows();
            if admitted.batch.num_rows() > 0 {
                batches.push(admitted.batch);
                times.push(admitted.times);
                sources.push((at, admitted.rows));
                deleted.push(split.deleted.as_ref());
            }
        }
        if let (Kind::Groups { state, .. }, false) = (&mut self.kind, batches.is_empty()) {
            let bad = state.update(&batches, &mut self.figures, failing)?;
            for ((bad, batch), (split, rows)) in bad.iter().zip(&batches).zip(&sources) {
                let row = |row: usize| rows.as_ref().map_or(row as u32, |rows| rows.value(row));
                failing.note(batch, bad, &|at| Source::of(step, *split as u32, row(at)));
                counts[*split].emitted -= bad.len() as u64;
                counts[*split].failed += bad.len() as u64;
            }
        }
        for (split, counts) in step.splits.iter().zip(counts) {
            self.accounting.add(&split.split, counts);
        }
        self.figures.input.ran(rows, batches.iter().map(RecordBatch::num_rows).sum(), begun);
        if batches.is_empty() {
            return Ok(Vec::new());
        }
        self.figures.steps += 1;
        match &mut self.kind {
            Kind::Groups { state, .. } => {
                if self.behind.as_mut().is_some_and(|behind| !behind.shows(rows)) {
                    return Ok(Vec::new());
                }
                let touched = state.take_touched();
                if self.emit == Emit::WindowClose || self.rows_alone {
                    return Ok(Vec::new());
                }
                self.publish(&touched, wanted, failing)
            }
            Kind::Rows => self.append(batches, times, wanted),
            // Handled above.
            Kind::Flow(_) => Ok(Vec::new()),
            Kind::Keyed { .. } => {
                let mut out = Vec::new();
                for (batch, deleted) in batches.into_iter().zip(deleted) {
                    self.delta.push(with_deleted(&batch, deleted)?);
                    out.extend(self.upsert(batch, deleted, wanted)?);
                }
                Ok(out)
            }
        }
    }

    /// The rows of a split that belong to the view, with their event times, and where the others went. `place`: where
    /// the split stands.
    fn admit(&self, split: &SplitBatch, failing: &Failing, place: (&StepBatch, usize)) -> Result<Admitted> {
        let mut batch = split.batch.clone();
        let (mut late, mut open_rows) = (0, None);
        if let (true, Kind::Groups { pane_us: Some(pane_us), .. }, Some(time)) =
            (split.late > 0, &self.kind, self.time_column)
        {
            // Late for the view: the smallest window is closed. `_watermark` is null for rows on time.
            let times = batch.column(time).as_primitive::<TimestampMicrosecondType>();
            let marks = batch.column(self.watermark_column).as_primitive::<TimestampMicrosecondType>();
            let open = |at: usize| {
                let end = (times.value(at).div_euclid(*pane_us) + 1).saturating_mul(*pane_us);
                Some(marks.is_null(at) || end > marks.value(at))
            };
            let mask: BooleanArray = (0..batch.num_rows()).map(open).collect();
            late = (batch.num_rows() - mask.true_count()) as u64;
            if late > 0 {
                batch = filter_record_batch(&batch, &mask)?;
                let all = UInt32Array::from_iter_values(0..mask.len() as u32);
                open_rows = Some(filter(&all, &mask)?.as_primitive::<UInt32Type>().clone());
            }
        }
        let admitted = batch.num_rows() as u64;
        let times =
            self.time_column.map(|column| batch.column(column).as_primitive::<TimestampMicrosecondType>().clone());
        let Computed { batch: rows, index, bad } = self.input.run_computable(batch.clone(), failing)?;
        let failed = bad.len() as u64;
        if failed > 0 {
            let row = |row: usize| open_rows.as_ref().map_or(row as u32, |rows| rows.value(row));
            failing.note(&batch, &bad, &|at| Source::of(place.0, place.1 as u32, row(at)));
        }
        let taken = match (&open_rows, &index) {
            (None, index) => index.clone(),
            (Some(open), None) => Some(open.clone()),
            (Some(open), Some(index)) => Some(take(open, index, None)?.as_primitive::<UInt32Type>().clone()),
        };
        let times = match (times, index) {
            (None, _) => vec![i64::MAX; rows.num_rows()],
            (Some(times), None) => times.values().to_vec(),
            (Some(times), Some(index)) => {
                take(&times, &index, None)?.as_primitive::<TimestampMicrosecondType>().values().to_vec()
            }
        };
        let emitted = rows.num_rows() as u64;
        debug_assert!(self.input.has_filter() || emitted + failed == admitted, "only a filter drops rows");
        let counts = Counts {
            consumed: split.consumed,
            emitted,
            late,
            dead_lettered: split.rejected,
            filtered: admitted - emitted - failed + split.skipped,
            failed: failed + split.failed,
            missed: split.missed,
        };
        Ok(Admitted { batch: rows, times, rows: taken, counts })
    }

    /// Brings the view's rows of these groups up to date.
    fn publish(&mut self, touched: &Touched, wanted: bool, failing: &Failing) -> Result<Vec<ChangeBatch>> {
        let Kind::Groups { state, output, .. } = &mut self.kind else { return Ok(Vec::new()) };
        if touched.is_empty() {
            return Ok(Vec::new());
        }
        let begun = instant();
        let (values, valued) = state.evaluate_computable(touched, failing)?;
        let Computed { batch: rows, index, bad } = output.run_computable(values.clone(), failing)?;
        if !bad.is_empty() {
            failing.note(&values, &bad, &|_| None);
        }
        let kept: Option<Vec<u32>> = match (valued, index) {
            (None, index) => index.map(|index| index.values().to_vec()),
            (valued, None) => valued,
            (Some(valued), Some(index)) => Some(index.values().iter().map(|at| valued[*at as usize]).collect()),
        };
        let kept = kept.as_deref();
        let gone = state.take_rows(touched);
        let deletes = if wanted { Some(self.store.gather(&gone)?) } else { None };
        let ends = touched.ends();
        let times = match kept {
            None => ends,
            Some(kept) => kept.iter().map(|at| ends[*at as usize]).collect(),
        };
        let inserts = wanted.then(|| rows.clone());
        let (groups, count) = (touched.len(), rows.num_rows());
        let ids = self.store.apply(&gone, rows, times)?;
        state.set_rows(touched, kept, &ids);
        self.figures.output.ran(groups, count, begun);
        if self.store.rows() > self.rows_max {
            return Err(self.too_large("rows", self.rows_max));
        }
        Ok(deletes.zip(inserts).map(|(deletes, inserts)| ChangeBatch { deletes, inserts }).into_iter().collect())
    }

    fn append(&mut self, batches: Vec<RecordBatch>, times: Vec<Vec<i64>>, wanted: bool) -> Result<Vec<ChangeBatch>> {
        let (begun, mut out, mut count) = (instant(), Vec::new(), 0);
        for (batch, times) in batches.into_iter().zip(times) {
            count += batch.num_rows();
            self.delta.push(with_times(&batch, &times)?);
            if wanted {
                let deletes = RecordBatch::new_empty(batch.schema());
                out.push(ChangeBatch { deletes, inserts: batch.clone() });
            }
            self.store.apply(&[], batch, times)?;
        }
        self.figures.output.ran(count, count, begun);
        if self.store.rows() > self.rows_max {
            return Err(self.too_large("rows", self.rows_max));
        }
        Ok(out)
    }

    /// The newest row of each key takes the place of the one before, or takes it away.
    fn upsert(
        &mut self,
        batch: RecordBatch,
        deleted: Option<&BooleanArray>,
        wanted: bool,
    ) -> Result<Option<ChangeBatch>> {
        let Kind::Keyed { converter, key, index } = &mut self.kind else { return Ok(None) };
        let columns: Vec<ArrayRef> = key.iter().map(|at| Arc::clone(batch.column(*at))).collect();
        let keys = converter.convert_columns(&columns)?;
        let mut last: HashMap<&[u8], u32> = HashMap::new();
        let rows: Vec<_> = keys.iter().collect();
        for (at, row) in rows.iter().enumerate() {
            last.insert(row.as_ref(), at as u32);
        }
        let mut newest: Vec<u32> = last.values().copied().collect();
        newest.sort_unstable();
        let mut gone: Vec<RowId> = Vec::new();
        newest.retain(|at| {
            let (key, stays) =
                (rows[*at as usize].as_ref(), deleted.is_none_or(|deleted| !deleted.value(*at as usize)));
            gone.extend(if stays { index.get(key).copied() } else { index.remove(key) });
            stays
        });
        let batch = take_record_batch(&batch, &UInt32Array::from(newest.clone()))?;
        let batch = crate::rows::record_batch(self.store.schema(), batch.columns().to_vec(), batch.num_rows())?;
        let deletes = if wanted { Some(self.store.gather(&gone)?) } else { None };
        let inserts = wanted.then(|| batch.clone());
        let count = batch.num_rows();
        let ids = self.store.apply(&gone, batch, vec![i64::MAX; count])?;
        for (at, id) in newest.iter().zip(ids) {
            index.insert(Box::from(rows[*at as usize].as_ref()), id);
        }
        if self.store.rows() > self.rows_max {
            return Err(self.too_large("rows", self.rows_max));
        }
        Ok(deletes.zip(inserts).map(|(deletes, inserts)| ChangeBatch { deletes, inserts }))
    }

    /// Closes what the watermark has passed and lets go what `retention` no longer keeps.
    pub(crate) fn advance(&mut self, watermark: i64, wanted: bool) -> Result<Vec<ChangeBatch>> {
        if let Kind::Flow(_) = self.kind {
            return self.advance_flow(watermark, wanted);
        }
        if watermark <= self.watermark {
            return Ok(Vec::new());
        }
        self.watermark = watermark;
        let mut out = Vec::new();
        if let Kind::Groups { state, .. } = &mut self.kind {
            if self.emit == Emit::WindowClose {
                let closed = state.closed(watermark);
                let failing = Failing::new(self.on_error, self.now_us());
                out.extend(self.publish(&closed, wanted, &failing)?);
                self.keep_failed(failing.into_failed());
            }
            if let Kind::Groups { state, .. } = &mut self.kind {
                state.drop_closed(watermark);
            }
        }
        if let Some(retention) = self.retention_us
            && let Some(gone) = self.store.expire(watermark.saturating_sub(retention), wanted)?
        {
            out.push(ChangeBatch { deletes: gone, inserts: RecordBatch::new_empty(Arc::clone(self.store.schema())) });
        }
        Ok(out)
    }

    /// Bytes of state and rows.
    ///
    /// # Errors
    /// `Memory` where they have outgrown their bound, or the process its own by them.
    pub(crate) fn check_memory(&mut self) -> Result<usize> {
        self.unmeasured_rows = 0;
        let state = match &self.kind {
            Kind::Groups { state, .. } => state.bytes(),
            Kind::Flow(flow) => flow.bytes(),
            Kind::Rows | Kind::Keyed { .. } => 0,
        };
        let view = self.store.bytes();
        (self.figures.state_bytes, self.figures.view_bytes) = (Some(state), Some(view));
        let bytes = state + view;
        if bytes > self.state_bytes_max {
            return Err(self.too_large("bytes", self.state_bytes_max));
        }
        self.memory.note(bytes).map_err(|limit| Error::Memory {
            job: self.name.clone(),
            message: format!("the server may take {limit} bytes (memory_limit), and no other job has more"),
        })?;
        Ok(bytes)
    }

    pub(crate) fn state_groups(&self) -> usize {
        match &self.kind {
            Kind::Groups { state, .. } => state.groups(),
            Kind::Flow(flow) => flow.entries(),
            Kind::Rows | Kind::Keyed { .. } => 0,
        }
    }

    /// What came since the last call: merged again over what was saved before, it gives this state.
    pub(crate) fn take_delta(&mut self) -> Result<Vec<RecordBatch>> {
        match &mut self.kind {
            Kind::Groups { state, .. } => state.take_delta(),
            Kind::Flow(flow) => flow.saved(false, &self.store),
            Kind::Rows | Kind::Keyed { .. } => Ok(std::mem::take(&mut self.delta)),
        }
    }

    /// Rows that were left out, where that has changed since the last call.
    pub(crate) fn take_failed(&mut self) -> Option<FailedRows> {
        std::mem::take(&mut self.failed_changed).then(|| self.failed.clone())
    }

    /// What came so far is saved otherwise.
    pub(crate) fn forget_delta(&mut self) {
        match &mut self.kind {
            Kind::Groups { state, .. } => state.forget_delta(),
            Kind::Flow(flow) => flow.forget_changes(),
            Kind::Rows | Kind::Keyed { .. } => self.delta.clear(),
        }
    }

    /// The whole state, for whoever writes it.
    pub(crate) fn freeze(&mut self) -> Result<Frozen> {
        self.forget_delta();
        Ok(match &mut self.kind {
            // Rows of open windows follow from their state; those of closed ones do not. With `ON WINDOW
            // CLOSE` there are no others.
            Kind::Groups { state, .. } => {
                Frozen { groups: Some(state.freeze()?), flow: Vec::new(), rows: self.store.freeze(self.watermark) }
            }
            Kind::Flow(flow) => {
                Frozen { groups: None, flow: flow.saved(true, &self.store)?, rows: self.store.freeze(i64::MIN) }
            }
            Kind::Rows | Kind::Keyed { .. } => {
                Frozen { groups: None, flow: Vec::new(), rows: self.store.freeze(i64::MAX) }
            }
        })
    }

    /// From now on it works on rows that nobody sees. Gives those that readers see, for `show`.
    pub(crate) fn hide(&mut self) -> Arc<ViewStore> {
        let hidden = Arc::new(ViewStore::new(Arc::clone(self.store.schema())));
        std::mem::replace(&mut self.store, hidden)
    }

    /// Readers see its rows from now on, in one act.
    pub(crate) fn show(&mut self, shown: Arc<ViewStore>) {
        shown.swap(&self.store);
        self.store = shown;
        self.store.set_failed(self.failed.clone());
    }

    /// Takes a snapshot back into an empty job.
    pub(crate) fn restore(&mut self, saved: Saved) -> Result<()> {
        for batch in &saved.rows {
            let (batch, times) = without_times(batch, self.store.schema())?;
            match &mut self.kind {
                Kind::Keyed { .. } => {
                    self.upsert(batch, None, false)?;
                }
                Kind::Groups { .. } | Kind::Rows => {
                    self.store.apply(&[], batch, times)?;
                }
                Kind::Flow(_) => {}
            }
        }
        if let Kind::Flow(flow) = &mut self.kind {
            for batch in &saved.state {
                flow.restore(batch, &self.store)?;
            }
        }
        if let Kind::Groups { state, .. } = &mut self.kind {
            for batch in &saved.state {
                state.restore(batch)?;
            }
        }
        Ok(())
    }

    /// Takes the delta of an epoch back. The watermark is applied once, after the last: rows of a
    /// closed window that came late are in no delta.
    pub(crate) fn replay(&mut self, batches: Vec<RecordBatch>) -> Result<()> {
        for batch in batches {
            match &mut self.kind {
                Kind::Groups { state, .. } => state.replay(&batch)?,
                Kind::Flow(flow) => flow.restore(&batch, &self.store)?,
                Kind::Keyed { .. } => {
                    let (batch, deleted) = without_deleted(&batch);
                    self.upsert(batch, deleted.as_ref(), false)?;
                }
                Kind::Rows => {
                    let (batch, times) = without_times(&batch, self.store.schema())?;
                    self.store.apply(&[], batch, times)?;
                }
            }
        }
        Ok(())
    }

    /// From now on readers are shown now and then what came of many steps.
    pub(crate) fn begin_behind(&mut self) {
        self.behind = Some(Behind::default());
    }

    /// Readers are shown all of it, and each step from now on.
    pub(crate) fn end_behind(&mut self) -> Result<()> {
        let (Some(_), Kind::Groups { state, .. }) = (self.behind.take(), &mut self.kind) else { return Ok(()) };
        let touched = state.take_touched();
        if self.emit == Emit::Update {
            let failing = Failing::new(self.on_error, self.now_us());
            self.publish(&touched, false, &failing)?;
            self.keep_failed(failing.into_failed());
        }
        Ok(())
    }

    /// Aggregates without keys have a row before the first row of the stream comes. Does nothing where they have it.
    pub(crate) fn begin(&mut self) -> Result<()> {
        let failing = Failing::new(self.on_error, self.now_us());
        match &mut self.kind {
            Kind::Groups { state, .. } => {
                state.begin()?;
                let touched = state.take_touched();
                self.publish(&touched, false, &failing)?;
            }
            Kind::Flow(_) => self.begin_flow(&failing)?,
            Kind::Rows | Kind::Keyed { .. } => {}
        }
        self.keep_failed(failing.into_failed());
        Ok(())
    }

    /// Brings the view's rows up to date with what was restored and replayed.
    pub(crate) fn settle(&mut self) -> Result<()> {
        if let (Kind::Groups { state, .. }, Emit::Update) = (&mut self.kind, self.emit) {
            let touched = state.take_touched();
            // Groups that fail were noted before.
            self.publish(&touched, false, &Failing::new(self.on_error, 0))?;
        } else if let Kind::Groups { state, .. } = &mut self.kind {
            state.take_touched();
        } else if let Kind::Flow(flow) = &mut self.kind {
            flow.settle()?;
        }
        Ok(())
    }

    fn too_large(&self, what: &str, most: usize) -> Error {
        Error::Memory { job: self.name.clone(), message: format!("the limit is {most} {what}") }
    }

    /// The plan of a step, outermost first, and what its operators have done: the view's, and those of its
    /// stream.
    pub(crate) fn describe(&self, done: Option<(&Figures, &Figures)>) -> String {
        let mut lines: Vec<String> = Vec::new();
        let note = |lines: &mut Vec<String>, first: usize, pick: fn(&Figures) -> &Operator| {
            if let (Some((own, _)), Some(line)) = (done, lines.get_mut(first)) {
                *line = format!("{line}  {}", pick(own));
            }
        };
        if let Kind::Groups { state, output, pane_us } = &self.kind {
            lines.extend(output.describe());
            note(&mut lines, 0, |own| &own.output);
            let emit = if self.emit == Emit::WindowClose { "window close" } else { "update" };
            lines.push(match pane_us {
                Some(pane_us) => format!("WindowAgg: pane={}s, emit on {emit}", *pane_us as f64 / 1e6),
                None => "GroupAgg: running, emit on update".to_owned(),
            });
            let at = lines.len() - 1;
            note(&mut lines, at, |own| &own.window);
            if let Some(bytes) = done.and_then(|(own, _)| own.state_bytes) {
                lines[at].push_str(&format!(", state {bytes} bytes"));
            }
            lines.push(state.describe());
            note(&mut lines, at + 1, |own| &own.partial);
        }
        if let Kind::Flow(flow) = &self.kind {
            return flow.describe(done);
        }
        let at = lines.len();
        lines.extend(self.input.describe());
        note(&mut lines, at, |own| &own.input);
        lines.push(match done {
            Some((_, source)) => format!("StepSource: decode, checks, columns  {}", source.input),
            None => "StepSource".to_owned(),
        });
        lines
            .iter()
            .enumerate()
            .map(|(depth, line)| format!("{}{line}", "  ".repeat(depth)))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl std::fmt::Debug for ViewJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ViewJob").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

fn with_times(batch: &RecordBatch, times: &[i64]) -> Result<RecordBatch> {
    let mut fields = batch.schema().fields().to_vec();
    fields.push(Arc::new(Field::new(TIME_COLUMN, DataType::Int64, false)));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(Int64Array::from(times.to_vec())));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn without_times(batch: &RecordBatch, schema: &arrow::datatypes::SchemaRef) -> Result<(RecordBatch, Vec<i64>)> {
    let last = batch.num_columns() - 1;
    let times = batch.column(last).as_primitive::<Int64Type>().values().to_vec();
    let mut batch = batch.clone();
    batch.remove_column(last);
    Ok((adapted_batch(&batch, schema)?, times))
}

fn with_deleted(batch: &RecordBatch, deleted: Option<&BooleanArray>) -> Result<RecordBatch> {
    let mut fields = batch.schema().fields().to_vec();
    fields.push(Arc::new(Field::new(DELETED_COLUMN, DataType::Boolean, false)));
    let mut columns = batch.columns().to_vec();
    let none = || BooleanArray::from(vec![false; batch.num_rows()]);
    columns.push(Arc::new(deleted.cloned().unwrap_or_else(none)));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn without_deleted(batch: &RecordBatch) -> (RecordBatch, Option<BooleanArray>) {
    let last = batch.num_columns() - 1;
    if batch.schema().field(last).name() != DELETED_COLUMN {
        return (batch.clone(), None);
    }
    let mut rows = batch.clone();
    let deleted = rows.remove_column(last).as_boolean().clone();
    (rows, Some(deleted))
}
