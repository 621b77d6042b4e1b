//! From a statement to what the engine runs.

mod alert;
mod cache;
mod evaluable;
mod flow;
mod function;
mod rewrite;
mod sink;
mod source;
mod view;

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::{IntervalMonthDayNano, SchemaRef};
use datafusion::{
    catalog::{MemTable, MemorySchemaProvider, SchemaProvider},
    execution::{SessionState, runtime_env::RuntimeEnv},
    logical_expr::{LogicalPlan, LogicalPlanBuilder},
    sql::sqlparser::ast::{self, DateTimeField, Expr, Value},
};
use ebap_catalog::{Catalog, Object, ObjectId, ObjectKind};
use futures::FutureExt;

use self::cache::{Keys, Planned};
pub use self::function::built_in_function;
pub(crate) use self::{
    source::is_virtual,
    view::{folded, relation_names},
};
use crate::{
    Error, Plans, Result, Run, SourcePlan, Statement, ViewPlan,
    apply::reparse,
    error::from_datafusion,
    macros::{expand, expand_functions},
    parser::{Body, Create, OptionValue},
    semantics::plan_statement,
    session::{session_config, session_state},
    wildcard::hide_virtual_columns,
};

/// Plans everything in the catalog.
///
/// # Errors
/// Where a stored statement can no longer be planned; names the object.
pub fn plan_catalog(catalog: &Catalog) -> Result<Plans> {
    let (mut plans, mut keys) = (Plans::default(), Keys::default());
    for object in catalog.in_order() {
        let planned = keys.planned(object, || {
            let (create, text) = reparse(object)?;
            planned(catalog, object, &create, &text, &plans)
        });
        plans.put(planned.map_err(|mut error: Error| {
            error.detail.get_or_insert(format!("In the stored definition of {} \"{}\".", object.kind, object.name));
            error
        })?);
    }
    keys.keep_these();
    plans.joins = catalog.joins().cloned().collect();
    // Not a part of what a plan is kept by: it is of the catalog and not of the object.
    for source in &mut plans.sources {
        let name = catalog.name_outside(source.id);
        if source.name_outside != name {
            Arc::make_mut(source).name_outside = name;
        }
    }
    for sink in &mut plans.sinks {
        let (name, version) = (catalog.name_outside(sink.id), catalog.first_version(sink.id));
        if sink.name_outside != name || sink.first_version != version {
            let sink = Arc::make_mut(sink);
            (sink.name_outside, sink.first_version) = (name, version);
        }
    }
    Ok(plans)
}

/// Plans the new object alone, with what it depends on.
pub(crate) fn plan_new(catalog: &Catalog, id: ObjectId, create: &Create, text: &str) -> Result<()> {
    let Some(object) = catalog.get(id) else { return Ok(()) };
    let (plans, mut keys) = needed_plans(catalog, object)?;
    match &create.body {
        Body::Function(body) => function::check(catalog, object, body, text),
        Body::Secret(_)
        | Body::Connection { .. }
        | Body::Source(_)
        | Body::View(_)
        | Body::Sink(_)
        | Body::Alert(_) => keys.planned(object, || planned(catalog, object, create, text, &plans)).map(drop),
    }
}

/// Plans of all that the object depends on.
fn needed_plans(catalog: &Catalog, object: &Object) -> Result<(Plans, Keys)> {
    let (mut plans, mut keys) = (Plans::default(), Keys::default());
    for needed in needed_by(catalog, object) {
        plans.put(keys.planned(needed, || {
            let (create, text) = reparse(needed)?;
            planned(catalog, needed, &create, &text, &plans)
        })?);
    }
    Ok((plans, keys))
}

/// All it depends on, directly or not.
fn needed_by<'a>(catalog: &'a Catalog, object: &Object) -> Vec<&'a Object> {
    catalog.with_needs(object.depends_on.iter().filter_map(|id| catalog.get(*id)))
}

impl Plans {
    fn put(&mut self, planned: Planned) {
        match planned {
            Planned::Nothing => {}
            Planned::Source(source) => self.sources.push(source),
            Planned::View(view) => self.views.push(view),
            Planned::Sink(sink) => self.sinks.push(sink),
            Planned::Alert(alert) => self.alerts.push(alert),
        }
    }
}

/// `plans`: of all that the object depends on.
fn planned(catalog: &Catalog, object: &Object, create: &Create, text: &str, plans: &Plans) -> Result<Planned> {
    Ok(match &create.body {
        Body::Secret(_) | Body::Connection { .. } | Body::Function(_) => Planned::Nothing,
        Body::Source(body) => {
            let mut body = body.clone();
            body.expressions_mut().try_for_each(|expr| expand(catalog, expr, text))?;
            Planned::Source(Arc::new(source::plan(catalog, object, &body, text)?))
        }
        Body::View(body) => {
            let mut body = body.clone();
            expand(catalog, &mut body.query, text)?;
            crate::column_names::name_columns(&mut body.query.body);
            Planned::View(Arc::new(view::plan(object, &body, text, plans)?))
        }
        Body::Sink(body) => Planned::Sink(Arc::new(sink::plan(catalog, object, body, plans)?)),
        Body::Alert(body) => {
            let mut body = body.clone();
            expand(catalog, &mut body.condition, text)?;
            Planned::Alert(Arc::new(alert::plan(catalog, object, &body, text, plans)?))
        }
    })
}

/// Plans of a view that is not created, for `EXPLAIN`.
///
/// # Errors
/// As `CREATE` would give them.
pub fn explain_view_plan(
    catalog: &Catalog,
    statement: &Statement,
    text: &str,
) -> Result<(Arc<SourcePlan>, Arc<ViewPlan>)> {
    let Statement::Create(create) = statement else { return Err(Error::new("XX000", "no CREATE statement")) };
    let Body::View(body) = &create.body else {
        return Err(Error::unsupported(
            "EXPLAIN of this statement",
            "Use EXPLAIN with SELECT or CREATE MATERIALIZED VIEW.",
        ));
    };
    let needs = crate::apply::relations(catalog, body)?;
    let mut scratch = catalog.clone();
    let id = scratch.create(ObjectKind::MaterializedView, "?explain?", String::new(), needs, 0)?;
    let mut plans = Plans::default();
    if let Some(object) = scratch.get(id) {
        plans = needed_plans(&scratch, object)?.0;
        plans.put(planned(&scratch, object, create, text, &plans)?);
    }
    let view = plans.views.pop().ok_or_else(|| Error::new("XX000", "no view was planned"))?;
    let source = plans.sources.into_iter().find(|source| view.sources.contains(&source.id));
    Ok((source.ok_or_else(|| Error::new("XX000", "the view has no source"))?, view))
}

/// Columns a query sees in this relation.
pub(crate) fn relation_schema(catalog: &Catalog, id: ObjectId) -> Result<SchemaRef> {
    let plans = plan_catalog(catalog)?;
    let source = plans.sources.iter().find(|source| source.id == id).map(|source| visible(source));
    let view = || plans.views.iter().find(|view| view.id == id).map(|view| Arc::clone(&view.schema));
    source.or_else(view).ok_or_else(|| Error::new("XX000", "no such relation"))
}

fn run(object: &Object) -> Run {
    let Object { paused, resumes, resume_from, rebuilds, .. } = *object;
    Run { paused, resumes, resume_from, rebuilds }
}

fn visible(source: &SourcePlan) -> SchemaRef {
    match source.kind {
        crate::SourceKind::Stream => Arc::clone(&source.full_schema),
        crate::SourceKind::Table => Arc::clone(&source.schema),
    }
}

/// Plans a query against the catalog's relations without running it.
///
/// # Errors
/// As the server would give them.
pub fn plan_query(catalog: &Catalog, query: &ast::Statement, text: &str) -> Result<()> {
    if !matches!(query, ast::Statement::Query(_)) {
        return Ok(());
    }
    let plans = plan_catalog(catalog)?;
    let tables = plans.sources.iter().map(|source| (source.name.clone(), visible(source)));
    let views = plans.views.iter().map(|view| (view.name.clone(), Arc::clone(&view.schema)));
    let mut query = query.clone();
    expand_functions(catalog, &mut query, text)?;
    hide_virtual_columns(&mut query, &|name| {
        let name = view::last_name(name);
        let is_meant = |source: &&Arc<SourcePlan>| source.kind == crate::SourceKind::Stream && source.name == name;
        let columns = &plans.sources.iter().find(is_meant)?.schema;
        Some(columns.fields().iter().map(|field| field.name().clone()).collect())
    });
    logical(query, tables.chain(views), text).map(|_| ())
}

/// The analysed logical plan (types coerced, nothing optimised: rules such as the one that turns a
/// distinct aggregate into two would change what the state is) of a query over these tables.
fn logical(
    statement: ast::Statement,
    tables: impl Iterator<Item = (String, SchemaRef)>,
    text: &str,
) -> Result<LogicalPlan> {
    analyzed(&planning_state(tables)?, statement, text)
}

fn analyzed(state: &SessionState, statement: ast::Statement, text: &str) -> Result<LogicalPlan> {
    // Tables are in memory, so nothing is ever waited for.
    let plan = plan_statement(state, statement, text).now_or_never();
    let plan = plan.ok_or_else(|| Error::new("XX000", "planning waited"))??;
    let options = state.config().options();
    let plan = state.analyzer().execute_and_check(plan, options, |_, _| {});
    plan.and_then(evaluable::evaluable).map_err(|error| from_datafusion(error, text))
}

fn planning_state(tables: impl Iterator<Item = (String, SchemaRef)>) -> Result<SessionState> {
    let state = session_state(session_config(), Arc::new(RuntimeEnv::default()));
    let internal = |error| from_datafusion(error, "");
    let schema = MemorySchemaProvider::new();
    for (name, columns) in tables {
        let table = MemTable::try_new(columns, vec![vec![]]).map_err(internal)?;
        schema.register_table(name, Arc::new(table)).map_err(internal)?;
    }
    let catalogs = state.catalog_list();
    let catalog = catalogs.catalog("ebap").ok_or_else(|| Error::new("XX000", "no default catalog"))?;
    catalog.register_schema("public", Arc::new(schema)).map_err(internal)?;
    Ok(state)
}

/// A scan of a placeholder table.
fn placeholder(name: &str, schema: &SchemaRef) -> Result<LogicalPlan> {
    let internal = |error| from_datafusion(error, "");
    let table = MemTable::try_new(Arc::clone(schema), vec![vec![]]).map_err(internal)?;
    let source = datafusion::datasource::provider_as_source(Arc::new(table));
    LogicalPlanBuilder::scan(name, source, None).and_then(LogicalPlanBuilder::build).map_err(internal)
}

/// Options of the statement over those of its connection; a secret becomes `secret:NAME`.
pub(crate) fn merged_options(catalog: &Catalog, options: &[OptionValue]) -> Result<(String, BTreeMap<String, String>)> {
    let (connector, mut merged) = with_connection(catalog, options)?;
    let named = merged.remove("connector");
    match (connector, named) {
        (Some(kind), Some(named)) if kind != named => {
            Err(Error::option("connector", format!("\"{named}\" does not fit the connection, which is to {kind}")))
        }
        (Some(kind), _) | (None, Some(kind)) => Ok((kind, merged)),
        (None, None) => {
            Err(Error::option("connector", "is required").hint("Write connector = '...' or connection = name."))
        }
    }
}

/// Options of the statement over those of its connection, and the kind of that.
pub(super) fn with_connection(
    catalog: &Catalog,
    options: &[OptionValue],
) -> Result<(Option<String>, BTreeMap<String, String>)> {
    let mut merged = BTreeMap::new();
    let mut connector = None;
    if let Some(connection) = options.iter().find(|option| option.name == "connection") {
        let object = catalog.find(ObjectKind::Connection, &connection.value);
        let object = object.ok_or_else(|| crate::error::unknown(ObjectKind::Connection, &connection.value))?;
        if let Body::Connection { kind, options } = reparse(object)?.0.body {
            connector = Some(kind);
            put(&mut merged, &options);
        }
    }
    put(&mut merged, options);
    merged.remove("connection");
    Ok((connector, merged))
}

fn put(merged: &mut BTreeMap<String, String>, options: &[OptionValue]) {
    for option in options {
        let value = if option.secret { format!("secret:{}", option.value) } else { option.value.clone() };
        merged.insert(option.name.clone(), value);
    }
}

/// The longest window or span: its microseconds fit 64 bits, with a day to spare.
pub(crate) const LENGTH_MAX_US: i64 = 106_751_990 * 86_400_000_000;

/// An `INTERVAL` literal: microseconds (a day counts 24 hours) and the interval itself.
pub(crate) fn interval_us(expr: &Expr) -> Option<(i64, IntervalMonthDayNano)> {
    let Expr::Interval(interval) = expr else { return None };
    let Expr::Value(value) = interval.value.as_ref() else { return None };
    let mut text = match &value.value {
        Value::SingleQuotedString(text) => text.clone(),
        Value::Number(text, _) => text.clone(),
        _ => return None,
    };
    if let Some(field) = &interval.leading_field {
        text.push_str(match field {
            DateTimeField::Day | DateTimeField::Days => " days",
            DateTimeField::Hour | DateTimeField::Hours => " hours",
            DateTimeField::Minute | DateTimeField::Minutes => " minutes",
            DateTimeField::Second | DateTimeField::Seconds => " seconds",
            _ => return None,
        });
    }
    let parsed = arrow::compute::kernels::cast_utils::parse_interval_month_day_nano(&text).ok()?;
    if parsed.months != 0 {
        return None;
    }
    let us = i64::from(parsed.days).checked_mul(86_400_000_000)?.checked_add(parsed.nanoseconds / 1_000)?;
    Some((us, parsed))
}
