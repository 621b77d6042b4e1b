//! `FOR SYSTEM_TIME AS OF`: a table as it was at the event time of a row.
//!
//! The table becomes one of its versions, each with the times between which it was the row of its key, and the join
//! one of bounded times:
//!
//! ```text
//! orders o JOIN rates FOR SYSTEM_TIME AS OF o.at AS r ON r.currency = o.currency
//! orders o JOIN "rates$versions" AS r ON r.currency = o.currency AND o.at >= r.__valid_from AND o.at < r.__valid_until
//! ```

use std::{ops::ControlFlow, sync::Arc};

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Query, SetExpr, TableAlias,
    TableFactor, TableVersion, TableWithJoins, VisitMut, VisitorMut,
};

use super::super::{
    source::time_type,
    view::{folded, last_name},
};
use crate::{
    Error, Plans, Result, SourceKind, SourcePlan,
    flow::{Flow, Node, VERSION_COLUMNS},
};

/// What the versions of a table are called in a query.
pub(super) fn versions_of(table: &str) -> String {
    format!("{table}$versions")
}

/// The versions of every table, for name resolution.
pub(super) fn tables(plans: &Plans) -> impl Iterator<Item = (String, SchemaRef)> {
    let tables = plans.sources.iter().filter(|source| source.kind == SourceKind::Table);
    tables.map(|source| (versions_of(&source.name), schema(source)))
}

fn schema(source: &SourcePlan) -> SchemaRef {
    let mut fields = source.schema.fields().to_vec();
    fields.extend(VERSION_COLUMNS.map(|name| Arc::new(Field::new(name, time_type(), false))));
    Arc::new(Schema::new(fields))
}

pub(super) fn scan(name: &str, plans: &Plans) -> Option<Flow> {
    let is_meant = |source: &&Arc<SourcePlan>| source.kind == SourceKind::Table && versions_of(&source.name) == name;
    let source = plans.sources.iter().find(is_meant)?;
    let time = source.watermark.map(|watermark| watermark.column);
    let (relation, key) = (source.id, source.primary_key.clone());
    let node = Node::Versions { relation, name: source.name.clone(), time, key };
    Some(Flow { node, schema: schema(source) })
}

pub(super) fn is_versions(flow: &Flow) -> bool {
    match &flow.node {
        Node::Versions { .. } => true,
        Node::Rows { input, .. } => is_versions(input),
        _ => false,
    }
}

pub(super) fn no_time() -> Error {
    Error::new("42P17", "the time of FOR SYSTEM_TIME AS OF has no watermark, so versions would be kept for ever")
        .hint("Name the watermark column of the stream on the left, or leave FOR SYSTEM_TIME AS OF away: a row then meets the newest row of the table.")
}

/// Rewrites every join with a table as of a time.
pub(super) fn rewrite(query: &mut Query, plans: &Plans) -> Result<()> {
    match VisitMut::visit(query, &mut Rewriter { plans }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Rewriter<'a> {
    plans: &'a Plans,
}

impl VisitorMut for Rewriter<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        match self.body(&mut query.body) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    /// What is left is not the right side of a join.
    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        match factor {
            TableFactor::Table { version: Some(_), .. } => ControlFlow::Break(misplaced()),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn misplaced() -> Error {
    Error::unsupported(
        "FOR SYSTEM_TIME AS OF here",
        "Write stream JOIN table FOR SYSTEM_TIME AS OF stream.time AS name ON ...; LEFT JOIN works too.",
    )
}

impl Rewriter<'_> {
    fn body(&self, body: &mut SetExpr) -> Result<()> {
        match body {
            SetExpr::Select(select) => select.from.iter_mut().try_for_each(|from| self.joins(from)),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left)?;
                self.body(right)
            }
            // A query in parentheses is visited by itself.
            _ => Ok(()),
        }
    }

    fn joins(&self, from: &mut TableWithJoins) -> Result<()> {
        let joined = from.joins.iter_mut().map(|join| &mut join.relation);
        for factor in std::iter::once(&mut from.relation).chain(joined) {
            if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
                self.joins(table_with_joins)?;
            }
        }
        from.joins.iter_mut().try_for_each(|join| self.join(join))
    }

    fn join(&self, join: &mut Join) -> Result<()> {
        let TableFactor::Table { name, alias, version, .. } = &mut join.relation else { return Ok(()) };
        let Some(TableVersion::ForSystemTimeAsOf(time)) = version.take() else { return Ok(()) };
        if is_clock(&time) {
            // As it is when the row comes: what a join with a table is anyway.
            return Ok(());
        }
        if !matches!(time, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
            let what = format!("FOR SYSTEM_TIME AS OF {time}");
            return Err(Error::unsupported(what, "Name the watermark column of the stream."));
        }
        let table = last_name(name);
        let is_table = |source: &Arc<SourcePlan>| source.kind == SourceKind::Table && source.name == table;
        if !self.plans.sources.iter().any(is_table) {
            return Err(Error::unsupported(
                format!("FOR SYSTEM_TIME AS OF of \"{table}\""),
                "Name a table (CREATE TABLE): a stream has no newest row of a key, and of a view or a query no older one is kept.",
            ));
        }
        let alias = alias.get_or_insert_with(|| TableAlias {
            explicit: true,
            at: None,
            name: Ident::with_quote('"', &table),
            columns: Vec::new(),
        });
        if !alias.columns.is_empty() {
            return Err(Error::unsupported(
                "names for columns behind FOR SYSTEM_TIME AS OF",
                "Name them by AS in the select list.",
            ));
        }
        let column = |name: &str| Expr::CompoundIdentifier(vec![alias.name.clone(), Ident::new(name)]);
        let [from, until] = VERSION_COLUMNS.map(column);
        *name = ObjectName::from(vec![Ident::with_quote('"', versions_of(&table))]);
        let both = |left: Expr, op, right: Expr| Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) };
        let within = both(
            both(time.clone(), BinaryOperator::GtEq, from),
            BinaryOperator::And,
            both(time, BinaryOperator::Lt, until),
        );
        match &mut join.join_operator {
            JoinOperator::Join(JoinConstraint::On(on))
            | JoinOperator::Inner(JoinConstraint::On(on))
            | JoinOperator::Left(JoinConstraint::On(on))
            | JoinOperator::LeftOuter(JoinConstraint::On(on)) => {
                *on = both(Expr::Nested(Box::new(on.clone())), BinaryOperator::And, within);
                Ok(())
            }
            _ => Err(misplaced()),
        }
    }
}

/// `PROCTIME()`, as Flink and RisingWave write it, and PostgreSQL's names of now.
fn is_clock(time: &Expr) -> bool {
    match time {
        Expr::Function(call) => {
            let names = ["proctime", "now", "current_timestamp"];
            call.name
                .0
                .last()
                .and_then(|part| part.as_ident())
                .is_some_and(|name| names.contains(&folded(name).as_str()))
        }
        _ => false,
    }
}
