//! Files of records as a source: JSON lines, CSV, anything with one record to a line.
//!
//! Each file is a split named after the file; the offset is the **byte** at which the next record
//! begins, so that a restart seeks and never counts. Knows nothing of what stands in a record, but of
//! CSV where it ends: a quoted field may hold line breaks.
//!
//! # Invariants
//! - What has been read does not change: a file is only ever appended to, and one that is read to
//!   its end (`follow = false`) not even that. A file that has become shorter than the offset is
//!   refused, as nothing tells what else changed.
//! - A followed file gives a record once its newline is there; otherwise half of it could be taken
//!   for all. Without `follow` the last record counts without it.
//! - Empty lines are no records, and neither is the header of a CSV file: it comes with every answer
//!   of its file (`Records::header`), wherever reading began.
//! - A byte order mark at the beginning of a file is no part of its first record, unless the format
//!   is `raw`.

mod files;
mod framing;
mod job;
mod reader;
mod source;

pub use framing::RECORD_BYTES_MAX;
pub use source::source;
