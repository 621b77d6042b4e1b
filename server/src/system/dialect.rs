//! What client tools write in queries of the system catalogs and DataFusion cannot read, put in words that
//! it has. Only for statements that `names_catalog`; see there.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, SelectItem, SetExpr, Value, VisitMut, VisitorMut,
};

use super::{
    functions::{REGCLASS_NAME, REGTYPE_NAME},
    pg_catalog::Described,
    policies,
    privileges::COLUMN_LISTS,
    roles::MEMBER_OF,
    search_path::SearchPath,
    types,
};
use crate::pgwire::sqlstate::SqlError;

/// Answers what a statement asks of the session and of names, before it is planned. `by_name`: a `regclass`
/// is shown as the name of the relation.
///
/// # Errors
/// 42P01 for a name that is cast to `regclass` and is none of a relation.
pub(super) fn translate(
    statement: &mut ast::Statement,
    path: &SearchPath,
    described: &Described,
    by_name: bool,
) -> Result<(), SqlError> {
    if let (ast::Statement::Query(query), true) = (&mut *statement, by_name) {
        show_names(&mut query.body);
    }
    let reads_keys = ast::visit_relations(statement, |name| match name.0.last().and_then(|part| part.as_ident()) {
        Some(last) if OF_KEYS.contains(&last.value.to_lowercase().as_str()) => ControlFlow::Break(()),
        Some(_) | None => ControlFlow::Continue(()),
    });
    let reads_keys = reads_keys.is_break();
    match VisitMut::visit(statement, &mut Translator { path, described, reads_keys }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// The query by which asyncpg learns of types: those that it asks for and what they are made of, step by step. Types here are
/// made of one other at the most, which it asks for by itself.
const TYPES: &str = "SELECT t.oid AS oid, 'pg_catalog' AS ns, t.typname AS name, t.typtype AS kind,
    CAST(NULL AS INT) AS basetype, CASE WHEN t.typelem <> 0 THEN t.typelem END AS elemtype, ',' AS elemdelim,
    CAST(NULL AS INT) AS range_subtype, CAST(NULL AS INT) AS attrtypoids, CAST(NULL AS TEXT) AS attrnames, 0 AS depth,
    CAST(NULL AS TEXT) AS basetype_name,
    CASE WHEN t.typelem <> 0 THEN pg_catalog.format_type(t.typelem, -1) END AS elemtype_name,
    CAST(NULL AS TEXT) AS range_subtype_name
    FROM pg_catalog.pg_type t WHERE t.oid = ANY($1::oid[])";

/// `WITH RECURSIVE typeinfo_tree …` without its steps.
pub(super) fn tree_of_types(statement: &ast::Statement) -> Option<ast::Statement> {
    let ast::Statement::Query(query) = statement else { return None };
    let with = query.with.as_ref().filter(|with| with.recursive)?;
    with.cte_tables.iter().find(|table| table.alias.name.value == "typeinfo_tree")?;
    let parsed = ebap_sql::parse(TYPES).ok()?.into_iter().next()?;
    let ebap_sql::Statement::Query(flat) = parsed.statement else { return None };
    Some(*flat)
}

/// A `regclass` is a number that is shown as the name of the relation, a `regtype` as that of the type: here where a
/// client sees it.
fn show_names(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            for item in &mut select.projection {
                let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
                if is_cast_to(expr, is_regclass) {
                    *expr = call(REGCLASS_NAME, expr.clone());
                } else if is_cast_to(expr, is_regtype) {
                    *expr = call(REGTYPE_NAME, expr.clone());
                }
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            show_names(left);
            show_names(right);
        }
        SetExpr::Query(query) => show_names(&mut query.body),
        _ => {}
    }
}

fn is_cast_to(expr: &Expr, of: fn(&DataType) -> bool) -> bool {
    matches!(expr, Expr::Cast { data_type, .. } if of(data_type))
}

fn call(function: &str, argument: Expr) -> Expr {
    let argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(argument));
    let arguments = FunctionArgumentList { duplicate_treatment: None, args: vec![argument], clauses: Vec::new() };
    Expr::Function(ast::Function {
        name: ObjectName::from(vec![Ident::new(function)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(arguments),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

struct Translator<'a> {
    path: &'a SearchPath,
    described: &'a Described,
    /// The statement asks for indexes or constraints, so that names of their columns are not a user's.
    reads_keys: bool,
}

impl VisitorMut for Translator<'_> {
    type Break = SqlError;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        let understood = match expr {
            // Grafana takes the path apart with set-returning functions that DataFusion has not.
            Expr::InSubquery { expr: of, subquery, negated }
                if subquery.to_string().contains("current_setting('search_path')") =>
            {
                let names = self.path.effective(false).into_iter().map(text);
                Expr::InList { expr: of.clone(), list: names.collect(), negated: *negated }
            }
            Expr::Cast { expr: of, data_type, .. } if is_regclass(data_type) => match literal(of) {
                Some(name) if name.parse::<i32>().is_err() => match self.oid(name) {
                    Some(oid) => Expr::Value(Value::Number(oid.to_string(), false).into()),
                    None => {
                        let error = SqlError::new("42P01", format!("relation \"{name}\" does not exist"));
                        return ControlFlow::Break(error);
                    }
                },
                _ => return ControlFlow::Continue(()),
            },
            Expr::Cast { expr: of, data_type, .. } if is_regtype(data_type) => match literal(of) {
                Some(name) if name.parse::<i32>().is_err() => match types::number(name) {
                    Some(oid) => Expr::Value(Value::Number(oid.to_string(), false).into()),
                    None => {
                        let error = SqlError::new("42704", format!("type \"{name}\" does not exist"));
                        return ControlFlow::Break(error);
                    }
                },
                _ => of.as_ref().clone(),
            },
            // A function of a type is a number in PostgreSQL, and 0 where there is none; here it is its name.
            Expr::BinaryOp { left, op: op @ (BinaryOperator::Eq | BinaryOperator::NotEq), right }
                if is_function_of_type(left) && is_zero(right) =>
            {
                let right = Box::new(text("-".to_owned()));
                Expr::BinaryOp { left: left.clone(), op: op.clone(), right }
            }
            // What a default, an identity or an index is made of: there are none.
            Expr::Subquery(query) if reads_nothing(query) => null_of(DataType::Text),
            // A row for each column of an index or a constraint, and a part of that row: there are none.
            Expr::Function(function)
                if self.reads_keys
                    && (["generate_subscripts", "_pg_expandarray"].iter().any(|name| is_called(function, name))
                        || is_called(function, "unnest") && is_made_of_keys(function)) =>
            {
                one()
            }
            Expr::CompoundFieldAccess { root, access_chain }
                if self.reads_keys && (is_of_keys(root) || access_chain.iter().any(names_keys)) =>
            {
                one()
            }
            // A function of a type is its name here, without a schema.
            Expr::Cast { expr: of, data_type, .. } if is_regproc(data_type) && literal(of).is_some() => {
                let name = literal(of).unwrap_or_default();
                text(name.rsplit('.').next().unwrap_or(name).to_owned())
            }
            // Whether a type is a composite one, which no type here is.
            Expr::Subquery(query) if query.to_string().starts_with("SELECT c.relkind = 'c' FROM") => {
                Expr::Value(Value::Boolean(false).into())
            }
            Expr::Cast { expr: of, data_type, .. } if is_text(data_type) && is_cast_to(of, is_regclass) => {
                call(REGCLASS_NAME, of.as_ref().clone())
            }
            Expr::Cast { expr: of, data_type, .. } if is_text(data_type) && is_cast_to(of, is_regtype) => {
                call(REGTYPE_NAME, of.as_ref().clone())
            }
            Expr::Function(function) if let Some(relation) = column_lists_of(function) => call(COLUMN_LISTS, relation),
            Expr::Function(function) if let Some(policy) = roles_of_policy(function) => call(policies::ROLES, policy),
            Expr::Function(function) if is_joined_list(function) => null_of(DataType::Text),
            Expr::Function(function) if let Some(member) = memberships_of(function) => call(MEMBER_OF, member),
            // A list made of a subquery: of options or privileges, and there are none.
            Expr::Function(function)
                if matches!(function.args, FunctionArguments::Subquery(_)) && is_array(&function.name) =>
            {
                null_of(DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None)))
            }
            _ => return ControlFlow::Continue(()),
        };
        *expr = understood;
        ControlFlow::Continue(())
    }
}

impl Translator<'_> {
    fn oid(&self, name: &str) -> Option<i32> {
        let fold = |part: &str| match part.strip_prefix('"').and_then(|part| part.strip_suffix('"')) {
            Some(quoted) => quoted.to_owned(),
            None => part.to_lowercase(),
        };
        match name.split_once('.') {
            Some((schema, name)) => self.described.oid_of(&fold(schema), &fold(name)),
            None => {
                let name = fold(name);
                self.path.effective(true).iter().find_map(|schema| self.described.oid_of(schema, &name))
            }
        }
    }
}

/// The `r.oid` of `ARRAY(SELECT b.rolname FROM pg_auth_members … WHERE m.member = r.oid)`, by which psql lists roles.
fn memberships_of(function: &ast::Function) -> Option<Expr> {
    let FunctionArguments::Subquery(query) = &function.args else { return None };
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let reads_memberships = select.from.iter().any(|from| from.relation.to_string().contains("pg_auth_members"));
    match &select.selection {
        Some(Expr::BinaryOp { left, op: BinaryOperator::Eq, right })
            if reads_memberships && is_array(&function.name) =>
        {
            left.to_string().ends_with(".member").then(|| right.as_ref().clone())
        }
        _ => None,
    }
}

/// The `c.oid` of `array_to_string(ARRAY(SELECT … attacl … WHERE attrelid = c.oid AND …), …)`, by which psql lists
/// privileges of columns.
fn column_lists_of(function: &ast::Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Function(inner))) = list.args.first()? else { return None };
    let FunctionArguments::Subquery(query) = &inner.args else { return None };
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let names_lists = select.projection.iter().any(|item| item.to_string().contains("attacl"));
    names_lists.then_some(())?;
    let mut condition = select.selection.as_ref()?;
    // The relation stands first among the conditions.
    while let Expr::BinaryOp { left, op: BinaryOperator::And, .. } = condition {
        condition = left;
    }
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if left.to_string().ends_with("attrelid") => {
            Some(right.as_ref().clone())
        }
        _ => None,
    }
}

/// The `pol.oid` for `array_to_string(ARRAY(SELECT rolname … oid = ANY (pol.polroles) …), …)`, by which psql lists roles.
fn roles_of_policy(function: &ast::Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Function(inner))) = list.args.first()? else { return None };
    let FunctionArguments::Subquery(query) = &inner.args else { return None };
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let Expr::AnyOp { right, .. } = select.selection.as_ref()? else { return None };
    let Expr::CompoundIdentifier(parts) = without_brackets(right) else { return None };
    let (last, qualifier) = parts.split_last()?;
    let oid = || Expr::CompoundIdentifier([qualifier, &[Ident::new("oid")]].concat());
    (last.value == "polroles").then(oid)
}

fn without_brackets(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => without_brackets(inner),
        other => other,
    }
}

fn null_of(data_type: DataType) -> Expr {
    let expr = Box::new(Expr::Value(Value::Null.into()));
    Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, format: None }
}

/// `array_to_string(ARRAY(SELECT …), …)`, and of the privileges of a type: lists that are empty here.
fn is_joined_list(function: &ast::Function) -> bool {
    let FunctionArguments::List(list) = &function.args else { return false };
    let name = function.name.0.last().and_then(|part| part.as_ident());
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) = list.args.first() else { return false };
    let is_empty = match first {
        Expr::Function(of) => matches!(of.args, FunctionArguments::Subquery(_)) && is_array(&of.name),
        Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|last| last.value == "typacl"),
        _ => false,
    };
    is_empty && name.is_some_and(|name| name.value.eq_ignore_ascii_case("array_to_string"))
}

fn text(value: String) -> Expr {
    Expr::Value(Value::SingleQuotedString(value).into())
}

fn is_regclass(of: &DataType) -> bool {
    ["regclass", "pg_catalog.regclass"].contains(&of.to_string().to_lowercase().as_str())
}

fn is_regtype(of: &DataType) -> bool {
    ["regtype", "pg_catalog.regtype"].contains(&of.to_string().to_lowercase().as_str())
}

fn is_regproc(of: &DataType) -> bool {
    ["regproc", "pg_catalog.regproc"].contains(&of.to_string().to_lowercase().as_str())
}

fn is_function_of_type(expr: &Expr) -> bool {
    let name = match expr {
        Expr::Identifier(name) => name,
        Expr::CompoundIdentifier(parts) => match parts.last() {
            Some(name) => name,
            None => return false,
        },
        _ => return false,
    };
    ["typinput", "typoutput", "typreceive", "typsend", "typmodin", "typmodout", "typanalyze", "typsubscript"]
        .contains(&name.value.to_lowercase().as_str())
}

fn is_zero(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(&value.value, Value::Number(digits, _) if digits == "0"))
}

/// Catalogs of indexes and constraints.
const OF_KEYS: [&str; 2] = ["pg_index", "pg_constraint"];
/// Catalogs that have no rows of relations of users.
const EMPTY: [&str; 4] = ["pg_attrdef", "pg_sequence", "pg_index", "pg_constraint"];

/// Whether the sub-query finds no row, and so is NULL. `count` is a row of its own.
fn reads_nothing(query: &ast::Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    if select.projection.iter().any(|item| item.to_string().to_lowercase().contains("count(")) {
        return false;
    }
    let is_empty = |from: &ast::TableWithJoins| match &from.relation {
        ast::TableFactor::Table { name, .. } => {
            let last = name.0.last().and_then(|part| part.as_ident());
            last.is_some_and(|name| EMPTY.contains(&name.value.to_lowercase().as_str()))
        }
        _ => false,
    };
    select.from.iter().any(is_empty)
}

/// Lists of columns of indexes and constraints.
const KEYS: [&str; 5] = ["indkey", "indclass", "indoption", "conkey", "confkey"];

/// Whether the argument is a list of columns of an index or a constraint.
fn is_made_of_keys(function: &ast::Function) -> bool {
    let FunctionArguments::List(list) = &function.args else { return false };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(of))) = list.args.first() else { return false };
    let last = match of {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    };
    last.is_some_and(|name| KEYS.contains(&name.value.to_lowercase().as_str()))
}

fn one() -> Expr {
    Expr::Value(Value::Number("1".to_owned(), false).into())
}

/// `(information_schema._pg_expandarray(indkey)).n`, or a column that is made of it, as pgjdbc names it.
fn is_of_keys(root: &Expr) -> bool {
    match root {
        Expr::Nested(inner) => is_of_keys(inner),
        Expr::Function(function) => is_called(function, "_pg_expandarray"),
        Expr::CompoundIdentifier(parts) => parts.last().is_some_and(is_name_of_keys),
        _ => false,
    }
}

/// `tmp.indoption` before `[n]`
fn names_keys(access: &ast::AccessExpr) -> bool {
    matches!(access, ast::AccessExpr::Dot(Expr::Identifier(name)) if is_name_of_keys(name))
}

fn is_name_of_keys(name: &Ident) -> bool {
    let name = name.value.to_lowercase();
    KEYS.contains(&name.as_str()) || ["keys", "i_indoption"].contains(&name.as_str())
}

fn is_called(function: &ast::Function, name: &str) -> bool {
    let last = function.name.0.last().and_then(|part| part.as_ident());
    last.is_some_and(|last| last.value.eq_ignore_ascii_case(name))
}

fn is_text(of: &DataType) -> bool {
    let name = of.to_string().to_lowercase();
    ["text", "varchar", "name", "character varying", "pg_catalog.text"].contains(&name.as_str())
}

fn is_array(name: &ObjectName) -> bool {
    let last = name.0.last().and_then(|part| part.as_ident());
    last.is_some_and(|Ident { value, .. }| value.eq_ignore_ascii_case("array"))
}

fn literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}
