//! Arrow rows to rows on the wire.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, StructArray},
    datatypes::{DataType, Field, Float32Type, Float64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType},
};
use arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch};
use pgwire::{
    api::{
        portal::Format,
        results::{FieldFormat, FieldInfo},
    },
    error::{PgWireError, PgWireResult},
    messages::data::DataRow,
};

use super::sqlstate::SqlError;

/// Columns as the client is told of them.
pub(super) fn fields(schema: &Schema, format: &Format) -> PgWireResult<Vec<FieldInfo>> {
    arrow_schema_to_pg_fields(&wire_schema(schema), format, None)
}

/// Nested values travel as JSON text: every client can show it, and few can read composite types.
fn travels_as_json(of: &DataType) -> bool {
    match of {
        DataType::Struct(_) | DataType::Map(_, _) => true,
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            matches!(field.data_type(), DataType::Struct(_) | DataType::Map(_, _) | DataType::List(_))
        }
        _ => false,
    }
}

fn wire_schema(schema: &Schema) -> SchemaRef {
    let field = |field: &Arc<Field>| match travels_as_json(field.data_type()) {
        true => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
        false => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

pub(super) fn rows(batch: RecordBatch, fields: &Arc<Vec<FieldInfo>>) -> PgWireResult<Vec<PgWireResult<DataRow>>> {
    let schema = wire_schema(&batch.schema());
    let failed = |error: arrow::error::ArrowError| PgWireError::from(SqlError::new("XX000", error.to_string()));
    let columns: Result<Vec<ArrayRef>, _> = batch
        .columns()
        .iter()
        .zip(fields.iter())
        .map(|(column, field)| match column.data_type() {
            of if travels_as_json(of) => json(column),
            DataType::Timestamp(_, _) if field.format() == FieldFormat::Text => timestamps(column),
            DataType::Float64 | DataType::Float32 if field.format() == FieldFormat::Text => floats(column),
            _ => Ok(Arc::clone(column)),
        })
        .collect();
    let batch = ebap_batch(&schema, columns.map_err(failed)?, batch.num_rows()).map_err(failed)?;
    Ok(encode_recordbatch(Arc::clone(fields), batch).collect())
}

fn ebap_batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> arrow::error::Result<RecordBatch> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    let fields = schema.fields().iter().zip(&columns);
    let nullable = fields.map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(nullable.collect::<Vec<_>>())), columns, &options)
}

/// As PostgreSQL prints them: a space, a fraction only where there is one, `+00` with a zone.
fn timestamps(column: &ArrayRef) -> arrow::error::Result<ArrayRef> {
    let zoned = matches!(column.data_type(), DataType::Timestamp(_, Some(_)));
    let micros = arrow::compute::cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    let micros = micros.as_primitive::<TimestampMicrosecondType>();
    let text = |at: usize| {
        let value = micros.is_valid(at).then(|| micros.value_as_datetime(at)).flatten()?;
        let mut text = value.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len().max("2026-01-01 00:00:00".len()));
        text.push_str(if zoned { "+00" } else { "" });
        Some(text)
    };
    Ok(Arc::new((0..micros.len()).map(text).collect::<StringArray>()))
}

/// The shortest digits that mean the number, with an exponent where PostgreSQL has one.
fn floats(column: &ArrayRef) -> arrow::error::Result<ArrayRef> {
    fn shortest<T: std::fmt::Display + std::fmt::LowerExp>(value: T, size: f64, most: f64) -> String {
        match size {
            size if size.is_infinite() => if size > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
            size if size != 0.0 && (size.abs() >= most || size.abs() < 1e-4) => {
                let text = format!("{value:e}");
                match text.split_once('e') {
                    Some((digits, exponent)) => {
                        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
                        format!("{digits}e{sign}{exponent:0>2}")
                    }
                    None => text,
                }
            }
            _ => value.to_string(),
        }
    }
    let array: StringArray = match column.data_type() {
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>().iter();
            values.map(|value| value.map(|value| shortest(value, value.into(), 1e6))).collect()
        }
        _ => {
            let values = column.as_primitive::<Float64Type>().iter();
            values.map(|value| value.map(|value| shortest(value, value, 1e15))).collect()
        }
    };
    Ok(Arc::new(array))
}

/// Each value as JSON.
fn json(column: &ArrayRef) -> arrow::error::Result<ArrayRef> {
    const NAME: &str = "v";
    let mut texts: Vec<Option<String>> = Vec::with_capacity(column.len());
    let field = Arc::new(Field::new(NAME, column.data_type().clone(), true));
    let batch = RecordBatch::from(StructArray::from(vec![(field, Arc::clone(column))]));
    let mut out = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut out);
    writer.write(&batch)?;
    writer.finish()?;
    let lines = String::from_utf8_lossy(&out);
    for (at, line) in lines.lines().enumerate() {
        let value = line.strip_prefix("{\"v\":").and_then(|rest| rest.strip_suffix('}'));
        texts.push(value.filter(|_| column.is_valid(at)).map(str::to_owned));
    }
    Ok(Arc::new(StringArray::from(texts)))
}
