//! One value on its way from JSON to a column: converted and checked before anything is appended, so
//! that a rejected record leaves no trace in the columns.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::{
    number::Written,
    time::{Moments, NoMoment, date},
    tree::{Json, Object},
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Null,
    Bool(bool),
    /// Integers, dates and timestamps.
    Int(i64),
    Float(f64),
    Decimal(i128),
    Text(String),
    Bytes(Vec<u8>),
    Struct(Vec<Cell>),
    List(Vec<Cell>),
    Map(Vec<(Cell, Cell)>),
}

/// How producers write what JSON has no type for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Plain,
    /// Dates are days since 1970, JSON is text.
    Debezium,
}

pub(crate) struct Converter {
    pub(crate) moments: Moments,
    pub(crate) dialect: Dialect,
}

/// What Debezium writes in place of a large value that an UPDATE has left as it was: PostgreSQL does not send it, unless
/// the table has REPLICA IDENTITY FULL.
pub(crate) const UNAVAILABLE: &str = "__debezium_unavailable_value";
const UNAVAILABLE_BASE64: &str = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";

type Outcome = Result<Cell, String>;

/// Digits that a JSON number with a fraction keeps on its way through a double.
pub(crate) const EXACT_DIGITS: u32 = 15;

impl Converter {
    /// The values for these fields, or the reason why the record is rejected.
    pub(crate) fn row(&self, fields: &Fields, mut object: Object) -> Result<Vec<Cell>, String> {
        let one = |field: &Arc<Field>| {
            let value = object.take(fields, field.name(), field.name())?;
            self.field(field, value, field.name())
        };
        fields.iter().map(one).collect()
    }

    /// The value for this field; `path` names it in the reason.
    pub(crate) fn field(&self, field: &Field, value: Option<Json>, path: &str) -> Outcome {
        let cell = match value {
            None | Some(Json::Null) => Cell::Null,
            Some(value) => self.value(field, value, path)?,
        };
        if cell == Cell::Null && !field.is_nullable() {
            return Err(absent(path));
        }
        Ok(cell)
    }

    fn value(&self, field: &Field, value: Json, path: &str) -> Outcome {
        let is_json = field.metadata().get("ebap.type").is_some_and(|marker| marker == "json");
        if let (true, Dialect::Debezium, Json::String(text)) = (is_json, self.dialect, &value)
            && text != UNAVAILABLE
        {
            // Its text, in which numbers have their digits.
            return match is_jsonb(text.as_bytes()) {
                true => Ok(Cell::Text(text.clone())),
                false => Err(invalid(path, "json", text)),
            };
        }
        let value = if self.dialect == Dialect::Debezium { of_debezium(field, value, path)? } else { value };
        if is_json {
            if value.has_zero() {
                return Err(invalid(path, "json", &value.to_string()));
            }
            return Ok(Cell::Text(value.to_string()));
        }
        match (field.data_type(), value) {
            (DataType::Utf8, Json::String(text)) => text_cell(field, text, path),
            (DataType::Boolean, Json::Bool(value)) => Ok(Cell::Bool(value)),
            (DataType::Int16, value) => integer(value, path, "smallint", i16::MIN.into(), i16::MAX.into()),
            (DataType::Int32, value) => integer(value, path, "integer", i32::MIN.into(), i32::MAX.into()),
            (DataType::Int64, value) => integer(value, path, "bigint", i64::MIN, i64::MAX),
            (DataType::Float32 | DataType::Float64, value) => float(value, path, field.data_type()),
            (DataType::Decimal128(precision, scale), value) => {
                let (text, found) = match &value {
                    Json::Number(text) => (text, number_of_double(text, *precision, *scale)),
                    Json::String(text) => (text, decimal(text, *precision, *scale)),
                    _ => return Err(mismatch(path, "numeric", &value)),
                };
                match found {
                    Some(found) => Ok(Cell::Decimal(found)),
                    None => {
                        Err(format!("column \"{path}\": {} does not fit numeric({precision}, {scale})", shown(text)))
                    }
                }
            }
            (of @ DataType::Timestamp(..), value) => self.timestamp(of, value, path),
            (DataType::Date32, value @ Json::Number(_)) if self.dialect == Dialect::Debezium => {
                integer(value, path, "date", i32::MIN.into(), i32::MAX.into())
            }
            (DataType::Date32, Json::String(text)) => match date(&text) {
                Some(days) => Ok(Cell::Int(days.into())),
                None => Err(invalid(path, "date", &text)),
            },
            (DataType::Binary, Json::String(text)) => {
                BASE64.decode(&text).map(Cell::Bytes).map_err(|_| invalid(path, "base64 text", &text))
            }
            (DataType::Struct(fields), Json::Object(mut object)) => {
                let cells = fields.iter().map(|field| {
                    let path = format!("{path}.{}", field.name());
                    let value = object.take(fields, field.name(), &path)?;
                    self.field(field, value, &path)
                });
                Ok(Cell::Struct(cells.collect::<Result<_, _>>()?))
            }
            (DataType::List(item), Json::Array(values)) => {
                let cells = values
                    .into_iter()
                    .enumerate()
                    .map(|(at, value)| self.field(item, Some(value), &format!("{path}[{at}]")));
                Ok(Cell::List(cells.collect::<Result<_, _>>()?))
            }
            (DataType::Map(entries, _), Json::Object(object)) => self.map(entries, object, path),
            (other, value) => Err(mismatch(path, &name_of(other), &value)),
        }
    }

    fn map(&self, entries: &Field, object: Object, path: &str) -> Outcome {
        let DataType::Struct(fields) = entries.data_type() else { return Err(format!("column \"{path}\" is no map")) };
        let members = object.into_members();
        let mut cells = Vec::with_capacity(members.len());
        for (key, value) in members {
            let at = format!("{path}.{key}");
            let key = self.key(&fields[0], key, &at)?;
            cells.push((key, self.field(&fields[1], Some(value), &at)?));
        }
        Ok(Cell::Map(cells))
    }

    /// Keys of JSON objects are text; a map may have keys of another type.
    fn key(&self, field: &Field, key: String, path: &str) -> Outcome {
        match field.data_type() {
            DataType::Utf8 => text_cell(field, key, path),
            _ => {
                let value = Json::parse(key.as_bytes()).unwrap_or(Json::String(key));
                self.field(field, Some(value), path)
            }
        }
    }

    fn timestamp(&self, of: &DataType, value: Json, path: &str) -> Outcome {
        let (text, found) = match &value {
            Json::String(text) => (text, self.moments.of_text(text)),
            Json::Number(number) => (number, self.moments.of_number(number)),
            Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => {
                return Err(mismatch(path, &name_of(of), &value));
            }
        };
        found.map(Cell::Int).map_err(|fault| no_moment(path, of, text, fault))
    }
}

/// Why a value is none of a column of timestamps.
pub(crate) fn no_moment(path: &str, of: &DataType, text: &str, fault: NoMoment) -> String {
    match fault {
        NoMoment::Syntax => invalid(path, &name_of(of), text),
        NoMoment::Range => out_of_range(path, of, text),
    }
}

/// The value as a producer of plain JSON would have written it.
fn of_debezium(field: &Field, value: Json, path: &str) -> Result<Json, String> {
    match (field.data_type(), value) {
        (of, Json::String(text)) if text == UNAVAILABLE || (*of == DataType::Binary && text == UNAVAILABLE_BASE64) => {
            Err(unavailable(path))
        }
        (DataType::Decimal128(precision, scale), Json::String(text))
            if decimal(&text, *precision, *scale).is_none() =>
        {
            // Digits and a point, so it is a number that does not fit.
            if text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte)) {
                return Ok(Json::String(text));
            }
            Err(format!("{}{AS_BYTES}", invalid(path, "numeric", &text)))
        }
        (DataType::Decimal128(..), value @ Json::Object(_)) => {
            Err(format!("{}{AS_BYTES}", mismatch(path, "numeric", &value)))
        }
        (_, value) => Ok(value),
    }
}

/// JSON of which PostgreSQL makes a `jsonb`: its strings have whole characters, and not the character 0.
pub(crate) fn is_jsonb(text: &[u8]) -> bool {
    if !text.windows(2).any(|pair| pair == b"\\u") {
        return serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
    }
    Json::parse(text).is_ok_and(|value| !value.has_zero())
}

const AS_BYTES: &str = "; set decimal.handling.mode = string in the Debezium connector";

/// Of a column that is `NOT NULL`.
pub(crate) fn absent(path: &str) -> String {
    format!("null value in column \"{path}\" violates not-null constraint")
}

/// Where `UNAVAILABLE` stands.
pub(crate) fn unavailable(path: &str) -> String {
    format!("column \"{path}\" was not sent, as it is large and has not changed: set REPLICA IDENTITY FULL")
}

/// None where it is no number, or has more digits than the type.
pub(crate) fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let found = Written::parse(text)?.exactly(scale.into())?;
    (found.unsigned_abs() < 10_u128.checked_pow(precision.into())?).then_some(found)
}

fn text_cell(field: &Field, text: String, path: &str) -> Outcome {
    if field.metadata().get("ebap.type").is_some_and(|marker| marker == "uuid") {
        return match uuid::Uuid::try_parse(&text) {
            Ok(uuid) => Ok(Cell::Text(uuid.hyphenated().to_string())),
            Err(_) => Err(invalid(path, "uuid", &text)),
        };
    }
    Ok(Cell::Text(text))
}

fn integer(value: Json, path: &str, kind: &str, least: i64, most: i64) -> Outcome {
    let Json::Number(number) = &value else { return Err(mismatch(path, kind, &value)) };
    match number.parse::<i64>() {
        // "-0" is a double in the eyes of JSON.
        Ok(0) if number.starts_with('-') => Err(mismatch(path, kind, &value)),
        Ok(found) if (least..=most).contains(&found) => Ok(Cell::Int(found)),
        Err(_) if number.contains(['.', 'e', 'E']) => Err(mismatch(path, kind, &value)),
        Ok(_) | Err(_) => Err(format!("column \"{path}\": {number} is out of range for type {kind}")),
    }
}

fn float(value: Json, path: &str, of: &DataType) -> Outcome {
    match &value {
        Json::Number(number) => parsed_float(number, of).map(Cell::Float).ok_or_else(|| out_of_range(path, of, number)),
        Json::String(text) => match text.as_str() {
            "NaN" => Ok(Cell::Float(f64::NAN)),
            "Infinity" => Ok(Cell::Float(f64::INFINITY)),
            "-Infinity" => Ok(Cell::Float(f64::NEG_INFINITY)),
            _ => Err(invalid(path, "double precision", text)),
        },
        _ => Err(mismatch(path, "double precision", &value)),
    }
}

/// None where it is too large for the type, or so small that nothing is left of it.
pub(crate) fn parsed_float(digits: &str, of: &DataType) -> Option<f64> {
    let value = match of {
        // By way of a double, it would be rounded twice.
        DataType::Float32 => f64::from(digits.parse::<f32>().ok()?),
        _ => digits.parse().ok()?,
    };
    let mantissa = digits.split(['e', 'E']).next()?;
    let is_zero = !mantissa.bytes().any(|digit| (b'1'..=b'9').contains(&digit));
    (value.is_finite() && (value != 0.0 || is_zero)).then_some(value)
}

/// The digits as they are written. Where they come from a double, those behind its fifteenth are noise:
/// 0.1 + 0.2 is 0.30000000000000004 there, and fits NUMERIC(10, 2) as 0.30.
fn number_of_double(text: &str, precision: u8, scale: i8) -> Option<i128> {
    decimal(text, precision, scale).or_else(|| {
        let digits = text.split(['e', 'E']).next()?.bytes().filter(u8::is_ascii_digit).count();
        let of_double = (EXACT_DIGITS as usize + 1..=EXACT_DIGITS as usize + 4).contains(&digits);
        let value: f64 = text.parse().ok().filter(|_| of_double && text.contains('.'))?;
        decimal(&format!("{value:.*e}", EXACT_DIGITS as usize - 1), precision, scale)
    })
}

/// Values of rejected records are cut in reasons: the record itself is kept whole beside it.
const SHOWN_MAX: usize = 60;

pub(crate) fn shown(text: &str) -> String {
    if text.chars().count() <= SHOWN_MAX {
        text.to_owned()
    } else {
        text.chars().take(SHOWN_MAX).chain("...".chars()).collect()
    }
}

pub(crate) fn invalid(path: &str, kind: &str, text: &str) -> String {
    format!("column \"{path}\": invalid input syntax for type {kind}: \"{}\"", shown(text))
}

pub(crate) fn out_of_range(path: &str, of: &DataType, value: &str) -> String {
    format!("column \"{path}\": {} is out of range for type {}", shown(value), name_of(of))
}

fn mismatch(path: &str, kind: &str, value: &Json) -> String {
    format!("column \"{path}\" is of type {kind} but the value is {}", shown(&value.to_string()))
}

/// As PostgreSQL calls it.
pub(crate) fn name_of(of: &DataType) -> String {
    let name = match of {
        DataType::Utf8 => "text",
        DataType::Boolean => "boolean",
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Decimal128(precision, scale) => return format!("numeric({precision}, {scale})"),
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Date32 => "date",
        DataType::Binary => "bytea",
        DataType::Struct(_) => "struct",
        DataType::List(_) => "array",
        DataType::Map(_, _) => "map",
        other => return other.to_string().to_lowercase(),
    };
    name.to_owned()
}

/// Standard alphabet, padding optional.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
