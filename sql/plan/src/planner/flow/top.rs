//! The first rows of an order: `ORDER BY … LIMIT`, `ROW_NUMBER() … <= n`, `DISTINCT ON`.

use std::sync::Arc;

use datafusion::{
    common::{DFSchemaRef, ScalarValue},
    logical_expr::{
        BinaryExpr, DistinctOn, Expr, FetchType, Limit, LogicalPlan, Operator, SkipType, Sort, SortExpr, Window,
        WindowFunctionDefinition,
    },
};

use super::{Planner, project, refuse_volatile, refused};
use crate::{
    Error, Result,
    error::from_datafusion,
    flow::{Expiry, Flow, Node, RowOp, Time, TopN, column_of, plain},
};

impl Planner<'_> {
    pub(super) fn limit(&self, node: &Limit) -> Result<Flow> {
        let internal = |error| from_datafusion(error, "");
        let skip = node.get_skip_type().map_err(internal)?;
        let fetch = node.get_fetch_type().map_err(internal)?;
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (skip, fetch) else {
            return Err(refused("LIMIT with an expression", "Write LIMIT with a number."));
        };
        let mut at = node.input.as_ref();
        // Columns that only the order needs are taken away between the two.
        let mut above: Vec<&LogicalPlan> = Vec::new();
        while let LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) = at {
            above.push(at);
            at = at.inputs()[0];
        }
        let LogicalPlan::Sort(sort) = at else {
            return Err(refused("LIMIT without ORDER BY", "Say by ORDER BY which rows are first."));
        };
        let Some(fetch) = fetch else {
            return Err(refused("OFFSET without LIMIT", "Say by LIMIT how many rows there are."));
        };
        let mut flow = self.sorted(sort, skip, fetch)?;
        for plan in above.into_iter().rev() {
            if let LogicalPlan::Projection(node) = plan {
                node.expr.iter().try_for_each(refuse_volatile)?;
                flow = project(flow, node.expr.clone(), node.input.schema(), plain(&node.schema));
            }
        }
        Ok(flow)
    }

    fn sorted(&self, node: &Sort, skip: usize, fetch: usize) -> Result<Flow> {
        let input = self.flow(&node.input)?;
        let schema = Arc::clone(&input.schema);
        top(input, node.input.schema(), Vec::new(), node.expr.clone(), (skip, Some(fetch)), false, schema)
    }

    pub(super) fn row_number(&self, node: &Window) -> Result<Flow> {
        let [expr] = node.window_expr.as_slice() else {
            return Err(refused("more than one window function", "Use one ROW_NUMBER() per SELECT."));
        };
        let Expr::WindowFunction(call) = expr.clone().unalias() else {
            return Err(refused("this window function", "Use ROW_NUMBER() OVER (PARTITION BY ... ORDER BY ...)."));
        };
        let name = match &call.fun {
            WindowFunctionDefinition::WindowUDF(function) => function.name().to_owned(),
            WindowFunctionDefinition::AggregateUDF(function) => function.name().to_owned(),
        };
        if name != "row_number" {
            return Err(refused(
                &format!("{name}() OVER"),
                "Use ROW_NUMBER() OVER (PARTITION BY ... ORDER BY ...) <= n, or GROUP BY with a window.",
            ));
        }
        if call.params.order_by.is_empty() {
            return Err(refused("ROW_NUMBER() without ORDER BY", "Say in OVER by what the rows are ordered."));
        }
        let input = self.flow(&node.input)?;
        let (partition, order) = (call.params.partition_by.clone(), call.params.order_by.clone());
        top(input, node.input.schema(), partition, order, (0, None), true, plain(&node.schema))
    }

    pub(super) fn distinct_on(&self, node: &DistinctOn) -> Result<Flow> {
        let input = self.flow(&node.input)?;
        let Some(order) = &node.sort_expr else {
            return Err(refused("DISTINCT ON without ORDER BY", "Say by ORDER BY which row of each is kept."));
        };
        let (schema, input_schema) = (Arc::clone(&input.schema), node.input.schema());
        let flow = top(input, input_schema, node.on_expr.clone(), order.clone(), (0, Some(1)), false, schema)?;
        node.select_expr.iter().try_for_each(refuse_volatile)?;
        Ok(project(flow, node.select_expr.clone(), input_schema, plain(&node.schema)))
    }
}

fn top(
    input: Flow,
    input_schema: &DFSchemaRef,
    partition: Vec<Expr>,
    order: Vec<SortExpr>,
    (skip, fetch): (usize, Option<usize>),
    numbered: bool,
    schema: arrow::datatypes::SchemaRef,
) -> Result<Flow> {
    partition.iter().chain(order.iter().map(|order| &order.expr)).try_for_each(refuse_volatile)?;
    let times = input.times();
    let of_window = |expr: &Expr| {
        let column = column_of(expr, input_schema)?;
        match times[column] {
            Time::Window(slack_us) => Some(Expiry { column, slack_us }),
            _ => None,
        }
    };
    let expiry = partition.iter().filter_map(of_window).min_by_key(|expiry| expiry.slack_us);
    let input_schema = Arc::clone(input_schema);
    let node = TopN { input, input_schema, partition, order, skip, fetch, numbered, expiry };
    Ok(Flow { node: Node::TopN(Box::new(node)), schema })
}

/// A condition such as `n <= 3` on the number of `ROW_NUMBER()` below bounds how many rows are kept.
pub(super) fn limit_numbers(flow: &mut Flow, condition: &Expr, schema: &DFSchemaRef) {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return };
    let (column, op, number) = match (column_of(uncast(left), schema), literal(right)) {
        (Some(column), Some(number)) => (column, *op, number),
        _ => match (column_of(uncast(right), schema), literal(left), op.swap()) {
            (Some(column), Some(number), Some(op)) => (column, op, number),
            _ => return,
        },
    };
    let most = match op {
        Operator::LtEq | Operator::Eq => number,
        Operator::Lt => number.saturating_sub(1),
        _ => return,
    };
    if let Some(node) = numbers(flow, column) {
        node.fetch = Some(node.fetch.map_or(most, |fetch| fetch.min(most)));
    }
}

/// The node that numbers rows, where this column is the number.
fn numbers(flow: &mut Flow, column: usize) -> Option<&mut TopN> {
    match &mut flow.node {
        Node::Rows { input, ops } => {
            let mut column = column;
            for op in ops.iter().rev() {
                if let RowOp::Project { exprs, input, .. } = op {
                    column = column_of(exprs.get(column)?, input)?;
                }
            }
            numbers(input, column)
        }
        Node::TopN(node) if node.numbered && column == node.input.schema.fields().len() => Some(node),
        _ => None,
    }
}

/// Numbers of other types are compared as decimals.
fn uncast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) => uncast(&cast.expr),
        other => other,
    }
}

fn literal(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Cast(cast) => literal(&cast.expr),
        Expr::Literal(value, _) => match value {
            ScalarValue::UInt64(Some(number)) => usize::try_from(*number).ok(),
            ScalarValue::Int64(Some(number)) => usize::try_from(*number).ok(),
            ScalarValue::Int32(Some(number)) => usize::try_from(*number).ok(),
            _ => None,
        },
        _ => None,
    }
}

/// Numbers of all rows change with every row that comes first.
pub(super) fn refuse_unbounded(flow: &Flow) -> Result<()> {
    let mut found = false;
    flow.each(&mut |flow| found |= matches!(&flow.node, Node::TopN(node) if node.fetch.is_none()));
    match found {
        true => Err(Error::unsupported(
            "ROW_NUMBER() without a bound in a materialized view",
            "Filter by it in an outer SELECT: WHERE n <= 10.",
        )),
        false => Ok(()),
    }
}
