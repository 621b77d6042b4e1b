//! The open windows of a view, and the groups of each: merging rows into them.

use std::collections::BTreeMap;

use arrow::{array::ArrayRef, row::Rows};

use super::{
    columns::{StateColumn, state_column},
    distinct::{DistinctColumn, Entry, Values},
    frozen::{FrozenColumn, FrozenWindow},
    interner::Interner,
    partial::PartialAggregate,
    store::RowId,
};
use crate::Result;

/// Ordered by end, so that what the watermark closes lies in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Window {
    pub(crate) end: i64,
    /// Index in the sizes of the view.
    pub(crate) size: usize,
    pub(crate) start: i64,
}

/// The one window of a running `GROUP BY`.
pub(super) const RUNNING: Window = Window { end: i64::MAX, size: 0, start: i64::MIN };

/// The groups of one window.
#[derive(Debug)]
pub(super) struct WindowState {
    pub(super) keys: Interner,
    pub(super) columns: Vec<Column>,
    /// The row of the view that shows the group.
    pub(super) rows: Vec<Option<RowId>>,
    /// Groups merged into since they were last asked for, and for each group whether it is among them.
    pub(super) touched: Vec<u32>,
    pub(super) is_touched: Vec<bool>,
    /// The epoch in which each group was last merged into; panes alone know it.
    epochs: Vec<u32>,
}

#[derive(Debug)]
pub(super) enum Column {
    State(Box<dyn StateColumn>),
    Distinct(DistinctColumn),
}

#[derive(Debug, Default)]
pub(super) struct Windows {
    pub(super) open: BTreeMap<Window, WindowState>,
    /// Windows with groups in `touched`.
    pub(super) touched: Vec<Window>,
}

/// The rows of a partial state that belong to one window.
pub(super) struct Placed {
    pub(super) window: Window,
    pub(super) from: Vec<u32>,
}

/// Partial rows, ready to be merged into windows.
pub(super) struct Merge {
    pub(super) keys: Keys,
    pub(super) hashes: Vec<u64>,
    pub(super) states: Vec<Vec<ArrayRef>>,
}

/// Group keys as bytes, one per row.
pub(super) enum Keys {
    None,
    Rows(Rows),
}

impl Keys {
    pub(super) fn get(&self, row: u32) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Rows(rows) => rows.row(row as usize).data(),
        }
    }
}

impl Windows {
    pub(super) fn touched_groups(&self) -> usize {
        self.touched.iter().filter_map(|window| self.open.get(window)).map(|state| state.touched.len()).sum()
    }

    /// Merges rows into windows of one size. Gives of each row its window, an index in `placed`, and its
    /// group there.
    pub(super) fn merge(
        &mut self,
        partial: &PartialAggregate,
        values: &[Option<Values>],
        placed: &[Placed],
        merge: &Merge,
    ) -> Result<Vec<(u32, u32)>> {
        let mut targets = vec![(0_u32, 0_u32); merge.hashes.len()];
        for (at, Placed { window, from }) in placed.iter().enumerate() {
            let state = match self.open.get_mut(window) {
                Some(state) => state,
                None => {
                    let new = WindowState::new(partial, values)?;
                    self.open.entry(*window).or_insert(new)
                }
            };
            if state.touched.is_empty() {
                self.touched.push(*window);
            }
            let mut to: Vec<u32> = Vec::with_capacity(from.len());
            let keys = from.iter().map(|row| ((), merge.hashes[*row as usize], merge.keys.get(*row)));
            state.keys.intern_all(keys, |(), group| to.push(group));
            let groups = state.keys.len();
            state.touch(&to);
            for (column, states) in state.columns.iter_mut().zip(&merge.states) {
                match column {
                    Column::State(column) => column.merge(states, from, &to, groups)?,
                    Column::Distinct(column) => column.resize(groups),
                }
            }
            for (row, group) in from.iter().zip(to) {
                targets[*row as usize] = (at as u32, group);
            }
        }
        Ok(targets)
    }

    /// Inserts entries by row into the sets of an aggregate; gives those that were new.
    pub(super) fn insert(
        &mut self,
        placed: &[Placed],
        targets: &[(u32, u32)],
        aggregate: usize,
        mut entries: Vec<Entry>,
    ) -> Vec<Entry> {
        if entries.is_empty() {
            return entries;
        }
        let window_of = |entry: &Entry| targets[entry.0 as usize].0;
        if placed.len() > 1 {
            // So that the entries of a window lie together.
            entries.sort_by_key(window_of);
        }
        let mut fresh = Vec::new();
        for part in entries.chunk_by(|a, b| window_of(a) == window_of(b)) {
            let window = &placed[window_of(&part[0]) as usize].window;
            let state = self.open.get_mut(window).expect("rows were merged into it");
            if let Some(column) = state.distinct(aggregate) {
                let new = |(row, number): &&Entry| column.insert(targets[*row as usize].1, *number);
                fresh.extend(part.iter().filter(new).copied());
            }
        }
        fresh
    }
}

impl WindowState {
    fn new(partial: &PartialAggregate, values: &[Option<Values>]) -> Result<Self> {
        let column = |(aggregate, values): (&_, &Option<Values>)| match values {
            Some(_) => Ok(Column::Distinct(DistinctColumn::default())),
            None => Ok(Column::State(state_column(aggregate)?)),
        };
        let columns: Result<Vec<Column>> = partial.aggregates().zip(values).map(column).collect();
        Ok(Self {
            keys: Interner::default(),
            columns: columns?,
            rows: Vec::new(),
            touched: Vec::new(),
            is_touched: Vec::new(),
            epochs: Vec::new(),
        })
    }

    /// Notes that the touched groups belong to this epoch; gives how many did not yet.
    pub(super) fn mark(&mut self, epoch: u32) -> usize {
        self.epochs.resize(self.keys.len(), 0);
        let new = |group: &&u32| std::mem::replace(&mut self.epochs[**group as usize], epoch) != epoch;
        self.touched.iter().filter(new).count()
    }

    pub(super) fn has_live(&self) -> bool {
        self.columns.iter().any(|column| matches!(column, Column::State(column) if !column.thin()))
    }

    pub(super) fn freeze(&mut self, window: Window) -> Result<FrozenWindow> {
        let all = self.all();
        let column = |column: &mut Column| match column {
            Column::State(column) => Ok(FrozenColumn::State(column.state(&all)?)),
            Column::Distinct(column) => Ok(FrozenColumn::Distinct(column.pairs().clone())),
        };
        let columns: Result<_> = self.columns.iter_mut().map(column).collect();
        Ok(FrozenWindow { window, keys: self.keys.strings().clone(), columns: columns? })
    }

    fn touch(&mut self, groups: &[u32]) {
        self.rows.resize(self.keys.len(), None);
        self.is_touched.resize(self.keys.len(), false);
        for group in groups {
            if !std::mem::replace(&mut self.is_touched[*group as usize], true) {
                self.touched.push(*group);
            }
        }
    }

    pub(super) fn all(&self) -> Vec<u32> {
        (0..self.keys.len() as u32).collect()
    }

    pub(super) fn distinct(&mut self, aggregate: usize) -> Option<&mut DistinctColumn> {
        match &mut self.columns[aggregate] {
            Column::Distinct(column) => Some(column),
            Column::State(_) => None,
        }
    }

    pub(super) fn size(&self) -> usize {
        let columns = self.columns.iter().map(|column| match column {
            Column::State(column) => column.size(),
            Column::Distinct(column) => column.size(),
        });
        self.keys.size() + self.rows.capacity() * 16 + self.is_touched.capacity() + columns.sum::<usize>()
    }
}
