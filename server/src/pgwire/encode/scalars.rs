//! Values that are no times and hold no others: numbers, text, bytes, truth values.

use std::fmt::{self, Write};

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray},
    datatypes::{
        DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float16Type, Float32Type, Float64Type,
        Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use bytes::{BufMut, BytesMut};
use ebap_values::{
    Numeric, PgType, ValueError,
    float::{print_f32, print_f64},
};

use super::{Encode, Result, Shown, cast, unknown};

/// Version that a binary `jsonb` begins with.
const JSONB_VERSION: u8 = 1;

pub(super) fn encoder(array: &ArrayRef, of: &PgType, shown: &Shown) -> Result<Box<dyn Encode>> {
    Ok(match array.data_type() {
        // Every row of it is NULL.
        DataType::Null => Box::new(|_: usize, _: &mut BytesMut| Ok(())),
        DataType::Boolean => booleans(array, shown),
        DataType::Int8 => integers::<Int8Type>(array, shown, |value, out| out.put_i16(value.into())),
        DataType::Int16 => integers::<Int16Type>(array, shown, |value, out| out.put_i16(value)),
        DataType::Int32 => integers::<Int32Type>(array, shown, |value, out| out.put_i32(value)),
        DataType::Int64 => integers::<Int64Type>(array, shown, |value, out| out.put_i64(value)),
        DataType::UInt8 => integers::<UInt8Type>(array, shown, |value, out| out.put_i16(value.into())),
        DataType::UInt16 => integers::<UInt16Type>(array, shown, |value, out| out.put_i32(value.into())),
        DataType::UInt32 => integers::<UInt32Type>(array, shown, |value, out| out.put_i64(value.into())),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => floats(array, shown)?,
        DataType::UInt64
        | DataType::LargeBinary
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => numerics(array, shown)?,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => texts(array, of, shown)?,
        DataType::Binary | DataType::BinaryView | DataType::FixedSizeBinary(_) => bytes(array, shown)?,
        other => return Err(unknown(other)),
    })
}

fn booleans(array: &ArrayRef, shown: &Shown) -> Box<dyn Encode> {
    let (values, binary) = (array.as_boolean().clone(), shown.binary);
    Box::new(move |row: usize, out: &mut BytesMut| {
        out.put_u8(match (binary, values.value(row)) {
            (true, value) => value.into(),
            (false, true) => b't',
            (false, false) => b'f',
        });
        Ok(())
    })
}

fn integers<T>(array: &ArrayRef, shown: &Shown, wire: fn(T::Native, &mut BytesMut)) -> Box<dyn Encode>
where
    T: ArrowPrimitiveType,
    T::Native: fmt::Display,
{
    let values: PrimitiveArray<T> = array.as_primitive().clone();
    match shown.binary {
        true => Box::new(move |row: usize, out: &mut BytesMut| {
            wire(values.value(row), out);
            Ok(())
        }),
        false => Box::new(move |row: usize, out: &mut BytesMut| display(&values.value(row), out)),
    }
}

/// Appends it as it prints itself.
pub(super) fn display(value: &impl fmt::Display, out: &mut BytesMut) -> Result<()> {
    write!(out, "{value}").map_err(|_| ValueError::new("54000", "a value is longer than the protocol allows"))
}

fn floats(array: &ArrayRef, shown: &Shown) -> Result<Box<dyn Encode>> {
    let binary = shown.binary;
    Ok(match array.data_type() {
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().clone();
            Box::new(move |row: usize, out: &mut BytesMut| match binary {
                true => {
                    out.put_f64(values.value(row));
                    Ok(())
                }
                false => display(&print_f64(values.value(row)), out),
            })
        }
        DataType::Float16 | DataType::Float32 => {
            let array = match array.as_primitive_opt::<Float16Type>() {
                Some(_) => cast(array, &DataType::Float32)?,
                None => ArrayRef::clone(array),
            };
            let values = array.as_primitive::<Float32Type>().clone();
            Box::new(move |row: usize, out: &mut BytesMut| match binary {
                true => {
                    out.put_f32(values.value(row));
                    Ok(())
                }
                false => display(&print_f32(values.value(row)), out),
            })
        }
        other => return Err(unknown(other)),
    })
}

fn numerics(array: &ArrayRef, shown: &Shown) -> Result<Box<dyn Encode>> {
    let binary = shown.binary;
    Ok(match array.data_type() {
        DataType::LargeBinary => {
            let values = array.as_binary::<i64>().clone();
            Box::new(move |row: usize, out: &mut BytesMut| {
                let value = Numeric::decode(values.value(row))?;
                if binary { wire(&value, out) } else { display(&value, out) }
            })
        }
        DataType::UInt64 => decimals::<UInt64Type>(array, binary, |value| Numeric::from_i128(value.into(), 0)),
        DataType::Decimal32(_, scale) => {
            let scale = *scale;
            decimals::<Decimal32Type>(array, binary, move |value| Numeric::from_i128(value.into(), scale))
        }
        DataType::Decimal64(_, scale) => {
            let scale = *scale;
            decimals::<Decimal64Type>(array, binary, move |value| Numeric::from_i128(value.into(), scale))
        }
        DataType::Decimal128(_, scale) => {
            let scale = *scale;
            decimals::<Decimal128Type>(array, binary, move |value| Numeric::from_i128(value, scale))
        }
        DataType::Decimal256(_, scale) => {
            let scale = *scale;
            let numeric =
                move |value: arrow::datatypes::i256| Numeric::from_unscaled_bytes_le(&value.to_le_bytes(), scale);
            decimals::<Decimal256Type>(array, binary, numeric)
        }
        other => return Err(unknown(other)),
    })
}

fn decimals<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    binary: bool,
    numeric: impl Fn(T::Native) -> Numeric + Send + 'static,
) -> Box<dyn Encode> {
    let values: PrimitiveArray<T> = array.as_primitive().clone();
    Box::new(move |row: usize, out: &mut BytesMut| {
        let value = numeric(values.value(row));
        if binary { wire(&value, out) } else { display(&value, out) }
    })
}

#[expect(clippy::unnecessary_wraps, reason = "the text of a number may be too long")]
fn wire(value: &Numeric, out: &mut BytesMut) -> Result<()> {
    let mut bytes = Vec::new();
    value.to_wire(&mut bytes);
    out.put_slice(&bytes);
    Ok(())
}

fn texts(array: &ArrayRef, of: &PgType, shown: &Shown) -> Result<Box<dyn Encode>> {
    let put = match (of, shown.binary) {
        (PgType::Uuid, true) => uuid,
        (PgType::Jsonb, true) => |text: &str, out: &mut BytesMut| {
            out.put_u8(JSONB_VERSION);
            plain(text, out)
        },
        _ => plain,
    };
    Ok(match array.data_type() {
        DataType::Utf8 => {
            let values = array.as_string::<i32>().clone();
            Box::new(move |row: usize, out: &mut BytesMut| put(values.value(row), out))
        }
        DataType::LargeUtf8 => {
            let values = array.as_string::<i64>().clone();
            Box::new(move |row: usize, out: &mut BytesMut| put(values.value(row), out))
        }
        DataType::Utf8View => {
            let values = array.as_string_view().clone();
            Box::new(move |row: usize, out: &mut BytesMut| put(values.value(row), out))
        }
        other => return Err(unknown(other)),
    })
}

fn plain(text: &str, out: &mut BytesMut) -> Result<()> {
    out.put_slice(text.as_bytes());
    Ok(())
}

fn uuid(text: &str, out: &mut BytesMut) -> Result<()> {
    let value = uuid::Uuid::try_parse(text).map_err(|_| ValueError::syntax("uuid", text))?;
    out.put_slice(value.as_bytes());
    Ok(())
}

fn bytes(array: &ArrayRef, shown: &Shown) -> Result<Box<dyn Encode>> {
    let put = if shown.binary { raw } else { hex };
    Ok(match array.data_type() {
        DataType::Binary => {
            let values = array.as_binary::<i32>().clone();
            Box::new(move |row: usize, out: &mut BytesMut| put(values.value(row), out))
        }
        DataType::BinaryView => {
            let values = array.as_binary_view().clone();
            Box::new(move |row: usize, out: &mut BytesMut| put(values.value(row), out))
        }
        DataType::FixedSizeBinary(_) => {
            let values = array.as_fixed_size_binary().clone();
            Box::new(move |row: usize, out: &mut BytesMut| put(values.value(row), out))
        }
        other => return Err(unknown(other)),
    })
}

fn raw(bytes: &[u8], out: &mut BytesMut) -> Result<()> {
    out.put_slice(bytes);
    Ok(())
}

fn hex(bytes: &[u8], out: &mut BytesMut) -> Result<()> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2 + 2);
    out.put_slice(b"\\x");
    for byte in bytes {
        out.put_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]]);
    }
    Ok(())
}
