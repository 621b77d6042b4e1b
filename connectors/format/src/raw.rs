//! Bytes as they are.

use arrow::datatypes::DataType;
use ebap_connector::{DecodeSpec, Decoded, Decoder, Error, Records, Rejected, Result};

use crate::{cell::Cell, columns::Columns};

/// One column, the value as it is.
pub(crate) struct RawDecoder {
    columns: Columns,
    text: bool,
}

impl RawDecoder {
    pub(crate) fn new(spec: &DecodeSpec) -> Result<Self> {
        let text = match spec.schema.fields().iter().map(|field| field.data_type()).collect::<Vec<_>>().as_slice() {
            [DataType::Utf8] => true,
            [DataType::Binary] => false,
            _ => return Err(Error::schema("format 'raw' needs exactly one column, of type TEXT or BYTEA")),
        };
        Ok(Self { columns: Columns::new(&spec.schema, &spec.wanted)?, text })
    }
}

impl Decoder for RawDecoder {
    fn decode(&mut self, records: &Records) -> Result<Decoded> {
        let (mut rows, mut rejected) = (Vec::new(), Vec::new());
        for at in 0..records.len() {
            let cell = match records.values.get(at) {
                None => Err("the record is empty"),
                Some(value) if self.text => std::str::from_utf8(value)
                    .map(|text| Cell::Text(text.to_owned()))
                    .map_err(|_| "the record is not valid UTF-8"),
                Some(value) => Ok(Cell::Bytes(value.to_vec())),
            };
            match cell {
                Ok(cell) => {
                    self.columns.append(vec![cell]);
                    rows.push(at as u32);
                }
                Err(reason) => rejected.push(Rejected { record: at as u32, reason: reason.to_owned() }),
            }
        }
        Ok(Decoded::of_rows(self.columns.finish()?, rows, rejected))
    }
}
