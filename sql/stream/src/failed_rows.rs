//! Rows that an expression of a view cannot be computed for (`1 / x` where x is 0): left out, counted, and kept for
//! `view$errors`, so that the view goes on.
//!
//! Which row it is, is not in the error: a part of a batch is tried after the other, half by half. An expression gives
//! the same for the same row, so a row that was left out as it came is left out as it goes.

use std::{cell::RefCell, collections::VecDeque, sync::Arc};

use arrow::{
    array::{
        ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit},
};
use datafusion::physical_expr::{
    PhysicalExpr,
    expressions::{Column, Literal},
};
use ebap_sql::OnError;
use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    flow::Delta,
    prepare::{SplitBatch, StepBatch},
};

/// Rows kept of one view, the newest.
const KEPT_MAX: usize = 200;
/// Characters that are kept of a row, of each of its values and of a reason: a value may be as large as a record.
const TEXT_MAX: usize = 1_000;

/// A row that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedRow {
    /// Where its record is; not known behind an aggregate or a join.
    pub(crate) place: Option<Place>,
    /// Its values as JSON, as far as they were read.
    pub(crate) row: String,
    pub(crate) sqlstate: Option<String>,
    pub(crate) reason: String,
    pub(crate) failed_at_us: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// Those of one view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedRows {
    /// Counts every row that was left out, also those that are kept no more.
    pub(crate) count: u64,
    pub(crate) newest: VecDeque<FailedRow>,
}

impl FailedRows {
    pub(crate) fn put(&mut self, row: FailedRow) {
        self.count += 1;
        self.keep(row);
    }

    /// Puts the rows of a later step behind these.
    pub(crate) fn append(&mut self, later: Self) {
        self.count += later.count;
        later.newest.into_iter().for_each(|row| self.keep(row));
    }

    fn keep(&mut self, row: FailedRow) {
        // A group fails with every row that it is given: the newest says it.
        if row.place.is_none() {
            self.newest.retain(|other| other.place.is_some() || other.reason != row.reason);
        }
        self.newest.push_back(row);
        if self.newest.len() > KEPT_MAX {
            self.newest.pop_front();
        }
    }

    /// For `ebap.jobs`, where there are any.
    pub(crate) fn message(&self, view: &str) -> Option<String> {
        let newest = self.newest.back()?;
        let rows = if self.count == 1 { "1 row was" } else { &format!("{} rows were", self.count) };
        Some(format!("{rows} left out, see {view}$errors; the newest: {}", newest.reason))
    }
}

/// Columns of `view$errors`.
pub(crate) fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    Arc::new(Schema::new(vec![
        Field::new("_partition", DataType::Int32, true),
        Field::new("_offset", DataType::Int64, true),
        Field::new("row", DataType::Utf8, false),
        Field::new("sqlstate", DataType::Utf8, true),
        Field::new("reason", DataType::Utf8, false),
        Field::new("failed_at", time, false),
    ]))
}

/// Rows of `view$errors`, in the order in which they failed.
pub(crate) fn rows(failed: &FailedRows) -> Result<RecordBatch> {
    let all = || failed.newest.iter();
    let of = |row: &FailedRow| row.place.as_ref().map(|place| place.offset);
    let times = TimestampMicrosecondArray::from_iter_values(all().map(|row| row.failed_at_us));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(all().map(|row| Some(row.place.as_ref()?.partition)).collect::<Int32Array>()),
        Arc::new(all().map(of).collect::<Int64Array>()),
        Arc::new(StringArray::from_iter_values(all().map(|row| &row.row))),
        Arc::new(all().map(|row| row.sqlstate.as_deref()).collect::<StringArray>()),
        Arc::new(StringArray::from_iter_values(all().map(|row| &row.reason))),
        Arc::new(times.with_timezone("+00:00")),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

/// Decides by `on_error` what a step of a view does with rows that fail, and collects them.
pub(crate) struct Failing {
    on_error: OnError,
    now_us: i64,
    found: RefCell<Found>,
}

#[derive(Debug, Default)]
struct Found {
    failed: FailedRows,
    /// Rows of the source, by split of the step: a row is left out once, whatever fails for it.
    sources: HashMap<u32, HashSet<u32>>,
}

impl Failing {
    pub(crate) fn new(on_error: OnError, now_us: i64) -> Self {
        Self { on_error, now_us, found: RefCell::default() }
    }

    /// Which rows `run` fails for, and why; nothing where it does not fail.
    ///
    /// # Errors
    /// That of `run`, where the view stops at it, or it is not of a row.
    pub(crate) fn rows_of(
        &self,
        batch: &RecordBatch,
        error: Error,
        run: &dyn Fn(&RecordBatch) -> Result<()>,
    ) -> Result<Vec<(usize, Error)>> {
        match (self.on_error, &error) {
            (OnError::Skip, Error::DataFusion(_)) => {}
            (OnError::Skip | OnError::Stop, _) => return Err(error),
        }
        let mut bad = Vec::new();
        halve(batch, (0, batch.num_rows()), run, &mut bad);
        // Together they fail and each alone does not: it is not about a row.
        if bad.is_empty() { Err(error) } else { Ok(bad) }
    }

    /// Notes rows of this batch that were left out. `source`: of each row its place in the step, where it has one.
    pub(crate) fn note(&self, batch: &RecordBatch, bad: &[(usize, Error)], source: &dyn Fn(usize) -> Option<Source>) {
        let found = &mut *self.found.borrow_mut();
        let sources = bad.iter().map(|(row, error)| (*row, error, source(*row)));
        let mut is_new = |source: &Source| found.sources.entry(source.split).or_default().insert(source.row);
        let new: Vec<_> = sources.filter(|(_, _, source)| source.as_ref().is_none_or(&mut is_new)).collect();
        // A row as text is slow to make, and all rows of a step may fail.
        let unkept = new.len().saturating_sub(KEPT_MAX);
        found.failed.count += unkept as u64;
        for (row, error, source) in new.into_iter().skip(unkept) {
            let place = source.map(|source| source.place);
            found.failed.put(FailedRow { place, ..FailedRow::without_place(batch, row, error, self.now_us) });
        }
    }

    /// The rows of a change that these expressions can be computed for.
    pub(crate) fn computable(
        &self,
        delta: Delta,
        exprs: &[Arc<dyn PhysicalExpr>],
        step: Option<&StepBatch>,
    ) -> Result<Delta> {
        if exprs.is_empty() || delta.rows() == 0 {
            return Ok(delta);
        }
        let run = |batch: &RecordBatch| -> Result<()> {
            exprs.iter().try_for_each(|expr| Ok(expr.evaluate(batch).map(drop)?))
        };
        let Err(error) = run(&delta.batch) else { return Ok(delta) };
        let bad = self.rows_of(&delta.batch, error, &run)?;
        self.note_change(&delta, &bad, step);
        delta.filter(&without(delta.rows(), &bad))
    }

    /// As `note`, of a change: a row that goes was noted as it came.
    pub(crate) fn note_change(&self, delta: &Delta, bad: &[(usize, Error)], step: Option<&StepBatch>) {
        let came: Vec<(usize, Error)> = bad.iter().filter(|(row, _)| delta.weight(*row) > 0).cloned().collect();
        self.note(&delta.batch, &came, &|row| {
            let (split, row) = delta.source_of(row)?;
            Source::of(step?, split, row)
        });
    }

    /// Rows of this split of the step that were left out so far.
    pub(crate) fn of_split(&self, split: usize) -> u64 {
        let found = self.found.borrow();
        u32::try_from(split).ok().and_then(|split| found.sources.get(&split)).map_or(0, HashSet::len) as u64
    }

    pub(crate) fn into_failed(self) -> FailedRows {
        self.found.into_inner().failed
    }
}

/// Where a row of the source stands in a step, and its place outside.
pub(crate) struct Source {
    split: u32,
    row: u32,
    place: Place,
}

impl Source {
    pub(crate) fn of(step: &StepBatch, split: u32, row: u32) -> Option<Self> {
        let place = Place::of(step.splits.get(split as usize)?, row as usize)?;
        Some(Self { split, row, place })
    }
}

impl Place {
    fn of(split: &SplitBatch, row: usize) -> Option<Self> {
        let offsets = split.batch.column_by_name("_offset")?.as_primitive_opt::<Int64Type>()?;
        (row < offsets.len()).then(|| Self { partition: split.partition, offset: offsets.value(row) })
    }
}

impl FailedRow {
    /// A row of a stream.
    pub(crate) fn of(split: &SplitBatch, row: usize, error: &Error, now_us: i64) -> Self {
        Self { place: Place::of(split, row), ..Self::without_place(&split.batch, row, error, now_us) }
    }

    fn without_place(batch: &RecordBatch, row: usize, error: &Error, now_us: i64) -> Self {
        let (sqlstate, reason) = error.sqlstate_and_message();
        Self { place: None, row: text_of(batch, row), sqlstate, reason: shortened(reason), failed_at_us: now_us }
    }
}

/// True for the rows that are not among these.
pub(crate) fn without(rows: usize, bad: &[(usize, Error)]) -> BooleanArray {
    let mut keep = vec![true; rows];
    bad.iter().for_each(|(row, _)| keep[*row] = false);
    BooleanArray::from(keep)
}

/// Those that can fail: not a column as it is, and not a literal.
pub(crate) fn that_can_fail<'a>(
    exprs: impl IntoIterator<Item = &'a Arc<dyn PhysicalExpr>>,
) -> Vec<Arc<dyn PhysicalExpr>> {
    let exprs = exprs.into_iter().filter(|expr| !expr.is::<Column>() && !expr.is::<Literal>());
    exprs.cloned().collect()
}

fn halve(
    batch: &RecordBatch,
    (from, to): (usize, usize),
    run: &dyn Fn(&RecordBatch) -> Result<()>,
    bad: &mut Vec<(usize, Error)>,
) {
    if from == to {
        return;
    }
    let Err(error) = run(&batch.slice(from, to - from)) else { return };
    if to - from == 1 {
        bad.push((from, error));
        return;
    }
    let middle = from + (to - from) / 2;
    halve(batch, (from, middle), run, bad);
    halve(batch, (middle, to), run, bad);
}

/// Declared columns that are not NULL, as JSON; what nobody reads was not made, and is NULL.
fn text_of(batch: &RecordBatch, row: usize) -> String {
    let mut values = serde_json::Map::new();
    let schema = batch.schema();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if field.name().starts_with('_') {
            continue;
        }
        let Ok(Some(text)) = crate::text::text_of(column, row) else { continue };
        values.insert(field.name().clone(), serde_json::Value::String(shortened(text)));
    }
    shortened(serde_json::Value::Object(values).to_string())
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
