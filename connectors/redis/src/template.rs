//! The options `key` and `member`: text with `{column}` placeholders. Finds mistakes when the sink is created, never later.
//!
//! Values are put in as they are: a `:` inside a value is not escaped, and NULL reads `null`. Whoever lets users choose
//! the values of two neighbouring columns should put the one of fixed form (a time, a number) first.

use std::fmt::Write;

use arrow::{array::RecordBatch, datatypes::Schema};
use ebap_connector::{Error, Result, text};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Column(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Template(Vec<Part>);

impl Template {
    /// `{{` and `}}` stand for the braces themselves.
    pub(crate) fn parse(option: &str, template: &str, schema: &Schema) -> Result<Self> {
        let parts = split(option, template)?
            .into_iter()
            .map(|part| match part {
                Piece::Text(text) => Ok(Part::Text(text)),
                Piece::Column(name) => schema
                    .index_of(&name)
                    .map(Part::Column)
                    .map_err(|_| Error::option(option, format!("column \"{name}\" does not exist in the view"))),
            })
            .collect::<Result<Vec<_>>>()?;
        if parts.is_empty() {
            return Err(Error::option(option, "is empty"));
        }
        Ok(Self(parts))
    }

    pub(crate) fn names(&self, column: usize) -> bool {
        self.0.contains(&Part::Column(column))
    }

    pub(crate) fn render(&self, batch: &RecordBatch, row: usize) -> Result<String> {
        let mut key = String::with_capacity(64);
        for part in &self.0 {
            match part {
                Part::Text(text) => key.push_str(text),
                Part::Column(column) => {
                    let array = batch.column(*column);
                    if array.is_null(row) {
                        key.push_str("null");
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
        assert_eq!(keys, ["{a}:1m:eu:1", "{a}:5m:null:2", "{a}:1h:a:b:3", "{a}:1h30m::4", "{a}:1d:x:-5"]);
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
