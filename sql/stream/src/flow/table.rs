//! A table as changes: a newer row of a key takes the older one away, and a row of weight -1 does nothing else.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::{Schema, SchemaRef},
};
use hashbrown::HashMap;

use super::{
    arrangement::{apart, weighted},
    delta::{Bytes, Codec, Delta, delta_of},
};
use crate::Result;

/// Memory of an entry beside its key and row.
const ENTRY_BYTES: usize = 64;

#[derive(Debug)]
pub(crate) struct TableOp {
    key: Vec<usize>,
    keys: Codec,
    codec: Codec,
    rows: HashMap<Bytes, Bytes>,
    bytes: usize,
    /// Keys whose row has changed since the last call of `saved`, and where there is none now, what took it away.
    changed: HashMap<Bytes, Option<Bytes>>,
}

impl TableOp {
    pub(crate) fn new(schema: &SchemaRef, key: &[usize]) -> Result<Self> {
        let keys: SchemaRef = Arc::new(Schema::new(schema.project(key)?.fields().to_vec()));
        let (keys, codec) = (Codec::new(&keys)?, Codec::new(schema)?);
        Ok(Self { key: key.to_vec(), keys, codec, rows: HashMap::new(), bytes: 0, changed: HashMap::new() })
    }

    /// Takes rows as they come; gives what goes and what comes.
    pub(crate) fn apply<'a>(&mut self, input: impl Iterator<Item = &'a Delta>) -> Result<Vec<Delta>> {
        let mut changes: Vec<(Bytes, i64)> = Vec::new();
        for delta in input {
            // Virtual columns lie behind those of the table.
            let columns = &delta.batch.columns()[..self.codec.schema().fields().len()];
            self.take(columns, delta.rows(), |row| delta.weight(row), &mut changes)?;
        }
        Ok(delta_of(&self.codec, &changes)?.into_iter().collect())
    }

    fn take(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        weight: impl Fn(usize) -> i64,
        changes: &mut Vec<(Bytes, i64)>,
    ) -> Result<()> {
        let keys = self.keys_of(columns, rows)?;
        for (at, (key, row)) in keys.into_iter().zip(self.codec.encode(columns, rows)?).enumerate() {
            let comes = weight(at) > 0;
            let old = if comes { self.rows.insert(key.clone(), row.clone()) } else { self.rows.remove(&key) };
            if let Some(old) = &old {
                self.bytes = self.bytes.saturating_sub(old.len() + key.len() + ENTRY_BYTES);
            }
            if comes {
                self.bytes += row.len() + key.len() + ENTRY_BYTES;
                self.changed.insert(key, None);
            } else if old.is_some() {
                self.changed.insert(key, Some(row.clone()));
            }
            changes.extend(old.map(|old| (old, -1)));
            changes.extend(comes.then_some((row, 1)));
        }
        Ok(())
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

    /// All rows, or those that changed since the last call; with weight -1 those that went.
    pub(crate) fn saved(&mut self, all: bool) -> Result<Vec<RecordBatch>> {
        let changed = std::mem::take(&mut self.changed);
        let rows: Vec<(&[u8], i64)> = match all {
            true => self.rows.values().map(|row| (row.as_ref(), 1)).collect(),
            false => {
                let gone = changed.values().filter_map(|gone| Some((gone.as_deref()?, -1)));
                let there = changed.iter().filter(|(_, gone)| gone.is_none());
                let there = there.filter_map(|(key, _)| Some((self.rows.get(key)?.as_ref(), 1)));
                gone.chain(there).collect()
            }
        };
        rows.chunks(65_536).map(|rows| weighted(&self.codec, rows)).collect()
    }

    pub(crate) fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        let (columns, weights) = apart(batch)?;
        self.take(columns, batch.num_rows(), |row| weights.value(row), &mut Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{AsArray, Int64Array, StringArray},
        datatypes::{DataType, Field, Int64Type},
    };

    use super::*;

    fn table() -> TableOp {
        let fields = vec![Field::new("k", DataType::Int64, false), Field::new("v", DataType::Utf8, false)];
        TableOp::new(&Arc::new(Schema::new(fields)), &[0]).expect("an operator")
    }

    /// Rows that come, and of those without a value the key that goes.
    fn told(op: &mut TableOp, rows: &[(i64, Option<&str>)]) -> Vec<(i64, String, i64)> {
        let fields = vec![Field::new("k", DataType::Int64, false), Field::new("v", DataType::Utf8, true)];
        let keys: Int64Array = rows.iter().map(|(key, _)| *key).collect();
        let values: StringArray = rows.iter().map(|(_, value)| *value).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(keys), Arc::new(values)]);
        let weights = rows.iter().map(|(_, value)| if value.is_some() { 1 } else { -1 }).collect();
        let delta = Delta::weighted(batch.expect("two columns"), weights);
        let mut all = Vec::new();
        for delta in op.apply(std::iter::once(&delta)).expect("changes") {
            let (keys, values) = (delta.batch.column(0).as_primitive::<Int64Type>(), delta.batch.column(1));
            let values = values.as_string::<i32>();
            all.extend((0..delta.rows()).map(|row| (keys.value(row), values.value(row).to_owned(), delta.weight(row))));
        }
        all
    }

    fn change(key: i64, value: &str, weight: i64) -> (i64, String, i64) {
        (key, value.to_owned(), weight)
    }

    #[test]
    fn a_delete_takes_the_row_of_its_key_away_once() {
        let mut op = table();
        assert_eq!(told(&mut op, &[(1, Some("a")), (2, Some("b"))]), [change(1, "a", 1), change(2, "b", 1)]);
        assert_eq!(told(&mut op, &[(1, None)]), [change(1, "a", -1)]);
        assert_eq!(told(&mut op, &[(1, None), (3, None)]), [], "nothing is there that could go");
        assert_eq!(told(&mut op, &[(2, None), (2, Some("c"))]), [change(2, "b", -1), change(2, "c", 1)]);
        assert_eq!(op.size().0, 1);
    }

    #[test]
    fn deletes_are_in_what_is_saved_of_an_epoch() {
        let mut op = table();
        told(&mut op, &[(1, Some("a")), (2, Some("b")), (3, Some("c"))]);
        let mut saved = op.saved(true).expect("batches");
        told(&mut op, &[(1, None), (2, None), (4, Some("d"))]);
        saved.extend(op.saved(false).expect("batches"));
        told(&mut op, &[(2, Some("e")), (4, None)]);
        saved.extend(op.saved(false).expect("batches"));
        let mut again = table();
        saved.iter().for_each(|batch| again.restore(batch).expect("restores"));
        again.forget_changes();
        for mut op in [op, again] {
            assert_eq!(op.size().0, 2);
            let gone = told(&mut op, &[(1, None), (2, None), (3, None), (4, None)]);
            assert_eq!(gone, [change(2, "e", -1), change(3, "c", -1)]);
            assert_eq!(op.size(), (0, 0));
        }
    }
}
