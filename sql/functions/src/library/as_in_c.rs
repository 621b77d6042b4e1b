//! Inverse hyperbolic functions by the identities that C libraries use for them, so that the last digit is theirs.

use std::f64::consts::LN_2;

/// Beyond it, a square has lost what is added to it.
const LARGE: f64 = 268_435_456.0;

pub(super) fn asinh(value: f64) -> f64 {
    let size = value.abs();
    if !value.is_finite() || size < 1.0 / LARGE {
        return value;
    }
    let found = if size > LARGE {
        size.ln() + LN_2
    } else if size > 2.0 {
        (2.0 * size + 1.0 / ((value * value + 1.0).sqrt() + size)).ln()
    } else {
        let square = value * value;
        (size + square / (1.0 + (1.0 + square).sqrt())).ln_1p()
    };
    found.copysign(value)
}

/// Of a value from 1 on.
pub(super) fn acosh(value: f64) -> f64 {
    if value > LARGE {
        return if value.is_finite() { value.ln() + LN_2 } else { value };
    }
    if value > 2.0 {
        return (2.0 * value - 1.0 / (value + (value * value - 1.0).sqrt())).ln();
    }
    let above = value - 1.0;
    (above + (2.0 * above + above * above).sqrt()).ln_1p()
}

/// Of a value between -1 and 1.
pub(super) fn atanh(value: f64) -> f64 {
    let size = value.abs();
    if size < 1.0 / LARGE {
        return value;
    }
    let double = size + size;
    let found = match size < 0.5 {
        true => 0.5 * (double + double * size / (1.0 - size)).ln_1p(),
        false => 0.5 * (double / (1.0 - size)).ln_1p(),
    };
    found.copysign(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_those_of_the_c_library() {
        assert_eq!(asinh(1e308), 709.889_355_822_726);
        assert_eq!(asinh(-1e308), -709.889_355_822_726);
        assert_eq!(asinh(1.0), 0.881_373_587_019_543);
        assert_eq!(acosh(1e308), 709.889_355_822_726);
        assert_eq!(acosh(1.5), 0.962_423_650_119_206_9);
        assert_eq!(atanh(0.5), 0.549_306_144_334_054_8);
        assert_eq!(atanh(1.0), f64::INFINITY);
        assert!(asinh(-0.0).is_sign_negative());
    }
}
