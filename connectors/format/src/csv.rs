//! CSV, and bytes as they are.

use arrow::datatypes::DataType;
use ebap_connector::{DecodeSpec, Decoded, Decoder, Error, Records, Rejected, Result};

use crate::{
    cell::{Cell, Converter, Dialect},
    columns::Columns,
    time::EpochUnit,
    tree::Json,
};

/// One line per record, columns by position. A quoted field may hold the delimiter and doubled quotes.
pub(crate) struct CsvDecoder {
    schema: arrow::datatypes::SchemaRef,
    columns: Columns,
    delimiter: char,
    null: String,
}

impl CsvDecoder {
    pub(crate) fn new(spec: &DecodeSpec) -> Result<Self> {
        let delimiter = spec.options.get("csv.delimiter").unwrap_or(",");
        let mut letters = delimiter.chars();
        let (Some(delimiter), None) = (letters.next(), letters.next()) else {
            return Err(Error::option("csv.delimiter", "must be one character"));
        };
        let nested = spec.schema.fields().iter().find(|field| field.data_type().is_nested());
        if let Some(nested) = nested {
            return Err(Error::schema(format!("column \"{}\" is nested, which CSV cannot hold", nested.name())));
        }
        let null = spec.options.get("csv.null").unwrap_or("").to_owned();
        Ok(Self { schema: spec.schema.clone(), columns: Columns::new(&spec.schema, &spec.wanted)?, delimiter, null })
    }

    fn row(&self, value: Option<&[u8]>) -> Result<Vec<Cell>, String> {
        let line =
            std::str::from_utf8(value.unwrap_or_default()).map_err(|_| "the record is not valid UTF-8".to_owned())?;
        let values = split(line, self.delimiter)?;
        let fields = self.schema.fields();
        if values.len() != fields.len() {
            return Err(format!("the record has {} fields, the stream {} columns", values.len(), fields.len()));
        }
        let converter = Converter { epoch: EpochUnit::Auto, dialect: Dialect::Plain };
        let cells = values.into_iter().zip(fields).map(|((text, quoted), field)| {
            let value = if !quoted && text == self.null { None } else { Some(json_value(text, field.data_type())) };
            converter.field(field, value, field.name())
        });
        cells.collect()
    }
}

/// Text of a field as the JSON value that the converter expects for the column's type.
fn json_value(text: String, of: &DataType) -> Json {
    match of {
        DataType::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" | "t" => Json::Bool(true),
            "false" | "f" => Json::Bool(false),
            _ => Json::String(text),
        },
        DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Timestamp(_, _) => match Json::parse(text.as_bytes()) {
            Ok(number @ Json::Number(_)) => number,
            _ => Json::String(text),
        },
        _ => Json::String(text),
    }
}

/// Fields, and whether each was quoted.
fn split(line: &str, delimiter: char) -> Result<Vec<(String, bool)>, String> {
    let (mut fields, mut field, mut quoted, mut inside) = (Vec::new(), String::new(), false, false);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if inside && letters.peek() == Some(&'"') => {
                field.push('"');
                letters.next();
            }
            '"' if inside => inside = false,
            '"' if field.is_empty() && !quoted => (quoted, inside) = (true, true),
            letter if letter == delimiter && !inside => {
                fields.push((std::mem::take(&mut field), quoted));
                quoted = false;
            }
            letter => field.push(letter),
        }
    }
    if inside {
        return Err("a quoted field is not closed".to_owned());
    }
    fields.push((field, quoted));
    Ok(fields)
}

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

impl Decoder for CsvDecoder {
    fn decode(&mut self, records: &Records) -> Result<Decoded> {
        let (mut rows, mut rejected) = (Vec::new(), Vec::new());
        for at in 0..records.len() {
            match self.row(records.values.get(at)) {
                Ok(cells) => {
                    self.columns.append(cells);
                    rows.push(at as u32);
                }
                Err(reason) => rejected.push(Rejected { record: at as u32, reason }),
            }
        }
        Ok(Decoded::of_rows(self.columns.finish()?, rows, rejected))
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

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn quoted_fields_hold_delimiters_and_quotes() {
        assert_eq!(split(r#"a,"b"#, ','), Err("a quoted field is not closed".to_owned()));
        let fields = split(r#"a,"b,""c""",,"#, ',').expect("closed");
        assert_eq!(
            fields,
            [("a".to_owned(), false), ("b,\"c\"".to_owned(), true), (String::new(), false), (String::new(), false)]
        );
    }
}
