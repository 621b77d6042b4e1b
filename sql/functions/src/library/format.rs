//! `format()`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringBuilder};
use ebap_values::{PgType, Result, ValueError};

use super::pad::pad;
use super::quote::{quote_ident, quote_literal};
use crate::array::operand;
use crate::cast::Printer;
use crate::error::checked_length;
use crate::kernel::{Call, Input, Operand};
use crate::registry::{Arg, Book, Returns, Shape};
use crate::values::Text;

pub(super) fn register(book: &mut Book) {
    for variadic in [None, Some(Arg::Any)] {
        let shape = Shape { args: vec![Arg::Of(PgType::Text)], variadic, returns: Returns::Of(PgType::Text) };
        book.add_body("format", shape, Arc::new(format_column));
    }
}

fn format_column(call: &Call<'_>) -> Result<ArrayRef> {
    let pattern = operand(call, 0)?;
    let patterns = Text::column(&pattern.array)?;
    let values = call.operands.get(1..).unwrap_or_default();
    let printers = values.iter().map(|v| Printer::new(&v.array, &v.of, call.session)).collect::<Result<Vec<_>>>()?;
    let mut texts = StringBuilder::new();
    for row in 0..call.rows {
        if patterns.is_null(pattern.at(row)) {
            texts.append_null();
            continue;
        }
        let arguments = Arguments { values, printers: &printers, row, next: 0 };
        texts.append_value(arguments.format(patterns.value(pattern.at(row)))?);
    }
    Ok(Arc::new(texts.finish()))
}

/// The values of one row that a pattern is filled with.
struct Arguments<'a> {
    values: &'a [Operand],
    printers: &'a [Printer],
    row: usize,
    next: usize,
}

/// One `%…` of a pattern.
#[derive(Default)]
struct Specifier {
    position: Option<usize>,
    left: bool,
    width: i32,
    kind: char,
}

type Letters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

impl Arguments<'_> {
    fn format(mut self, pattern: &str) -> Result<String> {
        let (mut out, mut rest) = (String::new(), pattern.chars().peekable());
        while let Some(c) = rest.next() {
            if c != '%' {
                out.push(c);
            } else if rest.next_if_eq(&'%').is_some() {
                out.push('%');
            } else {
                let specifier = self.specifier(&mut rest)?;
                out.push_str(&self.value(&specifier)?);
                checked_length(Some(out.len()))?;
            }
        }
        Ok(out)
    }

    /// `[position$][-][width]kind`, where the width may be `*` or `*position$`.
    fn specifier(&mut self, rest: &mut Letters<'_>) -> Result<Specifier> {
        let mut found = Specifier::default();
        let number = number(rest)?;
        if number.is_some() && rest.next_if_eq(&'$').is_some() {
            found.position = number;
        } else if let Some(width) = number {
            found.width = i32::try_from(width).map_err(|_| ValueError::out_of_range("number"))?;
        }
        if found.width == 0 {
            while rest.next_if_eq(&'-').is_some() {
                found.left = true;
            }
            self.width(rest, &mut found)?;
        }
        let unterminated = || ValueError::new("22023", "unterminated format() type specifier");
        found.kind = rest.next().ok_or_else(unterminated)?;
        if !matches!(found.kind, 's' | 'I' | 'L') {
            let message = format!("unrecognized format() type specifier \"{}\"", found.kind);
            return Err(ValueError::new("22023", message));
        }
        if found.position == Some(0) {
            return Err(argument_zero());
        }
        Ok(found)
    }

    fn width(&mut self, rest: &mut Letters<'_>, found: &mut Specifier) -> Result<()> {
        if rest.next_if_eq(&'*').is_none() {
            let width = number(rest)?.unwrap_or(0);
            found.width = i32::try_from(width).map_err(|_| ValueError::out_of_range("number"))?;
            return Ok(());
        }
        let position = number(rest)?;
        if position == Some(0) {
            return Err(argument_zero());
        }
        if position.is_some() && rest.next_if_eq(&'$').is_none() {
            return Err(ValueError::new("22023", "width argument position must be ended by \"$\""));
        }
        let text = self.text(position)?.unwrap_or_else(|| "0".to_owned());
        let width: i32 = text.trim().parse().map_err(|_| ValueError::syntax("integer", &text))?;
        found.left |= width < 0;
        found.width = width.checked_abs().ok_or_else(|| ValueError::out_of_range("number"))?;
        Ok(())
    }

    /// The text of an argument by its number, or of the next one; None for NULL.
    fn text(&mut self, position: Option<usize>) -> Result<Option<String>> {
        let at = position.map_or(self.next, |position| position - 1);
        self.next = at + 1;
        let (Some(value), Some(printer)) = (self.values.get(at), self.printers.get(at)) else {
            return Err(ValueError::new("22023", "too few arguments for format()"));
        };
        let row = value.at(self.row);
        if value.array.is_null(row) {
            return Ok(None);
        }
        let mut text = String::new();
        printer.print_short(row, &mut text)?;
        Ok(Some(text))
    }

    fn value(&mut self, specifier: &Specifier) -> Result<String> {
        let text = match (self.text(specifier.position)?, specifier.kind) {
            (None, 'I') => {
                return Err(ValueError::new("22004", "null values cannot be formatted as an SQL identifier"));
            }
            (None, 'L') => "NULL".to_owned(),
            (None, _) => String::new(),
            (Some(text), 'I') => quote_ident(&text),
            (Some(text), 'L') => quote_literal(&text),
            (Some(text), _) => text,
        };
        let has = i32::try_from(text.chars().count()).unwrap_or(i32::MAX);
        if specifier.width <= has { Ok(text) } else { pad(&text, specifier.width, " ", !specifier.left) }
    }
}

fn number(rest: &mut Letters<'_>) -> Result<Option<usize>> {
    let mut value: Option<usize> = None;
    while let Some(digit) = rest.next_if(char::is_ascii_digit) {
        let digit = digit.to_digit(10).map_or(0, |d| d as usize);
        let more = value.unwrap_or(0).checked_mul(10).and_then(|v| v.checked_add(digit));
        value = Some(more.filter(|v| *v < 1 << 31).ok_or_else(|| ValueError::new("22003", "number is out of range"))?);
    }
    Ok(value)
}

fn argument_zero() -> ValueError {
    ValueError::new("22023", "format specifies argument 0, but arguments are numbered from 1")
}
