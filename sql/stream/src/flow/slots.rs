//! Keys by number: what an operator has of a key stands at that number.

use std::{collections::BTreeMap, hash::BuildHasher};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::delta::Bytes;

/// Beside the bytes of a key: its place in the table and its pointer.
const KEY_BYTES: usize = 48;

/// Numbers are given again once their key is gone.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    table: HashTable<(u64, u32)>,
    hasher: DefaultHashBuilder,
    keys: Vec<Option<Bytes>>,
    free: Vec<u32>,
    bytes: usize,
}

impl Slots {
    pub(crate) fn find(&self, key: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let is_same = |(known, slot): &(u64, u32)| *known == hash && self.keys[*slot as usize].as_deref() == Some(key);
        self.table.find(hash, is_same).map(|(_, slot)| *slot)
    }

    /// The number of the key, and whether it is new.
    pub(crate) fn take(&mut self, key: &[u8]) -> (u32, bool) {
        let hash = self.hasher.hash_one(key);
        let keys = &self.keys;
        let is_same = |(known, slot): &(u64, u32)| *known == hash && keys[*slot as usize].as_deref() == Some(key);
        if let Some((_, slot)) = self.table.find(hash, is_same) {
            return (*slot, false);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.keys.push(None);
            u32::try_from(self.keys.len() - 1).expect("memory ends before there are 2^32 keys")
        });
        self.keys[slot as usize] = Some(Bytes::from(key));
        self.bytes += key.len() + KEY_BYTES;
        self.table.insert_unique(hash, (hash, slot), |(hash, _)| *hash);
        (slot, true)
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<Bytes> {
        let key = self.keys[slot as usize].take()?;
        let hash = self.hasher.hash_one(key.as_ref());
        if let Ok(entry) = self.table.find_entry(hash, |(_, known)| *known == slot) {
            entry.remove();
        }
        self.bytes = self.bytes.saturating_sub(key.len() + KEY_BYTES);
        self.free.push(slot);
        Some(key)
    }

    /// Empty for a number without a key.
    pub(crate) fn key(&self, slot: u32) -> &[u8] {
        self.keys.get(slot as usize).and_then(Option::as_deref).unwrap_or(&[])
    }

    pub(crate) fn holds(&self, slot: u32) -> bool {
        self.keys.get(slot as usize).is_some_and(Option::is_some)
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = u32> + '_ {
        self.keys.iter().enumerate().filter(|(_, key)| key.is_some()).map(|(slot, _)| slot as u32)
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len() - self.free.len()
    }

    /// One more than the highest number ever given.
    pub(crate) fn end(&self) -> usize {
        self.keys.len()
    }

    /// Bytes held, about.
    pub(crate) fn size(&self) -> usize {
        self.bytes + self.free.capacity() * 4
    }
}

/// What ends when the watermark has passed a time. A number may stand in it more than once, or for something that has
/// gone or been moved since: who asks knows when it really ends.
#[derive(Debug)]
pub(crate) struct Ends {
    /// Ends of one grain lie together.
    grain_us: i64,
    by_grain: BTreeMap<i64, Vec<u32>>,
}

impl Ends {
    /// Few ends, each of many: windows.
    pub(crate) fn of_windows() -> Self {
        Self { grain_us: 1, by_grain: BTreeMap::new() }
    }

    /// An end of its own for each.
    pub(crate) fn of_rows() -> Self {
        Self { grain_us: 1 << 16, by_grain: BTreeMap::new() }
    }

    /// `i64::MAX`: never.
    pub(crate) fn push(&mut self, end: i64, number: u32) {
        if end != i64::MAX {
            self.by_grain.entry(end.div_euclid(self.grain_us)).or_default().push(number);
        }
    }

    /// Those that end at or before `until`, by `end_of` (`None`: there is nothing of that number).
    pub(crate) fn due(&mut self, until: i64, end_of: impl Fn(u32) -> Option<i64>) -> Vec<u32> {
        if self.by_grain.first_key_value().is_none_or(|(grain, _)| *grain > until.div_euclid(self.grain_us)) {
            return Vec::new();
        }
        let open = self.by_grain.split_off(&until.div_euclid(self.grain_us).saturating_add(1));
        let mut due = Vec::new();
        for number in std::mem::replace(&mut self.by_grain, open).into_values().flatten() {
            match end_of(number) {
                Some(end) if end <= until => due.push(number),
                Some(end) => self.push(end, number),
                None => {}
            }
        }
        due.sort_unstable();
        due.dedup();
        due
    }
}

/// Which numbers have been seen since it was last begun anew.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    turn: u32,
    turns: Vec<u32>,
}

impl Seen {
    pub(crate) fn begin(&mut self) {
        self.turn = self.turn.checked_add(1).unwrap_or_else(|| {
            self.turns.clear();
            1
        });
    }

    /// Whether this is the first time.
    pub(crate) fn first(&mut self, number: u32) -> bool {
        let at = number as usize;
        if at >= self.turns.len() {
            self.turns.resize((at + 1).next_power_of_two(), 0);
        }
        std::mem::replace(&mut self.turns[at], self.turn) != self.turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_again_and_stands_for_its_new_key_alone() {
        let mut slots = Slots::default();
        let first: Vec<(u32, bool)> = [b"a", b"b", b"a"].iter().map(|key| slots.take(*key)).collect();
        assert_eq!(first, [(0, true), (1, true), (0, false)]);
        assert_eq!(slots.remove(0).as_deref(), Some(b"a".as_slice()));
        assert_eq!((slots.find(b"a"), slots.len(), slots.holds(0)), (None, 1, false));
        assert_eq!((slots.take(b"c"), slots.key(0), slots.find(b"b")), ((0, true), b"c".as_slice(), Some(1)));
        slots.remove(0);
        slots.remove(1);
        assert_eq!((slots.size(), slots.live().count()), (slots.free.capacity() * 4, 0));
    }

    #[test]
    fn what_ends_later_than_was_said_is_asked_about_again() {
        let mut ends = Ends::of_rows();
        for number in 0..4 {
            ends.push(100 + i64::from(number), number);
        }
        ends.push(i64::MAX, 9);
        let moved = |number| (number != 2).then_some(if number == 1 { 500_000 } else { 100 + i64::from(number) });
        assert_eq!(ends.due(99, moved), [0_u32; 0]);
        assert_eq!(ends.due(102, moved), [0]);
        assert_eq!(ends.due(499_999, moved), [3]);
        assert_eq!(ends.due(500_000, moved), [1]);
        assert!(ends.by_grain.is_empty());
    }
}
