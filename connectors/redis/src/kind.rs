//! The option `type`: what a row is in Redis, and as arguments of the script that puts it there (`script.rs`).

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::Float64Type,
};
use ebap_connector::{Result, json, numeric::doubles, text};
use redis::Cmd;

use crate::{change::Change, template::Template};

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Columns as fields.
    Hash,
    /// One column, or the row as JSON.
    String {
        value: Option<usize>,
    },
    Set {
        member: Template,
    },
    SortedSet {
        member: Template,
        score: usize,
    },
    /// Every change an entry. `identity` are the columns that a deleted row is named by.
    Stream {
        max_length: u64,
        identity: Vec<usize>,
    },
}

impl Kind {
    /// Several rows may be at one key.
    pub(crate) fn has_parts(&self) -> bool {
        self.has_members() || matches!(self, Self::Stream { .. })
    }

    pub(crate) fn has_members(&self) -> bool {
        matches!(self, Self::Set { .. } | Self::SortedSet { .. })
    }

    /// Whether rows at one key differ where the column does.
    pub(crate) fn names(&self, column: usize) -> bool {
        match self {
            Self::Hash | Self::String { .. } => false,
            Self::Set { member } | Self::SortedSet { member, .. } => member.names(column),
            Self::Stream { identity, .. } => identity.contains(&column),
        }
    }

    /// What tells the row from others at its key.
    pub(crate) fn parts(&self, batch: &RecordBatch, row: usize) -> Result<Vec<Option<String>>> {
        match self {
            Self::Hash | Self::String { .. } => Ok(Vec::new()),
            Self::Set { member } | Self::SortedSet { member, .. } => Ok(vec![Some(member.render(batch, row)?)]),
            Self::Stream { identity, .. } => identity.iter().map(|column| value(batch, *column, row)).collect(),
        }
    }

    /// False where the row is nothing in Redis: a score or a value that is NULL, a score that is no number.
    pub(crate) fn is_present(&self, batch: &RecordBatch, row: usize) -> Result<bool> {
        Ok(match self {
            Self::String { value: Some(column) } => batch.column(*column).is_valid(row),
            Self::SortedSet { score, .. } => score_of(batch, *score, row)?.is_some(),
            Self::Hash | Self::String { value: None } | Self::Set { .. } | Self::Stream { .. } => true,
        })
    }

    /// What the script is told once.
    pub(crate) fn add_head(&self, command: &mut Cmd, columns: &[String]) {
        match self {
            Self::Hash => {
                command.arg(columns.len()).arg(columns);
            }
            Self::Stream { max_length, .. } => {
                command.arg(max_length);
            }
            Self::String { .. } | Self::Set { .. } | Self::SortedSet { .. } => {}
        }
    }

    /// What it is told of a row; `columns` of the view.
    pub(crate) fn add(&self, command: &mut Cmd, change: &Change, columns: &[String]) -> Result<()> {
        let version = change.version;
        let Some((batch, row)) = &change.row else {
            command.arg("-").arg(version);
            match self {
                Self::Hash | Self::String { .. } => {}
                Self::Set { .. } | Self::SortedSet { .. } => {
                    command.arg(change.parts.first().and_then(Option::as_deref).unwrap_or_default());
                }
                Self::Stream { identity, .. } => {
                    let fields = identity.iter().zip(&change.parts);
                    let fields = fields.filter_map(|(column, value)| Some((columns.get(*column)?, value.as_deref()?)));
                    add_fields(command, fields);
                }
            }
            return Ok(());
        };
        let row = *row;
        match self {
            Self::Hash => {
                let present = |column: &arrow::array::ArrayRef| column.is_valid(row);
                if batch.columns().iter().all(present) {
                    command.arg("+");
                } else {
                    let mask: String =
                        batch.columns().iter().map(|column| if present(column) { '1' } else { '0' }).collect();
                    command.arg(mask);
                }
                command.arg(version);
                let mut text = String::new();
                for column in batch.columns().iter().filter(|column| present(column)) {
                    text.clear();
                    text::write_value(&mut text, column, row)?;
                    command.arg(&text);
                }
            }
            Self::String { value: column } => {
                let text = match column {
                    Some(column) => value(batch, *column, row)?.unwrap_or_default(),
                    None => {
                        let mut text = String::new();
                        json::write_row(&mut text, batch, row)?;
                        text
                    }
                };
                command.arg("+").arg(version).arg(text);
            }
            Self::Set { .. } | Self::SortedSet { .. } => {
                let member = change.parts.first().and_then(Option::as_deref).unwrap_or_default();
                command.arg("+").arg(version).arg(member);
                if let Self::SortedSet { score, .. } = self {
                    command.arg(score_of(batch, *score, row)?.unwrap_or_default());
                }
            }
            Self::Stream { .. } => {
                command.arg("+").arg(version);
                let mut fields = Vec::new();
                for (index, name) in columns.iter().enumerate() {
                    if let Some(value) = value(batch, index, row)? {
                        fields.push((name, value));
                    }
                }
                add_fields(command, fields.iter().map(|(name, value)| (*name, value.as_str())));
            }
        }
        Ok(())
    }
}

fn add_fields<'a>(command: &mut Cmd, fields: impl Iterator<Item = (&'a String, &'a str)>) {
    let fields: Vec<_> = fields.collect();
    command.arg(fields.len() * 2);
    for (name, value) in fields {
        command.arg(name).arg(value);
    }
}

fn value(batch: &RecordBatch, column: usize, row: usize) -> Result<Option<String>> {
    let column = batch.column(column);
    if column.is_null(row) {
        return Ok(None);
    }
    let mut text = String::new();
    text::write_value(&mut text, column, row)?;
    Ok(Some(text))
}

/// As Redis reads it, which has scores of double precision; none where it is NULL or not a number.
fn score_of(batch: &RecordBatch, column: usize, row: usize) -> Result<Option<String>> {
    let column = batch.column(column);
    if column.is_null(row) {
        return Ok(None);
    }
    let number = doubles(&column.slice(row, 1))?;
    let number = number.as_primitive::<Float64Type>().value(0);
    if number.is_nan() {
        return Ok(None);
    }
    if number.is_infinite() {
        return Ok(Some(if number > 0.0 { "+inf" } else { "-inf" }.to_owned()));
    }
    Ok(Some(number.to_string()))
}
