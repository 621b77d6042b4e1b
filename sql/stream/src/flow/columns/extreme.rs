//! `min` and `max` of rows that only come: the best value of each group.

use arrow::{
    array::{Array, ArrayRef, UInt32Array, new_null_array},
    datatypes::DataType,
};

use super::{
    super::{
        arrangement::wrong,
        delta::{Bytes, Codec},
    },
    input::Input,
};
use crate::Result;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Best {
    Least,
    Most,
}

impl Best {
    fn prefers(self, value: &[u8], known: &Bytes) -> bool {
        match self {
            Self::Least => value < known.as_ref(),
            Self::Most => value > known.as_ref(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Extreme {
    best: Best,
    of: DataType,
    codec: Codec,
    values: Vec<Option<Bytes>>,
}

impl Extreme {
    pub(super) fn new(best: Best, of: DataType, codec: Codec) -> Self {
        Self { best, of, codec, values: Vec::new() }
    }

    pub(super) fn empty(&self) -> Self {
        Self::new(self.best, self.of.clone(), self.codec.clone())
    }

    pub(super) fn resize(&mut self, groups: usize) {
        self.values.resize(groups, None);
    }

    pub(super) fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let Self { best, codec, values, .. } = self;
        codec.each(input.args, input.rows(), |row, bytes| {
            if let Some(group) = input.group_of(row).filter(|_| input.args[0].is_valid(row)) {
                let value = &mut values[group];
                if value.as_ref().is_none_or(|known| best.prefers(bytes, known)) {
                    *value = Some(Bytes::from(bytes));
                }
            }
            Ok(())
        })
    }

    pub(super) fn absorb(&mut self, other: &Self, from: usize, to: usize) {
        self.take(other.values[from].clone(), to);
    }

    pub(super) fn merge(&mut self, from: usize, to: usize) {
        let moved = self.values[from].take();
        self.take(moved, to);
    }

    fn take(&mut self, value: Option<Bytes>, to: usize) {
        let known = &mut self.values[to];
        if let Some(value) = value
            && known.as_ref().is_none_or(|known| self.best.prefers(&value, known))
        {
            *known = Some(value);
        }
    }

    pub(super) fn clear(&mut self, group: usize) {
        self.values[group] = None;
    }

    pub(super) fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let values = groups.iter().map(|group| self.values[*group as usize].as_deref());
        found(&self.codec, &self.of, &values.collect::<Vec<_>>())
    }

    pub(super) fn size(&self) -> usize {
        self.values.capacity() * 48
    }

    pub(super) fn restore(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let [column] = columns else { return Err(wrong()) };
        let values = &mut self.values;
        self.codec.each(columns, groups.len(), |row, bytes| {
            values[groups[row] as usize] = column.is_valid(row).then(|| Bytes::from(bytes));
            Ok(())
        })
    }
}

/// A column of values that are there or not.
pub(super) fn found(codec: &Codec, of: &DataType, values: &[Option<&[u8]>]) -> Result<ArrayRef> {
    let present = codec.columns(values.iter().flatten().copied())?;
    let Some(present) = present.into_iter().next().filter(|array| !array.is_empty()) else {
        return Ok(new_null_array(of, values.len()));
    };
    let mut next = 0_u32;
    let mut place = || {
        next += 1;
        next - 1
    };
    let at: UInt32Array = values.iter().map(|value| value.map(|_| place())).collect();
    Ok(arrow::compute::take(&present, &at, None)?)
}
