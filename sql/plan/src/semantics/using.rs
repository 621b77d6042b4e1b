//! `RIGHT JOIN … USING (x)` and `FULL JOIN … USING (x)`: `x` is the value of the side that has one.
//!
//! DataFusion takes the left side's, which is NULL where only the right side has a row. So the join becomes one with
//! `ON`, and each `x` without a relation's name the merged value.

use std::{collections::HashMap, ops::ControlFlow};

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, OrderBy, OrderByKind, Query, Select,
    SelectItem, SetExpr, TableFactor, TableWithJoins, VisitMut, VisitorMut,
};

use crate::{Error, Result, parser::call, planner::folded};

/// Rewrites the joins of a query's own select lists.
///
/// # Errors
/// 0A000 where it is not known which columns there are, as with `*` and `NATURAL`.
pub(super) fn rewrite(query: &mut Query) -> Result<()> {
    let Query { body, order_by, .. } = query;
    match body.as_mut() {
        SetExpr::Select(select) => of_select(select, order_by.as_mut()),
        SetExpr::SetOperation { left, right, .. } => [left, right].into_iter().try_for_each(|side| of_side(side)),
        _ => Ok(()),
    }
}

fn of_side(side: &mut SetExpr) -> Result<()> {
    match side {
        SetExpr::Select(select) => of_select(select, None),
        SetExpr::SetOperation { left, right, .. } => [left, right].into_iter().try_for_each(|side| of_side(side)),
        _ => Ok(()),
    }
}

/// The kinds of joins whose columns are not simply those of the left side.
fn merges(join: &Join) -> bool {
    let constraint = match &join.join_operator {
        JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => constraint,
        _ => return false,
    };
    matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural)
}

/// Whether brackets in `FROM` hold such a join.
fn merges_within(from: &TableWithJoins) -> bool {
    let factors = std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation));
    factors.into_iter().any(|factor| match factor {
        TableFactor::NestedJoin { table_with_joins, .. } => {
            table_with_joins.joins.iter().any(merges) || merges_within(table_with_joins)
        }
        _ => false,
    })
}

fn of_select(select: &mut Select, order_by: Option<&mut OrderBy>) -> Result<()> {
    let refused = |what: &str| Error::unsupported(what, "Use ON, and coalesce(a.x, b.x) for the merged column.");
    if select.from.iter().any(merges_within) {
        return Err(refused("RIGHT or FULL JOIN with USING in brackets"));
    }
    if !select.from.iter().flat_map(|from| &from.joins).any(merges) {
        return Ok(());
    }
    if select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_))) {
        return Err(refused("* over RIGHT or FULL JOIN with USING"));
    }
    let mut merged = Merged::default();
    for TableWithJoins { relation, joins } in &mut select.from {
        let mut left = name_of(relation);
        for join in joins {
            let right = name_of(&join.relation);
            let (kind, constraint) = match &mut join.join_operator {
                JoinOperator::Join(on) | JoinOperator::Inner(on) => (Side::Left, on),
                JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => (Side::Left, on),
                JoinOperator::Right(on) | JoinOperator::RightOuter(on) => (Side::Right, on),
                JoinOperator::FullOuter(on) => (Side::Both, on),
                _ => {
                    left = None;
                    continue;
                }
            };
            match constraint {
                JoinConstraint::Natural => return Err(refused("NATURAL beside RIGHT or FULL JOIN with USING")),
                JoinConstraint::On(on) => {
                    let _ = VisitMut::visit(on, &mut merged);
                }
                JoinConstraint::None => {}
                JoinConstraint::Using(columns) => {
                    let mut conditions = Vec::with_capacity(columns.len());
                    for column in columns.iter() {
                        let ident = column.0.last().and_then(|part| part.as_ident());
                        let (Some(ident), Some(right)) = (ident, &right) else {
                            return Err(refused("USING over a relation without a name"));
                        };
                        let own = left.as_ref().map(|left| of_relation(left, ident));
                        let known = merged.columns.get(&folded(ident)).cloned().or(own);
                        let known = known.ok_or_else(|| refused("USING with a column of several relations"))?;
                        let other = of_relation(right, ident);
                        conditions.push((known.clone(), other.clone()));
                        let value = match kind {
                            Side::Left => known,
                            Side::Right => other,
                            Side::Both => call("coalesce", vec![known, other]),
                        };
                        merged.columns.insert(folded(ident), value);
                    }
                    let all = conditions.into_iter().map(|(left, right)| both(left, BinaryOperator::Eq, right));
                    let all = all.reduce(|all, next| both(all, BinaryOperator::And, next));
                    *constraint = all.map_or(JoinConstraint::None, JoinConstraint::On);
                }
            }
            left = None;
        }
    }
    let names = output_names(select);
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(Expr::Identifier(ident)) = item
            && let Some(expr) = merged.columns.get(&folded(ident))
        {
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: ident.clone() };
            continue;
        }
        let _ = VisitMut::visit(item, &mut merged);
    }
    let _ = VisitMut::visit(&mut select.selection, &mut merged);
    let _ = VisitMut::visit(&mut select.group_by, &mut merged);
    let _ = VisitMut::visit(&mut select.having, &mut merged);
    let _ = VisitMut::visit(&mut select.named_window, &mut merged);
    let _ = VisitMut::visit(&mut select.distinct, &mut merged);
    if let Some(OrderBy { kind: OrderByKind::Expressions(order), .. }) = order_by {
        for by in order {
            // A name alone is that of an output column, where there is one.
            let is_output = matches!(&by.expr, Expr::Identifier(ident) if names.contains(&folded(ident)));
            if !is_output {
                let _ = VisitMut::visit(&mut by.expr, &mut merged);
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
    Both,
}

/// The names that `ORDER BY` may mean.
fn output_names(select: &Select) -> Vec<String> {
    let name = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        SelectItem::UnnamedExpr(Expr::Identifier(ident)) => Some(folded(ident)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(folded),
        _ => None,
    };
    select.projection.iter().filter_map(name).collect()
}

fn both(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn of_relation(relation: &Ident, column: &Ident) -> Expr {
    Expr::CompoundIdentifier(vec![relation.clone(), column.clone()])
}

/// The name that qualifies its columns.
fn name_of(relation: &TableFactor) -> Option<Ident> {
    let last = |name: &ObjectName| name.0.last().and_then(|part| part.as_ident()).cloned();
    match relation {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(alias.name.clone())
        }
        TableFactor::Table { name, alias: None, .. } => last(name),
        _ => None,
    }
}

/// Puts the merged values in the place of their names; not in queries within.
#[derive(Default)]
struct Merged {
    columns: HashMap<String, Expr>,
    depth: usize,
}

impl VisitorMut for Merged {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = &*expr
            && self.depth == 0
            && let Some(value) = self.columns.get(&folded(ident))
        {
            *expr = value.clone();
        }
        ControlFlow::Continue(())
    }
}
