//! From records to rows.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Fields, Schema, SchemaRef},
};
use async_trait::async_trait;

use crate::{EventTime, Options, Records, Result};

/// What a decoder is built from.
#[derive(Clone, Debug)]
pub struct DecodeSpec {
    /// Value of the option `format`.
    pub format: String,
    /// The declared columns that are not computed, in order. A field that is not nullable is
    /// `NOT NULL`: a record without it is rejected. Field metadata `ebap.type` = `uuid` marks a
    /// text column that must hold a UUID.
    pub schema: SchemaRef,
    /// Of a table the columns of `schema` that are of its primary key: all that a record which takes a
    /// row away must have. Empty for a stream.
    pub key: Vec<usize>,
    pub options: Options,
    /// What somebody reads. Records are judged by all of `schema` all the same: which of them are
    /// rejected, and why, does not depend on it.
    pub wanted: Wanted,
}

/// The columns, or the fields of a struct, that somebody reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    #[default]
    All,
    /// By name; what is not named is not wanted.
    Only(BTreeMap<String, Wanted>),
}

impl Wanted {
    pub fn nothing() -> Self {
        Self::Only(BTreeMap::new())
    }

    /// Wants what is at this path too: a column, a field of it, and so on. No path is all.
    pub fn add<'a>(&mut self, path: impl IntoIterator<Item = &'a str>) {
        let mut path = path.into_iter();
        match (&mut *self, path.next()) {
            (Self::All, _) => {}
            (_, None) => *self = Self::All,
            (Self::Only(fields), Some(name)) => {
                fields.entry(name.to_owned()).or_insert_with(Self::nothing).add(path);
            }
        }
    }

    /// What is wanted of this column or field; `None` where it is not wanted itself.
    pub fn of(&self, name: &str) -> Option<&Self> {
        match self {
            Self::All => Some(&Self::All),
            Self::Only(fields) => fields.get(name),
        }
    }

    /// The schema of what a decoder gives: a column or field that is not wanted is NULL in every row,
    /// so that the others keep their places.
    pub fn relaxed(&self, schema: &SchemaRef) -> SchemaRef {
        match self {
            Self::All => Arc::clone(schema),
            Self::Only(_) => {
                Arc::new(Schema::new_with_metadata(self.relaxed_fields(schema.fields()), schema.metadata().clone()))
            }
        }
    }

    fn relaxed_fields(&self, fields: &Fields) -> Fields {
        let relaxed = fields.iter().map(|field| match (self.of(field.name()), field.data_type()) {
            (None, _) => Arc::new(field.as_ref().clone().with_nullable(true)),
            (Some(wanted @ Self::Only(_)), DataType::Struct(fields)) => {
                let of = DataType::Struct(wanted.relaxed_fields(fields));
                Arc::new(field.as_ref().clone().with_data_type(of))
            }
            (Some(_), _) => Arc::clone(field),
        });
        relaxed.collect()
    }
}

/// Turns records into rows. Holds buffers between calls; one decoder serves one reader.
///
/// # Invariants
/// Every record is exactly one of: a row of the batch, among the rejected, counted in `skipped`.
/// Data never panics and never fails the call: an error is a bug or a lost outside system.
#[async_trait]
pub trait Decoder: Send {
    /// Fetches what these records need to be decoded and is not at hand: the schemas they name. `decode` is given no
    /// others until this is called again.
    ///
    /// # Errors
    /// `Unreachable` where it cannot be fetched. The engine keeps the records, says so, and asks again: none of them is
    /// to blame.
    async fn prepare(&mut self, _records: &[&Records]) -> Result<()> {
        Ok(())
    }

    fn decode(&mut self, records: &Records) -> Result<Decoded>;
}

#[derive(Debug)]
pub struct Decoded {
    /// In the schema of the `DecodeSpec`, as `Wanted::relaxed` gives it. Where rows can be deletes, all
    /// columns but those of the key may be NULL.
    pub batch: RecordBatch,
    /// For each row of the batch the index of its record, rising.
    pub rows: Vec<u32>,
    pub rejected: Vec<Rejected>,
    /// Which of the rows take the row of their key away, in the order of their records. What stands in
    /// their columns beside the key means nothing.
    pub deletes: Vec<Delete>,
    /// Records that say nothing about rows.
    pub skipped: u64,
}

impl Decoded {
    /// What a format gives that knows no deletes.
    pub fn of_rows(batch: RecordBatch, rows: Vec<u32>, rejected: Vec<Rejected>) -> Self {
        Self { batch, rows, rejected, deletes: Vec::new(), skipped: 0 }
    }
}

/// A record that takes a row away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Index in the `Records`.
    pub record: u32,
    /// When it went in the system it comes from; none where the record does not say.
    pub at: Option<EventTime>,
}

/// A record that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Index in the `Records`.
    pub record: u32,
    /// In PostgreSQL's form: lower case, no full stop, names the column.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn paths_add_up_and_what_nobody_reads_may_be_null() {
        let inner: Fields = vec![Field::new("a", DataType::Utf8, false), Field::new("b", DataType::Utf8, false)].into();
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("s", DataType::Struct(inner), false),
            Field::new("t", DataType::Int64, false),
        ]));
        let mut wanted = Wanted::nothing();
        wanted.add(["s", "a"]);
        let shown = |wanted: &Wanted| {
            let relaxed = wanted.relaxed(&schema);
            let DataType::Struct(inner) = relaxed.field(0).data_type() else { return Vec::new() };
            inner.iter().chain(relaxed.fields()).map(|field| field.is_nullable()).collect()
        };
        assert_eq!(shown(&wanted), [false, true, false, true]);
        wanted.add(["t"]);
        wanted.add(["s"]);
        wanted.add(["s", "b"]);
        assert_eq!(shown(&wanted), [false; 4]);
        assert_eq!(wanted.of("s"), Some(&Wanted::All));
        wanted.add([]);
        assert_eq!(wanted, Wanted::All);
    }
}
