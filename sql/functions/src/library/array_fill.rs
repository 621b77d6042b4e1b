//! `array_fill`, of one dimension.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::Int32Type;
use ebap_values::{PgType, Result, ValueError};

use crate::array::combine::{Pieces, item_field};
use crate::array::{Lists, operand};
use crate::kernel::Call;
use crate::registry::{Arg, Book, Returns, Shape, canonical_array};

/// As many elements as PostgreSQL allows.
const ELEMENTS_MAX: i32 = 134_217_727;

pub(super) fn register(book: &mut Book) {
    let integers = || Arg::Of(PgType::Array(Box::new(PgType::Int4)));
    for args in [vec![Arg::Any, integers()], vec![Arg::Any, integers(), integers()]] {
        let shape = Shape { args, variadic: None, returns: Returns::ArrayOf(0) };
        book.add_body("array_fill", shape, Arc::new(fill));
    }
}

/// The only number of a list; None of an empty one.
fn single(lists: &Lists, row: usize, what: &str) -> Result<Option<i32>> {
    let no_null = || ValueError::new("22004", "dimension array or low bound array cannot be null");
    let range = lists.range(row).ok_or_else(no_null)?;
    let values = lists.values().as_primitive::<Int32Type>();
    if range.clone().any(|at| values.is_null(at)) {
        return Err(ValueError::new("22004", "dimension values cannot be null"));
    }
    match range.len() {
        0 => Ok(None),
        1 => Ok(Some(values.value(range.start))),
        _ => Err(ValueError::unsupported(format!("array_fill with several {what} is not supported"))),
    }
}

fn fill(call: &Call<'_>) -> Result<ArrayRef> {
    let (value, lengths) = (operand(call, 0)?, Lists::new(operand(call, 1)?)?);
    let bounds = call.operands.get(2).map(Lists::new).transpose()?;
    let values = canonical_array(&value.array, &value.of)?;
    let sources = [values.to_data()];
    let mut pieces = Pieces::new(&sources, call.rows);
    for row in 0..call.rows {
        let length = single(&lengths, row, "dimensions")?;
        if let Some(bounds) = &bounds {
            match (length, single(bounds, row, "dimensions")?) {
                (None, None) | (Some(_), Some(1)) => {}
                (Some(_), Some(_)) => {
                    return Err(ValueError::unsupported("an array that does not begin at 1 is not supported"));
                }
                _ => return Err(ValueError::new("2202E", "wrong number of array subscripts")),
            }
        }
        let length = length.unwrap_or(0);
        if !(0..=ELEMENTS_MAX).contains(&length) {
            let message = format!("array size exceeds the maximum allowed ({ELEMENTS_MAX})");
            return Err(ValueError::new("54000", message));
        }
        let at = value.at(row);
        for _ in 0..length {
            pieces.extend(0, at..at + 1);
        }
        pieces.end_row(true)?;
    }
    pieces.finish(item_field(values.data_type().clone(), &value.of))
}
