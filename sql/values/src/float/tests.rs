//! Floats against what PostgreSQL 15 answers.

use super::*;

fn show<T: ToString>(result: Result<T>) -> String {
    match result {
        Ok(value) => value.to_string(),
        Err(error) => format!("ERR {} {error}", error.sqlstate),
    }
}

#[test]
fn doubles_are_read_and_printed_as_postgresql_does() {
    let cases = [
        ("1e-7", "1e-07"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("1e15", "1e+15"),
        ("1e14", "100000000000000"),
        ("123456.789", "123456.789"),
        ("-0", "-0"),
        ("nan", "NaN"),
        ("-inf", "-Infinity"),
        ("  1.5  ", "1.5"),
        ("5e-324", "5e-324"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("29908049601031849.6", "2.9908049601031848e+16"),
        ("-169.188995361328125", "-169.18899536132812"),
        ("9007199254740993", "9.007199254740992e+15"),
        ("1e400", "ERR 22003 \"1e400\" is out of range for type double precision"),
        ("1e-400", "ERR 22003 \"1e-400\" is out of range for type double precision"),
        ("", "ERR 22P02 invalid input syntax for type double precision: \"\""),
        ("1e", "ERR 22P02 invalid input syntax for type double precision: \"1e\""),
        ("infi", "ERR 22P02 invalid input syntax for type double precision: \"infi\""),
        ("1_0", "ERR 22P02 invalid input syntax for type double precision: \"1_0\""),
    ];
    for (text, expected) in cases {
        assert_eq!(show(parse_f64(text).map(print_f64)), expected, "{text}");
    }
}

#[test]
fn single_floats_are_read_and_printed_as_postgresql_does() {
    let cases = [
        ("1e-7", "1e-07"),
        ("1e6", "1e+06"),
        ("123456", "123456"),
        ("1234567", "1.234567e+06"),
        ("9.3346e+08", "9.3345997e+08"),
        ("-985.60e9", "-9.8559997e+11"),
        ("2265529.25", "2.2655292e+06"),
        ("16777217", "1.6777216e+07"),
        ("1e39", "ERR 22003 \"1e39\" is out of range for type real"),
        ("1e-46", "ERR 22003 \"1e-46\" is out of range for type real"),
        ("nan", "NaN"),
    ];
    for (text, expected) in cases {
        assert_eq!(show(parse_f32(text).map(print_f32)), expected, "{text}");
    }
}

#[test]
fn hexadecimal_numbers_are_refused() {
    assert_eq!(parse_f64("0x10").map_err(|error| error.sqlstate), Err("22P02"));
    assert_eq!(parse_f32("0x10").map_err(|error| error.sqlstate), Err("22P02"));
}

#[test]
fn integers_round_half_to_even_and_are_bounded() {
    assert_eq!(f64_to_i32(2.5), Ok(2));
    assert_eq!(f64_to_i64(-3.5), Ok(-4));
    assert_eq!(f64_to_i16(32_767.4), Ok(i16::MAX));
    assert_eq!(show(f64_to_i16(32_767.5)), "ERR 22003 smallint out of range");
    assert_eq!(show(f64_to_i32(f64::NAN)), "ERR 22003 integer out of range");
    assert_eq!(show(f64_to_i64(9_223_372_036_854_775_808.0)), "ERR 22003 bigint out of range");
    assert_eq!(f64_to_i64(-9_223_372_036_854_775_808.0), Ok(i64::MIN));
    assert_eq!(round_half_even(0.5), 0.0);
}

#[test]
fn a_double_beyond_single_floats_is_refused() {
    assert_eq!(f64_to_f32(0.1), Ok(0.1));
    assert_eq!(f64_to_f32(f64::INFINITY), Ok(f32::INFINITY));
    assert_eq!(show(f64_to_f32(1e39)), "ERR 22003 value out of range: overflow");
    assert_eq!(show(f64_to_f32(1e-46)), "ERR 22003 value out of range: underflow");
}

#[test]
fn integers_order_as_postgresql_orders_floats() {
    let ascending = [f64::NEG_INFINITY, -1e300, -1.0, -5e-324, 0.0, 5e-324, 1.0, f64::INFINITY, f64::NAN];
    for pair in ascending.windows(2) {
        assert!(order_f64(pair[0]) < order_f64(pair[1]), "{pair:?}");
    }
    for value in ascending {
        assert_eq!(from_order_f64(order_f64(value)).to_bits(), key_f64(value).to_bits());
        let single = value as f32;
        assert_eq!(from_order_f32(order_f32(single)).to_bits(), key_f32(single).to_bits());
    }
    assert_eq!(order_f64(-0.0), order_f64(0.0));
    assert_eq!(order_f64(-f64::NAN), order_f64(f64::NAN));
    assert!(order_f32(f32::NAN) > order_f32(f32::INFINITY));
    assert!(order_f32(-1.0) < order_f32(-0.5));
}
