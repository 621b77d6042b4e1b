//! Policies and masks within the plan of a query: between a table and all that reads it, so that conditions, joins and
//! groups see what the result shows. Every door runs its queries behind this.

use std::sync::Arc;

use datafusion::{
    common::{
        Column,
        tree_node::{Transformed, TreeNode},
    },
    error::Result as DataFusionResult,
    logical_expr::{Expr, Filter, LogicalPlan, Projection, TableScan, expr::ScalarFunction},
};
use ebap_functions::{Mask, mask_udf};

use crate::Personal;

/// The part of a table that a role sees.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Rows for which this is not true are not there. Its columns are those of the table, by whatever qualifier.
    pub condition: Option<Expr>,
    /// Columns that are masked.
    pub masks: Vec<(String, Personal)>,
}

/// The condition of a plan that reads one table, as `Guard` takes it.
pub fn condition_of(plan: &LogicalPlan) -> Option<Expr> {
    match plan {
        LogicalPlan::Filter(filter) => Some(filter.predicate.clone()),
        other => match other.inputs()[..] {
            [input] => condition_of(input),
            _ => None,
        },
    }
}

/// Puts guards over the tables of a plan that no optimizer has changed. `salt`: what texts are hashed with; without one
/// they are hidden.
///
/// # Errors
/// From DataFusion, where the plan cannot be built again.
pub fn guarded(
    plan: LogicalPlan,
    guard: &dyn Fn(&TableScan) -> Option<Guard>,
    salt: &str,
) -> DataFusionResult<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::TableScan(scan) => {
            let Some(Guard { condition, masks }) = guard(&scan) else {
                return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
            };
            let visible = match condition {
                Some(condition) => rows(scan, condition)?,
                None => LogicalPlan::TableScan(scan),
            };
            match masks.is_empty() {
                true => Ok(Transformed::yes(visible)),
                false => masked(visible, &masks, salt).map(Transformed::yes),
            }
        }
        // What is masked can be NULL.
        other => other.recompute_schema().map(Transformed::yes),
    })?;
    Ok(changed.data)
}

/// Behind a policy, which sees values as they are.
fn rows(scan: TableScan, condition: Expr) -> DataFusionResult<LogicalPlan> {
    let table = scan.table_name.clone();
    let condition = condition.transform_up(|expr| {
        Ok(match expr {
            Expr::Column(Column { name, .. }) => Transformed::yes(Expr::Column(Column::new(Some(table.clone()), name))),
            other => Transformed::no(other),
        })
    })?;
    Filter::try_new(condition.data, Arc::new(LogicalPlan::TableScan(scan))).map(LogicalPlan::Filter)
}

fn masked(table: LogicalPlan, masks: &[(String, Personal)], salt: &str) -> DataFusionResult<LogicalPlan> {
    let columns = table.schema().columns().into_iter().map(|column| {
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
    Projection::try_new(columns, Arc::new(table)).map(LogicalPlan::Projection)
}
