//! From the logical plan of a query to the parts of a step, by one exhaustive match over DataFusion's
//! nodes: a node that is new there is a compile error here and never a wrong answer.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef};
use datafusion::{
    common::{
        Column, TableReference,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Aggregate, Expr, Filter, LogicalPlan, Projection, Volatility},
};

use super::{placeholder, source::time_type};
use crate::{Error, GROUPS_TABLE, Result, error::from_datafusion};

pub(super) const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_size"];

/// What lies above and below the aggregate.
pub(super) struct Parts {
    pub(super) input: LogicalPlan,
    /// The aggregate, and the nodes above it, lowest first.
    pub(super) aggregate: Option<(Aggregate, Vec<LogicalPlan>)>,
}

pub(super) fn split(plan: &LogicalPlan) -> Result<Parts> {
    let mut above = Vec::new();
    let mut at = plan;
    loop {
        match at {
            LogicalPlan::Projection(node) => {
                node.expr.iter().try_for_each(refuse_volatile)?;
                above.push(at.clone());
                at = &node.input;
            }
            LogicalPlan::Filter(node) => {
                refuse_volatile(&node.predicate)?;
                above.push(at.clone());
                at = &node.input;
            }
            LogicalPlan::SubqueryAlias(node) => {
                above.push(at.clone());
                at = &node.input;
            }
            LogicalPlan::Aggregate(node) => {
                node.group_expr.iter().chain(&node.aggr_expr).try_for_each(refuse_volatile)?;
                if node.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
                    return Err(Error::unsupported(
                        "GROUPING SETS, ROLLUP or CUBE in a materialized view",
                        "Use one view per grouping.",
                    ));
                }
                let below = split(&node.input)?;
                if below.aggregate.is_some() {
                    return Err(Error::unsupported(
                        "an aggregate over an aggregate in one view",
                        "Use one GROUP BY per view.",
                    ));
                }
                above.reverse();
                return Ok(Parts { input: node.input.as_ref().clone(), aggregate: Some((node.clone(), above)) });
            }
            LogicalPlan::TableScan(_) => return Ok(Parts { input: plan.clone(), aggregate: None }),
            LogicalPlan::Distinct(_) => return Err(refused("DISTINCT", "Use GROUP BY with the same columns.")),
            LogicalPlan::Sort(_) => return Err(refused("ORDER BY", "Order in the SELECT that reads the view.")),
            LogicalPlan::Limit(_) => return Err(refused("LIMIT", "Limit in the SELECT that reads the view.")),
            LogicalPlan::Join(_) => return Err(refused("a join", "Use a view over one stream.")),
            LogicalPlan::Union(_) => return Err(refused("UNION", "Use one view per branch.")),
            LogicalPlan::Window(_) => {
                return Err(refused("a window function (OVER)", "Use GROUP BY with WINDOW TUMBLE."));
            }
            LogicalPlan::Subquery(_) => {
                return Err(refused("a sub-query in an expression", "Use a view over one stream."));
            }
            LogicalPlan::Unnest(_) => return Err(refused("unnest", "Use the array as a column.")),
            LogicalPlan::RecursiveQuery(_) => return Err(refused("WITH RECURSIVE", "Use a view over one stream.")),
            LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => {
                return Err(refused("a query without a stream", "Select FROM a stream."));
            }
            LogicalPlan::Repartition(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Extension(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_) => return Err(refused("this statement", "Use SELECT.")),
        }
    }
}

fn refused(construct: &str, nearest: &str) -> Error {
    Error::unsupported(format!("{construct} in a materialized view"), nearest)
}

/// A value that another run would not give again must not be in a view.
pub(super) fn refuse_volatile(expr: &Expr) -> Result<()> {
    let mut found = None;
    let walked = expr.apply(|expr| {
        let name = match expr {
            Expr::ScalarFunction(function) if function.func.signature().volatility != Volatility::Immutable => {
                // Stable functions whose answer follows from the arguments alone.
                let harmless = ["date_part", "date_trunc", "to_char", "to_timestamp", "arrow_cast"];
                (!harmless.contains(&function.func.name())).then(|| format!("{}()", function.func.name()))
            }
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) => Some("a sub-query".to_owned()),
            _ => None,
        };
        Ok(match name {
            Some(name) => {
                found = Some(name);
                TreeNodeRecursion::Stop
            }
            None => TreeNodeRecursion::Continue,
        })
    });
    walked.map_err(|error| from_datafusion(error, ""))?;
    match found {
        Some(name) => Err(Error::unsupported(
            format!("{name} in a materialized view"),
            "A view must give the same rows when records are read again; use columns of the stream, or the function in the SELECT that reads the view.",
        )),
        None => Ok(()),
    }
}

/// Columns without their relation.
pub(super) fn unqualify(expr: Expr) -> Result<Expr> {
    let changed = expr.transform(|expr| {
        Ok(match expr {
            Expr::Column(column) => Transformed::yes(Expr::Column(Column::new_unqualified(column.name))),
            other => Transformed::no(other),
        })
    });
    Ok(changed.map_err(|error| from_datafusion(error, ""))?.data)
}

pub(super) fn is_window_column(expr: &Expr) -> Option<&'static str> {
    match expr {
        Expr::Column(column) => WINDOW_COLUMNS.iter().find(|name| **name == column.name).copied(),
        _ => None,
    }
}

pub(super) fn mentions_window(expr: &Expr) -> bool {
    expr.exists(|expr| Ok(is_window_column(expr).is_some())).unwrap_or(false)
}

/// `groups_schema`, and for every column of the aggregate the name it has there.
pub(super) fn groups_schema(
    aggregate: &Aggregate,
    windowed: bool,
) -> (SchemaRef, Vec<(Option<TableReference>, String, String)>) {
    let (mut fields, mut names) = (Vec::new(), Vec::new());
    if windowed {
        fields.push(Field::new(WINDOW_COLUMNS[0], time_type(), false));
        fields.push(Field::new(WINDOW_COLUMNS[1], time_type(), false));
        fields.push(Field::new(WINDOW_COLUMNS[2], DataType::Interval(IntervalUnit::MonthDayNano), false));
    }
    let (mut groups, mut values) = (0, 0);
    for (at, (qualifier, field)) in aggregate.schema.iter().enumerate() {
        let of_group = aggregate.group_expr.get(at);
        let name = match of_group.filter(|_| windowed).and_then(is_window_column) {
            Some(name) => name.to_owned(),
            None => {
                let name = if of_group.is_some() { format!("g{groups}") } else { format!("a{values}") };
                if of_group.is_some() {
                    groups += 1
                } else {
                    values += 1
                };
                fields.push(field.as_ref().clone().with_name(&name));
                name
            }
        };
        names.push((qualifier.cloned(), field.name().clone(), name));
    }
    (Arc::new(Schema::new(fields)), names)
}

/// The nodes above the aggregate again, over the placeholder `__groups`.
pub(super) fn output(
    above: &[LogicalPlan],
    schema: &SchemaRef,
    names: &[(Option<TableReference>, String, String)],
) -> Result<LogicalPlan> {
    let internal = |error| from_datafusion(error, "");
    let mut plan = placeholder(GROUPS_TABLE, schema)?;
    let mut renamed = false;
    let rename = |expr: Expr| {
        expr.transform(|expr| {
            let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
            let found = names.iter().find(|(qualifier, name, _)| {
                *name == column.name && (column.relation.is_none() || *qualifier == column.relation)
            });
            Ok(match found {
                Some((_, _, to)) => Transformed::yes(Expr::Column(Column::new(Some(GROUPS_TABLE), to))),
                None => Transformed::no(expr),
            })
        })
        .map(|changed| changed.data)
        .map_err(internal)
    };
    for node in above {
        plan = match node {
            LogicalPlan::Filter(filter) if !renamed => LogicalPlan::Filter(
                Filter::try_new(rename(filter.predicate.clone())?, Arc::new(plan)).map_err(internal)?,
            ),
            LogicalPlan::Projection(projection) if !renamed => {
                renamed = true;
                let mut exprs = Vec::new();
                for (expr, (qualifier, field)) in projection.expr.iter().zip(projection.schema.iter()) {
                    exprs.push(rename(expr.clone().unalias())?.alias_qualified(qualifier.cloned(), field.name()));
                }
                LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan)).map_err(internal)?)
            }
            other => other.with_new_exprs(other.expressions(), vec![plan]).map_err(internal)?,
        };
    }
    Ok(plan)
}
