//! Logarithm and exponential on binary fixed-point numbers, for results rounded once at the end.
//!
//! A fixed-point number is an integer that counts units of 2^-bits.

use std::sync::OnceLock;

use num_bigint::BigInt;
use num_traits::{One, Signed, Zero};

use super::{Numeric, digits};

/// Bits kept beyond those asked for, so that rounding errors of the steps stay out of sight.
const GUARD: u64 = 64;
/// Bits of the stored ln 2; enough for results of some 250 digits.
const STORED_BITS: u64 = 1024;

/// Bits that hold `count` decimal digits.
pub(super) fn bits_of_digits(count: i32) -> u64 {
    u64::from(count.max(0).unsigned_abs()) * 33_220 / 10_000 + 1
}

/// `value` / 2^`bits` times 10^`scale`, rounded to the nearest integer, halves away from zero.
pub(super) fn to_decimal(value: &BigInt, bits: u64, scale: u32) -> BigInt {
    digits::divide_rounded(&(value * digits::power(scale)), &(BigInt::one() << bits))
}

/// `coefficient` * 10^-`scale` in units of 2^-`bits`, cut.
fn from_decimal(coefficient: &BigInt, scale: u32, bits: i64) -> BigInt {
    let power = digits::power(scale);
    if bits >= 0 { (coefficient << bits.unsigned_abs()) / power } else { coefficient / (power << bits.unsigned_abs()) }
}

/// The natural logarithm of a positive finite value, in units of 2^-`bits`.
pub(super) fn logarithm(value: &Numeric, bits: u64) -> BigInt {
    let coefficient = value.coefficient();
    let scale = u32::from(value.dscale());
    let roots = root_steps(bits);
    let work = bits + GUARD + roots;
    // The value is mantissa * 2^exponent with a mantissa between 2/3 and 4/3.
    let mut exponent = coefficient.bits() as i64 - digits::power(scale).bits() as i64;
    let mut mantissa = from_decimal(&coefficient, scale, work as i64 - exponent);
    let one = BigInt::one() << work;
    while &mantissa * 3 > &one * 4 {
        exponent += 1;
        mantissa = from_decimal(&coefficient, scale, work as i64 - exponent);
    }
    while &mantissa * 3 < &one * 2 {
        exponent -= 1;
        mantissa = from_decimal(&coefficient, scale, work as i64 - exponent);
    }
    for _ in 0..roots {
        mantissa = (mantissa << work).sqrt();
    }
    let ratio = ((&mantissa - &one) << work) / (&mantissa + &one);
    let mantissa_logarithm = inverse_tangent(&ratio, work) << (roots + 1);
    let sum = mantissa_logarithm + natural_of_two(work) * exponent;
    sum >> (work - bits)
}

/// How many square roots to take first: each halves the terms of the series, but is expensive.
fn root_steps(bits: u64) -> u64 {
    (bits / 1000).min(30)
}

/// The inverse hyperbolic tangent of a fixed-point number below 1/4.
fn inverse_tangent(ratio: &BigInt, bits: u64) -> BigInt {
    let square = (ratio * ratio) >> bits;
    let mut power = ratio.clone();
    let mut sum = ratio.clone();
    let mut divisor = 3u64;
    loop {
        power = (&power * &square) >> bits;
        // A shift rounds down, so a negative power ends at -1 rather than 0.
        if power.is_zero() || power == -BigInt::one() {
            return sum;
        }
        sum += &power / divisor;
        divisor += 2;
    }
}

/// ln 2 in units of 2^-`bits`.
fn natural_of_two(bits: u64) -> BigInt {
    static STORED: OnceLock<BigInt> = OnceLock::new();
    if bits <= STORED_BITS {
        let stored = STORED.get_or_init(|| compute_natural_of_two(STORED_BITS));
        return stored >> (STORED_BITS - bits);
    }
    compute_natural_of_two(bits)
}

fn compute_natural_of_two(bits: u64) -> BigInt {
    let work = bits + GUARD;
    let term = |factor: i32, of: u32| inverse_tangent_of_fraction(of, work) * factor;
    // A formula of Machin's kind, whose arguments are small enough to converge fast.
    (term(18, 26) + term(-2, 4801) + term(8, 8749)) >> GUARD
}

/// The inverse hyperbolic tangent of 1 / `of`.
fn inverse_tangent_of_fraction(of: u32, bits: u64) -> BigInt {
    let square = u64::from(of) * u64::from(of);
    let mut power = (BigInt::one() << bits) / of;
    let mut sum = power.clone();
    let mut divisor = 3u64;
    loop {
        power /= square;
        if power.is_zero() {
            return sum;
        }
        sum += &power / divisor;
        divisor += 2;
    }
}

/// e raised to `coefficient` * 10^-`scale`, times 10^`result_scale`, as the nearest integer.
///
/// The exponent must be below some 10 000, which bounds the work.
pub(super) fn exponential(coefficient: &BigInt, scale: u32, result_scale: u32) -> BigInt {
    // The integer digits of the result need their own bits: about 1.5 for each unit of x.
    let whole = coefficient / digits::power(scale);
    let whole = i64::try_from(whole).unwrap_or(0);
    let result_bits = bits_of_digits(result_scale as i32) + whole.max(0).unsigned_abs() * 3 / 2;
    let halvings = (result_bits as f64).sqrt() as u64 / 2;
    let bits = result_bits + GUARD + halvings;

    let argument = from_decimal(coefficient, scale, bits as i64);
    let two = natural_of_two(bits + 32);
    // x = n * ln 2 + rest, where the rest is between -0.35 and 0.35 or nearly so.
    let twos = digits::divide_rounded(&(&argument << 32u32), &two);
    let shift = i64::try_from(&twos).unwrap_or(0);
    let rest = argument - ((two * twos) >> 32u32);
    let power = small_exponential(&rest, bits, halvings);

    let scaled = power * digits::power(result_scale);
    let denominator_bits = bits as i64 - shift;
    if denominator_bits <= 0 {
        return scaled << denominator_bits.unsigned_abs();
    }
    digits::divide_rounded(&scaled, &(BigInt::one() << denominator_bits.unsigned_abs()))
}

/// e raised to a small fixed-point number: a short series at x / 2^`halvings`, then squarings.
fn small_exponential(argument: &BigInt, bits: u64, halvings: u64) -> BigInt {
    let reduced = argument >> halvings;
    let mut sum = (BigInt::one() << bits) + &reduced;
    let mut term = reduced.clone();
    let mut divisor = 2u64;
    loop {
        term = ((&term * &reduced) >> bits) / divisor;
        if term.abs() <= BigInt::one() {
            break;
        }
        sum += &term;
        divisor += 1;
    }
    for _ in 0..halvings {
        sum = (&sum * &sum) >> bits;
    }
    sum
}
