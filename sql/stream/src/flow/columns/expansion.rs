//! Exact sums of doubles, from which rows can be taken away again.
//!
//! A sum is kept as doubles that do not overlap and add up to it exactly (Shewchuk, "Adaptive Precision Floating-Point
//! Arithmetic", 1997), so what is left when a value goes is what was there without it. It is rounded once, when it is
//! asked for.

use crate::{Error, Result};

/// Doubles from here on are kept apart and smaller, so that no sum of them is more than a double can be.
const LARGE: f64 = f64::from_bits((1023 + 960) << 52);
const SCALE: f64 = f64::from_bits((1023 + 200) << 52);
const INTO: f64 = f64::from_bits((1023 - 200) << 52);

/// Doubles that do not overlap, the smallest first.
#[derive(Clone, Debug, Default, PartialEq)]
struct Parts(Vec<f64>);

impl Parts {
    fn add(&mut self, value: f64) {
        let (mut carried, mut kept) = (value, 0);
        for at in 0..self.0.len() {
            let (sum, lost) = two_sum(carried, self.0[at]);
            carried = sum;
            if lost != 0.0 {
                self.0[kept] = lost;
                kept += 1;
            }
        }
        self.0.truncate(kept);
        if carried != 0.0 {
            self.0.push(carried);
        }
    }

    /// `value` so often: its product is two doubles, as the weight is less than 2^53.
    fn add_times(&mut self, value: f64, weight: i64) {
        let weight = weight as f64;
        let product = value * weight;
        self.add(product);
        let rest = value.mul_add(weight, -product);
        if rest != 0.0 {
            self.add(rest);
        }
    }

    /// The double that is nearest, with ties to even.
    fn rounded(&self) -> f64 {
        let mut parts = self.0.iter().rev().copied();
        let Some(mut sum) = parts.next() else { return 0.0 };
        let mut rest = 0.0;
        for part in parts.by_ref() {
            let (total, lost) = two_sum(sum, part);
            sum = total;
            if lost != 0.0 {
                rest = lost;
                break;
            }
        }
        // What lies below decides where the rest is exactly half of the last digit.
        if let Some(next) = parts.next()
            && (rest < 0.0) == (next < 0.0)
        {
            let doubled = rest * 2.0;
            let total = sum + doubled;
            if doubled == total - sum {
                return total;
            }
        }
        sum
    }
}

/// The sum, and what rounding has lost of it (Knuth).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

/// What few sums have.
#[derive(Clone, Debug, Default, PartialEq)]
struct Rare {
    nan: i64,
    above: i64,
    below: i64,
    /// Of doubles from `LARGE` on, times `INTO`.
    large: Parts,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct FloatSum {
    pub(super) count: i64,
    small: Parts,
    rare: Option<Box<Rare>>,
}

impl FloatSum {
    pub(super) fn add(&mut self, value: f64, weight: i64) {
        self.count += weight;
        if value.abs() < LARGE {
            self.small.add_times(value, weight);
        } else {
            let rare = self.rare.get_or_insert_default();
            if value.is_nan() {
                rare.nan += weight;
            } else if value == f64::INFINITY {
                rare.above += weight;
            } else if value == f64::NEG_INFINITY {
                rare.below += weight;
            } else {
                rare.large.add_times(value * INTO, weight);
            }
        }
        self.settle();
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        self.count += other.count;
        other.small.0.iter().for_each(|part| self.small.add(*part));
        if let Some(other) = &other.rare {
            let rare = self.rare.get_or_insert_default();
            rare.nan += other.nan;
            rare.above += other.above;
            rare.below += other.below;
            other.large.0.iter().for_each(|part| rare.large.add(*part));
        }
        self.settle();
    }

    /// What has left leaves no memory behind.
    fn settle(&mut self) {
        if self.rare.as_deref() == Some(&Rare::default()) {
            self.rare = None;
        }
    }

    /// # Errors
    /// 22003 where finite numbers add up to more than a double can be.
    pub(super) fn sum(&self) -> Result<f64> {
        let Some(rare) = &self.rare else { return Ok(self.small.rounded()) };
        if rare.nan != 0 || (rare.above != 0 && rare.below != 0) {
            return Ok(f64::NAN);
        }
        if rare.above != 0 || rare.below != 0 {
            return Ok(if rare.above != 0 { f64::INFINITY } else { f64::NEG_INFINITY });
        }
        let mut all = rare.large.clone();
        self.small.0.iter().for_each(|part| all.add(part * INTO));
        let sum = all.rounded() * SCALE;
        if sum.is_finite() { Ok(sum) } else { Err(Error::sql("22003", "value out of range: overflow")) }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let rare = self.rare.as_ref().map_or(0, |rare| size_of::<Rare>() + rare.large.0.capacity() * 8);
        self.small.0.capacity() * 8 + rare
    }

    /// The largest part, and all else; most sums are that part alone.
    pub(super) fn packed(&self) -> (f64, Vec<u8>) {
        let largest = self.small.0.last().copied().unwrap_or(0.0);
        let more = &self.small.0[..self.small.0.len().saturating_sub(1)];
        if more.is_empty() && self.rare.is_none() {
            return (largest, Vec::new());
        }
        let rare = self.rare.as_deref().cloned().unwrap_or_default();
        let mut bytes = Vec::new();
        for number in [rare.nan, rare.above, rare.below, more.len() as i64] {
            bytes.extend(number.to_le_bytes());
        }
        more.iter().chain(&rare.large.0).for_each(|part| bytes.extend(part.to_le_bytes()));
        (largest, bytes)
    }

    /// None where these are no bytes of a sum.
    pub(super) fn unpacked(count: i64, largest: f64, bytes: &[u8]) -> Option<Self> {
        let mut sum = Self { count, ..Self::default() };
        let (words, rest) = bytes.as_chunks::<8>();
        if !words.is_empty() {
            let (head, parts) = words.split_first_chunk::<4>()?;
            let [nan, above, below, more] = head.map(i64::from_le_bytes);
            let parts: Vec<f64> = parts.iter().copied().map(f64::from_le_bytes).collect();
            let (small, large) = parts.split_at_checked(usize::try_from(more).ok()?)?;
            small.iter().for_each(|part| sum.small.add(*part));
            sum.rare = Some(Box::new(Rare { nan, above, below, large: Parts(large.to_vec()) }));
        }
        sum.small.add(largest);
        sum.settle();
        rest.is_empty().then_some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[f64]) -> FloatSum {
        let mut sum = FloatSum::default();
        values.iter().for_each(|value| sum.add(*value, 1));
        sum
    }

    #[test]
    fn a_sum_is_rounded_once() {
        assert_eq!(sum(&[0.1; 10]).sum().ok(), Some(1.0));
        assert_eq!(sum(&[1e300, 1.0, -1e300]).sum().ok(), Some(1.0));
        assert_eq!(sum(&[1e16, 1.0, 1e-16]).sum().ok(), Some(10_000_000_000_000_002.0));
        assert_eq!(sum(&[1e16, 1.0]).sum().ok(), Some(1e16));
        assert_eq!(sum(&[-0.0, -0.0]).sum().ok(), Some(0.0));
        assert_eq!(sum(&[f64::MIN_POSITIVE, -f64::MAX, f64::MAX]).sum().ok(), Some(f64::MIN_POSITIVE));
    }

    #[test]
    fn what_leaves_takes_its_nan_and_infinity_with_it() {
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e308, f64::MIN] {
            let (mut changed, left) = (sum(&[1.5, 2.5]), sum(&[1.5, 2.5]));
            changed.add(odd, 2);
            changed.add(odd, -1);
            assert_eq!(changed.sum().ok().map(f64::to_bits), sum(&[4.0, odd]).sum().ok().map(f64::to_bits), "{odd}");
            changed.add(odd, -1);
            assert_eq!(changed, left, "{odd}");
        }
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).sum().is_ok_and(f64::is_nan));
    }

    #[test]
    fn finite_numbers_beyond_a_double_are_an_error_until_they_go() {
        let mut large = sum(&[f64::MAX, f64::MAX, 1.0]);
        assert_eq!(large.sum().expect_err("too large").reason(), "22003: value out of range: overflow");
        large.add(f64::MAX, -1);
        assert_eq!(large.sum().ok(), Some(f64::MAX));
        large.add(f64::MAX, -1);
        assert_eq!(large.sum().ok(), Some(1.0));
    }

    #[test]
    fn sums_of_panes_are_the_sum_of_their_values() {
        let values: Vec<f64> = (0..1_000).map(|at| f64::from(at * 7_919 % 1_000 - 500) * 1.1e-7 + 1e9).collect();
        let mut parts = FloatSum::default();
        values.chunks(37).for_each(|pane| parts.absorb(&sum(pane)));
        assert_eq!(parts.sum().ok(), sum(&values).sum().ok());
        values.iter().for_each(|value| parts.add(*value, -1));
        assert_eq!((parts.sum().ok(), parts.count, parts.small.0.len()), (Some(0.0), 0, 0));
    }

    #[test]
    fn what_is_written_down_is_read_back() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        for values in [&[][..], &[1.5], &[0.1, 0.2, 1e17], &[1e308, 1e-300, 3.0], &odd] {
            let sum = sum(values);
            let (largest, bytes) = sum.packed();
            assert_eq!(FloatSum::unpacked(sum.count, largest, &bytes), Some(sum), "{values:?}");
        }
        assert_eq!(FloatSum::unpacked(1, 0.0, &[0; 12]), None);
        assert_eq!(FloatSum::unpacked(1, 0.0, &[1; 40]), None);
    }
}
