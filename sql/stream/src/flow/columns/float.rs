//! `sum` and `avg` of doubles over rows that come and go.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, Float64Array, Int64Array},
    datatypes::{DataType, Float64Type},
};

use super::{super::arrangement::wrong, expansion::FloatSum, input::Input, ints};
use crate::{Error, Result};

#[derive(Debug)]
pub(super) struct FloatSums {
    sums: Vec<FloatSum>,
    /// `avg`.
    mean: bool,
    bytes: usize,
}

impl FloatSums {
    pub(super) fn new(mean: bool) -> Self {
        Self { sums: Vec::new(), mean, bytes: 0 }
    }

    pub(super) fn empty(&self) -> Self {
        Self::new(self.mean)
    }

    pub(super) fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, FloatSum::default());
    }

    fn change(&mut self, group: usize, change: impl FnOnce(&mut FloatSum)) {
        let sum = &mut self.sums[group];
        self.bytes -= sum.heap_bytes();
        change(sum);
        if sum.count == 0 {
            *sum = FloatSum::default();
        }
        self.bytes += sum.heap_bytes();
    }

    pub(super) fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let values = input.args[0].as_primitive_opt::<Float64Type>().ok_or_else(wrong)?;
        for (row, group) in input.each().filter(|(row, _)| values.is_valid(*row)) {
            self.change(group, |sum| sum.add(values.value(row), input.delta.weight(row)));
        }
        Ok(())
    }

    pub(super) fn absorb(&mut self, other: &Self, from: usize, to: usize) {
        self.change(to, |sum| sum.absorb(&other.sums[from]));
    }

    pub(super) fn merge(&mut self, from: usize, to: usize) {
        let moved = std::mem::take(&mut self.sums[from]);
        self.bytes -= moved.heap_bytes();
        self.change(to, |sum| sum.absorb(&moved));
    }

    pub(super) fn clear(&mut self, group: usize) {
        self.bytes -= self.sums[group].heap_bytes();
        self.sums[group] = FloatSum::default();
    }

    pub(super) fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let value = |sum: &FloatSum| -> Result<Option<f64>> {
            Ok(match sum.count {
                0 => None,
                count if self.mean => Some(sum.sum()? / count as f64),
                _ => Some(sum.sum()?),
            })
        };
        let values = groups.iter().map(|group| value(&self.sums[*group as usize]));
        Ok(Arc::new(values.collect::<Result<Float64Array>>()?))
    }

    pub(super) fn size(&self) -> usize {
        self.sums.capacity() * size_of::<FloatSum>() + self.bytes
    }

    /// The largest part of each sum, the others, and how many values are in it.
    pub(super) fn state(&self, groups: &[u32]) -> Vec<ArrayRef> {
        let sums = || groups.iter().map(|group| &self.sums[*group as usize]);
        let (largest, others): (Vec<f64>, Vec<Vec<u8>>) = sums().map(FloatSum::packed).unzip();
        vec![
            Arc::new(Float64Array::from(largest)),
            Arc::new(BinaryArray::from_iter_values(others)),
            Arc::new(sums().map(|sum| sum.count).collect::<Int64Array>()),
        ]
    }

    /// Older versions have written two doubles, and NaN and Infinity in them for good.
    pub(super) fn restore(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let [sums, others, _] = columns else { return Err(wrong()) };
        let (sums, counts) = (sums.as_primitive_opt::<Float64Type>().ok_or_else(wrong)?, ints(columns, 2)?);
        let older = (*others.data_type() == DataType::Float64).then(|| others.as_primitive::<Float64Type>());
        for (row, group) in groups.iter().enumerate() {
            let (count, largest) = (counts.value(row), sums.value(row));
            let sum = match &older {
                Some(lost) if count != 0 && !(largest.is_finite() && lost.value(row).is_finite()) => {
                    return Err(Error::outdated("a sum of doubles that does not tell its NaN and Infinity apart"));
                }
                Some(lost) => {
                    let mut sum = FloatSum::default();
                    sum.add(largest, 1);
                    sum.add(lost.value(row), 1);
                    sum.count = count;
                    sum
                }
                None => {
                    let bytes = others.as_binary_opt::<i32>().ok_or_else(wrong)?.value(row);
                    FloatSum::unpacked(count, largest, bytes).ok_or_else(wrong)?
                }
            };
            self.change(*group as usize, |known| *known = sum);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn older(sum: f64, lost: f64) -> [ArrayRef; 3] {
        let double = |value: f64| Arc::new(Float64Array::from(vec![value])) as ArrayRef;
        [double(sum), double(lost), Arc::new(Int64Array::from(vec![2]))]
    }

    fn value(sums: &FloatSums) -> f64 {
        sums.evaluate(&[0]).expect("in range").as_primitive::<Float64Type>().value(0)
    }

    #[test]
    fn a_sum_of_an_older_version_goes_on_where_its_numbers_are_known() {
        let mut sums = FloatSums::new(true);
        sums.resize(1);
        sums.restore(&[0], &older(3.0, 1e-20)).expect("finite");
        assert_eq!(value(&sums), 1.5);
        for (sum, lost) in [(f64::NAN, 0.0), (f64::INFINITY, 0.0), (1.0, f64::NAN)] {
            let error = sums.restore(&[0], &older(sum, lost)).expect_err("it would never leave");
            assert!(error.is_outdated(), "{sum} {lost}");
        }
    }

    #[test]
    fn what_is_written_down_is_read_back_by_its_type() {
        let (mut sums, mut again) = (FloatSums::new(false), FloatSums::new(false));
        sums.resize(1);
        again.resize(1);
        sums.change(0, |sum| [0.1, 1e300, f64::INFINITY].iter().for_each(|value| sum.add(*value, 1)));
        again.restore(&[0], &sums.state(&[0])).expect("its own");
        again.change(0, |sum| sum.add(f64::INFINITY, -1));
        assert_eq!(value(&again), 1e300);
        again.change(0, |sum| sum.add(1e300, -1));
        assert_eq!(value(&again), 0.1);
        again.clear(0);
        assert_eq!(again.bytes, 0);
    }
}
