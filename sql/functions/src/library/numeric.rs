//! Functions of NUMERIC.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef};
use ebap_values::{Numeric, PgType, Result};

use crate::array::operand;
use crate::decimals::Num;
use crate::kernel::{Call, Opt, each_row};
use crate::registry::{Arg, Book, Returns, Shape};
use crate::types::arrow_field;
use crate::udf::FieldOf;
use crate::values::{Int4, Int8};

pub(super) fn register(book: &mut Book) {
    abs(book);
    for name in ["ceil", "ceiling"] {
        book.add::<(Num,), Num>(name, |(a,)| a.ceil());
    }
    book.add::<(Num,), Num>("floor", |(a,)| a.floor());
    book.add::<(Num,), Num>("round", |(a,)| a.round(0));
    book.add::<(Num, Int4), Num>("round", |(a, n)| a.round(n));
    book.add::<(Num,), Num>("trunc", |(a,)| Ok(a.trunc(0)));
    book.add::<(Num, Int4), Num>("trunc", |(a, n)| Ok(a.trunc(n)));
    book.add::<(Num,), Num>("sign", |(a,)| Ok(a.sign()));
    book.add::<(Num, Num), Num>("mod", |(a, b)| a.rem(&b));
    book.add::<(Num, Num), Num>("div", |(a, b)| a.div_trunc(&b));
    book.add::<(Num, Num), Num>("gcd", |(a, b)| a.gcd(&b));
    book.add::<(Num, Num), Num>("lcm", |(a, b)| a.lcm(&b));
    for name in ["power", "pow"] {
        book.add::<(Num, Num), Num>(name, |(a, b)| a.power(&b));
    }
    book.add::<(Num,), Num>("sqrt", |(a,)| a.sqrt());
    book.add::<(Num,), Num>("exp", |(a,)| a.exp());
    book.add::<(Num,), Num>("ln", |(a,)| a.ln());
    for name in ["log", "log10"] {
        book.add::<(Num,), Num>(name, |(a,)| a.log10());
    }
    book.add::<(Num, Num), Num>("log", |(base, a)| Numeric::log(&base, &a));
    book.add::<(Num, Num, Num, Int4), Int4>("width_bucket", |(v, low, high, n)| {
        Numeric::width_bucket(&v, &low, &high, n)
    });
    book.add::<(Num,), Opt<Int4>>("scale", |(a,)| Ok(a.scale()));
    book.add::<(Num,), Opt<Int4>>("min_scale", |(a,)| Ok(a.min_scale()));
    book.add::<(Num,), Num>("trim_scale", |(a,)| Ok(a.trim_scale()));
    book.add::<(Int8,), Num>("numeric", |(a,)| Ok(Numeric::from_i64(a)));
}

/// Declared values stay as they are declared, without a detour through Numeric.
fn abs(book: &mut Book) {
    let numeric = || PgType::Numeric;
    let shape = Shape { args: vec![Arg::Of(numeric())], variadic: None, returns: Returns::Of(numeric()) };
    let field = |fields: &[FieldRef]| match fields.first().map(|f| f.data_type()) {
        Some(of @ DataType::Decimal128(..)) => Field::new("", of.clone(), true),
        _ => arrow_field("", &PgType::Numeric, true),
    };
    let field = FieldOf::ByArguments(Arc::new(field));
    book.add_with_field("abs", shape, field, Arc::new(abs_column));
}

fn abs_column(call: &Call<'_>) -> Result<ArrayRef> {
    let argument = &operand(call, 0)?.array;
    let of = argument.data_type();
    if !matches!(of, DataType::Decimal128(..)) {
        return each_row::<(Num,), Num>(call, |(a,)| Ok(a.abs()));
    }
    let values = argument.as_primitive::<Decimal128Type>().unary::<_, Decimal128Type>(i128::wrapping_abs);
    Ok(Arc::new(values.with_data_type(of.clone())))
}
