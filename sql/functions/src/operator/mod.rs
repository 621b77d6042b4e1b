//! Operators whose meaning in PostgreSQL is not that of DataFusion's own.

mod arithmetic;
mod compare;
mod decimal;
mod integer;
mod key;
mod temporal;
mod text;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_expr::ScalarUDF;
use ebap_values::Result;

pub(crate) use arithmetic::checked;
pub use arithmetic::strict_float;
pub(crate) use compare::{Comparer, Comparison};
pub(crate) use integer::in_range;
pub(crate) use key::normalised;
pub use key::{bpchar_key_udf, from_order_udf, interval_canonical_udf, jsonb_key_udfs, key_udf, order_udf};

use crate::kernel::{Args, Call, Output, each_row_with};
use crate::registry::Returns;
use crate::session::Session;
use crate::types::pg_type_of;
use crate::udf::{Body, PgFunction, always};

/// The operator between two values, or None where DataFusion's own means the same.
/// The types are already those that PostgreSQL's operator takes.
pub fn binary(op: &str, left: &DataType, right: &DataType) -> Option<Arc<ScalarUDF>> {
    let (l, r) = (pg_type_of(left), pg_type_of(right));
    integer::binary(op, &l, &r)
        .or_else(|| decimal::binary(op, left, right))
        .or_else(|| arithmetic::binary(op, &l, &r))
        .or_else(|| temporal::binary(op, &l, &r))
        .or_else(|| text::binary(op, &l, &r))
        .or_else(|| compare::binary(op, &l, &r))
}

/// The operator before a value, or None where DataFusion's own means the same.
pub fn unary(op: &str, of: &DataType) -> Option<Arc<ScalarUDF>> {
    let pg = pg_type_of(of);
    integer::unary(op, &pg)
        .or_else(|| decimal::unary(op, of))
        .or_else(|| arithmetic::unary(op, &pg))
        .or_else(|| temporal::unary(op, &pg))
}

/// An operator of each row alone.
fn operator<A: Args + 'static, R: Output + 'static>(
    op: &str,
    f: impl Fn(A::Items<'_>) -> Result<R::Value> + Send + Sync + 'static,
) -> Option<Arc<ScalarUDF>> {
    operator_with::<A, R, ()>(op, |_| Ok(()), move |(), items| f(items))
}

/// An operator with something that is made once per call.
fn operator_with<A: Args + 'static, R: Output + 'static, S: 'static>(
    op: &str,
    state: impl Fn(&Session<'_>) -> Result<S> + Send + Sync + 'static,
    f: impl Fn(&mut S, A::Items<'_>) -> Result<R::Value> + Send + Sync + 'static,
) -> Option<Arc<ScalarUDF>> {
    let Returns::Of(of) = R::returns() else { return None };
    let key = format!("{:?}", A::args());
    let body: Body = Arc::new(move |call: &Call<'_>| each_row_with::<A, R, S>(call, state(call.session)?, &f));
    Some(PgFunction::new(op, &key, always(&of), body).into_udf())
}
