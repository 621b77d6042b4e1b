//! Texts taken apart and put together.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringBuilder};
use ebap_values::{PgType, Result, ValueError};

use crate::array::{Lists, operand};
use crate::cast::Printer;
use crate::error::{checked_length, internal};
use crate::kernel::{Call, Input, Opt};
use crate::registry::{Arg, Book, Returns, Shape};
use crate::values::{Int4, Text, Texts};

pub(super) fn register(book: &mut Book) {
    book.add::<(Text, Text, Int4), Text>("split_part", |(s, by, n)| split_part(s, by, n).map(str::to_owned));
    book.add::<(Text, Opt<Text>), Texts>("string_to_array", |(s, by)| Ok(string_to_array(s, by, None)));
    book.add::<(Text, Opt<Text>, Opt<Text>), Texts>("string_to_array", |(s, by, null)| {
        Ok(string_to_array(s, by, null))
    });
    let text = || Arg::Of(PgType::Text);
    for args in [vec![Arg::AnyArray, text()], vec![Arg::AnyArray, text(), text()]] {
        let shape = Shape { args, variadic: None, returns: Returns::Of(PgType::Text) };
        book.add_body("array_to_string", shape, Arc::new(array_to_string));
    }
}

/// A part by its number; a negative one counts from the end.
fn split_part<'t>(text: &'t str, by: &str, number: i32) -> Result<&'t str> {
    if number == 0 {
        return Err(ValueError::new("22023", "field position must not be zero"));
    }
    if by.is_empty() {
        return Ok(if matches!(number, 1 | -1) { text } else { "" });
    }
    // A single character is found by far faster than a text.
    let mut chars = by.chars();
    let part = match (chars.next(), chars.next()) {
        (Some(one), None) => nth(number, || text.split(one)),
        _ => nth(number, || text.split(by)),
    };
    Ok(part.unwrap_or(""))
}

fn nth<'t, I: Iterator<Item = &'t str>>(number: i32, parts: impl Fn() -> I) -> Option<&'t str> {
    let skipped = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX) - 1;
    if number > 0 {
        return parts().nth(skipped);
    }
    // From the left as well, since parts that overlap would be others from the right.
    let at = parts().count().checked_sub(skipped + 1)?;
    parts().nth(at)
}

/// Without a separator each character is an element.
fn string_to_array(text: &str, by: Option<&str>, null: Option<&str>) -> Vec<Option<String>> {
    let element = |part: &str| (Some(part) != null).then(|| part.to_owned());
    match by {
        _ if text.is_empty() => Vec::new(),
        None => text.chars().map(|c| element(c.encode_utf8(&mut [0; 4]))).collect(),
        Some("") => vec![element(text)],
        Some(by) => text.split(by).map(element).collect(),
    }
}

/// Elements that are NULL are left out, unless there is a text for them.
fn array_to_string(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = Lists::new(operand(call, 0)?)?;
    let by = operand(call, 1)?;
    let null = call.operands.get(2);
    let separators = Text::column(&by.array)?;
    let stand_ins = null.map(|null| Text::column(&null.array)).transpose()?;
    let printer = Printer::new(lists.values(), &lists.of, call.session)?;
    let (mut texts, mut text) = (StringBuilder::new(), String::new());
    for row in 0..call.rows {
        let Some(range) = lists.range(row).filter(|_| separators.is_valid(by.at(row))) else {
            texts.append_null();
            continue;
        };
        let stand_in = match (&stand_ins, null) {
            (Some(column), Some(null)) if column.is_valid(null.at(row)) => Some(column.value(null.at(row))),
            _ => None,
        };
        text.clear();
        let mut first = true;
        for at in range {
            let missing = lists.values().is_null(at);
            if missing && stand_in.is_none() {
                continue;
            }
            if !std::mem::take(&mut first) {
                text.push_str(separators.value(by.at(row)));
            }
            match stand_in {
                Some(stand_in) if missing => text.push_str(stand_in),
                _ => printer.print_short(at, &mut text)?,
            }
            checked_length(Some(text.len()))?;
        }
        texts.append_value(&text);
    }
    if texts.values_slice().len() > i32::MAX.unsigned_abs() as usize {
        return Err(internal("texts of one batch are too long"));
    }
    Ok(Arc::new(texts.finish()))
}
