//! Avro in the wire format of a schema registry: each record names the schema it was written by, and several stand in one
//! topic.
//!
//! A column takes the field of its name, and NULL where a schema has none; fields that are no columns are passed over. So
//! producers may add and take away fields as long as the types of those that are columns fit. Defaults that a schema gives
//! are for readers by that schema, and play no part.

mod declared;
mod reader;
mod references;

use async_trait::async_trait;
use ebap_connector::{DecodeSpec, Decoded, Decoder, Records, Rejected, Result};
use ebap_schema_registry::Kind;

use crate::{
    cell::Dialect,
    fit::Fitter,
    registered::{Groups, Registered},
    time::Moments,
};
pub(crate) use declared::{Declared, Part};
pub(crate) use reader::AvroReader;

pub(crate) struct AvroDecoder {
    columns: Declared,
    schemas: Registered<AvroReader>,
}

impl AvroDecoder {
    pub(crate) fn new(spec: &DecodeSpec) -> Result<Self> {
        let fitter = Fitter { moments: Moments::of(&spec.options)?, dialect: Dialect::Plain };
        let columns = Declared::new(&spec.schema, &spec.wanted, fitter);
        Ok(Self { columns, schemas: Registered::new(&spec.options, Kind::Avro)? })
    }
}

#[async_trait]
impl Decoder for AvroDecoder {
    async fn prepare(&mut self, records: &[&Records]) -> Result<()> {
        let Self { columns, schemas } = self;
        schemas.prepare(records.iter().map(|records| &records.values), |schema| columns.reader(schema)).await
    }

    fn decode(&mut self, records: &Records) -> Result<Decoded> {
        let (mut rejected, mut parts) = (Vec::new(), Vec::new());
        for (id, group) in Groups::of(&records.values, 0..records.len(), &mut rejected)?.0 {
            match self.schemas.get(id)? {
                Err(reason) => {
                    rejected.extend(group.into_iter().map(|record| Rejected { record, reason: reason.clone() }));
                }
                Ok(reader) => {
                    for run in reader.read(&records.values, &group, &mut rejected)? {
                        parts.push(self.columns.part(run, &mut rejected)?);
                    }
                }
            }
        }
        rejected.sort_unstable_by_key(|rejected| rejected.record);
        let (batch, rows) = self.columns.batch(parts)?;
        Ok(Decoded::of_rows(batch, rows, rejected))
    }
}

#[cfg(test)]
mod tests;
