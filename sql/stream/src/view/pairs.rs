//! A set of pairs of group and number, each 32 bits: sparse parts in one hash table, dense ones as bits.
//!
//! A *cell* is a group and the upper half of a number. A cell with many pairs is a bitmap of 65,536 bits,
//! as in a Roaring bitmap (Chambi, Lemire et al., 2016); the others share one hash table instead of having
//! sorted arrays of their own, since most groups have few values. So a set costs eight bytes a pair or less
//! where it is dense, and what is looked up again and again lies close together.

use hashbrown::{HashMap, HashSet};

/// Below this a bitmap takes more memory than entries of the table.
const DENSE_MIN: usize = 1_024;
const CELL_BITS: u32 = 16;
const WORDS: usize = (1 << CELL_BITS) / 64;

#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs {
    sparse: HashSet<u64>,
    /// By cell; a pair is in its cell's bitmap if there is one, else in `sparse`.
    dense: HashMap<u64, Box<[u64; WORDS]>>,
    len: usize,
}

impl Pairs {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// True where it was not there.
    pub(crate) fn insert(&mut self, pair: u64) -> bool {
        if let Some(bits) = self.dense.get_mut(&(pair >> CELL_BITS)) {
            let new = set(bits, pair);
            self.len += usize::from(new);
            return new;
        }
        if self.sparse.len() == self.sparse.capacity() && self.sparse.len() >= DENSE_MIN {
            if self.sparse.contains(&pair) {
                return false;
            }
            // It is about to be copied anyway.
            self.condense();
            if self.dense.contains_key(&(pair >> CELL_BITS)) {
                return self.insert(pair);
            }
        }
        let new = self.sparse.insert(pair);
        self.len += usize::from(new);
        new
    }

    /// Moves cells that have become dense into bitmaps.
    fn condense(&mut self) {
        let mut groups: HashMap<u32, u32> = HashMap::new();
        for pair in &self.sparse {
            *groups.entry(parts(*pair).0).or_default() += 1;
        }
        // Most groups are small, and their cells need not be counted.
        groups.retain(|_, count| *count as usize >= DENSE_MIN);
        if groups.is_empty() {
            return;
        }
        let mut cells: HashMap<u64, usize> = HashMap::new();
        for pair in self.sparse.iter().filter(|pair| groups.contains_key(&parts(**pair).0)) {
            *cells.entry(pair >> CELL_BITS).or_default() += 1;
        }
        cells.retain(|_, count| *count >= DENSE_MIN);
        if cells.is_empty() {
            return;
        }
        self.dense.extend(cells.into_keys().map(|cell| (cell, Box::new([0; WORDS]))));
        let dense = &mut self.dense;
        self.sparse.retain(|pair| match dense.get_mut(&(pair >> CELL_BITS)) {
            Some(bits) => {
                set(bits, *pair);
                false
            }
            None => true,
        });
        self.sparse.shrink_to(2 * self.sparse.len());
    }

    /// Every pair once, in no order.
    pub(crate) fn each(&self, mut take: impl FnMut(u64)) {
        self.sparse.iter().for_each(|pair| take(*pair));
        for (cell, bits) in &self.dense {
            for (at, word) in bits.iter().enumerate() {
                let mut left = *word;
                while left != 0 {
                    take(cell << CELL_BITS | (at as u64 * 64 + u64::from(left.trailing_zeros())));
                    left &= left - 1;
                }
            }
        }
    }

    /// Bytes held, about.
    pub(crate) fn size(&self) -> usize {
        self.sparse.capacity() * 9 + self.dense.capacity() * 17 + self.dense.len() * size_of::<[u64; WORDS]>()
    }
}

/// True where the bit was not set.
fn set(bits: &mut [u64; WORDS], pair: u64) -> bool {
    let low = pair as usize & ((1 << CELL_BITS) - 1);
    let (word, bit) = (&mut bits[low / 64], 1_u64 << (low % 64));
    let new = *word & bit == 0;
    *word |= bit;
    new
}

pub(crate) fn pair_of(group: u32, number: u32) -> u64 {
    u64::from(group) << 32 | u64::from(number)
}

pub(crate) fn parts(pair: u64) -> (u32, u32) {
    ((pair >> 32) as u32, pair as u32)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Dense and sparse cells, a bitmap's borders, and groups that become dense while others do not.
    fn numbers() -> impl Iterator<Item = u64> {
        let dense = (0..70_000).map(|number| pair_of(1, number));
        let sparse = (0..50_000_u32).map(|at| pair_of(2 + at % 5_000, at.wrapping_mul(2_654_435_761)));
        let spread = (0..3_000_u32).map(|at| pair_of(7_000, at * 65_536));
        let borders = [0, 65_535, 65_536, u32::MAX].map(|number| pair_of(u32::MAX, number));
        dense.clone().zip(sparse.clone().cycle()).flat_map(|(a, b)| [a, b]).chain(spread).chain(borders).chain(dense)
    }

    #[test]
    fn a_pair_is_new_once_wherever_it_is_kept() {
        let (mut pairs, mut known) = (Pairs::default(), BTreeSet::new());
        for pair in numbers() {
            assert_eq!(pairs.insert(pair), known.insert(pair), "{:?}", parts(pair));
        }
        assert!(!pairs.dense.is_empty() && !pairs.sparse.is_empty(), "both kinds are in use");
        let mut all = Vec::new();
        pairs.each(|pair| all.push(pair));
        all.sort_unstable();
        assert_eq!((all.len(), all), (pairs.len(), known.into_iter().collect()));
    }

    #[test]
    fn a_dense_set_takes_less_than_a_byte_a_pair() {
        let mut pairs = Pairs::default();
        (0..1_000_000).for_each(|number| {
            pairs.insert(pair_of(3, number));
        });
        assert!(pairs.size() < 1_000_000, "{} bytes", pairs.size());
    }
}
