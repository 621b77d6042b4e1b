//! The engine: the loop, its state, checkpoints, and the views it keeps.
//!
//! ```text
//! SourceReader -> Decoder -> RowPreparer -> Watermarks -> jobs of the pipeline -> checkpoint
//!    Records      Decoded     StepBatch      late rows     views, tables, sinks     manifest
//! ```
//!
//! One `pipeline` per stream or table, and one per set of them that a view joins, reads once and decodes once,
//! and hands every step to all of its jobs. Sees connectors through the traits of `ebap-connector` alone.

mod accounting;
mod alerts;
#[doc(hidden)]
pub mod bench;
mod catch_up;
mod checkpoint;
mod config;
mod engine;
mod error;
mod event_time;
mod failed_rows;
mod figures;
mod flow;
mod guard;
mod jsonb;
mod late_log;
mod memory;
mod needs;
mod pipeline;
mod prepare;
mod rows;
mod scan;
mod sinks;
mod status;
mod system;
#[cfg(test)]
mod testing;
mod text;
mod view;
mod watermark;

pub use config::EngineConfig;
pub use engine::{Engine, explain};
pub use error::{Error, Result};
pub use memory::MemoryBudget;
pub use scan::{Scanned, scanned};
