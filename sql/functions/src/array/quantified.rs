//! Comparison of a value with the elements of an array: `= ANY (…)`, `<> ALL (…)` and `LIKE ANY (…)`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use datafusion_expr::ScalarUDF;
use ebap_values::{PgType, Result};

use super::{Lists, common_item, in_common, operand};
use crate::kernel::{Call, Input};
use crate::library::like;
use crate::operator::{Comparer, Comparison};
use crate::udf::{Body, PgFunction, always};
use crate::values::Text;

/// `value op ANY (array)`. None for another operator than a comparison and LIKE.
pub fn array_any(op: &str) -> Option<Arc<ScalarUDF>> {
    quantified("any", op, true)
}

/// `value op ALL (array)`. None for another operator than a comparison and LIKE.
pub fn array_all(op: &str) -> Option<Arc<ScalarUDF>> {
    quantified("all", op, false)
}

/// `decisive` is the answer that a single element can give.
fn quantified(name: &str, op: &str, decisive: bool) -> Option<Arc<ScalarUDF>> {
    let body: Body = match Comparison::parse(op) {
        Some(comparison) => Arc::new(move |call: &Call<'_>| decide(call, comparison, decisive)),
        None => {
            let pattern = Matching::parse(op)?;
            Arc::new(move |call: &Call<'_>| matched(call, pattern, decisive))
        }
    };
    Some(PgFunction::new(&format!("{op} {name}"), "", always(&PgType::Bool), body).into_udf())
}

fn decide(call: &Call<'_>, comparison: Comparison, decisive: bool) -> Result<ArrayRef> {
    let (value, lists) = (operand(call, 0)?, Lists::new(operand(call, 1)?)?);
    let of = if lists.of == PgType::Unknown { value.of.clone() } else { lists.of.clone() };
    let item = common_item(value.array.data_type(), lists.values().data_type(), &of);
    let (values, elements) = (in_common(&value.array, &item, &of)?, in_common(lists.values(), &item, &of)?);
    let comparer = Comparer::new(&values, &elements, &of)?;
    let answer = |row| {
        let range = lists.range(row)?;
        let at = value.at(row);
        let mut unknown = false;
        for element in range {
            if values.is_null(at) || elements.is_null(element) {
                unknown = true;
            } else if comparison.holds(comparer.compare(at, element)) == decisive {
                return Some(decisive);
            }
        }
        (!unknown).then_some(!decisive)
    };
    Ok(Arc::new((0..call.rows).map(answer).collect::<BooleanArray>()))
}

/// One of the four forms of LIKE.
#[derive(Clone, Copy, Debug)]
struct Matching {
    negated: bool,
    ignores_case: bool,
}

impl Matching {
    fn parse(op: &str) -> Option<Self> {
        let (negated, ignores_case) = match op {
            "~~" => (false, false),
            "~~*" => (false, true),
            "!~~" => (true, false),
            "!~~*" => (true, true),
            _ => return None,
        };
        Some(Self { negated, ignores_case })
    }

    fn holds(self, text: &str, pattern: &str) -> Result<bool> {
        let found =
            if self.ignores_case { like::matches_any_case(text, pattern) } else { like::matches(text, pattern) };
        Ok(found? != self.negated)
    }
}

fn matched(call: &Call<'_>, matching: Matching, decisive: bool) -> Result<ArrayRef> {
    let (value, lists) = (operand(call, 0)?, Lists::new(operand(call, 1)?)?);
    let (texts, patterns) = (Text::column(&value.array)?, Text::column(lists.values())?);
    let answer = |row| {
        let Some(range) = lists.range(row) else { return Ok(None) };
        let at = value.at(row);
        let mut unknown = false;
        for element in range {
            if texts.is_null(at) || patterns.is_null(element) {
                unknown = true;
            } else if matching.holds(texts.value(at), patterns.value(element))? == decisive {
                return Ok(Some(decisive));
            }
        }
        Ok((!unknown).then_some(!decisive))
    };
    let answers = (0..call.rows).map(answer).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(BooleanArray::from(answers)))
}
