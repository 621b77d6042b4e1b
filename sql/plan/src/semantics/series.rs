//! Functions that give rows: those that are a list of values become `unnest` of it, in the select list and in `FROM`.

use datafusion::sql::sqlparser::{
    ast::{
        DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query,
        TableAlias, TableAliasColumnDef, TableFactor, UnaryOperator, Value,
    },
    parser::Parser,
};

use crate::{
    Error, Result,
    parser::{Postgres, call},
};

/// What PostgreSQL calls the function, and the one that gives the list.
const LISTS: [(&str, &str); 7] = [
    ("generate_series", "generate series"),
    ("regexp_split_to_table", "regexp_split_to_array"),
    ("string_to_table", "string_to_array"),
    ("jsonb_array_elements", "jsonb elements"),
    ("jsonb_array_elements_text", "jsonb elements text"),
    ("jsonb_object_keys", "jsonb keys"),
    ("json_object_keys", "json keys"),
];

/// Functions that give rows of several columns, or of arrays.
const REFUSED: [&str; 17] = [
    "json_array_elements",
    "json_array_elements_text",
    "json_each",
    "json_each_text",
    "jsonb_each",
    "jsonb_each_text",
    "json_to_record",
    "json_to_recordset",
    "jsonb_to_record",
    "jsonb_to_recordset",
    "json_populate_record",
    "jsonb_populate_record",
    "json_populate_recordset",
    "jsonb_populate_recordset",
    "jsonb_path_query",
    "regexp_matches",
    "generate_subscripts",
];

fn name_of(name: &ObjectName) -> Option<String> {
    let parts: Option<Vec<&Ident>> = name.0.iter().map(|part| part.as_ident()).collect();
    let folded =
        |ident: &Ident| if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
    match &parts?[..] {
        [name] => Some(folded(name)),
        [schema, name] if folded(schema) == "pg_catalog" => Some(folded(name)),
        _ => None,
    }
}

fn list_of(name: &str) -> Option<&'static str> {
    LISTS.iter().find(|(own, _)| *own == name).map(|(_, list)| *list)
}

fn refused(name: &str) -> Error {
    Error::unsupported(format!("the set-returning function {name}"), "unnest(array) makes a row of each element.")
}

/// A call in an expression.
///
/// # Errors
/// 0A000 for one whose rows are no single values.
pub(super) fn in_expression(function: &Function) -> Result<Option<Expr>> {
    let Some(name) = name_of(&function.name) else { return Ok(None) };
    if REFUSED.contains(&name.as_str()) {
        return Err(refused(&name));
    }
    let (Some(list), FunctionArguments::List(args)) = (list_of(&name), &function.args) else { return Ok(None) };
    Ok(Some(call("unnest", vec![call(list, unnamed(&args.args))])))
}

fn unnamed(args: &[FunctionArg]) -> Vec<Expr> {
    let one = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    args.iter().filter_map(one).collect()
}

/// A call in `FROM`. A series of integer literals is DataFusion's, which keeps no list of it.
///
/// # Errors
/// As `in_expression`.
pub(super) fn in_from(factor: &TableFactor) -> Result<Option<TableFactor>> {
    let (name, args, alias) = match factor {
        TableFactor::Table { name, args: Some(args), alias, .. } => (name, &args.args, alias),
        TableFactor::Function { name, args, alias, .. } => (name, args, alias),
        _ => return Ok(None),
    };
    let Some(name) = name_of(name) else { return Ok(None) };
    if REFUSED.contains(&name.as_str()) {
        return Err(refused(&name));
    }
    let Some(list) = list_of(&name) else { return Ok(None) };
    let args = unnamed(args);
    let mut alias = alias.clone().unwrap_or_else(|| alias_of(&name));
    if alias.columns.is_empty() {
        alias.columns.push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
    }
    let alias = Some(alias);
    if name == "generate_series"
        && let Some(query) = of_literals(&args)
    {
        return Ok(Some(TableFactor::Derived { lateral: false, subquery: Box::new(query), alias, sample: None }));
    }
    Ok(Some(TableFactor::UNNEST {
        alias,
        array_exprs: vec![call(list, args)],
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    }))
}

/// The column of a function is called as the function.
fn alias_of(name: &str) -> TableAlias {
    TableAlias { explicit: true, name: Ident::with_quote('"', name), columns: Vec::new(), at: None }
}

/// `SELECT CAST(value AS INTEGER) FROM range(1, 4)`; None where an argument is no integer literal.
fn of_literals(args: &[Expr]) -> Option<Query> {
    let numbers = args.iter().map(integer).collect::<Option<Vec<i64>>>()?;
    if !(2..=3).contains(&numbers.len()) || numbers.get(2) == Some(&0) {
        return None;
    }
    let small = numbers.iter().all(|number| i32::try_from(*number).is_ok());
    let of = if small { DataType::Integer(None) } else { DataType::BigInt(None) };
    let step = numbers.get(2).copied().unwrap_or(1);
    // A range ends before its second number.
    let end = numbers[1].checked_add(step.signum())?;
    let text = format!("SELECT CAST(value AS {of}) AS generate_series FROM range({}, {end}, {step})", numbers[0]);
    let mut parser = Parser::new(&Postgres).try_with_sql(&text).ok()?;
    parser.parse_query().ok().map(|query| *query)
}

fn integer(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Nested(inner) => integer(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => integer(expr)?.checked_neg(),
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}
