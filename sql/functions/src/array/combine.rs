//! Arrays made of arrays and elements.

use std::sync::Arc;

use arrow::array::ArrayData;
use arrow::array::{Array, ArrayRef, ListArray, MutableArrayData, make_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_expr::ScalarUDF;
use ebap_values::{PgType, Result, ValueError};

use super::{Lists, common_item, in_common, item_type, operand};
use crate::error::internal;
use crate::kernel::Call;
use crate::types::with_metadata;
use crate::udf::{Body, FieldOf, PgFunction};

/// What stands on each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sides {
    ArrayElement,
    ElementArray,
    ArrayArray,
}

/// `||` of arrays.
pub(crate) fn operator(op: &str, left: &PgType, right: &PgType) -> Option<Arc<ScalarUDF>> {
    let sides = match (left, right) {
        (PgType::Array(_), PgType::Array(_)) => Sides::ArrayArray,
        (PgType::Array(_), _) => Sides::ArrayElement,
        (_, PgType::Array(_)) => Sides::ElementArray,
        _ => return None,
    };
    let key = format!("{left:?} {right:?}");
    Some(PgFunction::new(op, &key, field(sides), body(sides)).into_udf())
}

/// The field of the result of joining.
pub(crate) fn field(sides: Sides) -> FieldOf {
    FieldOf::ByArguments(Arc::new(move |fields: &[FieldRef]| {
        let [left, right] = fields else { return Field::new("", DataType::Null, true) };
        let of = match (crate::pg_type(left), crate::pg_type(right)) {
            (PgType::Array(of), _) if sides != Sides::ElementArray => *of,
            (_, PgType::Array(of)) => *of,
            (of, _) => of,
        };
        let (left, right) = (left.data_type(), right.data_type());
        let item = match sides {
            Sides::ArrayArray => common_item(&item_type(left), &item_type(right), &of),
            Sides::ArrayElement => common_item(&item_type(left), right, &of),
            Sides::ElementArray => common_item(left, &item_type(right), &of),
        };
        Field::new("", DataType::List(item_field(item, &of)), true)
    }))
}

/// The field of the elements of an array.
pub(crate) fn item_field(item: DataType, of: &PgType) -> FieldRef {
    Arc::new(with_metadata(Field::new_list_field(item, true), of))
}

/// `ARRAY[a, b]` of elements of one type in one representation.
pub fn array_udf(of: &PgType, item: &DataType) -> Arc<ScalarUDF> {
    let (of, item) = (of.clone(), item.clone());
    let key = format!("{of:?} {item}");
    let list = DataType::List(item_field(item.clone(), &of));
    let body: Body = Arc::new(move |call: &Call<'_>| {
        let elements = call.operands.iter().map(|operand| Ok(in_common(&operand.array, &item, &of)?.to_data()));
        let elements = elements.collect::<Result<Vec<_>>>()?;
        let mut builder = Pieces::new(&elements, call.rows);
        for row in 0..call.rows {
            for (source, operand) in call.operands.iter().enumerate() {
                let at = operand.at(row);
                builder.extend(source, at..at + 1);
            }
            builder.end_row(true)?;
        }
        builder.finish(item_field(item.clone(), &of))
    });
    PgFunction::new("array", &key, FieldOf::Always(Arc::new(Field::new("", list, true))), body).into_udf()
}

/// Joins the rows of two columns.
pub(crate) fn body(sides: Sides) -> Body {
    Arc::new(move |call: &Call<'_>| match sides {
        Sides::ArrayArray => concatenate(call),
        Sides::ArrayElement => add_element(call, 0, 1),
        Sides::ElementArray => add_element(call, 1, 0),
    })
}

fn concatenate(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (Lists::new(operand(call, 0)?)?, Lists::new(operand(call, 1)?)?);
    let of = if left.of == PgType::Unknown { right.of.clone() } else { left.of.clone() };
    let item = common_item(left.values().data_type(), right.values().data_type(), &of);
    let values = [in_common(left.values(), &item, &of)?.to_data(), in_common(right.values(), &item, &of)?.to_data()];
    let mut builder = Pieces::new(&values, call.rows);
    for row in 0..call.rows {
        let (a, b) = (left.range(row), right.range(row));
        let any = a.is_some() || b.is_some();
        for (source, range) in [(0, a), (1, b)] {
            if let Some(range) = range {
                builder.extend(source, range);
            }
        }
        builder.end_row(any)?;
    }
    builder.finish(item_field(item, &of))
}

/// A NULL array is as an empty one here.
fn add_element(call: &Call<'_>, list_at: usize, element_at: usize) -> Result<ArrayRef> {
    let (lists, element) = (Lists::new(operand(call, list_at)?)?, operand(call, element_at)?);
    let of = if lists.of == PgType::Unknown { element.of.clone() } else { lists.of.clone() };
    let item = common_item(lists.values().data_type(), element.array.data_type(), &of);
    let values = [in_common(lists.values(), &item, &of)?.to_data(), in_common(&element.array, &item, &of)?.to_data()];
    let mut builder = Pieces::new(&values, call.rows);
    for row in 0..call.rows {
        let at = element.at(row);
        let range = lists.range(row).unwrap_or(0..0);
        if list_at == 0 {
            builder.extend(0, range);
            builder.extend(1, at..at + 1);
        } else {
            builder.extend(1, at..at + 1);
            builder.extend(0, range);
        }
        builder.end_row(true)?;
    }
    builder.finish(item_field(item, &of))
}

/// Arrays while they are put together from pieces of others.
pub(crate) struct Pieces<'a> {
    values: MutableArrayData<'a>,
    offsets: Vec<i32>,
    valid: Vec<bool>,
}

impl<'a> Pieces<'a> {
    pub(crate) fn new(sources: &'a [ArrayData], rows: usize) -> Self {
        let values = MutableArrayData::new(sources.iter().collect(), true, rows);
        Self { values, offsets: vec![0], valid: Vec::with_capacity(rows) }
    }

    pub(crate) fn extend(&mut self, source: usize, range: std::ops::Range<usize>) {
        if !range.is_empty() {
            self.values.extend(source, range.start, range.end);
        }
    }

    /// Ends a row; one that is not valid is NULL.
    pub(crate) fn end_row(&mut self, valid: bool) -> Result<()> {
        let end = i32::try_from(self.values.len());
        self.offsets.push(end.map_err(|_| ValueError::new("54000", "array size exceeds the maximum allowed"))?);
        self.valid.push(valid);
        Ok(())
    }

    pub(crate) fn finish(self, item: FieldRef) -> Result<ArrayRef> {
        let values = make_array(self.values.freeze());
        let offsets = OffsetBuffer::new(self.offsets.into());
        let list = ListArray::try_new(item, offsets, values, Some(NullBuffer::from(self.valid)));
        Ok(Arc::new(list.map_err(internal)?))
    }
}
