//! From the rows of a step to partial rows: grouped by pane and keys, aggregated with DataFusion's
//! vectorized groups and accumulators.
//!
//! This is what an `AggregateExec` in mode Partial does inside, without a plan around it: a step of a
//! few rows costs what its rows cost, and which group each row fell into is known, so that the values
//! of a `count(DISTINCT …)` go straight into their sets and are never gathered into lists first.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray},
    compute::filter_record_batch,
    datatypes::{
        DataType, Field, Float32Type, Float64Type, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit,
        TimestampMicrosecondType,
    },
};
use datafusion::{
    execution::context::ExecutionProps,
    logical_expr::{EmitTo, GroupsAccumulator, LogicalPlan},
    physical_expr::{
        GroupsAccumulatorAdapter, PhysicalExpr,
        aggregate::{AggregateFunctionExpr, LoweredAggregate, LoweredAggregateBuilder},
    },
    physical_plan::aggregates::{
        AggregateMode, aggregate_expressions,
        group_values::{GroupValues, new_group_values},
        order::GroupOrdering,
    },
};
use ebap_sql::AggregatePlan;
use ebap_values::float::{order_f32, order_f64};

use super::distinct::distinct_type;
use crate::{
    Error, Result,
    failed_rows::{Failing, that_can_fail, without},
    flow::floor,
    rows::{adapted, cast, physical},
};

/// Partial rows of one step: one per pane and key.
pub(crate) struct Partial {
    pub(crate) rows: usize,
    pub(crate) panes: Option<TimestampMicrosecondArray>,
    pub(crate) keys: Vec<ArrayRef>,
    pub(crate) states: Vec<PartialState>,
}

/// What a partial row holds of one aggregate.
pub(crate) enum PartialState {
    Columns(Vec<ArrayRef>),
    Values(Vec<PartialValues>),
}

/// Values of a `count(DISTINCT …)`, as they came: for each the partial row it belongs to.
pub(crate) struct PartialValues {
    pub(crate) rows: Vec<u32>,
    pub(crate) values: ArrayRef,
    pub(crate) filter: Option<BooleanArray>,
}

/// Rows of a batch that were left out, and why.
pub(crate) type BadOfBatch = Vec<(usize, Error)>;

pub(crate) struct PartialAggregate {
    /// The event time, and how long a pane is.
    pane: Option<(Arc<dyn PhysicalExpr>, i64)>,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Names of the keys in the query.
    names: Vec<String>,
    groups: Option<Box<dyn GroupValues>>,
    inputs: Vec<Input>,
    /// Pane first (with a window), group columns, then the state columns of each aggregate.
    pub(crate) schema: SchemaRef,
    row_groups: Vec<usize>,
}

struct Input {
    aggregate: Arc<AggregateFunctionExpr>,
    args: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    /// None: the values are kept as they are.
    accumulator: Option<Box<dyn GroupsAccumulator>>,
}

impl PartialAggregate {
    pub(crate) fn new(input: &LogicalPlan, input_schema: &SchemaRef, plan: &AggregatePlan) -> Result<Self> {
        let logical = input.schema();
        let mut fields = Vec::new();
        let pane = match &plan.window {
            None => None,
            Some(window) => {
                fields.push(Field::new("pane", pane_type(), true));
                Some((physical(&window.time, logical)?, window.pane_us))
            }
        };
        let mut keys = Vec::with_capacity(plan.group_exprs.len());
        let names = plan.group_exprs.iter().map(|expr| expr.qualified_name().1).collect();
        for (at, expr) in plan.group_exprs.iter().enumerate() {
            let key = physical(expr, logical)?;
            fields.push(Field::new(format!("g{at}"), key.data_type(input_schema)?, true));
            keys.push(key);
        }
        let groups = match fields.is_empty() {
            true => None,
            false => Some(new_group_values(Arc::new(Schema::new(fields.clone())), &GroupOrdering::None)?),
        };
        let mut inputs = Vec::with_capacity(plan.aggr_exprs.len());
        for expr in &plan.aggr_exprs {
            let props = ExecutionProps::new();
            let lowered = LoweredAggregateBuilder::new(expr, logical, input_schema, &props).build()?;
            let LoweredAggregate { aggregate, filter, .. } = lowered;
            fields.extend(aggregate.state_fields()?.iter().map(|field| field.as_ref().clone().with_nullable(true)));
            let args = aggregate_expressions(std::slice::from_ref(&aggregate), &AggregateMode::Partial, 0)?;
            let accumulator = match distinct_type(&aggregate) {
                Some(_) => None,
                None => Some(accumulator(&aggregate)?),
            };
            inputs.push(Input { aggregate, args: args.into_iter().flatten().collect(), filter, accumulator });
        }
        Ok(Self { pane, keys, names, groups, inputs, schema: Arc::new(Schema::new(fields)), row_groups: Vec::new() })
    }

    pub(crate) fn windowed(&self) -> bool {
        self.pane.is_some()
    }

    /// Number of group columns, the pane not counted.
    pub(crate) fn keys(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn aggregates(&self) -> impl Iterator<Item = &Arc<AggregateFunctionExpr>> {
        self.inputs.iter().map(|input| &input.aggregate)
    }

    /// As `run`, where rows that the keys and arguments cannot be computed for are left out. Gives those of each batch;
    /// no partial rows where none is left.
    pub(crate) fn run_computable(
        &mut self,
        batches: &[RecordBatch],
        failing: &Failing,
    ) -> Result<(Option<Partial>, Vec<BadOfBatch>)> {
        let error = match self.run(batches) {
            Ok(partial) => return Ok((Some(partial), Vec::new())),
            Err(error) => error,
        };
        // Half of the step is in it.
        self.begin_anew()?;
        let exprs = that_can_fail(self.exprs());
        let pane = self.pane.as_ref();
        let try_part = |part: &RecordBatch| -> Result<()> {
            panes_of(pane, part)?;
            exprs.iter().try_for_each(|expr| Ok(expr.evaluate(part).map(drop)?))
        };
        let (mut good, mut bad) = (Vec::with_capacity(batches.len()), Vec::with_capacity(batches.len()));
        for batch in batches {
            let of = match try_part(batch) {
                Ok(()) => Vec::new(),
                Err(error) => failing.rows_of(batch, error, &try_part)?,
            };
            good.push(filter_record_batch(batch, &without(batch.num_rows(), &of))?);
            bad.push(of);
        }
        if bad.iter().all(Vec::is_empty) {
            return Err(error);
        }
        good.retain(|batch| batch.num_rows() > 0);
        let partial = if good.is_empty() { None } else { Some(self.run(&good)?) };
        Ok((partial, bad))
    }

    /// Without the rows that it was given since it last gave partial rows.
    fn begin_anew(&mut self) -> Result<()> {
        let keys = usize::from(self.windowed()) + self.keys.len();
        if self.groups.is_some() {
            let fields: Vec<_> = self.schema.fields().iter().take(keys).cloned().collect();
            self.groups = Some(new_group_values(Arc::new(Schema::new(fields)), &GroupOrdering::None)?);
        }
        for input in self.inputs.iter_mut().filter(|input| input.accumulator.is_some()) {
            input.accumulator = Some(accumulator(&input.aggregate)?);
        }
        Ok(())
    }

    /// Expressions that are computed for each row.
    fn exprs(&self) -> impl Iterator<Item = &Arc<dyn PhysicalExpr>> {
        let time = self.pane.iter().map(|(time, _)| time);
        let inputs = self.inputs.iter().flat_map(|input| input.args.iter().chain(&input.filter));
        time.chain(&self.keys).chain(inputs)
    }

    pub(crate) fn run(&mut self, batches: &[RecordBatch]) -> Result<Partial> {
        let mut values: Vec<Vec<PartialValues>> = self.inputs.iter().map(|_| Vec::new()).collect();
        for batch in batches {
            let total = self.group(batch)?;
            for (input, values) in self.inputs.iter_mut().zip(&mut values) {
                let args = evaluate(&input.args, batch)?;
                let filter = match &input.filter {
                    None => None,
                    Some(filter) => Some(filter.evaluate(batch)?.into_array(batch.num_rows())?.as_boolean().clone()),
                };
                match &mut input.accumulator {
                    Some(accumulator) => {
                        accumulator.update_batch(&args, &self.row_groups, filter.as_ref(), total)?;
                    }
                    None => {
                        let rows = self.row_groups.iter().map(|group| *group as u32).collect();
                        values.extend(args.into_iter().next().map(|values| PartialValues { rows, values, filter }));
                    }
                }
            }
        }
        self.emit(values)
    }

    /// The partial row of no rows, of aggregates without keys.
    pub(crate) fn nothing(&self) -> Result<Partial> {
        let state = |input: &Input| -> Result<PartialState> {
            if input.accumulator.is_none() {
                return Ok(PartialState::Values(Vec::new()));
            }
            let fields = input.aggregate.state_fields()?;
            let values = input.aggregate.create_accumulator()?.state()?;
            let columns = values.iter().zip(&fields).map(|(value, field)| {
                let column = value.to_array_of_size(1)?;
                if column.data_type() == field.data_type() { Ok(column) } else { cast(&column, field.data_type()) }
            });
            Ok(PartialState::Columns(columns.collect::<Result<_>>()?))
        };
        let states = self.inputs.iter().map(state).collect::<Result<_>>()?;
        Ok(Partial { rows: 1, panes: None, keys: Vec::new(), states })
    }

    /// Notes for each row of the batch its group; gives how many groups there are now.
    fn group(&mut self, batch: &RecordBatch) -> Result<usize> {
        let Some(groups) = &mut self.groups else {
            self.row_groups.clear();
            self.row_groups.resize(batch.num_rows(), 0);
            return Ok(1);
        };
        let mut columns = Vec::with_capacity(self.keys.len() + 1);
        columns.extend(panes_of(self.pane.as_ref(), batch)?);
        columns.extend(evaluate(&self.keys, batch)?);
        groups.intern(&columns, &mut self.row_groups)?;
        Ok(groups.len())
    }

    /// Takes the groups of the step and leaves none.
    fn emit(&mut self, values: Vec<Vec<PartialValues>>) -> Result<Partial> {
        let (rows, mut columns) = match &mut self.groups {
            None => (1, Vec::new()),
            Some(groups) => {
                let rows = groups.len();
                let columns = groups.emit(EmitTo::All)?;
                groups.clear_shrink(rows);
                (rows, columns)
            }
        };
        let pane = self.pane.as_ref().map(|_| columns.remove(0));
        let panes = pane.map(|panes| panes.as_primitive::<TimestampMicrosecondType>().clone());
        let mut states = Vec::with_capacity(self.inputs.len());
        for (input, values) in self.inputs.iter_mut().zip(values) {
            states.push(match &mut input.accumulator {
                Some(accumulator) => PartialState::Columns(accumulator.state(EmitTo::All)?),
                None => PartialState::Values(values),
            });
        }
        Ok(Partial { rows, panes, keys: columns, states })
    }

    /// Partial rows that were written down, in `schema`.
    pub(crate) fn read(&self, batch: &RecordBatch) -> Result<Partial> {
        let mut columns = batch.columns().iter().cloned();
        let panes = match self.pane {
            None => None,
            Some(_) => columns.next().map(|column| column.as_primitive::<TimestampMicrosecondType>().clone()),
        };
        let keys = self.read_keys(columns.by_ref().take(self.keys.len()))?;
        Ok(Partial { rows: batch.num_rows(), panes, keys, states: self.read_states(columns)? })
    }

    /// Group columns that any version has written.
    pub(crate) fn read_keys(&self, columns: impl Iterator<Item = ArrayRef>) -> Result<Vec<ArrayRef>> {
        let fields = self.schema.fields().iter().skip(usize::from(self.windowed()));
        columns.zip(fields).map(|(column, field)| adapted(&column, field.data_type())).collect()
    }

    /// The state columns of all aggregates.
    pub(crate) fn read_states(&self, mut columns: impl Iterator<Item = ArrayRef>) -> Result<Vec<PartialState>> {
        let mut states = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let fields = input.aggregate.state_fields()?;
            let mut of = Vec::with_capacity(fields.len());
            for field in &fields {
                let column = columns.next().ok_or_else(|| Error::outdated("fewer numbers of an aggregate"))?;
                of.push(state_of(input.aggregate.fun().name(), &column, field.data_type())?);
            }
            states.push(match &input.accumulator {
                Some(_) => PartialState::Columns(of),
                None => {
                    let lists = of[0].as_list::<i32>();
                    let rows = lists.value_offsets().windows(2).enumerate();
                    let rows =
                        rows.flat_map(|(row, ends)| std::iter::repeat_n(row as u32, (ends[1] - ends[0]) as usize));
                    let first = lists.value_offsets()[0] as usize;
                    let rows: Vec<u32> = rows.collect();
                    let values = lists.values().slice(first, rows.len());
                    PartialState::Values(vec![PartialValues { rows, values, filter: None }])
                }
            });
        }
        if columns.next().is_some() {
            return Err(Error::outdated("more numbers of an aggregate"));
        }
        Ok(states)
    }

    /// One line for `EXPLAIN`.
    pub(crate) fn describe(&self) -> String {
        let pane = self.pane.as_ref().map(|(time, pane_us)| format!("pane({time}, {}s)", *pane_us as f64 / 1e6));
        let keys: Vec<String> = pane.into_iter().chain(self.keys.iter().map(ToString::to_string)).collect();
        let aggregates: Vec<&str> = self.inputs.iter().map(|input| input.aggregate.name()).collect();
        format!("PartialAgg: gby=[{}], aggr=[{}]", keys.join(", "), aggregates.join(", "))
    }
}

/// A column of an aggregate's state that any version has written.
fn state_of(aggregate: &str, column: &ArrayRef, of: &DataType) -> Result<ArrayRef> {
    let outdated = || Error::outdated(&format!("{} of {aggregate} where {of} is kept", column.data_type()));
    match (aggregate, column.data_type(), of) {
        (_, saved, of) if saved == of => Ok(Arc::clone(column)),
        // An extreme of doubles is one of integers in the same order.
        ("min" | "max", DataType::Float64, DataType::Int64) => {
            Ok(Arc::new(column.as_primitive::<Float64Type>().unary::<_, Int64Type>(order_f64)))
        }
        ("min" | "max", DataType::Float32, DataType::Int32) => {
            Ok(Arc::new(column.as_primitive::<Float32Type>().unary::<_, Int32Type>(order_f32)))
        }
        ("sum" | "min" | "max", ..) => adapted(column, of),
        // Lists differ in the names of their items alone.
        (_, DataType::List(_), DataType::List(_)) => cast(column, of),
        _ => Err(outdated()),
    }
}

/// The pane of each row, where there is a window.
fn panes_of(pane: Option<&(Arc<dyn PhysicalExpr>, i64)>, batch: &RecordBatch) -> Result<Option<ArrayRef>> {
    let Some((time, pane_us)) = pane else { return Ok(None) };
    let times = time.evaluate(batch)?.into_array(batch.num_rows())?;
    let times = arrow::compute::cast(&times, &pane_type())?;
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let panes: TimestampMicrosecondArray = times.try_unary(|time| floor(time, *pane_us))?;
    Ok(Some(Arc::new(panes.with_timezone("+00:00"))))
}

fn pane_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

fn accumulator(aggregate: &Arc<AggregateFunctionExpr>) -> Result<Box<dyn GroupsAccumulator>> {
    if aggregate.groups_accumulator_supported() {
        return Ok(aggregate.create_groups_accumulator()?);
    }
    let aggregate = Arc::clone(aggregate);
    Ok(Box::new(GroupsAccumulatorAdapter::new(move || aggregate.create_accumulator())))
}

fn evaluate(exprs: &[Arc<dyn PhysicalExpr>], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    exprs.iter().map(|expr| Ok(expr.evaluate(batch)?.into_array(batch.num_rows())?)).collect()
}
