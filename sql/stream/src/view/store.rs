//! The rows of a view, as readers see them.
//!
//! Rows live in *segments*: a batch that never changes and a bitmap of the rows that went. A step
//! adds one small segment and marks what it replaces, under a lock held for as long as the change is
//! long. A reader takes the list of segments (a few `Arc`s) and reads without any lock: it sees one
//! step as a whole, whatever happens meanwhile. Small segments are merged now and then.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{BooleanArray, RecordBatch},
    buffer::BooleanBuffer,
    compute::{concat_batches, filter_record_batch, interleave_record_batch},
    datatypes::SchemaRef,
};
use hashbrown::HashMap;
use parking_lot::RwLock;

use crate::{Error, Result, failed_rows::FailedRows};

/// A segment of fewer rows is worth merging.
const SEGMENT_ROWS: usize = 8_192;
/// Small segments kept before they are merged.
const SMALL_SEGMENTS_MAX: usize = 32;
/// Rows that nobody sees any more and that are kept in segments with others, however few those are.
const DEAD_ROWS_MAX: usize = 64;

/// Identifies a row of a view for as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RowId(u64);

impl RowId {
    /// Of no row.
    pub(crate) const NONE: Self = Self(u64::MAX);
}

#[derive(Debug)]
struct SegmentRows {
    batch: RecordBatch,
    ids: Vec<RowId>,
    /// Event time that decides when a row leaves by `retention`: the window's end, or its own.
    times: Vec<i64>,
}

#[derive(Clone, Debug)]
struct Segment {
    rows: Arc<SegmentRows>,
    dead: Arc<Vec<bool>>,
    live: usize,
    oldest: i64,
}

#[derive(Debug, Default)]
struct Inner {
    segments: BTreeMap<u64, Segment>,
    index: HashMap<RowId, (u64, u32)>,
    next_segment: u64,
    next_row: u64,
}

#[derive(Debug)]
pub(crate) struct ViewStore {
    schema: SchemaRef,
    inner: RwLock<Inner>,
    /// Why its job has failed: nobody is given rows that are not kept up to date.
    failure: RwLock<Option<Error>>,
    /// Rows that were left out of it.
    failed: RwLock<FailedRows>,
}

impl ViewStore {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self { schema, inner: RwLock::default(), failure: RwLock::default(), failed: RwLock::default() }
    }

    /// The error that whoever reads it gets from now on.
    pub(crate) fn set_failure(&self, failure: Option<Error>) {
        *self.failure.write() = failure;
    }

    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure.read().clone()
    }

    /// Rows of `view$errors` from now on.
    pub(crate) fn set_failed(&self, failed: FailedRows) {
        *self.failed.write() = failed;
    }

    pub(crate) fn failed(&self) -> FailedRows {
        self.failed.read().clone()
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn rows(&self) -> usize {
        self.inner.read().index.len()
    }

    /// Memory of the rows.
    pub(crate) fn bytes(&self) -> usize {
        let segments: Vec<Segment> = self.inner.read().segments.values().cloned().collect();
        segments.iter().map(|segment| segment.rows.batch.get_array_memory_size()).sum()
    }

    /// Takes rows away and puts rows in, in one act. Gives the ids of the new rows, in order.
    pub(crate) fn apply(&self, gone: &[RowId], came: RecordBatch, times: Vec<i64>) -> Result<Vec<RowId>> {
        let mut inner = self.inner.write();
        for id in gone {
            inner.remove(*id);
        }
        let first = inner.next_row;
        inner.next_row += came.num_rows() as u64;
        let ids: Vec<RowId> = (first..inner.next_row).map(RowId).collect();
        if came.num_rows() > 0 {
            inner.push(came, ids.clone(), times);
        }
        inner.compact(&self.schema)?;
        Ok(ids)
    }

    /// Takes away every row whose time lies at or before `before`; gives them when `wanted`.
    pub(crate) fn expire(&self, before: i64, wanted: bool) -> Result<Option<RecordBatch>> {
        let mut inner = self.inner.write();
        let mut gone = Vec::new();
        for segment in inner.segments.values().filter(|segment| segment.oldest <= before) {
            let rows = segment.rows.ids.iter().zip(&segment.rows.times).zip(segment.dead.iter());
            gone.extend(rows.filter(|((_, time), dead)| **time <= before && !**dead).map(|((id, _), _)| *id));
        }
        let rows = if wanted && !gone.is_empty() { Some(inner.gather(&self.schema, &gone)?) } else { None };
        for id in &gone {
            inner.remove(*id);
        }
        if !gone.is_empty() {
            inner.compact(&self.schema)?;
        }
        Ok(rows)
    }

    /// The rows of these ids, in their order.
    pub(crate) fn gather(&self, ids: &[RowId]) -> Result<RecordBatch> {
        self.inner.read().gather(&self.schema, ids)
    }

    /// All rows as they are now.
    pub(crate) fn snapshot(&self) -> Result<Vec<RecordBatch>> {
        let segments: Vec<Segment> = self.inner.read().segments.values().cloned().collect();
        segments.iter().map(|segment| segment.live_rows().map(|(batch, _, _)| batch)).collect()
    }

    /// All rows whose time lies at or before `until`, as they are now.
    pub(crate) fn freeze(&self, until: i64) -> FrozenRows {
        let inner = self.inner.read();
        let segments = inner.segments.values().filter(|segment| segment.oldest <= until).cloned().collect();
        FrozenRows { segments, until }
    }

    /// Exchanges the rows with those of a store that nobody reads.
    pub(crate) fn swap(&self, unseen: &Self) {
        std::mem::swap(&mut *self.inner.write(), &mut *unseen.inner.write());
    }

    pub(crate) fn clear(&self) {
        let mut inner = self.inner.write();
        let (next_segment, next_row) = (inner.next_segment, inner.next_row);
        *inner = Inner { next_segment, next_row, ..Inner::default() };
    }
}

/// Rows of a view at a moment.
#[derive(Debug)]
pub(crate) struct FrozenRows {
    segments: Vec<Segment>,
    until: i64,
}

impl FrozenRows {
    /// The rows with their times.
    pub(crate) fn rows(&self) -> Result<Vec<(RecordBatch, Vec<i64>)>> {
        let mut out = Vec::new();
        for segment in &self.segments {
            let (batch, _, times) = segment.live_rows()?;
            let mask: BooleanArray = times.iter().map(|time| Some(*time <= self.until)).collect();
            if mask.true_count() > 0 {
                let kept = times.into_iter().filter(|time| *time <= self.until).collect();
                out.push((filter_record_batch(&batch, &mask)?, kept));
            }
        }
        Ok(out)
    }
}

impl Segment {
    fn live_rows(&self) -> Result<(RecordBatch, Vec<RowId>, Vec<i64>)> {
        if self.live == self.rows.ids.len() {
            return Ok((self.rows.batch.clone(), self.rows.ids.clone(), self.rows.times.clone()));
        }
        let mask = BooleanArray::new(BooleanBuffer::collect_bool(self.dead.len(), |at| !self.dead[at]), None);
        let batch = filter_record_batch(&self.rows.batch, &mask)?;
        let alive = |at: &usize| !self.dead[*at];
        let ids = (0..self.dead.len()).filter(alive).map(|at| self.rows.ids[at]).collect();
        let times = (0..self.dead.len()).filter(alive).map(|at| self.rows.times[at]).collect();
        Ok((batch, ids, times))
    }
}

impl Inner {
    fn push(&mut self, batch: RecordBatch, ids: Vec<RowId>, times: Vec<i64>) {
        let number = self.next_segment;
        self.next_segment += 1;
        for (at, id) in ids.iter().enumerate() {
            self.index.insert(*id, (number, u32::try_from(at).expect("a segment has fewer than 2^32 rows")));
        }
        let (live, oldest) = (ids.len(), times.iter().min().copied().unwrap_or(i64::MAX));
        let dead = Arc::new(vec![false; live]);
        let rows = Arc::new(SegmentRows { batch, ids, times });
        self.segments.insert(number, Segment { rows, dead, live, oldest });
    }

    fn remove(&mut self, id: RowId) {
        let Some((number, at)) = self.index.remove(&id) else { return };
        let segment = self.segments.get_mut(&number).expect("the index points at segments that exist");
        segment.live -= 1;
        if segment.live == 0 {
            self.segments.remove(&number);
        } else {
            Arc::make_mut(&mut segment.dead)[at as usize] = true;
        }
    }

    fn gather(&self, schema: &SchemaRef, ids: &[RowId]) -> Result<RecordBatch> {
        let mut numbers: Vec<u64> = Vec::new();
        let mut places = Vec::with_capacity(ids.len());
        for id in ids {
            let Some((number, at)) = self.index.get(id) else { continue };
            let place = numbers.iter().rposition(|known| known == number).unwrap_or_else(|| {
                numbers.push(*number);
                numbers.len() - 1
            });
            places.push((place, *at as usize));
        }
        if places.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(schema)));
        }
        let batches: Vec<&RecordBatch> = numbers.iter().map(|number| &self.segments[number].rows.batch).collect();
        Ok(interleave_record_batch(&batches, &places)?)
    }

    /// Merges the small segments into one, and any that is mostly dead: where they are many, or most rows are dead.
    fn compact(&mut self, schema: &SchemaRef) -> Result<()> {
        let small = |segment: &Segment| segment.live < SEGMENT_ROWS / 2 || segment.live * 2 < segment.rows.ids.len();
        let (mut few, mut live, mut dead) = (0, 0, 0);
        for segment in self.segments.values() {
            few += usize::from(small(segment));
            live += segment.live;
            dead += segment.rows.ids.len() - segment.live;
        }
        if few <= SMALL_SEGMENTS_MAX && dead <= live.max(DEAD_ROWS_MAX) {
            return Ok(());
        }
        let numbers: Vec<u64> =
            self.segments.iter().filter(|(_, segment)| small(segment)).map(|(number, _)| *number).collect();
        let (mut batches, mut all_ids, mut all_times) = (Vec::new(), Vec::new(), Vec::new());
        for number in numbers {
            if let Some(segment) = self.segments.remove(&number) {
                let (batch, mut ids, mut times) = segment.live_rows()?;
                batches.push(batch);
                all_ids.append(&mut ids);
                all_times.append(&mut times);
            }
        }
        let merged = concat_batches(schema, &batches)?;
        self.push(merged, all_ids, all_times);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{AsArray, Int64Array},
        datatypes::{DataType, Field, Int64Type, Schema},
    };

    use super::*;

    fn batch(values: &[i64]) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, false)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(values.to_vec()))]).expect("one column")
    }

    fn values(batches: &[RecordBatch]) -> Vec<i64> {
        let mut all: Vec<i64> =
            batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_reader_sees_one_step_whole_while_the_next_is_written() {
        let store = ViewStore::new(batch(&[]).schema());
        let ids = store.apply(&[], batch(&[1, 2, 3]), vec![0; 3]).expect("insert");
        let before = store.snapshot().expect("snapshot");
        store.apply(&ids[..2], batch(&[10, 20]), vec![0; 2]).expect("update");
        assert_eq!(values(&before), [1, 2, 3]);
        assert_eq!(values(&store.snapshot().expect("snapshot")), [3, 10, 20]);
        assert_eq!(store.rows(), 3);
    }

    #[test]
    fn many_small_steps_are_merged_and_rows_keep_their_ids() {
        let store = ViewStore::new(batch(&[]).schema());
        let mut ids = Vec::new();
        for value in 0..500 {
            ids.extend(store.apply(&[], batch(&[value]), vec![value]).expect("insert"));
        }
        assert!(store.snapshot().expect("snapshot").len() <= SMALL_SEGMENTS_MAX + 1);
        assert_eq!(values(&[store.gather(&[ids[7], ids[499]]).expect("gather")]), [7, 499]);
        let gone = store.expire(489, true).expect("expire").expect("rows");
        assert_eq!(gone.num_rows(), 490);
        assert_eq!(values(&store.snapshot().expect("snapshot")), (490..500).collect::<Vec<_>>());
    }

    #[test]
    fn a_few_rows_do_not_keep_the_memory_of_many_that_are_gone() {
        let store = ViewStore::new(batch(&[]).schema());
        let values: Vec<i64> = (0..100_000).collect();
        let ids = store.apply(&[], batch(&values), values.clone()).expect("insert");
        let whole = store.bytes();
        store.apply(&ids[..60_000], batch(&[]), Vec::new()).expect("delete");
        assert!(store.bytes() * 2 < whole, "{} of {whole}", store.bytes());
        store.expire(99_998, false).expect("expire");
        assert!(store.bytes() < 1_000, "{}", store.bytes());
        assert_eq!(self::values(&store.snapshot().expect("snapshot")), [99_999]);
        assert_eq!(self::values(&[store.gather(&[ids[99_999]]).expect("gather")]), [99_999]);
    }
}
