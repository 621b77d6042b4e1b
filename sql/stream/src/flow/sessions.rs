//! `GROUP BY` over sessions: groups of a key that grow together as rows come between them.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray},
    datatypes::{Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType},
};
use datafusion::physical_expr::PhysicalExpr;
use ebap_sql::{Aggregation, Session};

use super::{
    arrangement::wrong,
    delta::{Bytes, Codec, Delta},
    groups::{GroupRows, Groups, identified},
    slots::{Ends, Seen, Slots},
    windows::{end_of, out_of_range},
};
use crate::{Result, failed_rows::Failing, rows::physical};

#[derive(Debug)]
pub(crate) struct SessionOp {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    session: Session,
    on_close: bool,
    /// Group columns without the session's bounds.
    keys: Codec,
    slots: Slots,
    /// Of each key its sessions, by their start.
    sessions: Vec<Vec<Open>>,
    groups: Groups,
    /// Of each group its key, and what it reaches over.
    places: Vec<Place>,
    free: Vec<u32>,
    ends: Ends,
    seen: Seen,
    /// Key and start of those that went otherwise than by the watermark.
    went: Vec<(Bytes, i64)>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    start: i64,
    last: i64,
    group: u32,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    /// `None`: there is no such group.
    key: Option<u32>,
    start: i64,
    last: i64,
}

impl SessionOp {
    pub(crate) fn new(plan: &Aggregation, session: &Session, schema: &SchemaRef) -> Result<Self> {
        let exprs: Vec<_> = plan.groups.iter().map(|expr| physical(expr, &plan.input_schema)).collect::<Result<_>>()?;
        let fields = schema.fields().iter().take(exprs.len()).enumerate();
        let fields = fields.filter(|(at, _)| !is_bound(session, *at));
        let fields: Vec<Field> = fields.map(|(_, field)| field.as_ref().clone().with_nullable(true)).collect();
        Ok(Self {
            exprs,
            session: session.clone(),
            on_close: plan.on_close,
            keys: Codec::new(&Arc::new(Schema::new(fields)))?,
            slots: Slots::default(),
            sessions: Vec::new(),
            groups: Groups::new(plan, schema)?,
            places: Vec::new(),
            free: Vec::new(),
            ends: Ends::of_rows(),
            seen: Seen::default(),
            went: Vec::new(),
        })
    }

    /// Expressions that are computed for each row.
    pub(crate) fn exprs(&self) -> impl Iterator<Item = &Arc<dyn PhysicalExpr>> {
        self.exprs.iter().chain(self.groups.exprs())
    }

    pub(crate) fn apply(&mut self, input: Vec<Delta>, failing: &Failing) -> Result<Vec<Delta>> {
        if input.is_empty() {
            return Ok(Vec::new());
        }
        let mut placed: Vec<(Delta, Vec<u32>, Vec<i64>)> = Vec::new();
        for delta in input {
            let (keys, times) = self.placed(&delta)?;
            placed.push((delta, keys, times));
        }
        let met = if self.on_close { Vec::new() } else { self.groups_met(&placed) };
        let old = self.rows_of(met, (failing, false))?;
        for (delta, keys, times) in &placed {
            // First all sessions grow together, so that a row's is known for good.
            for (key, time) in keys.iter().zip(times) {
                self.grow(*key, *time)?;
            }
            let groups: Vec<Option<u32>> =
                keys.iter().zip(times).map(|(key, time)| self.group_at(*key, *time)).collect();
            self.groups.update(delta, &groups)?;
        }
        if self.on_close {
            return Ok(Vec::new());
        }
        let groups = self.groups_of_rows(&placed);
        let new = self.rows_of(groups, (failing, true))?;
        self.groups.changes(old, new, 0)
    }

    /// The key of each row, and its time.
    fn placed(&mut self, delta: &Delta) -> Result<(Vec<u32>, Vec<i64>)> {
        let rows = delta.rows();
        let columns: Vec<ArrayRef> =
            self.exprs.iter().map(|expr| Ok(expr.evaluate(&delta.batch)?.into_array(rows)?)).collect::<Result<_>>()?;
        let (bound, back) = match (self.session.starts.first(), self.session.ends.first()) {
            (Some(at), _) => (*at, 0),
            (None, Some(at)) => (*at, self.session.gap_us),
            (None, None) => return Err(wrong()),
        };
        let times = columns[bound].as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?;
        let start = |time: &i64| time.checked_sub(back).ok_or_else(out_of_range);
        let times: Vec<i64> = times.values().iter().map(start).collect::<Result<_>>()?;
        let own = columns.iter().enumerate().filter(|(at, _)| !is_bound(&self.session, *at));
        let own: Vec<ArrayRef> = own.map(|(_, column)| Arc::clone(column)).collect();
        let mut keys = Vec::with_capacity(rows);
        let Self { keys: codec, slots, sessions, .. } = self;
        codec.each(&own, rows, |_, key| {
            let (slot, _) = slots.take(key);
            if slot as usize >= sessions.len() {
                sessions.push(Vec::new());
            }
            keys.push(slot);
            Ok(())
        })?;
        Ok((keys, times))
    }

    /// The sessions that rows at these times may change: a session grows or joins another by such a row alone.
    fn groups_met(&mut self, placed: &[(Delta, Vec<u32>, Vec<i64>)]) -> Vec<u32> {
        self.seen.begin();
        let mut groups = Vec::new();
        for (key, time) in placed.iter().flat_map(|(_, keys, times)| keys.iter().zip(times)) {
            let met = self.met(*key, *time);
            let Self { sessions, seen, .. } = self;
            groups
                .extend(sessions[*key as usize][met].iter().map(|open| open.group).filter(|group| seen.first(*group)));
        }
        groups
    }

    /// The sessions that these rows are in.
    fn groups_of_rows(&mut self, placed: &[(Delta, Vec<u32>, Vec<i64>)]) -> Vec<u32> {
        self.seen.begin();
        let mut groups = Vec::new();
        for (key, time) in placed.iter().flat_map(|(_, keys, times)| keys.iter().zip(times)) {
            let group = self.group_at(*key, *time);
            groups.extend(group.filter(|group| self.seen.first(*group)));
        }
        groups
    }

    /// The newest session of the key that began by then.
    fn group_at(&self, key: u32, time: i64) -> Option<u32> {
        let of = &self.sessions[key as usize];
        let behind = of.partition_point(|open| open.start <= time);
        behind.checked_sub(1).map(|at| of[at].group)
    }

    /// The sessions of the key that a row at this time joins. They do not overlap, so they lie together.
    fn met(&self, key: u32, time: i64) -> Range<usize> {
        let (of, gap_us) = (&self.sessions[key as usize], self.session.gap_us);
        let end = of.partition_point(|open| open.start < time.saturating_add(gap_us));
        of.partition_point(|open| open.last <= time.saturating_sub(gap_us)).min(end)..end
    }

    /// The session that has this row: those it joins become one.
    fn grow(&mut self, key: u32, time: i64) -> Result<()> {
        let gap_us = self.session.gap_us;
        let Range { start: first, end } = self.met(key, time);
        if first == end {
            let group = self.new_group(Place { key: Some(key), start: time, last: time });
            self.sessions[key as usize].insert(end, Open { start: time, last: time, group });
            self.ends.push(time.saturating_add(gap_us), group);
            self.groups.mark(group, true);
            return Ok(());
        }
        let met: Vec<Open> = match end - first {
            1 => Vec::new(),
            _ => self.sessions[key as usize].drain(first + 1..end).collect(),
        };
        let Open { start, last, group } = self.sessions[key as usize][first];
        // The earliest takes in the others.
        let (mut earliest, mut newest) = (start.min(time), last.max(time));
        for other in met {
            (earliest, newest) = (earliest.min(other.start), newest.max(other.last));
            self.went.push((Bytes::from(self.slots.key(key)), other.start));
            self.groups.merge(other.group, group)?;
            self.places[other.group as usize].key = None;
            self.free.push(other.group);
        }
        if earliest != start {
            self.went.push((Bytes::from(self.slots.key(key)), start));
        }
        self.groups.mark(group, earliest != start);
        self.sessions[key as usize][first] = Open { start: earliest, last: newest, group };
        self.places[group as usize] = Place { key: Some(key), start: earliest, last: newest };
        Ok(())
    }

    fn new_group(&mut self, place: Place) -> u32 {
        let group = self.free.pop().unwrap_or_else(|| {
            self.places.push(place);
            (self.places.len() - 1) as u32
        });
        self.places[group as usize] = place;
        self.groups.resize(self.places.len());
        group
    }

    /// Lets go the sessions that the watermark has ended; gives their rows where they come out then.
    pub(crate) fn expire(&mut self, watermark: i64, silently: bool, failing: &Failing) -> Result<Vec<Delta>> {
        let (places, gap_us) = (&self.places, self.session.gap_us);
        let end_of = |group: u32| {
            let place = places[group as usize];
            place.key.map(|_| place.last.saturating_add(gap_us))
        };
        let gone = self.ends.due(watermark, end_of);
        let mut out = Vec::new();
        if self.on_close && !silently {
            let shown = gone.iter().copied().filter(|group| self.groups.weights[*group as usize] > 0);
            out.extend(self.rows_of(shown.collect(), (failing, true))?.map(|(_, batch)| Delta::came(batch)));
        }
        self.remove(&gone);
        Ok(out)
    }

    /// Looks at the sessions of each key once, as all of a key's may go together.
    fn remove(&mut self, groups: &[u32]) {
        self.seen.begin();
        let mut keys = Vec::new();
        for group in groups {
            let Some(key) = self.places[*group as usize].key.take() else { continue };
            if self.seen.first(key) {
                keys.push(key);
            }
            self.groups.clear(*group);
            self.free.push(*group);
        }
        for key in keys {
            let (sessions, places) = (&mut self.sessions[key as usize], &self.places);
            sessions.retain(|open| places[open.group as usize].key.is_some());
            if sessions.is_empty() {
                // Its memory too: there may never be as many sessions of one key again.
                *sessions = Vec::new();
                self.slots.remove(key);
            }
        }
    }

    fn rows_of(&self, groups: Vec<u32>, failing: (&Failing, bool)) -> Result<Option<GroupRows>> {
        self.groups.rows_computable(groups, &|groups| self.columns_of(groups), failing)
    }

    /// The group columns of these sessions.
    fn columns_of(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut own = key_columns(&self.keys, &self.slots, &self.places, groups)?.into_iter();
        let mut all: Vec<ArrayRef> = Vec::with_capacity(self.exprs.len());
        for at in 0..self.exprs.len() {
            let places = groups.iter().map(|group| self.places[*group as usize]);
            let times: Vec<i64> = if self.session.starts.contains(&at) {
                places.map(|place| place.start).collect()
            } else if self.session.ends.contains(&at) {
                places.map(|place| end_of(place.last, self.session.gap_us)).collect::<Result<_>>()?
            } else {
                all.push(own.next().ok_or_else(wrong)?);
                continue;
            };
            all.push(Arc::new(TimestampMicrosecondArray::from(times).with_timezone("+00:00")));
        }
        Ok(all)
    }

    /// Sessions, and bytes held, about.
    pub(crate) fn size(&self) -> (usize, usize) {
        let live = self.places.len() - self.free.len();
        let places = self.places.capacity() * size_of::<Place>() + self.free.capacity() * 4;
        let sessions = self.sessions.capacity() * size_of::<Vec<Open>>() + live * size_of::<Open>();
        (live, self.slots.size() + self.groups.size() + places + sessions)
    }

    pub(crate) fn forget_changes(&mut self) {
        self.groups.forget_changes();
        self.went.clear();
    }

    /// As an aggregate's; a session is known by its key and its start.
    pub(crate) fn saved(&mut self, all: bool) -> Result<Vec<(usize, RecordBatch)>> {
        let went = std::mem::take(&mut self.went);
        let changed = self.groups.take_changed();
        let there = |group: &u32| self.places[*group as usize].key.is_some();
        let live: Vec<u32> = if all { (0..self.places.len() as u32).filter(there).collect() } else { changed };
        let mut out = Vec::new();
        if !all && !went.is_empty() {
            let keys = self.keys.columns(went.iter().map(|(key, _)| key.as_ref()))?;
            let starts = went.iter().map(|(_, start)| *start).collect();
            out.push((0, identified(keys, starts, vec![0; went.len()], Vec::new())?));
        }
        let (keys, slots, places) = (&self.keys, &self.slots, &self.places);
        let of = |groups: &[u32]| key_columns(keys, slots, places, groups);
        let bounds = |group: u32| (places[group as usize].start, places[group as usize].last);
        out.extend(self.groups.saved(&live, all, &of, &bounds)?);
        Ok(out)
    }

    pub(crate) fn restore(&mut self, part: usize, batch: &RecordBatch) -> Result<()> {
        let ints = |at: usize| -> Result<&Int64Array> {
            batch.columns().get(at).and_then(|c| c.as_primitive_opt::<Int64Type>()).ok_or_else(wrong)
        };
        let (starts, weights) = (ints(0)?, ints(1)?);
        let (first, rows) = (2 + self.keys.schema().fields().len(), batch.num_rows());
        let keys = self.keys.encode(batch.columns().get(2..first).ok_or_else(wrong)?, rows)?;
        let known = |this: &Self, row: usize| {
            let key = this.slots.find(&keys[row])?;
            let of = &this.sessions[key as usize];
            of.binary_search_by_key(&starts.value(row), |open| open.start).ok().map(|at| of[at].group)
        };
        if part > 0 {
            let groups: Vec<Option<u32>> = (0..rows).map(|row| known(self, row)).collect();
            let column = self.groups.columns.get_mut(part - 1).ok_or_else(wrong)?;
            return column.restore_values(&groups, &batch.columns()[first..]);
        }
        if batch.num_columns() == first {
            let gone: Vec<u32> = (0..rows).filter_map(|row| known(self, row)).collect();
            self.remove(&gone);
            return Ok(());
        }
        let lasts = ints(first)?;
        let mut groups = Vec::with_capacity(rows);
        for (row, key) in keys.iter().enumerate() {
            let (start, last) = (starts.value(row), lasts.value(row));
            let group = match known(self, row) {
                Some(group) => group,
                None => {
                    let (slot, _) = self.slots.take(key);
                    if slot as usize >= self.sessions.len() {
                        self.sessions.push(Vec::new());
                    }
                    let group = self.new_group(Place { key: Some(slot), start, last });
                    let of = &mut self.sessions[slot as usize];
                    of.insert(of.partition_point(|open| open.start < start), Open { start, last, group });
                    group
                }
            };
            let place = &mut self.places[group as usize];
            place.last = last;
            if let Some(key) = place.key {
                let of = &mut self.sessions[key as usize];
                if let Ok(at) = of.binary_search_by_key(&start, |open| open.start) {
                    of[at].last = last;
                }
            }
            self.ends.push(last.saturating_add(self.session.gap_us), group);
            self.groups.weights[group as usize] = weights.value(row);
            groups.push(group);
        }
        self.groups.restore(&groups, &batch.columns()[first + 1..])
    }
}

fn is_bound(session: &Session, at: usize) -> bool {
    session.starts.contains(&at) || session.ends.contains(&at)
}

fn key_columns(keys: &Codec, slots: &Slots, places: &[Place], groups: &[u32]) -> Result<Vec<ArrayRef>> {
    keys.columns(groups.iter().map(|group| places[*group as usize].key.map_or(&[][..], |key| slots.key(key))))
}
