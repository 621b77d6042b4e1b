//! Powers of ten and the decimal digits of coefficients.

use num_bigint::{BigInt, BigUint};
use num_integer::Integer;
use num_traits::Zero;

/// The most decimal digits of a `u128`.
pub(super) const MAX_SMALL_DIGITS: usize = 39;

const POWERS: [i128; 39] = powers();

const fn powers() -> [i128; 39] {
    let mut powers = [1; 39];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
}

/// 10^exponent, where it fits.
pub(super) fn small_power(exponent: u32) -> Option<i128> {
    POWERS.get(exponent as usize).copied()
}

/// `value` * 10^exponent, where it fits.
pub(super) fn scale_up(value: i128, exponent: u32) -> Option<i128> {
    if exponent == 0 || value == 0 {
        return Some(value);
    }
    value.checked_mul(small_power(exponent)?)
}

/// 10^exponent. Callers bound the exponent.
pub(super) fn power(exponent: u32) -> BigInt {
    match small_power(exponent) {
        Some(small) => BigInt::from(small),
        None => BigInt::from(10u8).pow(exponent),
    }
}

/// How many decimal digits a coefficient has; zero has none.
pub(super) fn count_small(value: u128) -> u32 {
    value.checked_ilog10().map_or(0, |log| log + 1)
}

/// How many decimal digits a coefficient has; zero has none.
pub(super) fn count(value: &BigUint) -> u32 {
    let bits = value.bits();
    if bits <= 128 {
        return count_small(u128::try_from(value).unwrap_or(u128::MAX));
    }
    // The leading bits give the logarithm to about ten places, which nearly always decides.
    let shift = bits - 64;
    let top = u64::try_from(value >> shift).unwrap_or(u64::MAX);
    let log = (top as f64).log10() + shift as f64 * std::f64::consts::LOG10_2;
    let floor = log.floor();
    let nearest = log.round();
    if (log - nearest).abs() > 1e-6 {
        return floor as u32 + 1;
    }
    let exact = power(nearest as u32);
    if value >= exact.magnitude() { nearest as u32 + 1 } else { nearest as u32 }
}

/// Whether a coefficient has more than `limit` decimal digits.
pub(super) fn is_longer_than(value: &BigInt, limit: u32) -> bool {
    // A number of b bits has at most b * 0.30103 + 1 digits.
    if value.bits() * 30_103 / 100_000 + 1 < u64::from(limit) {
        return false;
    }
    count(value.magnitude()) > limit
}

/// The decimal digits of a value, first digit first, as bytes 0 to 9; none for zero.
pub(super) fn small_digits(value: u128, buffer: &mut [u8; MAX_SMALL_DIGITS]) -> &[u8] {
    const CHUNK: u128 = 10_000_000_000_000_000_000;
    let mut rest = value;
    let mut at = MAX_SMALL_DIGITS;
    while rest != 0 {
        let (high, mut low) = if rest < CHUNK { (0, rest as u64) } else { (rest / CHUNK, (rest % CHUNK) as u64) };
        let stop = if high == 0 { 0 } else { at - 19 };
        while low != 0 || (high != 0 && at > stop) {
            at -= 1;
            buffer[at] = (low % 10) as u8;
            low /= 10;
        }
        rest = high;
    }
    &buffer[at..]
}

/// `numerator` / `denominator`, rounded to the nearest integer and halves away from zero.
pub(super) fn divide_rounded(numerator: &BigInt, denominator: &BigInt) -> BigInt {
    let (quotient, remainder) = numerator.div_rem(denominator);
    if remainder.magnitude() << 1u32 >= *denominator.magnitude() {
        if numerator.sign() == denominator.sign() { quotient + 1 } else { quotient - 1 }
    } else {
        quotient
    }
}

/// As [`divide_rounded`], for a denominator other than zero and -1.
pub(super) fn divide_rounded_small(numerator: i128, denominator: i128) -> i128 {
    let quotient = numerator / denominator;
    let remainder = (numerator % denominator).unsigned_abs();
    if remainder >= denominator.unsigned_abs() - remainder {
        if (numerator < 0) == (denominator < 0) { quotient + 1 } else { quotient - 1 }
    } else {
        quotient
    }
}

/// Removes up to `limit` trailing decimal zeros and returns how many it removed.
pub(super) fn strip_small(value: &mut i128, limit: u32) -> u32 {
    if *value == 0 {
        return limit;
    }
    let mut removed = 0;
    for step in [16, 8, 4, 2, 1] {
        let power = POWERS[step as usize];
        while removed + step <= limit && *value % power == 0 {
            *value /= power;
            removed += step;
        }
    }
    removed
}

/// Removes up to `limit` trailing decimal zeros and returns how many it removed.
pub(super) fn strip(value: &mut BigInt, limit: u32) -> u32 {
    if value.is_zero() {
        return limit;
    }
    // A multiple of 10^k is a multiple of 2^k, so this bounds the zeros without a division.
    let twos = value.trailing_zeros().unwrap_or(0).min(u64::from(limit)) as u32;
    let mut removed = 0;
    let mut step = twos.checked_ilog2().map_or(0, |log| 1 << log);
    while step > 0 {
        if removed + step <= twos {
            let (quotient, remainder) = value.div_rem(&power(step));
            if remainder.is_zero() {
                *value = quotient;
                removed += step;
            }
        }
        step /= 2;
    }
    removed
}
