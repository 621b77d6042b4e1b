//! Values of `jsonb` columns: decoders give a text that is JSON, and rows have PostgreSQL's form of it.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringBuilder},
    datatypes::{DataType, Field},
};
use ebap_values::Json;

/// One column in its form, and which rows have one. NULL is as it was.
pub(crate) struct Normalised {
    pub(crate) column: ArrayRef,
    pub(crate) valid: BooleanArray,
    /// Why the first row that has none does not.
    pub(crate) reason: String,
}

/// Whether values of the field are `jsonb`.
pub(crate) fn is_jsonb(field: &Field) -> bool {
    *field.data_type() == DataType::Utf8 && field.metadata().get("ebap.type").is_some_and(|marker| marker == "json")
}

/// The column at this place of a batch; `None` where there is nothing to be done.
pub(crate) fn normalised(batch: &RecordBatch, at: usize) -> Option<Normalised> {
    let texts = batch.column(at).as_string_opt::<i32>()?;
    if texts.null_count() == texts.len() {
        return None;
    }
    let mut column = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
    let (mut valid, mut reason) = (Vec::with_capacity(texts.len()), String::new());
    for text in texts {
        let value = text.map(Json::parse).transpose();
        valid.push(value.is_ok());
        match value {
            Ok(value) => column.append_option(value.map(|value| value.to_string())),
            Err(error) => {
                column.append_null();
                if reason.is_empty() {
                    reason = error.message;
                }
            }
        }
    }
    Some(Normalised { column: Arc::new(column.finish()), valid: BooleanArray::from(valid), reason })
}
