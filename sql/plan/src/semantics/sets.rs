//! Sets of rows: `DISTINCT`, and the rows that `unnest` makes of a list.

use std::sync::Arc;

use datafusion::{
    common::Result,
    functions_aggregate::expr_fn::first_value,
    logical_expr::{Aggregate, Expr, LogicalPlan, Projection},
};
use ebap_values::PgType;

use super::{
    plan::{column_of, external},
    scope::Scope,
};

/// Groups of equal rows, each shown by one of them. None where equal values have equal bits.
pub(super) fn distinct_as_found(scope: &Scope<'_>, input: &Arc<LogicalPlan>) -> Result<Option<LogicalPlan>> {
    let (mut groups, mut aggregates, mut exprs) = (Vec::new(), Vec::new(), Vec::new());
    for (at, (qualifier, field)) in input.schema().iter().enumerate() {
        let column = Expr::from((qualifier, field));
        let key = scope.canonical(column.clone()).map_err(external)?;
        if key == column {
            groups.push(column.clone());
            exprs.push(column);
            continue;
        }
        groups.push(key.alias(format!("key {at}")));
        let of = ebap_functions::pg_type(field);
        let call = first_value(column, Vec::new()).alias(format!("value {at}"));
        let shown = scope.marked(column_of(&call), Some(&of));
        aggregates.push(call);
        exprs.push(shown.alias_qualified(qualifier.cloned(), field.name()));
    }
    if aggregates.is_empty() {
        return Ok(None);
    }
    let aggregate = LogicalPlan::Aggregate(Aggregate::try_new(Arc::clone(input), groups, aggregates)?);
    Ok(Some(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(aggregate))?)))
}

/// Elements that are UUID or JSON, of which `unnest` leaves the text alone, say so again.
pub(super) fn marked_elements(plan: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Unnest(node) = &plan else { return Ok(plan) };
    let input = node.input.schema();
    let scope = Scope { schema: &node.schema, utc: true, records: false };
    let (mut exprs, mut changed) = (Vec::new(), false);
    for (at, (qualifier, field)) in node.schema.iter().enumerate() {
        let column = Expr::from((qualifier, field));
        let list = node.dependency_indices.get(at).map(|at| ebap_functions::pg_type(input.field(*at)));
        let expr = match list {
            Some(PgType::Array(of)) if *of != ebap_functions::pg_type(field) => scope.marked(column.clone(), Some(&of)),
            _ => column.clone(),
        };
        let same = expr == column;
        changed |= !same;
        exprs.push(if same { column } else { expr.alias_qualified(qualifier.cloned(), field.name()) });
    }
    match changed {
        true => Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?)),
        false => Ok(plan),
    }
}
