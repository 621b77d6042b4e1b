//! What all groups of an aggregate have, however they are found: the columns of their aggregates, which of them
//! changed, and how they are written down.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array},
    compute::{and, filter_record_batch, kernels::cmp::not_distinct, take},
    datatypes::{Field, Schema, SchemaRef, UInt32Type},
};
use datafusion::physical_expr::PhysicalExpr;
use ebap_sql::Aggregation;
use hashbrown::HashMap;

use super::{
    columns::Column,
    delta::{Codec, Delta},
    panes::Partial,
};
use crate::{
    Result,
    failed_rows::{Failing, without},
    rows::{cast, record_batch},
};

const SAVED_GROUPS: usize = 65_536;

/// Some rows, and of which group each is.
pub(crate) type GroupRows = (Vec<u32>, RecordBatch);

#[derive(Debug)]
pub(crate) struct Groups {
    pub(crate) columns: Vec<Column>,
    schema: SchemaRef,
    rows: Codec,
    /// By number. Rows in the group.
    pub(crate) weights: Vec<i64>,
    marks: Vec<Mark>,
    changed: Vec<u32>,
}

/// Since it was last written down.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    changed: bool,
    /// All of it is to be written.
    anew: bool,
}

impl Groups {
    pub(crate) fn new(plan: &Aggregation, schema: &SchemaRef) -> Result<Self> {
        let append_only = plan.input.append_only();
        let columns = plan.aggregates.iter().map(|expr| Column::new(expr, &plan.input_schema, append_only));
        Ok(Self {
            columns: columns.collect::<Result<_>>()?,
            schema: Arc::clone(schema),
            rows: Codec::new(schema)?,
            weights: Vec::new(),
            marks: Vec::new(),
            changed: Vec::new(),
        })
    }

    /// There are as many numbers as this.
    pub(crate) fn resize(&mut self, groups: usize) {
        if groups > self.weights.len() {
            self.weights.resize(groups, 0);
            self.marks.resize(groups, Mark::default());
            self.columns.iter_mut().for_each(|column| column.resize(groups));
        }
    }

    pub(crate) fn update(&mut self, delta: &Delta, groups: &[Option<u32>]) -> Result<()> {
        for (row, group) in groups.iter().enumerate() {
            if let Some(group) = group {
                self.weights[*group as usize] += delta.weight(row);
            }
        }
        self.columns.iter_mut().try_for_each(|column| column.update(delta, groups))
    }

    /// The same aggregates over nothing.
    pub(crate) fn empty(&self) -> Self {
        Self {
            columns: self.columns.iter().map(Column::empty).collect(),
            schema: Arc::clone(&self.schema),
            rows: self.rows.clone(),
            weights: Vec::new(),
            marks: Vec::new(),
            changed: Vec::new(),
        }
    }

    /// Distinct values are kept by pane, for `life_us` from its start. `own`: group columns that are not the window's.
    pub(crate) fn keep_by_pane(&mut self, own: &Codec, life_us: i64) {
        self.columns.iter_mut().for_each(|column| column.keep_by_pane(own, life_us));
    }

    /// Adds to each window's group what the other has of its pane.
    pub(crate) fn absorb(&mut self, other: &Self, partial: &Partial, groups: &[Option<u32>]) -> Result<()> {
        for (from, to) in partial.of.iter().zip(groups) {
            if let Some(to) = to {
                self.weights[*to as usize] += other.weights[*from as usize];
            }
        }
        for (column, other) in self.columns.iter_mut().zip(&other.columns) {
            if column.absorb_panes(other, partial, groups)? {
                continue;
            }
            for (from, to) in partial.of.iter().zip(groups) {
                if let Some(to) = to {
                    column.absorb(other, *from, *to)?;
                }
            }
        }
        Ok(())
    }

    /// Lets go what is in no window that is open.
    pub(crate) fn expire(&mut self, watermark: i64) {
        self.columns.iter_mut().for_each(|column| column.expire(watermark));
    }

    /// One takes in the other, which is then empty.
    pub(crate) fn merge(&mut self, from: u32, to: u32) -> Result<()> {
        self.columns.iter_mut().try_for_each(|column| column.merge(from, to))?;
        self.weights[to as usize] += std::mem::take(&mut self.weights[from as usize]);
        self.clear(from);
        self.mark(to, true);
        Ok(())
    }

    pub(crate) fn clear(&mut self, group: u32) {
        self.columns.iter_mut().for_each(|column| column.clear(group));
        self.weights[group as usize] = 0;
        self.marks[group as usize] = Mark::default();
    }

    pub(crate) fn mark(&mut self, group: u32, anew: bool) {
        let mark = &mut self.marks[group as usize];
        mark.anew |= anew;
        if !std::mem::replace(&mut mark.changed, true) {
            self.changed.push(group);
        }
    }

    /// Arguments and filters of the aggregates, which are computed for each row.
    pub(crate) fn exprs(&self) -> impl Iterator<Item = &Arc<dyn PhysicalExpr>> {
        self.columns.iter().flat_map(Column::exprs)
    }

    /// The rows of these groups, whose group columns are `keys`.
    pub(crate) fn rows(&self, keys: Vec<ArrayRef>, groups: Vec<u32>) -> Result<GroupRows> {
        let mut columns = keys;
        for column in &self.columns {
            columns.push(column.evaluate(&groups)?);
        }
        for (column, field) in columns.iter_mut().zip(self.schema.fields()) {
            *column = cast(column, field.data_type())?;
        }
        let batch = record_batch(&self.schema, columns, groups.len())?;
        Ok((groups, batch))
    }

    /// As `rows`, without the groups that have no value: a sum that no number of its type is. `keys`: the key columns of
    /// groups. They are noted where `noted`.
    pub(crate) fn rows_computable(
        &self,
        groups: Vec<u32>,
        keys: &dyn Fn(&[u32]) -> Result<Vec<ArrayRef>>,
        (failing, noted): (&Failing, bool),
    ) -> Result<Option<GroupRows>> {
        if groups.is_empty() {
            return Ok(None);
        }
        let error = match self.rows(keys(&groups)?, groups.clone()) {
            Ok(rows) => return Ok(Some(rows)),
            Err(error) => error,
        };
        let numbers: ArrayRef = Arc::new(UInt32Array::from(groups.clone()));
        let numbers = RecordBatch::try_from_iter([("group", numbers)])?;
        let bad = failing.rows_of(&numbers, error, &|part| {
            let groups = part.column(0).as_primitive::<UInt32Type>().values().to_vec();
            self.rows(keys(&groups)?, groups).map(drop)
        })?;
        if noted {
            let columns = keys(&groups)?;
            let fields: Vec<_> = self.schema.fields().iter().take(columns.len()).cloned().collect();
            let keys = record_batch(&Arc::new(Schema::new(fields)), columns, groups.len())?;
            failing.note(&keys, &bad, &|_| None);
        }
        let good = without(groups.len(), &bad);
        let kept: Vec<u32> = groups.iter().zip(good.values()).filter(|(_, good)| *good).map(|(of, _)| *of).collect();
        if kept.is_empty() { Ok(None) } else { self.rows(keys(&kept)?, kept).map(Some) }
    }

    /// From rows as they were to rows as they are, those that are alike left out.
    /// Columns before `first` are known to be.
    pub(crate) fn changes(&self, old: Option<GroupRows>, new: Option<GroupRows>, first: usize) -> Result<Vec<Delta>> {
        let gone = |batch: RecordBatch| {
            let rows = batch.num_rows();
            Delta::weighted(batch, vec![-1; rows])
        };
        let ((old_of, old), (new_of, new)) = match (old, new) {
            (None, None) => return Ok(Vec::new()),
            (None, Some((_, new))) => return Ok(vec![Delta::came(new)]),
            (Some((_, old)), None) => return Ok(vec![gone(old)]),
            (Some(old), Some(new)) => (old, new),
        };
        let (mut old_at, mut new_at) = (Vec::new(), Vec::new());
        let stands: HashMap<u32, u32> = new_of.iter().enumerate().map(|(at, group)| (*group, at as u32)).collect();
        for (at, group) in old_of.iter().enumerate() {
            if let Some(found) = stands.get(group) {
                old_at.push(at as u32);
                new_at.push(*found);
            }
        }
        let alike = self.alike((&old, &old_at), (&new, &new_at), first)?;
        let keep = |rows: usize, at: &[u32]| -> BooleanArray {
            let mut keep = vec![true; rows];
            at.iter().enumerate().for_each(|(pair, row)| keep[*row as usize] = !alike.value(pair));
            keep.into()
        };
        let (old, new) = match alike.true_count() {
            0 => (old, new),
            _ => (
                filter_record_batch(&old, &keep(old.num_rows(), &old_at))?,
                filter_record_batch(&new, &keep(new.num_rows(), &new_at))?,
            ),
        };
        Ok([gone(old), Delta::came(new)].into_iter().filter(|delta| delta.rows() > 0).collect())
    }

    /// Of each pair of rows whether they are the same.
    fn alike(
        &self,
        (old, old_at): (&RecordBatch, &[u32]),
        (new, new_at): (&RecordBatch, &[u32]),
        first: usize,
    ) -> Result<BooleanArray> {
        let (old_at, new_at) = (UInt32Array::from(old_at.to_vec()), UInt32Array::from(new_at.to_vec()));
        let pairs: Vec<(ArrayRef, ArrayRef)> = (first..self.schema.fields().len())
            .map(|at| Ok((take(old.column(at), &old_at, None)?, take(new.column(at), &new_at, None)?)))
            .collect::<Result<_>>()?;
        if pairs.iter().any(|(column, _)| column.data_type().is_nested()) {
            let whole = |batch: &RecordBatch, at: &UInt32Array| -> Result<_> {
                let batch = arrow::compute::take_record_batch(batch, at)?;
                self.rows.encode(batch.columns(), batch.num_rows())
            };
            let (old, new) = (whole(old, &old_at)?, whole(new, &new_at)?);
            return Ok(old.iter().zip(&new).map(|(old, new)| Some(old == new)).collect());
        }
        let mut alike = BooleanArray::from(vec![true; old_at.len()]);
        for (old, new) in pairs {
            alike = and(&alike, &not_distinct(&old, &new)?)?;
        }
        Ok(alike)
    }

    /// Bytes held, about.
    pub(crate) fn size(&self) -> usize {
        let columns: usize = self.columns.iter().map(Column::size).sum();
        columns + self.weights.capacity() * (8 + size_of::<Mark>()) + self.changed.capacity() * 4
    }

    pub(crate) fn forget_changes(&mut self) {
        std::mem::take(&mut self.changed).into_iter().for_each(|group| self.marks[group as usize] = Mark::default());
        self.columns.iter_mut().for_each(Column::forget_changes);
    }

    /// Numbers of the groups that changed since the last call, each once, in order.
    pub(crate) fn take_changed(&mut self) -> Vec<u32> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.retain(|group| self.marks[*group as usize].changed);
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// Part 0: groups with what they are known by (`bounds`) and their numbers. Part n: the values of the n-th
    /// aggregate. `keys`: the key columns of groups.
    pub(crate) fn saved(
        &mut self,
        live: &[u32],
        all: bool,
        keys: &dyn Fn(&[u32]) -> Result<Vec<ArrayRef>>,
        bounds: &dyn Fn(u32) -> (i64, i64),
    ) -> Result<Vec<(usize, RecordBatch)>> {
        let mut out = Vec::new();
        for groups in live.chunks(SAVED_GROUPS) {
            let starts = groups.iter().map(|group| bounds(*group).0).collect();
            let weights = groups.iter().map(|group| self.weights[*group as usize]).collect();
            let mut states: Vec<ArrayRef> =
                vec![Arc::new(groups.iter().map(|group| bounds(*group).1).collect::<Int64Array>())];
            for column in &self.columns {
                states.extend(column.state(groups)?);
            }
            out.push((0, identified(keys(groups)?, starts, weights, states)?));
        }
        let whole = |group: &u32| all || self.marks[*group as usize].anew;
        let (whole, parts): (Vec<u32>, Vec<u32>) = live.iter().partition(|group| whole(group));
        for at in 0..self.columns.len() {
            out.extend(self.columns[at].panes_saved(all)?.into_iter().map(|batch| (at + 1, batch)));
            for (groups, all) in [(&whole, true), (&parts, false)] {
                for groups in groups.chunks(SAVED_GROUPS) {
                    let Some((of, values)) = self.columns[at].values(groups, all)? else { continue };
                    if of.is_empty() {
                        continue;
                    }
                    let starts = of.iter().map(|group| bounds(*group).0).collect();
                    let weights = vec![1; of.len()];
                    out.push((at + 1, identified(keys(&of)?, starts, weights, values.columns().to_vec())?));
                }
            }
        }
        live.iter().for_each(|group| self.marks[*group as usize] = Mark::default());
        Ok(out)
    }

    /// Takes back what `state` of the columns gave.
    pub(crate) fn restore(&mut self, groups: &[u32], states: &[ArrayRef]) -> Result<()> {
        let mut next = 0;
        for column in &mut self.columns {
            let count = column.state_columns();
            column.restore(groups, states.get(next..next + count).ok_or_else(super::arrangement::wrong)?)?;
            next += count;
        }
        Ok(())
    }
}

/// Columns `start`, `weight`, the keys, and what is said of the group.
pub(crate) fn identified(
    keys: Vec<ArrayRef>,
    starts: Vec<i64>,
    weights: Vec<i64>,
    states: Vec<ArrayRef>,
) -> Result<RecordBatch> {
    let rows = starts.len();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(starts)), Arc::new(Int64Array::from(weights))];
    columns.extend(keys);
    columns.extend(states);
    let field = |(at, column): (usize, &ArrayRef)| Field::new(format!("c{at}"), column.data_type().clone(), true);
    let fields: Vec<Field> = columns.iter().enumerate().map(field).collect();
    record_batch(&Arc::new(Schema::new(fields)), columns, rows)
}
