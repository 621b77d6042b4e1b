//! Input and output.

use super::{number, show};
use crate::Numeric;

#[test]
fn text_is_printed_with_its_scale() {
    let cases = [
        ("1.50", "1.50"),
        (" \t-.5e-3\n", "-0.0005"),
        ("1.", "1"),
        ("+7", "7"),
        ("1e3", "1000"),
        ("1.25e1", "12.5"),
        ("1e 5", "100000"),
        ("-0.00", "0.00"),
        ("0e200000", "0"),
        ("000123456789012345678901234567890123456789.0", "123456789012345678901234567890123456789.0"),
        ("nan", "NaN"),
        ("+inf", "Infinity"),
        (" -INFINITY ", "-Infinity"),
    ];
    for (text, expected) in cases {
        assert_eq!(number(text).to_string(), expected, "{text}");
    }
}

#[test]
fn other_text_is_refused_with_the_text_as_given() {
    for text in ["", " ", ".", "1e", "e1", "- 1", "--1", "-NaN", "1_000", "0x10", "1.2.3", "1 2", "é"] {
        let expected = format!("ERR 22P02 invalid input syntax for type numeric: \"{text}\"");
        assert_eq!(show(Numeric::parse(text)), expected);
    }
}

#[test]
fn an_exponent_from_outside_allocates_nothing() {
    let too_long = ["1e131072", "1e1073741823", "1e99999999999999999999", "1e-16384", "0e-20000"];
    for text in too_long {
        let refused = "ERR 22003 value overflows numeric format";
        assert_eq!(show(Numeric::parse(text)), refused, "{text}");
    }
    assert_eq!(number("1e131071").to_string().len(), 131_072);
    assert_eq!(number("1e-16383").scale(), Some(16_383));
}

#[test]
fn scales_are_counted_and_trimmed() {
    assert_eq!(number("1.500").scale(), Some(3));
    assert_eq!(number("1.500").min_scale(), Some(1));
    assert_eq!(number("100.00").min_scale(), Some(0));
    assert_eq!(number("0.000").trim_scale().to_string(), "0");
    assert_eq!(number("1e60").add(&number("0.10")).map(|sum| sum.min_scale()), Ok(Some(1)));
    assert_eq!(number("NaN").scale(), None);
}
