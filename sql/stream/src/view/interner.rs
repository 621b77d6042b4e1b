//! Byte strings numbered in the order they came: the group keys of a window, the values of a
//! `count(DISTINCT …)`.
//!
//! Two arrays: slots of a hash table, open addressing with linear probing, eight bytes each; and a record per
//! number, which holds a short string itself. So a known string costs one look into each, and strings are looked up
//! many at a time: first all slots, then all records, so that the waits for memory overlap (the group prefetching of
//! Chen, Ailamaki et al., "Improving Hash Join Performance through Prefetching", 2004, left to the processor).
//!
//! # Invariants
//! - Numbers never move; strings are never taken out.
//! - A quarter of the slots is free, or there are none.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;

/// Numbers are 32 bits wide: what holds more of them is over its memory limit long before.
const FULL: &str = "fewer than 2^32 strings fit into the memory limit";
/// Strings up to this many bytes lie in their record: identifiers in most streams do.
const SHORT: usize = 20;
/// Strings looked up at a time: more than a processor waits for at once, few enough for its first cache.
const TOGETHER: usize = 32;
const SLOTS_MIN: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    len: u32,
    /// The string, zeros behind it; of a longer one where it starts in `long`.
    held: [u8; SHORT],
}

/// Strings one behind the other, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strings {
    records: Vec<Record>,
    long: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Of the hash; its low bits say where the search begins.
    tag: u32,
    number: u32,
}

const FREE: Slot = Slot { tag: 0, number: u32::MAX };

#[derive(Debug, Default)]
pub(crate) struct Interner {
    strings: Strings,
    /// A power of two.
    slots: Vec<Slot>,
}

/// One for all interners of a view, so that a hash is computed once for all sizes of window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hasher(DefaultHashBuilder);

impl Hasher {
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        self.0.hash_one(key)
    }
}

impl Record {
    /// None for a long one.
    fn short(string: &[u8]) -> Option<Self> {
        let mut held = [0; SHORT];
        held.get_mut(..string.len())?.copy_from_slice(string);
        Some(Self { len: string.len() as u32, held })
    }

    fn start(&self) -> usize {
        let [a, b, c, d, e, f, g, h, ..] = self.held;
        u64::from_le_bytes([a, b, c, d, e, f, g, h]) as usize
    }
}

impl Strings {
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn get(&self, number: u32) -> &[u8] {
        let record = &self.records[number as usize];
        let len = record.len as usize;
        record.held.get(..len).unwrap_or_else(|| &self.long[record.start()..][..len])
    }

    fn push(&mut self, string: &[u8]) {
        let record = Record::short(string).unwrap_or_else(|| {
            let mut held = [0; SHORT];
            held[..8].copy_from_slice(&(self.long.len() as u64).to_le_bytes());
            self.long.extend_from_slice(string);
            Record { len: u32::try_from(string.len()).expect("a value is smaller than a record of Kafka"), held }
        });
        self.records.push(record);
    }
}

impl Interner {
    pub(crate) fn len(&self) -> usize {
        self.strings.len()
    }

    /// The number of this string, a new one where it is not known.
    pub(crate) fn intern(&mut self, hash: u64, string: &[u8]) -> u32 {
        if (self.len() + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        let tag = tag_of(hash);
        let mask = self.slots.len() - 1;
        let mut at = tag as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot.number == FREE.number {
                let number = u32::try_from(self.len()).ok().filter(|number| *number != FREE.number).expect(FULL);
                self.strings.push(string);
                self.slots[at] = Slot { tag, number };
                return number;
            }
            if slot.tag == tag && self.strings.get(slot.number) == string {
                return slot.number;
            }
            at = (at + 1) & mask;
        }
    }

    /// Gives `take` the number of each string in turn, beside what came with it.
    pub(crate) fn intern_all<'a, T: Copy>(
        &mut self,
        strings: impl Iterator<Item = (T, u64, &'a [u8])>,
        mut take: impl FnMut(T, u32),
    ) {
        let mut strings = strings.peekable();
        let mut batch: Vec<(T, u64, &[u8])> = Vec::with_capacity(TOGETHER);
        let mut known: [Option<u32>; TOGETHER];
        while strings.peek().is_some() {
            batch.clear();
            batch.extend(strings.by_ref().take(TOGETHER));
            known = [None; TOGETHER];
            if let Some(mask) = self.slots.len().checked_sub(1) {
                // No iteration of these two loops needs the one before it.
                for ((_, hash, _), known) in batch.iter().zip(&mut known) {
                    let slot = self.slots[tag_of(*hash) as usize & mask];
                    *known = (slot.tag == tag_of(*hash) && slot.number != FREE.number).then_some(slot.number);
                }
                for ((_, _, string), known) in batch.iter().zip(&mut known) {
                    *known = known.filter(|number| {
                        let record = &self.strings.records[*number as usize];
                        Record::short(string).is_some_and(|wanted| wanted == *record)
                    });
                }
            }
            for ((with, hash, string), known) in batch.iter().zip(known) {
                take(*with, known.unwrap_or_else(|| self.intern(*hash, string)));
            }
        }
    }

    pub(crate) fn get(&self, number: u32) -> &[u8] {
        self.strings.get(number)
    }

    pub(crate) fn strings(&self) -> &Strings {
        &self.strings
    }

    fn grow(&mut self) {
        let slots = vec![FREE; (self.slots.len() * 2).max(SLOTS_MIN)];
        let mask = slots.len() - 1;
        for slot in std::mem::replace(&mut self.slots, slots) {
            if slot.number != FREE.number {
                let mut at = slot.tag as usize & mask;
                while self.slots[at].number != FREE.number {
                    at = (at + 1) & mask;
                }
                self.slots[at] = slot;
            }
        }
    }

    /// Bytes held, about.
    pub(crate) fn size(&self) -> usize {
        let Strings { records, long } = &self.strings;
        self.slots.capacity() * size_of::<Slot>() + records.capacity() * size_of::<Record>() + long.capacity()
    }
}

fn tag_of(hash: u64) -> u32 {
    (hash ^ hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Strings of 0 to 40 bytes, some with zeros at their end.
    fn text(at: usize) -> Vec<u8> {
        let at = at % 70_000;
        let mut text = if at == 0 { String::new() } else { format!("{at}{}", "x".repeat(at % 36)) }.into_bytes();
        text.resize(text.len() + at % 3, 0);
        text
    }

    #[test]
    fn equal_strings_have_one_number_also_among_very_many() {
        let (hasher, mut interner) = (Hasher::default(), Interner::default());
        let first: Vec<u32> = (0..70_000).map(|at| interner.intern(hasher.hash(&text(at)), &text(at))).collect();
        assert_eq!((first, interner.len()), ((0..70_000).collect(), 70_000));
        assert!((0..70_000).all(|number| interner.get(number) == text(number as usize)));
    }

    #[test]
    fn many_at_a_time_get_the_numbers_they_get_one_by_one() {
        let (hasher, mut single, mut together) = (Hasher::default(), Interner::default(), Interner::default());
        // Known ones between new ones, twice in a batch too.
        let all: Vec<Vec<u8>> = (0..200_000).map(|at| text(at * 7 % (at + 1))).collect();
        let wanted: Vec<u32> = all.iter().map(|text| single.intern(hasher.hash(text), text)).collect();
        let mut given = Vec::new();
        for part in all.chunks(1_000) {
            let strings = part.iter().map(|text| ((), hasher.hash(text), text.as_slice()));
            together.intern_all(strings, |(), number| given.push(number));
        }
        assert_eq!(given, wanted);
    }

    #[test]
    fn strings_of_one_hash_are_told_apart() {
        let mut interner = Interner::default();
        let numbers: Vec<u32> = (0..100).map(|at| interner.intern(7, &text(at))).collect();
        let mut again = Vec::new();
        let all: Vec<Vec<u8>> = (0..100).map(text).collect();
        interner.intern_all(all.iter().map(|text| ((), 7, text.as_slice())), |(), number| again.push(number));
        assert_eq!((again, interner.len()), (numbers, 100));
    }
}
