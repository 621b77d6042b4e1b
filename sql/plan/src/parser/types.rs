//! Column types: PostgreSQL's names, with `STRUCT`, `MAP` and arrays.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use crate::{Error, Result, names::quoted};

/// A type with its canonical name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ColumnType {
    pub(crate) arrow: DataType,
    pub(crate) text: String,
    /// `uuid` and `json` are text that must be one.
    pub(crate) marker: Option<&'static str>,
}

impl ColumnType {
    fn plain(arrow: DataType, text: &str) -> Self {
        Self { arrow, text: text.to_owned(), marker: None }
    }

    fn marked(text: &'static str, marker: &'static str) -> Self {
        Self { arrow: DataType::Utf8, text: text.to_owned(), marker: Some(marker) }
    }

    /// A field of this type.
    pub(crate) fn field(&self, name: &str, nullable: bool) -> Field {
        let field = Field::new(name, self.arrow.clone(), nullable);
        match self.marker {
            Some(marker) => field.with_metadata(HashMap::from([("ebap.type".to_owned(), marker.to_owned())])),
            None => field,
        }
    }
}

pub(super) fn column_type(cursor: &mut Cursor<'_>) -> Result<ColumnType> {
    let mut found = base(cursor, &mut 0)?;
    while cursor.take_token(&Token::LBracket) {
        cursor.expect_token(&Token::RBracket)?;
        found = list(&found);
    }
    Ok(found)
}

/// A type that stands alone.
pub(crate) fn parsed_type(text: &str) -> Result<ColumnType> {
    let tokens = super::solid_tokens(text)?;
    let mut cursor = Cursor::new(text, tokens);
    let found = column_type(&mut cursor)?;
    cursor.end()?;
    Ok(found)
}

fn list(of: &ColumnType) -> ColumnType {
    ColumnType::plain(DataType::List(Arc::new(of.field("item", true))), &format!("{}[]", of.text))
}

/// `closed` counts the `>` that a `>>` token closed too many, for the types around.
fn base(cursor: &mut Cursor<'_>, closed: &mut usize) -> Result<ColumnType> {
    let position = cursor.position();
    let name = cursor.identifier()?;
    let utc = || Some("+00:00".into());
    Ok(match name.as_str() {
        "text" | "varchar" | "string" | "char" => {
            // A length is accepted as PostgreSQL's tools write it, and not enforced.
            if cursor.is(&Token::LParen) {
                return Err(Error::unsupported(
                    format!("a length for type {name}"),
                    "Use TEXT with CHECK (length(column) <= n).",
                )
                .at(position));
            }
            ColumnType::plain(DataType::Utf8, "TEXT")
        }
        "uuid" => ColumnType::marked("UUID", "uuid"),
        "json" | "jsonb" => ColumnType::marked("JSONB", "json"),
        "smallint" | "int2" => ColumnType::plain(DataType::Int16, "SMALLINT"),
        "int" | "integer" | "int4" => ColumnType::plain(DataType::Int32, "INTEGER"),
        "bigint" | "int8" => ColumnType::plain(DataType::Int64, "BIGINT"),
        "real" | "float4" => ColumnType::plain(DataType::Float32, "REAL"),
        "double" => {
            cursor.take(&["PRECISION"]);
            ColumnType::plain(DataType::Float64, "DOUBLE PRECISION")
        }
        "float" | "float8" => ColumnType::plain(DataType::Float64, "DOUBLE PRECISION"),
        "boolean" | "bool" => ColumnType::plain(DataType::Boolean, "BOOLEAN"),
        "date" => ColumnType::plain(DataType::Date32, "DATE"),
        "bytea" => ColumnType::plain(DataType::Binary, "BYTEA"),
        "timestamptz" => ColumnType::plain(DataType::Timestamp(TimeUnit::Microsecond, utc()), "TIMESTAMPTZ"),
        "timestamp" => {
            if cursor.take(&["WITH", "TIME", "ZONE"]) {
                return Ok(ColumnType::plain(DataType::Timestamp(TimeUnit::Microsecond, utc()), "TIMESTAMPTZ"));
            }
            cursor.take(&["WITHOUT", "TIME", "ZONE"]);
            ColumnType::plain(DataType::Timestamp(TimeUnit::Microsecond, None), "TIMESTAMP")
        }
        "decimal" | "numeric" => decimal(cursor, position)?,
        "struct" => structure(cursor, closed)?,
        "array" => {
            cursor.expect_token(&Token::Lt)?;
            let of = nested(cursor, closed)?;
            close(cursor, closed)?;
            list(&of)
        }
        "map" => map(cursor, closed)?,
        other => {
            return Err(Error::new("42704", format!("type \"{other}\" does not exist"))
                .at(position)
                .hint("Types are those of PostgreSQL, and STRUCT<name TYPE, ...>, MAP<TEXT, TYPE>, TYPE[]."));
        }
    })
}

fn decimal(cursor: &mut Cursor<'_>, position: usize) -> Result<ColumnType> {
    let (mut precision, mut scale) = (38, 10);
    if cursor.take_token(&Token::LParen) {
        precision = number(cursor)?;
        scale = if cursor.take_token(&Token::Comma) { number(cursor)? } else { 0 };
        cursor.expect_token(&Token::RParen)?;
    }
    if precision == 0 || precision > 38 || scale > precision {
        return Err(Error::new(
            "22023",
            format!("NUMERIC precision {precision} must be between 1 and 38, its scale at most that"),
        )
        .at(position));
    }
    let arrow = DataType::Decimal128(precision, i8::try_from(scale).unwrap_or(38));
    Ok(ColumnType::plain(arrow, &format!("NUMERIC({precision}, {scale})")))
}

fn number(cursor: &mut Cursor<'_>) -> Result<u8> {
    let unexpected = cursor.unexpected();
    match cursor.next()? {
        Token::Number(text, _) => text.parse().map_err(|_| unexpected),
        _ => Err(unexpected),
    }
}

fn nested(cursor: &mut Cursor<'_>, closed: &mut usize) -> Result<ColumnType> {
    let mut found = base(cursor, closed)?;
    while *closed == 0 && cursor.take_token(&Token::LBracket) {
        cursor.expect_token(&Token::RBracket)?;
        found = list(&found);
    }
    Ok(found)
}

/// `>`; a `>>` closes two.
fn close(cursor: &mut Cursor<'_>, closed: &mut usize) -> Result<()> {
    if *closed > 0 {
        *closed -= 1;
        return Ok(());
    }
    if cursor.take_token(&Token::ShiftRight) {
        *closed += 1;
        return Ok(());
    }
    cursor.expect_token(&Token::Gt)
}

fn structure(cursor: &mut Cursor<'_>, closed: &mut usize) -> Result<ColumnType> {
    cursor.expect_token(&Token::Lt)?;
    let (mut fields, mut texts) = (Vec::new(), Vec::new());
    loop {
        let name = cursor.identifier()?;
        let of = nested(cursor, closed)?;
        let mut field = of.field(&name, true);
        let mut text = format!("{} {}", quoted(&name), of.text);
        if let Some(pii) = pii(cursor)? {
            let mut metadata = field.metadata().clone();
            metadata.insert("ebap.pii".to_owned(), pii.to_lowercase());
            field.set_metadata(metadata);
            text.push_str(&format!(" PII {pii}"));
        }
        fields.push(field);
        texts.push(text);
        if *closed > 0 || !cursor.take_token(&Token::Comma) {
            break;
        }
    }
    close(cursor, closed)?;
    Ok(ColumnType::plain(DataType::Struct(fields.into()), &format!("STRUCT<{}>", texts.join(", "))))
}

fn map(cursor: &mut Cursor<'_>, closed: &mut usize) -> Result<ColumnType> {
    cursor.expect_token(&Token::Lt)?;
    let key = nested(cursor, closed)?;
    cursor.expect_token(&Token::Comma)?;
    let value = nested(cursor, closed)?;
    close(cursor, closed)?;
    let entries = DataType::Struct(vec![key.field("key", false), value.field("value", true)].into());
    let arrow = DataType::Map(Arc::new(Field::new("entries", entries, false)), false);
    Ok(ColumnType::plain(arrow, &format!("MAP<{}, {}>", key.text, value.text)))
}

/// `PII HASH` or `PII ENCRYPT`.
pub(super) fn pii(cursor: &mut Cursor<'_>) -> Result<Option<&'static str>> {
    if !cursor.take(&["PII"]) {
        return Ok(None);
    }
    if cursor.take(&["HASH"]) {
        Ok(Some("HASH"))
    } else if cursor.take(&["ENCRYPT"]) {
        Ok(Some("ENCRYPT"))
    } else {
        Err(cursor.unexpected().detail("Expected HASH or ENCRYPT."))
    }
}
