//! `sum` and `avg` of doubles: 22003 where finite values add up to more than a double can be, and an infinity that
//! came as a value stays one.
//!
//! Name and state are those of DataFusion's own, so that state that was written with those goes on. Partial states
//! never fail: a sum that has passed the largest double says so when its value is asked for.

use std::collections::BTreeSet;
use std::mem::size_of_val;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, UInt64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, UInt64Type};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::AggregateOrderSensitivity;
use datafusion_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature, Volatility,
};
use ebap_values::float::{self, from_order_f64, order_f64};

use crate::error::external;

/// `sum(DOUBLE PRECISION)`.
pub fn float_sum() -> Arc<AggregateUDF> {
    static SUM: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| Of::Sum.udaf());
    Arc::clone(&SUM)
}

/// `avg(DOUBLE PRECISION)`.
pub fn float_avg() -> Arc<AggregateUDF> {
    static AVG: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| Of::Mean.udaf());
    Arc::clone(&AVG)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Of {
    Sum,
    Mean,
}

impl Of {
    fn udaf(self) -> Arc<AggregateUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(AggregateUDF::new_from_impl(FloatSum { of: self, signature }))
    }

    /// NULL of no values.
    ///
    /// # Errors
    /// 22003 where the sum has passed the largest double.
    fn value(self, sum: f64, count: u64) -> Result<Option<f64>> {
        if count == 0 {
            return Ok(None);
        }
        let sum = float::in_range(sum).map_err(external)?;
        Ok(Some(match self {
            Self::Sum => sum,
            Self::Mean => sum / count as f64,
        }))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FloatSum {
    of: Of,
    signature: Signature,
}

impl AggregateUDFImpl for FloatSum {
    fn name(&self) -> &str {
        match self.of {
            Of::Sum => "sum",
            Of::Mean => "avg",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(match args.is_distinct {
            true => Box::new(Distinct { of: self.of, values: BTreeSet::new() }),
            false => Box::new(One { of: self.of, sum: 0.0, count: 0 }),
        })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = |part: &str| format!("{}[{part}]", args.name);
        if args.is_distinct {
            let item = Field::new_list_field(DataType::Float64, true);
            return Ok(vec![Arc::new(Field::new_list(name("distinct"), item, true))]);
        }
        let sum = Arc::new(Field::new(name("sum"), DataType::Float64, true));
        Ok(match self.of {
            Of::Sum => vec![sum],
            Of::Mean => vec![Arc::new(Field::new(name("count"), DataType::UInt64, true)), sum],
        })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups { of: self.of, sums: Vec::new(), counts: Vec::new() }))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// The sums of a partial state, and how many values are in each: of `sum` it is only known whether there are any.
fn partial(of: Of, states: &[ArrayRef]) -> (Option<&UInt64Array>, &Float64Array) {
    match of {
        Of::Sum => (None, states[0].as_primitive::<Float64Type>()),
        Of::Mean => (Some(states[0].as_primitive::<UInt64Type>()), states[1].as_primitive::<Float64Type>()),
    }
}

#[derive(Debug)]
struct One {
    of: Of,
    sum: f64,
    count: u64,
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<Float64Type>().iter().flatten() {
            self.sum = float::add(self.sum, value);
            self.count += 1;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.of.value(self.sum, self.count)?))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = ScalarValue::Float64((self.count > 0).then_some(self.sum));
        Ok(match self.of {
            Of::Sum => vec![sum],
            Of::Mean => vec![ScalarValue::UInt64(Some(self.count)), sum],
        })
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (counts, sums) = partial(self.of, states);
        for row in (0..sums.len()).filter(|row| sums.is_valid(*row)) {
            self.sum = float::add(self.sum, sums.value(row));
            self.count += counts.map_or(1, |counts| counts.value(row));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Groups {
    of: Of,
    sums: Vec<f64>,
    counts: Vec<u64>,
}

impl Groups {
    fn add(&mut self, group: usize, value: f64, count: u64) {
        self.sums[group] = float::add(self.sums[group], value);
        self.counts[group] += count;
    }

    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, 0.0);
        self.counts.resize(groups, 0);
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.resize(total);
        let values = values[0].as_primitive::<Float64Type>();
        if values.null_count() == 0 && filter.is_none() {
            groups.iter().zip(values.values()).for_each(|(group, value)| self.add(*group, *value, 1));
            return Ok(());
        }
        let takes = |row: usize| filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        for (row, group) in groups.iter().enumerate().filter(|(row, _)| values.is_valid(*row) && takes(*row)) {
            self.add(*group, values.value(row), 1);
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let (sums, counts) = (emit.take_needed(&mut self.sums), emit.take_needed(&mut self.counts));
        let values = sums.into_iter().zip(counts).map(|(sum, count)| self.of.value(sum, count));
        Ok(Arc::new(values.collect::<Result<Float64Array>>()?))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let (sums, counts) = (emit.take_needed(&mut self.sums), emit.take_needed(&mut self.counts));
        let sums = sums.into_iter().zip(&counts).map(|(sum, count)| (*count > 0).then_some(sum));
        let sums: ArrayRef = Arc::new(sums.collect::<Float64Array>());
        Ok(match self.of {
            Of::Sum => vec![sums],
            Of::Mean => vec![Arc::new(UInt64Array::from(counts)), sums],
        })
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        groups: &[usize],
        _: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.resize(total);
        let (counts, sums) = partial(self.of, states);
        for (row, group) in groups.iter().enumerate().filter(|(row, _)| sums.is_valid(*row)) {
            self.add(*group, sums.value(row), counts.map_or(1, |counts| counts.value(row)));
        }
        Ok(())
    }

    fn size(&self) -> usize {
        (self.sums.capacity() + self.counts.capacity()) * 8
    }
}

/// Each value once, by its place in PostgreSQL's order, in which they are added too.
#[derive(Debug)]
struct Distinct {
    of: Of,
    values: BTreeSet<i64>,
}

impl Distinct {
    fn doubles(&self) -> impl Iterator<Item = f64> {
        self.values.iter().map(|key| from_order_f64(*key))
    }
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.extend(values[0].as_primitive::<Float64Type>().iter().flatten().map(order_f64));
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = self.doubles().fold(0.0, float::add);
        Ok(ScalarValue::Float64(self.of.value(sum, self.values.len() as u64)?))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.len() * 16
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: ArrayRef = Arc::new(Float64Array::from_iter_values(self.doubles()));
        let list = datafusion_common::utils::SingleRowListArrayBuilder::new(values).with_nullable(true);
        Ok(vec![list.build_list_scalar()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states[0].as_list::<i32>();
        (0..lists.len()).filter(|row| lists.is_valid(*row)).try_for_each(|row| self.update_batch(&[lists.value(row)]))
    }
}
