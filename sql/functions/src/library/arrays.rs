//! Functions of arrays.

use std::sync::Arc;

use ebap_values::PgType;

use crate::array::combine::{self, Sides};
use crate::array::{contain, search, shape};
use crate::kernel::Call;
use crate::registry::{Arg, Book, Returns, Shape};
use crate::udf::Body;

pub(super) fn register(book: &mut Book) {
    measures(book);
    joined(book);
    searched(book);
    let pair = || vec![Arg::AnyArray, Arg::AnyArray];
    add(book, "arraycontains", pair(), Returns::Of(PgType::Bool), contain::contains);
    add(book, "arraycontained", pair(), Returns::Of(PgType::Bool), contain::contained);
    add(book, "arrayoverlap", pair(), Returns::Of(PgType::Bool), contain::overlap);
    let int4 = || Arg::Of(PgType::Int4);
    add(book, "trim_array", vec![Arg::AnyArray, int4()], Returns::SameAsArg(0), shape::trim);
    add(book, "array_subscript", vec![Arg::AnyArray, int4()], Returns::ElementOf(0), shape::subscript);
    add(book, "array_slice", vec![Arg::AnyArray, int4(), int4()], Returns::SameAsArg(0), shape::slice);
}

fn add(
    book: &mut Book,
    name: &'static str,
    args: Vec<Arg>,
    returns: Returns,
    body: fn(&Call<'_>) -> ebap_values::Result<arrow::array::ArrayRef>,
) {
    book.add_body(name, Shape { args, variadic: None, returns }, Arc::new(body));
}

/// An empty array has no dimension, and so neither length nor bounds.
fn measures(book: &mut Book) {
    let int4 = || Returns::Of(PgType::Int4);
    let with_dimension = || vec![Arg::AnyArray, Arg::Of(PgType::Int4)];
    add(book, "array_length", with_dimension(), int4(), |call| shape::measure_dimension(call, Some));
    add(book, "array_upper", with_dimension(), int4(), |call| shape::measure_dimension(call, Some));
    add(book, "array_lower", with_dimension(), int4(), |call| shape::measure_dimension(call, |_| Some(1)));
    add(book, "array_ndims", vec![Arg::AnyArray], int4(), |call| {
        shape::measure(call, |all| Some(all.len()).filter(|n| *n > 0))
    });
    add(book, "array_dims", vec![Arg::AnyArray], Returns::Of(PgType::Text), shape::bounds);
    add(book, "cardinality", vec![Arg::AnyArray], int4(), |call| {
        shape::measure(call, |all| Some(if all.is_empty() { 0 } else { all.iter().product() }))
    });
}

fn joined(book: &mut Book) {
    for (name, sides, args, at) in [
        ("array_append", Sides::ArrayElement, vec![Arg::AnyArray, Arg::AnyElement], 0),
        ("array_prepend", Sides::ElementArray, vec![Arg::AnyElement, Arg::AnyArray], 1),
        ("array_cat", Sides::ArrayArray, vec![Arg::AnyArray, Arg::AnyArray], 0),
    ] {
        let shape = Shape { args, variadic: None, returns: Returns::SameAsArg(at) };
        book.add_with_field(name, shape, combine::field(sides), combine::body(sides));
    }
}

fn searched(book: &mut Book) {
    let pair = || vec![Arg::AnyArray, Arg::AnyElement];
    let int4 = || Arg::Of(PgType::Int4);
    let places = Returns::Of(PgType::Array(Box::new(PgType::Int4)));
    add(book, "array_position", pair(), Returns::Of(PgType::Int4), search::position);
    let from = vec![Arg::AnyArray, Arg::AnyElement, int4()];
    add(book, "array_position", from, Returns::Of(PgType::Int4), search::position);
    add(book, "array_positions", pair(), places, search::positions);
    add(book, "array_remove", pair(), Returns::SameAsArg(0), search::remove);
    let replaced: Body = Arc::new(search::replace);
    let args = vec![Arg::AnyArray, Arg::AnyElement, Arg::AnyElement];
    let shape = Shape { args, variadic: None, returns: Returns::SameAsArg(0) };
    book.add_with_field("array_replace", shape, search::replaced_field(), replaced);
}
