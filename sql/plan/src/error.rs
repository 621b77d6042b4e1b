//! An error as PostgreSQL reports one: SQLSTATE, message, detail, hint, position.

use std::fmt;

use arrow::{datatypes::DataType, error::ArrowError};
use datafusion::{
    common::{Column, DataFusionError, Diagnostic, SchemaError},
    sql::sqlparser::parser::ParserError,
};
use ebap_catalog::ObjectKind;
use ebap_values::ValueError;

use crate::names::nearest;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub sqlstate: &'static str,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// Character in the statement's text, counted from 1.
    pub position: Option<usize>,
}

impl Error {
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), detail: None, hint: None, position: None }
    }

    pub(crate) fn syntax(message: impl Into<String>) -> Self {
        Self::new("42601", message)
    }

    /// Valid SQL that is not streamed: names the construct and the nearest supported form.
    pub(crate) fn unsupported(construct: impl fmt::Display, nearest: impl Into<String>) -> Self {
        Self::new("0A000", format!("{construct} is not supported")).hint(nearest)
    }

    pub(crate) fn option(name: &str, message: impl fmt::Display) -> Self {
        Self::new("22023", format!("option \"{name}\": {message}"))
    }

    pub(crate) fn unknown_relation(name: &str) -> Self {
        Self::new("42P01", format!("relation \"{name}\" does not exist"))
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub(crate) fn at(mut self, position: usize) -> Self {
        self.position.get_or_insert(position);
        self
    }

    pub fn sqlstate(&self) -> &'static str {
        self.sqlstate
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<ebap_catalog::Error> for Error {
    fn from(error: ebap_catalog::Error) -> Self {
        use ebap_catalog::Error as Catalog;
        let code = match &error {
            Catalog::Exists { kind, .. } if kind.is_relation() => "42P07",
            Catalog::Exists { kind: ObjectKind::Function, .. } => "42723",
            Catalog::Exists { .. } => "42710",
            Catalog::Unknown { kind, .. } if kind.is_relation() => "42P01",
            Catalog::Unknown { kind: ObjectKind::Function, .. } => "42883",
            Catalog::Unknown { .. } => "42704",
            Catalog::DependedOn { .. } => "2BP01",
            Catalog::Conflict { .. } => "40001",
            Catalog::Store(_) => "58030",
            Catalog::Unreadable { .. } => "XX001",
        };
        let mapped = Self::new(code, error.to_string());
        match error {
            Catalog::DependedOn { kind, name, dependents } => mapped
                .detail(
                    dependents
                        .iter()
                        .map(|other| format!("{other} depends on {kind} {name}"))
                        .collect::<Vec<_>>()
                        .join("\n"),
                )
                .hint("Use DROP ... CASCADE to drop the dependent objects too."),
            Catalog::Conflict { .. } => mapped.hint("Run the statement again."),
            _ => mapped,
        }
    }
}

/// What DataFusion says, as PostgreSQL would say it. `text` is the statement, for positions.
pub fn from_datafusion(error: DataFusionError, text: &str) -> Error {
    let diagnostic = error.diagnostic().cloned();
    let mut mapped = map(&error, text);
    if mapped.position.is_none() {
        mapped.position = diagnostic.as_ref().and_then(|diagnostic| diagnostic_position(diagnostic, text));
    }
    mapped
}

fn map(error: &DataFusionError, text: &str) -> Error {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => map(inner, text),
        DataFusionError::Shared(inner) => map(inner, text),
        DataFusionError::Collection(all) => match all.first() {
            Some(first) => map(first, text),
            None => Error::new("XX000", "no error was given"),
        },
        DataFusionError::SQL(parser, _) => from_parser(parser, text),
        DataFusionError::SchemaError(schema, _) => from_schema(schema, text),
        DataFusionError::Plan(message) => from_plan_message(message, text),
        DataFusionError::NotImplemented(message) => not_implemented(message),
        DataFusionError::ArrowError(arrow, _) => from_arrow(arrow, text),
        DataFusionError::ResourcesExhausted(message) => Error::new("53200", "out of memory")
            .detail(message.clone())
            .hint("Select fewer rows, or raise query_memory_max."),
        DataFusionError::Execution(message) => from_execution(message),
        DataFusionError::Configuration(message) => Error::new("22023", lower_first(message)),
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(own) => own.clone(),
            None => match inner.downcast_ref::<ValueError>() {
                Some(of_value) => Error::new(of_value.sqlstate, of_value.message.clone()),
                None => Error::new("58000", inner.to_string()),
            },
        },
        DataFusionError::Internal(message) if from_call(message, text).is_some() => {
            from_call(message, text).unwrap_or_else(|| Error::new("42883", lower_first(message)))
        }
        // It adds the column to what a list is taken apart into, and finds no place for it.
        DataFusionError::Internal(message) if message.contains("expr.is_empty(): Unnest") => Error::unsupported(
            "ORDER BY a column that is not selected, beside a set-returning function",
            "Select the column too, or order in a query around.",
        ),
        other => Error::new("XX000", other.strip_backtrace()),
    }
}

pub(crate) fn from_parser(error: &ParserError, text: &str) -> Error {
    let raw = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message.as_str(),
        ParserError::RecursionLimitExceeded => return Error::new("54001", "the statement is nested too deeply"),
    };
    let (message, position) = match raw.rfind(" at Line: ") {
        None => (raw, None),
        Some(at) => {
            let numbers: Vec<usize> =
                raw[at..].split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
            (
                &raw[..at],
                numbers.first().zip(numbers.get(1)).and_then(|(line, column)| position_of(text, *line, *column)),
            )
        }
    };
    let found = message.split("found: ").nth(1).map(str::trim);
    let mut mapped = match found {
        Some("EOF") => Error::syntax("syntax error at end of input"),
        Some(found) => Error::syntax(format!("syntax error at or near \"{found}\"")),
        None => Error::syntax(format!("syntax error: {}", lower_first(message))),
    };
    if found.is_some() {
        mapped = mapped.detail(format!("{}.", message.trim_end_matches('.')));
    }
    mapped.position = position.or_else(|| (found == Some("EOF")).then(|| text.chars().count() + 1));
    mapped
}

/// Columns that every table of PostgreSQL has.
const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "tableoid", "xmin", "xmax", "cmin", "cmax"];

fn from_schema(error: &SchemaError, text: &str) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let name = &field.name;
            // DataFusion makes a join of a sub-query and looks for a column that the sub-query does not give.
            if field.relation.as_ref().is_some_and(|relation| relation.table().starts_with("__correlated_sq")) {
                let what = "this form of a sub-query over columns of the query around it";
                return Error::unsupported(what, "Write EXISTS (SELECT ... WHERE ...) with all conditions in WHERE.");
            }
            if let Some(relation) = &field.relation
                && !valid_fields
                    .iter()
                    .any(|valid| valid.relation.as_ref().is_some_and(|of| of.table() == relation.table()))
                && let Some(at) = only_qualifies(text, relation.table())
            {
                return missing_relation(relation.table(), Some(at));
            }
            if field.relation.is_none() {
                let is_relation = |valid: &Column| valid.relation.as_ref().is_some_and(|of| of.table() == name);
                if valid_fields.iter().any(is_relation) {
                    let what = format!("a row of \"{name}\" as a value");
                    return Error::unsupported(what, "Name its columns; ROW(a, b) makes a row of them.");
                }
                if SYSTEM_COLUMNS.contains(&name.as_str()) {
                    return Error::unsupported(format!("the column {name}"), "A key of your own tells rows apart.");
                }
            }
            let shown = match &field.relation {
                Some(relation) => format!("{}.{name}", relation.table()),
                None => format!("\"{name}\""),
            };
            let mut mapped = Error::new("42703", format!("column {shown} does not exist"));
            mapped.position = find_word(text, name);
            match nearest(name, valid_fields.iter().map(|valid| valid.name.as_str())) {
                Some(other) => mapped.hint(format!("Perhaps you meant to reference the column \"{other}\".")),
                None => mapped,
            }
        }
        SchemaError::AmbiguousReference { field } => {
            let mut mapped = Error::new("42702", format!("column reference \"{}\" is ambiguous", field.name));
            mapped.position = find_word(text, &field.name);
            mapped
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            Error::new("42701", format!("column \"{name}\" specified more than once"))
        }
    }
}

fn from_plan_message(message: &str, text: &str) -> Error {
    let message = message.strip_prefix("Error during planning: ").unwrap_or(message);
    if let Some(rest) = message.strip_prefix("table '")
        && let Some(name) = rest.split('\'').next()
    {
        let short = name.rsplit('.').next().unwrap_or(name);
        // Names without a schema are looked for along the search path.
        let bare = name.strip_prefix("ebap.$search_path.").or(name.strip_prefix("ebap.public."));
        let shown = bare.or(name.strip_prefix("ebap.")).unwrap_or(name).to_owned();
        let mut mapped = Error::unknown_relation(&shown);
        mapped.position = find_word(text, short);
        return mapped;
    }
    if let Some(rest) = message.strip_prefix("Invalid function '") {
        let name = rest.split('\'').next().unwrap_or(rest);
        let mut mapped = Error::new("42883", format!("function {name} does not exist"));
        mapped.position = find_word(text, name);
        if let Some((_, other)) = rest.split_once("Did you mean '") {
            mapped = mapped.hint(format!("Perhaps you meant \"{}\".", other.trim_end_matches(['?', '.', '\'', '\n'])));
        }
        return mapped;
    }
    if let Some(name) = message.strip_prefix("Invalid qualifier ") {
        let name = name.lines().next().unwrap_or(name);
        return missing_relation(name, find_word(text, name));
    }
    if let Some(mapped) = from_call(message, text) {
        return mapped;
    }
    if let Some((_, of)) =
        message.split_once("non-boolean predicate '").and_then(|(_, rest)| rest.rsplit_once("' returning "))
        && let Ok(of) = of.trim().parse::<DataType>()
    {
        let of = ebap_functions::pg_type_of(&of);
        return Error::new("42804", format!("argument of WHERE must be type boolean, not type {of}"));
    }
    if message.starts_with("Invalid placeholder") {
        return Error::new("42P02", "there is no such parameter").hint("Parameters are numbered from $1.");
    }
    if message.starts_with("Projections require unique expression names")
        && let Some(expr) = message.split('"').nth(1)
    {
        let name = expr.rsplit('.').next().unwrap_or(expr);
        let error = Error::new("42701", format!("column \"{name}\" specified more than once"));
        return error.hint("Give each column its own name with AS.");
    }
    let lower = message.to_lowercase();
    let code = if lower.contains("must appear in the group by")
        || lower.contains("could not be resolved from available columns")
    {
        "42803"
    } else if lower.contains("coerc")
        || lower.contains("non-boolean")
        || lower.contains("cannot cast")
        || lower.contains("incompatible")
        || lower.contains("type")
    {
        "42804"
    } else if lower.contains("not supported") || lower.contains("unsupported") {
        "0A000"
    } else {
        "42601"
    };
    Error::new(code, lower_first(message))
}

/// What DataFusion cannot do, without the names of its nodes.
fn not_implemented(message: &str) -> Error {
    let nodes = ["ast node", "logical expression", "JOIN operator"];
    match nodes.iter().any(|node| message.contains(node)) {
        true => Error::unsupported("this form of a query", "Write it as a join of relations that have names."),
        false => Error::new("0A000", lower_first(message)),
    }
}

/// A call with arguments that the function does not take.
fn from_call(message: &str, text: &str) -> Option<Error> {
    let lower = message.to_lowercase();
    let is_call = ["no function matches", "failed to coerce arguments", "failed to match any signature"];
    if !is_call.iter().any(|part| lower.contains(part)) {
        return None;
    }
    // `… argument types 'name(Type, Type)'. …`, or only `Function 'name' failed …, but received Type`.
    let call = message.split("argument types '").nth(1).and_then(|rest| rest.split("'. ").next());
    let (name, types) = match call.and_then(|call| call.strip_suffix(')')?.split_once('(')) {
        Some((name, types)) => (name, Some(types)),
        None => (message.split('\'').nth(1)?, None),
    };
    let types: Option<Vec<String>> = types.map(|types| types.split(", ").map(postgres_type).collect());
    let types = types.unwrap_or_else(|| {
        let received = message.split("(DataType: ").nth(1).and_then(|rest| rest.split(')').next());
        received.map(postgres_type).into_iter().collect()
    });
    let mapped = Error::new("42883", format!("function {name}({}) does not exist", types.join(", ")));
    let mut mapped = mapped
        .hint("No function matches the given name and argument types. You might need to add explicit type casts.");
    mapped.position = find_word(text, name);
    Some(mapped)
}

/// PostgreSQL's name of a type that a message names as Arrow does.
pub(crate) fn postgres_type(arrow: &str) -> String {
    match arrow.trim() {
        "Null" => "unknown",
        "Boolean" => "boolean",
        "Int8" | "Int16" | "UInt8" => "smallint",
        "Int32" | "UInt16" => "integer",
        "Int64" | "UInt32" => "bigint",
        "Float32" => "real",
        "Float64" => "double precision",
        "Utf8" | "LargeUtf8" | "Utf8View" => "text",
        "Binary" | "BinaryView" => "bytea",
        // Numbers that each have digits of their own.
        "LargeBinary" => "numeric",
        "Date32" | "Date64" => "date",
        other if other.starts_with("Decimal") || other == "UInt64" => "numeric",
        other if other.starts_with("Interval") || other.starts_with("Duration") => "interval",
        other if other.starts_with("Timestamp") && other.contains('"') => "timestamp with time zone",
        other if other.starts_with("Timestamp") => "timestamp without time zone",
        other => return other.to_lowercase(),
    }
    .to_owned()
}

/// `Cannot cast string 'x' to value of Int32 type`, with the place of the literal.
fn from_cast(message: &str, text: &str) -> Option<Error> {
    let (value, of) = message.strip_prefix("Cannot cast string '")?.split_once("' to value of ")?;
    let of = postgres_type(of.strip_suffix(" type").unwrap_or(of));
    let mut mapped = Error::new("22P02", format!("invalid input syntax for type {of}: \"{value}\""));
    let literal = format!("'{}'", value.replace('\'', "''"));
    let mut places = text.match_indices(&literal);
    // Of one that stands there once; a value of a row has no place.
    if let (Some((at, _)), None) = (places.next(), places.next()) {
        mapped.position = Some(text[..at].chars().count() + 1);
    }
    Some(mapped)
}

fn from_arrow(error: &ArrowError, text: &str) -> Error {
    if let ArrowError::CastError(message) | ArrowError::ParseError(message) = error
        && let Some(mapped) = from_cast(message, text)
    {
        return mapped;
    }
    match error {
        ArrowError::DivideByZero => Error::new("22012", "division by zero"),
        ArrowError::ArithmeticOverflow(message) => Error::new("22003", lower_first(message)),
        ArrowError::CastError(message) if message.starts_with("Can't cast value") => {
            Error::new("22003", lower_first(message))
        }
        ArrowError::CastError(message) | ArrowError::ParseError(message) => Error::new("22P02", lower_first(message)),
        ArrowError::InvalidArgumentError(message) | ArrowError::ComputeError(message) => {
            Error::new("22023", lower_first(message))
        }
        ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
            Some(inner) => map(inner, text),
            None => Error::new("58000", inner.to_string()),
        },
        other => Error::new("XX000", other.to_string()),
    }
}

fn from_execution(message: &str) -> Error {
    let lower = message.to_lowercase();
    let code = if lower.contains("divide by zero") {
        "22012"
    } else if lower.contains("overflow") || lower.contains("out of range") {
        "22003"
    } else if lower.contains("pars") || lower.contains("cast") {
        "22P02"
    } else {
        "22000"
    };
    Error::new(code, lower_first(message))
}

fn diagnostic_position(diagnostic: &Diagnostic, text: &str) -> Option<usize> {
    let start = diagnostic.span?.start;
    position_of(text, usize::try_from(start.line).ok()?, usize::try_from(start.column).ok()?)
}

/// Character (from 1) of a line and column (both from 1).
pub(crate) fn position_of(text: &str, line: usize, column: usize) -> Option<usize> {
    let before: usize = text.split('\n').take(line.checked_sub(1)?).map(|line| line.chars().count() + 1).sum();
    Some(before + column)
}

/// Where the word stands in the text, outside of quotes.
pub(crate) fn find_word(text: &str, word: &str) -> Option<usize> {
    words(text, word).first().map(|(at, _)| *at)
}

/// The first place of a name that stands nowhere but before a dot.
fn only_qualifies(text: &str, name: &str) -> Option<usize> {
    let found = words(text, name);
    found.iter().all(|(_, after)| *after == Some('.')).then(|| found.first().map(|(at, _)| *at))?
}

fn missing_relation(name: &str, position: Option<usize>) -> Error {
    let mut error = Error::new("42P01", format!("missing FROM-clause entry for table \"{name}\""));
    error.position = position;
    error
}

/// The places of a word, each with the letter behind it; a quote around it is no part of it.
fn words(text: &str, word: &str) -> Vec<(usize, Option<char>)> {
    let (text_lower, word) = (text.to_lowercase(), word.to_lowercase());
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$');
    let mut found = Vec::new();
    // Letters are counted once, as a text may be long and the word short.
    let (mut from, mut counted, mut letters) = (0, 0, 0);
    while let Some(at) = text_lower[from..].find(&word).map(|at| at + from) {
        let (before, rest) = (text_lower[..at].chars().next_back(), &text_lower[at + word.len()..]);
        if !word.is_empty() && !is_word(before) && !is_word(rest.chars().next()) && before != Some('\'') {
            let after = rest.strip_prefix('"').unwrap_or(rest).chars().next();
            letters += text_lower[counted..at].chars().count();
            counted = at;
            found.push((letters + 1, after));
        }
        from = at + word.len().max(1);
        if from >= text_lower.len() {
            break;
        }
    }
    found
}

fn lower_first(message: &str) -> String {
    let message = message.lines().next().unwrap_or(message).trim_end_matches('.');
    let mut letters = message.chars();
    match letters.next() {
        // Leaves words that are all capitals (SUM, UTF8) as they are.
        Some(first) if letters.clone().next().is_none_or(|second| !second.is_uppercase()) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => message.to_owned(),
    }
}

pub(crate) fn unknown(kind: ObjectKind, name: &str) -> Error {
    ebap_catalog::Error::Unknown { kind, name: name.to_owned() }.into()
}
