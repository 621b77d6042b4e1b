//! `CREATE ALERT`.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};
use datafusion::{
    logical_expr::LogicalPlan,
    sql::sqlparser::{
        ast::{self, BinaryOperator, Expr, Visit, Visitor},
        parser::Parser,
    },
};
use ebap_catalog::{Catalog, Object};

use super::{logical, rewrite, source::placed, with_connection};
use crate::{
    AlertPlan, AlertWindow, Emit, Error, Plans, Result, SourceKind, TemplatePart, ViewPlan, ViewQuery,
    error::find_word,
    flow::{Frame, Node},
    names::{nearest, quoted},
    parser::{AlertBody, Postgres},
};

pub(super) fn plan(
    catalog: &Catalog,
    object: &Object,
    body: &AlertBody,
    text: &str,
    plans: &Plans,
) -> Result<AlertPlan> {
    let view = plans.views.iter().find(|view| view.name == body.from);
    let table = plans.sources.iter().find(|source| source.name == body.from);
    let (from, schema, key) = match (view, table) {
        (Some(view), _) => (view.id, Arc::clone(&view.schema), view.upsert_key.clone()),
        (None, Some(table)) if table.kind == SourceKind::Table => {
            (table.id, Arc::clone(&table.schema), table.primary_key.clone())
        }
        (None, Some(_)) => {
            let error = Error::new("42809", format!("\"{}\" is a stream, whose rows never change", body.from));
            let error = error.hint("Create a materialized view over it, and the alert on that.");
            return Err(placed(error, find_word(text, &body.from)));
        }
        (None, None) => return Err(Error::unknown_relation(&body.from)),
    };
    let window = view.map_or(Ok(None), |view| window_of(view, &schema))?;
    if let (Some(view), Some(window)) = (view, window) {
        check_retention(view, window, body)?;
    }
    let by = match &body.by {
        Some(columns) => columns.iter().map(|name| column(&schema, name, text)).collect::<Result<_>>()?,
        // The window is what time is; what is left is what it is about.
        None => key.into_iter().filter(|at| !is_window(window, &schema, *at)).collect(),
    };
    let (_, mut options) = with_connection(catalog, &body.options)?;
    let value = options.remove("value");
    let rows = rows(&body.condition, value.as_deref(), &schema, text)?;
    let default = format!("{}: {}", object.name, body.condition).replace('{', "{{").replace('}', "}}");
    let summary = template(&options.remove("summary").unwrap_or(default), &schema)?;
    let severity = options.remove("severity");
    let (mut labels, mut left) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in options {
        match name.strip_prefix("label.") {
            Some(label) => labels.insert(label.to_owned(), value),
            None => left.insert(name, value),
        };
    }
    let us = |interval: &Option<(String, i64)>| interval.as_ref().map(|(_, us)| *us);
    Ok(AlertPlan {
        id: object.id,
        name: object.name.clone(),
        from,
        from_name: body.from.clone(),
        rows,
        condition: body.condition.to_string(),
        schema,
        by,
        window,
        closed_only: view.is_some_and(|view| view.emit == Emit::WindowClose),
        hold_us: us(&body.hold).unwrap_or(0),
        keep_us: us(&body.keep).unwrap_or(0),
        no_data_us: us(&body.no_data),
        severity,
        summary,
        labels,
        options: left,
        silenced_until_us: object.silenced_until_us,
        run: super::run(object),
    })
}

/// A column that says which window a row is of, and nothing else: the size does where there are several.
fn is_window(window: Option<AlertWindow>, schema: &Schema, at: usize) -> bool {
    let Some(window) = window else { return false };
    let bound = window.start == Some(at) || window.end == Some(at);
    bound || (window.size_us.is_some() && schema.field(at).name() == "window_size")
}

/// A row that leaves by `retention` must not be taken for one that no longer meets the condition.
fn check_retention(view: &ViewPlan, window: AlertWindow, body: &AlertBody) -> Result<()> {
    let of = |interval: &Option<(String, i64)>| interval.as_ref().map_or(0, |(_, us)| *us);
    let size_us = window.size_us.unwrap_or(0);
    let least_us = of(&body.hold).max(of(&body.keep)).saturating_add(2 * size_us);
    match view.retention_us {
        Some(retention_us) if retention_us < least_us => {
            let message = format!(
                "rows of \"{}\" are kept for {} s, which is too short for the alert to see the condition hold",
                view.name,
                retention_us as f64 / 1e6
            );
            let hint = format!("Give the view a retention of {} seconds or more.", (least_us as f64 / 1e6).ceil());
            Err(Error::new("22023", message).hint(hint))
        }
        _ => Ok(()),
    }
}

fn window_of(view: &ViewPlan, schema: &Schema) -> Result<Option<AlertWindow>> {
    let time = |name: &str| {
        let (at, field) = schema.column_with_name(name)?;
        matches!(field.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _)).then_some(at)
    };
    let (start, end) = (time("window_start"), time("window_end"));
    if start.is_none() && end.is_none() {
        return Ok(None);
    }
    let (mut frames, mut session): (Vec<(i64, i64)>, bool) = (Vec::new(), false);
    match (&view.query, &view.flow) {
        (ViewQuery::Steps(steps), _) => {
            let window = steps.aggregate.as_ref().and_then(|aggregate| aggregate.window.as_ref());
            frames.extend(window.iter().flat_map(|window| &window.sizes).map(|size| (size.size_us, size.size_us)));
        }
        (ViewQuery::Flow, Some(flow)) => flow.each(&mut |flow| match &flow.node {
            Node::Window { frames: found, .. } => {
                frames.extend(found.iter().map(|Frame { slide_us, size_us, .. }| (*slide_us, *size_us)));
            }
            Node::SessionWindow { .. } => session = true,
            _ => {}
        }),
        (ViewQuery::Flow, None) => {}
    }
    if session {
        return Err(Error::unsupported(
            "an alert on windows of sessions",
            "Use an alert on a view with TUMBLE or HOP, whose windows follow each other.",
        ));
    }
    frames.sort_unstable();
    frames.dedup();
    if frames.is_empty() {
        // Columns of these names that no window has made.
        return Ok(None);
    }
    let one = |pick: fn(&(i64, i64)) -> i64| {
        let first = pick(&frames[0]);
        frames.iter().all(|frame| pick(frame) == first).then_some(first)
    };
    let (slide_us, size_us) = (one(|frame| frame.0), one(|frame| frame.1));
    let tumbles = frames.iter().all(|(slide_us, size_us)| slide_us == size_us);
    if size_us.is_none() && (start.is_none() || end.is_none()) {
        let hint = "Select window_start and window_end in the view.";
        return Err(Error::unsupported("an alert on windows whose length is not to be seen in the rows", hint));
    }
    if !tumbles && slide_us.is_none() {
        let hint = "Use windows that all begin equally far apart, or one alert per view.";
        return Err(Error::unsupported("an alert on windows of different slides", hint));
    }
    Ok(Some(AlertWindow { start, end, size_us, slide_us: if tumbles { None } else { slide_us } }))
}

fn column(schema: &Schema, name: &str, text: &str) -> Result<usize> {
    schema.index_of(name).map_err(|_| {
        let error = placed(Error::new("42703", format!("column \"{name}\" does not exist")), find_word(text, name));
        match nearest(name, schema.fields().iter().map(|field| field.name().as_str())) {
            Some(other) => error.hint(format!("Perhaps you meant \"{other}\".")),
            None => error,
        }
    })
}

/// The condition, and the number it compares, over the columns of the view.
fn rows(condition: &Expr, value: Option<&str>, schema: &SchemaRef, text: &str) -> Result<LogicalPlan> {
    let value = match value {
        Some(column_name) => {
            if schema.index_of(column_name).is_err() {
                return Err(Error::option("value", format!("column \"{column_name}\" does not exist in the view")));
            }
            Some(quoted(column_name))
        }
        None => compared(condition).map(|expr| expr.to_string()),
    };
    let plan = |value: &str| select(&format!("SELECT {condition} AS holds, {value} AS value FROM rows"), schema, text);
    let nothing = "CAST(NULL AS DOUBLE)";
    let mut found = plan(value.as_deref().unwrap_or(nothing))?;
    if let Some(value) = value {
        let of = found.schema().field(1).data_type().clone();
        // Computed values of NUMERIC come in LargeBinary.
        let is_number = of.is_numeric() || of == DataType::LargeBinary;
        found = plan(&if is_number { format!("CAST({value} AS DOUBLE)") } else { nothing.to_owned() })?;
    }
    let holds = found.schema().field(0).data_type().clone();
    if !matches!(holds, DataType::Boolean | DataType::Null) {
        let of = crate::error::postgres_type(&holds.to_string());
        return Err(Error::new("42804", format!("argument of WHEN must be type boolean, not type {of}")));
    }
    let LogicalPlan::Projection(projection) = &found else {
        return Err(Error::unsupported("this condition", "Use an expression over the columns of one row."));
    };
    if !matches!(projection.input.as_ref(), LogicalPlan::TableScan(_)) {
        return Err(Error::unsupported(
            format!("the condition {condition}"),
            "Use an expression over the columns of one row; aggregate in the view.",
        ));
    }
    projection.expr.iter().try_for_each(rewrite::refuse_volatile)?;
    Ok(found)
}

fn select(sql: &str, schema: &SchemaRef, text: &str) -> Result<LogicalPlan> {
    let parsed = Parser::parse_sql(&Postgres, sql).ok().and_then(|mut statements| statements.pop());
    let statement: ast::Statement = parsed.ok_or_else(|| Error::syntax("the condition cannot stand here"))?;
    logical(statement, std::iter::once(("rows".to_owned(), Arc::clone(schema))), text).map_err(|mut error| {
        // Positions are of the rewritten query: find the culprit in the user's own text.
        error.position = error.message.split('"').nth(1).and_then(|name| find_word(text, name));
        error
    })
}

/// The left side of the first comparison.
fn compared(condition: &Expr) -> Option<Expr> {
    struct First;
    impl Visitor for First {
        type Break = Expr;

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Expr> {
            use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
            match expr {
                Expr::BinaryOp { left, op: Gt | GtEq | Lt | LtEq | Eq | NotEq, right } => {
                    let (left, right) = (left.as_ref(), right.as_ref());
                    ControlFlow::Break(if matches!(left, Expr::Value(_)) { right } else { left }.clone())
                }
                Expr::Between { expr, .. } => ControlFlow::Break(expr.as_ref().clone()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    match Visit::visit(condition, &mut First) {
        ControlFlow::Break(found) => Some(found),
        ControlFlow::Continue(()) => None,
    }
}

/// `Region {name} at {value}`; `{{` and `}}` stand for the braces themselves.
fn template(text: &str, schema: &Schema) -> Result<Vec<TemplatePart>> {
    let (mut parts, mut plain) = (Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '{' | '}' if chars.peek() == Some(&char) => {
                chars.next();
                plain.push(char);
            }
            '{' => {
                let name: String = chars.by_ref().take_while(|char| *char != '}').collect();
                if !plain.is_empty() {
                    parts.push(TemplatePart::Text(std::mem::take(&mut plain)));
                }
                parts.push(match (name.trim(), schema.index_of(name.trim())) {
                    (_, Ok(at)) => TemplatePart::Column(at),
                    ("value", Err(_)) => TemplatePart::Value,
                    (name, Err(_)) => {
                        let message = format!("column \"{name}\" does not exist in the view");
                        return Err(Error::option("summary", message));
                    }
                });
            }
            char => plain.push(char),
        }
    }
    if !plain.is_empty() {
        parts.push(TemplatePart::Text(plain));
    }
    Ok(parts)
}
