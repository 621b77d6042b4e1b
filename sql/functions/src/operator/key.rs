//! What stands for a value where bits are compared: in keys of groups and joins, and for min and max.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Decimal128Array, PrimitiveArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Float32Type, Float64Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
};
use datafusion_expr::ScalarUDF;
use ebap_values::{PgType, Result, float};

use crate::decimals::Num;
use crate::error::internal;
use crate::kernel::{Call, Input};
use crate::types::pg_type_of;
use crate::udf::{Body, PgFunction};
use crate::values::Span;

/// Digits that every key of an interval fits in.
const INTERVAL_DIGITS: u8 = 38;

/// Gives equal bits for equal values; None where values are equal by their bits already.
pub fn key_udf(of: &DataType) -> Option<Arc<ScalarUDF>> {
    let to = match of {
        DataType::Float32 | DataType::Float64 => of.clone(),
        DataType::LargeBinary => DataType::Binary,
        DataType::Interval(_) => DataType::Decimal128(INTERVAL_DIGITS, 0),
        _ => return None,
    };
    let pg = pg_type_of(of);
    Some(column_udf("key", of, to, move |array| normalised(array, &pg)))
}

/// Gives an integer whose order is PostgreSQL's order of the values.
pub fn order_udf(of: &DataType) -> Option<(Arc<ScalarUDF>, Arc<ScalarUDF>)> {
    let to = match of {
        DataType::Float32 => DataType::Int32,
        DataType::Float64 => DataType::Int64,
        _ => return None,
    };
    let order = column_udf("order_of", of, to.clone(), ordered);
    let back = column_udf("from_order", &to, of.clone(), from_ordered);
    Some((order, back))
}

/// The same pair, as it is asked for by the type of the value.
pub fn from_order_udf(of: &DataType) -> Option<(Arc<ScalarUDF>, Arc<ScalarUDF>)> {
    order_udf(of)
}

fn column_udf(
    name: &str,
    of: &DataType,
    to: DataType,
    f: impl Fn(&ArrayRef) -> Result<ArrayRef> + Send + Sync + 'static,
) -> Arc<ScalarUDF> {
    let field = Field::new("", to, true);
    let body: Body = Arc::new(move |call: &Call<'_>| match call.operands {
        [operand] => f(&operand.array),
        _ => Err(internal("a key has one argument")),
    });
    PgFunction::new(name, &of.to_string(), Arc::new(move |_| field.clone()), body).into_udf()
}

/// The values such that equal ones have equal bits, in Arrow's order where that is PostgreSQL's.
pub(crate) fn normalised(array: &ArrayRef, of: &PgType) -> Result<ArrayRef> {
    Ok(match (of, array.data_type()) {
        (PgType::Float4, DataType::Float32) => {
            Arc::new(array.as_primitive::<Float32Type>().unary::<_, Float32Type>(float::key_f32))
        }
        (PgType::Float8, DataType::Float64) => {
            Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(float::key_f64))
        }
        (PgType::Numeric, _) => numeric_keys(array)?,
        (PgType::Interval, DataType::Interval(_)) => interval_keys(array)?,
        _ => array.clone(),
    })
}

fn numeric_keys(array: &ArrayRef) -> Result<ArrayRef> {
    let column = Num::column(array)?;
    let (mut keys, mut bytes) = (BinaryBuilder::new(), Vec::new());
    for row in 0..array.len() {
        if array.is_null(row) {
            keys.append_null();
            continue;
        }
        bytes.clear();
        Num::get(&column, row)?.key().encode(&mut bytes);
        keys.append_value(&bytes);
    }
    Ok(Arc::new(keys.finish()))
}

fn interval_keys(array: &ArrayRef) -> Result<ArrayRef> {
    let column = Span::column(array)?;
    let column: &PrimitiveArray<IntervalMonthDayNanoType> = &column;
    let mut keys = Vec::with_capacity(column.len());
    for row in 0..column.len() {
        keys.push(if column.is_null(row) { None } else { Some(Span::get(column, row)?.key()) });
    }
    let keys: Decimal128Array = keys.into_iter().collect::<PrimitiveArray<Decimal128Type>>();
    Ok(Arc::new(keys.with_data_type(DataType::Decimal128(INTERVAL_DIGITS, 0))))
}

fn ordered(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Float32 => {
            Arc::new(array.as_primitive::<Float32Type>().unary::<_, Int32Type>(float::order_f32)) as ArrayRef
        }
        DataType::Float64 => Arc::new(array.as_primitive::<Float64Type>().unary::<_, Int64Type>(float::order_f64)),
        other => return Err(internal(format!("{other} has no order of its own"))),
    })
}

fn from_ordered(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Int32 => {
            Arc::new(array.as_primitive::<Int32Type>().unary::<_, Float32Type>(float::from_order_f32)) as ArrayRef
        }
        DataType::Int64 => Arc::new(array.as_primitive::<Int64Type>().unary::<_, Float64Type>(float::from_order_f64)),
        other => return Err(internal(format!("{other} is no order of a value"))),
    })
}
