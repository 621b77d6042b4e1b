//! Masks within the plan of a query: between a table and all that reads it, so that conditions, joins and groups see
//! what the result shows. Every door runs its queries behind this.

use std::sync::Arc;

use datafusion::{
    common::{Column, tree_node::Transformed},
    error::Result as DataFusionResult,
    logical_expr::{Expr, LogicalPlan, Projection, TableScan, expr::ScalarFunction},
};
use ebap_functions::{Mask, mask_udf};

use crate::Personal;

/// Puts masks over the tables of a plan that no optimizer has changed. `masks`: the columns of a table that are to be
/// masked. `salt`: what texts are hashed with; without one they are hidden.
///
/// # Errors
/// From DataFusion, where the plan cannot be built again.
pub fn masked(
    plan: LogicalPlan,
    masks: &dyn Fn(&TableScan) -> Vec<(String, Personal)>,
    salt: &str,
) -> DataFusionResult<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::TableScan(scan) => {
            let masks = masks(&scan);
            match masks.is_empty() {
                true => Ok(Transformed::no(LogicalPlan::TableScan(scan))),
                false => over(scan, &masks, salt).map(Transformed::yes),
            }
        }
        // What is masked can be NULL.
        other => other.recompute_schema().map(Transformed::yes),
    })?;
    Ok(changed.data)
}

fn over(scan: TableScan, masks: &[(String, Personal)], salt: &str) -> DataFusionResult<LogicalPlan> {
    let columns = scan.projected_schema.columns().into_iter().map(|column| {
        let personal = masks.iter().find(|(name, _)| *name == column.name).map(|(_, personal)| *personal);
        let mask = match personal {
            None => return Expr::Column(column),
            Some(Personal::Parts) => None,
            Some(Personal::Whole(Mask::Hash)) if !salt.is_empty() => Some(Mask::Hash),
            Some(Personal::Whole(Mask::Hash | Mask::Hide)) => Some(Mask::Hide),
        };
        let Column { relation, name, .. } = column.clone();
        let udf = Arc::new(mask_udf(mask, salt));
        let call = ScalarFunction::new_udf(udf, vec![Expr::Column(column)]);
        Expr::ScalarFunction(call).alias_qualified(relation, name)
    });
    let columns = columns.collect();
    Projection::try_new(columns, Arc::new(LogicalPlan::TableScan(scan))).map(LogicalPlan::Projection)
}
