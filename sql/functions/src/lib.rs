//! PostgreSQL's scalar functions and casts over Arrow arrays, each with its overloads. Knows no catalog and no plan.

mod aggregate;
mod array;
mod cast;
mod decimals;
mod error;
mod kernel;
mod library;
mod operator;
mod regex;
mod registry;
mod session;
mod types;
mod udf;
mod values;

pub use aggregate::{numeric_spread, numeric_sum, recomputed};
pub use array::quantified::{array_all, array_any};
pub use cast::{CastContext, can_cast, cast_udf, unknown_literal, unknown_literal_with};
pub use library::rows::row_comparison;
pub use operator::{binary, from_order_udf, key_udf, order_udf, strict_float, unary};
pub use registry::{Arg, Function, Overload, Returns, function, functions};
pub use types::{TYPE_KEY, Target, Typmod, UTC, arrow_field, arrow_type, pg_type, pg_type_of};
