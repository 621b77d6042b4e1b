//! The parameters that a plan has.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    logical_expr::{Cast, Expr, LogicalPlan},
};

use super::{PARAMETERS_MAX, Parameter};
use crate::{
    pgwire::sqlstate::{SqlError, from_query},
    session::parameter_number,
};

/// The parameters of a plan: as the client declares them, else as the plan infers them. The type of a cast
/// around one is its type, as in PostgreSQL; where nothing says what one is, it is text.
///
/// # Errors
/// 42P02 for numbers that no message could have values for.
pub(in crate::pgwire) fn found(plan: &LogicalPlan, declared: &[Option<Parameter>]) -> Result<Vec<Parameter>, SqlError> {
    let mut fields: Vec<Option<FieldRef>> = Vec::new();
    let mut beyond = None;
    let mut note = |id: &str, field: Option<FieldRef>| {
        let Some(at) = parameter_number(id).filter(|at| *at < PARAMETERS_MAX) else {
            beyond = Some(id.to_owned());
            return;
        };
        if fields.len() <= at {
            fields.resize(at + 1, None);
        }
        if fields[at].is_none() {
            fields[at] = field;
        }
    };
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                match expr {
                    Expr::Cast(Cast { expr, field }) => {
                        if let Expr::Placeholder(placeholder) = expr.as_ref() {
                            note(&placeholder.id, placeholder.field.clone().or_else(|| Some(Arc::clone(field))));
                        }
                    }
                    Expr::Placeholder(placeholder) => note(&placeholder.id, placeholder.field.clone()),
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    walked.map_err(|error| from_query(error, ""))?;
    if let Some(id) = beyond {
        return Err(SqlError::new("42P02", format!("there is no parameter {id}")));
    }
    let count = fields.len().max(declared.len());
    let one = |at: usize| match declared.get(at) {
        Some(Some(parameter)) => parameter.clone(),
        _ => Parameter::planned(fields.get(at).and_then(Option::as_ref)),
    };
    Ok((0..count).map(one).collect())
}
