//! Decimal text: rounding, shifting and the scientific notation.

/// Digits, perhaps with a point between them.
pub(super) fn is_decimal(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    digits(whole) && digits(fraction)
}

/// Multiplies decimal text by a power of ten.
pub(super) fn shift_point(text: &str, shift: usize) -> String {
    if shift == 0 {
        return text.into();
    }
    let (sign, plain) = text.strip_prefix('-').map_or(("", text), |plain| ("-", plain));
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    let padded = format!("{fraction:0<shift$}");
    let (moved, rest) = padded.split_at(shift);
    let joined = format!("{whole}{moved}");
    let trimmed = joined.trim_start_matches('0');
    let whole = if trimmed.is_empty() { "0" } else { trimmed };
    if rest.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{rest}") }
}

/// Rounds decimal text half away from zero to exactly so many digits after the point. Zero has no sign.
pub(super) fn round(text: &str, places: usize) -> String {
    let (negative, plain) = text.strip_prefix('-').map_or((false, text), |plain| (true, plain));
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    let up = fraction.as_bytes().get(places).is_some_and(|digit| *digit >= b'5');
    let kept = fraction.get(..places).unwrap_or(fraction);
    let mut digits = format!("{whole}{kept:0<places$}").into_bytes();
    if up {
        increment(&mut digits);
    }
    let is_zero = digits.iter().all(|digit| *digit == b'0');
    let split = digits.len() - places;
    let text: String = digits.into_iter().map(char::from).collect();
    let (whole, fraction) = text.split_at(split);
    let sign = if negative && !is_zero { "-" } else { "" };
    if places == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// Adds one to the last of decimal digits.
fn increment(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    digits.insert(0, b'1');
}

/// Such as ` 1.23e+04`, with a space for a missing minus.
pub(super) fn scientific(text: &str, places: usize) -> String {
    let (negative, plain) = text.strip_prefix('-').map_or((false, text), |plain| (true, plain));
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    let all = format!("{whole}{fraction}");
    let first = all.find(|c| c != '0');
    let exponent = first.map_or(0, |first| whole.len() as i64 - 1 - first as i64);
    let significant = first.map_or("0", |first| &all[first..]);
    let mantissa = format!("{}.{}", &significant[..1], &significant[1..]);
    // A carry leaves two digits before the point, as in PostgreSQL: 999.5 is 10e+02.
    let rounded = round(mantissa.trim_end_matches('.'), places);
    // NUMERIC has no negative zero.
    with_exponent(negative && first.is_some(), &rounded, exponent)
}

/// As `scientific`, from a double.
pub(super) fn float_scientific(value: f64, places: usize) -> String {
    let text = format!("{:.*e}", places, value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    with_exponent(value.is_sign_negative(), mantissa, exponent.parse().unwrap_or(0))
}

fn with_exponent(negative: bool, mantissa: &str, exponent: i64) -> String {
    let sign = if negative { '-' } else { ' ' };
    let of_exponent = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{mantissa}e{of_exponent}{:02}", exponent.abs())
}
