//! From decoded rows to rows of the stream: computed columns, constraints, virtual columns, lateness.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int32Array, Int64Array, RecordBatch,
        TimestampMicrosecondArray, UInt32Array, new_empty_array, new_null_array,
    },
    buffer::ScalarBuffer,
    compute::{filter_record_batch, not, or, take},
    datatypes::{Schema, SchemaRef, TimestampMicrosecondType},
};
use datafusion::{common::DFSchema, physical_expr::PhysicalExpr};
use ebap_catalog::ObjectId;
use ebap_connector::{DeadLetter, Decoded, Delete, EventTime, Position, Records, Rejected, SplitId, Wanted};
use ebap_sql::{FutureRows, SourceKind, SourcePlan};

use crate::{
    Result,
    event_time::{Decided, Late},
    jsonb,
    pipeline::group::member_of,
    rows::{physical, record_batch},
};

/// The rows of one split in one step, in `SourcePlan::full_schema`; what nobody wants is NULL.
#[derive(Clone, Debug)]
pub(crate) struct SplitBatch {
    pub(crate) source: ObjectId,
    pub(crate) split: SplitId,
    pub(crate) partition: i32,
    pub(crate) batch: RecordBatch,
    /// Which rows take the row of their key away; none where no row does. Of those only the columns of the key, and the
    /// event time, mean anything.
    pub(crate) deleted: Option<BooleanArray>,
    /// Records read: rows, rejected and skipped; and those that were missed.
    pub(crate) consumed: u64,
    pub(crate) rejected: u64,
    /// Records that say nothing about rows.
    pub(crate) skipped: u64,
    /// Records that were gone before they were read.
    pub(crate) missed: u64,
    /// Rows that were taken out again, as a view cannot be computed for them.
    pub(crate) failed: u64,
    /// How many rows have `_late`.
    pub(crate) late: u64,
    /// Rows too far ahead of the clock, those that are rejected for it too.
    pub(crate) future: u64,
    /// The newest event time of the others.
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
        decided: Decided<'_>,
        now_us: i64,
    ) -> Result<(SplitBatch, Vec<DeadLetter>)> {
        match self {
            Self::One(one) => one.prepare(records, decoded, decided, now_us),
            Self::Group(members) => {
                let member = &members[member_of(&records.split).0];
                let (mut split, letters) = member.prepare(records, decoded, decided, now_us)?;
                // The watermark of a group has no delay of its own.
                let delay_us = member.plan.watermark.map_or(0, |watermark| watermark.delay_us);
                split.newest = split.newest.map(|newest| EventTime(newest.0.saturating_sub(delay_us)));
                Ok((split, letters))
            }
        }
    }
}

/// Which records take a row away, in their order.
struct Deletes(Vec<Delete>);

impl Deletes {
    fn of(&self, record: u32) -> Option<&Delete> {
        let found = self.0.binary_search_by_key(&record, |delete| delete.record).ok()?;
        self.0.get(found)
    }

    /// Of the rows of these records. None where there are none.
    fn mask(&self, rows: &UInt32Array) -> Option<BooleanArray> {
        (!self.0.is_empty()).then(|| rows.values().iter().map(|record| Some(self.of(*record).is_some())).collect())
    }

    /// A row that goes has not to keep to what is said of those that come.
    fn pass(&self, rows: &UInt32Array, mask: BooleanArray) -> Result<BooleanArray> {
        Ok(match self.mask(rows) {
            Some(deleted) => or(&mask, &deleted)?,
            None => mask,
        })
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
        let (schema, full_schema) = match plan.kind {
            SourceKind::Stream => (schema, full_schema),
            SourceKind::Table => (relaxed(&schema, &plan.primary_key), relaxed(&full_schema, &plan.primary_key)),
        };
        Ok(Self { plan, computed, checks, wanted: wanted.clone(), schema, full_schema })
    }

    /// Every record ends as a row of the batch or as a dead letter.
    pub(crate) fn prepare(
        &self,
        records: &Records,
        decoded: Decoded,
        decided: Decided<'_>,
        now_us: i64,
    ) -> Result<(SplitBatch, Vec<DeadLetter>)> {
        let Decoded { batch, rows, mut rejected, deletes, skipped } = decoded;
        let (mut rows, deletes) = (UInt32Array::from(rows), Deletes(deletes));
        let batch = self.normalised(batch, &mut rows, &mut rejected)?;
        let mut batch = self.compute(batch, &mut rows, &mut rejected, &deletes)?;
        let mut future = 0;
        if self.plan.future.rows == FutureRows::Reject
            && let Some(times) = self.event_times(&batch)
            && let Some(ahead) = decided.ahead(self.plan.future, records, rows.values(), &times)
        {
            future = ahead.true_count() as u64;
            batch = keep(batch, &not(&ahead)?, &mut rows, &mut rejected, &self.too_far_ahead())?;
        }
        for (name, check) in &self.checks {
            if batch.num_rows() == 0 {
                break;
            }
            let reason =
                format!("new row for {} \"{}\" violates check constraint \"{name}\"", self.kind(), self.plan.name);
            let mask = match check.evaluate(&batch).and_then(|value| value.into_array(batch.num_rows())) {
                Ok(mask) => passing(mask.as_boolean()),
                Err(error) => {
                    // A row on which the constraint cannot be computed is rejected alone.
                    by_row(check, &batch, &mut |_| ()).ok_or(error)?
                }
            };
            let mask = deletes.pass(&rows, mask)?;
            batch = keep(batch, &mask, &mut rows, &mut rejected, &reason)?;
        }
        let consumed = records.len() as u64;
        let letters = dead_letters(records, rejected, now_us);
        let rejected = letters.len() as u64;
        debug_assert_eq!(consumed, batch.num_rows() as u64 + rejected + skipped, "each record is somewhere, once");
        let split = self.finish(records, batch, (&rows, &deletes), decided, (rejected, skipped, future), now_us)?;
        Ok((split, letters))
    }

    /// Only a stream with an event time has it.
    fn event_times(&self, batch: &RecordBatch) -> Option<ScalarBuffer<i64>> {
        let column = batch.column(self.plan.watermark?.column);
        Some(column.as_primitive::<TimestampMicrosecondType>().values().clone())
    }

    /// Why a row is rejected by `future_rows = 'reject'`.
    fn too_far_ahead(&self) -> String {
        let column = self.plan.watermark.map_or("", |watermark| self.plan.schema.field(watermark.column).name());
        format!("column \"{column}\": the time is further ahead of the clock than future_max allows")
    }

    fn kind(&self) -> &'static str {
        match self.plan.kind {
            SourceKind::Stream => "stream",
            SourceKind::Table => "table",
        }
    }

    /// Puts `jsonb` into its form. A record with a value that has none is rejected.
    fn normalised(
        &self,
        mut batch: RecordBatch,
        rows: &mut UInt32Array,
        rejected: &mut Vec<Rejected>,
    ) -> Result<RecordBatch> {
        for (at, field) in self.plan.decoded.fields().iter().enumerate().filter(|(_, field)| jsonb::is_jsonb(field)) {
            let Some(found) = jsonb::normalised(&batch, at) else { continue };
            let mut columns = batch.columns().to_vec();
            columns[at] = found.column;
            let count = batch.num_rows();
            let reason = format!("column \"{}\": {}", field.name(), found.reason);
            // A row that is rejected has no value, which the schema may not allow.
            let relaxed: Vec<_> =
                batch.schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
            let full = record_batch(&Arc::new(Schema::new(relaxed)), columns, count)?;
            let full = keep(full, &found.valid, rows, rejected, &reason)?;
            batch = record_batch(&batch.schema(), full.columns().to_vec(), full.num_rows())?;
        }
        Ok(batch)
    }

    /// Adds the computed columns; a row on which one fails is rejected alone.
    fn compute(
        &self,
        batch: RecordBatch,
        rows: &mut UInt32Array,
        rejected: &mut Vec<Rejected>,
        deletes: &Deletes,
    ) -> Result<RecordBatch> {
        if self.computed.is_empty() {
            return Ok(batch);
        }
        let mut batch = batch;
        for (at, expr) in &self.computed {
            if batch.num_rows() > 0 && expr.evaluate(&batch).is_err() {
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
                // Functions may look at the first value.
                Some(_) if count == 0 => new_empty_array(field.data_type()),
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
        let nullable: SchemaRef = Arc::new(Schema::new(
            self.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
        ));
        let mut full = record_batch(&nullable, columns, count)?;
        for (at, _) in &self.computed {
            let field = self.plan.schema.field(*at);
            if !field.is_nullable() && full.column(*at).null_count() > 0 {
                let mut mask = arrow::compute::is_not_null(full.column(*at))?;
                if !self.plan.primary_key.contains(at) {
                    mask = deletes.pass(rows, mask)?;
                }
                let reason = format!("null value in column \"{}\" violates not-null constraint", field.name());
                full = keep(full, &mask, rows, rejected, &reason)?;
            }
        }
        record_batch(&self.schema, full.columns().to_vec(), full.num_rows())
    }

    fn finish(
        &self,
        records: &Records,
        batch: RecordBatch,
        (rows, deletes): (&UInt32Array, &Deletes),
        decided: Decided<'_>,
        (rejected, skipped, future): (u64, u64, u64),
        now_us: i64,
    ) -> Result<SplitBatch> {
        let count = batch.num_rows();
        let deleted = deletes.mask(rows);
        let batch = self.timed(records, batch, (rows, deletes), now_us)?;
        let offsets: Int64Array = rows.values().iter().map(|row| records.offsets[*row as usize]).collect();
        let times = self.event_times(&batch);
        let late =
            times.as_ref().map_or_else(|| Late::none(count), |times| decided.late(&records.split, times, &offsets));
        let ahead = times.as_ref().and_then(|times| decided.ahead(self.plan.future, records, rows.values(), times));
        let newest = times.as_ref().and_then(|times| newest(times, ahead.as_ref(), (rows, deletes)));
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
        columns.push(Arc::new(late.late));
        columns.push(Arc::new(late.watermarks));
        let first = records.offsets.first().copied().unwrap_or(records.next_offset.0);
        Ok(SplitBatch {
            source: self.plan.id,
            split: records.split.clone(),
            partition: records.partition,
            batch: record_batch(&self.full_schema, columns, count)?,
            deleted,
            consumed: records.len() as u64 + records.missed,
            rejected,
            skipped,
            missed: records.missed,
            failed: 0,
            late: late.rows,
            future: future + ahead.map_or(0, |ahead| ahead.true_count() as u64),
            newest,
            offsets: (first, records.next_offset.0),
        })
    }

    /// A row that goes has the time of its going for its event time.
    fn timed(
        &self,
        records: &Records,
        batch: RecordBatch,
        (rows, deletes): (&UInt32Array, &Deletes),
        now_us: i64,
    ) -> Result<RecordBatch> {
        let Some(watermark) = self.plan.watermark.filter(|_| !deletes.0.is_empty()) else { return Ok(batch) };
        let of_record = |record: u32| match records.timestamps_ms[record as usize] {
            -1 => now_us,
            ms => ms * 1_000,
        };
        let times = batch.column(watermark.column).as_primitive::<TimestampMicrosecondType>();
        let times = times.values().iter().zip(rows.values()).map(|(time, record)| match deletes.of(*record) {
            Some(delete) => delete.at.map_or_else(|| of_record(*record), |at| at.0),
            None => *time,
        });
        let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("+00:00");
        let mut columns = batch.columns().to_vec();
        columns[watermark.column] = Arc::new(times);
        record_batch(&batch.schema(), columns, batch.num_rows())
    }

    /// A virtual column that costs something to make.
    fn if_wanted<A: Array + 'static>(&self, name: &str, count: usize, make: impl FnOnce() -> A) -> ArrayRef {
        match (self.wanted.of(name), self.full_schema.field_with_name(name)) {
            (None, Ok(field)) => new_null_array(field.data_type(), count),
            _ => Arc::new(make()),
        }
    }
}

/// The newest event time of the rows that are not too far ahead of the clock.
fn newest(times: &[i64], ahead: Option<&BooleanArray>, (rows, deletes): (&UInt32Array, &Deletes)) -> Option<EventTime> {
    // The time of a record that does not say one may be hours behind that of the change.
    let says = |record: u32| deletes.of(record).is_none_or(|delete| delete.at.is_some());
    let counts = |at: usize| !ahead.is_some_and(|ahead| ahead.value(at)) && says(rows.value(at));
    if ahead.is_none() && deletes.0.is_empty() {
        return times.iter().max().map(|time| EventTime(*time));
    }
    (0..times.len()).filter(|at| counts(*at)).map(|at| EventTime(times[at])).max()
}

/// The schema in which only these columns are never NULL, of those that are declared.
fn relaxed(schema: &SchemaRef, key: &[usize]) -> SchemaRef {
    let fields = schema.fields().iter().enumerate().map(|(at, field)| {
        let nullable = field.is_nullable() || !key.contains(&at);
        field.as_ref().clone().with_nullable(nullable)
    });
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
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
