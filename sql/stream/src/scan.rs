//! Relations as queries see them: views and tables from their rows, streams as bounded batches read
//! from the source up to the end offsets at that moment.

use std::{fmt, sync::Arc};

use arrow::{
    array::{AsArray, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    compute::{filter_record_batch, not},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider, memory::MemorySourceConfig},
    common::tree_node::{Transformed, TreeNodeRecursion},
    datasource::{provider_as_source, source_as_provider},
    error::{DataFusionError, Result as DataFusionResult},
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{Expr, LogicalPlan, TableScan, TableSource, TableType},
    physical_plan::{
        ExecutionPlan,
        stream::RecordBatchReceiverStream,
        streaming::{PartitionStream, StreamingTableExec},
    },
};
use ebap_catalog::ObjectId;
use ebap_connector::Position;
use parking_lot::RwLock;

use crate::{
    Result,
    pipeline::{range::RangeReader, runtime::SourceRuntime},
    view::store::{FrozenRows, ViewStore},
};

/// Batches read ahead of the query, at the most.
const READ_AHEAD: usize = 2;

/// The rows that a scan of one of our tables reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    /// The rows of a stream, a table or a view.
    Relation(ObjectId),
    /// Records as they came in, and rows that failed, which are kept beside it.
    Beside(ObjectId),
    /// A table of the schema `ebap`.
    System(&'static str),
}

/// `None` where it is none of our tables.
pub fn scanned(source: &Arc<dyn TableSource>) -> Option<Scanned> {
    let provider = source_as_provider(source).ok()?;
    if let Some(table) = provider.downcast_ref::<ViewTable>() {
        return Some(Scanned::Relation(table.of));
    }
    if let Some(table) = provider.downcast_ref::<StreamTable>() {
        return Some(Scanned::Relation(table.runtime.plan.id));
    }
    provider.downcast_ref::<ComputedTable>().map(|table| table.of)
}

/// A materialized view or a table: one step's rows, whole.
#[derive(Debug)]
pub(crate) struct ViewTable {
    pub(crate) of: ObjectId,
    pub(crate) store: Arc<ViewStore>,
    /// The rows as they were at a moment; as they are when it is scanned, where there is none.
    pub(crate) pinned: Option<Arc<FrozenRows>>,
}

/// Pins all views of the plan at one moment, where there are several.
pub(crate) fn at_one_step(plan: LogicalPlan, gate: &RwLock<()>) -> DataFusionResult<LogicalPlan> {
    let view_of = |scan: &TableScan| -> Option<(ObjectId, Arc<ViewStore>)> {
        let provider = source_as_provider(&scan.source).ok()?;
        provider.downcast_ref::<ViewTable>().map(|table| (table.of, Arc::clone(&table.store)))
    };
    let mut stores: Vec<(ObjectId, Arc<ViewStore>)> = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            stores.extend(view_of(scan));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    if stores.len() < 2 {
        return Ok(plan);
    }
    let pinned: Vec<Arc<FrozenRows>> = {
        let _alone = gate.write();
        stores.iter().map(|(_, store)| Arc::new(store.freeze(i64::MAX))).collect()
    };
    let mut next = stores.into_iter().zip(pinned);
    // In the same order as they were found.
    let changed = plan.transform_down_with_subqueries(|node| match node {
        LogicalPlan::TableScan(mut scan) if view_of(&scan).is_some() => {
            let Some(((of, store), pinned)) = next.next() else {
                return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
            };
            scan.source = provider_as_source(Arc::new(ViewTable { of, store, pinned: Some(pinned) }));
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(changed.data)
}

#[async_trait]
impl TableProvider for ViewTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.store.schema())
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        if let Some(failure) = self.store.failure() {
            return Err(external(failure));
        }
        let batches = match &self.pinned {
            None => self.store.snapshot().map_err(external)?,
            Some(pinned) => pinned.rows().map_err(external)?.into_iter().map(|(batch, _)| batch).collect(),
        };
        memory(batches, self.schema(), projection)
    }
}

/// A table whose rows are made when it is scanned.
pub(crate) struct ComputedTable {
    pub(crate) of: Scanned,
    pub(crate) schema: SchemaRef,
    pub(crate) rows: Box<dyn Fn() -> Result<RecordBatch> + Send + Sync>,
}

impl fmt::Debug for ComputedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComputedTable").field("schema", &self.schema).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for ComputedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let batch = (self.rows)().map_err(external)?;
        memory(vec![batch], self.schema(), projection)
    }
}

fn memory(
    batches: Vec<RecordBatch>,
    schema: SchemaRef,
    projection: Option<&Vec<usize>>,
) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    Ok(MemorySourceConfig::try_new_exec(&[batches], schema, projection.cloned())?)
}

/// A stream, or only its late rows.
pub(crate) struct StreamTable {
    pub(crate) runtime: Arc<SourceRuntime>,
    pub(crate) late_only: bool,
}

impl fmt::Debug for StreamTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamTable").field("stream", &self.runtime.plan.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for StreamTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.runtime.plan.full_schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        self.runtime.refuse_elsewhere().map_err(external)?;
        let from = self.runtime.first_position().await.map_err(external)?;
        let to = self.runtime.end_position().await.map_err(external)?;
        let partition: Arc<dyn PartitionStream> =
            Arc::new(StreamRange { runtime: Arc::clone(&self.runtime), from, to, late_only: self.late_only });
        let exec = StreamingTableExec::try_new(self.schema(), vec![partition], projection, [], false, limit)?;
        Ok(Arc::new(exec))
    }
}

struct StreamRange {
    runtime: Arc<SourceRuntime>,
    from: Position,
    to: Position,
    late_only: bool,
}

impl fmt::Debug for StreamRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamRange").field("from", &self.from).field("to", &self.to).finish_non_exhaustive()
    }
}

impl PartitionStream for StreamRange {
    // The trait's name; what is scanned has the virtual columns too.
    #[allow(clippy::misnamed_getters)]
    fn schema(&self) -> &SchemaRef {
        &self.runtime.plan.full_schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStream::builder(Arc::clone(self.schema()), READ_AHEAD);
        let out = builder.tx();
        let (runtime, from, to, late_only) =
            (Arc::clone(&self.runtime), self.from.clone(), self.to.clone(), self.late_only);
        builder.spawn(async move {
            let late = runtime.plan.full_schema.fields().len() - 2;
            let mut range = RangeReader::open(runtime, &from).await.map_err(external)?;
            range.extend(&to).await.map_err(external)?;
            while let Some(step) = range.next().await.map_err(external)? {
                for split in step.splits {
                    let mut batch = split.batch;
                    if let Some(deleted) = split.deleted {
                        // Nobody asks for what has been taken away.
                        batch = filter_record_batch(&batch, &not(&deleted)?)?;
                    }
                    if late_only {
                        let mask = batch.column(late).as_boolean().clone();
                        batch = filter_record_batch(&batch, &mask)?;
                    }
                    if batch.num_rows() > 0 && out.send(Ok(batch)).await.is_err() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        });
        builder.build()
    }
}

pub(crate) fn dead_letter_schema() -> SchemaRef {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    Arc::new(Schema::new(vec![
        Field::new("_partition", DataType::Int32, false),
        Field::new("_offset", DataType::Int64, false),
        Field::new("_timestamp", time(), true),
        Field::new("key", DataType::Binary, true),
        Field::new("value", DataType::Binary, true),
        Field::new("headers", DataType::Utf8, false),
        Field::new("reason", DataType::Utf8, false),
        Field::new("rejected_at", time(), false),
    ]))
}

/// The rejected records that are kept, oldest first.
pub(crate) fn dead_letter_rows(runtime: &SourceRuntime) -> Result<RecordBatch> {
    runtime.refuse_elsewhere()?;
    let letters: Vec<_> = runtime.dead_letters.lock().iter().cloned().collect();
    let headers = letters.iter().map(|letter| {
        let pairs = letter.headers.iter();
        let pairs = pairs.map(|(name, value)| (name, value.as_ref().map(|value| String::from_utf8_lossy(value))));
        serde_json::to_string(&pairs.collect::<Vec<_>>()).unwrap_or_default()
    });
    let headers: StringArray = headers.map(Some).collect();
    let times: TimestampMicrosecondArray =
        letters.iter().map(|letter| (letter.timestamp_ms >= 0).then_some(letter.timestamp_ms * 1_000)).collect();
    let rejected = TimestampMicrosecondArray::from_iter_values(letters.iter().map(|letter| letter.rejected_at_us));
    let batch = RecordBatch::try_new(
        dead_letter_schema(),
        vec![
            Arc::new(letters.iter().map(|letter| letter.partition).collect::<Int32Array>()),
            Arc::new(letters.iter().map(|letter| letter.offset).collect::<Int64Array>()),
            Arc::new(times.with_timezone("+00:00")),
            Arc::new(letters.iter().map(|letter| letter.key.as_deref()).collect::<BinaryArray>()),
            Arc::new(letters.iter().map(|letter| letter.value.as_deref()).collect::<BinaryArray>()),
            Arc::new(headers),
            Arc::new(letters.iter().map(|letter| Some(letter.reason.as_str())).collect::<StringArray>()),
            Arc::new(rejected.with_timezone("+00:00")),
        ],
    )?;
    Ok(batch)
}

pub(crate) fn external(error: crate::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
