//! A view as operators over changelogs: what runs a `Flow` of the planner.
//!
//! ```text
//! step or passing of time -> scans -> operators -> Output (rows of the view)
//! ```
//!
//! # Invariants
//! - The rows of the view are the answer of the query over all rows that its scans have taken, at every step.
//! - What an operator writes down is what its entries are, so any number of deltas over a base give its state.
//! - A watermark lets the same state go after a restart; what else goes is written down.

mod aggregate;
mod arrangement;
mod columns;
mod delta;
mod groups;
mod join;
mod output;
mod pane_values;
mod panes;
mod ranked;
mod ranks;
mod recent;
mod saved;
mod sessions;
mod slots;
mod table;
mod time_range;
mod topn;
mod versions;
mod windows;

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch},
    datatypes::SchemaRef,
};
use datafusion::physical_expr::PhysicalExpr;
use ebap_catalog::ObjectId;
use ebap_sql::{Flow, Frame, Late, Node, OnError, SourceKind};

use self::{
    aggregate::AggregateOp, join::JoinOp, recent::RecentOp, sessions::SessionOp, table::TableOp, topn::TopNOp,
    versions::VersionsOp,
};
pub(crate) use self::{
    delta::Delta,
    output::{Changes, OUTPUT, Output},
    saved::{packed, unpacked},
    windows::{end_of, floor},
};
use crate::{
    Error, Result,
    failed_rows::{Failing, that_can_fail},
    prepare::StepBatch,
    rows::{Computed, RowOps},
};
use saved::Part;

/// What makes a flow run.
pub(crate) enum Event<'a> {
    /// Changes of a relation, and the clock. `step`: where the rows are from.
    Rows { of: &'a [(ObjectId, Late, Delta)], step: &'a StepBatch, now_us: i64, failing: &'a Failing },
    /// Time has passed.
    Time { watermark: i64, now_us: i64, failing: &'a Failing },
}

#[derive(Debug)]
enum Op {
    Scan {
        relation: ObjectId,
        late: Late,
    },
    Table {
        relation: ObjectId,
        rows: Box<TableOp>,
    },
    Versions {
        relation: ObjectId,
        rows: Box<VersionsOp>,
    },
    /// Whether the row has come, and whether that was written down.
    One {
        given: bool,
        written: bool,
    },
    Rows(RowOps),
    Window {
        time: usize,
        frames: Vec<Frame>,
        panes: bool,
    },
    SessionWindow {
        time: usize,
        gap_us: i64,
    },
    Aggregate(Box<AggregateOp>),
    Sessions(Box<SessionOp>),
    TopN(Box<TopNOp>),
    Join(Box<JoinOp>),
    Union,
    Unnest {
        lists: Vec<usize>,
        keep_empty: bool,
    },
    Recent(Box<RecentOp>),
}

#[derive(Debug)]
pub(crate) struct Operator {
    op: Op,
    schema: SchemaRef,
    inputs: Vec<Operator>,
    /// Expressions that are computed for single rows and can fail, by input.
    tried: [Vec<Arc<dyn PhysicalExpr>>; 2],
    /// Operators with a state give nothing: what is above them is not of single rows.
    rows_alone: bool,
}

/// Takes what changes.
pub(crate) type Out<'a> = dyn FnMut(Vec<Delta>) -> Result<()> + 'a;

/// Rows that are given on together, about at the most: a join of one step may make more than fit into memory.
const GATHERED_ROWS: usize = 1 << 20;

/// Gathers what an operator gives on: at its end, be it nothing, and in parts before where it is much. An aggregate
/// without keys has a row of nothing.
pub(crate) struct Gathered<'a> {
    mute: bool,
    deltas: Vec<Delta>,
    rows: usize,
    out: &'a mut Out<'a>,
}

impl Gathered<'_> {
    pub(crate) fn put(&mut self, delta: Delta) -> Result<()> {
        if self.mute || delta.rows() == 0 {
            return Ok(());
        }
        self.rows += delta.rows();
        self.deltas.push(delta);
        if self.rows < GATHERED_ROWS {
            return Ok(());
        }
        self.rows = 0;
        (self.out)(std::mem::take(&mut self.deltas))
    }

    fn put_all(&mut self, deltas: Vec<Delta>) -> Result<()> {
        deltas.into_iter().try_for_each(|delta| self.put(delta))
    }

    fn end(self) -> Result<()> {
        (self.out)(self.deltas)
    }
}

impl Operator {
    pub(crate) fn build(flow: &Flow) -> Result<Self> {
        let schema = Arc::clone(&flow.schema);
        let inputs: Vec<Self> = flow.inputs().into_iter().map(Self::build).collect::<Result<_>>()?;
        let op = match &flow.node {
            Node::Scan { relation, kind: SourceKind::Table, key, .. } => {
                Op::Table { relation: *relation, rows: Box::new(TableOp::new(&schema, key)?) }
            }
            Node::Scan { relation, late, .. } => Op::Scan { relation: *relation, late: *late },
            Node::Versions { relation, time, key, .. } => {
                Op::Versions { relation: *relation, rows: Box::new(VersionsOp::new(&schema, key, *time)?) }
            }
            Node::One => Op::One { given: false, written: false },
            Node::Rows { input, ops } => Op::Rows(RowOps::of(ops, &input.schema)?),
            Node::Window { time, frames, panes, .. } => {
                Op::Window { time: *time, frames: frames.clone(), panes: *panes }
            }
            Node::SessionWindow { time, gap_us, .. } => Op::SessionWindow { time: *time, gap_us: *gap_us },
            Node::Aggregate(plan) => match &plan.session {
                Some(session) => Op::Sessions(Box::new(SessionOp::new(plan, session, &schema)?)),
                None => Op::Aggregate(Box::new(AggregateOp::new(plan, &schema)?)),
            },
            Node::TopN(plan) => Op::TopN(Box::new(TopNOp::new(plan, &schema)?)),
            Node::Join(plan) => Op::Join(Box::new(JoinOp::new(plan, &schema)?)),
            Node::Union { .. } => Op::Union,
            Node::Unnest { lists, keep_empty, .. } => Op::Unnest { lists: lists.clone(), keep_empty: *keep_empty },
            Node::Recent { time, schema: logical, span_us, inclusive, .. } => {
                Op::Recent(Box::new(RecentOp::new(time, logical, *span_us, *inclusive, &schema)?))
            }
        };
        let tried = match &op {
            Op::Aggregate(op) => [that_can_fail(op.exprs()), Vec::new()],
            Op::Sessions(op) => [that_can_fail(op.exprs()), Vec::new()],
            Op::TopN(op) => [that_can_fail(op.exprs()), Vec::new()],
            Op::Recent(op) => [that_can_fail([op.expr()]), Vec::new()],
            Op::Join(op) => op.exprs().map(that_can_fail),
            Op::Scan { .. } | Op::Table { .. } | Op::Versions { .. } | Op::One { .. } | Op::Rows(_) | Op::Union => {
                Default::default()
            }
            Op::Window { .. } | Op::SessionWindow { .. } | Op::Unnest { .. } => Default::default(),
        };
        Ok(Self { op, schema, inputs, tried, rows_alone: false })
    }

    /// See `ViewJob::rows_alone`.
    pub(crate) fn rows_alone(&mut self) {
        self.rows_alone = true;
        self.inputs.iter_mut().for_each(Self::rows_alone);
    }

    fn has_state(&self) -> bool {
        match self.op {
            Op::Scan { .. } | Op::One { .. } | Op::Rows(_) | Op::Window { .. } | Op::SessionWindow { .. } => false,
            Op::Union | Op::Unnest { .. } => false,
            Op::Table { .. } | Op::Versions { .. } | Op::Recent(_) => false,
            Op::Aggregate(_) | Op::Sessions(_) | Op::TopN(_) | Op::Join(_) => true,
        }
    }

    /// Gives what changes in the answer: at once, or in parts where it is much.
    pub(crate) fn run(&mut self, event: &Event<'_>, out: &mut Out<'_>) -> Result<()> {
        let mut given = Gathered { mute: self.rows_alone && self.has_state(), deltas: Vec::new(), rows: 0, out };
        self.step(event, &mut given)?;
        given.end()
    }

    fn step(&mut self, event: &Event<'_>, given: &mut Gathered<'_>) -> Result<()> {
        let Self { op, schema, inputs, tried, .. } = self;
        let (step, failing) = match event {
            Event::Rows { step, failing, .. } => (Some(*step), *failing),
            Event::Time { failing, .. } => (None, *failing),
        };
        // What is below has a state that must not take half of a change.
        let computable = |deltas: Vec<Delta>, exprs: &[Arc<dyn PhysicalExpr>]| -> Result<Vec<Delta>> {
            if exprs.is_empty() {
                return Ok(deltas);
            }
            deltas.into_iter().map(|delta| failing.computable(delta, exprs, step)).collect()
        };
        match (op, inputs.as_mut_slice()) {
            (Op::Join(op), [left, right]) => {
                // What is looked up is brought up to date first.
                for is_left in if op.looks_up() { [false, true] } else { [true, false] } {
                    let (input, tried) = if is_left { (&mut *left, &tried[0]) } else { (&mut *right, &tried[1]) };
                    input.run(event, &mut |deltas| op.apply(is_left, computable(deltas, tried)?, failing, given))?;
                }
            }
            (Op::Union, inputs) => {
                for input in inputs {
                    input.run(event, &mut |deltas| {
                        deltas.into_iter().try_for_each(|delta| {
                            let columns = delta.batch.columns().to_vec();
                            let batch = crate::rows::record_batch(schema, columns, delta.rows())?;
                            given.put(delta.with(batch))
                        })
                    })?;
                }
            }
            (op, [input]) => {
                let place = (event, step, failing);
                input.run(event, &mut |deltas| take(op, computable(deltas, &tried[0])?, schema, place, given))?;
            }
            (op, _) => read(op, schema, event, given)?,
        }
        match event {
            Event::Rows { .. } => Ok(()),
            Event::Time { watermark, now_us, failing } => {
                pass_time(&mut self.op, (*watermark, *now_us), failing, given)
            }
        }
    }

    /// Whether it gives a row before any comes: an aggregate without keys that has none yet, or `SELECT 1`.
    pub(crate) fn begins(&self) -> bool {
        let own = match &self.op {
            Op::Aggregate(op) => op.begins(),
            Op::One { given, .. } => !given,
            Op::Scan { .. } | Op::Table { .. } | Op::Versions { .. } | Op::Rows(_) | Op::Union => false,
            Op::Window { .. } | Op::SessionWindow { .. } | Op::Unnest { .. } => false,
            Op::Sessions(_) | Op::TopN(_) | Op::Join(_) | Op::Recent(_) => false,
        };
        own || self.inputs.iter().any(Self::begins)
    }

    /// Whether it has to run when nothing but time passes.
    pub(crate) fn follows_clock(&self) -> bool {
        matches!(self.op, Op::Recent(_)) || self.inputs.iter().any(Self::follows_clock)
    }

    /// Relations and which late rows of them are left out, each pair once.
    pub(crate) fn scans(&self, into: &mut Vec<(ObjectId, Late)>) {
        let own = match &self.op {
            Op::Scan { relation, late } => Some((*relation, *late)),
            Op::Table { relation, .. } | Op::Versions { relation, .. } => Some((*relation, Late::Never)),
            Op::One { .. } | Op::Rows(_) | Op::Window { .. } | Op::SessionWindow { .. } | Op::Union => None,
            Op::Aggregate(_) | Op::Sessions(_) | Op::TopN(_) | Op::Join(_) | Op::Recent(_) | Op::Unnest { .. } => None,
        };
        into.extend(own.filter(|own| !into.contains(own)));
        self.inputs.iter().for_each(|input| input.scans(into));
    }

    /// Lets state go that the watermark ends, without a word: it has been said.
    pub(crate) fn expire_silently(&mut self, watermark: i64) -> Result<()> {
        for input in &mut self.inputs {
            input.expire_silently(watermark)?;
        }
        // What fails was noted before.
        let silent = Failing::new(OnError::Skip, 0);
        match &mut self.op {
            Op::Aggregate(op) => {
                op.expire(watermark, true, &silent)?;
            }
            Op::Sessions(op) => {
                op.expire(watermark, true, &silent)?;
            }
            Op::TopN(op) => op.expire(watermark)?,
            Op::Join(op) => op.expire(watermark),
            Op::Versions { rows, .. } => rows.expire(watermark),
            Op::Scan { .. } | Op::One { .. } | Op::Rows(_) | Op::Window { .. } | Op::SessionWindow { .. } => {}
            Op::Table { .. } | Op::Recent(_) | Op::Union | Op::Unnest { .. } => {}
        }
        Ok(())
    }

    /// Rows or groups held, and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let own = match &self.op {
            Op::Aggregate(op) => op.size(),
            Op::Sessions(op) => op.size(),
            Op::TopN(op) => op.size(),
            Op::Join(op) => op.size(),
            Op::Recent(op) => op.size(),
            Op::Table { rows, .. } => rows.size(),
            Op::Versions { rows, .. } => rows.size(),
            Op::Scan { .. } | Op::One { .. } | Op::Rows(_) | Op::Window { .. } | Op::SessionWindow { .. } => (0, 0),
            Op::Union | Op::Unnest { .. } => (0, 0),
        };
        self.inputs.iter().map(Self::size).fold(own, |(rows, bytes), (more, and)| (rows + more, bytes + and))
    }

    pub(crate) fn forget_changes(&mut self) {
        match &mut self.op {
            Op::Aggregate(op) => op.forget_changes(),
            Op::Sessions(op) => op.forget_changes(),
            Op::TopN(op) => op.forget_changes(),
            Op::Join(op) => op.sides().into_iter().for_each(arrangement::Arrangement::forget_changes),
            Op::Recent(op) => op.forget_changes(),
            Op::Table { rows, .. } => rows.forget_changes(),
            Op::Versions { rows, .. } => rows.forget_changes(),
            Op::Scan { .. } | Op::One { .. } | Op::Rows(_) | Op::Window { .. } | Op::SessionWindow { .. } => {}
            Op::Union | Op::Unnest { .. } => {}
        }
        self.inputs.iter_mut().for_each(Self::forget_changes);
    }

    /// What all operators hold, or what changed in it since the last call. `next`: number of this one.
    pub(crate) fn saved(&mut self, all: bool, next: &mut usize, into: &mut Vec<Part>) -> Result<()> {
        let operator = *next;
        *next += 1;
        let mut put = |part: usize, batch: RecordBatch| into.push(Part { operator, part, batch });
        match &mut self.op {
            Op::Aggregate(op) => op.saved(all)?.into_iter().for_each(|(part, batch)| put(part, batch)),
            Op::Sessions(op) => op.saved(all)?.into_iter().for_each(|(part, batch)| put(part, batch)),
            Op::TopN(op) => op.saved(all)?.into_iter().for_each(|batch| put(0, batch)),
            Op::Recent(op) => op.saved(all)?.into_iter().for_each(|batch| put(0, batch)),
            Op::Table { rows, .. } => rows.saved(all)?.into_iter().for_each(|batch| put(0, batch)),
            Op::Versions { rows, .. } => rows.saved(all)?.into_iter().for_each(|batch| put(0, batch)),
            Op::One { given: true, written } if all || !*written => {
                *written = true;
                let given: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
                put(0, RecordBatch::try_from_iter([("given", given)])?);
            }
            Op::Join(op) => {
                for (part, side) in op.sides().into_iter().enumerate() {
                    side.saved(all)?.into_iter().for_each(|batch| put(part, batch));
                }
            }
            Op::Scan { .. } | Op::One { .. } | Op::Rows(_) | Op::Window { .. } | Op::SessionWindow { .. } => {}
            Op::Union | Op::Unnest { .. } => {}
        }
        self.inputs.iter_mut().try_for_each(|input| input.saved(all, next, into))
    }

    pub(crate) fn restore(&mut self, part: &Part, next: &mut usize) -> Result<()> {
        let operator = *next;
        *next += 1;
        if operator == part.operator {
            return match &mut self.op {
                Op::Aggregate(op) => op.restore(part.part, &part.batch),
                Op::Sessions(op) => op.restore(part.part, &part.batch),
                Op::TopN(op) => op.restore(&part.batch),
                Op::Recent(op) => op.restore(&part.batch),
                Op::Table { rows, .. } => rows.restore(&part.batch),
                Op::Versions { rows, .. } => rows.restore(&part.batch),
                Op::One { given, written } => {
                    (*given, *written) = (true, true);
                    Ok(())
                }
                Op::Join(op) => match op.sides().into_iter().nth(part.part) {
                    Some(side) => side.restore(&part.batch),
                    None => Err(arrangement::wrong()),
                },
                Op::Scan { .. } | Op::Rows(_) | Op::Window { .. } | Op::SessionWindow { .. } => {
                    Err(arrangement::wrong())
                }
                Op::Union | Op::Unnest { .. } => Err(arrangement::wrong()),
            };
        }
        self.inputs.iter_mut().try_for_each(|input| input.restore(part, next))
    }

    /// All has been restored.
    pub(crate) fn settle(&mut self) -> Result<()> {
        if let Op::Join(op) = &mut self.op {
            op.settle()?;
        }
        self.inputs.iter_mut().try_for_each(Self::settle)
    }
}

/// An operator without inputs gives what it reads.
fn read(op: &mut Op, schema: &SchemaRef, event: &Event<'_>, given: &mut Gathered<'_>) -> Result<()> {
    let of: &[(ObjectId, Late, Delta)] = match event {
        Event::Rows { of, .. } => of,
        Event::Time { .. } => &[],
    };
    let own = |relation: ObjectId| of.iter().filter(move |(id, ..)| *id == relation).map(|(_, _, delta)| delta);
    match op {
        Op::Scan { relation, late } => {
            let own = of.iter().filter(|(id, rule, _)| id == relation && rule == late);
            own.map(|(_, _, delta)| delta.clone()).try_for_each(|delta| given.put(delta))
        }
        Op::One { given: was_given, .. } => match std::mem::replace(was_given, true) {
            true => Ok(()),
            false => given.put(Delta::came(crate::rows::record_batch(schema, Vec::new(), 1)?)),
        },
        Op::Table { relation, rows } => given.put_all(rows.apply(own(*relation))?),
        Op::Versions { relation, rows } => given.put_all(rows.apply(own(*relation))?),
        Op::Aggregate(_)
        | Op::Sessions(_)
        | Op::TopN(_)
        | Op::Join(_)
        | Op::Recent(_)
        | Op::Window { .. }
        | Op::Rows(_)
        | Op::SessionWindow { .. }
        | Op::Union
        | Op::Unnest { .. } => Err(Error::Internal("an operator without its input".to_owned())),
    }
}

/// An operator of one input takes its changes.
fn take(
    op: &mut Op,
    deltas: Vec<Delta>,
    schema: &SchemaRef,
    (event, step, failing): (&Event<'_>, Option<&StepBatch>, &Failing),
    given: &mut Gathered<'_>,
) -> Result<()> {
    let (Event::Rows { now_us, .. } | Event::Time { now_us, .. }) = event;
    let each = |change: &dyn Fn(Delta) -> Result<Delta>, given: &mut Gathered<'_>| -> Result<()> {
        deltas.iter().cloned().try_for_each(|delta| given.put(change(delta)?))
    };
    match op {
        Op::Rows(ops) => deltas.into_iter().try_for_each(|delta| {
            let Computed { batch, index, bad } = ops.run_computable(delta.batch.clone(), failing)?;
            if !bad.is_empty() {
                failing.note_change(&delta, &bad, step);
            }
            if batch.num_rows() == 0 { Ok(()) } else { given.put(delta.computed(index.as_ref(), batch)) }
        }),
        Op::Window { time, frames, panes: false } => {
            each(&|delta| windows::assign(delta, *time, frames, schema), given)
        }
        Op::Window { time, frames, panes: true } => {
            each(&|delta| windows::in_pane(delta, *time, frames, schema), given)
        }
        Op::SessionWindow { time, gap_us } => each(&|delta| windows::alone(delta, *time, *gap_us, schema), given),
        Op::Unnest { lists, keep_empty } => each(&|delta| windows::unnest(delta, lists, *keep_empty, schema), given),
        Op::Aggregate(op) => given.put_all(op.apply(deltas, failing)?),
        Op::Sessions(op) => given.put_all(op.apply(deltas, failing)?),
        Op::TopN(op) => given.put_all(op.apply(deltas)?),
        Op::Recent(op) => given.put_all(op.apply(deltas, *now_us)?),
        Op::Scan { .. } | Op::Table { .. } | Op::Versions { .. } | Op::One { .. } | Op::Join(_) | Op::Union => {
            Err(Error::Internal("an operator with another number of inputs".to_owned()))
        }
    }
}

/// Lets go what the time ends.
fn pass_time(op: &mut Op, (watermark, now_us): (i64, i64), failing: &Failing, given: &mut Gathered<'_>) -> Result<()> {
    match op {
        Op::Aggregate(op) => given.put_all(op.expire(watermark, false, failing)?),
        Op::Sessions(op) => given.put_all(op.expire(watermark, false, failing)?),
        Op::TopN(op) => op.expire(watermark),
        Op::Join(op) => {
            op.expire(watermark);
            Ok(())
        }
        Op::Recent(op) => given.put_all(op.expire(now_us)?),
        Op::Versions { rows, .. } => {
            rows.expire(watermark);
            Ok(())
        }
        Op::Scan { .. } | Op::Table { .. } | Op::One { .. } | Op::Rows(_) | Op::Window { .. } => Ok(()),
        Op::SessionWindow { .. } | Op::Union | Op::Unnest { .. } => Ok(()),
    }
}
