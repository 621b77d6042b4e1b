//! `sum(interval)`: months, days and microseconds each by themselves.

use std::mem::size_of_val;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{
    DataType, Field, FieldRef, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion_common::{DataFusionError, Result, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use ebap_values::ValueError;

use crate::error::external;

/// The sum of intervals.
pub fn interval_sum() -> Arc<AggregateUDF> {
    static SUM: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(AggregateUDF::new_from_impl(IntervalSum { signature }))
    });
    Arc::clone(&SUM)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalSum {
    signature: Signature,
}

impl AggregateUDFImpl for IntervalSum {
    fn name(&self) -> &str {
        "interval_sum"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return Err(external(ValueError::unsupported("sum(DISTINCT interval) is not supported")));
        }
        Ok(Box::new(Sum::default()))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |part: &str| Arc::new(Field::new(format!("{}[{part}]", args.name), DataType::Int64, true));
        Ok(["count", "months", "days", "micros"].map(field).into())
    }
}

/// Wide enough that nothing overflows before the sum is asked for.
#[derive(Debug, Default)]
struct Sum {
    count: i64,
    months: i64,
    days: i64,
    micros: i64,
}

fn out_of_range() -> DataFusionError {
    external(ValueError::new("22008", "interval out of range"))
}

impl Sum {
    fn each(&mut self, values: &ArrayRef, by: i64) -> Result<()> {
        for value in values.as_primitive::<IntervalMonthDayNanoType>().iter().flatten() {
            let micros = value.nanoseconds.div_euclid(1_000);
            self.add([by, by * i64::from(value.months), by * i64::from(value.days), by * micros])?;
        }
        Ok(())
    }

    fn add(&mut self, [count, months, days, micros]: [i64; 4]) -> Result<()> {
        self.count += count;
        self.months += months;
        self.days += days;
        self.micros = self.micros.checked_add(micros).ok_or_else(out_of_range)?;
        Ok(())
    }

    fn value(&self) -> Result<IntervalMonthDayNano> {
        let small = |part: i64| i32::try_from(part).map_err(|_| out_of_range());
        let nanoseconds = self.micros.checked_mul(1_000).ok_or_else(out_of_range)?;
        Ok(IntervalMonthDayNano { months: small(self.months)?, days: small(self.days)?, nanoseconds })
    }
}

impl Accumulator for Sum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.each(&values[0], 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.each(&values[0], -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = if self.count == 0 { None } else { Some(self.value()?) };
        Ok(ScalarValue::IntervalMonthDayNano(value))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let parts = [self.count, self.months, self.days, self.micros];
        Ok(parts.map(|part| ScalarValue::Int64(Some(part))).into())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let parts: Vec<&Int64Array> = states.iter().map(|state| state.as_primitive::<Int64Type>()).collect();
        let [count, months, days, micros] = parts[..] else {
            return Err(external(crate::error::internal("a sum of intervals has four parts")));
        };
        (0..count.len())
            .filter(|row| count.is_valid(*row))
            .try_for_each(|row| self.add([count.value(row), months.value(row), days.value(row), micros.value(row)]))
    }
}
