//! Values in PostgreSQL's binary format.

use datafusion::common::ScalarValue;
use ebap_values::{
    Numeric, PgType, ValueError,
    time::{DATE_INFINITY, DATE_NEG_INFINITY, Interval, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, USECS_PER_DAY},
};
use pgwire::api::Type;
use uuid::Uuid;

use super::{Result, array, interval, json, jsonb, malformed, numeric, utf8};
use crate::pgwire::{EPOCH_DAYS, EPOCH_US};

/// Version that a binary `jsonb` begins with.
const JSONB_VERSION: u8 = 1;

/// Reads one value; `wire` tells types apart that are one type here.
pub(super) fn value(of: &PgType, wire: &Type, bytes: &[u8]) -> Result<ScalarValue> {
    Ok(match of {
        PgType::Bool => {
            let [byte] = exact(bytes)?;
            ScalarValue::Boolean(Some(byte != 0))
        }
        PgType::Int2 => ScalarValue::Int16(Some(i16::from_be_bytes(exact(bytes)?))),
        PgType::Int4 => ScalarValue::Int32(Some(i32::from_be_bytes(exact(bytes)?))),
        PgType::Int8 if *wire != Type::INT8 => ScalarValue::Int64(Some(u32::from_be_bytes(exact(bytes)?).into())),
        PgType::Int8 => ScalarValue::Int64(Some(i64::from_be_bytes(exact(bytes)?))),
        PgType::Float4 => ScalarValue::Float32(Some(f32::from_be_bytes(exact(bytes)?))),
        PgType::Float8 => ScalarValue::Float64(Some(f64::from_be_bytes(exact(bytes)?))),
        PgType::Numeric => numeric(&Numeric::from_wire(bytes)?),
        PgType::Bytea => ScalarValue::Binary(Some(bytes.to_vec())),
        PgType::Date => ScalarValue::Date32(Some(date(i32::from_be_bytes(exact(bytes)?))?)),
        PgType::Timestamp => ScalarValue::TimestampMicrosecond(Some(instant(exact(bytes)?)?), None),
        PgType::Timestamptz => ScalarValue::TimestampMicrosecond(Some(instant(exact(bytes)?)?), Some("+00:00".into())),
        PgType::Time => {
            let micros = i64::from_be_bytes(exact(bytes)?);
            let fits = (0..=USECS_PER_DAY).contains(&micros);
            ScalarValue::Time64Microsecond(Some(fits.then_some(micros).ok_or_else(|| out_of_range("time"))?))
        }
        PgType::Interval => {
            let [micros @ .., a, b, c, d, e, f, g, h] = exact::<16>(bytes)?;
            let (days, months) = (i32::from_be_bytes([a, b, c, d]), i32::from_be_bytes([e, f, g, h]));
            interval(&Interval { months, days, micros: i64::from_be_bytes(micros) })?
        }
        PgType::Uuid => ScalarValue::Utf8(Some(Uuid::from_bytes(exact(bytes)?).hyphenated().to_string())),
        PgType::Jsonb if *wire == Type::JSONB => match bytes {
            [JSONB_VERSION, text @ ..] => jsonb(utf8(text)?)?,
            _ => return Err(malformed()),
        },
        PgType::Json => json(utf8(bytes)?)?,
        PgType::Jsonb => jsonb(utf8(bytes)?)?,
        PgType::Array(item) => array::binary(item, wire, bytes)?,
        PgType::Text | PgType::Bpchar | PgType::Unknown | PgType::Composite | PgType::Record => {
            ScalarValue::Utf8(Some(utf8(bytes)?.to_owned()))
        }
    })
}

fn exact<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| malformed())
}

fn out_of_range(of: &str) -> ValueError {
    ValueError::new("22008", format!("{of} out of range"))
}

fn date(days: i32) -> Result<i32> {
    match days {
        infinite @ (DATE_INFINITY | DATE_NEG_INFINITY) => Ok(infinite),
        days => days.checked_add(EPOCH_DAYS).ok_or_else(|| out_of_range("date")),
    }
}

fn instant(bytes: [u8; 8]) -> Result<i64> {
    match i64::from_be_bytes(bytes) {
        infinite @ (TIMESTAMP_INFINITY | TIMESTAMP_NEG_INFINITY) => Ok(infinite),
        micros => micros.checked_add(EPOCH_US).ok_or_else(|| out_of_range("timestamp")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_another_length_is_refused() {
        for (of, wire) in [
            (PgType::Bool, Type::BOOL),
            (PgType::Int2, Type::INT2),
            (PgType::Int4, Type::INT4),
            (PgType::Int8, Type::INT8),
            (PgType::Int8, Type::OID),
            (PgType::Float8, Type::FLOAT8),
            (PgType::Date, Type::DATE),
            (PgType::Timestamptz, Type::TIMESTAMPTZ),
            (PgType::Interval, Type::INTERVAL),
            (PgType::Uuid, Type::UUID),
            (PgType::Jsonb, Type::JSONB),
        ] {
            for bytes in [&[][..], &[0; 3], &[0; 17]] {
                assert_eq!(value(&of, &wire, bytes).expect_err("malformed").sqlstate, "22P03", "{wire} {bytes:?}");
            }
        }
    }

    #[test]
    fn an_oid_is_four_bytes_and_never_negative() {
        let read = value(&PgType::Int8, &Type::OID, &[0xff; 4]);
        assert_eq!(read, Ok(ScalarValue::Int64(Some(u32::MAX.into()))));
    }

    #[test]
    fn times_beyond_the_range_are_errors() {
        let far = [&[0x7f], &[0xff; 6][..], &[0xfe]].concat();
        assert_eq!(value(&PgType::Timestamp, &Type::TIMESTAMP, &far).expect_err("too late").sqlstate, "22008");
        let infinity = [&[0x7f], &[0xff; 7][..]].concat();
        let read = value(&PgType::Timestamp, &Type::TIMESTAMP, &infinity);
        assert_eq!(read, Ok(ScalarValue::TimestampMicrosecond(Some(i64::MAX), None)));
        assert!(value(&PgType::Time, &Type::TIME, &i64::MAX.to_be_bytes()).is_err());
    }
}
