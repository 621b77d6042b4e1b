//! Rows by key, each with how often it is there: what a join keeps of a side.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType},
};
use datafusion::physical_expr::PhysicalExpr;
use ebap_sql::Expiry;
use hashbrown::{HashMap, HashSet};

use super::delta::{Bytes, Codec, Delta};
use crate::{Result, rows::record_batch};

pub(crate) const WEIGHT: &str = "__weight";
const SAVED_ROWS: usize = 65_536;

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) row: Bytes,
    pub(crate) weight: i64,
    /// Rows of the other side it meets, each as often as it is there.
    pub(crate) matches: i64,
}

#[derive(Debug)]
pub(crate) struct Arrangement {
    pub(crate) codec: Codec,
    keys: Codec,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    expiry: Option<Expiry>,
    buckets: HashMap<Bytes, Vec<Entry>>,
    /// Keys of rows that are let go when the watermark is past this.
    ends: BTreeMap<i64, HashSet<Bytes>>,
    rows: usize,
    bytes: usize,
    /// Rows that changed since they were last written down, with their keys.
    changed: HashMap<Bytes, Bytes>,
}

impl Arrangement {
    pub(crate) fn new(schema: &SchemaRef, exprs: Vec<Arc<dyn PhysicalExpr>>, expiry: Option<Expiry>) -> Result<Self> {
        let key = |(at, expr): (usize, &Arc<dyn PhysicalExpr>)| {
            Ok(Field::new(format!("k{at}"), expr.data_type(schema)?, true))
        };
        let fields: Result<Vec<Field>> = exprs.iter().enumerate().map(key).collect();
        Ok(Self {
            codec: Codec::new(schema)?,
            keys: Codec::new(&Arc::new(Schema::new(fields?)))?,
            exprs,
            expiry,
            buckets: HashMap::new(),
            ends: BTreeMap::new(),
            rows: 0,
            bytes: 0,
            changed: HashMap::new(),
        })
    }

    /// The key of every row, and whether one of its columns is NULL.
    pub(crate) fn keys(&self, batch: &RecordBatch) -> Result<(Vec<Bytes>, Vec<bool>)> {
        let rows = batch.num_rows();
        let columns: Vec<ArrayRef> =
            self.exprs.iter().map(|expr| Ok(expr.evaluate(batch)?.into_array(rows)?)).collect::<Result<_>>()?;
        let null = (0..rows).map(|row| columns.iter().any(|column| column.is_null(row))).collect();
        Ok((self.keys.encode(&columns, rows)?, null))
    }

    /// The watermark behind which each row is let go.
    fn ends_of(&self, batch: &RecordBatch) -> Option<Vec<i64>> {
        let Expiry { column, slack_us } = self.expiry?;
        let times = batch.column(column).as_primitive_opt::<TimestampMicrosecondType>()?;
        use arrow::array::Array;
        let end = |row| if times.is_null(row) { i64::MAX } else { times.value(row).saturating_add(slack_us) };
        Some((0..times.len()).map(end).collect())
    }

    pub(crate) fn bucket(&self, key: &[u8]) -> &[Entry] {
        self.buckets.get(key).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn bucket_mut(&mut self, key: &[u8]) -> &mut [Entry] {
        self.buckets.get_mut(key).map_or(&mut [], Vec::as_mut_slice)
    }

    /// Adds the rows; `matches` is what each meets on the other side, where that is counted.
    pub(crate) fn add(&mut self, delta: &Delta, keys: &[Bytes], matches: Option<&[i64]>) -> Result<()> {
        let rows = self.codec.encode(delta.batch.columns(), delta.rows())?;
        let ends = self.ends_of(&delta.batch);
        for (at, row) in rows.into_iter().enumerate() {
            let end = ends.as_ref().map(|ends| ends[at]);
            let met = matches.map_or(0, |matches| matches[at]);
            self.put(&keys[at], row, |weight| weight + delta.weight(at), met, end);
        }
        Ok(())
    }

    fn put(&mut self, key: &Bytes, row: Bytes, weight: impl FnOnce(i64) -> i64, matches: i64, end: Option<i64>) {
        self.changed.insert(row.clone(), key.clone());
        let bucket = self.buckets.entry_ref(key.as_ref()).or_insert_with(Vec::new);
        let size = size_of_entry(key, &row);
        match bucket.iter().position(|entry| entry.row == row) {
            Some(at) => {
                bucket[at].weight = weight(bucket[at].weight);
                if bucket[at].weight == 0 {
                    bucket.swap_remove(at);
                    self.rows -= 1;
                    self.bytes = self.bytes.saturating_sub(size);
                    if bucket.is_empty() {
                        self.buckets.remove(key.as_ref());
                    }
                }
            }
            None => {
                let weight = weight(0);
                if weight == 0 {
                    if bucket.is_empty() {
                        self.buckets.remove(key.as_ref());
                    }
                    return;
                }
                bucket.push(Entry { row, weight, matches });
                self.rows += 1;
                self.bytes += size;
                if let Some(end) = end.filter(|end| *end != i64::MAX) {
                    self.ends.entry(end).or_default().insert(key.clone());
                }
            }
        }
    }

    /// Lets go what the watermark has passed.
    pub(crate) fn expire(&mut self, watermark: i64) -> Result<()> {
        let open = self.ends.split_off(&watermark);
        let gone = std::mem::replace(&mut self.ends, open);
        let mut keys: HashSet<Bytes> = HashSet::new();
        gone.into_values().for_each(|of| keys.extend(of));
        if keys.is_empty() {
            return Ok(());
        }
        for key in &keys {
            let Some(bucket) = self.buckets.remove(key) else { continue };
            let batch = self.codec.batch(bucket.iter().map(|entry| entry.row.as_ref()))?;
            let ends = self.ends_of(&batch).unwrap_or_else(|| vec![i64::MAX; bucket.len()]);
            let mut kept = Vec::new();
            for (entry, end) in bucket.into_iter().zip(ends) {
                if end >= watermark {
                    kept.push(entry);
                } else {
                    self.rows -= 1;
                    self.bytes = self.bytes.saturating_sub(size_of_entry(key, &entry.row));
                }
            }
            if !kept.is_empty() {
                self.buckets.insert(key.clone(), kept);
            }
        }
        // What the watermark lets go it lets go again after a restart: nothing is to be written of it.
        let buckets = &self.buckets;
        let there = |row: &Bytes, key: &Bytes| {
            buckets.get(key).is_some_and(|bucket| bucket.iter().any(|entry| entry.row == *row))
        };
        self.changed.retain(|row, key| !keys.contains(key) || there(row, key));
        Ok(())
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes held, about.
    pub(crate) fn size(&self) -> usize {
        self.bytes + self.buckets.capacity() * 48
    }

    pub(crate) fn each(&self, mut take: impl FnMut(&Bytes, &Entry)) {
        for (key, bucket) in &self.buckets {
            bucket.iter().for_each(|entry| take(key, entry));
        }
    }

    pub(crate) fn forget_changes(&mut self) {
        self.changed.clear();
    }

    /// Rows with their weights: all, or those that changed since the last call.
    pub(crate) fn saved(&mut self, all: bool) -> Result<Vec<RecordBatch>> {
        let changed = std::mem::take(&mut self.changed);
        let mut rows: Vec<(&[u8], i64)> = Vec::new();
        if all {
            for bucket in self.buckets.values() {
                rows.extend(bucket.iter().map(|entry| (entry.row.as_ref(), entry.weight)));
            }
        } else {
            for (row, key) in &changed {
                let entry = self.buckets.get(key).and_then(|bucket| bucket.iter().find(|entry| entry.row == *row));
                rows.push((row.as_ref(), entry.map_or(0, |entry| entry.weight)));
            }
        }
        rows.chunks(SAVED_ROWS).map(|rows| weighted(&self.codec, rows)).collect()
    }

    /// Takes what was saved back; each row is there as often as the batch says.
    pub(crate) fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        let (batch, weights) = unweighted(&self.codec, batch)?;
        let (keys, _) = self.keys(&batch)?;
        let ends = self.ends_of(&batch);
        let rows = self.codec.encode(batch.columns(), batch.num_rows())?;
        for (at, row) in rows.into_iter().enumerate() {
            self.put(&keys[at], row, |_| weights.value(at), 0, ends.as_ref().map(|ends| ends[at]));
        }
        Ok(())
    }
}

fn size_of_entry(key: &Bytes, row: &Bytes) -> usize {
    row.len() + key.len() + size_of::<Entry>() + 32
}

/// Rows with a last column that says how often each is there.
pub(crate) fn weighted(codec: &Codec, rows: &[(&[u8], i64)]) -> Result<RecordBatch> {
    let mut columns = codec.columns(rows.iter().map(|(row, _)| *row))?;
    columns.push(Arc::new(rows.iter().map(|(_, weight)| *weight).collect::<Int64Array>()));
    let mut fields: Vec<Field> =
        codec.schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    fields.push(Field::new(WEIGHT, DataType::Int64, false));
    record_batch(&Arc::new(Schema::new(fields)), columns, rows.len())
}

pub(crate) fn unweighted(codec: &Codec, batch: &RecordBatch) -> Result<(RecordBatch, Int64Array)> {
    let (weights, columns) = batch.columns().split_last().ok_or_else(wrong)?;
    let weights = weights.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?.clone();
    Ok((record_batch(codec.schema(), columns.to_vec(), batch.num_rows())?, weights))
}

pub(crate) fn wrong() -> crate::Error {
    crate::Error::Internal("the state of an operator has other columns than its plan".to_owned())
}
