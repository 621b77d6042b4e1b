//! Rows of one partition in their order, each with how often it is there.

use std::{collections::BTreeMap, sync::Arc};

/// Beyond this many a tree, below it a list.
const FEW: usize = 32;

/// What a row is ordered by and behind it the row itself, both in Arrow's row format: so among equals the row decides,
/// and the answer is one, whatever came first. No such key is a prefix of another.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    bytes: Arc<[u8]>,
    /// Where the row begins.
    row: u32,
}

impl Place {
    pub(crate) fn new(by: &[u8], row: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(by.len() + row.len());
        bytes.extend_from_slice(by);
        bytes.extend_from_slice(row);
        Self { bytes: bytes.into(), row: by.len() as u32 }
    }

    pub(crate) fn row(&self) -> &[u8] {
        &self.bytes[self.row as usize..]
    }

    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + 48
    }

    /// Whether it comes before what is ordered by `by` and is `row`.
    pub(crate) fn is_before(&self, by: &[u8], row: &[u8]) -> bool {
        let (own_by, own_row) = self.bytes.split_at(self.row as usize);
        (own_by, own_row) <= (by, row)
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

impl std::hash::Hash for Place {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

#[derive(Debug)]
pub(crate) enum Ranked {
    Few(Vec<(Place, i64)>),
    Many(BTreeMap<Place, i64>),
}

impl Default for Ranked {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Ranked {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Few(rows) => rows.len(),
            Self::Many(rows) => rows.len(),
        }
    }

    pub(crate) fn get(&self, place: &Place) -> i64 {
        match self {
            Self::Few(rows) => rows.binary_search_by(|(known, _)| known.cmp(place)).map_or(0, |at| rows[at].1),
            Self::Many(rows) => rows.get(place).copied().unwrap_or(0),
        }
    }

    /// How often the row is there from now on; 0: not at all.
    pub(crate) fn set(&mut self, place: Place, weight: i64) {
        match self {
            Self::Few(rows) => match rows.binary_search_by(|(known, _)| known.cmp(&place)) {
                Ok(at) if weight == 0 => {
                    rows.remove(at);
                }
                Ok(at) => rows[at].1 = weight,
                Err(_) if weight == 0 => {}
                Err(at) => {
                    rows.reserve_exact(1);
                    rows.insert(at, (place, weight));
                    if rows.len() > FEW {
                        *self = Self::Many(std::mem::take(rows).into_iter().collect());
                    }
                }
            },
            Self::Many(rows) if weight == 0 => {
                rows.remove(&place);
            }
            Self::Many(rows) => {
                rows.insert(place, weight);
            }
        }
    }

    pub(crate) fn each(&self) -> Box<dyn Iterator<Item = (&Place, i64)> + '_> {
        match self {
            Self::Few(rows) => Box::new(rows.iter().map(|(place, weight)| (place, *weight))),
            Self::Many(rows) => Box::new(rows.iter().map(|(place, weight)| (place, *weight))),
        }
    }

    pub(crate) fn last(&self) -> Option<(&Place, i64)> {
        match self {
            Self::Few(rows) => rows.last().map(|(place, weight)| (place, *weight)),
            Self::Many(rows) => rows.last_key_value().map(|(place, weight)| (place, *weight)),
        }
    }

    /// The first `count` of them, each as often as it is there.
    pub(crate) fn first(&self, count: usize) -> Vec<Place> {
        if let Self::Few(rows) = self
            && rows.iter().all(|(_, weight)| *weight == 1)
        {
            return rows.iter().take(count).map(|(place, _)| place.clone()).collect();
        }
        let often = |(place, weight)| std::iter::repeat_n(place, usize::try_from(weight).unwrap_or(0));
        self.each().flat_map(often).take(count).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(by: u8) -> Place {
        Place::new(&[by], b"row")
    }

    #[test]
    fn a_list_that_becomes_a_tree_keeps_its_order() {
        let mut ranked = Ranked::default();
        for by in (0..2 * FEW as u8).rev() {
            ranked.set(place(by), i64::from(by % 2) + 1);
        }
        assert!(matches!(ranked, Ranked::Many(_)));
        let first: Vec<u8> = ranked.first(4).iter().map(|place| place.bytes[0]).collect();
        assert_eq!(first, [0, 1, 1, 2]);
        ranked.set(place(0), 0);
        assert_eq!((ranked.len(), ranked.get(&place(0)), ranked.get(&place(1))), (2 * FEW - 1, 0, 2));
        assert_eq!(ranked.last().map(|(place, weight)| (place.row(), weight)), Some((b"row".as_slice(), 2)));
    }
}
