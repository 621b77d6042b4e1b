//! Arrays, of one or more dimensions.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray},
    buffer::{NullBuffer, ScalarBuffer},
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

/// Lists of one level, and which of them are NULL.
struct Level {
    bounds: Bounds,
    nulls: Option<NullBuffer>,
}

/// Arrays of one or more dimensions.
struct Arrays {
    /// From without to within; the innermost hold elements.
    levels: Vec<Level>,
    items: Column,
}

/// Dimensions of an array in PostgreSQL, at the most.
const DIMENSIONS_MAX: usize = 6;

pub(super) fn encoder(array: &ArrayRef, of: &PgType, shown: &Shown) -> Result<Box<dyn Encode>> {
    let mut levels = Vec::new();
    let mut items = Arc::clone(array);
    while let Some((bounds, inner)) = opened(&items)? {
        levels.push(Level { bounds, nulls: items.logical_nulls() });
        items = inner;
    }
    if levels.is_empty() {
        return Err(unknown(array.data_type()));
    }
    if levels.len() > DIMENSIONS_MAX {
        let message =
            format!("number of array dimensions ({}) exceeds the maximum allowed ({DIMENSIONS_MAX})", levels.len());
        return Err(ValueError::new("54000", message));
    }
    let arrays = Arrays { levels, items: Column::new(&items, of, shown)? };
    let oid = wire_types::on_wire(of).oid();
    Ok(match shown.binary {
        true => Box::new(move |row: usize, out: &mut BytesMut| arrays.binary(row, oid, out)),
        false => Box::new(move |row: usize, out: &mut BytesMut| arrays.text(row, out)),
    })
}

/// The lists and their elements; `None` of what is no list.
fn opened(array: &ArrayRef) -> Result<Option<(Bounds, ArrayRef)>> {
    let array = match array.data_type() {
        DataType::ListView(item) => cast(array, &DataType::List(Arc::clone(item)))?,
        DataType::LargeListView(item) => cast(array, &DataType::LargeList(Arc::clone(item)))?,
        _ => Arc::clone(array),
    };
    Ok(Some(match array.data_type() {
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            (Bounds::Short(lists.offsets().inner().clone()), Arc::clone(lists.values()))
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            (Bounds::Long(lists.offsets().inner().clone()), Arc::clone(lists.values()))
        }
        DataType::FixedSizeList(_, size) => {
            let size = usize::try_from(*size).map_err(|_| unknown(array.data_type()))?;
            (Bounds::Fixed(size), Arc::clone(array.as_fixed_size_list().values()))
        }
        _ => return Ok(None),
    }))
}

impl Arrays {
    /// The lengths of the dimensions of a row's array; none where it is empty.
    ///
    /// # Errors
    /// 2202E where it is no rectangle, as PostgreSQL's are.
    fn dimensions(&self, row: usize) -> Result<Vec<usize>> {
        let (mut all, mut parts) = (Vec::with_capacity(self.levels.len()), vec![row]);
        for (depth, level) in self.levels.iter().enumerate() {
            let mut length = None;
            let mut inner = Vec::new();
            for part in parts {
                if depth > 0 && level.nulls.as_ref().is_some_and(|nulls| nulls.is_null(part)) {
                    return Err(ragged());
                }
                let range = level.bounds.of(part)?;
                if *length.get_or_insert(range.len()) != range.len() {
                    return Err(ragged());
                }
                // Of the innermost nothing is looked into.
                if depth + 1 < self.levels.len() {
                    inner.extend(range);
                }
            }
            all.push(length.unwrap_or(0));
            parts = inner;
        }
        Ok(if all.contains(&0) { Vec::new() } else { all })
    }

    /// Where the elements of a row begin and end: those of a rectangle follow each other.
    fn elements(&self, row: usize) -> Result<std::ops::Range<usize>> {
        let mut range = row..row + 1;
        for level in &self.levels {
            let (first, last) = (level.bounds.of(range.start)?, level.bounds.of(range.end - 1)?);
            range = first.start..last.end;
        }
        Ok(range)
    }

    fn binary(&self, row: usize, oid: u32, out: &mut BytesMut) -> Result<()> {
        let too_long = |_| ValueError::new("54000", "an array is longer than the protocol allows");
        let lengths = self.dimensions(row)?;
        let range = if lengths.is_empty() { 0..0 } else { self.elements(row)? };
        out.put_i32(i32::try_from(lengths.len()).map_err(too_long)?);
        out.put_i32(range.clone().any(|at| self.items.is_null(at)).into());
        out.put_u32(oid);
        for length in lengths {
            out.put_i32(i32::try_from(length).map_err(too_long)?);
            out.put_i32(LOWER_BOUND);
        }
        range.into_iter().try_for_each(|at| self.items.put(at, out))
    }

    fn text(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        let lengths = self.dimensions(row)?;
        if lengths.is_empty() {
            out.put_slice(b"{}");
            return Ok(());
        }
        let mut next = self.elements(row)?;
        self.braced(&lengths, &mut next, &mut BytesMut::new(), out)
    }

    /// `item` is a buffer that elements share.
    fn braced(
        &self,
        lengths: &[usize],
        next: &mut std::ops::Range<usize>,
        item: &mut BytesMut,
        out: &mut BytesMut,
    ) -> Result<()> {
        let Some((length, inner)) = lengths.split_first() else {
            let at = next.next().ok_or_else(ragged)?;
            return self.element(at, item, out);
        };
        out.put_u8(b'{');
        for at in 0..*length {
            if at > 0 {
                out.put_u8(b',');
            }
            self.braced(inner, next, item, out)?;
        }
        out.put_u8(b'}');
        Ok(())
    }

    fn element(&self, at: usize, item: &mut BytesMut, out: &mut BytesMut) -> Result<()> {
        if self.items.is_null(at) {
            out.put_slice(b"NULL");
            return Ok(());
        }
        item.clear();
        self.items.values.put(at, item)?;
        quoted(item, out);
        Ok(())
    }
}

fn ragged() -> ValueError {
    let message = "multidimensional arrays must have sub-arrays with matching dimensions; to_jsonb shows any others";
    ValueError::new("2202E", message)
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
