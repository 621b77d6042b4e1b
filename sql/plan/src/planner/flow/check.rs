//! Whether what was planned can run: an expression that DataFusion can plan and not evaluate is refused at `CREATE`,
//! and not found by the job.

use arrow::datatypes::SchemaRef;
use datafusion::{
    common::DFSchema,
    error::DataFusionError,
    execution::context::ExecutionProps,
    logical_expr::{Expr, LogicalPlan},
    physical_expr::{aggregate::LoweredAggregateBuilder, create_physical_expr},
};

use crate::{
    AggregatePlan, Error, Result,
    flow::{Flow, Node, RowOp},
};

/// `0A000` for the first expression of the tree that cannot be evaluated.
pub(super) fn runs(flow: &Flow) -> Result<()> {
    let mut outcome = Ok(());
    flow.each(&mut |flow| {
        if outcome.is_ok() {
            outcome = node_runs(flow);
        }
    });
    outcome
}

fn node_runs(flow: &Flow) -> Result<()> {
    match &flow.node {
        Node::Rows { ops, .. } => ops.iter().try_for_each(|op| match op {
            RowOp::Filter { predicate, input } => evaluates(predicate, input),
            RowOp::Project { exprs, input, .. } => exprs.iter().try_for_each(|expr| evaluates(expr, input)),
        }),
        Node::Aggregate(node) => {
            node.groups.iter().try_for_each(|expr| evaluates(expr, &node.input_schema))?;
            node.aggregates.iter().try_for_each(|expr| aggregates(expr, &node.input_schema))
        }
        Node::TopN(node) => {
            let order = node.order.iter().map(|order| &order.expr);
            node.partition.iter().chain(order).try_for_each(|expr| evaluates(expr, &node.input_schema))
        }
        Node::Join(node) => {
            for (left, right) in &node.on {
                evaluates(left, &node.left_schema)?;
                evaluates(right, &node.right_schema)?;
            }
            node.filter.iter().try_for_each(|(filter, schema)| evaluates(filter, schema))
        }
        Node::Recent { time, schema, .. } => evaluates(time, schema),
        Node::One
        | Node::Scan { .. }
        | Node::Versions { .. }
        | Node::Window { .. }
        | Node::SessionWindow { .. }
        | Node::Union { .. }
        | Node::Unnest { .. } => Ok(()),
    }
}

/// The same of a view that is at most one aggregate over one stream.
pub(in crate::planner) fn steps_run(input: &LogicalPlan, aggregate: Option<&AggregatePlan>) -> Result<()> {
    chain_runs(input)?;
    let Some(aggregate) = aggregate else { return Ok(()) };
    aggregate.group_exprs.iter().try_for_each(|expr| evaluates(expr, input.schema()))?;
    aggregate.aggr_exprs.iter().try_for_each(|expr| aggregates(expr, input.schema()))?;
    chain_runs(&aggregate.output)
}

fn chain_runs(plan: &LogicalPlan) -> Result<()> {
    match plan {
        LogicalPlan::Projection(node) => {
            node.expr.iter().try_for_each(|expr| evaluates(expr, node.input.schema()))?;
            chain_runs(&node.input)
        }
        LogicalPlan::Filter(node) => {
            evaluates(&node.predicate, node.input.schema())?;
            chain_runs(&node.input)
        }
        LogicalPlan::SubqueryAlias(node) => chain_runs(&node.input),
        _ => Ok(()),
    }
}

fn evaluates(expr: &Expr, schema: &DFSchema) -> Result<()> {
    create_physical_expr(expr, schema, &ExecutionProps::new()).map(|_| ()).map_err(|error| refused(expr, &error))
}

fn aggregates(expr: &Expr, schema: &DFSchema) -> Result<()> {
    let physical: SchemaRef = std::sync::Arc::clone(schema.inner());
    LoweredAggregateBuilder::new(expr, schema, &physical, &ExecutionProps::new())
        .build()
        .map(|_| ())
        .map_err(|error| refused(expr, &error))
}

fn refused(expr: &Expr, error: &DataFusionError) -> Error {
    let error = error.find_root().to_string();
    let hint = "Write it otherwise, or compute it in the SELECT that reads the view.";
    super::refused(&format!("the expression {}", super::shown(expr)), hint).detail(error)
}
