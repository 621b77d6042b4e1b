//! `*` over a stream, without its virtual columns.
//!
//! A stream has columns that nobody declared (`_offset`, `_late`, …). As with PostgreSQL's system columns, a
//! query can name them and `*` leaves them out. DataFusion knows no such columns, so the statement is
//! rewritten before it is planned, in one of two ways:
//!
//! ```text
//! SELECT *, _offset FROM s, v         SELECT s.a, s.b, v.*, _offset FROM s, v
//! SELECT * FROM s JOIN t USING (k)    SELECT * FROM (SELECT a, k FROM s) AS s JOIN t USING (k)
//! ```
//!
//! The second is for where the columns of `*` follow from all relations together (`USING`, `NATURAL`, semi
//! joins, names for the columns of an alias); virtual columns cannot be named there.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{
        self, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Query, Select, SelectItem,
        SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, TableWithJoins, VisitMut, VisitorMut,
        WildcardAdditionalOptions,
    },
    parser::Parser,
};

use crate::parser::Postgres;

/// Declared columns of the stream of this name; `None` for what is no stream.
pub type StreamColumns<'a> = dyn Fn(&ObjectName) -> Option<Vec<String>> + 'a;

/// Rewrites every `*` and `name.*` of the statement that would show virtual columns.
pub fn hide_virtual_columns(statement: &mut ast::Statement, streams: &StreamColumns<'_>) {
    let _ = VisitMut::visit(statement, &mut Hider { streams, scopes: Vec::new() });
}

/// Names of `WITH` that a query sees: those of its own, one after the other, and of the queries around it.
struct Scope {
    names: Vec<String>,
    /// Queries of the `WITH` that have been walked.
    done: usize,
    recursive: bool,
}

impl Scope {
    fn visible(&self) -> &[String] {
        let count = self.done + usize::from(self.recursive);
        &self.names[..count.min(self.names.len())]
    }
}

struct Hider<'a> {
    streams: &'a StreamColumns<'a>,
    scopes: Vec<Scope>,
}

impl VisitorMut for Hider<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let with = query.with.as_ref();
        let names: Vec<String> =
            with.map(|with| with.cte_tables.iter().map(|one| folded(&one.alias.name)).collect()).unwrap_or_default();
        let (done, recursive) = (names.len(), with.is_some_and(|with| with.recursive));
        self.scopes.push(Scope { names, done, recursive });
        self.body(&mut query.body);
        // Its `WITH` is walked next, before anything else in it.
        if let Some(scope) = self.scopes.last_mut() {
            scope.done = 0;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.scopes.pop();
        if let Some(around) = self.scopes.last_mut() {
            around.done = (around.done + 1).min(around.names.len());
        }
        ControlFlow::Continue(())
    }
}

/// A relation of `FROM`.
enum Factor {
    Stream { qualifier: Vec<Ident>, columns: Vec<String> },
    Other { qualifier: Vec<Ident> },
}

impl Hider<'_> {
    fn body(&self, body: &mut SetExpr) {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left);
                self.body(right);
            }
            // A query in parentheses is walked by itself; the others have no `*`.
            _ => {}
        }
    }

    fn select(&self, select: &mut Select) {
        let separate = select.from.iter().all(is_separate);
        let shown = select.projection.iter().any(is_wildcard) || select.from.iter().any(is_natural);
        for table in &mut select.from {
            for_each_factor(table, &mut |factor| self.prepare(factor, !separate && shown));
        }
        let mut factors = Some(Vec::new());
        for table in &mut select.from {
            for_each_factor(table, &mut |factor| match (self.factor(factor), &mut factors) {
                (Some(found), Some(all)) => all.push(found),
                _ => factors = None,
            });
        }
        let Some(factors) = factors.filter(|_| separate) else { return };
        if factors.iter().any(|factor| matches!(factor, Factor::Stream { .. })) {
            let items = std::mem::take(&mut select.projection);
            select.projection = items.into_iter().flat_map(|item| expanded(item, &factors)).collect();
        }
    }

    fn columns(&self, name: &ObjectName) -> Option<Vec<String>> {
        if let [part] = &name.0[..]
            && let Some(ident) = part.as_ident()
        {
            let name = folded(ident);
            if self.scopes.iter().any(|scope| scope.visible().contains(&name)) {
                return None;
            }
        }
        (self.streams)(name)
    }

    /// Puts a query of the declared columns in the place of a stream where `*` alone cannot be told apart.
    fn prepare(&self, factor: &mut TableFactor, always: bool) {
        if let TableFactor::NestedJoin { table_with_joins, alias: Some(_) } = factor {
            for_each_factor(table_with_joins, &mut |inner| self.prepare(inner, true));
        }
        let TableFactor::Table { name, alias, args: None, .. } = &*factor else { return };
        let renamed = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
        if !(always || renamed) {
            return;
        }
        let Some(subquery) = self.columns(name).and_then(|columns| only(&columns, name)) else { return };
        let Some(last) = name.0.last().and_then(|part| part.as_ident()) else { return };
        let alias = Some(alias.clone().unwrap_or_else(|| named(last.clone())));
        *factor = TableFactor::Derived { lateral: false, subquery, alias, sample: None };
    }

    /// `None` where its columns cannot be named apart from those of the others.
    fn factor(&self, factor: &mut TableFactor) -> Option<Factor> {
        match factor {
            TableFactor::Table { name, alias, args, .. } => {
                let idents: Vec<Ident> = name.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
                let qualifier = alias.as_ref().map_or(idents, |alias| vec![alias.name.clone()]);
                Some(match self.columns(name).filter(|_| args.is_none()) {
                    Some(columns) => Factor::Stream { qualifier, columns },
                    None => Factor::Other { qualifier },
                })
            }
            TableFactor::Derived { alias, .. } | TableFactor::NestedJoin { alias, .. } => {
                let alias = alias.get_or_insert_with(|| named(Ident::with_quote('"', "?derived?")));
                Some(Factor::Other { qualifier: vec![alias.name.clone()] })
            }
            _ => None,
        }
    }
}

/// Each of its columns belongs to one relation, and `*` shows all of them.
fn is_separate(table: &TableWithJoins) -> bool {
    let plain = |join: &Join| match &join.join_operator {
        JoinOperator::Join(by)
        | JoinOperator::Inner(by)
        | JoinOperator::Left(by)
        | JoinOperator::LeftOuter(by)
        | JoinOperator::Right(by)
        | JoinOperator::RightOuter(by)
        | JoinOperator::FullOuter(by)
        | JoinOperator::CrossJoin(by) => matches!(by, JoinConstraint::On(_) | JoinConstraint::None),
        _ => false,
    };
    let nested = |factor: &TableFactor| match factor {
        TableFactor::NestedJoin { table_with_joins, alias: None } => is_separate(table_with_joins),
        TableFactor::Table { .. } | TableFactor::Derived { .. } => true,
        _ => false,
    };
    nested(&table.relation) && table.joins.iter().all(|join| plain(join) && nested(&join.relation))
}

/// Joined by all columns of the same name, and every stream has an `_offset`.
fn is_natural(table: &TableWithJoins) -> bool {
    let natural = |join: &Join| match &join.join_operator {
        JoinOperator::Join(by)
        | JoinOperator::Inner(by)
        | JoinOperator::Left(by)
        | JoinOperator::LeftOuter(by)
        | JoinOperator::Right(by)
        | JoinOperator::RightOuter(by)
        | JoinOperator::FullOuter(by) => matches!(by, JoinConstraint::Natural),
        _ => false,
    };
    table.joins.iter().any(natural)
}

fn is_wildcard(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
}

/// From left to right, through joins in parentheses that have no name.
fn for_each_factor(table: &mut TableWithJoins, then: &mut dyn FnMut(&mut TableFactor)) {
    let relations = table.joins.iter_mut().map(|join| &mut join.relation);
    for factor in std::iter::once(&mut table.relation).chain(relations) {
        match factor {
            TableFactor::NestedJoin { table_with_joins, alias: None } => for_each_factor(table_with_joins, then),
            other => then(other),
        }
    }
}

fn expanded(item: SelectItem, factors: &[Factor]) -> Vec<SelectItem> {
    match &item {
        SelectItem::Wildcard(_) => factors.iter().flat_map(all_of).collect(),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
            let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(folded).collect();
            let is_meant = |factor: &&Factor| match factor {
                Factor::Stream { qualifier, .. } => {
                    let known: Vec<String> = qualifier.iter().map(folded).collect();
                    known.ends_with(&parts) || parts.ends_with(&known)
                }
                Factor::Other { .. } => false,
            };
            match factors.iter().find(is_meant) {
                Some(stream) => all_of(stream),
                None => vec![item],
            }
        }
        _ => vec![item],
    }
}

fn all_of(factor: &Factor) -> Vec<SelectItem> {
    match factor {
        Factor::Stream { qualifier, columns } => columns
            .iter()
            .map(|column| {
                let parts = qualifier.iter().cloned().chain([quoted(column)]).collect();
                SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts))
            })
            .collect(),
        Factor::Other { qualifier } => {
            let name = SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(qualifier.clone()));
            vec![SelectItem::QualifiedWildcard(name, WildcardAdditionalOptions::default())]
        }
    }
}

/// `(SELECT "a", "b" FROM stream)`
fn only(columns: &[String], stream: &ObjectName) -> Option<Box<Query>> {
    let columns = columns.iter().map(|column| quoted(column).to_string()).collect::<Vec<_>>().join(", ");
    let parsed = Parser::parse_sql(&Postgres, &format!("SELECT {columns} FROM {stream}")).ok()?;
    match parsed.into_iter().next()? {
        ast::Statement::Query(query) => Some(query),
        _ => None,
    }
}

fn named(name: Ident) -> TableAlias {
    TableAlias { explicit: true, at: None, name, columns: Vec::new() }
}

fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Statement, parse};

    fn hidden(sql: &str) -> String {
        let Statement::Query(mut query) = parse(sql).expect(sql).pop().expect("a statement").statement else {
            panic!("{sql}")
        };
        let streams = |name: &ObjectName| match name.to_string().to_lowercase().as_str() {
            "s" | "public.s" => Some(vec!["a".to_owned(), "k".to_owned()]),
            "t" => Some(vec!["k".to_owned(), "T".to_owned()]),
            _ => None,
        };
        hide_virtual_columns(&mut query, &streams);
        query.to_string()
    }

    #[test]
    fn a_star_shows_what_was_declared() {
        for (sql, rewritten) in [
            ("SELECT * FROM s", "SELECT s.\"a\", s.\"k\" FROM s"),
            ("SELECT *, _offset FROM public.s", "SELECT public.s.\"a\", public.s.\"k\", _offset FROM public.s"),
            ("SELECT x.* FROM S AS x", "SELECT x.\"a\", x.\"k\" FROM S AS x"),
            ("SELECT s.* FROM public.s", "SELECT public.s.\"a\", public.s.\"k\" FROM public.s"),
            ("SELECT * FROM v, t", "SELECT v.*, t.\"k\", t.\"T\" FROM v, t"),
            ("SELECT v.* FROM v, s", "SELECT v.* FROM v, s"),
            (
                "SELECT * FROM (SELECT * FROM s) JOIN t ON true",
                "SELECT \"?derived?\".*, t.\"k\", t.\"T\" FROM (SELECT s.\"a\", s.\"k\" FROM s) AS \"?derived?\" JOIN t ON true",
            ),
            ("SELECT * FROM v UNION SELECT * FROM s", "SELECT * FROM v UNION SELECT s.\"a\", s.\"k\" FROM s"),
            ("SELECT count(*) FROM s", "SELECT count(*) FROM s"),
            ("SELECT 1 WHERE EXISTS (SELECT * FROM t)", "SELECT 1 WHERE EXISTS (SELECT t.\"k\", t.\"T\" FROM t)"),
        ] {
            assert_eq!(hidden(sql), rewritten, "{sql}");
        }
    }

    #[test]
    fn a_star_over_merged_columns_is_left_to_the_planner() {
        for (sql, rewritten) in [
            (
                "SELECT * FROM s JOIN t USING (k)",
                "SELECT * FROM (SELECT \"a\", \"k\" FROM s) AS s JOIN (SELECT \"k\", \"T\" FROM t) AS t USING(k)",
            ),
            ("SELECT a FROM s NATURAL JOIN v", "SELECT a FROM (SELECT \"a\", \"k\" FROM s) AS s NATURAL JOIN v"),
            ("SELECT x, _late FROM s JOIN v USING (k)", "SELECT x, _late FROM s JOIN v USING(k)"),
            ("SELECT * FROM s AS x (p, q)", "SELECT * FROM (SELECT \"a\", \"k\" FROM s) AS x (p, q)"),
        ] {
            assert_eq!(hidden(sql), rewritten, "{sql}");
        }
    }

    #[test]
    fn a_name_of_with_is_no_stream() {
        for (sql, rewritten) in [
            ("WITH s AS (SELECT 1) SELECT * FROM s", "WITH s AS (SELECT 1) SELECT * FROM s"),
            (
                "WITH s AS (SELECT * FROM s) SELECT * FROM s",
                "WITH s AS (SELECT s.\"a\", s.\"k\" FROM s) SELECT * FROM s",
            ),
            (
                "WITH v AS (SELECT 1), t AS (SELECT * FROM t) SELECT * FROM (SELECT * FROM t) AS x, s",
                "WITH v AS (SELECT 1), t AS (SELECT t.\"k\", t.\"T\" FROM t) SELECT x.*, s.\"a\", s.\"k\" FROM (SELECT * FROM t) AS x, s",
            ),
        ] {
            assert_eq!(hidden(sql), rewritten, "{sql}");
        }
    }
}
