//! Every row that a table had, with the times between which it was the row of its key.
//!
//! A row that comes ends the one before it, and is ended by the next one of its key: also where it comes between two
//! that are there, as records need not be in the order of their times. Of two of one time the one read last counts.
//!
//! A row of weight -1 ends the newest one of its key. It is kept like a version (an *end*), so that the one before it
//! ends there, and shown to nobody.
//!
//! # Invariants
//! - Of each key the newest version at or below the watermark is kept, and all behind it. Older ones are of no use:
//!   no event of their time is to come. Where nothing but an end would be kept, the key goes.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray},
    datatypes::{Schema, SchemaRef, TimestampMicrosecondType},
};
use hashbrown::{HashMap, HashSet};

use super::{
    arrangement::{apart, weighted, wrong},
    delta::{Bytes, Codec, Delta},
};
use crate::{Result, rows::record_batch};

/// Where `_ingested_at` stands among the virtual columns.
const INGESTED_AT: usize = 3;

#[derive(Debug)]
pub(crate) struct VersionsOp {
    schema: SchemaRef,
    key: Vec<usize>,
    keys: Codec,
    /// Of the columns of the table, and of the time from which a row holds.
    codec: Codec,
    /// Among the columns of what is read: from when a row holds.
    time: usize,
    versions: HashMap<Bytes, BTreeMap<i64, Version>>,
    /// Keys that have a version that ends then.
    ends: BTreeMap<i64, HashSet<Bytes>>,
    /// No version that ends here or before is kept.
    watermark: i64,
    held: usize,
    bytes: usize,
    changed: HashSet<(Bytes, i64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    row: Bytes,
    /// From here on there is none.
    is_end: bool,
}

impl Version {
    fn saved(&self) -> (&[u8], i64) {
        (&self.row, if self.is_end { -1 } else { 1 })
    }
}

/// A version that comes (1) or goes (-1): its row, until when, and which of them.
type Change = (Bytes, i64, i64);

impl VersionsOp {
    /// `schema`: the columns of the table and the two times. `time`: as in the plan.
    pub(crate) fn new(schema: &SchemaRef, key: &[usize], time: Option<usize>) -> Result<Self> {
        let fields = schema.fields();
        let declared = fields.len().checked_sub(2).ok_or_else(wrong)?;
        let keys: SchemaRef = Arc::new(Schema::new(schema.project(key)?.fields().to_vec()));
        let rows: SchemaRef = Arc::new(Schema::new(fields.iter().take(declared + 1).cloned().collect::<Vec<_>>()));
        Ok(Self {
            schema: Arc::clone(schema),
            key: key.to_vec(),
            keys: Codec::new(&keys)?,
            codec: Codec::new(&rows)?,
            time: time.unwrap_or(declared + INGESTED_AT),
            versions: HashMap::new(),
            ends: BTreeMap::new(),
            watermark: i64::MIN,
            held: 0,
            bytes: 0,
            changed: HashSet::new(),
        })
    }

    /// Takes rows of the table as they come; gives the versions that go and come.
    pub(crate) fn apply<'a>(&mut self, input: impl Iterator<Item = &'a Delta>) -> Result<Vec<Delta>> {
        let mut changes: Vec<Change> = Vec::new();
        for delta in input {
            let declared = self.codec.schema().fields().len() - 1;
            let mut columns = delta.batch.columns()[..declared].to_vec();
            columns.push(Arc::clone(delta.batch.column(self.time)));
            for (at, (key, from, row)) in self.placed(&columns, delta.rows())?.into_iter().enumerate() {
                match delta.weight(at) {
                    ..=0 => self.end(key, from, row, &mut changes),
                    _ => self.put(key, from, Version { row, is_end: false }, &mut changes),
                }
            }
        }
        self.delta(&changes)
    }

    /// Of each row its key, from when it holds, and itself.
    fn placed(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<(Bytes, i64, Bytes)>> {
        let key: Vec<ArrayRef> = self.key.iter().map(|at| Arc::clone(&columns[*at])).collect();
        let times = columns.last().and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
        let times = times.ok_or_else(wrong)?;
        let each = self.keys.encode(&key, rows)?.into_iter().zip(times.values().iter().copied());
        Ok(each.zip(self.codec.encode(columns, rows)?).map(|((key, from), row)| (key, from, row)).collect())
    }

    /// Ends the newest version. What was read last counts, also where it says an earlier time; and an end behind an end
    /// says nothing: a delete comes twice, the second time without a time of its own.
    fn end(&mut self, key: Bytes, from: i64, row: Bytes, changes: &mut Vec<Change>) {
        let newest = self.versions.get(&key).and_then(BTreeMap::last_key_value);
        let Some((newest_from, newest)) = newest.filter(|(_, newest)| !newest.is_end) else { return };
        let (from, row) = if *newest_from < from { (from, row) } else { (*newest_from, newest.row.clone()) };
        self.put(key, from, Version { row, is_end: true }, changes);
    }

    fn put(&mut self, key: Bytes, from: i64, version: Version, changes: &mut Vec<Change>) {
        let versions = self.versions.entry_ref(key.as_ref()).or_default();
        let until = versions.range(from.saturating_add(1)..).next().map_or(i64::MAX, |(next, _)| *next);
        if until <= self.watermark {
            return;
        }
        let size = version.row.len() + 64;
        let mut show = |version: &Version, until: i64, weight: i64| {
            changes.extend((!version.is_end).then(|| (version.row.clone(), until, weight)));
        };
        let before = versions.range(..from).next_back();
        match (versions.get(&from), before) {
            (Some(same), _) if *same == version => return,
            (Some(other), _) => {
                show(other, until, -1);
                self.bytes = self.bytes.saturating_sub(other.row.len() + 64);
                self.held -= 1;
            }
            (None, Some((_, before))) => {
                show(before, until, -1);
                show(before, from, 1);
                self.ends.entry(from).or_default().insert(key.clone());
            }
            (None, None) => {}
        }
        if version.is_end {
            self.ends.entry(from).or_default().insert(key.clone());
        }
        if until != i64::MAX {
            self.ends.entry(until).or_default().insert(key.clone());
        }
        show(&version, until, 1);
        versions.insert(from, version);
        self.held += 1;
        self.bytes += size;
        self.changed.insert((key, from));
    }

    fn delta(&self, changes: &[Change]) -> Result<Vec<Delta>> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let mut columns = self.codec.columns(changes.iter().map(|(row, ..)| row.as_ref()))?;
        let until = TimestampMicrosecondArray::from_iter_values(changes.iter().map(|(_, until, _)| *until));
        columns.push(Arc::new(until.with_timezone("+00:00")));
        let batch = record_batch(&self.schema, columns, changes.len())?;
        Ok(vec![Delta::weighted(batch, changes.iter().map(|(.., weight)| *weight).collect())])
    }

    /// Lets versions go that ended before. What joins them lets them go by itself.
    pub(crate) fn expire(&mut self, watermark: i64) {
        self.watermark = self.watermark.max(watermark);
        let open = self.ends.split_off(&watermark.saturating_add(1));
        let keys: HashSet<Bytes> = std::mem::replace(&mut self.ends, open).into_values().flatten().collect();
        for key in keys {
            let Some(versions) = self.versions.get_mut(&key) else { continue };
            let Some((first, newest)) = versions.range(..=watermark).next_back() else { continue };
            // An end at the beginning ends nothing.
            let first = if newest.is_end { first.saturating_add(1) } else { *first };
            let kept = versions.split_off(&first);
            for (from, version) in std::mem::replace(versions, kept) {
                self.held -= 1;
                self.bytes = self.bytes.saturating_sub(version.row.len() + 64);
                self.changed.remove(&(key.clone(), from));
            }
            if versions.is_empty() {
                self.versions.remove(&key);
            }
        }
    }

    pub(crate) fn size(&self) -> (usize, usize) {
        (self.held, self.bytes + self.versions.capacity() * 64)
    }

    pub(crate) fn forget_changes(&mut self) {
        self.changed.clear();
    }

    /// All versions, or those that came since the last call. What the watermark lets go it lets go again.
    pub(crate) fn saved(&mut self, all: bool) -> Result<Vec<RecordBatch>> {
        let changed = std::mem::take(&mut self.changed);
        let rows: Vec<(&[u8], i64)> = match all {
            true => self.versions.values().flat_map(BTreeMap::values).map(Version::saved).collect(),
            false => {
                changed.iter().filter_map(|(key, from)| self.versions.get(key)?.get(from)).map(Version::saved).collect()
            }
        };
        rows.chunks(65_536).map(|rows| weighted(&self.codec, rows)).collect()
    }

    pub(crate) fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        let (columns, weights) = apart(batch)?;
        for (at, (key, from, row)) in self.placed(columns, batch.num_rows())?.into_iter().enumerate() {
            self.put(key, from, Version { row, is_end: weights.value(at) < 0 }, &mut Vec::new());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::Int64Array,
        datatypes::{DataType, Field, Int64Type, TimeUnit},
    };

    use super::*;

    fn time() -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
    }

    fn versions() -> VersionsOp {
        let fields = vec![
            Field::new("k", DataType::Int64, false),
            Field::new("at", time(), false),
            Field::new("__valid_from", time(), false),
            Field::new("__valid_until", time(), false),
        ];
        VersionsOp::new(&Arc::new(Schema::new(fields)), &[0], Some(1)).expect("an operator")
    }

    fn rows(rows: &[(i64, i64)]) -> Delta {
        let schema =
            Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false), Field::new("at", time(), false)]));
        let keys: Int64Array = rows.iter().map(|(key, _)| *key).collect();
        let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|(_, at)| *at));
        let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(times.with_timezone("+00:00"))];
        Delta::came(RecordBatch::try_new(schema, columns).expect("two columns"))
    }

    /// Key, from, until and weight of each.
    fn told(op: &mut VersionsOp, input: &[(i64, i64)]) -> Vec<(i64, i64, i64, i64)> {
        shown(&op.apply(std::iter::once(&rows(input))).expect("versions"))
    }

    fn shown(deltas: &[Delta]) -> Vec<(i64, i64, i64, i64)> {
        let mut all = Vec::new();
        for delta in deltas {
            let keys = delta.batch.column(0).as_primitive::<Int64Type>().clone();
            let at =
                |column: usize, row| delta.batch.column(column).as_primitive::<TimestampMicrosecondType>().value(row);
            all.extend((0..delta.rows()).map(|row| (keys.value(row), at(2, row), at(3, row), delta.weight(row))));
        }
        all
    }

    #[test]
    fn a_version_ends_where_the_next_one_begins_in_whatever_order_they_come() {
        let mut op = versions();
        assert_eq!(told(&mut op, &[(1, 10)]), [(1, 10, i64::MAX, 1)]);
        let came = [(1, 10, i64::MAX, -1), (1, 10, 30, 1), (1, 30, i64::MAX, 1)];
        assert_eq!(told(&mut op, &[(1, 30)]), came);
        assert_eq!(told(&mut op, &[(1, 20)]), [(1, 10, 30, -1), (1, 10, 20, 1), (1, 20, 30, 1)]);
        assert_eq!(told(&mut op, &[(1, 20), (2, 5)]), [(2, 5, i64::MAX, 1)], "the same row again changes nothing");
    }

    fn ended(op: &mut VersionsOp, key: i64, at: i64) -> Vec<(i64, i64, i64, i64)> {
        let delta = rows(&[(key, at)]);
        shown(&op.apply(std::iter::once(&Delta::weighted(delta.batch, vec![-1]))).expect("versions"))
    }

    #[test]
    fn a_delete_ends_the_newest_version_and_nothing_else() {
        let mut op = versions();
        told(&mut op, &[(1, 10)]);
        assert_eq!(ended(&mut op, 1, 20), [(1, 10, i64::MAX, -1), (1, 10, 20, 1)]);
        assert_eq!(ended(&mut op, 1, 25), [], "the same delete, without a time of its own");
        assert_eq!(ended(&mut op, 2, 25), [], "there is nothing of this key");
        assert_eq!(told(&mut op, &[(1, 22)]), [(1, 22, i64::MAX, 1)], "it came again before the second delete");
        // The clock of the database is behind that of the application that wrote the row.
        assert_eq!(ended(&mut op, 1, 21), [(1, 22, i64::MAX, -1)]);
    }

    #[test]
    fn ends_are_saved_and_go_with_what_they_end() {
        let mut op = versions();
        told(&mut op, &[(1, 10), (2, 10), (3, 10)]);
        let mut saved = op.saved(true).expect("batches");
        ended(&mut op, 1, 20);
        told(&mut op, &[(1, 30)]);
        ended(&mut op, 2, 20);
        saved.extend(op.saved(false).expect("batches"));
        let mut again = versions();
        saved.iter().for_each(|batch| again.restore(batch).expect("restores"));
        for mut op in [op, again] {
            assert_eq!(told(&mut op, &[(2, 40)]), [(2, 40, i64::MAX, 1)]);
            assert_eq!(ended(&mut op, 2, 50), [(2, 40, i64::MAX, -1), (2, 40, 50, 1)]);
            assert_eq!(told(&mut op, &[(1, 15)]), [(1, 10, 20, -1), (1, 10, 15, 1), (1, 15, 20, 1)]);
            op.expire(25);
            assert_eq!(op.size().0, 4, "from 30; from 40 and its end; from 10");
            op.expire(60);
            assert_eq!(op.size().0, 2, "nothing is kept of a row that is gone");
            assert!(op.saved(true).expect("batches").iter().map(RecordBatch::num_rows).eq([2]));
        }
    }

    #[test]
    fn the_newest_below_the_watermark_stays_also_behind_a_restart() {
        let mut op = versions();
        told(&mut op, &[(1, 10), (1, 20)]);
        let base = op.saved(true).expect("batches");
        told(&mut op, &[(1, 30), (1, 40)]);
        let delta = op.saved(false).expect("batches");
        let mut again = versions();
        base.iter().chain(&delta).for_each(|batch| again.restore(batch).expect("restores"));
        for mut op in [op, again] {
            op.expire(35);
            assert_eq!(op.size().0, 2, "those from 30 and from 40");
            assert_eq!(told(&mut op, &[(1, 15)]), [], "it would have ended before the watermark");
            assert_eq!(told(&mut op, &[(1, 33)]), [(1, 30, 40, -1), (1, 30, 33, 1), (1, 33, 40, 1)]);
            op.expire(40);
            assert_eq!(op.size().0, 1);
        }
    }
}
