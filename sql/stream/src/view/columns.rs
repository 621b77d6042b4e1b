//! State of one aggregate over the groups of one window.
//!
//! Thin states (a count, a sum, an extreme, a mean of doubles) lie in plain arrays, one entry a group:
//! merging partial rows is a loop over numbers, and evaluating leaves them as they are, which
//! DataFusion's `GroupsAccumulator` does not. Every other aggregate keeps one DataFusion
//! `Accumulator` a group. The layout of the state columns is DataFusion's own for both.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Float64Array, Int64Array, PrimitiveArray, UInt64Array},
    buffer::NullBuffer,
    datatypes::{
        ArrowNativeTypeOp, DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type,
        Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
        TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use datafusion::{common::ScalarValue, logical_expr::Accumulator, physical_expr::aggregate::AggregateFunctionExpr};
use ebap_values::float;

use crate::{Error, Result};

/// Groups are numbered from 0 without gaps; a number not seen before makes a group without a value.
pub(crate) trait StateColumn: Send + Sync + std::fmt::Debug {
    /// Merges row `from[i]` of the partial state into group `to[i]`. `groups`: how many there are now.
    fn merge(&mut self, states: &[ArrayRef], from: &[u32], to: &[u32], groups: usize) -> Result<()>;

    /// The aggregate's value of each of these groups; their state stays.
    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef>;

    /// Partial rows of each of these groups; their state stays.
    fn state(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>>;

    /// Bytes held, about.
    fn size(&self) -> usize;

    /// Merging and asking cost next to nothing.
    fn thin(&self) -> bool {
        true
    }
}

/// A column without groups.
pub(crate) fn state_column(aggregate: &Arc<AggregateFunctionExpr>) -> Result<Box<dyn StateColumn>> {
    let live = || Box::new(LiveColumn { aggregate: Arc::clone(aggregate), accumulators: Vec::new() });
    if aggregate.is_distinct() || !aggregate.order_bys().is_empty() {
        return Ok(live());
    }
    let fields = aggregate.state_fields()?;
    let types: Vec<&DataType> = fields.iter().map(|field| field.data_type()).collect();
    let thin = match (aggregate.fun().name(), types.as_slice()) {
        ("count", [DataType::Int64]) => Some(Box::<CountColumn>::default() as Box<dyn StateColumn>),
        ("avg", [DataType::UInt64, DataType::Float64]) if aggregate.field().data_type() == &DataType::Float64 => {
            Some(Box::<MeanColumn>::default() as Box<dyn StateColumn>)
        }
        ("sum", [of]) => sum_column(of),
        ("min", [of]) => extreme_column(of, false),
        ("max", [of]) => extreme_column(of, true),
        _ => None,
    };
    Ok(thin.unwrap_or_else(|| live()))
}

/// Types whose addition does not depend on order, or only in the last digit.
fn sum_column(of: &DataType) -> Option<Box<dyn StateColumn>> {
    Some(match of {
        DataType::Int64 => FoldColumn::<Int64Type>::boxed(of, |a, b| a.checked_add(b)),
        DataType::UInt64 => FoldColumn::<UInt64Type>::boxed(of, |a, b| a.checked_add(b)),
        DataType::Float64 => FoldColumn::<Float64Type>::of_sums(|a, b| Some(float::add(a, b))),
        DataType::Decimal128(..) => FoldColumn::<Decimal128Type>::boxed(of, |a, b| a.checked_add(b)),
        DataType::Decimal256(..) => FoldColumn::<Decimal256Type>::boxed(of, |a, b| a.checked_add(b)),
        _ => return None,
    })
}

/// # Errors
/// 22003 where finite doubles have added up to more than a double can be.
fn as_double(sum: f64) -> Result<f64> {
    float::in_range(sum).map_err(|error| Error::sql(error.sqlstate, error.message))
}

fn out_of_range(of: &DataType) -> Error {
    match of {
        DataType::Int64 => Error::out_of_range("sum: bigint"),
        _ => Error::out_of_range("sum: numeric"),
    }
}

/// # Errors
/// 22003 where a number has more digits than its type.
fn with_digits(array: ArrayRef) -> Result<ArrayRef> {
    let of = array.data_type();
    let fits = match of {
        DataType::Decimal128(digits, _) => array.as_primitive::<Decimal128Type>().validate_decimal_precision(*digits),
        DataType::Decimal256(digits, _) => array.as_primitive::<Decimal256Type>().validate_decimal_precision(*digits),
        _ => Ok(()),
    };
    fits.map_err(|_| out_of_range(of))?;
    Ok(array)
}

fn extreme_column(of: &DataType, most: bool) -> Option<Box<dyn StateColumn>> {
    fn boxed<T: ArrowPrimitiveType>(of: &DataType, most: bool) -> Box<dyn StateColumn>
    where
        T::Native: ArrowNativeTypeOp,
    {
        // In the total order, as PostgreSQL has it: NaN is the largest. Within a step DataFusion decides, by
        // which of two values comes last where one is NaN.
        if most {
            FoldColumn::<T>::boxed(of, |a, b| Some(if b.is_gt(a) { b } else { a }))
        } else {
            FoldColumn::<T>::boxed(of, |a, b| Some(if b.is_lt(a) { b } else { a }))
        }
    }
    Some(match of {
        DataType::Int8 => boxed::<Int8Type>(of, most),
        DataType::Int16 => boxed::<Int16Type>(of, most),
        DataType::Int32 => boxed::<Int32Type>(of, most),
        DataType::Int64 => boxed::<Int64Type>(of, most),
        DataType::UInt8 => boxed::<UInt8Type>(of, most),
        DataType::UInt16 => boxed::<UInt16Type>(of, most),
        DataType::UInt32 => boxed::<UInt32Type>(of, most),
        DataType::UInt64 => boxed::<UInt64Type>(of, most),
        DataType::Float32 => boxed::<Float32Type>(of, most),
        DataType::Float64 => boxed::<Float64Type>(of, most),
        DataType::Date32 => boxed::<Date32Type>(of, most),
        DataType::Decimal128(..) => boxed::<Decimal128Type>(of, most),
        DataType::Decimal256(..) => boxed::<Decimal256Type>(of, most),
        DataType::Timestamp(TimeUnit::Second, _) => boxed::<TimestampSecondType>(of, most),
        DataType::Timestamp(TimeUnit::Millisecond, _) => boxed::<TimestampMillisecondType>(of, most),
        DataType::Timestamp(TimeUnit::Microsecond, _) => boxed::<TimestampMicrosecondType>(of, most),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => boxed::<TimestampNanosecondType>(of, most),
        _ => return None,
    })
}

#[derive(Debug, Default)]
struct CountColumn(Vec<i64>);

impl StateColumn for CountColumn {
    fn merge(&mut self, states: &[ArrayRef], from: &[u32], to: &[u32], groups: usize) -> Result<()> {
        self.0.resize(groups, 0);
        let counts = states[0].as_primitive::<Int64Type>().values();
        for (from, to) in from.iter().zip(to) {
            self.0[*to as usize] += counts[*from as usize];
        }
        Ok(())
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        Ok(Arc::new(groups.iter().map(|group| self.0[*group as usize]).collect::<Int64Array>()))
    }

    fn state(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn size(&self) -> usize {
        self.0.capacity() * 8
    }
}

/// A sum and how many values are in it.
#[derive(Debug, Default)]
struct MeanColumn(Vec<(u64, f64)>);

impl StateColumn for MeanColumn {
    fn merge(&mut self, states: &[ArrayRef], from: &[u32], to: &[u32], groups: usize) -> Result<()> {
        self.0.resize(groups, (0, 0.0));
        let (counts, sums) = (states[0].as_primitive::<UInt64Type>(), states[1].as_primitive::<Float64Type>());
        for (from, to) in from.iter().zip(to) {
            let (from, to) = (*from as usize, &mut self.0[*to as usize]);
            if counts.is_valid(from) && sums.is_valid(from) {
                to.0 += counts.value(from);
                to.1 = float::add(to.1, sums.value(from));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        let mean = |group: &u32| match self.0[*group as usize] {
            (0, _) => Ok(None),
            (count, sum) => Ok(Some(as_double(sum)? / count as f64)),
        };
        Ok(Arc::new(groups.iter().map(mean).collect::<Result<Float64Array>>()?))
    }

    fn state(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let of = |group: &u32| self.0[*group as usize];
        let counts: UInt64Array = groups.iter().map(|group| of(group).0).collect();
        let sums: Float64Array =
            groups.iter().map(|group| Some(of(group)).filter(|it| it.0 > 0).map(|it| it.1)).collect();
        Ok(vec![Arc::new(counts), Arc::new(sums)])
    }

    fn size(&self) -> usize {
        self.0.capacity() * 16
    }
}

/// One value a group that partial values are folded into; NULL until the first.
struct FoldColumn<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    seen: Vec<bool>,
    of: DataType,
    fold: Fold<T>,
    /// Whether a group has a value that can be shown.
    shown: fn(T::Native) -> Result<T::Native>,
}

/// None where the result is out of range.
type Fold<T> = fn(
    <T as ArrowPrimitiveType>::Native,
    <T as ArrowPrimitiveType>::Native,
) -> Option<<T as ArrowPrimitiveType>::Native>;

impl<T: ArrowPrimitiveType> FoldColumn<T> {
    fn boxed(of: &DataType, fold: Fold<T>) -> Box<dyn StateColumn> {
        Box::new(Self { values: Vec::new(), seen: Vec::new(), of: of.clone(), fold, shown: Ok })
    }

    fn array(&self, groups: &[u32], shown: fn(T::Native) -> Result<T::Native>) -> Result<ArrayRef> {
        let values = groups.iter().map(|group| shown(self.values[*group as usize]));
        let values: Vec<T::Native> = values.collect::<Result<_>>()?;
        let seen: NullBuffer = groups.iter().map(|group| self.seen[*group as usize]).collect();
        let seen = Some(seen).filter(|seen| seen.null_count() > 0);
        with_digits(Arc::new(PrimitiveArray::<T>::new(values.into(), seen).with_data_type(self.of.clone())))
    }
}

impl FoldColumn<Float64Type> {
    fn of_sums(fold: Fold<Float64Type>) -> Box<dyn StateColumn> {
        let (values, seen) = (Vec::new(), Vec::new());
        Box::new(Self { values, seen, of: DataType::Float64, fold, shown: as_double })
    }
}

impl<T: ArrowPrimitiveType> StateColumn for FoldColumn<T> {
    fn merge(&mut self, states: &[ArrayRef], from: &[u32], to: &[u32], groups: usize) -> Result<()> {
        self.values.resize(groups, T::default_value());
        self.seen.resize(groups, false);
        let partial = states[0].as_primitive::<T>();
        for (from, to) in from.iter().zip(to) {
            let (from, to) = (*from as usize, *to as usize);
            if partial.is_valid(from) {
                let value = partial.value(from);
                self.values[to] = match self.seen[to] {
                    true => (self.fold)(self.values[to], value).ok_or_else(|| out_of_range(&self.of))?,
                    false => value,
                };
                self.seen[to] = true;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        self.array(groups, self.shown)
    }

    fn state(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.array(groups, Ok)?])
    }

    fn size(&self) -> usize {
        self.values.capacity() * size_of::<T::Native>() + self.seen.capacity()
    }
}

impl<T: ArrowPrimitiveType> std::fmt::Debug for FoldColumn<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FoldColumn").field("of", &self.of).field("groups", &self.values.len()).finish_non_exhaustive()
    }
}

/// DataFusion's accumulators kept alive, for states that are neither a number nor two.
///
/// `evaluate` leaves an accumulator as it is (DataFusion's contract); `state` may empty it, so an
/// accumulator whose state was asked for is made anew from the answer.
struct LiveColumn {
    aggregate: Arc<AggregateFunctionExpr>,
    accumulators: Vec<Box<dyn Accumulator>>,
}

impl StateColumn for LiveColumn {
    fn merge(&mut self, states: &[ArrayRef], from: &[u32], to: &[u32], groups: usize) -> Result<()> {
        while self.accumulators.len() < groups {
            self.accumulators.push(self.aggregate.create_accumulator()?);
        }
        for (from, to) in from.iter().zip(to) {
            let row: Vec<ArrayRef> = states.iter().map(|column| column.slice(*from as usize, 1)).collect();
            self.accumulators[*to as usize].merge_batch(&row)?;
        }
        Ok(())
    }

    fn evaluate(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        if groups.is_empty() {
            return Ok(arrow::array::new_empty_array(self.aggregate.field().data_type()));
        }
        let values: datafusion::error::Result<Vec<ScalarValue>> =
            groups.iter().map(|group| self.accumulators[*group as usize].evaluate()).collect();
        Ok(ScalarValue::iter_to_array(values?)?)
    }

    fn state(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let fields = self.aggregate.state_fields()?;
        let mut columns: Vec<Vec<ScalarValue>> = vec![Vec::with_capacity(groups.len()); fields.len()];
        for group in groups {
            let accumulator = &mut self.accumulators[*group as usize];
            let state = accumulator.state()?;
            let arrays: datafusion::error::Result<Vec<_>> =
                state.iter().map(|value| value.to_array_of_size(1)).collect();
            *accumulator = self.aggregate.create_accumulator()?;
            accumulator.merge_batch(&arrays?)?;
            columns.iter_mut().zip(state).for_each(|(column, value)| column.push(value));
        }
        let arrays = columns.into_iter().zip(&fields).map(|(column, field)| {
            if column.is_empty() {
                return Ok(arrow::array::new_empty_array(field.data_type()));
            }
            let array = ScalarValue::iter_to_array(column)?;
            let fits = array.data_type() == field.data_type();
            Ok(if fits { array } else { arrow::compute::cast(&array, field.data_type())? })
        });
        arrays.collect()
    }

    fn size(&self) -> usize {
        self.accumulators.iter().map(|one| one.size() + 16).sum()
    }

    fn thin(&self) -> bool {
        false
    }
}

impl std::fmt::Debug for LiveColumn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveColumn").field("aggregate", &self.aggregate.name()).finish_non_exhaustive()
    }
}
