//! `time > now() - INTERVAL '5 minutes'`: rows that leave by themselves as time goes on.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::{
    common::{DFSchemaRef, ScalarValue, tree_node::TreeNode},
    logical_expr::{BinaryExpr, Expr, Operator, ScalarUDF},
};

use super::{super::LENGTH_MAX_US, refused};
use crate::{
    Error, Result,
    flow::{Flow, Node},
    moved_time,
};

/// Rows whose `time` is less than `span_us` ago.
pub(super) struct Span {
    time: Expr,
    span_us: i64,
    inclusive: bool,
}

/// The condition as a span; `None` where the clock is not in it.
pub(super) fn span(condition: &Expr) -> Result<Option<Span>> {
    if !mentions_now(condition) {
        return Ok(None);
    }
    let wrong = || {
        Error::unsupported(
            format!("the condition {} of the clock in a materialized view", super::shown(condition)),
            "Write column > now() - INTERVAL '5 minutes'.",
        )
    };
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return Err(wrong()) };
    let (time, op, bound) = match (mentions_now(left), mentions_now(right)) {
        (false, true) => (left, *op, right),
        (true, false) => (right, op.swap().ok_or_else(wrong)?, left),
        _ => return Err(wrong()),
    };
    let inclusive = match op {
        Operator::Gt => false,
        Operator::GtEq => true,
        _ => return Err(wrong()),
    };
    let span_us = ago(bound).ok_or_else(wrong)?;
    if span_us.abs() > LENGTH_MAX_US {
        return Err(Error::new("22023", format!("the condition {} reaches too far", super::shown(condition)))
            .hint("Write a shorter interval."));
    }
    super::refuse_volatile(time)?;
    Ok(Some(Span { time: time.as_ref().clone(), span_us, inclusive }))
}

pub(super) fn within(input: Flow, span: Span, schema: &DFSchemaRef) -> Result<Flow> {
    let Span { time, span_us, inclusive } = span;
    use datafusion::logical_expr::ExprSchemable;
    match time.get_type(schema.as_ref()) {
        Ok(DataType::Timestamp(..)) => {}
        _ => {
            return Err(refused(
                &format!("the clock beside {}", super::shown(&time)),
                "Compare a column of type TIMESTAMPTZ with now().",
            ));
        }
    }
    let columns = Arc::clone(&input.schema);
    let node = Node::Recent { input: Box::new(input), time, schema: Arc::clone(schema), span_us, inclusive };
    Ok(Flow { node, schema: columns })
}

fn mentions_now(expr: &Expr) -> bool {
    expr.exists(|expr| Ok(matches!(expr, Expr::ScalarFunction(call) if is_now(&call.func)))).unwrap_or(false)
}

fn is_now(function: &ScalarUDF) -> bool {
    ["now", "current_timestamp"].contains(&function.name())
}

/// Microseconds before now.
fn ago(expr: &Expr) -> Option<i64> {
    match expr {
        // A cast to a date cuts the time of day off, so that it is another moment.
        Expr::Cast(cast) if matches!(cast.field.data_type(), DataType::Timestamp(..)) => ago(&cast.expr),
        Expr::Alias(alias) => ago(&alias.expr),
        Expr::ScalarFunction(call) if is_now(&call.func) => Some(0),
        expr => match moved_time(expr)? {
            (left, Operator::Minus, right) => ago(left)?.checked_add(length(right)?),
            (left, _, right) => ago(left)?.checked_sub(length(right)?),
        },
    }
}

pub(super) fn length(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Cast(cast) => length(&cast.expr),
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) => {
            let IntervalMonthDayNano { months, days, nanoseconds } = *interval;
            let days = i64::from(days).checked_mul(86_400_000_000).filter(|_| months == 0)?;
            days.checked_add(nanoseconds / 1_000)
        }
        Expr::Literal(ScalarValue::IntervalDayTime(Some(interval)), _) => {
            let days = i64::from(interval.days).checked_mul(86_400_000_000)?;
            days.checked_add(i64::from(interval.milliseconds) * 1_000)
        }
        _ => None,
    }
}
