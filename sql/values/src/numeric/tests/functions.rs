//! Roots, logarithms, powers and statistics.

use super::{Numeric, number, show};
use crate::numeric::aggregate::variance;

#[test]
fn a_square_root_is_rounded_correctly() {
    let cases = [
        ("2", "1.414213562373095"),
        ("0.25", "0.50000000000000000"),
        ("1e30", "1000000000000000.0"),
        ("0.0000002", "0.0004472135954999579"),
        ("144.00", "12.000000000000000"),
        ("0.00", "0.000000000000000"),
        ("12345678901234567890123", "111111110611.11111"),
        ("Infinity", "Infinity"),
        ("-1", "ERR 2201F cannot take square root of a negative number"),
    ];
    for (value, expected) in cases {
        assert_eq!(show(number(value).sqrt()), expected, "{value}");
    }
}

#[test]
fn an_exponential_has_sixteen_digits() {
    let cases = [
        ("0", "1.0000000000000000"),
        ("1", "2.7182818284590452"),
        ("-1.0", "0.3678794411714423"),
        ("0.000000001", "1.0000000010000000"),
        ("-0.00000001", "0.9999999900000001"),
        ("40.5", "388084696243620324.0"),
        ("-40.5", "0.000000000000000002576757109154981"),
        ("Infinity", "Infinity"),
        ("-Infinity", "0"),
        ("6000", "ERR 22003 value overflows numeric format"),
    ];
    for (value, expected) in cases {
        assert_eq!(show(number(value).exp()), expected, "{value}");
    }
}

#[test]
fn a_natural_logarithm_has_sixteen_digits() {
    let cases = [
        ("1", "0.0000000000000000"),
        ("2", "0.6931471805599453"),
        ("0.5", "-0.6931471805599453"),
        ("1.0000000000000001", "0.00000000000000010000000000000000"),
        ("0.99999999999999999", "-0.000000000000000010000000000000000"),
        ("1e50", "115.12925464970228"),
        ("1e-30", "-69.077552789821370520539743640531"),
        ("Infinity", "Infinity"),
        ("0", "ERR 2201E cannot take logarithm of zero"),
        ("-1", "ERR 2201E cannot take logarithm of a negative number"),
    ];
    for (value, expected) in cases {
        assert_eq!(show(number(value).ln()), expected, "{value}");
    }
}

#[test]
fn a_logarithm_takes_its_base_first() {
    let cases = [
        ("10", "1000", "3.0000000000000000"),
        ("2", "10", "3.3219280948873623"),
        ("10", "0.001", "-3.0000000000000000"),
        ("1.0000001", "2", "6931472.152173038"),
        ("0.5", "3.5", "-1.8073549220576041"),
        ("0.5", "Infinity", "Infinity"),
        ("Infinity", "10", "0"),
        ("Infinity", "Infinity", "NaN"),
        ("1", "5", "ERR 22012 division by zero"),
        ("0", "5", "ERR 2201E cannot take logarithm of zero"),
        ("0", "-0.5", "ERR 2201E cannot take logarithm of zero"),
        ("-0.5", "0", "ERR 2201E cannot take logarithm of a negative number"),
        ("-Infinity", "0", "ERR 2201E cannot take logarithm of a negative number"),
    ];
    for (left, right, expected) in cases {
        assert_eq!(show(Numeric::log(&number(left), &number(right))), expected, "{left}, {right}");
    }
}

#[test]
fn a_power_has_the_scale_of_postgresql() {
    let cases = [
        ("2", "10", "1024.0000000000000000"),
        ("2", "-17", "0.0000076293945313"),
        ("0.5", "17", "0.0000076293945313"),
        ("7.3", "1.5", "19.723513885715192"),
        ("7.3", "3", "389.0170000000000000"),
        ("100.0", "1.5", "1000.0000000000000"),
        ("1.0000000000003565", "2.5", "1.0000000000008913"),
        ("1.00000000000000000000000002175", "0.1", "1.00000000000000000000000000217"),
        ("0", "0", "1.0000000000000000"),
        ("0", "0.5", "0.0000000000000000"),
        ("-2", "3", "-8.0000000000000000"),
        ("-8", "-3", "-0.0019531250000000"),
        ("1.0000000001", "2147483647", "1.2395499431832869"),
        ("3", "-1000", "0.0000000000000000"),
        ("-1", "4294967297", "-1.0000000000000000"),
        ("NaN", "0.0", "1"),
        ("1", "NaN", "1"),
        ("-Infinity", "3", "-Infinity"),
        ("-Infinity", "2", "Infinity"),
        ("0.5", "-Infinity", "Infinity"),
        ("-1", "Infinity", "1"),
        ("0", "-1", "ERR 2201F zero raised to a negative power is undefined"),
        ("-2", "0.5", "ERR 2201F a negative number raised to a non-integer power yields a complex result"),
        ("2", "4294967296", "ERR 22003 value overflows numeric format"),
        ("10", "131072", "ERR 22003 value overflows numeric format"),
    ];
    for (left, right, expected) in cases {
        assert_eq!(show(number(left).power(&number(right))), expected, "{left}, {right}");
    }
}

#[test]
fn divisors_and_multiples_have_the_longer_scale() {
    let cases = [
        ("1.5", "-2.25", "0.75", "4.50"),
        ("0", "2.25", "2.25", "0.00"),
        ("0.00", "0", "0.00", "0.00"),
        ("12", "18", "6", "36"),
        ("NaN", "1", "NaN", "NaN"),
    ];
    for (left, right, divisor, multiple) in cases {
        assert_eq!(show(number(left).gcd(&number(right))), divisor, "{left}, {right}");
        assert_eq!(show(number(left).lcm(&number(right))), multiple, "{left}, {right}");
    }
}

#[test]
fn buckets_count_from_one_and_have_an_outside() {
    let cases = [
        ("5.35", "0.024", "10.06", "5", "3"),
        ("5", "10", "0", "3", "2"),
        ("10", "0", "10", "3", "4"),
        ("-1", "0", "10", "3", "0"),
        ("Infinity", "0", "1", "3", "4"),
        ("1", "0", "1", "0", "ERR 2201G count must be greater than zero"),
        ("NaN", "0", "1", "1", "ERR 2201G operand, lower bound, and upper bound cannot be NaN"),
        ("1", "0", "Infinity", "1", "ERR 2201G lower and upper bounds must be finite"),
        ("1", "0", "0", "1", "ERR 2201G lower bound cannot equal upper bound"),
        ("10", "0", "1", "2147483647", "ERR 22003 integer out of range"),
    ];
    for (operand, low, high, count, expected) in cases {
        let count = count.parse().expect("a test's count");
        let bucket = Numeric::width_bucket(&number(operand), &number(low), &number(high), count);
        assert_eq!(show(bucket), expected, "{operand}, {low}, {high}, {count}");
    }
}

#[test]
fn factorials_end_where_postgresql_ends() {
    assert_eq!(show(Numeric::factorial(0)), "1");
    assert_eq!(show(Numeric::factorial(20)), "2432902008176640000");
    assert_eq!(show(Numeric::factorial(20_000)).len(), 77_338);
    let undefined = "ERR 22003 factorial of a negative number is undefined";
    assert_eq!(show(Numeric::factorial(-1)), undefined);
    let refused = "ERR 22003 value overflows numeric format";
    assert_eq!(show(Numeric::factorial(i64::MAX)), refused);
}

#[test]
fn huge_exponents_end_at_the_limits_of_the_format() {
    let refused = "ERR 22003 value overflows numeric format";
    for (base, exponent) in [("1.01", "2147483647"), ("1e131071", "2"), ("7", "1e131000")] {
        assert_eq!(show(number(base).power(&number(exponent))), refused, "{base}, {exponent}");
    }
    for (base, exponent) in [("0.99", "2147483647"), ("1e131071", "-2"), ("7", "-1e131000")] {
        let power = number(base).power(&number(exponent)).expect("a power");
        assert!(power.is_zero(), "{base}, {exponent}");
    }
    assert_eq!(show(number("3").power(&number("200000"))).len(), 95_425 + 17);
}

#[test]
fn variances_have_the_digits_of_postgresql() {
    let cases = [
        ("1 2 3 4", "1.2500000000000000", "1.6666666666666667", "1.1180339887498948", "1.2909944487358056"),
        (
            "1.5 2.25 3.125",
            "0.44097222222222222222",
            "0.66145833333333333333",
            "0.66405739377121780694",
            "0.81330088733096395985",
        ),
        ("7", "0", "NULL", "0", "NULL"),
        ("5 5 5", "0", "0", "0", "0"),
        (
            "1e20 -3.5 0.001",
            "2222222222222222222299977777777777777780.500778",
            "3333333333333333333449966666666666666670.751167",
            "47140452079103168294.214346",
            "57735026918962576451.924952",
        ),
        ("1 NaN", "NaN", "NaN", "NaN", "NaN"),
    ];
    for (values, population, sample, population_root, sample_root) in cases {
        let values: Vec<Numeric> = values.split(' ').map(number).collect();
        let add = |sum: Numeric, value: &Numeric| sum.add(value).expect("a sum");
        let sum = values.iter().fold(Numeric::zero(), add);
        let squares = values.iter().map(|value| value.mul(value).expect("a square"));
        let squares = squares.fold(Numeric::zero(), |sum, square| add(sum, &square));
        let count = values.len() as i64;
        let of = |sample, root| match variance(count, &sum, &squares, sample, root) {
            Ok(None) => "NULL".to_owned(),
            Ok(Some(value)) => value.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(of(false, false), population);
        assert_eq!(of(true, false), sample);
        assert_eq!(of(false, true), population_root);
        assert_eq!(of(true, true), sample_root);
    }
}
