//! Arrays of one dimension, as text and in binary.

use arrow::array::{ArrayRef, new_empty_array};
use bytes::Buf;
use datafusion::common::ScalarValue;
use ebap_values::{PgType, ValueError, time::Zone};
use pgwire::api::Type;
use postgres_types::Kind;

use super::{Result, binary, list, malformed, text};
use crate::wire_types;

/// Values that are made an array at once: each takes many times the bytes that it has in the array.
const CHUNK: usize = 8_192;

/// Collects values into an array, some at a time.
struct Items<'a> {
    of: &'a PgType,
    waiting: Vec<ScalarValue>,
    done: Vec<ArrayRef>,
}

impl<'a> Items<'a> {
    fn new(of: &'a PgType) -> Self {
        Self { of, waiting: Vec::new(), done: Vec::new() }
    }

    /// Takes the next value, `None` for NULL.
    fn push(&mut self, value: Option<ScalarValue>) -> Result<()> {
        let field = wire_types::field(self.of);
        let value = match value {
            Some(value) => value,
            None => ScalarValue::try_from(field.data_type()).map_err(|error| failed(&error))?,
        };
        self.waiting.push(value);
        if self.waiting.len() == CHUNK { self.settle() } else { Ok(()) }
    }

    fn settle(&mut self) -> Result<()> {
        if !self.waiting.is_empty() {
            let array = ScalarValue::iter_to_array(self.waiting.drain(..)).map_err(|error| failed(&error))?;
            self.done.push(array);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<ScalarValue> {
        self.settle()?;
        let parts: Vec<_> = self.done.iter().map(AsRef::as_ref).collect();
        let all = match parts.is_empty() {
            true => new_empty_array(wire_types::field(self.of).data_type()),
            false => arrow::compute::concat(&parts).map_err(|error| failed(&error))?,
        };
        Ok(list(self.of, &all))
    }
}

fn failed(error: &dyn std::fmt::Display) -> ValueError {
    ValueError::new("22000", error.to_string())
}

fn several_dimensions() -> ValueError {
    ValueError::unsupported("arrays of several dimensions are not supported")
}

/// Reads the binary format: dimensions, whether there are NULLs, type, length and first number, values.
pub(super) fn binary(of: &PgType, wire: &Type, mut bytes: &[u8]) -> Result<ScalarValue> {
    let Kind::Array(item) = wire.kind() else { return Err(malformed()) };
    let dimensions = bytes.try_get_i32().map_err(|_| malformed())?;
    let has_nulls = bytes.try_get_i32().map_err(|_| malformed())?;
    let oid = bytes.try_get_u32().map_err(|_| malformed())?;
    if !(0..=1).contains(&has_nulls) || oid != item.oid() {
        return Err(malformed());
    }
    let mut items = Items::new(of);
    match dimensions {
        0 => {}
        1 => {
            let count = bytes.try_get_i32().map_err(|_| malformed())?;
            bytes.try_get_i32().map_err(|_| malformed())?;
            for _ in 0..count {
                let value = element(&mut bytes)?.map(|value| binary::value(of, item, value));
                items.push(value.transpose()?)?;
            }
        }
        2..=6 => return Err(several_dimensions()),
        _ => return Err(malformed()),
    }
    if bytes.is_empty() { items.finish() } else { Err(malformed()) }
}

/// The next element; `None` for NULL.
fn element<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>> {
    let length = bytes.try_get_i32().map_err(|_| malformed())?;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| malformed())?;
    let (value, rest) = bytes.split_at_checked(length).ok_or_else(malformed)?;
    *bytes = rest;
    Ok(Some(value))
}

/// Reads `{a,"b c",NULL}`.
pub(super) fn text(of: &PgType, text: &str, zone: &Zone) -> Result<ScalarValue> {
    let wrong = || ValueError::new("22P02", format!("malformed array literal: \"{}\"", text::excerpt(text)));
    let inner = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or_else(wrong)?;
    let mut items = Items::new(of);
    let mut rest = inner.trim_start();
    if rest.is_empty() {
        return items.finish();
    }
    loop {
        let (value, quoted, after) = next(rest).ok_or_else(wrong)?;
        match quoted {
            false if value.is_empty() => return Err(wrong()),
            false if value.starts_with('{') => return Err(several_dimensions()),
            false if value.eq_ignore_ascii_case("NULL") => items.push(None)?,
            _ => items.push(Some(text::value(of, &value, zone)?))?,
        }
        match after.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None if after.is_empty() => return items.finish(),
            None => return Err(wrong()),
        }
    }
}

/// The next element, whether it stood in quotes, and what follows it.
fn next(text: &str) -> Option<(String, bool, &str)> {
    let mut value = String::new();
    let quoted = text.starts_with('"');
    let mut letters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => value.push(letters.next()?.1),
            '"' if quoted => return Some((value, true, text[at + 1..].trim_start())),
            ',' if !quoted => return Some((value.trim_end().to_owned(), false, &text[at..])),
            '{' if !quoted && value.is_empty() => return Some(("{".to_owned(), false, &text[at..])),
            '"' | '{' | '}' if !quoted => return None,
            letter => value.push(letter),
        }
    }
    (!quoted).then(|| (value.trim_end().to_owned(), false, ""))
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;

    fn read(of: &PgType, value: &str) -> Result<Vec<Option<String>>> {
        let ScalarValue::List(list) = text(of, value, &Zone::utc())? else { panic!("{value}") };
        let items = list.value(0);
        let texts = arrow::compute::cast(&items, &arrow::datatypes::DataType::Utf8).expect("text");
        Ok(texts.as_string::<i32>().iter().map(|item| item.map(str::to_owned)).collect())
    }

    #[test]
    fn elements_are_read_with_and_without_quotes() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read(&PgType::Text, "{}"), Ok(vec![]));
        assert_eq!(
            read(&PgType::Text, " { a b ,\"c,\\\"d\",NULL, \"NULL\",\"\"} ").expect("an array"),
            [some("a b"), some("c,\"d"), None, some("NULL"), some("")]
        );
        assert_eq!(read(&PgType::Int4, "{1,-2,null}"), Ok(vec![some("1"), some("-2"), None]));
        for wrong in ["", "{", "1,2", "{1,}", "{,}", "{1}x", "{\"a\"b}", "{a\"b\"}", "{a}}", "{\"a}", "{a\\"] {
            assert_eq!(read(&PgType::Text, wrong).expect_err(wrong).sqlstate, "22P02", "{wrong}");
        }
        assert_eq!(read(&PgType::Int4, "{{1},{2}}").expect_err("nested").sqlstate, "0A000");
        assert_eq!(read(&PgType::Int2, "{1,99999}").expect_err("too large").sqlstate, "22003");
    }

    #[test]
    fn many_elements_are_one_array() {
        let many = format!("{{{}}}", vec!["7"; CHUNK * 2 + 1].join(","));
        assert_eq!(read(&PgType::Int4, &many).expect("an array").len(), CHUNK * 2 + 1);
    }

    #[test]
    fn counts_and_lengths_are_checked_against_what_is_there() {
        let header = |dimensions: i32, oid: u32, count: i32| {
            [dimensions.to_be_bytes(), [0; 4], oid.to_be_bytes(), count.to_be_bytes(), 1_i32.to_be_bytes()].concat()
        };
        let int4 = Type::INT4.oid();
        let value = [&4_i32.to_be_bytes()[..], &7_i32.to_be_bytes()].concat();
        let read = |bytes: Vec<u8>| binary(&PgType::Int4, &Type::INT4_ARRAY, &bytes);
        assert!(read([header(1, int4, 1), value.clone()].concat()).is_ok());
        for bytes in [
            vec![],
            header(1, int4, i32::MAX),
            header(-1, int4, 1),
            header(7, int4, 1),
            header(1, Type::INT8.oid(), 1),
            [header(1, int4, 1), i32::MAX.to_be_bytes().to_vec()].concat(),
            [header(1, int4, 1), (-2_i32).to_be_bytes().to_vec()].concat(),
            [header(1, int4, 1), value.clone(), value].concat(),
        ] {
            assert_eq!(read(bytes.clone()).expect_err("malformed").sqlstate, "22P03", "{bytes:?}");
        }
    }
}
