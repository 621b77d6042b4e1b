//! What a change event of a database says about the rows of its table, whatever it is written in.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use ebap_connector::{DecodeSpec, Error, Result};

use crate::time::Moments;

/// What becomes of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// `after` is the row of its key now.
    Put,
    /// There is no row of the key any more.
    Take,
    /// It is not about rows.
    Nothing,
}

impl Change {
    /// By Debezium's letter for it.
    ///
    /// # Errors
    /// The reason why the record is rejected.
    pub(crate) fn of(op: &str) -> Result<Self, String> {
        match op {
            // Read by a snapshot, created, updated.
            "r" | "c" | "u" => Ok(Self::Put),
            "d" => Ok(Self::Take),
            // A message that an application has written into the log of the database.
            "m" => Ok(Self::Nothing),
            // It names no key, and is in one partition alone: what other partitions held before it, and what they
            // get behind it, cannot be told apart.
            "t" => Err("TRUNCATE is not followed; DELETE the rows, or create the table again".to_owned()),
            other => Err(format!("the change has op \"{other}\", which is none of r, c, u, d, m, t")),
        }
    }
}

pub(crate) const NOTHING: &str = "the record has neither a key nor a value";
pub(crate) const NO_OP: &str = "the record has no \"op\": it is no change event of Debezium";

pub(crate) fn without_after(op: &str) -> String {
    format!("a change with op \"{op}\" has no \"after\"")
}

/// Debezium makes two records of a change of the key, by its own idea of what the key is. Where the table has another one,
/// the row of the old key would stay.
pub(crate) fn another_key(column: &str) -> String {
    format!("an update changes \"{column}\", which the database does not take for the key: declare its primary key")
}

/// The form in which the change records write moments.
///
/// # Errors
/// `Option` for a bad value, and where the columns are not those of a table.
pub(crate) fn moments(spec: &DecodeSpec) -> Result<Moments> {
    if spec.key.is_empty() {
        let what = format!("\"{}\" is for a table whose primary key has a column that is not computed", spec.format);
        return Err(Error::option("format", what));
    }
    Ok(Moments::of(&spec.options)?.never_seconds_by_magnitude())
}

/// The columns of what is decoded: a delete has its key alone. In rows `NOT NULL` is checked as each value is read.
pub(crate) fn relaxed(spec: &DecodeSpec) -> SchemaRef {
    let fields = spec.schema.fields().iter().enumerate();
    let relaxed =
        fields.map(|(at, field)| field.as_ref().clone().with_nullable(field.is_nullable() || !spec.key.contains(&at)));
    Arc::new(Schema::new(relaxed.collect::<Vec<Field>>()))
}
