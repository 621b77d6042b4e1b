//! Files of lines as a source: JSON lines, CSV, anything with one record to a line.
//!
//! Each file is a split named after the file; the offset is the **byte** at which the next line
//! begins, so that a restart seeks and never counts lines. Knows nothing of what stands in a line.
//!
//! # Invariants
//! - What has been read does not change: a file is only ever appended to, and one that is read to
//!   its end (`follow = false`) not even that. A file that has become shorter than the offset is
//!   refused, as nothing tells what else changed.
//! - A followed file gives a line once its newline is there; otherwise half a line could be taken
//!   for a whole one. Without `follow` the last line counts without it.
//! - Empty lines are no records.

mod files;
mod lines;
mod reader;
mod source;

pub use lines::LINE_BYTES_MAX;
pub use source::source;
