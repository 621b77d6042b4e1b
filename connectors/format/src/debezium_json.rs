//! Changes of a table as Debezium writes them in JSON, with schemas or without.
//!
//! A value is an envelope (`op`, `before`, `after`, `source`), or NULL: a *tombstone*, which stands behind each delete so
//! that a compacted topic forgets the key. Where compaction has left nothing but the tombstone, it is the delete.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use ebap_connector::{DecodeSpec, Decoded, Decoder, Delete, Error, EventTime, Records, Rejected, Result};

use crate::{
    cell::{Cell, Converter, Dialect},
    change::{self, Change},
    columns::Columns,
    names,
    plain::PlainReader,
    scan::{Outcome, Scanner, Unusual},
    tree::{Json, Object},
};

pub(crate) struct DebeziumDecoder {
    schema: SchemaRef,
    key: Vec<usize>,
    converter: Converter,
    columns: Columns,
    plain: PlainReader,
}

impl DebeziumDecoder {
    pub(crate) fn new(spec: &DecodeSpec) -> Result<Self> {
        let moments = change::moments(spec)?;
        let relaxed = change::relaxed(spec);
        Ok(Self {
            schema: Arc::clone(&spec.schema),
            key: spec.key.clone(),
            converter: Converter { moments, dialect: Dialect::Debezium },
            columns: Columns::new(&relaxed, &spec.wanted)?,
            plain: PlainReader::new(spec.schema.fields()),
        })
    }

    /// What one record says. Its row, where it has one, is in the columns then.
    fn take(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(Change, Option<EventTime>), String> {
        let Some(value) = value else {
            if key.is_none() {
                return Err(change::NOTHING.to_owned());
            }
            let cells = self.deleted(None, key)?;
            self.columns.append(cells);
            return Ok((Change::Take, None));
        };
        let text = simdutf8::basic::from_utf8(value).map_err(|error| format!("invalid JSON: {error}"))?;
        let envelope = match Envelope::read(text.as_bytes()) {
            Ok(envelope) => envelope,
            Err(Unusual) => {
                return Err(match Json::parse(text.as_bytes()) {
                    Err(reason) => reason,
                    Ok(_) => "the record is not a JSON object".to_owned(),
                });
            }
        };
        let op = envelope.op.ok_or(change::NO_OP)?;
        let op: String = serde_json::from_slice(op).map_err(|_| "the \"op\" of the record is not text".to_owned())?;
        let change = Change::of(&op)?;
        match change {
            Change::Put => {
                let after = envelope.after.ok_or_else(|| change::without_after(&op))?;
                if let Some(before) = envelope.before {
                    self.refuse_another_key(before, after)?;
                }
                self.row(after)?;
            }
            Change::Take => {
                let cells = self.deleted(envelope.before, key)?;
                self.columns.append(cells);
            }
            Change::Nothing => {}
        }
        Ok((change, envelope.time()))
    }

    /// Appends the row.
    fn row(&mut self, after: &[u8]) -> Result<(), String> {
        let whole = 0..after.len();
        if self.plain.read(after, &whole, &self.converter, self.columns.open()).is_ok() {
            self.columns.keep();
            return Ok(());
        }
        self.columns.take_back();
        let row = object(after, "the \"after\" of the record")?;
        let cells = self.converter.row(self.schema.fields(), row)?;
        self.columns.append(cells);
        Ok(())
    }

    /// Debezium makes two records of a change of the key, by its own idea of what the key is. Where the table has another
    /// one, the row of the old key would stay.
    fn refuse_another_key(&self, before: &[u8], after: &[u8]) -> Result<(), String> {
        let (old, new) = (self.key_texts(before), self.key_texts(after));
        let changed =
            old.iter().zip(&new).position(|(old, new)| matches!((old, new), (Some(old), Some(new)) if old != new));
        match changed {
            None => Ok(()),
            Some(at) => Err(change::another_key(self.schema.field(self.key[at]).name())),
        }
    }

    /// The texts of the columns of the key; none for NULL.
    fn key_texts<'a>(&self, row: &'a [u8]) -> Vec<Option<&'a [u8]>> {
        let mut texts = vec![None; self.key.len()];
        // What cannot be read is judged where the row is.
        let _ = members(row, |name, value| {
            // An exact name behind one that is not takes its place, as where the row is read.
            let Ok(name) = std::str::from_utf8(name) else { return };
            let fields = self.schema.fields();
            let field = names::declared(fields.iter().map(|field| field.name().as_str()), name);
            let at = field.and_then(|field| self.key.iter().position(|at| *at == field));
            let exact = |at: usize| self.schema.field(self.key[at]).name() == name;
            if let Some(at) = at.filter(|at| exact(*at) || texts[*at].is_none()) {
                texts[at] = (value != b"null").then_some(value);
            }
        });
        texts
    }

    /// A row that goes: its key from `before`, which may be missing or hold nothing but the key, or from the record's key.
    fn deleted(&self, before: Option<&[u8]>, key: Option<&[u8]>) -> Result<Vec<Cell>, String> {
        let mut row = match before {
            Some(before) => object(before, "the \"before\" of the record")?,
            None => Object::default(),
        };
        let fields = self.schema.fields();
        let lacks_one = |row: &Object, at: usize| row.read(fields, fields[at].name()).is_none_or(Json::is_null);
        let lacks = |row: &Object| self.key.iter().any(|at| lacks_one(row, *at));
        if lacks(&row) {
            for (name, value) in self.of_key(key)?.into_members() {
                if row.get(&name).is_none_or(Json::is_null) {
                    row.insert(name, value);
                }
            }
        }
        let cells = fields.iter().enumerate().map(|(at, field)| {
            let value = row.take(fields, field.name(), field.name());
            let cell = value.and_then(|value| self.converter.field(field, value, field.name()));
            match self.key.contains(&at) {
                true => cell.map_err(|reason| format!("a delete: {reason}")),
                // For computed columns of the key; nobody else looks at them.
                false => Ok(cell.unwrap_or(Cell::Null)),
            }
        });
        cells.collect()
    }

    /// What the record's key says: an object, or the value of the one column that the key has.
    fn of_key(&self, key: Option<&[u8]>) -> Result<Object, String> {
        let Some(key) = key else { return Ok(Object::default()) };
        let mut value = Json::parse(key).map_err(|reason| format!("the key of the record is {reason}"))?;
        if let Json::Object(object) = &mut value
            && object.len() == 2
            && object.get("schema").is_some()
            && let Some(payload) = object.remove("payload")
        {
            value = payload;
        }
        match (value, self.key.as_slice()) {
            (Json::Object(object), _) => Ok(object),
            (value, [one]) => Ok(Object::of(self.schema.field(*one).name(), value)),
            _ => Err("the key of the record is not a JSON object".to_owned()),
        }
    }
}

impl Decoder for DebeziumDecoder {
    fn decode(&mut self, records: &Records) -> Result<Decoded> {
        let mut rows = Vec::with_capacity(records.len());
        let (mut rejected, mut deletes, mut skipped) = (Vec::new(), Vec::new(), 0);
        for at in 0..records.len() {
            let record = u32::try_from(at).map_err(Error::internal)?;
            match self.take(records.keys.get(at), records.values.get(at)) {
                Ok((Change::Put, _)) => rows.push(record),
                Ok((Change::Take, at)) => {
                    rows.push(record);
                    deletes.push(Delete { record, at });
                }
                Ok((Change::Nothing, _)) => skipped += 1,
                Err(reason) => rejected.push(Rejected { record, reason }),
            }
        }
        Ok(Decoded { batch: self.columns.finish()?, rows, rejected, deletes, skipped })
    }
}

/// The members of an envelope, each as its text; none for NULL.
#[derive(Default)]
struct Envelope<'a> {
    op: Option<&'a [u8]>,
    before: Option<&'a [u8]>,
    after: Option<&'a [u8]>,
    source: Option<&'a [u8]>,
    payload: Option<&'a [u8]>,
}

impl<'a> Envelope<'a> {
    /// The envelope itself, or the `payload` beside its `schema`.
    fn read(value: &'a [u8]) -> Outcome<Self> {
        let outer = Self::members(value)?;
        match (outer.op, outer.payload) {
            (None, Some(payload)) => Self::members(payload),
            _ => Ok(outer),
        }
    }

    fn members(text: &'a [u8]) -> Outcome<Self> {
        let mut envelope = Self::default();
        members(text, |name, value| {
            let place = match name {
                b"op" => &mut envelope.op,
                b"before" => &mut envelope.before,
                b"after" => &mut envelope.after,
                b"source" => &mut envelope.source,
                b"payload" => &mut envelope.payload,
                _ => return,
            };
            *place = (value != b"null").then_some(value);
        })?;
        Ok(envelope)
    }

    /// When the database made the change durable.
    fn time(&self) -> Option<EventTime> {
        let (mut us, mut ms) = (None, None);
        members(self.source?, |name, value| match name {
            b"ts_us" => us = integer(value),
            b"ts_ms" => ms = integer(value),
            _ => {}
        })
        .ok()?;
        us.or_else(|| ms?.checked_mul(1_000)).map(EventTime)
    }
}

fn integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Gives `take` the name and the text of each member of a JSON object. Names with escapes are none that anybody here asks
/// for.
fn members<'a>(text: &'a [u8], mut take: impl FnMut(&'a [u8], &'a [u8])) -> Outcome<()> {
    let mut scanner = Scanner::new(text, &(0..text.len()));
    scanner.take(b'{')?;
    if !scanner.takes(b'}')? {
        loop {
            let name = scanner.string()?;
            scanner.take(b':')?;
            let value = scanner.skip(1)?;
            take(name.raw, value);
            if scanner.takes(b'}')? {
                break;
            }
            scanner.take(b',')?;
        }
    }
    scanner.end()
}

fn object(text: &[u8], what: &str) -> Result<Object, String> {
    match Json::parse(text) {
        Ok(Json::Object(object)) => Ok(object),
        _ => Err(format!("{what} is not a JSON object")),
    }
}

#[cfg(test)]
mod tests;
