//! Functions that DataFusion only evaluates in another form, which its optimizer puts for them. Plans of views are not
//! optimized as a whole, so it is done here.

use datafusion::{
    common::tree_node::{Transformed, TreeNode},
    error::DataFusionError,
    logical_expr::{
        Expr, LogicalPlan,
        expr::ScalarFunction,
        expr_rewriter::NamePreserver,
        simplify::{ExprSimplifyResult, SimplifyContext},
    },
};

const REWRITTEN: [&str; 3] = ["coalesce", "nvl", "nvl2"];

/// The same plan, with `CASE` for `coalesce` and its like.
pub(super) fn evaluable(plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let changed = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| with_its_name(expr, &names))
    })?;
    Ok(changed.data)
}

/// What is above knows the column by its name.
fn with_its_name(expr: Expr, names: &NamePreserver) -> Result<Transformed<Expr>, DataFusionError> {
    if let Expr::GroupingSet(_) = &expr {
        // Each of its expressions is a column.
        return expr.map_children(|expr| with_its_name(expr, names));
    }
    let name = names.save(&expr);
    let changed = expr.transform_up(rewritten)?;
    Ok(if changed.transformed { changed.update_data(|expr| name.restore(expr)) } else { changed })
}

fn rewritten(expr: Expr) -> Result<Transformed<Expr>, DataFusionError> {
    let Expr::ScalarFunction(call) = expr else { return Ok(Transformed::no(expr)) };
    if !REWRITTEN.contains(&call.func.name()) {
        return Ok(Transformed::no(Expr::ScalarFunction(call)));
    }
    Ok(match call.func.simplify(call.args, &SimplifyContext::default())? {
        ExprSimplifyResult::Simplified(expr) => Transformed::yes(expr),
        ExprSimplifyResult::Original(args) => {
            Transformed::no(Expr::ScalarFunction(ScalarFunction::new_udf(call.func, args)))
        }
    })
}
