//! Dates, times, timestamps and intervals.

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray},
    datatypes::{
        DataType, Date32Type, Date64Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
        DurationSecondType, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType,
        Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
        TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    },
};
use bytes::{BufMut, BytesMut};
use ebap_values::{
    ValueError,
    time::{
        DATE_INFINITY, DATE_NEG_INFINITY, Interval, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, USECS_PER_DAY,
        print_date, print_interval, print_time, print_timestamp, print_timestamptz,
    },
};

use super::{Encode, Result, Shown, unknown};
use crate::pgwire::{EPOCH_DAYS, EPOCH_US};

const MS_PER_DAY: i64 = USECS_PER_DAY / 1_000;
const US_PER_MS: i64 = 1_000;
const US_PER_SECOND: i64 = 1_000_000;
const NS_PER_US: i64 = 1_000;

pub(super) fn encoder(array: &ArrayRef, shown: &Shown) -> Result<Box<dyn Encode>> {
    Ok(match array.data_type() {
        DataType::Date32 => values::<Date32Type, _>(array, shown, Ok, date),
        DataType::Date64 => values::<Date64Type, _>(array, shown, days, date),
        DataType::Timestamp(unit, zone) => timestamps(array, *unit, zone.is_some(), shown),
        DataType::Time32(TimeUnit::Second) => {
            values::<Time32SecondType, _>(array, shown, |value| from_seconds(value.into()), time)
        }
        DataType::Time32(_) => {
            values::<Time32MillisecondType, _>(array, shown, |value| from_millis(value.into()), time)
        }
        DataType::Time64(TimeUnit::Nanosecond) => values::<Time64NanosecondType, _>(array, shown, from_nanos, time),
        DataType::Time64(_) => values::<Time64MicrosecondType, _>(array, shown, Ok, time),
        DataType::Interval(unit) => intervals(array, *unit, shown),
        DataType::Duration(unit) => durations(array, *unit, shown),
        other => return Err(unknown(other)),
    })
}

fn out_of_range(of: &str) -> ValueError {
    ValueError::new("22008", format!("{of} out of range"))
}

/// An encoder that makes each value one of PostgreSQL's first.
fn values<T: ArrowPrimitiveType, V: 'static>(
    array: &ArrayRef,
    shown: &Shown,
    read: fn(T::Native) -> Result<V>,
    write: fn(&V, &Shown, &mut BytesMut) -> Result<()>,
) -> Box<dyn Encode> {
    let (values, shown): (PrimitiveArray<T>, _) = (array.as_primitive().clone(), shown.clone());
    Box::new(move |row: usize, out: &mut BytesMut| write(&read(values.value(row))?, &shown, out))
}

fn days(ms: i64) -> Result<i32> {
    i32::try_from(ms.div_euclid(MS_PER_DAY)).map_err(|_| out_of_range("date"))
}

fn from_seconds(value: i64) -> Result<i64> {
    value.checked_mul(US_PER_SECOND).ok_or_else(|| out_of_range("timestamp"))
}

fn from_millis(value: i64) -> Result<i64> {
    value.checked_mul(US_PER_MS).ok_or_else(|| out_of_range("timestamp"))
}

/// What is finer than a microsecond is not shown.
#[expect(clippy::unnecessary_wraps, reason = "the other units may fail")]
fn from_nanos(value: i64) -> Result<i64> {
    Ok(value.div_euclid(NS_PER_US))
}

fn timestamps(array: &ArrayRef, unit: TimeUnit, zoned: bool, shown: &Shown) -> Box<dyn Encode> {
    let write = if zoned { timestamptz } else { timestamp };
    match unit {
        TimeUnit::Second => values::<TimestampSecondType, _>(array, shown, from_seconds, write),
        TimeUnit::Millisecond => values::<TimestampMillisecondType, _>(array, shown, from_millis, write),
        TimeUnit::Microsecond => values::<TimestampMicrosecondType, _>(array, shown, Ok, write),
        TimeUnit::Nanosecond => values::<TimestampNanosecondType, _>(array, shown, from_nanos, write),
    }
}

fn text(value: &str, out: &mut BytesMut) -> Result<()> {
    out.put_slice(value.as_bytes());
    Ok(())
}

fn date(days: &i32, shown: &Shown, out: &mut BytesMut) -> Result<()> {
    match *days {
        days if !shown.binary => return text(&print_date(days), out),
        infinite @ (DATE_INFINITY | DATE_NEG_INFINITY) => out.put_i32(infinite),
        days => out.put_i32(days.checked_sub(EPOCH_DAYS).ok_or_else(|| out_of_range("date"))?),
    }
    Ok(())
}

fn timestamp(micros: &i64, shown: &Shown, out: &mut BytesMut) -> Result<()> {
    if shown.binary { instant(*micros, out) } else { text(&print_timestamp(*micros), out) }
}

fn timestamptz(micros: &i64, shown: &Shown, out: &mut BytesMut) -> Result<()> {
    if shown.binary { instant(*micros, out) } else { text(&print_timestamptz(*micros, &shown.zone), out) }
}

fn instant(micros: i64, out: &mut BytesMut) -> Result<()> {
    out.put_i64(match micros {
        infinite @ (TIMESTAMP_INFINITY | TIMESTAMP_NEG_INFINITY) => infinite,
        micros => micros.checked_sub(EPOCH_US).ok_or_else(|| out_of_range("timestamp"))?,
    });
    Ok(())
}

fn time(micros: &i64, shown: &Shown, out: &mut BytesMut) -> Result<()> {
    if !(0..=USECS_PER_DAY).contains(micros) {
        return Err(out_of_range("time"));
    }
    match shown.binary {
        true => out.put_i64(*micros),
        false => text(&print_time(*micros), out)?,
    }
    Ok(())
}

fn intervals(array: &ArrayRef, unit: IntervalUnit, shown: &Shown) -> Box<dyn Encode> {
    match unit {
        IntervalUnit::YearMonth => {
            let read = |months| Ok(Interval { months, days: 0, micros: 0 });
            values::<IntervalYearMonthType, _>(array, shown, read, interval)
        }
        IntervalUnit::DayTime => {
            let read = |value: arrow::datatypes::IntervalDayTime| {
                Ok(Interval { months: 0, days: value.days, micros: i64::from(value.milliseconds) * US_PER_MS })
            };
            values::<IntervalDayTimeType, _>(array, shown, read, interval)
        }
        IntervalUnit::MonthDayNano => {
            let read = |value: arrow::datatypes::IntervalMonthDayNano| {
                Ok(Interval { months: value.months, days: value.days, micros: value.nanoseconds / NS_PER_US })
            };
            values::<IntervalMonthDayNanoType, _>(array, shown, read, interval)
        }
    }
}

fn durations(array: &ArrayRef, unit: TimeUnit, shown: &Shown) -> Box<dyn Encode> {
    match unit {
        TimeUnit::Second => values::<DurationSecondType, _>(array, shown, |v| span(from_seconds(v)), interval),
        TimeUnit::Millisecond => values::<DurationMillisecondType, _>(array, shown, |v| span(from_millis(v)), interval),
        TimeUnit::Microsecond => values::<DurationMicrosecondType, _>(array, shown, |v| span(Ok(v)), interval),
        TimeUnit::Nanosecond => {
            values::<DurationNanosecondType, _>(array, shown, |v| span(Ok(v / NS_PER_US)), interval)
        }
    }
}

fn span(micros: Result<i64>) -> Result<Interval> {
    let micros = micros.map_err(|_| out_of_range("interval"))?;
    Ok(Interval { months: 0, days: 0, micros })
}

fn interval(value: &Interval, shown: &Shown, out: &mut BytesMut) -> Result<()> {
    if !shown.binary {
        return text(&print_interval(value), out);
    }
    out.put_i64(value.micros);
    out.put_i32(value.days);
    out.put_i32(value.months);
    Ok(())
}
