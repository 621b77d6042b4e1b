//! Reads whole lines of one file from a byte offset. Holds nothing between calls, so that a read
//! whose answer is never taken has lost nothing.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use ebap_connector::{Error, Offset, Records, Result, SplitId};

use crate::files::{away, shown};

/// A longer line is refused.
pub const LINE_BYTES_MAX: usize = 16 << 20;
/// Bytes of one answer, beyond which no further line is added.
pub(crate) const ANSWER_BYTES_MAX: usize = 32 << 20;
const BUFFER_BYTES: usize = 64 << 10;

pub(crate) struct Job<'a> {
    pub(crate) path: &'a Path,
    pub(crate) split: SplitId,
    pub(crate) partition: i32,
    pub(crate) from: Offset,
    pub(crate) rows_max: usize,
    pub(crate) follow: bool,
}

pub(crate) struct Lines {
    pub(crate) records: Records,
    /// Behind the last line that can be read now, as far as this read has seen.
    pub(crate) end: Offset,
    /// Nothing that can be read now is left.
    pub(crate) at_end: bool,
}

impl Job<'_> {
    /// # Errors
    /// `Unreachable` where the file cannot be opened or read, `Refused` where it has become shorter
    /// or a line is too long.
    pub(crate) fn read(self) -> Result<Lines> {
        let (mut file, bytes) = open(self.path)?;
        if bytes < self.from.0 {
            return Err(shortened(self.path, bytes, self.from));
        }
        file.seek(SeekFrom::Start(self.from.0.unsigned_abs())).map_err(|error| away(self.path, &error))?;
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
        let mut records = Records::new(self.split, self.partition, self.from);
        let mut line = Vec::new();
        let mut at_end = false;
        while records.len() < self.rows_max && records.values.bytes() < ANSWER_BYTES_MAX {
            let begin = records.next_offset;
            line.clear();
            let mut bounded = reader.by_ref().take(LINE_BYTES_MAX as u64 + 1);
            let length = bounded.read_until(b'\n', &mut line).map_err(|error| away(self.path, &error))?;
            let whole = line.last() == Some(&b'\n');
            if !whole && length > LINE_BYTES_MAX {
                let message = format!("the line at byte {begin} is longer than {LINE_BYTES_MAX} bytes");
                return Err(Error::refused(shown(self.path), message));
            }
            if length == 0 || (!whole && self.follow) {
                at_end = true;
                break;
            }
            let text = content(&line);
            if !text.is_empty() {
                records.push(begin.0, -1, None, Some(text));
            }
            records.next_offset = Offset(begin.0 + i64::try_from(length).map_err(Error::internal)?);
        }
        let end = if at_end { records.next_offset } else { Offset(bytes).max(records.next_offset) };
        Ok(Lines { records, end, at_end })
    }
}

/// Behind the last line that can be read now. Blocks.
///
/// # Errors
/// `Unreachable` where the file cannot be opened or read.
pub(crate) fn end(path: &Path, follow: bool) -> Result<Offset> {
    let (mut file, bytes) = open(path)?;
    if !follow {
        return Ok(Offset(bytes));
    }
    // Backwards in blocks to the last newline; what follows it is a line still being written.
    let mut block = vec![0; BUFFER_BYTES];
    let mut below = bytes.unsigned_abs();
    while below > 0 {
        let from = below.saturating_sub(BUFFER_BYTES as u64);
        let block = &mut block[..(below - from) as usize];
        let read = file.seek(SeekFrom::Start(from)).and_then(|_| file.read_exact(block));
        read.map_err(|error| away(path, &error))?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return i64::try_from(from + at as u64 + 1).map(Offset).map_err(Error::internal);
        }
        below = from;
    }
    Ok(Offset(0))
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

fn content(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
