//! CSV: a record has its fields by position, or by the names of its file's header.
//!
//! Values are written as PostgreSQL's CSV has them: an empty field is NULL without quotes and a text with them. Beside
//! text, white space around a value counts for nothing.

use std::{borrow::Cow, sync::Arc};

use arrow::datatypes::{DataType, Field, Fields, SchemaRef};
use ebap_connector::{
    DecodeSpec, Decoded, Decoder, Error, Records, Rejected, Result,
    csv::{CsvField, CsvOptions},
};

use crate::{
    cell::{Converter, Dialect, absent, invalid, is_jsonb, no_moment},
    columns::{Column, Columns},
    names,
    scan::{Scanner, Unusual},
    time::Moments,
    tree::Json,
};

pub(crate) struct CsvDecoder {
    schema: SchemaRef,
    csv: CsvOptions,
    converter: Converter,
    columns: Columns,
    /// One for each column.
    kinds: Vec<Kind>,
    layout: Layout,
    /// Fields of the record that is being read.
    fields: Vec<CsvField>,
}

/// The rule that reads the text of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// As it is.
    Text,
    Json,
    Moment,
    /// As JSON's values of the type are.
    Other,
}

impl Kind {
    fn of(field: &Field) -> Self {
        match (field.data_type(), field.metadata().get("ebap.type").map(String::as_str)) {
            (DataType::Utf8, None) => Self::Text,
            (DataType::Utf8, Some("json")) => Self::Json,
            (DataType::Timestamp(..), _) => Self::Moment,
            _ => Self::Other,
        }
    }
}

/// Which field of a record each column is.
struct Layout {
    /// The header it was made from; none where columns go by position.
    header: Option<Arc<[u8]>>,
    /// The place of each column, and how many fields a record has. Or why the header has no columns to read.
    places: Result<(Vec<Option<usize>>, usize), String>,
}

impl CsvDecoder {
    pub(crate) fn new(spec: &DecodeSpec) -> Result<Self> {
        let csv = CsvOptions::parse(&spec.options)?;
        let nested = spec.schema.fields().iter().find(|field| field.data_type().is_nested());
        if let Some(nested) = nested {
            return Err(Error::schema(format!("column \"{}\" is nested, which CSV cannot hold", nested.name())));
        }
        Ok(Self {
            schema: Arc::clone(&spec.schema),
            csv,
            converter: Converter { moments: Moments::of(&spec.options)?.in_text(), dialect: Dialect::Plain },
            columns: Columns::new(&spec.schema, &spec.wanted)?,
            kinds: spec.schema.fields().iter().map(|field| Kind::of(field)).collect(),
            layout: Layout::by_position(spec.schema.fields()),
            fields: Vec::new(),
        })
    }

    /// Puts the values of a record into the columns. Where it gives up, some of them have one and the caller takes them
    /// back.
    fn row(&mut self, value: &[u8]) -> Result<(), String> {
        let (places, count) = self.layout.places.as_ref().map_err(Clone::clone)?;
        let record = record_text(value)?;
        self.csv.fields(record, &mut self.fields).map_err(|fault| fault.to_string())?;
        if self.fields.len() != *count {
            let has = self.fields.len();
            return Err(match self.layout.header {
                Some(_) => format!("the record has {has} fields, the header {count}"),
                None => format!("the record has {has} fields, the stream {count} columns"),
            });
        }
        let declared = self.schema.fields().iter().zip(&self.kinds).zip(places);
        for (column, ((field, kind), place)) in self.columns.open().iter_mut().zip(declared) {
            let text = place.and_then(|at| {
                let found = &self.fields[at];
                let text = found.text(record);
                (found.quoted || text != self.csv.null).then_some(text)
            });
            match text {
                Some(text) => append(&self.converter, (field, *kind), text, column)?,
                None if field.is_nullable() => column.push_null(),
                None => return Err(absent(field.name())),
            }
        }
        Ok(())
    }
}

impl Layout {
    fn by_position(columns: &Fields) -> Self {
        Self { header: None, places: Ok(((0..columns.len()).map(Some).collect(), columns.len())) }
    }

    /// A column that the header does not name is nowhere, and NULL.
    fn by_header(header: &Arc<[u8]>, csv: &CsvOptions, columns: &Fields) -> Self {
        let places = || {
            let record = record_text(header)?;
            let mut fields = Vec::new();
            csv.fields(record, &mut fields).map_err(|fault| fault.to_string())?;
            let names: Vec<Cow<'_, str>> = fields.iter().map(|field| trimmed(field.text(record))).collect();
            let place = |field: &Arc<Field>| {
                let at = names::place(names.iter().map(AsRef::as_ref), columns, field.name(), field.name())?;
                let twice = at.is_some_and(|at| names[..at].contains(&names[at]));
                if twice { Err(format!("it names \"{}\" twice", field.name())) } else { Ok(at) }
            };
            let places = columns.iter().map(place).collect::<Result<Vec<_>, String>>()?;
            // Else the first row of a file without a header would be lost, and all others NULL.
            if !columns.is_empty() && places.iter().all(Option::is_none) {
                return Err("it names none of the columns".to_owned());
            }
            Ok((places, names.len()))
        };
        let places = places().map_err(|reason: String| {
            format!("the header of the file, {}: {reason}", crate::cell::shown(&String::from_utf8_lossy(header)))
        });
        Self { header: Some(Arc::clone(header)), places }
    }
}

/// Without a byte order mark before it and a line break behind it, which a record of Kafka may have.
fn record_text(value: &[u8]) -> Result<&str, String> {
    let text = simdutf8::basic::from_utf8(value).map_err(|_| "the record is not valid UTF-8".to_owned())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Ok(text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text)))
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_ascii()),
        Cow::Owned(text) => Cow::Owned(text.trim_ascii().to_owned()),
    }
}

/// Appends a value that is not NULL.
fn append(
    converter: &Converter,
    (field, kind): (&Field, Kind),
    text: Cow<'_, str>,
    column: &mut Column,
) -> Result<(), String> {
    match kind {
        Kind::Text => column.push_text(text.as_bytes()),
        Kind::Json if is_jsonb(text.as_bytes()) => column.push_text(text.trim_ascii().as_bytes()),
        Kind::Json => return Err(invalid(field.name(), "json", &text)),
        Kind::Moment => {
            let text = text.trim_ascii();
            let found = converter.moments.of_text(text);
            column.push_int(found.map_err(|fault| no_moment(field.name(), field.data_type(), text, fault))?);
        }
        Kind::Other => {
            let text = trimmed(text);
            match (field.data_type(), plain_integer(&text)) {
                (DataType::Int64, Some(value)) => column.push_int(value),
                (DataType::Int32, Some(value)) if i32::try_from(value).is_ok() => column.push_int(value),
                (DataType::Float64, Some(value)) => column.push_float(value as f64),
                (of, _) => {
                    let value = json_value(text.into_owned(), of);
                    column.push(converter.field(field, Some(value), field.name())?);
                }
            }
        }
    }
    Ok(())
}

/// A number of few digits, as JSON writes it too: the same for every type of numbers.
fn plain_integer(text: &str) -> Option<i64> {
    const DIGITS_MAX: usize = 15;
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let first = *digits.first()?;
    let plain = digits.len() <= DIGITS_MAX && first.is_ascii_digit() && (first != b'0' || text == "0");
    if plain { text.parse().ok() } else { None }
}

/// Text of a field as the JSON value that the converter expects for the column's type.
fn json_value(text: String, of: &DataType) -> Json {
    match of {
        DataType::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" | "t" => Json::Bool(true),
            "false" | "f" => Json::Bool(false),
            _ => Json::String(text),
        },
        DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Float32 | DataType::Float64
            if is_number(&text) =>
        {
            Json::Number(text)
        }
        _ => Json::String(text),
    }
}

fn is_number(text: &str) -> bool {
    let mut scanner = Scanner::new(text.as_bytes(), &(0..text.len()));
    let number = scanner.number().and_then(|number| if number.is_double() { scanner.end() } else { Err(Unusual) });
    number.is_ok()
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, records: &Records) -> Result<Decoded> {
        if records.header != self.layout.header {
            self.layout = match &records.header {
                Some(header) => Layout::by_header(header, &self.csv, self.schema.fields()),
                None => Layout::by_position(self.schema.fields()),
            };
        }
        let (mut rows, mut rejected) = (Vec::with_capacity(records.len()), Vec::new());
        for at in 0..records.len() {
            let record = u32::try_from(at).map_err(Error::internal)?;
            match self.row(records.values.get(at).unwrap_or_default()) {
                Ok(()) => {
                    self.columns.keep();
                    rows.push(record);
                }
                Err(reason) => {
                    self.columns.take_back();
                    rejected.push(Rejected { record, reason });
                }
            }
        }
        Ok(Decoded::of_rows(self.columns.finish()?, rows, rejected))
    }
}

#[cfg(test)]
mod tests;
