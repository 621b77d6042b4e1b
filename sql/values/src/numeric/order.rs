//! Order, equality and hash by value.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use super::{Numeric, Value, digits};

impl Ord for Numeric {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Value::Small(left, left_scale), Value::Small(right, right_scale)) => {
                compare_small((*left, *left_scale), (*right, *right_scale))
            }
            _ if self.is_finite() && other.is_finite() => compare_big(self, other),
            _ => rank(self).cmp(&rank(other)),
        }
    }
}

/// Where a value stands when one of the two compared is not finite.
fn rank(value: &Numeric) -> u8 {
    match value.0 {
        Value::NegativeInfinity => 0,
        Value::Small(..) | Value::Big(..) => 1,
        Value::Infinity => 2,
        Value::NaN => 3,
    }
}

fn compare_small(left: (i128, u16), right: (i128, u16)) -> Ordering {
    if left.1 == right.1 || left.0.signum() != right.0.signum() {
        return left.0.cmp(&right.0);
    }
    if left.1 < right.1 {
        // Where the shorter scale cannot be stretched, its value is larger in magnitude.
        match digits::scale_up(left.0, u32::from(right.1 - left.1)) {
            Some(stretched) => stretched.cmp(&right.0),
            None => left.0.cmp(&0),
        }
    } else {
        compare_small(right, left).reverse()
    }
}

fn compare_big(left: &Numeric, right: &Numeric) -> Ordering {
    let signs = left.signum().cmp(&right.signum());
    if signs != Ordering::Equal {
        return signs;
    }
    let lengths = left.leading_position().cmp(&right.leading_position());
    if lengths != Ordering::Equal {
        return if left.is_negative() { lengths.reverse() } else { lengths };
    }
    let (mut one, mut two) = (left.coefficient(), right.coefficient());
    let (one_scale, two_scale) = (left.dscale(), right.dscale());
    if one_scale < two_scale {
        one *= digits::power(u32::from(two_scale - one_scale));
    } else if two_scale < one_scale {
        two *= digits::power(u32::from(one_scale - two_scale));
    }
    one.cmp(&two)
}

impl Numeric {
    /// How many digits stand before the point; zero or less for values below 0.1.
    pub(super) fn leading_position(&self) -> i32 {
        let count = match &self.0 {
            Value::Small(coefficient, _) => digits::count_small(coefficient.unsigned_abs()),
            Value::Big(coefficient, _) => digits::count(coefficient.magnitude()),
            _ => 0,
        };
        count as i32 - i32::from(self.dscale())
    }
}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Numeric {}

impl Hash for Numeric {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.key().0 {
            Value::Small(coefficient, dscale) => (0u8, coefficient, dscale).hash(state),
            Value::Big(coefficient, dscale) => (1u8, coefficient, dscale).hash(state),
            Value::NaN => 2u8.hash(state),
            Value::Infinity => 3u8.hash(state),
            Value::NegativeInfinity => 4u8.hash(state),
        }
    }
}
