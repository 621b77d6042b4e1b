//! Rows that the query of a view cannot be computed for: found and left out when a failed view is resumed.
//!
//! A row is bad where what the query makes of it alone fails: filters, columns, keys and arguments, below the first
//! operator that has a state. That is tried on jobs over nothing, half of a step after the other, so that a step
//! without bad rows costs one attempt.

use arrow::{
    array::{Array, AsArray, BooleanArray},
    compute::filter_record_batch,
    datatypes::Int64Type,
};

use super::ViewJob;
use crate::{
    Error, Result,
    failed_rows::{FailedRow, FailedRows},
    guard::guarded,
    prepare::{SplitBatch, StepBatch},
};

/// Rows left out of one view, at the most: beyond it the query is wrong and not the rows.
const LEFT_OUT_MAX: usize = 1_000;

/// A job of the same view over nothing.
pub(crate) type Scratch = Box<dyn Fn() -> Result<ViewJob> + Send + Sync>;

/// Tries the rows of a step before the view takes them.
pub(crate) struct BadRows {
    scratch: Scratch,
    count: usize,
    first: Option<String>,
    found: FailedRows,
}

impl BadRows {
    pub(crate) fn new(scratch: Scratch) -> Self {
        Self { scratch, count: 0, first: None, found: FailedRows::default() }
    }

    /// For `ebap.jobs`, where any were left out.
    pub(crate) fn message(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        Some(format!("{} rows were left out when it was resumed; the first: {first}", self.count))
    }

    /// Takes the rows that were left out since the last call.
    pub(crate) fn take_found(&mut self) -> FailedRows {
        std::mem::take(&mut self.found)
    }

    /// The step without its bad rows, which count as failed.
    ///
    /// # Errors
    /// Where there are too many of them.
    pub(crate) fn without(&mut self, step: &StepBatch, now_us: i64) -> Result<StepBatch> {
        let mut good = step.clone();
        if self.error(step).is_none() {
            return Ok(good);
        }
        for split in &mut good.splits {
            let mut bad = Vec::new();
            self.find(split, (0, split.batch.num_rows()), &mut bad)?;
            bad.iter().for_each(|(row, error)| self.found.put(FailedRow::of(split, *row, error, now_us)));
            let bad: Vec<usize> = bad.into_iter().map(|(row, _)| row).collect();
            if !bad.is_empty() {
                *split = leave_out(split, &bad)?;
            }
        }
        Ok(good)
    }

    /// The rows of this part for each of which the query fails.
    fn find(&mut self, split: &SplitBatch, (from, to): (usize, usize), bad: &mut Vec<(usize, Error)>) -> Result<()> {
        if from == to {
            return Ok(());
        }
        let part = StepBatch { splits: vec![part_of(split, from, to)], position: Default::default() };
        let Some(error) = self.error(&part) else { return Ok(()) };
        if to - from > 1 {
            let middle = from + (to - from) / 2;
            self.find(split, (from, middle), bad)?;
            return self.find(split, (middle, to), bad);
        }
        bad.push((from, error.clone()));
        self.count += 1;
        let offset = split.batch.column_by_name("_offset").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let offset = offset.filter(|offsets| offsets.is_valid(from)).map(|offsets| offsets.value(from));
        let place = offset.map(|offset| format!(" (split {}, offset {offset})", split.split.as_str()));
        self.first.get_or_insert_with(|| format!("{}{}", error.reason(), place.unwrap_or_default()));
        if self.count > LEFT_OUT_MAX { Err(error) } else { Ok(()) }
    }

    /// Why the query cannot be computed for these rows, if it cannot.
    fn error(&self, step: &StepBatch) -> Option<Error> {
        let tried = guarded(|| (self.scratch)()?.rows_alone().process(step, false));
        tried.err().filter(|error| !matches!(error, Error::Memory { .. }))
    }
}

fn part_of(split: &SplitBatch, from: usize, to: usize) -> SplitBatch {
    let batch = split.batch.slice(from, to - from);
    let deleted = split.deleted.as_ref().map(|deleted| deleted.slice(from, to - from));
    let (late, rows) = (late_rows(&batch), batch.num_rows() as u64);
    SplitBatch { batch, deleted, late, consumed: rows, rejected: 0, skipped: 0, missed: 0, failed: 0, ..split.clone() }
}

fn leave_out(split: &SplitBatch, bad: &[usize]) -> Result<SplitBatch> {
    let mut keep = vec![true; split.batch.num_rows()];
    bad.iter().for_each(|row| keep[*row] = false);
    let keep = BooleanArray::from(keep);
    let batch = filter_record_batch(&split.batch, &keep)?;
    let deleted = split.deleted.as_ref().map(|deleted| arrow::compute::filter(deleted, &keep)).transpose()?;
    let late = if split.late > 0 { late_rows(&batch) } else { 0 };
    Ok(SplitBatch {
        batch,
        deleted: deleted.map(|deleted| deleted.as_boolean().clone()),
        late,
        failed: split.failed + bad.len() as u64,
        ..split.clone()
    })
}

/// Rows whose `_late` is true: the last column but one.
fn late_rows(batch: &arrow::array::RecordBatch) -> u64 {
    let column = batch.num_columns().checked_sub(2).and_then(|at| batch.columns().get(at));
    column.and_then(|late| late.as_boolean_opt()).map_or(0, |late| late.true_count() as u64)
}

impl std::fmt::Debug for BadRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BadRows").field("count", &self.count).finish_non_exhaustive()
    }
}
