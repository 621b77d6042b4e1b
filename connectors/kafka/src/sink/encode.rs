//! Rows as what stands in records: the one place that knows formats.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, RecordBatch, types},
    datatypes::{DataType, TimeUnit},
};
use ebap_connector::{Result, json, time};

use super::avro::AvroEncoder;

#[derive(Clone)]
pub(super) enum Encoder {
    /// The row as an object, the key as an object of its columns.
    Json,
    /// The row as a record by a schema of a registry, the key as a record of its columns by another.
    Avro(Arc<AvroEncoder>),
}

impl Encoder {
    /// Comes before everything else, and again whenever the sink is opened.
    ///
    /// # Errors
    /// Where a registry is away, or does not take the schema.
    pub(super) async fn open(&self) -> Result<()> {
        match self {
            Self::Json => Ok(()),
            Self::Avro(avro) => avro.open().await,
        }
    }

    /// `None` where records have no key.
    pub(super) fn key(&self, batch: &RecordBatch, columns: &[usize], row: usize) -> Result<Option<Vec<u8>>> {
        if columns.is_empty() {
            return Ok(None);
        }
        match self {
            Self::Json => {
                let mut out = String::new();
                json::write_columns(&mut out, batch, columns, row)?;
                Ok(Some(out.into_bytes()))
            }
            Self::Avro(avro) => avro.key(batch, row).map(Some),
        }
    }

    pub(super) fn value(&self, batch: &RecordBatch, row: usize) -> Result<Vec<u8>> {
        match self {
            Self::Json => {
                let mut out = String::new();
                json::write_row(&mut out, batch, row)?;
                Ok(out.into_bytes())
            }
            Self::Avro(avro) => avro.value(batch, row),
        }
    }
}

/// The time of a record in milliseconds, of this column. A broker refuses times that are to come.
pub(super) fn time_ms(batch: &RecordBatch, column: Option<usize>, row: usize) -> Option<i64> {
    let array = batch.column(column?);
    if array.is_null(row) {
        return None;
    }
    let ms = match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            array.as_primitive::<types::TimestampSecondType>().value(row).saturating_mul(1_000)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            array.as_primitive::<types::TimestampMillisecondType>().value(row)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            array.as_primitive::<types::TimestampMicrosecondType>().value(row).div_euclid(1_000)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            array.as_primitive::<types::TimestampNanosecondType>().value(row).div_euclid(1_000_000)
        }
        _ => return None,
    };
    // Zero would mean now.
    Some(ms.min(time::now_us().div_euclid(1_000)).max(1))
}
