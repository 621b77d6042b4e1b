//! The Redis sink: one hash per row of a view, replaced only by a value at least as new.
//!
//! What is stored:
//!
//! | key | type | content |
//! |---|---|---|
//! | the `key` template filled in | hash | one field per column that is not NULL, and `_version`; expires after `ttl` |
//! | `ebap:sink:{id}` | hash | `incarnation`, and `split:<id>` = published position; expires 30 days after the last write |
//!
//! # Invariants
//! - The position is stored before the values it covers, in the same pipeline; Redis runs a pipeline in order.
//! - Every script that touches a key first compares the incarnation, so that a fenced writer changes nothing.
//! - A key that a row left does not exist, not even as a tombstone. Deleting therefore forgets the version, and what
//!   keeps an older writer from bringing the row back is the incarnation alone.
//! - The scripts name two keys each (row and control), so a Redis Cluster is not supported.

mod script;
mod sink;
mod template;
mod text;

pub use sink::sink;
