//! Conditions that guard others: `b <> 0 AND a / b > 1` must not divide where `b` is 0.
//!
//! DataFusion evaluates both sides of `AND` for all rows of a batch, unless one side decides for most. A `CASE` alone
//! keeps rows from what would fail on them.

use std::sync::Arc;

use datafusion::{
    common::{
        ScalarValue,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    error::Result,
    logical_expr::{
        BinaryExpr, Case, Expr, Filter, LogicalPlan, Operator, Volatility,
        utils::{conjunction, split_conjunction, split_conjunction_owned},
    },
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
};

use super::{
    deferred::EACH_TIME,
    expressions::{is_same_as, pair},
};
use crate::moved_time;

/// Calls that answer for every value of their types. What is not among them may fail.
const SURE: [&str; 45] = [
    "key",
    "order",
    "from order",
    "upper",
    "lower",
    "length",
    "char_length",
    "octet_length",
    "trim",
    "btrim",
    "ltrim",
    "rtrim",
    "substr",
    "substring",
    "left",
    "right",
    "strpos",
    "starts_with",
    "concat",
    "concat_ws",
    "coalesce",
    "greatest",
    "least",
    "get_field",
    "array_any",
    "array_all",
    "text",
    "date_trunc",
    "date_bin",
    "now",
    "md5",
    "arraycontains",
    "arraycontained",
    "arrayoverlap",
    "jsonb_object_field",
    "jsonb_object_field_text",
    "jsonb_array_element",
    "jsonb_array_element_text",
    "jsonb #>",
    "jsonb #>>",
    "jsonb_contains",
    "jsonb_contained",
    "jsonb_exists",
    "jsonb_exists_any",
    "jsonb_exists_all",
];

/// Whether evaluating the expression for a row can be an error.
pub(super) fn may_fail(expr: &Expr) -> bool {
    let fails = |expr: &Expr| match expr {
        Expr::ScalarFunction(call) => {
            let name = call.func.name();
            !SURE.contains(&name) && !name.starts_with(EACH_TIME) && !is_moved_by_literal(expr)
        }
        _ => false,
    };
    expr.exists(|expr| Ok(fails(expr))).unwrap_or(true)
}

/// `time + INTERVAL '1 hour'` fails for times beyond any record alone, and joins and filters by time are written so.
fn is_moved_by_literal(expr: &Expr) -> bool {
    let is_length = |expr: &Expr| matches!(expr, Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(_)), _));
    moved_time(expr).is_some_and(|(left, _, right)| is_length(left) || is_length(right))
}

/// A condition as a part of other conditions. Sub-queries become joins, and the clock a bound of time, only where they
/// stand alone.
fn stands_alone(expr: &Expr) -> bool {
    let alone = |expr: &Expr| match expr {
        Expr::InSubquery(_) | Expr::Exists(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => true,
        Expr::ScalarFunction(call) => call.func.signature().volatility != Volatility::Immutable,
        _ => false,
    };
    expr.exists(|expr| Ok(alone(expr))).unwrap_or(true)
}

fn boolean(value: bool) -> Expr {
    Expr::Literal(ScalarValue::Boolean(Some(value)), None)
}

fn case(when: Expr, then: Expr, otherwise: Expr) -> Expr {
    kept(Case {
        expr: None,
        when_then_expr: vec![(Box::new(when), Box::new(then))],
        else_expr: Some(Box::new(otherwise)),
    })
}

/// A `CASE` of conditions that stays one: DataFusion makes `AND` and `OR` of one with less than three branches.
pub(super) fn kept(mut case: Case) -> Expr {
    let Some((first, _)) = case.when_then_expr.first().cloned() else { return Expr::Case(case) };
    let otherwise = case.else_expr.clone().unwrap_or_else(|| Box::new(nothing()));
    if case.expr.is_none() && case.when_then_expr.len() < 3 {
        case.when_then_expr.push((Box::new(is_same_as(first.as_ref().clone(), false)), otherwise.clone()));
        case.when_then_expr.push((Box::new(first.is_null()), otherwise));
    }
    Expr::Case(case)
}

fn nothing() -> Expr {
    Expr::Literal(ScalarValue::Boolean(None), None)
}

/// The condition of a filter: what may fail sees only rows that all else lets through.
pub(super) fn condition(predicate: Expr) -> Result<Expr> {
    let parts = split_conjunction_owned(predicate);
    let parts = parts.into_iter().map(value).collect::<Result<Vec<_>>>()?;
    let (risky, sure): (Vec<Expr>, Vec<Expr>) =
        parts.into_iter().partition(|part| may_fail(part) && !stands_alone(part));
    let before: Vec<Expr> = sure.iter().filter(|part| !stands_alone(part)).cloned().collect();
    let chained = risky.into_iter().rev().reduce(|rest, part| case(part, rest, boolean(false)));
    let guarded = match (conjunction(before), chained) {
        (Some(guard), Some(risky)) => Some(case(guard, risky, boolean(false))),
        (_, risky) => risky,
    };
    Ok(conjunction(sure.into_iter().chain(guarded)).unwrap_or_else(|| boolean(true)))
}

/// The condition of filters that were made one, the inner ones first, or none where it is as good as it is: what may
/// fail sees only rows that the filters below let through.
fn merged(predicate: &Expr) -> Option<Expr> {
    let parts = split_conjunction(predicate);
    let (risky, sure): (Vec<&Expr>, Vec<&Expr>) =
        parts.into_iter().partition(|part| may_fail(part) && !stands_alone(part));
    let before = conjunction(sure.iter().filter(|part| !stands_alone(part)).map(|part| (*part).clone()));
    let guarded = match (&before, risky.as_slice()) {
        (_, []) | (None, [_]) => return None,
        (Some(guard), [Expr::Case(case)]) => {
            case.when_then_expr.first().is_some_and(|(when, _)| when.as_ref() == guard)
        }
        (Some(_), [_]) | (_, [_, _, ..]) => false,
    };
    if guarded {
        return None;
    }
    conjunction(sure.into_iter().chain(risky).cloned()).map(condition)?.ok()
}

/// Puts the parts of a condition in turn where DataFusion has made one filter of several.
#[derive(Debug)]
pub(crate) struct GuardMergedFilters;

impl OptimizerRule for GuardMergedFilters {
    fn name(&self) -> &str {
        "guard_merged_filters"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        Ok(match plan {
            LogicalPlan::Filter(node) => match merged(&node.predicate) {
                Some(predicate) => {
                    Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, Arc::clone(&node.input))?))
                }
                None => Transformed::no(LogicalPlan::Filter(node)),
            },
            LogicalPlan::Join(mut node) => match node.filter.as_ref().and_then(merged) {
                Some(filter) => {
                    node.filter = Some(filter);
                    Transformed::yes(LogicalPlan::Join(node))
                }
                None => Transformed::no(LogicalPlan::Join(node)),
            },
            other => Transformed::no(other),
        })
    }
}

/// A value: the right side of `AND` and `OR` is evaluated where the left does not decide.
pub(super) fn value(expr: Expr) -> Result<Expr> {
    let changed = expr.transform_up(|expr| {
        let Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) = expr else {
            return Ok(Transformed::no(expr));
        };
        if !may_fail(&right) || stands_alone(&left) || stands_alone(&right) {
            return Ok(Transformed::no(pair(*left, op, *right)));
        }
        Ok(Transformed::yes(in_turn(*left, op, *right)))
    })?;
    Ok(changed.data)
}

/// `left op right`, where `right` is evaluated for the rows that `left` does not decide.
fn in_turn(left: Expr, op: Operator, right: Expr) -> Expr {
    let decides = boolean(op == Operator::Or);
    let by = |operand: Expr, branches: Vec<(Expr, Expr)>, otherwise: Expr| {
        let branches = branches.into_iter().map(|(when, then)| (Box::new(when), Box::new(then)));
        Expr::Case(Case {
            expr: Some(Box::new(operand)),
            when_then_expr: branches.collect(),
            else_expr: Some(Box::new(otherwise)),
        })
    };
    // The shorter side is the one that stands there twice, so that a long chain does not grow without bound.
    if size(&left) <= size(&right) {
        let both = pair(left.clone(), op, right);
        return by(left, vec![(decides.clone(), decides)], both);
    }
    let other = boolean(op == Operator::And);
    let unknown = by(right.clone(), vec![(decides.clone(), decides.clone())], nothing());
    by(left, vec![(decides.clone(), decides), (other, right)], unknown)
}

/// How many parts an expression has.
pub(super) fn size(expr: &Expr) -> usize {
    let mut count = 0;
    // Counting cannot fail.
    let _ = expr.apply(|_| {
        count += 1;
        Ok(TreeNodeRecursion::Continue)
    });
    count
}

/// The argument of an aggregate, for the rows that its `FILTER` lets through.
pub(super) fn filtered(arg: Expr, filter: Option<&Expr>) -> Expr {
    match filter {
        Some(filter) if may_fail(&arg) => Expr::Case(Case {
            expr: None,
            when_then_expr: vec![(Box::new(filter.clone()), Box::new(arg))],
            else_expr: None,
        }),
        _ => arg,
    }
}
