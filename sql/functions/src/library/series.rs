//! Lists that `unnest` makes rows of: what `generate_series` and the like give, for each row as one array.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use ebap_values::json::{Json as Tree, Kind, Node, parse};
use ebap_values::time::{Interval, Zone, timestamp_add, timestamptz_add};
use ebap_values::{Numeric, PgType, Result, ValueError};

use crate::array::combine::item_field;
use crate::decimals::Num;
use crate::error::internal;
use crate::kernel::{Args, Call, Output};
use crate::registry::{Book, Returns, Shape};
use crate::values::{Int4, Int8, Json, Jsonb, Span, Text, Timestamp, Timestamptz};

/// More than so many values are not made of the rows of one call.
const VALUES_MAX: usize = 10_000_000;

pub(super) fn register(book: &mut Book) {
    add::<(Int4, Int4), Int4>(book, "generate series", |_, (from, to)| integers(from.into(), to.into(), 1));
    add::<(Int4, Int4, Int4), Int4>(book, "generate series", |_, (from, to, by)| {
        integers(from.into(), to.into(), by.into())
    });
    add::<(Int8, Int8), Int8>(book, "generate series", |_, (from, to)| integers(from, to, 1));
    add::<(Int8, Int8, Int8), Int8>(book, "generate series", |_, (from, to, by)| integers(from, to, by));
    add::<(Num, Num), Num>(book, "generate series", |_, (from, to)| numbers(&from, &to, &Numeric::one()));
    add::<(Num, Num, Num), Num>(book, "generate series", |_, (from, to, by)| numbers(&from, &to, &by));
    add::<(Timestamp, Timestamp, Span), Timestamp>(book, "generate series", |_, (from, to, by)| {
        moments(from, to, &by, |at| timestamp_add(at, &by))
    });
    add::<(Timestamptz, Timestamptz, Span), Timestamptz>(book, "generate series", |call, (from, to, by)| {
        let zone: Zone = call.session.zone()?;
        moments(from, to, &by, |at| timestamptz_add(at, &by, &zone))
    });
    add::<(Jsonb,), Jsonb>(book, "jsonb elements", |_, (j,)| {
        Ok(elements(j)?.into_iter().map(|item| Some(item.to_string())).collect())
    });
    add::<(Jsonb,), Text>(book, "jsonb elements text", |_, (j,)| {
        Ok(elements(j)?.into_iter().map(Tree::into_text).collect())
    });
    add::<(Jsonb,), Text>(book, "jsonb keys", |_, (j,)| match Tree::parse(j)? {
        Tree::Object(members) => Ok(members.into_iter().map(|(key, _)| Some(key)).collect()),
        Tree::Array(_) => Err(ValueError::new("22023", "cannot call jsonb_object_keys on an array")),
        _ => Err(ValueError::new("22023", "cannot call jsonb_object_keys on a scalar")),
    });
    add::<(Json,), Json>(book, "json elements", |_, (j,)| {
        Ok(nodes(j)?.into_iter().map(|node| Some(node.text.to_owned())).collect())
    });
    add::<(Json,), Text>(book, "json elements text", |_, (j,)| nodes(j)?.iter().map(text_of).collect());
    add::<(Jsonb,), Jsonb>(book, "jsonb values", |_, (j,)| {
        Ok(members(j)?.into_iter().map(|(_, value)| Some(value.to_string())).collect())
    });
    add::<(Jsonb,), Text>(book, "jsonb values text", |_, (j,)| {
        Ok(members(j)?.into_iter().map(|(_, value)| value.into_text()).collect())
    });
    add::<(Json,), Json>(book, "json values", |_, (j,)| {
        Ok(pairs(j)?.into_iter().map(|(_, node)| Some(node.text.to_owned())).collect())
    });
    add::<(Json,), Text>(book, "json values text", |_, (j,)| pairs(j)?.iter().map(|(_, node)| text_of(node)).collect());
    add::<(Json,), Text>(book, "json keys", |_, (j,)| match parse(j)?.kind {
        Kind::Object(members) => {
            let key = |quoted: &str| match Tree::parse(quoted)? {
                Tree::String(key) => Ok(Some(key)),
                _ => Err(internal("a key is a string")),
            };
            members.into_iter().map(|(quoted, _)| key(quoted)).collect()
        }
        Kind::Array(_) => Err(ValueError::new("22023", "cannot call json_object_keys on an array")),
        _ => Err(ValueError::new("22023", "cannot call json_object_keys on a scalar")),
    });
}

/// A function that gives a list, and none where an argument is NULL.
fn add<A: Args + 'static, R: Output + 'static>(
    book: &mut Book,
    name: &'static str,
    f: impl Fn(&Call<'_>, A::Items<'_>) -> Result<Vec<Option<R::Value>>> + Send + Sync + 'static,
) {
    let Returns::Of(of) = R::returns() else { return };
    let returns = Returns::Of(PgType::Array(Box::new(of.clone())));
    let shape = Shape { args: A::args(), variadic: None, returns };
    book.add_body(name, shape, Arc::new(move |call| lists::<A, R>(call, &of, &f)));
}

fn lists<A: Args, R: Output>(
    call: &Call<'_>,
    of: &PgType,
    f: impl Fn(&Call<'_>, A::Items<'_>) -> Result<Vec<Option<R::Value>>>,
) -> Result<ArrayRef> {
    let columns = A::columns(call)?;
    let mut values = R::builder(0);
    let (mut lengths, mut valid) = (Vec::with_capacity(call.rows), Vec::with_capacity(call.rows));
    let mut total = 0;
    for row in 0..call.rows {
        let found = match A::items(&columns, row)? {
            Some(items) => Some(f(call, items)?),
            None => None,
        };
        valid.push(found.is_some());
        let found = found.unwrap_or_default();
        total += found.len();
        if total > VALUES_MAX {
            return Err(too_long());
        }
        lengths.push(found.len());
        for value in found {
            R::push(&mut values, value)?;
        }
    }
    let values = R::finish(values);
    let item = item_field(values.data_type().clone(), of);
    let offsets = OffsetBuffer::from_lengths(lengths);
    let list = ListArray::try_new(item, offsets, values, Some(NullBuffer::from(valid))).map_err(internal)?;
    Ok(Arc::new(list))
}

fn no_step() -> ValueError {
    ValueError::new("22023", "step size cannot equal zero")
}

fn too_long() -> ValueError {
    ValueError::new("54000", format!("a series of more than {VALUES_MAX} values is too long"))
}

fn push<T>(values: &mut Vec<Option<T>>, value: T) -> Result<()> {
    if values.len() >= VALUES_MAX {
        return Err(too_long());
    }
    values.push(Some(value));
    Ok(())
}

fn integers<T: TryFrom<i64>>(from: i64, to: i64, by: i64) -> Result<Vec<Option<T>>> {
    if by == 0 {
        return Err(no_step());
    }
    let (mut values, mut next) = (Vec::new(), Some(from));
    while let Some(at) = next.filter(|at| if by > 0 { *at <= to } else { *at >= to }) {
        let value = T::try_from(at).map_err(|_| ValueError::out_of_range("integer"))?;
        push(&mut values, value)?;
        next = at.checked_add(by);
    }
    Ok(values)
}

fn numbers(from: &Numeric, to: &Numeric, by: &Numeric) -> Result<Vec<Option<Numeric>>> {
    for (what, number) in [("start", from), ("stop", to), ("step", by)] {
        let name = match (number.is_nan(), what) {
            (true, "start" | "stop") => format!("{what} value cannot be NaN"),
            (true, _) => "step size cannot be NaN".to_owned(),
            (false, "start" | "stop") => format!("{what} value cannot be infinity"),
            (false, _) => "step size cannot be infinity".to_owned(),
        };
        if !number.is_finite() {
            return Err(ValueError::new("22023", name));
        }
    }
    if by.is_zero() {
        return Err(no_step());
    }
    let (mut values, mut at) = (Vec::new(), from.clone());
    while if by.is_negative() { at >= *to } else { at <= *to } {
        push(&mut values, at.clone())?;
        at = at.add(by)?;
    }
    Ok(values)
}

fn moments(from: i64, to: i64, by: &Interval, next: impl Fn(i64) -> Result<i64>) -> Result<Vec<Option<i64>>> {
    let sign = by.key().signum();
    if sign == 0 {
        return Err(no_step());
    }
    let (mut values, mut at) = (Vec::new(), from);
    while if sign < 0 { at >= to } else { at <= to } {
        push(&mut values, at)?;
        at = next(at)?;
    }
    Ok(values)
}

/// The elements as they are written.
fn nodes(text: &str) -> Result<Vec<Node<'_>>> {
    match parse(text)?.kind {
        Kind::Array(items) => Ok(items),
        Kind::Object(_) => Err(ValueError::new("22023", "cannot extract elements from an object")),
        Kind::Null | Kind::Bool(_) | Kind::Number | Kind::String => {
            Err(ValueError::new("22023", "cannot extract elements from a scalar"))
        }
    }
}

fn members(text: &str) -> Result<Vec<(String, Tree)>> {
    match Tree::parse(text)? {
        Tree::Object(members) => Ok(members),
        Tree::Array(_) => Err(ValueError::new("22023", "cannot deconstruct an array as an object")),
        Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::String(_) => {
            Err(ValueError::new("22023", "cannot deconstruct a scalar"))
        }
    }
}

/// The members as they are written.
fn pairs(text: &str) -> Result<Vec<(&str, Node<'_>)>> {
    match parse(text)?.kind {
        Kind::Object(members) => Ok(members),
        Kind::Array(_) => Err(ValueError::new("22023", "cannot deconstruct an array as an object")),
        Kind::Null | Kind::Bool(_) | Kind::Number | Kind::String => {
            Err(ValueError::new("22023", "cannot deconstruct a scalar"))
        }
    }
}

/// As `->>` gives it.
fn text_of(node: &Node<'_>) -> Result<Option<String>> {
    match node.kind {
        Kind::Null => Ok(None),
        Kind::String => Ok(Tree::parse(node.text)?.into_text()),
        Kind::Bool(_) | Kind::Number | Kind::Array(_) | Kind::Object(_) => Ok(Some(node.text.to_owned())),
    }
}

fn elements(text: &str) -> Result<Vec<Tree>> {
    match Tree::parse(text)? {
        Tree::Array(items) => Ok(items),
        Tree::Object(_) => Err(ValueError::new("22023", "cannot extract elements from an object")),
        _ => Err(ValueError::new("22023", "cannot extract elements from a scalar")),
    }
}
