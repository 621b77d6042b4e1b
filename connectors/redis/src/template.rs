//! The options `key` and `member`: text with `{column}` placeholders. Finds mistakes when the sink is created, never later.
//!
//! No two rows share a key. In a text, the character behind its placeholder and `%` are written `%3A`, as in an address; the
//! last placeholder needs that not. NULL reads `null`, and the text `null` reads `%null`. Placeholders with nothing
//! between them, or with a letter or `%`, are the exception.

use std::fmt::Write;

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{DataType, Schema},
};
use ebap_connector::{Error, Result, text};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Column {
        at: usize,
        /// The character behind it.
        ends: Option<char>,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Template(Vec<Part>);

impl Template {
    /// `{{` and `}}` stand for the braces themselves.
    pub(crate) fn parse(option: &str, template: &str, schema: &Schema) -> Result<Self> {
        let pieces = split(option, template)?;
        let ends = |at: usize| match pieces.get(at + 1) {
            Some(Piece::Text(text)) => text.chars().next(),
            Some(Piece::Column(_)) | None => None,
        };
        let parts = pieces.iter().enumerate().map(|(place, piece)| match piece {
            Piece::Text(text) => Ok(Part::Text(text.clone())),
            Piece::Column(name) => match schema.index_of(name) {
                Ok(at) => Ok(Part::Column { at, ends: ends(place) }),
                Err(_) => Err(Error::option(option, format!("column \"{name}\" does not exist in the view"))),
            },
        });
        let parts = parts.collect::<Result<Vec<_>>>()?;
        if parts.is_empty() {
            return Err(Error::option(option, "is empty"));
        }
        Ok(Self(parts))
    }

    pub(crate) fn names(&self, column: usize) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Column { at, .. } if *at == column))
    }

    pub(crate) fn render(&self, batch: &RecordBatch, row: usize) -> Result<String> {
        let mut key = String::with_capacity(64);
        for part in &self.0 {
            match part {
                Part::Text(text) => key.push_str(text),
                Part::Column { at, ends } => {
                    let array = batch.column(*at);
                    if array.is_null(row) {
                        key.push_str("null");
                    } else if *array.data_type() == DataType::Utf8 {
                        write_text(&mut key, array.as_string::<i32>().value(row), *ends);
                    } else if let Some(interval) = text::interval(array, row) {
                        write!(key, "{}", interval.compact()).expect("writing to a string cannot fail");
                    } else {
                        text::write_value(&mut key, array, row)?;
                    }
                }
            }
        }
        Ok(key)
    }
}

/// A text that no other text, nor NULL, is written as.
fn write_text(key: &mut String, text: &str, ends: Option<char>) {
    if text.trim_start_matches('%') == "null" {
        key.push('%');
    }
    let Some(ends) = ends else { return key.push_str(text) };
    for char in text.chars() {
        match char == ends || char == '%' {
            true => {
                let mut bytes = [0; 4];
                for byte in char.encode_utf8(&mut bytes).bytes() {
                    write!(key, "%{byte:02X}").expect("writing to a string cannot fail");
                }
            }
            false => key.push(char),
        }
    }
}

enum Piece {
    Text(String),
    Column(String),
}

fn split(option: &str, template: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut chars = template.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '{' | '}' if chars.peek() == Some(&char) => {
                chars.next();
                text.push(char);
            }
            '{' => {
                let mut name = String::new();
                loop {
                    match chars.next() {
                        Some('}') => break,
                        Some('{') | None => {
                            return Err(Error::option(option, "a placeholder is not closed with \"}\""));
                        }
                        Some(char) => name.push(char),
                    }
                }
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(Piece::Column(name.trim().to_owned()));
            }
            '}' => return Err(Error::option(option, "\"}\" without \"{\"; write \"}}\" for the brace itself")),
            char => text.push(char),
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, Int64Array, IntervalMonthDayNanoArray, StringArray},
        datatypes::{DataType, Field, IntervalMonthDayNanoType, IntervalUnit},
    };

    use super::*;

    fn schema() -> Schema {
        Schema::new(vec![
            Field::new("size", DataType::Interval(IntervalUnit::MonthDayNano), true),
            Field::new("region", DataType::Utf8, true),
            Field::new("n", DataType::Int64, true),
        ])
    }

    #[test]
    fn intervals_are_short_and_null_is_spelled_out() {
        let minutes = |n: i64| IntervalMonthDayNanoType::make_value(0, 0, n * 60_000_000_000);
        let sizes = IntervalMonthDayNanoArray::from(vec![
            minutes(1),
            minutes(5),
            minutes(60),
            minutes(90),
            IntervalMonthDayNanoType::make_value(0, 1, 0),
        ]);
        let regions = StringArray::from(vec![Some("eu"), None, Some("a:b"), Some(""), Some("x")]);
        let columns: Vec<ArrayRef> =
            vec![Arc::new(sizes), Arc::new(regions), Arc::new(Int64Array::from(vec![1, 2, 3, 4, -5]))];
        let batch = RecordBatch::try_new(Arc::new(schema()), columns).expect("columns fit");
        let template = Template::parse("key", "{{a}}:{size}:{region}:{n}", &schema()).expect("template");
        let keys: Vec<_> = (0..5).map(|row| template.render(&batch, row).expect("key")).collect();
        assert_eq!(keys, ["{a}:1m:eu:1", "{a}:5m:null:2", "{a}:1h:a%3Ab:3", "{a}:1h30m::4", "{a}:1d:x:-5"]);
    }

    #[test]
    fn no_two_rows_have_one_key() {
        let texts = [
            None,
            Some("null"),
            Some("%null"),
            Some(""),
            Some("x"),
            Some("x:y"),
            Some("x%3Ay"),
            Some("%"),
            Some("é:%25"),
        ];
        let schema =
            Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, true), Field::new("b", DataType::Utf8, true)]));
        let (mut firsts, mut seconds) = (Vec::new(), Vec::new());
        for first in texts {
            for second in texts {
                firsts.push(first);
                seconds.push(second);
            }
        }
        let rows = firsts.len();
        let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(firsts)), Arc::new(StringArray::from(seconds))];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns);
        let batch = batch.expect("two columns");
        for text in ["{a}:{b}", "k:{a}::{b}", "{b}é{a}", "{a}/{b}"] {
            let template = Template::parse("key", text, &schema).expect("a template");
            let mut keys: Vec<_> = (0..rows).map(|row| template.render(&batch, row).expect("a key")).collect();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), rows, "{text}: {keys:?}");
        }
    }

    #[test]
    fn mistakes_in_a_template_are_named() {
        let message =
            |template: &str| Template::parse("key", template, &schema()).expect_err("must be refused").to_string();
        assert_eq!(message("k:{sise}"), "option \"key\": column \"sise\" does not exist in the view");
        assert_eq!(message("k:{n"), "option \"key\": a placeholder is not closed with \"}\"");
        assert_eq!(message("k}:{n}"), "option \"key\": \"}\" without \"{\"; write \"}}\" for the brace itself");
    }
}
