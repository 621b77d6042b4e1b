//! JSON: one object per record.

use std::{ops::Range, sync::Arc};

use arrow::datatypes::SchemaRef;
use ebap_connector::{DecodeSpec, Decoded, Decoder, Error, Records, Rejected, Result};

use crate::{
    cell::{Cell, Converter, Dialect},
    columns::Columns,
    plain::PlainReader,
    time::Moments,
    tree::Json,
};

pub(crate) struct JsonDecoder {
    schema: SchemaRef,
    converter: Converter,
    columns: Columns,
    plain: PlainReader,
}

impl JsonDecoder {
    pub(crate) fn new(spec: &DecodeSpec) -> Result<Self> {
        let moments = Moments::of(&spec.options)?;
        let columns = Columns::new(&spec.schema, &spec.wanted)?;
        let plain = PlainReader::new(spec.schema.fields());
        Ok(Self {
            schema: Arc::clone(&spec.schema),
            converter: Converter { moments, dialect: Dialect::Plain },
            columns,
            plain,
        })
    }

    /// True where the short way took the record.
    fn plain_row(&mut self, batch: &[u8], record: &Range<usize>) -> bool {
        let taken = self.plain.read(batch, record, &self.converter, self.columns.open()).is_ok();
        if taken {
            self.columns.keep()
        } else {
            self.columns.take_back()
        }
        taken
    }

    fn row(&self, value: Option<&[u8]>) -> Result<Vec<Cell>, String> {
        let Some(value) = value.filter(|value| !value.is_empty()) else { return Err("the record is empty".to_owned()) };
        let Json::Object(object) = Json::parse(value)? else {
            return Err("the record is not a JSON object".to_owned());
        };
        self.converter.row(self.schema.fields(), object)
    }
}

impl JsonDecoder {
    /// Those of the records that `is_wanted` says, which begin so many bytes behind their start.
    pub(crate) fn decode_behind(
        &mut self,
        records: &Records,
        start: usize,
        is_wanted: impl Fn(usize) -> bool,
    ) -> Result<Decoded> {
        let (mut rows, mut rejected) = (Vec::with_capacity(records.len()), Vec::new());
        let batch = records.values.data();
        // Once for all of them is much cheaper; a record of a valid batch is valid where it cuts no
        // character in two.
        let text = simdutf8::basic::from_utf8(batch).ok();
        let valid = |record: &Range<usize>| match text {
            Some(text) => text.is_char_boundary(record.start) && text.is_char_boundary(record.end),
            None => simdutf8::basic::from_utf8(&batch[record.clone()]).is_ok(),
        };
        for at in (0..records.len()).filter(|at| is_wanted(*at)) {
            let record = u32::try_from(at).map_err(Error::internal)?;
            let range = records.values.range(at).map(|range| (range.start + start).min(range.end)..range.end);
            if range.as_ref().is_some_and(|range| valid(range) && self.plain_row(batch, range)) {
                rows.push(record);
                continue;
            }
            match self.row(range.map(|range| &batch[range])) {
                Ok(cells) => {
                    self.columns.append(cells);
                    rows.push(record);
                }
                Err(reason) => rejected.push(Rejected { record, reason }),
            }
        }
        Ok(Decoded::of_rows(self.columns.finish()?, rows, rejected))
    }
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, records: &Records) -> Result<Decoded> {
        self.decode_behind(records, 0, |_| true)
    }
}

#[cfg(test)]
mod tests;
