//! Changes of a table as Debezium writes them in Avro, by the schemas of a registry.
//!
//! What an envelope means is told in `debezium_json`; here it has columns of its own, and changes are taken many at a time.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StructArray, new_null_array},
    compute::{
        cast, filter,
        kernels::cmp::{distinct, not_distinct},
    },
    datatypes::{DataType, Field, Fields, Int64Type, SchemaRef},
};
use async_trait::async_trait;
use ebap_connector::{DecodeSpec, Decoded, Decoder, Delete, Error, EventTime, Records, Rejected, Result};
use ebap_schema_registry::{Kind, Schema};

use crate::{
    avro::{AvroReader, Declared, Part},
    cell::Dialect,
    change::{self, Change},
    fit::{Faults, Fitter},
    registered::{Groups, Registered},
};

const MEMBERS: [&str; 4] = ["op", "before", "after", "source"];

pub(crate) struct DebeziumAvroDecoder {
    /// As they were declared.
    schema: SchemaRef,
    key: Vec<usize>,
    columns: Declared,
    values: Registered<AvroReader>,
    keys: Registered<AvroReader>,
}

/// What a batch of records comes to.
#[derive(Default)]
struct Changes {
    parts: Vec<Part>,
    deletes: Vec<Delete>,
    rejected: Vec<Rejected>,
    skipped: u64,
    /// Deletes whose keys are in the keys of their records.
    by_key: Vec<Delete>,
}

impl DebeziumAvroDecoder {
    pub(crate) fn new(spec: &DecodeSpec) -> Result<Self> {
        let fitter = Fitter { moments: change::moments(spec)?, dialect: Dialect::Debezium };
        Ok(Self {
            schema: Arc::clone(&spec.schema),
            key: spec.key.clone(),
            columns: Declared::new(&change::relaxed(spec), &spec.wanted, fitter),
            values: Registered::new(&spec.options, Kind::Avro)?,
            keys: Registered::new(&spec.options, Kind::Avro)?,
        })
    }

    /// The columns of a row that goes: those of the key, which it must have, and what there is of the others, for computed
    /// columns of the key; nobody else looks at those.
    fn leaving(&self, of: &RecordBatch, faults: &mut Faults) -> Result<Vec<ArrayRef>, String> {
        let key: Fields = self.key.iter().map(|at| Arc::clone(&self.schema.fields()[*at])).collect();
        let mut inner = Faults::default();
        let keys = self.columns.fit(of, &key, &mut inner)?;
        for row in 0..of.num_rows() {
            if let Some(reason) = inner.of(row) {
                faults.add(row, || format!("a delete: {reason}"));
            }
        }
        let column = |at: usize| match self.key.iter().position(|key| *key == at) {
            Some(at) => Arc::clone(&keys[at]),
            None => {
                let field = Arc::new(self.schema.field(at).clone().with_nullable(true));
                let fitted = self.columns.fit(of, &Fields::from(vec![Arc::clone(&field)]), &mut Faults::default());
                let fitted = fitted.ok().and_then(|mut columns| columns.pop());
                fitted.unwrap_or_else(|| new_null_array(field.data_type(), of.num_rows()))
            }
        };
        Ok((0..self.schema.fields().len()).map(column).collect())
    }

    fn run(&self, batch: &RecordBatch, records: &[u32], into: &mut Changes) -> Result<()> {
        let Some(envelope) = Envelope::of(batch) else { return Err(Error::internal("an envelope without an op")) };
        let (mut puts, mut takes) = (vec![false; records.len()], vec![false; records.len()]);
        for (row, record) in records.iter().enumerate() {
            let change = match envelope.op(row) {
                Some(op) => Change::of(op).and_then(|change| match change {
                    Change::Put if envelope.after.is_null(row) => Err(change::without_after(op)),
                    change => Ok(change),
                }),
                None => Err(change::NO_OP.to_owned()),
            };
            match change {
                Ok(Change::Put) => puts[row] = true,
                Ok(Change::Take) => takes[row] = true,
                Ok(Change::Nothing) => into.skipped += 1,
                Err(reason) => into.rejected.push(Rejected { record: *record, reason }),
            }
        }
        self.put(&envelope, &BooleanArray::from(puts), records, into)?;
        self.take(&envelope, &BooleanArray::from(takes), records, into)
    }

    fn put(&self, envelope: &Envelope<'_>, puts: &BooleanArray, records: &[u32], into: &mut Changes) -> Result<()> {
        if !puts.has_true() {
            return Ok(());
        }
        let after = rows(envelope.after, puts)?;
        let mut faults = Faults::default();
        let columns = self.columns.fit(&after, self.schema.fields(), &mut faults).map_err(Error::internal)?;
        if let Some(before) = envelope.before {
            self.refuse_another_key(before, &rows(before, puts)?, puts, &after, &mut faults)?;
        }
        let part = Part { columns, records: kept(records, puts) };
        into.parts.push(part.without(&faults, &mut into.rejected)?);
        Ok(())
    }

    fn refuse_another_key(
        &self,
        whole: &StructArray,
        before: &RecordBatch,
        puts: &BooleanArray,
        after: &RecordBatch,
        faults: &mut Faults,
    ) -> Result<()> {
        let there: Vec<bool> = (0..whole.len()).filter(|row| puts.value(*row)).map(|row| whole.is_valid(row)).collect();
        for at in &self.key {
            let name = self.schema.field(*at).name();
            // Where it cannot be told which column that is, the schema is refused.
            let column = |of: &RecordBatch| self.columns.column(of.schema_ref().fields(), of.columns(), name);
            let (Ok(Some(old)), Ok(Some(new))) = (column(before), column(after)) else { continue };
            let changed = distinct(&old, &new).map_err(Error::internal)?;
            for (row, _) in there.iter().enumerate().filter(|(row, there)| **there && changed.value(*row)) {
                // NULL: it is not in `before`.
                if old.is_valid(row) {
                    faults.add(row, || change::another_key(name));
                }
            }
        }
        Ok(())
    }

    fn take(&self, envelope: &Envelope<'_>, takes: &BooleanArray, records: &[u32], into: &mut Changes) -> Result<()> {
        if !takes.has_true() {
            return Ok(());
        }
        // `before` may be missing, or hold nothing but a part of the key.
        let whole = |row: usize| {
            envelope.before.is_some_and(|before| {
                let has = |at: &usize| {
                    let name = self.schema.field(*at).name();
                    let column = self.columns.column(before.fields(), before.columns(), name);
                    column.is_ok_and(|column| column.is_some_and(|column| column.is_valid(row)))
                };
                before.is_valid(row) && self.key.iter().all(has)
            })
        };
        let delete = |row: usize| Delete { record: records[row], at: envelope.time(row) };
        let of_before: BooleanArray = (0..records.len()).map(|row| Some(takes.value(row) && whole(row))).collect();
        let by_key = not_distinct(takes, &of_before).map_err(Error::internal)?;
        into.by_key.extend((0..records.len()).filter(|row| !by_key.value(*row)).map(delete));
        if let Some(before) = envelope.before.filter(|_| of_before.has_true()) {
            let mut faults = Faults::default();
            let columns = self.leaving(&rows(before, &of_before)?, &mut faults).map_err(Error::internal)?;
            let part = Part { columns, records: kept(records, &of_before) }.without(&faults, &mut into.rejected)?;
            let stays: Vec<u32> = part.records.clone();
            let of = (0..records.len()).filter(|row| of_before.value(*row)).map(delete);
            into.deletes.extend(of.filter(|delete| stays.binary_search(&delete.record).is_ok()));
            into.parts.push(part);
        }
        Ok(())
    }

    /// Deletes by the keys of their records.
    fn take_by_key(&mut self, records: &Records, into: &mut Changes) -> Result<()> {
        let wanted = std::mem::take(&mut into.by_key);
        let of = |record: u32| wanted.iter().find(|delete| delete.record == record).copied();
        let mut refused = Vec::new();
        let places = wanted.iter().map(|delete| delete.record as usize);
        let groups = Groups::of(&records.keys, places, &mut refused)?;
        for (id, group) in groups.0 {
            let reader = match self.keys.get(id)? {
                Ok(reader) => reader,
                Err(reason) => {
                    refused.extend(group.into_iter().map(|record| Rejected { record, reason: reason.clone() }));
                    continue;
                }
            };
            for run in reader.read(&records.keys, &group, &mut refused)? {
                let mut faults = Faults::default();
                match self.leaving(&run.batch, &mut faults) {
                    Ok(columns) => {
                        let part = Part { columns, records: run.records }.without(&faults, &mut into.rejected)?;
                        into.deletes.extend(part.records.iter().filter_map(|record| of(*record)));
                        into.parts.push(part);
                    }
                    Err(reason) => {
                        let all = run.records.into_iter();
                        refused.extend(all.map(|record| Rejected { record, reason: reason.clone() }));
                    }
                }
            }
        }
        for Rejected { record, reason } in refused {
            into.rejected.push(Rejected { record, reason: format!("the key of a delete: {reason}") });
        }
        Ok(())
    }
}

/// # Errors
/// The reason why it is no schema of changes of this table.
fn reader(schema: &Schema, columns: &Declared, declared: &SchemaRef) -> Result<AvroReader, String> {
    let reader = AvroReader::new(schema, |name| MEMBERS.contains(&name))?;
    let none = RecordBatch::new_empty(reader.schema());
    let envelope = Envelope::of(&none).ok_or("it is no change event of Debezium, which has op and after")?;
    let none = RecordBatch::from(envelope.after.clone());
    columns.fit(&none, declared.fields(), &mut Faults::default()).map(|_| reader)
}

#[async_trait]
impl Decoder for DebeziumAvroDecoder {
    async fn prepare(&mut self, records: &[&Records]) -> Result<()> {
        let Self { schema, columns, values, keys, .. } = self;
        values.prepare(records.iter().map(|records| &records.values), |found| reader(found, columns, schema)).await?;
        keys.prepare(records.iter().map(|records| &records.keys), |found| AvroReader::new(found, |_| true)).await
    }

    fn decode(&mut self, records: &Records) -> Result<Decoded> {
        let mut changes = Changes::default();
        let (mut there, mut tombstones) = (Vec::with_capacity(records.len()), Vec::new());
        for at in 0..records.len() {
            let record = u32::try_from(at).map_err(Error::internal)?;
            match (records.keys.get(at), records.values.get(at)) {
                (_, Some(_)) => there.push(at),
                (Some(_), None) => tombstones.push(Delete { record, at: None }),
                (None, None) => changes.rejected.push(Rejected { record, reason: change::NOTHING.to_owned() }),
            }
        }
        for (id, group) in Groups::of(&records.values, there.into_iter(), &mut changes.rejected)?.0 {
            let runs = match self.values.get(id)? {
                Ok(reader) => reader.read(&records.values, &group, &mut changes.rejected)?,
                Err(reason) => {
                    let all = group.into_iter();
                    changes.rejected.extend(all.map(|record| Rejected { record, reason: reason.clone() }));
                    continue;
                }
            };
            for run in runs {
                self.run(&run.batch, &run.records, &mut changes)?;
            }
        }
        changes.by_key.extend(tombstones);
        changes.by_key.sort_unstable_by_key(|delete| delete.record);
        self.take_by_key(records, &mut changes)?;
        let Changes { parts, mut deletes, mut rejected, skipped, .. } = changes;
        rejected.sort_unstable_by_key(|rejected| rejected.record);
        deletes.sort_unstable_by_key(|delete| delete.record);
        let (batch, rows) = self.columns.batch(parts)?;
        Ok(Decoded { batch, rows, rejected, deletes, skipped })
    }
}

/// The members of envelopes.
struct Envelope<'a> {
    op: ArrayRef,
    before: Option<&'a StructArray>,
    after: &'a StructArray,
    /// Microseconds and milliseconds since 1970, where the source says them.
    times: [Option<ArrayRef>; 2],
}

impl<'a> Envelope<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        let member = |name: &str| batch.column_by_name(name).and_then(|member| member.as_struct_opt());
        let op = cast(batch.column_by_name("op")?, &DataType::Utf8).ok()?;
        let source = member("source");
        let time = |name: &str| {
            let found = source.and_then(|source| source.column_by_name(name))?;
            matches!(found.data_type(), DataType::Int64).then(|| Arc::clone(found))
        };
        Some(Self { op, before: member("before"), after: member("after")?, times: [time("ts_us"), time("ts_ms")] })
    }

    fn op(&self, row: usize) -> Option<&str> {
        let ops = self.op.as_string::<i32>();
        ops.is_valid(row).then(|| ops.value(row))
    }

    /// When the database made the change durable.
    fn time(&self, row: usize) -> Option<EventTime> {
        let [us, ms] = &self.times;
        let at = |times: &Option<ArrayRef>| {
            let times = times.as_ref()?.as_primitive::<Int64Type>();
            times.is_valid(row).then(|| times.value(row))
        };
        at(us).or_else(|| at(ms)?.checked_mul(1_000)).map(EventTime)
    }
}

/// The fields of these rows; where a row is NULL, so are its fields.
fn rows(of: &StructArray, which: &BooleanArray) -> Result<RecordBatch> {
    let kept = filter(of, which).map_err(Error::internal)?;
    let kept = kept.as_struct();
    let fields: Vec<Field> = kept.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(kept.len()));
    RecordBatch::try_new_with_options(schema, kept.columns().to_vec(), &options).map_err(Error::internal)
}

fn kept(records: &[u32], which: &BooleanArray) -> Vec<u32> {
    records.iter().enumerate().filter(|(row, _)| which.value(*row)).map(|(_, record)| *record).collect()
}

#[cfg(test)]
mod tests;
