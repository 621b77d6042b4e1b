//! What SQL means: between the parser and DataFusion, the one layer that gives expressions PostgreSQL's meaning.
//! Queries, views, computed columns, `CHECK` and alerts all pass through it, so that they agree.
//!
//! ```text
//! text --parser::dialect--> statement      precedence
//!      --desugar--> statement              casts, typed literals, rows, ANY … as calls
//!      --DataFusion's SqlToRel--> plan     with `deferred` operators, functions and aggregates
//!      --plan::resolved--> plan            each operator, function and conversion chosen as PostgreSQL chooses
//!      --DataFusion's analyzer and optimizer
//! ```
//!
//! # Invariants
//! * A quoted literal and a parameter take the type of their context, or are an error. DataFusion's conversions between
//!   text and anything else are never reached.
//! * A plan that was resolved has no deferred call. It must not be resolved again: literals have their types by then.
//! * Values that are equal have the same bits where they are grouped, joined, sorted or compared (`Scope::key`).

mod aggregates;
mod calls;
mod clock;
mod deferred;
mod desugar;
mod expressions;
mod guards;
mod limits;
mod lists;
mod named_args;
mod numbering;
mod operators;
mod ordering;
mod overload;
mod plan;
mod row_subqueries;
mod scope;
mod series;
mod set_operations;
mod sets;
mod subqueries;
mod targets;
mod ties;
mod using;
mod value_lists;
mod volatile_calls;
mod with_names;

use std::sync::Arc;

use datafusion::{
    execution::{FunctionRegistry, SessionState},
    logical_expr::{LogicalPlan, planner::ExprPlanner},
    sql::{parser::Statement as DataFusionStatement, sqlparser::ast},
};
use ebap_values::ValueError;

pub(crate) use self::guards::GuardMergedFilters;

use crate::{
    Error, Result,
    error::{find_word, from_datafusion},
};

/// The logical plan of a statement, with PostgreSQL's meaning. `text` is the statement, for positions.
///
/// # Errors
/// As PostgreSQL has them: 42883 for an operator or a function that does not exist, 22P02 for a literal that is no
/// value of its type, 42804 for types that do not go together.
pub async fn plan_statement(state: &SessionState, mut statement: ast::Statement, text: &str) -> Result<LogicalPlan> {
    desugar(&mut statement)?;
    let statement = DataFusionStatement::Statement(Box::new(statement));
    let plan = state.statement_to_plan(statement).await.map_err(|error| from_datafusion(error, text))?;
    let utc = is_utc(state);
    plan::resolved(plan, utc, Shown::Canonical).map_err(|error| placed(from_datafusion(error, text), text))
}

/// How a NUMERIC that is grouped by is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// Without zeros at its end, so that the rows of a view keep their keys.
    Canonical,
    /// With the digits of one of the rows, as PostgreSQL does.
    AsFound,
}

fn is_utc(state: &SessionState) -> bool {
    let zone = state.config().options().execution.time_zone.as_deref().unwrap_or("UTC");
    ["utc", "+00:00", "etc/utc", "gmt", "z", "+00"].contains(&zone.to_lowercase().as_str())
}

/// Makes calls of what SQL gives a spelling of its own; `resolve` knows them.
///
/// # Errors
/// 0A000 for what DataFusion would answer with other rows.
pub fn desugar(statement: &mut ast::Statement) -> Result<()> {
    desugar::desugar(statement)
}

/// Chooses the operators and functions of a plan that `statement_to_plan` gave for a desugared statement.
///
/// # Errors
/// As `plan_statement`.
pub fn resolve(state: &SessionState, plan: LogicalPlan, text: &str) -> Result<LogicalPlan> {
    plan::resolved(plan, is_utc(state), Shown::AsFound).map_err(|error| placed(from_datafusion(error, text), text))
}

/// Makes the session's operators, functions and aggregates wait for their types.
pub(crate) fn install(state: &mut SessionState) -> datafusion::error::Result<()> {
    install_functions(state)?;
    for name in aggregates::NAMES {
        let Ok(inner) = state.udaf(name) else { continue };
        state.deregister_udaf(name)?;
        state.register_udaf(Arc::new(deferred::deferred_aggregate(&inner)))?;
    }
    for (name, ordered) in aggregates::OWN {
        let inner = ebap_functions::named_aggregate(name, ordered);
        state.register_udaf(Arc::new(deferred::deferred_aggregate(&inner)))?;
    }
    Ok(())
}

/// Makes the functions of PostgreSQL wait for their types, in place of others of their names.
///
/// # Errors
/// Where the registry takes none.
pub fn install_functions(registry: &mut dyn FunctionRegistry) -> datafusion::error::Result<()> {
    let functions = deferred::functions();
    // All of them first: with a function go its other names, which may be those of functions here. And each by its
    // first name, as a session that is made of this one gives every function all of its names again.
    for udf in &functions {
        if let Ok(other) = registry.udf(udf.name()) {
            registry.deregister_udf(other.name())?;
        }
        registry.deregister_udf(udf.name())?;
    }
    for udf in functions {
        registry.register_udf(udf)?;
    }
    Ok(())
}

/// Gives operators their meaning, and must be the first to be asked.
pub(crate) fn operator_planner() -> Arc<dyn ExprPlanner> {
    Arc::new(deferred::OperatorPlanner)
}

/// With the place of the function or of the literal that the message names.
fn placed(mut error: Error, text: &str) -> Error {
    let name = error.message.strip_prefix("function ").and_then(|rest| rest.split_once('(')).map(|(name, _)| name);
    let literal = match error.sqlstate {
        "22P02" | "22007" | "22008" => error.message.split_once(": \"").and_then(|(_, rest)| rest.strip_suffix('"')),
        _ => None,
    };
    let of_literal = |value: &str| {
        let literal = format!("'{}'", value.replace('\'', "''"));
        let at = text.find(&literal)?;
        Some(text[..at].chars().count() + 1)
    };
    let position = name.and_then(|name| find_word(text, name)).or_else(|| literal.and_then(of_literal));
    error.position = error.position.or(position);
    error
}

fn value_error(error: ValueError) -> Error {
    Error::new(error.sqlstate, error.message)
}
