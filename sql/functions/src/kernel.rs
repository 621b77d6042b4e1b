//! The loop over rows that every typed function runs in.

use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;
use datafusion_common::ScalarValue;
use datafusion_expr::ColumnarValue;
use ebap_values::{PgType, Result};

use crate::error::internal;
use crate::registry::{Arg, Returns};
use crate::session::Session;

/// One argument of a call: a column, or one value for all rows.
pub(crate) struct Operand {
    pub(crate) array: ArrayRef,
    pub(crate) constant: bool,
    pub(crate) of: PgType,
}

impl Operand {
    pub(crate) fn new(value: &ColumnarValue, of: PgType) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Array(array) => Self { array: array.clone(), constant: false, of },
            ColumnarValue::Scalar(value) => Self { array: one_row(value)?, constant: true, of },
        })
    }

    /// Where the value of this row is.
    pub(crate) fn at(&self, row: usize) -> usize {
        if self.constant { 0 } else { row }
    }
}

fn one_row(value: &ScalarValue) -> Result<ArrayRef> {
    value.to_array().map_err(internal)
}

/// The arguments of one call over a batch.
pub(crate) struct Call<'a> {
    pub(crate) operands: &'a [Operand],
    pub(crate) rows: usize,
    pub(crate) session: &'a Session<'a>,
}

/// An argument type: how its values are read.
pub(crate) trait Input {
    type Column;
    type Item<'a>;
    /// Whether the function is called with NULL; its item is an `Option` then.
    const NULLABLE: bool = false;
    fn arg() -> Arg;
    fn column(array: &ArrayRef) -> Result<Self::Column>;
    fn get<'a>(column: &'a Self::Column, row: usize) -> Result<Self::Item<'a>>;
}

/// A result type: how its values are written.
pub(crate) trait Output {
    type Value;
    type Builder;
    fn returns() -> Returns;
    fn builder(rows: usize) -> Self::Builder;
    fn push(builder: &mut Self::Builder, value: Option<Self::Value>) -> Result<()>;
    fn finish(builder: Self::Builder) -> ArrayRef;
}

/// A result or an argument that may be NULL although no argument is.
pub(crate) struct Opt<T>(std::marker::PhantomData<T>);

impl<T: Input> Input for Opt<T> {
    type Column = (T::Column, Option<NullBuffer>);
    type Item<'a> = Option<T::Item<'a>>;
    const NULLABLE: bool = true;

    fn arg() -> Arg {
        T::arg()
    }

    fn column(array: &ArrayRef) -> Result<Self::Column> {
        Ok((T::column(array)?, array.logical_nulls()))
    }

    fn get<'a>(column: &'a Self::Column, row: usize) -> Result<Self::Item<'a>> {
        match &column.1 {
            Some(nulls) if nulls.is_null(row) => Ok(None),
            _ => T::get(&column.0, row).map(Some),
        }
    }
}

impl<T: Output> Output for Opt<T> {
    type Value = Option<T::Value>;
    type Builder = T::Builder;

    fn returns() -> Returns {
        T::returns()
    }

    fn builder(rows: usize) -> Self::Builder {
        T::builder(rows)
    }

    fn push(builder: &mut Self::Builder, value: Option<Self::Value>) -> Result<()> {
        T::push(builder, value.flatten())
    }

    fn finish(builder: Self::Builder) -> ArrayRef {
        T::finish(builder)
    }
}

/// A column of one argument. `step` is 0 where one value stands for all rows.
pub(crate) struct Reader<T: Input> {
    column: T::Column,
    nulls: Option<NullBuffer>,
    step: usize,
}

impl<T: Input> Reader<T> {
    fn new(call: &Call<'_>, index: usize) -> Result<Self> {
        let operand = call.operands.get(index).ok_or_else(|| internal("an argument is missing"))?;
        let nulls = if T::NULLABLE { None } else { operand.array.logical_nulls() };
        Ok(Self { column: T::column(&operand.array)?, nulls, step: usize::from(!operand.constant) })
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row * self.step))
    }

    fn get(&self, row: usize) -> Result<T::Item<'_>> {
        T::get(&self.column, row * self.step)
    }
}

/// The argument types of a function.
pub(crate) trait Args {
    type Columns;
    type Items<'a>;
    fn args() -> Vec<Arg>;
    fn columns(call: &Call<'_>) -> Result<Self::Columns>;
    /// None where an argument is NULL that the function is not called with.
    fn items<'a>(columns: &'a Self::Columns, row: usize) -> Result<Option<Self::Items<'a>>>;
}

impl Args for () {
    type Columns = ();
    type Items<'a> = ();

    fn args() -> Vec<Arg> {
        Vec::new()
    }

    fn columns(_: &Call<'_>) -> Result<()> {
        Ok(())
    }

    fn items(_: &(), _: usize) -> Result<Option<()>> {
        Ok(Some(()))
    }
}

macro_rules! args_of_tuples {
    ($(($($of:ident $at:tt),+))+) => {$(
        impl<$($of: Input),+> Args for ($($of,)+) {
            type Columns = ($(Reader<$of>,)+);
            type Items<'a> = ($($of::Item<'a>,)+);

            fn args() -> Vec<Arg> {
                vec![$($of::arg()),+]
            }

            fn columns(call: &Call<'_>) -> Result<Self::Columns> {
                Ok(($(Reader::<$of>::new(call, $at)?,)+))
            }

            fn items<'a>(columns: &'a Self::Columns, row: usize) -> Result<Option<Self::Items<'a>>> {
                if $(columns.$at.is_null(row))||+ {
                    return Ok(None);
                }
                Ok(Some(($(columns.$at.get(row)?,)+)))
            }
        }
    )+};
}

args_of_tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
}

/// Computes each row with what `state` holds for the whole call, such as a compiled pattern.
pub(crate) fn each_row_with<A: Args, R: Output, S>(
    call: &Call<'_>,
    mut state: S,
    f: impl Fn(&mut S, A::Items<'_>) -> Result<R::Value>,
) -> Result<ArrayRef> {
    let columns = A::columns(call)?;
    let mut builder = R::builder(call.rows);
    for row in 0..call.rows {
        let value = match A::items(&columns, row)? {
            Some(items) => Some(f(&mut state, items)?),
            None => None,
        };
        R::push(&mut builder, value)?;
    }
    Ok(R::finish(builder))
}

/// Computes each row of its own.
pub(crate) fn each_row<A: Args, R: Output>(
    call: &Call<'_>,
    f: impl Fn(A::Items<'_>) -> Result<R::Value>,
) -> Result<ArrayRef> {
    each_row_with::<A, R, ()>(call, (), |(), items| f(items))
}
