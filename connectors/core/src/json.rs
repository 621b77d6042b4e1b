//! Rows as JSON for the systems outside.
//!
//! # Invariants
//! - What is written is read by `format = 'json'` into the same row, where a stream can have columns of its types.

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, Field},
};
use serde::de::IgnoredAny;

use crate::{Error, Result, text::write_value};

/// The row as a JSON object, NULL as `null`.
pub fn write_row(out: &mut String, batch: &RecordBatch, row: usize) -> Result<()> {
    let schema = batch.schema_ref();
    write_object(out, schema.fields().iter().map(|field| &**field).zip(batch.columns()), row)
}

/// Some columns of the row as a JSON object.
pub fn write_columns(out: &mut String, batch: &RecordBatch, columns: &[usize], row: usize) -> Result<()> {
    let schema = batch.schema_ref();
    write_object(out, columns.iter().map(|column| (schema.field(*column), batch.column(*column))), row)
}

fn write_object<'a>(
    out: &mut String,
    columns: impl Iterator<Item = (&'a Field, &'a ArrayRef)>,
    row: usize,
) -> Result<()> {
    out.push('{');
    for (index, (field, array)) in columns.enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(out, field.name());
        out.push(':');
        write_json(out, field, array, row)?;
    }
    out.push('}');
    Ok(())
}

/// A struct is an object, a map an object with its keys as text, a list an array, bytes are base64.
pub(crate) fn write_json(out: &mut String, field: &Field, array: &ArrayRef, row: usize) -> Result<()> {
    if array.is_null(row) {
        out.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Utf8 => write_text(out, field, array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => write_text(out, field, array.as_string::<i64>().value(row)),
        DataType::Utf8View => write_text(out, field, array.as_string_view().value(row)),
        DataType::Boolean => write_value(out, array, row)?,
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            write_object(out, fields.iter().map(|field| &**field).zip(columns), row)?;
        }
        DataType::Map(entries, _) => write_map(out, entries, array, row)?,
        DataType::List(item) => write_list(out, item, &array.as_list::<i32>().value(row))?,
        DataType::LargeList(item) => write_list(out, item, &array.as_list::<i64>().value(row))?,
        DataType::Binary => write_base64(out, array.as_binary::<i32>().value(row)),
        // Most readers make a double of a number; text keeps every digit.
        DataType::Decimal128(_, _) | DataType::Decimal256(_, _) | DataType::LargeBinary => {
            let start = out.len();
            write_value(out, array, row)?;
            let digits = out[start..].bytes().filter(u8::is_ascii_digit).count();
            // NaN and the infinities have none.
            if digits > DOUBLE_DIGITS || digits == 0 {
                out.insert(start, '"');
                out.push('"');
            }
        }
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let start = out.len();
            write_value(out, array, row)?;
            if out.ends_with(['N', 'y']) {
                out.insert(start, '"');
                out.push('"');
            }
        }
        other if other.is_integer() => write_value(out, array, row)?,
        _ => {
            let mut text = String::new();
            write_value(&mut text, array, row)?;
            write_string(out, &text);
        }
    }
    Ok(())
}

/// Digits of a decimal that every double has.
const DOUBLE_DIGITS: usize = 15;

fn write_map(out: &mut String, entries: &Field, array: &ArrayRef, row: usize) -> Result<()> {
    let DataType::Struct(fields) = entries.data_type() else { return Err(Error::internal("a map without entries")) };
    let entries = array.as_map().value(row);
    out.push('{');
    for entry in 0..entries.len() {
        if entry > 0 {
            out.push(',');
        }
        let mut key = String::new();
        write_value(&mut key, entries.column(0), entry)?;
        write_string(out, &key);
        out.push(':');
        write_json(out, &fields[1], entries.column(1), entry)?;
    }
    out.push('}');
    Ok(())
}

fn write_list(out: &mut String, item: &Field, items: &ArrayRef) -> Result<()> {
    out.push('[');
    for index in 0..items.len() {
        if index > 0 {
            out.push(',');
        }
        write_json(out, item, items, index)?;
    }
    out.push(']');
    Ok(())
}

/// Text that is JSON goes in as what it says. A column that was computed from one may have kept the mark and be none.
fn write_text(out: &mut String, field: &Field, text: &str) {
    let is_json = || serde_json::from_str::<IgnoredAny>(text).is_ok();
    if field.metadata().get("ebap.type").is_some_and(|marker| marker == "json") && is_json() {
        out.push_str(text);
    } else {
        write_string(out, text);
    }
}

fn write_string(out: &mut String, text: &str) {
    if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        out.push_str(&serde_json::Value::from(text).to_string());
    } else {
        out.push('"');
        out.push_str(text);
        out.push('"');
    }
}

/// Standard alphabet, padded.
fn write_base64(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.push('"');
    for chunk in bytes.chunks(3) {
        let held = chunk.iter().chain([&0; 2]).take(3).fold(0_usize, |held, byte| held << 8 | usize::from(*byte));
        for digit in 0..4 {
            let shown = digit <= chunk.len();
            out.push(if shown { char::from(DIGITS[held >> (18 - 6 * digit) & 63]) } else { '=' });
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{BinaryArray, Decimal128Array, Float64Array, Int64Array, StringArray},
        datatypes::Schema,
    };

    use super::*;

    #[test]
    fn a_row_is_json_that_loses_nothing() {
        let decimals = Decimal128Array::from(vec![1_234_567_890_123_456_789, 12_345]);
        let mark = [("ebap.type".to_owned(), "json".to_owned())];
        let json = |name: &str| Field::new(name, DataType::Utf8, true).with_metadata(mark.clone().into());
        let columns: [(Field, ArrayRef); 6] = [
            (json("j"), Arc::new(StringArray::from(vec![Some(r#"{"a":[1,"x"]}"#), None]))),
            (json("no_json"), Arc::new(StringArray::from(vec!["{", "\"\n"]))),
            (
                Field::new("n", DataType::Decimal128(38, 2), true),
                Arc::new(decimals.with_precision_and_scale(38, 2).expect("fits")),
            ),
            (Field::new("f", DataType::Float64, true), Arc::new(Float64Array::from(vec![f64::NEG_INFINITY, 0.1]))),
            (Field::new("b", DataType::Binary, true), Arc::new(BinaryArray::from_vec(vec![b"\0\x01\xff\xfe", b"ab"]))),
            (Field::new("i", DataType::Int64, true), Arc::new(Int64Array::from(vec![i64::MIN, 7]))),
        ];
        let (fields, columns): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns");
        let row = |row: usize| {
            let mut out = String::new();
            write_row(&mut out, &batch, row).expect("a row");
            out
        };
        assert_eq!(
            row(0),
            r#"{"j":{"a":[1,"x"]},"no_json":"{","n":"12345678901234567.89","f":"-Infinity","b":"AAH//g==","i":-9223372036854775808}"#
        );
        assert_eq!(row(1), r#"{"j":null,"no_json":"\"\n","n":123.45,"f":0.1,"b":"YWI=","i":7}"#);
        let mut out = String::new();
        write_columns(&mut out, &batch, &[5, 2], 1).expect("a row");
        assert_eq!(out, r#"{"i":7,"n":123.45}"#);
    }
}
