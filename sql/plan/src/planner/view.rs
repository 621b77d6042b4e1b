//! `CREATE MATERIALIZED VIEW`.

use std::{collections::HashSet, ops::ControlFlow, sync::Arc};

use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef};
use datafusion::{
    logical_expr::{Aggregate, Expr as LogicalExpr, LogicalPlan},
    sql::sqlparser::ast::{
        self, Expr, FunctionArg, FunctionArgExpr, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, TableFactor,
        Visit, Visitor,
    },
};
use ebap_catalog::{Object, ObjectId};

use super::{
    LENGTH_MAX_US, interval_us, logical,
    rewrite::{WINDOW_COLUMNS, groups_schema, is_window_column, mentions_window, output, split},
    source::{duration_us, is_virtual, size_bytes, time_type},
};
use crate::{
    AggregatePlan, Emit, Error, Flow, OnError, Plans, Result, SourceKind, SourcePlan, StepsPlan, ViewPlan, ViewQuery,
    WindowPlan, WindowSize,
    error::find_word,
    parser::{ViewBody, WindowClause, WindowKind},
    wildcard::hide_virtual_columns,
};

/// The window as the statement gives it, in either form.
struct Tumble {
    time: Expr,
    sizes: Vec<Expr>,
    /// The clause: window columns are grouped by and selected without being written.
    implied: bool,
}

/// Names of the relations the view reads, and whether a `WITH` of its own has the name too.
pub(crate) fn relation_names(body: &ViewBody) -> Vec<(String, bool)> {
    #[derive(Default)]
    struct Names {
        read: Vec<String>,
        with: Vec<String>,
    }
    impl Visitor for Names {
        type Break = ();

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let with = query.with.iter().flat_map(|with| &with.cte_tables);
            self.with.extend(with.map(|table| folded(&table.alias.name)));
            ControlFlow::Continue(())
        }

        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { name, args, .. } = factor {
                let first = args.as_ref().map(|args| args.args.first());
                match first {
                    None => self.read.push(last_name(name)),
                    Some(Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(ident))))) => {
                        self.read.push(folded(ident));
                    }
                    Some(_) => {}
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut names = Names::default();
    let _ = Visit::visit(body.query.as_ref(), &mut names);
    let mut read = names.read;
    read.sort_unstable();
    read.dedup();
    read.into_iter().map(|name| (name.clone(), names.with.contains(&name))).collect()
}

/// How often a relation is read, in sub-queries too.
fn relations_read(body: &ViewBody) -> usize {
    struct Count(usize);
    impl Visitor for Count {
        type Break = ();

        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            self.0 += usize::from(matches!(factor, TableFactor::Table { .. }));
            ControlFlow::Continue(())
        }
    }
    let mut count = Count(0);
    let _ = Visit::visit(body.query.as_ref(), &mut count);
    count.0
}

/// Name of the stream, where there is one and no other.
fn source_name(body: &ViewBody) -> Result<String> {
    if body.query.with.is_some() {
        return Err(Error::unsupported("WITH", "Use a sub-query."));
    }
    let sampled = |factor: &TableFactor| {
        matches!(factor, TableFactor::Table { sample: Some(_), .. } | TableFactor::Table { version: Some(_), .. })
    };
    if !body.query.locks.is_empty() || factor(select(&body.query)?).is_ok_and(sampled) {
        return Err(Error::unsupported("this query", "It is refused as a flow."));
    }
    if relations_read(body) != 1 {
        return Err(Error::unsupported("more than one relation", "They are operators of a flow."));
    }
    let select = select(&body.query)?;
    let factor = factor(select)?;
    Ok(factor_name(factor)?.0)
}

fn select(query: &Query) -> Result<&Select> {
    match query.body.as_ref() {
        SetExpr::Select(select) => Ok(select),
        SetExpr::Query(inner) => select(inner),
        SetExpr::SetOperation { .. } => {
            Err(Error::unsupported("UNION in a materialized view", "Use one view per branch."))
        }
        SetExpr::Values(_)
        | SetExpr::Insert(_)
        | SetExpr::Update(_)
        | SetExpr::Delete(_)
        | SetExpr::Merge(_)
        | SetExpr::Table(_) => {
            Err(Error::unsupported("this query in a materialized view", "Use SELECT ... FROM a stream."))
        }
    }
}

fn factor(select: &Select) -> Result<&TableFactor> {
    match select.from.as_slice() {
        [one] if one.joins.is_empty() => match &one.relation {
            TableFactor::Derived { subquery, .. } => factor(self::select(subquery)?),
            other => Ok(other),
        },
        [] => Err(Error::unsupported("a materialized view without FROM", "Select FROM a stream.")),
        _ => Err(Error::unsupported("a join in a materialized view", "Use a view over one stream.")),
    }
}

/// Name of the stream, and the arguments if it stands in `TUMBLE(…)`.
fn factor_name(factor: &TableFactor) -> Result<(String, Option<&[FunctionArg]>)> {
    let TableFactor::Table { name, args, .. } = factor else {
        return Err(Error::unsupported(
            format!("FROM {factor} in a materialized view"),
            "Select FROM a stream, or FROM TUMBLE(stream, time, size).",
        ));
    };
    let Some(args) = args else { return Ok((last_name(name), None)) };
    let function = last_name(name);
    if function != "tumble" {
        return Err(Error::unsupported(
            format!("table function {function} in a materialized view"),
            "Use TUMBLE(stream, time, size).",
        ));
    }
    match args.args.first() {
        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(ident)))) => {
            Ok((folded(ident), Some(&args.args)))
        }
        _ => Err(Error::unsupported("TUMBLE over a query", "It is an operator of a flow.")),
    }
}

pub(crate) fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

pub(super) fn last_name(name: &ast::ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default()
}

pub(super) fn plan(object: &Object, body: &ViewBody, text: &str, plans: &Plans) -> Result<ViewPlan> {
    let ViewOptions { retention_us, memory_limit, state_ttl_us, on_error } = options(body)?;
    let steps = steps(body, text, plans);
    let flow = super::flow::plan(body, text, plans, state_ttl_us);
    if state_ttl_us.is_some() && !flow.as_ref().map_or(true, Flow::has_ttl) {
        return Err(Error::option("state_ttl", "has nothing to end here")
            .hint("It is for joins of streams without a bound in time; state of windows ends by the watermark."));
    }
    let (query, schema, upsert_key, flow) = match (steps, flow) {
        (Ok((steps, schema, key)), flow) => (ViewQuery::Steps(Box::new(steps)), schema, key, flow.ok()),
        // What cannot be done in that form may be done in the other.
        (Err(error), Ok(flow)) if error.sqlstate == "0A000" => {
            let (schema, key) = (Arc::clone(&flow.schema), flow.key().unwrap_or_default());
            (ViewQuery::Flow, schema, key, Some(flow))
        }
        (Err(error), Err(other)) => return Err(if error.sqlstate == "0A000" { other } else { error }),
        (Err(error), Ok(_)) => return Err(error),
    };
    if body.emit == Emit::WindowClose {
        let closes = match &query {
            ViewQuery::Steps(steps) => steps.aggregate.as_ref().is_some_and(|aggregate| aggregate.window.is_some()),
            ViewQuery::Flow => flow.as_ref().is_some_and(Flow::emits_on_close),
        };
        if !closes {
            let error = Error::unsupported(
                "EMIT ON WINDOW CLOSE without a window",
                "Add WINDOW TUMBLE (...), or use EMIT ON UPDATE.",
            );
            return Err(super::source::placed(error, find_word(text, "EMIT")));
        }
    }
    let mut seen = HashSet::new();
    if let Some(twice) = schema.fields().iter().find(|field| !seen.insert(field.name().clone())) {
        let error = Error::new("42701", format!("column \"{}\" specified more than once", twice.name()));
        return Err(error.hint("Give each column of the view its own name with AS."));
    }
    let sources = match flow.as_ref().map(Flow::relations).filter(|relations| !relations.is_empty()) {
        Some(relations) => relations,
        // Its rows do not matter, or it is not to be had as a flow.
        None => sources_of(body, plans),
    };
    let definition = definition(body, plans, state_ttl_us, matches!(query, ViewQuery::Flow));
    Ok(ViewPlan {
        id: object.id,
        name: object.name.clone(),
        sources,
        query,
        flow: flow.map(Arc::new),
        emit: body.emit,
        retention_us,
        schema,
        upsert_key,
        memory_limit,
        on_error: strictest(on_error, body, plans),
        definition,
        run: super::run(object),
    })
}

/// What the state of a flow is written as: one of another format is not read, and the view begins again.
const FLOW_FORMAT: &str = " flow 3";

/// FNV-1a (Fowler, Noll, Vo, 1991): the same number in every version.
fn definition(body: &ViewBody, plans: &Plans, state_ttl_us: Option<i64>, is_flow: bool) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |text: &str| {
        for byte in text.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    take(&crate::apply::canonical_query(body));
    if is_flow {
        take(FLOW_FORMAT);
    }
    if let Some(ttl_us) = state_ttl_us {
        take(&format!(" state_ttl {ttl_us}"));
    }
    for (name, _) in relation_names(body) {
        if let Some(view) = plans.views.iter().find(|view| view.name == name) {
            take(&view.definition.to_string());
        }
    }
    hash
}

/// Streams and tables that the query names, directly or through views.
fn sources_of(body: &ViewBody, plans: &Plans) -> Vec<ObjectId> {
    let mut all = Vec::new();
    for (name, _) in relation_names(body) {
        all.extend(plans.sources.iter().filter(|source| source.name == name).map(|source| source.id));
        all.extend(plans.views.iter().filter(|view| view.name == name).flat_map(|view| view.sources.clone()));
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn source<'a>(name: &str, plans: &'a Plans) -> Result<&'a SourcePlan> {
    let source = plans.sources.iter().find(|source| source.name == name);
    source.map(Arc::as_ref).ok_or_else(|| match plans.views.iter().any(|view| view.name == name) {
        true => Error::unsupported("a view", "It is an operator of a flow."),
        false => Error::unknown_relation(name),
    })
}

/// The view as one aggregate over one stream: what most views are, and what is fastest. `0A000` where it is more.
fn steps(body: &ViewBody, text: &str, plans: &Plans) -> Result<(StepsPlan, SchemaRef, Vec<usize>)> {
    let name = source_name(body)?;
    let source = source(&name, plans)?;
    if source.kind == SourceKind::Table {
        return Err(Error::unsupported("a table", "It is an operator of a flow."));
    }
    if let Some(WindowClause { kind: WindowKind::Hop | WindowKind::Session, .. }) = &body.window {
        return Err(Error::unsupported("HOP and SESSION", "They are operators of a flow."));
    }
    let mut query = body.query.as_ref().clone();
    let tumble = take_tumble(&mut query, body)?;
    let schema = match &tumble {
        Some(_) => with_window_columns(&source.full_schema),
        None => Arc::clone(&source.full_schema),
    };
    let mut statement = ast::Statement::Query(Box::new(query));
    hide_virtual_columns(&mut statement, &|relation| {
        let declared = schema.fields().iter().filter(|field| !is_virtual(field.name()));
        (last_name(relation) == name).then(|| declared.map(|field| field.name().clone()).collect())
    });
    let planned = logical(statement, std::iter::once((name.clone(), schema)), text).map_err(|error| {
        // Those of the clause stand outside of a sub-query that does not give them.
        match tumble.as_ref().is_some_and(|tumble| tumble.implied) && error.sqlstate == "42703" {
            true => Error::unsupported("WINDOW TUMBLE over a sub-query", "It is an operator of a flow."),
            false => error,
        }
    })?;
    let parts = split(&planned)?;
    let (input, aggregate, top) = match parts.aggregate {
        None if tumble.is_some() => {
            return Err(Error::unsupported("TUMBLE without GROUP BY", "Add GROUP BY window_start."));
        }
        None => (planned.clone(), None, planned),
        Some((node, above)) => {
            let window = tumble.map(|tumble| window(&tumble, &node, source, &parts.input, text)).transpose()?;
            let aggregate = aggregate(&node, &above, window)?;
            let top = aggregate.output.clone();
            (parts.input, Some(aggregate), top)
        }
    };
    super::flow::check::steps_run(&input, aggregate.as_ref())?;
    let schema: SchemaRef = Arc::clone(top.schema().inner());
    let upsert_key = aggregate.as_ref().map(upsert_key).unwrap_or_default();
    Ok((StepsPlan { input, aggregate }, schema, upsert_key))
}

#[derive(Default)]
struct ViewOptions {
    retention_us: Option<i64>,
    memory_limit: Option<usize>,
    state_ttl_us: Option<i64>,
    on_error: OnError,
}

/// A view computes those that it reads itself, so it stops where one of them would.
fn strictest(own: OnError, body: &ViewBody, plans: &Plans) -> OnError {
    let names = relation_names(body);
    let read = plans.views.iter().filter(|view| names.iter().any(|(name, _)| *name == view.name));
    match read.map(|view| view.on_error).chain([own]).any(|on_error| on_error == OnError::Stop) {
        true => OnError::Stop,
        false => OnError::Skip,
    }
}

fn options(body: &ViewBody) -> Result<ViewOptions> {
    let mut found = ViewOptions::default();
    for option in &body.options {
        let wrong = |what: &str| Error::option(&option.name, format!("\"{}\" is not a {what}", option.value));
        match option.name.as_str() {
            "retention" => found.retention_us = Some(duration_us(&option.value).ok_or_else(|| wrong("duration"))?),
            "state_ttl" => {
                let ttl = duration_us(&option.value).filter(|us| *us > 0);
                found.state_ttl_us = Some(ttl.ok_or_else(|| wrong("duration"))?);
            }
            "memory_limit" => {
                let bytes = size_bytes(&option.value).filter(|bytes| *bytes > 0);
                found.memory_limit = Some(bytes.ok_or_else(|| wrong("size such as '512 MB'"))?);
            }
            "on_error" => {
                found.on_error = match option.value.to_ascii_lowercase().as_str() {
                    "skip" => OnError::Skip,
                    "stop" => OnError::Stop,
                    other => {
                        return Err(Error::option("on_error", format!("\"{other}\" is neither 'skip' nor 'stop'")));
                    }
                };
            }
            other => {
                return Err(Error::option(other, "is not known here")
                    .hint("A materialized view has the options retention, memory_limit, state_ttl and on_error."));
            }
        }
    }
    Ok(found)
}

/// Takes the window out of the query, in either form, and leaves a query over a relation that has the
/// window columns.
fn take_tumble(query: &mut Query, body: &ViewBody) -> Result<Option<Tumble>> {
    let clause = body.window.clone();
    let mut tumble = clause.map(|WindowClause { time, args, .. }| Tumble { time, sizes: args, implied: true });
    let select = select_mut(query)?;
    if let Some(TableFactor::Table { name, args, alias, .. }) = factor_mut(select)
        && let Some(function) = args.take()
    {
        if tumble.is_some() {
            return Err(Error::syntax("a view has one window: the table function or the WINDOW clause"));
        }
        let mut exprs = function.args.into_iter().map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
            other => Err(Error::syntax(format!("TUMBLE does not take the argument {other}"))),
        });
        let (stream, time) = (exprs.next().transpose()?, exprs.next().transpose()?);
        let (Some(Expr::Identifier(stream)), Some(time)) = (stream, time) else {
            return Err(Error::syntax("TUMBLE needs a stream, a time column and a size"));
        };
        *name = ast::ObjectName::from(vec![stream]);
        let _ = alias;
        tumble = Some(Tumble { time, sizes: exprs.collect::<Result<_>>()?, implied: false });
    }
    if let Some(Tumble { implied: true, .. }) = &tumble {
        imply_window_columns(select, None)?;
    }
    Ok(tumble)
}

fn select_mut(query: &mut Query) -> Result<&mut Select> {
    match query.body.as_mut() {
        SetExpr::Select(select) => Ok(select),
        SetExpr::Query(inner) => select_mut(inner),
        _ => Err(Error::unsupported("this query in a materialized view", "Use SELECT ... FROM a stream.")),
    }
}

fn factor_mut(select: &mut Select) -> Option<&mut TableFactor> {
    match &mut select.from.first_mut()?.relation {
        TableFactor::Derived { subquery, .. } => factor_mut(select_mut(subquery).ok()?),
        other => Some(other),
    }
}

/// The clause groups by the window, and shows it. `of`: the relation that has the window, where there are others.
pub(super) fn imply_window_columns(select: &mut Select, of: Option<&Ident>) -> Result<()> {
    let column = |name: &str| match of {
        None => Expr::Identifier(Ident::new(name)),
        Some(relation) => Expr::CompoundIdentifier(vec![relation.clone(), Ident::new(name)]),
    };
    match &mut select.group_by {
        GroupByExpr::All(_) => return Err(Error::unsupported("GROUP BY ALL with WINDOW", "Name the columns.")),
        GroupByExpr::Expressions(exprs, _) => {
            for name in WINDOW_COLUMNS {
                let is = |expr: &Expr| match expr {
                    Expr::Identifier(ident) => folded(ident) == name,
                    Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|last| folded(last) == name),
                    _ => false,
                };
                if !exprs.iter().any(is) {
                    exprs.push(column(name));
                }
            }
        }
    }
    let shown = |item: &SelectItem, name: &str| match item {
        SelectItem::UnnamedExpr(Expr::Identifier(ident)) => folded(ident) == name,
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
            parts.last().is_some_and(|last| folded(last) == name)
        }
        SelectItem::ExprWithAlias { expr: Expr::Identifier(ident), .. } => folded(ident) == name,
        _ => false,
    };
    let missing = WINDOW_COLUMNS.iter().filter(|name| !select.projection.iter().any(|item| shown(item, name)));
    let missing: Vec<SelectItem> = missing.map(|name| SelectItem::UnnamedExpr(column(name))).collect();
    select.projection.splice(0..0, missing);
    Ok(())
}

fn with_window_columns(schema: &Schema) -> SchemaRef {
    let mut fields = schema.fields().to_vec();
    fields.push(Arc::new(Field::new(WINDOW_COLUMNS[0], time_type(), false)));
    fields.push(Arc::new(Field::new(WINDOW_COLUMNS[1], time_type(), false)));
    fields.push(Arc::new(Field::new(WINDOW_COLUMNS[2], DataType::Interval(IntervalUnit::MonthDayNano), false)));
    Arc::new(Schema::new(fields))
}

fn window(
    tumble: &Tumble,
    node: &Aggregate,
    source: &SourcePlan,
    input: &LogicalPlan,
    text: &str,
) -> Result<WindowPlan> {
    let name = match &tumble.time {
        Expr::Identifier(ident) => folded(ident),
        Expr::CompoundIdentifier(parts) => parts.last().map(folded).unwrap_or_default(),
        other => {
            return Err(Error::unsupported(
                format!("the window time {other}"),
                "Use the watermark column of the stream.",
            ));
        }
    };
    let times = source.watermark.map(|watermark| source.schema.field(watermark.column).name().clone());
    match &times {
        None => {
            let error = Error::new(
                "42P17",
                format!("stream \"{}\" has no watermark, so a window would never close", source.name),
            );
            return Err(error.hint("Add WATERMARK FOR column AS column - INTERVAL '10 seconds' to the stream."));
        }
        Some(times) if *times != name => {
            let error = match source.full_schema.field_with_name(&name) {
                Ok(_) => Error::unsupported(
                    format!("a window over \"{name}\""),
                    format!("Use the watermark column \"{times}\"."),
                ),
                Err(_) => Error::new("42703", format!("column \"{name}\" does not exist"))
                    .hint(format!("The watermark column is \"{times}\".")),
            };
            return Err(super::source::placed(error, find_word(text, &name)));
        }
        Some(_) => {}
    }
    let mut sizes: Vec<WindowSize> = Vec::new();
    for expr in &tumble.sizes {
        let found = interval_us(expr).filter(|(us, _)| *us > 0 && *us <= LENGTH_MAX_US);
        let Some((size_us, interval)) = found else {
            let error = Error::new("22023", format!("window size {expr} is not a positive, fixed length of time"));
            return Err(error.hint("Write INTERVAL '1 minute'; months have no fixed length."));
        };
        if sizes.iter().all(|other| other.size_us != size_us) {
            sizes.push(WindowSize { size_us, interval });
        }
    }
    sizes.sort_by_key(|size| size.size_us);
    let Some(pane_us) = sizes.first().map(|size| size.size_us) else {
        return Err(
            Error::syntax("TUMBLE needs at least one size").hint("Write TUMBLE(stream, time, INTERVAL '1 minute').")
        );
    };
    if sizes.iter().any(|size| size.size_us % pane_us != 0) {
        let error = Error::new("22023", "window sizes must be multiples of the smallest");
        return Err(error.hint("Use two views, or sizes such as 1 minute, 5 minutes and 1 hour."));
    }
    check_grouping(node, sizes.len())?;
    let column = input.schema().columns().into_iter().find(|column| column.name == name);
    let Some(column) = column else {
        return Err(Error::unsupported(
            "a sub-query that drops the time column of its window",
            format!("Select \"{name}\" in the sub-query."),
        ));
    };
    Ok(WindowPlan { time: LogicalExpr::Column(column), sizes, pane_us })
}

fn check_grouping(node: &Aggregate, sizes: usize) -> Result<()> {
    let grouped: Vec<&str> = node.group_expr.iter().filter_map(is_window_column).collect();
    if !grouped.contains(&"window_start") && !grouped.contains(&"window_end") {
        return Err(Error::new("42803", "a view over TUMBLE must group by window_start or window_end")
            .hint("Add window_start to GROUP BY."));
    }
    if sizes > 1 && !grouped.contains(&"window_size") {
        return Err(Error::new("42803", "a view over several window sizes must group by window_size")
            .hint("Add window_size to GROUP BY."));
    }
    let inside = node.group_expr.iter().filter(|expr| is_window_column(expr).is_none()).chain(&node.aggr_expr);
    if inside.into_iter().any(mentions_window) || plan_mentions_window(&node.input) {
        return Err(Error::unsupported(
            "an expression of a window column below GROUP BY",
            "Use window_start, window_end and window_size in GROUP BY, SELECT and HAVING.",
        ));
    }
    Ok(())
}

fn plan_mentions_window(plan: &LogicalPlan) -> bool {
    let here = match plan {
        LogicalPlan::TableScan(_) => false,
        other => other.expressions().iter().any(mentions_window),
    };
    here || plan.inputs().into_iter().any(plan_mentions_window)
}

fn aggregate(node: &Aggregate, above: &[LogicalPlan], window: Option<WindowPlan>) -> Result<AggregatePlan> {
    // Its state by groups is another one than its state by itself, so partial rows of one do not fit the other.
    let unfit = |expr: &LogicalExpr| match expr.clone().unalias() {
        LogicalExpr::AggregateFunction(call) => call.func.name() == "corr",
        _ => false,
    };
    if node.aggr_expr.iter().any(unfit) {
        return Err(Error::unsupported("corr()", "It is an operator of a flow."));
    }
    let windowed = window.is_some();
    let (groups_schema, names) = groups_schema(node, windowed);
    let group_exprs = node.group_expr.iter().filter(|expr| !windowed || is_window_column(expr).is_none());
    Ok(AggregatePlan {
        window,
        group_exprs: group_exprs.cloned().collect(),
        aggr_exprs: node.aggr_expr.clone(),
        output: output(above, &groups_schema, &names)?,
        groups_schema,
    })
}

/// Positions of the columns that are the window and the group columns, where all of them are selected.
fn upsert_key(aggregate: &AggregatePlan) -> Vec<usize> {
    let LogicalPlan::Projection(top) = &aggregate.output else { return Vec::new() };
    let position = |name: &str| {
        let plain =
            |expr: &LogicalExpr| matches!(expr.clone().unalias(), LogicalExpr::Column(column) if column.name == name);
        top.expr.iter().position(plain)
    };
    let mut key = Vec::new();
    if let Some(window) = &aggregate.window {
        let Some(bound) = position("window_start").or_else(|| position("window_end")) else { return Vec::new() };
        key.push(bound);
        if window.sizes.len() > 1 {
            let Some(size) = position("window_size") else { return Vec::new() };
            key.push(size);
        }
    }
    for at in 0..aggregate.group_exprs.len() {
        let Some(found) = position(&format!("g{at}")) else { return Vec::new() };
        key.push(found);
    }
    key
}
