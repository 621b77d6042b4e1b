//! `GROUP BY` over rows that come and go, with windows that end and sessions that grow together.
//!
//! A group is a number; what the aggregates keep of it is at that number in their columns. What a step changes is
//! the rows of the groups it touched as they were, taken back, and as they are.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt64Array, new_null_array,
    },
    datatypes::{Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType},
};
use datafusion::physical_expr::PhysicalExpr;
use ebap_sql::{Aggregation, Expiry, Session};
use hashbrown::{HashMap, HashSet};

use super::{
    arrangement::wrong,
    columns::Column,
    delta::{Bytes, Codec, Delta, consolidated, delta_of},
};
use crate::{
    Result,
    rows::{physical, record_batch},
};

const SAVED_GROUPS: usize = 65_536;

pub(crate) struct AggregateOp {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    sets: Vec<(Vec<bool>, u64)>,
    expiry: Option<Expiry>,
    on_close: bool,
    session: Option<Session>,
    /// Group columns, without a session's bounds; `__grouping_id` last where there are sets.
    keys: Codec,
    out: Codec,
    schema: SchemaRef,
    columns: Vec<Column>,
    groups: Groups,
    /// Groups by the watermark that ends them.
    ends: BTreeMap<i64, Vec<u32>>,
    watermark: i64,
    /// Changed since they were last written down; of those in `anew` all of it is written.
    changed: HashSet<u32>,
    anew: HashSet<u32>,
    /// Of those that went otherwise than by the watermark: key and, of a session, where it started.
    went: Vec<(Bytes, i64)>,
}

/// Which groups there are.
#[derive(Debug, Default)]
struct Groups {
    by_key: HashMap<Bytes, u32>,
    /// Of each key its sessions: start, last row and number.
    sessions: HashMap<Bytes, BTreeMap<i64, (i64, u32)>>,
    keys: Vec<Bytes>,
    /// Rows in it.
    weights: Vec<i64>,
    /// Of a session its start and last row, of others the watermark that ends it and nothing.
    bounds: Vec<(i64, i64)>,
    free: Vec<u32>,
    bytes: usize,
}

impl Groups {
    fn new_group(&mut self, key: &[u8], bounds: (i64, i64)) -> u32 {
        self.bytes += 2 * key.len() + 64;
        match self.free.pop() {
            Some(group) => {
                let at = group as usize;
                (self.keys[at], self.weights[at], self.bounds[at]) = (Bytes::from(key), 0, bounds);
                group
            }
            None => {
                self.keys.push(Bytes::from(key));
                self.weights.push(0);
                self.bounds.push(bounds);
                (self.keys.len() - 1) as u32
            }
        }
    }

    fn free(&mut self, group: u32) {
        let key = std::mem::take(&mut self.keys[group as usize]);
        self.bytes = self.bytes.saturating_sub(2 * key.len() + 64);
        self.weights[group as usize] = 0;
        self.free.push(group);
    }

    fn count(&self) -> usize {
        self.keys.len() - self.free.len()
    }
}

impl AggregateOp {
    pub(crate) fn new(plan: &Aggregation, schema: &SchemaRef) -> Result<Self> {
        let exprs: Vec<_> = plan.groups.iter().map(|expr| physical(expr, &plan.input_schema)).collect::<Result<_>>()?;
        let bound = |at: usize| {
            plan.session.as_ref().is_some_and(|session| session.starts.contains(&at) || session.ends.contains(&at))
        };
        let count = exprs.len() + usize::from(!plan.sets.is_empty());
        let fields = schema.fields().iter().take(count).enumerate().filter(|(at, _)| !bound(*at));
        let fields: Vec<Field> = fields.map(|(_, field)| field.as_ref().clone().with_nullable(true)).collect();
        let append_only = plan.input.append_only();
        let columns = plan.aggregates.iter().map(|expr| Column::new(expr, &plan.input_schema, append_only));
        Ok(Self {
            exprs,
            sets: plan.sets.clone(),
            expiry: plan.expiry,
            on_close: plan.on_close,
            session: plan.session.clone(),
            keys: Codec::new(&Arc::new(Schema::new(fields)))?,
            out: Codec::new(schema)?,
            schema: Arc::clone(schema),
            columns: columns.collect::<Result<_>>()?,
            groups: Groups::default(),
            ends: BTreeMap::new(),
            watermark: i64::MIN,
            changed: HashSet::new(),
            anew: HashSet::new(),
            went: Vec::new(),
        })
    }

    /// `SELECT count(*) FROM …` has a row when there is nothing to count.
    fn is_global(&self) -> bool {
        self.exprs.is_empty() && self.sets.is_empty()
    }

    fn shows(&self, group: u32) -> bool {
        self.groups.weights[group as usize] > 0 || self.is_global()
    }

    pub(crate) fn apply(&mut self, input: Vec<Delta>) -> Result<Vec<Delta>> {
        let mut begun = false;
        if self.is_global() && self.groups.by_key.is_empty() {
            self.group_of(&[], i64::MAX);
            begun = true;
        }
        if input.is_empty() && !begun {
            return Ok(Vec::new());
        }
        let (old, new) = match &self.session {
            Some(session) => self.grow(session.gap_us, input)?,
            None => self.update(input, begun)?,
        };
        if self.on_close {
            return Ok(Vec::new());
        }
        match (old, new) {
            (None, None) => Ok(Vec::new()),
            (None, Some(new)) => Ok(vec![Delta::came(new)]),
            (old, new) => {
                let old = old.map(|batch| {
                    let rows = batch.num_rows();
                    Delta::weighted(batch, vec![-1; rows])
                });
                let both: Vec<Delta> = old.into_iter().chain(new.map(Delta::came)).collect();
                Ok(delta_of(&self.out, &consolidated(&self.out, &both)?)?.into_iter().collect())
            }
        }
    }

    /// The group columns of a set, and the watermark that ends each row's group.
    fn group_columns(&self, delta: &Delta) -> Result<(Vec<ArrayRef>, Option<Vec<i64>>)> {
        let rows = delta.rows();
        let columns: Vec<ArrayRef> =
            self.exprs.iter().map(|expr| Ok(expr.evaluate(&delta.batch)?.into_array(rows)?)).collect::<Result<_>>()?;
        let ends = match (self.expiry, &self.session) {
            (Some(Expiry { column, slack_us }), None) => {
                let times = columns[column].as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?;
                let end = |row| if times.is_null(row) { i64::MAX } else { times.value(row).saturating_add(slack_us) };
                Some((0..rows).map(end).collect())
            }
            _ => None,
        };
        Ok((columns, ends))
    }

    /// Rows of the groups as they were and as they are.
    fn update(&mut self, input: Vec<Delta>, begun: bool) -> Result<(Option<RecordBatch>, Option<RecordBatch>)> {
        let mut placed: Vec<(Delta, Vec<Option<u32>>)> = Vec::new();
        for delta in input {
            let (columns, ends) = self.group_columns(&delta)?;
            let sets = self.sets.clone();
            let mut place = |columns: &[ArrayRef], this: &mut Self| -> Result<()> {
                let mut groups = Vec::with_capacity(delta.rows());
                let keys = this.keys.encode(columns, delta.rows())?;
                for (row, key) in keys.iter().enumerate() {
                    let end = ends.as_ref().map_or(i64::MAX, |ends| ends[row]);
                    // A group that has ended does not begin again.
                    groups.push((end > this.watermark || end == i64::MAX).then(|| this.group_of(key, end)));
                }
                placed.push((delta.clone(), groups));
                Ok(())
            };
            if sets.is_empty() {
                place(&columns, self)?;
            }
            for (absent, id) in &sets {
                let rows = delta.rows();
                let mut of: Vec<ArrayRef> = columns
                    .iter()
                    .zip(absent)
                    .map(|(column, absent)| match absent {
                        true => new_null_array(column.data_type(), rows),
                        false => Arc::clone(column),
                    })
                    .collect();
                let ids: ArrayRef = Arc::new(UInt64Array::from(vec![*id; rows]));
                of.push(arrow::compute::cast(&ids, self.schema.field(columns.len()).data_type())?);
                place(&of, self)?;
            }
        }
        let mut seen: HashSet<u32> = HashSet::new();
        let mut touched: Vec<u32> = Vec::new();
        for group in placed.iter().flat_map(|(_, groups)| groups.iter().flatten()) {
            if seen.insert(*group) {
                touched.push(*group);
            }
        }
        if begun && touched.is_empty() {
            touched.push(0);
        }
        let old = self.rows_of(touched.iter().copied().filter(|group| self.shows(*group) && !begun))?;
        self.columns.iter_mut().for_each(|column| column.resize(self.groups.keys.len()));
        for (delta, groups) in &placed {
            for (row, group) in groups.iter().enumerate() {
                if let Some(group) = group {
                    self.groups.weights[*group as usize] += delta.weight(row);
                }
            }
            for column in &mut self.columns {
                column.update(delta, groups)?;
            }
        }
        let new = self.rows_of(touched.iter().copied().filter(|group| self.shows(*group)))?;
        for group in touched {
            if self.groups.weights[group as usize] == 0 && !self.is_global() {
                self.remove(group, true);
            } else {
                self.changed.insert(group);
            }
        }
        Ok((old, new))
    }

    fn group_of(&mut self, key: &[u8], end: i64) -> u32 {
        if let Some(group) = self.groups.by_key.get(key) {
            return *group;
        }
        let group = self.groups.new_group(key, (end, 0));
        self.groups.by_key.insert(Bytes::from(key), group);
        if end != i64::MAX {
            self.ends.entry(end).or_default().push(group);
        }
        group
    }

    /// Sessions of the keys that have rows, as they were and as they are.
    fn grow(&mut self, gap_us: i64, input: Vec<Delta>) -> Result<(Option<RecordBatch>, Option<RecordBatch>)> {
        let session = self.session.clone().ok_or_else(wrong)?;
        let is_bound = |at: &usize| session.starts.contains(at) || session.ends.contains(at);
        let mut placed: Vec<(Delta, Vec<Bytes>, Vec<i64>)> = Vec::new();
        let mut touched: Vec<Bytes> = Vec::new();
        let mut seen: HashSet<Bytes> = HashSet::new();
        for delta in input {
            let (columns, _) = self.group_columns(&delta)?;
            let (bound, back) = match (session.starts.first(), session.ends.first()) {
                (Some(at), _) => (*at, 0),
                (None, Some(at)) => (*at, gap_us),
                (None, None) => return Err(wrong()),
            };
            let times = columns[bound].as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?;
            let times: Vec<i64> = times.values().iter().map(|time| time - back).collect();
            let own: Vec<ArrayRef> = columns
                .iter()
                .enumerate()
                .filter(|(at, _)| !is_bound(at))
                .map(|(_, column)| Arc::clone(column))
                .collect();
            let keys = self.keys.encode(&own, delta.rows())?;
            for key in &keys {
                if !seen.contains(key) {
                    seen.insert(key.clone());
                    touched.push(key.clone());
                }
            }
            placed.push((delta, keys, times));
        }
        let old = self.rows_of(self.sessions_of(&touched).into_iter())?;
        for (delta, keys, times) in placed {
            // First all sessions grow together, so that a row's is known for good.
            for (key, time) in keys.iter().zip(&times) {
                self.session_of(key, *time, gap_us);
            }
            let of = |(key, time): (&Bytes, &i64)| {
                let sessions = self.groups.sessions.get(key)?;
                sessions.range(..=*time).next_back().map(|(_, (_, group))| *group)
            };
            let groups: Vec<Option<u32>> = keys.iter().zip(&times).map(of).collect();
            for (row, group) in groups.iter().enumerate() {
                if let Some(group) = group {
                    self.groups.weights[*group as usize] += delta.weight(row);
                }
            }
            for column in &mut self.columns {
                column.update(&delta, &groups)?;
            }
        }
        let new = self.rows_of(self.sessions_of(&touched).into_iter())?;
        Ok((old, new))
    }

    fn sessions_of(&self, keys: &[Bytes]) -> Vec<u32> {
        let sessions = keys.iter().filter_map(|key| self.groups.sessions.get(key));
        sessions.flat_map(|of| of.values().map(|(_, group)| *group)).collect()
    }

    /// The session this row is in: those it joins become one.
    fn session_of(&mut self, key: &Bytes, time: i64, gap_us: i64) -> u32 {
        let of = self.groups.sessions.entry_ref(key.as_ref()).or_default();
        let near: Vec<(i64, i64, u32)> = of
            .range(..time.saturating_add(gap_us))
            .rev()
            .take_while(|(_, (last, _))| *last > time.saturating_sub(gap_us))
            .map(|(start, (last, group))| (*start, *last, *group))
            .collect();
        let Some((start, last, group)) = near.last().copied() else {
            let group = self.groups.new_group(key, (time, time));
            if let Some(of) = self.groups.sessions.get_mut(key) {
                of.insert(time, (time, group));
            }
            self.columns.iter_mut().for_each(|column| column.resize(self.groups.keys.len()));
            self.ends.entry(time.saturating_add(gap_us)).or_default().push(group);
            self.changed.insert(group);
            self.anew.insert(group);
            return group;
        };
        // The earliest takes in the others.
        let (mut first, mut newest) = (start.min(time), last.max(time));
        for (other_start, other_last, other) in near.iter().take(near.len() - 1).copied() {
            (first, newest) = (first.min(other_start), newest.max(other_last));
            self.columns.iter_mut().for_each(|column| column.merge(other, group));
            self.groups.weights[group as usize] += self.groups.weights[other as usize];
            if let Some(of) = self.groups.sessions.get_mut(key) {
                of.remove(&other_start);
            }
            self.went.push((key.clone(), other_start));
            self.changed.remove(&other);
            self.anew.remove(&other);
            self.columns.iter_mut().for_each(|column| column.clear(other));
            self.groups.free(other);
            self.anew.insert(group);
        }
        if first != start {
            self.went.push((key.clone(), start));
            self.anew.insert(group);
        }
        if let Some(of) = self.groups.sessions.get_mut(key) {
            of.remove(&start);
            of.insert(first, (newest, group));
        }
        self.groups.bounds[group as usize] = (first, newest);
        if newest != last {
            self.ends.entry(newest.saturating_add(gap_us)).or_default().push(group);
        }
        self.changed.insert(group);
        group
    }

    /// Lets go the groups that the watermark has ended; gives their rows where they come out then.
    pub(crate) fn expire(&mut self, watermark: i64, silently: bool) -> Result<Vec<Delta>> {
        self.watermark = self.watermark.max(watermark);
        let open = self.ends.split_off(&watermark.saturating_add(1));
        let ended = std::mem::replace(&mut self.ends, open);
        let mut gone: Vec<u32> = Vec::new();
        let mut seen: HashSet<u32> = HashSet::new();
        for (end, groups) in ended {
            for group in groups {
                // A session may have grown since, or be of another one now.
                let at = group as usize;
                let real = match &self.session {
                    None => self.groups.bounds[at].0,
                    Some(session) => self.groups.bounds[at].1.saturating_add(session.gap_us),
                };
                if self.groups.weights[at] != 0 && real <= end && seen.insert(group) {
                    gone.push(group);
                }
            }
        }
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        let mut out = Vec::new();
        if self.on_close && !silently {
            out.extend(self.rows_of(gone.iter().copied().filter(|group| self.shows(*group)))?.map(Delta::came));
        }
        gone.into_iter().for_each(|group| self.remove(group, false));
        Ok(out)
    }

    /// `noted`: a restart would not find out by itself.
    fn remove(&mut self, group: u32, noted: bool) {
        let key = self.groups.keys[group as usize].clone();
        let mut start = 0;
        if self.session.is_some() {
            start = self.groups.bounds[group as usize].0;
            if let Some(of) = self.groups.sessions.get_mut(&key) {
                of.remove(&start);
                if of.is_empty() {
                    self.groups.sessions.remove(&key);
                }
            }
        } else {
            self.groups.by_key.remove(&key);
        }
        self.columns.iter_mut().for_each(|column| column.clear(group));
        self.groups.free(group);
        self.changed.remove(&group);
        self.anew.remove(&group);
        if noted {
            self.went.push((key, start));
        }
    }

    /// Group columns as the plan has them.
    fn key_columns(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let own = self.keys.columns(groups.iter().map(|group| self.groups.keys[*group as usize].as_ref()))?;
        let Some(session) = &self.session else { return Ok(own) };
        let mut own = own.into_iter();
        let mut all = Vec::with_capacity(self.exprs.len());
        for at in 0..self.exprs.len() {
            let bounds = groups.iter().map(|group| self.groups.bounds[*group as usize]);
            let times = if session.starts.contains(&at) {
                bounds.map(|(start, _)| start).collect::<Vec<_>>()
            } else if session.ends.contains(&at) {
                bounds.map(|(_, last)| last + session.gap_us).collect()
            } else {
                all.push(own.next().ok_or_else(wrong)?);
                continue;
            };
            all.push(Arc::new(TimestampMicrosecondArray::from(times).with_timezone("+00:00")) as ArrayRef);
        }
        Ok(all)
    }

    fn rows_of(&self, groups: impl Iterator<Item = u32>) -> Result<Option<RecordBatch>> {
        let groups: Vec<u32> = groups.collect();
        if groups.is_empty() {
            return Ok(None);
        }
        let mut columns = self.key_columns(&groups)?;
        for column in &self.columns {
            columns.push(column.evaluate(&groups)?);
        }
        for (column, field) in columns.iter_mut().zip(self.schema.fields()) {
            if column.data_type() != field.data_type() {
                *column = arrow::compute::cast(column, field.data_type())?;
            }
        }
        Ok(Some(record_batch(&self.schema, columns, groups.len())?))
    }

    /// Groups, and bytes held, about.
    pub(crate) fn size(&self) -> (usize, usize) {
        let columns: usize = self.columns.iter().map(Column::size).sum();
        (self.groups.count(), self.groups.bytes + self.groups.keys.capacity() * 40 + columns)
    }

    pub(crate) fn forget_changes(&mut self) {
        self.changed.clear();
        self.anew.clear();
        self.went.clear();
    }

    /// Part 0: groups with their weight and numbers. Part n: the values of the n-th aggregate.
    pub(crate) fn saved(&mut self, all: bool) -> Result<Vec<(usize, RecordBatch)>> {
        let went = std::mem::take(&mut self.went);
        let changed = std::mem::take(&mut self.changed);
        let anew = std::mem::take(&mut self.anew);
        let mut out = Vec::new();
        let mut live: Vec<u32> = match all {
            true => {
                let one = self.groups.by_key.values().copied();
                one.chain(self.groups.sessions.values().flat_map(|of| of.values().map(|(_, group)| *group))).collect()
            }
            false => changed.into_iter().collect(),
        };
        live.sort_unstable();
        if !all && !went.is_empty() {
            let keys = self.keys.columns(went.iter().map(|(key, _)| key.as_ref()))?;
            let starts = went.iter().map(|(_, start)| *start).collect();
            out.push((0, self.identified(keys, starts, vec![0; went.len()], Vec::new())?));
        }
        for groups in live.chunks(SAVED_GROUPS) {
            let keys = self.keys.columns(groups.iter().map(|group| self.groups.keys[*group as usize].as_ref()))?;
            let bounds = groups.iter().map(|group| self.groups.bounds[*group as usize].0).collect();
            let weights = groups.iter().map(|group| self.groups.weights[*group as usize]).collect();
            let mut states: Vec<ArrayRef> = vec![Arc::new(
                groups.iter().map(|group| self.groups.bounds[*group as usize].1).collect::<Int64Array>(),
            )];
            for column in &self.columns {
                states.extend(column.state(groups)?);
            }
            out.push((0, self.identified(keys, bounds, weights, states)?));
        }
        let (whole, parts): (Vec<u32>, Vec<u32>) = live.iter().partition(|group| all || anew.contains(*group));
        for at in 0..self.columns.len() {
            for (groups, all) in [(&whole, true), (&parts, false)] {
                for groups in groups.chunks(SAVED_GROUPS) {
                    let Some((of, values)) = self.columns[at].values(groups, all)? else { continue };
                    let keys = self.keys.columns(of.iter().map(|group| self.groups.keys[*group as usize].as_ref()))?;
                    let starts = of.iter().map(|group| self.groups.bounds[*group as usize].0).collect();
                    if !of.is_empty() {
                        let weights = vec![1; of.len()];
                        out.push((at + 1, self.identified(keys, starts, weights, values.columns().to_vec())?));
                    }
                }
            }
        }
        Ok(out)
    }

    /// Columns `start`, `weight`, the keys, and what is said of the group.
    fn identified(
        &self,
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

    pub(crate) fn restore(&mut self, part: usize, batch: &RecordBatch) -> Result<()> {
        let ints =
            |at: usize| batch.columns().get(at).and_then(|c| c.as_primitive_opt::<Int64Type>()).ok_or_else(wrong);
        let (starts, weights) = (ints(0)?, ints(1)?);
        let (first, rows) = (2 + self.keys.schema().fields().len(), batch.num_rows());
        let keys = self.keys.encode(&batch.columns()[2..first], rows)?;
        if part > 0 {
            let of = |(row, key): (usize, &Bytes)| match &self.session {
                None => self.groups.by_key.get(key).copied(),
                Some(_) => self.groups.sessions.get(key).and_then(|of| of.get(&starts.value(row))).map(|(_, g)| *g),
            };
            let groups: Vec<Option<u32>> = keys.iter().enumerate().map(of).collect();
            let column = self.columns.get_mut(part - 1).ok_or_else(wrong)?;
            return column.restore_values(&groups, &batch.columns()[first..]);
        }
        let gone = batch.num_columns() == first;
        let mut groups = Vec::with_capacity(rows);
        for (row, key) in keys.iter().enumerate() {
            let start = starts.value(row);
            let known = match &self.session {
                None => self.groups.by_key.get(key).copied(),
                Some(_) => self.groups.sessions.get(key).and_then(|of| of.get(&start)).map(|(_, group)| *group),
            };
            if gone {
                if let Some(group) = known {
                    self.remove(group, false);
                }
                continue;
            }
            let last = ints(first)?.value(row);
            let group = match (known, &self.session) {
                (Some(group), _) => group,
                (None, None) => self.group_of(key, start),
                (None, Some(_)) => {
                    let group = self.groups.new_group(key, (start, last));
                    self.groups.sessions.entry_ref(key.as_ref()).or_default().insert(start, (last, group));
                    group
                }
            };
            if let Some(session) = &self.session {
                self.groups.bounds[group as usize] = (start, last);
                if let Some(of) = self.groups.sessions.get_mut(key) {
                    of.insert(start, (last, group));
                }
                self.ends.entry(last.saturating_add(session.gap_us)).or_default().push(group);
            }
            self.groups.weights[group as usize] = weights.value(row);
            groups.push(group);
        }
        if gone {
            return Ok(());
        }
        let mut next = first + 1;
        for column in &mut self.columns {
            column.resize(self.groups.keys.len());
            let count = column.state_columns();
            column.restore(&groups, &batch.columns()[next..next + count])?;
            next += count;
        }
        Ok(())
    }
}

impl std::fmt::Debug for AggregateOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AggregateOp").field("groups", &self.groups.count()).finish_non_exhaustive()
    }
}
