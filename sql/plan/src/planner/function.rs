//! `CREATE FUNCTION`: planned over a row of its arguments, so that what is wrong with it shows now and not in
//! the first query that calls it.

use std::{ops::ControlFlow, sync::Arc};

use arrow::datatypes::{Field, Schema};
use datafusion::{
    execution::runtime_env::RuntimeEnv,
    logical_expr::LogicalPlan,
    sql::sqlparser::{
        ast::{self, Expr, Ident, Query, SelectItem, SetExpr, Visit, Visitor},
        parser::Parser,
    },
};
use ebap_catalog::{Catalog, Object};

use super::{logical, source::placed};
use crate::{
    Error, Result,
    error::find_word,
    macros::{expand_call, is_call_of},
    parser::{Argument, FunctionBody, Postgres},
    session::{session_config, session_state},
};

const HINT: &str = "A function is an expression over its arguments, evaluated row by row.";
/// What the grammar or the planner takes for something else, besides the functions there are.
const RESERVED: [&str; 8] = ["array", "case", "cast", "exists", "extract", "row", "try_cast", "unnest"];

/// Checks the function, which is in the catalog already.
pub(super) fn check(catalog: &Catalog, object: &Object, function: &FunctionBody, text: &str) -> Result<()> {
    if is_built_in(&object.name) {
        return Err(placed(built_in_function(&object.name), find_word(text, &object.name)));
    }
    let checked = refuse(&object.name, function).and_then(|()| plan(catalog, object, function));
    checked.map_err(|error| function.in_statement(error))
}

/// There is a function of this name, which cannot be replaced.
pub fn built_in_function(name: &str) -> Error {
    Error::new("42723", format!("function \"{name}\" is built in")).hint("Choose another name.")
}

fn is_built_in(name: &str) -> bool {
    let state = session_state(session_config(), Arc::new(RuntimeEnv::default()));
    state.scalar_functions().contains_key(name)
        || state.aggregate_functions().contains_key(name)
        || state.window_functions().contains_key(name)
        || RESERVED.contains(&name)
}

/// Refuses what can be told from the text alone.
fn refuse(name: &str, function: &FunctionBody) -> Result<()> {
    match Visit::visit(&function.expr, &mut Refuser { name, text: &function.text }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Refuser<'a> {
    name: &'a str,
    text: &'a str,
}

impl Visitor for Refuser<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Error> {
        let error = Error::unsupported("a sub-query in a function", HINT);
        ControlFlow::Break(placed(error, find_word(self.text, "select")))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let error = if is_call_of(call, self.name) {
            Error::new("42P19", format!("function \"{}\" calls itself", self.name))
                .hint("A function can call those that exist before it.")
        } else if call.over.is_some() {
            Error::unsupported("a window function in a function", HINT)
        } else {
            return ControlFlow::Continue(());
        };
        let name = call.name.0.last().and_then(|part| part.as_ident());
        ControlFlow::Break(placed(error, name.and_then(|name| find_word(self.text, &name.value))))
    }
}

fn plan(catalog: &Catalog, object: &Object, function: &FunctionBody) -> Result<()> {
    let name = |(at, argument): (usize, &Argument)| argument.name.clone().unwrap_or_else(|| format!("${}", at + 1));
    let names: Vec<String> = function.arguments.iter().enumerate().map(name).collect();
    let columns = names.iter().map(|name| Expr::Identifier(Ident::with_quote('"', name))).collect();
    let value = expand_call(catalog, &object.name, function, columns)?;
    let fields: Vec<Field> =
        names.iter().zip(&function.arguments).map(|(name, argument)| argument.column_type.field(name, true)).collect();
    // A table has columns, and a function may have no arguments.
    let from = if fields.is_empty() { "" } else { " FROM arguments" };
    let statement = select(value, from)?;
    let tables = std::iter::once(("arguments".to_owned(), Arc::new(Schema::new(fields))));
    let planned = logical(statement, tables, &function.text)?;
    let construct = match &planned {
        LogicalPlan::Projection(projection) => match projection.input.as_ref() {
            LogicalPlan::TableScan(_) | LogicalPlan::EmptyRelation(_) => return Ok(()),
            LogicalPlan::Aggregate(_) => "an aggregate function in a function",
            _ => "this expression in a function",
        },
        _ => "this expression in a function",
    };
    Err(Error::unsupported(construct, HINT))
}

/// `SELECT value FROM …`, made of the expression itself, whose places are those of its own text.
fn select(value: Expr, from: &str) -> Result<ast::Statement> {
    let internal = || Error::new("XX000", "the query of a function does not parse");
    let parsed = Parser::parse_sql(&Postgres, &format!("SELECT NULL{from}"));
    let mut statement = parsed.ok().and_then(|mut all| all.pop()).ok_or_else(internal)?;
    let ast::Statement::Query(query) = &mut statement else { return Err(internal()) };
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(internal()) };
    select.projection = vec![SelectItem::ExprWithAlias { expr: value, alias: Ident::new("value") }];
    Ok(statement)
}
