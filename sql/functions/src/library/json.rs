//! What `json` and `jsonb` are asked: their parts, their kinds, and what one contains of another.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray};
use ebap_values::json::{Change, Json as Tree, Kind, Node, Step, parse, parse_strictly};
use ebap_values::{PgType, Result, ValueError};

use super::json_make::compact;
use super::text::count;
use crate::array::operand;
use crate::kernel::{Call, Input, Opt, each_row};
use crate::registry::{Arg, Book, Returns, Shape};
use crate::values::{Bool, Int4, Json, Jsonb, Text, Texts};

pub(super) fn register(book: &mut Book) {
    parts(book);
    paths(book);
    kinds(book);
    contained(book);
    changed(book);
}

fn tree(text: &str) -> Result<Tree> {
    Tree::parse(text)
}

/// The part of a `json`, as it is written.
fn written(text: &str, path: &[Step<'_>]) -> Result<Option<String>> {
    Ok(parse_strictly(text)?.find(path)?.map(|node| node.text.to_owned()))
}

fn written_text(text: &str, path: &[Step<'_>]) -> Result<Option<String>> {
    parse_strictly(text)?.find(path)?.map_or(Ok(None), Node::to_text)
}

fn part(text: &str, path: &[Step<'_>]) -> Result<Option<String>> {
    Ok(tree(text)?.find(path).map(ToString::to_string))
}

fn part_text(text: &str, path: &[Step<'_>]) -> Result<Option<String>> {
    Ok(tree(text)?.find(path).cloned().and_then(Tree::into_text))
}

/// A scalar that stands alone is kept as the only item of an array, and found as one.
fn item(text: &str, at: i32) -> Result<Option<Tree>> {
    let found = tree(text)?;
    if found.is_scalar() && matches!(at, 0 | -1) {
        return Ok(Some(found));
    }
    Ok(found.find(&[Step::Index(at)]).cloned())
}

fn parts(book: &mut Book) {
    book.add::<(Json, Text), Opt<Json>>("json_object_field", |(j, key)| written(j, &[Step::Key(key)]));
    book.add::<(Json, Text), Opt<Text>>("json_object_field_text", |(j, key)| written_text(j, &[Step::Key(key)]));
    book.add::<(Json, Int4), Opt<Json>>("json_array_element", |(j, at)| written(j, &[Step::Index(at)]));
    book.add::<(Json, Int4), Opt<Text>>("json_array_element_text", |(j, at)| written_text(j, &[Step::Index(at)]));
    book.add::<(Jsonb, Text), Opt<Jsonb>>("jsonb_object_field", |(j, key)| part(j, &[Step::Key(key)]));
    book.add::<(Jsonb, Text), Opt<Text>>("jsonb_object_field_text", |(j, key)| part_text(j, &[Step::Key(key)]));
    book.add::<(Jsonb, Int4), Opt<Jsonb>>("jsonb_array_element", |(j, at)| {
        Ok(item(j, at)?.map(|item| item.to_string()))
    });
    book.add::<(Jsonb, Int4), Opt<Text>>("jsonb_array_element_text", |(j, at)| {
        Ok(item(j, at)?.and_then(Tree::into_text))
    });
}

type Found = fn(&str, &[Step<'_>]) -> Result<Option<String>>;

/// Paths as an array, and as arguments. Either is not followed where a step is NULL.
fn paths(book: &mut Book) {
    let all: [([&'static str; 2], PgType, PgType, Found); 4] = [
        (["json #>", "json_extract_path"], PgType::Json, PgType::Json, written),
        (["json #>>", "json_extract_path_text"], PgType::Json, PgType::Text, written_text),
        (["jsonb #>", "jsonb_extract_path"], PgType::Jsonb, PgType::Jsonb, part),
        (["jsonb #>>", "jsonb_extract_path_text"], PgType::Jsonb, PgType::Text, part_text),
    ];
    for ([operator, name], of, returns, find) in all {
        let returns = || Returns::Of(returns.clone());
        let path = Arg::Of(PgType::Array(Box::new(PgType::Text)));
        let shape = Shape { args: vec![Arg::Of(of.clone()), path], variadic: None, returns: returns() };
        book.add_body(operator, shape, Arc::new(move |call| by_array(call, find)));
        let variadic = Some(Arg::Of(PgType::Text));
        let shape = Shape { args: vec![Arg::Of(of)], variadic, returns: returns() };
        book.add_body(name, shape, Arc::new(move |call| by_arguments(call, find)));
    }
}

fn by_array(call: &Call<'_>, find: Found) -> Result<ArrayRef> {
    each_row::<(Text, Texts), Opt<Text>>(call, |(j, path)| {
        let steps: Option<Vec<Step<'_>>> = path.iter().map(|step| step.as_deref().map(Step::Either)).collect();
        steps.map_or(Ok(None), |steps| find(j, &steps))
    })
}

fn by_arguments(call: &Call<'_>, find: Found) -> Result<ArrayRef> {
    let columns = call.operands.iter().map(|operand| Text::column(&operand.array)).collect::<Result<Vec<_>>>()?;
    let one = |row: usize| {
        let value = |(column, operand): (&'_ StringArray, &crate::kernel::Operand)| {
            let at = operand.at(row);
            column.is_valid(at).then(|| column.value(at).to_owned())
        };
        let values: Option<Vec<String>> = columns.iter().zip(call.operands).map(value).collect();
        let Some(values) = values else { return Ok(None) };
        let Some((text, path)) = values.split_first() else { return Ok(None) };
        let steps: Vec<Step<'_>> = path.iter().map(|step| Step::Either(step)).collect();
        find(text, &steps)
    };
    let found = (0..call.rows).map(one).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StringArray::from(found)))
}

fn node_type(node: &Node<'_>) -> &'static str {
    match node.kind {
        Kind::Null => "null",
        Kind::Bool(_) => "boolean",
        Kind::Number => "number",
        Kind::String => "string",
        Kind::Array(_) => "array",
        Kind::Object(_) => "object",
    }
}

fn kinds(book: &mut Book) {
    book.add::<(Json,), Text>("json_typeof", |(j,)| Ok(node_type(&parse(j)?).to_owned()));
    book.add::<(Jsonb,), Text>("jsonb_typeof", |(j,)| Ok(tree(j)?.type_name().to_owned()));
    book.add::<(Json,), Int4>("json_array_length", |(j,)| match parse(j)?.kind {
        Kind::Array(items) => count(items.len()),
        Kind::Object(_) => Err(no_array("cannot get array length of a non-array")),
        _ => Err(no_array("cannot get array length of a scalar")),
    });
    book.add::<(Jsonb,), Int4>("jsonb_array_length", |(j,)| match tree(j)? {
        Tree::Array(items) => count(items.len()),
        Tree::Object(_) => Err(no_array("cannot get array length of a non-array")),
        _ => Err(no_array("cannot get array length of a scalar")),
    });
    book.add::<(Jsonb,), Text>("jsonb_pretty", |(j,)| Ok(tree(j)?.pretty()));
    book.add::<(Json,), Json>("json_strip_nulls", |(j,)| compact(&parse_strictly(j)?));
    book.add::<(Jsonb,), Jsonb>("jsonb_strip_nulls", |(j,)| Ok(tree(j)?.without_nulls().to_string()));
}

fn no_array(message: &str) -> ValueError {
    ValueError::new("22023", message)
}

fn contained(book: &mut Book) {
    book.add::<(Jsonb, Jsonb), Bool>("jsonb_contains", |(a, b)| Ok(tree(a)?.contains(&tree(b)?)));
    book.add::<(Jsonb, Jsonb), Bool>("jsonb_contained", |(a, b)| Ok(tree(b)?.contains(&tree(a)?)));
    book.add::<(Jsonb, Text), Bool>("jsonb_exists", |(j, key)| Ok(tree(j)?.has(key)));
    book.add::<(Jsonb, Texts), Bool>("jsonb_exists_any", |(j, keys)| {
        let j = tree(j)?;
        Ok(keys.iter().flatten().any(|key| j.has(key)))
    });
    book.add::<(Jsonb, Texts), Bool>("jsonb_exists_all", |(j, keys)| {
        let j = tree(j)?;
        Ok(keys.iter().flatten().all(|key| j.has(key)))
    });
}

fn steps(path: &[Option<String>]) -> Vec<Option<&str>> {
    path.iter().map(Option::as_deref).collect()
}

fn changed(book: &mut Book) {
    book.add::<(Jsonb, Jsonb), Jsonb>("jsonb_concat", |(a, b)| Ok(tree(a)?.concat(tree(b)?).to_string()));
    book.add::<(Jsonb, Text), Jsonb>("jsonb_delete", |(j, key)| Ok(tree(j)?.without(&[key])?.to_string()));
    book.add::<(Jsonb, Texts), Jsonb>("jsonb -", |(j, keys)| {
        let keys: Vec<&str> = keys.iter().flatten().map(String::as_str).collect();
        Ok(tree(j)?.without(&keys)?.to_string())
    });
    book.add::<(Jsonb, Int4), Jsonb>("jsonb_delete", |(j, at)| Ok(tree(j)?.without_item(at)?.to_string()));
    book.add::<(Jsonb, Texts), Jsonb>("jsonb_delete_path", |(j, path)| {
        Ok(tree(j)?.changed(&steps(&path), Change::Delete, &Tree::Null)?.to_string())
    });
    let at_path = |j: &str, path: &[Option<String>], new: &str, change| {
        Ok(tree(j)?.changed(&steps(path), change, &tree(new)?)?.to_string())
    };
    book.add::<(Jsonb, Texts, Jsonb), Jsonb>("jsonb_set", move |(j, path, new)| at_path(j, &path, new, Change::Set));
    book.add::<(Jsonb, Texts, Jsonb, Bool), Jsonb>("jsonb_set", move |(j, path, new, create)| {
        at_path(j, &path, new, if create { Change::Set } else { Change::Replace })
    });
    book.add::<(Jsonb, Texts, Jsonb), Jsonb>("jsonb_insert", move |(j, path, new)| {
        at_path(j, &path, new, Change::InsertBefore)
    });
    book.add::<(Jsonb, Texts, Jsonb, Bool), Jsonb>("jsonb_insert", move |(j, path, new, after)| {
        at_path(j, &path, new, if after { Change::InsertAfter } else { Change::InsertBefore })
    });
}

/// The items of a list of texts in one row.
pub(super) fn items(lists: &ListArray, row: usize) -> Option<Vec<Option<String>>> {
    lists.is_valid(row).then(|| {
        let values = lists.value(row);
        values.as_string::<i32>().iter().map(|value| value.map(str::to_owned)).collect()
    })
}

/// The list that stands in one place of a call.
pub(super) fn lists(call: &Call<'_>, at: usize) -> Result<ListArray> {
    crate::cast::as_list(&operand(call, at)?.array)
}
