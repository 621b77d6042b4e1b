//! Reads records of one file from a byte offset. Holds nothing between calls, so that a read whose answer is never
//! taken has lost nothing.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    sync::Arc,
};

use ebap_connector::{Error, Offset, Records, Result, SplitId};

use crate::{
    files::{away, shown},
    framing::{BUFFER_BYTES, Found, Framing, RecordReader},
};

/// Bytes of one answer, beyond which no further record is added.
pub(crate) const ANSWER_BYTES_MAX: usize = 32 << 20;

/// One read.
pub(crate) struct Job<'a> {
    pub(crate) path: &'a Path,
    pub(crate) framing: &'a Framing,
    pub(crate) split: SplitId,
    pub(crate) partition: i32,
    pub(crate) from: Offset,
    /// The header of the file, where it was read before.
    pub(crate) header: Option<Arc<[u8]>>,
    /// Bytes of the file when it had nothing behind `from`.
    pub(crate) nothing_at: Option<i64>,
    pub(crate) rows_max: usize,
    pub(crate) follow: bool,
}

/// The result of one read.
pub(crate) struct Answer {
    pub(crate) records: Records,
    /// Behind the last record that can be read now, as far as this read has seen.
    pub(crate) end: Offset,
    /// Nothing that can be read now is left.
    pub(crate) at_end: bool,
    /// The rest of the file has an open quote, so it may be the beginning of a record.
    pub(crate) open: bool,
    /// Bytes of the file.
    pub(crate) bytes: i64,
}

impl Job<'_> {
    /// None where the file has nothing more than it had before.
    ///
    /// # Errors
    /// `Unreachable` where the file cannot be opened or read, `Refused` where it has become shorter
    /// or a line is too long.
    pub(crate) fn read(self) -> Result<Option<Answer>> {
        let (file, bytes) = open(self.path)?;
        if bytes < self.from.0 {
            return Err(shortened(self.path, bytes, self.from));
        }
        if self.nothing_at == Some(bytes) {
            return Ok(None);
        }
        let mut reader = RecordReader::new(self.path, file, self.framing, self.follow);
        let mut record = Vec::new();
        let mut answer = Answer {
            records: Records::new(self.split, self.partition, self.from),
            end: self.from,
            at_end: true,
            open: false,
            bytes,
        };
        let mut from = self.from.0.unsigned_abs();
        answer.records.header = self.header;
        if self.framing.has_header() && answer.records.header.is_none() {
            if let Found::Nothing { open } = header(&mut reader, &mut record)? {
                answer.open = open;
                return Ok(Some(answer));
            }
            answer.records.header = Some(Arc::from(record.as_slice()));
            from = from.max(reader.at());
            answer.records.next_offset = offset(from)?;
        }
        if reader.at() != from {
            reader.seek(from)?;
        }
        answer.at_end = false;
        let records = &mut answer.records;
        while records.len() < self.rows_max && records.values.bytes() < ANSWER_BYTES_MAX {
            let begin = records.next_offset;
            if let Found::Nothing { open } = reader.next(&mut record)? {
                (answer.at_end, answer.open) = (true, open);
                break;
            }
            if !record.is_empty() {
                records.push(begin.0, -1, None, Some(&record));
            }
            records.next_offset = offset(reader.at())?;
        }
        answer.end = if answer.at_end { records.next_offset } else { Offset(bytes).max(records.next_offset) };
        Ok(Some(answer))
    }
}

/// The first record that is not empty.
fn header(reader: &mut RecordReader<'_>, record: &mut Vec<u8>) -> Result<Found> {
    loop {
        let found = reader.next(record)?;
        if found != Found::Record || !record.is_empty() {
            return Ok(found);
        }
    }
}

/// Behind the last record that can be read now. `known`: an offset behind some record, from which
/// CSV is looked through where it is followed. Blocks.
///
/// # Errors
/// `Unreachable` where the file cannot be opened or read.
pub(crate) fn end(path: &Path, framing: &Framing, follow: bool, known: Offset) -> Result<Offset> {
    let (file, bytes) = open(path)?;
    if !follow {
        return Ok(Offset(bytes));
    }
    match framing {
        Framing::Lines { .. } => last_line(path, file, bytes),
        Framing::Csv(_) => {
            // What its last newline is, the quotes before it say.
            let mut reader = RecordReader::new(path, file, framing, follow);
            if (1..=bytes).contains(&known.0) {
                reader.seek(known.0.unsigned_abs())?;
            }
            let mut record = Vec::new();
            while reader.next(&mut record)? == Found::Record {}
            offset(reader.at())
        }
    }
}

/// Behind the last newline; what follows it is a line still being written.
fn last_line(path: &Path, mut file: File, bytes: i64) -> Result<Offset> {
    let mut block = vec![0; BUFFER_BYTES];
    let mut below = bytes.unsigned_abs();
    while below > 0 {
        let from = below.saturating_sub(BUFFER_BYTES as u64);
        let block = &mut block[..(below - from) as usize];
        let read = file.seek(SeekFrom::Start(from)).and_then(|_| file.read_exact(block));
        read.map_err(|error| away(path, &error))?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return offset(from + at as u64 + 1);
        }
        below = from;
    }
    Ok(Offset(0))
}

fn offset(at: u64) -> Result<Offset> {
    i64::try_from(at).map(Offset).map_err(Error::internal)
}

/// The file and its length.
fn open(path: &Path) -> Result<(File, i64)> {
    let file = File::open(path).map_err(|error| away(path, &error))?;
    let bytes = file.metadata().map_err(|error| away(path, &error))?.len();
    Ok((file, i64::try_from(bytes).map_err(Error::internal)?))
}

fn shortened(path: &Path, bytes: i64, from: Offset) -> Error {
    Error::refused(shown(path), format!("it was truncated to {bytes} bytes while reading had come to byte {from}"))
}
