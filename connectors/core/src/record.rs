//! Records as they come from a source: bytes in columns, so that a step allocates a few large
//! buffers and not one small one per record.

use std::{ops::Range, sync::Arc};

use crate::{Offset, SplitId};

/// Byte strings laid end to end.
#[derive(Clone, Debug, Default)]
pub struct ByteColumn {
    data: Vec<u8>,
    /// Where each ends in `data`; the highest bit is set where there is none.
    ends: Vec<u64>,
}

const NULL: u64 = 1 << 63;

impl ByteColumn {
    pub fn push(&mut self, value: Option<&[u8]>) {
        let null = match value {
            Some(value) => {
                self.data.extend_from_slice(value);
                0
            }
            None => NULL,
        };
        self.ends.push(self.data.len() as u64 | null);
    }

    /// Makes room for so many more.
    pub fn reserve(&mut self, entries: usize, bytes: usize) {
        self.ends.reserve(entries);
        self.data.reserve(bytes);
    }

    pub fn get(&self, index: usize) -> Option<&[u8]> {
        self.range(index).map(|range| &self.data[range])
    }

    /// Where the entry stands in `data`.
    pub fn range(&self, index: usize) -> Option<Range<usize>> {
        let end = self.ends[index];
        let start = if index == 0 { 0 } else { (self.ends[index - 1] & !NULL) as usize };
        (end & NULL == 0).then_some(start..end as usize)
    }

    /// All entries, one behind the other.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    pub fn clear(&mut self) {
        self.data.clear();
        self.ends.clear();
    }
}

/// Headers of one record, in order; a name may come twice.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// Records of one split, in order.
#[derive(Clone, Debug)]
pub struct Records {
    pub split: SplitId,
    /// Number of the split where the source numbers them (a Kafka partition), else its index.
    pub partition: i32,
    /// Offset of each record, rising, with gaps where the source has them.
    pub offsets: Vec<i64>,
    /// Time the source gave each record, milliseconds since 1970; -1 where it gave none.
    pub timestamps_ms: Vec<i64>,
    pub keys: ByteColumn,
    pub values: ByteColumn,
    /// Only of the records that have any: index of the record, its headers.
    pub headers: Vec<(usize, Headers)>,
    /// The record that names the fields of all others in its split, where it has one (CSV with a header). It is itself
    /// none of the records.
    pub header: Option<Arc<[u8]>>,
    /// Where reading goes on. May lie beyond the last record (transaction markers, aborted records).
    pub next_offset: Offset,
    /// Offsets in front of `next_offset` that are not there any more, and are passed over.
    pub missed: u64,
}

impl Records {
    pub fn new(split: SplitId, partition: i32, next_offset: Offset) -> Self {
        Self {
            split,
            partition,
            offsets: Vec::new(),
            timestamps_ms: Vec::new(),
            keys: ByteColumn::default(),
            values: ByteColumn::default(),
            headers: Vec::new(),
            header: None,
            next_offset,
            missed: 0,
        }
    }

    /// No records: those between the two offsets are not there any more.
    pub fn missing(split: SplitId, from: Offset, to: Offset) -> Self {
        Self { missed: to.0.saturating_sub(from.0).try_into().unwrap_or(0), ..Self::new(split, 0, to) }
    }

    /// Makes room for so many more records, and for the bytes of their keys and values.
    pub fn reserve(&mut self, rows: usize, key_bytes: usize, value_bytes: usize) {
        self.offsets.reserve(rows);
        self.timestamps_ms.reserve(rows);
        self.keys.reserve(rows, key_bytes);
        self.values.reserve(rows, value_bytes);
    }

    /// Appends a record and moves `next_offset` behind it.
    pub fn push(&mut self, offset: i64, timestamp_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.offsets.push(offset);
        self.timestamps_ms.push(timestamp_ms);
        self.keys.push(key);
        self.values.push(value);
        self.next_offset = Offset(offset + 1);
    }

    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    pub fn headers_of(&self, index: usize) -> Option<&Headers> {
        let found = self.headers.binary_search_by_key(&index, |(at, _)| *at).ok()?;
        Some(&self.headers[found].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_empty_strings_are_told_apart() {
        let mut column = ByteColumn::default();
        for value in [Some(&b"ab"[..]), None, Some(b""), None, Some(b"c")] {
            column.push(value);
        }
        let all: Vec<Option<&[u8]>> = (0..column.len()).map(|index| column.get(index)).collect();
        assert_eq!(all, [Some(&b"ab"[..]), None, Some(b""), None, Some(b"c")]);
        assert_eq!((column.data(), column.range(1), column.range(4)), (&b"abc"[..], None, Some(2..3)));
    }
}
