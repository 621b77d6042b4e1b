//! `LIMIT`, `OFFSET` and `FETCH FIRST`: their numbers as `bigint`, which DataFusion wants as literals.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Fetch, LimitClause, Offset, Query, UnaryOperator, Value};
use ebap_values::{Numeric, ValueError};

use super::{ties, value_error};
use crate::{Error, Result};

/// Rewrites the clauses of one query.
///
/// # Errors
/// 2201W and 2201X below zero, 22P02 for a text that is no number, 0A000 for forms of `WITH TIES`.
pub(super) fn rewrite(query: &mut Query) -> Result<()> {
    if query.fetch.as_ref().is_some_and(|fetch| fetch.with_ties && !fetch.percent) {
        return ties::rewrite(query);
    }
    if let Some(fetch) = query.fetch.take() {
        fetched(query, fetch)?;
    }
    let Some(LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause else { return Ok(()) };
    if let Some(limit) = limit {
        *limit = count(limit, "2201W", "LIMIT")?;
    }
    if let Some(offset) = offset {
        offset.value = count(&offset.value, "2201X", "OFFSET")?;
    }
    Ok(())
}

fn fetched(query: &mut Query, fetch: Fetch) -> Result<()> {
    if fetch.percent {
        return Err(Error::unsupported(
            "FETCH FIRST … PERCENT",
            "Use percent_rank() OVER (ORDER BY …) in a sub-query.",
        ));
    }
    let one = || Expr::Value(Value::Number("1".to_owned(), false).into());
    let wanted = fetch.quantity.unwrap_or_else(one);
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(wanted),
        Some(_) => return Err(Error::syntax("multiple LIMIT clauses not allowed")),
        clause @ None => {
            let offset: Option<Offset> = None;
            *clause = Some(LimitClause::LimitOffset { limit: Some(wanted), offset, limit_by: Vec::new() });
        }
    }
    Ok(())
}

/// A parameter and NULL stay as they are.
fn count(expr: &Expr, sqlstate: &'static str, clause: &str) -> Result<Expr> {
    if let Expr::Value(value) = expr
        && matches!(value.value, Value::Placeholder(_) | Value::Null)
    {
        return Ok(expr.clone());
    }
    let value = match expr {
        Expr::Value(value) => match value.value.clone().into_string() {
            Some(text) => {
                let number = text.trim().parse::<i64>().map_err(|_| {
                    let range = text.trim().trim_start_matches(['-', '+']).bytes().all(|byte| byte.is_ascii_digit());
                    match range && !text.trim().is_empty() {
                        true => value_error(ValueError::out_of_range("bigint")),
                        false => value_error(ValueError::syntax("bigint", &text)),
                    }
                })?;
                Some(number)
            }
            None => constant(expr)?,
        },
        other => constant(other)?,
    };
    let Some(value) = value else {
        let hint = "Write a number, or pass it as a parameter.";
        return Err(Error::unsupported(format!("an expression in {clause}"), hint));
    };
    if value < 0 {
        return Err(Error::new(sqlstate, format!("{clause} must not be negative")));
    }
    Ok(Expr::Value(Value::Number(value.to_string(), false).into()))
}

/// A number with a fraction is rounded, halves away from zero.
fn constant(expr: &Expr) -> Result<Option<i64>> {
    let Some(value) = number(expr)? else { return Ok(None) };
    value.to_i64().map(Some).map_err(value_error)
}

/// The value of literals and what `+`, `-` and `*` make of them.
fn number(expr: &Expr) -> Result<Option<Numeric>> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => Numeric::parse(&digits.replace('_', "")).map(Some).map_err(value_error),
            _ => Ok(None),
        },
        Expr::Nested(inner) => number(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Ok(number(expr)?.map(|value| value.neg())),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => number(expr),
        Expr::BinaryOp { left, op, right } => {
            let (Some(left), Some(right)) = (number(left)?, number(right)?) else { return Ok(None) };
            let found = match op {
                BinaryOperator::Plus => left.add(&right),
                BinaryOperator::Minus => left.sub(&right),
                BinaryOperator::Multiply => left.mul(&right),
                _ => return Ok(None),
            };
            found.map(Some).map_err(value_error)
        }
        _ => Ok(None),
    }
}
