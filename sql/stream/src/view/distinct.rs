//! State of `count(DISTINCT value)`: which values each group of a window has.
//!
//! A value is interned once for all windows of the view and then is a number; a window holds pairs of
//! group and number (`pairs.rs`). So a value seen before costs one look into the numbers and one into the
//! pairs of its pane, however large the value and however many sizes there are: what the pane has, every
//! larger window has too.
//!
//! # Invariants
//! - A value is in a window's set if and only if it is in the set of one of its panes, closed ones too.
//! - Numbers of values that no open window has are given back by `sweep`.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, StringArray},
    buffer::OffsetBuffer,
    datatypes::{DataType, Field},
    row::{RowConverter, SortField},
};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::{
    interner::{Hasher, Interner, Strings},
    pairs::{Pairs, pair_of, parts},
};
use crate::Result;

/// Fewer numbers than this are not worth a sweep.
const SWEEP_MIN: usize = if cfg!(test) { 512 } else { 65_536 };

/// The values of one aggregate of a view.
#[derive(Debug)]
pub(crate) struct Values {
    interner: Interner,
    form: Arc<Form>,
    /// Numbers after which a sweep pays: twice what the last one left.
    sweep_at: usize,
}

/// How values are bytes.
#[derive(Debug)]
struct Form {
    codec: Codec,
    of: DataType,
}

/// The values at a moment.
#[derive(Debug)]
pub(crate) struct FrozenValues {
    strings: Strings,
    form: Arc<Form>,
}

#[derive(Debug)]
enum Codec {
    Text,
    /// Arrow's row format: any type, equal values have equal bytes.
    Rows(RowConverter),
}

/// Pairs of a group of one window and a value.
#[derive(Debug, Default)]
pub(crate) struct DistinctColumn {
    pairs: Pairs,
    counts: Vec<i64>,
}

/// Row of a partial state, number of the value.
pub(crate) type Entry = (u32, u32);

/// The type of the values, where the aggregate is one that is kept here.
pub(crate) fn distinct_type(aggregate: &AggregateFunctionExpr) -> Option<DataType> {
    if aggregate.fun().name() != "count" || !aggregate.is_distinct() || aggregate.expressions().len() != 1 {
        return None;
    }
    let fields = aggregate.state_fields().ok()?;
    let [DataType::List(item)] = fields.iter().map(|field| field.data_type()).collect::<Vec<_>>()[..] else {
        return None;
    };
    let of = item.data_type();
    // Not floats: their NaN and zeros of either sign are DataFusion's to tell apart.
    (matches!(of, DataType::Utf8 | DataType::Boolean | DataType::Date32 | DataType::Timestamp(..))
        || of.is_integer()
        || matches!(of, DataType::Decimal128(..)))
    .then(|| of.clone())
}

impl Values {
    pub(crate) fn new(of: DataType) -> Result<Self> {
        let codec = match &of {
            DataType::Utf8 => Codec::Text,
            other => Codec::Rows(RowConverter::new(vec![SortField::new(other.clone())])?),
        };
        Ok(Self { interner: Interner::default(), form: Arc::new(Form { codec, of }), sweep_at: SWEEP_MIN })
    }

    /// Appends an entry for each value that is not NULL and that `filter` lets pass; `rows` are those of
    /// the partial state.
    pub(crate) fn intern(
        &mut self,
        hasher: &Hasher,
        values: &ArrayRef,
        filter: Option<&BooleanArray>,
        rows: &[u32],
        into: &mut Vec<Entry>,
    ) -> Result<()> {
        let passes = |at: usize| values.is_valid(at) && filter.is_none_or(|mask| mask.is_valid(at) && mask.value(at));
        let rows = (0..values.len()).filter(|at| passes(*at)).map(|at| (rows[at], at));
        let take = |row: u32, number: u32| into.push((row, number));
        match &self.form.codec {
            Codec::Text => {
                let values = values.as_string::<i32>();
                let strings = rows.map(|(row, at)| (row, values.value(at).as_bytes()));
                self.interner.intern_all(strings.map(|(row, value)| (row, hasher.hash(value), value)), take);
            }
            Codec::Rows(converter) => {
                let encoded = converter.convert_columns(&[Arc::clone(values)])?;
                let strings = rows.map(|(row, at)| (row, encoded.row(at).data()));
                self.interner.intern_all(strings.map(|(row, value)| (row, hasher.hash(value), value)), take);
            }
        }
        Ok(())
    }

    /// See [`FrozenValues::lists`].
    pub(crate) fn lists(&self, entries: &[Entry], rows: usize) -> Result<ArrayRef> {
        self.form.lists(self.interner.strings(), entries, rows)
    }

    /// A copy of what lists are made of.
    pub(crate) fn freeze(&self) -> FrozenValues {
        FrozenValues { strings: self.interner.strings().clone(), form: Arc::clone(&self.form) }
    }

    pub(crate) fn due(&self) -> bool {
        self.interner.len() >= self.sweep_at
    }

    /// Gives back the numbers that neither a column nor an entry has.
    pub(crate) fn sweep<'a>(
        &mut self,
        hasher: &Hasher,
        columns: impl Iterator<Item = &'a mut DistinctColumn>,
        entries: impl Iterator<Item = &'a mut Entry>,
    ) {
        const GONE: u32 = u32::MAX;
        let mut kept = Interner::default();
        let mut moved = vec![GONE; self.interner.len()];
        let mut renumber = |number: u32| {
            let to = &mut moved[number as usize];
            if *to == GONE {
                let value = self.interner.get(number);
                *to = kept.intern(hasher.hash(value), value);
            }
            *to
        };
        for column in columns {
            let mut pairs = Pairs::default();
            column.pairs.each(|pair| {
                let (group, number) = parts(pair);
                pairs.insert(pair_of(group, renumber(number)));
            });
            column.pairs = pairs;
        }
        entries.for_each(|entry| entry.1 = renumber(entry.1));
        self.interner = kept;
        self.sweep_at = (2 * self.interner.len()).max(SWEEP_MIN);
    }

    pub(crate) fn size(&self) -> usize {
        self.interner.size()
    }
}

impl FrozenValues {
    /// The state column of DataFusion: a list of values for each of `rows` rows.
    pub(crate) fn lists(&self, entries: &[Entry], rows: usize) -> Result<ArrayRef> {
        self.form.lists(&self.strings, entries, rows)
    }
}

impl Form {
    fn lists(&self, strings: &Strings, entries: &[Entry], rows: usize) -> Result<ArrayRef> {
        let mut lengths = vec![0; rows];
        for (row, _) in entries {
            lengths[*row as usize] += 1;
        }
        // Lists are filled in order: each entry goes behind those of its row and of the rows before.
        let mut next: Vec<usize> = Vec::with_capacity(rows);
        next.extend(lengths.iter().scan(0, |sum, length| Some(std::mem::replace(sum, *sum + length))));
        let mut numbers = vec![0_u32; entries.len()];
        for (row, number) in entries {
            let at = &mut next[*row as usize];
            numbers[*at] = *number;
            *at += 1;
        }
        let bytes = numbers.iter().map(|number| strings.get(*number));
        let values: ArrayRef = match &self.codec {
            Codec::Text => {
                // What was interned came out of a text column.
                let text = bytes.map(|bytes| std::str::from_utf8(bytes).unwrap_or_default());
                Arc::new(StringArray::from_iter_values(text))
            }
            Codec::Rows(converter) => {
                let parser = converter.parser();
                let mut columns = converter.convert_rows(bytes.map(|bytes| parser.parse(bytes)))?;
                columns.swap_remove(0)
            }
        };
        let item = Arc::new(Field::new_list_field(self.of.clone(), true));
        Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), values, None)?))
    }
}

impl DistinctColumn {
    pub(crate) fn resize(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
    }

    /// True where the group did not have the value.
    pub(crate) fn insert(&mut self, group: u32, number: u32) -> bool {
        let new = self.pairs.insert(pair_of(group, number));
        self.counts[group as usize] += i64::from(new);
        new
    }

    pub(crate) fn evaluate(&self, groups: &[u32]) -> ArrayRef {
        Arc::new(groups.iter().map(|group| self.counts[*group as usize]).collect::<Int64Array>())
    }

    pub(crate) fn pairs(&self) -> &Pairs {
        &self.pairs
    }

    pub(crate) fn size(&self) -> usize {
        self.pairs.size() + self.counts.capacity() * 8
    }
}

/// Entries of all groups, by group and then by the value's number.
pub(crate) fn entries_of(pairs: &Pairs) -> Vec<Entry> {
    let mut all = Vec::with_capacity(pairs.len());
    pairs.each(|pair| all.push(pair));
    all.sort_unstable();
    all.into_iter().map(parts).collect()
}
