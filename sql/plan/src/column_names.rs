//! Names of a query's columns, as PostgreSQL gives them where the query does not.
//!
//! The columns of a view and of a sub-query are named so. Of a query only what the client is told is: inside of its
//! plan each column needs a name of its own, and PostgreSQL's (`sum`, `sum`) may be there twice.

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
    sync::Arc,
};

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{
    self, AccessExpr, DataType, Expr, Ident, ObjectName, SelectItem, SetExpr, Subscript, Value, Visit, VisitMut,
    Visitor, VisitorMut,
};

const UNNAMED: &str = "?column?";

/// Gives columns of one name names of their own, which DataFusion needs and nobody sees.
pub fn distinct_columns(mut statement: ast::Statement) -> ast::Statement {
    let ast::Statement::Query(query) = &mut statement else { return statement };
    let SetExpr::Select(select) = query.body.as_mut() else { return statement };
    let (mut seen, mut bare_names) = (HashSet::new(), HashMap::<String, bool>::new());
    for (at, item) in select.projection.iter_mut().enumerate() {
        let (name, bare, expr) = match &*item {
            SelectItem::UnnamedExpr(expr) => {
                let bare = without_qualifiers(expr).to_string().to_lowercase();
                (expr.to_string().to_lowercase(), bare, expr)
            }
            SelectItem::ExprWithAlias { expr, alias } => (folded(alias), folded(alias), expr),
            _ => continue,
        };
        // DataFusion names all sub-queries alike.
        let unnamed = matches!(item, SelectItem::UnnamedExpr(_)) && has_subquery(expr);
        // `x` beside `t.x` may be the same column.
        let is_bare = bare == name;
        let may_be_same = bare_names.get(&bare).is_some_and(|other| is_bare || *other);
        *bare_names.entry(bare).or_default() |= is_bare;
        if !seen.insert(name.clone()) || unnamed || may_be_same {
            let alias = Ident::with_quote('"', format!("{name}${at}"));
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
    statement
}

/// Each column by its own name alone.
fn without_qualifiers(expr: &Expr) -> Expr {
    struct Bare;
    impl VisitorMut for Bare {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::CompoundIdentifier(parts) = expr
                && let Some(last) = parts.pop()
            {
                *expr = Expr::Identifier(last);
            }
            ControlFlow::Continue(())
        }
    }
    let mut bare = expr.clone();
    let _ = VisitMut::visit(&mut bare, &mut Bare);
    bare
}

pub(crate) fn has_subquery(expr: &Expr) -> bool {
    struct Queries;
    impl Visitor for Queries {
        type Break = ();

        fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    Visit::visit(expr, &mut Queries).is_break()
}

/// The columns as the client is told of them.
pub fn named_columns(statement: &ast::Statement, schema: &Schema) -> SchemaRef {
    let names = output_names(statement, schema.fields().len());
    let one = |(field, name): (&Arc<Field>, Option<String>)| match name {
        Some(name) => Arc::new(field.as_ref().clone().with_name(name)),
        None => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().zip(names).map(one).collect::<Vec<_>>()))
}

/// Writes the names into the statement, for columns that have none.
pub(crate) fn name_columns(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            let grouped = select.group_by.to_string();
            let written = |item: &SelectItem| match item {
                SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
                SelectItem::UnnamedExpr(Expr::Identifier(ident)) => Some(folded(ident)),
                SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(folded),
                _ => None,
            };
            let mut given: HashSet<String> = select.projection.iter().filter_map(written).collect();
            for item in &mut select.projection {
                let SelectItem::UnnamedExpr(expr) = &*item else { continue };
                let plain = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
                let name = of_expr(expr).map_or_else(|| UNNAMED.to_owned(), |(name, _)| name);
                // GROUP BY would take the new name for the column that it names. Of two that would be named alike the
                // first is.
                if plain || crate::error::find_word(&grouped, &name).is_some() || !given.insert(name.clone()) {
                    continue;
                }
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', name) };
            }
        }
        SetExpr::SetOperation { left, .. } => name_columns(left),
        SetExpr::Query(query) => name_columns(&mut query.body),
        _ => {}
    }
}

/// Names of all columns; `None` where a wildcard is among them.
pub(crate) fn names_of(body: &SetExpr) -> Option<Vec<String>> {
    first_select(body)?.iter().map(of_item).collect()
}

/// A name for each of `count` columns, `None` where the plan's name is right.
fn output_names(statement: &ast::Statement, count: usize) -> Vec<Option<String>> {
    let mut names = vec![None; count];
    let ast::Statement::Query(query) = statement else { return names };
    let Some(items) = first_select(&query.body) else { return names };
    // A wildcard stands for any number of columns, so those after it are counted from the end.
    let is_wildcard = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    let wildcards = items.iter().filter(|item| is_wildcard(item)).count();
    if wildcards == 0 && items.len() != count {
        return names;
    }
    for (at, item) in items.iter().enumerate().take_while(|(_, item)| !is_wildcard(item)) {
        if let Some(name) = names.get_mut(at) {
            *name = of_item(item);
        }
    }
    if wildcards > 0 {
        for (at, item) in items.iter().rev().enumerate().take_while(|(_, item)| !is_wildcard(item)) {
            if let Some(name) = count.checked_sub(at + 1).and_then(|at| names.get_mut(at)) {
                *name = of_item(item);
            }
        }
    }
    names
}

/// The select list that names the columns: the leftmost one.
fn first_select(body: &SetExpr) -> Option<&[SelectItem]> {
    match body {
        SetExpr::Select(select) => Some(&select.projection),
        SetExpr::Query(query) => first_select(&query.body),
        SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}

fn of_item(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(expr) => Some(of_expr(expr).map_or_else(|| UNNAMED.to_owned(), |(name, _)| name)),
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        _ => None,
    }
}

pub(crate) fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn last(name: &ObjectName) -> Option<String> {
    name.0.last().and_then(|part| part.as_ident()).map(folded)
}

/// The name, and whether it is a strong one: a weak one gives way to what stands around it.
fn of_expr(expr: &Expr) -> Option<(String, bool)> {
    let strong = |name: &str| Some((name.to_owned(), true));
    let weak = |name: &str| Some((name.to_owned(), false));
    match expr {
        Expr::Identifier(ident) => Some((folded(ident), true)),
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| (folded(ident), true)),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(ident)) => Some((folded(ident), true)),
                AccessExpr::Subscript(Subscript::Index { .. } | Subscript::Slice { .. }) | AccessExpr::Dot(_) => None,
            });
            field.or_else(|| of_expr(root))
        }
        Expr::Function(function) => last(&function.name).map(|name| (name, true)),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => of_expr(inner),
        Expr::Cast { expr, data_type, .. } => {
            of_expr(expr).filter(|(_, strong)| *strong).or_else(|| Some((of_type(data_type), false)))
        }
        Expr::TypedString(typed) => Some((of_type(&typed.data_type), false)),
        Expr::Interval(_) => weak("interval"),
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => weak("bool"),
        Expr::Case { else_result, .. } => {
            let other = else_result.as_ref().and_then(|expr| of_expr(expr)).filter(|(_, strong)| *strong);
            other.or_else(|| weak("case"))
        }
        Expr::Exists { .. } => strong("exists"),
        Expr::Array(_) => strong("array"),
        Expr::Tuple(_) => strong("row"),
        Expr::Subquery(query) => match first_select(&query.body)?.first()? {
            SelectItem::UnnamedExpr(expr) => of_expr(expr),
            SelectItem::ExprWithAlias { alias, .. } => Some((folded(alias), true)),
            _ => None,
        },
        Expr::Extract { .. } => strong("extract"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::Position { .. } => strong("position"),
        Expr::Substring { shorthand: true, .. } => strong("substr"),
        Expr::Substring { .. } => strong("substring"),
        Expr::Trim { .. } => strong("btrim"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::AtTimeZone { .. } => strong("timezone"),
        _ => None,
    }
}

/// The short name PostgreSQL has for a type.
fn of_type(of: &DataType) -> String {
    let text = of.to_string().to_lowercase();
    let base = text.split(['(', '[']).next().unwrap_or(&text).trim();
    let base = base.rsplit('.').next().unwrap_or(base);
    match base {
        "int" | "integer" => "int4",
        "bigint" => "int8",
        "smallint" => "int2",
        "double precision" | "double" | "float" => "float8",
        "real" => "float4",
        "boolean" => "bool",
        "decimal" | "dec" => "numeric",
        "character varying" => "varchar",
        "char" | "character" => "bpchar",
        "timestamp with time zone" => "timestamptz",
        "timestamp without time zone" => "timestamp",
        "time without time zone" => "time",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use crate::{Statement, parse};

    use super::*;

    fn names(sql: &str, count: usize) -> Vec<String> {
        let parsed = parse(sql).expect(sql).pop().expect("a statement");
        let Statement::Query(statement) = parsed.statement else { panic!("{sql}") };
        output_names(&statement, count).into_iter().map(|name| name.unwrap_or_else(|| "-".to_owned())).collect()
    }

    #[test]
    fn columns_are_named_as_in_postgresql() {
        for (sql, name) in [
            ("count(*)", "count"),
            ("pg_catalog.sum(x)", "sum"),
            ("row_number() OVER (ORDER BY x)", "row_number"),
            ("1 + 1", "?column?"),
            ("'text'", "?column?"),
            ("NULL", "?column?"),
            ("true", "bool"),
            ("x", "x"),
            ("\"X\"", "X"),
            ("t.x", "x"),
            ("X AS Y", "y"),
            ("x::bigint", "x"),
            ("1::bigint", "int8"),
            ("CAST('1' AS numeric(10, 2))", "numeric"),
            ("date '2026-01-01'", "date"),
            ("INTERVAL '1 minute'", "interval"),
            ("CASE WHEN x THEN 1 END", "case"),
            ("CASE WHEN x THEN 1 ELSE y END", "y"),
            ("coalesce(x, 1)", "coalesce"),
            ("extract(epoch FROM x)", "extract"),
            ("metadata['amount']", "metadata"),
            ("(SELECT max(y) FROM t)", "max"),
            ("EXISTS (SELECT 1)", "exists"),
            ("ARRAY[1, 2]", "array"),
            ("current_timestamp", "current_timestamp"),
            ("-x", "?column?"),
        ] {
            assert_eq!(names(&format!("SELECT {sql} FROM t"), 1), [name], "{sql}");
        }
    }

    #[test]
    fn columns_that_are_named_alike_are_told_apart_inside() {
        let told_apart = |sql: &str| {
            let parsed = parse(sql).expect(sql).pop().expect("a statement");
            let Statement::Query(statement) = parsed.statement else { panic!("{sql}") };
            distinct_columns(*statement).to_string()
        };
        assert_eq!(
            told_apart("SELECT count(*), 1 AS x, count(*), 2 AS X, y FROM t"),
            "SELECT count(*), 1 AS x, count(*) AS \"count(*)$2\", 2 AS \"x$3\", y FROM t"
        );
        assert_eq!(told_apart("SELECT x, y FROM t"), "SELECT x, y FROM t");
    }

    #[test]
    fn a_wildcard_leaves_the_plan_its_names() {
        assert_eq!(names("SELECT count(*), *, sum(x) FROM t", 5), ["count", "-", "-", "-", "sum"]);
        assert_eq!(names("SELECT *, sum(x), * FROM t", 4), ["-", "-", "-", "-"]);
        assert_eq!(names("SELECT sum(x) FROM t UNION ALL SELECT 1", 1), ["sum"]);
        assert_eq!(names("VALUES (1, 2)", 2), ["-", "-"]);
    }
}
