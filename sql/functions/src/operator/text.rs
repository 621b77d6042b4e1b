//! Operators of texts, bytes and arrays: concatenation, prefixes and regular expressions.

use std::sync::Arc;

use datafusion_expr::ScalarUDF;
use ebap_values::PgType;

use super::{operator, operator_with};
use crate::array::combine;
use crate::error::checked_length;
use crate::regex::Patterns;
use crate::values::{Bool, Bytea, Text};

pub(super) fn binary(op: &str, left: &PgType, right: &PgType) -> Option<Arc<ScalarUDF>> {
    match (op, left, right) {
        ("||", PgType::Text, PgType::Text) => operator::<(Text, Text), Text>(op, |(a, b)| {
            checked_length(a.len().checked_add(b.len()))?;
            Ok([a, b].concat())
        }),
        ("||", PgType::Bytea, PgType::Bytea) => operator::<(Bytea, Bytea), Bytea>(op, |(a, b)| {
            checked_length(a.len().checked_add(b.len()))?;
            Ok([a, b].concat())
        }),
        ("||", PgType::Array(_), _) | ("||", _, PgType::Array(_)) => combine::operator(op, left, right),
        ("^@", PgType::Text, PgType::Text) => operator::<(Text, Text), Bool>(op, |(a, b)| Ok(a.starts_with(b))),
        ("~" | "~*" | "!~" | "!~*", PgType::Text, PgType::Text) => matches(op),
        _ => None,
    }
}

fn matches(op: &str) -> Option<Arc<ScalarUDF>> {
    let (wanted, flags) = (!op.starts_with('!'), if op.ends_with('*') { "i" } else { "" });
    operator_with::<(Text, Text), Bool, Patterns>(
        op,
        |_| Ok(Patterns::default()),
        move |patterns, (text, pattern)| Ok(patterns.get(pattern, flags)?.is_match(text) == wanted),
    )
}
