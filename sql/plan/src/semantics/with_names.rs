//! `WITH` within `WITH`: a name may be used again further in, and hides the outer one there. DataFusion has one list of
//! names for all of them, so an inner name that is there already becomes one of its own.

use std::{collections::HashMap, ops::ControlFlow};

use datafusion::sql::sqlparser::ast::{
    self, Cte, Ident, ObjectNamePart, Query, TableAlias, TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};

use crate::{Error, Result, column_names::folded};

/// Rewrites the statement in place.
///
/// # Errors
/// 42712 for a name that one `WITH` gives twice, 0A000 for `WITH RECURSIVE` of a query that names itself.
pub(super) fn rewrite(statement: &mut ast::Statement) -> Result<()> {
    let mut found = Names::default();
    if let ControlFlow::Break(error) = Visit::visit(statement, &mut found) {
        return Err(error);
    }
    found.counts.retain(|_, count| *count > 1);
    if found.counts.is_empty() {
        return Ok(());
    }
    let mut renamer = Renamer { twice: found.counts, depth: 0, made: 0 };
    let _ = VisitMut::visit(statement, &mut renamer);
    Ok(())
}

/// Counts the queries of each name, in all of the statement.
#[derive(Default)]
struct Names {
    counts: HashMap<String, usize>,
}

impl Visitor for Names {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        let Some(with) = &query.with else { return ControlFlow::Continue(()) };
        for (at, table) in with.cte_tables.iter().enumerate() {
            let name = folded(&table.alias.name);
            if with.cte_tables[..at].iter().any(|other| folded(&other.alias.name) == name) {
                let message = format!("WITH query name \"{name}\" specified more than once");
                return ControlFlow::Break(Error::new("42712", message));
            }
            if with.recursive && names(table, &name) {
                let hint = "Write the steps as queries of their own, or use generate_series.";
                return ControlFlow::Break(Error::unsupported("WITH RECURSIVE", hint));
            }
            *self.counts.entry(name).or_default() += 1;
        }
        ControlFlow::Continue(())
    }
}

/// Inner queries come before those around them, so what is left of a name is meant for the query at hand.
struct Renamer {
    twice: HashMap<String, usize>,
    depth: usize,
    made: usize,
}

impl VisitorMut for Renamer {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        let tables = query.with.as_ref().map_or(0, |with| with.cte_tables.len());
        if self.depth == 0 {
            return ControlFlow::Continue(());
        }
        for at in 0..tables {
            let Some(with) = &mut query.with else { break };
            let name = folded(&with.cte_tables[at].alias.name);
            if !self.twice.contains_key(&name) {
                continue;
            }
            self.made += 1;
            let own = Ident::with_quote('"', format!("{name}${}", self.made));
            with.cte_tables[at].alias.name = own.clone();
            // A query of WITH sees those before it, and not itself.
            let mut renamed = Renamed { name, own };
            for later in &mut with.cte_tables[at + 1..] {
                let _ = VisitMut::visit(&mut later.query, &mut renamed);
            }
            let with = query.with.take();
            let _ = VisitMut::visit(query, &mut renamed);
            query.with = with;
        }
        ControlFlow::Continue(())
    }
}

struct Renamed {
    name: String,
    own: Ident,
}

impl VisitorMut for Renamed {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, args: None, .. } = factor
            && let [ObjectNamePart::Identifier(ident)] = &mut name.0[..]
            && folded(ident) == self.name
        {
            let written = std::mem::replace(ident, self.own.clone());
            alias.get_or_insert_with(|| TableAlias { explicit: true, name: written, columns: Vec::new(), at: None });
        }
        ControlFlow::Continue(())
    }
}

/// Whether the query of `table` reads from `name`.
fn names(table: &Cte, name: &str) -> bool {
    struct Read<'a>(&'a str);
    impl Visitor for Read<'_> {
        type Break = ();

        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            match factor {
                TableFactor::Table { name, args: None, .. } => match &name.0[..] {
                    [ObjectNamePart::Identifier(ident)] if folded(ident) == self.0 => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                },
                _ => ControlFlow::Continue(()),
            }
        }
    }
    Visit::visit(&table.query, &mut Read(name)).is_break()
}
