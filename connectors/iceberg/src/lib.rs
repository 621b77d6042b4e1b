//! The Iceberg sink: appends the rows of a stream to a table of a REST catalog, each once.
//!
//! ```text
//! rows -> cast to the table's schema -> sort by time -> split by partition -> Parquet files (invisible)
//!                                                                                    |
//!                    checkpoint: one snapshot with the files AND the position behind them (visible)
//! ```
//!
//! # Invariants
//! - Rows and the position behind them become visible in one snapshot: `ebap.position` in its summary is the only
//!   place where the position is kept. `open` walks back from the current snapshot to the newest one of this sink.
//! - A commit is a compare-and-set on exactly the snapshot that was looked at. Nothing rebases behind our back, so what
//!   was checked (no newer incarnation, no commit we do not know) still holds when the commit lands.
//! - Before every attempt, and after the last, the sink looks for its own `ebap.commit`: a lost response is no second
//!   commit, and neither is one that arrives late.
//! - Files of a run that ended before its commit are never referenced by a snapshot. They cost space until the table's
//!   maintenance removes orphan files, and are otherwise harmless.
//!
//! The newest snapshot of a sink must not be expired while other writers go on: with it goes the position.

mod commit;
mod options;
mod schema;
mod sink;
mod summary;
mod writer;

pub use sink::sink;
