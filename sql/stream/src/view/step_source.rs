//! The leaf of a step's plan: the batch of this step, put in before each execution.

use std::{any::Any, fmt, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    error::Result as DataFusionResult,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::EquivalenceProperties,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        memory::MemoryStream,
    },
};
use parking_lot::Mutex;

/// Shared between the loop, which fills it, and the plan, which empties it.
pub(crate) type StepSlot = Arc<Mutex<Vec<RecordBatch>>>;

#[derive(Debug)]
pub(crate) struct StepSourceExec {
    slot: StepSlot,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl StepSourceExec {
    pub(crate) fn new(schema: SchemaRef, slot: StepSlot) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { slot, schema, properties: Arc::new(properties) }
    }
}

impl DisplayAs for StepSourceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StepSourceExec")
    }
}

impl ExecutionPlan for StepSourceExec {
    fn name(&self) -> &'static str {
        "StepSourceExec"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _partition: usize, _context: Arc<TaskContext>) -> DataFusionResult<SendableRecordBatchStream> {
        let batches = std::mem::take(&mut *self.slot.lock());
        Ok(Box::pin(MemoryStream::try_new(batches, Arc::clone(&self.schema), None)?))
    }
}
