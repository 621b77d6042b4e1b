//! `FROM events, unnest(tags) AS t(tag)`: a relation of `FROM` that is made of one row of those before it.
//!
//! DataFusion plans it as a join with a sub-query that names columns of the other side, and cannot run that. Where the
//! sub-query is made of the row alone its nodes are put on top of the other side, whose columns they pass on:
//!
//! ```text
//! Join(events, Sub-query(Project: tag(Unnest(Project: outer(tags)(one row)))))
//! Project: events.*, tag(Unnest(Project: tags, events.*(events)))
//! ```

use std::{ops::ControlFlow, sync::Arc};

use datafusion::{
    common::{
        Column, DFSchemaRef, Result, ScalarValue, TableReference, config::ConfigOptions, tree_node::Transformed,
        tree_node::TreeNode,
    },
    functions_nested::expr_fn::cardinality,
    logical_expr::{
        Expr, ExprSchemable, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Projection, lit, when,
    },
    optimizer::AnalyzerRule,
    sql::sqlparser::ast::{
        FunctionArg, FunctionArgExpr, TableAlias, TableAliasColumnDef, TableFactor, VisitMut, VisitorMut,
    },
};

/// The other side while nodes are put on top of it: its columns have names that nobody wrote.
const OTHER: &str = "?other?";

/// `LATERAL unnest(list)` becomes the factor that `unnest(list)` is, with the names that PostgreSQL gives.
pub(crate) fn named<V: VisitMut>(query: &mut V) {
    let _ = VisitMut::visit(query, &mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Function { name, args, alias, .. } = factor
            && name.to_string().eq_ignore_ascii_case("unnest")
        {
            let expr = |arg: &FunctionArg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
                _ => None,
            };
            if let Some(array_exprs) = args.iter().map(expr).collect() {
                *factor = TableFactor::UNNEST {
                    alias: alias.take(),
                    array_exprs,
                    with_offset: false,
                    with_offset_alias: None,
                    with_ordinality: false,
                };
            }
        }
        if let TableFactor::UNNEST { alias, array_exprs, .. } = factor
            && array_exprs.len() == 1
        {
            let name = || TableAlias { explicit: true, at: None, name: "unnest".into(), columns: Vec::new() };
            let alias = alias.get_or_insert_with(name);
            if alias.columns.is_empty() {
                alias.columns.push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
            }
        }
        ControlFlow::Continue(())
    }
}

/// Takes such joins out of a plan.
#[derive(Debug)]
pub(crate) struct ApplyLaterals;

impl AnalyzerRule for ApplyLaterals {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let changed = plan.transform_up_with_subqueries(|plan| match &plan {
            LogicalPlan::Join(join) => Ok(match apply(join)? {
                Some(applied) => Transformed::yes(applied),
                None => Transformed::no(plan),
            }),
            _ => Ok(Transformed::no(plan)),
        });
        Ok(changed?.data)
    }

    fn name(&self) -> &str {
        "apply_laterals"
    }
}

/// None where the right side is more than what one row of the left makes.
fn apply(join: &Join) -> Result<Option<LogicalPlan>> {
    let outer = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left => true,
        _ => return Ok(None),
    };
    let always = |expr: &Expr| matches!(expr, Expr::Literal(ScalarValue::Boolean(Some(true)), _));
    let condition = join.filter.as_ref().filter(|filter| !always(filter));
    let has_condition = condition.is_some() || !join.on.is_empty();
    if !is_of_a_row(&join.right, false) || (outer && (has_condition || !is_plain(&join.right))) {
        return Ok(None);
    }
    let schema = join.left.schema();
    let columns = schema.columns().into_iter().enumerate();
    let named = columns.map(|(at, column)| Expr::Column(column).alias_qualified(Some(OTHER), format!("c{at}")));
    let base = LogicalPlanBuilder::from(join.left.as_ref().clone()).project(named.collect::<Vec<_>>())?.build()?;
    let Some(made) = on_top(&join.right, &Side { base, schema, outer })? else { return Ok(None) };
    let restored = schema
        .iter()
        .enumerate()
        .map(|(at, (qualifier, field))| Expr::Column(other(at)).alias_qualified(qualifier.cloned(), field.name()));
    let own = join.right.schema().columns().into_iter().map(Expr::Column);
    let mut plan = LogicalPlanBuilder::from(made).project(restored.chain(own).collect::<Vec<_>>())?;
    for (left, right) in &join.on {
        plan = plan.filter(left.clone().eq(right.clone()))?;
    }
    if let Some(condition) = condition {
        plan = plan.filter(condition.clone())?;
    }
    plan.build().map(Some)
}

/// Whether it reads no relation, and names columns of the other side.
fn is_of_a_row(plan: &LogicalPlan, inside: bool) -> bool {
    match plan {
        LogicalPlan::EmptyRelation(node) => inside && node.produce_one_row,
        LogicalPlan::Subquery(node) => is_of_a_row(&node.subquery, true),
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::SubqueryAlias(_) => plan.inputs().into_iter().all(|input| is_of_a_row(input, inside)),
        _ => false,
    }
}

/// Whether nothing above the unnest makes a value of a NULL, or leaves out a row.
fn is_plain(plan: &LogicalPlan) -> bool {
    let is_column = |expr: &Expr| matches!(expr.clone().unalias(), Expr::Column(_));
    match plan {
        LogicalPlan::Unnest(_) => true,
        LogicalPlan::Projection(node) => node.expr.iter().all(is_column) && is_plain(&node.input),
        LogicalPlan::SubqueryAlias(node) => is_plain(&node.input),
        LogicalPlan::Subquery(node) => is_plain(&node.subquery),
        _ => false,
    }
}

struct Side<'a> {
    base: LogicalPlan,
    schema: &'a DFSchemaRef,
    /// Rows of an empty list stay.
    outer: bool,
}

fn other(at: usize) -> Column {
    Column::new(Some(OTHER), format!("c{at}"))
}

impl Side<'_> {
    fn columns(&self) -> impl Iterator<Item = Expr> {
        (0..self.schema.fields().len()).map(|at| Expr::Column(other(at)))
    }

    /// The expression with the columns of the other side as they are called here. None where one is of a query
    /// further out.
    fn named(&self, expr: &Expr) -> Result<Option<Expr>> {
        let mut found = true;
        let changed = expr.clone().transform(|expr| {
            let Expr::OuterReferenceColumn(_, column) = &expr else { return Ok(Transformed::no(expr)) };
            Ok(match self.schema.maybe_index_of_column(column) {
                Some(at) => Transformed::yes(Expr::Column(other(at))),
                None => {
                    found = false;
                    Transformed::no(expr)
                }
            })
        })?;
        Ok(Some(changed.data).filter(|_| found))
    }
}

/// The node with the columns of the other side behind its own.
fn on_top(plan: &LogicalPlan, side: &Side<'_>) -> Result<Option<LogicalPlan>> {
    Ok(Some(match plan {
        LogicalPlan::EmptyRelation(_) => side.base.clone(),
        LogicalPlan::Subquery(node) => return on_top(&node.subquery, side),
        LogicalPlan::Projection(node) => {
            let Some(input) = on_top(&node.input, side)? else { return Ok(None) };
            let mut exprs = Vec::new();
            for (expr, (qualifier, field)) in node.expr.iter().zip(node.schema.iter()) {
                let Some(expr) = side.named(&expr.clone().unalias())? else { return Ok(None) };
                exprs.push(expr.alias_qualified(qualifier.cloned(), field.name()));
            }
            exprs.extend(side.columns());
            LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?)
        }
        LogicalPlan::Filter(node) => {
            let Some(input) = on_top(&node.input, side)? else { return Ok(None) };
            let Some(predicate) = side.named(&node.predicate)? else { return Ok(None) };
            LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?)
        }
        LogicalPlan::Unnest(node) => {
            let Some(input) = on_top(&node.input, side)? else { return Ok(None) };
            let input = if side.outer { null_if_empty(input, &node.exec_columns)? } else { input };
            let options = node.options.clone().with_preserve_nulls(side.outer);
            LogicalPlanBuilder::from(input).unnest_columns_with_options(node.exec_columns.clone(), options)?.build()?
        }
        LogicalPlan::SubqueryAlias(node) => {
            let Some(input) = on_top(&node.input, side)? else { return Ok(None) };
            let own = node.input.schema().columns().into_iter().map(|column| {
                let name = column.name.clone();
                Expr::Column(column).alias_qualified(Some::<TableReference>(node.alias.clone()), name)
            });
            let exprs: Vec<Expr> = own.chain(side.columns()).collect();
            LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?)
        }
        _ => return Ok(None),
    }))
}

/// An unnest that keeps rows keeps those of NULL only.
fn null_if_empty(plan: LogicalPlan, lists: &[Column]) -> Result<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    let places = lists.iter().map(|list| schema.index_of_column(list)).collect::<Result<Vec<usize>>>()?;
    let mut exprs = Vec::new();
    for (at, column) in schema.columns().into_iter().enumerate() {
        let (qualifier, name) = (column.relation.clone(), column.name.clone());
        let list = Expr::Column(column);
        exprs.push(match places.contains(&at) {
            false => list,
            true => {
                let null = Expr::Literal(ScalarValue::try_from(&list.get_type(schema.as_ref())?)?, None);
                let list = when(cardinality(list.clone()).eq(lit(0_u64)), null).otherwise(list)?;
                list.alias_qualified(qualifier, name)
            }
        });
    }
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}
