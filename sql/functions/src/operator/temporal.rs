//! Operators of dates, times and intervals.

use std::sync::Arc;

use datafusion_expr::ScalarUDF;
use ebap_values::time::{
    Interval, Zone, date_add_days, date_sub, date_to_timestamp, time_add, timestamp_add, timestamp_sub, timestamptz_add,
};
use ebap_values::{PgType, Result};

use super::{operator, operator_with};
use crate::values::{Date, Float8, Int4, Span, Time, Timestamp, Timestamptz};

pub(super) fn binary(op: &str, left: &PgType, right: &PgType) -> Option<Arc<ScalarUDF>> {
    match op {
        "+" => plus(op, left, right),
        "-" => minus(op, left, right),
        "*" | "/" => scale(op, left, right),
        _ => None,
    }
}

pub(super) fn unary(op: &str, of: &PgType) -> Option<Arc<ScalarUDF>> {
    match (op, of) {
        ("-", PgType::Interval) => operator::<(Span,), Span>(op, |(a,)| a.neg()),
        _ => None,
    }
}

fn plus(op: &str, left: &PgType, right: &PgType) -> Option<Arc<ScalarUDF>> {
    match (left, right) {
        (PgType::Date, PgType::Int4) => operator::<(Date, Int4), Date>(op, |(a, n)| date_add_days(a, n.into())),
        (PgType::Int4, PgType::Date) => operator::<(Int4, Date), Date>(op, |(n, a)| date_add_days(a, n.into())),
        (PgType::Date, PgType::Time) => operator::<(Date, Time), Timestamp>(op, |(a, t)| date_at(a, t)),
        (PgType::Time, PgType::Date) => operator::<(Time, Date), Timestamp>(op, |(t, a)| date_at(a, t)),
        (PgType::Date, PgType::Interval) => operator::<(Date, Span), Timestamp>(op, |(a, i)| date_add(a, &i)),
        (PgType::Interval, PgType::Date) => operator::<(Span, Date), Timestamp>(op, |(i, a)| date_add(a, &i)),
        (PgType::Timestamp, PgType::Interval) => {
            operator::<(Timestamp, Span), Timestamp>(op, |(a, i)| timestamp_add(a, &i))
        }
        (PgType::Interval, PgType::Timestamp) => {
            operator::<(Span, Timestamp), Timestamp>(op, |(i, a)| timestamp_add(a, &i))
        }
        (PgType::Timestamptz, PgType::Interval) => operator_with::<(Timestamptz, Span), Timestamptz, Zone>(
            op,
            |session| session.zone(),
            |zone, (a, i)| timestamptz_add(a, &i, zone),
        ),
        (PgType::Interval, PgType::Timestamptz) => operator_with::<(Span, Timestamptz), Timestamptz, Zone>(
            op,
            |session| session.zone(),
            |zone, (i, a)| timestamptz_add(a, &i, zone),
        ),
        (PgType::Interval, PgType::Interval) => operator::<(Span, Span), Span>(op, |(a, b)| a.add(&b)),
        (PgType::Time, PgType::Interval) => operator::<(Time, Span), Time>(op, |(a, i)| Ok(time_add(a, &i))),
        (PgType::Interval, PgType::Time) => operator::<(Span, Time), Time>(op, |(i, a)| Ok(time_add(a, &i))),
        _ => None,
    }
}

fn minus(op: &str, left: &PgType, right: &PgType) -> Option<Arc<ScalarUDF>> {
    match (left, right) {
        (PgType::Date, PgType::Int4) => operator::<(Date, Int4), Date>(op, |(a, n)| date_add_days(a, -i64::from(n))),
        (PgType::Date, PgType::Date) => operator::<(Date, Date), Int4>(op, |(a, b)| date_sub(a, b)),
        (PgType::Date, PgType::Interval) => operator::<(Date, Span), Timestamp>(op, |(a, i)| date_add(a, &i.neg()?)),
        (PgType::Timestamp, PgType::Timestamp) => {
            operator::<(Timestamp, Timestamp), Span>(op, |(a, b)| timestamp_sub(a, b))
        }
        (PgType::Timestamptz, PgType::Timestamptz) => {
            operator::<(Timestamptz, Timestamptz), Span>(op, |(a, b)| timestamp_sub(a, b))
        }
        (PgType::Timestamp, PgType::Interval) => {
            operator::<(Timestamp, Span), Timestamp>(op, |(a, i)| timestamp_add(a, &i.neg()?))
        }
        (PgType::Timestamptz, PgType::Interval) => operator_with::<(Timestamptz, Span), Timestamptz, Zone>(
            op,
            |session| session.zone(),
            |zone, (a, i)| timestamptz_add(a, &i.neg()?, zone),
        ),
        (PgType::Interval, PgType::Interval) => operator::<(Span, Span), Span>(op, |(a, b)| a.sub(&b)),
        (PgType::Time, PgType::Time) => {
            operator::<(Time, Time), Span>(op, |(a, b)| Ok(Interval { months: 0, days: 0, micros: a - b }))
        }
        (PgType::Time, PgType::Interval) => operator::<(Time, Span), Time>(op, |(a, i)| Ok(time_add(a, &i.neg()?))),
        _ => None,
    }
}

fn scale(op: &str, left: &PgType, right: &PgType) -> Option<Arc<ScalarUDF>> {
    match (op, left, right) {
        ("*", PgType::Interval, PgType::Float8) => operator::<(Span, Float8), Span>(op, |(a, n)| a.mul(n)),
        ("*", PgType::Float8, PgType::Interval) => operator::<(Float8, Span), Span>(op, |(n, a)| a.mul(n)),
        ("/", PgType::Interval, PgType::Float8) => operator::<(Span, Float8), Span>(op, |(a, n)| a.div(n)),
        _ => None,
    }
}

fn date_add(date: i32, interval: &Interval) -> Result<i64> {
    timestamp_add(date_to_timestamp(date)?, interval)
}

fn date_at(date: i32, time: i64) -> Result<i64> {
    timestamp_add(date_to_timestamp(date)?, &Interval { months: 0, days: 0, micros: time })
}
