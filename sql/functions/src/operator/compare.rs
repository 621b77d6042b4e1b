//! Comparison by PostgreSQL's order: NaN is the greatest number and equals itself, and numbers compare by value.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, make_comparator};
use arrow::compute::SortOptions;
use datafusion_expr::ScalarUDF;
use ebap_values::{Numeric, PgType, Result};

use crate::decimals::{Num, NumColumn};
use crate::error::internal;
use crate::kernel::{Input, Operand};
use crate::types::arrow_type;
use crate::udf::{PgFunction, always};
use crate::values::as_type;

/// One of the six comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Comparison {
    pub(crate) fn parse(op: &str) -> Option<Self> {
        Some(match op {
            "=" => Self::Equal,
            "<>" | "!=" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::LessEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterEqual,
            _ => return None,
        })
    }

    pub(crate) fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterEqual => order.is_ge(),
        }
    }
}

/// Compares a value of one array with one of another; neither may be NULL.
pub(crate) struct Comparer(Box<dyn Fn(usize, usize) -> Ordering + Send + Sync>);

impl Comparer {
    /// A comparer of two arrays of this type.
    pub(crate) fn new(left: &ArrayRef, right: &ArrayRef, of: &PgType) -> Result<Self> {
        if *of == PgType::Numeric {
            return numeric_comparer(left, right);
        }
        let wanted = match arrow_type(of) {
            _ if matches!(of, PgType::Array(_)) => left.data_type().clone(),
            wanted => wanted,
        };
        let (left, right) = (as_type(left, &wanted)?, as_type(right, &wanted)?);
        let (left, right) = (super::normalised(&left, of)?, super::normalised(&right, of)?);
        // NULL within an array is the greatest element.
        let nulls = SortOptions { descending: false, nulls_first: false };
        make_comparator(&left, &right, nulls).map(Self).map_err(internal)
    }

    pub(crate) fn compare(&self, left: usize, right: usize) -> Ordering {
        (self.0)(left, right)
    }
}

fn numeric_comparer(left: &ArrayRef, right: &ArrayRef) -> Result<Comparer> {
    let (a, b) = (Num::column(left)?, Num::column(right)?);
    if let (NumColumn::Small(a, s), NumColumn::Small(b, t)) = (&a, &b)
        && s == t
    {
        let (a, b) = (a.clone(), b.clone());
        return Ok(Comparer(Box::new(move |i, j| a.value(i).cmp(&b.value(j)))));
    }
    let (a, b) = (numerics(&a, left)?, numerics(&b, right)?);
    Ok(Comparer(Box::new(move |i, j| a[i].cmp(&b[j]))))
}

fn numerics(column: &NumColumn, array: &ArrayRef) -> Result<Vec<Option<Numeric>>> {
    let value = |row| if array.is_null(row) { Ok(None) } else { Num::get(column, row).map(Some) };
    (0..array.len()).map(value).collect()
}

/// Comparisons of the types whose order is not that of their bits.
pub(super) fn binary(op: &str, left: &PgType, right: &PgType) -> Option<Arc<ScalarUDF>> {
    let comparison = Comparison::parse(op)?;
    match (left, right) {
        (PgType::Numeric, PgType::Numeric)
        | (PgType::Float4, PgType::Float4)
        | (PgType::Float8, PgType::Float8)
        | (PgType::Interval, PgType::Interval) => {}
        _ => return None,
    }
    let of = left.clone();
    let body = Arc::new(move |call: &crate::kernel::Call<'_>| match call.operands {
        [left, right] => compare_columns(comparison, left, right, &of, call.rows),
        _ => Err(internal("a comparison has two arguments")),
    });
    Some(PgFunction::new(op, &format!("{left:?}"), always(&PgType::Bool), body).into_udf())
}

fn compare_columns(
    comparison: Comparison,
    left: &Operand,
    right: &Operand,
    of: &PgType,
    rows: usize,
) -> Result<ArrayRef> {
    let comparer = Comparer::new(&left.array, &right.array, of)?;
    let value = |row| {
        let (i, j) = (left.at(row), right.at(row));
        let known = left.array.is_valid(i) && right.array.is_valid(j);
        known.then(|| comparison.holds(comparer.compare(i, j)))
    };
    Ok(Arc::new((0..rows).map(value).collect::<BooleanArray>()))
}
