//! What an aggregate keeps of each group, so that rows can be taken away again.
//!
//! | aggregate | kept |
//! |---|---|
//! | `count`, `sum`, `avg` of numbers | a number or two, which are subtracted from |
//! | `min`, `max` | how often each value is there, in order; of rows that only come, the best one |
//! | `count(DISTINCT)` | how often each value is there; of windows that share panes, in which pane |
//! | any other | the same, and DataFusion's own accumulator is run over it when the group is asked for |

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, UInt64Array,
        new_null_array,
    },
    datatypes::{DataType, Decimal128Type, Field, Float64Type, Int64Type, Schema, UInt64Type},
};
use datafusion::{
    common::ScalarValue,
    execution::context::ExecutionProps,
    physical_expr::{PhysicalExpr, aggregate::AggregateFunctionExpr},
    physical_plan::aggregates::{AggregateMode, aggregate_expressions},
    physical_planner::create_aggregate_expr_and_maybe_filter,
};

use super::{
    arrangement::{WEIGHT, wrong},
    delta::{Bytes, Codec, Delta},
    pane_values::PaneValues,
    panes::Partial,
};
use crate::{Result, rows::record_batch};

/// How many times which value is there.
type Values = BTreeMap<Bytes, i64>;

/// One aggregate over all groups.
pub(crate) struct Column {
    aggregate: Arc<AggregateFunctionExpr>,
    args: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    of: DataType,
    kept: Kept,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Best {
    Least,
    Most,
}

enum Kept {
    Count(Vec<i64>),
    /// Sum, and how many values are in it.
    Int(Vec<(i64, i64)>),
    UInt(Vec<(u64, i64)>),
    Decimal(Vec<(i128, i64)>),
    /// The second part is what rounding has lost (Neumaier, 1974). `mean`: `avg`.
    Float {
        sums: Vec<(f64, f64, i64)>,
        mean: bool,
    },
    /// Rows only come.
    Extreme {
        best: Best,
        codec: Codec,
        values: Vec<Option<Bytes>>,
    },
    Values {
        codec: Codec,
        values: Vec<Values>,
        what: What,
        changed: Vec<Vec<Bytes>>,
        bytes: usize,
    },
    /// Distinct values of windows that share panes: how many each window has, and where they are.
    Panes {
        counts: Vec<i64>,
        values: Box<PaneValues>,
        codec: Codec,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Best(Best),
    Distinct,
    Rerun,
}

impl Column {
    pub(crate) fn new(
        expr: &datafusion::logical_expr::Expr,
        logical: &datafusion::common::DFSchema,
        append_only: bool,
    ) -> Result<Self> {
        let physical = Arc::clone(logical.inner());
        let props = ExecutionProps::new();
        let (aggregate, filter, _) = create_aggregate_expr_and_maybe_filter(expr, logical, &physical, &props)?;
        let args = aggregate_expressions(std::slice::from_ref(&aggregate), &AggregateMode::Partial, 0)?;
        let args: Vec<_> = args.into_iter().flatten().collect();
        let of = aggregate.field().data_type().clone();
        let types: Vec<DataType> = args.iter().map(|arg| Ok(arg.data_type(&physical)?)).collect::<Result<_>>()?;
        let codec = || {
            let fields = types.iter().enumerate().map(|(at, of)| Field::new(format!("v{at}"), of.clone(), true));
            Codec::new(&Arc::new(Schema::new(fields.collect::<Vec<_>>())))
        };
        let values = |what| {
            Ok::<Kept, crate::Error>(Kept::Values {
                codec: codec()?,
                values: Vec::new(),
                what,
                changed: Vec::new(),
                bytes: 0,
            })
        };
        let (name, distinct, one) = (aggregate.fun().name().to_owned(), aggregate.is_distinct(), types.len() == 1);
        let plain = !distinct && aggregate.order_bys().is_empty();
        let kept = match (name.as_str(), &of) {
            ("count", _) if plain => Kept::Count(Vec::new()),
            ("count", _) if distinct && one => values(What::Distinct)?,
            ("sum", DataType::Int64) if plain && types[0] == of => Kept::Int(Vec::new()),
            ("sum", DataType::UInt64) if plain && types[0] == of => Kept::UInt(Vec::new()),
            ("sum", DataType::Decimal128(..)) if plain && matches!(types[0], DataType::Decimal128(..)) => {
                Kept::Decimal(Vec::new())
            }
            ("sum" | "avg", DataType::Float64) if plain && types[0] == of => {
                Kept::Float { sums: Vec::new(), mean: name == "avg" }
            }
            ("min" | "max", _) if one && ordered(&types[0]) => {
                let best = if name == "min" { Best::Least } else { Best::Most };
                match append_only {
                    true => Kept::Extreme { best, codec: codec()?, values: Vec::new() },
                    false => values(What::Best(best))?,
                }
            }
            _ => values(What::Rerun)?,
        };
        Ok(Self { aggregate, args, filter, of, kept })
    }

    /// The same aggregate over nothing.
    pub(crate) fn empty(&self) -> Self {
        let kept = match &self.kept {
            Kept::Count(_) => Kept::Count(Vec::new()),
            Kept::Int(_) => Kept::Int(Vec::new()),
            Kept::UInt(_) => Kept::UInt(Vec::new()),
            Kept::Decimal(_) => Kept::Decimal(Vec::new()),
            Kept::Float { mean, .. } => Kept::Float { sums: Vec::new(), mean: *mean },
            Kept::Extreme { best, codec, .. } => {
                Kept::Extreme { best: *best, codec: codec.clone(), values: Vec::new() }
            }
            Kept::Panes { codec, .. } => Kept::Values {
                codec: codec.clone(),
                values: Vec::new(),
                what: What::Distinct,
                changed: Vec::new(),
                bytes: 0,
            },
            Kept::Values { codec, what, .. } => {
                Kept::Values { codec: codec.clone(), values: Vec::new(), what: *what, changed: Vec::new(), bytes: 0 }
            }
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
        if let Kept::Values { codec, what: What::Distinct, .. } = &self.kept {
            let values = Box::new(PaneValues::new(own.clone(), codec.clone(), life_us));
            self.kept = Kept::Panes { counts: Vec::new(), values, codec: codec.clone() };
        }
    }

    /// Adds what the other has of each pane to its windows. False where values are not kept by pane.
    pub(crate) fn absorb_panes(&mut self, other: &Self, partial: &Partial, groups: &[Option<u32>]) -> Result<bool> {
        let Kept::Panes { counts, values, .. } = &mut self.kept else { return Ok(false) };
        let Kept::Values { values: of_pane, .. } = &other.kept else { return Err(wrong()) };
        let mut first = 0;
        while let Some(number) = partial.of.get(first) {
            let windows = partial.of[first..].iter().take_while(|of| *of == number).count();
            let at = *number as usize;
            for (value, weight) in &of_pane[at] {
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
            (Kept::Int(own), Kept::Int(other)) => {
                own[to] = (own[to].0.wrapping_add(other[from].0), own[to].1 + other[from].1);
            }
            (Kept::UInt(own), Kept::UInt(other)) => {
                own[to] = (own[to].0.wrapping_add(other[from].0), own[to].1 + other[from].1);
            }
            (Kept::Decimal(own), Kept::Decimal(other)) => {
                own[to] = (own[to].0.wrapping_add(other[from].0), own[to].1 + other[from].1);
            }
            (Kept::Float { sums, .. }, Kept::Float { sums: other, .. }) => {
                let ((sum, lost, count), (more, lost_too, more_count)) = (&mut sums[to], other[from]);
                add(sum, lost, more);
                *lost += lost_too;
                *count += more_count;
                if *count == 0 {
                    (*sum, *lost) = (0.0, 0.0);
                }
            }
            (Kept::Extreme { best, values, .. }, Kept::Extreme { values: other, .. }) => {
                if let Some(other) = &other[from]
                    && values[to].as_ref().is_none_or(|known| is_better(*best, other, known))
                {
                    values[to] = Some(other.clone());
                }
            }
            (Kept::Values { values, changed, bytes, .. }, Kept::Values { values: other, .. }) => {
                for (value, weight) in &other[from] {
                    changed[to].push(value.clone());
                    change(&mut values[to], value, *weight, bytes);
                }
            }
            _ => return Err(wrong()),
        }
        Ok(())
    }

    pub(crate) fn resize(&mut self, groups: usize) {
        match &mut self.kept {
            Kept::Count(counts) | Kept::Panes { counts, .. } => counts.resize(groups, 0),
            Kept::Int(sums) => sums.resize(groups, (0, 0)),
            Kept::UInt(sums) => sums.resize(groups, (0, 0)),
            Kept::Decimal(sums) => sums.resize(groups, (0, 0)),
            Kept::Float { sums, .. } => sums.resize(groups, (0.0, 0.0, 0)),
            Kept::Extreme { values, .. } => values.resize(groups, None),
            Kept::Values { values, changed, .. } => {
                values.resize(groups, Values::new());
                changed.resize(groups, Vec::new());
            }
        }
    }

    /// Takes the rows of a change; `groups` says of each row which group it is of (`None`: of none).
    pub(crate) fn update(&mut self, delta: &Delta, groups: &[Option<u32>]) -> Result<()> {
        let (batch, rows) = (&delta.batch, delta.rows());
        let args: Vec<ArrayRef> =
            self.args.iter().map(|arg| Ok(arg.evaluate(batch)?.into_array(rows)?)).collect::<Result<_>>()?;
        let filter: Option<BooleanArray> = match &self.filter {
            None => None,
            Some(filter) => Some(filter.evaluate(batch)?.into_array(rows)?.as_boolean().clone()),
        };
        let passes = |row: usize| filter.as_ref().is_none_or(|mask| mask.is_valid(row) && mask.value(row));
        let each = || (0..rows).filter(|row| passes(*row)).filter_map(|row| Some((row, groups[row]? as usize)));
        match &mut self.kept {
            // Rows come by way of their panes.
            Kept::Panes { .. } => return Err(wrong()),
            Kept::Count(counts) => {
                for (row, group) in each() {
                    if args.iter().all(|arg| arg.is_valid(row)) {
                        counts[group] += delta.weight(row);
                    }
                }
            }
            Kept::Int(sums) => {
                let values = args[0].as_primitive::<Int64Type>();
                for (row, group) in each().filter(|(row, _)| values.is_valid(*row)) {
                    let (sum, count) = &mut sums[group];
                    *sum = sum.wrapping_add(values.value(row).wrapping_mul(delta.weight(row)));
                    *count += delta.weight(row);
                }
            }
            Kept::UInt(sums) => {
                let values = args[0].as_primitive::<UInt64Type>();
                for (row, group) in each().filter(|(row, _)| values.is_valid(*row)) {
                    let (sum, count) = &mut sums[group];
                    *sum = sum.wrapping_add(values.value(row).wrapping_mul(delta.weight(row) as u64));
                    *count += delta.weight(row);
                }
            }
            Kept::Decimal(sums) => {
                let values = args[0].as_primitive::<Decimal128Type>();
                for (row, group) in each().filter(|(row, _)| values.is_valid(*row)) {
                    let (sum, count) = &mut sums[group];
                    *sum = sum.wrapping_add(values.value(row).wrapping_mul(i128::from(delta.weight(row))));
                    *count += delta.weight(row);
                }
            }
            Kept::Float { sums, .. } => {
                let values = args[0].as_primitive::<Float64Type>();
                for (row, group) in each().filter(|(row, _)| values.is_valid(*row)) {
                    let (sum, lost, count) = &mut sums[group];
                    add(sum, lost, values.value(row) * delta.weight(row) as f64);
                    *count += delta.weight(row);
                    if *count == 0 {
                        (*sum, *lost) = (0.0, 0.0);
                    }
                }
            }
            Kept::Extreme { best, codec, values } => {
                codec.each(&args, rows, |row, bytes| {
                    if let Some(group) = groups[row].filter(|_| passes(row) && args[0].is_valid(row)) {
                        let value = &mut values[group as usize];
                        if value.as_ref().is_none_or(|known| is_better(*best, bytes, known)) {
                            *value = Some(Bytes::from(bytes));
                        }
                    }
                    Ok(())
                })?;
            }
            Kept::Values { codec, values, what, changed, bytes: held } => {
                let skips_null = *what != What::Rerun;
                codec.each(&args, rows, |row, bytes| {
                    let counts = passes(row) && !(skips_null && args[0].is_null(row));
                    if let Some(group) = groups[row].filter(|_| counts) {
                        let group = group as usize;
                        changed[group].push(Bytes::from(bytes));
                        change(&mut values[group], bytes, delta.weight(row), held);
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// Adds what one group has to another, and empties it.
    pub(crate) fn merge(&mut self, from: u32, to: u32) {
        let (from, to) = (from as usize, to as usize);
        match &mut self.kept {
            Kept::Count(counts) | Kept::Panes { counts, .. } => counts[to] += std::mem::take(&mut counts[from]),
            Kept::Int(sums) => {
                let (sum, count) = std::mem::take(&mut sums[from]);
                sums[to] = (sums[to].0.wrapping_add(sum), sums[to].1 + count);
            }
            Kept::UInt(sums) => {
                let (sum, count) = std::mem::take(&mut sums[from]);
                sums[to] = (sums[to].0.wrapping_add(sum), sums[to].1 + count);
            }
            Kept::Decimal(sums) => {
                let (sum, count) = std::mem::take(&mut sums[from]);
                sums[to] = (sums[to].0.wrapping_add(sum), sums[to].1 + count);
            }
            Kept::Float { sums, .. } => {
                let (more, lost_too, more_count) = std::mem::take(&mut sums[from]);
                let (sum, lost, count) = &mut sums[to];
                add(sum, lost, more);
                *lost += lost_too;
                *count += more_count;
            }
            Kept::Extreme { best, values, .. } => {
                if let Some(other) = values[from].take()
                    && values[to].as_ref().is_none_or(|known| is_better(*best, &other, known))
                {
                    values[to] = Some(other);
                }
            }
            Kept::Values { values, changed, bytes, .. } => {
                for (value, weight) in std::mem::take(&mut values[from]) {
                    changed[to].push(value.clone());
                    *bytes = bytes.saturating_sub(size_of_value(&value));
                    change(&mut values[to], &value, weight, bytes);
                }
            }
        }
    }

    /// The group is gone.
    pub(crate) fn clear(&mut self, group: u32) {
        let group = group as usize;
        match &mut self.kept {
            Kept::Count(counts) | Kept::Panes { counts, .. } => counts[group] = 0,
            Kept::Int(sums) => sums[group] = (0, 0),
            Kept::UInt(sums) => sums[group] = (0, 0),
            Kept::Decimal(sums) => sums[group] = (0, 0),
            Kept::Float { sums, .. } => sums[group] = (0.0, 0.0, 0),
            Kept::Extreme { values, .. } => values[group] = None,
            Kept::Values { values, changed, bytes, .. } => {
                for value in std::mem::take(&mut values[group]).into_keys() {
                    *bytes = bytes.saturating_sub(size_of_value(&value));
                }
                changed[group].clear();
            }
        }
    }

    pub(crate) fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let each = || groups.iter().map(|group| *group as usize);
        let array: ArrayRef = match &self.kept {
            Kept::Count(counts) | Kept::Panes { counts, .. } => {
                Arc::new(each().map(|group| counts[group]).collect::<Int64Array>())
            }
            Kept::Int(sums) => Arc::new(each().map(|group| some(sums[group])).collect::<Int64Array>()),
            Kept::UInt(sums) => Arc::new(each().map(|group| some(sums[group])).collect::<UInt64Array>()),
            Kept::Decimal(sums) => {
                let all = each().map(|group| some(sums[group])).collect::<Decimal128Array>();
                Arc::new(match &self.of {
                    DataType::Decimal128(precision, scale) => all.with_precision_and_scale(*precision, *scale)?,
                    _ => all,
                })
            }
            Kept::Float { sums, mean } => {
                let value = |(sum, lost, count): (f64, f64, i64)| {
                    let sum = if lost.is_finite() { sum + lost } else { sum };
                    (count != 0).then(|| if *mean { sum / count as f64 } else { sum })
                };
                Arc::new(each().map(|group| value(sums[group])).collect::<Float64Array>())
            }
            Kept::Extreme { codec, values, .. } => {
                self.found(codec, each().map(|group| values[group].as_deref()).collect())?
            }
            Kept::Values { codec, values, what: What::Best(best), .. } => {
                let first = |group: usize| match best {
                    Best::Least => values[group].keys().next(),
                    Best::Most => values[group].keys().next_back(),
                };
                self.found(codec, each().map(|group| first(group).map(AsRef::as_ref)).collect())?
            }
            Kept::Values { values, what: What::Distinct, .. } => {
                Arc::new(each().map(|group| values[group].len() as i64).collect::<Int64Array>())
            }
            Kept::Values { codec, values, what: What::Rerun, .. } => {
                let scalars: Result<Vec<ScalarValue>> = each().map(|group| self.rerun(codec, &values[group])).collect();
                let scalars = scalars?;
                if scalars.is_empty() { new_null_array(&self.of, 0) } else { ScalarValue::iter_to_array(scalars)? }
            }
        };
        Ok(if *array.data_type() == self.of { array } else { arrow::compute::cast(&array, &self.of)? })
    }

    /// Values that are there or not.
    fn found(&self, codec: &Codec, values: Vec<Option<&[u8]>>) -> Result<ArrayRef> {
        let present = codec.columns(values.iter().flatten().copied())?;
        let Some(present) = present.into_iter().next().filter(|array| !array.is_empty()) else {
            return Ok(new_null_array(&self.of, values.len()));
        };
        let mut next = 0_u32;
        let at: arrow::array::UInt32Array = values
            .iter()
            .map(|value| {
                value.map(|_| {
                    next += 1;
                    next - 1
                })
            })
            .collect();
        Ok(arrow::compute::take(&present, &at, None)?)
    }

    fn rerun(&self, codec: &Codec, values: &Values) -> Result<ScalarValue> {
        let mut accumulator = self.aggregate.create_accumulator()?;
        let repeated: Vec<&[u8]> = values
            .iter()
            .flat_map(|(value, count)| std::iter::repeat_n(value.as_ref(), usize::try_from(*count).unwrap_or(0)))
            .collect();
        if !repeated.is_empty() {
            accumulator.update_batch(&codec.columns(repeated.into_iter())?)?;
        }
        Ok(accumulator.evaluate()?)
    }

    /// Bytes held, about.
    pub(crate) fn size(&self) -> usize {
        match &self.kept {
            Kept::Count(counts) => counts.capacity() * 8,
            Kept::Panes { counts, values, .. } => counts.capacity() * 8 + values.size(),
            Kept::Int(sums) => sums.capacity() * 16,
            Kept::UInt(sums) => sums.capacity() * 16,
            Kept::Decimal(sums) => sums.capacity() * 32,
            Kept::Float { sums, .. } => sums.capacity() * 24,
            Kept::Extreme { values, .. } => values.capacity() * 48,
            Kept::Values { values, bytes, .. } => values.capacity() * 48 + bytes,
        }
    }

    /// Columns that say what a group has, where that is a few numbers: the same ones for every group.
    pub(crate) fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let each = || groups.iter().map(|group| *group as usize);
        let ints = |of: &dyn Fn(usize) -> i64| Arc::new(each().map(of).collect::<Int64Array>()) as ArrayRef;
        Ok(match &self.kept {
            Kept::Count(counts) | Kept::Panes { counts, .. } => vec![ints(&|group| counts[group])],
            Kept::Int(sums) => vec![ints(&|group| sums[group].0), ints(&|group| sums[group].1)],
            Kept::UInt(sums) => vec![ints(&|group| sums[group].0 as i64), ints(&|group| sums[group].1)],
            Kept::Decimal(sums) => {
                let all = each().map(|group| Some(sums[group].0)).collect::<Decimal128Array>();
                vec![Arc::new(all.with_precision_and_scale(38, 0)?), ints(&|group| sums[group].1)]
            }
            Kept::Float { sums, .. } => vec![
                Arc::new(each().map(|group| sums[group].0).collect::<Float64Array>()),
                Arc::new(each().map(|group| sums[group].1).collect::<Float64Array>()),
                ints(&|group| sums[group].2),
            ],
            Kept::Extreme { codec, values, .. } => {
                vec![self.found(codec, each().map(|group| values[group].as_deref()).collect())?]
            }
            Kept::Values { .. } => Vec::new(),
        })
    }

    /// How many columns `state` gives.
    pub(crate) fn state_columns(&self) -> usize {
        match &self.kept {
            Kept::Count(_) | Kept::Panes { .. } | Kept::Extreme { .. } => 1,
            Kept::Int(_) | Kept::UInt(_) | Kept::Decimal(_) => 2,
            Kept::Float { .. } => 3,
            Kept::Values { .. } => 0,
        }
    }

    pub(crate) fn restore(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let ints = |at: usize| -> Result<&Int64Array> {
            columns.get(at).and_then(|column| column.as_primitive_opt::<Int64Type>()).ok_or_else(wrong)
        };
        let each = || groups.iter().map(|group| *group as usize).enumerate();
        match &mut self.kept {
            Kept::Count(counts) | Kept::Panes { counts, .. } => {
                let saved = ints(0)?;
                each().for_each(|(row, group)| counts[group] = saved.value(row));
            }
            Kept::Int(sums) => {
                let (sum, count) = (ints(0)?, ints(1)?);
                each().for_each(|(row, group)| sums[group] = (sum.value(row), count.value(row)));
            }
            Kept::UInt(sums) => {
                let (sum, count) = (ints(0)?, ints(1)?);
                each().for_each(|(row, group)| sums[group] = (sum.value(row) as u64, count.value(row)));
            }
            Kept::Decimal(sums) => {
                let sum = columns[0].as_primitive_opt::<Decimal128Type>().ok_or_else(wrong)?;
                let count = ints(1)?;
                each().for_each(|(row, group)| sums[group] = (sum.value(row), count.value(row)));
            }
            Kept::Float { sums, .. } => {
                let float = |at: usize| columns[at].as_primitive_opt::<Float64Type>().ok_or_else(wrong);
                let (sum, lost, count) = (float(0)?, float(1)?, ints(2)?);
                each().for_each(|(row, group)| {
                    sums[group] = (sum.value(row), lost.value(row), count.value(row));
                });
            }
            Kept::Extreme { codec, values, .. } => {
                codec.each(&columns[..1], groups.len(), |row, bytes| {
                    let value = columns[0].is_valid(row).then(|| Bytes::from(bytes));
                    values[groups[row] as usize] = value;
                    Ok(())
                })?;
            }
            Kept::Values { .. } => {}
        }
        Ok(())
    }

    /// Of values that are kept one by one: which group, the value, how often. All of these groups, or what changed
    /// in them since the last call. None for the other kinds.
    pub(crate) fn values(&mut self, groups: &[u32], all: bool) -> Result<Option<(Vec<u32>, RecordBatch)>> {
        let Kept::Values { codec, values, changed, .. } = &mut self.kept else { return Ok(None) };
        let (mut of, mut rows): (Vec<u32>, Vec<(Bytes, i64)>) = (Vec::new(), Vec::new());
        for group in groups {
            let at = *group as usize;
            let mut changed = std::mem::take(&mut changed[at]);
            if all {
                rows.extend(values[at].iter().map(|(value, count)| (value.clone(), *count)));
            } else {
                changed.sort_unstable();
                changed.dedup();
                rows.extend(changed.into_iter().map(|value| {
                    let count = values[at].get(&value).copied().unwrap_or(0);
                    (value, count)
                }));
            }
            of.resize(rows.len(), *group);
        }
        let mut columns = codec.columns(rows.iter().map(|(value, _)| value.as_ref()))?;
        if rows.is_empty() {
            columns = RecordBatch::new_empty(Arc::clone(codec.schema())).columns().to_vec();
        }
        columns.push(Arc::new(rows.iter().map(|(_, count)| *count).collect::<Int64Array>()));
        let mut fields = codec.schema().fields().to_vec();
        fields.push(Arc::new(Field::new(WEIGHT, DataType::Int64, false)));
        Ok(Some((of, record_batch(&Arc::new(Schema::new(fields)), columns, rows.len())?)))
    }

    /// Takes values back, each as often as it was.
    pub(crate) fn restore_values(&mut self, groups: &[Option<u32>], columns: &[ArrayRef]) -> Result<()> {
        let Kept::Values { codec, values, bytes: held, .. } = &mut self.kept else { return Err(wrong()) };
        let (counts, args) = columns.split_last().ok_or_else(wrong)?;
        let counts = counts.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
        codec.each(args, groups.len(), |row, bytes| {
            if let Some(group) = groups[row] {
                let values = &mut values[group as usize];
                let known = values.get(bytes).copied().unwrap_or(0);
                change(values, bytes, counts.value(row) - known, held);
            }
            Ok(())
        })
    }
}

fn change(values: &mut Values, value: &[u8], by: i64, held: &mut usize) {
    match values.get_mut(value) {
        Some(count) => {
            *count += by;
            if *count == 0 {
                values.remove(value);
                *held = held.saturating_sub(value.len() + 56);
            }
        }
        None if by == 0 => {}
        None => {
            values.insert(Bytes::from(value), by);
            *held += value.len() + 56;
        }
    }
}

fn size_of_value(value: &Bytes) -> usize {
    value.len() + 56
}

fn some<T>((sum, count): (T, i64)) -> Option<T> {
    (count != 0).then_some(sum)
}

fn add(sum: &mut f64, lost: &mut f64, value: f64) {
    let total = *sum + value;
    *lost += if sum.abs() >= value.abs() { (*sum - total) + value } else { (value - total) + *sum };
    *sum = total;
}

fn is_better(best: Best, value: &[u8], known: &Bytes) -> bool {
    match best {
        Best::Least => value < known.as_ref(),
        Best::Most => value > known.as_ref(),
    }
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
                | DataType::Float64
                | DataType::Float32
        )
}

impl std::fmt::Debug for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Column").field("aggregate", &self.aggregate.name()).finish_non_exhaustive()
    }
}
