//! The types that SQL names, as what a value is cast to.

use datafusion::sql::sqlparser::{
    ast::{self, ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, TimezoneInfo},
    parser::Parser,
};
use ebap_functions::{Target, Typmod};
use ebap_values::PgType;

use crate::{Error, Result, parser::Postgres};

/// A type by its text, as it was printed into a plan.
pub(super) fn parsed(text: &str) -> Result<Target> {
    let unknown = || Error::new("42704", format!("type \"{text}\" does not exist"));
    let mut parser = Parser::new(&Postgres).try_with_sql(text).map_err(|_| unknown())?;
    target(&parser.parse_data_type().map_err(|_| unknown())?)
}

/// What a cast to this type gives.
///
/// # Errors
/// 42704 for a type that is not known.
pub(super) fn target(of: &DataType) -> Result<Target> {
    let plain = |of: PgType| Ok(Target { of, typmod: None });
    match of {
        DataType::Boolean | DataType::Bool => plain(PgType::Bool),
        DataType::SmallInt(_) | DataType::Int2(_) => plain(PgType::Int2),
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => plain(PgType::Int4),
        DataType::BigInt(_) | DataType::Int8(_) => plain(PgType::Int8),
        DataType::Real | DataType::Float4 => plain(PgType::Float4),
        DataType::Double(_) | DataType::DoublePrecision | DataType::Float8 => plain(PgType::Float8),
        DataType::Float(info) => plain(match info {
            ExactNumberInfo::Precision(bits) if *bits <= 24 => PgType::Float4,
            _ => PgType::Float8,
        }),
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => numeric(info),
        DataType::Text | DataType::String(_) => plain(PgType::Text),
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            Ok(Target { of: PgType::Text, typmod: length_of(length.as_ref()).map(Typmod::Varchar) })
        }
        DataType::Char(length) | DataType::Character(length) => {
            Ok(Target { of: PgType::Bpchar, typmod: Some(Typmod::Char(length_of(length.as_ref()).unwrap_or(1))) })
        }
        DataType::Bytea => plain(PgType::Bytea),
        DataType::Date => plain(PgType::Date),
        DataType::Time(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            Ok(Target { of: PgType::Time, typmod: fraction(*precision) })
        }
        DataType::Timestamp(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone)
        | DataType::TimestampNtz(precision) => Ok(Target { of: PgType::Timestamp, typmod: fraction(*precision) }),
        DataType::Timestamp(precision, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => {
            Ok(Target { of: PgType::Timestamptz, typmod: fraction(*precision) })
        }
        DataType::Interval { precision, .. } => Ok(Target { of: PgType::Interval, typmod: fraction(*precision) }),
        DataType::Uuid => plain(PgType::Uuid),
        DataType::JSON => plain(PgType::Json),
        DataType::JSONB => plain(PgType::Jsonb),
        DataType::Array(
            ArrayElemTypeDef::AngleBracket(of)
            | ArrayElemTypeDef::SquareBracket(of, _)
            | ArrayElemTypeDef::Parenthesis(of),
        ) => {
            let of = target(of)?;
            Ok(Target { of: PgType::Array(Box::new(of.of)), typmod: of.typmod })
        }
        DataType::Custom(name, _) => custom(name),
        other => Err(Error::new("42704", format!("type \"{}\" does not exist", other.to_string().to_lowercase()))),
    }
}

fn numeric(info: &ExactNumberInfo) -> Result<Target> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(Target { of: PgType::Numeric, typmod: None }),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let precision = u16::try_from(precision).ok().filter(|precision| (1..=1000).contains(precision));
    let scale = i16::try_from(scale).ok().filter(|scale| (-1000..=1000).contains(scale));
    match (precision, scale) {
        (Some(precision), Some(scale)) => {
            Ok(Target { of: PgType::Numeric, typmod: Some(Typmod::Decimal(precision, scale)) })
        }
        (None, _) => Err(Error::new("22023", format!("{info} must have a precision between 1 and 1000"))),
        (_, None) => Err(Error::new("22023", format!("{info} must have a scale between -1000 and 1000"))),
    }
}

fn length_of(length: Option<&CharacterLength>) -> Option<u32> {
    match length? {
        CharacterLength::IntegerLength { length, .. } => u32::try_from(*length).ok(),
        CharacterLength::Max => None,
    }
}

fn fraction(precision: Option<u64>) -> Option<Typmod> {
    precision.map(|digits| Typmod::Fraction(u8::try_from(digits.min(6)).unwrap_or(6)))
}

/// Names that sqlparser has no node for.
fn custom(name: &ast::ObjectName) -> Result<Target> {
    let last = name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.to_lowercase());
    let of = match last.as_deref().unwrap_or_default() {
        "timestamptz" => PgType::Timestamptz,
        "int2" => PgType::Int2,
        "int4" => PgType::Int4,
        "int8" | "oid" => PgType::Int8,
        "float4" => PgType::Float4,
        "float8" => PgType::Float8,
        "bool" => PgType::Bool,
        "uuid" => PgType::Uuid,
        "json" => PgType::Json,
        "jsonb" => PgType::Jsonb,
        "text" | "name" | "varchar" => PgType::Text,
        "bpchar" => PgType::Bpchar,
        other => return Err(Error::new("42704", format!("type \"{other}\" does not exist"))),
    };
    Ok(Target { of, typmod: None })
}
