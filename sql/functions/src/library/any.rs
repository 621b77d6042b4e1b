//! Functions of any number of values.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int32Array, StringBuilder, UInt32Array};
use arrow::compute::kernels::zip::zip;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef};
use ebap_values::{PgType, Result};

use super::text::count;
use crate::array::{common_item, in_common, operand};
use crate::cast::Printer;
use crate::error::{checked_length, internal};
use crate::kernel::{Call, Input, Operand};
use crate::operator::Comparer;
use crate::registry::{Arg, Book, Returns, Shape, canonical};
use crate::types::{pg_type, with_metadata};
use crate::udf::FieldOf;
use crate::values::Text;

pub(super) fn register(book: &mut Book) {
    for (name, wanted) in [("greatest", Ordering::Greater), ("least", Ordering::Less)] {
        let shape = Shape { args: Vec::new(), variadic: Some(Arg::AnyElement), returns: Returns::SameAsArg(0) };
        book.add_with_field(
            name,
            shape,
            FieldOf::ByArguments(Arc::new(common_field)),
            Arc::new(move |call| extreme(call, wanted)),
        );
    }
    for (name, nulls) in [("num_nulls", true), ("num_nonnulls", false)] {
        let shape = Shape { args: Vec::new(), variadic: Some(Arg::Any), returns: Returns::Of(PgType::Int4) };
        book.add_body(name, shape, Arc::new(move |call| count_nulls(call, nulls)));
    }
    let text = || PgType::Text;
    let shape = Shape { args: Vec::new(), variadic: Some(Arg::Any), returns: Returns::Of(text()) };
    book.add_body("concat", shape, Arc::new(|call| concatenated(call, call.operands, None)));
    let args = vec![Arg::Of(text())];
    let shape = Shape { args, variadic: Some(Arg::Any), returns: Returns::Of(text()) };
    book.add_body(
        "concat_ws",
        shape,
        Arc::new(|call| concatenated(call, call.operands.get(1..).unwrap_or_default(), Some(operand(call, 0)?))),
    );
}

/// The one type of all arguments, which are of one type of PostgreSQL.
fn common_field(fields: &[FieldRef]) -> Field {
    let known = fields.iter().find(|field| field.data_type() != &DataType::Null);
    let Some(known) = known else { return Field::new("", DataType::Null, true) };
    let of = pg_type(known);
    let types = fields.iter().map(|field| canonical(field).data_type().clone());
    let item = types.reduce(|left, right| common_item(&left, &right, &of));
    with_metadata(Field::new("", item.unwrap_or(DataType::Null), true), &of)
}

/// The greatest or the least of the arguments that are not NULL.
fn extreme(call: &Call<'_>, wanted: Ordering) -> Result<ArrayRef> {
    let fields: Vec<FieldRef> = call.operands.iter().map(field_of).collect();
    let field = common_field(&fields);
    let of = pg_type(&field);
    let mut best: Option<ArrayRef> = None;
    for operand in call.operands {
        let next = in_common(&all_rows(operand, call.rows)?, field.data_type(), &of)?;
        best = Some(match best {
            None => next,
            Some(best) if of == PgType::Unknown => best,
            Some(best) => better(&best, &next, &of, wanted)?,
        });
    }
    best.ok_or_else(|| internal("an argument is missing"))
}

fn field_of(operand: &Operand) -> FieldRef {
    Arc::new(with_metadata(Field::new("", operand.array.data_type().clone(), true), &operand.of))
}

fn better(best: &ArrayRef, next: &ArrayRef, of: &PgType, wanted: Ordering) -> Result<ArrayRef> {
    let comparer = Comparer::new(next, best, of)?;
    let replaces = |row| next.is_valid(row) && (best.is_null(row) || comparer.compare(row, row) == wanted);
    let mask: BooleanArray = (0..best.len()).map(|row| Some(replaces(row))).collect();
    zip(&mask, next, best).map_err(internal)
}

/// A constant as a column.
pub(super) fn all_rows(operand: &Operand, rows: usize) -> Result<ArrayRef> {
    if !operand.constant {
        return Ok(operand.array.clone());
    }
    take(&operand.array, &UInt32Array::from(vec![0; rows]), None).map_err(internal)
}

fn count_nulls(call: &Call<'_>, nulls: bool) -> Result<ArrayRef> {
    let columns: Vec<_> = call.operands.iter().map(|operand| (operand, operand.array.logical_nulls())).collect();
    let number = |row| {
        let is_null = |(operand, mask): &&(&Operand, Option<arrow::buffer::NullBuffer>)| {
            mask.as_ref().is_some_and(|mask| mask.is_null(operand.at(row)))
        };
        count(columns.iter().filter(|column| is_null(column) == nulls).count())
    };
    let numbers = (0..call.rows).map(number).collect::<Result<Vec<i32>>>()?;
    Ok(Arc::new(Int32Array::from(numbers)))
}

/// All values that are not NULL, one behind the other.
fn concatenated(call: &Call<'_>, values: &[Operand], separator: Option<&Operand>) -> Result<ArrayRef> {
    let printers = values.iter().map(|v| Printer::new(&v.array, &v.of, call.session)).collect::<Result<Vec<_>>>()?;
    let separators = separator.map(|separator| Text::column(&separator.array)).transpose()?;
    let (mut texts, mut text) = (StringBuilder::new(), String::new());
    for row in 0..call.rows {
        let between = match (&separators, separator) {
            (Some(column), Some(separator)) if column.is_null(separator.at(row)) => {
                texts.append_null();
                continue;
            }
            (Some(column), Some(separator)) => column.value(separator.at(row)),
            _ => "",
        };
        text.clear();
        let mut first = true;
        for (value, printer) in values.iter().zip(&printers) {
            let at = value.at(row);
            if value.array.is_null(at) || value.array.data_type() == &DataType::Null {
                continue;
            }
            if !std::mem::take(&mut first) {
                text.push_str(between);
            }
            printer.print_short(at, &mut text)?;
            checked_length(Some(text.len()))?;
        }
        texts.append_value(&text);
    }
    Ok(Arc::new(texts.finish()))
}
