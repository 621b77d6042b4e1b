//! The clock by the names that PostgreSQL has for it beside `now()`: `localtimestamp`, `current_timestamp(3)`,
//! `transaction_timestamp()`. A query asks the clock once, so all of them are one time. And `gen_random_uuid()`.

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Value,
};

use super::{deferred::CAST, desugar::text};
use crate::parser::call;

/// The expression as a cast of `now()`; `None` where it is no such name.
pub(super) fn rewritten(expr: &Expr) -> Option<Expr> {
    let Expr::Function(function) = expr else { return None };
    let [part] = &function.name.0[..] else { return None };
    let name = part.as_ident().filter(|name| name.quote_style.is_none())?.value.to_lowercase();
    match (&function.args, name.as_str()) {
        (FunctionArguments::None, name) => local(name, ""),
        (FunctionArguments::List(list), name) => match (&list.args[..], name) {
            ([], "transaction_timestamp" | "statement_timestamp") => Some(call("now", Vec::new())),
            ([], "gen_random_uuid") => Some(call(CAST, vec![call("uuid", Vec::new()), text("uuid")])),
            ([arg], "current_timestamp") => Some(cast(&format!("timestamptz{}", digits(arg)?))),
            ([arg], name) => local(name, &digits(arg)?),
            _ => None,
        },
        (FunctionArguments::Subquery(_), _) => None,
    }
}

fn local(name: &str, digits: &str) -> Option<Expr> {
    match name {
        "localtimestamp" => Some(cast(&format!("timestamp{digits}"))),
        "localtime" => Some(cast(&format!("time{digits}"))),
        _ => None,
    }
}

/// `'yesterday'::date` and its like, which PostgreSQL reads by the clock; `None` of any other text.
pub(super) fn special(value: &str, to: &ast::DataType) -> Option<Expr> {
    use ast::{DataType, TimezoneInfo};
    let to = match to {
        DataType::Date => "date",
        DataType::Timestamp(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => "timestamp",
        DataType::Timestamp(None, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => "timestamptz",
        _ => return None,
    };
    let days = match (value.trim().to_lowercase().as_str(), to) {
        ("now", "date") | ("today", _) => 0,
        ("now", to) => return Some(cast(to)),
        ("yesterday", _) => -1,
        ("tomorrow", _) => 1,
        _ => return None,
    };
    let days = Expr::Value(Value::Number(i32::to_string(&days), false).into());
    let day = Expr::BinaryOp { left: Box::new(cast("date")), op: BinaryOperator::Plus, right: Box::new(days) };
    let day = Expr::Nested(Box::new(day));
    Some(if to == "date" { day } else { call(CAST, vec![day, text(to)]) })
}

fn cast(to: &str) -> Expr {
    call(CAST, vec![call("now", Vec::new()), text(to)])
}

/// `(3)` of a number of digits, as a type is written with it.
fn digits(arg: &FunctionArg) -> Option<String> {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) = arg else { return None };
    match &value.value {
        Value::Number(digits, _) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(format!("({digits})")),
        _ => None,
    }
}
