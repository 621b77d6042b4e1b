//! What an aggregate is given of a change.

use arrow::array::{Array, ArrayRef, BooleanArray};

use super::super::delta::Delta;

/// The rows of a change as an aggregate sees them.
pub(super) struct Input<'a> {
    pub(super) delta: &'a Delta,
    pub(super) args: &'a [ArrayRef],
    pub(super) groups: &'a [Option<u32>],
    pub(super) filter: Option<&'a BooleanArray>,
}

impl Input<'_> {
    pub(super) fn rows(&self) -> usize {
        self.delta.rows()
    }

    /// None where the row is of no group, or the filter drops it.
    pub(super) fn group_of(&self, row: usize) -> Option<usize> {
        let passes = self.filter.is_none_or(|mask| mask.is_valid(row) && mask.value(row));
        self.groups[row].filter(|_| passes).map(|group| group as usize)
    }

    /// Rows with their groups.
    pub(super) fn each(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        (0..self.rows()).filter_map(|row| Some((row, self.group_of(row)?)))
    }
}
