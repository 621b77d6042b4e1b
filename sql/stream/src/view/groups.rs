//! Aggregate state: for every window and key what its rows so far add up to.
//!
//! Partial rows of a step are merged into the windows of every size they belong to, so a row is
//! decoded, filtered and pre-aggregated once however many sizes there are. What an epoch has merged
//! is its delta: recovery merges it again and closes the same windows.
//!
//! ```text
//! Partial (rows of pane x keys) -> window of each size -> number of the group -> columns of state
//!                                  |
//!                                  +-> the same rows, for the delta (`delta.rs`)
//! ```
//!
//! # Invariants
//! - Keys are saved with their state, always.
//! - Asking for values or for state leaves the state as it is.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, IntervalMonthDayNanoArray, RecordBatch, TimestampMicrosecondArray},
    compute::{concat, concat_batches},
    datatypes::{DataType, Field, Int64Type, IntervalMonthDayNano, Schema, SchemaRef},
    row::{RowConverter, SortField},
};
use ebap_connector::time::instant;
use ebap_sql::{WindowPlan, WindowSize};

use super::{
    delta::Part,
    distinct::{Entry, Values, distinct_type},
    frozen::FrozenGroups,
    interner::Hasher,
    partial::{BadOfBatch, Partial, PartialAggregate, PartialState},
    store::RowId,
    windows::{Column, Keys, Merge, Placed, RUNNING, Window, WindowState, Windows},
};
use crate::{
    Error, Result,
    failed_rows::Failing,
    figures::Figures,
    flow::{end_of, floor},
    rows::{cast, record_batch},
};

/// The state columns of each aggregate.
pub(super) type StateColumns = Vec<Vec<ArrayRef>>;

/// Groups whose value may have changed, window by window.
#[derive(Debug, Default)]
pub(crate) struct Touched(Vec<(Window, Vec<u32>)>);

impl Touched {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Groups of all windows.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|(_, groups)| groups.len()).sum()
    }

    /// The first groups, so many, and the others.
    fn split_at(&self, count: usize) -> (Self, Self) {
        let (mut first, mut rest, mut left) = (Vec::new(), Vec::new(), count);
        for (window, groups) in &self.0 {
            let (before, behind) = groups.split_at(left.min(groups.len()));
            left -= before.len();
            for (part, groups) in [(&mut first, before), (&mut rest, behind)] {
                if !groups.is_empty() {
                    part.push((*window, groups.to_vec()));
                }
            }
        }
        (Self(first), Self(rest))
    }

    /// The end of the window of each group, in the order of `GroupState::evaluate`.
    pub(crate) fn ends(&self) -> Vec<i64> {
        self.0.iter().flat_map(|(window, groups)| std::iter::repeat_n(window.end, groups.len())).collect()
    }
}

/// Values of groups: batches of those that have one, their positions, and why the others have none.
#[derive(Default)]
struct Valued {
    good: Vec<RecordBatch>,
    kept: Vec<u32>,
    bad: Vec<(usize, Error)>,
}

pub(crate) struct GroupState {
    pub(super) partial: PartialAggregate,
    sizes: Vec<WindowSize>,
    converter: Option<Arc<RowConverter>>,
    groups_schema: SchemaRef,
    hasher: Hasher,
    /// Of each aggregate that counts distinct values.
    pub(super) values: Vec<Option<Values>>,
    pub(super) windows: Windows,
    /// What came since the last epoch.
    pub(super) delta: Vec<Part>,
    /// Groups of panes merged into since then, each once.
    pub(super) epoch_groups: usize,
    pub(super) epoch: u32,
}

impl GroupState {
    pub(crate) fn new(
        partial: PartialAggregate,
        window: Option<&WindowPlan>,
        groups_schema: SchemaRef,
    ) -> Result<Self> {
        let first = usize::from(partial.windowed());
        let fields = &partial.schema.fields()[first..first + partial.keys()];
        let types = fields.iter().map(|field| SortField::new(field.data_type().clone()));
        let converter = if fields.is_empty() { None } else { Some(Arc::new(RowConverter::new(types.collect())?)) };
        let sizes = window.map(|window| window.sizes.clone()).unwrap_or_default();
        let values: Result<Vec<_>> =
            partial.aggregates().map(|aggregate| distinct_type(aggregate).map(Values::new).transpose()).collect();
        Ok(Self {
            partial,
            sizes,
            converter,
            groups_schema,
            hasher: Hasher::default(),
            values: values?,
            windows: Windows::default(),
            delta: Vec::new(),
            epoch_groups: 0,
            epoch: 1,
        })
    }

    pub(crate) fn describe(&self) -> String {
        self.partial.describe()
    }

    pub(crate) fn groups(&self) -> usize {
        self.windows.open.values().map(|state| state.keys.len()).sum()
    }

    pub(crate) fn bytes(&self) -> usize {
        let values: usize = self.values.iter().flatten().map(Values::size).sum();
        values + self.windows.open.values().map(WindowState::size).sum::<usize>()
    }

    /// `SELECT count(*) FROM s` has a row before the first one comes: its one group is there from the start.
    pub(crate) fn begin(&mut self) -> Result<()> {
        if self.partial.windowed() || self.partial.keys() > 0 || self.windows.open.contains_key(&RUNNING) {
            return Ok(());
        }
        let nothing = self.partial.nothing()?;
        self.merge(nothing)?;
        Ok(())
    }

    /// Takes the rows of a step; what came of them is part of the next delta. Gives those of each batch that it could
    /// not be computed for.
    pub(crate) fn update(
        &mut self,
        batches: &[RecordBatch],
        figures: &mut Figures,
        failing: &Failing,
    ) -> Result<Vec<BadOfBatch>> {
        let begun = instant();
        let (partial, bad) = self.partial.run_computable(batches, failing)?;
        let Some(partial) = partial else { return Ok(bad) };
        let (rows, partial_rows) = (batches.iter().map(RecordBatch::num_rows).sum(), partial.rows);
        figures.partial.ran(rows, partial_rows, begun);
        let begun = instant();
        let mut part = Part::new(&partial);
        part.fresh = self.merge(partial)?;
        figures.window.ran(partial_rows, self.windows.touched_groups(), begun);
        self.delta.push(part);
        Ok(bad)
    }

    /// Merges partial rows of a delta.
    pub(crate) fn replay(&mut self, batch: &RecordBatch) -> Result<()> {
        let partial = self.partial.read(batch)?;
        self.merge(partial)?;
        Ok(())
    }

    /// Merges partial rows into every window they belong to. Gives for each aggregate that counts
    /// distinct values those that are new to a pane, by row.
    fn merge(&mut self, partial: Partial) -> Result<Vec<Vec<Entry>>> {
        let panes = partial.panes.as_ref().map(|panes| panes.values().as_ref());
        let (states, mut entries) = self.take_states(partial.states)?;
        let merge = self.prepare(&partial.keys, partial.rows, states)?;
        let mut fresh = Vec::new();
        for size in 0..self.sizes.len().max(1) {
            let placed = self.place(panes, partial.rows, size)?;
            let targets = self.windows.merge(&self.partial, &self.values, &placed, &merge)?;
            let each = entries.into_iter().enumerate();
            entries = each.map(|(at, entries)| self.windows.insert(&placed, &targets, at, entries)).collect();
            if size > 0 {
                continue;
            }
            for placed in &placed {
                if let Some(state) = self.windows.open.get_mut(&placed.window) {
                    self.epoch_groups += state.mark(self.epoch);
                }
            }
            // What a pane has, the larger windows have: only what is new to it can be new to them.
            fresh.clone_from(&entries);
        }
        Ok(fresh)
    }

    /// Keys become bytes.
    pub(super) fn prepare(&self, keys: &[ArrayRef], rows: usize, states: Vec<Vec<ArrayRef>>) -> Result<Merge> {
        let keys = match &self.converter {
            None => Keys::None,
            Some(converter) => Keys::Rows(converter.convert_columns(keys)?),
        };
        let hashes = (0..rows as u32).map(|row| self.hasher.hash(keys.get(row))).collect();
        Ok(Merge { keys, hashes, states })
    }

    /// Values become numbers. Gives the state columns of each aggregate, and the entries of each.
    fn take_states(&mut self, states: Vec<PartialState>) -> Result<(StateColumns, Vec<Vec<Entry>>)> {
        let mut columns = Vec::with_capacity(states.len());
        let mut entries = Vec::with_capacity(states.len());
        for (state, values) in states.into_iter().zip(&mut self.values) {
            let mut of = Vec::new();
            match (state, values) {
                (PartialState::Columns(state), _) => columns.push(state),
                (PartialState::Values(parts), Some(values)) => {
                    columns.push(Vec::new());
                    for part in parts {
                        values.intern(&self.hasher, &part.values, part.filter.as_ref(), &part.rows, &mut of)?;
                    }
                }
                (PartialState::Values(_), None) => unreachable!("only aggregates with values give them"),
            }
            entries.push(of);
        }
        Ok((columns, entries))
    }

    /// Which rows belong to which window of this size.
    pub(super) fn place(&self, panes: Option<&[i64]>, rows: usize, size: usize) -> Result<Vec<Placed>> {
        let Some(panes) = panes else {
            return Ok(vec![Placed { window: RUNNING, from: (0..rows as u32).collect() }]);
        };
        let length = self.sizes[size].size_us;
        let mut placed: Vec<Placed> = Vec::new();
        let mut by_start = std::collections::HashMap::new();
        for (row, pane) in panes.iter().enumerate() {
            let start = floor(*pane, length)?;
            let end = end_of(start, length)?;
            let at = *by_start.entry(start).or_insert_with(|| {
                placed.push(Placed { window: Window { end, size, start }, from: Vec::new() });
                placed.len() - 1
            });
            placed[at].from.push(row as u32);
        }
        Ok(placed)
    }

    /// Groups merged into since the last call.
    pub(crate) fn take_touched(&mut self) -> Touched {
        let mut touched = Vec::with_capacity(self.windows.touched.len());
        for window in self.windows.touched.drain(..) {
            if let Some(state) = self.windows.open.get_mut(&window) {
                let groups = std::mem::take(&mut state.touched);
                groups.iter().for_each(|group| state.is_touched[*group as usize] = false);
                touched.push((window, groups));
            }
        }
        Touched(touched)
    }

    /// All groups of the windows the watermark has closed.
    pub(crate) fn closed(&self, watermark: i64) -> Touched {
        let windows = self.windows.open.iter().take_while(|(window, _)| window.end <= watermark);
        Touched(windows.map(|(window, state)| (*window, state.all())).collect())
    }

    /// Lets the state of closed windows go.
    pub(crate) fn drop_closed(&mut self, watermark: i64) {
        let before = self.windows.open.len();
        while let Some(entry) = self.windows.open.first_entry()
            && entry.key().end <= watermark
        {
            entry.remove();
        }
        if self.windows.open.len() == before {
            return;
        }
        for (at, values) in self.values.iter_mut().enumerate() {
            if let Some(values) = values.as_mut().filter(|values| values.due()) {
                let columns = self.windows.open.values_mut().filter_map(|state| state.distinct(at));
                values.sweep(&self.hasher, columns, self.delta.iter_mut().flat_map(|part| &mut part.fresh[at]));
            }
        }
    }

    /// Final values of these groups, in `groups_schema`.
    pub(crate) fn evaluate(&mut self, of: &Touched) -> Result<RecordBatch> {
        let count = of.0.iter().map(|(_, groups)| groups.len()).sum();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.groups_schema.fields().len());
        if self.partial.windowed() {
            let each = |pick: fn(&Window) -> i64| -> ArrayRef {
                let parts = of.0.iter().flat_map(|(window, groups)| std::iter::repeat_n(pick(window), groups.len()));
                Arc::new(TimestampMicrosecondArray::from_iter_values(parts).with_timezone("+00:00"))
            };
            columns.push(each(|window| window.start));
            columns.push(each(|window| window.end));
            let sizes =
                of.0.iter()
                    .flat_map(|(window, groups)| std::iter::repeat_n(self.sizes[window.size].interval, groups.len()));
            let sizes: Vec<IntervalMonthDayNano> = sizes.collect();
            columns.push(Arc::new(IntervalMonthDayNanoArray::from(sizes)));
        }
        columns.extend(self.keys_of(of.0.iter().flat_map(|(window, groups)| {
            let keys = &self.windows.open[window].keys;
            groups.iter().map(|group| keys.get(*group))
        }))?);
        let first = columns.len();
        for at in 0..self.values.len() {
            let wanted = self.groups_schema.field(first + at).data_type();
            let mut parts = Vec::with_capacity(of.0.len());
            for (window, groups) in &of.0 {
                let state = self.windows.open.get_mut(window).expect("a touched window is open");
                parts.push(match &mut state.columns[at] {
                    Column::State(column) => column.evaluate(groups)?,
                    Column::Distinct(column) => column.evaluate(groups),
                });
            }
            let array = joined(parts, wanted)?;
            columns.push(cast(&array, wanted)?);
        }
        record_batch(&self.groups_schema, columns, count)
    }

    /// As `evaluate`, where groups that have no value are left out: a sum of doubles that is no double. Gives the
    /// positions of the others, where there are such.
    pub(crate) fn evaluate_computable(
        &mut self,
        of: &Touched,
        failing: &Failing,
    ) -> Result<(RecordBatch, Option<Vec<u32>>)> {
        let mut found = Valued::default();
        self.evaluate_halves(of, 0, &mut found)?;
        let Some(first) = found.bad.first() else {
            return Ok((concat_batches(&self.groups_schema, &found.good)?, None));
        };
        // A view that stops at an error stops here.
        let all = self.keys_batch(of)?;
        failing.rows_of(&all.slice(first.0, 1), first.1.clone(), &|_| Err(first.1.clone()))?;
        failing.note(&all, &found.bad, &|_| None);
        Ok((concat_batches(&self.groups_schema, &found.good)?, Some(found.kept)))
    }

    /// Finds the groups that have no value, half by half. `first`: the position of the first of these.
    fn evaluate_halves(&mut self, of: &Touched, first: usize, found: &mut Valued) -> Result<()> {
        let count = of.len();
        match self.evaluate(of) {
            Ok(batch) => {
                found.good.push(batch);
                found.kept.extend((first..first + count).map(|position| position as u32));
            }
            Err(error) if count < 2 => found.bad.push((first, error)),
            Err(_) => {
                let (left, right) = of.split_at(count / 2);
                self.evaluate_halves(&left, first, found)?;
                self.evaluate_halves(&right, first + count / 2, found)?;
            }
        }
        Ok(())
    }

    /// The group columns of these groups.
    fn keys_batch(&self, of: &Touched) -> Result<RecordBatch> {
        let first = if self.partial.windowed() { 3 } else { 0 };
        let columns: Vec<usize> = (first..first + self.partial.keys()).collect();
        let fields = self.groups_schema.project(&columns)?;
        let named = fields.fields().iter().zip(self.partial.names());
        let schema = Schema::new(named.map(|(of, name)| of.as_ref().clone().with_name(name)).collect::<Vec<_>>());
        let schema = Arc::new(schema);
        let keys = self.keys_of(of.0.iter().flat_map(|(window, groups)| {
            let keys = &self.windows.open[window].keys;
            groups.iter().map(|group| keys.get(*group))
        }))?;
        record_batch(&schema, keys, of.len())
    }

    /// The rows of the view that show these groups, in the order of `evaluate`; they are forgotten here.
    pub(crate) fn take_rows(&mut self, of: &Touched) -> Vec<RowId> {
        let mut rows = Vec::new();
        for (window, groups) in &of.0 {
            if let Some(state) = self.windows.open.get_mut(window) {
                rows.extend(groups.iter().filter_map(|group| state.rows[*group as usize].take()));
            }
        }
        rows
    }

    /// Remembers the rows that show them now: of those at the positions `kept`, rising, or of all.
    pub(crate) fn set_rows(&mut self, of: &Touched, kept: Option<&[u32]>, ids: &[RowId]) {
        let (mut position, mut next) = (0_u32, 0);
        for (window, groups) in &of.0 {
            let Some(state) = self.windows.open.get_mut(window) else { continue };
            for group in groups {
                if kept.is_none_or(|kept| kept.get(next) == Some(&position)) {
                    state.rows[*group as usize] = ids.get(next).copied();
                    next += 1;
                }
                position += 1;
            }
        }
    }

    /// Columns of what a base snapshot consists of.
    fn base_schema(&self) -> SchemaRef {
        let mut fields: Vec<Arc<Field>> = vec![
            Arc::new(Field::new("__size", DataType::Int64, false)),
            Arc::new(Field::new("__start", DataType::Int64, false)),
        ];
        fields.extend(self.partial.schema.fields().iter().skip(usize::from(self.partial.windowed())).cloned());
        Arc::new(Schema::new(fields))
    }

    /// The whole state as it is now: plain memory is copied, batches are made of it elsewhere.
    pub(crate) fn freeze(&mut self) -> Result<FrozenGroups> {
        let windows = self.windows.open.iter_mut().map(|(window, state)| state.freeze(*window));
        Ok(FrozenGroups {
            windows: windows.collect::<Result<_>>()?,
            schema: self.base_schema(),
            converter: self.converter.clone(),
            values: self.values.iter().map(|values| values.as_ref().map(Values::freeze)).collect(),
        })
    }

    /// Takes a batch of a base snapshot back.
    pub(crate) fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        let sizes = batch.column(0).as_primitive::<Int64Type>();
        let starts = batch.column(1).as_primitive::<Int64Type>();
        let states = self.partial.read_states(batch.columns()[2 + self.partial.keys()..].iter().cloned())?;
        let keys = self.partial.read_keys(batch.columns()[2..2 + self.partial.keys()].iter().cloned())?;
        let (states, entries) = self.take_states(states)?;
        let merge = self.prepare(&keys, batch.num_rows(), states)?;
        let mut placed: Vec<Placed> = Vec::new();
        for row in 0..batch.num_rows() {
            let window = match self.partial.windowed() {
                false => RUNNING,
                true => {
                    let (size, start) = (sizes.value(row) as usize, starts.value(row));
                    Window { end: start + self.sizes[size].size_us, size, start }
                }
            };
            match placed.iter_mut().rev().find(|placed| placed.window == window) {
                Some(placed) => placed.from.push(row as u32),
                None => placed.push(Placed { window, from: vec![row as u32] }),
            }
        }
        let targets = self.windows.merge(&self.partial, &self.values, &placed, &merge)?;
        for (at, entries) in entries.into_iter().enumerate() {
            self.windows.insert(&placed, &targets, at, entries);
        }
        Ok(())
    }

    pub(super) fn keys_of<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        keys_of(self.converter.as_deref(), keys)
    }

    /// State columns of these groups; `entries` are theirs, numbered from the first.
    pub(super) fn states_of(
        &self,
        state: &mut WindowState,
        entries: &[Vec<Entry>],
        groups: &[u32],
    ) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::new();
        for ((column, entries), values) in state.columns.iter_mut().zip(entries).zip(&self.values) {
            match (column, values) {
                (Column::State(column), _) => columns.extend(column.state(groups)?),
                (Column::Distinct(_), Some(values)) => {
                    columns.push(values.lists(entries, groups.len())?);
                }
                (Column::Distinct(_), None) => unreachable!("a column of values has them"),
            }
        }
        Ok(columns)
    }
}

impl std::fmt::Debug for GroupState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupState").field("windows", &self.windows.open.len()).finish_non_exhaustive()
    }
}

/// Keys as columns again; none where there are no group columns.
pub(super) fn keys_of<'a>(
    converter: Option<&RowConverter>,
    keys: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<ArrayRef>> {
    let Some(converter) = converter else { return Ok(Vec::new()) };
    let parser = converter.parser();
    Ok(converter.convert_rows(keys.map(|key| parser.parse(key)))?)
}

fn joined(mut parts: Vec<ArrayRef>, of: &DataType) -> Result<ArrayRef> {
    Ok(match parts.len() {
        0 => arrow::array::new_empty_array(of),
        1 => parts.swap_remove(0),
        _ => concat(&parts.iter().map(|part| part.as_ref()).collect::<Vec<_>>())?,
    })
}
