//! Several numbers of one row, `ROW_NUMBER() OVER (…) AS n, RANK() OVER (…) AS m … WHERE n <= 3 AND m <= 2`.
//!
//! Each counts all rows, so none can be taken over what another has left. Each is a node of its own over the same rows,
//! bounded by its own condition, and a row is shown that is in all of them. Equal rows are told apart by a count of
//! them, so that each meets one other.
//!
//! ```text
//! Join: c0 … = c0 …, copy = copy
//!   TopN: copy of each [c0 …, n] (TopN: n (input))
//!   TopN: copy of each [c0 …, m] (TopN: m (input))
//! ```

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::{
    common::{Column, DFSchemaRef, JoinType},
    logical_expr::{Expr, LogicalPlan, Window},
};

use super::{
    Planner, df_schema, project, refused,
    top::{ALL, top},
};
use crate::{
    Result,
    flow::{Expiry, Flow, Join, Node, Numbering, Time, column_of, plain},
};

/// Numbers over the same rows: those of one OVER are in one node, and nodes of several are one over the other.
struct Chain<'a> {
    input: &'a LogicalPlan,
    exprs: Vec<&'a Expr>,
    /// Of each column what it is: a column of the input, or behind them one of the numbers.
    columns: Vec<usize>,
}

impl<'a> Chain<'a> {
    fn of(node: &'a Window) -> Self {
        let below = Self::below(&node.input);
        let rows = |input: &LogicalPlan| input.schema().fields().len();
        let start = || Self { input: &node.input, exprs: Vec::new(), columns: (0..rows(&node.input)).collect() };
        let mut chain = below.unwrap_or_else(start);
        for expr in &node.window_expr {
            chain.columns.push(rows(chain.input) + chain.exprs.len());
            chain.exprs.push(expr);
        }
        chain
    }

    /// Through what only leaves out columns.
    fn below(plan: &'a LogicalPlan) -> Option<Self> {
        match plan {
            LogicalPlan::Window(node) => Some(Self::of(node)),
            LogicalPlan::Projection(node) => {
                let below = Self::below(&node.input)?;
                let place = |expr: &Expr| match expr {
                    Expr::Column(_) => Some(below.columns[column_of(expr, node.input.schema())?]),
                    _ => None,
                };
                let columns = node.expr.iter().map(place).collect::<Option<_>>()?;
                Some(Self { columns, ..below })
            }
            _ => None,
        }
    }
}

impl Planner<'_> {
    pub(super) fn numbered(&self, node: &Window) -> Result<Flow> {
        let schema = plain(&node.schema);
        let Chain { input, exprs, columns } = Chain::of(node);
        if let [expr] = exprs.as_slice() {
            return self.number(expr, input, schema);
        }
        let rows = input.schema().fields().len();
        let mut all: Option<Flow> = None;
        for (at, expr) in exprs.iter().enumerate() {
            let mut fields: Vec<Field> = input.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
            fields.push(Field::new("number", DataType::Int64, false));
            let one = copies(self.number(expr, input, Arc::new(Schema::new(fields)))?, rows)?;
            all = Some(match all {
                None => one,
                Some(others) => both(others, one, rows, at)?,
            });
        }
        let flow = all.ok_or_else(|| refused("this window function", "Use ROW_NUMBER() OVER (...)."))?;
        let places = positions(&flow.schema, "c")?;
        // The count of copies stands behind the first number.
        let shown = columns.into_iter().map(|at| column("c", at + usize::from(at > rows)));
        Ok(project(flow, shown.collect(), &places, schema))
    }
}

/// With a number for each of rows that are equal.
fn copies(flow: Flow, rows: usize) -> Result<Flow> {
    let places = positions(&flow.schema, "c")?;
    let mut fields: Vec<Field> = flow.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new("copy", DataType::UInt64, false));
    let partition = (0..rows).map(|at| column("c", at)).collect();
    let order = vec![column("c", rows).sort(true, false)];
    let schema = Arc::new(Schema::new(fields));
    top(flow, &places, partition, order, (0, Some(ALL)), Some(Numbering::Row), schema)
}

/// Rows that are in both: what the left side has, with the number of the right one.
fn both(left: Flow, right: Flow, rows: usize, numbers: usize) -> Result<Flow> {
    let (left_schema, right_schema) = (positions(&left.schema, "l")?, positions(&right.schema, "r")?);
    let copy = (column("l", rows + 1), column("r", rows + 1));
    let on: Vec<(Expr, Expr)> = (0..rows).map(|at| (column("l", at), column("r", at))).chain([copy]).collect();
    let times = left.times();
    let window = (0..rows).find_map(|column| match times[column] {
        Time::Window(slack_us) if right.times()[column] == times[column] => Some(Expiry { column, slack_us }),
        _ => None,
    });
    let width = left.schema.fields().len();
    let fields: Vec<Arc<Field>> = left.schema.fields().iter().chain(right.schema.fields()).cloned().collect();
    let join = Join {
        left,
        right,
        left_schema,
        right_schema,
        kind: JoinType::Inner,
        on,
        filter: None,
        null_equals_null: true,
        left_expiry: window,
        right_expiry: window,
        left_ttl_us: None,
        right_ttl_us: None,
        lookup: false,
    };
    let flow = Flow { node: Node::Join(Box::new(join)), schema: Arc::new(Schema::new(fields)) };
    debug_assert_eq!(width, rows + 1 + numbers, "rows, their first number, the copy, and the numbers that follow");
    let places = positions(&flow.schema, "c")?;
    let shown: Vec<usize> = (0..width).chain([width + rows]).collect();
    let schema = Arc::new(flow.schema.project(&shown).map_err(|error| crate::Error::new("XX000", error.to_string()))?);
    Ok(project(flow, shown.into_iter().map(|at| column("c", at)).collect(), &places, schema))
}

/// Columns by their places, as names may be there twice.
fn positions(schema: &Schema, prefix: &str) -> Result<DFSchemaRef> {
    let named = |(at, field): (usize, &Arc<Field>)| field.as_ref().clone().with_name(format!("{prefix}{at}"));
    df_schema(&Schema::new(schema.fields().iter().enumerate().map(named).collect::<Vec<_>>()))
}

fn column(prefix: &str, at: usize) -> Expr {
    Expr::Column(Column::new_unqualified(format!("{prefix}{at}")))
}
