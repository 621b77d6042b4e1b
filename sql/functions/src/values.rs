//! The types of PostgreSQL as functions in Rust take and give them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, BooleanBuilder, ListArray, PrimitiveArray,
    PrimitiveBuilder, StringArray, StringBuilder,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use ebap_values::time::Interval;
use ebap_values::{PgType, Result, ValueError};

use crate::error::{converted, internal};
use crate::kernel::{Input, Output};
use crate::registry::{Arg, Returns};
use crate::types::{arrow_type, pg_type_of};

/// The array with its values in another Arrow type of the same type of PostgreSQL.
pub(crate) fn as_type(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    if array.data_type() == wanted {
        return Ok(array.clone());
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    converted(&pg_type_of(wanted).to_string(), cast_with_options(array, wanted, &options))
}

/// The array as its type in Arrow, after a conversion where it is another.
fn downcast<T: Clone + 'static>(array: &ArrayRef, of: &PgType) -> Result<T> {
    let array = as_type(array, &arrow_type(of))?;
    array.as_any().downcast_ref::<T>().cloned().ok_or_else(|| internal("an argument has another type than declared"))
}

macro_rules! primitive_values {
    ($($name:ident $native:ty, $arrow:ty, $of:ident, $about:literal;)+) => {$(
        #[doc = $about]
        pub(crate) struct $name;

        impl Input for $name {
            type Column = PrimitiveArray<$arrow>;
            type Item<'a> = $native;

            fn arg() -> Arg {
                Arg::Of(PgType::$of)
            }

            fn column(array: &ArrayRef) -> Result<Self::Column> {
                downcast(array, &PgType::$of)
            }

            fn get(column: &Self::Column, row: usize) -> Result<$native> {
                Ok(column.value(row))
            }
        }

        impl Output for $name {
            type Value = $native;
            type Builder = PrimitiveBuilder<$arrow>;

            fn returns() -> Returns {
                Returns::Of(PgType::$of)
            }

            fn builder(rows: usize) -> Self::Builder {
                PrimitiveBuilder::with_capacity(rows)
            }

            fn push(builder: &mut Self::Builder, value: Option<$native>) -> Result<()> {
                builder.append_option(value);
                Ok(())
            }

            fn finish(mut builder: Self::Builder) -> ArrayRef {
                zoned(builder.finish(), &PgType::$of)
            }
        }
    )+};
}

/// Adds what a builder does not know: that a `timestamptz` has a zone.
fn zoned<T: ArrowPrimitiveType>(array: PrimitiveArray<T>, of: &PgType) -> ArrayRef {
    match of {
        PgType::Timestamptz => Arc::new(array.with_data_type(arrow_type(of))),
        _ => Arc::new(array),
    }
}

primitive_values! {
    Int2 i16, Int16Type, Int2, "`smallint`.";
    Int4 i32, Int32Type, Int4, "`integer`.";
    Int8 i64, Int64Type, Int8, "`bigint`.";
    Float4 f32, Float32Type, Float4, "`real`.";
    Float8 f64, Float64Type, Float8, "`double precision`.";
    Date i32, Date32Type, Date, "`date`: days since 1970.";
    Timestamp i64, TimestampMicrosecondType, Timestamp, "`timestamp`: microseconds since 1970.";
    Timestamptz i64, TimestampMicrosecondType, Timestamptz, "`timestamptz`: microseconds since 1970 in UTC.";
    Time i64, Time64MicrosecondType, Time, "`time`: microseconds since midnight.";
}

/// `boolean`.
pub(crate) struct Bool;

impl Input for Bool {
    type Column = BooleanArray;
    type Item<'a> = bool;

    fn arg() -> Arg {
        Arg::Of(PgType::Bool)
    }

    fn column(array: &ArrayRef) -> Result<BooleanArray> {
        downcast(array, &PgType::Bool)
    }

    fn get(column: &BooleanArray, row: usize) -> Result<bool> {
        Ok(column.value(row))
    }
}

impl Output for Bool {
    type Value = bool;
    type Builder = BooleanBuilder;

    fn returns() -> Returns {
        Returns::Of(PgType::Bool)
    }

    fn builder(rows: usize) -> BooleanBuilder {
        BooleanBuilder::with_capacity(rows)
    }

    fn push(builder: &mut BooleanBuilder, value: Option<bool>) -> Result<()> {
        builder.append_option(value);
        Ok(())
    }

    fn finish(mut builder: BooleanBuilder) -> ArrayRef {
        Arc::new(builder.finish())
    }
}

macro_rules! text_values {
    ($($name:ident $of:ident, $about:literal;)+) => {$(
        #[doc = $about]
        pub(crate) struct $name;

        impl Input for $name {
            type Column = StringArray;
            type Item<'a> = &'a str;

            fn arg() -> Arg {
                Arg::Of(PgType::$of)
            }

            fn column(array: &ArrayRef) -> Result<StringArray> {
                downcast(array, &PgType::$of)
            }

            fn get(column: &StringArray, row: usize) -> Result<&str> {
                Ok(column.value(row))
            }
        }

        impl Output for $name {
            type Value = String;
            type Builder = StringBuilder;

            fn returns() -> Returns {
                Returns::Of(PgType::$of)
            }

            fn builder(_: usize) -> StringBuilder {
                StringBuilder::new()
            }

            fn push(builder: &mut StringBuilder, value: Option<String>) -> Result<()> {
                builder.append_option(value);
                Ok(())
            }

            fn finish(mut builder: StringBuilder) -> ArrayRef {
                Arc::new(builder.finish())
            }
        }
    )+};
}

text_values! {
    Text Text, "`text`.";
    Bpchar Bpchar, "`character(n)`, with blanks at its end.";
    Uuid Uuid, "`uuid`, as its canonical text.";
    Json Json, "`json`, as it is written.";
    Jsonb Jsonb, "`jsonb`, as PostgreSQL's text of it.";
}

/// `bytea`.
pub(crate) struct Bytea;

impl Input for Bytea {
    type Column = BinaryArray;
    type Item<'a> = &'a [u8];

    fn arg() -> Arg {
        Arg::Of(PgType::Bytea)
    }

    fn column(array: &ArrayRef) -> Result<BinaryArray> {
        downcast(array, &PgType::Bytea)
    }

    fn get(column: &BinaryArray, row: usize) -> Result<&[u8]> {
        Ok(column.value(row))
    }
}

impl Output for Bytea {
    type Value = Vec<u8>;
    type Builder = BinaryBuilder;

    fn returns() -> Returns {
        Returns::Of(PgType::Bytea)
    }

    fn builder(_: usize) -> BinaryBuilder {
        BinaryBuilder::new()
    }

    fn push(builder: &mut BinaryBuilder, value: Option<Vec<u8>>) -> Result<()> {
        builder.append_option(value);
        Ok(())
    }

    fn finish(mut builder: BinaryBuilder) -> ArrayRef {
        Arc::new(builder.finish())
    }
}

/// `interval`. Arrow counts nanoseconds, PostgreSQL microseconds.
pub(crate) struct Span;

impl Input for Span {
    type Column = PrimitiveArray<IntervalMonthDayNanoType>;
    type Item<'a> = Interval;

    fn arg() -> Arg {
        Arg::Of(PgType::Interval)
    }

    fn column(array: &ArrayRef) -> Result<Self::Column> {
        downcast(array, &PgType::Interval)
    }

    fn get(column: &Self::Column, row: usize) -> Result<Interval> {
        let value = column.value(row);
        Ok(Interval { months: value.months, days: value.days, micros: value.nanoseconds.div_euclid(1000) })
    }
}

impl Output for Span {
    type Value = Interval;
    type Builder = PrimitiveBuilder<IntervalMonthDayNanoType>;

    fn returns() -> Returns {
        Returns::Of(PgType::Interval)
    }

    fn builder(rows: usize) -> Self::Builder {
        PrimitiveBuilder::with_capacity(rows)
    }

    fn push(builder: &mut Self::Builder, value: Option<Interval>) -> Result<()> {
        let Some(Interval { months, days, micros }) = value else {
            builder.append_null();
            return Ok(());
        };
        // PostgreSQL's own limit is a thousand times as far, some 292000 years.
        let out_of_range = || ValueError::new("22008", "interval out of range");
        let nanoseconds = micros.checked_mul(1000).ok_or_else(out_of_range)?;
        builder.append_value(IntervalMonthDayNano { months, days, nanoseconds });
        Ok(())
    }

    fn finish(mut builder: Self::Builder) -> ArrayRef {
        Arc::new(builder.finish())
    }
}

/// `text[]` as the texts of one row.
pub(crate) struct Texts;

impl Input for Texts {
    type Column = ListArray;
    type Item<'a> = Vec<Option<String>>;

    fn arg() -> Arg {
        Arg::Of(PgType::Array(Box::new(PgType::Text)))
    }

    fn column(array: &ArrayRef) -> Result<ListArray> {
        downcast(array, &PgType::Array(Box::new(PgType::Text)))
    }

    fn get(column: &ListArray, row: usize) -> Result<Vec<Option<String>>> {
        let values = column.value(row);
        Ok(values.as_string::<i32>().iter().map(|value| value.map(str::to_owned)).collect())
    }
}

impl Output for Texts {
    type Value = Vec<Option<String>>;
    type Builder = arrow::array::ListBuilder<StringBuilder>;

    fn returns() -> Returns {
        Returns::Of(PgType::Array(Box::new(PgType::Text)))
    }

    fn builder(_: usize) -> Self::Builder {
        arrow::array::ListBuilder::new(StringBuilder::new())
    }

    fn push(builder: &mut Self::Builder, value: Option<Self::Value>) -> Result<()> {
        match value {
            Some(values) => builder.append_value(values),
            None => builder.append_null(),
        }
        Ok(())
    }

    fn finish(mut builder: Self::Builder) -> ArrayRef {
        Arc::new(builder.finish())
    }
}
