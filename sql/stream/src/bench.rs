//! One view by itself, for the benchmarks in `benchmarks/micro`: no source, no loop, no store.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, new_null_array},
    datatypes::SchemaRef,
};
use ebap_catalog::Catalog;
use ebap_connector::{Position, SplitId};
use ebap_sql::{SourcePlan, ViewPlan, apply, parse, plan_catalog};

use crate::{
    EngineConfig, Result,
    prepare::{SplitBatch, StepBatch},
    rows::record_batch,
    view::{Saved, ViewJob, store::ViewStore},
};

/// A view over a stream, and its state.
pub struct ViewBench {
    source: Arc<SourcePlan>,
    plan: Arc<ViewPlan>,
    job: ViewJob,
}

/// What a base snapshot holds.
pub struct Snapshot(Saved);

impl ViewBench {
    /// From a `CREATE STREAM` and a `CREATE MATERIALIZED VIEW` on it.
    ///
    /// # Panics
    /// Where the statements do not fit: they are the benchmark's own.
    pub fn new(statements: &str) -> Self {
        let mut catalog = Catalog::default();
        for parsed in parse(statements).expect("the benchmark's SQL parses") {
            catalog = apply(&catalog, &parsed.statement, &parsed.text, 0).expect("the benchmark's SQL applies").catalog;
        }
        let plans = plan_catalog(&catalog).expect("the benchmark's SQL plans");
        let (source, plan) = (Arc::clone(&plans.sources[0]), Arc::clone(&plans.views[0]));
        let job = Self::job(&source, &plan).expect("a planned view can be built");
        Self { source, plan, job }
    }

    fn job(source: &SourcePlan, plan: &ViewPlan) -> Result<ViewJob> {
        let store = Arc::new(ViewStore::new(Arc::clone(&plan.schema)));
        ViewJob::view(source, plan, store, &EngineConfig::default())
    }

    /// The declared columns, of which `step` wants batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.source.schema
    }

    /// One step over these rows.
    pub fn step(&mut self, rows: &RecordBatch) -> Result<()> {
        let full = &self.source.full_schema;
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        columns.extend(full.fields().iter().skip(columns.len()).map(|field| new_null_array(field.data_type(), rows.num_rows())));
        let fields: Vec<_> = full.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let batch = record_batch(&Arc::new(arrow::datatypes::Schema::new(fields)), columns, rows.num_rows())?;
        let split = SplitBatch {
            split: SplitId::new("0"),
            batch,
            consumed: rows.num_rows() as u64,
            rejected: 0,
            late: 0,
            newest: None,
            offsets: (0, 0),
        };
        self.job.process(&StepBatch { splits: vec![split], position: Position::default() }, false)?;
        Ok(())
    }

    /// Closes the windows that end at or before this event time, in microseconds.
    pub fn advance(&mut self, watermark_us: i64) -> Result<()> {
        self.job.advance(watermark_us, false)?;
        Ok(())
    }

    /// Rows of the delta since the last call, as a checkpoint would write them.
    pub fn delta(&mut self) -> Result<usize> {
        Ok(self.job.take_delta()?.iter().map(RecordBatch::num_rows).sum())
    }

    pub fn snapshot(&mut self) -> Result<Snapshot> {
        self.job.snapshot().map(Snapshot)
    }

    /// An empty view that takes the snapshot.
    pub fn restored(&self, snapshot: &Snapshot) -> Result<Self> {
        let (source, plan) = (Arc::clone(&self.source), Arc::clone(&self.plan));
        let mut job = Self::job(&source, &plan)?;
        job.restore(Saved { state: snapshot.0.state.clone(), rows: snapshot.0.rows.clone() })?;
        job.settle()?;
        Ok(Self { source, plan, job })
    }

    pub fn groups(&self) -> usize {
        self.job.state_groups()
    }
}
