//! From decoded rows to rows of the stream: computed columns, constraints, virtual columns, lateness.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int32Array, Int64Array, RecordBatch,
        TimestampMicrosecondArray, UInt32Array, new_null_array,
    },
    compute::{filter_record_batch, take},
    datatypes::{SchemaRef, TimestampMicrosecondType},
};
use datafusion::{common::DFSchema, physical_expr::PhysicalExpr};
use ebap_catalog::ObjectId;
use ebap_connector::{DeadLetter, Decoded, EventTime, Position, Records, Rejected, SplitId, Wanted};
use ebap_sql::SourcePlan;

use crate::{
    Result,
    late_log::LateLog,
    pipeline::group::member_of,
    rows::{physical, record_batch},
};

/// Against what lateness is decided.
#[derive(Clone, Copy)]
pub(crate) enum Lateness<'a> {
    /// The watermark as the records are read.
    Live(EventTime),
    /// As it was decided when they were read first.
    Logged(&'a LateLog),
}

/// The rows of one split in one step, in `SourcePlan::full_schema`; what nobody wants is NULL.
#[derive(Clone, Debug)]
pub(crate) struct SplitBatch {
    pub(crate) source: ObjectId,
    pub(crate) split: SplitId,
    pub(crate) batch: RecordBatch,
    /// Records read: rows and rejected.
    pub(crate) consumed: u64,
    pub(crate) rejected: u64,
    /// How many rows have `_late`.
    pub(crate) late: u64,
    pub(crate) newest: Option<EventTime>,
    /// First offset and the one behind the last.
    pub(crate) offsets: (i64, i64),
}

/// One turn of the loop: what was read and where the stream stands behind it.
#[derive(Clone, Debug)]
pub(crate) struct StepBatch {
    pub(crate) splits: Vec<SplitBatch>,
    pub(crate) position: Position,
}

#[derive(Debug)]
pub(crate) struct RowPreparer {
    plan: Arc<SourcePlan>,
    computed: Vec<(usize, Arc<dyn PhysicalExpr>)>,
    checks: Vec<(String, Arc<dyn PhysicalExpr>)>,
    wanted: Wanted,
    /// Those of the plan, where NULL is allowed in what nobody wants.
    schema: SchemaRef,
    full_schema: SchemaRef,
}

/// Of one stream, or of each of a group.
#[derive(Debug)]
pub(crate) enum Preparers {
    One(Box<RowPreparer>),
    Group(Vec<RowPreparer>),
}

impl Preparers {
    /// See [`RowPreparer::prepare`].
    pub(crate) fn prepare(
        &self,
        records: &Records,
        decoded: Decoded,
        lateness: Lateness<'_>,
        now_us: i64,
    ) -> Result<(SplitBatch, Vec<DeadLetter>)> {
        match self {
            Self::One(one) => one.prepare(records, decoded, lateness, now_us),
            Self::Group(members) => {
                let member = &members[member_of(&records.split).0];
                let (mut split, letters) = member.prepare(records, decoded, lateness, now_us)?;
                // The watermark of a group has no delay of its own.
                let delay_us = member.plan.watermark.map_or(0, |watermark| watermark.delay_us);
                split.newest = split.newest.map(|newest| EventTime(newest.0.saturating_sub(delay_us)));
                Ok((split, letters))
            }
        }
    }
}

impl RowPreparer {
    pub(crate) fn new(plan: Arc<SourcePlan>, wanted: &Wanted) -> Result<Self> {
        let decoded = DFSchema::try_from(plan.decoded.as_ref().clone())?;
        let full = DFSchema::try_from(plan.schema.as_ref().clone())?;
        let computed =
            plan.computed.iter().map(|(at, expr)| Ok((*at, physical(expr, &decoded)?))).collect::<Result<_>>()?;
        let checks = plan
            .checks
            .iter()
            .map(|check| Ok((check.name.clone(), physical(&check.expr, &full)?)))
            .collect::<Result<_>>()?;
        let (schema, full_schema) = (wanted.relaxed(&plan.schema), wanted.relaxed(&plan.full_schema));
        Ok(Self { plan, computed, checks, wanted: wanted.clone(), schema, full_schema })
    }

    /// Every record ends as a row of the batch or as a dead letter.
    pub(crate) fn prepare(
        &self,
        records: &Records,
        decoded: Decoded,
        lateness: Lateness<'_>,
        now_us: i64,
    ) -> Result<(SplitBatch, Vec<DeadLetter>)> {
        let Decoded { batch, rows, mut rejected } = decoded;
        let mut rows = UInt32Array::from(rows);
        let mut batch = self.compute(batch, &mut rows, &mut rejected)?;
        for (name, check) in &self.checks {
            let reason =
                format!("new row for {} \"{}\" violates check constraint \"{name}\"", self.kind(), self.plan.name);
            let mask = match check.evaluate(&batch).and_then(|value| value.into_array(batch.num_rows())) {
                Ok(mask) => passing(mask.as_boolean()),
                Err(error) => {
                    // A row on which the constraint cannot be computed is rejected alone.
                    by_row(check, &batch, &mut |_| ()).ok_or(error)?
                }
            };
            batch = keep(batch, &mask, &mut rows, &mut rejected, &reason)?;
        }
        let consumed = records.len() as u64;
        let letters = dead_letters(records, rejected, now_us);
        debug_assert_eq!(consumed, batch.num_rows() as u64 + letters.len() as u64, "each record is a row or rejected");
        let split = self.finish(records, batch, &rows, lateness, consumed, letters.len() as u64, now_us)?;
        Ok((split, letters))
    }

    fn kind(&self) -> &'static str {
        match self.plan.kind {
            ebap_sql::SourceKind::Stream => "stream",
            ebap_sql::SourceKind::Table => "table",
        }
    }

    /// Adds the computed columns; a row on which one fails is rejected alone.
    fn compute(&self, batch: RecordBatch, rows: &mut UInt32Array, rejected: &mut Vec<Rejected>) -> Result<RecordBatch> {
        if self.computed.is_empty() {
            return Ok(batch);
        }
        let mut batch = batch;
        for (at, expr) in &self.computed {
            if expr.evaluate(&batch).is_err() {
                let name = self.plan.schema.field(*at).name();
                let mut reason = String::new();
                let mask = by_row(expr, &batch, &mut |error| reason = error);
                let reason = format!("computed column \"{name}\" cannot be computed: {reason}");
                let mask = mask.unwrap_or_else(|| BooleanArray::from(vec![false; batch.num_rows()]));
                batch = keep(batch, &mask, rows, rejected, &reason)?;
            }
        }
        let count = batch.num_rows();
        let mut decoded = batch.columns().iter();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.plan.schema.fields().len());
        for (at, field) in self.plan.schema.fields().iter().enumerate() {
            let column = match self.computed.iter().find(|(index, _)| *index == at) {
                Some((_, expr)) => {
                    let value = expr.evaluate(&batch)?.into_array(count)?;
                    if value.data_type() == field.data_type() {
                        value
                    } else {
                        arrow::compute::cast(&value, field.data_type())?
                    }
                }
                None => Arc::clone(decoded.next().expect("one decoded column per declared one")),
            };
            columns.push(column);
        }
        let nullable: SchemaRef = Arc::new(arrow::datatypes::Schema::new(
            self.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
        ));
        let mut full = record_batch(&nullable, columns, count)?;
        for (at, _) in &self.computed {
            let field = self.plan.schema.field(*at);
            if !field.is_nullable() && full.column(*at).null_count() > 0 {
                let mask = arrow::compute::is_not_null(full.column(*at))?;
                let reason = format!("null value in column \"{}\" violates not-null constraint", field.name());
                full = keep(full, &mask, rows, rejected, &reason)?;
            }
        }
        record_batch(&self.schema, full.columns().to_vec(), full.num_rows())
    }

    #[allow(clippy::too_many_arguments)]
    fn finish(
        &self,
        records: &Records,
        batch: RecordBatch,
        rows: &UInt32Array,
        lateness: Lateness<'_>,
        consumed: u64,
        rejected: u64,
        now_us: i64,
    ) -> Result<SplitBatch> {
        let count = batch.num_rows();
        let offsets: Int64Array = rows.values().iter().map(|row| records.offsets[*row as usize]).collect();
        let (late, watermark, late_rows, newest) = self.lateness(&records.split, &batch, &offsets, lateness);
        let mut columns = batch.columns().to_vec();
        columns.push(self.if_wanted("_partition", count, || Int32Array::from(vec![records.partition; count])));
        columns.push(Arc::new(offsets));
        columns.push(self.if_wanted("_key", count, || {
            let keys = rows.values().iter().map(|row| records.keys.get(*row as usize));
            keys.collect::<BinaryArray>()
        }));
        columns.push(self.if_wanted("_ingested_at", count, || {
            let ingested = rows.values().iter().map(|row| match records.timestamps_ms[*row as usize] {
                -1 => now_us,
                ms => ms * 1_000,
            });
            TimestampMicrosecondArray::from_iter_values(ingested).with_timezone("+00:00")
        }));
        columns.push(Arc::new(late));
        columns.push(Arc::new(watermark));
        let first = records.offsets.first().copied().unwrap_or(records.next_offset.0);
        Ok(SplitBatch {
            source: self.plan.id,
            split: records.split.clone(),
            batch: record_batch(&self.full_schema, columns, count)?,
            consumed,
            rejected,
            late: late_rows,
            newest,
            offsets: (first, records.next_offset.0),
        })
    }

    /// A virtual column that costs something to make.
    fn if_wanted<A: Array + 'static>(&self, name: &str, count: usize, make: impl FnOnce() -> A) -> ArrayRef {
        match (self.wanted.of(name), self.full_schema.field_with_name(name)) {
            (None, Ok(field)) => new_null_array(field.data_type(), count),
            _ => Arc::new(make()),
        }
    }

    fn lateness(
        &self,
        split: &SplitId,
        batch: &RecordBatch,
        offsets: &Int64Array,
        lateness: Lateness<'_>,
    ) -> (BooleanArray, TimestampMicrosecondArray, u64, Option<EventTime>) {
        let count = batch.num_rows();
        let on_time = || {
            let none = TimestampMicrosecondArray::new_null(count).with_timezone("+00:00");
            (BooleanArray::from(vec![false; count]), none)
        };
        let Some(watermark) = self.plan.watermark else {
            let (late, none) = on_time();
            return (late, none, 0, None);
        };
        let times = batch.column(watermark.column).as_primitive::<TimestampMicrosecondType>();
        let newest = times.values().iter().max().map(|time| EventTime(*time));
        let oldest = times.values().iter().min().copied().unwrap_or(i64::MAX);
        let clean = match lateness {
            Lateness::Live(current) => oldest >= current.0,
            Lateness::Logged(log) => match (offsets.values().first(), offsets.values().last()) {
                (Some(first), Some(last)) => log.none_between(split, *first, *last + 1),
                _ => true,
            },
        };
        if clean {
            let (late, none) = on_time();
            return (late, none, 0, newest);
        }
        let read_under = |offset: i64| match lateness {
            Lateness::Live(current) => Some(current),
            Lateness::Logged(log) => log.watermark(split, offset),
        };
        let marks: TimestampMicrosecondArray = times
            .values()
            .iter()
            .zip(offsets.values())
            .map(|(time, offset)| read_under(*offset).filter(|mark| *time < mark.0).map(|mark| mark.0))
            .collect();
        let late = arrow::compute::is_not_null(&marks).expect("is_not_null takes any array");
        let late_rows = late.true_count() as u64;
        (late, marks.with_timezone("+00:00"), late_rows, newest)
    }
}

/// NULL passes a constraint, as in SQL.
fn passing(mask: &BooleanArray) -> BooleanArray {
    mask.iter().map(|value| Some(value.unwrap_or(true))).collect()
}

/// Evaluates row by row; false where it failed. `None` where it yields no boolean and never fails.
fn by_row(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch, failed: &mut dyn FnMut(String)) -> Option<BooleanArray> {
    let mask = (0..batch.num_rows()).map(|row| {
        let one = batch.slice(row, 1);
        match expr.evaluate(&one).and_then(|value| value.into_array(1)) {
            Ok(value) => match value.as_boolean_opt() {
                Some(value) => Some(value.is_null(0) || value.value(0)),
                None => Some(true),
            },
            Err(error) => {
                failed(error.find_root().to_string());
                Some(false)
            }
        }
    });
    Some(mask.collect())
}

fn keep(
    batch: RecordBatch,
    mask: &BooleanArray,
    rows: &mut UInt32Array,
    rejected: &mut Vec<Rejected>,
    reason: &str,
) -> Result<RecordBatch> {
    if mask.true_count() == mask.len() {
        return Ok(batch);
    }
    for (at, kept) in mask.iter().enumerate() {
        if kept != Some(true) {
            rejected.push(Rejected { record: rows.value(at), reason: reason.to_owned() });
        }
    }
    let indices: UInt32Array =
        mask.iter().enumerate().filter(|(_, kept)| *kept == Some(true)).map(|(at, _)| at as u32).collect();
    *rows = take(rows, &indices, None)?.as_primitive().clone();
    Ok(filter_record_batch(&batch, mask)?)
}

fn dead_letters(records: &Records, mut rejected: Vec<Rejected>, now_us: i64) -> Vec<DeadLetter> {
    rejected.sort_by_key(|rejected| rejected.record);
    let letters = rejected.into_iter().map(|rejected| {
        let at = rejected.record as usize;
        DeadLetter {
            split: records.split.clone(),
            partition: records.partition,
            offset: records.offsets[at],
            timestamp_ms: records.timestamps_ms[at],
            key: records.keys.get(at).map(<[u8]>::to_vec),
            value: records.values.get(at).map(<[u8]>::to_vec),
            headers: records.headers_of(at).cloned().unwrap_or_default(),
            reason: rejected.reason,
            rejected_at_us: now_us,
        }
    });
    letters.collect()
}
