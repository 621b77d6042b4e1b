//! Gives names and numbers in `ORDER BY` PostgreSQL's meaning.
//!
//! | written | means |
//! |---|---|
//! | `ORDER BY x` | the output column of this name, or else a column of the input |
//! | `ORDER BY x + 0` | a column of the input, also where an output column has the name: refused there |
//! | `ORDER BY 2` | the second output column, named or not |
//! | `ORDER BY x` behind `UNION` | the output column of this name alone |
//!
//! DataFusion looks for output columns in expressions first, and does not find one that is computed of aggregates and
//! has no name.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Ident, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr, Value, Visit, Visitor,
};

use crate::{
    Error, Result,
    column_names::{name_columns, names_of},
    planner::folded,
};

/// # Errors
/// 0A000 for an expression over a name that is an output column's: DataFusion would take that one.
pub(super) fn rewrite(query: &mut Query) -> Result<()> {
    let Query { body, order_by: Some(OrderBy { kind: OrderByKind::Expressions(order), .. }), .. } = query else {
        return Ok(());
    };
    if matches!(body.as_ref(), SetExpr::SetOperation { .. }) {
        name_columns(body);
        let names = names_of(body);
        return names.map_or(Ok(()), |names| order.iter().try_for_each(|by| of_output(&by.expr, &names)));
    }
    let SetExpr::Select(select) = body.as_mut() else { return Ok(()) };
    if matches!(select.distinct, Some(Distinct::On(_))) {
        // There DataFusion looks for columns of the input alone.
        return Ok(());
    }
    for by in order {
        match &mut by.expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {}
            Expr::Value(value) => {
                if let Value::Number(place, _) = &value.value
                    && let Some(place) = place.parse::<usize>().ok().and_then(|place| place.checked_sub(1))
                {
                    name_column(select, place);
                }
            }
            expr => {
                let is_same = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(own) if own == expr);
                if let (Some(_), Some(place)) = (&select.distinct, select.projection.iter().position(is_same))
                    && let Some(alias) = name_column(select, place)
                {
                    *expr = Expr::Identifier(alias);
                } else {
                    of_input(expr, select)?;
                }
            }
        }
    }
    Ok(())
}

/// Behind `UNION` DataFusion looks for a column of an input too, and adds it to that input alone.
///
/// # Errors
/// 42703 for a name that is no output column's, 0A000 for an expression over one.
fn of_output(expr: &Expr, names: &[String]) -> Result<()> {
    if let Expr::Identifier(name) = expr {
        return match names.contains(&folded(name)) {
            true => Ok(()),
            false => Err(Error::new("42703", format!("column \"{}\" does not exist", folded(name)))),
        };
    }
    let mut visitor = Unknown { names, depth: 0 };
    match Visit::visit(expr, &mut visitor) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::new("0A000", "invalid UNION/INTERSECT/EXCEPT ORDER BY clause")
            .detail("Only result column names can be used, not expressions or functions.")
            .hint("Name it in each SELECT, or move the UNION into a FROM clause.")),
    }
}

/// Finds a name that is none of these.
struct Unknown<'a> {
    names: &'a [String],
    /// Counts the sub-queries around the current expression.
    depth: usize,
}

impl Visitor for Unknown<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) if self.depth == 0 && !self.names.contains(&folded(name)) => ControlFlow::Break(()),
            Expr::CompoundIdentifier(_) if self.depth == 0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Gives the column at this place a name, where it is an expression without one.
fn name_column(select: &mut Select, place: usize) -> Option<Ident> {
    let is_wildcard = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    if select.projection.iter().take(place + 1).any(is_wildcard) {
        return None;
    }
    let item = select.projection.get_mut(place)?;
    match item {
        SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => None,
        SelectItem::UnnamedExpr(expr) => {
            let alias = Ident::with_quote('"', format!("column {}", place + 1));
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: alias.clone() };
            Some(alias)
        }
        _ => None,
    }
}

/// An expression that is an output column stands for it; else its names are those of the input.
fn of_input(expr: &mut Expr, select: &Select) -> Result<()> {
    let is_same = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { expr: own, alias } if own == expr => Some(alias.clone()),
        _ => None,
    };
    if let Some(alias) = select.projection.iter().find_map(is_same) {
        *expr = Expr::Identifier(alias);
        return Ok(());
    }
    let named = select.projection.iter().filter_map(|item| match item {
        SelectItem::ExprWithAlias { expr: Expr::Identifier(own), alias } if folded(own) == folded(alias) => None,
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        _ => None,
    });
    let mut visitor = OfInput { named: named.collect(), depth: 0 };
    match Visit::visit(expr, &mut visitor) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct OfInput {
    named: Vec<String>,
    /// Counts the sub-queries around the current expression.
    depth: usize,
}

impl Visitor for OfInput {
    type Break = Error;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Error> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        let Expr::Identifier(name) = expr else { return ControlFlow::Continue(()) };
        if self.depth > 0 || !self.named.contains(&folded(name)) {
            return ControlFlow::Continue(());
        }
        let what = format!("an expression of ORDER BY over the output column \"{}\"", folded(name));
        ControlFlow::Break(Error::unsupported(what, "Name the output column otherwise, or order by it alone."))
    }
}
