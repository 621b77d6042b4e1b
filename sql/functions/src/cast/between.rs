//! Casts between types other than text.

use arrow::array::ArrayRef;
use ebap_values::time::{
    Interval, USECS_PER_DAY, date_to_timestamp, date_to_timestamptz, timestamp_is_finite, timestamp_to_date,
    timestamp_to_timestamptz, timestamptz_to_timestamp,
};
use ebap_values::{Numeric, PgType, Result, ValueError, float, json};

use crate::decimals::Num;
use crate::kernel::{Call, Opt, each_row, each_row_with};
use crate::values::{Bool, Date, Float4, Float8, Int2, Int4, Int8, Json, Jsonb, Span, Time, Timestamp, Timestamptz};

pub(super) fn convert(call: &Call<'_>, from: &PgType, to: &PgType) -> Result<ArrayRef> {
    match from {
        PgType::Int2 | PgType::Int4 | PgType::Int8 => from_int(call, from, to),
        PgType::Float4 => from_float4(call, to),
        PgType::Float8 => from_float8(call, to),
        PgType::Numeric => from_numeric(call, to),
        PgType::Bool if *to == PgType::Int4 => each_row::<(Bool,), Int4>(call, |(v,)| Ok(i32::from(v))),
        PgType::Jsonb if *to == PgType::Json => each_row::<(Jsonb,), Json>(call, |(v,)| Ok(v.to_owned())),
        PgType::Jsonb => from_jsonb(call, to),
        PgType::Json if *to == PgType::Jsonb => {
            each_row::<(Json,), Jsonb>(call, |(v,)| json::Json::parse(v).map(|value| value.to_string()))
        }
        _ => from_time(call, from, to),
    }
}

/// All integers are read as the widest, which changes none of them.
fn from_int(call: &Call<'_>, from: &PgType, to: &PgType) -> Result<ArrayRef> {
    type From = (Int8,);
    match to {
        PgType::Int2 => each_row::<From, Int2>(call, |(v,)| narrow(v, "smallint")),
        PgType::Int4 => each_row::<From, Int4>(call, |(v,)| narrow(v, "integer")),
        PgType::Int8 => each_row::<From, Int8>(call, |(v,)| Ok(v)),
        #[allow(clippy::cast_precision_loss)]
        PgType::Float4 => each_row::<From, Float4>(call, |(v,)| Ok(v as f32)),
        #[allow(clippy::cast_precision_loss)]
        PgType::Float8 => each_row::<From, Float8>(call, |(v,)| Ok(v as f64)),
        PgType::Numeric => each_row::<From, Num>(call, |(v,)| Ok(Numeric::from_i128(v.into(), 0))),
        PgType::Bool if *from == PgType::Int4 => each_row::<From, Bool>(call, |(v,)| Ok(v != 0)),
        _ => Err(super::no_cast(from, to)),
    }
}

fn narrow<T: TryFrom<i64>>(value: i64, of: &str) -> Result<T> {
    T::try_from(value).map_err(|_| ValueError::out_of_range(of))
}

fn from_float4(call: &Call<'_>, to: &PgType) -> Result<ArrayRef> {
    type From = (Float4,);
    match to {
        PgType::Float8 => each_row::<From, Float8>(call, |(v,)| Ok(f64::from(v))),
        PgType::Numeric => each_row::<From, Num>(call, |(v,)| Ok(Numeric::from_f32(v))),
        PgType::Int2 => each_row::<From, Int2>(call, |(v,)| float::f64_to_i16(v.into())),
        PgType::Int4 => each_row::<From, Int4>(call, |(v,)| float::f64_to_i32(v.into())),
        PgType::Int8 => each_row::<From, Int8>(call, |(v,)| float::f64_to_i64(v.into())),
        _ => Err(super::no_cast(&PgType::Float4, to)),
    }
}

fn from_float8(call: &Call<'_>, to: &PgType) -> Result<ArrayRef> {
    type From = (Float8,);
    match to {
        PgType::Float4 => each_row::<From, Float4>(call, |(v,)| float::f64_to_f32(v)),
        PgType::Numeric => each_row::<From, Num>(call, |(v,)| Ok(Numeric::from_f64(v))),
        PgType::Int2 => each_row::<From, Int2>(call, |(v,)| float::f64_to_i16(v)),
        PgType::Int4 => each_row::<From, Int4>(call, |(v,)| float::f64_to_i32(v)),
        PgType::Int8 => each_row::<From, Int8>(call, |(v,)| float::f64_to_i64(v)),
        _ => Err(super::no_cast(&PgType::Float8, to)),
    }
}

fn from_numeric(call: &Call<'_>, to: &PgType) -> Result<ArrayRef> {
    type From = (Num,);
    match to {
        PgType::Int2 => each_row::<From, Int2>(call, |(v,)| v.to_i16()),
        PgType::Int4 => each_row::<From, Int4>(call, |(v,)| v.to_i32()),
        PgType::Int8 => each_row::<From, Int8>(call, |(v,)| v.to_i64()),
        PgType::Float4 => each_row::<From, Float4>(call, |(v,)| v.to_f32()),
        PgType::Float8 => each_row::<From, Float8>(call, |(v,)| v.to_f64()),
        _ => Err(super::no_cast(&PgType::Numeric, to)),
    }
}

fn from_jsonb(call: &Call<'_>, to: &PgType) -> Result<ArrayRef> {
    type From = (Jsonb,);
    let of = to.clone();
    let number = move |text: &str| json_number(text, &of);
    match to {
        PgType::Bool => each_row::<From, Bool>(call, |(v,)| match v.trim() {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(json_kind(other, to)),
        }),
        PgType::Int2 => each_row::<From, Int2>(call, |(v,)| number(v)?.to_i16()),
        PgType::Int4 => each_row::<From, Int4>(call, |(v,)| number(v)?.to_i32()),
        PgType::Int8 => each_row::<From, Int8>(call, |(v,)| number(v)?.to_i64()),
        PgType::Float4 => each_row::<From, Float4>(call, |(v,)| number(v)?.to_f32()),
        PgType::Float8 => each_row::<From, Float8>(call, |(v,)| number(v)?.to_f64()),
        PgType::Numeric => each_row::<From, Num>(call, |(v,)| number(v)),
        _ => Err(super::no_cast(&PgType::Jsonb, to)),
    }
}

fn json_number(text: &str, to: &PgType) -> Result<Numeric> {
    let text = text.trim();
    match text.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => Numeric::parse(text),
        _ => Err(json_kind(text, to)),
    }
}

/// 22023: a value of JSON that is no number or no boolean.
fn json_kind(text: &str, to: &PgType) -> ValueError {
    let kind = match text.as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "numeric",
    };
    ValueError::new("22023", format!("cannot cast jsonb {kind} to type {to}"))
}

fn from_time(call: &Call<'_>, from: &PgType, to: &PgType) -> Result<ArrayRef> {
    let zone = || call.session.zone();
    match (from, to) {
        (PgType::Date, PgType::Timestamp) => each_row::<(Date,), Timestamp>(call, |(v,)| date_to_timestamp(v)),
        (PgType::Date, PgType::Timestamptz) => {
            each_row_with::<(Date,), Timestamptz, _>(call, zone()?, |zone, (v,)| date_to_timestamptz(v, zone))
        }
        (PgType::Timestamp, PgType::Date) => each_row::<(Timestamp,), Date>(call, |(v,)| Ok(timestamp_to_date(v))),
        (PgType::Timestamp, PgType::Time) => each_row::<(Timestamp,), Opt<Time>>(call, |(v,)| Ok(time_of(v))),
        (PgType::Timestamp, PgType::Timestamptz) => {
            each_row_with::<(Timestamp,), Timestamptz, _>(call, zone()?, |zone, (v,)| timestamp_to_timestamptz(v, zone))
        }
        (PgType::Timestamptz, PgType::Timestamp) => {
            each_row_with::<(Timestamptz,), Timestamp, _>(call, zone()?, |zone, (v,)| timestamptz_to_timestamp(v, zone))
        }
        (PgType::Timestamptz, PgType::Date) => each_row_with::<(Timestamptz,), Date, _>(call, zone()?, |zone, (v,)| {
            Ok(timestamp_to_date(timestamptz_to_timestamp(v, zone)?))
        }),
        (PgType::Timestamptz, PgType::Time) => {
            each_row_with::<(Timestamptz,), Opt<Time>, _>(call, zone()?, |zone, (v,)| {
                Ok(time_of(timestamptz_to_timestamp(v, zone)?))
            })
        }
        (PgType::Time, PgType::Interval) => {
            each_row::<(Time,), Span>(call, |(micros,)| Ok(Interval { months: 0, days: 0, micros }))
        }
        (PgType::Interval, PgType::Time) => {
            each_row::<(Span,), Time>(call, |(v,)| Ok(v.micros.rem_euclid(USECS_PER_DAY)))
        }
        _ => Err(super::no_cast(from, to)),
    }
}

/// Infinity has no time of the day; PostgreSQL gives NULL.
fn time_of(timestamp: i64) -> Option<i64> {
    timestamp_is_finite(timestamp).then(|| timestamp.rem_euclid(USECS_PER_DAY))
}
