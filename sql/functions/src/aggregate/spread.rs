//! Variance and standard deviation out of sums that are exact.

use std::sync::Arc;

use datafusion_expr::ScalarUDF;
use ebap_values::{PgType, numeric::aggregate::variance};

use crate::{
    decimals::Num,
    kernel::{Opt, each_row},
    udf::{PgFunction, always},
    values::Int8,
};

/// What `name` is of the values whose count, sum and sum of squares are given: `var`, `var_pop`, `stddev` or
/// `stddev_pop`.
pub fn numeric_spread(name: &str) -> Arc<ScalarUDF> {
    let (sample, root) = (!name.ends_with("_pop"), name.starts_with("stddev"));
    let body = Arc::new(move |call: &crate::kernel::Call<'_>| {
        each_row::<(Int8, Num, Num), Opt<Num>>(call, &|(count, sum, squares)| {
            variance(count, &sum, &squares, sample, root)
        })
    });
    PgFunction::new(name, "numeric", always(&PgType::Numeric), body).into_udf()
}
