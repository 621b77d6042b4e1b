//! Sub-queries in expressions: their types, and those forms that DataFusion would answer otherwise.
//!
//! DataFusion makes joins of sub-queries in `WHERE`. Elsewhere, and where NULL matters, `EXISTS` and `IN` become
//! counts of rows, which it knows as scalar sub-queries.

use std::sync::Arc;

use datafusion::{
    common::{
        DFSchema, Result, ScalarValue,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    functions_aggregate::{count::count_all, expr_fn::count},
    logical_expr::{
        BinaryExpr, Case, Expr, LogicalPlan, LogicalPlanBuilder, Operator, Subquery,
        expr::{Exists, InSubquery},
    },
};
use ebap_functions::single_value;
use ebap_values::PgType;

use super::{
    Shown,
    expressions::pair,
    operators::{self, compared_as},
    plan::{Resolver, external},
    scope::Scope,
};
use crate::Error;

/// What an expression with a sub-query is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A condition that all rows must meet.
    Conjunct,
    /// A part of an `OR` of a condition, where NULL is as good as false.
    Condition,
    /// Anything else.
    Value,
}

impl Resolver {
    /// The plans of the sub-queries of a node, whose columns they may name.
    pub(super) fn subqueries(&self, plan: LogicalPlan, schema: &DFSchema) -> Result<LogicalPlan> {
        let changed = plan.map_subqueries(|subquery| {
            let LogicalPlan::Subquery(Subquery { subquery, outer_ref_columns, spans }) = subquery else {
                return Ok(Transformed::no(subquery));
            };
            let inner = outer_columns(Arc::unwrap_or_clone(subquery), schema)?;
            let outer_ref_columns = outer_ref_columns.into_iter().map(|expr| outer_column(expr, schema)).collect();
            let subquery = Arc::new(self.plan(inner, false)?);
            Ok(Transformed::yes(LogicalPlan::Subquery(Subquery { subquery, outer_ref_columns, spans })))
        })?;
        Ok(changed.data)
    }

    /// The expression with its sub-queries in forms that DataFusion answers as PostgreSQL does.
    pub(super) fn with_subqueries(&self, expr: Expr, scope: &Scope<'_>, place: Place) -> Result<Expr> {
        match (place, expr) {
            (Place::Conjunct, Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right })) => Ok(pair(
                self.with_subqueries(*left, scope, place)?,
                Operator::And,
                self.with_subqueries(*right, scope, place)?,
            )),
            (
                Place::Conjunct | Place::Condition,
                Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }),
            ) => Ok(pair(
                self.with_subqueries(*left, scope, Place::Condition)?,
                op,
                self.with_subqueries(*right, scope, Place::Condition)?,
            )),
            (Place::Conjunct, Expr::Not(inner)) => match *inner {
                Expr::InSubquery(mut call) => {
                    call.negated = !call.negated;
                    self.with_subqueries(Expr::InSubquery(call), scope, place)
                }
                Expr::Exists(mut call) => {
                    call.negated = !call.negated;
                    exists(call)
                }
                other => self.counted(Expr::Not(Box::new(other)), scope),
            },
            (Place::Conjunct | Place::Condition, Expr::Exists(call)) => exists(call),
            (Place::Conjunct, Expr::InSubquery(call)) if !call.negated || self.is_joined(&call) => {
                self.compared_in(call, scope).map(joined_in)
            }
            (Place::Condition, Expr::InSubquery(call)) if !call.negated => self.compared_in(call, scope).map(joined_in),
            (_, expr) => self.counted(expr, scope),
        }
    }

    /// True for a `NOT IN` that DataFusion's join answers: it looks at NULL in all rows of the sub-query, whatever they
    /// have to do with the row, and not at all where nothing of the row is compared. Views have joins of their own.
    fn is_joined(&self, call: &InSubquery) -> bool {
        let compares = call.expr.any_column_refs();
        compares && (self.shown == Shown::Canonical || call.subquery.outer_ref_columns.is_empty())
    }

    /// `EXISTS` and `IN` as counts, and no sub-query with more than one row as a value.
    fn counted(&self, expr: Expr, scope: &Scope<'_>) -> Result<Expr> {
        let changed = expr.transform_up(|expr| {
            Ok(match expr {
                Expr::Exists(Exists { subquery, negated }) if has_one_row(&subquery.subquery) => {
                    Transformed::yes(boolean(Some(!negated)))
                }
                Expr::Exists(Exists { subquery, negated }) => {
                    let found = has_rows(with_plan(&subquery, number_of(&subquery.subquery, count_all())?));
                    Transformed::yes(if negated { Expr::Not(Box::new(found)) } else { found })
                }
                Expr::InSubquery(call) if has_one_row(&call.subquery.subquery) => {
                    Transformed::yes(joined_in(self.compared_in(call, scope)?))
                }
                Expr::InSubquery(call) => {
                    let negated = call.negated;
                    let found = counted_in(self.compared_in(call, scope)?, scope.schema)?;
                    Transformed::yes(if negated { Expr::Not(Box::new(found)) } else { found })
                }
                Expr::ScalarSubquery(subquery) => Transformed::yes(Expr::ScalarSubquery(single(subquery)?)),
                other => Transformed::no(other),
            })
        })?;
        Ok(changed.data)
    }

    /// `x IN (SELECT y …)`: both as values of one type.
    fn compared_in(&self, call: InSubquery, scope: &Scope<'_>) -> Result<InSubquery> {
        let InSubquery { expr, mut subquery, negated } = call;
        let expr = self.counted(*expr, scope)?;
        let inner = Arc::clone(&subquery.subquery);
        let column = Expr::from(inner.schema().qualified_field(0));
        let inner_scope = self.scope(inner.schema());
        let types = [scope.of(&expr).map_err(external)?, inner_scope.of(&column).map_err(external)?];
        let operation = operators::binary("=", &types[0], &types[1]).map_err(external)?;
        let of = compared_as(&operation);
        // Each side has a schema of its own, in which columns may have the same names.
        let side = |scope: &Scope<'_>, expr: Expr| {
            let expr = scope.to(expr, &of)?;
            let expr = if of == PgType::Numeric { scope.dynamic(expr)? } else { expr };
            scope.key(expr)
        };
        let left = side(scope, expr).map_err(external)?;
        let right = side(&inner_scope, column.clone()).map_err(external)?;
        if right != column {
            let name = inner.schema().field(0).name().clone();
            subquery.subquery = Arc::new(LogicalPlanBuilder::from(inner).project(vec![right.alias(name)])?.build()?);
        }
        Ok(InSubquery { expr: Box::new(left), subquery, negated })
    }
}

/// `EXISTS` as a condition, of which DataFusion makes a join: that has no row where an aggregate of no rows has one.
fn exists(call: Exists) -> Result<Expr> {
    let plan = &call.subquery.subquery;
    if has_one_row(plan) {
        return Ok(boolean(Some(!call.negated)));
    }
    let correlated = !call.subquery.outer_ref_columns.is_empty();
    if correlated && counts_rows(plan) {
        let what = "EXISTS of HAVING, OFFSET or LIMIT 0 over columns of the query around it";
        return Err(external(Error::unsupported(what, "Compare a count of the rows.")));
    }
    Ok(Expr::Exists(call))
}

/// Whether rows of the plan come or go by how many there are.
fn counts_rows(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(node) => node.group_expr.is_empty(),
        LogicalPlan::Limit(node) => {
            let is_zero = |number: &Expr| matches!(number, Expr::Literal(ScalarValue::Int64(Some(0)), _));
            node.skip.as_deref().is_some_and(|skip| !is_zero(skip)) || node.fetch.as_deref().is_some_and(is_zero)
        }
        LogicalPlan::Projection(node) => counts_rows(&node.input),
        LogicalPlan::Filter(node) => counts_rows(&node.input),
        LogicalPlan::Sort(node) => counts_rows(&node.input),
        LogicalPlan::SubqueryAlias(node) => counts_rows(&node.input),
        LogicalPlan::Distinct(node) => counts_rows(node.input()),
        _ => false,
    }
}

/// `IN` as a condition. What has one row, whatever it is made of, is compared.
fn joined_in(call: InSubquery) -> Expr {
    if !has_one_row(&call.subquery.subquery) {
        return Expr::InSubquery(call);
    }
    let op = if call.negated { Operator::NotEq } else { Operator::Eq };
    pair(*call.expr, op, Expr::ScalarSubquery(call.subquery))
}

/// `x IN (SELECT y …)` as a value, which is NULL where a NULL may be the one that is looked for.
fn counted_in(call: InSubquery, schema: &DFSchema) -> Result<Expr> {
    const FOUND: &str = "value of the sub-query";
    let InSubquery { expr, subquery, negated: _ } = call;
    let of_subquery = |expr: &Expr| Ok(matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_)));
    if expr.exists(of_subquery)? || expr.is_volatile() {
        let error = Error::unsupported("IN of a sub-query or of a value that changes with each call", "Use a join.");
        return Err(external(error));
    }
    refuse_large(&subquery.subquery)?;
    let column = Expr::from(subquery.subquery.schema().qualified_field(0)).alias(FOUND);
    let values = LogicalPlanBuilder::from(Arc::clone(&subquery.subquery)).project(vec![column])?.build()?;
    let values = Arc::new(values);
    let found = Expr::from(values.schema().qualified_field(0));
    let (outer, columns) = as_outer(expr.as_ref().clone(), &subquery, schema)?;
    let same = LogicalPlanBuilder::from(Arc::clone(&values)).filter(pair(found.clone(), Operator::Eq, outer))?;
    let matches = Subquery {
        subquery: Arc::new(same.aggregate(Vec::<Expr>::new(), vec![count_all()])?.build()?),
        outer_ref_columns: columns,
        spans: subquery.spans.clone(),
    };
    let rows = with_plan(&subquery, number_of(&values, count_all())?);
    let known = with_plan(&subquery, number_of(&values, count(found))?);
    let unknown = pair(Expr::IsNull(expr), Operator::Or, pair(known, Operator::NotEq, rows.clone()));
    let none = pair(rows, Operator::Eq, number(0));
    let branches = [(has_rows(Expr::ScalarSubquery(matches)), Some(true)), (none, Some(false)), (unknown, None)];
    let branches = branches.map(|(when, then)| (Box::new(when), Box::new(boolean(then))));
    Ok(Expr::Case(Case {
        expr: None,
        when_then_expr: branches.into(),
        else_expr: Some(Box::new(boolean(Some(false)))),
    }))
}

/// The plan is needed three times, and so is each that is needed three times in it.
fn refuse_large(plan: &LogicalPlan) -> Result<()> {
    const NODES_MAX: usize = 200;
    let mut nodes = 0;
    plan.apply_with_subqueries(|_| {
        nodes += 1;
        Ok(if nodes > NODES_MAX { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    match nodes > NODES_MAX {
        true => Err(external(
            Error::new("54001", "the statement is nested too deeply").hint("Write IN (SELECT ...) as a join."),
        )),
        false => Ok(()),
    }
}

/// The expression as the sub-query sees it, and the columns that it names of the query around.
fn as_outer(expr: Expr, subquery: &Subquery, schema: &DFSchema) -> Result<(Expr, Vec<Expr>)> {
    let mut columns = subquery.outer_ref_columns.clone();
    let outer = expr.transform_up(|expr| match expr {
        Expr::Column(column) => {
            let field = Arc::clone(schema.qualified_field_from_column(&column)?.1);
            let outer = Expr::OuterReferenceColumn(field, column);
            if !columns.contains(&outer) {
                columns.push(outer.clone());
            }
            Ok(Transformed::yes(outer))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok((outer.data, columns))
}

fn number_of(plan: &Arc<LogicalPlan>, of: Expr) -> Result<LogicalPlan> {
    LogicalPlanBuilder::from(Arc::clone(plan)).aggregate(Vec::<Expr>::new(), vec![of])?.build()
}

fn with_plan(subquery: &Subquery, plan: LogicalPlan) -> Expr {
    Expr::ScalarSubquery(subquery.with_plan(Arc::new(plan)))
}

fn has_rows(count: Expr) -> Expr {
    pair(count, Operator::Gt, number(0))
}

fn number(value: i64) -> Expr {
    Expr::Literal(ScalarValue::Int64(Some(value)), None)
}

fn boolean(value: Option<bool>) -> Expr {
    Expr::Literal(ScalarValue::Boolean(value), None)
}

/// A sub-query as a value: DataFusion would give a row for each of its rows.
fn single(subquery: Subquery) -> Result<Subquery> {
    if has_one_row(&subquery.subquery) {
        return Ok(subquery);
    }
    let column = Expr::from(subquery.subquery.schema().qualified_field(0));
    let plan = number_of(&subquery.subquery, single_value().call(vec![column]))?;
    Ok(subquery.with_plan(Arc::new(plan)))
}

/// Whether the plan has one row, never more or less, by its form. Of one that may have none the value may be NULL, which
/// DataFusion does not see.
fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(node) => has_one_row(&node.input),
        LogicalPlan::Sort(node) => node.fetch.is_none() && has_one_row(&node.input),
        LogicalPlan::SubqueryAlias(node) => has_one_row(&node.input),
        LogicalPlan::Aggregate(node) => node.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(node) => node.produce_one_row,
        LogicalPlan::Values(node) => node.values.len() == 1,
        _ => false,
    }
}

/// Columns of the query around, with the types that they have there by now.
pub(super) fn outer_columns(plan: LogicalPlan, schema: &DFSchema) -> Result<LogicalPlan> {
    let changed = plan.transform_down_with_subqueries(|plan| {
        plan.map_expressions(|expr| expr.transform_up(|expr| Ok(Transformed::yes(outer_column(expr, schema)))))
    })?;
    Ok(changed.data)
}

fn outer_column(expr: Expr, schema: &DFSchema) -> Expr {
    let Expr::OuterReferenceColumn(field, column) = expr else { return expr };
    let found = schema.maybe_index_of_column(&column).map(|at| Arc::clone(schema.qualified_field(at).1));
    Expr::OuterReferenceColumn(found.unwrap_or(field), column)
}
