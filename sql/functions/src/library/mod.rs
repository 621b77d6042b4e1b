//! The functions, by subject.

mod any;
mod arrays;
mod bytes;
mod edit;
mod encoding;
pub(crate) mod float;
mod format;
mod formatting;
mod integer;
mod numeric;
mod overlaps;
mod pad;
mod quote;
mod regexp;
mod regexp_position;
pub(crate) mod rows;
mod split;
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
    ];
    for register in subjects {
        register(book);
    }
}
