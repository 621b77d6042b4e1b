//! A view whose query is a tree of operators.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, AsArray, BooleanArray, RecordBatch},
    datatypes::{SchemaRef, TimestampMicrosecondType},
};
use ebap_catalog::ObjectId;
use ebap_connector::{ChangeBatch, time::instant};
use ebap_sql::{Flow, Late, Node};

use super::{Kind, ViewJob, store::ViewStore};
use crate::{
    Error, Result,
    accounting::Counts,
    failed_rows::Failing,
    figures::Figures,
    flow::{Delta, Event, Operator, Output, packed, unpacked},
    prepare::{SplitBatch, StepBatch},
};

#[derive(Debug)]
pub(crate) struct FlowState {
    root: Operator,
    output: Output,
    scans: Vec<(ObjectId, Late)>,
    /// Of each stream its event time, where it has one.
    times: HashMap<ObjectId, usize>,
    follows_clock: bool,
    text: String,
    /// What was restored has let nothing go yet.
    restored: bool,
}

impl FlowState {
    pub(super) fn new(flow: &Flow, schema: &SchemaRef) -> Result<Self> {
        let root = Operator::build(flow)?;
        let mut scans = Vec::new();
        root.scans(&mut scans);
        let follows_clock = root.follows_clock();
        let mut event_times = HashMap::new();
        flow.each(&mut |flow| {
            if let Node::Scan { relation, time: Some(time), .. } = &flow.node {
                event_times.insert(*relation, *time);
            }
        });
        let output = Output::new(flow, schema)?;
        Ok(Self { root, output, scans, times: event_times, follows_clock, text: flow.to_string(), restored: false })
    }

    /// All that changes in the view, as readers see a step as a whole.
    fn changes(&mut self, event: &Event<'_>, rows_max: usize) -> Result<Vec<Delta>> {
        // Rows that go and rows that come.
        let most = rows_max.saturating_mul(2);
        let (mut all, mut rows) = (Vec::new(), 0_usize);
        self.root.run(event, &mut |deltas| {
            rows += deltas.iter().map(Delta::rows).sum::<usize>();
            if rows > most {
                let message = format!("a step changes more than {most} rows");
                return Err(Error::Memory { job: String::new(), message });
            }
            all.extend(deltas);
            Ok(())
        })?;
        Ok(all)
    }

    /// See `ViewJob::rows_alone`.
    pub(super) fn rows_alone(&mut self) {
        self.root.rows_alone();
    }

    pub(super) fn bytes(&self) -> usize {
        self.root.size().1 + self.output.size()
    }

    pub(super) fn entries(&self) -> usize {
        self.root.size().0
    }

    /// All of the state, or what changed since the last call.
    pub(super) fn saved(&mut self, all: bool, store: &ViewStore) -> Result<Vec<RecordBatch>> {
        let mut parts = Vec::new();
        self.root.saved(all, &mut 0, &mut parts)?;
        self.output.saved(all, store, &mut parts)?;
        packed(&parts)
    }

    pub(super) fn forget_changes(&mut self) {
        self.root.forget_changes();
        self.output.forget_changes();
    }

    pub(super) fn restore(&mut self, batch: &RecordBatch, store: &ViewStore) -> Result<()> {
        for part in unpacked(batch)? {
            match part.operator {
                crate::flow::OUTPUT => self.output.restore(&part, store)?,
                _ => self.root.restore(&part, &mut 0)?,
            }
        }
        Ok(())
    }

    pub(super) fn settle(&mut self) -> Result<()> {
        self.root.settle()?;
        self.forget_changes();
        self.restored = true;
        Ok(())
    }

    pub(super) fn describe(&self, done: Option<(&Figures, &Figures)>) -> String {
        let mut lines: Vec<String> = self.text.lines().map(str::to_owned).collect();
        if let (Some((own, source)), Some(first)) = (done, lines.first_mut()) {
            *first = format!("{first}  {}", own.output);
            if let Some(bytes) = own.state_bytes {
                first.push_str(&format!(", state {bytes} bytes"));
            }
            lines.push(format!("StepSource: decode, checks, columns  {}", source.input));
        }
        lines.join("\n")
    }
}

impl ViewJob {
    pub(crate) fn follows_clock(&self) -> bool {
        matches!(&self.kind, Kind::Flow(flow) if flow.follows_clock)
    }

    pub(super) fn process_flow(
        &mut self,
        step: &StepBatch,
        wanted: bool,
        failing: &Failing,
    ) -> Result<Vec<ChangeBatch>> {
        let (begun, now_us) = (instant(), self.now_us());
        let Kind::Flow(flow) = &mut self.kind else { return Ok(Vec::new()) };
        let (mut changes, mut rows) = (Vec::new(), 0);
        let mut counts = Vec::with_capacity(step.splits.len());
        for (at, split) in step.splits.iter().enumerate() {
            rows += split.batch.num_rows();
            let read = flow.scans.iter().any(|(relation, _)| *relation == split.source);
            let mut late = if read { split.batch.num_rows() } else { 0 };
            for (relation, rule) in flow.scans.iter().filter(|(relation, _)| *relation == split.source) {
                let delta = on_time(split, at, *rule, flow.times.get(relation).copied())?;
                late = late.min(split.batch.num_rows() - delta.rows());
                changes.push((*relation, *rule, delta));
            }
            counts.push(Counts {
                consumed: split.consumed,
                emitted: (split.batch.num_rows() - late) as u64,
                late: late as u64,
                dead_lettered: split.rejected,
                filtered: split.skipped,
                failed: split.failed,
                missed: split.missed,
            });
        }
        if rows == 0 {
            step.splits.iter().zip(counts).for_each(|(split, counts)| self.accounting.add(&split.split, counts));
            return Ok(Vec::new());
        }
        self.figures.steps += 1;
        let event = Event::Rows { of: &changes, step, now_us, failing };
        let deltas = flow.changes(&event, self.rows_max).map_err(|error| of_job(error, &self.name))?;
        for (at, (split, mut counts)) in step.splits.iter().zip(counts).enumerate() {
            let failed = failing.of_split(at);
            counts.emitted -= failed;
            counts.failed += failed;
            self.accounting.add(&split.split, counts);
        }
        let (count, given) = (rows, deltas.iter().map(Delta::rows).sum());
        let out = self.give(&deltas, wanted);
        self.figures.output.ran(count, given, begun);
        out
    }

    /// See `begin`.
    pub(super) fn begin_flow(&mut self, failing: &Failing) -> Result<()> {
        let now_us = self.now_us();
        let Kind::Flow(flow) = &mut self.kind else { return Ok(()) };
        if !flow.root.begins() {
            return Ok(());
        }
        let event = Event::Time { watermark: self.watermark, now_us, failing };
        let deltas = flow.changes(&event, self.rows_max).map_err(|error| of_job(error, &self.name))?;
        self.give(&deltas, false)?;
        Ok(())
    }

    pub(super) fn advance_flow(&mut self, watermark: i64, wanted: bool) -> Result<Vec<ChangeBatch>> {
        let now_us = self.now_us();
        let Kind::Flow(flow) = &mut self.kind else { return Ok(Vec::new()) };
        let passed = watermark > self.watermark;
        if !passed && !flow.follows_clock && !flow.restored {
            return Ok(Vec::new());
        }
        self.watermark = self.watermark.max(watermark);
        if std::mem::take(&mut flow.restored) {
            // What these windows had to say was said before.
            flow.root.expire_silently(self.watermark)?;
            if let Some(retention) = self.retention_us {
                flow.output.expire(self.watermark.saturating_sub(retention), &self.store)?;
            }
            flow.output.close(self.watermark);
            return Ok(Vec::new());
        }
        let failing = Failing::new(self.on_error, now_us);
        let event = Event::Time { watermark: self.watermark, now_us, failing: &failing };
        let deltas = flow.changes(&event, self.rows_max).map_err(|error| of_job(error, &self.name))?;
        let mut out = self.give(&deltas, wanted)?;
        self.keep_failed(failing.into_failed());
        if let (Some(retention), Kind::Flow(flow)) = (self.retention_us.filter(|_| passed), &mut self.kind)
            && let Some(gone) = flow.output.expire(self.watermark.saturating_sub(retention), &self.store)?
        {
            out.push(ChangeBatch { deletes: gone, inserts: RecordBatch::new_empty(Arc::clone(self.store.schema())) });
        }
        if let Kind::Flow(flow) = &mut self.kind {
            flow.output.close(self.watermark);
        }
        Ok(out)
    }

    fn give(&mut self, deltas: &[Delta], wanted: bool) -> Result<Vec<ChangeBatch>> {
        let Kind::Flow(flow) = &mut self.kind else { return Ok(Vec::new()) };
        let changes = flow.output.apply(deltas, &self.store, wanted)?;
        if self.store.rows() > self.rows_max {
            return Err(self.too_large("rows", self.rows_max));
        }
        let batch = |changes: crate::flow::Changes| ChangeBatch { deletes: changes.gone, inserts: changes.came };
        Ok(changes.filter(|_| wanted).map(batch).into_iter().collect())
    }
}

/// Operators do not know whose they are.
fn of_job(error: Error, job: &str) -> Error {
    match error {
        Error::Memory { message, .. } => Error::Memory { job: job.to_owned(), message },
        other => other,
    }
}

/// The rows that do not come too late for the operators above. `at`: where the split stands in the step.
fn on_time(split: &SplitBatch, at: usize, rule: Late, time: Option<usize>) -> Result<Delta> {
    let delta = match &split.deleted {
        Some(deleted) => {
            let weights = deleted.values().iter().map(|deleted| if deleted { -1 } else { 1 });
            Delta::weighted(split.batch.clone(), weights.collect())
        }
        None => Delta::came(split.batch.clone()),
    };
    let delta = delta.of_split(at);
    let (Some(time), true) = (time, split.late > 0) else { return Ok(delta) };
    let times = split.batch.column(time).as_primitive::<TimestampMicrosecondType>();
    // `_watermark` is the last column, and null for rows on time.
    let marks = split.batch.column(split.batch.num_columns() - 1).as_primitive::<TimestampMicrosecondType>();
    let takes = |row: usize| match rule {
        Late::Never => true,
        Late::Strict => marks.is_null(row),
        Late::Pane(pane_us) => {
            marks.is_null(row) || (times.value(row).div_euclid(pane_us) + 1).saturating_mul(pane_us) > marks.value(row)
        }
    };
    let mask: BooleanArray = (0..split.batch.num_rows()).map(|row| Some(takes(row))).collect();
    delta.filter(&mask)
}
