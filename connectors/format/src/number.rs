//! Numbers as they are written: in digits, and never by way of a double.

/// `digits` times ten to the power of `-scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    digits: i128,
    scale: i32,
    /// There are more digits than a column can hold, which were cut.
    cut: bool,
}

/// Significant digits that are kept: as many as any `NUMERIC` column has.
const DIGITS_MAX: u32 = 38;
/// A larger exponent makes zero or what no column can hold of any digits.
const EXPONENT_MAX: i32 = 1_000_000;

impl Written {
    pub(crate) fn new(digits: i128, scale: i32) -> Self {
        Self { digits, scale, cut: false }
    }

    /// Reads `[+-]? digits? (. digits?)? ([eE] [+-]? digits)?` with a digit before the exponent. Other text gives none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = signed(text.as_bytes());
        let (mantissa, exponent) = match rest.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (&rest[..at], exponent(&rest[at + 1..])?),
            None => (rest, 0),
        };
        let mut number = Self { digits: 0, scale: -exponent, cut: false };
        let (mut count, mut behind_point, mut empty) = (0, false, true);
        for byte in mantissa {
            match byte {
                b'.' if !behind_point => behind_point = true,
                b'0'..=b'9' if count < DIGITS_MAX => {
                    empty = false;
                    number.digits = number.digits * 10 + i128::from(byte - b'0');
                    count += u32::from(number.digits > 0);
                    number.scale = number.scale.saturating_add(i32::from(behind_point));
                }
                b'0'..=b'9' => {
                    number.cut |= *byte != b'0';
                    number.scale = number.scale.saturating_sub(i32::from(!behind_point));
                }
                _ => return None,
            }
        }
        if negative {
            number.digits = -number.digits;
        }
        (!empty).then_some(number)
    }

    /// As an integer of so many digits behind the point, exactly; none where that is not possible.
    pub(crate) fn exactly(self, scale: i32) -> Option<i128> {
        let power = scale.checked_sub(self.scale)?;
        let factor = 10_i128.checked_pow(power.unsigned_abs());
        match (power >= 0, factor) {
            _ if self.cut => None,
            _ if self.digits == 0 => Some(0),
            (true, factor) => self.digits.checked_mul(factor?),
            (false, factor) => factor.filter(|factor| self.digits % factor == 0).map(|factor| self.digits / factor),
        }
    }

    /// The same, cut downwards behind these digits; none beyond `i128`.
    pub(crate) fn floor(self, scale: i32) -> Option<i128> {
        let power = scale.checked_sub(self.scale)?;
        let factor = 10_i128.checked_pow(power.unsigned_abs());
        match (power >= 0, factor) {
            _ if self.digits == 0 => Some(0),
            (true, factor) => self.digits.checked_mul(factor?),
            (false, Some(factor)) => Some(self.digits.div_euclid(factor)),
            (false, None) => Some(if self.digits < 0 { -1 } else { 0 }),
        }
    }
}

fn signed(text: &[u8]) -> (bool, &[u8]) {
    match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        Some(_) | None => (false, text),
    }
}

fn exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = signed(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0, |value, digit| (value * 10 + i32::from(digit - b'0')).min(EXPONENT_MAX));
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exactly(text: &str, scale: i32) -> Option<i128> {
        Written::parse(text)?.exactly(scale)
    }

    #[test]
    fn numbers_are_exact_or_nothing() {
        let largest = "9".repeat(38);
        for (text, scale, expected) in [
            ("1.50", 1, Some(15)),
            ("1.55", 1, None),
            ("-1.5", 2, Some(-150)),
            ("+.5", 1, Some(5)),
            ("5.", 0, Some(5)),
            ("007", 0, Some(7)),
            ("1.25e2", 0, Some(125)),
            ("125e-2", 0, None),
            ("125e-2", 2, Some(125)),
            ("1200E-2", 0, Some(12)),
            ("0e999999999999", 3, Some(0)),
            ("1e999999999999", 3, None),
            ("1e-999999999999", 3, None),
            ("-0", 0, Some(0)),
            (&largest, 0, Some(10_i128.pow(38) - 1)),
            (&format!("{largest}.{}", "0".repeat(300)), 0, Some(10_i128.pow(38) - 1)),
            (&format!("{}1", "0".repeat(300)), 0, Some(1)),
            (&format!("1{}e-300", "0".repeat(300)), 0, Some(1)),
            // Digits that are counted in one byte, or kept in 128 bits without a look, are another number here.
            (&format!("1{}", "0".repeat(300)), 0, None),
            (&format!("1{}1e-90", "0".repeat(98)), 0, None),
            (&format!("1{}e-90", "0".repeat(99)), 0, Some(1_000_000_000)),
            (&format!("{largest}1"), 0, None),
        ] {
            assert_eq!(exactly(text, scale), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_nothing() {
        for text in
            ["", "-", ".", "-.", "e5", "1e", "1e+", "1e5.0", "1.2.3", "1_0", " 1", "1 ", "--1", "NaN", "0x1", "１"]
        {
            assert_eq!(Written::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_cut_is_cut_downwards() {
        let floor = |text: &str, scale| Written::parse(text).and_then(|number| number.floor(scale));
        for (text, expected) in [("1.9", 1), ("-1.1", -2), ("-1e-300", -1), ("1e-300", 0), ("-2", -2), ("1e3", 1_000)] {
            assert_eq!(floor(text, 0), Some(expected), "{text}");
        }
        assert_eq!(floor("1e39", 0), None);
    }
}
