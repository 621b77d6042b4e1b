//! The first rows of each partition, and of an order.
//!
//! Of rows that only come no more are kept than are shown. Of rows that may go all are kept, as any may come to the
//! front.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array},
    compute::SortOptions,
    datatypes::{Field, Schema, SchemaRef, TimestampMicrosecondType},
    row::{RowConverter, SortField},
};
use datafusion::physical_expr::PhysicalExpr;
use ebap_sql::{Expiry, TopN};
use hashbrown::{HashMap, HashSet};

use super::{
    arrangement::{unweighted, weighted},
    delta::{Bytes, Codec, Delta, consolidated, delta_of},
};
use crate::{
    Result,
    rows::{physical, record_batch},
};

/// Rows by what they are ordered by and, among equals, by themselves: so the answer is one, whatever came first.
type Ordered = BTreeMap<(Bytes, Bytes), i64>;

/// Of a row its partition, its place in the order and itself, and the watermark that ends the partition.
type Placed = (Bytes, (Bytes, Bytes), i64);

#[derive(Debug)]
pub(crate) struct TopNOp {
    partition: Vec<Arc<dyn PhysicalExpr>>,
    order: Vec<Arc<dyn PhysicalExpr>>,
    by: RowConverter,
    keys: Codec,
    rows: Codec,
    out: Codec,
    schema: SchemaRef,
    skip: usize,
    /// Rows that are shown or skipped.
    first: usize,
    numbered: bool,
    append_only: bool,
    expiry: Option<Expiry>,
    partitions: HashMap<Bytes, Ordered>,
    ends: BTreeMap<i64, HashSet<Bytes>>,
    held: usize,
    bytes: usize,
    /// Rows that changed since they were last written down, with where they are.
    changed: HashMap<Bytes, (Bytes, Bytes)>,
}

impl TopNOp {
    pub(crate) fn new(plan: &TopN, schema: &SchemaRef) -> Result<Self> {
        let input = &plan.input.schema;
        let physical = |expr| physical(expr, &plan.input_schema);
        let partition: Vec<_> = plan.partition.iter().map(physical).collect::<Result<_>>()?;
        let order: Vec<_> = plan.order.iter().map(|order| physical(&order.expr)).collect::<Result<_>>()?;
        let sort = |(expr, order): (&Arc<dyn PhysicalExpr>, &datafusion::logical_expr::SortExpr)| {
            let options = SortOptions { descending: !order.asc, nulls_first: order.nulls_first };
            Ok(SortField::new_with_options(expr.data_type(input)?, options))
        };
        let by: Vec<SortField> = order.iter().zip(&plan.order).map(sort).collect::<Result<_>>()?;
        let key = |(at, expr): (usize, &Arc<dyn PhysicalExpr>)| {
            Ok(Field::new(format!("k{at}"), expr.data_type(input)?, true))
        };
        let keys: Vec<Field> = partition.iter().enumerate().map(key).collect::<Result<_>>()?;
        Ok(Self {
            partition,
            order,
            by: RowConverter::new(by)?,
            keys: Codec::new(&Arc::new(Schema::new(keys)))?,
            rows: Codec::new(input)?,
            out: Codec::new(schema)?,
            schema: Arc::clone(schema),
            skip: plan.skip,
            first: plan.skip.saturating_add(plan.fetch.unwrap_or(usize::MAX)),
            numbered: plan.numbered,
            append_only: plan.input.append_only(),
            expiry: plan.expiry,
            partitions: HashMap::new(),
            ends: BTreeMap::new(),
            held: 0,
            bytes: 0,
            changed: HashMap::new(),
        })
    }

    /// Of each row its partition, its place in the order, itself, and the watermark that ends its partition.
    fn placed(&self, batch: &RecordBatch) -> Result<Vec<Placed>> {
        let rows = batch.num_rows();
        let evaluate = |exprs: &[Arc<dyn PhysicalExpr>]| -> Result<Vec<ArrayRef>> {
            exprs.iter().map(|expr| Ok(expr.evaluate(batch)?.into_array(rows)?)).collect()
        };
        let keys = self.keys.encode(&evaluate(&self.partition)?, rows)?;
        let by = self.by.convert_columns(&evaluate(&self.order)?)?;
        let own = self.rows.encode(batch.columns(), rows)?;
        let times = self.expiry.and_then(|expiry| {
            Some((batch.column(expiry.column).as_primitive_opt::<TimestampMicrosecondType>()?.clone(), expiry.slack_us))
        });
        let end = |row| match &times {
            Some((times, slack_us)) if times.is_valid(row) => times.value(row).saturating_add(*slack_us),
            _ => i64::MAX,
        };
        let each = keys.into_iter().zip(by.iter()).zip(own).enumerate();
        Ok(each.map(|(row, ((key, by), own))| (key, (Bytes::from(by.data()), own), end(row))).collect())
    }

    pub(crate) fn apply(&mut self, input: Vec<Delta>) -> Result<Vec<Delta>> {
        if input.is_empty() {
            return Ok(Vec::new());
        }
        let mut before: Vec<(Bytes, Vec<Bytes>)> = Vec::new();
        let mut seen: HashSet<Bytes> = HashSet::new();
        for delta in input {
            for (row, (key, place, end)) in self.placed(&delta.batch)?.into_iter().enumerate() {
                if !seen.contains(&key) {
                    seen.insert(key.clone());
                    before.push((key.clone(), self.shown(&key)));
                }
                self.put(&key, place, |weight| weight + delta.weight(row), end);
                if self.append_only {
                    self.cut(&key);
                }
            }
        }
        let (mut rows, mut numbers, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for (key, old) in before {
            let new = self.shown(&key);
            // What is alike in front has not moved.
            let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
            let skip = self.skip;
            for (list, weight) in [(old, -1), (new, 1)] {
                for (at, row) in list.into_iter().enumerate().skip(same.max(skip)) {
                    rows.push(row);
                    numbers.push(at as u64 + 1);
                    weights.push(weight);
                }
            }
        }
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut columns = self.rows.columns(rows.iter().map(AsRef::as_ref))?;
        if self.numbered {
            columns.push(Arc::new(UInt64Array::from(numbers)));
        }
        let batch = record_batch(&self.schema, columns, rows.len())?;
        let delta = Delta::weighted(batch, weights);
        Ok(delta_of(&self.out, &consolidated(&self.out, &[delta])?)?.into_iter().collect())
    }

    /// Rows in front, each as often as it is there.
    fn shown(&self, key: &Bytes) -> Vec<Bytes> {
        let Some(rows) = self.partitions.get(key) else { return Vec::new() };
        let each =
            rows.iter().flat_map(|((_, row), weight)| std::iter::repeat_n(row, usize::try_from(*weight).unwrap_or(0)));
        each.take(self.first).cloned().collect()
    }

    /// Lets go what cannot come to the front any more.
    fn cut(&mut self, key: &Bytes) {
        let Some(rows) = self.partitions.get_mut(key) else { return };
        let mut count: usize = rows.values().map(|weight| usize::try_from(*weight).unwrap_or(0)).sum();
        while let Some(last) = rows.last_entry() {
            let weight = usize::try_from(*last.get()).unwrap_or(0);
            if count - weight < self.first {
                break;
            }
            count -= weight;
            let (place, _) = last.remove_entry();
            self.held -= 1;
            self.bytes = self.bytes.saturating_sub(size_of_place(&place));
            self.changed.insert(place.1, (key.clone(), place.0));
        }
    }

    fn put(&mut self, key: &Bytes, place: (Bytes, Bytes), weight: impl FnOnce(i64) -> i64, end: i64) {
        self.changed.insert(place.1.clone(), (key.clone(), place.0.clone()));
        let rows = match self.partitions.get_mut(key) {
            Some(rows) => rows,
            None => {
                if end != i64::MAX {
                    self.ends.entry(end).or_default().insert(key.clone());
                }
                self.partitions.entry(key.clone()).or_default()
            }
        };
        let size = size_of_place(&place);
        let known = rows.get(&place).copied();
        let now = weight(known.unwrap_or(0));
        match (known, now) {
            (Some(_), 0) => {
                rows.remove(&place);
                self.held -= 1;
                self.bytes = self.bytes.saturating_sub(size);
            }
            (None, 0) => {}
            (Some(_), now) => {
                rows.insert(place, now);
            }
            (None, now) => {
                rows.insert(place, now);
                self.held += 1;
                self.bytes += size;
            }
        }
        if rows.is_empty() {
            self.partitions.remove(key);
        }
    }

    pub(crate) fn expire(&mut self, watermark: i64) {
        let open = self.ends.split_off(&watermark.saturating_add(1));
        let mut gone: HashSet<Bytes> = HashSet::new();
        for keys in std::mem::replace(&mut self.ends, open).into_values() {
            for key in keys {
                if let Some(rows) = self.partitions.remove(&key) {
                    self.held -= rows.len();
                    let bytes: usize = rows.keys().map(size_of_place).sum();
                    self.bytes = self.bytes.saturating_sub(bytes);
                }
                gone.insert(key);
            }
        }
        if !gone.is_empty() {
            self.changed.retain(|_, (key, _)| !gone.contains(key));
        }
    }

    pub(crate) fn size(&self) -> (usize, usize) {
        (self.held, self.bytes + self.partitions.capacity() * 48)
    }

    pub(crate) fn forget_changes(&mut self) {
        self.changed.clear();
    }

    pub(crate) fn saved(&mut self, all: bool) -> Result<Vec<RecordBatch>> {
        let changed = std::mem::take(&mut self.changed);
        let mut rows: Vec<(&[u8], i64)> = Vec::new();
        if all {
            for partition in self.partitions.values() {
                rows.extend(partition.iter().map(|((_, row), weight)| (row.as_ref(), *weight)));
            }
        } else {
            for (row, (key, by)) in &changed {
                let rows_of = self.partitions.get(key);
                let weight = rows_of.and_then(|rows| rows.get(&(by.clone(), row.clone())));
                rows.push((row.as_ref(), weight.copied().unwrap_or(0)));
            }
        }
        rows.chunks(65_536).map(|rows| weighted(&self.rows, rows)).collect()
    }

    pub(crate) fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        let (batch, weights) = unweighted(&self.rows, batch)?;
        for (row, (key, place, end)) in self.placed(&batch)?.into_iter().enumerate() {
            self.put(&key, place, |_| weights.value(row), end);
        }
        Ok(())
    }
}

fn size_of_place(place: &(Bytes, Bytes)) -> usize {
    place.0.len() + place.1.len() + 64
}
