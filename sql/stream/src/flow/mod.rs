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
use ebap_sql::{Flow, Frame, Late, Node, SourceKind};

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
    Result,
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

    /// What changes in the answer.
    pub(crate) fn run(&mut self, event: &Event<'_>) -> Result<Vec<Delta>> {
        let changes = self.step(event)?;
        Ok(if self.rows_alone && self.has_state() { Vec::new() } else { changes })
    }

    fn step(&mut self, event: &Event<'_>) -> Result<Vec<Delta>> {
        let mut inputs: Vec<Vec<Delta>> =
            self.inputs.iter_mut().map(|input| input.run(event)).collect::<Result<_>>()?;
        let first = if inputs.is_empty() { Vec::new() } else { inputs.swap_remove(0) };
        let (now_us, step, failing) = match event {
            Event::Rows { now_us, step, failing, .. } => (*now_us, Some(*step), *failing),
            Event::Time { now_us, failing, .. } => (*now_us, None, *failing),
        };
        // What is below has a state that must not take half of a change.
        let computable = |deltas: Vec<Delta>, exprs: &[Arc<dyn PhysicalExpr>]| -> Result<Vec<Delta>> {
            if exprs.is_empty() {
                return Ok(deltas);
            }
            deltas.into_iter().map(|delta| failing.computable(delta, exprs, step)).collect()
        };
        let first = computable(first, &self.tried[0])?;
        let schema = &self.schema;
        let each = |change: &dyn Fn(Delta) -> Result<Delta>| -> Result<Vec<Delta>> {
            let changed: Result<Vec<Delta>> = first.iter().cloned().map(change).collect();
            Ok(changed?.into_iter().filter(|delta| delta.rows() > 0).collect())
        };
        Ok(match &mut self.op {
            Op::Scan { relation, late } => match event {
                Event::Rows { of, .. } => {
                    let own = of.iter().filter(|(id, rule, _)| id == relation && rule == late);
                    own.map(|(_, _, delta)| delta.clone()).filter(|delta| delta.rows() > 0).collect()
                }
                Event::Time { .. } => Vec::new(),
            },
            Op::One { given, .. } => match std::mem::replace(given, true) {
                true => Vec::new(),
                false => vec![Delta::came(crate::rows::record_batch(schema, Vec::new(), 1)?)],
            },
            Op::Table { relation, rows } => match event {
                Event::Rows { of, .. } => {
                    let own = of.iter().filter(|(id, ..)| id == relation).map(|(_, _, delta)| delta);
                    rows.apply(own)?
                }
                Event::Time { .. } => Vec::new(),
            },
            Op::Versions { relation, rows } => match event {
                Event::Rows { of, .. } => {
                    rows.apply(of.iter().filter(|(id, ..)| id == relation).map(|(_, _, delta)| delta))?
                }
                Event::Time { watermark, .. } => {
                    rows.expire(*watermark);
                    Vec::new()
                }
            },
            Op::Rows(ops) => {
                let mut out = Vec::with_capacity(first.len());
                for delta in first {
                    let Computed { batch, index, bad } = ops.run_computable(delta.batch.clone(), failing)?;
                    if !bad.is_empty() {
                        failing.note_change(&delta, &bad, step);
                    }
                    if batch.num_rows() > 0 {
                        out.push(delta.computed(index.as_ref(), batch));
                    }
                }
                out
            }
            Op::Window { time, frames, panes: false } => each(&|delta| windows::assign(delta, *time, frames, schema))?,
            Op::Window { time, frames, panes: true } => each(&|delta| windows::in_pane(delta, *time, frames, schema))?,
            Op::SessionWindow { time, gap_us } => each(&|delta| windows::alone(delta, *time, *gap_us, schema))?,
            Op::Unnest { lists, keep_empty } => each(&|delta| windows::unnest(delta, lists, *keep_empty, schema))?,
            Op::Union => {
                let all = std::iter::once(first).chain(inputs).flatten();
                let same = |delta: Delta| {
                    let batch = crate::rows::record_batch(schema, delta.batch.columns().to_vec(), delta.rows())?;
                    Ok(delta.with(batch))
                };
                all.map(same).collect::<Result<_>>()?
            }
            Op::Aggregate(op) => {
                let mut out = op.apply(first)?;
                if let Event::Time { watermark, .. } = event {
                    out.extend(op.expire(*watermark, false)?);
                }
                out
            }
            Op::Sessions(op) => {
                let mut out = op.apply(first)?;
                if let Event::Time { watermark, .. } = event {
                    out.extend(op.expire(*watermark, false)?);
                }
                out
            }
            Op::TopN(op) => {
                let out = op.apply(first)?;
                if let Event::Time { watermark, .. } = event {
                    op.expire(*watermark)?;
                }
                out
            }
            Op::Join(op) => {
                let right = computable(inputs.pop().unwrap_or_default(), &self.tried[1])?;
                let out = op.apply(first, right, failing)?;
                if let Event::Time { watermark, .. } = event {
                    op.expire(*watermark);
                }
                out
            }
            Op::Recent(op) => {
                let mut out = op.apply(first, now_us)?;
                if let Event::Time { .. } = event {
                    out.extend(op.expire(now_us)?);
                }
                out
            }
        })
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
            _ => None,
        };
        into.extend(own.filter(|own| !into.contains(own)));
        self.inputs.iter().for_each(|input| input.scans(into));
    }

    /// Lets state go that the watermark ends, without a word: it has been said.
    pub(crate) fn expire_silently(&mut self, watermark: i64) -> Result<()> {
        for input in &mut self.inputs {
            input.expire_silently(watermark)?;
        }
        match &mut self.op {
            Op::Aggregate(op) => {
                op.expire(watermark, true)?;
            }
            Op::Sessions(op) => {
                op.expire(watermark, true)?;
            }
            Op::TopN(op) => op.expire(watermark)?,
            Op::Join(op) => op.expire(watermark),
            Op::Versions { rows, .. } => rows.expire(watermark),
            _ => {}
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
            _ => (0, 0),
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
            _ => {}
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
            _ => {}
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
                _ => Err(arrangement::wrong()),
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
