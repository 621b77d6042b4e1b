//! What an epoch has merged: kept as it came, written with one row per changed group where that is shorter.
//!
//! Values of a `count(DISTINCT ...)` stay numbers until the delta is written, and only those are in it that were new
//! to their pane: nothing is looked up again.

use std::{collections::HashMap, sync::Arc};

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};

use super::{
    distinct::Entry,
    groups::GroupState,
    partial::{Partial, PartialState},
    windows::{Window, WindowState, Windows},
};
use crate::{Result, rows::record_batch};

/// Partial rows of a step.
pub(super) struct Part {
    rows: usize,
    panes: Option<TimestampMicrosecondArray>,
    keys: Vec<ArrayRef>,
    /// Of each aggregate; none where values are counted.
    states: Vec<Vec<ArrayRef>>,
    /// Of each aggregate the values that were new, by row.
    pub(super) fresh: Vec<Vec<Entry>>,
}

impl Part {
    pub(super) fn new(partial: &Partial) -> Self {
        let columns = |state: &PartialState| match state {
            PartialState::Columns(columns) => columns.clone(),
            PartialState::Values(_) => Vec::new(),
        };
        Self {
            rows: partial.rows,
            panes: partial.panes.clone(),
            keys: partial.keys.clone(),
            states: partial.states.iter().map(columns).collect(),
            fresh: Vec::new(),
        }
    }
}

impl GroupState {
    /// What came since the last call, in the schema of partial rows.
    pub(crate) fn take_delta(&mut self) -> Result<Vec<RecordBatch>> {
        let (parts, groups) = (std::mem::take(&mut self.delta), self.epoch_groups);
        self.forget_delta();
        let rows: usize = parts.iter().map(|part| part.rows).sum();
        let live = self.windows.open.values().next().is_some_and(WindowState::has_live);
        if parts.len() < 2 || rows < groups * 3 / 2 || live {
            return parts.iter().map(|part| self.batch_of(part)).collect();
        }
        self.reduce(&parts)
    }

    pub(crate) fn forget_delta(&mut self) {
        self.delta.clear();
        self.epoch_groups = 0;
        self.epoch = self.epoch.wrapping_add(1);
    }

    fn batch_of(&self, part: &Part) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = part.panes.iter().map(|panes| Arc::new(panes.clone()) as ArrayRef).collect();
        columns.extend(part.keys.iter().cloned());
        for ((states, fresh), values) in part.states.iter().zip(&part.fresh).zip(&self.values) {
            match values {
                Some(values) => columns.push(values.lists(fresh, part.rows)?),
                None => columns.extend(states.iter().cloned()),
            }
        }
        record_batch(&self.partial.schema, columns, part.rows)
    }

    /// One row per pane and group: what an epoch costs follows the groups it changed and not the steps it took.
    fn reduce(&self, parts: &[Part]) -> Result<Vec<RecordBatch>> {
        let mut panes = Windows::default();
        // Of each window and aggregate the new values, by group.
        let mut fresh: Vec<Vec<Vec<Entry>>> = Vec::new();
        let mut numbers: HashMap<Window, usize> = HashMap::new();
        for part in parts {
            let placed = self.place(part.panes.as_ref().map(|panes| panes.values().as_ref()), part.rows, 0)?;
            let merge = self.prepare(&part.keys, part.rows, part.states.clone())?;
            let targets = panes.merge(&self.partial, &self.values, &placed, &merge)?;
            let window = |window: &Window| {
                *numbers.entry(*window).or_insert_with(|| {
                    fresh.push(vec![Vec::new(); self.values.len()]);
                    fresh.len() - 1
                })
            };
            let windows: Vec<usize> = placed.iter().map(|placed| &placed.window).map(window).collect();
            for (aggregate, entries) in part.fresh.iter().enumerate() {
                for (row, number) in entries {
                    let (at, group) = targets[*row as usize];
                    fresh[windows[at as usize]][aggregate].push((group, *number));
                }
            }
        }
        let mut reduced = Vec::with_capacity(panes.open.len());
        for (window, mut state) in panes.open {
            let all = state.all();
            let mut columns: Vec<ArrayRef> = Vec::new();
            if self.partial.windowed() {
                let starts = TimestampMicrosecondArray::from(vec![window.start; all.len()]);
                columns.push(Arc::new(starts.with_timezone("+00:00")));
            }
            columns.extend(self.keys_of(all.iter().map(|group| state.keys.get(*group)))?);
            columns.extend(self.states_of(&mut state, &fresh[numbers[&window]], &all)?);
            reduced.push(record_batch(&self.partial.schema, columns, all.len())?);
        }
        Ok(reduced)
    }
}
