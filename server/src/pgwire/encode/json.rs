//! Structs, maps and arrays of them as JSON text: every client can show it, and few can read composite
//! types.
//!
//! A field that is NULL is left out. What JSON has no number for (NaN, Infinity) is a string, as in
//! PostgreSQL's `to_json`.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, Field},
};
use bytes::{BufMut, BytesMut};
use ebap_values::{PgType, ValueError};

use super::{Column, Encode, Result, Shown, unknown};
use crate::wire_types;

pub(super) fn encoder(array: &ArrayRef, shown: &Shown) -> Result<Box<dyn Encode>> {
    let field = Field::new("v", array.data_type().clone(), true);
    let node = Node::new(array, &field, &Shown { binary: false, ..shown.clone() })?;
    Ok(Box::new(move |row: usize, out: &mut BytesMut| node.put(row, out)))
}

/// A value of JSON, by its array.
enum Node {
    Object(ArrayRef, Vec<(Vec<u8>, Node)>),
    /// Keys and values of a map.
    Map(ArrayRef, Column, Box<Node>),
    List(ArrayRef, Box<Node>),
    /// Its text is JSON already.
    Verbatim(Column),
    /// A number, or the name of what is none.
    Number(Column),
    Text(Column),
    /// Text of a time, which in JSON has a `T` between day and hour.
    Time(Column),
}

impl Node {
    fn new(array: &ArrayRef, field: &Field, shown: &Shown) -> Result<Self> {
        let array = &super::flat(array)?;
        Ok(match array.data_type() {
            DataType::Struct(fields) => {
                let columns = fields.iter().zip(array.as_struct().columns());
                let nodes = columns.map(|(field, column)| {
                    let mut name = Vec::new();
                    string(field.name().as_bytes(), &mut name);
                    Ok((name, Self::new(column, field, shown)?))
                });
                Self::Object(ArrayRef::clone(array), nodes.collect::<Result<_>>()?)
            }
            DataType::Map(entries, _) => {
                let map = array.as_map();
                let DataType::Struct(fields) = entries.data_type() else { return Err(unknown(array.data_type())) };
                let [key, value] = &fields[..] else { return Err(unknown(array.data_type())) };
                let keys = Column::new(map.keys(), &wire_types::of_field(key), shown)?;
                let values = Self::new(map.values(), value, shown)?;
                Self::Map(ArrayRef::clone(array), keys, Box::new(values))
            }
            DataType::List(item) => {
                let items = Self::new(array.as_list::<i32>().values(), item, shown)?;
                Self::List(ArrayRef::clone(array), Box::new(items))
            }
            DataType::LargeList(item) => {
                let items = Self::new(array.as_list::<i64>().values(), item, shown)?;
                Self::List(ArrayRef::clone(array), Box::new(items))
            }
            DataType::FixedSizeList(item, _) => {
                let items = Self::new(array.as_fixed_size_list().values(), item, shown)?;
                Self::List(ArrayRef::clone(array), Box::new(items))
            }
            _ => Self::scalar(array, field, shown)?,
        })
    }

    fn scalar(array: &ArrayRef, field: &Field, shown: &Shown) -> Result<Self> {
        let of = wire_types::of_field(field);
        if matches!(of, PgType::Composite | PgType::Record) {
            return Err(unknown(field.data_type()));
        }
        let column = Column::new(array, &of, shown)?;
        Ok(match of {
            PgType::Json | PgType::Jsonb => Self::Verbatim(column),
            PgType::Bool => Self::Verbatim(column),
            PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::Float4 | PgType::Float8 | PgType::Numeric => {
                Self::Number(column)
            }
            PgType::Timestamp | PgType::Timestamptz => Self::Time(column),
            _ => Self::Text(column),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Object(array, _) | Self::Map(array, ..) | Self::List(array, _) => array.is_null(row),
            Self::Verbatim(column) | Self::Number(column) | Self::Text(column) | Self::Time(column) => {
                column.is_null(row)
            }
        }
    }

    /// Appends the value; `null` where it is NULL.
    fn put(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        if self.is_null(row) {
            out.put_slice(b"null");
            return Ok(());
        }
        match self {
            Self::Object(_, fields) => {
                let present = fields.iter().filter(|(_, node)| !node.is_null(row));
                members(out, present, |(name, node), out| {
                    out.put_slice(name);
                    out.put_u8(b':');
                    node.put(row, out)
                })
            }
            Self::Map(array, keys, values) => {
                let range = bounds(array, row)?;
                members(out, range.filter(|at| !values.is_null(*at)), |at, out| {
                    text(keys, at, out)?;
                    out.put_u8(b':');
                    values.put(at, out)
                })
            }
            Self::List(array, items) => {
                out.put_u8(b'[');
                separated(out, bounds(array, row)?, |at, out| items.put(at, out))?;
                out.put_u8(b']');
                Ok(())
            }
            Self::Verbatim(column) => verbatim(column, row, out),
            Self::Number(column) => number(column, row, out),
            Self::Text(column) => text(column, row, out),
            Self::Time(column) => {
                let start = out.len();
                text(column, row, out)?;
                if let Some(space) = out[start..].iter().position(|byte| *byte == b' ') {
                    out[start + space] = b'T';
                }
                Ok(())
            }
        }
    }
}

fn members<T>(
    out: &mut BytesMut,
    all: impl Iterator<Item = T>,
    put: impl Fn(T, &mut BytesMut) -> Result<()>,
) -> Result<()> {
    out.put_u8(b'{');
    separated(out, all, put)?;
    out.put_u8(b'}');
    Ok(())
}

fn separated<T>(
    out: &mut BytesMut,
    all: impl Iterator<Item = T>,
    put: impl Fn(T, &mut BytesMut) -> Result<()>,
) -> Result<()> {
    for (at, one) in all.enumerate() {
        if at > 0 {
            out.put_u8(b',');
        }
        put(one, out)?;
    }
    Ok(())
}

/// Where the elements of a row begin and end.
fn bounds(array: &ArrayRef, row: usize) -> Result<std::ops::Range<usize>> {
    let bounds = match array.data_type() {
        DataType::Map(..) => {
            let offsets = array.as_map().offsets();
            usize::try_from(offsets[row]).ok().zip(usize::try_from(offsets[row + 1]).ok())
        }
        DataType::List(_) => {
            let offsets = array.as_list::<i32>().offsets();
            usize::try_from(offsets[row]).ok().zip(usize::try_from(offsets[row + 1]).ok())
        }
        DataType::LargeList(_) => {
            let offsets = array.as_list::<i64>().offsets();
            usize::try_from(offsets[row]).ok().zip(usize::try_from(offsets[row + 1]).ok())
        }
        DataType::FixedSizeList(_, size) => usize::try_from(*size).ok().map(|size| (row * size, (row + 1) * size)),
        _ => None,
    };
    let (start, end) = bounds.ok_or_else(|| ValueError::new("XX001", "an array has no bounds"))?;
    Ok(start..end)
}

fn verbatim(column: &Column, row: usize, out: &mut BytesMut) -> Result<()> {
    let mut value = BytesMut::new();
    column.values.put(row, &mut value)?;
    out.put_slice(match &value[..] {
        b"t" => b"true",
        b"f" => b"false",
        json => json,
    });
    Ok(())
}

fn number(column: &Column, row: usize, out: &mut BytesMut) -> Result<()> {
    let start = out.len();
    column.values.put(row, out)?;
    // `NaN`, `Infinity` and `-Infinity` end with a letter.
    if out.last().is_some_and(u8::is_ascii_alphabetic) {
        let name = out.split_off(start);
        out.put_u8(b'"');
        out.put_slice(&name);
        out.put_u8(b'"');
    }
    Ok(())
}

fn text(column: &Column, row: usize, out: &mut BytesMut) -> Result<()> {
    let mut value = BytesMut::new();
    column.values.put(row, &mut value)?;
    let mut quoted = Vec::with_capacity(value.len() + 2);
    string(&value, &mut quoted);
    out.put_slice(&quoted);
    Ok(())
}

/// A string of JSON.
fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' => out.extend(b"\\\""),
            b'\\' => out.extend(b"\\\\"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            control @ 0..0x20 => out.extend(format!("\\u{control:04x}").bytes()),
            other => out.push(*other),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{Float64Array, ListArray, StringArray, StructArray},
        buffer::OffsetBuffer,
    };

    use super::*;

    fn shown(array: &ArrayRef, row: usize) -> String {
        let shown = Shown { binary: false, zone: ebap_values::time::Zone::utc() };
        let mut out = BytesMut::new();
        encoder(array, &shown).expect("an encoder").put(row, &mut out).expect("a value");
        String::from_utf8(out.to_vec()).expect("text")
    }

    #[test]
    fn what_is_no_number_is_a_string_and_null_is_left_out() {
        let number = Field::new("n", DataType::Float64, true);
        let text = Field::new("t", DataType::Utf8, true);
        let columns: Vec<(Arc<Field>, ArrayRef)> = vec![
            (Arc::new(number), Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(1.5), None]))),
            (Arc::new(text), Arc::new(StringArray::from(vec![Some("a\"\u{1}\n"), None, Some("x")]))),
        ];
        let rows: ArrayRef = Arc::new(StructArray::from(columns));
        assert_eq!(shown(&rows, 0), r#"{"n":"NaN","t":"a\"\u0001\n"}"#);
        assert_eq!(shown(&rows, 1), r#"{"n":1.5}"#);
        let item = Arc::new(Field::new("item", rows.data_type().clone(), true));
        let lists = ListArray::new(item, OffsetBuffer::from_lengths([2, 0, 1]), rows, None);
        let lists: ArrayRef = Arc::new(lists);
        assert_eq!(shown(&lists, 0), r#"[{"n":"NaN","t":"a\"\u0001\n"},{"n":1.5}]"#);
        assert_eq!(shown(&lists, 1), "[]");
        assert_eq!(shown(&lists, 2), r#"[{"t":"x"}]"#);
    }
}
