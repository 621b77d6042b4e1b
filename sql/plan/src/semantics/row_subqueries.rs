//! `(a, b) IN (SELECT x, y …)`: DataFusion compares one value. As a condition that all rows must meet it is an `EXISTS`;
//! elsewhere NULL and false would have to be told apart, so it is refused.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{BinaryOperator, Expr, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, TableFactor, Visit, Visitor},
    parser::Parser,
};

use super::desugar::row;
use crate::{Error, Result, column_names::folded, parser::Postgres};

const TABLE: &str = "rows of IN";

/// Rewrites those that are joined by `AND`. `relation`: the only one of the query around.
pub(super) fn in_condition(condition: &mut Expr, relation: Option<&Ident>) -> ControlFlow<Error> {
    match condition {
        Expr::Nested(inner) => in_condition(inner, relation),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            in_condition(left, relation)?;
            in_condition(right, relation)
        }
        Expr::InSubquery { expr, subquery, negated: false } => {
            let Some(values) = row(expr) else { return ControlFlow::Continue(()) };
            match exists(values, subquery, relation) {
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

/// The name of the only relation in `FROM`.
pub(super) fn only_relation(select: &Select) -> Option<Ident> {
    match &relations(select)?[..] {
        [one] => Some(one.clone()),
        _ => None,
    }
}

/// The names of all relations; `None` where one has none.
fn relations(select: &Select) -> Option<Vec<Ident>> {
    let mut found = Vec::new();
    for from in &select.from {
        for factor in std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)) {
            found.push(match factor {
                TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
                    alias.name.clone()
                }
                TableFactor::Table { name, args: None, .. } => name.0.last()?.as_ident()?.clone(),
                _ => return None,
            });
        }
    }
    Some(found)
}

/// A sub-query over columns of the query around it, as DataFusion can join it: `EXISTS (SELECT … WHERE … AND x = a)`.
/// `None` where it is none, or where a name could mean a column of the sub-query then.
fn exists_within(values: &[Expr], subquery: &Query, relation: Option<&Ident>) -> Option<Expr> {
    let SetExpr::Select(select) = subquery.body.as_ref() else { return None };
    let limited = subquery.with.is_some() || subquery.limit_clause.is_some() || subquery.fetch.is_some();
    let grouped = select.having.is_some() || select.group_by != GroupByExpr::Expressions(Vec::new(), Vec::new());
    if limited || grouped || select.distinct.is_some() || select.projection.len() != values.len() {
        return None;
    }
    let own = relations(select)?;
    let is_own = |name: &Ident| own.iter().any(|own| folded(own) == folded(name));
    if !names_another(select.selection.as_ref()?, &is_own) {
        return None;
    }
    let mut condition = Expr::Nested(Box::new(select.selection.clone()?));
    for (value, item) in values.iter().zip(&select.projection) {
        let (SelectItem::UnnamedExpr(column) | SelectItem::ExprWithAlias { expr: column, .. }) = item else {
            return None;
        };
        if !matches!(column, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_)) {
            // It may be an aggregate.
            return None;
        }
        let value = match value {
            Expr::Value(_) => value.clone(),
            Expr::Identifier(name) => Expr::CompoundIdentifier(vec![relation?.clone(), name.clone()]),
            Expr::CompoundIdentifier(parts) if parts.len() == 2 => value.clone(),
            _ => return None,
        };
        if matches!(&value, Expr::CompoundIdentifier(parts) if parts.first().is_none_or(is_own)) {
            return None;
        }
        let same = Expr::BinaryOp { left: Box::new(column.clone()), op: BinaryOperator::Eq, right: Box::new(value) };
        condition = Expr::BinaryOp { left: Box::new(condition), op: BinaryOperator::And, right: Box::new(same) };
    }
    let mut subquery = subquery.clone();
    if let SetExpr::Select(select) = subquery.body.as_mut() {
        select.selection = Some(condition);
    }
    Some(Expr::Exists { subquery: Box::new(subquery), negated: false })
}

/// Whether a column of a relation is named that is none of these.
fn names_another(expr: &Expr, is_own: &dyn Fn(&Ident) -> bool) -> bool {
    struct Names<'a>(&'a dyn Fn(&Ident) -> bool);
    impl Visitor for Names<'_> {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::CompoundIdentifier(parts) if parts.first().is_some_and(|name| !(self.0)(name)) => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    Visit::visit(expr, &mut Names(is_own)).is_break()
}

/// `EXISTS (SELECT 1 FROM (subquery) AS t(c0, c1) WHERE t.c0 = a AND t.c1 = b)`
fn exists(values: Vec<Expr>, subquery: &Query, relation: Option<&Ident>) -> Result<Expr> {
    if let Some(count) = columns(&subquery.body)
        && count != values.len()
    {
        let amount = if count > values.len() { "many" } else { "few" };
        return Err(Error::syntax(format!("subquery has too {amount} columns")));
    }
    if let Some(found) = exists_within(&values, subquery, relation) {
        return Ok(found);
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
