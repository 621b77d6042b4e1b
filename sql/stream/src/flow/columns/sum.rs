//! Sums of integers and decimals: exact, or an error.

use std::{fmt::Debug, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array, Int64Array, PrimitiveArray, UInt64Array},
    datatypes::{ArrowPrimitiveType, DataType, Decimal128Type, Decimal256Type, Int64Type, UInt64Type, i256},
};

use super::{super::arrangement::wrong, input::Input, ints};
use crate::{Error, Result};

/// What sums are kept in: wider than what is shown, so that they may pass its limit and come back.
pub(super) trait Wide: Copy + Default + Debug + Send + Sync + 'static {
    fn of(value: i128) -> Self;
    fn of_wide(value: i256) -> Option<Self>;
    fn add(self, other: Self) -> Option<Self>;
    fn times(self, weight: i64) -> Option<Self>;
    fn narrow(self) -> Option<i128>;
    fn wide(self) -> i256;
}

impl Wide for i128 {
    fn of(value: i128) -> Self {
        value
    }

    fn of_wide(value: i256) -> Option<Self> {
        value.to_i128()
    }

    fn add(self, other: Self) -> Option<Self> {
        self.checked_add(other)
    }

    fn times(self, weight: i64) -> Option<Self> {
        self.checked_mul(Self::from(weight))
    }

    fn narrow(self) -> Option<i128> {
        Some(self)
    }

    fn wide(self) -> i256 {
        i256::from_i128(self)
    }
}

impl Wide for i256 {
    fn of(value: i128) -> Self {
        Self::from_i128(value)
    }

    fn of_wide(value: i256) -> Option<Self> {
        Some(value)
    }

    fn add(self, other: Self) -> Option<Self> {
        self.checked_add(other)
    }

    fn times(self, weight: i64) -> Option<Self> {
        self.checked_mul(Self::from_i128(i128::from(weight)))
    }

    fn narrow(self) -> Option<i128> {
        self.to_i128()
    }

    fn wide(self) -> i256 {
        self
    }
}

/// Whether these sums are kept here, of these values and in this type.
pub(super) fn is_exact(value: &DataType, of: &DataType) -> bool {
    match (value, of) {
        (DataType::Int64, DataType::Int64) | (DataType::UInt64, DataType::UInt64) => true,
        (DataType::Decimal128(_, scale), DataType::Decimal128(_, own) | DataType::Decimal256(_, own))
        | (DataType::Decimal256(_, scale), DataType::Decimal256(_, own)) => scale == own,
        _ => false,
    }
}

/// Of each group a sum, and how many values are in it.
#[derive(Debug)]
pub(super) struct Sum<N> {
    of: DataType,
    sums: Vec<(N, i64)>,
}

impl<N: Wide> Sum<N> {
    pub(super) fn new(of: DataType) -> Self {
        Self { of, sums: Vec::new() }
    }

    pub(super) fn empty(&self) -> Self {
        Self::new(self.of.clone())
    }

    pub(super) fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, (N::default(), 0));
    }

    fn add(&mut self, group: usize, (more, count): (N, i64)) -> Result<()> {
        let (sum, counted) = &mut self.sums[group];
        *sum = sum.add(more).ok_or_else(|| out_of_range(&self.of))?;
        *counted += count;
        Ok(())
    }

    pub(super) fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let values = &input.args[0];
        match values.data_type() {
            DataType::Int64 => {
                self.add_all(input, values.as_primitive::<Int64Type>(), |value| Some(N::of(value.into())))
            }
            DataType::UInt64 => {
                self.add_all(input, values.as_primitive::<UInt64Type>(), |value| Some(N::of(value.into())))
            }
            DataType::Decimal128(..) => {
                self.add_all(input, values.as_primitive::<Decimal128Type>(), |value| Some(N::of(value)))
            }
            DataType::Decimal256(..) => self.add_all(input, values.as_primitive::<Decimal256Type>(), N::of_wide),
            _ => Err(wrong()),
        }
    }

    fn add_all<T: ArrowPrimitiveType>(
        &mut self,
        input: &Input<'_>,
        values: &PrimitiveArray<T>,
        widened: impl Fn(T::Native) -> Option<N>,
    ) -> Result<()> {
        for (row, group) in input.each().filter(|(row, _)| values.is_valid(*row)) {
            let weight = input.delta.weight(row);
            let more = widened(values.value(row)).and_then(|value| value.times(weight));
            self.add(group, (more.ok_or_else(|| out_of_range(&self.of))?, weight))?;
        }
        Ok(())
    }

    pub(super) fn absorb(&mut self, other: &Self, from: usize, to: usize) -> Result<()> {
        self.add(to, other.sums[from])
    }

    pub(super) fn merge(&mut self, from: usize, to: usize) -> Result<()> {
        let moved = std::mem::take(&mut self.sums[from]);
        self.add(to, moved)
    }

    pub(super) fn clear(&mut self, group: usize) {
        self.sums[group] = (N::default(), 0);
    }

    fn values(&self, groups: &[u32]) -> impl Iterator<Item = Option<N>> {
        groups.iter().map(|group| self.sums[*group as usize]).map(|(sum, count)| (count != 0).then_some(sum))
    }

    pub(super) fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        self.array(self.values(groups))
    }

    /// # Errors
    /// 22003 where a sum is more than its type holds.
    fn array(&self, values: impl Iterator<Item = Option<N>>) -> Result<ArrayRef> {
        let too_large = || out_of_range(&self.of);
        Ok(match &self.of {
            DataType::Int64 => {
                let value = |sum: N| sum.narrow().and_then(|sum| i64::try_from(sum).ok()).ok_or_else(too_large);
                Arc::new(values.map(|sum| sum.map(value).transpose()).collect::<Result<Int64Array>>()?)
            }
            DataType::UInt64 => {
                let value = |sum: N| sum.narrow().and_then(|sum| u64::try_from(sum).ok()).ok_or_else(too_large);
                Arc::new(values.map(|sum| sum.map(value).transpose()).collect::<Result<UInt64Array>>()?)
            }
            DataType::Decimal128(precision, scale) => {
                let value = |sum: N| sum.narrow().ok_or_else(too_large);
                let all = values.map(|sum| sum.map(value).transpose()).collect::<Result<Decimal128Array>>()?;
                let all = all.with_precision_and_scale(*precision, *scale)?;
                all.validate_decimal_precision(*precision).map_err(|_| too_large())?;
                Arc::new(all)
            }
            DataType::Decimal256(precision, scale) => {
                let all = values.map(|sum| sum.map(N::wide)).collect::<Decimal256Array>();
                let all = all.with_precision_and_scale(*precision, *scale)?;
                all.validate_decimal_precision(*precision).map_err(|_| too_large())?;
                Arc::new(all)
            }
            _ => return Err(wrong()),
        })
    }

    pub(super) fn size(&self) -> usize {
        self.sums.capacity() * size_of::<(N, i64)>()
    }

    /// The sum, and how many values are in it. Of a sum of integers older versions have written 64 bits.
    pub(super) fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let all = || groups.iter().map(|group| self.sums[*group as usize]);
        let sums: ArrayRef = match &self.of {
            DataType::Decimal256(..) => {
                let all = all().map(|(sum, _)| Some(sum.wide())).collect::<Decimal256Array>();
                Arc::new(all.with_precision_and_scale(76, 0)?)
            }
            DataType::Decimal128(..) => {
                let narrow = |(sum, _): (N, i64)| sum.narrow().map(Some).ok_or_else(|| out_of_range(&self.of));
                let all = all().map(narrow).collect::<Result<Decimal128Array>>()?;
                Arc::new(all.with_precision_and_scale(38, 0)?)
            }
            _ => self.array(all().map(|(sum, _)| Some(sum)))?,
        };
        Ok(vec![sums, Arc::new(all().map(|(_, count)| count).collect::<Int64Array>())])
    }

    /// Takes back what any version has written of a sum: all of them are numbers of the same scale.
    pub(super) fn restore(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let (sums, counts) = (columns.first().ok_or_else(wrong)?, ints(columns, 1)?);
        let unsigned = self.of == DataType::UInt64;
        for (row, group) in groups.iter().enumerate() {
            let sum = match sums.data_type() {
                DataType::Int64 => {
                    let sum = sums.as_primitive::<Int64Type>().value(row);
                    Some(N::of(if unsigned { i128::from(sum as u64) } else { i128::from(sum) }))
                }
                DataType::UInt64 => Some(N::of(sums.as_primitive::<UInt64Type>().value(row).into())),
                DataType::Decimal128(..) => Some(N::of(sums.as_primitive::<Decimal128Type>().value(row))),
                DataType::Decimal256(..) => N::of_wide(sums.as_primitive::<Decimal256Type>().value(row)),
                _ => return Err(Error::outdated("a sum in numbers that it is not kept in any more")),
            };
            self.sums[*group as usize] = (sum.ok_or_else(|| out_of_range(&self.of))?, counts.value(row));
        }
        Ok(())
    }
}

pub(super) fn out_of_range(of: &DataType) -> Error {
    Error::out_of_range(match of {
        DataType::Int64 => "sum: bigint",
        _ => "sum: numeric",
    })
}
