//! Operators and functions whose arguments have their types.

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::{
    common::ScalarValue,
    logical_expr::{
        Case, Expr, Like, Operator,
        expr::{FieldMetadata, Placeholder},
    },
};
use ebap_functions::{Arg, CastContext, Function, Overload, Returns, Target, arrow_type, function};
use ebap_values::{
    Numeric, PgType,
    time::{Interval, parse_interval_fields},
};

use super::{
    deferred::{
        ALL, ANY, ARRAY, BINARY, CAST, DISTINCT, EACH_TIME, INTERVAL, NOT_DISTINCT, NUMBER, ROW, SIMILAR, UNARY, VALUE,
    },
    expressions::{copied, is_simple, mismatch, pair},
    operators::{self, Operation, compared_as, is_comparison, is_match},
    overload::{NoChoice, Place, choose, common_type},
    scope::{Scope, called, is_unknown, literal, literal_text},
    targets, value_error,
};
use crate::{Error, Result, error::from_datafusion};

/// Functions that are chosen otherwise than by their overloads.
pub(super) const SPECIAL: [&str; 7] =
    ["coalesce", "nullif", "greatest", "least", "pg_typeof", "row_to_json", "hashtext"];

/// The type of the answer, as far as the types of the arguments tell.
pub(super) fn answer(name: &str, given: &[PgType]) -> Option<PgType> {
    if let Some(op) = name.strip_prefix(BINARY) {
        return operators::binary(op, given.first()?, given.get(1)?).ok().map(|operation| operation.returns);
    }
    if let Some(op) = name.strip_prefix(UNARY) {
        return match op {
            "|/" | "||/" => Some(PgType::Float8),
            _ => given.first().cloned(),
        };
    }
    if [ROW, ANY, ALL].iter().any(|prefix| name.starts_with(prefix)) {
        return Some(PgType::Bool);
    }
    match name {
        NUMBER => Some(PgType::Numeric),
        INTERVAL => Some(PgType::Interval),
        SIMILAR | DISTINCT | NOT_DISTINCT | crate::parser::BETWEEN_SYMMETRIC => Some(PgType::Bool),
        ARRAY => common_type(given).map(|of| PgType::Array(Box::new(of))),
        "nullif" => match given {
            [PgType::Unknown, PgType::Unknown] => Some(PgType::Text),
            [left, right] => operators::binary("=", left, right).ok().map(|operation| operation.left),
            _ => None,
        },
        "pg_typeof" => Some(PgType::Text),
        "row_to_json" => Some(PgType::Json),
        "hashtext" => Some(PgType::Int4),
        EACH_TIME => given.first().cloned(),
        "coalesce" | "greatest" | "least" | VALUE => common_type(given),
        name => {
            let function = function(name)?;
            match overload(function, given) {
                Ok((overload, _)) => Some(returned(overload, given)),
                Err(_) => only_answer(function),
            }
        }
    }
}

/// What a function gives, whichever its arguments turn out to be.
fn only_answer(function: &Function) -> Option<PgType> {
    let mut answers = function.overloads.iter().map(|overload| match &overload.returns {
        Returns::Of(of) => Some(of.clone()),
        _ => None,
    });
    let first = answers.next()??;
    answers.all(|answer| answer.as_ref() == Some(&first)).then_some(first)
}

/// The call with its function and with arguments of the types that this takes.
pub(super) fn resolved(scope: &Scope<'_>, name: &str, mut args: Vec<Expr>) -> Result<Expr> {
    if let Some(op) = name.strip_prefix(BINARY) {
        let (Some(right), Some(left)) = (args.pop(), args.pop()) else { return Err(malformed(name)) };
        return binary(scope, op, left, right);
    }
    if let Some(op) = name.strip_prefix(UNARY) {
        return unary(scope, op, args.pop().ok_or_else(|| malformed(name))?);
    }
    if let Some(op) = name.strip_prefix(ROW) {
        return row(scope, op, args);
    }
    for (prefix, function) in [(ANY, "array_any"), (ALL, "array_all")] {
        if let Some(op) = name.strip_prefix(prefix) {
            let (Some(array), Some(value)) = (args.pop(), args.pop()) else { return Err(malformed(name)) };
            return quantified(scope, function, op, value, array);
        }
    }
    match name {
        CAST => {
            let of = args.pop();
            let of = of.as_ref().and_then(literal_text).ok_or_else(|| malformed(name))?;
            let target = targets::parsed(of)?;
            // A client is told of `'x'::varchar` as that, and not as text.
            if let Some(Expr::Literal(value @ ScalarValue::Utf8(Some(_)), None)) = args.last()
                && scope.records
                && target.typmod.is_none()
                && ["VARCHAR", "CHARACTER VARYING", "CHAR VARYING"].contains(&of)
            {
                let told = [(ebap_functions::TOLD_KEY.to_owned(), VARCHAR.to_string())];
                let metadata = FieldMetadata::from(std::collections::BTreeMap::from(told));
                return Ok(Expr::Literal(value.clone(), Some(metadata)));
            }
            scope.cast(args.pop().ok_or_else(|| malformed(name))?, &target, CastContext::Explicit)
        }
        NUMBER => number(args.first().and_then(literal_text).ok_or_else(|| malformed(name))?),
        INTERVAL => interval(&args),
        ARRAY => array(scope, args),
        DISTINCT | NOT_DISTINCT => {
            let (Some(right), Some(left)) = (args.pop(), args.pop()) else { return Err(malformed(name)) };
            let operation = operators::binary("=", &scope.of(&left)?, &scope.of(&right)?)?;
            let op = if name == DISTINCT { Operator::IsDistinctFrom } else { Operator::IsNotDistinctFrom };
            scope.compared(left, op, right, &compared_as(&operation))
        }
        SIMILAR => similar(scope, args),
        "coalesce" => {
            let types = scope.types(&args)?;
            let found = datafusion::functions::expr_fn::coalesce(alike(scope, "COALESCE", args)?);
            Ok(scope.marked(found, common_type(&types).as_ref()))
        }
        "greatest" | "least" => library(scope, name, alike(scope, &name.to_uppercase(), args)?),
        "nullif" => nullif(scope, args),
        "pg_typeof" => type_of(scope, &args),
        "row_to_json" => match scope.types(&args)?[..] {
            [PgType::Record | PgType::Composite] => library(scope, "to_json", args),
            _ => Err(no_function(scope, name, &args)?),
        },
        "hashtext" => library(scope, "hash text", args),
        "to_json" | "to_jsonb" if args.len() == 1 && is_unknown(&args[0]) => {
            let message = "could not determine polymorphic type because input has type unknown";
            Err(Error::new("42804", message))
        }
        EACH_TIME => {
            let number = args.pop();
            let number = number.as_ref().and_then(literal_text).ok_or_else(|| malformed(name))?;
            Ok(called(&ebap_functions::each_time_udf(number), args))
        }
        VALUE => args.into_iter().next().ok_or_else(|| malformed(name)),
        "date_bin" if args.len() == 2 => {
            let origin = match scope.of(&args[1])? {
                PgType::Timestamp => PgType::Timestamp,
                _ => PgType::Timestamptz,
            };
            args.push(scope.to(Expr::Literal(ScalarValue::Utf8(Some("epoch".to_owned())), None), &origin)?);
            library(scope, name, args)
        }
        name => library(scope, name, args),
    }
}

fn malformed(name: &str) -> Error {
    Error::new("XX000", format!("a call of \"{name}\" lacks an argument"))
}

fn native(op: &str) -> Option<Operator> {
    Some(match op {
        "=" => Operator::Eq,
        "<>" => Operator::NotEq,
        "<" => Operator::Lt,
        "<=" => Operator::LtEq,
        ">" => Operator::Gt,
        ">=" => Operator::GtEq,
        "+" => Operator::Plus,
        "-" => Operator::Minus,
        "*" => Operator::Multiply,
        "/" => Operator::Divide,
        "||" => Operator::StringConcat,
        _ => return None,
    })
}

pub(super) fn binary(scope: &Scope<'_>, op: &str, left: Expr, right: Expr) -> Result<Expr> {
    // What is jsonb in PostgreSQL may be a STRUCT or a MAP here.
    let is_nested = matches!(op, "->" | "->>" | "#>" | "#>>") && matches!(scope.of(&left)?, PgType::Composite);
    let left = if is_nested { library(scope, "to_jsonb", vec![left])? } else { left };
    let operation = operators::binary(op, &scope.of(&left)?, &scope.of(&right)?)?;
    if matches!(op, "<" | "<=" | ">" | ">=")
        && matches!(operation.left, PgType::Array(_))
        && let Some(udf) = ebap_functions::row_comparison(op)
    {
        // Arrow takes a NULL among the elements for the least.
        return Ok(called(&udf, vec![scope.to(left, &operation.left)?, scope.to(right, &operation.right)?]));
    }
    if is_comparison(op)
        && let Some(native) = native(op)
    {
        return scope.compared(left, native, right, &compared_as(&operation));
    }
    if is_match(op) {
        return matched(scope, op, left, right);
    }
    if let Some(name) = operators::function_of(op, &operation) {
        let (left, right) = (scope.to(left, &operation.left)?, scope.to(right, &operation.right)?);
        return library(scope, name, vec![left, right]);
    }
    if op == "||" {
        return concatenated(scope, left, right, &operation);
    }
    arithmetic(scope, op, left, right, &operation)
}

fn arithmetic(scope: &Scope<'_>, op: &str, left: Expr, right: Expr, operation: &Operation) -> Result<Expr> {
    use PgType::{Float4, Float8, Int2, Int4, Int8};
    let number = |of: &PgType| matches!(of, Int2 | Int4 | Int8 | Float4 | Float8);
    // Both sides of one width, but for shifts, whose count is an integer.
    let wide = number(&operation.left) && number(&operation.right) && !matches!(op, "<<" | ">>");
    let (left_of, right_of) = match wide {
        true => (&operation.returns, &operation.returns),
        false => (&operation.left, &operation.right),
    };
    let (left, right) = (scope.to(left, left_of)?, scope.to(right, right_of)?);
    let is_float = matches!(operation.returns, Float4 | Float8);
    // Arrow's own are as meant here: by IEEE 754.
    if is_float
        && matches!(op, "+" | "-" | "*" | "/")
        && let Some(op) = native(op)
    {
        return Ok(pair(left, op, right));
    }
    if op == "^" {
        return library(scope, "power", vec![left, right]);
    }
    if op == "^@" {
        return library(scope, "starts_with", vec![left, right]);
    }
    let (left_field, right_field) = (scope.field(&left)?, scope.field(&right)?);
    let udf = ebap_functions::binary(op, left_field.data_type(), right_field.data_type());
    let Some(udf) = udf else {
        let what = format!("the operator {op} between {left_of} and {right_of}");
        return Err(Error::unsupported(what, "Write it with other operators or functions."));
    };
    Ok(called(&udf, vec![left, right]))
}

fn concatenated(scope: &Scope<'_>, left: Expr, right: Expr, operation: &Operation) -> Result<Expr> {
    if operation.returns == PgType::Text {
        let text = |expr| scope.cast(expr, &Target { of: PgType::Text, typmod: None }, CastContext::Assignment);
        return Ok(pair(text(left)?, Operator::StringConcat, text(right)?));
    }
    let (left, right) = (scope.to(left, &operation.left)?, scope.to(right, &operation.right)?);
    match (&operation.left, &operation.right) {
        (PgType::Array(_), PgType::Array(_)) => library(scope, "array_cat", vec![left, right]),
        (PgType::Array(_), _) => library(scope, "array_append", vec![left, right]),
        (_, PgType::Array(_)) => library(scope, "array_prepend", vec![left, right]),
        _ => {
            let (left_field, right_field) = (scope.field(&left)?, scope.field(&right)?);
            let udf = ebap_functions::binary("||", left_field.data_type(), right_field.data_type());
            let udf = udf.ok_or_else(|| Error::unsupported("|| of these values", "Cast them to TEXT."))?;
            Ok(called(&udf, vec![left, right]))
        }
    }
}

/// Regular expressions and LIKE.
fn matched(scope: &Scope<'_>, op: &str, left: Expr, right: Expr) -> Result<Expr> {
    let left = match scope.of(&left)? {
        PgType::Bpchar => called(&ebap_functions::padded_text_udf(), vec![left]),
        _ => scope.to(left, &PgType::Text)?,
    };
    let right = scope.to(right, &PgType::Text)?;
    let (negated, positive) = (op.starts_with('!'), op.trim_start_matches('!'));
    if positive.starts_with("~~") {
        let case_insensitive = positive.ends_with('*');
        let (expr, pattern) = (Box::new(left), Box::new(right));
        if like_needs_own(&pattern, case_insensitive) {
            let name = if case_insensitive { "text ilike" } else { "text like" };
            let found = library(scope, name, vec![*expr, *pattern])?;
            return Ok(if negated { Expr::Not(Box::new(found)) } else { found });
        }
        return Ok(Expr::Like(Like { negated, expr, pattern, escape_char: None, case_insensitive }));
    }
    let mut args = vec![left, right];
    if positive.ends_with('*') {
        args.push(Expr::Literal(ScalarValue::Utf8(Some("i".to_owned())), None));
    }
    let found = library(scope, "regexp_like", args)?;
    Ok(if negated { Expr::Not(Box::new(found)) } else { found })
}

/// DataFusion's own LIKE knows patterns that are literals, have no escape at their end, and ignore case in ASCII alone.
pub(super) fn like_needs_own(pattern: &Expr, case_insensitive: bool) -> bool {
    match pattern {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => {
            let escapes = text.chars().rev().take_while(|letter| *letter == '\\').count();
            escapes % 2 == 1 || case_insensitive && !text.is_ascii()
        }
        Expr::Literal(ScalarValue::Utf8(None), _) => false,
        _ => true,
    }
}

fn unary(scope: &Scope<'_>, op: &str, expr: Expr) -> Result<Expr> {
    let of = scope.of(&expr)?;
    let of = match (op, of) {
        // Intervals have a minus too, and other types have `~`.
        ("-" | "~", PgType::Unknown) => {
            let hint = "Could not choose a best candidate operator. You might need to add explicit type casts.";
            return Err(Error::new("42725", format!("operator is not unique: {op} unknown")).hint(hint));
        }
        ("|/" | "||/", _) | (_, PgType::Unknown) => PgType::Float8,
        (_, of) => of,
    };
    let expr = scope.to(expr, &of)?;
    match (op, &of) {
        ("+", PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::Float4 | PgType::Float8 | PgType::Numeric) => {
            return Ok(expr);
        }
        ("-", PgType::Float4 | PgType::Float8) => return Ok(Expr::Negative(Box::new(expr))),
        ("@", _) => return library(scope, "abs", vec![expr]),
        ("|/", _) => return library(scope, "sqrt", vec![expr]),
        ("||/", _) => return library(scope, "cbrt", vec![expr]),
        _ => {}
    }
    let field = scope.field(&expr)?;
    let udf = ebap_functions::unary(op, field.data_type()).ok_or_else(|| {
        Error::new("42883", format!("operator does not exist: {op} {of}"))
            .hint("No operator matches the given name and argument type. You might need to add an explicit type cast.")
    })?;
    Ok(called(&udf, vec![expr]))
}

/// `(a, b) < (c, d)`: the values of the left row come first.
/// The number of the type `varchar`.
const VARCHAR: u32 = 1_043;

fn row(scope: &Scope<'_>, op: &str, args: Vec<Expr>) -> Result<Expr> {
    let width = args.len() / 2;
    let mut left = args;
    let right = left.split_off(width);
    let equal = |left: &Expr, right: &Expr| binary(scope, "=", copied(left)?, copied(right)?);
    let pairs: Vec<(Expr, Expr)> = left.into_iter().zip(right).collect();
    match op {
        "=" | "<>" => {
            let all = pairs.iter().map(|(left, right)| equal(left, right)).collect::<Result<Vec<_>>>()?;
            let all = all.into_iter().reduce(|left, right| pair(left, Operator::And, right));
            let all = all.ok_or_else(|| malformed(op))?;
            Ok(if op == "=" { all } else { Expr::Not(Box::new(all)) })
        }
        _ => {
            // The first values that differ decide; where they cannot be told apart, nothing does.
            let strict = op.trim_end_matches('=');
            let mut found: Option<Expr> = None;
            for (left, right) in pairs.into_iter().rev() {
                found = Some(match found {
                    None => binary(scope, op, left, right)?,
                    Some(rest) => {
                        let (less, same) =
                            (binary(scope, strict, copied(&left)?, copied(&right)?)?, equal(&left, &right)?);
                        Expr::Case(Case {
                            expr: Some(Box::new(same)),
                            when_then_expr: vec![
                                (Box::new(boolean(true)), Box::new(rest)),
                                (Box::new(boolean(false)), Box::new(less)),
                            ],
                            else_expr: None,
                        })
                    }
                });
            }
            found.ok_or_else(|| malformed(op))
        }
    }
}

fn boolean(value: bool) -> Expr {
    Expr::Literal(ScalarValue::Boolean(Some(value)), None)
}

/// `value op ANY (array)`
fn quantified(scope: &Scope<'_>, function: &str, op: &str, value: Expr, array: Expr) -> Result<Expr> {
    let (value_of, array_of) = (scope.of(&value)?, scope.of(&array)?);
    let element = match &array_of {
        PgType::Array(element) => element.as_ref().clone(),
        // A quoted array, or a parameter.
        PgType::Unknown if value_of == PgType::Unknown => PgType::Text,
        PgType::Unknown => value_of.clone(),
        other => {
            let message = "op ANY/ALL (array) requires array on right side";
            return Err(Error::new("42809", message).detail(format!("The right side is of type {other}.")));
        }
    };
    let operation = operators::binary(op, &value_of, &element)?;
    let of = if is_comparison(op) { compared_as(&operation) } else { PgType::Text };
    let array = scope.to(array, &PgType::Array(Box::new(of.clone())))?;
    let value = scope.to(value, &of)?;
    let udf = if function == "array_any" { ebap_functions::array_any(op) } else { ebap_functions::array_all(op) };
    let udf =
        udf.ok_or_else(|| Error::unsupported(format!("{op} ANY or ALL of an array"), "Use = ANY (array), or unnest."))?;
    Ok(called(&udf, vec![value, array]))
}

/// A numeric literal has the digits that are written.
fn number(digits: &str) -> Result<Expr> {
    let value = Numeric::parse(digits).map_err(value_error)?;
    let scale = value.scale().and_then(|scale| i8::try_from(scale).ok()).filter(|scale| (0..=38).contains(scale));
    let plain = scale.and_then(|scale| Some((value.to_unscaled_i128(38, scale).ok()?, scale)));
    let value = match plain {
        Some((unscaled, scale)) => {
            let length = u8::try_from(unscaled.unsigned_abs().checked_ilog10().unwrap_or(0) + 1).unwrap_or(38);
            ScalarValue::Decimal128(Some(unscaled), length.max(u8::try_from(scale).unwrap_or(0)).max(1), scale)
        }
        None => {
            let mut bytes = Vec::new();
            value.encode(&mut bytes);
            ScalarValue::LargeBinary(Some(bytes))
        }
    };
    Ok(Expr::Literal(value, None))
}

fn interval(args: &[Expr]) -> Result<Expr> {
    let [value, fields] = args else { return Err(malformed(INTERVAL)) };
    let (Some(value), Some(fields)) = (literal_text(value), literal_text(fields)) else {
        return Err(malformed(INTERVAL));
    };
    let parsed = parse_interval_fields(value, Some(fields).filter(|fields| !fields.is_empty()));
    let Interval { months, days, micros } = parsed.map_err(value_error)?;
    let nanos = micros.checked_mul(1_000).ok_or_else(|| Error::new("22008", "interval out of range"))?;
    let value = IntervalMonthDayNano::new(months, days, nanos);
    Ok(literal(ScalarValue::IntervalMonthDayNano(Some(value)), &PgType::Interval))
}

/// `ARRAY[a, b]`
fn array(scope: &Scope<'_>, args: Vec<Expr>) -> Result<Expr> {
    let types = scope.types(&args)?;
    let of = common_type(&types).ok_or_else(|| mismatch("ARRAY", &types))?;
    let elements = scope.unified(args, &of)?;
    let item = elements.first().map(|element| scope.field(element)).transpose()?;
    let item = item.map_or_else(|| arrow_type(&of), |field| field.data_type().clone());
    Ok(called(&ebap_functions::array_udf(&of, &item), elements))
}

fn similar(scope: &Scope<'_>, mut args: Vec<Expr>) -> Result<Expr> {
    if args.len() < 2 {
        return Err(malformed(SIMILAR));
    }
    let text = scope.to(args.remove(0), &PgType::Text)?;
    let pattern = library(scope, "similar_to_regex", args)?;
    library(scope, "regexp_like", vec![text, pattern])
}

/// All arguments as values of their common type.
fn alike(scope: &Scope<'_>, what: &str, args: Vec<Expr>) -> Result<Vec<Expr>> {
    let types = scope.types(&args)?;
    let of = common_type(&types).ok_or_else(|| mismatch(what, &types))?;
    scope.unified(args, &of)
}

fn nullif(scope: &Scope<'_>, mut args: Vec<Expr>) -> Result<Expr> {
    let (Some(other), Some(value), true) = (args.pop(), args.pop(), args.is_empty()) else {
        return Err(Error::new("42601", "NULLIF takes two arguments"));
    };
    // The value has the type in which it is compared.
    let of = match (scope.of(&value)?, scope.of(&other)?) {
        (PgType::Unknown, PgType::Unknown) => PgType::Text,
        (left, right) => operators::binary("=", &left, &right)?.left,
    };
    let value = scope.to(value, &of)?;
    let of = scope.field(&value)?;
    let value_of = ebap_functions::pg_type(&of);
    let operation = operators::binary("=", &value_of, &scope.of(&other)?)?;
    if operation.left == value_of && operation.right == value_of && !is_simple(&value) {
        let other = scope.to(other, &value_of)?;
        return Ok(called(&ebap_functions::nullif_udf(&value_of), vec![value, other]));
    }
    let nothing = ScalarValue::try_from(of.data_type()).map_err(|error| from_datafusion(error, ""))?;
    let same = binary(scope, "=", copied(&value)?, other)?;
    let case = Expr::Case(Case {
        expr: None,
        when_then_expr: vec![(Box::new(same), Box::new(literal(nothing, &value_of)))],
        else_expr: Some(Box::new(value)),
    });
    Ok(scope.marked(case, Some(&value_of)))
}

/// The name of the type; a literal that has none yet is `unknown`.
fn type_of(scope: &Scope<'_>, args: &[Expr]) -> Result<Expr> {
    let [arg] = args else { return Err(no_function(scope, "pg_typeof", args)?) };
    if let Expr::Placeholder(Placeholder { id, field: None }) = arg {
        return Err(Error::new("42P18", format!("could not determine data type of parameter {id}")));
    }
    let name = scope.of(arg)?.to_string();
    let name = Expr::Literal(ScalarValue::Utf8(Some(name)), None);
    scope.cast(name, &Target { of: PgType::Text, typmod: None }, CastContext::Explicit)
}

fn no_function(scope: &Scope<'_>, name: &str, args: &[Expr]) -> Result<Error> {
    let types: Vec<String> = scope.types(args)?.iter().map(ToString::to_string).collect();
    Ok(Error::new("42883", format!("function {name}({}) does not exist", types.join(", ")))
        .hint("No function matches the given name and argument types. You might need to add explicit type casts."))
}

fn place(arg: &Arg) -> Place {
    match arg {
        Arg::Of(of) => Place::Of(of.clone()),
        Arg::Any | Arg::AnyElement => Place::Any,
        Arg::AnyArray => Place::AnyArray,
    }
}

/// The places of an overload for this many arguments; `None` where it takes another number.
fn places(overload: &Overload, count: usize) -> Option<Vec<Place>> {
    let fixed = overload.args.iter().map(place);
    match &overload.variadic {
        None => (overload.args.len() == count).then(|| fixed.collect()),
        Some(more) => {
            let rest = count.checked_sub(overload.args.len()).filter(|rest| *rest > 0)?;
            Some(fixed.chain(std::iter::repeat_n(place(more), rest)).collect())
        }
    }
}

/// The overload that is meant, with the types that its arguments are brought to.
fn overload<'a>(function: &'a Function, given: &[PgType]) -> std::result::Result<(&'a Overload, Vec<Place>), NoChoice> {
    let fitting = function.overloads.iter().filter_map(|overload| Some((overload, places(overload, given.len())?)));
    let (overloads, candidates): (Vec<&Overload>, Vec<Vec<Place>>) = fitting.unzip();
    let at = choose(&candidates, given)?;
    Ok((overloads[at], candidates[at].clone()))
}

/// Functions whose arrays and elements are texts where all of them are quoted literals: those of PostgreSQL's
/// `anycompatiblearray`.
const OF_TEXTS: [&str; 7] = [
    "array_append",
    "array_cat",
    "array_position",
    "array_positions",
    "array_prepend",
    "array_remove",
    "array_replace",
];

/// The type of elements that the arrays among the arguments and the elements beside them have in common.
fn element_of(overload: &Overload, given: &[PgType]) -> Option<PgType> {
    let types: Vec<PgType> = overload
        .args
        .iter()
        .zip(given)
        .filter_map(|(arg, of)| match (arg, of) {
            (Arg::AnyArray, PgType::Array(element)) => Some(element.as_ref().clone()),
            (Arg::AnyElement, of) if *of != PgType::Unknown => Some(of.clone()),
            _ => None,
        })
        .collect();
    let first = types.first()?.clone();
    Some(common_type(&types).unwrap_or(first))
}

fn returned(overload: &Overload, given: &[PgType]) -> PgType {
    let argument = |at: &usize| given.get(*at).cloned().unwrap_or(PgType::Unknown);
    match &overload.returns {
        Returns::Of(of) => of.clone(),
        Returns::SameAsArg(at) => argument(at),
        Returns::ElementOf(at) => match argument(at) {
            PgType::Array(element) => *element,
            other => other,
        },
        Returns::ArrayOf(at) => PgType::Array(Box::new(argument(at))),
    }
}

/// A function by its name and the types of its arguments.
pub(super) fn library(scope: &Scope<'_>, name: &str, args: Vec<Expr>) -> Result<Expr> {
    let given = scope.types(&args)?;
    // Columns declared as JSON are jsonb.
    let of_jsonb = name.strip_prefix("json ").filter(|_| given.first() == Some(&PgType::Jsonb));
    let of_jsonb = of_jsonb.map(|rest| format!("jsonb {rest}"));
    let name = of_jsonb.as_deref().unwrap_or(name);
    let signature = || {
        let types: Vec<String> = given.iter().map(ToString::to_string).collect();
        format!("{name}({})", types.join(", "))
    };
    let unknown = || {
        Error::new("42883", format!("function {} does not exist", signature()))
            .hint("No function matches the given name and argument types. You might need to add explicit type casts.")
    };
    let (overload, places) = overload(function(name).ok_or_else(unknown)?, &given).map_err(|why| match why {
        NoChoice::None => unknown(),
        NoChoice::Ambiguous => Error::new("42725", format!("function {} is not unique", signature()))
            .hint("Could not choose a best candidate function. You might need to add explicit type casts."),
    })?;
    let element = element_of(overload, &given).or_else(|| OF_TEXTS.contains(&name).then_some(PgType::Text));
    let is_element = |at: usize| matches!(overload.args.get(at), Some(Arg::AnyElement));
    let args = args.into_iter().zip(&places).enumerate().map(|(at, (arg, place))| match (place, &element) {
        (Place::Of(of), _) => scope.to(arg, of),
        (Place::AnyArray, Some(element)) => scope.to(arg, &PgType::Array(Box::new(element.clone()))),
        (Place::Any, Some(element)) if is_element(at) => scope.to(arg, element),
        (Place::AnyArray | Place::Any, _) if is_unknown(&arg) => scope.to(arg, &PgType::Text),
        (Place::AnyArray | Place::Any, _) => Ok(arg),
    });
    Ok(called(&overload.udf, args.collect::<Result<Vec<_>>>()?))
}
