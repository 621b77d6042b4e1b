//! Quoted literals, which take the type of their context.

use std::sync::Arc;

use arrow::array::StringArray;
use datafusion_common::ScalarValue;
use datafusion_common::config::ConfigOptions;
use ebap_values::{PgType, Result, ValueError};

use super::Caster;
use crate::error::internal;
use crate::kernel::Operand;
use crate::session::Session;
use crate::types::Target;
use crate::udf::scalar;

/// The value of a quoted literal as this type. A `timestamptz` without a zone is taken as UTC.
pub fn unknown_literal(text: &str, to: &Target) -> std::result::Result<ScalarValue, ValueError> {
    unknown_literal_with(text, to, &ConfigOptions::default())
}

/// The same, in the session's time zone.
pub fn unknown_literal_with(
    text: &str,
    to: &Target,
    options: &ConfigOptions,
) -> std::result::Result<ScalarValue, ValueError> {
    let array = Arc::new(StringArray::from(vec![text]));
    let operand = Operand { array, constant: true, of: PgType::Text };
    let session = Session::new(options);
    // A literal with a length is as a cast, so that it is cut.
    let value: Result<_> = Caster { to, explicit: true, session: &session }.cast(&operand, 1);
    scalar(&value?, 0).map_err(internal)
}
