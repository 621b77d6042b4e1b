//! Which values are there in which pane: distinct values of windows that share panes, each kept once for all of them.
//!
//! A value that comes into a pane is new to those windows that have the pane and no other pane with the value: those
//! that begin behind the pane before and end before the pane after. So a window's number of values is counted up and
//! down, and never made of its panes.

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch},
    datatypes::Int64Type,
};
use hashbrown::HashSet;

use super::{
    arrangement::wrong,
    delta::Codec,
    groups::identified,
    slots::{Ends, Slots},
};
use crate::Result;

const SAVED_ROWS: usize = 65_536;
/// The number of the key before the value.
const KEY_NUMBER: usize = size_of::<u32>();

#[derive(Debug)]
pub(crate) struct PaneValues {
    /// Group columns that are not the window's.
    own: Codec,
    values: Codec,
    keys: Slots,
    /// Of each key how many values it has.
    kept: Vec<u32>,
    /// Number of the key and value, as bytes.
    known: Slots,
    /// Of each value its panes in order, and how often it is there. 0: it has gone again.
    panes: Vec<Vec<(i64, i64)>>,
    /// A pane is in no window that is open once the watermark is this far past its start.
    life_us: i64,
    ends: Ends,
    changed: HashSet<(u32, i64)>,
    bytes: usize,
}

/// A value has come into a pane, or gone from it.
pub(crate) struct Turn {
    pub(crate) by: i64,
    pane: i64,
    before: Option<i64>,
    after: Option<i64>,
}

impl Turn {
    /// Whether it makes a difference to the window.
    pub(crate) fn counts_in(&self, start: i64, size_us: i64) -> bool {
        let has = |pane: i64| start <= pane && pane < start + size_us;
        has(self.pane) && !self.before.is_some_and(has) && !self.after.is_some_and(has)
    }
}

impl PaneValues {
    pub(crate) fn new(own: Codec, values: Codec, life_us: i64) -> Self {
        Self {
            own,
            values,
            keys: Slots::default(),
            kept: Vec::new(),
            known: Slots::default(),
            panes: Vec::new(),
            life_us,
            ends: Ends::of_windows(),
            changed: HashSet::new(),
            bytes: 0,
        }
    }

    /// Changes how often the value is there; says so where it had not been, or is no more.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8], pane: i64, weight: i64) -> Option<Turn> {
        let known = self.number(key, value);
        self.changed.insert((known, pane));
        let panes = &mut self.panes[known as usize];
        let at = panes.binary_search_by_key(&pane, |(pane, _)| *pane);
        let (was, at) = match at {
            Ok(at) => (panes[at].1, at),
            Err(at) => {
                panes.insert(at, (pane, 0));
                self.bytes += size_of::<(i64, i64)>();
                self.ends.push(pane.saturating_add(self.life_us), known);
                (0, at)
            }
        };
        panes[at].1 += weight;
        let now = panes[at].1;
        let there = |(_, count): &&(i64, i64)| *count > 0;
        let before = panes[..at].iter().rev().find(there).map(|(pane, _)| *pane);
        let after = panes[at + 1..].iter().find(there).map(|(pane, _)| *pane);
        match (was > 0, now > 0) {
            (false, true) => Some(Turn { by: 1, pane, before, after }),
            (true, false) => Some(Turn { by: -1, pane, before, after }),
            _ => None,
        }
    }

    fn number(&mut self, key: &[u8], value: &[u8]) -> u32 {
        let (key, _) = self.keys.take(key);
        if key as usize >= self.kept.len() {
            self.kept.push(0);
        }
        let mut bytes = Vec::with_capacity(KEY_NUMBER + value.len());
        bytes.extend_from_slice(&key.to_be_bytes());
        bytes.extend_from_slice(value);
        let (known, is_new) = self.known.take(&bytes);
        if is_new {
            self.kept[key as usize] += 1;
            if known as usize >= self.panes.len() {
                self.panes.push(Vec::new());
            }
        }
        known
    }

    /// Lets go the panes that are in no open window: they go again after a restart.
    pub(crate) fn expire(&mut self, watermark: i64) {
        let last = watermark.saturating_sub(self.life_us);
        let (known, panes, life_us) = (&self.known, &self.panes, self.life_us);
        let end_of = |number: u32| {
            let first = panes[number as usize].first().filter(|_| known.holds(number))?;
            Some(first.0.saturating_add(life_us))
        };
        for number in self.ends.due(watermark, end_of) {
            let panes = &mut self.panes[number as usize];
            let gone = panes.partition_point(|(pane, _)| *pane <= last);
            panes.drain(..gone);
            self.bytes = self.bytes.saturating_sub(gone * size_of::<(i64, i64)>());
            match panes.first() {
                Some((pane, _)) => self.ends.push(pane.saturating_add(self.life_us), number),
                None => self.forget(number),
            }
        }
    }

    fn forget(&mut self, number: u32) {
        self.panes[number as usize] = Vec::new();
        let Some(bytes) = self.known.remove(number) else { return };
        let key = key_number(&bytes);
        self.kept[key as usize] -= 1;
        if self.kept[key as usize] == 0 {
            self.keys.remove(key);
        }
    }

    pub(crate) fn size(&self) -> usize {
        let panes = self.panes.capacity() * size_of::<Vec<(i64, i64)>>();
        self.keys.size() + self.kept.capacity() * 4 + self.known.size() + panes + self.bytes
    }

    pub(crate) fn forget_changes(&mut self) {
        self.changed.clear();
    }

    /// Each value in each pane, with its key: all, or what changed since the last call.
    pub(crate) fn saved(&mut self, all: bool) -> Result<Vec<RecordBatch>> {
        let changed = std::mem::take(&mut self.changed);
        let mut rows: Vec<(u32, i64, i64)> = Vec::new();
        if all {
            for number in self.known.live() {
                rows.extend(self.panes[number as usize].iter().map(|(pane, count)| (number, *pane, *count)));
            }
        } else {
            for (number, pane) in changed {
                let panes = &self.panes[number as usize];
                // The watermark has let the others go.
                if let Ok(at) = panes.binary_search_by_key(&pane, |(pane, _)| *pane) {
                    rows.push((number, pane, panes[at].1));
                }
            }
        }
        rows.chunks(SAVED_ROWS)
            .map(|rows| {
                let bytes = |(number, ..): &(u32, i64, i64)| self.known.key(*number);
                let keys = self.own.columns(rows.iter().map(|row| self.keys.key(key_number(bytes(row)))))?;
                let values = self.values.columns(rows.iter().map(|row| &bytes(row)[KEY_NUMBER..]))?;
                let panes = rows.iter().map(|(_, pane, _)| *pane).collect();
                identified(keys, panes, rows.iter().map(|(_, _, count)| *count).collect(), values)
            })
            .collect()
    }

    /// Takes back what was saved, without a word to the windows: their numbers were saved too.
    pub(crate) fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        let ints = |at: usize| -> Result<&Int64Array> {
            batch.columns().get(at).and_then(|c| c.as_primitive_opt::<Int64Type>()).ok_or_else(wrong)
        };
        let (panes, counts) = (ints(0)?, ints(1)?);
        let first = 2 + self.own.schema().fields().len();
        let columns = |columns: Option<&[ArrayRef]>| columns.map(<[ArrayRef]>::to_vec).ok_or_else(wrong);
        let keys = self.own.encode(&columns(batch.columns().get(2..first))?, batch.num_rows())?;
        let values = self.values.encode(&columns(batch.columns().get(first..))?, batch.num_rows())?;
        for (row, (key, value)) in keys.iter().zip(&values).enumerate() {
            let (pane, count) = (panes.value(row), counts.value(row));
            let known = self.number(key, value);
            let of = &mut self.panes[known as usize];
            match of.binary_search_by_key(&pane, |(pane, _)| *pane) {
                Ok(at) => of[at].1 = count,
                Err(at) => {
                    of.insert(at, (pane, count));
                    self.bytes += size_of::<(i64, i64)>();
                    self.ends.push(pane.saturating_add(self.life_us), known);
                }
            }
        }
        Ok(())
    }
}

fn key_number(bytes: &[u8]) -> u32 {
    bytes.first_chunk::<KEY_NUMBER>().map_or(0, |number| u32::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn codec(columns: usize) -> Codec {
        let fields: Vec<Field> = (0..columns).map(|at| Field::new(format!("c{at}"), DataType::Utf8, true)).collect();
        Codec::new(&Arc::new(Schema::new(fields))).expect("text")
    }

    /// Windows of three panes of 10, by their starts: how many values each has.
    fn counted(turns: &[(u8, i64, i64)]) -> Vec<i64> {
        let mut values = PaneValues::new(codec(0), codec(1), 30);
        let mut counts = vec![0; 6];
        for (value, pane, weight) in turns {
            if let Some(turn) = values.add(&[], &[*value], *pane, *weight) {
                for (at, count) in counts.iter_mut().enumerate() {
                    let start = at as i64 * 10 - 20;
                    *count += if turn.counts_in(start, 30) { turn.by } else { 0 };
                }
            }
        }
        counts
    }

    #[test]
    fn a_value_counts_once_in_each_window_that_has_it() {
        assert_eq!(counted(&[(1, 0, 1)]), [1, 1, 1, 0, 0, 0]);
        assert_eq!(counted(&[(1, 0, 1), (1, 0, 2), (1, 10, 1)]), [1, 1, 1, 1, 0, 0]);
        assert_eq!(counted(&[(1, 0, 1), (1, 20, 1), (1, 10, 1)]), [1, 1, 1, 1, 1, 0]);
        assert_eq!(counted(&[(1, 0, 1), (1, 20, 1), (1, 0, -1)]), [0, 0, 1, 1, 1, 0]);
        assert_eq!(counted(&[(1, 0, 1), (2, 20, 1), (2, 20, -1)]), [1, 1, 1, 0, 0, 0]);
    }

    #[test]
    fn panes_end_with_the_last_window_that_has_them() {
        let mut values = PaneValues::new(codec(0), codec(1), 30);
        values.add(&[], &[1], 0, 1);
        values.add(&[], &[1], 10, 1);
        let bytes = values.size();
        values.expire(29);
        assert_eq!(values.size(), bytes);
        values.expire(30);
        assert_eq!(values.panes[0], [(10, 1)]);
        values.expire(40);
        assert_eq!((values.known.len(), values.keys.len(), values.bytes), (0, 0, 0));
    }
}
