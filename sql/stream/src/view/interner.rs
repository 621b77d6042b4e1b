//! Byte strings numbered in the order they came: the group keys of a window, the values of a
//! `count(DISTINCT …)`.
//!
//! All bytes lie in one buffer and the table holds numbers alone, so that a million strings are a
//! handful of allocations. Numbers never move; strings are never taken out.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// Numbers are 32 bits wide: what holds more of them is over its memory limit long before.
const FULL: &str = "fewer than 2^32 strings fit into the memory limit";

/// Strings one behind the other, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strings {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Strings {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, number: u32) -> &[u8] {
        let at = number as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[start..self.ends[at]]
    }

    fn push(&mut self, string: &[u8]) {
        self.bytes.extend_from_slice(string);
        self.ends.push(self.bytes.len());
    }
}

#[derive(Debug, Default)]
pub(crate) struct Interner {
    strings: Strings,
    /// Kept so that neither growing nor most comparisons read the bytes.
    hashes: Vec<u64>,
    table: HashTable<u32>,
}

/// One for all interners of a view, so that a hash is computed once for all sizes of window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hasher(DefaultHashBuilder);

impl Hasher {
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        self.0.hash_one(key)
    }
}

impl Interner {
    pub(crate) fn len(&self) -> usize {
        self.strings.len()
    }

    /// The number of this string, a new one where it is not known.
    pub(crate) fn intern(&mut self, hash: u64, key: &[u8]) -> u32 {
        let Self { strings, hashes, table } = self;
        let same = |at: &u32| hashes[*at as usize] == hash && strings.get(*at) == key;
        if let Some(found) = table.find(hash, same) {
            return *found;
        }
        let number = u32::try_from(strings.len()).expect(FULL);
        strings.push(key);
        hashes.push(hash);
        table.insert_unique(hash, number, |at| hashes[*at as usize]);
        number
    }

    pub(crate) fn get(&self, number: u32) -> &[u8] {
        self.strings.get(number)
    }

    pub(crate) fn strings(&self) -> &Strings {
        &self.strings
    }

    pub(crate) fn hash_of(&self, number: u32) -> u64 {
        self.hashes[number as usize]
    }

    /// Bytes held, about.
    pub(crate) fn size(&self) -> usize {
        let Strings { bytes, ends } = &self.strings;
        bytes.capacity() + (ends.capacity() + self.hashes.capacity()) * 8 + self.table.capacity() * 5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_have_one_number_also_among_very_many() {
        let (hasher, mut interner) = (Hasher::default(), Interner::default());
        let text = |at: u32| format!("key {}", at % 70_000).into_bytes();
        let first: Vec<u32> = (0..70_000).map(|at| interner.intern(hasher.hash(&text(at)), &text(at))).collect();
        let again: Vec<u32> = (0..70_000).map(|at| interner.intern(hasher.hash(&text(at)), &text(at))).collect();
        assert_eq!((first.clone(), interner.len()), (again, 70_000));
        assert!(first.iter().all(|number| interner.get(*number) == text(*number)));
        assert_eq!(interner.intern(hasher.hash(b""), b""), 70_000);
        assert_eq!(interner.get(70_000), b"");
    }
}
