//! Which columns of a stream its jobs read, so that the others are checked but not made.

use std::sync::Arc;

use datafusion::{
    common::{
        Column, Result as DataFusionResult, ScalarValue,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Expr, LogicalPlan},
};
use ebap_catalog::ObjectId;
use ebap_connector::Wanted;
use ebap_sql::{Flow, Node, RowOp, SourceKind, SourcePlan, ViewPlan, ViewQuery};

use crate::pipeline::JobSet;

/// What these jobs need of each of the sources, with what every record is judged by: the inputs of computed columns and
/// constraints, and the event time.
pub(crate) fn wanted(sources: &[Arc<SourcePlan>], jobs: &JobSet) -> Vec<Wanted> {
    sources.iter().map(|source| of_source(source, jobs)).collect()
}

fn of_source(source: &SourcePlan, jobs: &JobSet) -> Wanted {
    // A table and a sink on the stream take whole rows.
    let is_table = jobs.table.is_some() || source.kind == SourceKind::Table;
    if is_table || jobs.sinks.iter().any(|sink| !sink.on_view) {
        return Wanted::All;
    }
    let own = source.computed.iter().map(|(_, expr)| expr).chain(source.checks.iter().map(|check| &check.expr));
    let mut exprs: Vec<&Expr> = own.collect();
    for (view, _) in &jobs.views {
        match over_the_source(view, source.id) {
            Some(more) => exprs.extend(more),
            None => return Wanted::All,
        }
    }
    let mut wanted = Wanted::nothing();
    if let Some(watermark) = source.watermark {
        wanted.add([source.schema.field(watermark.column).name().as_str()]);
    }
    // Not decoded, so there is nothing to be saved.
    for (at, _) in &source.computed {
        wanted.add([source.schema.field(*at).name().as_str()]);
    }
    for expr in exprs {
        if !add(expr, &mut wanted) {
            return Wanted::All;
        }
    }
    wanted
}

/// The expressions of a view over the columns of its source; `None` where it takes whole rows, or where
/// the shape of its plan is not known here.
fn over_the_source(view: &ViewPlan, source: ObjectId) -> Option<Vec<&Expr>> {
    let mut exprs: Vec<&Expr> = Vec::new();
    let steps = match &view.query {
        ViewQuery::Steps(steps) => steps,
        ViewQuery::Flow => return over_scans(view.flow.as_deref()?, source, &mut exprs).then_some(exprs),
    };
    if let Some(aggregate) = &steps.aggregate {
        exprs.extend(aggregate.group_exprs.iter().chain(&aggregate.aggr_exprs));
        exprs.extend(aggregate.window.iter().map(|window| &window.time));
    }
    let (mut whole_rows, mut plan) = (steps.aggregate.is_none(), &steps.input);
    loop {
        match plan {
            LogicalPlan::Projection(node) => {
                // What is above sees only these.
                (whole_rows, exprs) = (false, node.expr.iter().collect());
                plan = &node.input;
            }
            LogicalPlan::Filter(node) => {
                exprs.push(&node.predicate);
                plan = &node.input;
            }
            LogicalPlan::SubqueryAlias(node) => plan = &node.input,
            LogicalPlan::TableScan(node) => {
                exprs.extend(&node.filters);
                return (!whole_rows).then_some(exprs);
            }
            _ => return None,
        }
    }
}

/// What the operators above the scans of this source read of it. False where one takes whole rows.
fn over_scans<'a>(flow: &'a Flow, source: ObjectId, into: &mut Vec<&'a Expr>) -> bool {
    let is_scan = |flow: &Flow| matches!(&flow.node, Node::Scan { relation, .. } if *relation == source);
    if let Node::Rows { input, ops } = &flow.node
        && is_scan(input)
    {
        for op in ops {
            match op {
                RowOp::Filter { predicate, .. } => into.push(predicate),
                RowOp::Project { exprs, .. } => {
                    into.extend(exprs);
                    // What is above sees only these.
                    return true;
                }
            }
        }
        return false;
    }
    !is_scan(flow) && flow.inputs().into_iter().all(|input| over_scans(input, source, into))
}

/// Adds the columns of an expression, and of a struct only the field that is taken from it. False where
/// it holds a query of its own.
fn add(expr: &Expr, wanted: &mut Wanted) -> bool {
    let mut known = true;
    let walked = expr.apply(|expr| -> DataFusionResult<TreeNodeRecursion> {
        if let Some((column, path)) = field_of(expr) {
            wanted.add(std::iter::once(column.name.as_str()).chain(path));
            return Ok(TreeNodeRecursion::Jump);
        }
        match expr {
            Expr::Column(column) => wanted.add([column.name.as_str()]),
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::OuterReferenceColumn(..) => {
                known = false;
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.is_ok() && known
}

/// `column['a']['b']` as the column and `[a, b]`.
fn field_of(expr: &Expr) -> Option<(&Column, Vec<&str>)> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let (of, names) = call.args.split_first()?;
    if call.func.name() != "get_field" || names.is_empty() {
        return None;
    }
    let (column, mut path) = match of {
        Expr::Column(column) => (column, Vec::new()),
        other => field_of(other)?,
    };
    for name in names {
        match name {
            Expr::Literal(ScalarValue::Utf8(Some(name)), _) => path.push(name.as_str()),
            // The key of a map may be of another type.
            _ => return None,
        }
    }
    Some((column, path))
}
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ebap_catalog::Catalog;
    use ebap_sql::{apply, parse, plan_catalog};

    use super::*;
    use crate::view::store::ViewStore;

    const EVENTS: &str = "CREATE STREAM events (
        id TEXT NOT NULL, action TEXT CHECK (action <> 'none'), note TEXT, labels MAP<TEXT, TEXT>,
        metadata STRUCT<amount DOUBLE, region TEXT, device STRUCT<os TEXT, model TEXT>>, timestamp TIMESTAMPTZ NOT NULL,
        region TEXT AS (metadata['region']), WATERMARK FOR timestamp AS timestamp - INTERVAL '10 seconds'
    ) WITH (connector = 'test');";

    fn wanted_by(views: &str) -> Wanted {
        let mut catalog = Catalog::default();
        for parsed in parse(&format!("{EVENTS}{views}")).expect("the test's SQL parses") {
            catalog = apply(&catalog, &parsed.statement, &parsed.text, 0).expect("the test's SQL applies").catalog;
        }
        let plans = plan_catalog(&catalog).expect("plans");
        let store = |plan: &ViewPlan| Arc::new(ViewStore::new(Arc::clone(&plan.schema)));
        let views = plans.views.iter().map(|plan| (Arc::clone(plan), store(plan))).collect();
        of_source(&plans.sources[0], &JobSet { views, ..JobSet::default() })
    }

    fn paths(paths: &[&[&str]]) -> Wanted {
        let mut wanted = Wanted::nothing();
        paths.iter().for_each(|path| wanted.add(path.iter().copied()));
        wanted
    }

    #[test]
    fn only_what_is_read_or_judged_is_wanted() {
        let always: [&[&str]; 4] = [&["action"], &["metadata", "region"], &["region"], &["timestamp"]];
        assert_eq!(wanted_by(""), paths(&always));
        let grouped = "CREATE MATERIALIZED VIEW a AS SELECT region, count(*) AS n, sum(metadata['amount']) AS s
            FROM events WHERE metadata['device']['os'] = 'x' GROUP BY region WINDOW TUMBLE (timestamp, INTERVAL '1 minute');";
        let mut expected = paths(&always);
        expected.add(["metadata", "amount"]);
        expected.add(["metadata", "device", "os"]);
        assert_eq!(wanted_by(grouped), expected);
        expected.add(["labels", "k"]);
        expected.add(["_offset"]);
        let rows = "CREATE MATERIALIZED VIEW b AS SELECT labels['k'] AS k FROM events WHERE _offset > 7;";
        assert_eq!(wanted_by(&format!("{grouped}{rows}")), expected);
        expected.add(["metadata"]);
        let whole = "CREATE MATERIALIZED VIEW c AS SELECT count(metadata) AS n FROM events;";
        assert_eq!(wanted_by(&format!("{grouped}{rows}{whole}")), expected);
    }
}
