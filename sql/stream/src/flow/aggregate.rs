//! `GROUP BY` over rows that come and go, with windows that end.
//!
//! A group is a number; what the aggregates keep of it is at that number in their columns. What a step changes is
//! the rows of the groups it touched as they were, taken back, and as they are.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt64Array, new_null_array},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType},
};
use datafusion::physical_expr::PhysicalExpr;
use ebap_sql::{Aggregation, Expiry, Panes};

use super::{
    arrangement::wrong,
    delta::{Bytes, Codec, Delta},
    groups::{GroupRows, Groups, identified},
    panes::{Partial, partial},
    slots::{Ends, Seen, Slots},
};
use crate::{Result, failed_rows::Failing, rows::physical};

#[derive(Debug)]
pub(crate) struct AggregateOp {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    sets: Vec<(Vec<bool>, u64)>,
    set_type: Option<DataType>,
    expiry: Option<Expiry>,
    panes: Option<Panes>,
    on_close: bool,
    /// Group columns; `__grouping_id` last where there are sets.
    keys: Codec,
    /// Those that are not the window's.
    own: Codec,
    /// Of each group its key.
    slots: Slots,
    groups: Groups,
    /// The watermark that ends each group.
    ends_at: Vec<i64>,
    ends: Ends,
    watermark: i64,
    seen: Seen,
    /// Keys of groups that went otherwise than by the watermark since they were last written down.
    went: Vec<Bytes>,
}

/// A change, and which group each of its rows is of.
enum Placed {
    Rows(Delta, Vec<Option<u32>>),
    /// What a change has of each pane.
    Partial {
        partial: Partial,
        counted: Groups,
        groups: Vec<Option<u32>>,
    },
}

impl AggregateOp {
    pub(crate) fn new(plan: &Aggregation, schema: &SchemaRef) -> Result<Self> {
        let exprs: Vec<_> = plan.groups.iter().map(|expr| physical(expr, &plan.input_schema)).collect::<Result<_>>()?;
        let count = exprs.len() + usize::from(!plan.sets.is_empty());
        let fields = schema.fields().iter().take(count);
        let fields: Vec<Field> = fields.map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let of_window = |at: &usize| {
            let panes = plan.panes.as_ref();
            panes.is_some_and(|p| p.starts.contains(at) || p.ends.contains(at) || p.sizes.contains(at))
        };
        let own = fields.iter().enumerate().filter(|(at, _)| !of_window(at)).map(|(_, field)| field.clone());
        let own = Codec::new(&Arc::new(Schema::new(own.collect::<Vec<_>>())))?;
        let mut groups = Groups::new(plan, schema)?;
        if let Some(panes) = &plan.panes {
            // Until the last window that has a pane ends.
            let longest = panes.frames.iter().map(|frame| frame.size_us).max().unwrap_or(0);
            let life_us = match plan.expiry {
                Some(expiry) if panes.ends.contains(&expiry.column) => longest.saturating_add(expiry.slack_us),
                Some(expiry) => expiry.slack_us,
                None => i64::MAX,
            };
            groups.keep_by_pane(&own, life_us);
        }
        Ok(Self {
            own,
            set_type: (!plan.sets.is_empty()).then(|| schema.field(exprs.len()).data_type().clone()),
            exprs,
            sets: plan.sets.clone(),
            expiry: plan.expiry,
            panes: plan.panes.clone(),
            on_close: plan.on_close,
            keys: Codec::new(&Arc::new(Schema::new(fields)))?,
            slots: Slots::default(),
            groups,
            ends_at: Vec::new(),
            ends: Ends::of_windows(),
            watermark: i64::MIN,
            seen: Seen::default(),
            went: Vec::new(),
        })
    }

    /// Expressions that are computed for each row.
    pub(crate) fn exprs(&self) -> impl Iterator<Item = &Arc<dyn PhysicalExpr>> {
        self.exprs.iter().chain(self.groups.exprs())
    }

    /// `SELECT count(*) FROM …` has a row when there is nothing to count.
    fn is_global(&self) -> bool {
        self.exprs.is_empty() && self.sets.is_empty()
    }

    pub(crate) fn begins(&self) -> bool {
        self.is_global() && self.slots.len() == 0
    }

    fn shows(&self, group: u32) -> bool {
        self.groups.weights[group as usize] > 0 || self.is_global()
    }

    pub(crate) fn apply(&mut self, input: Vec<Delta>, failing: &Failing) -> Result<Vec<Delta>> {
        let begins = self.begins();
        if input.is_empty() && !begins {
            return Ok(Vec::new());
        }
        self.seen.begin();
        let mut touched: Vec<u32> = Vec::new();
        if begins {
            let group = self.group_of(&[], i64::MAX);
            touched.extend(group.filter(|group| self.seen.first(*group)));
        }
        let mut placed: Vec<Placed> = Vec::new();
        for delta in input {
            self.place(delta, &mut placed, &mut touched)?;
        }
        self.groups.resize(self.slots.end());
        let shown = touched.iter().copied().filter(|group| self.shows(*group) && !begins).collect();
        let old = self.rows_of(shown, (failing, false))?;
        for change in &placed {
            match change {
                Placed::Rows(delta, groups) => self.groups.update(delta, groups)?,
                Placed::Partial { partial, counted, groups } => self.groups.absorb(counted, partial, groups)?,
            }
        }
        let shown = touched.iter().copied().filter(|group| self.shows(*group)).collect();
        let new = self.rows_of(shown, (failing, true))?;
        for group in touched {
            if self.groups.weights[group as usize] == 0 && !self.is_global() {
                let key = self.remove(group);
                self.went.extend(key);
            } else {
                self.groups.mark(group, false);
            }
        }
        if self.on_close {
            return Ok(Vec::new());
        }
        self.groups.changes(old, new, self.keys.schema().fields().len())
    }

    /// Says of each row, and of each set, which group it is of.
    fn place(&mut self, delta: Delta, placed: &mut Vec<Placed>, touched: &mut Vec<u32>) -> Result<()> {
        let mut rows = delta.rows();
        let mut columns: Vec<ArrayRef> =
            self.exprs.iter().map(|expr| Ok(expr.evaluate(&delta.batch)?.into_array(rows)?)).collect::<Result<_>>()?;
        let mut partial_of: Option<(Partial, Groups)> = None;
        if let Some(panes) = &self.panes {
            let mut counted = self.groups.empty();
            let mut partial = partial(panes, (&self.keys, &self.own), &mut counted, &delta, &columns)?;
            (rows, columns) = (partial.of.len(), std::mem::take(&mut partial.columns));
            partial_of = Some((partial, counted));
        }
        let ends: Option<Vec<i64>> = match self.expiry {
            Some(Expiry { column, slack_us }) => {
                let times = columns[column].as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?;
                let end = |row| if times.is_null(row) { i64::MAX } else { times.value(row).saturating_add(slack_us) };
                Some((0..rows).map(end).collect())
            }
            None => None,
        };
        let mut key_columns: Vec<Vec<ArrayRef>> = Vec::new();
        for (absent, id) in &self.sets {
            let of = columns.iter().zip(absent).map(|(column, absent)| match absent {
                true => new_null_array(column.data_type(), rows),
                false => Arc::clone(column),
            });
            let mut of: Vec<ArrayRef> = of.collect();
            let ids: ArrayRef = Arc::new(UInt64Array::from(vec![*id; rows]));
            of.push(arrow::compute::cast(&ids, self.set_type.as_ref().ok_or_else(wrong)?)?);
            key_columns.push(of);
        }
        if self.sets.is_empty() {
            key_columns.push(columns);
        }
        for columns in key_columns {
            let encoded = self.keys.rows(&columns)?;
            let mut groups = Vec::with_capacity(rows);
            // Pairs of a join come by the row that they have in common: the group before is this row's too, often.
            let mut before: Option<(&[u8], i64, Option<u32>)> = None;
            for row in 0..rows {
                let key = encoded.as_ref().map_or(&[][..], |keys| keys.row(row).data());
                let end = ends.as_ref().map_or(i64::MAX, |ends| ends[row]);
                let group = match before {
                    Some((known, until, group)) if known == key && until == end => group,
                    Some(_) | None => {
                        let group = self.group_of(key, end);
                        touched.extend(group.filter(|group| self.seen.first(*group)));
                        group
                    }
                };
                before = Some((key, end, group));
                groups.push(group);
            }
            placed.push(match partial_of.take() {
                Some((partial, counted)) => Placed::Partial { partial, counted, groups },
                None => Placed::Rows(delta.clone(), groups),
            });
        }
        Ok(())
    }

    /// `None`: a group that has ended does not begin again.
    fn group_of(&mut self, key: &[u8], end: i64) -> Option<u32> {
        if end <= self.watermark {
            return None;
        }
        let (group, is_new) = self.slots.take(key);
        if is_new {
            match self.ends_at.get_mut(group as usize) {
                Some(place) => *place = end,
                None => self.ends_at.push(end),
            }
            self.ends.push(end, group);
        }
        Some(group)
    }

    /// Lets go the groups that the watermark has ended; gives their rows where they come out then.
    pub(crate) fn expire(&mut self, watermark: i64, silently: bool, failing: &Failing) -> Result<Vec<Delta>> {
        self.watermark = self.watermark.max(watermark);
        let (slots, ends_at) = (&self.slots, &self.ends_at);
        let gone = self.ends.due(watermark, |group| slots.holds(group).then(|| ends_at[group as usize]));
        let mut out = Vec::new();
        if self.on_close && !silently {
            let shown = gone.iter().copied().filter(|group| self.shows(*group)).collect();
            let rows = self.rows_of(shown, (failing, true))?;
            out.extend(rows.map(|(_, batch)| Delta::came(batch)));
        }
        gone.into_iter().for_each(|group| {
            self.remove(group);
        });
        self.groups.expire(watermark);
        Ok(out)
    }

    fn remove(&mut self, group: u32) -> Option<Bytes> {
        self.groups.clear(group);
        self.slots.remove(group)
    }

    fn key_columns(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        self.keys.columns(groups.iter().map(|group| self.slots.key(*group)))
    }

    fn rows_of(&self, groups: Vec<u32>, failing: (&Failing, bool)) -> Result<Option<GroupRows>> {
        self.groups.rows_computable(groups, &|groups| self.key_columns(groups), failing)
    }

    /// Groups, and bytes held, about.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.slots.len(), self.slots.size() + self.groups.size() + self.ends_at.capacity() * 8)
    }

    pub(crate) fn forget_changes(&mut self) {
        self.groups.forget_changes();
        self.went.clear();
    }

    /// Part 0: groups with their weight and numbers. Part n: the values of the n-th aggregate.
    pub(crate) fn saved(&mut self, all: bool) -> Result<Vec<(usize, RecordBatch)>> {
        let went = std::mem::take(&mut self.went);
        let changed = self.groups.take_changed();
        let live: Vec<u32> = if all { self.slots.live().collect() } else { changed };
        let mut out = Vec::new();
        if !all && !went.is_empty() {
            // Before those that came: one may have come again.
            let keys = self.keys.columns(went.iter().map(AsRef::as_ref))?;
            out.push((0, identified(keys, vec![0; went.len()], vec![0; went.len()], Vec::new())?));
        }
        let (keys, slots, ends_at) = (&self.keys, &self.slots, &self.ends_at);
        let keys = |groups: &[u32]| keys.columns(groups.iter().map(|group| slots.key(*group)));
        out.extend(self.groups.saved(&live, all, &keys, &|group| (ends_at[group as usize], 0))?);
        Ok(out)
    }

    pub(crate) fn restore(&mut self, part: usize, batch: &RecordBatch) -> Result<()> {
        let ints = |at: usize| -> Result<&Int64Array> {
            batch.columns().get(at).and_then(|c| c.as_primitive_opt::<Int64Type>()).ok_or_else(wrong)
        };
        if part > 0 && self.groups.columns.get_mut(part - 1).ok_or_else(wrong)?.restore_panes(batch)? {
            return Ok(());
        }
        let (ends, weights) = (ints(0)?, ints(1)?);
        let (first, rows) = (2 + self.keys.schema().fields().len(), batch.num_rows());
        let keys = self.keys.encode(batch.columns().get(2..first).ok_or_else(wrong)?, rows)?;
        if part > 0 {
            let groups: Vec<Option<u32>> = keys.iter().map(|key| self.slots.find(key)).collect();
            let column = self.groups.columns.get_mut(part - 1).ok_or_else(wrong)?;
            return column.restore_values(&groups, &batch.columns()[first..]);
        }
        if batch.num_columns() == first {
            for key in &keys {
                if let Some(group) = self.slots.find(key) {
                    self.remove(group);
                }
            }
            return Ok(());
        }
        let each = keys.iter().enumerate().map(|(row, key)| self.group_of(key, ends.value(row)).ok_or_else(wrong));
        let groups: Vec<u32> = each.collect::<Result<_>>()?;
        self.groups.resize(self.slots.end());
        groups.iter().enumerate().for_each(|(row, group)| self.groups.weights[*group as usize] = weights.value(row));
        self.groups.restore(&groups, &batch.columns()[first + 1..])
    }
}
