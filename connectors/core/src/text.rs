//! Values as text for the systems outside: numbers plain, times ISO-8601, intervals as PostgreSQL writes them, nested
//! values JSON.

use std::fmt::{self, Write};

use arrow::{
    array::{ArrayRef, AsArray, types},
    datatypes::{ArrowPrimitiveType, DataType, Field, IntervalUnit, TimeUnit},
    util::display::{ArrayFormatter, FormatOptions},
};
use chrono::{DateTime, SecondsFormat};

use crate::{Error, Result, json::write_json, numeric::numeric_text};

/// Appends the value of a row that is not NULL.
pub fn write_value(out: &mut String, array: &ArrayRef, row: usize) -> Result<()> {
    match array.data_type() {
        DataType::Utf8 => out.push_str(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => out.push_str(array.as_string::<i64>().value(row)),
        DataType::Utf8View => out.push_str(array.as_string_view().value(row)),
        // What most views have, without the detour over a formatter that is made for every value.
        DataType::Int64 => append(out, primitive::<types::Int64Type>(array, row)),
        DataType::Int32 => append(out, primitive::<types::Int32Type>(array, row)),
        DataType::Float32 => write_float(out, f64::from(primitive::<types::Float32Type>(array, row)), || {
            primitive::<types::Float32Type>(array, row).to_string()
        }),
        DataType::Float64 => {
            let value = primitive::<types::Float64Type>(array, row);
            write_float(out, value, || value.to_string());
        }
        DataType::Timestamp(unit, zone) => write_timestamp(out, *unit, zone.is_some(), array, row)?,
        DataType::Binary => write_hex(out, array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => out.push_str(&numeric_text(array.as_binary::<i64>().value(row))?),
        DataType::Struct(_) | DataType::List(_) | DataType::LargeList(_) | DataType::Map(_, _) => {
            write_json(out, &Field::new("", array.data_type().clone(), true), array, row)?;
        }
        DataType::Interval(_) if interval(array, row).is_some() => {
            let interval = interval(array, row).ok_or_else(|| Error::internal("an interval changed its type"))?;
            append(out, interval);
        }
        _ => append(out, formatter(array)?.value(row)),
    }
    Ok(())
}

fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef, row: usize) -> T::Native {
    array.as_primitive::<T>().value(row)
}

fn append(out: &mut String, value: impl fmt::Display) {
    write!(out, "{value}").expect("writing to a string cannot fail");
}

fn formatter(array: &ArrayRef) -> Result<ArrayFormatter<'_>> {
    ArrayFormatter::try_new(array, &FormatOptions::default()).map_err(Error::internal)
}

/// PostgreSQL's names for what is no number; `finite` keeps the precision of the column's own type.
fn write_float(out: &mut String, value: f64, finite: impl FnOnce() -> String) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        out.push_str(&finite());
    }
}

fn write_hex(out: &mut String, bytes: &[u8]) {
    out.push_str("\\x");
    for byte in bytes {
        append(out, format_args!("{byte:02x}"));
    }
}

fn write_timestamp(out: &mut String, unit: TimeUnit, zoned: bool, array: &ArrayRef, row: usize) -> Result<()> {
    let (value, per_second) = match unit {
        TimeUnit::Second => (primitive::<types::TimestampSecondType>(array, row), 1),
        TimeUnit::Millisecond => (primitive::<types::TimestampMillisecondType>(array, row), 1_000),
        TimeUnit::Microsecond => (primitive::<types::TimestampMicrosecondType>(array, row), 1_000_000),
        TimeUnit::Nanosecond => (primitive::<types::TimestampNanosecondType>(array, row), 1_000_000_000),
    };
    let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    let nanos = u32::try_from(nanos).map_err(Error::internal)?;
    let Some(time) = DateTime::from_timestamp(value.div_euclid(per_second), nanos) else {
        // Beyond the calendar: the plain number still says more than an error would.
        append(out, value);
        return Ok(());
    };
    let text = time.to_rfc3339_opts(SecondsFormat::Nanos, true);
    let whole = text.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    let end = if nanos == 0 { text.find('.').unwrap_or(text.len()) } else { whole.len() };
    out.push_str(&text[..end]);
    if zoned {
        out.push('Z');
    }
    Ok(())
}

/// An interval, in the three parts that do not convert into each other.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    months: i32,
    days: i32,
    nanos: i64,
}

pub fn interval(array: &ArrayRef, row: usize) -> Option<Interval> {
    match array.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let value = primitive::<types::IntervalMonthDayNanoType>(array, row);
            Some(Interval { months: value.months, days: value.days, nanos: value.nanoseconds })
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            Some(Interval { months: primitive::<types::IntervalYearMonthType>(array, row), days: 0, nanos: 0 })
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let value = primitive::<types::IntervalDayTimeType>(array, row);
            Some(Interval { months: 0, days: value.days, nanos: i64::from(value.milliseconds) * 1_000_000 })
        }
        _ => None,
    }
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

impl Interval {
    /// `1m`, `1h30m`, `1d`: for keys, where a colon separates.
    pub fn compact(self) -> String {
        let mut out = String::new();
        for (value, unit) in [(self.months, "mo"), (self.days, "d")] {
            if value != 0 {
                append(&mut out, format_args!("{value}{unit}"));
            }
        }
        if self.nanos < 0 {
            out.push('-');
        }
        let mut rest = self.nanos.unsigned_abs();
        let units =
            [(3_600 * NANOS_PER_SECOND, "h"), (60 * NANOS_PER_SECOND, "m"), (NANOS_PER_SECOND, "s"), (1_000_000, "ms")];
        for (size, unit) in units.into_iter().chain([(1_000, "us"), (1, "ns")]) {
            if rest >= size {
                append(&mut out, format_args!("{}{unit}", rest / size));
                rest %= size;
            }
        }
        if out.is_empty() { "0s".to_owned() } else { out }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (value, unit) in [(self.months / 12, "year"), (self.months % 12, "mon"), (self.days, "day")] {
            if value != 0 {
                write!(f, "{separator}{value} {unit}{}", if value == 1 { "" } else { "s" })?;
                separator = " ";
            }
        }
        if self.nanos == 0 && !separator.is_empty() {
            return Ok(());
        }
        let sign = if self.nanos < 0 { "-" } else { "" };
        let (seconds, fraction) =
            (self.nanos.unsigned_abs() / NANOS_PER_SECOND, self.nanos.unsigned_abs() % NANOS_PER_SECOND);
        write!(f, "{separator}{sign}{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)?;
        if fraction != 0 {
            write!(f, ".{}", format!("{fraction:09}").trim_end_matches('0'))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{
            Array, BooleanArray, Decimal128Array, Float64Array, Int32Array, ListArray, StringArray, StructArray,
            TimestampMicrosecondArray,
        },
        datatypes::Field,
    };

    use super::*;

    fn text(array: impl Array + 'static, row: usize) -> String {
        let mut out = String::new();
        let array: ArrayRef = Arc::new(array);
        write_value(&mut out, &array, row).expect("value has a text");
        out
    }

    #[test]
    fn times_carry_a_fraction_only_where_there_is_one() {
        let times = vec![1_795_428_000_000_000, 1_795_428_000_500_000, -1];
        let zoned = TimestampMicrosecondArray::from(times.clone()).with_timezone("+00:00");
        assert_eq!(text(zoned.clone(), 0), "2026-11-23T10:00:00Z");
        assert_eq!(text(zoned.clone(), 1), "2026-11-23T10:00:00.5Z");
        assert_eq!(text(zoned, 2), "1969-12-31T23:59:59.999999Z");
        assert_eq!(text(TimestampMicrosecondArray::from(times), 0), "2026-11-23T10:00:00");
    }

    #[test]
    fn numbers_are_plain() {
        assert_eq!(text(Float64Array::from(vec![3.0, 0.1, f64::INFINITY]), 0), "3");
        assert_eq!(text(Float64Array::from(vec![3.0, 0.1, f64::INFINITY]), 2), "Infinity");
        assert_eq!(text(BooleanArray::from(vec![true]), 0), "true");
        let decimals = Decimal128Array::from(vec![12_345]).with_precision_and_scale(38, 2).expect("fits");
        assert_eq!(text(decimals, 0), "123.45");
    }

    #[test]
    fn intervals_read_as_postgres_writes_them() {
        let show = |months, days, nanos| Interval { months, days, nanos }.to_string();
        assert_eq!(show(0, 0, 60_000_000_000), "00:01:00");
        assert_eq!(show(0, 1, 0), "1 day");
        assert_eq!(show(14, 2, 1_500_000_000), "1 year 2 mons 2 days 00:00:01.5");
        assert_eq!(show(0, 0, 0), "00:00:00");
    }

    #[test]
    fn nested_values_are_json() {
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a\"b")]));
        let numbers: ArrayRef =
            Arc::new(ListArray::from_iter_primitive::<types::Int32Type, _, _>([Some([Some(1), None])]));
        let missing: ArrayRef = Arc::new(Int32Array::from(vec![None]));
        let array = StructArray::from(vec![
            (Arc::new(Field::new("name", names.data_type().clone(), true)), names),
            (Arc::new(Field::new("n", numbers.data_type().clone(), true)), numbers),
            (Arc::new(Field::new("m", missing.data_type().clone(), true)), missing),
        ]);
        assert_eq!(text(array, 0), r#"{"name":"a\"b","n":[1,null],"m":null}"#);
    }
}
