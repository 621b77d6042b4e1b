//! What stands for a value where bits are compared: in keys of groups and joins, and for min and max.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Decimal128Array, ListArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Float32Type, Float64Type, Int32Type, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType,
};
use datafusion_expr::ScalarUDF;
use ebap_values::time::{Interval, USECS_PER_DAY};
use ebap_values::{Json, PgType, Result, ValueError, float};

use crate::cast::without_blanks;
use crate::decimals::Num;
use crate::error::internal;
use crate::kernel::{Call, Input, each_row};
use crate::types::pg_type_of;
use crate::udf::{Body, FieldOf, PgFunction, always};
use crate::values::{Jsonb, Span};

/// Digits that every key of an interval fits in.
const INTERVAL_DIGITS: u8 = 38;

/// Gives equal bits for equal values; None where values are equal by their bits already.
pub fn key_udf(of: &DataType) -> Option<Arc<ScalarUDF>> {
    let to = match of {
        // Arrays of decimals may meet those of numbers that have digits of their own.
        DataType::List(item) if matches!(item.data_type(), DataType::Decimal128(..)) => list_of(DataType::Binary),
        DataType::List(item) => list_of(key_type(item.data_type())?),
        of => key_type(of)?,
    };
    let pg = pg_type_of(of);
    Some(column_udf("key", of, to, move |array| normalised(array, &pg)))
}

fn key_type(of: &DataType) -> Option<DataType> {
    match of {
        DataType::Float32 | DataType::Float64 => Some(of.clone()),
        DataType::LargeBinary => Some(DataType::Binary),
        DataType::Interval(_) => Some(DataType::Decimal128(INTERVAL_DIGITS, 0)),
        _ => None,
    }
}

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// What a `character(n)` is compared by.
pub fn bpchar_key_udf() -> Arc<ScalarUDF> {
    column_udf("key", &DataType::LargeUtf8, DataType::Utf8, without_blanks)
}

/// Of intervals that are equal one: whole days, and what is left of a day.
pub fn interval_canonical_udf() -> Arc<ScalarUDF> {
    let body: Body = Arc::new(|call: &Call<'_>| {
        each_row::<(Span,), Span>(call, |(v,)| {
            let (days, micros) = (v.key() / i128::from(USECS_PER_DAY), v.key() % i128::from(USECS_PER_DAY));
            let out_of_range = || ValueError::new("22008", "interval out of range");
            let days = i32::try_from(days).map_err(|_| out_of_range())?;
            Ok(Interval { months: 0, days, micros: i64::try_from(micros).map_err(|_| out_of_range())? })
        })
    });
    PgFunction::new("interval_canonical", "", always(&PgType::Interval), body).into_udf()
}

/// Of `jsonb`: bytes in the order of the values, and the value that stands for those that are equal.
pub fn jsonb_key_udfs() -> (Arc<ScalarUDF>, Arc<ScalarUDF>) {
    let key = column_udf("key", &DataType::Utf8, DataType::Binary, jsonb_keys);
    let body: Body = Arc::new(|call: &Call<'_>| {
        each_row::<(Jsonb,), Jsonb>(call, |(v,)| Ok(Json::parse(v)?.canonical().to_string()))
    });
    (key, PgFunction::new("jsonb_canonical", "", always(&PgType::Jsonb), body).into_udf())
}

/// Gives an integer, or bytes, whose order is PostgreSQL's order of the values; and takes it back.
pub fn order_udf(of: &DataType) -> Option<(Arc<ScalarUDF>, Arc<ScalarUDF>)> {
    let to = match of {
        DataType::Float32 => DataType::Int32,
        DataType::Float64 => DataType::Int64,
        DataType::Interval(_) => DataType::Binary,
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
    PgFunction::new(name, &of.to_string(), FieldOf::Always(Arc::new(field)), body).into_udf()
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
        (PgType::Jsonb, _) => jsonb_keys(array)?,
        (PgType::Bpchar, _) => without_blanks(array)?,
        (PgType::Array(of), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let values = normalised(list.values(), of)?;
            let item = match values.data_type() == item.data_type() {
                true => Arc::clone(item),
                false => Arc::new(Field::new_list_field(values.data_type().clone(), true)),
            };
            let list = ListArray::try_new(item, list.offsets().clone(), values, list.nulls().cloned());
            Arc::new(list.map_err(internal)?)
        }
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

fn jsonb_keys(array: &ArrayRef) -> Result<ArrayRef> {
    let column = Jsonb::column(array)?;
    let (mut keys, mut bytes) = (BinaryBuilder::new(), Vec::new());
    for row in 0..column.len() {
        if column.is_null(row) {
            keys.append_null();
            continue;
        }
        bytes.clear();
        Json::parse(column.value(row))?.encode_key(&mut bytes);
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
        DataType::Interval(_) => ordered_intervals(array)?,
        other => return Err(internal(format!("{other} has no order of its own"))),
    })
}

/// The key, and behind it the interval, as equal ones have several forms.
fn ordered_intervals(array: &ArrayRef) -> Result<ArrayRef> {
    let column = Span::column(array)?;
    let mut orders = BinaryBuilder::new();
    for row in 0..column.len() {
        if column.is_null(row) {
            orders.append_null();
            continue;
        }
        let value = column.value(row);
        // With the sign turned round, bytes have the order of the numbers.
        let key = Span::get(&column, row)?.key() ^ i128::MIN;
        let mut bytes = key.to_be_bytes().to_vec();
        bytes.extend(value.months.to_be_bytes());
        bytes.extend(value.days.to_be_bytes());
        bytes.extend(value.nanoseconds.to_be_bytes());
        orders.append_value(bytes);
    }
    Ok(Arc::new(orders.finish()))
}

fn interval_of(bytes: &[u8]) -> Result<IntervalMonthDayNano> {
    let part = |from: usize| bytes.get(from..from + 4).and_then(|part| part.try_into().ok()).map(i32::from_be_bytes);
    let nanoseconds = bytes.get(24..32).and_then(|part| part.try_into().ok()).map(i64::from_be_bytes);
    match (part(16), part(20), nanoseconds) {
        (Some(months), Some(days), Some(nanoseconds)) => Ok(IntervalMonthDayNano { months, days, nanoseconds }),
        _ => Err(internal("these bytes are no interval")),
    }
}

fn from_ordered(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Int32 => {
            Arc::new(array.as_primitive::<Int32Type>().unary::<_, Float32Type>(float::from_order_f32)) as ArrayRef
        }
        DataType::Int64 => Arc::new(array.as_primitive::<Int64Type>().unary::<_, Float64Type>(float::from_order_f64)),
        DataType::Binary => {
            let values = array.as_binary::<i32>().iter().map(|bytes| bytes.map(interval_of).transpose());
            Arc::new(values.collect::<Result<PrimitiveArray<IntervalMonthDayNanoType>>>()?)
        }
        other => return Err(internal(format!("{other} is no order of a value"))),
    })
}
