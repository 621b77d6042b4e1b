//! Rows of several schemas made into the columns that were declared.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array},
    compute::{concat, filter, take},
    datatypes::{Fields, SchemaRef},
};
use ebap_connector::{Error, Rejected, Result, Wanted};
use ebap_schema_registry::Schema;

use super::reader::{AvroReader, Run};
use crate::{
    fit::{Faults, Fitter, names_of},
    names,
};

/// What records are made into.
pub(crate) struct Declared {
    pub(crate) schema: SchemaRef,
    wanted: Wanted,
    /// Of what somebody reads.
    relaxed: SchemaRef,
    fitter: Fitter,
}

/// Rows of one schema, made into the declared columns.
pub(crate) struct Part {
    pub(crate) columns: Vec<ArrayRef>,
    pub(crate) records: Vec<u32>,
}

impl Part {
    /// Rejects the rows that have faults.
    pub(crate) fn without(self, faults: &Faults, rejected: &mut Vec<Rejected>) -> Result<Self> {
        if faults.is_empty() {
            return Ok(self);
        }
        let good: BooleanArray = (0..self.records.len()).map(|row| Some(faults.of(row).is_none())).collect();
        let columns = self.columns.iter().map(|column| filter(column, &good)).collect::<Result<_, _>>();
        let mut records = Vec::with_capacity(self.records.len());
        for (row, record) in self.records.into_iter().enumerate() {
            match faults.of(row) {
                Some(reason) => rejected.push(Rejected { record, reason: reason.to_owned() }),
                None => records.push(record),
            }
        }
        Ok(Self { columns: columns.map_err(Error::internal)?, records })
    }
}

impl Declared {
    pub(crate) fn new(schema: &SchemaRef, wanted: &Wanted, fitter: Fitter) -> Self {
        Self { schema: Arc::clone(schema), wanted: wanted.clone(), relaxed: wanted.relaxed(schema), fitter }
    }

    /// # Errors
    /// The reason why records of this schema cannot have these columns.
    pub(super) fn reader(&self, schema: &Schema) -> Result<AvroReader, String> {
        let reader = AvroReader::new(schema, |name| names::declared(names_of(self.schema.fields()), name).is_some())?;
        let none = RecordBatch::new_empty(reader.schema());
        self.fit(&none, self.schema.fields(), &mut Faults::default()).map(|_| reader)
    }

    pub(crate) fn fit(&self, batch: &RecordBatch, to: &Fields, faults: &mut Faults) -> Result<Vec<ArrayRef>, String> {
        let column = |name: &str| self.column(batch.schema_ref().fields(), batch.columns(), name);
        self.fitter.columns(batch.num_rows(), column, to, faults)
    }

    /// The written column that the declared one of this name is made from.
    pub(crate) fn column(&self, fields: &Fields, columns: &[ArrayRef], name: &str) -> Result<Option<ArrayRef>, String> {
        let at = names::place(names_of(fields), self.schema.fields(), name, name)?;
        Ok(at.map(|at| Arc::clone(&columns[at])))
    }

    pub(super) fn part(&self, run: Run, rejected: &mut Vec<Rejected>) -> Result<Part> {
        let mut faults = Faults::default();
        let columns = self.fit(&run.batch, self.schema.fields(), &mut faults).map_err(Error::internal)?;
        Part { columns, records: run.records }.without(&faults, rejected)
    }

    /// The rows of all parts in the order of their records.
    pub(crate) fn batch(&self, parts: Vec<Part>) -> Result<(RecordBatch, Vec<u32>)> {
        let mut rows: Vec<u32> = parts.iter().flat_map(|part| part.records.iter().copied()).collect();
        let order = (!rows.is_sorted()).then(|| {
            let mut order: Vec<u32> = (0..rows.len() as u32).collect();
            order.sort_unstable_by_key(|at| rows[*at as usize]);
            order
        });
        let order = order.map(|order| {
            rows = order.iter().map(|at| rows[*at as usize]).collect();
            UInt32Array::from(order)
        });
        let one = |(at, field): (usize, &Arc<arrow::datatypes::Field>)| {
            if self.wanted.of(field.name()).is_none() {
                return Ok(new_null_array(field.data_type(), rows.len()));
            }
            let columns: Vec<&dyn Array> = parts.iter().map(|part| part.columns[at].as_ref()).collect();
            let whole = match columns.as_slice() {
                [] => new_null_array(field.data_type(), 0),
                [_] => Arc::clone(&parts[0].columns[at]),
                many => concat(many)?,
            };
            match &order {
                Some(order) => take(&whole, order, None),
                None => Ok(whole),
            }
        };
        let columns = self.relaxed.fields().iter().enumerate().map(one).collect::<Result<_, _>>();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let columns = columns.map_err(|error: arrow::error::ArrowError| Error::internal(error))?;
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.relaxed), columns, &options);
        Ok((batch.map_err(Error::internal)?, rows))
    }
}
