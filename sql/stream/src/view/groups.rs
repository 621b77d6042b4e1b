//! Aggregate state: for every window and key the accumulators of DataFusion, kept alive.
//!
//! Partial rows of a step are merged into the windows of every size they belong to, so a row is
//! decoded, filtered and pre-aggregated once however many sizes there are. What an epoch has merged
//! is its delta: recovery merges it again and closes the same windows. Only a base snapshot asks
//! the accumulators for their whole state.
//!
//! # Invariants
//! - Keys are saved with their state, always.
//! - `evaluate` leaves an accumulator as it is (DataFusion's contract); `state` may empty it, so after
//!   a snapshot the accumulators are made anew from what was written.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, IntervalMonthDayNanoArray, RecordBatch, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Int64Type, IntervalMonthDayNano, Schema, SchemaRef, TimestampMicrosecondType},
    row::{RowConverter, SortField},
};
use datafusion::{common::ScalarValue, logical_expr::Accumulator};
use ebap_sql::{WindowPlan, WindowSize};

use crate::{
    Result,
    rows::record_batch,
    view::{partial::PartialPlan, store::RowId},
};

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

type Key = Box<[u8]>;

struct Group {
    accumulators: Vec<Box<dyn Accumulator>>,
    row: Option<RowId>,
    touched: bool,
}

/// A group whose value may have changed.
pub(crate) type Touched = Vec<(Window, Key)>;

pub(crate) struct GroupState {
    partial: PartialPlan,
    sizes: Vec<WindowSize>,
    converter: RowConverter,
    group_types: Vec<DataType>,
    groups_schema: SchemaRef,
    windows: BTreeMap<Window, HashMap<Key, Group>>,
    touched: Touched,
}

impl GroupState {
    pub(crate) fn new(partial: PartialPlan, window: Option<&WindowPlan>, groups_schema: SchemaRef) -> Result<Self> {
        let first = usize::from(partial.windowed);
        let fields = &partial.schema.fields()[first..first + partial.groups];
        let group_types: Vec<DataType> = fields.iter().map(|field| field.data_type().clone()).collect();
        let converter = RowConverter::new(group_types.iter().cloned().map(SortField::new).collect())?;
        let sizes = window.map(|window| window.sizes.clone()).unwrap_or_default();
        Ok(Self {
            partial,
            sizes,
            converter,
            group_types,
            groups_schema,
            windows: BTreeMap::new(),
            touched: Vec::new(),
        })
    }

    pub(crate) fn partial(&mut self) -> &mut PartialPlan {
        &mut self.partial
    }

    pub(crate) fn describe(&self) -> String {
        self.partial.describe()
    }

    pub(crate) fn groups(&self) -> usize {
        self.windows.values().map(HashMap::len).sum()
    }

    pub(crate) fn bytes(&self) -> usize {
        let groups = self.windows.values().flat_map(HashMap::iter);
        groups.map(|(key, group)| 64 + key.len() + group.accumulators.iter().map(|one| one.size()).sum::<usize>()).sum()
    }

    /// Merges partial rows into every window they belong to.
    pub(crate) fn merge(&mut self, batch: &RecordBatch) -> Result<()> {
        let first = usize::from(self.partial.windowed);
        let panes = self.partial.windowed.then(|| batch.column(0).as_primitive::<TimestampMicrosecondType>().clone());
        let keys = self.keys(&batch.columns()[first..first + self.partial.groups], batch.num_rows())?;
        let states = &batch.columns()[first + self.partial.groups..];
        for (row, key) in keys.into_iter().enumerate() {
            let state: Vec<ArrayRef> = states.iter().map(|column| column.slice(row, 1)).collect();
            match &panes {
                None => self.merge_row(RUNNING, key, &state)?,
                Some(panes) => {
                    let pane = panes.value(row);
                    for size in 0..self.sizes.len() {
                        let length = self.sizes[size].size_us;
                        let start = pane.div_euclid(length) * length;
                        self.merge_row(Window { end: start + length, size, start }, key.clone(), &state)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn merge_row(&mut self, window: Window, key: Key, state: &[ArrayRef]) -> Result<()> {
        let groups = self.windows.entry(window).or_default();
        let group = match groups.get_mut(&key) {
            Some(group) => group,
            None => {
                let accumulators: datafusion::error::Result<Vec<_>> =
                    self.partial.aggregates.iter().map(|aggregate| aggregate.create_accumulator()).collect();
                let group = Group { accumulators: accumulators?, row: None, touched: false };
                groups.entry(key.clone()).or_insert(group)
            }
        };
        let mut at = 0;
        for (accumulator, aggregate) in group.accumulators.iter_mut().zip(&self.partial.aggregates) {
            let width = aggregate.state_fields()?.len();
            accumulator.merge_batch(&state[at..at + width])?;
            at += width;
        }
        if !group.touched {
            group.touched = true;
            self.touched.push((window, key));
        }
        Ok(())
    }

    /// Groups merged into since the last call.
    pub(crate) fn take_touched(&mut self) -> Touched {
        let touched = std::mem::take(&mut self.touched);
        for (window, key) in &touched {
            if let Some(group) = self.windows.get_mut(window).and_then(|groups| groups.get_mut(key)) {
                group.touched = false;
            }
        }
        touched
    }

    /// All groups of the windows the watermark has closed.
    pub(crate) fn closed(&self, watermark: i64) -> Touched {
        let windows = self.windows.iter().take_while(|(window, _)| window.end <= watermark);
        windows.flat_map(|(window, groups)| groups.keys().map(|key| (*window, key.clone()))).collect()
    }

    /// Lets the state of closed windows go.
    pub(crate) fn drop_closed(&mut self, watermark: i64) {
        while let Some(entry) = self.windows.first_entry()
            && entry.key().end <= watermark
        {
            entry.remove();
        }
    }

    /// Final values of these groups, in `groups_schema`.
    pub(crate) fn evaluate(&mut self, of: &Touched) -> Result<RecordBatch> {
        let mut values: Vec<Vec<ScalarValue>> = vec![Vec::with_capacity(of.len()); self.partial.aggregates.len()];
        for (window, key) in of {
            let group =
                self.windows.get_mut(window).and_then(|groups| groups.get_mut(key)).expect("a touched group exists");
            for (column, accumulator) in values.iter_mut().zip(&mut group.accumulators) {
                column.push(accumulator.evaluate()?);
            }
        }
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.groups_schema.fields().len());
        if self.partial.windowed {
            let times = |pick: fn(&Window) -> i64| -> ArrayRef {
                let times = of.iter().map(|(window, _)| pick(window));
                Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("+00:00"))
            };
            columns.push(times(|window| window.start));
            columns.push(times(|window| window.end));
            let sizes: Vec<IntervalMonthDayNano> =
                of.iter().map(|(window, _)| self.sizes[window.size].interval).collect();
            columns.push(Arc::new(IntervalMonthDayNanoArray::from(sizes)));
        }
        columns.extend(self.key_columns(of.iter().map(|(_, key)| key.as_ref()))?);
        let first = columns.len();
        for (at, column) in values.into_iter().enumerate() {
            let wanted = self.groups_schema.field(first + at).data_type();
            let array = if column.is_empty() {
                arrow::array::new_empty_array(wanted)
            } else {
                ScalarValue::iter_to_array(column)?
            };
            let array = if array.data_type() == wanted { array } else { arrow::compute::cast(&array, wanted)? };
            columns.push(array);
        }
        record_batch(&self.groups_schema, columns, of.len())
    }

    pub(crate) fn row_of(&self, (window, key): &(Window, Key)) -> Option<RowId> {
        self.windows.get(window)?.get(key)?.row
    }

    pub(crate) fn set_row(&mut self, (window, key): &(Window, Key), row: Option<RowId>) {
        if let Some(group) = self.windows.get_mut(window).and_then(|groups| groups.get_mut(key)) {
            group.row = row;
        }
    }

    /// Rows of the view that follow from the state and need no saving.
    pub(crate) fn rows(&self) -> std::collections::HashSet<RowId> {
        self.windows.values().flat_map(HashMap::values).filter_map(|group| group.row).collect()
    }

    fn base_schema(&self) -> SchemaRef {
        let mut fields: Vec<Arc<Field>> = vec![
            Arc::new(Field::new("__size", DataType::Int64, false)),
            Arc::new(Field::new("__start", DataType::Int64, false)),
        ];
        fields.extend(self.partial.schema.fields().iter().skip(usize::from(self.partial.windowed)).cloned());
        Arc::new(Schema::new(fields))
    }

    /// The whole state as batches of at most `rows_max` groups.
    pub(crate) fn snapshot(&mut self, rows_max: usize) -> Result<Vec<RecordBatch>> {
        let all: Touched =
            self.windows.iter().flat_map(|(window, groups)| groups.keys().map(|key| (*window, key.clone()))).collect();
        let schema = self.base_schema();
        let mut batches = Vec::new();
        for part in all.chunks(rows_max) {
            let mut states: Vec<Vec<ScalarValue>> = Vec::new();
            for (window, key) in part {
                let group =
                    self.windows.get_mut(window).and_then(|groups| groups.get_mut(key)).expect("listed just now");
                let mut row = Vec::new();
                for (accumulator, aggregate) in group.accumulators.iter_mut().zip(&self.partial.aggregates) {
                    let state = accumulator.state()?;
                    let arrays: datafusion::error::Result<Vec<_>> =
                        state.iter().map(|value| value.to_array_of_size(1)).collect();
                    *accumulator = aggregate.create_accumulator()?;
                    accumulator.merge_batch(&arrays?)?;
                    row.extend(state);
                }
                states.resize_with(row.len(), Vec::new);
                for (column, value) in states.iter_mut().zip(row) {
                    column.push(value);
                }
            }
            let mut columns: Vec<ArrayRef> = vec![
                Arc::new(part.iter().map(|(window, _)| window.size as i64).collect::<Int64Array>()),
                Arc::new(part.iter().map(|(window, _)| window.start).collect::<Int64Array>()),
            ];
            columns.extend(self.key_columns(part.iter().map(|(_, key)| key.as_ref()))?);
            let first = columns.len();
            for (at, column) in states.into_iter().enumerate() {
                let wanted = schema.field(first + at).data_type();
                let array = ScalarValue::iter_to_array(column)?;
                columns.push(if array.data_type() == wanted { array } else { arrow::compute::cast(&array, wanted)? });
            }
            let nullable = Schema::new(
                schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
            );
            batches.push(record_batch(&Arc::new(nullable), columns, part.len())?);
        }
        Ok(batches)
    }

    /// Takes a batch of `snapshot` back.
    pub(crate) fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        let sizes = batch.column(0).as_primitive::<Int64Type>();
        let starts = batch.column(1).as_primitive::<Int64Type>();
        let keys = self.keys(&batch.columns()[2..2 + self.partial.groups], batch.num_rows())?;
        for (row, key) in keys.into_iter().enumerate() {
            let state: Vec<ArrayRef> =
                batch.columns()[2 + self.partial.groups..].iter().map(|column| column.slice(row, 1)).collect();
            let window = if self.partial.windowed {
                let size = sizes.value(row) as usize;
                Window { end: starts.value(row) + self.sizes[size].size_us, size, start: starts.value(row) }
            } else {
                RUNNING
            };
            self.merge_row(window, key, &state)?;
        }
        Ok(())
    }

    fn keys(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<Key>> {
        if self.group_types.is_empty() {
            return Ok(vec![Key::default(); rows]);
        }
        let keys = self.converter.convert_columns(columns)?;
        Ok(keys.iter().map(|key| Key::from(key.as_ref())).collect())
    }

    fn key_columns<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        if self.group_types.is_empty() {
            return Ok(Vec::new());
        }
        let parser = self.converter.parser();
        Ok(self.converter.convert_rows(keys.map(|key| parser.parse(key)))?)
    }
}

impl std::fmt::Debug for GroupState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupState").field("windows", &self.windows.len()).finish_non_exhaustive()
    }
}
