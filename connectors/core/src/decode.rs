//! From records to rows.

use arrow::{array::RecordBatch, datatypes::SchemaRef};

use crate::{Options, Records, Result};

/// What a decoder is built from.
#[derive(Clone, Debug)]
pub struct DecodeSpec {
    /// Value of the option `format`.
    pub format: String,
    /// The declared columns that are not computed, in order. A field that is not nullable is
    /// `NOT NULL`: a record without it is rejected. Field metadata `ebap.type` = `uuid` marks a
    /// text column that must hold a UUID.
    pub schema: SchemaRef,
    pub options: Options,
}

/// Turns records into rows. Holds buffers between calls; one decoder serves one reader.
///
/// # Invariants
/// Every record is either a row of the batch or among the rejected, never both, never neither.
/// Data never panics and never fails the call: an error is a bug or a lost outside system.
pub trait Decoder: Send {
    fn decode(&mut self, records: &Records) -> Result<Decoded>;
}

#[derive(Debug)]
pub struct Decoded {
    /// In the schema of the `DecodeSpec`.
    pub batch: RecordBatch,
    /// For each row of the batch the index of its record, rising.
    pub rows: Vec<u32>,
    pub rejected: Vec<Rejected>,
}

/// A record that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Index in the `Records`.
    pub record: u32,
    /// In PostgreSQL's form: lower case, no full stop, names the column.
    pub reason: String,
}
