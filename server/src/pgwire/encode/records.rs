//! Values of `ROW(…)`, as PostgreSQL's output and send functions of `record` write them.

use arrow::array::{Array, ArrayRef, AsArray};
use bytes::{BufMut, BytesMut};
use ebap_values::{
    ValueError,
    record::{checked_length, put_field},
};

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
    let count = i32::try_from(fields.len()).map_err(|_| ValueError::new("54011", "a row has too many columns"))?;
    out.put_i32(count);
    fields.iter().try_for_each(|(oid, column)| {
        out.put_u32(*oid);
        column.put(row, out)
    })
}

fn text(fields: &[(u32, Column)], row: usize, out: &mut BytesMut) -> Result<()> {
    let (mut value, begins) = (BytesMut::new(), out.len());
    out.put_u8(b'(');
    for (at, (_, column)) in fields.iter().enumerate() {
        if at > 0 {
            out.put_u8(b',');
        }
        if !column.is_null(row) {
            value.clear();
            column.values.put(row, &mut value)?;
            let text = std::str::from_utf8(&value).map_err(|error| ValueError::new("XX000", error.to_string()))?;
            put_field(text, out)?;
            checked_length(out.len() - begins)?;
        }
    }
    out.put_u8(b')');
    Ok(())
}
