//! Kafka: topics as sources and sinks, dead-letter topics, and a writer for `ebap generate`.
//!
//! Group offsets and group assignment are never used: which split is read from where is said by the
//! engine's manifest alone. Reading is `read_committed`.

mod alert;
mod client;
mod dead_letter;
mod options;
mod queue;
mod reader;
mod sink;
mod source;
mod topic;
mod transactions;
mod writer;

pub use alert::{is_alert_option, notifier};
pub use dead_letter::dead_letters;
pub use sink::sink;
pub use source::source;
pub use writer::TopicWriter;
