//! Rows by key, each with how often it is there: what a join keeps of a side.
//!
//! Keys and rows have numbers. The rows of a key are a list through `Entry::next`, so that a key costs no
//! allocation beside its bytes, and a row is found by its bytes however many its key has.

use std::{ops::RangeInclusive, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType},
    row::Rows,
};
use datafusion::physical_expr::PhysicalExpr;
use ebap_sql::Expiry;

use super::{
    delta::{Bytes, Codec, Delta},
    slots::{Ends, Slots},
    time_range::TimedRows,
};
use crate::{Result, rows::record_batch};

pub(crate) const WEIGHT: &str = "__weight";
const SAVED_ROWS: usize = 65_536;
/// A row in the order of its key, about.
const TIMED_BYTES: usize = 24;
/// No row.
const NONE: u32 = u32::MAX;

/// Until when rows are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keep {
    Always,
    /// Until the watermark is past a column.
    Until(Expiry),
    /// Until it is so far past the one under which they came.
    For(i64),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) weight: i64,
    /// Rows of the other side it meets, each as often as it is there.
    pub(crate) matches: i64,
    /// The watermark that lets it go; `i64::MAX`: none.
    end: i64,
    key: u32,
    next: u32,
    before: u32,
    /// By which the rows of its key are in order; `i64::MIN`: it meets nothing by a time.
    time: i64,
    /// Changed since it was last written down.
    changed: bool,
}

#[derive(Debug)]
pub(crate) struct Arrangement {
    pub(crate) codec: Codec,
    keys: Codec,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    keep: Keep,
    watermark: i64,
    by_key: Slots,
    /// Of each key its first row.
    first: Vec<u32>,
    by_row: Slots,
    entries: Vec<Entry>,
    ends: Ends,
    changed: Vec<u32>,
    /// Those that went since, otherwise than by the watermark.
    went: Vec<Bytes>,
    /// The column by which the rows of a key are in order, and the rows of each key.
    by_time: Option<(usize, Vec<TimedRows>)>,
}

/// The keys of a batch.
pub(crate) struct Keys {
    /// `None`: a key without columns.
    rows: Option<Rows>,
    count: usize,
    /// Of each whether a column of it is NULL.
    pub(crate) null: Vec<bool>,
}

impl Keys {
    pub(crate) fn each(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.count).map(|at| self.rows.as_ref().map_or(&[][..], |rows| rows.row(at).data()))
    }
}

impl Arrangement {
    pub(crate) fn new(schema: &SchemaRef, exprs: Vec<Arc<dyn PhysicalExpr>>, keep: Keep) -> Result<Self> {
        let key = |(at, expr): (usize, &Arc<dyn PhysicalExpr>)| {
            Ok(Field::new(format!("k{at}"), expr.data_type(schema)?, true))
        };
        let fields: Result<Vec<Field>> = exprs.iter().enumerate().map(key).collect();
        Ok(Self {
            codec: Codec::new(schema)?,
            keys: Codec::new(&Arc::new(Schema::new(fields?)))?,
            exprs,
            keep,
            watermark: i64::MIN,
            by_key: Slots::default(),
            first: Vec::new(),
            by_row: Slots::default(),
            entries: Vec::new(),
            ends: Ends::of_rows(),
            changed: Vec::new(),
            went: Vec::new(),
            by_time: None,
        })
    }

    /// Expressions that give the key of each row.
    pub(crate) fn exprs(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.exprs
    }

    /// Keeps the rows of a key in the order of this column.
    pub(crate) fn order_by(&mut self, column: usize) {
        self.by_time = Some((column, Vec::new()));
    }

    /// The time of each row, where rows are kept in its order.
    fn times_of(&self, batch: &RecordBatch) -> Vec<i64> {
        let times = self
            .by_time
            .as_ref()
            .and_then(|(column, _)| batch.column(*column).as_primitive_opt::<TimestampMicrosecondType>());
        match times {
            Some(times) => times.iter().map(|time| time.unwrap_or(i64::MIN)).collect(),
            None => vec![i64::MIN; batch.num_rows()],
        }
    }

    pub(crate) fn keys(&self, batch: &RecordBatch) -> Result<Keys> {
        let count = batch.num_rows();
        let columns: Vec<ArrayRef> =
            self.exprs.iter().map(|expr| Ok(expr.evaluate(batch)?.into_array(count)?)).collect::<Result<_>>()?;
        let null = (0..count).map(|row| columns.iter().any(|column| column.is_null(row))).collect();
        Ok(Keys { rows: self.keys.rows(&columns)?, count, null })
    }

    /// The watermark behind which each row is let go.
    fn ends_of(&self, batch: &RecordBatch) -> Vec<i64> {
        use arrow::array::Array;
        let rows = batch.num_rows();
        match self.keep {
            Keep::Until(Expiry { column, slack_us }) => {
                let Some(times) = batch.column(column).as_primitive_opt::<TimestampMicrosecondType>() else {
                    return vec![i64::MAX; rows];
                };
                let end = |row| if times.is_null(row) { i64::MAX } else { times.value(row).saturating_add(slack_us) };
                (0..rows).map(end).collect()
            }
            // Under no watermark yet: see `expire`.
            Keep::For(_) if self.watermark == i64::MIN => vec![i64::MAX; rows],
            Keep::For(ttl_us) => vec![self.watermark.saturating_add(ttl_us); rows],
            Keep::Always => vec![i64::MAX; rows],
        }
    }

    /// Numbers of the rows of this key.
    pub(crate) fn of_key(&self, key: &[u8]) -> impl Iterator<Item = u32> + '_ {
        let first = self.by_key.find(key).map_or(NONE, |key| self.first[key as usize]);
        let some = |at: u32| (at != NONE).then_some(at);
        std::iter::successors(some(first), move |at| some(self.entries[*at as usize].next))
    }

    /// Appends the numbers of the rows of this key whose time is within.
    pub(crate) fn of_key_within(&self, key: &[u8], times: &RangeInclusive<i64>, into: &mut Vec<u32>) {
        let rows = self.by_key.find(key).zip(self.by_time.as_ref()).and_then(|(key, (_, rows))| rows.get(key as usize));
        if let Some(rows) = rows {
            rows.within(times, into);
        }
    }

    pub(crate) fn entry(&self, row: u32) -> &Entry {
        &self.entries[row as usize]
    }

    pub(crate) fn entry_mut(&mut self, row: u32) -> &mut Entry {
        &mut self.entries[row as usize]
    }

    pub(crate) fn row(&self, row: u32) -> &[u8] {
        self.by_row.key(row)
    }

    /// Adds the rows; `matches` is what each meets on the other side, where that is counted.
    pub(crate) fn add(&mut self, delta: &Delta, keys: &Keys, matches: Option<&[i64]>) -> Result<()> {
        let (ends, times) = (self.ends_of(&delta.batch), self.times_of(&delta.batch));
        let rows = self.codec.rows(delta.batch.columns())?;
        for (at, key) in keys.each().enumerate() {
            let row = rows.as_ref().map_or(&[][..], |rows| rows.row(at).data());
            let met = matches.map_or(0, |matches| matches[at]);
            self.put((key, row), |weight| weight + delta.weight(at), met, (ends[at], times[at]));
        }
        Ok(())
    }

    fn put(
        &mut self,
        (key, row): (&[u8], &[u8]),
        weight: impl FnOnce(i64) -> i64,
        matches: i64,
        (end, time): (i64, i64),
    ) {
        let known = self.by_row.find(row);
        let before = known.map_or(0, |row| self.entries[row as usize].weight);
        let now = weight(before);
        let Some(number) = known else {
            // A row that has been let go may still be taken back.
            if now > 0 || (now < 0 && end >= self.watermark) {
                let entry = Entry { weight: now, matches, end, key: 0, next: NONE, before: NONE, time, changed: true };
                self.insert(key, row, entry);
            }
            return;
        };
        if now == 0 {
            if let Some(row) = self.remove(number) {
                self.went.push(row);
            }
            return;
        }
        let entry = &mut self.entries[number as usize];
        entry.weight = now;
        if !std::mem::replace(&mut entry.changed, true) {
            self.changed.push(number);
        }
    }

    fn insert(&mut self, key: &[u8], row: &[u8], entry: Entry) {
        let ((number, _), (key, is_new)) = (self.by_row.take(row), self.by_key.take(key));
        self.first.resize(self.by_key.end(), NONE);
        let next = if is_new { NONE } else { self.first[key as usize] };
        if next != NONE {
            self.entries[next as usize].before = number;
        }
        self.first[key as usize] = number;
        let entry = Entry { key, next, ..entry };
        match self.entries.get_mut(number as usize) {
            Some(place) => *place = entry,
            None => self.entries.push(entry),
        }
        if let (Some((_, rows)), true) = (&mut self.by_time, entry.time != i64::MIN) {
            if rows.len() <= key as usize {
                rows.resize_with(key as usize + 1, TimedRows::default);
            }
            rows[key as usize].insert(entry.time, number);
        }
        self.changed.push(number);
        self.ends.push(entry.end, number);
    }

    fn remove(&mut self, number: u32) -> Option<Bytes> {
        let Entry { key, next, before, time, .. } = self.entries[number as usize];
        if let Some(rows) = self.by_time.as_mut().and_then(|(_, rows)| rows.get_mut(key as usize)) {
            rows.remove(time, number);
        }
        if next != NONE {
            self.entries[next as usize].before = before;
        }
        match before {
            NONE => self.first[key as usize] = next,
            before => self.entries[before as usize].next = next,
        }
        if self.first[key as usize] == NONE {
            self.by_key.remove(key);
        }
        self.entries[number as usize].changed = false;
        self.by_row.remove(number)
    }

    /// Lets go what the watermark has passed: it lets the same go after a restart, so nothing is written of it.
    pub(crate) fn expire(&mut self, watermark: i64) {
        if watermark <= self.watermark {
            return;
        }
        if let (Keep::For(ttl_us), i64::MIN) = (self.keep, self.watermark) {
            // The first one: what has come so far came under it.
            for number in self.by_row.live().collect::<Vec<_>>() {
                let entry = &mut self.entries[number as usize];
                if entry.end == i64::MAX {
                    entry.end = watermark.saturating_add(ttl_us);
                    self.ends.push(entry.end, number);
                    if !std::mem::replace(&mut entry.changed, true) {
                        self.changed.push(number);
                    }
                }
            }
        }
        self.watermark = watermark;
        let (rows, entries) = (&self.by_row, &self.entries);
        let end_of = |number: u32| rows.holds(number).then(|| entries[number as usize].end);
        for number in self.ends.due(watermark.saturating_sub(1), end_of) {
            self.remove(number);
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.by_row.len()
    }

    /// Bytes held, about.
    pub(crate) fn size(&self) -> usize {
        let entries = self.entries.capacity() * size_of::<Entry>();
        let by_time = match &self.by_time {
            Some((_, rows)) => rows.capacity() * size_of::<TimedRows>() + self.by_row.len() * TIMED_BYTES,
            None => 0,
        };
        self.by_row.size() + self.by_key.size() + entries + self.first.capacity() * 4 + by_time
    }

    /// Numbers of all rows.
    pub(crate) fn live(&self) -> Vec<u32> {
        self.by_row.live().collect()
    }

    pub(crate) fn forget_changes(&mut self) {
        for number in std::mem::take(&mut self.changed) {
            self.entries[number as usize].changed = false;
        }
        self.went.clear();
    }

    /// Rows with their weights: all, or those that changed since the last call.
    pub(crate) fn saved(&mut self, all: bool) -> Result<Vec<RecordBatch>> {
        let went = std::mem::take(&mut self.went);
        let changed: Vec<u32> = std::mem::take(&mut self.changed);
        // One that went and whose number another row has now stands there twice.
        let changed: Vec<u32> = changed
            .into_iter()
            .filter(|number| std::mem::replace(&mut self.entries[*number as usize].changed, false))
            .collect();
        let (mut rows, mut ends): (Vec<(&[u8], i64)>, Vec<i64>) = (Vec::new(), Vec::new());
        let of = |number: &u32| (self.by_row.key(*number), self.entries[*number as usize].weight);
        let end = |number: &u32| self.entries[*number as usize].end;
        if all {
            rows.extend(self.by_row.live().map(|number| of(&number)));
            ends.extend(self.by_row.live().map(|number| end(&number)));
        } else {
            // Before those that came: one may have come again.
            rows.extend(went.iter().map(|row| (row.as_ref(), 0)));
            ends.resize(rows.len(), i64::MAX);
            rows.extend(changed.iter().map(of));
            ends.extend(changed.iter().map(end));
        }
        let with_ends = matches!(self.keep, Keep::For(_));
        let each = rows.chunks(SAVED_ROWS).zip(ends.chunks(SAVED_ROWS));
        each.map(|(rows, ends)| {
            let batch = weighted(&self.codec, rows)?;
            if with_ends { with_last(&batch, ends) } else { Ok(batch) }
        })
        .collect()
    }

    /// Takes what was saved back; each row is there as often as the batch says.
    pub(crate) fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut batch = batch.clone();
        let saved_ends = match self.keep {
            Keep::For(_) => {
                let last = batch.num_columns().checked_sub(1).ok_or_else(wrong)?;
                Some(batch.remove_column(last).as_primitive_opt::<Int64Type>().ok_or_else(wrong)?.clone())
            }
            _ => None,
        };
        let (batch, weights) = unweighted(&self.codec, &batch)?;
        let keys = self.keys(&batch)?;
        let ends = match &saved_ends {
            Some(ends) => ends.values().to_vec(),
            None => self.ends_of(&batch),
        };
        let (rows, times) = (self.codec.encode(batch.columns(), batch.num_rows())?, self.times_of(&batch));
        for ((at, row), key) in rows.iter().enumerate().zip(keys.each()) {
            self.put((key, row), |_| weights.value(at), 0, (ends[at], times[at]));
            if let (Some(ends), Some(number)) = (&saved_ends, self.by_row.find(row)) {
                self.entries[number as usize].end = ends.value(at);
                self.ends.push(ends.value(at), number);
            }
        }
        Ok(())
    }
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

fn with_last(batch: &RecordBatch, numbers: &[i64]) -> Result<RecordBatch> {
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(Int64Array::from(numbers.to_vec())));
    let mut fields: Vec<Field> = batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new("__end", DataType::Int64, false));
    record_batch(&Arc::new(Schema::new(fields)), columns, batch.num_rows())
}

pub(crate) fn unweighted(codec: &Codec, batch: &RecordBatch) -> Result<(RecordBatch, Int64Array)> {
    let (columns, weights) = apart(batch)?;
    Ok((record_batch(codec.schema(), columns.to_vec(), batch.num_rows())?, weights))
}

/// What `weighted` has put together.
pub(crate) fn apart(batch: &RecordBatch) -> Result<(&[ArrayRef], Int64Array)> {
    let (weights, columns) = batch.columns().split_last().ok_or_else(wrong)?;
    Ok((columns, weights.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?.clone()))
}

pub(crate) fn wrong() -> crate::Error {
    crate::Error::outdated("the state of an operator in other columns than its plan has")
}
