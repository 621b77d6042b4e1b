//! PostgreSQL's scalar functions and casts over Arrow arrays, each with its overloads. Knows no catalog and no plan.

mod aggregate;
mod array;
mod cast;
mod decimals;
mod error;
mod kernel;
mod library;
mod mask;
mod operator;
mod regex;
mod registry;
mod session;
mod types;
mod udf;
mod values;

pub use aggregate::{
    OrderedSet, float_avg, float_statistic, float_sum, interval_sum, named_aggregate, numeric_spread, numeric_sum,
    ordered_set, recomputed, single_value,
};
pub use array::combine::array_udf;
pub use array::quantified::{array_all, array_any};
pub use cast::{CastContext, can_cast, cast_udf, padded_text_udf, unknown_literal, unknown_literal_with};
pub use library::once::{between_udf, each_time_udf, nullif_udf};
pub use library::rows::{marked_record_udf, record_udf, row_comparison};
pub use mask::{Mask, PII_KEY, holds_pii, mask_of, mask_udf};
pub use operator::{
    binary, bpchar_key_udf, from_order_udf, interval_canonical_udf, jsonb_key_udfs, key_udf, order_udf, strict_float,
    unary,
};
pub use registry::{Arg, Function, Overload, Returns, function, functions};
pub use types::{TOLD_KEY, TYPE_KEY, Target, Typmod, UTC, arrow_field, arrow_type, pg_type, pg_type_of};
pub use udf::fixed_result;
