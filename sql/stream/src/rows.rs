//! Row by row work of a plan: the chain of filters and projections below or above an aggregate.
//!
//! The planner gives these parts as DataFusion logical plans over a placeholder table. They are
//! evaluated with DataFusion's physical expressions straight on the batch of a step: such a chain
//! holds no state, so nothing is gained by executing it as a plan of its own, and the rows that a
//! filter drops can be counted per split (`ebap.accounting`).

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array},
    compute::{CastOptions, cast_with_options, filter, filter_record_batch, take},
    datatypes::{DataType, SchemaRef},
};
use datafusion::{
    common::DFSchema,
    execution::context::ExecutionProps,
    logical_expr::{Expr, LogicalPlan},
    physical_expr::{PhysicalExpr, create_physical_expr, expressions::Column},
};

use ebap_sql::RowOp;

use crate::{
    Error, Result,
    failed_rows::{Failing, without},
};

#[derive(Debug)]
enum Op {
    Filter(Arc<dyn PhysicalExpr>),
    Project { exprs: Vec<Arc<dyn PhysicalExpr>>, schema: SchemaRef },
}

/// The rows computed from a batch.
pub(crate) struct Computed {
    pub(crate) batch: RecordBatch,
    /// For each row the index of its row in the batch given (`None`: all of them, in order).
    pub(crate) index: Option<UInt32Array>,
    /// Rows of the batch given that were left out.
    pub(crate) bad: Vec<(usize, Error)>,
}

#[derive(Debug)]
pub(crate) struct RowOps {
    ops: Vec<Op>,
    schema: SchemaRef,
    filters: bool,
}

impl RowOps {
    /// # Errors
    /// `Internal` for a node that is neither filter nor projection: the planner refuses those.
    pub(crate) fn build(plan: &LogicalPlan, base: &SchemaRef) -> Result<Self> {
        let mut ops = Vec::new();
        collect(plan, base, &mut ops)?;
        let filters = ops.iter().any(|op| matches!(op, Op::Filter(_)));
        let schema = match ops.iter().rev().find_map(|op| match op {
            Op::Project { schema, .. } => Some(Arc::clone(schema)),
            Op::Filter(_) => None,
        }) {
            Some(schema) => schema,
            None => Arc::clone(base),
        };
        Ok(Self { ops, schema, filters })
    }

    /// As the planner of flows gives them.
    pub(crate) fn of(plan: &[RowOp], base: &SchemaRef) -> Result<Self> {
        let mut ops = Vec::with_capacity(plan.len());
        let (mut out, mut filters) = (Arc::clone(base), false);
        for op in plan {
            ops.push(match op {
                RowOp::Filter { predicate, input } => {
                    filters = true;
                    Op::Filter(physical(predicate, input)?)
                }
                RowOp::Project { exprs, input, schema } => {
                    let exprs: Result<Vec<_>> = exprs.iter().map(|expr| physical(expr, input)).collect();
                    out = Arc::clone(schema);
                    Op::Project { exprs: exprs?, schema: Arc::clone(schema) }
                }
            });
        }
        Ok(Self { ops, schema: out, filters })
    }

    /// These columns of the base, nothing else.
    pub(crate) fn columns(base: &SchemaRef, columns: &[usize]) -> Result<Self> {
        let schema: SchemaRef = Arc::new(base.project(columns)?);
        let exprs = column_exprs(base, columns);
        Ok(Self { ops: vec![Op::Project { exprs, schema: Arc::clone(&schema) }], schema, filters: false })
    }

    /// Columns of what `run` gives.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn has_filter(&self) -> bool {
        self.filters
    }

    /// The rows that pass, and for each the index of its row in `batch` (`None`: all of them, in order).
    pub(crate) fn run(&self, batch: RecordBatch) -> Result<(RecordBatch, Option<UInt32Array>)> {
        let mut batch = batch;
        let mut index: Option<UInt32Array> = None;
        for op in &self.ops {
            // Functions may look at the first value, and there is nothing to do for them.
            if batch.num_rows() == 0 {
                return Ok((RecordBatch::new_empty(Arc::clone(&self.schema)), index));
            }
            match op {
                Op::Filter(predicate) => {
                    let mask = predicate.evaluate(&batch)?.into_array(batch.num_rows())?;
                    let mask = mask.as_boolean();
                    if mask.true_count() == mask.len() {
                        continue;
                    }
                    let rows = u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
                    let now = index.take().unwrap_or_else(|| UInt32Array::from_iter_values(0..rows));
                    index = Some(filter(&now, mask)?.as_primitive().clone());
                    batch = filter_record_batch(&batch, mask)?;
                }
                Op::Project { exprs, schema } => {
                    let rows = batch.num_rows();
                    let columns: Result<Vec<ArrayRef>> =
                        exprs.iter().map(|expr| Ok(expr.evaluate(&batch)?.into_array(rows)?)).collect();
                    batch = record_batch(schema, columns?, rows)?;
                }
            }
        }
        Ok((batch, index))
    }

    /// As `run`; rows that cannot be computed are left out. Gives them too, with their errors.
    pub(crate) fn run_computable(&self, batch: RecordBatch, failing: &Failing) -> Result<Computed> {
        let error = match self.run(batch.clone()) {
            Ok((batch, index)) => return Ok(Computed { batch, index, bad: Vec::new() }),
            Err(error) => error,
        };
        let bad = failing.rows_of(&batch, error, &|part| self.run(part.clone()).map(drop))?;
        let mask = without(batch.num_rows(), &bad);
        let all = UInt32Array::from_iter_values(0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX));
        let good: UInt32Array = filter(&all, &mask)?.as_primitive().clone();
        let (rows, index) = self.run(filter_record_batch(&batch, &mask)?)?;
        let index = match index {
            Some(index) => take(&good, &index, None)?.as_primitive().clone(),
            None => good,
        };
        Ok(Computed { batch: rows, index: Some(index), bad })
    }

    /// One line per node, outermost first, for `EXPLAIN`.
    pub(crate) fn describe(&self) -> Vec<String> {
        let lines = self.ops.iter().rev().map(|op| match op {
            Op::Filter(predicate) => format!("Filter: {predicate}"),
            Op::Project { exprs, schema } => {
                let columns =
                    exprs.iter().zip(schema.fields()).map(|(expr, field)| format!("{expr} as {}", field.name()));
                format!("Project: {}", columns.collect::<Vec<_>>().join(", "))
            }
        });
        lines.collect()
    }
}

/// A batch in `schema`, which may have no columns at all.
pub(crate) fn record_batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// The same values in another type.
///
/// # Errors
/// Where one does not fit: it must not become NULL.
pub(crate) fn cast(column: &ArrayRef, of: &DataType) -> Result<ArrayRef> {
    if column.data_type() == of {
        return Ok(Arc::clone(column));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(column, of, &options)?)
}

/// A column as an older version has saved it, in the type that there is now.
///
/// # Errors
/// Of outdated state where it was more than a number of another width.
pub(crate) fn adapted(column: &ArrayRef, of: &DataType) -> Result<ArrayRef> {
    let is_number =
        |of: &DataType| of.is_integer() || matches!(of, DataType::Decimal128(..) | DataType::Decimal256(..));
    if column.data_type() != of && !(is_number(column.data_type()) && is_number(of)) {
        return Err(Error::outdated(&format!("{} where {of} is expected", column.data_type())));
    }
    cast(column, of).map_err(|_| Error::outdated(&format!("a number that is no {of}")))
}

/// A batch as an older version has saved it, in `schema`.
pub(crate) fn adapted_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        return Err(Error::outdated("other columns"));
    }
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| adapted(column, field.data_type())).collect::<Result<Vec<_>>>()?;
    record_batch(schema, columns, batch.num_rows())
}

pub(crate) fn physical(expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    Ok(create_physical_expr(expr, schema, &ExecutionProps::new())?)
}

fn collect(plan: &LogicalPlan, base: &SchemaRef, ops: &mut Vec<Op>) -> Result<()> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            if let Some(columns) = &scan.projection {
                let schema = Arc::new(base.project(columns)?);
                ops.push(Op::Project { exprs: column_exprs(base, columns), schema });
            }
            Ok(())
        }
        LogicalPlan::SubqueryAlias(alias) => collect(&alias.input, base, ops),
        LogicalPlan::Filter(node) => {
            collect(&node.input, base, ops)?;
            ops.push(Op::Filter(physical(&node.predicate, node.input.schema())?));
            Ok(())
        }
        LogicalPlan::Projection(node) => {
            collect(&node.input, base, ops)?;
            let input = node.input.schema();
            let exprs: Result<Vec<_>> = node.expr.iter().map(|expr| physical(expr, input)).collect();
            // Fields as the plan has them, without the metadata of relations.
            let schema = Arc::clone(node.schema.inner());
            ops.push(Op::Project { exprs: exprs?, schema });
            Ok(())
        }
        other => Err(Error::Internal(format!("a step cannot run the node {}", other.display()))),
    }
}

fn column_exprs(base: &SchemaRef, columns: &[usize]) -> Vec<Arc<dyn PhysicalExpr>> {
    let column = |at: &usize| Arc::new(Column::new(base.field(*at).name(), *at)) as Arc<dyn PhysicalExpr>;
    columns.iter().map(column).collect()
}
