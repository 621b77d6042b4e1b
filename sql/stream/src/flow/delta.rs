//! Rows that come and go.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array},
    compute::{filter, filter_record_batch, take_record_batch},
    datatypes::SchemaRef,
    row::{RowConverter, Rows, SortField},
};
use hashbrown::HashMap;

use crate::{Result, rows::record_batch};

/// A key, a row or a value in Arrow's row format.
pub(crate) type Bytes = Box<[u8]>;

/// Rows, and how often each comes (or goes, below 0).
#[derive(Clone, Debug)]
pub(crate) struct Delta {
    pub(crate) batch: RecordBatch,
    /// None: each comes once.
    pub(crate) weights: Option<Vec<i64>>,
    /// The row of the source that each row is made of, where it is made of one alone.
    sources: Option<Sources>,
}

#[derive(Clone, Debug)]
struct Sources {
    /// Its place in the step.
    split: u32,
    /// None: each row is that of its own number.
    rows: Option<UInt32Array>,
}

impl Sources {
    fn row(&self, row: usize) -> u32 {
        self.rows.as_ref().map_or(row as u32, |rows| rows.value(row))
    }

    /// Those of the rows that are taken.
    fn taken(&self, rows: &UInt32Array) -> Self {
        let rows = match &self.rows {
            None => rows.clone(),
            Some(_) => rows.values().iter().map(|row| self.row(*row as usize)).collect(),
        };
        Self { split: self.split, rows: Some(rows) }
    }
}

impl Delta {
    pub(crate) fn came(batch: RecordBatch) -> Self {
        Self { batch, weights: None, sources: None }
    }

    /// Its rows are those of this split of the step, in order.
    pub(crate) fn of_split(self, split: usize) -> Self {
        let sources = u32::try_from(split).ok().map(|split| Sources { split, rows: None });
        Self { sources, ..self }
    }

    /// Split of the step and row in it, where the row is made of one.
    pub(crate) fn source_of(&self, row: usize) -> Option<(u32, u32)> {
        let sources = self.sources.as_ref()?;
        Some((sources.split, sources.row(row)))
    }

    pub(crate) fn weighted(batch: RecordBatch, weights: Vec<i64>) -> Self {
        debug_assert_eq!(batch.num_rows(), weights.len(), "a weight for each row");
        let weights = if weights.iter().all(|weight| *weight == 1) { None } else { Some(weights) };
        Self { batch, weights, sources: None }
    }

    pub(crate) fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    pub(crate) fn weight(&self, row: usize) -> i64 {
        self.weights.as_ref().map_or(1, |weights| weights[row])
    }

    /// The same weights with other columns.
    pub(crate) fn with(self, batch: RecordBatch) -> Self {
        Self { batch, ..self }
    }

    /// The batch computed of these rows, or of all of them, with their weights and sources.
    pub(crate) fn computed(&self, rows: Option<&UInt32Array>, batch: RecordBatch) -> Self {
        let Some(rows) = rows else { return self.clone().with(batch) };
        let weights = self.weights.as_ref();
        let weights = weights.map(|weights| rows.values().iter().map(|row| weights[*row as usize]).collect());
        Self { batch, weights, sources: self.sources.as_ref().map(|sources| sources.taken(rows)) }
    }

    pub(crate) fn take(&self, rows: &UInt32Array) -> Result<Self> {
        Ok(self.computed(Some(rows), take_record_batch(&self.batch, rows)?))
    }

    pub(crate) fn filter(&self, mask: &BooleanArray) -> Result<Self> {
        if mask.true_count() == mask.len() {
            return Ok(self.clone());
        }
        let rows = UInt32Array::from_iter_values(0..self.rows() as u32);
        let rows: UInt32Array = filter(&rows, mask)?.as_primitive().clone();
        Ok(self.computed(Some(&rows), filter_record_batch(&self.batch, mask)?))
    }
}

/// Rows of one schema to bytes and back. Equal rows have equal bytes.
#[derive(Clone, Debug)]
pub(crate) struct Codec {
    schema: SchemaRef,
    /// None where there are no columns.
    converter: Option<Arc<RowConverter>>,
}

impl Codec {
    pub(crate) fn new(schema: &SchemaRef) -> Result<Self> {
        let fields: Vec<SortField> =
            schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let converter = if fields.is_empty() { None } else { Some(Arc::new(RowConverter::new(fields)?)) };
        Ok(Self { schema: Arc::clone(schema), converter })
    }

    /// None where there are no columns.
    pub(crate) fn rows(&self, columns: &[ArrayRef]) -> Result<Option<Rows>> {
        Ok(self.converter.as_ref().map(|converter| converter.convert_columns(columns)).transpose()?)
    }

    /// Gives `take` the bytes of each row in turn.
    pub(crate) fn each(
        &self,
        columns: &[ArrayRef],
        rows: usize,
        mut take: impl FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        match &self.converter {
            None => (0..rows).try_for_each(|row| take(row, &[])),
            Some(converter) => {
                let encoded = converter.convert_columns(columns)?;
                encoded.iter().enumerate().try_for_each(|(at, row)| take(at, row.data()))
            }
        }
    }

    pub(crate) fn encode(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<Bytes>> {
        let mut all = Vec::with_capacity(rows);
        self.each(columns, rows, |_, bytes| {
            all.push(Bytes::from(bytes));
            Ok(())
        })?;
        Ok(all)
    }

    pub(crate) fn columns<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        match &self.converter {
            None => Ok(Vec::new()),
            Some(converter) => {
                let parser = converter.parser();
                Ok(converter.convert_rows(rows.map(|row| parser.parse(row)))?)
            }
        }
    }

    pub(crate) fn batch<'a>(&self, rows: impl ExactSizeIterator<Item = &'a [u8]>) -> Result<RecordBatch> {
        let count = rows.len();
        record_batch(&self.schema, self.columns(rows)?, count)
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

/// Rows that came and went as one change each: equal ones together, those that cancel out left out. In the order in
/// which they were first seen.
pub(crate) fn consolidated(codec: &Codec, deltas: &[Delta]) -> Result<Vec<(Bytes, i64)>> {
    let mut found: HashMap<Bytes, usize> = HashMap::new();
    let mut all: Vec<(Bytes, i64)> = Vec::new();
    for delta in deltas {
        codec.each(delta.batch.columns(), delta.rows(), |row, bytes| {
            let weight = delta.weight(row);
            match found.get(bytes) {
                Some(at) => all[*at].1 += weight,
                None => {
                    found.insert(Bytes::from(bytes), all.len());
                    all.push((Bytes::from(bytes), weight));
                }
            }
            Ok(())
        })?;
    }
    all.retain(|(_, weight)| *weight != 0);
    Ok(all)
}

/// As a delta again.
pub(crate) fn delta_of(codec: &Codec, changes: &[(Bytes, i64)]) -> Result<Option<Delta>> {
    if changes.is_empty() {
        return Ok(None);
    }
    let batch = codec.batch(changes.iter().map(|(bytes, _)| bytes.as_ref()))?;
    Ok(Some(Delta::weighted(batch, changes.iter().map(|(_, weight)| *weight).collect())))
}
