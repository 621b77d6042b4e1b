//! Where rejected records go.

use async_trait::async_trait;

use crate::{Headers, Result, SplitId};

/// A record that could not become a row, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub split: SplitId,
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Headers,
    pub reason: String,
    /// When it was rejected, microseconds since 1970.
    pub rejected_at_us: i64,
}

/// Delivers dead letters once each: `flush` gives a token that goes into the manifest; `open` with
/// that token finds what was delivered after it (by the stream's name, split and offset that every
/// dead letter carries), and `write` leaves those out. Once a writer is open, one that was opened earlier for the same
/// stream delivers nothing more: letters behind its last `flush` are lost with it, and are met again.
#[async_trait]
pub trait DeadLetterWriter: Send {
    async fn open(&mut self, token: Option<&str>) -> Result<()>;
    async fn write(&mut self, letters: &[DeadLetter]) -> Result<()>;
    /// Returns when all that was written is delivered.
    async fn flush(&mut self) -> Result<String>;
}
