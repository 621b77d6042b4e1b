//! Arrow rows to rows on the wire.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, RecordBatch, StringArray, StructArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch};
use pgwire::{
    api::{portal::Format, results::FieldInfo},
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
        .map(|column| if travels_as_json(column.data_type()) { json(column) } else { Ok(Arc::clone(column)) })
        .collect();
    let batch = ebap_batch(&schema, columns.map_err(failed)?, batch.num_rows()).map_err(failed)?;
    Ok(encode_recordbatch(Arc::clone(fields), batch).collect())
}

fn ebap_batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> arrow::error::Result<RecordBatch> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    let nullable = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(nullable.collect::<Vec<_>>())), columns, &options)
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
