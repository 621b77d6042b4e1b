//! The first rows of an order: `ORDER BY … LIMIT`, `ROW_NUMBER() … <= n` and ranks, `DISTINCT ON`.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::{
    common::{DFSchemaRef, JoinType, ScalarValue},
    logical_expr::{
        BinaryExpr, DistinctOn, Expr, FetchType, Limit, LogicalPlan, Operator, SkipType, Sort, SortExpr,
        WindowFunctionDefinition,
    },
};

use super::{Planner, project, refuse_volatile, refused};
use crate::{
    Result,
    error::from_datafusion,
    flow::{Expiry, Flow, Node, Numbering, RowOp, Time, TopN, column_of, plain},
};

/// The bound of numbers that need none, as there is one below.
pub(super) const ALL: usize = usize::MAX;

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
        top(input, node.input.schema(), Vec::new(), node.expr.clone(), (skip, Some(fetch)), None, schema)
    }

    /// The rows of the input with one number each.
    pub(super) fn number(&self, expr: &Expr, input: &LogicalPlan, schema: SchemaRef) -> Result<Flow> {
        let Expr::WindowFunction(call) = expr.clone().unalias() else {
            return Err(refused("this window function", "Use ROW_NUMBER() OVER (PARTITION BY ... ORDER BY ...)."));
        };
        let name = match &call.fun {
            WindowFunctionDefinition::WindowUDF(function) => function.name().to_owned(),
            WindowFunctionDefinition::AggregateUDF(function) => function.name().to_owned(),
        };
        let numbering = match name.as_str() {
            "row_number" => Numbering::Row,
            "rank" => Numbering::Rank,
            "dense_rank" => Numbering::DenseRank,
            _ => {
                return Err(refused(
                    &format!("{name}() OVER"),
                    "Use ROW_NUMBER(), RANK() or DENSE_RANK() OVER (PARTITION BY ... ORDER BY ...) <= n, or GROUP BY with a window.",
                ));
            }
        };
        if call.params.order_by.is_empty() {
            let what = format!("{}() without ORDER BY", name.to_uppercase());
            return Err(refused(&what, "Say in OVER by what the rows are ordered."));
        }
        let (partition, order) = (call.params.partition_by.clone(), call.params.order_by.clone());
        top(self.flow(input)?, input.schema(), partition, order, (0, None), Some(numbering), schema)
    }

    pub(super) fn distinct_on(&self, node: &DistinctOn) -> Result<Flow> {
        let input = self.flow(&node.input)?;
        let Some(order) = &node.sort_expr else {
            return Err(refused("DISTINCT ON without ORDER BY", "Say by ORDER BY which row of each is kept."));
        };
        let (schema, input_schema) = (Arc::clone(&input.schema), node.input.schema());
        let flow = top(input, input_schema, node.on_expr.clone(), order.clone(), (0, Some(1)), None, schema)?;
        node.select_expr.iter().try_for_each(refuse_volatile)?;
        Ok(project(flow, node.select_expr.clone(), input_schema, plain(&node.schema)))
    }
}

pub(super) fn top(
    input: Flow,
    input_schema: &DFSchemaRef,
    partition: Vec<Expr>,
    order: Vec<SortExpr>,
    (skip, fetch): (usize, Option<usize>),
    numbering: Option<Numbering>,
    schema: SchemaRef,
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
    // Windows alone: a row of them always came before their end, which of other event times is not certain.
    let settles = |(column, time): (usize, &Time)| match time {
        Time::Window(slack_us) => Some(Expiry { column, slack_us: *slack_us }),
        Time::Unknown | Time::Event(_) | Time::SessionStart(_) | Time::SessionEnd(_) => None,
    };
    let is_ranked = matches!(numbering, Some(Numbering::Rank | Numbering::DenseRank));
    let settled = times.iter().enumerate().filter_map(settles).min_by_key(|expiry| expiry.slack_us);
    let settled = settled.filter(|_| expiry.is_none() && !is_ranked && !input.append_only());
    let input_schema = Arc::clone(input_schema);
    let node = TopN { input, input_schema, partition, order, skip, fetch, numbering, expiry, settled };
    Ok(Flow { node: Node::TopN(Box::new(node)), schema })
}

/// A condition such as `n <= 3` on the number of `ROW_NUMBER()` or a rank below bounds how many rows are kept.
pub(super) fn limit_numbers(flow: &mut Flow, condition: &Expr, schema: &DFSchemaRef) {
    let within = |expr: &Expr, list: &mut dyn Iterator<Item = &Expr>| {
        let numbers = list.map(literal).collect::<Option<Vec<usize>>>()?;
        Some((column_of(uncast(expr), schema)?, numbers.into_iter().max()?))
    };
    let found = match condition {
        Expr::Between(node) if !node.negated => within(&node.expr, &mut std::iter::once(node.high.as_ref())),
        Expr::InList(node) if !node.negated => within(&node.expr, &mut node.list.iter()),
        Expr::BinaryExpr(node) => compared(node, schema),
        _ => None,
    };
    let Some((column, most)) = found else { return };
    if let Some(node) = numbers(flow, column) {
        node.fetch = Some(node.fetch.map_or(most, |fetch| fetch.min(most)));
    }
}

/// The column, and how much it is at the most.
fn compared(condition: &BinaryExpr, schema: &DFSchemaRef) -> Option<(usize, usize)> {
    let BinaryExpr { left, op, right } = condition;
    let (column, op, number) = match (column_of(uncast(left), schema), literal(right)) {
        (Some(column), Some(number)) => (column, *op, number),
        _ => match (column_of(uncast(right), schema), literal(left), op.swap()) {
            (Some(column), Some(number), Some(op)) => (column, op, number),
            _ => return None,
        },
    };
    match op {
        Operator::LtEq | Operator::Eq => Some((column, number)),
        Operator::Lt => Some((column, number.saturating_sub(1))),
        _ => None,
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
        Node::Join(node) if node.kind == JoinType::Inner => {
            let left = node.left.schema.fields().len();
            match column.checked_sub(left) {
                None => numbers(&mut node.left, column),
                Some(column) => numbers(&mut node.right, column),
            }
        }
        Node::TopN(node) => {
            let node = node.as_mut();
            let is_own = node.numbering.is_some() && column == node.input.schema.fields().len();
            match node.fetch {
                // Its rows are in the order of the number below, so the last ones alone are missing.
                Some(ALL) => numbers(&mut node.input, column),
                _ => is_own.then_some(node),
            }
        }
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
    let mut found = None;
    flow.each(&mut |flow| {
        if let Node::TopN(node) = &flow.node
            && node.fetch.is_none()
        {
            found = node.numbering;
        }
    });
    let name = match found {
        None => return Ok(()),
        Some(Numbering::Row) => "ROW_NUMBER",
        Some(Numbering::Rank) => "RANK",
        Some(Numbering::DenseRank) => "DENSE_RANK",
    };
    Err(refused(&format!("{name}() without a bound"), "Filter by it in an outer SELECT: WHERE n <= 10."))
}
