//! Which statements ask the system catalogs.
//!
//! Those are written for PostgreSQL by tools and use what DataFusion lacks, so they are rewritten. What
//! users write is not: a rewrite made for `psql` must never change the meaning of their query.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, Expr, ObjectName, Visit, Visitor};
use datafusion_pg_catalog::pg_catalog::PG_CATALOG_TABLES;

use super::roles;

const SCHEMAS: [&str; 2] = ["pg_catalog", "information_schema"];
/// Types that only catalogs have.
const TYPES: [&str; 8] = ["regclass", "regtype", "regproc", "regprocedure", "regnamespace", "regrole", "oid", "name"];

/// Whether it names a relation, function or type of `pg_catalog` or `information_schema`.
pub(super) fn names_catalog(statement: &ast::Statement) -> bool {
    statement.visit(&mut Mentions).is_break()
}

struct Mentions;

fn parts(name: &ObjectName) -> Vec<String> {
    name.0.iter().filter_map(|part| Some(part.as_ident()?.value.to_lowercase())).collect()
}

fn when(found: bool) -> ControlFlow<()> {
    if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

impl Visitor for Mentions {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let parts = parts(relation);
        when(match &parts[..] {
            [name] => PG_CATALOG_TABLES.contains(&name.as_str()) || roles::TABLES.contains(&name.as_str()),
            [.., schema, _] => SCHEMAS.contains(&schema.as_str()),
            [] => false,
        })
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        when(match expr {
            Expr::Function(function) => match &parts(&function.name)[..] {
                [name] => name.starts_with("pg_") || ["obj_description", "col_description"].contains(&name.as_str()),
                [.., schema, _] => SCHEMAS.contains(&schema.as_str()),
                [] => false,
            },
            Expr::Cast { data_type, .. } => {
                let name = data_type.to_string().to_lowercase();
                name.starts_with("pg_catalog.") || TYPES.contains(&name.trim_end_matches("[]"))
            }
            // PostgreSQL has it without parentheses too, and DataFusion would look for a column.
            Expr::Identifier(name) => name.quote_style.is_none() && name.value.eq_ignore_ascii_case("current_schema"),
            Expr::Collate { collation, .. } => parts(collation).first().is_some_and(|name| name == "pg_catalog"),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use ebap_sql::{Statement, parse};

    use super::*;

    fn is_catalog(sql: &str) -> bool {
        let parsed = parse(sql).expect(sql).pop().expect("a statement");
        let Statement::Query(statement) = parsed.statement else { panic!("{sql}") };
        names_catalog(&statement)
    }

    #[test]
    fn queries_of_clients_are_told_from_those_of_users() {
        for sql in [
            "SELECT relname FROM pg_class",
            "SELECT c.relname FROM public.orders o, pg_catalog.pg_class c",
            "SELECT * FROM information_schema.tables",
            "SELECT pg_catalog.version()",
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM pg_namespace)",
            "SELECT 'orders'::regclass::oid",
            "SELECT current_schema",
        ] {
            assert!(is_catalog(sql), "{sql}");
        }
        for sql in [
            "SELECT region, count(*) FROM orders GROUP BY region",
            "SELECT * FROM pg_orders",
            "SELECT current_schema(), version()",
            "SELECT o.*, id FROM orders o WHERE region = ANY(ARRAY['eu'])",
            "SELECT (SELECT max(id) FROM other WHERE other.region = o.region) FROM orders o",
        ] {
            assert!(!is_catalog(sql), "{sql}");
        }
    }
}
