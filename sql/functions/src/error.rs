//! Errors of values within Arrow and DataFusion.

use arrow::error::ArrowError;
use datafusion_common::DataFusionError;
use ebap_values::{Result, ValueError};

/// DataFusion's error that still has the SQLSTATE.
pub(crate) fn external(error: ValueError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// An error of Arrow. Those that data can cause are found before, so that this is a bug of ours.
pub(crate) fn internal(error: impl std::fmt::Display) -> ValueError {
    ValueError::new("XX000", error.to_string())
}

/// The value out of a conversion within Arrow, where only a value beyond the range can fail.
pub(crate) fn converted<T>(of: &str, result: std::result::Result<T, ArrowError>) -> Result<T> {
    result.map_err(|e| match e {
        ArrowError::CastError(_) | ArrowError::ArithmeticOverflow(_) => ValueError::out_of_range(of),
        other => internal(other),
    })
}

/// The longest text or bytes that one call gives. PostgreSQL allows a gigabyte.
pub(crate) const MAX_LENGTH: usize = 64 << 20;

/// 54000 for a result that would be longer than one value may be.
pub(crate) fn checked_length(bytes: Option<usize>) -> Result<usize> {
    bytes.filter(|n| *n <= MAX_LENGTH).ok_or_else(|| ValueError::new("54000", "requested length too large"))
}
