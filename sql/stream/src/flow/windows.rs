//! Operators that give a row several times, or none: windows and unnest.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray, ListArray, TimestampMicrosecondArray, UInt32Array},
    compute::take,
    datatypes::{IntervalMonthDayNano, SchemaRef, TimestampMicrosecondType},
};
use ebap_sql::Frame;

use super::{arrangement::wrong, delta::Delta};
use crate::{Error, Result, rows::record_batch};

/// Rows that windows make of one change, at the most: more would not fit into memory.
const ROWS_MAX: usize = 8 << 20;

/// A row for each window that has it.
pub(crate) fn assign(delta: Delta, time: usize, frames: &[Frame], schema: &SchemaRef) -> Result<Delta> {
    let times = delta.batch.column(time).as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?;
    let mut windows = Windows::default();
    for row in (0..times.len()).filter(|row| times.is_valid(*row)) {
        for frame in frames {
            windows.put_all(row as u32, frame, times.value(row))?;
        }
    }
    with_window(&delta, windows, schema)
}

/// The smallest window of a row, of which others are made.
pub(crate) fn in_pane(delta: Delta, time: usize, frames: &[Frame], schema: &SchemaRef) -> Result<Delta> {
    let times = delta.batch.column(time).as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?;
    let pane_us = frames.iter().map(|frame| frame.slide_us).min().ok_or_else(wrong)?;
    let (mut windows, size) = (Windows::default(), interval_of(pane_us));
    for row in (0..times.len()).filter(|row| times.is_valid(*row)) {
        windows.put(row as u32, floor(times.value(row), pane_us)?, pane_us, size)?;
    }
    with_window(&delta, windows, schema)
}

/// The beginning of the stretch of this length that has the time.
pub(crate) fn floor(at: i64, length_us: i64) -> Result<i64> {
    at.div_euclid(length_us).checked_mul(length_us).ok_or_else(out_of_range)
}

/// Start of every window of this frame that has this time, the last one first.
pub(crate) fn starts(frame: &Frame, at: i64) -> Result<impl Iterator<Item = i64>> {
    let slide_us = frame.slide_us;
    let first = at.checked_sub(frame.size_us).ok_or_else(out_of_range)?;
    let last = floor(at, slide_us)?;
    Ok(std::iter::successors(Some(last), move |start| start.checked_sub(slide_us))
        .take_while(move |start| *start > first))
}

/// The session that each row alone would be.
pub(crate) fn alone(delta: Delta, time: usize, gap_us: i64, schema: &SchemaRef) -> Result<Delta> {
    let times = delta.batch.column(time).as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?;
    let (mut windows, size) = (Windows::default(), interval_of(gap_us));
    for row in (0..times.len()).filter(|row| times.is_valid(*row)) {
        windows.put(row as u32, times.value(row), gap_us, size)?;
    }
    with_window(&delta, windows, schema)
}

/// The end of what begins there.
pub(crate) fn end_of(start: i64, length_us: i64) -> Result<i64> {
    start.checked_add(length_us).ok_or_else(out_of_range)
}

pub(crate) fn out_of_range() -> Error {
    Error::sql("22008", "timestamp out of range: a window begins or ends where no timestamp can be")
}

/// Days apart, as all of it in nanoseconds may be more than there can be.
fn interval_of(us: i64) -> IntervalMonthDayNano {
    const DAY_US: i64 = 86_400_000_000;
    match us.checked_mul(1_000) {
        Some(nanos) => IntervalMonthDayNano::new(0, 0, nanos),
        None => IntervalMonthDayNano::new(0, (us / DAY_US) as i32, us % DAY_US * 1_000),
    }
}

/// Windows, and which row each is for.
#[derive(Default)]
struct Windows {
    rows: Vec<u32>,
    starts: Vec<i64>,
    ends: Vec<i64>,
    sizes: Vec<IntervalMonthDayNano>,
}

impl Windows {
    fn put(&mut self, row: u32, start: i64, length_us: i64, size: IntervalMonthDayNano) -> Result<()> {
        self.rows.push(row);
        self.starts.push(start);
        self.ends.push(end_of(start, length_us)?);
        self.sizes.push(size);
        Ok(())
    }

    /// All windows of the frame that have the time.
    fn put_all(&mut self, row: u32, frame: &Frame, at: i64) -> Result<()> {
        bounded(self.rows.len(), frame)?;
        starts(frame, at)?.try_for_each(|start| self.put(row, start, frame.size_us, frame.interval))
    }
}

/// # Errors
/// `Memory` where there are so many windows already that those of one more row are too many.
pub(crate) fn bounded(held: usize, frame: &Frame) -> Result<()> {
    let each = usize::try_from(frame.size_us / frame.slide_us.max(1)).unwrap_or(usize::MAX);
    if held.saturating_add(each) > ROWS_MAX {
        let message = format!("a step makes more than {ROWS_MAX} rows of windows");
        return Err(Error::Memory { job: String::new(), message });
    }
    Ok(())
}

fn with_window(delta: &Delta, windows: Windows, schema: &SchemaRef) -> Result<Delta> {
    let Windows { rows, starts, ends, sizes } = windows;
    let whole = rows.len() == delta.rows() && rows.iter().enumerate().all(|(at, row)| at == *row as usize);
    let taken = if whole { delta.clone() } else { delta.take(&UInt32Array::from(rows))? };
    let count = taken.rows();
    let mut columns = taken.batch.columns().to_vec();
    columns.push(Arc::new(TimestampMicrosecondArray::from(starts).with_timezone("+00:00")));
    columns.push(Arc::new(TimestampMicrosecondArray::from(ends).with_timezone("+00:00")));
    columns.push(Arc::new(IntervalMonthDayNanoArray::from(sizes)));
    Ok(taken.with(record_batch(schema, columns, count)?))
}

/// A row per item of the lists, side by side; NULL where one is shorter.
pub(crate) fn unnest(delta: Delta, lists: &[usize], keep_empty: bool, schema: &SchemaRef) -> Result<Delta> {
    let batch = &delta.batch;
    let list = |at: usize| -> Result<ListArray> {
        let column = batch.column(at);
        match column.as_list_opt::<i32>() {
            Some(list) => Ok(list.clone()),
            None => {
                use arrow::datatypes::{DataType, Field};
                let item = match column.data_type() {
                    DataType::LargeList(item) | DataType::FixedSizeList(item, _) => item.data_type().clone(),
                    _ => return Err(wrong()),
                };
                let of = DataType::List(Arc::new(Field::new_list_field(item, true)));
                Ok(arrow::compute::cast(column, &of)?.as_list::<i32>().clone())
            }
        }
    };
    let arrays: Vec<(usize, ListArray)> = lists.iter().map(|at| Ok((*at, list(*at)?))).collect::<Result<_>>()?;
    let length = |list: &ListArray, row: usize| if list.is_null(row) { 0 } else { list.value_length(row) as usize };
    let mut rows: Vec<u32> = Vec::new();
    let mut items: Vec<Vec<Option<u32>>> = vec![Vec::new(); arrays.len()];
    for row in 0..batch.num_rows() {
        let longest = arrays.iter().map(|(_, list)| length(list, row)).max().unwrap_or(0);
        let null = arrays.iter().all(|(_, list)| list.is_null(row));
        let count = if longest == 0 && keep_empty && null { 1 } else { longest };
        for item in 0..count {
            rows.push(row as u32);
            for ((_, list), items) in arrays.iter().zip(&mut items) {
                let first = list.value_offsets()[row] as u32;
                items.push((item < length(list, row)).then_some(first + item as u32));
            }
        }
    }
    let taken = delta.take(&UInt32Array::from(rows))?;
    let mut columns: Vec<ArrayRef> = taken.batch.columns().to_vec();
    for ((at, list), items) in arrays.iter().zip(items) {
        columns[*at] = take(list.values(), &UInt32Array::from(items), None)?;
    }
    for (column, field) in columns.iter_mut().zip(schema.fields()) {
        if column.data_type() != field.data_type() {
            *column = arrow::compute::cast(column, field.data_type())?;
        }
    }
    let count = taken.rows();
    Ok(taken.with(record_batch(schema, columns, count)?))
}
