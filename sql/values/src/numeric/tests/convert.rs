//! Integers, floats and fixed decimals.

use super::{Numeric, number, show};
use crate::float::{parse_f32, parse_f64};

#[test]
fn a_double_gives_fifteen_digits() {
    let cases = [
        ("0.1", "0.1"),
        ("-0", "0"),
        ("1e-7", "0.0000001"),
        ("123456789012345678", "123456789012346000"),
        ("1e20", "100000000000000000000"),
        ("3.14159265358979312", "3.14159265358979"),
        ("999999999999999.9", "1000000000000000"),
        ("nan", "NaN"),
        ("-inf", "-Infinity"),
    ];
    for (value, expected) in cases {
        assert_eq!(show(parse_f64(value).map(Numeric::from_f64)), expected, "{value}");
    }
}

#[test]
fn a_single_float_gives_six_digits() {
    let cases = [("1.1", "1.1"), ("123456789", "123457000"), ("0.333333333", "0.333333"), ("-inf", "-Infinity")];
    for (value, expected) in cases {
        assert_eq!(show(parse_f32(value).map(Numeric::from_f32)), expected, "{value}");
    }
}

#[test]
fn integers_round_away_from_zero_and_are_bounded() {
    assert_eq!(number("2.5").to_i32(), Ok(3));
    assert_eq!(number("-2.5").to_i64(), Ok(-3));
    assert_eq!(number("-32768.4").to_i16(), Ok(i16::MIN));
    assert_eq!(show(number("32767.5").to_i16()), "ERR 22003 smallint out of range");
    assert_eq!(show(number("1e10").to_i32()), "ERR 22003 integer out of range");
    assert_eq!(show(number("1e40").to_i64()), "ERR 22003 bigint out of range");
    assert_eq!(show(number("NaN").to_i32()), "ERR 0A000 cannot convert NaN to integer");
    let infinity = number("-Infinity").to_i64();
    assert_eq!(show(infinity), "ERR 0A000 cannot convert infinity to bigint");
}

#[test]
fn floats_are_the_nearest_or_refused() {
    assert_eq!(number("0.1").to_f64(), Ok(0.1));
    assert_eq!(number("123456789012345678901234567890.5").to_f64(), Ok(1.2345678901234568e29));
    assert_eq!(number("1e-310").to_f64(), Ok(1e-310));
    assert_eq!(number("Infinity").to_f32(), Ok(f32::INFINITY));
    assert_eq!(number("0.1").to_f32(), Ok(0.1));
    let beyond = number("1e39").to_f32().map_err(|error| error.sqlstate);
    assert_eq!(beyond, Err("22003"));
    let below = number("1e-400").to_f64().map_err(|error| error.sqlstate);
    assert_eq!(below, Err("22003"));
}

#[test]
fn unscaled_integers_round_to_the_scale_and_fit_the_precision() {
    assert_eq!(number("1.005").to_unscaled_i128(5, 2), Ok(101));
    assert_eq!(number("-12345").to_unscaled_i128(3, -2), Ok(-123));
    assert_eq!(number("1e37").to_unscaled_i128(38, 0), Ok(10i128.pow(37)));
    for (value, precision, scale) in [("999.995", 5, 2), ("NaN", 5, 2), ("Infinity", 5, 2), ("1e38", 38, 0)] {
        let result = number(value).to_unscaled_i128(precision, scale);
        assert_eq!(show(result), "ERR 22003 numeric field overflow", "{value}");
    }
}

#[test]
fn unscaled_integers_become_values() {
    assert_eq!(Numeric::from_i128(-12345, 2).to_string(), "-123.45");
    assert_eq!(Numeric::from_i128(12, -3).to_string(), "12000");
    assert_eq!(Numeric::from_i128(i128::MAX, -127).scale(), Some(0));
    assert_eq!(Numeric::from_unscaled_bytes_le(&[0x9C, 0xFF], 1).to_string(), "-10.0");
    let mut wide = [0u8; 32];
    wide[31] = 0x40;
    let expected = number("2").power(&number("254")).expect("a power");
    assert_eq!(Numeric::from_unscaled_bytes_le(&wide, 0), expected);
    assert_eq!(Numeric::from_unscaled_bytes_le(&[], 0), Numeric::zero());
}
