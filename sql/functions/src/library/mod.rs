//! The functions, by subject.

mod any;
mod array_fill;
mod arrays;
mod as_in_c;
mod bytes;
mod degrees;
mod edit;
mod encoding;
pub(crate) mod float;
mod format;
mod formatting;
mod geo;
mod hash;
mod integer;
mod json;
mod json_make;
pub(crate) mod like;
mod numeric;
pub(crate) mod once;
mod overlaps;
mod pad;
mod quote;
mod regexp;
mod regexp_position;
pub(crate) mod rows;
mod series;
mod split;
mod string_agg;
mod text;
mod time_fields;
mod time_make;

use crate::registry::Book;

/// Adds every function.
pub(crate) fn register(book: &mut Book) {
    let subjects = [
        integer::register,
        float::register,
        numeric::register,
        text::register,
        edit::register,
        pad::register,
        split::register,
        quote::register,
        format::register,
        bytes::register,
        encoding::register,
        regexp::register,
        regexp_position::register,
        formatting::register,
        time_fields::register,
        time_make::register,
        overlaps::register,
        arrays::register,
        any::register,
        json::register,
        json_make::register,
        string_agg::register,
        series::register,
        degrees::register,
        array_fill::register,
        geo::register,
    ];
    for register in subjects {
        register(book);
    }
}
