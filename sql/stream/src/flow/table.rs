//! A table as changes: a newer row of a key takes the older one away.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::{Schema, SchemaRef},
};
use hashbrown::{HashMap, HashSet};

use super::{
    arrangement::{unweighted, weighted},
    delta::{Bytes, Codec, Delta, delta_of},
};
use crate::Result;

#[derive(Debug)]
pub(crate) struct TableOp {
    key: Vec<usize>,
    keys: Codec,
    codec: Codec,
    rows: HashMap<Bytes, Bytes>,
    bytes: usize,
    changed: HashSet<Bytes>,
}

impl TableOp {
    pub(crate) fn new(schema: &SchemaRef, key: &[usize]) -> Result<Self> {
        let keys: SchemaRef = Arc::new(Schema::new(schema.project(key)?.fields().to_vec()));
        let (keys, codec) = (Codec::new(&keys)?, Codec::new(schema)?);
        Ok(Self { key: key.to_vec(), keys, codec, rows: HashMap::new(), bytes: 0, changed: HashSet::new() })
    }

    /// Takes rows as they come; gives what goes and what comes.
    pub(crate) fn apply<'a>(&mut self, input: impl Iterator<Item = &'a Delta>) -> Result<Vec<Delta>> {
        let mut changes: Vec<(Bytes, i64)> = Vec::new();
        for delta in input {
            // Virtual columns lie behind those of the table.
            let columns = &delta.batch.columns()[..self.codec.schema().fields().len()];
            let keys = self.keys_of(columns, delta.rows())?;
            for (key, row) in keys.into_iter().zip(self.codec.encode(columns, delta.rows())?) {
                let old = self.rows.insert(key.clone(), row.clone());
                self.bytes += row.len() + key.len() + 64;
                if let Some(old) = old {
                    self.bytes = self.bytes.saturating_sub(old.len() + key.len() + 64);
                    changes.push((old, -1));
                }
                changes.push((row, 1));
                self.changed.insert(key);
            }
        }
        Ok(delta_of(&self.codec, &changes)?.into_iter().collect())
    }

    fn keys_of(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<Bytes>> {
        let own: Vec<ArrayRef> = self.key.iter().map(|at| Arc::clone(&columns[*at])).collect();
        self.keys.encode(&own, rows)
    }

    pub(crate) fn size(&self) -> (usize, usize) {
        (self.rows.len(), self.bytes)
    }

    pub(crate) fn forget_changes(&mut self) {
        self.changed.clear();
    }

    pub(crate) fn saved(&mut self, all: bool) -> Result<Vec<RecordBatch>> {
        let changed = std::mem::take(&mut self.changed);
        let rows: Vec<(&[u8], i64)> = match all {
            true => self.rows.values().map(|row| (row.as_ref(), 1)).collect(),
            false => changed.iter().filter_map(|key| Some((self.rows.get(key)?.as_ref(), 1))).collect(),
        };
        rows.chunks(65_536).map(|rows| weighted(&self.codec, rows)).collect()
    }

    pub(crate) fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        let (batch, _) = unweighted(&self.codec, batch)?;
        self.apply(std::iter::once(&Delta::came(batch)))?;
        Ok(())
    }
}
