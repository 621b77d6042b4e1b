//! Values of one Avro schema, many at once.
//!
//! `arrow-avro` decodes into buffers of columns. A value that ends in the middle of a row leaves them uneven, so that the
//! decoder is thrown away then and the good values before it are given to a new one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use arrow_avro::{
    reader::{Decoder, ReaderBuilder},
    schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore},
};
use ebap_connector::{ByteColumn, Error, Rejected, Result};
use ebap_schema_registry::Schema;
use serde_json::Value;

use super::references;

/// Rows of one batch, at the most; a step holds fewer.
const ROWS_MAX: usize = 1 << 20;

pub(crate) struct AvroReader {
    id: u32,
    store: SchemaStore,
    /// Of the fields of the schema, where not all are needed.
    projection: Option<Vec<usize>>,
    decoder: Decoder,
}

/// Rows, and the record that each is of.
pub(crate) struct Run {
    pub(crate) batch: RecordBatch,
    pub(crate) records: Vec<u32>,
}

impl AvroReader {
    /// `needed` says of a field of the schema whether it is to be decoded.
    ///
    /// # Errors
    /// The reason why records of the schema cannot be decoded.
    pub(crate) fn new(schema: &Schema, needed: impl Fn(&str) -> bool) -> Result<Self, String> {
        let unreadable = |error: &dyn std::fmt::Display| format!("it cannot be read: {error}");
        let text = references::inlined(schema).map_err(|error| unreadable(&error))?;
        let json: Value = serde_json::from_str(&text).map_err(|error| unreadable(&error))?;
        let Some(fields) = json["fields"].as_array().filter(|_| json["type"] == "record") else {
            return Err("it is no record, so its values have no columns".to_owned());
        };
        let mut kept: Vec<usize> = Vec::new();
        for (at, field) in fields.iter().enumerate() {
            if field["name"].as_str().is_some_and(&needed) {
                kept.push(at);
            }
        }
        if kept.is_empty() && !fields.is_empty() {
            // A row is there all the same.
            kept.push(0);
        }
        let projection = (kept.len() < fields.len()).then_some(kept);
        let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
        store.set(Fingerprint::Id(schema.id), AvroSchema::new(text)).map_err(|error| unreadable(&error))?;
        let (projection, decoder) = match build(&store, projection.as_deref()) {
            Ok(decoder) => (projection, decoder),
            // A field that is not needed may hold the definition of a type that one that is needed names.
            Err(_) => (None, build(&store, None).map_err(|error| unreadable(&error))?),
        };
        Ok(Self { id: schema.id, store, projection, decoder })
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        self.decoder.schema()
    }

    /// Decodes these records, all of this schema, their ids before them.
    pub(crate) fn read(
        &mut self,
        values: &ByteColumn,
        records: &[u32],
        rejected: &mut Vec<Rejected>,
    ) -> Result<Vec<Run>> {
        let mut runs = Vec::new();
        let mut begun = 0;
        for at in 0..records.len() {
            let value = values.get(records[at] as usize).unwrap_or_default();
            let Err(reason) = self.take(value) else { continue };
            rejected.push(Rejected { record: records[at], reason });
            self.renew()?;
            self.take_again(values, &records[begun..at])?;
            self.finish(values, &records[begun..at], rejected, &mut runs)?;
            begun = at + 1;
        }
        self.finish(values, &records[begun..], rejected, &mut runs)?;
        Ok(runs)
    }

    /// Takes values that were taken before.
    fn take_again(&mut self, values: &ByteColumn, records: &[u32]) -> Result<()> {
        for record in records {
            self.take(values.get(*record as usize).unwrap_or_default()).map_err(Error::internal)?;
        }
        Ok(())
    }

    /// Makes a run of the records that were taken.
    fn finish(
        &mut self,
        values: &ByteColumn,
        records: &[u32],
        rejected: &mut Vec<Rejected>,
        runs: &mut Vec<Run>,
    ) -> Result<()> {
        match self.flush(records)? {
            Ok(run) => runs.extend(run),
            Err(_) => self.one_by_one(values, records, rejected, runs)?,
        }
        Ok(())
    }

    /// Some of them have what is seen only when the columns are made: text that is not UTF-8.
    fn one_by_one(
        &mut self,
        values: &ByteColumn,
        records: &[u32],
        rejected: &mut Vec<Rejected>,
        runs: &mut Vec<Run>,
    ) -> Result<()> {
        self.renew()?;
        let mut good = Vec::with_capacity(records.len());
        for record in records {
            self.take_again(values, std::slice::from_ref(record))?;
            match self.flush(std::slice::from_ref(record))? {
                Ok(_) => good.push(*record),
                Err(reason) => {
                    rejected.push(Rejected { record: *record, reason });
                    self.renew()?;
                }
            }
        }
        self.take_again(values, &good)?;
        let run = self.flush(&good)?.map_err(Error::internal)?;
        runs.extend(run);
        Ok(())
    }

    /// One value. After an error the decoder holds part of a row.
    fn take(&mut self, value: &[u8]) -> Result<(), String> {
        let room = self.decoder.capacity();
        let decoder = &mut self.decoder;
        // Garbage may run into what the decoder takes for granted; it is not used again then.
        let taken = catch_unwind(AssertUnwindSafe(|| decoder.decode(value)));
        let reason = match taken {
            Ok(Ok(used)) if used == value.len() && self.decoder.capacity() + 1 == room => return Ok(()),
            Ok(Ok(used)) if self.decoder.capacity() + 1 == room => {
                format!("{} bytes stand behind the value", value.len() - used)
            }
            Ok(Ok(_)) if self.decoder.capacity() < room => "more than one value stands there".to_owned(),
            Ok(Ok(_)) => "the value ends too early".to_owned(),
            // A value that is whole and the prefix of another that is not one.
            Ok(Err(_)) if self.decoder.capacity() < room => "something stands behind the value".to_owned(),
            Ok(Err(error)) => said(&error),
            Err(_) => "no value of the schema is written like this".to_owned(),
        };
        Err(format!("does not fit schema {}: {reason}", self.id))
    }

    /// The rows of these records, which `take` has taken; none where there are none. The inner error is about them.
    fn flush(&mut self, records: &[u32]) -> Result<Result<Option<Run>, String>> {
        if records.is_empty() {
            return Ok(Ok(None));
        }
        let decoder = &mut self.decoder;
        let flushed = catch_unwind(AssertUnwindSafe(|| decoder.flush()));
        let batch = match flushed {
            Ok(Ok(Some(batch))) => batch,
            Ok(Ok(None)) => return Err(Error::internal("the Avro decoder has lost rows")),
            Ok(Err(error)) => return Ok(Err(format!("does not fit schema {}: {}", self.id, said(&error)))),
            Err(_) => return Ok(Err(format!("does not fit schema {}: it cannot be put into columns", self.id))),
        };
        if batch.num_rows() != records.len() {
            return Err(Error::internal("the Avro decoder has made other rows than it was given"));
        }
        Ok(Ok(Some(Run { batch, records: records.to_vec() })))
    }

    fn renew(&mut self) -> Result<()> {
        self.decoder = build(&self.store, self.projection.as_deref()).map_err(Error::internal)?;
        Ok(())
    }
}

/// Without the kind of the error, which says nothing to who reads it.
fn said(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    text.strip_prefix("Parser error: ").map_or_else(|| text.clone(), str::to_owned)
}

fn build(store: &SchemaStore, projection: Option<&[usize]>) -> Result<Decoder, String> {
    let mut builder = ReaderBuilder::new().with_writer_schema_store(store.clone()).with_batch_size(ROWS_MAX);
    if let Some(projection) = projection {
        builder = builder.with_projection(projection.to_vec());
    }
    // A schema is data too.
    match catch_unwind(AssertUnwindSafe(|| builder.build_decoder())) {
        Ok(built) => built.map_err(|error| error.to_string()),
        Err(_) => Err("it is not one that can be decoded".to_owned()),
    }
}
