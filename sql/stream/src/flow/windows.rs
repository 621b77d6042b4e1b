//! Operators that give a row several times, or none: windows and unnest.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray, ListArray, TimestampMicrosecondArray, UInt32Array},
    compute::take,
    datatypes::{IntervalMonthDayNano, SchemaRef, TimestampMicrosecondType},
};
use ebap_sql::Frame;

use super::{arrangement::wrong, delta::Delta};
use crate::{Result, rows::record_batch};

/// A row for each window that has it.
pub(crate) fn assign(delta: Delta, time: usize, frames: &[Frame], schema: &SchemaRef) -> Result<Delta> {
    let times = delta.batch.column(time).as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?;
    let (mut rows, mut starts, mut ends, mut sizes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in (0..times.len()).filter(|row| times.is_valid(*row)) {
        let at = times.value(row);
        for frame in frames {
            for start in self::starts(frame, at) {
                rows.push(row as u32);
                starts.push(start);
                ends.push(start + frame.size_us);
                sizes.push(frame.interval);
            }
        }
    }
    with_window(&delta, rows, starts, ends, sizes, schema)
}

/// The smallest window of a row, of which others are made.
pub(crate) fn in_pane(delta: Delta, time: usize, frames: &[Frame], schema: &SchemaRef) -> Result<Delta> {
    let times = delta.batch.column(time).as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?;
    let pane_us = frames.iter().map(|frame| frame.slide_us).min().ok_or_else(wrong)?;
    let rows: Vec<u32> = (0..times.len()).filter(|row| times.is_valid(*row)).map(|row| row as u32).collect();
    let starts: Vec<i64> = rows.iter().map(|row| times.value(*row as usize).div_euclid(pane_us) * pane_us).collect();
    let ends = starts.iter().map(|start| start + pane_us).collect();
    let sizes = vec![IntervalMonthDayNano::new(0, 0, pane_us * 1_000); rows.len()];
    with_window(&delta, rows, starts, ends, sizes, schema)
}

/// Start of every window of this frame that has this time, the last one first.
pub(crate) fn starts(frame: &Frame, at: i64) -> impl Iterator<Item = i64> {
    let (slide_us, size_us) = (frame.slide_us, frame.size_us);
    let last = at.div_euclid(slide_us) * slide_us;
    std::iter::successors(Some(last), move |start| Some(start - slide_us))
        .take_while(move |start| *start > at - size_us)
}

/// The session that each row alone would be.
pub(crate) fn alone(delta: Delta, time: usize, gap_us: i64, schema: &SchemaRef) -> Result<Delta> {
    let times = delta.batch.column(time).as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?;
    let rows: Vec<u32> = (0..times.len()).filter(|row| times.is_valid(*row)).map(|row| row as u32).collect();
    let starts: Vec<i64> = rows.iter().map(|row| times.value(*row as usize)).collect();
    let ends = starts.iter().map(|start| start + gap_us).collect();
    let sizes = vec![IntervalMonthDayNano::new(0, 0, gap_us * 1_000); rows.len()];
    with_window(&delta, rows, starts, ends, sizes, schema)
}

fn with_window(
    delta: &Delta,
    rows: Vec<u32>,
    starts: Vec<i64>,
    ends: Vec<i64>,
    sizes: Vec<IntervalMonthDayNano>,
    schema: &SchemaRef,
) -> Result<Delta> {
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
