//! Rows as values, and their comparison, as `(a, b) = (c, d)` and `(a, b) < (c, d)`.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion_expr::ScalarUDF;
use ebap_values::{PgType, Result};

use crate::array::{common_item, in_common};
use crate::error::internal;
use crate::kernel::{Call, Operand};
use crate::operator::{Comparer, Comparison};
use crate::types::with_metadata;
use crate::udf::{Body, FieldOf, PgFunction, always};

use super::any::all_rows;

/// The comparison of two rows, whose fields are the arguments in pairs: `a, c, b, d` for `(a, b) < (c, d)`.
pub fn row_comparison(op: &str) -> Option<Arc<ScalarUDF>> {
    let comparison = Comparison::parse(op)?;
    let body: Body = Arc::new(move |call: &Call<'_>| compare(call, comparison));
    Some(PgFunction::new(&format!("row {op}"), "", always(&PgType::Bool), body).into_udf())
}

/// `ROW(…)`: the arguments as fields `f1`, `f2` and so on.
pub fn record_udf() -> Arc<ScalarUDF> {
    let fields_of = |fields: &[FieldRef]| -> Fields {
        let named = fields.iter().enumerate();
        named.map(|(at, field)| field.as_ref().clone().with_name(format!("f{}", at + 1)).with_nullable(true)).collect()
    };
    let field = FieldOf::ByArguments(Arc::new(move |fields| {
        with_metadata(Field::new("", DataType::Struct(fields_of(fields)), true), &PgType::Record)
    }));
    let body: Body = Arc::new(|call: &Call<'_>| {
        let columns = call.operands.iter().map(|operand| all_rows(operand, call.rows)).collect::<Result<Vec<_>>>()?;
        let named = columns.iter().zip(call.operands).enumerate();
        let fields: Fields = named
            .map(|(at, (column, operand))| {
                let name = format!("f{}", at + 1);
                with_metadata(Field::new(name, column.data_type().clone(), true), &operand.of)
            })
            .collect();
        let record = StructArray::try_new_with_length(fields, columns, None, call.rows).map_err(internal)?;
        Ok(Arc::new(record) as ArrayRef)
    });
    PgFunction::new("row", "", field, body).into_udf()
}

/// The record, where what computed it has forgotten that it is one.
pub fn marked_record_udf() -> Arc<ScalarUDF> {
    let field = FieldOf::ByArguments(Arc::new(|fields| match fields.first() {
        Some(field) => with_metadata(field.as_ref().clone(), &PgType::Record),
        None => Field::new("", DataType::Null, true),
    }));
    let body: Body = Arc::new(|call: &Call<'_>| {
        let [record] = call.operands else { return Err(internal("one record is marked")) };
        all_rows(record, call.rows)
    });
    PgFunction::new("record", "", field, body).into_udf()
}

/// One field of both rows.
struct Pair<'a> {
    left: &'a Operand,
    right: &'a Operand,
    comparer: Comparer,
}

impl<'a> Pair<'a> {
    fn new(left: &'a Operand, right: &'a Operand) -> Result<Self> {
        let of = if left.of == PgType::Unknown { &right.of } else { &left.of };
        let item = common_item(left.array.data_type(), right.array.data_type(), of);
        let comparer = Comparer::new(&in_common(&left.array, &item, of)?, &in_common(&right.array, &item, of)?, of)?;
        Ok(Self { left, right, comparer })
    }

    /// None where one of the fields is NULL.
    fn order(&self, row: usize) -> Option<Ordering> {
        let (i, j) = (self.left.at(row), self.right.at(row));
        let null = |operand: &Operand, at| operand.array.logical_nulls().is_some_and(|nulls| nulls.is_null(at));
        if null(self.left, i) || null(self.right, j) { None } else { Some(self.comparer.compare(i, j)) }
    }
}

fn compare(call: &Call<'_>, comparison: Comparison) -> Result<ArrayRef> {
    let pairs = call.operands.chunks(2).map(|pair| match pair {
        [left, right] => Pair::new(left, right),
        _ => Err(internal("a row has more fields than the other")),
    });
    let pairs = pairs.collect::<Result<Vec<_>>>()?;
    let answer = |row| match comparison {
        Comparison::Equal => equal(&pairs, row),
        Comparison::NotEqual => equal(&pairs, row).map(|equal| !equal),
        _ => order(&pairs, row).map(|order| comparison.holds(order)),
    };
    Ok(Arc::new((0..call.rows).map(answer).collect::<BooleanArray>()))
}

/// One field that differs decides, whatever is unknown of others.
fn equal(pairs: &[Pair<'_>], row: usize) -> Option<bool> {
    let mut unknown = false;
    for pair in pairs {
        match pair.order(row) {
            Some(Ordering::Equal) => {}
            Some(_) => return Some(false),
            None => unknown = true,
        }
    }
    (!unknown).then_some(true)
}

/// The first field that is not equal decides, and is unknown if it is NULL.
fn order(pairs: &[Pair<'_>], row: usize) -> Option<Ordering> {
    for pair in pairs {
        match pair.order(row)? {
            Ordering::Equal => {}
            other => return Some(other),
        }
    }
    Some(Ordering::Equal)
}
