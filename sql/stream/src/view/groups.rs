//! Aggregate state: for every window and key what its rows so far add up to.
//!
//! Partial rows of a step are merged into the windows of every size they belong to, so a row is
//! decoded, filtered and pre-aggregated once however many sizes there are. What an epoch has merged
//! is its delta: recovery merges it again and closes the same windows.
//!
//! ```text
//! Partial (rows of pane x keys) -> window of each size -> number of the group -> columns of state
//!                                  |
//!                                  +-> the same rows as a batch: the delta
//! ```
//!
//! # Invariants
//! - Keys are saved with their state, always.
//! - Asking for values or for state leaves the state as it is.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, IntervalMonthDayNanoArray, RecordBatch, TimestampMicrosecondArray},
    compute::concat,
    datatypes::{DataType, Field, Int64Type, IntervalMonthDayNano, Schema, SchemaRef},
    row::{RowConverter, Rows, SortField},
};
use ebap_sql::{WindowPlan, WindowSize};

use super::{
    columns::{StateColumn, state_column},
    distinct::{DistinctColumn, Entry, Values, distinct_type},
    interner::{Hasher, Interner},
    partial::{Partial, PartialAggregate, PartialState},
};
use crate::{Result, rows::record_batch, view::store::RowId};

/// Ordered by end, so that what the watermark closes lies in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Window {
    pub(crate) end: i64,
    /// Index in the sizes of the view.
    pub(crate) size: usize,
    pub(crate) start: i64,
}

/// The one window of a running `GROUP BY`.
const RUNNING: Window = Window { end: i64::MAX, size: 0, start: i64::MIN };

/// Groups whose value may have changed, window by window.
#[derive(Debug, Default)]
pub(crate) struct Touched(Vec<(Window, Vec<u32>)>);

impl Touched {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The end of the window of each group, in the order of `GroupState::evaluate`.
    pub(crate) fn ends(&self) -> Vec<i64> {
        self.0.iter().flat_map(|(window, groups)| std::iter::repeat_n(window.end, groups.len())).collect()
    }
}

/// The groups of one window.
#[derive(Debug)]
struct WindowState {
    keys: Interner,
    columns: Vec<Column>,
    /// The row of the view that shows the group.
    rows: Vec<Option<RowId>>,
    /// Groups merged into since they were last asked for, and for each group whether it is among them.
    touched: Vec<u32>,
    is_touched: Vec<bool>,
    /// The epoch in which each group was last merged into; panes alone know it.
    epochs: Vec<u32>,
}

#[derive(Debug)]
enum Column {
    State(Box<dyn StateColumn>),
    Distinct(DistinctColumn),
}

pub(crate) struct GroupState {
    partial: PartialAggregate,
    sizes: Vec<WindowSize>,
    converter: Option<RowConverter>,
    groups_schema: SchemaRef,
    hasher: Hasher,
    /// Of each aggregate that counts distinct values.
    values: Vec<Option<Values>>,
    windows: Windows,
    /// Groups of panes merged into since the delta was last reduced, each once.
    epoch_groups: usize,
    epoch: u32,
}

#[derive(Debug, Default)]
struct Windows {
    open: BTreeMap<Window, WindowState>,
    /// Windows with groups in `touched`.
    touched: Vec<Window>,
}

/// The rows of a partial state that belong to one window.
struct Placed {
    window: Window,
    from: Vec<u32>,
}

/// Partial rows, ready to be merged into windows.
struct Merge {
    keys: Keys,
    hashes: Vec<u64>,
    states: Vec<Vec<ArrayRef>>,
}

/// Group keys as bytes, one per row.
enum Keys {
    None,
    Rows(Rows),
}

impl Keys {
    fn get(&self, row: u32) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Rows(rows) => rows.row(row as usize).data(),
        }
    }
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
        let converter = if fields.is_empty() { None } else { Some(RowConverter::new(types.collect())?) };
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

    /// Takes the rows of a step; gives the partial rows that came of them.
    pub(crate) fn update(&mut self, batches: &[RecordBatch]) -> Result<RecordBatch> {
        let partial = self.partial.run(batches)?;
        let (rows, panes, keys) = (partial.rows, partial.panes.clone(), partial.keys.clone());
        let mut columns: Vec<ArrayRef> =
            panes.into_iter().map(|panes| Arc::new(panes) as ArrayRef).chain(keys).collect();
        let plain: Vec<Option<Vec<ArrayRef>>> = partial.states.iter().map(PartialState::columns).collect();
        let fresh = self.merge(partial)?;
        for ((plain, fresh), values) in plain.into_iter().zip(fresh).zip(&self.values) {
            match (plain, values) {
                (Some(plain), _) => columns.extend(plain),
                (None, Some(values)) => columns.push(values.lists(&fresh, rows)?),
                (None, None) => unreachable!("an aggregate has columns of state or values"),
            }
        }
        record_batch(&self.partial.schema, columns, rows)
    }

    /// Merges partial rows that `update` gave.
    pub(crate) fn replay(&mut self, batch: &RecordBatch) -> Result<()> {
        let partial = self.partial.read(batch)?;
        self.merge(partial)?;
        Ok(())
    }

    /// Merges partial rows into every window they belong to. Gives for each aggregate that counts
    /// distinct values those that are new, by row.
    fn merge(&mut self, partial: Partial) -> Result<Vec<Vec<Entry>>> {
        let (panes, rows) = (partial.panes.clone(), partial.rows);
        let panes = panes.as_ref().map(|panes| panes.values().as_ref());
        let (merge, entries) = self.prepare(&partial.keys, partial.rows, partial.states)?;
        let placed = self.place(panes, rows, 0);
        let fresh = self.windows.merge(&self.partial, &self.values, &placed, &merge, entries)?;
        for placed in &placed {
            if let Some(state) = self.windows.open.get_mut(&placed.window) {
                self.epoch_groups += state.mark(self.epoch);
            }
        }
        // What a pane has, the larger windows have: only what is new to it can be new to them. The delta
        // needs what is new to the pane.
        let mut entries = fresh.clone();
        for size in 1..self.sizes.len() {
            let placed = self.place(panes, rows, size);
            entries = self.windows.merge(&self.partial, &self.values, &placed, &merge, entries)?;
        }
        Ok(fresh)
    }

    /// The same delta with one row per group, where that makes it much shorter: what an epoch costs
    /// follows the groups it changed and not the steps it took.
    pub(crate) fn reduce(&mut self, delta: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        let groups = self.epoch_groups;
        self.begin_epoch();
        let rows: usize = delta.iter().map(RecordBatch::num_rows).sum();
        let live = self.windows.open.values().next().is_some_and(WindowState::has_live);
        if delta.len() < 2 || rows < groups * 3 / 2 || live {
            return Ok(delta);
        }
        let mut panes = Windows::default();
        for batch in &delta {
            let partial = self.partial.read(batch)?;
            let starts = partial.panes.clone();
            let placed = self.place(starts.as_ref().map(|starts| starts.values().as_ref()), partial.rows, 0);
            let (merge, entries) = self.prepare(&partial.keys, partial.rows, partial.states)?;
            panes.merge(&self.partial, &self.values, &placed, &merge, entries)?;
        }
        let mut reduced = Vec::with_capacity(panes.open.len());
        for (window, mut state) in panes.open {
            let (all, entries) = (state.all(), state.entries());
            let mut columns: Vec<ArrayRef> = Vec::new();
            if self.partial.windowed() {
                let starts = TimestampMicrosecondArray::from(vec![window.start; all.len()]);
                columns.push(Arc::new(starts.with_timezone("+00:00")));
            }
            columns.extend(self.keys_of(all.iter().map(|group| state.keys.get(*group)))?);
            columns.extend(self.states_of(&mut state, &entries, &all)?);
            reduced.push(record_batch(&self.partial.schema, columns, all.len())?);
        }
        Ok(reduced)
    }

    pub(crate) fn begin_epoch(&mut self) {
        self.epoch_groups = 0;
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Keys and values become bytes and numbers.
    fn prepare(
        &mut self,
        keys: &[ArrayRef],
        rows: usize,
        states: Vec<PartialState>,
    ) -> Result<(Merge, Vec<Vec<Entry>>)> {
        let keys = match &self.converter {
            None => Keys::None,
            Some(converter) => Keys::Rows(converter.convert_columns(keys)?),
        };
        let hashes = (0..rows as u32).map(|row| self.hasher.hash(keys.get(row))).collect();
        let (states, entries) = self.take_states(states)?;
        Ok((Merge { keys, hashes, states }, entries))
    }

    /// Values become numbers. Gives the state columns of each aggregate, and the entries of each.
    fn take_states(&mut self, states: Vec<PartialState>) -> Result<(Vec<Vec<ArrayRef>>, Vec<Vec<Entry>>)> {
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
    fn place(&self, panes: Option<&[i64]>, rows: usize, size: usize) -> Vec<Placed> {
        let Some(panes) = panes else {
            return vec![Placed { window: RUNNING, from: (0..rows as u32).collect() }];
        };
        let length = self.sizes[size].size_us;
        let mut placed: Vec<Placed> = Vec::new();
        let mut by_start = std::collections::HashMap::new();
        for (row, pane) in panes.iter().enumerate() {
            let start = pane.div_euclid(length) * length;
            let at = *by_start.entry(start).or_insert_with(|| {
                placed.push(Placed { window: Window { end: start + length, size, start }, from: Vec::new() });
                placed.len() - 1
            });
            placed[at].from.push(row as u32);
        }
        placed
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
                values.sweep(self.windows.open.values_mut().filter_map(|state| state.distinct(at)));
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
            columns.push(if array.data_type() == wanted { array } else { arrow::compute::cast(&array, wanted)? });
        }
        record_batch(&self.groups_schema, columns, count)
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

    fn base_schema(&self) -> SchemaRef {
        let mut fields: Vec<Arc<Field>> = vec![
            Arc::new(Field::new("__size", DataType::Int64, false)),
            Arc::new(Field::new("__start", DataType::Int64, false)),
        ];
        fields.extend(self.partial.schema.fields().iter().skip(usize::from(self.partial.windowed())).cloned());
        Arc::new(Schema::new(fields))
    }

    /// The whole state as batches of at most `rows_max` groups of one window.
    pub(crate) fn snapshot(&mut self, rows_max: usize) -> Result<Vec<RecordBatch>> {
        let (schema, mut batches) = (self.base_schema(), Vec::new());
        let windows: Vec<Window> = self.windows.open.keys().copied().collect();
        for window in windows {
            let Some(mut state) = self.windows.open.remove(&window) else { continue };
            let (all, entries) = (state.all(), state.entries());
            for groups in all.chunks(rows_max) {
                let rows = groups.len();
                let mut columns: Vec<ArrayRef> = vec![
                    Arc::new(Int64Array::from(vec![window.size as i64; rows])),
                    Arc::new(Int64Array::from(vec![window.start; rows])),
                ];
                columns.extend(self.keys_of(groups.iter().map(|group| state.keys.get(*group)))?);
                columns.extend(self.states_of(&mut state, &entries, groups)?);
                batches.push(record_batch(&schema, columns, rows)?);
            }
            self.windows.open.insert(window, state);
        }
        Ok(batches)
    }

    /// Takes a batch of `snapshot` back.
    pub(crate) fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        let sizes = batch.column(0).as_primitive::<Int64Type>();
        let starts = batch.column(1).as_primitive::<Int64Type>();
        let states = self.partial.read_states(batch.columns()[2 + self.partial.keys()..].iter().cloned())?;
        let keys = &batch.columns()[2..2 + self.partial.keys()];
        let (merge, entries) = self.prepare(keys, batch.num_rows(), states)?;
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
        self.windows.merge(&self.partial, &self.values, &placed, &merge, entries)?;
        Ok(())
    }

    fn keys_of<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let Some(converter) = &self.converter else { return Ok(Vec::new()) };
        let parser = converter.parser();
        Ok(converter.convert_rows(keys.map(|key| parser.parse(key)))?)
    }

    /// State columns of consecutive groups; `entries` are those of the whole window.
    fn states_of(&self, state: &mut WindowState, entries: &[Vec<Entry>], groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::new();
        for ((column, entries), values) in state.columns.iter_mut().zip(entries).zip(&self.values) {
            match (column, values) {
                (Column::State(column), _) => columns.extend(column.state(groups)?),
                (Column::Distinct(_), Some(values)) => {
                    columns.push(values.lists(&part_of(entries, groups), groups.len())?);
                }
                (Column::Distinct(_), None) => unreachable!("a column of values has them"),
            }
        }
        Ok(columns)
    }
}

impl Windows {
    /// Merges rows into windows of one size; gives the entries that were new to them, by row.
    fn merge(
        &mut self,
        partial: &PartialAggregate,
        values: &[Option<Values>],
        placed: &[Placed],
        merge: &Merge,
        entries: Vec<Vec<Entry>>,
    ) -> Result<Vec<Vec<Entry>>> {
        // Of each row its window (an index in `placed`) and its group there.
        let mut targets = vec![(0_u32, 0_u32); merge.hashes.len()];
        for (at, Placed { window, from }) in placed.iter().enumerate() {
            let state = match self.open.get_mut(window) {
                Some(state) => state,
                None => {
                    let new = WindowState::new(partial, values)?;
                    self.open.entry(*window).or_insert(new)
                }
            };
            if state.touched.is_empty() {
                self.touched.push(*window);
            }
            let number = |row: &u32| state.keys.intern(merge.hashes[*row as usize], merge.keys.get(*row));
            let to: Vec<u32> = from.iter().map(number).collect();
            let groups = state.keys.len();
            state.touch(&to);
            for (column, states) in state.columns.iter_mut().zip(&merge.states) {
                match column {
                    Column::State(column) => column.merge(states, from, &to, groups)?,
                    Column::Distinct(column) => column.resize(groups),
                }
            }
            for (row, group) in from.iter().zip(to) {
                targets[*row as usize] = (at as u32, group);
            }
        }
        let each = entries.into_iter().enumerate();
        Ok(each.map(|(aggregate, entries)| self.insert(placed, &targets, aggregate, entries)).collect())
    }

    fn insert(
        &mut self,
        placed: &[Placed],
        targets: &[(u32, u32)],
        aggregate: usize,
        mut entries: Vec<Entry>,
    ) -> Vec<Entry> {
        if entries.is_empty() {
            return entries;
        }
        let window_of = |entry: &Entry| targets[entry.0 as usize].0;
        if placed.len() > 1 {
            // So that the entries of a window lie together.
            entries.sort_by_key(window_of);
        }
        let mut fresh = Vec::new();
        for part in entries.chunk_by(|a, b| window_of(a) == window_of(b)) {
            let window = &placed[window_of(&part[0]) as usize].window;
            let state = self.open.get_mut(window).expect("rows were merged into it");
            if let Some(column) = state.distinct(aggregate) {
                let new = |(row, number): &&Entry| column.insert(targets[*row as usize].1, *number);
                fresh.extend(part.iter().filter(new).copied());
            }
        }
        // Lists are made of it, row by row.
        fresh.sort_unstable();
        fresh
    }
}

impl std::fmt::Debug for GroupState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupState").field("windows", &self.windows.open.len()).finish_non_exhaustive()
    }
}

impl WindowState {
    fn new(partial: &PartialAggregate, values: &[Option<Values>]) -> Result<Self> {
        let column = |(aggregate, values): (&_, &Option<Values>)| match values {
            Some(_) => Ok(Column::Distinct(DistinctColumn::default())),
            None => Ok(Column::State(state_column(aggregate)?)),
        };
        let columns: Result<Vec<Column>> = partial.aggregates().zip(values).map(column).collect();
        Ok(Self {
            keys: Interner::default(),
            columns: columns?,
            rows: Vec::new(),
            touched: Vec::new(),
            is_touched: Vec::new(),
            epochs: Vec::new(),
        })
    }

    /// Notes that the touched groups belong to this epoch; gives how many did not yet.
    fn mark(&mut self, epoch: u32) -> usize {
        self.epochs.resize(self.keys.len(), 0);
        let new = |group: &&u32| std::mem::replace(&mut self.epochs[**group as usize], epoch) != epoch;
        self.touched.iter().filter(new).count()
    }

    fn has_live(&self) -> bool {
        self.columns.iter().any(|column| matches!(column, Column::State(column) if !column.thin()))
    }

    /// Of each aggregate that counts distinct values all its entries, by group.
    fn entries(&self) -> Vec<Vec<Entry>> {
        let entries = |column: &Column| match column {
            Column::Distinct(column) => column.entries(),
            Column::State(_) => Vec::new(),
        };
        self.columns.iter().map(entries).collect()
    }

    fn touch(&mut self, groups: &[u32]) {
        self.rows.resize(self.keys.len(), None);
        self.is_touched.resize(self.keys.len(), false);
        for group in groups {
            if !std::mem::replace(&mut self.is_touched[*group as usize], true) {
                self.touched.push(*group);
            }
        }
    }

    fn all(&self) -> Vec<u32> {
        (0..self.keys.len() as u32).collect()
    }

    fn distinct(&mut self, aggregate: usize) -> Option<&mut DistinctColumn> {
        match &mut self.columns[aggregate] {
            Column::Distinct(column) => Some(column),
            Column::State(_) => None,
        }
    }

    fn size(&self) -> usize {
        let columns = self.columns.iter().map(|column| match column {
            Column::State(column) => column.size(),
            Column::Distinct(column) => column.size(),
        });
        self.keys.size() + self.rows.capacity() * 16 + self.is_touched.capacity() + columns.sum::<usize>()
    }
}

impl PartialState {
    fn columns(&self) -> Option<Vec<ArrayRef>> {
        match self {
            Self::Columns(columns) => Some(columns.clone()),
            Self::Values(_) => None,
        }
    }
}

/// The entries of these groups, which are consecutive, numbered from the first.
fn part_of(entries: &[Entry], groups: &[u32]) -> Vec<Entry> {
    let (Some(first), Some(last)) = (groups.first(), groups.last()) else { return Vec::new() };
    let start = entries.partition_point(|(group, _)| group < first);
    let end = entries.partition_point(|(group, _)| group <= last);
    entries[start..end].iter().map(|(group, number)| (group - first, *number)).collect()
}

fn joined(mut parts: Vec<ArrayRef>, of: &DataType) -> Result<ArrayRef> {
    Ok(match parts.len() {
        0 => arrow::array::new_empty_array(of),
        1 => parts.swap_remove(0),
        _ => concat(&parts.iter().map(|part| part.as_ref()).collect::<Vec<_>>())?,
    })
}
