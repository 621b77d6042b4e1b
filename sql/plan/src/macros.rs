//! Functions of `CREATE FUNCTION`, put in the place of their calls before anything is planned.
//!
//! ```text
//! CREATE FUNCTION pct(part BIGINT, total BIGINT) RETURNS DOUBLE PRECISION AS '100.0 * part / total'
//! SELECT pct(n, 3)          SELECT CAST(100.0 * CAST(n AS BIGINT) / CAST(3 AS BIGINT) AS DOUBLE PRECISION) AS pct
//! ```
//!
//! What is planned, streamed and optimised is an expression like any other: nothing behind the planner knows
//! of functions. The catalog keeps the statement with the call in it, and that it depends on the function, so
//! a function that is used cannot be replaced under a running view.

#[cfg(test)]
mod tests;

use std::{cell::Cell, ops::ControlFlow};

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{
    self, ArrayElemTypeDef, CastKind, ExactNumberInfo, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectName, Query, SelectItem, SetExpr, TimezoneInfo, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use ebap_catalog::{Catalog, Object, ObjectId, ObjectKind};

use crate::{
    Error, Result,
    apply::reparse,
    error::{find_word, position_of},
    parser::{Body, FunctionBody},
};

/// Functions that call functions that call functions.
const NESTED_MAX: usize = 32;
/// Of what stands in the place of one call: what walks it goes down this far, and more for what it stands in.
const DEPTH_MAX: usize = 200;
/// Expressions that the calls of one statement become, those on the way to them counted too: a few functions
/// that name their argument twice, and call each other, would become more than there is memory for.
const EXPRESSIONS_MAX: usize = 100_000;

/// Puts the functions of the catalog in the place of their calls. `text` is the statement, for positions.
///
/// # Errors
/// 42883 for arguments that the function does not take, 42809 for what only an aggregate takes, 54001 for
/// calls that become too much.
pub fn expand_functions(catalog: &Catalog, statement: &mut ast::Statement, text: &str) -> Result<()> {
    expand(catalog, statement, text)
}

pub(crate) fn expand(catalog: &Catalog, node: &mut impl VisitMut, text: &str) -> Result<()> {
    if catalog.objects().all(|object| object.kind != ObjectKind::Function) {
        return Ok(());
    }
    let left = Cell::new(EXPRESSIONS_MAX);
    finished(VisitMut::visit(node, &mut Expander { catalog, text, left: &left, nested: 0 }))
}

/// What a call with these arguments becomes.
pub(crate) fn expand_call(catalog: &Catalog, name: &str, function: &FunctionBody, args: Vec<Expr>) -> Result<Expr> {
    let left = Cell::new(EXPRESSIONS_MAX);
    Expander { catalog, text: &function.text, left: &left, nested: 0 }.body(name, function, args)
}

/// Functions of the catalog that are called here.
pub(crate) fn functions_used(catalog: &Catalog, node: &impl Visit) -> Vec<ObjectId> {
    let mut found = Calls { catalog, found: Vec::new() };
    let _ = Visit::visit(node, &mut found);
    found.found
}

/// True for a call by this name, in schema `public` or without a schema.
pub(crate) fn is_call_of(function: &ast::Function, name: &str) -> bool {
    called_name(&function.name).is_some_and(|found| found == name)
}

/// How SQL writes a type that an expression can be cast to; `None` where it cannot.
pub(crate) fn sql_type(of: &DataType) -> Option<ast::DataType> {
    Some(match of {
        DataType::Utf8 => ast::DataType::Text,
        DataType::Int16 => ast::DataType::SmallInt(None),
        DataType::Int32 => ast::DataType::Integer(None),
        DataType::Int64 => ast::DataType::BigInt(None),
        DataType::Float32 => ast::DataType::Real,
        DataType::Float64 => ast::DataType::DoublePrecision,
        DataType::Boolean => ast::DataType::Boolean,
        DataType::Date32 => ast::DataType::Date,
        DataType::Binary => ast::DataType::Bytea,
        // Without a precision it would be nanoseconds, which columns are not.
        DataType::Timestamp(_, Some(_)) => ast::DataType::Timestamp(Some(6), TimezoneInfo::Tz),
        DataType::Timestamp(_, None) => ast::DataType::Timestamp(Some(6), TimezoneInfo::None),
        DataType::Decimal128(precision, scale) => {
            let (precision, scale) = (u64::from(*precision), i64::from(*scale));
            ast::DataType::Numeric(ExactNumberInfo::PrecisionAndScale(precision, scale))
        }
        DataType::List(field) => {
            let of = Box::new(sql_type(field.data_type())?);
            ast::DataType::Array(ArrayElemTypeDef::SquareBracket(of, None))
        }
        _ => return None,
    })
}

fn cast(expr: Expr, to: &DataType) -> Result<Expr> {
    let data_type = sql_type(to).ok_or_else(|| Error::new("XX000", format!("no cast to {to}")))?;
    Ok(Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None })
}

fn finished(flow: ControlFlow<Error>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn called_name(name: &ObjectName) -> Option<String> {
    let parts: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(folded)).collect();
    match &parts?[..] {
        [name] => Some(name.clone()),
        [schema, name] if schema == "public" => Some(name.clone()),
        _ => None,
    }
}

fn called<'a>(catalog: &'a Catalog, name: &ObjectName) -> Option<&'a Object> {
    catalog.find(ObjectKind::Function, &called_name(name)?)
}

struct Calls<'a> {
    catalog: &'a Catalog,
    found: Vec<ObjectId>,
}

impl Visitor for Calls<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(call) = expr {
            self.found.extend(called(self.catalog, &call.name).map(|object| object.id));
        }
        ControlFlow::Continue(())
    }
}

struct Expander<'a> {
    catalog: &'a Catalog,
    text: &'a str,
    left: &'a Cell<usize>,
    nested: usize,
}

impl VisitorMut for Expander<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        self.name_columns(&mut query.body);
        ControlFlow::Continue(())
    }

    /// After its arguments: what is put in is not walked again.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let Some(object) = called(self.catalog, &call.name) else { return ControlFlow::Continue(()) };
        match self.call(object, call) {
            Ok(found) => *expr = found,
            Err(mut error) => {
                error.position = error.position.or_else(|| find_word(self.text, &object.name));
                return ControlFlow::Break(error);
            }
        }
        ControlFlow::Continue(())
    }
}

impl Expander<'_> {
    /// A column that is a call has the name of the function, as in PostgreSQL. Of two that would have the same,
    /// which no query could tell apart, the first.
    fn name_columns(&self, body: &mut SetExpr) {
        match body {
            SetExpr::Select(select) => {
                let given = |item: &SelectItem| match item {
                    SelectItem::UnnamedExpr(Expr::Identifier(ident)) => Some(folded(ident)),
                    SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
                    _ => None,
                };
                let mut names: Vec<String> = select.projection.iter().filter_map(given).collect();
                for item in &mut select.projection {
                    let SelectItem::UnnamedExpr(expr @ Expr::Function(_)) = &*item else { continue };
                    let Expr::Function(call) = expr else { continue };
                    let Some(object) = called(self.catalog, &call.name) else { continue };
                    if !names.contains(&object.name) {
                        names.push(object.name.clone());
                        let alias = Ident::with_quote('"', &object.name);
                        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
                    }
                }
            }
            SetExpr::SetOperation { left, right, .. } => {
                self.name_columns(left);
                self.name_columns(right);
            }
            // A query in parentheses is walked by itself.
            _ => {}
        }
    }

    fn call(&self, object: &Object, call: &ast::Function) -> Result<Expr> {
        let Body::Function(function) = reparse(object)?.0.body else {
            return Err(Error::new("XX001", format!("the catalog's statement of \"{}\" is no function", object.name)));
        };
        let args = bind(&object.name, &function, call)?;
        self.body(&object.name, &function, args)
    }

    fn body(&self, name: &str, function: &FunctionBody, args: Vec<Expr>) -> Result<Expr> {
        let too_much = || {
            Error::new("54001", format!("the calls of function \"{name}\" become too large an expression"))
                .hint("Call fewer functions inside of each other.")
        };
        let nested = self.nested + 1;
        if nested > NESTED_MAX {
            return Err(too_much());
        }
        let mut expr = function.expr.clone();
        let mut inner = Expander { catalog: self.catalog, text: self.text, left: self.left, nested };
        finished(VisitMut::visit(&mut expr, &mut inner))?;
        let types = function.arguments.iter().map(|argument| &argument.column_type.arrow);
        let args = args.into_iter().zip(types).map(|(arg, of)| cast(arg, of)).collect::<Result<Vec<_>>>()?;
        let mut arguments = Arguments { name, function, args: &args, used: vec![0; args.len()] };
        finished(VisitMut::visit(&mut expr, &mut arguments))?;
        if arguments.used.iter().zip(&args).any(|(used, arg)| *used > 1 && is_volatile(arg)) {
            let what = format!("a volatile argument of function \"{name}\", which uses it more than once,");
            return Err(Error::unsupported(what, "Compute it in a sub-query, or use the argument once."));
        }
        let expr = cast(expr, &function.returns.arrow)?;
        let size = Size::of(&expr);
        let left = self.left.get().checked_sub(size.expressions).filter(|_| size.depth <= DEPTH_MAX);
        self.left.set(left.ok_or_else(too_much)?);
        Ok(expr)
    }
}

/// The arguments of the call in the order of the function's own.
fn bind(name: &str, function: &FunctionBody, call: &ast::Function) -> Result<Vec<Expr>> {
    let refused = |what: &str| {
        Err(Error::new("42809", format!("{what} specified, but {name} is not an aggregate function"))
            .hint("A function of CREATE FUNCTION is an expression over its arguments."))
    };
    if call.over.is_some() {
        return refused("OVER");
    }
    if call.filter.is_some() {
        return refused("FILTER");
    }
    if !call.within_group.is_empty() {
        return refused("WITHIN GROUP");
    }
    let given = match &call.args {
        FunctionArguments::None => &[][..],
        FunctionArguments::List(list) if list.duplicate_treatment.is_some() => return refused("DISTINCT"),
        FunctionArguments::List(list) if !list.clauses.is_empty() => return refused("ORDER BY"),
        FunctionArguments::List(list) => &list.args[..],
        FunctionArguments::Subquery(_) => {
            return Err(Error::syntax("a query as an argument stands in parentheses of its own"));
        }
    };
    let mismatch = || {
        let count = if given.len() == 1 { "1 argument".to_owned() } else { format!("{} arguments", given.len()) };
        Error::new("42883", format!("function {name}({count}) does not exist"))
            .hint(format!("The function is {name}{}.", function.signature()))
    };
    let mut places: Vec<Option<Expr>> = vec![None; function.arguments.len()];
    for (at, arg) in given.iter().enumerate() {
        let (at, arg) = match arg {
            FunctionArg::Unnamed(arg) => (Some(at), arg),
            FunctionArg::Named { name, arg, .. } | FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => {
                let name = folded(name);
                (function.arguments.iter().position(|other| other.name.as_ref() == Some(&name)), arg)
            }
            FunctionArg::ExprNamed { arg, .. } => (None, arg),
        };
        let FunctionArgExpr::Expr(arg) = arg else { return refused("*") };
        let place = at.and_then(|at| places.get_mut(at)).filter(|place| place.is_none());
        *place.ok_or_else(mismatch)? = Some(arg.clone());
    }
    places.into_iter().collect::<Option<Vec<Expr>>>().ok_or_else(mismatch)
}

/// Puts arguments in the place of their names and numbers.
struct Arguments<'a> {
    name: &'a str,
    function: &'a FunctionBody,
    args: &'a [Expr],
    /// How often each has been put in.
    used: Vec<usize>,
}

impl VisitorMut for Arguments<'_> {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        // `other(name => value)`: this name is the other function's, and no expression.
        if let Expr::Function(ast::Function { args: FunctionArguments::List(list), .. }) = expr {
            for arg in &mut list.args {
                if let FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: value, operator } = arg {
                    *arg = FunctionArg::Named { name: name.clone(), arg: value.clone(), operator: operator.clone() };
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let found = match &*expr {
            Expr::Identifier(ident) => self.named(ident),
            Expr::CompoundIdentifier(parts) => match &parts[..] {
                [function, ident] if folded(function) == self.name => self.named(ident),
                _ => self.unknown(expr.to_string(), parts.first()),
            },
            Expr::Value(value) => match &value.value {
                Value::Placeholder(number) => self.numbered(number),
                _ => return ControlFlow::Continue(()),
            },
            _ => return ControlFlow::Continue(()),
        };
        match found {
            Ok(arg) => *expr = arg,
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

impl Arguments<'_> {
    fn at(&mut self, at: usize) -> Option<Expr> {
        *self.used.get_mut(at)? += 1;
        self.args.get(at).cloned()
    }

    fn named(&mut self, ident: &Ident) -> Result<Expr> {
        let name = folded(ident);
        let at = self.function.arguments.iter().position(|argument| argument.name.as_ref() == Some(&name));
        match at.and_then(|at| self.at(at)) {
            Some(arg) => Ok(arg),
            None => self.unknown(format!("\"{name}\""), Some(ident)),
        }
    }

    fn numbered(&mut self, number: &str) -> Result<Expr> {
        let at = number.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
        let arg = at.and_then(|at| self.at(at.checked_sub(1)?));
        arg.ok_or_else(|| {
            let mut error = Error::new("42P02", format!("there is no parameter {number}"));
            error.position = self.function.text.find(number).map(|at| self.function.text[..at].chars().count() + 1);
            error
        })
    }

    fn unknown(&self, shown: String, ident: Option<&Ident>) -> Result<Expr> {
        let mut error = Error::new("42703", format!("column {shown} does not exist"));
        let start = ident.map(|ident| ident.span.start).filter(|start| start.line > 0);
        error.position =
            start.and_then(|start| position_of(&self.function.text, start.line as usize, start.column as usize));
        Err(error.hint("A function sees its arguments alone."))
    }
}

/// Functions that answer otherwise each time.
const VOLATILE: [&str; 6] = ["random", "uuid", "gen_random_uuid", "clock_timestamp", "timeofday", "set_config"];

/// A call of a function that answers otherwise each time.
pub(crate) fn is_volatile_call(expr: &Expr) -> bool {
    let Expr::Function(call) = expr else { return false };
    let name = call.name.0.last().and_then(|part| part.as_ident()).map(folded);
    name.is_some_and(|name| VOLATILE.contains(&name.as_str()))
}

/// Whether a function that answers otherwise each time is called within.
pub(crate) fn is_volatile(expr: &Expr) -> bool {
    struct Calls;
    impl Visitor for Calls {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if is_volatile_call(expr) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    Visit::visit(expr, &mut Calls).is_break()
}

#[derive(Default)]
struct Size {
    expressions: usize,
    depth: usize,
    at: usize,
}

impl Size {
    fn of(expr: &Expr) -> Self {
        let mut size = Self::default();
        let _ = Visit::visit(expr, &mut size);
        size
    }
}

impl Visitor for Size {
    type Break = ();

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.expressions += 1;
        self.at += 1;
        self.depth = self.depth.max(self.at);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.at -= 1;
        ControlFlow::Continue(())
    }
}
