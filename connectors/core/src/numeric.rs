//! Computed values of NUMERIC, which come in Arrow's LargeBinary.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Float64Array, StringArray},
    compute::cast,
    datatypes::DataType,
};
use ebap_values::Numeric;

use crate::{Error, Result};

/// The number in digits, or `NaN`, `Infinity`, `-Infinity`.
///
/// # Errors
/// `Internal` for bytes that are no number.
pub fn numeric_text(bytes: &[u8]) -> Result<String> {
    Numeric::decode(bytes).map(|number| number.to_string()).map_err(Error::internal)
}

/// A column of NUMERIC as text.
///
/// # Errors
/// As `numeric_text`.
pub fn numeric_texts(column: &ArrayRef) -> Result<ArrayRef> {
    let texts = column.as_binary::<i64>().iter().map(|bytes| bytes.map(numeric_text).transpose());
    Ok(Arc::new(texts.collect::<Result<StringArray>>()?))
}

/// A column of any numbers as doubles; a NUMERIC that no double holds is an infinity.
///
/// # Errors
/// `Internal` for a column that is none of numbers.
pub fn doubles(column: &ArrayRef) -> Result<ArrayRef> {
    if *column.data_type() != DataType::LargeBinary {
        return cast(column, &DataType::Float64).map_err(Error::internal);
    }
    let double = |bytes: &[u8]| {
        let number = Numeric::decode(bytes).map_err(Error::internal)?;
        Ok(number.to_f64().unwrap_or(if number.is_negative() { f64::NEG_INFINITY } else { f64::INFINITY }))
    };
    let doubles = column.as_binary::<i64>().iter().map(|bytes| bytes.map(double).transpose());
    Ok(Arc::new(doubles.collect::<Result<Float64Array>>()?))
}
