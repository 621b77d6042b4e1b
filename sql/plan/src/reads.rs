//! Which columns of which tables a query names, as PostgreSQL counts them for privileges: those of its expressions, whether
//! or not their values reach the result.

use std::{collections::BTreeSet, sync::Arc};

use datafusion::{
    common::{
        Column, DFSchema,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    error::Result as DataFusionResult,
    logical_expr::{Expr, JoinType, LogicalPlan, TableScan, TableSource},
};

/// A table that a query names.
pub struct Scan {
    pub source: Arc<dyn TableSource>,
    /// Names of columns, sorted.
    pub columns: Vec<String>,
}

/// The tables of a plan that no optimizer has changed.
///
/// # Errors
/// From DataFusion, where the plan cannot be walked.
pub fn scans(plan: &LogicalPlan) -> DataFusionResult<Vec<Scan>> {
    let mut walk = Walk { outer: outer_columns(plan)?, found: Vec::new() };
    let all = (0..plan.schema().fields().len()).collect();
    walk.node(plan, all)?;
    Ok(walk.found)
}

struct Walk {
    /// Columns that sub-queries name of what is around them.
    outer: Vec<Column>,
    found: Vec<Scan>,
}

fn outer_columns(plan: &LogicalPlan) -> DataFusionResult<Vec<Column>> {
    let mut found = Vec::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|one| {
                if let Expr::OuterReferenceColumn(_, column) = one {
                    found.push(column.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// Positions of these columns in a schema; names of others are left out.
fn positions<'a>(columns: impl IntoIterator<Item = &'a Column>, schema: &DFSchema) -> BTreeSet<usize> {
    columns.into_iter().filter_map(|column| schema.maybe_index_of_column(column)).collect()
}

impl Walk {
    /// `wanted`: the columns of the node's result that are named further up.
    fn node(&mut self, plan: &LogicalPlan, wanted: BTreeSet<usize>) -> DataFusionResult<()> {
        self.subqueries(plan)?;
        match plan {
            LogicalPlan::TableScan(scan) => {
                self.scan(scan, &wanted);
                Ok(())
            }
            // Their result has the columns of their input, in order.
            LogicalPlan::Filter(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::SubqueryAlias(_) => self.inputs(plan, |_| wanted.clone()),
            LogicalPlan::Window(window) => {
                let width = window.input.schema().fields().len();
                self.inputs(plan, |_| wanted.iter().copied().filter(|at| *at < width).collect())
            }
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) => self.inputs(plan, |_| BTreeSet::new()),
            LogicalPlan::Union(_) => self.inputs(plan, |_| wanted.clone()),
            LogicalPlan::Join(join) => {
                let left = join.left.schema().fields().len();
                let has = |at: usize| match join.join_type {
                    JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => (at < left, at),
                    JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => (true, at),
                    JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => (false, at + left),
                };
                let sides: Vec<(bool, usize)> = wanted.iter().map(|at| has(*at)).collect();
                self.inputs(plan, |side| {
                    let own = sides.iter().filter(|(is_left, _)| *is_left == (side == 0));
                    own.map(|(_, at)| if side == 0 { *at } else { at - left }).collect()
                })
            }
            LogicalPlan::Distinct(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::RecursiveQuery(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Extension(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_) => {
                let widths: Vec<usize> = plan.inputs().iter().map(|input| input.schema().fields().len()).collect();
                self.inputs(plan, |side| (0..widths[side]).collect())
            }
        }
    }

    /// Goes on with the inputs: with what `passed` says is wanted of each, and what the node's own expressions name.
    fn inputs(&mut self, plan: &LogicalPlan, passed: impl Fn(usize) -> BTreeSet<usize>) -> DataFusionResult<()> {
        let mut named = Vec::new();
        plan.apply_expressions(|expr| {
            named.extend(expr.column_refs().into_iter().cloned());
            Ok(TreeNodeRecursion::Continue)
        })?;
        for (side, input) in plan.inputs().into_iter().enumerate() {
            let mut wanted = passed(side);
            wanted.retain(|at| *at < input.schema().fields().len());
            wanted.extend(positions(named.iter().chain(&self.outer), input.schema()));
            self.node(input, wanted)?;
        }
        Ok(())
    }

    fn subqueries(&mut self, plan: &LogicalPlan) -> DataFusionResult<()> {
        let mut inner = Vec::new();
        plan.apply_subqueries(|subquery| {
            inner.push(subquery.clone());
            Ok(TreeNodeRecursion::Jump)
        })?;
        for subquery in inner {
            let all = (0..subquery.schema().fields().len()).collect();
            self.node(&subquery, all)?;
        }
        Ok(())
    }

    fn scan(&mut self, scan: &TableScan, wanted: &BTreeSet<usize>) {
        let schema = &scan.projected_schema;
        let of_filters = scan.filters.iter().flat_map(Expr::column_refs);
        let all = wanted.iter().copied().chain(positions(of_filters, schema));
        let names: BTreeSet<String> =
            all.filter_map(|at| schema.fields().get(at)).map(|field| field.name().clone()).collect();
        self.found.push(Scan { source: Arc::clone(&scan.source), columns: names.into_iter().collect() });
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::{datasource::MemTable, prelude::SessionContext};
    use futures::executor::block_on;

    use super::*;

    fn read(sql: &str) -> Vec<String> {
        let context = SessionContext::new();
        for (name, columns) in [("t", ["a", "b", "c"]), ("u", ["a", "d", "e"])] {
            let fields = columns.map(|column| Field::new(column, DataType::Int64, true)).to_vec();
            let table = MemTable::try_new(Arc::new(Schema::new(fields)), vec![vec![]]).expect("a table");
            context.register_table(name, Arc::new(table)).expect("a new name");
        }
        let plan = block_on(context.state().create_logical_plan(sql)).expect(sql);
        let scans = scans(&plan).expect(sql);
        scans.into_iter().map(|scan| scan.columns.join(" ")).collect()
    }

    #[test]
    fn columns_are_those_that_the_query_names() {
        for (sql, expected) in [
            ("SELECT a FROM t", &["a"][..]),
            ("SELECT * FROM t", &["a b c"]),
            ("SELECT count(*) FROM t", &[""]),
            ("SELECT a FROM t WHERE b = 1 ORDER BY c", &["a b c"]),
            ("SELECT x.a FROM (SELECT a, b FROM t) x", &["a b"]),
            ("SELECT t.a FROM t JOIN u ON t.b = u.d", &["a b", "d"]),
            ("SELECT t.a FROM t JOIN u USING (a)", &["a", "a"]),
            ("SELECT u.e FROM t RIGHT JOIN u ON true", &["", "e"]),
            ("SELECT a FROM t UNION ALL SELECT d FROM u", &["a", "d"]),
            ("SELECT sum(b) FROM t GROUP BY c HAVING max(a) > 1", &["a b c"]),
            ("SELECT a, rank() OVER (PARTITION BY b ORDER BY c) FROM t", &["a b c"]),
            ("SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.d = t.b)", &["d", "a b"]),
            ("SELECT a, (SELECT max(e) FROM u WHERE u.a = t.c) FROM t", &["a e", "a c"]),
            ("SELECT a FROM t WHERE b IN (SELECT d FROM u)", &["d", "a b"]),
            ("WITH w AS (SELECT a, b FROM t) SELECT count(*) FROM w WHERE a > 1", &["a b"]),
            ("SELECT DISTINCT a FROM t", &["a"]),
            ("SELECT DISTINCT ON (b) a FROM t ORDER BY b, c", &["a b c"]),
            ("SELECT 1", &[]),
        ] {
            assert_eq!(read(sql), expected, "{sql}");
        }
    }
}
