//! Arrow rows to rows on the wire.
//!
//! Rows are made one at a time, as the client takes them: a slow client keeps one batch waiting and no
//! more. A value that cannot be sent ends its statement, and nothing follows it.

mod arrays;
mod json;
mod records;
mod scalars;
mod times;

use std::{iter, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    buffer::NullBuffer,
    datatypes::{DataType, Schema},
};
use bytes::{BufMut, BytesMut};
use ebap_values::{PgType, ValueError, time::Zone};
use pgwire::{
    api::{
        portal::Format,
        results::{FieldFormat, FieldInfo},
    },
    error::{PgWireError, PgWireResult},
    messages::data::DataRow,
};

use crate::{session::guarded, wire_types};

/// Bytes of a row, at the most: as PostgreSQL bounds them.
const ROW_BYTES_MAX: usize = 0x3fff_ffff;
/// What a NULL has for its length.
const NULL: i32 = -1;

type Result<T, E = ValueError> = std::result::Result<T, E>;

/// How a value is shown: its format, and the zone of the session.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) binary: bool,
    pub(super) zone: Zone,
}

/// Columns as the client is told of them.
pub(super) fn fields(schema: &Schema, format: &Format) -> Vec<FieldInfo> {
    let described = schema.fields().iter().enumerate().map(|(at, field)| {
        let format = match format {
            Format::UnifiedText => FieldFormat::Text,
            Format::UnifiedBinary => FieldFormat::Binary,
            Format::Individual(codes) => codes.get(at).map_or(FieldFormat::Text, |code| FieldFormat::from(*code)),
        };
        FieldInfo::new(field.name().clone(), None, None, wire_types::told(field), format)
            .with_type_size(wire_types::told_length(field))
            .with_type_modifier(wire_types::modifier(field.data_type()))
    });
    described.collect()
}

/// The rows of a batch. Nothing follows an error.
pub(super) fn rows(
    batch: &RecordBatch,
    schema: &Schema,
    fields: &[FieldInfo],
    zone: &Zone,
) -> impl Iterator<Item = PgWireResult<DataRow>> + Send + use<> {
    let (mut columns, mut failed) = match guarded(|| Ok(columns(batch, schema, fields, zone)?)) {
        Ok(columns) => (columns, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let (mut at, count, mut size) = (0, batch.num_rows(), 0);
    iter::from_fn(move || {
        let row = match failed.take() {
            Some(error) => Err(error),
            None if at < count => guarded(|| Ok(row(&columns, at, size)?)),
            None => return None,
        };
        at += 1;
        if row.is_err() {
            at = count;
            columns.clear();
        }
        // The next row is about as long.
        size = row.as_ref().map_or(0, |row| row.data.len());
        Some(row.map_err(PgWireError::from))
    })
}

fn columns(batch: &RecordBatch, schema: &Schema, fields: &[FieldInfo], zone: &Zone) -> Result<Vec<Column>> {
    let all = batch.columns().iter().zip(schema.fields().iter().zip(fields));
    let columns = all.map(|(column, (field, info))| {
        let shown = Shown { binary: info.format() == FieldFormat::Binary, zone: zone.clone() };
        // The client was told of the plan's types.
        let column = match column.data_type() == field.data_type() {
            true => Arc::clone(column),
            false => cast(column, field.data_type())?,
        };
        Column::new(&column, &wire_types::of_field(field), &shown)
    });
    columns.collect()
}

fn row(columns: &[Column], at: usize, size: usize) -> Result<DataRow> {
    let mut out = BytesMut::with_capacity(size);
    for column in columns {
        column.put(at, &mut out)?;
        if out.len() > ROW_BYTES_MAX {
            return Err(ValueError::new("54000", "a row is longer than the protocol allows"));
        }
    }
    let count = i16::try_from(columns.len()).map_err(|_| ValueError::new("54011", "a row has too many columns"))?;
    Ok(DataRow::new(out, count))
}

/// Writes the values of one array.
trait Encode: Send {
    /// Appends the value of a row that is not NULL, without its length.
    fn put(&self, row: usize, out: &mut BytesMut) -> Result<()>;
}

impl<F: Fn(usize, &mut BytesMut) -> Result<()> + Send> Encode for F {
    fn put(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        self(row, out)
    }
}

/// An array with its encoder.
struct Column {
    nulls: Option<NullBuffer>,
    values: Box<dyn Encode>,
}

impl Column {
    fn new(array: &ArrayRef, of: &PgType, shown: &Shown) -> Result<Self> {
        let array = flat(array)?;
        Ok(Self { nulls: array.logical_nulls(), values: encoder(&array, of, shown)? })
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends the value with its length before it.
    fn put(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        if self.is_null(row) {
            out.put_i32(NULL);
            return Ok(());
        }
        let start = out.len();
        out.put_i32(0);
        self.values.put(row, out)?;
        let length = i32::try_from(out.len() - start - size_of::<i32>());
        let length = length.map_err(|_| ValueError::new("54000", "a value is longer than the protocol allows"))?;
        out[start..start + size_of::<i32>()].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }
}

/// The array without what only saves memory in it.
fn flat(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Dictionary(_, value) => cast(array, value),
        DataType::RunEndEncoded(_, values) => cast(array, values.data_type()),
        _ => Ok(Arc::clone(array)),
    }
}

fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    arrow::compute::cast(array, to).map_err(|error| ValueError::new("22000", error.to_string()))
}

fn encoder(array: &ArrayRef, of: &PgType, shown: &Shown) -> Result<Box<dyn Encode>> {
    match of {
        PgType::Date | PgType::Timestamp | PgType::Timestamptz | PgType::Time | PgType::Interval => {
            times::encoder(array, shown)
        }
        PgType::Array(item) => arrays::encoder(array, item, shown),
        PgType::Composite => json::encoder(array, shown),
        PgType::Record => records::encoder(array, shown),
        _ => scalars::encoder(array, of, shown),
    }
}

fn unknown(of: &DataType) -> ValueError {
    ValueError::unsupported(format!("values of type {of} cannot be sent to a client"))
}
