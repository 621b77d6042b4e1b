//! The rows of the view that a flow gives: finding the row that goes.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{SchemaRef, TimestampMicrosecondType},
};
use hashbrown::{HashMap, HashSet};

use super::{
    arrangement::{unweighted, weighted},
    delta::{Bytes, Codec, Delta, consolidated},
    saved::Part,
};
use crate::{
    Result,
    view::store::{RowId, ViewStore},
};

/// Its number among the operators of a file.
pub(crate) const OUTPUT: usize = u32::MAX as usize;

#[derive(Debug)]
pub(crate) struct Output {
    codec: Codec,
    /// The column that says when a row leaves by `retention`.
    time: Option<usize>,
    rows: HashMap<Bytes, Vec<RowId>>,
    bytes: usize,
    changed: HashSet<Bytes>,
}

/// What came and what went.
pub(crate) struct Changes {
    pub(crate) gone: RecordBatch,
    pub(crate) came: RecordBatch,
}

impl Output {
    pub(crate) fn new(schema: &SchemaRef, time: Option<usize>) -> Result<Self> {
        Ok(Self { codec: Codec::new(schema)?, time, rows: HashMap::new(), bytes: 0, changed: HashSet::new() })
    }

    /// Brings the rows up to date, in one act.
    pub(crate) fn apply(&mut self, deltas: &[Delta], store: &ViewStore) -> Result<Option<Changes>> {
        let changes = consolidated(&self.codec, deltas)?;
        if changes.is_empty() {
            return Ok(None);
        }
        let (mut gone, mut gone_rows, mut came): (Vec<RowId>, Vec<&Bytes>, Vec<&Bytes>) = Default::default();
        for (row, weight) in &changes {
            self.changed.insert(row.clone());
            if *weight > 0 {
                came.extend(std::iter::repeat_n(row, usize::try_from(*weight).unwrap_or(0)));
                continue;
            }
            let Some(ids) = self.rows.get_mut(row) else { continue };
            for _ in 0..weight.unsigned_abs() {
                if let Some(id) = ids.pop() {
                    gone.push(id);
                    gone_rows.push(row);
                }
            }
            if ids.is_empty() {
                self.rows.remove(row);
                self.bytes = self.bytes.saturating_sub(row.len() + 64);
            }
        }
        let batch = self.codec.batch(came.iter().map(|row| row.as_ref()))?;
        let batch = if came.is_empty() { RecordBatch::new_empty(Arc::clone(self.codec.schema())) } else { batch };
        let ids = store.apply(&gone, batch.clone(), self.times(&batch))?;
        for (row, id) in came.into_iter().zip(ids) {
            let of = self.rows.entry_ref(row.as_ref()).or_insert_with(Vec::new);
            if of.is_empty() {
                self.bytes += row.len() + 64;
            }
            of.push(id);
        }
        let went = match gone_rows.is_empty() {
            true => RecordBatch::new_empty(Arc::clone(self.codec.schema())),
            false => self.codec.batch(gone_rows.iter().map(|row| row.as_ref()))?,
        };
        Ok(Some(Changes { gone: went, came: batch }))
    }

    fn times(&self, batch: &RecordBatch) -> Vec<i64> {
        let column = self.time.and_then(|at| batch.column(at).as_primitive_opt::<TimestampMicrosecondType>());
        let time = |row: usize| match column {
            Some(times) if times.is_valid(row) => times.value(row),
            _ => i64::MAX,
        };
        (0..batch.num_rows()).map(time).collect()
    }

    /// Takes away rows that are at or before this time.
    pub(crate) fn expire(&mut self, before: i64, store: &ViewStore) -> Result<Option<RecordBatch>> {
        let Some(gone) = store.expire(before, true)? else { return Ok(None) };
        for row in self.codec.encode(gone.columns(), gone.num_rows())? {
            if self.rows.remove(&row).is_some() {
                self.bytes = self.bytes.saturating_sub(row.len() + 64);
            }
            self.changed.insert(row);
        }
        Ok(Some(gone))
    }

    /// Bytes held, about, beside the rows themselves.
    pub(crate) fn size(&self) -> usize {
        self.bytes
    }

    pub(crate) fn forget_changes(&mut self) {
        self.changed.clear();
    }

    pub(crate) fn saved(&mut self, all: bool, into: &mut Vec<Part>) -> Result<()> {
        let changed = std::mem::take(&mut self.changed);
        let count = |row: &Bytes| self.rows.get(row).map_or(0, Vec::len) as i64;
        let rows: Vec<(&[u8], i64)> = match all {
            true => self.rows.iter().map(|(row, ids)| (row.as_ref(), ids.len() as i64)).collect(),
            false => changed.iter().map(|row| (row.as_ref(), count(row))).collect(),
        };
        for rows in rows.chunks(65_536) {
            into.push(Part { operator: OUTPUT, part: 0, batch: weighted(&self.codec, rows)? });
        }
        Ok(())
    }

    /// Takes rows back, each as often as the batch says.
    pub(crate) fn restore(&mut self, batch: &RecordBatch, store: &ViewStore) -> Result<()> {
        let (batch, weights) = unweighted(&self.codec, batch)?;
        let rows = self.codec.encode(batch.columns(), batch.num_rows())?;
        let by = |(at, row): (usize, &Bytes)| weights.value(at) - self.rows.get(row).map_or(0, Vec::len) as i64;
        let by: Vec<i64> = rows.iter().enumerate().map(by).collect();
        self.apply(&[Delta::weighted(batch, by)], store)?;
        self.changed.clear();
        Ok(())
    }
}
