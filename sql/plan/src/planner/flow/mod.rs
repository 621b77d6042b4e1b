//! From the logical plan of a query to a tree of operators, by one exhaustive match over DataFusion's nodes.

mod as_of;
pub(super) mod check;
mod joins;
mod not_in;
mod numbers;
mod panes;
mod recent;
mod top;
pub(super) mod windows;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef};
use datafusion::{
    common::{Column, DFSchemaRef, ScalarValue, tree_node::TreeNode},
    logical_expr::{
        Aggregate as LogicalAggregate, Distinct, Expr, LogicalPlan, Projection, Union as LogicalUnion, Unnest,
    },
    optimizer::{
        Optimizer, OptimizerRule, decorrelate_lateral_join::DecorrelateLateralJoin,
        decorrelate_predicate_subquery::DecorrelatePredicateSubquery, eliminate_cross_join::EliminateCrossJoin,
        eliminate_outer_join::EliminateOuterJoin, extract_equijoin_predicate::ExtractEquijoinPredicate,
        optimize_projections::OptimizeProjections, push_down_filter::PushDownFilter,
        scalar_subquery_to_join::ScalarSubqueryToJoin,
    },
    sql::sqlparser::ast,
};
use ebap_catalog::ObjectId;

use super::{
    planning_state,
    rewrite::{WINDOW_COLUMNS, refuse_volatile},
    source::time_type,
    view::last_name,
    visible,
};
use crate::{
    Emit, Error, Plans, Result, SourceKind,
    error::from_datafusion,
    flow::{Aggregation, Expiry, Flow, GroupingSet as Set, Late, Node, RowOp, Session, Time, column_of, plain},
    moved_time,
    parser::ViewBody,
    semantics::GuardMergedFilters,
    wildcard::hide_virtual_columns,
};
use windows::Spec;

/// The view as a tree of operators.
pub(super) fn plan(body: &ViewBody, text: &str, plans: &Plans, state_ttl_us: Option<i64>) -> Result<Flow> {
    let mut query = body.query.as_ref().clone();
    as_of::rewrite(&mut query, plans)?;
    windows::rewrite(&mut query, body.window.as_ref(), plans)?;
    let mut statement = ast::Statement::Query(Box::new(query));
    hide_virtual_columns(&mut statement, &|relation| {
        let name = last_name(relation);
        let is_meant = |source: &&Arc<crate::SourcePlan>| match source.kind {
            SourceKind::Stream => source.name == name,
            SourceKind::Table => as_of::versions_of(&source.name) == name,
        };
        let columns = &plans.sources.iter().find(is_meant)?.schema;
        Some(columns.fields().iter().map(|field| field.name().clone()).collect())
    });
    let logical = optimized(statement, text, plans)?;
    let within = !super::relation_names(body).is_empty();
    let planner = Planner { plans, on_close: body.emit == Emit::WindowClose, within, state_ttl_us };
    let mut flow = planner.flow(&logical)?;
    top::refuse_unbounded(&flow)?;
    check::runs(&flow)?;
    late(&mut flow, Late::Never);
    // Columns are named as the query names them.
    flow.schema = plain(logical.schema());
    if flow.times().iter().any(|time| matches!(time, Time::SessionStart(_) | Time::SessionEnd(_))) {
        return Err(refused("SESSION without GROUP BY", "Add GROUP BY with window_start and window_end."));
    }
    Ok(flow)
}

/// With those rules that turn sub-queries into joins and move filters down: their plans are made of fewer kinds of
/// nodes, and less state is kept.
fn optimized(statement: ast::Statement, text: &str, plans: &Plans) -> Result<LogicalPlan> {
    let sources = plans.sources.iter().map(|source| (source.name.clone(), visible(source)));
    let views = plans.views.iter().map(|view| (view.name.clone(), Arc::clone(&view.schema)));
    let mut state = planning_state(sources.chain(views).chain(as_of::tables(plans)))?;
    for function in windows::functions() {
        use datafusion::execution::FunctionRegistry;
        state.register_udf(Arc::new(function)).map_err(|error| from_datafusion(error, text))?;
    }
    let plan = super::analyzed(&state, statement, text).map_err(of_window_time)?;
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(OptimizeProjections::new()),
        Arc::new(GuardMergedFilters),
    ];
    let names = plan.schema().clone();
    let plan =
        Optimizer::with_rules(rules).optimize(plan, &state, |_, _| {}).map_err(|error| from_datafusion(error, text))?;
    debug_assert_eq!(names.fields().len(), plan.schema().fields().len(), "rules keep the columns");
    Ok(plan)
}

/// The functions that stand for windows are nothing a user has written.
fn of_window_time(error: Error) -> Error {
    match windows::FUNCTIONS.iter().any(|name| error.message.contains(name)) {
        true => Error::new("42804", "the time of a window must be a column of type TIMESTAMPTZ")
            .hint("Use the watermark column of the stream."),
        false => error,
    }
}

struct Planner<'a> {
    plans: &'a Plans,
    on_close: bool,
    /// A stream, a table or a view is read.
    within: bool,
    /// How long a join without a bound in time keeps its rows.
    state_ttl_us: Option<i64>,
}

impl Planner<'_> {
    fn flow(&self, plan: &LogicalPlan) -> Result<Flow> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan.table_name.table(), scan.projection.as_deref()),
            LogicalPlan::SubqueryAlias(node) => self.flow(&node.input),
            LogicalPlan::Projection(node) => self.projection(node),
            LogicalPlan::Filter(node) => {
                let input = self.flow(&node.input)?;
                self.filter(input, &node.predicate, node.input.schema())
            }
            LogicalPlan::Aggregate(node) => self.aggregate(node),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(input),
            LogicalPlan::Distinct(Distinct::On(node)) => self.distinct_on(node),
            LogicalPlan::Sort(_) => Err(refused("ORDER BY without LIMIT", "Order in the SELECT that reads the view.")),
            LogicalPlan::Limit(node) => self.limit(node),
            LogicalPlan::Window(node) => self.numbered(node),
            LogicalPlan::Join(node) => self.join(node),
            LogicalPlan::Union(node) => self.union(node),
            LogicalPlan::Unnest(node) => self.unnest(node),
            LogicalPlan::Subquery(_) => Err(refused("this sub-query", "Write it as a join.")),
            LogicalPlan::RecursiveQuery(_) => Err(refused("WITH RECURSIVE", "Use one view per step.")),
            LogicalPlan::EmptyRelation(node) if node.produce_one_row && self.within => {
                Ok(Flow { node: Node::One, schema: plain(&node.schema) })
            }
            LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => {
                Err(refused("a query without a stream", "Select FROM a stream, a table or a view."))
            }
            LogicalPlan::Repartition(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Extension(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_) => Err(refused("this statement", "Use SELECT.")),
        }
    }

    fn scan(&self, name: &str, projection: Option<&[usize]>) -> Result<Flow> {
        let flow = if let Some(source) = self.plans.sources.iter().find(|source| source.name == name) {
            let schema = visible(source);
            let time = source.watermark.map(|watermark| watermark.column);
            let (relation, kind, key): (ObjectId, SourceKind, Vec<usize>) =
                (source.id, source.kind, source.primary_key.clone());
            Flow { node: Node::Scan { relation, name: name.to_owned(), kind, time, key, late: Late::Never }, schema }
        } else if let Some(versions) = as_of::scan(name, self.plans) {
            versions
        } else {
            let view = self.plans.views.iter().find(|view| view.name == name);
            let view = view.ok_or_else(|| Error::unknown_relation(name))?;
            let flow = view.flow.as_deref().cloned();
            flow.ok_or_else(|| refused("a view of this view", "Use its query as a sub-query."))?
        };
        let Some(columns) = projection else { return Ok(flow) };
        let input: DFSchemaRef = Arc::new(
            datafusion::common::DFSchema::try_from(flow.schema.as_ref().clone())
                .map_err(|error| from_datafusion(error, ""))?,
        );
        let column = |at: &usize| Expr::Column(Column::new_unqualified(flow.schema.field(*at).name()));
        let exprs = columns.iter().map(column).collect();
        let schema: SchemaRef =
            Arc::new(flow.schema.project(columns).map_err(|error| Error::new("XX000", error.to_string()))?);
        Ok(rows(flow, RowOp::Project { exprs, input, schema }))
    }

    fn projection(&self, node: &Projection) -> Result<Flow> {
        let input = self.flow(&node.input)?;
        let marks: Vec<Option<(usize, &Expr, Spec)>> = node.expr.iter().map(mark).collect();
        let Some((_, time, spec)) = marks.iter().flatten().next() else {
            node.expr.iter().try_for_each(refuse_volatile)?;
            return Ok(project(input, node.expr.clone(), node.input.schema(), plain(&node.schema)));
        };
        let Some(time) = column_of(time, node.input.schema()) else {
            let what = format!("the window time {}", shown(time));
            return Err(Error::unsupported(what, "Name a column of the stream."));
        };
        match input.times()[time] {
            Time::Event(_) | Time::Window(_) => {}
            _ => return Err(no_event_time(input.schema.field(time).name())),
        }
        let first = input.schema.fields().len();
        let mut fields = input.schema.fields().to_vec();
        fields.push(Arc::new(Field::new(WINDOW_COLUMNS[0], time_type(), false)));
        fields.push(Arc::new(Field::new(WINDOW_COLUMNS[1], time_type(), false)));
        fields.push(Arc::new(Field::new(WINDOW_COLUMNS[2], DataType::Interval(IntervalUnit::MonthDayNano), false)));
        let schema = Arc::new(Schema::new(fields));
        let append_only = input.append_only();
        let input = Box::new(input);
        let node_of = match spec {
            Spec::Frames(frames) => Node::Window { input, time, frames: frames.clone(), panes: false },
            Spec::Session(_) if !append_only => {
                return Err(refused("SESSION over rows that change", "Use SESSION over a stream, or TUMBLE."));
            }
            Spec::Session(gap_us) => Node::SessionWindow { input, time, gap_us: *gap_us },
        };
        // By position: names of the input may be there twice.
        let (mut named, mut exprs) = (Vec::new(), Vec::new());
        for at in 0..first + 3 {
            named.push(schema.field(at).clone().with_name(format!("c{at}")));
        }
        let positions = df_schema(&Schema::new(named))?;
        for (expr, mark) in node.expr.iter().zip(&marks) {
            let at = match mark {
                Some((which, ..)) => Some(first + which),
                None => column_of(expr, node.input.schema()),
            };
            let Some(at) = at else {
                return Err(refused("an expression beside a window's columns", "Compute it in an outer SELECT."));
            };
            exprs.push(Expr::Column(Column::new_unqualified(format!("c{at}"))));
        }
        Ok(project(Flow { node: node_of, schema }, exprs, &positions, plain(&node.schema)))
    }

    fn filter(&self, input: Flow, predicate: &Expr, schema: &DFSchemaRef) -> Result<Flow> {
        let mut flow = input;
        for part in datafusion::logical_expr::utils::split_conjunction(predicate) {
            flow = match recent::span(part)? {
                Some(span) => recent::within(flow, span, schema)?,
                None => {
                    refuse_volatile(part)?;
                    top::limit_numbers(&mut flow, part, schema);
                    rows(flow, RowOp::Filter { predicate: part.clone(), input: Arc::clone(schema) })
                }
            };
        }
        Ok(flow)
    }

    fn aggregate(&self, node: &LogicalAggregate) -> Result<Flow> {
        let input = self.flow(&node.input)?;
        node.group_expr.iter().chain(&node.aggr_expr).try_for_each(refuse_volatile)?;
        let (groups, sets) = grouping(&node.group_expr)?;
        self.aggregation(input, node.input.schema(), groups, sets, node.aggr_expr.clone(), plain(&node.schema))
    }

    fn aggregation(
        &self,
        input: Flow,
        input_schema: &DFSchemaRef,
        groups: Vec<Expr>,
        sets: Vec<Set>,
        aggregates: Vec<Expr>,
        schema: SchemaRef,
    ) -> Result<Flow> {
        let times = input.times();
        let of = |expr: &Expr| column_of(expr, input_schema).map_or(Time::Unknown, |at| times[at]);
        let in_every_set = |at: &usize| sets.iter().all(|(absent, _)| !absent[*at]);
        let mut expiry: Option<Expiry> = None;
        let mut session: Option<Session> = None;
        for (at, expr) in groups.iter().enumerate().filter(|(at, _)| in_every_set(at)) {
            let sessions = |gap_us| Session { gap_us, starts: Vec::new(), ends: Vec::new() };
            match of(expr) {
                Time::Window(slack_us) if expiry.is_none_or(|other| slack_us < other.slack_us) => {
                    expiry = Some(Expiry { column: at, slack_us });
                }
                Time::SessionStart(gap_us) => session.get_or_insert_with(|| sessions(gap_us)).starts.push(at),
                Time::SessionEnd(gap_us) => session.get_or_insert_with(|| sessions(gap_us)).ends.push(at),
                _ => {}
            }
        }
        let is_session = |time: &Time| matches!(time, Time::SessionStart(_) | Time::SessionEnd(_));
        if times.iter().any(is_session) {
            let Some(session) = &session else {
                return Err(Error::new("42803", "a view over SESSION must group by window_start or window_end")
                    .hint("Add window_start and window_end to GROUP BY."));
            };
            if !sets.is_empty() {
                return Err(refused("GROUPING SETS over SESSION", "Use one view per grouping."));
            }
            let names: Vec<usize> = (0..times.len()).filter(|at| is_session(&times[*at])).collect();
            let bound = |at: usize| session.starts.contains(&at) || session.ends.contains(&at);
            let others = groups.iter().enumerate().filter(|(at, _)| !bound(*at)).map(|(_, expr)| expr);
            if others.chain(&aggregates).any(|expr| mentions(expr, input_schema, &names)) {
                return Err(refused(
                    "an expression of a session's bounds below GROUP BY",
                    "Use window_start and window_end in GROUP BY, SELECT and HAVING.",
                ));
            }
            if let Some(end) = session.ends.first() {
                expiry = Some(Expiry { column: *end, slack_us: 0 });
            }
        }
        if let Some(ordered) = aggregates.iter().find(|expr| is_ordered(expr)).filter(|_| !input.append_only()) {
            let what = format!("{} over rows that change", shown(ordered));
            return Err(refused(&what, "Give it an ORDER BY inside."));
        }
        let on_close = self.on_close && (expiry.is_some() || session.is_some());
        let mut input = input;
        let panes = match sets.is_empty() {
            true => panes::by_panes(&mut input, input_schema, &groups, &aggregates),
            false => None,
        };
        let input_schema = Arc::clone(input_schema);
        let node = Aggregation { input, input_schema, groups, sets, aggregates, expiry, on_close, session, panes };
        Ok(Flow { node: Node::Aggregate(Box::new(node)), schema })
    }

    /// The columns themselves are the groups.
    fn distinct(&self, input: &LogicalPlan) -> Result<Flow> {
        let schema = input.schema();
        let groups = schema.columns().into_iter().map(Expr::Column).collect();
        self.aggregation(self.flow(input)?, schema, groups, Vec::new(), Vec::new(), plain(schema))
    }

    fn union(&self, node: &LogicalUnion) -> Result<Flow> {
        let inputs: Vec<Flow> = node.inputs.iter().map(|input| self.flow(input)).collect::<Result<_>>()?;
        Ok(Flow { node: Node::Union { inputs }, schema: plain(&node.schema) })
    }

    fn unnest(&self, node: &Unnest) -> Result<Flow> {
        if !node.struct_type_columns.is_empty() || node.list_type_columns.iter().any(|(_, list)| list.depth != 1) {
            return Err(refused("unnest of a struct, or of lists in lists", "Unnest one list, and name the fields."));
        }
        let mut lists: Vec<usize> = node.list_type_columns.iter().map(|(at, _)| *at).collect();
        lists.dedup();
        let input = Box::new(self.flow(&node.input)?);
        if input.schema.fields().len() != node.schema.fields().len() {
            return Err(refused("unnest of one list twice", "Name the list once."));
        }
        let keep_empty = node.options.preserve_nulls;
        Ok(Flow { node: Node::Unnest { input, lists, keep_empty }, schema: plain(&node.schema) })
    }
}

fn refused(construct: &str, nearest: &str) -> Error {
    Error::unsupported(format!("{construct} in a materialized view"), nearest)
}

/// The expression as SQL, without the casts that nobody wrote.
fn shown(expr: &Expr) -> String {
    use datafusion::{common::tree_node::Transformed, logical_expr::binary_expr, sql::unparser::Unparser};
    let uncast = expr.clone().transform(|expr| {
        Ok(match expr {
            Expr::Cast(cast) => Transformed::yes(*cast.expr),
            other => match moved_time(&other) {
                Some((left, op, right)) => Transformed::yes(binary_expr(left.clone(), op, right.clone())),
                None => Transformed::no(other),
            },
        })
    });
    let sql = uncast.and_then(|expr| Unparser::default().with_pretty(true).expr_to_sql(&expr.data));
    sql.map_or_else(|_| expr.to_string(), |sql| sql.to_string())
}

fn no_event_time(column: &str) -> Error {
    Error::new("42P17", format!("column \"{column}\" has no watermark, so a window over it would never close"))
        .hint("Use the watermark column of a stream (WATERMARK FOR column AS ...), or the window_start of a view.")
}

fn df_schema(schema: &Schema) -> Result<DFSchemaRef> {
    Ok(Arc::new(datafusion::common::DFSchema::try_from(schema.clone()).map_err(|error| from_datafusion(error, ""))?))
}

/// Behind the filters and projections that are there.
fn rows(flow: Flow, op: RowOp) -> Flow {
    let schema = match &op {
        RowOp::Filter { .. } => Arc::clone(&flow.schema),
        RowOp::Project { schema, .. } => Arc::clone(schema),
    };
    match flow.node {
        Node::Rows { input, mut ops } => {
            ops.push(op);
            Flow { node: Node::Rows { input, ops }, schema }
        }
        _ => Flow { node: Node::Rows { input: Box::new(flow), ops: vec![op] }, schema },
    }
}

fn project(flow: Flow, exprs: Vec<Expr>, input: &DFSchemaRef, schema: SchemaRef) -> Flow {
    rows(flow, RowOp::Project { exprs, input: Arc::clone(input), schema })
}

/// Which window column the expression stands for, of what time, and of which windows.
fn mark(expr: &Expr) -> Option<(usize, &Expr, Spec)> {
    match expr {
        Expr::Alias(alias) => mark(&alias.expr),
        Expr::ScalarFunction(call) => {
            let which = windows::FUNCTIONS.iter().position(|name| *name == call.func.name())?;
            let [time, Expr::Literal(ScalarValue::Utf8(Some(spec)), _)] = call.args.as_slice() else { return None };
            Some((which, time, Spec::parse(spec)?))
        }
        _ => None,
    }
}

fn mentions(expr: &Expr, schema: &DFSchemaRef, columns: &[usize]) -> bool {
    expr.exists(|expr| Ok(column_of(expr, schema).is_some_and(|at| columns.contains(&at)))).unwrap_or(true)
}

/// An aggregate that asks for an order of its rows that is not given with it.
fn is_ordered(expr: &Expr) -> bool {
    expr.exists(|expr| {
        Ok(match expr {
            Expr::AggregateFunction(call) => {
                ["first_value", "last_value", "nth_value"].contains(&call.func.name())
                    && call.params.order_by.is_empty()
            }
            _ => false,
        })
    })
    .unwrap_or(false)
}

/// The group columns, and of each set those that are NULL in it with its `__grouping_id`.
fn grouping(exprs: &[Expr]) -> Result<(Vec<Expr>, Vec<Set>)> {
    use datafusion::logical_expr::{GroupingSet, utils::enumerate_grouping_sets};
    if !exprs.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
        return Ok((exprs.to_vec(), Vec::new()));
    }
    let enumerated = enumerate_grouping_sets(exprs.to_vec()).map_err(|error| from_datafusion(error, ""))?;
    let sets: Vec<Vec<Expr>> = match enumerated.as_slice() {
        [Expr::GroupingSet(GroupingSet::GroupingSets(sets))] => sets.clone(),
        [Expr::GroupingSet(GroupingSet::Rollup(columns))] => {
            (0..=columns.len()).rev().map(|count| columns[..count].to_vec()).collect()
        }
        [Expr::GroupingSet(GroupingSet::Cube(columns))] => (0..1_u32 << columns.len().min(20))
            .map(|bits| {
                columns.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 0).map(|(_, c)| c.clone()).collect()
            })
            .collect(),
        _ => return Err(refused("this GROUPING SETS", "Write one list of sets.")),
    };
    let mut all: Vec<Expr> = Vec::new();
    for expr in datafusion::logical_expr::utils::grouping_set_to_exprlist(&enumerated)
        .map_err(|error| from_datafusion(error, ""))?
    {
        if !all.contains(expr) {
            all.push(expr.clone());
        }
    }
    let of = |set: &Vec<Expr>| {
        let absent: Vec<bool> = all.iter().map(|expr| !set.contains(expr)).collect();
        // As DataFusion numbers them: the first column is the highest bit.
        let id = absent.iter().fold(0_u64, |id, absent| id << 1 | u64::from(*absent));
        (absent, id)
    };
    let sets = sets.iter().map(of).collect();
    Ok((all, sets))
}

/// Tells the scans which rows come too late for what is above them.
fn late(flow: &mut Flow, needed: Late) {
    let times = match &flow.node {
        Node::Window { input, .. } => input.times(),
        _ => Vec::new(),
    };
    let stricter = |a: Late, b: Late| match (a, b) {
        (Late::Strict, _) | (_, Late::Strict) => Late::Strict,
        (Late::Pane(a), Late::Pane(b)) => Late::Pane(a.min(b)),
        (Late::Never, other) | (other, Late::Never) => other,
    };
    match &mut flow.node {
        Node::Scan { late, time, kind, .. } => {
            *late = if time.is_some() && *kind == SourceKind::Stream { needed } else { Late::Never };
        }
        Node::One | Node::Versions { .. } => {}
        Node::Rows { input, .. } | Node::Unnest { input, .. } | Node::Recent { input, .. } => late(input, needed),
        Node::Window { input, time, frames, .. } => {
            let own = match times[*time] {
                Time::Event(_) => Late::Pane(Spec::pane_us(frames)),
                _ => Late::Never,
            };
            late(input, stricter(needed, own));
        }
        Node::SessionWindow { input, .. } => late(input, Late::Strict),
        Node::Aggregate(node) => {
            let needed = if node.expiry.is_some() || node.session.is_some() { needed } else { Late::Never };
            late(&mut node.input, needed);
        }
        Node::TopN(node) => late(&mut node.input, needed),
        Node::Union { inputs } => inputs.iter_mut().for_each(|input| late(input, needed)),
        Node::Join(node) => {
            let bounded = |flow: &Flow, expiry: &Option<Expiry>| {
                expiry.is_some_and(|expiry| matches!(flow.times()[expiry.column], Time::Event(_)))
            };
            let left = if bounded(&node.left, &node.left_expiry) { Late::Strict } else { needed };
            let right = if bounded(&node.right, &node.right_expiry) { Late::Strict } else { Late::Never };
            late(&mut node.left, left);
            late(&mut node.right, right);
        }
    }
}
