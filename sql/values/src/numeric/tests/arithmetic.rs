//! Sums, products, quotients, order and rounding.

use super::{Numeric, number, show};

#[test]
fn a_sum_has_the_longer_scale() {
    let cases = [
        ("1.50", "2.25", "3.75"),
        ("-7", "2.0", "-5.0"),
        ("1", "3", "4"),
        ("100", "0.003", "100.003"),
        ("0.00", "5", "5.00"),
        ("12345678901234567890123456789012345678", "99999999999999999999", "12345678901234567990123456789012345677"),
        ("1e30", "3e-20", "1000000000000000000000000000000.00000000000000000003"),
        ("NaN", "1", "NaN"),
        ("Infinity", "2", "Infinity"),
        ("Infinity", "-Infinity", "NaN"),
        ("3.5", "-Infinity", "-Infinity"),
        ("Infinity", "0.0", "Infinity"),
        ("5", "0", "5"),
    ];
    for (left, right, expected) in cases {
        assert_eq!(show(number(left).add(&number(right))), expected, "{left}, {right}");
    }
}

#[test]
fn a_difference_has_the_longer_scale() {
    let cases = [
        ("1.50", "2.25", "-0.75"),
        ("-7", "2.0", "-9.0"),
        ("1", "3", "-2"),
        ("100", "0.003", "99.997"),
        ("0.00", "5", "-5.00"),
        ("12345678901234567890123456789012345678", "99999999999999999999", "12345678901234567790123456789012345679"),
        ("1e30", "3e-20", "999999999999999999999999999999.99999999999999999997"),
        ("NaN", "1", "NaN"),
        ("Infinity", "2", "Infinity"),
        ("Infinity", "-Infinity", "Infinity"),
        ("3.5", "-Infinity", "Infinity"),
        ("Infinity", "0.0", "Infinity"),
        ("5", "0", "5"),
    ];
    for (left, right, expected) in cases {
        assert_eq!(show(number(left).sub(&number(right))), expected, "{left}, {right}");
    }
}

#[test]
fn a_product_has_both_scales() {
    let cases = [
        ("1.50", "2.25", "3.3750"),
        ("-7", "2.0", "-14.0"),
        ("1", "3", "3"),
        ("100", "0.003", "0.300"),
        ("0.00", "5", "0.00"),
        (
            "12345678901234567890123456789012345678",
            "99999999999999999999",
            "1234567890123456788999999999999999999909876543210987654322",
        ),
        ("1e30", "3e-20", "30000000000.00000000000000000000"),
        ("NaN", "1", "NaN"),
        ("Infinity", "2", "Infinity"),
        ("Infinity", "-Infinity", "-Infinity"),
        ("3.5", "-Infinity", "-Infinity"),
        ("Infinity", "0.0", "NaN"),
        ("5", "0", "0"),
    ];
    for (left, right, expected) in cases {
        assert_eq!(show(number(left).mul(&number(right))), expected, "{left}, {right}");
    }
}

#[test]
fn a_quotient_has_at_least_sixteen_digits() {
    let cases = [
        ("1.50", "2.25", "0.66666666666666666667"),
        ("-7", "2.0", "-3.5000000000000000"),
        ("1", "3", "0.33333333333333333333"),
        ("100", "0.003", "33333.333333333333"),
        ("0.00", "5", "0.00000000000000000000"),
        ("12345678901234567890123456789012345678", "99999999999999999999", "123456789012345679"),
        ("1e30", "3e-20", "33333333333333333333333333333333333333333333333333.33333333333333333333"),
        ("NaN", "1", "NaN"),
        ("Infinity", "2", "Infinity"),
        ("Infinity", "-Infinity", "NaN"),
        ("3.5", "-Infinity", "0"),
        ("Infinity", "0.0", "ERR 22012 division by zero"),
        ("5", "0", "ERR 22012 division by zero"),
    ];
    for (left, right, expected) in cases {
        assert_eq!(show(number(left).div(&number(right))), expected, "{left}, {right}");
    }
}

#[test]
fn a_remainder_has_the_sign_of_the_dividend() {
    let cases = [
        ("1.50", "2.25", "1.50"),
        ("-7", "2.0", "-1.0"),
        ("1", "3", "1"),
        ("100", "0.003", "0.001"),
        ("0.00", "5", "0.00"),
        ("12345678901234567890123456789012345678", "99999999999999999999", "90246913578024691356"),
        ("1e30", "3e-20", "0.00000000000000000001"),
        ("NaN", "1", "NaN"),
        ("Infinity", "2", "NaN"),
        ("Infinity", "-Infinity", "NaN"),
        ("3.5", "-Infinity", "3.5"),
        ("Infinity", "0.0", "ERR 22012 division by zero"),
        ("5", "0", "ERR 22012 division by zero"),
    ];
    for (left, right, expected) in cases {
        assert_eq!(show(number(left).rem(&number(right))), expected, "{left}, {right}");
    }
}

#[test]
fn an_integer_quotient_is_cut() {
    let cases = [
        ("1.50", "2.25", "0"),
        ("-7", "2.0", "-3"),
        ("1", "3", "0"),
        ("100", "0.003", "33333"),
        ("0.00", "5", "0"),
        ("12345678901234567890123456789012345678", "99999999999999999999", "123456789012345678"),
        ("1e30", "3e-20", "33333333333333333333333333333333333333333333333333"),
        ("NaN", "1", "NaN"),
        ("Infinity", "2", "Infinity"),
        ("Infinity", "-Infinity", "NaN"),
        ("3.5", "-Infinity", "0"),
        ("Infinity", "0.0", "ERR 22012 division by zero"),
        ("5", "0", "ERR 22012 division by zero"),
    ];
    for (left, right, expected) in cases {
        assert_eq!(show(number(left).div_trunc(&number(right))), expected, "{left}, {right}");
    }
}

#[test]
fn rounding_goes_away_from_zero_and_cutting_towards_it() {
    let cases = [
        ("2.5", "0", "3", "2"),
        ("-2.5", "0", "-3", "-2"),
        ("1.005", "2", "1.01", "1.00"),
        ("12355", "-1", "12360", "12350"),
        ("-12345.678", "-3", "-12000", "-12000"),
        ("5", "-1", "10", "0"),
        ("4", "-1", "0", "0"),
        ("1.5", "4", "1.5000", "1.5000"),
        ("99.99", "1", "100.0", "99.9"),
        ("NaN", "2", "NaN", "NaN"),
        ("1", "-200000", "0", "0"),
    ];
    for (value, scale, rounded, cut) in cases {
        let places: i32 = scale.parse().expect("a test's scale");
        assert_eq!(show(number(value).round(places)), rounded, "round {value}, {scale}");
        assert_eq!(number(value).trunc(places).to_string(), cut, "trunc {value}, {scale}");
    }
}

#[test]
fn ceiling_floor_and_sign_have_no_digits_after_the_point() {
    let cases = [
        ("1.2", "2", "1", "1"),
        ("-1.2", "-1", "-2", "-1"),
        ("-0.5", "0", "-1", "-1"),
        ("3.00", "3", "3", "1"),
        ("Infinity", "Infinity", "Infinity", "1"),
        ("NaN", "NaN", "NaN", "NaN"),
    ];
    for (value, ceiling, floor, sign) in cases {
        assert_eq!(show(number(value).ceil()), ceiling, "{value}");
        assert_eq!(show(number(value).floor()), floor, "{value}");
        assert_eq!(number(value).sign().to_string(), sign, "{value}");
    }
}

#[test]
fn a_type_modifier_rounds_or_refuses() {
    let cases = [
        ("1.005", "5", "2", "1.01"),
        ("999.994", "5", "2", "999.99"),
        ("999.995", "5", "2", "ERR 22003 numeric field overflow"),
        ("9876", "3", "-2", "9900"),
        ("99999", "3", "-2", "ERR 22003 numeric field overflow"),
        ("0.00123", "2", "4", "0.0012"),
        ("0.123", "2", "4", "ERR 22003 numeric field overflow"),
        ("NaN", "5", "2", "NaN"),
        ("Infinity", "5", "2", "ERR 22003 numeric field overflow"),
    ];
    for (value, precision, scale, expected) in cases {
        let precision = precision.parse().expect("a test's precision");
        let scale = scale.parse().expect("a test's scale");
        assert_eq!(show(number(value).with_typmod(precision, scale)), expected, "{value}");
    }
}

#[test]
fn results_beyond_the_format_are_refused() {
    let largest = number(&"9".repeat(131_072));
    let refused = "ERR 22003 value overflows numeric format";
    assert_eq!(show(largest.add(&Numeric::one())), refused);
    assert_eq!(show(largest.mul(&number("1.5"))), refused);
    assert_eq!(show(largest.div(&number("0.1"))), refused);
    assert_eq!(show(number("-1e131071").round(-131_071)), format!("-1{}", "0".repeat(131_071)));
    assert_eq!(show(largest.round(-131_072)), refused);
    let tiny = number(&format!("0.{}15", "0".repeat(16_381)));
    let product = tiny.mul(&number("0.1")).expect("a product that is cut");
    assert_eq!(product.scale(), Some(16_383));
    assert_eq!(product, number(&format!("0.{}2", "0".repeat(16_382))));
}

#[test]
fn coefficients_grow_beyond_and_shrink_back_to_128_bits() {
    let least = Numeric::from_i128(i128::MIN, 0);
    assert_eq!(least.neg().to_string(), "170141183460469231731687303715884105728");
    assert_eq!(least.neg().neg(), least);
    let back = least.sub(&number("1")).and_then(|value| value.add(&number("1")));
    assert_eq!(back, Ok(least.clone()));
    assert_eq!(show(least.div(&number("-1"))), format!("{}", least.neg()));
    assert_eq!(show(least.rem(&number("-1"))), "0");
}

#[test]
fn order_is_by_value_with_nan_last() {
    let ascending = ["-Infinity", "-1e40", "-2", "-1.5", "0.000", "1e-50", "0.5", "1.00", "1e39", "Infinity", "NaN"];
    for (at, left) in ascending.iter().enumerate() {
        for (other, right) in ascending.iter().enumerate() {
            assert_eq!(number(left).cmp(&number(right)), at.cmp(&other), "{left}, {right}");
        }
    }
    assert_eq!(number("1.0"), number("1.00"));
    assert_eq!(number("NaN"), Numeric::nan());
}

#[test]
fn equal_values_have_equal_hashes() {
    use std::collections::HashSet;
    let texts = ["1", "1.0", "1.00", "1e40", "1e40", "NaN", "0", "-0.00"];
    let mut set: HashSet<Numeric> = texts.iter().map(|text| number(text)).collect();
    set.insert(number("1e40").add(&number("0.00")).expect("a sum"));
    assert_eq!(set.len(), 4);
}
