//! Types that a client declares for the parameters of its statement, within the plan.

use arrow::datatypes::FieldRef;
use datafusion::{
    common::tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    error::Result as DataFusionResult,
    logical_expr::{Expr, LogicalPlan, expr::Placeholder, expr_rewriter::NamePreserver},
};

/// Number of `$1`, from 0.
pub(crate) fn parameter_number(id: &str) -> Option<usize> {
    id.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

/// Gives the parameters the types that are declared for them, before anything else gives them one. DataFusion's own
/// guesses go: beside an integer literal a parameter would be a BIGINT, and beside another parameter text.
pub(super) fn declare(plan: LogicalPlan, declared: &[Option<FieldRef>]) -> DataFusionResult<LogicalPlan> {
    if !has_parameter(&plan)? {
        return Ok(plan);
    }
    let typed = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        let typed = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let typed = expr.transform_up(|expr| Ok(of_parameter(expr, declared)))?;
            Ok(typed.update_data(|expr| name.restore(expr)))
        })?;
        typed.map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(typed.data)
}

fn has_parameter(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.exists(|expr| Ok(matches!(expr, Expr::Placeholder(_))))?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

fn of_parameter(expr: Expr, declared: &[Option<FieldRef>]) -> Transformed<Expr> {
    match expr {
        Expr::Placeholder(Placeholder { id, .. }) => {
            let field = parameter_number(&id).and_then(|at| declared.get(at)?.clone());
            Transformed::yes(Expr::Placeholder(Placeholder { id, field }))
        }
        expr => Transformed::no(expr),
    }
}
