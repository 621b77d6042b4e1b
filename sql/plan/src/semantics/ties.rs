//! `FETCH FIRST n ROWS WITH TIES`: the rows whose rank is n at the most.

use datafusion::sql::sqlparser::{
    ast::{
        ExcludeSelectItem, Expr, Ident, ObjectName, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr,
        TableFactor, Value, WindowType,
    },
    parser::Parser,
};

use crate::{Error, Result, parser::Postgres};

/// A name that no column of a user has.
const RANK: &str = "?rank?";

/// # Errors
/// 42601 without `ORDER BY`, as in PostgreSQL; 0A000 with `OFFSET`, `DISTINCT`, `UNION` and their like.
pub(super) fn rewrite(query: &mut Query) -> Result<()> {
    let unsupported = || {
        let hint = "Use rank() OVER (ORDER BY …) in a sub-query.";
        Error::unsupported("this form of FETCH FIRST … WITH TIES", hint)
    };
    let fetch = query.fetch.take().ok_or_else(unsupported)?;
    let Some(OrderByKind::Expressions(keys)) = query.order_by.take().map(|order| order.kind) else {
        return Err(Error::syntax("WITH TIES cannot be specified without ORDER BY clause"));
    };
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(unsupported()) };
    if select.distinct.is_some() || query.limit_clause.is_some() {
        return Err(unsupported());
    }
    let keys: Vec<OrderByExpr> = keys.into_iter().map(|key| of_input(key, select)).collect();
    // The number of a column that `*` stands for.
    if keys.iter().any(|key| matches!(&key.expr, Expr::Value(value) if matches!(value.value, Value::Number(..)))) {
        return Err(unsupported());
    }
    let one = || Expr::Value(Value::Number("1".to_owned(), false).into());
    let around = around(select, keys, fetch.quantity.unwrap_or_else(one)).ok_or_else(unsupported)?;
    query.order_by = around.order_by;
    *query.body = *around.body;
    Ok(())
}

/// A key that names a column of the result, by its number or by its name, as what that column is.
fn of_input(key: OrderByExpr, select: &Select) -> OrderByExpr {
    let item = match &key.expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse::<usize>().ok().and_then(|at| select.projection.get(at.checked_sub(1)?)),
            _ => None,
        },
        Expr::Identifier(name) => select.projection.iter().find(|item| {
            matches!(item, SelectItem::ExprWithAlias { alias, .. } if alias.value.eq_ignore_ascii_case(&name.value))
        }),
        _ => None,
    };
    match item {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => {
            OrderByExpr { expr: expr.clone(), ..key }
        }
        _ => key,
    }
}

fn around(select: &mut Select, keys: Vec<OrderByExpr>, wanted: Expr) -> Option<Query> {
    let text = format!(
        "SELECT * FROM (SELECT rank() OVER (ORDER BY 1) AS \"{RANK}\") AS \"?ties?\" WHERE \"{RANK}\" <= 1 ORDER BY \"{RANK}\""
    );
    let mut query = *Parser::new(&Postgres).try_with_sql(&text).ok()?.parse_query().ok()?;
    let SetExpr::Select(outer) = query.body.as_mut() else { return None };
    if let Some(SelectItem::Wildcard(options)) = outer.projection.first_mut() {
        let rank = ObjectName::from(vec![Ident::with_quote('"', RANK)]);
        options.opt_exclude = Some(ExcludeSelectItem::Single(rank));
    }
    if let Some(Expr::BinaryOp { right, .. }) = &mut outer.selection {
        **right = wanted;
    }
    let TableFactor::Derived { subquery, .. } = &mut outer.from.first_mut()?.relation else { return None };
    let SetExpr::Select(inner) = subquery.body.as_mut() else { return None };
    let mut rank = inner.projection.pop()?;
    if let SelectItem::ExprWithAlias { expr: Expr::Function(function), .. } = &mut rank
        && let Some(WindowType::WindowSpec(window)) = &mut function.over
    {
        window.order_by = keys;
    }
    select.projection.push(rank);
    std::mem::swap(inner.as_mut(), select);
    Some(query)
}
