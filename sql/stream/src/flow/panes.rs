//! What a step has of each pane, added to the windows that have the pane.
//!
//! Rows are counted once, by group and pane, and what that gives is added to each window: the work for a window is that
//! of its groups and not of its rows.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, IntervalMonthDayNanoArray, TimestampMicrosecondArray, UInt32Array},
    compute::take,
    datatypes::TimestampMicrosecondType,
};
use ebap_sql::Panes;

use super::{
    arrangement::wrong,
    delta::{Bytes, Codec, Delta},
    groups::Groups,
    slots::Slots,
    windows::{bounded, end_of, out_of_range, starts},
};
use crate::Result;

/// A delta by group and pane.
#[derive(Debug)]
pub(crate) struct Partial {
    /// Windows: of each the number of the partial group that is added to it. Those of one group lie together.
    pub(crate) of: Vec<u32>,
    /// Start and length of each window.
    pub(crate) spans: Vec<(i64, i64)>,
    /// The group columns of each window.
    pub(crate) columns: Vec<ArrayRef>,
    /// Of each partial group its pane, and its group columns without the window's.
    pub(crate) panes: Vec<i64>,
    pub(crate) keys: Vec<Bytes>,
}

/// Counts the rows by the group columns `columns` with their pane into `groups`, which has nothing yet, and says to which
/// windows that belongs.
pub(crate) fn partial(
    panes: &Panes,
    (keys, own): (&Codec, &Codec),
    groups: &mut Groups,
    delta: &Delta,
    columns: &[ArrayRef],
) -> Result<Partial> {
    let mut slots = Slots::default();
    let (mut first, mut numbers) = (Vec::new(), Vec::with_capacity(delta.rows()));
    keys.each(columns, delta.rows(), |row, key| {
        let (number, is_new) = slots.take(key);
        if is_new {
            first.push(row);
        }
        numbers.push(Some(number));
        Ok(())
    })?;
    groups.resize(first.len());
    groups.update(delta, &numbers)?;
    let (bounds, back_us) = match (panes.starts.first(), panes.ends.first()) {
        (Some(at), _) => (times(&columns[*at])?, 0),
        (None, Some(at)) => (times(&columns[*at])?, panes.pane_us),
        (None, None) => return Err(wrong()),
    };
    let (mut of, mut rows) = (Vec::new(), Vec::new());
    let (mut spans, mut sizes) = (Vec::new(), Vec::new());
    let pane = |row: &usize| bounds.value(*row).checked_sub(back_us).ok_or_else(out_of_range);
    let panes_of: Vec<i64> = first.iter().map(pane).collect::<Result<_>>()?;
    for (number, row) in first.iter().enumerate() {
        for frame in &panes.frames {
            bounded(of.len(), frame)?;
            for start in starts(frame, panes_of[number])? {
                end_of(start, frame.size_us)?;
                of.push(number as u32);
                rows.push(*row as u32);
                spans.push((start, frame.size_us));
                sizes.push(frame.interval);
            }
        }
    }
    let of_window = |at: &usize| panes.starts.contains(at) || panes.ends.contains(at) || panes.sizes.contains(at);
    let firsts: UInt32Array = first.iter().map(|row| *row as u32).collect();
    let own_columns = columns.iter().enumerate().filter(|(at, _)| !of_window(at));
    let own_columns: Vec<ArrayRef> =
        own_columns.map(|(_, column)| Ok(take(column, &firsts, None)?)).collect::<Result<_>>()?;
    let own_keys = own.encode(&own_columns, firsts.len())?;
    let rows = UInt32Array::from(rows);
    let time = |times: Vec<i64>| Arc::new(TimestampMicrosecondArray::from(times).with_timezone("+00:00"));
    let column = |(at, column): (usize, &ArrayRef)| -> Result<ArrayRef> {
        Ok(if panes.starts.contains(&at) {
            time(spans.iter().map(|(start, _)| *start).collect())
        } else if panes.ends.contains(&at) {
            time(spans.iter().map(|(start, size_us)| start + size_us).collect())
        } else if panes.sizes.contains(&at) {
            Arc::new(IntervalMonthDayNanoArray::from(sizes.clone()))
        } else {
            take(column, &rows, None)?
        })
    };
    let columns = columns.iter().enumerate().map(column).collect::<Result<_>>()?;
    Ok(Partial { of, spans, columns, panes: panes_of, keys: own_keys })
}

fn times(column: &ArrayRef) -> Result<TimestampMicrosecondArray> {
    column.as_primitive_opt::<TimestampMicrosecondType>().cloned().ok_or_else(wrong)
}
