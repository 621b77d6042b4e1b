//! The first rows of each partition, and of an order.
//!
//! Of rows that only come no more are kept than are shown. Of rows that may go all are kept, as any may come to the
//! front; but where the watermark says of enough rows in front that they stay, rows behind them that stay too are let go.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array},
    compute::SortOptions,
    datatypes::{Field, Schema, SchemaRef, TimestampMicrosecondType},
    row::{RowConverter, Rows, SortField},
};
use datafusion::physical_expr::PhysicalExpr;
use ebap_sql::{Expiry, Numbering, TopN};
use hashbrown::HashMap;

use super::{
    arrangement::{unweighted, weighted, wrong},
    delta::{Codec, Delta},
    ranked::{Place, Ranked},
    ranks,
    slots::{Ends, Seen, Slots},
};
use crate::{
    Result,
    rows::{cast, physical, record_batch},
};

#[derive(Debug)]
pub(crate) struct TopNOp {
    partition: Vec<Arc<dyn PhysicalExpr>>,
    order: Vec<Arc<dyn PhysicalExpr>>,
    by: RowConverter,
    keys: Codec,
    rows: Codec,
    schema: SchemaRef,
    skip: usize,
    /// Rows that are shown or skipped.
    first: usize,
    numbering: Option<Numbering>,
    append_only: bool,
    expiry: Option<Expiry>,
    settled: Option<Expiry>,
    /// Numbers of rows that settle, by watermark and partition.
    settling: BTreeMap<(i64, u32), usize>,
    slots: Slots,
    partitions: Vec<Partition>,
    ends: Ends,
    seen: Seen,
    held: usize,
    bytes: usize,
    /// Rows that changed since they were last written down, with their partition.
    changed: HashMap<Place, u32>,
}

#[derive(Debug, Default)]
struct Partition {
    rows: Ranked,
    /// The watermark that ends it.
    end: i64,
    /// Rows that have settled since it was last cut behind those that stay.
    settled: usize,
}

/// The partition, the order and the columns of each row, and the watermarks that end its partition and itself.
struct Placed {
    keys: Option<Rows>,
    by: Rows,
    rows: Option<Rows>,
    ends: Option<Vec<i64>>,
    settled: Option<Vec<i64>>,
}

impl Placed {
    fn get(&self, at: usize) -> (&[u8], &[u8], &[u8], i64) {
        let key = self.keys.as_ref().map_or(&[][..], |rows| rows.row(at).data());
        let row = self.rows.as_ref().map_or(&[][..], |rows| rows.row(at).data());
        (key, self.by.row(at).data(), row, self.ends.as_ref().map_or(i64::MAX, |ends| ends[at]))
    }

    /// From which watermark on the row stays as it is.
    fn settles(&self, at: usize) -> i64 {
        self.settled.as_ref().map_or(i64::MAX, |ends| ends[at])
    }
}

/// When the watermark ends each row. None without such a column.
fn ends(expiry: Option<Expiry>, columns: &[ArrayRef]) -> Option<Vec<i64>> {
    let Expiry { column, slack_us } = expiry?;
    let times = columns.get(column)?.as_primitive_opt::<TimestampMicrosecondType>()?;
    let end = |row| if times.is_null(row) { i64::MAX } else { times.value(row).saturating_add(slack_us) };
    Some((0..times.len()).map(end).collect())
}

/// Rows with their numbers.
type Numbered = Vec<(Place, u64)>;

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
            schema: Arc::clone(schema),
            skip: plan.skip,
            first: plan.skip.saturating_add(plan.fetch.unwrap_or(usize::MAX)),
            numbering: plan.numbering,
            append_only: plan.input.append_only(),
            expiry: plan.expiry,
            settled: plan.settled,
            settling: BTreeMap::new(),
            slots: Slots::default(),
            partitions: Vec::new(),
            ends: Ends::of_windows(),
            seen: Seen::default(),
            held: 0,
            bytes: 0,
            changed: HashMap::new(),
        })
    }

    /// Expressions that are computed for each row.
    pub(crate) fn exprs(&self) -> impl Iterator<Item = &Arc<dyn PhysicalExpr>> {
        self.partition.iter().chain(&self.order)
    }

    fn placed(&self, batch: &RecordBatch) -> Result<Placed> {
        let rows = batch.num_rows();
        let evaluate = |exprs: &[Arc<dyn PhysicalExpr>]| -> Result<Vec<ArrayRef>> {
            exprs.iter().map(|expr| Ok(expr.evaluate(batch)?.into_array(rows)?)).collect()
        };
        Ok(Placed {
            keys: self.keys.rows(&evaluate(&self.partition)?)?,
            by: self.by.convert_columns(&evaluate(&self.order)?)?,
            rows: self.rows.rows(batch.columns())?,
            ends: ends(self.expiry, batch.columns()),
            settled: ends(self.settled, batch.columns()),
        })
    }

    pub(crate) fn apply(&mut self, input: Vec<Delta>) -> Result<Vec<Delta>> {
        // Partitions that change, as they were shown.
        let mut before: Vec<(u32, Vec<Place>)> = Vec::new();
        self.seen.begin();
        for delta in input {
            let placed = self.placed(&delta.batch)?;
            for at in 0..delta.rows() {
                let (key, by, row, end) = placed.get(at);
                let slot = self.slot_of(key, end);
                if self.append_only && self.is_behind(slot, by, row) {
                    continue;
                }
                if self.seen.first(slot) {
                    before.push((slot, self.shown(slot)));
                }
                let place = Place::new(by, row);
                let weight = self.partitions[slot as usize].rows.get(&place) + delta.weight(at);
                self.put(slot, place, weight, placed.settles(at));
                if self.append_only {
                    self.cut(slot);
                }
            }
        }
        let (mut gone, mut came) = (Numbered::new(), Numbered::new());
        for (slot, old) in before {
            let new = self.shown(slot);
            self.difference(old, new, &mut gone, &mut came);
            if self.partitions[slot as usize].rows.len() == 0 {
                self.slots.remove(slot);
            }
        }
        let mut out = Vec::new();
        for (rows, weight) in [(gone, -1), (came, 1)] {
            if !rows.is_empty() {
                let mut columns = self.rows.columns(rows.iter().map(|(place, _)| place.row()))?;
                if self.numbering.is_some() {
                    let numbers: ArrayRef = Arc::new(rows.iter().map(|(_, number)| *number).collect::<UInt64Array>());
                    let of = self.schema.fields().last().ok_or_else(wrong)?.data_type();
                    columns.push(cast(&numbers, of)?);
                }
                let batch = record_batch(&self.schema, columns, rows.len())?;
                out.push(Delta::weighted(batch, vec![weight; rows.len()]));
            }
        }
        Ok(out)
    }

    /// What is no longer shown, and what is now; a number is a part of the row.
    fn difference(&self, old: Vec<Place>, new: Vec<Place>, gone: &mut Numbered, came: &mut Numbered) {
        let is_numbered = self.numbering.is_some();
        let numbered = |rows: Vec<Place>| {
            let numbers = ranks::numbers(self.numbering, &rows);
            rows.into_iter().zip(numbers).skip(self.skip)
        };
        let (mut old, mut new) = (numbered(old).peekable(), numbered(new).peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((_, a)), Some((_, b))) if is_numbered && a != b => a.cmp(b),
                (Some((a, _)), Some((b, _))) if self.numbering == Some(Numbering::Row) && a != b => {
                    gone.extend(old.next());
                    came.extend(new.next());
                    continue;
                }
                (Some((a, _)), Some((b, _))) => a.cmp(b),
            };
            match order {
                Ordering::Less => gone.extend(old.next()),
                Ordering::Greater => came.extend(new.next()),
                Ordering::Equal => {
                    old.next();
                    new.next();
                }
            }
        }
    }

    /// Rows in front, each as often as it is there.
    fn shown(&self, slot: u32) -> Vec<Place> {
        let rows = &self.partitions[slot as usize].rows;
        match self.numbering {
            Some(Numbering::Rank | Numbering::DenseRank) => ranks::within(self.numbering, rows, self.first),
            Some(Numbering::Row) | None => rows.first(self.first),
        }
    }

    /// Whether as many as are shown come before it.
    fn is_behind(&self, slot: u32, by: &[u8], row: &[u8]) -> bool {
        if let Some(Numbering::Rank | Numbering::DenseRank) = self.numbering {
            return false;
        }
        let rows = &self.partitions[slot as usize].rows;
        // Each is there at least once.
        rows.len() >= self.first && rows.last().is_some_and(|(last, _)| last.is_before(by, row))
    }

    fn slot_of(&mut self, key: &[u8], end: i64) -> u32 {
        let (slot, is_new) = self.slots.take(key);
        if is_new {
            let partition = Partition { rows: Ranked::default(), end, settled: 0 };
            match self.partitions.get_mut(slot as usize) {
                Some(place) => *place = partition,
                None => self.partitions.push(partition),
            }
            self.ends.push(end, slot);
        }
        slot
    }

    /// Lets go what cannot come to the front any more.
    fn cut(&mut self, slot: u32) {
        let rows = &self.partitions[slot as usize].rows;
        if let Some(Numbering::Rank | Numbering::DenseRank) = self.numbering {
            for place in ranks::behind(self.numbering, rows, self.first) {
                self.set(slot, place, 0);
            }
            return;
        }
        if rows.len() < self.first {
            return;
        }
        let mut count: usize = rows.each().map(|(_, weight)| usize::try_from(weight).unwrap_or(0)).sum();
        while let Some((last, weight)) = self.partitions[slot as usize].rows.last() {
            let weight = usize::try_from(weight).unwrap_or(0);
            if count - weight < self.first {
                break;
            }
            count -= weight;
            let last = last.clone();
            self.set(slot, last, 0);
        }
    }

    /// The same of a row that settles at this watermark.
    fn put(&mut self, slot: u32, place: Place, weight: i64, settles: i64) {
        let before = self.partitions[slot as usize].rows.len();
        self.set(slot, place, weight);
        let after = self.partitions[slot as usize].rows.len();
        if settles == i64::MAX || before == after {
            return;
        }
        let count = self.settling.entry((settles, slot)).or_default();
        *count = if after > before { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            self.settling.remove(&(settles, slot));
        }
    }

    fn set(&mut self, slot: u32, place: Place, weight: i64) {
        let (rows, size) = (&mut self.partitions[slot as usize].rows, place.size());
        let before = rows.len();
        self.changed.insert(place.clone(), slot);
        rows.set(place, weight);
        match rows.len().cmp(&before) {
            Ordering::Greater => {
                self.held += 1;
                self.bytes += size;
            }
            Ordering::Less => {
                self.held -= 1;
                self.bytes = self.bytes.saturating_sub(size);
            }
            Ordering::Equal => {}
        }
    }

    pub(crate) fn expire(&mut self, watermark: i64) -> Result<()> {
        self.settle(watermark)?;
        let (slots, partitions) = (&self.slots, &self.partitions);
        let gone = self.ends.due(watermark, |slot| slots.holds(slot).then(|| partitions[slot as usize].end));
        if gone.is_empty() {
            return Ok(());
        }
        for slot in &gone {
            let slot = *slot;
            let rows = std::mem::take(&mut self.partitions[slot as usize].rows);
            self.held -= rows.len();
            let bytes: usize = rows.each().map(|(place, _)| place.size()).sum();
            self.bytes = self.bytes.saturating_sub(bytes);
            self.slots.remove(slot);
        }
        if self.append_only {
            // It lets the same go after a restart. Where rows may go otherwise, a number may have been another's.
            self.changed.retain(|_, slot| gone.binary_search(slot).is_err());
        }
        Ok(())
    }

    /// Cuts partitions in which as many rows have settled as half of it has, so that a row is looked at a few times at most.
    fn settle(&mut self, watermark: i64) -> Result<()> {
        while let Some(entry) = self.settling.first_entry()
            && entry.key().0 <= watermark
        {
            let ((_, slot), count) = entry.remove_entry();
            if let Some(partition) = self.partitions.get_mut(slot as usize).filter(|_| self.slots.holds(slot)) {
                partition.settled += count;
                if partition.settled * 2 >= partition.rows.len() && partition.rows.len() > self.first {
                    self.cut_settled(slot, watermark)?;
                }
            }
        }
        Ok(())
    }

    /// Lets go what has settled behind as many rows that have, as are shown.
    fn cut_settled(&mut self, slot: u32, watermark: i64) -> Result<()> {
        let partition = &mut self.partitions[slot as usize];
        partition.settled = 0;
        let places: Vec<(Place, i64)> = partition.rows.each().map(|(place, weight)| (place.clone(), weight)).collect();
        let columns = self.rows.columns(places.iter().map(|(place, _)| place.row()))?;
        let ends = ends(self.settled, &columns).unwrap_or_default();
        let mut in_front = 0_usize;
        for ((place, weight), _) in places.into_iter().zip(ends).filter(|(_, end)| *end <= watermark) {
            if in_front >= self.first {
                self.set(slot, place, 0);
            } else {
                in_front = in_front.saturating_add(usize::try_from(weight).unwrap_or(0));
            }
        }
        Ok(())
    }

    pub(crate) fn size(&self) -> (usize, usize) {
        let partitions = self.partitions.capacity() * size_of::<Partition>();
        (self.held, self.bytes + self.slots.size() + partitions)
    }

    pub(crate) fn forget_changes(&mut self) {
        self.changed.clear();
    }

    pub(crate) fn saved(&mut self, all: bool) -> Result<Vec<RecordBatch>> {
        let changed = std::mem::take(&mut self.changed);
        let mut rows: Vec<(&[u8], i64)> = Vec::new();
        if all {
            for slot in self.slots.live() {
                rows.extend(self.partitions[slot as usize].rows.each().map(|(place, weight)| (place.row(), weight)));
            }
        } else {
            rows.extend(changed.iter().map(|(place, slot)| {
                (place.row(), self.partitions.get(*slot as usize).map_or(0, |partition| partition.rows.get(place)))
            }));
        }
        rows.chunks(65_536).map(|rows| weighted(&self.rows, rows)).collect()
    }

    pub(crate) fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        let (batch, weights) = unweighted(&self.rows, batch)?;
        let placed = self.placed(&batch)?;
        for at in 0..batch.num_rows() {
            let (key, by, row, end) = placed.get(at);
            let slot = self.slot_of(key, end);
            self.put(slot, Place::new(by, row), weights.value(at), placed.settles(at));
            if self.partitions[slot as usize].rows.len() == 0 {
                self.slots.remove(slot);
            }
        }
        Ok(())
    }
}
