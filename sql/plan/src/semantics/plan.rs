//! Plans whose expressions get their types, from the relations upwards.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        Column, DFSchema, DFSchemaRef, DataFusionError, Result, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    functions_aggregate::expr_fn::first_value,
    logical_expr::{
        Aggregate, Distinct, DistinctOn, Expr, Filter, Join, Limit, LogicalPlan, LogicalPlanBuilder, Projection,
        Values, Window, expr::Placeholder, expr_rewriter::NamePreserver, utils::merge_schema,
    },
};
use ebap_values::PgType;

use super::{
    Shown,
    aggregates::sorted,
    expressions::mismatch,
    guards,
    operators::{self, compared_as},
    overload::common_type,
    scope::Scope,
    set_operations::is_set_operation,
    sets,
    subqueries::{Place, outer_columns},
};
use crate::Error;

/// The plan with every choice made.
pub(super) fn resolved(plan: LogicalPlan, utc: bool, shown: Shown) -> Result<LogicalPlan> {
    Resolver { utc, shown }.plan(plan, false)
}

pub(super) struct Resolver {
    utc: bool,
    pub(super) shown: Shown,
}

pub(super) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl Resolver {
    pub(super) fn scope<'a>(&self, schema: &'a DFSchema) -> Scope<'a> {
        Scope { schema, utc: self.utc, records: self.shown == Shown::AsFound }
    }

    /// `open`: literals in the answer wait for the other sides of a `UNION`.
    pub(super) fn plan(&self, plan: LogicalPlan, open: bool) -> Result<LogicalPlan> {
        let sets = match &plan {
            LogicalPlan::Union(_) => true,
            LogicalPlan::Join(join) => is_set_operation(join),
            _ => false,
        };
        let below = sets || open && matches!(&plan, LogicalPlan::Distinct(_));
        let plan = match plan {
            LogicalPlan::Join(join) if is_lateral(&join.right) => self.lateral(join, below)?,
            other => other.map_children(|child| self.plan(child, below).map(Transformed::yes))?.data,
        };
        let mut schema = merge_schema(&plan.inputs());
        if let LogicalPlan::TableScan(scan) = &plan {
            schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
        }
        let plan = self.subqueries(plan, &schema)?;
        match plan {
            LogicalPlan::Projection(node) => self.projection(node, &schema, open),
            LogicalPlan::Filter(node) => self.filter(node, &schema),
            LogicalPlan::Aggregate(node) => self.aggregate(node, &schema),
            LogicalPlan::Window(node) => self.window(node, &schema),
            LogicalPlan::Join(node) if is_set_operation(&node) => self.set_operation(node),
            LogicalPlan::Join(node) => self.join(node, &schema),
            LogicalPlan::Union(node) => self.union(node),
            LogicalPlan::Values(node) => self.values(node),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(input),
            LogicalPlan::Distinct(Distinct::On(node)) => self.distinct_on(node, &schema),
            LogicalPlan::Limit(node) => Ok(limit(node)),
            LogicalPlan::Sort(mut node) => {
                let scope = self.scope(&schema);
                for sort in &mut node.expr {
                    sort.expr = guards::value(scope.resolved(sort.expr.clone()).map_err(external)?)?;
                }
                node.expr = sorted(&scope, node.expr).map_err(external)?;
                Ok(LogicalPlan::Sort(node))
            }
            LogicalPlan::Unnest(_) => sets::marked_elements(self.other(plan, &schema)?),
            other => self.other(other, &schema),
        }
    }

    /// A right side over columns of the left one, which have their types by then.
    fn lateral(&self, mut join: Join, open: bool) -> Result<LogicalPlan> {
        join.left = Arc::new(self.plan(Arc::unwrap_or_clone(join.left), open)?);
        let right = outer_columns(Arc::unwrap_or_clone(join.right), join.left.schema())?;
        join.right = Arc::new(self.plan(right, open)?);
        LogicalPlan::Join(join).recompute_schema()
    }

    fn other(&self, plan: LogicalPlan, schema: &DFSchema) -> Result<LogicalPlan> {
        let names = NamePreserver::new(&plan);
        let scope = self.scope(schema);
        let changed = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = scope.resolved(expr).map_err(external)?;
            Ok(Transformed::yes(name.restore(expr)))
        })?;
        changed.data.recompute_schema()
    }

    fn projection(&self, node: Projection, schema: &DFSchema, open: bool) -> Result<LogicalPlan> {
        let names = NamePreserver::new_for_projection();
        let scope = self.scope(schema);
        let mut exprs = Vec::with_capacity(node.expr.len());
        for expr in node.expr {
            let name = names.save(&expr);
            let expr = self.with_subqueries(scope.resolved(expr).map_err(external)?, &scope, Place::Value)?;
            let expr = guards::value(expr)?;
            let expr = if open { expr } else { scope.output(expr).map_err(external)? };
            exprs.push(name.restore(expr));
        }
        let (exprs, input) = merged(exprs, node.input)?;
        Projection::try_new(exprs, input).map(LogicalPlan::Projection)
    }

    fn filter(&self, node: Filter, schema: &DFSchema) -> Result<LogicalPlan> {
        let scope = self.scope(schema);
        let predicate = scope.resolved(node.predicate).map_err(external)?;
        let predicate = scope.boolean(predicate, "WHERE").map_err(external)?;
        let predicate = self.with_subqueries(predicate, &scope, Place::Conjunct)?;
        let predicate = guards::condition(predicate)?;
        // Values that are put together of aggregates are made above the condition on them.
        if let LogicalPlan::Projection(above) = node.input.as_ref()
            && matches!(above.input.as_ref(), LogicalPlan::Aggregate(_))
        {
            let predicate = inlined(predicate, above)?;
            let filter = LogicalPlan::Filter(Filter::try_new(predicate, Arc::clone(&above.input))?);
            let schema = Arc::clone(&above.schema);
            let projection = Projection::try_new_with_schema(above.expr.clone(), Arc::new(filter), schema)?;
            return Ok(LogicalPlan::Projection(projection));
        }
        Filter::try_new(predicate, node.input).map(LogicalPlan::Filter)
    }

    fn aggregate(&self, node: Aggregate, schema: &DFSchema) -> Result<LogicalPlan> {
        let scope = self.scope(schema);
        let names = NamePreserver::new_for_projection();
        let mut groups = Vec::with_capacity(node.group_expr.len());
        for expr in node.group_expr {
            // A key that is named twice is one key.
            push(&mut groups, grouped(&scope, expr, &names)?);
        }
        let (mut aggregates, mut outputs) = (Vec::new(), Vec::new());
        let shown = self.shown_groups(&scope, &groups, &mut aggregates)?;
        for expr in node.aggr_expr {
            let name = names.save(&expr);
            let expr = guards::value(scope.resolved(expr).map_err(external)?)?;
            outputs.push(match is_aggregate(&expr) {
                true => {
                    let expr = name.restore(expr);
                    let column = column_of(&expr);
                    push(&mut aggregates, expr);
                    column
                }
                false => name.restore(above(expr, &mut aggregates, is_aggregate)?),
            });
        }
        if self.shown == Shown::AsFound {
            refuse_orders(&aggregates)?;
        }
        let plain = outputs.iter().all(|expr| matches!(expr, Expr::Column(_))) && shown.is_empty();
        let aggregate = LogicalPlan::Aggregate(Aggregate::try_new(node.input, groups, aggregates)?);
        if plain {
            return Ok(aggregate);
        }
        let count = node.schema.fields().len() - outputs.len();
        let mut exprs: Vec<Expr> = aggregate.schema().iter().take(count).map(Expr::from).collect();
        for (at, column) in shown {
            let (qualifier, field) = node.schema.qualified_field(at);
            exprs[at] = column.alias_qualified(qualifier.cloned(), field.name());
        }
        exprs.extend(outputs);
        Projection::try_new(exprs, Arc::new(aggregate)).map(LogicalPlan::Projection)
    }

    /// Of each number that is grouped by, a value of its rows: equal ones may show other zeros, or be `-0`.
    fn shown_groups(
        &self,
        scope: &Scope<'_>,
        groups: &[Expr],
        aggregates: &mut Vec<Expr>,
    ) -> Result<Vec<(usize, Expr)>> {
        let mut shown = Vec::new();
        let is_set = groups.iter().any(|expr| matches!(expr, Expr::GroupingSet(_)));
        if self.shown == Shown::Canonical || is_set {
            return Ok(shown);
        }
        for (at, group) in groups.iter().enumerate() {
            let Ok(field) = scope.field(group) else { continue };
            let of = ebap_functions::pg_type(&field);
            let made_by = match field.data_type() {
                _ if of == PgType::Jsonb => "jsonb_canonical",
                DataType::LargeBinary => "trim_scale",
                DataType::Float32 | DataType::Float64 => "key",
                DataType::Interval(_) => "interval_canonical",
                _ => continue,
            };
            if let Expr::ScalarFunction(call) = group.clone().unalias()
                && let [value] = &call.args[..]
                && call.func.name() == made_by
            {
                let call = first_value(value.clone(), Vec::new()).alias(format!("group {at}"));
                shown.push((at, scope.marked(column_of(&call), Some(&of))));
                aggregates.push(call);
            }
        }
        Ok(shown)
    }

    fn window(&self, node: Window, schema: &DFSchema) -> Result<LogicalPlan> {
        let scope = self.scope(schema);
        let names = NamePreserver::new_for_projection();
        let (mut windows, mut outputs, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for expr in node.window_expr {
            let name = names.save(&expr);
            let expr = guards::value(scope.resolved(expr).map_err(external)?)?;
            let expr = if self.shown == Shown::AsFound { with_keys(expr, &mut keys)? } else { expr };
            outputs.push(match is_window(&expr) {
                true => {
                    let expr = name.restore(expr);
                    let column = column_of(&expr);
                    push(&mut windows, expr);
                    column
                }
                false => name.restore(above(expr, &mut windows, is_window)?),
            });
        }
        let plain = outputs.iter().all(|expr| matches!(expr, Expr::Column(_))) && keys.is_empty();
        let mut exprs: Vec<Expr> = node.input.schema().iter().map(Expr::from).collect();
        let input = match keys.is_empty() {
            true => node.input,
            false => {
                let columns = exprs.iter().cloned().chain(keys).collect();
                Arc::new(LogicalPlan::Projection(Projection::try_new(columns, node.input)?))
            }
        };
        let window = LogicalPlan::Window(Window::try_new(windows, input)?);
        if plain {
            return Ok(window);
        }
        exprs.extend(outputs);
        Projection::try_new(exprs, Arc::new(window)).map(LogicalPlan::Projection)
    }

    fn join(&self, mut node: Join, schema: &DFSchema) -> Result<LogicalPlan> {
        let scope = self.scope(schema);
        let mut on = Vec::with_capacity(node.on.len());
        for (left, right) in node.on {
            let (left, right) = (scope.resolved(left).map_err(external)?, scope.resolved(right).map_err(external)?);
            let of = |expr: &Expr| scope.of(expr).map_err(external);
            let operation = operators::binary("=", &of(&left)?, &of(&right)?).map_err(external)?;
            let sides = scope.comparable(vec![left, right], &compared_as(&operation)).map_err(external)?;
            let mut sides = sides.into_iter();
            on.extend(sides.next().zip(sides.next()));
        }
        node.on = on;
        if let Some(filter) = node.filter {
            let filter = scope.resolved(filter).map_err(external)?;
            let filter = scope.boolean(filter, "JOIN/ON").map_err(external)?;
            node.filter = Some(guards::condition(self.with_subqueries(filter, &scope, Place::Conjunct)?)?);
        }
        LogicalPlan::Join(node).recompute_schema()
    }

    fn values(&self, node: Values) -> Result<LogicalPlan> {
        let empty = DFSchema::empty();
        let scope = self.scope(&empty);
        let width = node.schema.fields().len();
        let mut columns: Vec<Vec<Expr>> = vec![Vec::with_capacity(node.values.len()); width];
        for row in node.values {
            for (column, expr) in columns.iter_mut().zip(row) {
                // DataFusion has given NULL a type by now, which is not that of PostgreSQL.
                let expr = match expr {
                    Expr::Literal(value, _) if value.is_null() => Expr::Literal(ScalarValue::Null, None),
                    other => other,
                };
                column.push(scope.resolved(expr).map_err(external)?);
            }
        }
        let rows = columns.first().map_or(0, Vec::len);
        let mut values: Vec<Vec<Expr>> = vec![Vec::with_capacity(width); rows];
        for column in columns {
            let types = scope.types(&column).map_err(external)?;
            let of = common_type(&types).ok_or_else(|| external(mismatch("VALUES", &types)))?;
            for (row, expr) in values.iter_mut().zip(scope.unified(column, &of).map_err(external)?) {
                row.push(expr);
            }
        }
        LogicalPlanBuilder::values(values)?.build()
    }

    /// Equal rows are those whose values are equal, so what stands for them is compared.
    pub(super) fn distinct(&self, input: Arc<LogicalPlan>) -> Result<LogicalPlan> {
        let schema: DFSchemaRef = Arc::clone(input.schema());
        let scope = self.scope(&schema);
        let mut changed = false;
        let mut exprs = Vec::with_capacity(schema.fields().len());
        if self.shown == Shown::AsFound
            && let Some(plan) = sets::distinct_as_found(&scope, &input)?
        {
            return Ok(plan);
        }
        for (qualifier, field) in schema.iter() {
            let column = Expr::from((qualifier, field));
            let key = scope.canonical(column.clone()).map_err(external)?;
            changed |= key != column;
            exprs.push(if key == column { column } else { key.alias_qualified(qualifier.cloned(), field.name()) });
        }
        let input = match changed {
            true => Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, input)?)),
            false => input,
        };
        Ok(LogicalPlan::Distinct(Distinct::All(input)))
    }

    fn distinct_on(&self, node: DistinctOn, schema: &DFSchema) -> Result<LogicalPlan> {
        let scope = self.scope(schema);
        let names = NamePreserver::new_for_projection();
        let key = |expr: Expr| scope.resolved(expr).and_then(|expr| scope.key(expr)).map_err(external);
        let on = node.on_expr.into_iter().map(key).collect::<Result<Vec<_>>>()?;
        let mut select = Vec::with_capacity(node.select_expr.len());
        for expr in node.select_expr {
            let name = names.save(&expr);
            let expr = scope.resolved(expr).and_then(|expr| scope.output(expr)).map_err(external)?;
            select.push(name.restore(expr));
        }
        let sort = match node.sort_expr {
            Some(sorts) => {
                let mut resolved = sorts;
                for sort in &mut resolved {
                    sort.expr = scope.resolved(sort.expr.clone()).map_err(external)?;
                }
                Some(sorted(&scope, resolved).map_err(external)?)
            }
            None => None,
        };
        let node = DistinctOn::try_new(on, select, sort, node.input)?;
        Ok(LogicalPlan::Distinct(Distinct::On(node)))
    }
}

fn limit(mut node: Limit) -> LogicalPlan {
    let typed = |expr: Box<Expr>| match *expr {
        Expr::Placeholder(Placeholder { id, field: None }) => {
            let field = Some(Arc::new(ebap_functions::arrow_field("", &PgType::Int8, true)));
            Box::new(Expr::Placeholder(Placeholder { id, field }))
        }
        Expr::Literal(ScalarValue::Null, metadata) => Box::new(Expr::Literal(ScalarValue::Int64(None), metadata)),
        other => Box::new(other),
    };
    node.skip = node.skip.map(typed);
    node.fetch = node.fetch.map(typed);
    LogicalPlan::Limit(node)
}

fn grouped(scope: &Scope<'_>, expr: Expr, names: &NamePreserver) -> Result<Expr> {
    if let Expr::GroupingSet(_) = &expr {
        // Each expression of the sets is a column.
        return Ok(expr.map_children(|expr| grouped(scope, expr, names).map(Transformed::yes))?.data);
    }
    let name = names.save(&expr);
    let expr = guards::value(scope.resolved(expr).map_err(external)?)?;
    let expr = scope.output(expr).and_then(|expr| scope.canonical(expr));
    Ok(name.restore(expr.map_err(external)?))
}

/// The window function with columns for what it is partitioned and ordered by. DataFusion does not know of every
/// expression that the rows are already in its order.
fn with_keys(expr: Expr, keys: &mut Vec<Expr>) -> Result<Expr> {
    let mut column = |key: Expr| {
        if matches!(key, Expr::Column(_) | Expr::Literal(..)) {
            return key;
        }
        let known = keys.iter().position(|other| other.clone().unalias() == key);
        let at = known.unwrap_or_else(|| {
            keys.push(key.clone().alias(format!("window key {}", keys.len())));
            keys.len() - 1
        });
        column_of(&keys[at])
    };
    let changed = expr.transform_down(|expr| match expr {
        Expr::WindowFunction(mut call) => {
            call.params.partition_by = call.params.partition_by.into_iter().map(&mut column).collect();
            for sort in &mut call.params.order_by {
                sort.expr = column(sort.expr.clone());
            }
            let call = Expr::WindowFunction(call);
            Ok(Transformed::new(call, true, datafusion::common::tree_node::TreeNodeRecursion::Jump))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(changed.data)
}

/// Lists of distinct values in one order and another list in another: DataFusion gives all of them the first order.
fn refuse_orders(aggregates: &[Expr]) -> Result<()> {
    let ordered = aggregates.iter().filter_map(|expr| match expr.clone().unalias() {
        Expr::AggregateFunction(call) if !call.params.order_by.is_empty() => {
            Some((call.params.distinct, call.params.order_by))
        }
        _ => None,
    });
    let ordered: Vec<_> = ordered.collect();
    let differ = ordered.iter().any(|(_, order)| *order != ordered[0].1);
    if differ && ordered.iter().any(|(distinct, _)| *distinct) {
        let what = "a list of DISTINCT values beside a list in another order";
        return Err(external(Error::unsupported(what, "Make each list in a query of its own.")));
    }
    Ok(())
}

/// Whether the plan names columns of the relations before it.
fn is_lateral(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Subquery(subquery) => !subquery.outer_ref_columns.is_empty(),
        LogicalPlan::SubqueryAlias(alias) => is_lateral(&alias.input),
        _ => false,
    }
}

fn is_aggregate(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_aggregate(&alias.expr),
        Expr::AggregateFunction(_) => true,
        _ => false,
    }
}

fn is_window(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_window(&alias.expr),
        Expr::WindowFunction(_) => true,
        _ => false,
    }
}

pub(super) fn column_of(expr: &Expr) -> Expr {
    let (relation, name) = expr.qualified_name();
    Expr::Column(Column::new(relation, name))
}

fn push(all: &mut Vec<Expr>, expr: Expr) {
    if !all.contains(&expr) {
        all.push(expr);
    }
}

/// What is computed of the calls that it holds; these are put among the others.
fn above(expr: Expr, calls: &mut Vec<Expr>, is_call: fn(&Expr) -> bool) -> Result<Expr> {
    let changed = expr.transform_down(|expr| {
        if matches!(expr, Expr::Alias(_)) || !is_call(&expr) {
            return Ok(Transformed::no(expr));
        }
        let known = calls.iter().find(|call| (*call).clone().unalias() == expr).map(column_of);
        let column = known.unwrap_or_else(|| {
            // Its own name may be that of a call with other casts.
            let name = format!("{} #{}", expr.schema_name(), calls.len());
            let call = expr.alias(name);
            let column = column_of(&call);
            calls.push(call);
            column
        });
        Ok(Transformed::new(column, true, datafusion::common::tree_node::TreeNodeRecursion::Jump))
    })?;
    Ok(changed.data)
}

/// The expressions over what a projection stands on, which put values together of aggregates.
fn merged(exprs: Vec<Expr>, input: Arc<LogicalPlan>) -> Result<(Vec<Expr>, Arc<LogicalPlan>)> {
    let LogicalPlan::Projection(below) = input.as_ref() else { return Ok((exprs, input)) };
    let of_aggregate = match below.input.as_ref() {
        LogicalPlan::Aggregate(_) => true,
        LogicalPlan::Filter(filter) => matches!(filter.input.as_ref(), LogicalPlan::Aggregate(_)),
        _ => false,
    };
    if !of_aggregate {
        return Ok((exprs, input));
    }
    let names = NamePreserver::new_for_projection();
    let one = |expr: Expr| {
        let name = names.save(&expr);
        Ok(name.restore(inlined(expr, below)?))
    };
    let exprs = exprs.into_iter().map(one).collect::<Result<Vec<_>>>()?;
    Ok((exprs, Arc::clone(&below.input)))
}

/// Columns of the projection as what they are computed of.
fn inlined(expr: Expr, below: &Projection) -> Result<Expr> {
    let changed = expr.transform_up(|expr| {
        let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
        let Some(at) = below.schema.maybe_index_of_column(column) else { return Ok(Transformed::no(expr)) };
        Ok(Transformed::yes(below.expr[at].clone().unalias()))
    })?;
    Ok(changed.data)
}
