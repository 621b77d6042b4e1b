//! Which times of the other side a row of a join may meet: read from its condition, so that rows of one key are found
//! by their time and not tried one by one.

use std::{collections::BTreeSet, ops::RangeInclusive};

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::{
    common::{DFSchema, ScalarValue},
    logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, utils::split_conjunction},
};
use ebap_sql::{Join, moved_time};

/// The difference of two times, right less left, lies between two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeRange {
    /// Columns of the two sides.
    pub(crate) left: usize,
    pub(crate) right: usize,
    low_us: i64,
    high_us: i64,
    /// The condition says no more; else it is looked at besides.
    pub(crate) is_all: bool,
}

impl TimeRange {
    /// None where the condition bounds no pair of times on both ends.
    pub(crate) fn of(plan: &Join) -> Option<Self> {
        let (filter, _) = plan.filter.as_ref()?;
        let comparisons: Vec<Option<Comparison<'_>>> =
            split_conjunction(filter).into_iter().flat_map(comparisons).collect();
        let bounds: Vec<Bound> = comparisons.iter().flatten().filter_map(|one| one.bound(plan)).collect();
        bounds.iter().find_map(|first| {
            let of_pair = || bounds.iter().filter(|bound| (bound.left, bound.right) == (first.left, first.right));
            let low_us = of_pair().filter_map(|bound| bound.low_us).max()?;
            let high_us = of_pair().filter_map(|bound| bound.high_us).min()?;
            let said = |one: &Option<Comparison<'_>>| one.as_ref().is_some_and(|one| !one.strict);
            let is_all = comparisons.iter().all(said) && of_pair().count() == comparisons.len();
            Some(Self { left: first.left, right: first.right, low_us, high_us, is_all })
        })
    }

    /// Times of the other side that a row of this time may meet; none where there are none.
    pub(crate) fn met(self, is_left: bool, time: i64) -> Option<RangeInclusive<i64>> {
        let (low, high) = match is_left {
            true => (time.saturating_add(self.low_us), time.saturating_add(self.high_us)),
            false => (time.saturating_sub(self.high_us), time.saturating_sub(self.low_us)),
        };
        (low <= high).then_some(low..=high)
    }
}

/// What one comparison says of right less left.
struct Bound {
    left: usize,
    right: usize,
    low_us: Option<i64>,
    high_us: Option<i64>,
}

/// `a <= b`, or `a = b`; a strict comparison is taken for the other, and looked at besides.
struct Comparison<'a> {
    lesser: &'a Expr,
    greater: &'a Expr,
    equal: bool,
    strict: bool,
}

/// None for what is no comparison.
fn comparisons(condition: &Expr) -> Vec<Option<Comparison<'_>>> {
    let comparison = |lesser, greater| Comparison { lesser, greater, equal: false, strict: false };
    match condition {
        Expr::Between(between) if !between.negated => {
            vec![Some(comparison(&between.low, &between.expr)), Some(comparison(&between.expr, &between.high))]
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => vec![match op {
            Operator::LtEq => Some(comparison(left, right)),
            Operator::GtEq => Some(comparison(right, left)),
            Operator::Lt => Some(Comparison { strict: true, ..comparison(left, right) }),
            Operator::Gt => Some(Comparison { strict: true, ..comparison(right, left) }),
            Operator::Eq => Some(Comparison { equal: true, ..comparison(left, right) }),
            _ => None,
        }],
        _ => vec![None],
    }
}

impl Comparison<'_> {
    fn bound(&self, plan: &Join) -> Option<Bound> {
        let side = |expr: &Expr| {
            let (column, by_us) = shifted(expr, &[&plan.left_schema, &plan.right_schema])?;
            match time_column(column, &plan.left_schema) {
                Some(at) => Some((true, at, by_us)),
                None => Some((false, time_column(column, &plan.right_schema)?, by_us)),
            }
        };
        // lesser + less_us <= greater + more_us
        let ((lesser_is_left, lesser, less_us), (greater_is_left, greater, more_us)) =
            (side(self.lesser)?, side(self.greater)?);
        if lesser_is_left == greater_is_left {
            return None;
        }
        let (left, right, by_us) = match lesser_is_left {
            true => (lesser, greater, less_us.checked_sub(more_us)?),
            false => (greater, lesser, more_us.checked_sub(less_us)?),
        };
        let (low_us, high_us) = match (self.equal, lesser_is_left) {
            (true, _) => (Some(by_us), Some(by_us)),
            (false, true) => (Some(by_us), None),
            (false, false) => (None, Some(by_us)),
        };
        Some(Bound { left, right, low_us, high_us })
    }
}

/// A column and what is added to it, in microseconds. Nothing else may be done to it.
fn shifted<'a>(expr: &'a Expr, schemas: &[&DFSchema; 2]) -> Option<(&'a Expr, i64)> {
    match expr {
        Expr::Column(_) => Some((expr, 0)),
        Expr::Alias(alias) => shifted(&alias.expr, schemas),
        // To a timestamp with a zone or without: the same instant, as all are of UTC.
        Expr::Cast(cast) if schemas.iter().any(|schema| is_time(expr.get_type(*schema).ok().as_ref())) => {
            let (column, by_us) = shifted(&cast.expr, schemas)?;
            schemas.iter().any(|schema| time_column(column, schema).is_some()).then_some((column, by_us))
        }
        expr => match moved_time(expr)? {
            (left, Operator::Minus, right) => plus(shifted(left, schemas)?, length_us(right)?.checked_neg()?),
            (left, _, right) => match length_us(right) {
                Some(by_us) => plus(shifted(left, schemas)?, by_us),
                None => plus(shifted(right, schemas)?, length_us(left)?),
            },
        },
    }
}

fn plus((column, by_us): (&Expr, i64), more_us: i64) -> Option<(&Expr, i64)> {
    Some((column, by_us.checked_add(more_us)?))
}

/// An interval without months, whose length depends on where it begins.
fn length_us(expr: &Expr) -> Option<i64> {
    const DAY_US: i64 = 86_400_000_000;
    let days = |days: i32, us: i64| i64::from(days).checked_mul(DAY_US)?.checked_add(us);
    match expr {
        Expr::Alias(alias) => length_us(&alias.expr),
        Expr::Literal(value, _) => match value {
            ScalarValue::IntervalMonthDayNano(Some(one)) if one.months == 0 && one.nanoseconds % 1_000 == 0 => {
                days(one.days, one.nanoseconds / 1_000)
            }
            ScalarValue::IntervalDayTime(Some(one)) => days(one.days, i64::from(one.milliseconds) * 1_000),
            ScalarValue::DurationMicrosecond(Some(us)) => Some(*us),
            ScalarValue::DurationMillisecond(Some(ms)) => ms.checked_mul(1_000),
            ScalarValue::DurationSecond(Some(seconds)) => seconds.checked_mul(1_000_000),
            _ => None,
        },
        _ => None,
    }
}

fn time_column(expr: &Expr, schema: &DFSchema) -> Option<usize> {
    let Expr::Column(column) = expr else { return None };
    let at = schema.maybe_index_of_column(column)?;
    is_time(Some(schema.field(at).data_type())).then_some(at)
}

fn is_time(of: Option<&DataType>) -> bool {
    matches!(of, Some(DataType::Timestamp(TimeUnit::Microsecond, _)))
}

/// Numbers of the rows of one key by their time.
#[derive(Debug)]
pub(crate) enum TimedRows {
    Few(Vec<(i64, u32)>),
    Many(BTreeSet<(i64, u32)>),
}

/// Beyond this many a tree, below it a list.
const FEW: usize = 32;

impl Default for TimedRows {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl TimedRows {
    pub(crate) fn insert(&mut self, time: i64, row: u32) {
        match self {
            Self::Few(rows) => {
                let at = rows.partition_point(|known| *known < (time, row));
                rows.insert(at, (time, row));
                if rows.len() > FEW {
                    *self = Self::Many(std::mem::take(rows).into_iter().collect());
                }
            }
            Self::Many(rows) => drop(rows.insert((time, row))),
        }
    }

    pub(crate) fn remove(&mut self, time: i64, row: u32) {
        match self {
            Self::Few(rows) => {
                if let Ok(at) = rows.binary_search(&(time, row)) {
                    rows.remove(at);
                }
            }
            Self::Many(rows) => {
                rows.remove(&(time, row));
                if rows.is_empty() {
                    *self = Self::default();
                }
            }
        }
    }

    /// Appends the rows whose time is within, the earliest first.
    pub(crate) fn within(&self, times: &RangeInclusive<i64>, into: &mut Vec<u32>) {
        // A row without a time meets nothing.
        let (first, last) = (((*times.start()).max(i64::MIN + 1), 0), (*times.end(), u32::MAX));
        if first > last {
            return;
        }
        match self {
            Self::Few(rows) => {
                let from = rows.partition_point(|known| *known < first);
                let to = rows.partition_point(|known| *known <= last);
                into.extend(rows[from..to].iter().map(|(_, row)| *row));
            }
            Self::Many(rows) => into.extend(rows.range(first..=last).map(|(_, row)| *row)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_their_time_few_or_many() {
        let mut rows = TimedRows::default();
        let found = |rows: &TimedRows, times| {
            let mut into = Vec::new();
            rows.within(&times, &mut into);
            into
        };
        for row in (0..100_u32).rev() {
            rows.insert(i64::from(row / 2), row);
            assert_eq!(found(&rows, 49..=i64::MAX).last(), Some(&99));
        }
        assert_eq!(found(&rows, 3..=4), [6, 7, 8, 9]);
        assert_eq!(found(&rows, i64::MIN..=0), [0, 1]);
        assert!(found(&rows, i64::MIN..=i64::MIN).is_empty());
        (0..98).for_each(|row| rows.remove(i64::from(row / 2), row));
        rows.remove(7, 98);
        assert_eq!(found(&rows, i64::MIN..=i64::MAX), [98, 99]);
        (98..100).for_each(|row| rows.remove(49, row));
        assert!(matches!(&rows, TimedRows::Few(rows) if rows.is_empty()));
    }

    #[test]
    fn a_range_is_the_same_from_both_sides() {
        let range = TimeRange { left: 0, right: 0, low_us: -5, high_us: 10, is_all: true };
        assert_eq!(range.met(true, 100), Some(95..=110));
        assert_eq!(range.met(false, 100), Some(90..=105));
        assert_eq!(range.met(true, i64::MAX), Some(i64::MAX - 5..=i64::MAX));
        assert_eq!(TimeRange { low_us: 1, high_us: 0, ..range }.met(true, 1), None);
    }
}
