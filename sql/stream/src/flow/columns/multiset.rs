//! How often each value is there: for what cannot be subtracted from.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, new_null_array},
    datatypes::{DataType, Field, Int64Type, Schema},
};
use datafusion::{common::ScalarValue, physical_expr::aggregate::AggregateFunctionExpr};

use super::{
    super::{
        arrangement::{WEIGHT, wrong},
        delta::{Bytes, Codec},
    },
    extreme::{Best, found},
    input::Input,
};
use crate::{Result, rows::record_batch};

/// Beside the bytes of a value: its place in the tree and its number.
const VALUE_BYTES: usize = 56;

/// How many times which value is there.
pub(super) type Values = BTreeMap<Bytes, i64>;

/// What is made of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Best(Best),
    Distinct,
    /// DataFusion's own accumulator is run over them.
    Rerun,
}

#[derive(Debug)]
pub(super) struct Multiset {
    pub(super) codec: Codec,
    of: DataType,
    aggregate: Arc<AggregateFunctionExpr>,
    pub(super) values: Vec<Values>,
    pub(super) what: Use,
    changed: Vec<Vec<Bytes>>,
    bytes: usize,
}

impl Multiset {
    pub(super) fn new(aggregate: &Arc<AggregateFunctionExpr>, codec: Codec, what: Use) -> Self {
        let of = aggregate.field().data_type().clone();
        Self { codec, of, aggregate: Arc::clone(aggregate), values: Vec::new(), what, changed: Vec::new(), bytes: 0 }
    }

    pub(super) fn empty(&self) -> Self {
        Self::new(&self.aggregate, self.codec.clone(), self.what)
    }

    pub(super) fn resize(&mut self, groups: usize) {
        self.values.resize(groups, Values::new());
        self.changed.resize(groups, Vec::new());
    }

    pub(super) fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let skips_null = self.what != Use::Rerun;
        let Self { codec, values, changed, bytes: held, .. } = self;
        codec.each(input.args, input.rows(), |row, bytes| {
            if let Some(group) = input.group_of(row).filter(|_| !(skips_null && input.args[0].is_null(row))) {
                changed[group].push(Bytes::from(bytes));
                change(&mut values[group], bytes, input.delta.weight(row), held);
            }
            Ok(())
        })
    }

    pub(super) fn absorb(&mut self, other: &Self, from: usize, to: usize) {
        for (value, weight) in &other.values[from] {
            self.changed[to].push(value.clone());
            change(&mut self.values[to], value, *weight, &mut self.bytes);
        }
    }

    pub(super) fn merge(&mut self, from: usize, to: usize) {
        for (value, weight) in std::mem::take(&mut self.values[from]) {
            self.bytes = self.bytes.saturating_sub(value.len() + VALUE_BYTES);
            change(&mut self.values[to], &value, weight, &mut self.bytes);
            self.changed[to].push(value);
        }
    }

    pub(super) fn clear(&mut self, group: usize) {
        for value in std::mem::take(&mut self.values[group]).into_keys() {
            self.bytes = self.bytes.saturating_sub(value.len() + VALUE_BYTES);
        }
        self.changed[group].clear();
    }

    pub(super) fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let each = || groups.iter().map(|group| &self.values[*group as usize]);
        match self.what {
            Use::Best(best) => {
                let best: Vec<Option<&[u8]>> = each().map(|values| first(values, best)).collect();
                found(&self.codec, &self.of, &best)
            }
            Use::Distinct => Ok(Arc::new(each().map(|values| values.len() as i64).collect::<Int64Array>())),
            Use::Rerun => {
                let scalars: Vec<ScalarValue> = each().map(|values| self.rerun(values)).collect::<Result<_>>()?;
                Ok(if scalars.is_empty() { new_null_array(&self.of, 0) } else { ScalarValue::iter_to_array(scalars)? })
            }
        }
    }

    fn rerun(&self, values: &Values) -> Result<ScalarValue> {
        let mut accumulator = self.aggregate.create_accumulator()?;
        let repeated: Vec<&[u8]> = values
            .iter()
            .flat_map(|(value, count)| std::iter::repeat_n(value.as_ref(), usize::try_from(*count).unwrap_or(0)))
            .collect();
        if !repeated.is_empty() {
            accumulator.update_batch(&self.codec.columns(repeated.into_iter())?)?;
        }
        Ok(accumulator.evaluate()?)
    }

    pub(super) fn size(&self) -> usize {
        self.values.capacity() * 48 + self.bytes
    }

    /// Which group, the value, how often. All of these groups, or what changed in them since the last call.
    pub(super) fn saved(&mut self, groups: &[u32], all: bool) -> Result<(Vec<u32>, RecordBatch)> {
        let (mut of, mut rows): (Vec<u32>, Vec<(Bytes, i64)>) = (Vec::new(), Vec::new());
        for group in groups {
            let values = &self.values[*group as usize];
            let mut changed = std::mem::take(&mut self.changed[*group as usize]);
            if all {
                rows.extend(values.iter().map(|(value, count)| (value.clone(), *count)));
            } else {
                changed.sort_unstable();
                changed.dedup();
                rows.extend(changed.into_iter().map(|value| {
                    let count = values.get(&value).copied().unwrap_or(0);
                    (value, count)
                }));
            }
            of.resize(rows.len(), *group);
        }
        let mut columns = self.codec.columns(rows.iter().map(|(value, _)| value.as_ref()))?;
        if rows.is_empty() {
            columns = RecordBatch::new_empty(Arc::clone(self.codec.schema())).columns().to_vec();
        }
        columns.push(Arc::new(rows.iter().map(|(_, count)| *count).collect::<Int64Array>()));
        let mut fields = self.codec.schema().fields().to_vec();
        fields.push(Arc::new(Field::new(WEIGHT, DataType::Int64, false)));
        Ok((of, record_batch(&Arc::new(Schema::new(fields)), columns, rows.len())?))
    }

    /// Takes values back, each as often as it was.
    pub(super) fn restore(&mut self, groups: &[Option<u32>], columns: &[ArrayRef]) -> Result<()> {
        let (counts, args) = columns.split_last().ok_or_else(wrong)?;
        let counts = counts.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
        let Self { codec, values, bytes: held, .. } = self;
        codec.each(args, groups.len(), |row, bytes| {
            if let Some(group) = groups[row] {
                let values = &mut values[group as usize];
                let known = values.get(bytes).copied().unwrap_or(0);
                change(values, bytes, counts.value(row) - known, held);
            }
            Ok(())
        })
    }
}

fn first(values: &Values, best: Best) -> Option<&[u8]> {
    let value = match best {
        Best::Least => values.keys().next(),
        Best::Most => values.keys().next_back(),
    };
    value.map(AsRef::as_ref)
}

fn change(values: &mut Values, value: &[u8], by: i64, held: &mut usize) {
    match values.get_mut(value) {
        Some(count) => {
            *count += by;
            if *count == 0 {
                values.remove(value);
                *held = held.saturating_sub(value.len() + VALUE_BYTES);
            }
        }
        None if by == 0 => {}
        None => {
            values.insert(Bytes::from(value), by);
            *held += value.len() + VALUE_BYTES;
        }
    }
}
