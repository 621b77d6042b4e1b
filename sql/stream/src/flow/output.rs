//! The rows of the view that a flow gives: finding the row that goes.
//!
//! | the rows of the flow | the index has |
//! |---|---|
//! | only come | nothing |
//! | have a key | of each key its row |
//! | any | of each row, by its bytes, where it stands |
//!
//! Of a key whose time the watermark has passed the index has nothing more to know: its row does not change.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::{concat_batches, interleave_record_batch},
    datatypes::{Schema, SchemaRef, TimestampMicrosecondType},
};
use ebap_sql::Flow;
use hashbrown::{HashMap, HashSet};

use super::{
    arrangement::{unweighted, weighted, wrong},
    delta::{Bytes, Codec, Delta, consolidated, delta_of},
    saved::Part,
    slots::{Ends, Slots},
};
use crate::{
    Result,
    rows::record_batch,
    view::store::{RowId, ViewStore},
};

/// Its number among the operators of a file.
pub(crate) const OUTPUT: usize = u32::MAX as usize;
/// Parts of it: rows, each as often as it is there; rows that came; keys whose row went.
const ROWS: usize = 0;
const CAME: usize = 1;
const WENT: usize = 2;
const ROW_BYTES: usize = 64;

#[derive(Debug)]
pub(crate) struct Output {
    codec: Codec,
    /// The column that says when a row leaves by `retention`.
    time: Option<usize>,
    index: Index,
}

#[derive(Debug)]
enum Index {
    None(Came),
    Keys(Box<Keyed>),
    Rows { rows: HashMap<Bytes, Vec<RowId>>, bytes: usize, changed: HashSet<Bytes> },
}

/// Rows that came since it was last written down.
#[derive(Debug, Default)]
struct Came(Vec<RecordBatch>);

#[derive(Debug)]
struct Keyed {
    columns: Vec<usize>,
    keys: Codec,
    slots: Slots,
    rows: Vec<Row>,
    /// A row's time does not change any more once the watermark is this far past it.
    slack_us: Option<i64>,
    ends: Ends,
    changed: Vec<u32>,
    /// Rows of keys that the index has let go, and that have not been written down.
    closed: Vec<RowId>,
    /// Keys that went since.
    went: Vec<Bytes>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    id: RowId,
    time: i64,
    changed: bool,
}

/// What came and what went.
pub(crate) struct Changes {
    pub(crate) gone: RecordBatch,
    pub(crate) came: RecordBatch,
}

impl Output {
    pub(crate) fn new(flow: &Flow, schema: &SchemaRef) -> Result<Self> {
        let times = flow.times();
        let time = times.iter().position(|time| time.slack_us().is_some());
        let index = match flow.key() {
            _ if flow.append_only() => Index::None(Came::default()),
            Some(columns) => {
                let keys: SchemaRef = Arc::new(Schema::new(schema.project(&columns)?.fields().to_vec()));
                Index::Keys(Box::new(Keyed {
                    columns,
                    keys: Codec::new(&keys)?,
                    slots: Slots::default(),
                    rows: Vec::new(),
                    slack_us: time.and_then(|at| times[at].slack_us()),
                    ends: Ends::of_windows(),
                    changed: Vec::new(),
                    closed: Vec::new(),
                    went: Vec::new(),
                }))
            }
            None => Index::Rows { rows: HashMap::new(), bytes: 0, changed: HashSet::new() },
        };
        Ok(Self { codec: Codec::new(schema)?, time, index })
    }

    /// Brings the rows up to date, in one act.
    /// `wanted`: the rows that went are given.
    pub(crate) fn apply(&mut self, deltas: &[Delta], store: &ViewStore, wanted: bool) -> Result<Option<Changes>> {
        if deltas.iter().all(|delta| delta.rows() == 0) {
            return Ok(None);
        }
        let times = |batch: &RecordBatch| times(self.time, batch);
        match &mut self.index {
            Index::None(came) => {
                let batch = repeated(deltas, self.codec.schema())?;
                store.apply(&[], batch.clone(), times(&batch))?;
                came.0.push(batch.clone());
                Ok(Some(Changes { gone: RecordBatch::new_empty(batch.schema()), came: batch }))
            }
            Index::Keys(keyed) => keyed.apply(deltas, &self.codec, store, times, wanted),
            Index::Rows { rows, bytes, changed } => {
                let changes = consolidated(&self.codec, deltas)?;
                if changes.is_empty() {
                    return Ok(None);
                }
                let (mut gone, mut gone_rows, mut came): (Vec<RowId>, Vec<&Bytes>, Vec<&Bytes>) = Default::default();
                for (row, weight) in &changes {
                    changed.insert(row.clone());
                    if *weight > 0 {
                        came.extend(std::iter::repeat_n(row, usize::try_from(*weight).unwrap_or(0)));
                        continue;
                    }
                    let Some(ids) = rows.get_mut(row) else { continue };
                    for _ in 0..weight.unsigned_abs() {
                        if let Some(id) = ids.pop() {
                            gone.push(id);
                            gone_rows.push(row);
                        }
                    }
                    if ids.is_empty() {
                        rows.remove(row);
                        *bytes = bytes.saturating_sub(row.len() + ROW_BYTES);
                    }
                }
                let batch = batch_of(&self.codec, &came)?;
                let ids = store.apply(&gone, batch.clone(), times(&batch))?;
                for (row, id) in came.into_iter().zip(ids) {
                    let of = rows.entry_ref(row.as_ref()).or_insert_with(Vec::new);
                    if of.is_empty() {
                        *bytes += row.len() + ROW_BYTES;
                    }
                    of.push(id);
                }
                let gone = if wanted { gone_rows } else { Vec::new() };
                Ok(Some(Changes { gone: batch_of(&self.codec, &gone)?, came: batch }))
            }
        }
    }

    /// Takes away rows that are at or before this time.
    pub(crate) fn expire(&mut self, before: i64, store: &ViewStore) -> Result<Option<RecordBatch>> {
        let Some(gone) = store.expire(before, true)? else { return Ok(None) };
        match &mut self.index {
            Index::None(_) => {}
            Index::Keys(keyed) => keyed.forget(&gone)?,
            Index::Rows { rows, bytes, changed } => {
                for row in self.codec.encode(gone.columns(), gone.num_rows())? {
                    if rows.remove(&row).is_some() {
                        *bytes = bytes.saturating_sub(row.len() + ROW_BYTES);
                    }
                    changed.insert(row);
                }
            }
        }
        Ok(Some(gone))
    }

    /// Rows that nothing changes any more at this watermark need not be found.
    pub(crate) fn close(&mut self, watermark: i64) {
        if let Index::Keys(keyed) = &mut self.index {
            keyed.close(watermark);
        }
    }

    /// Bytes held, about, beside the rows themselves.
    pub(crate) fn size(&self) -> usize {
        match &self.index {
            // Its batches are those of the store.
            Index::None(_) => 0,
            Index::Keys(keyed) => keyed.slots.size() + keyed.rows.capacity() * size_of::<Row>(),
            Index::Rows { bytes, .. } => *bytes,
        }
    }

    pub(crate) fn forget_changes(&mut self) {
        match &mut self.index {
            Index::None(came) => came.0.clear(),
            Index::Keys(keyed) => {
                std::mem::take(&mut keyed.changed).into_iter().for_each(|at| keyed.rows[at as usize].changed = false);
                keyed.closed.clear();
                keyed.went.clear();
            }
            Index::Rows { changed, .. } => changed.clear(),
        }
    }

    pub(crate) fn saved(&mut self, all: bool, store: &ViewStore, into: &mut Vec<Part>) -> Result<()> {
        let mut put = |part, batch: RecordBatch| {
            if batch.num_rows() > 0 {
                into.push(Part { operator: OUTPUT, part, batch });
            }
        };
        match &mut self.index {
            Index::None(came) => {
                let came = std::mem::take(&mut came.0);
                let came = if all { store.snapshot()? } else { came };
                came.into_iter().for_each(|batch| put(CAME, batch));
            }
            Index::Keys(keyed) => {
                let (went, ids) = keyed.take_changes();
                if all {
                    store.snapshot()?.into_iter().for_each(|batch| put(CAME, batch));
                    return Ok(());
                }
                // Before those that came: a key may have come again.
                put(WENT, keyed.keys.batch(went.iter().map(AsRef::as_ref))?);
                for ids in ids.chunks(65_536) {
                    put(CAME, store.gather(ids)?);
                }
            }
            Index::Rows { rows, changed, .. } => {
                let changed = std::mem::take(changed);
                let count = |row: &Bytes| rows.get(row).map_or(0, Vec::len) as i64;
                let rows: Vec<(&[u8], i64)> = match all {
                    true => rows.iter().map(|(row, ids)| (row.as_ref(), ids.len() as i64)).collect(),
                    false => changed.iter().map(|row| (row.as_ref(), count(row))).collect(),
                };
                for rows in rows.chunks(65_536) {
                    put(ROWS, weighted(&self.codec, rows)?);
                }
            }
        }
        Ok(())
    }

    /// Takes rows back.
    pub(crate) fn restore(&mut self, part: &Part, store: &ViewStore) -> Result<()> {
        let times = |batch: &RecordBatch| times(self.time, batch);
        match (&mut self.index, part.part) {
            (Index::None(_), CAME) => {
                let batch = record_batch(self.codec.schema(), part.batch.columns().to_vec(), part.batch.num_rows())?;
                store.apply(&[], batch.clone(), times(&batch))?;
            }
            (Index::Keys(keyed), CAME) => {
                let batch = record_batch(self.codec.schema(), part.batch.columns().to_vec(), part.batch.num_rows())?;
                keyed.put(batch, store, times)?;
            }
            (Index::Keys(keyed), WENT) => {
                let gone: Vec<RowId> = keyed
                    .keys
                    .encode(part.batch.columns(), part.batch.num_rows())?
                    .iter()
                    .filter_map(|key| keyed.slots.find(key))
                    .collect::<Vec<u32>>()
                    .into_iter()
                    .map(|slot| keyed.remove(slot))
                    .collect();
                store.apply(&gone, RecordBatch::new_empty(Arc::clone(self.codec.schema())), Vec::new())?;
            }
            (Index::Rows { rows: known, .. }, ROWS) => {
                // Each as often as the batch says.
                let (batch, weights) = unweighted(&self.codec, &part.batch)?;
                let rows = self.codec.encode(batch.columns(), batch.num_rows())?;
                let by = |(at, row): (usize, &Bytes)| weights.value(at) - known.get(row).map_or(0, Vec::len) as i64;
                let by: Vec<i64> = rows.iter().enumerate().map(by).collect();
                self.apply(&[Delta::weighted(batch, by)], store, false)?;
            }
            _ => return Err(wrong()),
        }
        self.forget_changes();
        Ok(())
    }
}

impl Keyed {
    fn apply(
        &mut self,
        deltas: &[Delta],
        codec: &Codec,
        store: &ViewStore,
        times: impl Fn(&RecordBatch) -> Vec<i64>,
        wanted: bool,
    ) -> Result<Option<Changes>> {
        // Of each key how many rows came, the last of them, and whether the one that was there went.
        let mut touched: Vec<Touched> = Vec::new();
        let mut at_slot: HashMap<u32, usize> = HashMap::new();
        let mut is_plain = true;
        for (at, delta) in deltas.iter().enumerate() {
            let columns: Vec<ArrayRef> = self.columns.iter().map(|at| Arc::clone(delta.batch.column(*at))).collect();
            let Self { keys, slots, rows, .. } = &mut *self;
            keys.each(&columns, delta.rows(), |row, key| {
                let weight = delta.weight(row);
                if weight == 0 {
                    return Ok(());
                }
                let (slot, is_new) = slots.take(key);
                if is_new {
                    set(rows, slot, Row { id: RowId::NONE, time: i64::MAX, changed: false });
                }
                let of = *at_slot.entry(slot).or_insert_with(|| {
                    touched.push(Touched { slot, came: None, more: 0 });
                    touched.len() - 1
                });
                let of = &mut touched[of];
                of.more += weight;
                if weight > 0 {
                    is_plain &= of.came.is_none() && weight == 1;
                    of.came = Some((at, row));
                }
                Ok(())
            })?;
        }
        if !is_plain {
            // More than one came of a key: which of them stays is known once they have been set off against each other.
            let single = delta_of(codec, &consolidated(codec, deltas)?)?;
            for slot in touched.iter().map(|of| of.slot).filter(|slot| self.rows[*slot as usize].id == RowId::NONE) {
                self.slots.remove(slot);
            }
            let Some(single) = single else { return Ok(None) };
            if deltas.len() == 1 && deltas[0].rows() == single.rows() {
                return Err(crate::Error::Internal("two rows of a view have one key".to_owned()));
            }
            return self.apply(&[single], codec, store, times, wanted);
        }
        let (mut gone, mut came, mut slots): (Vec<RowId>, Vec<(usize, usize)>, Vec<u32>) = Default::default();
        for Touched { slot, came: new, more } in touched {
            let row = &mut self.rows[slot as usize];
            let was = usize::from(row.id != RowId::NONE);
            // A row that goes before the index has it can only be one that has been closed.
            let stays = was as i64 + more > 0;
            match (was, new.filter(|_| stays)) {
                (0, None) => {
                    self.slots.remove(slot);
                }
                (_, Some(new)) => {
                    if was == 1 {
                        gone.push(row.id);
                    }
                    came.push(new);
                    slots.push(slot);
                }
                (_, None) if !stays => {
                    gone.push(row.id);
                    row.id = RowId::NONE;
                    row.changed = false;
                    self.went.extend(self.slots.remove(slot));
                }
                (_, None) => {}
            }
        }
        if gone.is_empty() && came.is_empty() {
            return Ok(None);
        }
        let all: Vec<&RecordBatch> = deltas.iter().map(|delta| &delta.batch).collect();
        let batch = match came.is_empty() {
            true => RecordBatch::new_empty(Arc::clone(codec.schema())),
            false => {
                let batch = interleave_record_batch(&all, &came)?;
                let rows = batch.num_rows();
                record_batch(codec.schema(), batch.columns().to_vec(), rows)?
            }
        };
        let went = store.gather(if wanted { &gone } else { &[] })?;
        let times = times(&batch);
        let ids = store.apply(&gone, batch.clone(), times.clone())?;
        for ((slot, id), time) in slots.into_iter().zip(ids).zip(times) {
            self.stands(slot, id, time);
        }
        Ok(Some(Changes { gone: went, came: batch }))
    }

    /// Rows as they are written down: each takes the one of its key away.
    fn put(&mut self, batch: RecordBatch, store: &ViewStore, times: impl Fn(&RecordBatch) -> Vec<i64>) -> Result<()> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|at| Arc::clone(batch.column(*at))).collect();
        let (mut gone, mut slots) = (Vec::new(), Vec::with_capacity(batch.num_rows()));
        for key in self.keys.encode(&columns, batch.num_rows())? {
            let (slot, is_new) = self.slots.take(&key);
            if is_new {
                set(&mut self.rows, slot, Row { id: RowId::NONE, time: i64::MAX, changed: false });
            } else {
                gone.push(self.rows[slot as usize].id);
            }
            slots.push(slot);
        }
        let times = times(&batch);
        let ids = store.apply(&gone, batch, times.clone())?;
        for ((slot, id), time) in slots.into_iter().zip(ids).zip(times) {
            self.stands(slot, id, time);
        }
        Ok(())
    }

    fn stands(&mut self, slot: u32, id: RowId, time: i64) {
        let row = &mut self.rows[slot as usize];
        if !std::mem::replace(&mut row.changed, true) {
            self.changed.push(slot);
        }
        if let Some(slack_us) = self.slack_us
            && row.time != time
        {
            self.ends.push(time.saturating_add(slack_us), slot);
        }
        (row.id, row.time) = (id, time);
    }

    fn remove(&mut self, slot: u32) -> RowId {
        let row = &mut self.rows[slot as usize];
        row.changed = false;
        let id = std::mem::replace(&mut row.id, RowId::NONE);
        self.slots.remove(slot);
        id
    }

    fn close(&mut self, watermark: i64) {
        let Some(slack_us) = self.slack_us else { return };
        let (slots, rows) = (&self.slots, &self.rows);
        let end_of = |slot: u32| slots.holds(slot).then(|| rows[slot as usize].time.saturating_add(slack_us));
        for slot in self.ends.due(watermark.saturating_sub(1), end_of) {
            let is_unwritten = self.rows[slot as usize].changed;
            let id = self.remove(slot);
            self.closed.extend(is_unwritten.then_some(id));
        }
    }

    /// Rows that are no longer there, by `retention`.
    fn forget(&mut self, gone: &RecordBatch) -> Result<()> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|at| Arc::clone(gone.column(*at))).collect();
        for key in self.keys.encode(&columns, gone.num_rows())? {
            if let Some(slot) = self.slots.find(&key) {
                self.remove(slot);
            }
        }
        Ok(())
    }

    /// Keys whose row went, and rows that came, since the last call.
    fn take_changes(&mut self) -> (Vec<Bytes>, Vec<RowId>) {
        let mut ids = std::mem::take(&mut self.closed);
        for slot in std::mem::take(&mut self.changed) {
            let row = &mut self.rows[slot as usize];
            // One that went, and whose number another has now, stands there twice.
            if std::mem::replace(&mut row.changed, false) {
                ids.push(row.id);
            }
        }
        (std::mem::take(&mut self.went), ids)
    }
}

struct Touched {
    slot: u32,
    /// Delta and row of what came.
    came: Option<(usize, usize)>,
    more: i64,
}

fn set(rows: &mut Vec<Row>, slot: u32, row: Row) {
    match rows.get_mut(slot as usize) {
        Some(place) => *place = row,
        None => rows.push(row),
    }
}

fn times(column: Option<usize>, batch: &RecordBatch) -> Vec<i64> {
    let column = column.and_then(|at| batch.column(at).as_primitive_opt::<TimestampMicrosecondType>());
    let time = |row: usize| match column {
        Some(times) if times.is_valid(row) => times.value(row),
        _ => i64::MAX,
    };
    (0..batch.num_rows()).map(time).collect()
}

fn batch_of(codec: &Codec, rows: &[&Bytes]) -> Result<RecordBatch> {
    match rows.is_empty() {
        true => Ok(RecordBatch::new_empty(Arc::clone(codec.schema()))),
        false => codec.batch(rows.iter().map(|row| row.as_ref())),
    }
}

/// All rows that came, each as often as it did, in one batch.
fn repeated(deltas: &[Delta], schema: &SchemaRef) -> Result<RecordBatch> {
    let mut batches = Vec::with_capacity(deltas.len());
    for delta in deltas {
        let delta = match &delta.weights {
            None => delta.clone(),
            Some(weights) => {
                let each = weights.iter().enumerate();
                let often = |(row, weight): (usize, &i64)| {
                    std::iter::repeat_n(row as u32, usize::try_from(*weight).unwrap_or(0))
                };
                delta.take(&each.flat_map(often).collect::<Vec<u32>>().into())?
            }
        };
        batches.push(record_batch(schema, delta.batch.columns().to_vec(), delta.rows())?);
    }
    match batches.as_slice() {
        [one] => Ok(one.clone()),
        many => Ok(concat_batches(schema, many)?),
    }
}
