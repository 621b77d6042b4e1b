//! One view by itself, for `benchmarks/micro`: no source, no loop, nothing written.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, new_null_array},
    datatypes::SchemaRef,
};
use ebap_catalog::Catalog;
use ebap_connector::{Position, SplitId};
use ebap_sql::{SourcePlan, ViewPlan, apply, parse, plan_catalog};

use crate::{
    EngineConfig,
    prepare::{SplitBatch, StepBatch},
    rows::record_batch,
    view::{Saved, ViewJob, store::ViewStore},
};

pub struct ViewBench {
    /// The first is the one that `step` is of.
    sources: Vec<Arc<SourcePlan>>,
    view: Arc<ViewPlan>,
    job: ViewJob,
    offset: i64,
}

/// State and rows of a view at a moment.
pub struct Snapshot {
    state: Vec<RecordBatch>,
    rows: Vec<RecordBatch>,
}

#[derive(Debug)]
pub struct PartialRows(Vec<RecordBatch>);

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

impl ViewBench {
    /// # Errors
    /// Where the text is not one `CREATE STREAM` and one `CREATE MATERIALIZED VIEW` that can be planned.
    pub fn new(sql: &str) -> Result<Self> {
        let mut catalog = Catalog::default();
        for parsed in parse(sql)? {
            catalog = apply(&catalog, &parsed.statement, &parsed.text, 0)?.catalog;
        }
        let plans = plan_catalog(&catalog)?;
        let source = plans.sources.first().cloned().ok_or("no stream")?;
        let view = plans.views.last().cloned().ok_or("no view")?;
        let job = job(&source, &view)?;
        Ok(Self { sources: plans.sources, view, job, offset: 0 })
    }

    /// The declared columns, which a batch of `step` has.
    pub fn schema(&self) -> &SchemaRef {
        &self.sources[0].schema
    }

    /// Those of another stream or table, in the order of their statements.
    pub fn schema_of(&self, source: usize) -> &SchemaRef {
        &self.sources[source].schema
    }

    /// One turn of the loop behind the decoder: rows are merged and the view brought up to date.
    ///
    /// # Errors
    /// Those of the job.
    pub fn step(&mut self, rows: &RecordBatch) -> Result<()> {
        self.step_of(0, rows)
    }

    /// The same with rows of another source.
    ///
    /// # Errors
    /// Those of the job.
    pub fn step_of(&mut self, source: usize, rows: &RecordBatch) -> Result<()> {
        let source = Arc::clone(&self.sources[source]);
        let count = rows.num_rows();
        let columns = rows.columns().iter().cloned();
        let virtual_ones = source.full_schema.fields().iter().skip(rows.num_columns());
        let columns: Vec<ArrayRef> =
            columns.chain(virtual_ones.map(|field| new_null_array(field.data_type(), count))).collect();
        // Nobody here reads virtual columns, so they may be NULL.
        let fields = source.full_schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()));
        let first = self.offset;
        self.offset += count as i64;
        let split = SplitBatch {
            source: source.id,
            split: SplitId::new("0"),
            partition: 0,
            batch: record_batch(&schema, columns, count)?,
            consumed: count as u64,
            deleted: None,
            rejected: 0,
            skipped: 0,
            missed: 0,
            failed: 0,
            late: 0,
            future: 0,
            newest: None,
            offsets: (first, self.offset),
        };
        self.job.process(&StepBatch { splits: vec![split], position: Position::default() }, false)?;
        Ok(())
    }

    /// Time has passed: windows close, and state is let go.
    ///
    /// # Errors
    /// Those of the job.
    pub fn advance(&mut self, watermark_us: i64) -> Result<()> {
        self.job.advance(watermark_us, false)?;
        Ok(())
    }

    /// Of the state, and of the view's rows.
    ///
    /// # Errors
    /// Where they are more than a view may hold.
    pub fn bytes(&mut self) -> Result<(usize, usize)> {
        self.job.check_memory()?;
        Ok((self.job.figures.state_bytes.unwrap_or(0), self.job.figures.view_bytes.unwrap_or(0)))
    }

    /// What an epoch writes: rows of it.
    ///
    /// # Errors
    /// Those of the job.
    pub fn delta(&mut self) -> Result<usize> {
        Ok(self.job.take_delta()?.iter().map(RecordBatch::num_rows).sum())
    }

    /// What an epoch writes, to be merged into another view.
    ///
    /// # Errors
    /// Those of the job.
    pub fn partial_rows(&mut self) -> Result<PartialRows> {
        Ok(PartialRows(self.job.take_delta()?))
    }

    /// Merges the partial rows of another lane, instance or epoch; gives how many.
    ///
    /// # Errors
    /// Those of the job.
    pub fn merge(&mut self, rows: &PartialRows) -> Result<usize> {
        self.job.replay(rows.0.clone())?;
        Ok(rows.0.iter().map(RecordBatch::num_rows).sum())
    }

    pub fn groups(&self) -> usize {
        self.job.state_groups()
    }

    /// # Errors
    /// Those of the job.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        let Saved { state, rows } = self.job.freeze()?.saved()?;
        Ok(Snapshot { state, rows })
    }

    /// Another view with what the snapshot holds; gives its groups.
    ///
    /// # Errors
    /// Those of the job.
    pub fn restored(&self, snapshot: &Snapshot) -> Result<usize> {
        let mut job = job(&self.sources[0], &self.view)?;
        job.restore(Saved { state: snapshot.state.clone(), rows: snapshot.rows.clone() })?;
        job.settle()?;
        Ok(job.state_groups())
    }
}

fn job(source: &SourcePlan, view: &ViewPlan) -> crate::Result<ViewJob> {
    let store = Arc::new(ViewStore::new(Arc::clone(&view.schema)));
    ViewJob::view(source, view, store, &EngineConfig::default())
}

impl std::fmt::Debug for ViewBench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ViewBench").field("groups", &self.groups()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("batches", &self.state.len()).finish_non_exhaustive()
    }
}
