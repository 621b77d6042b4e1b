//! Cuts a file into records. A record is a line; a record of CSV goes on until no quote is open.
//!
//! # Invariants
//! - Where a record ends follows from the bytes behind its first one alone, and from no other record. So every reader
//!   that begins at the end of a record finds the same records.
//! - A quote that is not closed within `RECORD_BYTES_MAX`, or by the end of a file that is not followed, is closed by
//!   nothing: its line is a record, and reading goes on at the next line. What was looked at in vain holds no other
//!   such quote: each quote in it is one of a pair. So no byte is looked at much more than twice.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use ebap_connector::{Error, Options, Result, csv::CsvOptions};

use crate::files::{away, shown};

/// The largest record. A longer line is refused.
pub const RECORD_BYTES_MAX: usize = 16 << 20;
pub(crate) const BUFFER_BYTES: usize = 64 << 10;
/// UTF-8's byte order mark, which some tools put before the first character of a file.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The rule that cuts files into records.
#[derive(Clone, Debug)]
pub(crate) enum Framing {
    /// By lines. `raw`: a byte order mark is part of the first one.
    Lines {
        raw: bool,
    },
    Csv(CsvOptions),
}

impl Framing {
    /// # Errors
    /// `Option` for a bad option of the format.
    pub(crate) fn of(options: &Options) -> Result<Self> {
        Ok(match options.get("format") {
            Some("csv") => Self::Csv(CsvOptions::parse(options)?),
            format => Self::Lines { raw: format == Some("raw") },
        })
    }

    /// The first record of a file names the fields of the others.
    pub(crate) fn has_header(&self) -> bool {
        match self {
            Self::Lines { .. } => false,
            Self::Csv(csv) => csv.header,
        }
    }

    fn open_behind(&self, line: &[u8], open: bool) -> bool {
        match self {
            Self::Lines { .. } => false,
            Self::Csv(csv) => csv.open_behind(line, open),
        }
    }

    fn mark(&self) -> &'static [u8] {
        match self {
            Self::Lines { raw: true } => b"",
            Self::Lines { raw: false } | Self::Csv(_) => MARK,
        }
    }
}

/// The next record of a file, or the lack of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A record. It is empty where its line is.
    Record,
    /// No whole record yet. `open`: what is there has lines, and a quote that is still open.
    Nothing { open: bool },
}

/// Reads the records of one file in turn. Blocks.
pub(crate) struct RecordReader<'a> {
    path: &'a Path,
    framing: &'a Framing,
    follow: bool,
    reader: BufReader<File>,
    at: u64,
}

impl<'a> RecordReader<'a> {
    /// Begins with the first record of the file.
    pub(crate) fn new(path: &'a Path, file: File, framing: &'a Framing, follow: bool) -> Self {
        Self { path, framing, follow, reader: BufReader::with_capacity(BUFFER_BYTES, file), at: 0 }
    }

    /// Where the next record begins.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Goes to the beginning of a record.
    ///
    /// # Errors
    /// `Unreachable` where the file cannot be read.
    pub(crate) fn seek(&mut self, at: u64) -> Result<()> {
        self.reader.seek(SeekFrom::Start(at)).map_err(|error| away(self.path, &error))?;
        self.at = at;
        Ok(())
    }

    /// Puts the next record, without its line break, into `record`.
    ///
    /// # Errors
    /// `Unreachable` where the file cannot be read, `Refused` where a line is too long.
    pub(crate) fn next(&mut self, record: &mut Vec<u8>) -> Result<Found> {
        record.clear();
        let begin = self.at + self.pass_mark()?;
        if !self.line(record)? {
            if record.len() > RECORD_BYTES_MAX {
                let message = format!("the line at byte {begin} is longer than {RECORD_BYTES_MAX} bytes");
                return Err(Error::refused(shown(self.path), message));
            }
            if record.is_empty() || self.follow {
                return Ok(Found::Nothing { open: false });
            }
        }
        let first = record.len();
        let mut open = self.framing.open_behind(record, false);
        while open {
            let line = record.len();
            let whole = line <= RECORD_BYTES_MAX && self.line(record)?;
            let in_bounds = line <= RECORD_BYTES_MAX && (whole || record.len() <= RECORD_BYTES_MAX);
            if in_bounds && self.follow && !whole {
                return Ok(Found::Nothing { open: true });
            }
            if !in_bounds || record.len() == line {
                record.truncate(first);
                self.seek(begin + first as u64)?;
                break;
            }
            open = self.framing.open_behind(&record[line..], true);
        }
        self.at = begin + record.len() as u64;
        let text = record.strip_suffix(b"\n").unwrap_or(record);
        let text = text.strip_suffix(b"\r").unwrap_or(text).len();
        record.truncate(text);
        Ok(Found::Record)
    }

    /// Bytes of the byte order mark that stands here.
    fn pass_mark(&mut self) -> Result<u64> {
        if self.at > 0 {
            return Ok(0);
        }
        let mark = self.framing.mark();
        let ahead = self.reader.fill_buf().map_err(|error| away(self.path, &error))?;
        let bytes = if ahead.starts_with(mark) { mark.len() } else { 0 };
        self.reader.consume(bytes);
        Ok(bytes as u64)
    }

    /// Appends the next line, of what `record` has room for; true where its newline is there.
    fn line(&mut self, record: &mut Vec<u8>) -> Result<bool> {
        let room = (RECORD_BYTES_MAX + 1).saturating_sub(record.len());
        let mut bounded = self.reader.by_ref().take(room as u64);
        let length = bounded.read_until(b'\n', record).map_err(|error| away(self.path, &error))?;
        Ok(length > 0 && record.last() == Some(&b'\n'))
    }
}

#[cfg(test)]
mod tests;
