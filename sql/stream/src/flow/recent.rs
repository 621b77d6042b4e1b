//! Rows that leave by themselves: those whose time is less than so long ago, by the clock.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, AsArray, BooleanArray, RecordBatch},
    datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType},
};
use datafusion::{common::DFSchema, logical_expr::Expr, physical_expr::PhysicalExpr};
use hashbrown::HashMap;

use super::{
    arrangement::{unweighted, weighted, wrong},
    delta::{Bytes, Codec, Delta, delta_of},
};
use crate::{Result, rows::physical};

#[derive(Debug)]
pub(crate) struct RecentOp {
    time: Arc<dyn PhysicalExpr>,
    span_us: i64,
    inclusive: bool,
    codec: Codec,
    /// By time: rows, and how often each is there.
    rows: BTreeMap<i64, HashMap<Bytes, i64>>,
    held: usize,
    bytes: usize,
    changed: HashMap<Bytes, i64>,
}

impl RecentOp {
    pub(crate) fn new(
        time: &Expr,
        logical: &DFSchema,
        span_us: i64,
        inclusive: bool,
        schema: &SchemaRef,
    ) -> Result<Self> {
        let (time, codec) = (physical(time, logical)?, Codec::new(schema)?);
        let (rows, changed) = (BTreeMap::new(), HashMap::new());
        Ok(Self { time, span_us, inclusive, codec, rows, held: 0, bytes: 0, changed })
    }

    fn times(&self, batch: &RecordBatch) -> Result<arrow::array::TimestampMicrosecondArray> {
        let times = self.time.evaluate(batch)?.into_array(batch.num_rows())?;
        let of = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        let times = if *times.data_type() == of { times } else { arrow::compute::cast(&times, &of)? };
        Ok(times.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?.clone())
    }

    /// The first time that is still within.
    fn first(&self, now_us: i64) -> i64 {
        now_us - self.span_us + i64::from(!self.inclusive)
    }

    pub(crate) fn apply(&mut self, input: Vec<Delta>, now_us: i64) -> Result<Vec<Delta>> {
        let first = self.first(now_us);
        let mut out = Vec::new();
        for delta in input {
            let times = self.times(&delta.batch)?;
            let mask: BooleanArray =
                (0..times.len()).map(|row| Some(times.is_valid(row) && times.value(row) >= first)).collect();
            let delta = delta.filter(&mask)?;
            let times = self.times(&delta.batch)?;
            let rows = self.codec.encode(delta.batch.columns(), delta.rows())?;
            for (at, row) in rows.into_iter().enumerate() {
                self.put(times.value(at), row, |weight| weight + delta.weight(at));
            }
            if delta.rows() > 0 {
                out.push(delta);
            }
        }
        Ok(out)
    }

    fn put(&mut self, time: i64, row: Bytes, weight: impl FnOnce(i64) -> i64) {
        self.changed.insert(row.clone(), time);
        let rows = self.rows.entry(time).or_default();
        let size = row.len() + 48;
        let known = rows.get(&row).copied();
        match (known, weight(known.unwrap_or(0))) {
            (None, 0) => {}
            (Some(_), 0) => {
                rows.remove(&row);
                self.held -= 1;
                self.bytes = self.bytes.saturating_sub(size);
            }
            (known, now) => {
                rows.insert(row, now);
                if known.is_none() {
                    self.held += 1;
                    self.bytes += size;
                }
            }
        }
        if self.rows.get(&time).is_some_and(HashMap::is_empty) {
            self.rows.remove(&time);
        }
    }

    /// Takes away what the clock has passed.
    pub(crate) fn expire(&mut self, now_us: i64) -> Result<Vec<Delta>> {
        let within = self.rows.split_off(&self.first(now_us));
        let gone = std::mem::replace(&mut self.rows, within);
        let mut changes: Vec<(Bytes, i64)> = Vec::new();
        for (time, rows) in gone {
            for (row, weight) in rows {
                self.held -= 1;
                self.bytes = self.bytes.saturating_sub(row.len() + 48);
                self.changed.insert(row.clone(), time);
                changes.push((row, -weight));
            }
        }
        Ok(delta_of(&self.codec, &changes)?.into_iter().collect())
    }

    pub(crate) fn size(&self) -> (usize, usize) {
        (self.held, self.bytes)
    }

    pub(crate) fn forget_changes(&mut self) {
        self.changed.clear();
    }

    pub(crate) fn saved(&mut self, all: bool) -> Result<Vec<RecordBatch>> {
        let changed = std::mem::take(&mut self.changed);
        let mut rows: Vec<(&[u8], i64)> = Vec::new();
        if all {
            rows.extend(self.rows.values().flat_map(|rows| rows.iter().map(|(row, weight)| (row.as_ref(), *weight))));
        } else {
            for (row, time) in &changed {
                let weight = self.rows.get(time).and_then(|rows| rows.get(row)).copied().unwrap_or(0);
                rows.push((row.as_ref(), weight));
            }
        }
        rows.chunks(65_536).map(|rows| weighted(&self.codec, rows)).collect()
    }

    pub(crate) fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        let (batch, weights) = unweighted(&self.codec, batch)?;
        let times = self.times(&batch)?;
        for (at, row) in self.codec.encode(batch.columns(), batch.num_rows())?.into_iter().enumerate() {
            self.put(times.value(at), row, |_| weights.value(at));
        }
        Ok(())
    }
}
