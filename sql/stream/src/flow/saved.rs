//! How operators write down what they hold: batches of any schema in one file.
//!
//! | column | type | |
//! |---|---|---|
//! | `operator` | Int64 | its number, from the root, and of it a part |
//! | `part` | Int64 | |
//! | `batch` | Binary | an Arrow IPC stream |
//!
//! What a batch says of an entry is what it is, and not what was added: so a base and the deltas after it are read
//! alike, one after the other, and an entry of weight 0 is gone.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, BinaryArray, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
    ipc::{reader::StreamReader, writer::StreamWriter},
};

use crate::{Error, Result};

/// A batch, of which part of which operator.
pub(crate) struct Part {
    pub(crate) operator: usize,
    pub(crate) part: usize,
    pub(crate) batch: RecordBatch,
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("operator", DataType::Int64, false),
        Field::new("part", DataType::Int64, false),
        Field::new("batch", DataType::Binary, false),
    ]))
}

pub(crate) fn packed(parts: &[Part]) -> Result<Vec<RecordBatch>> {
    let mut out = Vec::with_capacity(parts.len());
    for part in parts.iter().filter(|part| part.batch.num_rows() > 0) {
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, &part.batch.schema())?;
        writer.write(&part.batch)?;
        writer.finish()?;
        drop(writer);
        // One each: a column of bytes has 2 GiB at the most.
        let columns: Vec<arrow::array::ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![part.operator as i64])),
            Arc::new(Int64Array::from(vec![part.part as i64])),
            Arc::new(BinaryArray::from_vec(vec![&bytes])),
        ];
        out.push(RecordBatch::try_new(schema(), columns)?);
    }
    Ok(out)
}

pub(crate) fn unpacked(batch: &RecordBatch) -> Result<Vec<Part>> {
    let wrong = || Error::Internal("the state of a flow has other columns".to_owned());
    let [operators, parts, batches] = batch.columns() else { return Err(wrong()) };
    let operators = operators.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
    let parts = parts.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
    let batches = batches.as_binary_opt::<i32>().ok_or_else(wrong)?;
    let mut out = Vec::new();
    for row in 0..batches.len() {
        let (operator, part) = (operators.value(row) as usize, parts.value(row) as usize);
        for batch in StreamReader::try_new(batches.value(row), None)? {
            out.push(Part { operator, part, batch: batch? });
        }
    }
    Ok(out)
}
