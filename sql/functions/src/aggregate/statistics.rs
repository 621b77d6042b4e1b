//! Variance, covariance and regression of floats, step by step as PostgreSQL computes them, so that the last digit is
//! the same: the method of Youngs and Cramer.

use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use ebap_values::{ValueError, float};

use super::recomputed;
use crate::error::external;

/// `var`, `var_pop`, `stddev`, `stddev_pop` of one argument; `corr`, `covar_pop`, `covar_samp` and `regr_…` of two, Y and
/// X. All are DOUBLE PRECISION. None for another name.
pub fn float_statistic(name: &str) -> Option<Arc<AggregateUDF>> {
    let statistic = Statistic::named(name)?;
    let signature = Signature::user_defined(Volatility::Immutable);
    let name = format!("float_{name}");
    Some(Arc::new(AggregateUDF::new_from_impl(FloatStatistic { name, statistic, signature })))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Statistic {
    Variance { sample: bool, root: bool },
    Covariance { sample: bool },
    Correlation,
    Count,
    SquaresX,
    SquaresY,
    Products,
    AverageX,
    AverageY,
    Determination,
    Slope,
    Intercept,
}

impl Statistic {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "var" => Self::Variance { sample: true, root: false },
            "var_pop" => Self::Variance { sample: false, root: false },
            "stddev" => Self::Variance { sample: true, root: true },
            "stddev_pop" => Self::Variance { sample: false, root: true },
            "covar_samp" => Self::Covariance { sample: true },
            "covar_pop" => Self::Covariance { sample: false },
            "corr" => Self::Correlation,
            "regr_count" => Self::Count,
            "regr_sxx" => Self::SquaresX,
            "regr_syy" => Self::SquaresY,
            "regr_sxy" => Self::Products,
            "regr_avgx" => Self::AverageX,
            "regr_avgy" => Self::AverageY,
            "regr_r2" => Self::Determination,
            "regr_slope" => Self::Slope,
            "regr_intercept" => Self::Intercept,
            _ => return None,
        })
    }

    fn answer(self) -> DataType {
        if self == Self::Count { DataType::Int64 } else { DataType::Float64 }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FloatStatistic {
    name: String,
    statistic: Statistic,
    signature: Signature,
}

impl AggregateUDFImpl for FloatStatistic {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.statistic.answer())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            let message = format!("{}(DISTINCT …) is not supported", self.name.trim_start_matches("float_"));
            return Err(external(ValueError::unsupported(message)));
        }
        Ok(Box::new(State { statistic: self.statistic, sums: Sums::default() }))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let own = Self { name: self.name.clone(), statistic: self.statistic, signature: self.signature.clone() };
        recomputed(&Arc::new(AggregateUDF::new_from_impl(own))).create_sliding_accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |part: &str| Arc::new(Field::new(format!("{}[{part}]", args.name), DataType::Float64, true));
        Ok(["n", "sx", "sxx", "sy", "syy", "sxy"].map(field).into())
    }
}

/// With one argument, `x` alone is used. An overflow stays, and is an error when the value is asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    n: f64,
    sx: f64,
    sxx: f64,
    sy: f64,
    syy: f64,
    sxy: f64,
}

impl Sums {
    /// As in a sum of doubles, so that a state has no column for it.
    fn overflown(n: f64) -> Self {
        Self { n, sx: float::OVERFLOWN, ..Self::default() }
    }

    fn is_overflown(&self) -> bool {
        float::is_overflown(self.sx)
    }

    fn add_one(&mut self, x: f64) {
        let (before, sum) = (self.n, self.sx);
        self.n += 1.0;
        if self.is_overflown() {
            return;
        }
        self.sx += x;
        if before > 0.0 {
            let distance = x * self.n - self.sx;
            self.sxx += distance * distance / (self.n * before);
            if self.sx.is_infinite() || self.sxx.is_infinite() {
                if !sum.is_infinite() && !x.is_infinite() {
                    *self = Self::overflown(self.n);
                    return;
                }
                self.sxx = f64::NAN;
            }
        } else if !x.is_finite() {
            self.sxx = f64::NAN;
        }
    }

    fn add_pair(&mut self, y: f64, x: f64) {
        let before = *self;
        self.n += 1.0;
        if before.is_overflown() {
            return;
        }
        self.sx += x;
        self.sy += y;
        if before.n > 0.0 {
            let (distance_x, distance_y) = (x * self.n - self.sx, y * self.n - self.sy);
            let scale = 1.0 / (self.n * before.n);
            self.sxx += distance_x * distance_x * scale;
            self.syy += distance_y * distance_y * scale;
            self.sxy += distance_x * distance_y * scale;
            let finite_x = !before.sx.is_infinite() && !x.is_infinite();
            let finite_y = !before.sy.is_infinite() && !y.is_infinite();
            if (self.sx.is_infinite() || self.sxx.is_infinite()) && finite_x
                || (self.sy.is_infinite() || self.syy.is_infinite()) && finite_y
                || self.sxy.is_infinite() && finite_x && finite_y
            {
                *self = Self::overflown(self.n);
                return;
            }
            for sum in [&mut self.sxx, &mut self.syy, &mut self.sxy] {
                if sum.is_infinite() {
                    *sum = f64::NAN;
                }
            }
        } else {
            if !x.is_finite() {
                (self.sxx, self.sxy) = (f64::NAN, f64::NAN);
            }
            if !y.is_finite() {
                (self.syy, self.sxy) = (f64::NAN, f64::NAN);
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        if other.n == 0.0 {
            return;
        }
        if self.n == 0.0 {
            *self = *other;
            return;
        }
        let n = self.n + other.n;
        if self.is_overflown() || other.is_overflown() {
            *self = Self::overflown(n);
            return;
        }
        let (x, y) = (self.sx / self.n - other.sx / other.n, self.sy / self.n - other.sy / other.n);
        let weight = self.n * other.n;
        let merged = Self {
            n,
            sx: self.sx + other.sx,
            sxx: self.sxx + other.sxx + weight * x * x / n,
            sy: self.sy + other.sy,
            syy: self.syy + other.syy + weight * y * y / n,
            sxy: self.sxy + other.sxy + weight * x * y / n,
        };
        let parts = [
            (merged.sx, self.sx, other.sx),
            (merged.sxx, self.sxx, other.sxx),
            (merged.sy, self.sy, other.sy),
            (merged.syy, self.syy, other.syy),
            (merged.sxy, self.sxy, other.sxy),
        ];
        let overflows = parts.iter().any(|(sum, a, b)| sum.is_infinite() && !a.is_infinite() && !b.is_infinite());
        *self = if overflows { Self::overflown(n) } else { merged };
    }

    /// NULL where there are too few rows, or the values do not vary.
    ///
    /// # Errors
    /// 22003 where finite values have led to more than a double can be.
    fn value(&self, of: Statistic) -> Result<Option<f64>> {
        let Self { n, sx, sxx, sy, syy, sxy } = *self;
        if of != Statistic::Count {
            float::in_range(sx).map_err(external)?;
        }
        let least = match of {
            Statistic::Variance { sample: true, .. } | Statistic::Covariance { sample: true } => 2.0,
            _ => 1.0,
        };
        if n < least {
            return Ok(None);
        }
        Ok(Some(match of {
            Statistic::Variance { sample, root } => {
                let variance = sxx / if sample { n - 1.0 } else { n };
                if root { variance.sqrt() } else { variance }
            }
            Statistic::Covariance { sample } => sxy / if sample { n - 1.0 } else { n },
            Statistic::Correlation if sxx == 0.0 || syy == 0.0 => return Ok(None),
            Statistic::Correlation => sxy / (sxx * syy).sqrt(),
            Statistic::Count => n,
            Statistic::SquaresX => sxx,
            Statistic::SquaresY => syy,
            Statistic::Products => sxy,
            Statistic::AverageX => sx / n,
            Statistic::AverageY => sy / n,
            Statistic::Determination | Statistic::Slope | Statistic::Intercept if sxx == 0.0 => return Ok(None),
            Statistic::Determination if syy == 0.0 => 1.0,
            Statistic::Determination => (sxy * sxy) / (sxx * syy),
            Statistic::Slope => sxy / sxx,
            Statistic::Intercept => (sy - sx * sxy / sxx) / n,
        }))
    }
}

#[derive(Debug)]
struct State {
    statistic: Statistic,
    sums: Sums,
}

impl Accumulator for State {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let columns: Vec<&Float64Array> = values.iter().map(|values| values.as_primitive::<Float64Type>()).collect();
        match columns[..] {
            [x] => x.iter().flatten().for_each(|x| self.sums.add_one(x)),
            [y, x] => y.iter().zip(x).filter_map(|(y, x)| y.zip(x)).for_each(|(y, x)| self.sums.add_pair(y, x)),
            _ => return Err(external(crate::error::internal("a statistic has one argument or two"))),
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.sums.value(self.statistic)?;
        #[allow(clippy::cast_possible_truncation)]
        Ok(match self.statistic {
            Statistic::Count => ScalarValue::Int64(Some(self.sums.n as i64)),
            _ => ScalarValue::Float64(value),
        })
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let Sums { n, sx, sxx, sy, syy, sxy } = self.sums;
        Ok([n, sx, sxx, sy, syy, sxy].map(|sum| ScalarValue::Float64(Some(sum))).into())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let columns: Vec<&Float64Array> = states.iter().map(|state| state.as_primitive::<Float64Type>()).collect();
        let [n, sx, sxx, sy, syy, sxy] = columns[..] else {
            return Err(external(crate::error::internal("a statistic has six sums")));
        };
        for row in (0..n.len()).filter(|row| n.is_valid(*row)) {
            let of = |column: &Float64Array| column.value(row);
            self.sums.merge(&Sums { n: of(n), sx: of(sx), sxx: of(sxx), sy: of(sy), syy: of(syy), sxy: of(sxy) });
        }
        Ok(())
    }
}
