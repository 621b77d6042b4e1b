//! Functions that give rows: those that are a list of values become `unnest` of it, in the select list and in `FROM`.

use datafusion::sql::sqlparser::{
    ast::{
        ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
        FunctionArguments, Ident, ObjectName, Query, SelectItem, SetExpr, TableAlias, TableAliasColumnDef, TableFactor,
        TableWithJoins, UnaryOperator, Value,
    },
    parser::Parser,
};

use crate::{
    Error, Result,
    parser::{Postgres, call},
};

/// What PostgreSQL calls the function, and the one that gives the list.
const LISTS: [(&str, &str); 9] = [
    ("generate_series", "generate series"),
    ("regexp_split_to_table", "regexp_split_to_array"),
    ("string_to_table", "string_to_array"),
    ("jsonb_array_elements", "jsonb elements"),
    ("jsonb_array_elements_text", "jsonb elements text"),
    ("json_array_elements", "json elements"),
    ("json_array_elements_text", "json elements text"),
    ("jsonb_object_keys", "jsonb keys"),
    ("json_object_keys", "json keys"),
];

/// Functions that give keys and values, with the lists of both.
const PAIRS: [(&str, &str, &str); 4] = [
    ("jsonb_each", "jsonb keys", "jsonb values"),
    ("jsonb_each_text", "jsonb keys", "jsonb values text"),
    ("json_each", "json keys", "json values"),
    ("json_each_text", "json keys", "json values text"),
];

/// Functions whose columns the alias declares: of one object, and of each object of a list.
const RECORDS: [(&str, Option<&str>); 4] = [
    ("json_to_record", None),
    ("jsonb_to_record", None),
    ("json_to_recordset", Some("json elements")),
    ("jsonb_to_recordset", Some("jsonb elements")),
];

/// The other functions that give rows.
const REFUSED: [&str; 6] = [
    "json_populate_record",
    "jsonb_populate_record",
    "json_populate_recordset",
    "jsonb_populate_recordset",
    "jsonb_path_query",
    "json_table",
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
    let FunctionArguments::List(args) = &function.args else { return Ok(None) };
    if PAIRS.iter().any(|(own, ..)| *own == name) || RECORDS.iter().any(|(own, _)| *own == name) {
        let hint = "Call it in FROM.";
        return Err(Error::unsupported(
            format!("the function {name}, which gives several columns, in an expression"),
            hint,
        ));
    }
    let list = list(&name, unnamed(&args.args));
    let rows = list.map(|list| call("unnest", vec![list]));
    Ok(if name == MATCHES { rows.map(|rows| cast(rows, texts())) } else { rows })
}

/// Its rows are arrays, which stand in the list as texts.
const MATCHES: &str = "regexp_matches";

/// The list that the function makes rows of.
fn list(name: &str, mut args: Vec<Expr>) -> Option<Expr> {
    if name == MATCHES {
        return Some(call("regexp matches", args));
    }
    // Without its third argument: `reverse`.
    if name == "generate_subscripts" && args.len() == 2 {
        let upper = call("array_upper", std::mem::take(&mut args));
        return Some(call("generate series", vec![number(1), upper]));
    }
    list_of(name).map(|list| call(list, args))
}

fn number(value: i64) -> Expr {
    Expr::Value(Value::Number(value.to_string(), false).into())
}

fn texts() -> DataType {
    DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None))
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
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
    let (name, args, alias, numbered) = match factor {
        TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. } => {
            (name, &args.args, alias, *with_ordinality)
        }
        TableFactor::Function { name, args, alias, with_ordinality, .. } => (name, args, alias, *with_ordinality),
        TableFactor::UNNEST { array_exprs, alias, with_ordinality: true, .. } => {
            return numbered_lists(array_exprs.clone(), alias.clone().unwrap_or_else(|| alias_of("unnest"))).map(Some);
        }
        _ => return Ok(None),
    };
    let Some(name) = name_of(name) else { return Ok(None) };
    if REFUSED.contains(&name.as_str()) {
        return Err(refused(&name));
    }
    let args = unnamed(args);
    if let Some((_, list)) = RECORDS.iter().find(|(own, _)| *own == name) {
        return records(&name, *list, args, alias.as_ref()).map(Some);
    }
    let pair = PAIRS.iter().find(|(own, ..)| *own == name);
    let lists = match pair {
        Some((_, keys, values)) => vec![call(keys, args.clone()), call(values, args.clone())],
        None => list(&name, args.clone()).into_iter().collect(),
    };
    if lists.is_empty() {
        return Ok(None);
    }
    let mut alias = alias.clone().unwrap_or_else(|| alias_of(&name));
    let own = match pair {
        Some(_) => vec!["key", "value"],
        None if alias.name.value == name && name.contains("_array_elements") => vec!["value"],
        None => vec![],
    };
    let mut names: Vec<Ident> = own.into_iter().map(|name| Ident::with_quote('"', name)).collect();
    if names.is_empty() {
        names.push(alias.name.clone());
    }
    let missing = names.into_iter().skip(alias.columns.len());
    alias.columns.extend(missing.map(|name| TableAliasColumnDef { name, data_type: None }));
    if numbered {
        return numbered_lists(lists, alias).map(Some);
    }
    if name == "generate_series"
        && let Some(query) = of_literals(&args)
    {
        let alias = Some(alias);
        return Ok(Some(TableFactor::Derived { lateral: false, subquery: Box::new(query), alias, sample: None }));
    }
    let rows = rows_of(lists, alias);
    Ok(Some(if name == MATCHES { arrays(rows) } else { rows }))
}

fn rows_of(array_exprs: Vec<Expr>, alias: TableAlias) -> TableFactor {
    TableFactor::UNNEST {
        alias: Some(alias),
        array_exprs,
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    }
}

/// `WITH ORDINALITY`: a list of numbers beside the others.
fn numbered_lists(mut lists: Vec<Expr>, mut alias: TableAlias) -> Result<TableFactor> {
    let [one] = &lists[..] else {
        let hint = "Number the rows of one list, or of unnest of several without WITH ORDINALITY by row_number().";
        return Err(Error::unsupported("WITH ORDINALITY of several lists", hint));
    };
    let count = cast(call("cardinality", vec![one.clone()]), DataType::BigInt(None));
    lists.push(call("generate series", vec![cast(number(1), DataType::BigInt(None)), count]));
    if alias.columns.is_empty() {
        alias.columns.push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
    }
    if alias.columns.len() == 1 {
        alias.columns.push(TableAliasColumnDef { name: Ident::with_quote('"', "ordinality"), data_type: None });
    }
    Ok(rows_of(lists, alias))
}

/// The texts of arrays as arrays.
fn arrays(rows: TableFactor) -> TableFactor {
    let TableFactor::UNNEST { alias: Some(alias), .. } = &rows else { return rows };
    let alias = alias.clone();
    let Some(column) = alias.columns.first().map(|column| column.name.clone()) else { return rows };
    let Some(mut query) = parsed("SELECT CAST(x AS TEXT[]) AS y FROM (SELECT 1) AS z") else { return rows };
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection =
            vec![SelectItem::ExprWithAlias { expr: cast(Expr::Identifier(column.clone()), texts()), alias: column }];
        select.from = vec![TableWithJoins { relation: rows, joins: Vec::new() }];
    }
    TableFactor::Derived { lateral: false, subquery: Box::new(query), alias: Some(alias), sample: None }
}

/// `json_to_recordset(list) AS t(a INT, b TEXT)`: each column is the member of its name, cast to its type.
fn records(name: &str, list: Option<&str>, args: Vec<Expr>, alias: Option<&TableAlias>) -> Result<TableFactor> {
    let typed = alias
        .filter(|alias| !alias.columns.is_empty() && alias.columns.iter().all(|column| column.data_type.is_some()));
    let Some(alias) = typed else {
        let message = "a column definition list is required for functions returning \"record\"";
        return Err(Error::syntax(message));
    };
    let (Some(query), [of]) = (parsed("SELECT 1 FROM (SELECT 1) AS z"), &args[..]) else {
        return Err(Error::new("42883", format!("function {name} takes one argument")));
    };
    let element = || match list {
        Some(_) => Expr::Identifier(Ident::with_quote('"', ELEMENT)),
        None => {
            let of_type = if name.starts_with("jsonb") { DataType::JSONB } else { DataType::JSON };
            Expr::Nested(Box::new(cast(of.clone(), of_type)))
        }
    };
    let mut query = query;
    if let SetExpr::Select(select) = query.body.as_mut() {
        let columns = alias.columns.iter().filter_map(|column| {
            let member = Expr::Value(Value::SingleQuotedString(column.name.value.clone()).into());
            let value =
                Expr::BinaryOp { left: Box::new(element()), op: BinaryOperator::LongArrow, right: Box::new(member) };
            let expr = cast(Expr::Nested(Box::new(value)), column.data_type.clone()?);
            Some(SelectItem::ExprWithAlias { expr, alias: column.name.clone() })
        });
        select.projection = columns.collect();
        select.from = match list {
            Some(list) => {
                let mut of_elements = alias_of(ELEMENT);
                of_elements.columns =
                    vec![TableAliasColumnDef { name: Ident::with_quote('"', ELEMENT), data_type: None }];
                let relation = rows_of(vec![call(list, args.clone())], of_elements);
                vec![TableWithJoins { relation, joins: Vec::new() }]
            }
            None => Vec::new(),
        };
    }
    let mut alias = alias.clone();
    alias.columns.iter_mut().for_each(|column| column.data_type = None);
    Ok(TableFactor::Derived { lateral: false, subquery: Box::new(query), alias: Some(alias), sample: None })
}

/// A name that no column of a user has.
const ELEMENT: &str = "?element?";

fn parsed(text: &str) -> Option<Query> {
    Parser::new(&Postgres).try_with_sql(text).ok()?.parse_query().ok().map(|query| *query)
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
    parsed(&text)
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
