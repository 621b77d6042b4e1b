//! Values of every type as `json` and `jsonb`: `to_json`, `jsonb_build_object`, and what the aggregates are made of.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StringBuilder, StructArray};
use arrow::datatypes::DataType;
use ebap_values::json::{Json as Tree, Kind, Node, quote};
use ebap_values::{PgType, Result, ValueError};

use super::json::{items, lists};
use crate::array::operand;
use crate::cast::{Printer, as_list};
use crate::error::checked_length;
use crate::kernel::{Call, Operand};
use crate::registry::{Arg, Book, Returns, Shape};
use crate::session::Session;
use crate::types::{pg_type, pg_type_of};
use crate::udf::Body;

pub(super) fn register(book: &mut Book) {
    let any = || vec![Arg::Any];
    add(book, "to_json", any(), PgType::Json, |call| converted(call, Form::Json));
    add(book, "to_jsonb", any(), PgType::Jsonb, |call| converted(call, Form::Jsonb));
    add(book, "array_to_json", vec![Arg::AnyArray], PgType::Json, |call| converted(call, Form::Json));
    for (name, of, form) in
        [("json_build_object", PgType::Json, Form::Json), ("jsonb_build_object", PgType::Jsonb, Form::Jsonb)]
    {
        variadic(book, name, &of, Arc::new(move |call| object(call, form)));
    }
    for (name, of, form) in
        [("json_build_array", PgType::Json, Form::Json), ("jsonb_build_array", PgType::Jsonb, Form::Jsonb)]
    {
        variadic(book, name, &of, Arc::new(move |call| array(call, form)));
    }
    aggregated(book);
}

/// Of the aggregates: a member as a text, and the collected texts as one value.
fn aggregated(book: &mut Book) {
    let texts = || vec![Arg::Of(PgType::Array(Box::new(PgType::Text)))];
    add(book, "json member", vec![Arg::Any, Arg::Any], PgType::Json, member);
    add(book, "json_agg of", vec![Arg::AnyArray], PgType::Json, |call| gathered(call, Form::Json));
    add(book, "jsonb_agg of", vec![Arg::AnyArray], PgType::Jsonb, |call| gathered(call, Form::Jsonb));
    add(book, "json_object_agg of", texts(), PgType::Json, |call| joined(call, ["{ ", ", ", " }"], Form::Json));
    add(book, "jsonb_object_agg of", texts(), PgType::Jsonb, |call| joined(call, ["{ ", ", ", " }"], Form::Jsonb));
}

fn add(book: &mut Book, name: &'static str, args: Vec<Arg>, returns: PgType, body: fn(&Call<'_>) -> Result<ArrayRef>) {
    book.add_body(name, Shape { args, variadic: None, returns: Returns::Of(returns) }, Arc::new(body));
}

fn variadic(book: &mut Book, name: &'static str, of: &PgType, body: Body) {
    for variadic in [None, Some(Arg::Any)] {
        let shape = Shape { args: Vec::new(), variadic, returns: Returns::Of(of.clone()) };
        book.add_body(name, shape, Arc::clone(&body));
    }
}

/// Which of the two types is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Jsonb,
}

impl Form {
    fn of(self, text: String) -> Result<String> {
        checked_length(Some(text.len()))?;
        match self {
            Self::Json => Ok(text),
            Self::Jsonb => Ok(Tree::parse(&text)?.to_string()),
        }
    }
}

/// Writes the values of one array as JSON.
enum Writer {
    Verbatim(ArrayRef, Printer),
    Number(ArrayRef, Printer),
    Moment(ArrayRef, Printer),
    Text(ArrayRef, Printer),
    Array(ListArray, Box<Writer>),
    Record(StructArray, Vec<(String, Writer)>),
    Map(MapArray, Box<Writer>, Box<Writer>),
    Null,
}

impl Writer {
    fn new(array: &ArrayRef, of: &PgType, session: &Session<'_>) -> Result<Self> {
        let printer = || Printer::new(array, of, session);
        let own = || Arc::clone(array);
        Ok(match of {
            _ if *array.data_type() == DataType::Null => Self::Null,
            PgType::Bool | PgType::Json | PgType::Jsonb => Self::Verbatim(own(), printer()?),
            PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::Float4 | PgType::Float8 | PgType::Numeric => {
                Self::Number(own(), printer()?)
            }
            PgType::Date | PgType::Timestamp | PgType::Timestamptz => Self::Moment(own(), printer()?),
            PgType::Array(of) => {
                let list = as_list(array)?;
                let values = Self::new(list.values(), of, session)?;
                Self::Array(list, Box::new(values))
            }
            PgType::Composite | PgType::Record => {
                if let Some(map) = array.as_map_opt() {
                    let column = |column: &ArrayRef| Self::new(column, &pg_type_of(column.data_type()), session);
                    let (keys, values) = (column(map.keys())?, column(map.values())?);
                    return Ok(Self::Map(map.clone(), Box::new(keys), Box::new(values)));
                }
                let Some(record) = array.as_struct_opt() else {
                    return Err(ValueError::unsupported("a value of this type as JSON is not supported"));
                };
                let field = |(field, column): (&arrow::datatypes::FieldRef, &ArrayRef)| {
                    Ok((field.name().clone(), Self::new(column, &pg_type(field), session)?))
                };
                let fields = record.fields().iter().zip(record.columns()).map(field).collect::<Result<_>>()?;
                Self::Record(record.clone(), fields)
            }
            _ => Self::Text(own(), printer()?),
        })
    }

    fn of(operand: &Operand, session: &Session<'_>) -> Result<Self> {
        Self::new(&operand.array, &operand.of, session)
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Verbatim(array, _) | Self::Number(array, _) | Self::Moment(array, _) | Self::Text(array, _) => {
                array.is_null(row)
            }
            Self::Array(list, _) => list.is_null(row),
            Self::Record(record, _) => record.is_null(row),
            Self::Map(map, ..) => map.is_null(row),
            Self::Null => true,
        }
    }

    /// Appends the value; `null` where it is NULL.
    fn write(&self, row: usize, out: &mut String) -> Result<()> {
        if self.is_null(row) {
            out.push_str("null");
            return Ok(());
        }
        match self {
            Self::Verbatim(_, printer) => printer.print(row, out)?,
            Self::Number(_, printer) => {
                let start = out.len();
                printer.print(row, out)?;
                // `NaN` and `Infinity` end with a letter.
                if out.ends_with(|last: char| last.is_ascii_alphabetic()) {
                    let name = out.split_off(start);
                    quote(&name, out);
                }
            }
            Self::Moment(_, printer) => quote(&moment(printer, row)?, out),
            Self::Text(_, printer) => quote(&printed(printer, row)?, out),
            Self::Array(list, values) => {
                let (start, end) = (list.value_offsets()[row], list.value_offsets()[row + 1]);
                out.push('[');
                for at in start..end {
                    out.push_str(if at > start { "," } else { "" });
                    values.write(usize::try_from(at).map_err(crate::error::internal)?, out)?;
                }
                out.push(']');
            }
            Self::Record(_, fields) => {
                out.push('{');
                for (at, (name, value)) in fields.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    quote(name, out);
                    out.push(':');
                    value.write(row, out)?;
                }
                out.push('}');
            }
            Self::Map(map, keys, values) => {
                let (start, end) = (map.value_offsets()[row], map.value_offsets()[row + 1]);
                out.push('{');
                for at in start..end {
                    out.push_str(if at > start { "," } else { "" });
                    let at = usize::try_from(at).map_err(crate::error::internal)?;
                    keys.write_key(at, out)?;
                    out.push(':');
                    values.write(at, out)?;
                }
                out.push('}');
            }
            Self::Null => {}
        }
        Ok(())
    }

    /// Appends the value as a key, which is not NULL.
    fn write_key(&self, row: usize, out: &mut String) -> Result<()> {
        match self {
            Self::Verbatim(array, printer) if *array.data_type() == DataType::Boolean => {
                quote(&printed(printer, row)?, out);
            }
            Self::Number(_, printer) | Self::Text(_, printer) => quote(&printed(printer, row)?, out),
            Self::Moment(_, printer) => quote(&moment(printer, row)?, out),
            _ => {
                let message = "key value must be scalar, not array, composite, or json";
                return Err(ValueError::new("22023", message));
            }
        }
        Ok(())
    }
}

fn printed(printer: &Printer, row: usize) -> Result<String> {
    let mut text = String::new();
    printer.print(row, &mut text)?;
    Ok(text)
}

/// By ISO 8601: a `T` before the hour, and minutes in the zone.
fn moment(printer: &Printer, row: usize) -> Result<String> {
    let text = printed(printer, row)?;
    let (day, rest) = match text.split_once(' ') {
        Some((day, rest)) if rest.starts_with(|first: char| first.is_ascii_digit()) => (day, rest),
        _ => return Ok(text),
    };
    let (time, era) = rest.split_once(' ').map_or((rest, ""), |(time, _)| (time, " BC"));
    let zone = time.find(['+', '-']).map_or("", |at| &time[at..]);
    let minutes = if zone.len() == 3 { ":00" } else { "" };
    Ok(format!("{day}T{time}{minutes}{era}"))
}

fn written(call: &Call<'_>, write: impl Fn(usize) -> Result<Option<String>>) -> Result<ArrayRef> {
    let mut texts = StringBuilder::new();
    for row in 0..call.rows {
        texts.append_option(write(row)?);
    }
    Ok(Arc::new(texts.finish()))
}

fn converted(call: &Call<'_>, form: Form) -> Result<ArrayRef> {
    let argument = operand(call, 0)?;
    let writer = Writer::of(argument, call.session)?;
    written(call, |row| {
        let at = argument.at(row);
        if writer.is_null(at) {
            return Ok(None);
        }
        let mut text = String::new();
        writer.write(at, &mut text)?;
        form.of(text).map(Some)
    })
}

fn writers(call: &Call<'_>) -> Result<Vec<Writer>> {
    call.operands.iter().map(|operand| Writer::of(operand, call.session)).collect()
}

fn object(call: &Call<'_>, form: Form) -> Result<ArrayRef> {
    if call.operands.len() % 2 == 1 {
        return Err(ValueError::new("22023", "argument list must have even number of elements"));
    }
    let writers = writers(call)?;
    written(call, |row| {
        let mut text = String::from("{");
        for (at, (writer, operand)) in writers.iter().zip(call.operands).enumerate() {
            let value = operand.at(row);
            if at % 2 == 1 {
                text.push_str(" : ");
                writer.write(value, &mut text)?;
                continue;
            }
            if writer.is_null(value) {
                let message = match form {
                    Form::Json => format!("argument {} cannot be null", at + 1),
                    Form::Jsonb => format!("argument {}: key must not be null", at + 1),
                };
                return Err(ValueError::new("22023", message));
            }
            text.push_str(if at > 0 { ", " } else { "" });
            writer.write_key(value, &mut text)?;
        }
        text.push('}');
        form.of(text).map(Some)
    })
}

fn array(call: &Call<'_>, form: Form) -> Result<ArrayRef> {
    let writers = writers(call)?;
    written(call, |row| {
        let mut text = String::from("[");
        for (at, (writer, operand)) in writers.iter().zip(call.operands).enumerate() {
            text.push_str(if at > 0 { ", " } else { "" });
            writer.write(operand.at(row), &mut text)?;
        }
        text.push(']');
        form.of(text).map(Some)
    })
}

/// `"key" : value`
fn member(call: &Call<'_>) -> Result<ArrayRef> {
    let writers = writers(call)?;
    let ([key, value], [key_at, value_at]) = (&writers[..], call.operands) else {
        return Err(crate::error::internal("a member has a key and a value"));
    };
    written(call, |row| {
        if key.is_null(key_at.at(row)) {
            return Err(ValueError::new("22023", "field name must not be null"));
        }
        let mut text = String::new();
        key.write_key(key_at.at(row), &mut text)?;
        text.push_str(" : ");
        value.write(value_at.at(row), &mut text)?;
        Ok(Some(text))
    })
}

/// Each array as `json_agg` shows its values: records in lines of their own.
fn gathered(call: &Call<'_>, form: Form) -> Result<ArrayRef> {
    let argument = operand(call, 0)?;
    let writer = Writer::of(argument, call.session)?;
    written(call, |row| {
        let row = argument.at(row);
        let Writer::Array(list, values) = &writer else { return Ok(None) };
        if list.is_null(row) {
            return Ok(None);
        }
        let between = if matches!(**values, Writer::Record(..)) { ", \n " } else { ", " };
        let (start, end) = (list.value_offsets()[row], list.value_offsets()[row + 1]);
        let mut text = String::from("[");
        for at in start..end {
            text.push_str(if at > start { between } else { "" });
            values.write(usize::try_from(at).map_err(crate::error::internal)?, &mut text)?;
        }
        text.push(']');
        form.of(text).map(Some)
    })
}

/// The texts of each array between marks.
fn joined(call: &Call<'_>, [open, between, close]: [&str; 3], form: Form) -> Result<ArrayRef> {
    let (argument, lists) = (operand(call, 0)?, lists(call, 0)?);
    written(call, |row| {
        let Some(items) = items(&lists, argument.at(row)) else { return Ok(None) };
        let items: Vec<&str> = items.iter().map(|item| item.as_deref().unwrap_or("null")).collect();
        form.of(format!("{open}{}{close}", items.join(between))).map(Some)
    })
}

/// A `json` without the members that are null, and without blanks.
pub(super) fn compact(node: &Node<'_>) -> Result<String> {
    let mut out = String::new();
    write_compact(node, &mut out)?;
    Ok(out)
}

fn write_compact(node: &Node<'_>, out: &mut String) -> Result<()> {
    match &node.kind {
        Kind::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                write_compact(item, out)?;
            }
            out.push(']');
        }
        Kind::Object(members) => {
            out.push('{');
            let shown = members.iter().filter(|(_, value)| !matches!(value.kind, Kind::Null));
            for (at, (key, value)) in shown.enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                let key = Node { text: key, kind: Kind::String };
                write_compact(&key, out)?;
                out.push(':');
                write_compact(value, out)?;
            }
            out.push('}');
        }
        Kind::String => quote(&node.to_text()?.unwrap_or_default(), out),
        _ => out.push_str(node.text),
    }
    Ok(())
}
