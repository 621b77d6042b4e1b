//! The state of a view at a moment, apart from the loop that goes on changing it: what a base snapshot is
//! made of.
//!
//! To freeze copies plain memory (keys, numbers, bits), some milliseconds for a million groups. What takes long,
//! lists of values and columns of keys, is made of the copy by whoever writes it.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch},
    datatypes::SchemaRef,
    row::RowConverter,
};

use super::{
    distinct::{Entry, FrozenValues, entries_of},
    groups::keys_of,
    interner::Strings,
    pairs::Pairs,
    windows::Window,
};
use crate::{Result, rows::record_batch};

pub(crate) struct FrozenGroups {
    pub(super) schema: SchemaRef,
    pub(super) converter: Option<Arc<RowConverter>>,
    /// Of each aggregate that counts distinct values.
    pub(super) values: Vec<Option<FrozenValues>>,
    pub(super) windows: Vec<FrozenWindow>,
}

pub(super) struct FrozenWindow {
    pub(super) window: Window,
    pub(super) keys: Strings,
    pub(super) columns: Vec<FrozenColumn>,
}

pub(super) enum FrozenColumn {
    /// State columns, a row per group.
    State(Vec<ArrayRef>),
    Distinct(Pairs),
}

impl FrozenGroups {
    /// Batches of at most `rows_max` groups of one window.
    pub(crate) fn batches(&self, rows_max: usize) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        for FrozenWindow { window, keys, columns: states } in &self.windows {
            let entries: Vec<Vec<Entry>> = states.iter().map(FrozenColumn::entries).collect();
            for first in (0..keys.len()).step_by(rows_max) {
                let rows = rows_max.min(keys.len() - first);
                let groups = first as u32..(first + rows) as u32;
                let mut columns: Vec<ArrayRef> = vec![
                    Arc::new(Int64Array::from(vec![window.size as i64; rows])),
                    Arc::new(Int64Array::from(vec![window.start; rows])),
                ];
                columns.extend(keys_of(self.converter.as_deref(), groups.clone().map(|group| keys.get(group)))?);
                for ((state, entries), values) in states.iter().zip(&entries).zip(&self.values) {
                    match (state, values) {
                        (FrozenColumn::State(state), _) => {
                            columns.extend(state.iter().map(|column| column.slice(first, rows)));
                        }
                        (FrozenColumn::Distinct(_), Some(values)) => {
                            columns.push(values.lists(&part_of(entries, &groups), rows)?);
                        }
                        (FrozenColumn::Distinct(_), None) => unreachable!("a column of values has them"),
                    }
                }
                batches.push(record_batch(&self.schema, columns, rows)?);
            }
        }
        Ok(batches)
    }
}

impl FrozenColumn {
    /// Of distinct values all entries, by group.
    fn entries(&self) -> Vec<Entry> {
        match self {
            Self::State(_) => Vec::new(),
            Self::Distinct(pairs) => entries_of(pairs),
        }
    }
}

impl std::fmt::Debug for FrozenGroups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrozenGroups").field("windows", &self.windows.len()).finish_non_exhaustive()
    }
}

/// The entries of these groups, numbered from the first.
fn part_of(entries: &[Entry], groups: &std::ops::Range<u32>) -> Vec<Entry> {
    let start = entries.partition_point(|(group, _)| *group < groups.start);
    let end = entries.partition_point(|(group, _)| *group < groups.end);
    entries[start..end].iter().map(|(group, number)| (group - groups.start, *number)).collect()
}
