//! `x NOT IN (SELECT y …)`: a row stays where no row of the sub-query is equal, and none leaves it open whether it is.
//! It is open where either is NULL: so one NULL in the sub-query takes all rows away, and a NULL on the left stays only
//! where the sub-query is empty.
//!
//! That is two joins by which no row is compared with all others: one by `x = y`, and one with which of the two kinds
//! of `y` (NULL, and not) there are.
//!
//! ```text
//! NOT EXISTS (… WHERE y = x) AND NOT EXISTS (SELECT DISTINCT y IS NULL AS n … WHERE n OR x IS NULL)
//! ```

use std::sync::Arc;

use datafusion::{
    common::{Column, JoinType},
    logical_expr::{Distinct, Expr, Join as LogicalJoin, LogicalPlan, LogicalPlanBuilder},
};

use super::{Planner, refused};
use crate::{
    Result,
    error::from_datafusion,
    flow::{Flow, Node, column_of},
};

/// Whether `y` of a row is NULL.
const OPEN: &str = "?open?";

impl Planner<'_> {
    pub(super) fn not_in(&self, node: &LogicalJoin) -> Result<Flow> {
        let internal = |error| from_datafusion(error, "");
        // The first column of the sub-query is what it gives; the others are those it is correlated by.
        let compared = node.on.iter().position(|(_, right)| mentions_first(right, node));
        let Some(compared) = compared.filter(|_| node.join_type == JoinType::LeftAnti) else {
            return Err(refused("NOT IN of what is no column", "Use NOT EXISTS."));
        };
        let mut others = node.on.clone();
        let (left, right) = others.remove(compared);
        let unequal = LogicalPlan::Join(LogicalJoin { null_aware: false, ..node.clone() });
        // Rows of two streams are let go by their times, which a DISTINCT would lose.
        let LogicalPlan::Join(join) = &unequal else { unreachable!("it was made a join") };
        let bounded = match self.join(join)?.node {
            Node::Join(join) if join.left_ttl_us.is_some() || join.right_ttl_us.is_some() => {
                return Err(refused("NOT IN of two streams with state_ttl", "Use NOT EXISTS, or bound their times."));
            }
            Node::Join(join) => join.left_expiry.is_some(),
            _ => false,
        };
        let mut needed = std::collections::HashSet::new();
        for expr in others.iter().map(|(_, right)| right).chain(&node.filter) {
            datafusion::logical_expr::utils::expr_to_columns(expr, &mut needed).map_err(internal)?;
        }
        let is_needed = |column: &Column| needed.contains(column);
        let kept = node.right.schema().columns().into_iter().filter(is_needed).map(Expr::Column);
        let exprs: Vec<Expr> = kept.chain([right.is_null().alias(OPEN)]).collect();
        let kinds = LogicalPlanBuilder::from(node.right.as_ref().clone()).project(exprs).map_err(internal)?;
        let mut kinds = kinds.build().map_err(internal)?;
        if !bounded {
            kinds = LogicalPlan::Distinct(Distinct::All(Arc::new(kinds)));
        }
        let open = Expr::Column(Column::new_unqualified(OPEN)).or(left.is_null());
        let filter = match &node.filter {
            Some(filter) => filter.clone().and(open),
            None => open,
        };
        let join = LogicalJoin::try_new(
            Arc::new(unequal),
            Arc::new(kinds),
            others,
            Some(filter),
            JoinType::LeftAnti,
            node.join_constraint,
            node.null_equality,
            false,
        );
        self.join(&join.map_err(internal)?)
    }
}

fn mentions_first(right: &Expr, node: &LogicalJoin) -> bool {
    match right {
        Expr::Cast(cast) => mentions_first(&cast.expr, node),
        other => column_of(other, node.right.schema()) == Some(0),
    }
}
