//! Joins: which side is kept, and until when.
//!
//! | left | right | then |
//! |---|---|---|
//! | rows of a stream | a table, a view that changes | lookup: the row meets what is there when it comes |
//! | rows of a stream | rows of a stream | both are kept as long as the condition on their times lets them meet, or `state_ttl` says |
//! | rows of a stream | versions of a table, as of a time | both are kept until the watermark has passed them |
//! | grouped by a window | grouped by the same window | both are kept until the window closes |
//! | rows of a stream | grouped by a window, the row's time bounded by it | the same |
//! | changes | changes | both are kept: they are tables |

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{DFSchemaRef, JoinType, NullEquality},
    logical_expr::{BinaryExpr, Expr, Join as LogicalJoin, Operator, utils::split_conjunction},
};

use super::{Planner, as_of, project, recent::length, refuse_volatile, refused};
use crate::{
    Error, Result,
    flow::{Expiry, Flow, Join, Node, column_of, plain},
    moved_time,
};

impl Planner<'_> {
    pub(super) fn join(&self, node: &LogicalJoin) -> Result<Flow> {
        let exprs = node.on.iter().flat_map(|(left, right)| [left, right]).chain(&node.filter);
        exprs.into_iter().try_for_each(refuse_volatile)?;
        if node.null_aware {
            return self.not_in(node);
        }
        let kind = node.join_type;
        if matches!(kind, JoinType::RightSemi | JoinType::RightAnti | JoinType::LeftMark | JoinType::RightMark) {
            return Err(refused(words(kind), "Use EXISTS or IN as a condition of its own, joined to others by AND."));
        }
        let (left, right) = (self.flow(&node.left)?, self.flow(&node.right)?);
        let schemas = (node.left.schema(), node.right.schema());
        let bounds = bounds(node, (&left, &right));
        if (as_of::is_versions(&left) && bounds.1.is_none()) || (as_of::is_versions(&right) && bounds.0.is_none()) {
            return Err(as_of::no_time());
        }
        let rows_of_streams = (left.append_only(), right.append_only());
        let bounded = bounds.0.is_some() && bounds.1.is_some();
        let lookup = !bounded && rows_of_streams.0 != rows_of_streams.1;
        let ttl_us = self.state_ttl_us.filter(|_| !bounded && rows_of_streams == (true, true));
        if lookup && rows_of_streams.1 {
            return self.swapped(node, left, right);
        }
        if lookup
            && !matches!(node.join_type, JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti)
        {
            return Err(refused(
                &format!("{} of a stream with a table", words(node.join_type)),
                "Use INNER or LEFT JOIN with the stream on the left.",
            ));
        }
        if !lookup && !bounded && rows_of_streams == (true, true) && ttl_us.is_none() {
            return Err(Error::unsupported(
                "a join of two streams that would keep their rows for ever",
                "Bound their times: AND a.time BETWEEN b.time - INTERVAL '10 minutes' AND b.time, join on the same window, or say how long rows are kept: CREATE MATERIALIZED VIEW ... WITH (state_ttl = '1 hour').",
            ));
        }
        // A side that ends beside one that does not would take rows away from answers.
        // Rows that only come leave what they made behind.
        let (left_expiry, right_expiry) = if bounded || ttl_us.is_some() { bounds } else { (None, None) };
        let filter = match &node.filter {
            None => None,
            Some(filter) => Some((filter.clone(), joined(node)?)),
        };
        let join = Join {
            left,
            right,
            left_schema: Arc::clone(schemas.0),
            right_schema: Arc::clone(schemas.1),
            kind,
            on: node.on.clone(),
            filter,
            null_equals_null: node.null_equality == NullEquality::NullEqualsNull,
            left_expiry,
            right_expiry,
            left_ttl_us: ttl_us.filter(|_| left_expiry.is_none()),
            right_ttl_us: ttl_us.filter(|_| right_expiry.is_none()),
            lookup,
        };
        Ok(Flow { node: Node::Join(Box::new(join)), schema: plain(&node.schema) })
    }

    /// The stream is on the right: the same join with the sides exchanged, and the columns put back.
    fn swapped(&self, node: &LogicalJoin, left: Flow, right: Flow) -> Result<Flow> {
        let kind = match node.join_type {
            JoinType::Inner => JoinType::Inner,
            JoinType::Right => JoinType::Left,
            JoinType::LeftSemi | JoinType::LeftAnti => {
                return Err(refused(
                    &format!("{} of rows of a table in a stream", words(node.join_type)),
                    "Select the DISTINCT columns that are compared in the sub-query, so that it has a row per value.",
                ));
            }
            other => {
                return Err(refused(
                    &format!("{} of a table with a stream", words(other)),
                    "Use INNER or LEFT JOIN with the stream on the left.",
                ));
            }
        };
        let internal = |error| crate::error::from_datafusion(error, "");
        let exchanged = LogicalJoin::try_new(
            Arc::clone(&node.right),
            Arc::clone(&node.left),
            node.on.iter().map(|(left, right)| (right.clone(), left.clone())).collect(),
            node.filter.clone(),
            kind,
            node.join_constraint,
            node.null_equality,
            node.null_aware,
        )
        .map_err(internal)?;
        let filter = match &node.filter {
            None => None,
            Some(filter) => Some((filter.clone(), joined(&exchanged)?)),
        };
        let join = Join {
            left_schema: Arc::clone(node.right.schema()),
            right_schema: Arc::clone(node.left.schema()),
            left: right,
            right: left,
            kind,
            on: exchanged.on.clone(),
            filter,
            null_equals_null: node.null_equality == NullEquality::NullEqualsNull,
            left_expiry: None,
            right_expiry: None,
            left_ttl_us: None,
            right_ttl_us: None,
            lookup: true,
        };
        let schema = plain(&exchanged.schema);
        let exprs = node.schema.columns().into_iter().map(Expr::Column).collect();
        let flow = Flow { node: Node::Join(Box::new(join)), schema };
        Ok(project(flow, exprs, &exchanged.schema, plain(&node.schema)))
    }
}

/// The join as the user writes it.
fn words(kind: JoinType) -> &'static str {
    match kind {
        JoinType::Inner => "JOIN",
        JoinType::Left => "LEFT JOIN",
        JoinType::Right => "RIGHT JOIN",
        JoinType::Full => "FULL JOIN",
        JoinType::LeftSemi | JoinType::RightSemi => "EXISTS or IN",
        JoinType::LeftAnti | JoinType::RightAnti => "NOT EXISTS or NOT IN",
        JoinType::LeftMark | JoinType::RightMark => "EXISTS or IN as a part of an OR or a value",
    }
}

/// The columns of both sides, for the condition; a semi join's own schema has those of one.
fn joined(node: &LogicalJoin) -> Result<DFSchemaRef> {
    let joined = node.left.schema().join(node.right.schema());
    Ok(Arc::new(joined.map_err(|error| crate::error::from_datafusion(error, ""))?))
}

/// Until when a row of each side can still meet one of the other.
fn bounds(node: &LogicalJoin, (left, right): (&Flow, &Flow)) -> (Option<Expiry>, Option<Expiry>) {
    let (left_times, right_times) = (left.times(), right.times());
    let mut found = (None, None);
    let mut keep = |side: usize, column: usize, slack_us: i64| {
        let of = if side == 0 { &mut found.0 } else { &mut found.1 };
        if of.is_none_or(|other: Expiry| slack_us < other.slack_us) {
            *of = Some(Expiry { column, slack_us });
        }
    };
    for (one, other) in &node.on {
        let (Some(a), Some(b)) = (column_of(one, node.left.schema()), column_of(other, node.right.schema())) else {
            continue;
        };
        // Equal times: a row is of no use once the other side has passed it.
        if let (Some(slack_a), Some(slack_b)) = (left_times[a].slack_us(), right_times[b].slack_us()) {
            keep(0, a, slack_a.max(slack_b));
            keep(1, b, slack_a.max(slack_b));
        }
    }
    let conditions = node.filter.iter().flat_map(split_conjunction);
    for condition in conditions.flat_map(between) {
        // later >= earlier - within: a row of `later` is needed until the watermark is `within` behind … and so on.
        let Some((greater, lesser, by_us)) = difference(&condition) else { continue };
        let side = |column: &Expr| {
            column_of(column, node.left.schema())
                .map(|at| (0, at, left_times[at]))
                .or_else(|| column_of(column, node.right.schema()).map(|at| (1, at, right_times[at])))
        };
        // greater + by >= lesser: once lesser's side has passed greater + by, greater meets nobody new.
        if let (Some((greater_side, at, time)), Some((lesser_side, _, other))) = (side(&greater), side(&lesser))
            && greater_side != lesser_side
            && let (Some(own_us), Some(slack_us)) = (time.slack_us(), other.slack_us())
        {
            // A window's row changes until it is closed.
            keep(greater_side, at, (by_us + slack_us).max(own_us));
        }
    }
    found
}

/// `x BETWEEN a AND b` as two conditions.
fn between(condition: &Expr) -> Vec<Expr> {
    match condition {
        Expr::Between(between) if !between.negated => {
            let side = |op, bound: &Expr| {
                Expr::BinaryExpr(BinaryExpr { left: between.expr.clone(), op, right: Box::new(bound.clone()) })
            };
            vec![side(Operator::GtEq, &between.low), side(Operator::LtEq, &between.high)]
        }
        other => vec![other.clone()],
    }
}

/// `greater + by >= lesser`: the two columns, and microseconds.
fn difference(condition: &Expr) -> Option<(Expr, Expr, i64)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
    let (greater, lesser) = match op {
        Operator::Gt | Operator::GtEq => (left, right),
        Operator::Lt | Operator::LtEq => (right, left),
        _ => return None,
    };
    let ((greater, plus), (lesser, minus)) = (shifted(greater)?, shifted(lesser)?);
    Some((greater, lesser, plus - minus))
}

/// A column and what is added to it.
fn shifted(expr: &Expr) -> Option<(Expr, i64)> {
    match expr {
        Expr::Column(_) => Some((expr.clone(), 0)),
        Expr::Alias(alias) => shifted(&alias.expr),
        // Any other cast makes another time of it, which the rows that are kept must not be judged by.
        Expr::Cast(cast) if matches!(cast.field.data_type(), DataType::Timestamp(..)) => shifted(&cast.expr),
        expr => {
            let (left, op, right) = moved_time(expr)?;
            let (column, by) = shifted(left)?;
            let more = length(right)?;
            Some((column, if op == Operator::Plus { by.checked_add(more)? } else { by.checked_sub(more)? }))
        }
    }
}
