//! `BETWEEN` and `NULLIF` of values that must be computed once, and calls that must be made each by itself.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::kernels::nullif::nullif;
use datafusion_expr::ScalarUDF;
use ebap_values::{PgType, Result};

use super::any::all_rows;
use crate::array::{common_item, in_common};
use crate::error::internal;
use crate::kernel::{Call, Operand};
use crate::operator::{Comparer, Comparison};
use crate::types::arrow_field;
use crate::udf::{Body, FieldOf, PgFunction, always};

/// `value BETWEEN low AND high`; all are of one type.
pub fn between_udf() -> Arc<ScalarUDF> {
    let body: Body = Arc::new(|call: &Call<'_>| {
        let [value, low, high] = call.operands else { return Err(internal("BETWEEN has three arguments")) };
        let above = Side::new(value, low, Comparison::GreaterEqual)?;
        let below = Side::new(value, high, Comparison::LessEqual)?;
        let answer = |row| match (above.holds(row), below.holds(row)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        };
        Ok(Arc::new((0..call.rows).map(answer).collect::<BooleanArray>()) as ArrayRef)
    });
    PgFunction::new("between", "", always(&PgType::Bool), body).into_udf()
}

/// `NULLIF(value, other)`; both are of this type.
pub fn nullif_udf(of: &PgType) -> Arc<ScalarUDF> {
    let body: Body = Arc::new(|call: &Call<'_>| {
        let [value, other] = call.operands else { return Err(internal("NULLIF has two arguments")) };
        let same = Side::new(value, other, Comparison::Equal)?;
        let same: BooleanArray = (0..call.rows).map(|row| same.holds(row)).collect();
        nullif(&all_rows(value, call.rows)?, &same).map_err(internal)
    });
    let fallback = arrow_field("", of, true);
    let field = FieldOf::ByArguments(Arc::new(move |fields| match fields.first() {
        Some(field) => field.as_ref().clone(),
        None => fallback.clone(),
    }));
    PgFunction::new("nullif", &of.to_string(), field, body).into_udf()
}

/// The argument. Calls with different numbers are not the same expression.
pub fn each_time_udf(number: &str) -> Arc<ScalarUDF> {
    let body: Body = Arc::new(|call: &Call<'_>| {
        let [value] = call.operands else { return Err(internal("one value has a number")) };
        all_rows(value, call.rows)
    });
    let field = FieldOf::ByArguments(Arc::new(|fields| match fields.first() {
        Some(field) => field.as_ref().clone(),
        None => arrow_field("", &PgType::Unknown, true),
    }));
    PgFunction::new(&format!("each time {number}"), "", field, body).into_udf()
}

struct Side<'a> {
    left: &'a Operand,
    right: &'a Operand,
    comparison: Comparison,
    comparer: Comparer,
}

impl<'a> Side<'a> {
    fn new(left: &'a Operand, right: &'a Operand, comparison: Comparison) -> Result<Self> {
        let of = if left.of == PgType::Unknown { &right.of } else { &left.of };
        let item = common_item(left.array.data_type(), right.array.data_type(), of);
        let comparer = Comparer::new(&in_common(&left.array, &item, of)?, &in_common(&right.array, &item, of)?, of)?;
        Ok(Self { left, right, comparison, comparer })
    }

    /// None where one of the values is NULL.
    fn holds(&self, row: usize) -> Option<bool> {
        let (i, j) = (self.left.at(row), self.right.at(row));
        let known = self.left.array.is_valid(i) && self.right.array.is_valid(j);
        known.then(|| self.comparison.holds(self.comparer.compare(i, j)))
    }
}
