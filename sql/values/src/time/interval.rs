//! The interval: months, days and microseconds that do not convert into each other.

use super::calendar::{USECS_PER_DAY, USECS_PER_SEC, interval_out_of_range};
use crate::{Result, ValueError};

/// A span of time. A month has no fixed number of days, and a day no fixed number of hours.
///
/// `==` compares the fields. PostgreSQL's `=` and `<` compare `key`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interval {
    pub months: i32,
    pub days: i32,
    pub micros: i64,
}

pub(crate) const DAYS_PER_MONTH: i64 = 30;
const SECS_PER_DAY: f64 = 86_400.0;

impl Interval {
    /// The sum, field by field. 22008: a field overflows.
    pub fn add(&self, other: &Self) -> Result<Self> {
        let sum = || {
            Some(Self {
                months: self.months.checked_add(other.months)?,
                days: self.days.checked_add(other.days)?,
                micros: self.micros.checked_add(other.micros)?,
            })
        };
        sum().ok_or_else(interval_out_of_range)
    }

    /// The difference, field by field. 22008: a field overflows.
    pub fn sub(&self, other: &Self) -> Result<Self> {
        let difference = || {
            Some(Self {
                months: self.months.checked_sub(other.months)?,
                days: self.days.checked_sub(other.days)?,
                micros: self.micros.checked_sub(other.micros)?,
            })
        };
        difference().ok_or_else(interval_out_of_range)
    }

    /// Every field negated. 22008: a field overflows.
    pub fn neg(&self) -> Result<Self> {
        Self::default().sub(self)
    }

    /// Fractions of months become days of 1/30 month, and fractions of days become time. 22008: a field overflows.
    pub fn mul(&self, factor: f64) -> Result<Self> {
        self.scale(|value| value * factor)
    }

    /// As `mul`. Errors: 22012 for a division by zero, 22008 for an overflow.
    pub fn div(&self, divisor: f64) -> Result<Self> {
        if divisor == 0.0 {
            return Err(ValueError::division_by_zero());
        }
        self.scale(|value| value / divisor)
    }

    fn scale(&self, by: impl Fn(f64) -> f64) -> Result<Self> {
        let months_exact = by(f64::from(self.months));
        let days_exact = by(f64::from(self.days));
        let months = to_i32(months_exact)?;
        let mut days = to_i32(days_exact)?;
        let month_rest = to_micros((months_exact - f64::from(months)) * DAYS_PER_MONTH as f64);
        let rest = days_exact - f64::from(days) + month_rest - month_rest.trunc();
        let mut seconds = to_micros(rest * SECS_PER_DAY);
        // Rounding can make a whole day of what remains.
        if seconds.abs() >= SECS_PER_DAY {
            let whole = (seconds / SECS_PER_DAY).trunc();
            days = days.checked_add(to_i32(whole)?).ok_or_else(interval_out_of_range)?;
            seconds -= whole * SECS_PER_DAY;
        }
        days = days.checked_add(to_i32(month_rest)?).ok_or_else(interval_out_of_range)?;
        let micros = (by(self.micros as f64) + seconds * USECS_PER_SEC as f64).round_ties_even();
        Ok(Self { months, days, micros: to_i64(micros)? })
    }

    /// Microseconds, with months of 30 days and days of 24 hours: what PostgreSQL compares intervals by.
    pub fn key(&self) -> i128 {
        let days = i128::from(self.months) * i128::from(DAYS_PER_MONTH) + i128::from(self.days);
        days * i128::from(USECS_PER_DAY) + i128::from(self.micros)
    }

    /// Every 24 hours become a day, and both have the same sign. 22008: the days overflow.
    pub fn justify_hours(&self) -> Result<Self> {
        let days = i64::from(self.days) + self.micros / USECS_PER_DAY;
        let (days, micros) = same_sign(days, self.micros % USECS_PER_DAY, USECS_PER_DAY);
        Ok(Self { months: self.months, days: narrow(days)?, micros })
    }

    /// Every 30 days become a month, and both have the same sign. 22008: the months overflow.
    pub fn justify_days(&self) -> Result<Self> {
        let months = i64::from(self.months) + i64::from(self.days) / DAYS_PER_MONTH;
        let (months, days) = same_sign(months, i64::from(self.days) % DAYS_PER_MONTH, DAYS_PER_MONTH);
        Ok(Self { months: narrow(months)?, days: narrow(days)?, micros: self.micros })
    }

    /// Every 24 hours become a day and every 30 days a month, and all have the same sign. 22008: a field overflows.
    pub fn justify_interval(&self) -> Result<Self> {
        // The key does not change, so that the whole follows from it.
        let key = self.key();
        let day = i128::from(USECS_PER_DAY);
        let month = day * i128::from(DAYS_PER_MONTH);
        let narrow = |value: i128| i32::try_from(value).map_err(|_| interval_out_of_range());
        Ok(Self {
            months: narrow(key / month)?,
            days: narrow(key % month / day)?,
            // Less than a day always fits.
            micros: (key % day) as i64,
        })
    }
}

/// Moves one unit of the greater field so that both have the same sign. The smaller is less than a unit.
fn same_sign(greater: i64, smaller: i64, unit: i64) -> (i64, i64) {
    if greater > 0 && smaller < 0 {
        (greater - 1, smaller + unit)
    } else if greater < 0 && smaller > 0 {
        (greater + 1, smaller - unit)
    } else {
        (greater, smaller)
    }
}

fn narrow(value: i64) -> Result<i32> {
    i32::try_from(value).map_err(|_| interval_out_of_range())
}

/// Towards zero. NaN is out of range.
fn to_i32(value: f64) -> Result<i32> {
    if value.is_nan() || value < f64::from(i32::MIN) || value > f64::from(i32::MAX) {
        return Err(interval_out_of_range());
    }
    Ok(value as i32)
}

fn to_i64(value: f64) -> Result<i64> {
    // The greatest i64 is no f64, and its neighbour 2^63 does not fit.
    let limit = 9_223_372_036_854_775_808.0;
    if value.is_nan() || value < -limit || value >= limit {
        return Err(interval_out_of_range());
    }
    Ok(value as i64)
}

/// Rounded to a millionth, which hides what binary fractions miss.
fn to_micros(value: f64) -> f64 {
    (value * 1e6).round_ties_even() / 1e6
}
