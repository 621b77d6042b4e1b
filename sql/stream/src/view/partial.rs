//! From the rows of a step to partial rows: one ordinary `AggregateExec` in mode Partial, grouped by
//! pane and keys, built once and executed again for every step.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, IntervalMonthDayNano, SchemaRef, TimeUnit},
};
use datafusion::{
    common::ScalarValue,
    execution::{TaskContext, context::ExecutionProps},
    functions::datetime::expr_fn::date_bin,
    logical_expr::{LogicalPlan, lit},
    physical_expr::{PhysicalExpr, aggregate::AggregateFunctionExpr},
    physical_plan::{
        ExecutionPlan,
        aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy},
        collect, displayable,
        execution_plan::reset_plan_states,
    },
    physical_planner::create_aggregate_expr_and_maybe_filter,
    prelude::{SessionConfig, SessionContext},
};
use ebap_sql::AggregatePlan;
use parking_lot::Mutex;

use crate::{
    Result,
    rows::physical,
    view::step_source::{StepSlot, StepSourceExec},
};

#[derive(Debug)]
pub(crate) struct PartialPlan {
    slot: StepSlot,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    pub(crate) aggregates: Vec<Arc<AggregateFunctionExpr>>,
    /// Pane first (with a window), group columns, then the state columns of each aggregate.
    pub(crate) schema: SchemaRef,
    /// Number of group columns, the pane not counted.
    pub(crate) groups: usize,
    pub(crate) windowed: bool,
}

impl PartialPlan {
    pub(crate) fn new(input: &LogicalPlan, input_schema: &SchemaRef, plan: &AggregatePlan) -> Result<Self> {
        let logical = input.schema();
        let mut keys: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::new();
        if let Some(window) = &plan.window {
            // Nanoseconds count in an interval: a pane is a fixed length of time, never a month.
            let pane = IntervalMonthDayNano::new(0, 0, window.pane_us.saturating_mul(1_000));
            let origin = ScalarValue::TimestampNanosecond(Some(0), Some("+00:00".into()));
            let pane = date_bin(lit(ScalarValue::IntervalMonthDayNano(Some(pane))), window.time.clone(), lit(origin));
            let pane =
                datafusion::logical_expr::cast(pane, DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())));
            keys.push((physical(&pane, logical)?, "pane".to_owned()));
        }
        for (at, expr) in plan.group_exprs.iter().enumerate() {
            keys.push((physical(expr, logical)?, format!("g{at}")));
        }
        let (mut aggregates, mut filters) = (Vec::new(), Vec::new());
        for expr in &plan.aggr_exprs {
            let props = ExecutionProps::new();
            let (aggregate, filter, _) = create_aggregate_expr_and_maybe_filter(expr, logical, input_schema, &props)?;
            aggregates.push(aggregate);
            filters.push(filter);
        }
        let slot: StepSlot = Arc::new(Mutex::new(Vec::new()));
        let source = Arc::new(StepSourceExec::new(Arc::clone(input_schema), Arc::clone(&slot)));
        let exec = AggregateExec::try_new(
            AggregateMode::Partial,
            PhysicalGroupBy::new_single(keys),
            aggregates.clone(),
            filters,
            source,
            Arc::clone(input_schema),
        )?;
        let schema = exec.schema();
        let mut config = SessionConfig::new().with_target_partitions(1).with_batch_size(32_768);
        // Else Partial degrades to one state row per input row when keys are many.
        config.options_mut().execution.skip_partial_aggregation_probe_ratio_threshold = 1.0;
        let context = SessionContext::new_with_config(config).task_ctx();
        let (groups, windowed) = (plan.group_exprs.len(), plan.window.is_some());
        Ok(Self { slot, plan: Arc::new(exec), context, aggregates, schema, groups, windowed })
    }

    /// Partial rows: one per pane and key.
    pub(crate) async fn run(&mut self, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        *self.slot.lock() = batches;
        // Without the reset every execution would add its metrics to those of all before it.
        self.plan = reset_plan_states(Arc::clone(&self.plan))?;
        let rows = collect(Arc::clone(&self.plan), Arc::clone(&self.context)).await?;
        Ok(rows.into_iter().filter(|batch| batch.num_rows() > 0).collect())
    }

    pub(crate) fn describe(&self) -> String {
        displayable(self.plan.as_ref()).indent(false).to_string()
    }
}
