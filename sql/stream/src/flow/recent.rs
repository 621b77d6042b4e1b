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

    /// Expressions that are computed for each row.
    pub(crate) fn expr(&self) -> &Arc<dyn PhysicalExpr> {
        &self.time
    }

    fn times(&self, batch: &RecordBatch) -> Result<arrow::array::TimestampMicrosecondArray> {
        let times = self.time.evaluate(batch)?.into_array(batch.num_rows())?;
        let of = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        let times = if *times.data_type() == of { times } else { arrow::compute::cast(&times, &of)? };
        Ok(times.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?.clone())
    }

    /// The first time that is still within.
    fn first(&self, now_us: i64) -> i64 {
        now_us.saturating_sub(self.span_us).saturating_add(i64::from(!self.inclusive))
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

#[cfg(test)]
mod tests {
    use arrow::{
        array::TimestampMicrosecondArray,
        datatypes::{Field, Schema},
    };
    use datafusion::{common::DFSchema, logical_expr::col};

    use super::*;

    fn rows(times: &[i64]) -> RecordBatch {
        let of = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        let schema = Arc::new(Schema::new(vec![Field::new("at", of, true)]));
        let times = TimestampMicrosecondArray::from(times.to_vec()).with_timezone("+00:00");
        RecordBatch::try_new(schema, vec![Arc::new(times)]).expect("one column")
    }

    fn recent() -> RecentOp {
        let schema = rows(&[]).schema();
        let logical = DFSchema::try_from(schema.as_ref().clone()).expect("a schema");
        RecentOp::new(&col("at"), &logical, 10, false, &schema).expect("an operator")
    }

    /// Times with their weights.
    fn told(deltas: &[Delta]) -> Vec<(i64, i64)> {
        let mut all: Vec<(i64, i64)> = Vec::new();
        for delta in deltas {
            let times = delta.batch.column(0).as_primitive::<TimestampMicrosecondType>();
            all.extend((0..delta.rows()).map(|row| (times.value(row), delta.weight(row))));
        }
        all.sort_unstable();
        all
    }

    #[test]
    fn a_row_leaves_when_the_clock_has_passed_it_and_not_before() {
        let mut recent = recent();
        let came = recent.apply(vec![Delta::came(rows(&[85, 90, 91, 95, 95, 105]))], 100).expect("rows");
        assert_eq!(told(&came), [(91, 1), (95, 1), (95, 1), (105, 1)]);
        assert_eq!(told(&recent.expire(100).expect("nothing")), []);
        assert_eq!(told(&recent.expire(104).expect("one")), [(91, -1)]);
        let saved = recent.saved(true).expect("batches");
        let mut again = tests::recent();
        saved.iter().for_each(|batch| again.restore(batch).expect("restores"));
        for recent in [&mut recent, &mut again] {
            assert_eq!(told(&recent.expire(105).expect("two")), [(95, -2)]);
            assert_eq!(told(&recent.expire(1_000).expect("one")), [(105, -1)]);
            assert_eq!(recent.size(), (0, 0));
        }
    }

    #[test]
    fn what_left_is_written_down() {
        let mut recent = recent();
        recent.apply(vec![Delta::came(rows(&[95, 99]))], 100).expect("rows");
        let base = recent.saved(true).expect("batches");
        recent.expire(106).expect("one");
        let delta = recent.saved(false).expect("batches");
        let mut again = tests::recent();
        base.iter().chain(&delta).for_each(|batch| again.restore(batch).expect("restores"));
        assert_eq!(told(&again.expire(106).expect("nothing")), [], "its leaving was told before");
        assert_eq!(again.size().0, 1);
    }
}
