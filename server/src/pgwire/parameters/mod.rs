//! Parameters of prepared statements: their types, and their values as the client sends them.
//!
//! What a client sends is checked before anything is made of it: counts against the bytes that are
//! there, texts against the encoding, numbers against the range of their type.

mod array;
mod binary;
mod place;
mod text;

use std::sync::Arc;

use arrow::{
    array::ArrayRef,
    compute::CastOptions,
    datatypes::{DataType, FieldRef, IntervalMonthDayNano},
};
use datafusion::common::{
    ParamValues, ScalarValue,
    metadata::{FieldMetadata, ScalarAndMetadata},
};
use ebap_values::{
    Numeric, PgType, ValueError,
    time::{Interval, Zone},
};
use pgwire::api::{Type, portal::Format};

use super::sqlstate::SqlError;
use crate::wire_types;
pub(super) use place::found;

/// Parameters of a statement, at the most: a message counts them in 16 bits.
pub(super) const PARAMETERS_MAX: usize = 65_535;

type Result<T, E = ValueError> = std::result::Result<T, E>;

/// A parameter as the statement needs it.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    /// As it travels, and as the client is told.
    pub(super) wire: Type,
    of: PgType,
    /// As the plan takes it.
    field: FieldRef,
}

impl Parameter {
    /// Of the type that the client declares.
    ///
    /// # Errors
    /// 0A000 for a type whose values cannot be read; `None` where the server is to decide.
    pub(super) fn declared(wire: &Type) -> Result<Option<Self>, SqlError> {
        match wire_types::declared(wire) {
            Ok(of) => Ok(of.map(|of| Self { wire: wire.clone(), field: wire_types::field(&of), of })),
            Err(name) => Err(SqlError::new("0A000", format!("parameters of type {name} are not supported"))
                .hint("Declare it as text and cast it in the statement.")),
        }
    }

    /// As the plan takes it; text where nothing says what it is.
    pub(super) fn planned(field: Option<&FieldRef>) -> Self {
        match field.map(|field| (field, wire_types::of_field(field))) {
            Some((field, of)) if !matches!(of, PgType::Unknown | PgType::Composite | PgType::Record) => {
                Self { wire: wire_types::on_wire(&of), of, field: Arc::clone(field) }
            }
            _ => Self { wire: Type::TEXT, of: PgType::Text, field: wire_types::field(&PgType::Text) },
        }
    }

    pub(super) fn field(&self) -> FieldRef {
        Arc::clone(&self.field)
    }
}

/// The values of a Bind message, each of the type that the plan takes.
///
/// # Errors
/// 08P01 for a wrong number of them, 22P02, 22P03 or 22003 for one that cannot be read.
pub(super) fn values(
    sent: &[Option<bytes::Bytes>],
    format: &Format,
    parameters: &[Parameter],
    zone: &Zone,
) -> Result<ParamValues, SqlError> {
    if sent.len() != parameters.len() {
        let (sent, needed) = (sent.len(), parameters.len());
        let message = format!("bind message supplies {sent} parameters, but prepared statement requires {needed}");
        return Err(SqlError::new("08P01", message));
    }
    let all = sent.iter().zip(parameters).enumerate().map(|(at, (bytes, parameter))| {
        let read = match bytes {
            None => ScalarValue::try_from(parameter.field.data_type()).map_err(|error| unreadable(&error.to_string())),
            Some(bytes) => {
                let value = match is_binary(format, at) {
                    true => binary::value(&parameter.of, &parameter.wire, bytes),
                    false => utf8(bytes).and_then(|text| text::value(&parameter.of, text, zone)),
                };
                value.and_then(|value| fitting(value, parameter.field.data_type()))
            }
        };
        let value = read.map_err(|ValueError { sqlstate, message }| {
            SqlError::new(sqlstate, format!("parameter ${}: {message}", at + 1))
        })?;
        let metadata = Some(FieldMetadata::from(parameter.field.as_ref())).filter(|metadata| !metadata.is_empty());
        Ok(ScalarAndMetadata::new(value, metadata))
    });
    Ok(ParamValues::List(all.collect::<Result<_, SqlError>>()?))
}

fn is_binary(format: &Format, at: usize) -> bool {
    match format {
        Format::UnifiedText => false,
        Format::UnifiedBinary => true,
        Format::Individual(codes) => codes.get(at) == Some(&1),
    }
}

/// The value as the plan takes it.
fn fitting(value: ScalarValue, to: &DataType) -> Result<ScalarValue> {
    match (&value, to) {
        (value, to) if value.data_type() == *to => {}
        (ScalarValue::LargeBinary(Some(bytes)), DataType::Decimal128(precision, scale)) => {
            let unscaled = Numeric::decode(bytes)?.to_unscaled_i128(*precision, *scale)?;
            return Ok(ScalarValue::Decimal128(Some(unscaled), *precision, *scale));
        }
        (ScalarValue::LargeBinary(Some(bytes)), to) => {
            let text = Numeric::decode(bytes)?.to_string();
            return cast(&ScalarValue::Utf8(Some(text)), to);
        }
        (value, to) => return cast(value, to),
    }
    Ok(value)
}

fn cast(value: &ScalarValue, to: &DataType) -> Result<ScalarValue> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    value.cast_to_with_options(to, &strict).map_err(|error| unreadable(&error.to_string()))
}

fn unreadable(message: &str) -> ValueError {
    ValueError::new("22003", message.lines().next().unwrap_or(message).to_owned())
}

/// 22P03: the bytes are no value of the type.
fn malformed() -> ValueError {
    ValueError::new("22P03", "incorrect binary data format")
}

/// # Errors
/// 22021 for what is no UTF-8, and for NUL, which no text may hold.
fn utf8(bytes: &[u8]) -> Result<&str> {
    let valid = std::str::from_utf8(bytes);
    let wrong = match &valid {
        Ok(text) => text.bytes().position(|byte| byte == 0),
        Err(error) => Some(error.valid_up_to()),
    };
    match (valid, wrong.and_then(|at| bytes.get(at))) {
        (Ok(text), None) => Ok(text),
        (_, byte) => {
            let byte = byte.copied().unwrap_or(0);
            let message = format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}");
            Err(ValueError::new("22021", message))
        }
    }
}

fn numeric(value: &Numeric) -> ScalarValue {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    ScalarValue::LargeBinary(Some(bytes))
}

fn interval(value: &Interval) -> Result<ScalarValue> {
    let nanos = value.micros.checked_mul(1_000).ok_or_else(|| ValueError::new("22008", "interval out of range"))?;
    Ok(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(value.months, value.days, nanos))))
}

/// A `json`, which is kept as it was written.
fn json(text: &str) -> Result<ScalarValue> {
    ebap_values::json::parse(text).map(|_| ScalarValue::Utf8(Some(text.to_owned())))
}

fn jsonb(text: &str) -> Result<ScalarValue> {
    Ok(ScalarValue::Utf8(Some(ebap_values::Json::parse(text)?.to_string())))
}

fn list(item: &PgType, values: &ArrayRef) -> ScalarValue {
    let lists = arrow::array::ListArray::new(
        wire_types::field(item),
        arrow::buffer::OffsetBuffer::from_lengths([values.len()]),
        Arc::clone(values),
        None,
    );
    ScalarValue::List(Arc::new(lists))
}
