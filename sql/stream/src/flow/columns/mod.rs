//! What an aggregate keeps of each group, so that rows can be taken away again.
//!
//! | aggregate | kept | in |
//! |---|---|---|
//! | `count` | a number | here |
//! | `sum` of integers and decimals | a wide number, which is subtracted from | `sum.rs` |
//! | `sum`, `avg` of doubles | an exact sum, with NaN and Infinity counted apart | `float.rs`, `expansion.rs` |
//! | `min`, `max` | of rows that only come, the best value | `extreme.rs` |
//! | `min`, `max` | else how often each value is there, in order | `multiset.rs` |
//! | `count(DISTINCT)` | how often each value is there; of windows that share panes, in which pane | `pane_values.rs` |
//! | any other | the same, and DataFusion's own accumulator is run over it when the group is asked for | `multiset.rs` |

mod expansion;
mod extreme;
mod float;
mod input;
mod multiset;
mod sum;

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema, i256},
};
use datafusion::{
    execution::context::ExecutionProps,
    physical_expr::{
        PhysicalExpr,
        aggregate::{AggregateFunctionExpr, LoweredAggregate, LoweredAggregateBuilder},
    },
    physical_plan::aggregates::{AggregateMode, aggregate_expressions},
};

use self::{
    extreme::{Best, Extreme},
    float::FloatSums,
    input::Input,
    multiset::{Multiset, Use},
    sum::{Sum, is_exact},
};
use super::{
    arrangement::wrong,
    delta::{Codec, Delta},
    pane_values::PaneValues,
    panes::Partial,
};
use crate::{Result, rows::cast};

/// One aggregate over all groups.
pub(crate) struct Column {
    aggregate: Arc<AggregateFunctionExpr>,
    args: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    of: DataType,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    Count(Vec<i64>),
    Sum(Sum<i128>),
    WideSum(Sum<i256>),
    Float(FloatSums),
    Extreme(Extreme),
    Values(Multiset),
    /// Distinct values of windows that share panes: how many each window has, and where they are. `empty`: what a step
    /// has of each pane.
    Panes {
        counts: Vec<i64>,
        values: Box<PaneValues>,
        empty: Multiset,
    },
}

impl Column {
    pub(crate) fn new(
        expr: &datafusion::logical_expr::Expr,
        logical: &datafusion::common::DFSchema,
        append_only: bool,
    ) -> Result<Self> {
        let physical = Arc::clone(logical.inner());
        let props = ExecutionProps::new();
        let lowered = LoweredAggregateBuilder::new(expr, logical, &physical, &props).build()?;
        let LoweredAggregate { aggregate, filter, .. } = lowered;
        let args = aggregate_expressions(std::slice::from_ref(&aggregate), &AggregateMode::Partial, 0)?;
        let args: Vec<_> = args.into_iter().flatten().collect();
        let of = aggregate.field().data_type().clone();
        let types: Vec<DataType> = args.iter().map(|arg| Ok(arg.data_type(&physical)?)).collect::<Result<_>>()?;
        let kept = kept(&aggregate, &types, append_only)?;
        Ok(Self { aggregate, args, filter, of, kept })
    }

    /// Expressions that are computed for each row.
    pub(crate) fn exprs(&self) -> impl Iterator<Item = &Arc<dyn PhysicalExpr>> {
        self.args.iter().chain(&self.filter)
    }

    /// The same aggregate over nothing.
    pub(crate) fn empty(&self) -> Self {
        let kept = match &self.kept {
            Kept::Count(_) => Kept::Count(Vec::new()),
            Kept::Sum(sums) => Kept::Sum(sums.empty()),
            Kept::WideSum(sums) => Kept::WideSum(sums.empty()),
            Kept::Float(sums) => Kept::Float(sums.empty()),
            Kept::Extreme(best) => Kept::Extreme(best.empty()),
            Kept::Values(values) | Kept::Panes { empty: values, .. } => Kept::Values(values.empty()),
        };
        Self {
            aggregate: Arc::clone(&self.aggregate),
            args: self.args.clone(),
            filter: self.filter.clone(),
            of: self.of.clone(),
            kept,
        }
    }

    /// Distinct values are kept by pane.
    pub(crate) fn keep_by_pane(&mut self, own: &Codec, life_us: i64) {
        if let Kept::Values(kept) = &self.kept
            && kept.what == Use::Distinct
        {
            let values = Box::new(PaneValues::new(own.clone(), kept.codec.clone(), life_us));
            self.kept = Kept::Panes { counts: Vec::new(), values, empty: kept.empty() };
        }
    }

    /// Adds what the other has of each pane to its windows. False where values are not kept by pane.
    pub(crate) fn absorb_panes(&mut self, other: &Self, partial: &Partial, groups: &[Option<u32>]) -> Result<bool> {
        let Kept::Panes { counts, values, .. } = &mut self.kept else { return Ok(false) };
        let Kept::Values(of_pane) = &other.kept else { return Err(wrong()) };
        let mut first = 0;
        while let Some(number) = partial.of.get(first) {
            let windows = partial.of[first..].iter().take_while(|of| *of == number).count();
            let at = *number as usize;
            for (value, weight) in &of_pane.values[at] {
                let Some(turn) = values.add(&partial.keys[at], value, partial.panes[at], *weight) else { continue };
                let spans = partial.spans[first..first + windows].iter();
                for ((start, size_us), group) in spans.zip(&groups[first..]) {
                    if let Some(group) = group.filter(|_| turn.counts_in(*start, *size_us)) {
                        counts[group as usize] += turn.by;
                    }
                }
            }
            first += windows;
        }
        Ok(true)
    }

    pub(crate) fn expire(&mut self, watermark: i64) {
        if let Kept::Panes { values, .. } = &mut self.kept {
            values.expire(watermark);
        }
    }

    pub(crate) fn forget_changes(&mut self) {
        if let Kept::Panes { values, .. } = &mut self.kept {
            values.forget_changes();
        }
    }

    /// Values by pane, with their keys; nothing where they are not kept so.
    pub(crate) fn panes_saved(&mut self, all: bool) -> Result<Vec<RecordBatch>> {
        match &mut self.kept {
            Kept::Panes { values, .. } => values.saved(all),
            _ => Ok(Vec::new()),
        }
    }

    /// Takes back what `panes_saved` gave. False where values are not kept so.
    pub(crate) fn restore_panes(&mut self, batch: &RecordBatch) -> Result<bool> {
        match &mut self.kept {
            Kept::Panes { values, .. } => values.restore(batch).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Adds what the other, of the same aggregate, has of a group.
    pub(crate) fn absorb(&mut self, other: &Self, from: u32, to: u32) -> Result<()> {
        let (from, to) = (from as usize, to as usize);
        match (&mut self.kept, &other.kept) {
            (Kept::Count(own), Kept::Count(other)) => own[to] += other[from],
            (Kept::Sum(own), Kept::Sum(other)) => own.absorb(other, from, to)?,
            (Kept::WideSum(own), Kept::WideSum(other)) => own.absorb(other, from, to)?,
            (Kept::Float(own), Kept::Float(other)) => own.absorb(other, from, to),
            (Kept::Extreme(own), Kept::Extreme(other)) => own.absorb(other, from, to),
            (Kept::Values(own), Kept::Values(other)) => own.absorb(other, from, to),
            _ => return Err(wrong()),
        }
        Ok(())
    }

    pub(crate) fn resize(&mut self, groups: usize) {
        match &mut self.kept {
            Kept::Count(counts) | Kept::Panes { counts, .. } => counts.resize(groups, 0),
            Kept::Sum(sums) => sums.resize(groups),
            Kept::WideSum(sums) => sums.resize(groups),
            Kept::Float(sums) => sums.resize(groups),
            Kept::Extreme(best) => best.resize(groups),
            Kept::Values(values) => values.resize(groups),
        }
    }

    /// Takes the rows of a change; `groups` says of each row which group it is of (`None`: of none).
    pub(crate) fn update(&mut self, delta: &Delta, groups: &[Option<u32>]) -> Result<()> {
        let (batch, rows) = (&delta.batch, delta.rows());
        if rows == 0 {
            return Ok(());
        }
        let args: Vec<ArrayRef> =
            self.args.iter().map(|arg| Ok(arg.evaluate(batch)?.into_array(rows)?)).collect::<Result<_>>()?;
        let filter: Option<BooleanArray> = match &self.filter {
            None => None,
            Some(filter) => Some(filter.evaluate(batch)?.into_array(rows)?.as_boolean().clone()),
        };
        let input = Input { delta, args: &args, groups, filter: filter.as_ref() };
        match &mut self.kept {
            // Rows come by way of their panes.
            Kept::Panes { .. } => Err(wrong()),
            Kept::Count(counts) => {
                for (row, group) in input.each() {
                    if args.iter().all(|arg| arg.is_valid(row)) {
                        counts[group] += delta.weight(row);
                    }
                }
                Ok(())
            }
            Kept::Sum(sums) => sums.update(&input),
            Kept::WideSum(sums) => sums.update(&input),
            Kept::Float(sums) => sums.update(&input),
            Kept::Extreme(best) => best.update(&input),
            Kept::Values(values) => values.update(&input),
        }
    }

    /// Adds what one group has to another, and empties it.
    pub(crate) fn merge(&mut self, from: u32, to: u32) -> Result<()> {
        let (from, to) = (from as usize, to as usize);
        match &mut self.kept {
            Kept::Count(counts) | Kept::Panes { counts, .. } => counts[to] += std::mem::take(&mut counts[from]),
            Kept::Sum(sums) => sums.merge(from, to)?,
            Kept::WideSum(sums) => sums.merge(from, to)?,
            Kept::Float(sums) => sums.merge(from, to),
            Kept::Extreme(best) => best.merge(from, to),
            Kept::Values(values) => values.merge(from, to),
        }
        Ok(())
    }

    /// The group is gone.
    pub(crate) fn clear(&mut self, group: u32) {
        let group = group as usize;
        match &mut self.kept {
            Kept::Count(counts) | Kept::Panes { counts, .. } => counts[group] = 0,
            Kept::Sum(sums) => sums.clear(group),
            Kept::WideSum(sums) => sums.clear(group),
            Kept::Float(sums) => sums.clear(group),
            Kept::Extreme(best) => best.clear(group),
            Kept::Values(values) => values.clear(group),
        }
    }

    pub(crate) fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let array = match &self.kept {
            Kept::Count(counts) | Kept::Panes { counts, .. } => numbers(counts, groups),
            Kept::Sum(sums) => sums.evaluate(groups)?,
            Kept::WideSum(sums) => sums.evaluate(groups)?,
            Kept::Float(sums) => sums.evaluate(groups)?,
            Kept::Extreme(best) => best.evaluate(groups)?,
            Kept::Values(values) => values.evaluate(groups)?,
        };
        cast(&array, &self.of)
    }

    /// Bytes held, about.
    pub(crate) fn size(&self) -> usize {
        match &self.kept {
            Kept::Count(counts) => counts.capacity() * 8,
            Kept::Panes { counts, values, .. } => counts.capacity() * 8 + values.size(),
            Kept::Sum(sums) => sums.size(),
            Kept::WideSum(sums) => sums.size(),
            Kept::Float(sums) => sums.size(),
            Kept::Extreme(best) => best.size(),
            Kept::Values(values) => values.size(),
        }
    }

    /// Columns that say what a group has, where that is a few numbers: the same ones for every group.
    pub(crate) fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(match &self.kept {
            Kept::Count(counts) | Kept::Panes { counts, .. } => vec![numbers(counts, groups)],
            Kept::Sum(sums) => sums.state(groups)?,
            Kept::WideSum(sums) => sums.state(groups)?,
            Kept::Float(sums) => sums.state(groups),
            Kept::Extreme(best) => vec![best.evaluate(groups)?],
            Kept::Values(_) => Vec::new(),
        })
    }

    /// How many columns `state` gives.
    pub(crate) fn state_columns(&self) -> usize {
        match &self.kept {
            Kept::Count(_) | Kept::Panes { .. } | Kept::Extreme(_) => 1,
            Kept::Sum(_) | Kept::WideSum(_) => 2,
            Kept::Float(_) => 3,
            Kept::Values(_) => 0,
        }
    }

    pub(crate) fn restore(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        match &mut self.kept {
            Kept::Count(counts) | Kept::Panes { counts, .. } => {
                let saved = ints(columns, 0)?;
                groups.iter().enumerate().for_each(|(row, group)| counts[*group as usize] = saved.value(row));
                Ok(())
            }
            Kept::Sum(sums) => sums.restore(groups, columns),
            Kept::WideSum(sums) => sums.restore(groups, columns),
            Kept::Float(sums) => sums.restore(groups, columns),
            Kept::Extreme(best) => best.restore(groups, columns),
            Kept::Values(_) => Ok(()),
        }
    }

    /// Of values that are kept one by one: which group, the value, how often. All of these groups, or what changed
    /// in them since the last call. None for the other kinds.
    pub(crate) fn values(&mut self, groups: &[u32], all: bool) -> Result<Option<(Vec<u32>, RecordBatch)>> {
        match &mut self.kept {
            Kept::Values(values) => values.saved(groups, all).map(Some),
            _ => Ok(None),
        }
    }

    /// Takes values back, each as often as it was.
    pub(crate) fn restore_values(&mut self, groups: &[Option<u32>], columns: &[ArrayRef]) -> Result<()> {
        match &mut self.kept {
            Kept::Values(values) => values.restore(groups, columns),
            _ => Err(wrong()),
        }
    }
}

/// What is kept for an aggregate over arguments of these types.
fn kept(aggregate: &Arc<AggregateFunctionExpr>, types: &[DataType], append_only: bool) -> Result<Kept> {
    let fields = types.iter().enumerate().map(|(at, of)| Field::new(format!("v{at}"), of.clone(), true));
    let codec = || Codec::new(&Arc::new(Schema::new(fields.clone().collect::<Vec<_>>())));
    let values = |what| Ok(Kept::Values(Multiset::new(aggregate, codec()?, what)));
    let (name, of, distinct) = (aggregate.fun().name(), aggregate.field().data_type().clone(), aggregate.is_distinct());
    let plain = !distinct && aggregate.order_bys().is_empty();
    Ok(match (name, types) {
        ("count", _) if plain => Kept::Count(Vec::new()),
        ("count", [_]) if distinct => return values(Use::Distinct),
        ("sum", [value]) if plain && is_exact(value, &of) => match of {
            DataType::Decimal256(..) => Kept::WideSum(Sum::new(of)),
            _ => Kept::Sum(Sum::new(of)),
        },
        ("sum" | "avg", [DataType::Float64]) if plain && of == DataType::Float64 => {
            Kept::Float(FloatSums::new(name == "avg"))
        }
        ("min" | "max", [value]) if ordered(value) => {
            let best = if name == "min" { Best::Least } else { Best::Most };
            match append_only {
                true => Kept::Extreme(Extreme::new(best, of, codec()?)),
                false => return values(Use::Best(best)),
            }
        }
        _ => return values(Use::Rerun),
    })
}

fn numbers(counts: &[i64], groups: &[u32]) -> ArrayRef {
    Arc::new(groups.iter().map(|group| counts[*group as usize]).collect::<Int64Array>())
}

fn ints(columns: &[ArrayRef], at: usize) -> Result<&Int64Array> {
    columns.get(at).and_then(|column| column.as_primitive_opt::<Int64Type>()).ok_or_else(wrong)
}

/// Types whose order is that of their bytes in Arrow's row format.
fn ordered(of: &DataType) -> bool {
    of.is_integer()
        || matches!(
            of,
            DataType::Utf8
                | DataType::Boolean
                | DataType::Date32
                | DataType::Timestamp(..)
                | DataType::Decimal128(..)
                | DataType::Decimal256(..)
                | DataType::Float64
                | DataType::Float32
        )
}

impl std::fmt::Debug for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Column").field("aggregate", &self.aggregate.name()).finish_non_exhaustive()
    }
}
