//! `(a, b) IN (SELECT x, y …)`: DataFusion compares one value. As a condition that all rows must meet it is an `EXISTS`;
//! elsewhere NULL and false would have to be told apart, so it is refused.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{BinaryOperator, Expr, Ident, Query, SelectItem, SetExpr, TableFactor},
    parser::Parser,
};

use super::desugar::row;
use crate::{Error, Result, parser::Postgres};

const TABLE: &str = "rows of IN";

/// Rewrites those that are joined by `AND`.
pub(super) fn in_condition(condition: &mut Expr) -> ControlFlow<Error> {
    match condition {
        Expr::Nested(inner) => in_condition(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            in_condition(left)?;
            in_condition(right)
        }
        Expr::InSubquery { expr, subquery, negated: false } => {
            let Some(values) = row(expr) else { return ControlFlow::Continue(()) };
            match exists(values, subquery) {
                Ok(found) => {
                    *condition = found;
                    ControlFlow::Continue(())
                }
                Err(error) => ControlFlow::Break(error),
            }
        }
        _ => ControlFlow::Continue(()),
    }
}

/// # Errors
/// 0A000 where a row is looked for in a place that is no such condition.
pub(super) fn refused(expr: &Expr) -> Result<()> {
    match expr {
        Expr::InSubquery { expr, .. } if row(expr).is_some() => {
            let what = "IN of a row and a sub-query, other than as a condition of WHERE";
            Err(Error::unsupported(what, "Write it as EXISTS or NOT EXISTS."))
        }
        _ => Ok(()),
    }
}

/// `EXISTS (SELECT 1 FROM (subquery) AS t(c0, c1) WHERE t.c0 = a AND t.c1 = b)`
fn exists(values: Vec<Expr>, subquery: &Query) -> Result<Expr> {
    if let Some(count) = columns(&subquery.body)
        && count != values.len()
    {
        let amount = if count > values.len() { "many" } else { "few" };
        return Err(Error::syntax(format!("subquery has too {amount} columns")));
    }
    let column = |at: usize| format!("\"{TABLE} {at}\"");
    let names: Vec<String> = (0..values.len()).map(column).collect();
    let text = format!("EXISTS (SELECT 1 FROM (SELECT 1) AS \"{TABLE}\" ({}))", names.join(", "));
    let parsed = Parser::new(&Postgres).try_with_sql(&text).and_then(|mut parser| parser.parse_expr());
    let mut found = parsed.map_err(|error| Error::syntax(error.to_string()))?;
    if let Expr::Exists { subquery: around, .. } = &mut found
        && let SetExpr::Select(select) = around.body.as_mut()
    {
        for table in &mut select.from {
            if let TableFactor::Derived { subquery: inner, .. } = &mut table.relation {
                **inner = subquery.clone();
            }
        }
        let equal = |(at, value): (usize, Expr)| {
            let name = Ident::with_quote('"', format!("{TABLE} {at}"));
            let column = Expr::CompoundIdentifier(vec![Ident::with_quote('"', TABLE), name]);
            Expr::BinaryOp {
                left: Box::new(column),
                op: BinaryOperator::Eq,
                right: Box::new(Expr::Nested(Box::new(value))),
            }
        };
        select.selection = values.into_iter().enumerate().map(equal).reduce(|left, right| Expr::BinaryOp {
            left: Box::new(left),
            op: BinaryOperator::And,
            right: Box::new(right),
        });
    }
    Ok(found)
}

/// The columns of the leftmost select list; `None` where a wildcard stands for some of them.
fn columns(body: &SetExpr) -> Option<usize> {
    match body {
        SetExpr::Select(select) => {
            let plain =
                |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
            select.projection.iter().all(plain).then_some(select.projection.len())
        }
        SetExpr::Query(query) => columns(&query.body),
        SetExpr::SetOperation { left, .. } => columns(left),
        _ => None,
    }
}
