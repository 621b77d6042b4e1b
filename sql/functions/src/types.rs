//! Which type of PostgreSQL an Arrow type stands for, and the other way round.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use ebap_values::PgType;

/// The key of a field's metadata that tells types apart which Arrow has as one.
pub const TYPE_KEY: &str = "ebap.type";

/// The key of a field's metadata that says, by its number, what type a client is told of a column: values of such types
/// travel in the same form as those of the column's own.
pub const TOLD_KEY: &str = "ebap.told";

/// Beside it: a `json` that stays as it is written. Columns marked `json` without it are `jsonb`.
const JSON_KEY: &str = "ebap.json";

/// The zone that Arrow's type of a `timestamptz` names. The values are instants, so that it says nothing more.
pub const UTC: &str = "+00:00";

/// What a type has in brackets, as in `numeric(10,2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Typmod {
    /// Precision and scale of NUMERIC.
    Decimal(u16, i16),
    Varchar(u32),
    /// Values have blanks at their end, up to this length.
    Char(u32),
    /// Digits of the seconds of a time, a timestamp or an interval.
    Fraction(u8),
}

/// What a value is cast to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub of: PgType,
    pub typmod: Option<Typmod>,
}

impl Target {
    /// A type without anything in brackets.
    pub fn plain(of: PgType) -> Self {
        Self { of, typmod: None }
    }

    /// The Arrow type of the values; a declared NUMERIC that fits is a Decimal128.
    pub fn arrow_type(&self) -> DataType {
        match (&self.of, self.typmod) {
            (PgType::Numeric, Some(Typmod::Decimal(p, s))) => decimal_type(p, s).unwrap_or(DataType::LargeBinary),
            (PgType::Array(of), Some(_)) => {
                let item = Self { of: (**of).clone(), typmod: self.typmod };
                DataType::List(with_metadata(Field::new_list_field(item.arrow_type(), true), of).into())
            }
            _ => arrow_type(&self.of),
        }
    }

    /// A field of these values.
    pub fn arrow_field(&self, name: &str, nullable: bool) -> Field {
        with_metadata(Field::new(name, self.arrow_type(), nullable), &self.of)
    }

    /// The name of a cast to it, such as `numeric(10,2)`.
    pub(crate) fn name(&self) -> String {
        match self.typmod {
            None => self.of.to_string(),
            Some(Typmod::Decimal(p, s)) => format!("{}({p},{s})", self.of),
            Some(Typmod::Varchar(n)) => format!("character varying({n})"),
            Some(Typmod::Char(n)) => format!("character({n})"),
            Some(Typmod::Fraction(n)) => format!("{}({n})", self.of),
        }
    }
}

/// Decimal128 of a declared NUMERIC, if it holds all its values.
fn decimal_type(precision: u16, scale: i16) -> Option<DataType> {
    let p = u8::try_from(precision).ok().filter(|p| (1..=38).contains(p))?;
    let s = i8::try_from(scale).ok().filter(|s| *s >= 0 && s.unsigned_abs() <= p)?;
    Some(DataType::Decimal128(p, s))
}

/// The type of a column.
pub fn pg_type(field: &Field) -> PgType {
    match field.metadata().get(TYPE_KEY).map(String::as_str) {
        Some("uuid") => PgType::Uuid,
        Some("bpchar") => PgType::Bpchar,
        Some("record") => PgType::Record,
        Some("json" | "jsonb") if field.metadata().contains_key(JSON_KEY) => PgType::Json,
        Some("json" | "jsonb") => PgType::Jsonb,
        _ => pg_type_of(field.data_type()),
    }
}

/// The type that an Arrow type stands for where no metadata says more.
pub fn pg_type_of(of: &DataType) -> PgType {
    match of {
        DataType::Null => PgType::Unknown,
        DataType::Boolean => PgType::Bool,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => PgType::Int2,
        DataType::UInt16 | DataType::Int32 => PgType::Int4,
        DataType::UInt32 | DataType::Int64 | DataType::UInt64 => PgType::Int8,
        DataType::Float16 | DataType::Float32 => PgType::Float4,
        DataType::Float64 => PgType::Float8,
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..)
        | DataType::LargeBinary => PgType::Numeric,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => PgType::Text,
        DataType::Binary | DataType::BinaryView | DataType::FixedSizeBinary(_) => PgType::Bytea,
        DataType::Date32 | DataType::Date64 => PgType::Date,
        DataType::Timestamp(_, None) => PgType::Timestamp,
        DataType::Timestamp(_, Some(_)) => PgType::Timestamptz,
        DataType::Time32(_) | DataType::Time64(_) => PgType::Time,
        DataType::Interval(_) | DataType::Duration(_) => PgType::Interval,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => PgType::Array(Box::new(pg_type(item))),
        DataType::Dictionary(_, of) => pg_type_of(of),
        DataType::RunEndEncoded(_, of) => pg_type(of),
        DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => PgType::Composite,
    }
}

/// The Arrow type of computed values. A record has none of its own.
pub fn arrow_type(of: &PgType) -> DataType {
    match of {
        PgType::Unknown | PgType::Composite | PgType::Record => DataType::Null,
        PgType::Bool => DataType::Boolean,
        PgType::Int2 => DataType::Int16,
        PgType::Int4 => DataType::Int32,
        PgType::Int8 => DataType::Int64,
        PgType::Float4 => DataType::Float32,
        PgType::Float8 => DataType::Float64,
        PgType::Numeric => DataType::LargeBinary,
        PgType::Text | PgType::Bpchar | PgType::Uuid | PgType::Json | PgType::Jsonb => DataType::Utf8,
        PgType::Bytea => DataType::Binary,
        PgType::Date => DataType::Date32,
        PgType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        PgType::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        PgType::Time => DataType::Time64(TimeUnit::Microsecond),
        PgType::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
        PgType::Array(of) => DataType::List(with_metadata(Field::new_list_field(arrow_type(of), true), of).into()),
    }
}

/// A field of this type, with the metadata that tells it from others.
pub fn arrow_field(name: &str, of: &PgType, nullable: bool) -> Field {
    with_metadata(Field::new(name, arrow_type(of), nullable), of)
}

pub(crate) fn with_metadata(field: Field, of: &PgType) -> Field {
    let name = match of {
        PgType::Uuid => "uuid",
        PgType::Bpchar => "bpchar",
        PgType::Record => "record",
        PgType::Json | PgType::Jsonb => "json",
        _ => return field,
    };
    let mut metadata = HashMap::from([(TYPE_KEY.to_owned(), name.to_owned())]);
    if *of == PgType::Json {
        metadata.insert(JSON_KEY.to_owned(), "as written".to_owned());
    }
    field.with_metadata(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_comes_back_from_its_field() {
        let scalars = [PgType::Bool, PgType::Int2, PgType::Int4, PgType::Int8, PgType::Float4, PgType::Float8];
        let others = [PgType::Numeric, PgType::Text, PgType::Bytea, PgType::Date, PgType::Timestamp, PgType::Uuid];
        let more = [
            PgType::Timestamptz,
            PgType::Time,
            PgType::Interval,
            PgType::Json,
            PgType::Jsonb,
            PgType::Bpchar,
            PgType::Unknown,
        ];
        for of in scalars.into_iter().chain(others).chain(more) {
            assert_eq!(pg_type(&arrow_field("c", &of, true)), of);
            if of != PgType::Unknown {
                let array = PgType::Array(Box::new(of));
                assert_eq!(pg_type(&arrow_field("c", &array, true)), array);
            }
        }
    }

    #[test]
    fn a_declared_numeric_is_a_decimal_only_where_all_its_values_fit() {
        let of = |p, s| Target { of: PgType::Numeric, typmod: Some(Typmod::Decimal(p, s)) }.arrow_type();
        assert_eq!(of(38, 10), DataType::Decimal128(38, 10));
        assert_eq!(of(39, 0), DataType::LargeBinary);
        assert_eq!(of(2, -3), DataType::LargeBinary);
        assert_eq!(of(2, 4), DataType::LargeBinary);
    }
}
