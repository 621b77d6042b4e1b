//! Queries of tests, with the meaning that SQL has for users.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray},
    datatypes::{DataType, Field, Schema},
};
use datafusion::prelude::{DataFrame, SessionContext};
use ebap_sql::{Statement, parse, plan_statement};
use ebap_values::Numeric;

/// The query over the tables of the context, planned as the server plans it.
pub(crate) async fn frame(context: &SessionContext, text: &str) -> Result<DataFrame, String> {
    let parsed = parse(text).map_err(|error| error.to_string())?;
    let Some(Statement::Query(query)) = parsed.into_iter().next().map(|parsed| parsed.statement) else {
        return Err(format!("no query: {text}"));
    };
    let plan = plan_statement(&context.state(), *query, text).await.map_err(|error| error.to_string())?;
    context.execute_logical_plan(plan).await.map_err(|error| error.to_string())
}

/// The rows with NUMERIC as text, which Arrow would print as bytes.
pub(crate) fn readable(batches: &[RecordBatch]) -> Vec<RecordBatch> {
    batches.iter().map(readable_batch).collect()
}

fn readable_batch(batch: &RecordBatch) -> RecordBatch {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        match column.data_type() {
            DataType::LargeBinary => {
                let number = |bytes: &[u8]| Numeric::decode(bytes).expect("a NUMERIC").to_string();
                let texts: StringArray = column.as_binary::<i64>().iter().map(|bytes| bytes.map(number)).collect();
                fields.push(Field::new(field.name(), DataType::Utf8, true));
                columns.push(Arc::new(texts) as ArrayRef);
            }
            _ => {
                fields.push(field.as_ref().clone());
                columns.push(Arc::clone(column));
            }
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).expect("the same rows")
}
