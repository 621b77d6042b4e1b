//! Lets every query be interrupted.
//!
//! DataFusion makes leaves yield to other tasks after some batches. A join can make millions of batches
//! from one batch of a leaf, and whatever counts or sorts them would hold its thread until the end: no
//! timeout would fire and no cancel request would be heard. So joins yield too.

use std::sync::Arc;

use datafusion::{
    common::tree_node::{Transformed, TreeNode},
    config::ConfigOptions,
    error::Result as DataFusionResult,
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{ExecutionPlan, coop::CooperativeExec, unnest::UnnestExec},
};

#[derive(Debug)]
pub(super) struct YieldingJoins;

impl PhysicalOptimizerRule for YieldingJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let yielding = plan.transform_up(|plan| {
            let multiplies = plan.children().len() > 1 || plan.downcast_ref::<UnnestExec>().is_some();
            Ok(match multiplies {
                true => Transformed::yes(Arc::new(CooperativeExec::new(plan)) as Arc<dyn ExecutionPlan>),
                false => Transformed::no(plan),
            })
        });
        yielding.map(|plan| plan.data)
    }

    fn name(&self) -> &str {
        "YieldingJoins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
