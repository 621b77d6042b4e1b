//! Values of `ROW(…)`, as PostgreSQL's output and send functions of `record` write them.

use arrow::array::{Array, ArrayRef, AsArray};
use bytes::{BufMut, BytesMut};

use super::{Column, Encode, Result, Shown, unknown};
use crate::wire_types;

pub(super) fn encoder(array: &ArrayRef, shown: &Shown) -> Result<Box<dyn Encode>> {
    let record = array.as_struct_opt().ok_or_else(|| unknown(array.data_type()))?;
    let field = |(field, column): (&arrow::datatypes::FieldRef, &ArrayRef)| {
        let of = wire_types::of_field(field);
        Ok((wire_types::on_wire(&of).oid(), Column::new(column, &of, shown)?))
    };
    let fields = record.fields().iter().zip(record.columns()).map(field).collect::<Result<Vec<_>>>()?;
    Ok(match shown.binary {
        true => Box::new(move |row: usize, out: &mut BytesMut| binary(&fields, row, out)),
        false => Box::new(move |row: usize, out: &mut BytesMut| text(&fields, row, out)),
    })
}

fn binary(fields: &[(u32, Column)], row: usize, out: &mut BytesMut) -> Result<()> {
    let count =
        i32::try_from(fields.len()).map_err(|_| ebap_values::ValueError::new("54011", "a row has too many columns"))?;
    out.put_i32(count);
    fields.iter().try_for_each(|(oid, column)| {
        out.put_u32(*oid);
        column.put(row, out)
    })
}

fn text(fields: &[(u32, Column)], row: usize, out: &mut BytesMut) -> Result<()> {
    let mut value = BytesMut::new();
    out.put_u8(b'(');
    for (at, (_, column)) in fields.iter().enumerate() {
        if at > 0 {
            out.put_u8(b',');
        }
        if !column.is_null(row) {
            value.clear();
            column.values.put(row, &mut value)?;
            quoted(&value, out);
        }
    }
    out.put_u8(b')');
    Ok(())
}

/// With quotes where the text would mean something else without them; what is quoted is doubled.
fn quoted(value: &[u8], out: &mut BytesMut) {
    let special = |byte: &u8| matches!(byte, b'(' | b')' | b',' | b'"' | b'\\' | b' ' | b'\t'..=b'\r');
    if !value.is_empty() && !value.iter().any(special) {
        return out.put_slice(value);
    }
    out.put_u8(b'"');
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(*byte);
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        for (value, text) in [
            ("plain", "plain"),
            ("", "\"\""),
            ("null", "null"),
            ("a b", "\"a b\""),
            ("a,b", "\"a,b\""),
            ("(1,2)", "\"(1,2)\""),
            ("{1}", "{1}"),
            ("say \"\\\"", "\"say \"\"\\\\\"\"\""),
        ] {
            let mut out = BytesMut::new();
            quoted(value.as_bytes(), &mut out);
            assert_eq!(out, text.as_bytes(), "{value}");
        }
    }
}
