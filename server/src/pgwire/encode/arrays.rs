//! Arrays of scalars.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray},
    buffer::ScalarBuffer,
    datatypes::DataType,
};
use bytes::{BufMut, BytesMut};
use ebap_values::{PgType, ValueError};

use super::{Column, Encode, Result, Shown, cast, unknown};
use crate::wire_types;

/// Number of the first element.
const LOWER_BOUND: i32 = 1;

/// Where the elements of a row begin and end.
enum Bounds {
    Short(ScalarBuffer<i32>),
    Long(ScalarBuffer<i64>),
    Fixed(usize),
}

impl Bounds {
    fn of(&self, row: usize) -> Result<std::ops::Range<usize>> {
        let (start, end) = match self {
            Self::Short(offsets) => (usize::try_from(offsets[row]), usize::try_from(offsets[row + 1])),
            Self::Long(offsets) => (usize::try_from(offsets[row]), usize::try_from(offsets[row + 1])),
            Self::Fixed(size) => return Ok(row * size..(row + 1) * size),
        };
        match (start, end) {
            (Ok(start), Ok(end)) => Ok(start..end),
            _ => Err(ValueError::new("XX001", "an array has no bounds")),
        }
    }
}

pub(super) fn encoder(array: &ArrayRef, of: &PgType, shown: &Shown) -> Result<Box<dyn Encode>> {
    let array = match array.data_type() {
        DataType::ListView(item) => cast(array, &DataType::List(Arc::clone(item)))?,
        DataType::LargeListView(item) => cast(array, &DataType::LargeList(Arc::clone(item)))?,
        _ => Arc::clone(array),
    };
    let (bounds, items) = match array.data_type() {
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            (Bounds::Short(lists.offsets().inner().clone()), lists.values())
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            (Bounds::Long(lists.offsets().inner().clone()), lists.values())
        }
        DataType::FixedSizeList(_, size) => {
            let size = usize::try_from(*size).map_err(|_| unknown(array.data_type()))?;
            (Bounds::Fixed(size), array.as_fixed_size_list().values())
        }
        other => return Err(unknown(other)),
    };
    let items = Column::new(items, of, shown)?;
    let oid = wire_types::on_wire(of).oid();
    Ok(match shown.binary {
        true => Box::new(move |row: usize, out: &mut BytesMut| binary(&items, bounds.of(row)?, oid, out)),
        false => Box::new(move |row: usize, out: &mut BytesMut| text(&items, bounds.of(row)?, out)),
    })
}

fn binary(items: &Column, range: std::ops::Range<usize>, oid: u32, out: &mut BytesMut) -> Result<()> {
    let count = i32::try_from(range.len());
    let count = count.map_err(|_| ValueError::new("54000", "an array is longer than the protocol allows"))?;
    out.put_i32(i32::from(count > 0));
    out.put_i32(range.clone().any(|at| items.is_null(at)).into());
    out.put_u32(oid);
    if count > 0 {
        out.put_i32(count);
        out.put_i32(LOWER_BOUND);
    }
    range.into_iter().try_for_each(|at| items.put(at, out))
}

fn text(items: &Column, range: std::ops::Range<usize>, out: &mut BytesMut) -> Result<()> {
    let mut item = BytesMut::new();
    let first = range.start;
    out.put_u8(b'{');
    for at in range {
        if at > first {
            out.put_u8(b',');
        }
        if items.is_null(at) {
            out.put_slice(b"NULL");
            continue;
        }
        item.clear();
        items.values.put(at, &mut item)?;
        quoted(&item, out);
    }
    out.put_u8(b'}');
    Ok(())
}

/// With quotes where the text would mean something else without them.
fn quoted(item: &[u8], out: &mut BytesMut) {
    let special = |byte: &u8| matches!(byte, b'{' | b'}' | b',' | b'"' | b'\\' | b' ' | b'\t'..=b'\r');
    if !item.is_empty() && !item.eq_ignore_ascii_case(b"NULL") && !item.iter().any(special) {
        return out.put_slice(item);
    }
    out.put_u8(b'"');
    for byte in item {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_quoted_where_they_must_be() {
        for (item, text) in [
            ("plain", "plain"),
            ("", "\"\""),
            ("null", "\"null\""),
            ("a b", "\"a b\""),
            ("a,b", "\"a,b\""),
            ("{}", "\"{}\""),
            ("say \"\\\"", "\"say \\\"\\\\\\\"\""),
            ("a\u{b}b", "\"a\u{b}b\""),
            ("naïve", "naïve"),
        ] {
            let mut out = BytesMut::new();
            quoted(item.as_bytes(), &mut out);
            assert_eq!(out, text.as_bytes(), "{item}");
        }
    }
}
