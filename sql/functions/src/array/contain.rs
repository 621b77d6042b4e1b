//! What arrays have in common: `@>`, `<@` and `&&`. Here NULL equals nothing.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use ebap_values::{PgType, Result};

use super::{Lists, common_item, in_common, operand};
use crate::kernel::Call;
use crate::operator::Comparer;

/// The arrays of both sides, in one type.
struct Sides {
    left: Lists,
    right: Lists,
    left_values: ArrayRef,
    right_values: ArrayRef,
    comparer: Comparer,
}

impl Sides {
    fn new(call: &Call<'_>) -> Result<Self> {
        let (left, right) = (Lists::new(operand(call, 0)?)?, Lists::new(operand(call, 1)?)?);
        let of = if left.of == PgType::Unknown { right.of.clone() } else { left.of.clone() };
        let item = common_item(left.values().data_type(), right.values().data_type(), &of);
        let left_values = in_common(left.values(), &item, &of)?;
        let right_values = in_common(right.values(), &item, &of)?;
        let comparer = Comparer::new(&left_values, &right_values, &of)?;
        Ok(Self { left, right, left_values, right_values, comparer })
    }

    fn is_equal(&self, left: usize, right: usize) -> bool {
        self.left_values.is_valid(left)
            && self.right_values.is_valid(right)
            && self.comparer.compare(left, right).is_eq()
    }

    /// None where one of the arrays is NULL.
    fn rows(&self, rows: usize, holds: impl Fn(Range<usize>, Range<usize>) -> bool) -> ArrayRef {
        let answer = |row| Some(holds(self.left.range(row)?, self.right.range(row)?));
        Arc::new((0..rows).map(answer).collect::<BooleanArray>())
    }
}

/// `left @> right`: each element of the right side is in the left one.
pub(crate) fn contains(call: &Call<'_>) -> Result<ArrayRef> {
    let sides = Sides::new(call)?;
    Ok(sides.rows(call.rows, |left, mut right| right.all(|wanted| left.clone().any(|own| sides.is_equal(own, wanted)))))
}

/// `left <@ right`
pub(crate) fn contained(call: &Call<'_>) -> Result<ArrayRef> {
    let sides = Sides::new(call)?;
    Ok(sides.rows(call.rows, |mut left, right| left.all(|wanted| right.clone().any(|own| sides.is_equal(wanted, own)))))
}

/// `left && right`: an element is in both.
pub(crate) fn overlap(call: &Call<'_>) -> Result<ArrayRef> {
    let sides = Sides::new(call)?;
    Ok(sides.rows(call.rows, |mut left, right| left.any(|own| right.clone().any(|other| sides.is_equal(own, other)))))
}
