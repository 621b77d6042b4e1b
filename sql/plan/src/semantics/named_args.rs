//! Calls with named arguments, as `make_interval(days => 3)`: put in their places before anything is planned.

use datafusion::sql::sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value};

use crate::{Error, Result};

/// The name of an argument, and what stands for it where it is not given.
type Named = (&'static str, Option<&'static str>);

/// Functions whose arguments have names in PostgreSQL.
const FUNCTIONS: &[(&str, &[Named])] = &[
    ("jsonb_insert", &[("jsonb_in", None), ("path", None), ("replacement", None), ("insert_after", Some("false"))]),
    ("jsonb_set", &[("jsonb_in", None), ("path", None), ("replacement", None), ("create_if_missing", Some("true"))]),
    ("make_date", &[("year", None), ("month", None), ("day", None)]),
    (
        "make_interval",
        &[
            ("years", Some("0")),
            ("months", Some("0")),
            ("weeks", Some("0")),
            ("days", Some("0")),
            ("hours", Some("0")),
            ("mins", Some("0")),
            ("secs", Some("0")),
        ],
    ),
    ("make_time", &[("hour", None), ("min", None), ("sec", None)]),
    (
        "make_timestamp",
        &[("year", None), ("month", None), ("mday", None), ("hour", None), ("min", None), ("sec", None)],
    ),
    (
        "make_timestamptz",
        &[
            ("year", None),
            ("month", None),
            ("mday", None),
            ("hour", None),
            ("min", None),
            ("sec", None),
            ("timezone", Some("")),
        ],
    ),
];

/// Puts the arguments of a call in their places, if some of them are named.
///
/// # Errors
/// 42883 where the function has no such argument, or lacks one; 42601 for one behind a named one.
pub(super) fn placed(function: &mut Function) -> Result<()> {
    let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
    if !list.args.iter().any(|arg| named(arg).is_some()) {
        return Ok(());
    }
    let name = function.name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.to_lowercase());
    let name = name.unwrap_or_default();
    let shown: Vec<String> = list.args.iter().map(ToString::to_string).collect();
    let unknown = || {
        Error::new("42883", format!("function {name}({}) does not exist", shown.join(", ")))
            .hint("No function matches the given name and argument types. You might need to add explicit type casts.")
    };
    let (_, known) = FUNCTIONS.iter().find(|(own, _)| *own == name).ok_or_else(unknown)?;
    let mut places: Vec<Option<FunctionArg>> = vec![None; known.len()];
    let mut only_named = false;
    for (at, arg) in list.args.drain(..).enumerate() {
        match named(&arg) {
            None if only_named => return Err(Error::syntax("positional argument cannot follow named argument")),
            None => *places.get_mut(at).ok_or_else(unknown)? = Some(arg),
            Some((of, value)) => {
                only_named = true;
                let at = known.iter().position(|(own, _)| *own == of).ok_or_else(unknown)?;
                if places[at].is_some() {
                    return Err(Error::syntax(format!("argument name \"{of}\" used more than once")));
                }
                places[at] = Some(FunctionArg::Unnamed(value));
            }
        }
    }
    for (place, (_, default)) in places.iter().zip(known.iter()) {
        match (place, default) {
            (Some(arg), _) => list.args.push(arg.clone()),
            // What has no value of its own is at the end, and left out.
            (None, Some("")) => {}
            (None, Some(default)) => list.args.push(literal(default)),
            (None, None) => return Err(unknown()),
        }
    }
    Ok(())
}

fn named(arg: &FunctionArg) -> Option<(String, FunctionArgExpr)> {
    match arg {
        FunctionArg::Named { name, arg, .. } => {
            let folded = if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() };
            Some((folded, arg.clone()))
        }
        FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => {
            Some((name.value.to_lowercase(), arg.clone()))
        }
        _ => None,
    }
}

fn literal(text: &str) -> FunctionArg {
    let value = match text {
        "true" => Value::Boolean(true),
        "false" => Value::Boolean(false),
        digits => Value::Number(digits.to_owned(), false),
    };
    FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value.into())))
}
