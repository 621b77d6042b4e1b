//! `ARRAY(SELECT …)`, the array of the rows of a query; and `(row).column`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{
        AccessExpr, Expr, Function, FunctionArgumentClause, FunctionArguments, GroupByExpr, Ident, OrderByExpr,
        OrderByKind, Query, SelectItem, SetExpr, TableFactor, Value, Visit, Visitor,
    },
    parser::Parser,
};

use super::aggregates;
use crate::parser::{Postgres, call};

pub(super) fn is_array_of_rows(function: &Function) -> bool {
    let [part] = &function.name.0[..] else { return false };
    let is_array = part.as_ident().is_some_and(|name| name.value.eq_ignore_ascii_case("array"));
    is_array && matches!(function.args, FunctionArguments::Subquery(_))
}

/// `coalesce((SELECT array_agg(x ORDER BY …) FROM (…) AS q), '{}')`: an aggregate keeps no order of its input.
pub(super) fn array_of_rows(function: &Function) -> Option<Expr> {
    let FunctionArguments::Subquery(query) = &function.args else { return None };
    let empty = || Expr::Value(Value::SingleQuotedString("{}".to_owned()).into());
    let mut rows = query.as_ref().clone();
    if let Some(found) = in_place(&rows) {
        return Some(call("coalesce", vec![Expr::Subquery(Box::new(found)), empty()]));
    }
    let order = keys(&mut rows);
    let keys = order.iter().filter(|key| !matches!(&key.expr, Expr::Identifier(name) if *name == element())).count();
    let mut around = parsed("SELECT array_agg(\"?element?\") FROM (SELECT 1) AS q(\"?element?\")")?;
    let SetExpr::Select(select) = around.body.as_mut() else { return None };
    if let Some(SelectItem::UnnamedExpr(Expr::Function(aggregate))) = select.projection.first_mut()
        && let FunctionArguments::List(list) = &mut aggregate.args
        && !order.is_empty()
    {
        list.clauses.push(FunctionArgumentClause::OrderBy(order.clone()));
    }
    let table = &mut select.from.first_mut()?.relation;
    if let TableFactor::Derived { subquery, alias: Some(alias), .. } = table {
        **subquery = rows;
        let template = alias.columns.first()?.clone();
        for at in 0..keys {
            let mut column = template.clone();
            column.name = key_name(at);
            alias.columns.push(column);
        }
    }
    Some(call("coalesce", vec![Expr::Subquery(Box::new(around)), empty()]))
}

/// The same without a query around it, which DataFusion can join with what is outside; `None` of one that groups or cuts.
fn in_place(query: &Query) -> Option<Query> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let is_plain = query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.with.is_none()
        && select.distinct.is_none()
        && select.having.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty());
    let mut made = query.clone();
    let order = keys(&mut made);
    made.order_by = None;
    let SetExpr::Select(select) = made.body.as_mut() else { return None };
    let mut exprs = select.projection.iter().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr.clone()),
        _ => None,
    });
    let value = exprs.next()?;
    let keys: Vec<OrderByExpr> = order.into_iter().zip(exprs).map(|(key, expr)| OrderByExpr { expr, ..key }).collect();
    if !is_plain || makes_rows(&value) || keys.iter().any(|key| makes_rows(&key.expr)) {
        return None;
    }
    let mut aggregate = call("array_agg", vec![value]);
    if let Expr::Function(function) = &mut aggregate
        && let FunctionArguments::List(list) = &mut function.args
        && !keys.is_empty()
    {
        list.clauses.push(FunctionArgumentClause::OrderBy(keys));
    }
    select.projection = vec![SelectItem::UnnamedExpr(aggregate)];
    Some(made)
}

/// Whether it cannot stand in an aggregate: aggregates, window functions, lists that become rows.
fn makes_rows(expr: &Expr) -> bool {
    struct Calls;
    impl Visitor for Calls {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
            let name = function.name.to_string().to_lowercase();
            let known =
                aggregates::NAMES.contains(&name.as_str()) || aggregates::OWN.iter().any(|(own, _)| *own == name);
            match known || name == "unnest" || function.over.is_some() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
    }
    Visit::visit(expr, &mut Calls).is_break()
}

/// A name that no column of a user has.
fn element() -> Ident {
    Ident::with_quote('"', "?element?")
}

fn key_name(at: usize) -> Ident {
    Ident::with_quote('"', format!("?key {at}?"))
}

/// Makes columns of what the query sorts by. What cannot be one is sorted by in the query alone.
fn keys(query: &mut Query) -> Vec<OrderByExpr> {
    let Some(OrderByKind::Expressions(exprs)) = query.order_by.as_ref().map(|order| order.kind.clone()) else {
        return Vec::new();
    };
    // These sort by their one column alone.
    let of_result =
        || exprs.iter().map(|key| OrderByExpr { expr: Expr::Identifier(element()), ..key.clone() }).collect();
    let SetExpr::Select(select) = query.body.as_mut() else { return of_result() };
    let [only] = &select.projection[..] else { return Vec::new() };
    if select.distinct.is_some() {
        return of_result();
    }
    let (first, alias) = match only {
        SelectItem::UnnamedExpr(expr) => (expr.clone(), None),
        SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), Some(alias.clone())),
        _ => return Vec::new(),
    };
    let is_first = |expr: &Expr| match expr {
        Expr::Value(value) => matches!(&value.value, Value::Number(digits, _) if digits == "1"),
        Expr::Identifier(name) => alias.as_ref().is_some_and(|alias| alias.value.eq_ignore_ascii_case(&name.value)),
        _ => false,
    };
    let mut order = Vec::new();
    for (at, key) in exprs.iter().enumerate() {
        let expr = if is_first(&key.expr) { first.clone() } else { key.expr.clone() };
        select.projection.push(SelectItem::ExprWithAlias { expr, alias: key_name(at) });
        order.push(OrderByExpr { expr: Expr::Identifier(key_name(at)), ..key.clone() });
    }
    order
}

/// The name that `(a).b` is, where `a` is a name.
pub(super) fn path(root: &Expr, chain: &[AccessExpr]) -> Option<Expr> {
    let Expr::Nested(inner) = root else { return None };
    let mut parts = match inner.as_ref() {
        Expr::Identifier(name) => vec![name.clone()],
        Expr::CompoundIdentifier(parts) => parts.clone(),
        _ => return None,
    };
    for access in chain {
        let AccessExpr::Dot(Expr::Identifier(name)) = access else { return None };
        parts.push(name.clone());
    }
    Some(Expr::CompoundIdentifier(parts))
}

fn parsed(text: &str) -> Option<Query> {
    Parser::new(&Postgres).try_with_sql(text).ok()?.parse_query().ok().map(|query| *query)
}
