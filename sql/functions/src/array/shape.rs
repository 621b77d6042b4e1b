//! How long arrays are, and single elements of them. Arrays begin at 1.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, StringArray, UInt32Array};
use arrow::compute::take;
use ebap_values::{Result, ValueError};

use super::combine::{Pieces, item_field};
use super::{Lists, as_list, operand};
use crate::error::internal;
use crate::kernel::{Call, Input};
use crate::registry::canonical_array;
use crate::values::Int4;

/// The lengths of the dimensions of a row's array: a list of lists has two. None of an empty array.
fn dimensions(lists: &Lists, row: usize) -> Option<Vec<usize>> {
    let range = lists.range(row)?;
    let mut all = vec![range.len()];
    let mut part = lists.values().slice(range.start, range.len());
    // PostgreSQL's arrays are rectangles, so the first part tells of the others.
    while all.last().is_some_and(|length| *length > 0) {
        let Some(inner) = as_list(&part).ok().filter(|inner| inner.is_valid(0)) else { break };
        let first = inner.value(0);
        all.push(first.len());
        part = first;
    }
    Some(if all.contains(&0) { Vec::new() } else { all })
}

/// A number of each array; None gives NULL. The array is told by the lengths of its dimensions.
pub(crate) fn measure(call: &Call<'_>, f: impl Fn(&[usize]) -> Option<usize>) -> Result<ArrayRef> {
    let lists = Lists::new(operand(call, 0)?)?;
    let number = |row| dimensions(&lists, row).and_then(|all| f(&all)).and_then(|n| i32::try_from(n).ok());
    Ok(Arc::new((0..call.rows).map(number).collect::<Int32Array>()))
}

/// The same of the dimension that the second argument asks for.
pub(crate) fn measure_dimension(call: &Call<'_>, f: impl Fn(usize) -> Option<usize>) -> Result<ArrayRef> {
    let (lists, dimension) = (Lists::new(operand(call, 0)?)?, operand(call, 1)?);
    let wanted = Int4::column(&dimension.array)?;
    let number = |row| {
        let at = dimension.at(row);
        let place = usize::try_from(wanted.value(at)).ok().filter(|_| wanted.is_valid(at))?;
        let length = *dimensions(&lists, row)?.get(place.checked_sub(1)?)?;
        f(length).and_then(|n| i32::try_from(n).ok())
    };
    Ok(Arc::new((0..call.rows).map(number).collect::<Int32Array>()))
}

/// The first and the last place of each dimension, as `[1:3]`; NULL where there is none.
pub(crate) fn bounds(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = Lists::new(operand(call, 0)?)?;
    let text = |row| {
        let all = dimensions(&lists, row).filter(|all| !all.is_empty())?;
        Some(all.iter().map(|length| format!("[1:{length}]")).collect::<String>())
    };
    Ok(Arc::new((0..call.rows).map(text).collect::<StringArray>()))
}

/// The element at a place; NULL where there is none.
pub(crate) fn subscript(call: &Call<'_>) -> Result<ArrayRef> {
    let (lists, place) = (Lists::new(operand(call, 0)?)?, operand(call, 1)?);
    let places = Int4::column(&place.array)?;
    let element = |row| {
        let at = place.at(row);
        let range = lists.range(row).filter(|_| places.is_valid(at))?;
        let skipped = usize::try_from(places.value(at)).ok()?.checked_sub(1)?;
        (skipped < range.len()).then(|| u32::try_from(range.start + skipped).ok()).flatten()
    };
    let indices: UInt32Array = (0..call.rows).map(element).collect();
    let elements = take(lists.values(), &indices, None).map_err(internal)?;
    canonical_array(&elements, &lists.of)
}

/// All but the last so many elements.
pub(crate) fn trim(call: &Call<'_>) -> Result<ArrayRef> {
    let (lists, number) = (Lists::new(operand(call, 0)?)?, operand(call, 1)?);
    let numbers = Int4::column(&number.array)?;
    let sources = [lists.values().to_data()];
    let mut pieces = Pieces::new(&sources, call.rows);
    for row in 0..call.rows {
        let at = number.at(row);
        let range = lists.range(row).filter(|_| numbers.is_valid(at));
        if let Some(range) = &range {
            let cut = usize::try_from(numbers.value(at)).ok().filter(|n| *n <= range.len());
            let message = || format!("number of elements to trim must be between 0 and {}", range.len());
            let cut = cut.ok_or_else(|| ValueError::new("2202E", message()))?;
            pieces.extend(0, range.start..range.end - cut);
        }
        pieces.end_row(range.is_some())?;
    }
    pieces.finish(item_field(lists.values().data_type().clone(), &lists.of))
}

/// The elements between two places, both of them included; NULL where a bound is.
pub(crate) fn slice(call: &Call<'_>) -> Result<ArrayRef> {
    let (lists, from, to) = (Lists::new(operand(call, 0)?)?, operand(call, 1)?, operand(call, 2)?);
    let (starts, ends) = (Int4::column(&from.array)?, Int4::column(&to.array)?);
    let sources = [lists.values().to_data()];
    let mut pieces = Pieces::new(&sources, call.rows);
    for row in 0..call.rows {
        let (i, j) = (from.at(row), to.at(row));
        let range = lists.range(row).filter(|_| starts.is_valid(i) && ends.is_valid(j));
        if let Some(range) = &range {
            let start = usize::try_from(starts.value(i)).unwrap_or(0).saturating_sub(1).min(range.len());
            let end = usize::try_from(ends.value(j)).unwrap_or(0).clamp(start, range.len().max(start));
            pieces.extend(0, range.start + start..range.start + end);
        }
        pieces.end_row(range.is_some())?;
    }
    pieces.finish(item_field(lists.values().data_type().clone(), &lists.of))
}
