//! Bytes of keys and of PostgreSQL's binary format.

use proptest::prelude::*;

use super::{Numeric, number};

fn encoded(value: &Numeric) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    bytes
}

fn sent(value: &Numeric) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.to_wire(&mut bytes);
    bytes
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_binary_format_is_postgresqls() {
    let cases = [
        ("0", "0000000000000000"),
        ("0.00", "0000000000000002"),
        ("1", "00010000000000000001"),
        ("-1.50", "000200004000000200011388"),
        ("12345.6789", "0003000100000004000109291a85"),
        ("0.0001", "0001ffff000000040001"),
        ("0.00001", "0001fffe0000000503e8"),
        ("1e20", "00010005000000000001"),
        (
            "123456789012345678901234567890123456789012.3",
            "000c000a00000001000c0d801ed204d2162e23340d801ed204d2162e23340bb8",
        ),
        ("NaN", "00000000c0000000"),
        ("Infinity", "00000000d0000020"),
        ("-Infinity", "00000000f0000020"),
    ];
    for (value, expected) in cases {
        let bytes = sent(&number(value));
        assert_eq!(hexadecimal(&bytes), expected, "{value}");
        let back = Numeric::from_wire(&bytes).map(|value| value.to_string());
        assert_eq!(back, Ok(number(value).to_string()));
    }
}

#[test]
fn the_binary_format_cuts_digits_beyond_its_scale() {
    // 1.2345 with a scale of two.
    let bytes = [0, 2, 0, 0, 0, 0, 0, 2, 0, 1, 0x09, 0x29];
    assert_eq!(Numeric::from_wire(&bytes).map(|value| value.to_string()), Ok("1.23".to_owned()));
}

#[test]
fn hostile_bytes_of_the_binary_format_are_refused() {
    let hostile: [&[u8]; 6] = [
        &[],
        &[0, 1, 0, 0, 0, 0, 0, 0],
        &[0, 1, 0, 0, 0, 1, 0, 0, 0, 1],
        &[0, 1, 0, 0, 0, 0, 0x40, 0, 0, 1],
        &[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10],
        &[0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0],
    ];
    for bytes in hostile {
        let refused = Numeric::from_wire(bytes).map_err(|error| error.sqlstate);
        assert_eq!(refused, Err("22P03"), "{bytes:?}");
    }
    // The greatest weight is right: it has 131 072 digits before the point.
    let largest = [0, 1, 0x7F, 0xFF, 0, 0, 0, 0, 0x27, 0x0F];
    let length = Numeric::from_wire(&largest).map(|value| value.to_string().len());
    assert_eq!(length, Ok(131_072));
}

#[test]
fn an_encoding_has_its_documented_layout() {
    assert_eq!(encoded(&number("-Infinity")), [1, 0, 0]);
    assert_eq!(encoded(&number("0.00")), [3, 0, 2]);
    assert_eq!(encoded(&number("123.450")), [4, 0x80, 0, 0, 3, 13, 35, 51, 0, 0, 3]);
    assert_eq!(encoded(&number("-100")), [2, 0x7F, 0xFF, 0xFF, 0xFC, 0xF4, 0xFF, 0, 0]);
    assert_eq!(encoded(&number("Infinity")), [5, 0, 0]);
    assert_eq!(encoded(&number("NaN")), [6, 0, 0]);
}

#[test]
fn garbage_is_no_encoding() {
    let garbage: [&[u8]; 12] = [
        &[],
        &[3, 0],
        &[0, 0, 0],
        &[7, 0, 0],
        &[6, 0, 1],
        &[3, 0x40, 0],
        &[3, 0, 0, 0],
        &[4, 0x80, 0, 0, 1, 0, 0, 0],
        &[4, 0x80, 0, 0, 1, 2, 0, 0, 0],
        &[4, 0x80, 0, 0, 1, 21, 21, 0, 0, 0],
        &[4, 0x80, 0, 0, 1, 102, 0, 0, 0],
        &[4, 0xFF, 0xFF, 0xFF, 0xFF, 11, 0, 0, 0],
    ];
    for bytes in garbage {
        let refused = Numeric::decode(bytes).map_err(|error| error.sqlstate);
        assert_eq!(refused, Err("22P03"), "{bytes:?}");
    }
}

#[test]
fn equal_values_have_the_same_key() {
    for (left, right) in [("1", "1.000"), ("0", "-0.00"), ("1e40", "10e39"), ("-2.50", "-2.5")] {
        assert_eq!(encoded(&number(left).key()), encoded(&number(right).key()), "{left}");
    }
    let longer = number("1e50").add(&number("0.00")).expect("a sum");
    assert_eq!(encoded(&longer.key()), encoded(&number("1e50")));
}

/// Finite values of all lengths, many of them close to each other, and the specials.
fn any_number() -> impl Strategy<Value = Numeric> {
    prop_oneof![
        (-1000i128..1000, 0i8..4).prop_map(|(value, scale)| Numeric::from_i128(value, scale)),
        (any::<i128>(), -5i8..60).prop_map(|(value, scale)| Numeric::from_i128(value, scale)),
        (any::<[u8; 32]>(), any::<i8>()).prop_map(|(bytes, scale)| Numeric::from_unscaled_bytes_le(&bytes, scale)),
        Just(Numeric::nan()),
        any::<bool>().prop_map(Numeric::infinity),
    ]
}

proptest! {
    #[test]
    fn bytes_order_as_the_values(left in any_number(), right in any_number()) {
        let bytes = encoded(&left.key()).cmp(&encoded(&right.key()));
        prop_assert_eq!(bytes, left.cmp(&right));
    }

    #[test]
    fn all_formats_give_the_value_back(value in any_number()) {
        let text = value.to_string();
        let decoded = Numeric::decode(&encoded(&value)).map(|value| value.to_string());
        prop_assert_eq!(decoded.as_ref(), Ok(&text));
        let received = Numeric::from_wire(&sent(&value)).map(|value| value.to_string());
        prop_assert_eq!(received.as_ref(), Ok(&text));
        let parsed = Numeric::parse(&text).map(|value| value.to_string());
        prop_assert_eq!(parsed.as_ref(), Ok(&text));
    }

    #[test]
    fn bytes_that_decode_are_the_bytes_of_their_value(
        class in 0u8..8,
        position in prop_oneof![Just([0x80, 0, 0]), Just([0x7F, 0xFF, 0xFF]), any::<[u8; 3]>()],
        rest in proptest::collection::vec(any::<u8>(), 0..24),
    ) {
        let bytes = [&[class][..], &position, &rest].concat();
        if let Ok(value) = Numeric::decode(&bytes) {
            prop_assert_eq!(encoded(&value), bytes);
        }
    }

    #[test]
    fn any_wire_bytes_are_a_value_or_refused(
        header in any::<[u8; 6]>(),
        digits in proptest::collection::vec(0u16..10_001, 0..12),
    ) {
        let mut bytes = vec![0, digits.len() as u8];
        bytes.extend(header);
        bytes.extend(digits.iter().flat_map(|digit| digit.to_be_bytes()));
        if let Ok(value) = Numeric::from_wire(&bytes) {
            let again = Numeric::from_wire(&sent(&value));
            prop_assert_eq!(again, Ok(value));
        }
    }
}
