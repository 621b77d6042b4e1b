//! `CREATE STREAM` and `CREATE TABLE`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::{
    logical_expr::{Expr as LogicalExpr, ExprSchemable, LogicalPlan, cast},
    sql::sqlparser::{ast, ast::Expr, parser::Parser},
};
use ebap_catalog::{Catalog, Object};

use super::{logical, merged_options};
use crate::{
    CheckPlan, Error, FutureLimit, FutureRows, Result, SourceKind, SourcePlan, WatermarkPlan,
    error::find_word,
    names::nearest,
    parser::{ColumnDef, ColumnType, Postgres, SourceBody},
};

const IDLE_TIMEOUT_US: i64 = 30_000_000;
/// Clocks of machines differ by seconds; a time zone that was forgotten, by half an hour at least.
const FUTURE_MAX_US: i64 = 600_000_000;

pub(super) fn plan(catalog: &Catalog, object: &Object, body: &SourceBody, text: &str) -> Result<SourcePlan> {
    let (connector, options) = merged_options(catalog, &body.options)?;
    if body.inferred {
        let error = Error::syntax(format!("the columns of {} are not declared", object.name));
        return Err(error.hint("Columns can be left out where format is avro, json-schema, protobuf or debezium-avro."));
    }
    refuse_changes(body, &options, text)?;
    let schema = schema(body, text)?;
    let is_computed = |name: &str| body.columns.iter().any(|column| column.name == name && column.computed.is_some());
    let decoded: SchemaRef = Arc::new(Schema::new(
        schema.fields().iter().filter(|field| !is_computed(field.name())).cloned().collect::<Vec<_>>(),
    ));
    let mut computed = Vec::new();
    for (at, column) in body.columns.iter().enumerate() {
        if let Some(expr) = &column.computed {
            if let Some(other) =
                body.columns.iter().find(|other| other.computed.is_some() && mentions(expr, &other.name))
            {
                let what = format!("a computed column that refers to the computed column \"{}\"", other.name);
                return Err(Error::unsupported(what, "Refer to declared columns only."));
            }
            let found = expression(expr, Some(&column.column_type), &decoded, text)?;
            computed.push((at, cast(found, column.column_type.arrow.clone())));
        }
    }
    let watermark = watermark(body, &schema, text)?;
    let primary_key = primary_key(body, &schema, text)?;
    let idle_timeout_us = match options.get("idle_timeout") {
        None => IDLE_TIMEOUT_US,
        Some(value) => {
            duration_us(value).ok_or_else(|| Error::option("idle_timeout", format!("\"{value}\" is not a duration")))?
        }
    };
    let future = future_limit(&options)?;
    Ok(SourcePlan {
        id: object.id,
        name_outside: object.id.to_string(),
        name: object.name.clone(),
        kind: body.kind,
        connector,
        options,
        full_schema: with_virtual_columns(&schema),
        checks: checks(body, &object.name, &schema, text)?,
        decoded,
        schema,
        computed,
        watermark,
        idle_timeout_us,
        future,
        primary_key,
        run: super::run(object),
    })
}

fn future_limit(options: &BTreeMap<String, String>) -> Result<FutureLimit> {
    let max_us = match options.get("future_max").map(String::as_str) {
        None => Some(FUTURE_MAX_US),
        Some(value) if value.eq_ignore_ascii_case("none") => None,
        Some(value) => Some(duration_us(value).ok_or_else(|| {
            Error::option("future_max", format!("\"{value}\" is neither a duration such as '10 minutes' nor 'none'"))
        })?),
    };
    let rows = match options.get("future_rows").map(|value| value.to_ascii_lowercase()).as_deref() {
        None | Some("keep") => FutureRows::Keep,
        Some("reject") => FutureRows::Reject,
        Some(other) => {
            return Err(Error::option("future_rows", format!("\"{other}\" is neither 'keep' nor 'reject'")));
        }
    };
    if max_us.is_none() && rows == FutureRows::Reject {
        return Err(Error::option("future_rows", "'reject' needs a future_max other than 'none'".to_owned()));
    }
    Ok(FutureLimit { max_us, rows })
}

/// Changes of rows are of a table: rows of a stream stay.
fn refuse_changes(body: &SourceBody, options: &BTreeMap<String, String>, text: &str) -> Result<()> {
    match options.get("format") {
        Some(format) if body.kind == SourceKind::Stream && format.starts_with("debezium-") => {
            let error = Error::unsupported(
                format!("format '{format}' for a stream"),
                "Use CREATE TABLE name (…, PRIMARY KEY (…)) WITH (…, format = 'debezium-json'): its rows follow the changes.",
            );
            Err(placed(error, find_word(text, "format")))
        }
        _ => Ok(()),
    }
}

fn schema(body: &SourceBody, text: &str) -> Result<SchemaRef> {
    let mut fields: Vec<Field> = Vec::new();
    for column in &body.columns {
        let position = || find_word(text, &column.name);
        if fields.iter().any(|field| *field.name() == column.name) {
            return Err(placed(
                Error::new("42701", format!("column \"{}\" specified more than once", column.name)),
                position(),
            ));
        }
        if is_virtual(&column.name) {
            let error =
                Error::new("42939", format!("column name \"{}\" is reserved for a virtual column", column.name));
            return Err(placed(error, position()));
        }
        let required = column.not_null || column.primary_key || body.primary_key.contains(&column.name);
        let times = body.watermark.as_ref().is_some_and(|(name, _)| *name == column.name);
        let field = column.column_type.field(&column.name, !(required || times));
        fields.push(match column.pii {
            Some(pii) => {
                let mut metadata: HashMap<String, String> = field.metadata().clone();
                metadata.insert("ebap.pii".to_owned(), pii.to_lowercase());
                field.with_metadata(metadata)
            }
            None => field,
        });
    }
    if fields.is_empty() {
        return Err(Error::syntax("a stream needs at least one column"));
    }
    Ok(Arc::new(Schema::new(fields)))
}

const VIRTUAL: [&str; 6] = ["_partition", "_offset", "_key", "_ingested_at", "_late", "_watermark"];

pub(crate) fn is_virtual(column: &str) -> bool {
    VIRTUAL.contains(&column)
}

pub(super) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

fn with_virtual_columns(schema: &Schema) -> SchemaRef {
    let mut fields = schema.fields().to_vec();
    for (name, of, nullable) in [
        (VIRTUAL[0], DataType::Int32, false),
        (VIRTUAL[1], DataType::Int64, false),
        (VIRTUAL[2], DataType::Binary, true),
        (VIRTUAL[3], time_type(), false),
        (VIRTUAL[4], DataType::Boolean, false),
        (VIRTUAL[5], time_type(), true),
    ] {
        fields.push(Arc::new(Field::new(name, of, nullable)));
    }
    Arc::new(Schema::new(fields))
}

fn watermark(body: &SourceBody, schema: &Schema, text: &str) -> Result<Option<WatermarkPlan>> {
    let Some((name, delay_us)) = &body.watermark else { return Ok(None) };
    let column = column_index(schema, name, text)?;
    if *schema.field(column).data_type() != time_type() {
        let error = Error::new("42804", format!("watermark column \"{name}\" must be of type TIMESTAMPTZ"));
        return Err(placed(
            error.hint("Declare it TIMESTAMPTZ: event times are moments, not wall-clock readings."),
            find_word(text, name),
        ));
    }
    Ok(Some(WatermarkPlan { column, delay_us: *delay_us }))
}

fn primary_key(body: &SourceBody, schema: &Schema, text: &str) -> Result<Vec<usize>> {
    let mut key = Vec::new();
    for name in
        body.columns.iter().filter(|column| column.primary_key).map(|column| &column.name).chain(&body.primary_key)
    {
        key.push(column_index(schema, name, text)?);
    }
    match (body.kind, key.is_empty()) {
        (SourceKind::Table, true) => Err(Error::new("42P16", "a table needs a primary key")
            .hint("Write PRIMARY KEY behind a column, or use CREATE STREAM.")),
        (SourceKind::Stream, false) => {
            Err(Error::new("42P16", "a stream has no primary key").hint("Use CREATE TABLE for the newest row per key."))
        }
        _ => Ok(key),
    }
}

fn column_index(schema: &Schema, name: &str, text: &str) -> Result<usize> {
    schema.index_of(name).map_err(|_| {
        let error = Error::new("42703", format!("column \"{name}\" does not exist"));
        let error = placed(error, find_word(text, name));
        match nearest(name, schema.fields().iter().map(|field| field.name().as_str())) {
            Some(other) => error.hint(format!("Perhaps you meant \"{other}\".")),
            None => error,
        }
    })
}

fn checks(body: &SourceBody, name: &str, schema: &SchemaRef, text: &str) -> Result<Vec<CheckPlan>> {
    let of_column = |column: &ColumnDef| {
        let default = format!("{name}_{}_check", column.name);
        column
            .checks
            .iter()
            .map(move |(given, expr)| (given.clone().unwrap_or_else(|| default.clone()), expr.clone()))
            .collect::<Vec<_>>()
    };
    let mut all: Vec<(String, Expr)> = body.columns.iter().flat_map(of_column).collect();
    all.extend(
        body.checks
            .iter()
            .map(|(given, expr)| (given.clone().unwrap_or_else(|| format!("{name}_check")), expr.clone())),
    );
    let mut plans = Vec::new();
    for (name, expr) in all {
        let found = expression(&expr, None, schema, text)?;
        let of = datafusion::common::DFSchema::try_from(Arc::clone(schema)).and_then(|schema| found.get_type(&schema));
        match of {
            Ok(DataType::Boolean | DataType::Null) => {}
            _ => return Err(Error::new("42804", "argument of CHECK must be type boolean")),
        }
        plans.push(CheckPlan { name, expr: cast(found, DataType::Boolean) });
    }
    Ok(plans)
}

/// The expression over these columns, as a value of a type where one is given.
fn expression(expr: &Expr, of: Option<&ColumnType>, schema: &SchemaRef, text: &str) -> Result<LogicalExpr> {
    // By way of a query, so that it is planned and analysed as any other expression.
    let sql = match of {
        Some(of) if !matches!(of.arrow, DataType::Struct(_) | DataType::Map(..)) => {
            format!("SELECT CAST(({expr}) AS {}) AS value FROM columns", of.text)
        }
        _ => format!("SELECT {expr} AS value FROM columns"),
    };
    let parsed = Parser::parse_sql(&Postgres, &sql);
    let statement: ast::Statement = parsed
        .ok()
        .and_then(|mut statements| statements.pop())
        .ok_or_else(|| Error::syntax(format!("the expression {expr} cannot stand here")))?;
    let plan = logical(statement, std::iter::once(("columns".to_owned(), Arc::clone(schema))), text).map_err(
        |mut error| {
            // Positions are of the rewritten query: find the culprit in the user's own text.
            error.position = error.message.split('"').nth(1).and_then(|name| find_word(text, name));
            error
        },
    )?;
    let LogicalPlan::Projection(projection) = plan else {
        return Err(Error::unsupported(
            format!("the expression {expr} here"),
            "Use an expression over the columns of one row.",
        ));
    };
    if !matches!(projection.input.as_ref(), LogicalPlan::TableScan(_)) {
        return Err(Error::unsupported(
            format!("the expression {expr} here"),
            "Use an expression over the columns of one row.",
        ));
    }
    super::rewrite::refuse_volatile(&projection.expr[0])?;
    let unqualified = super::rewrite::unqualify(projection.expr[0].clone())?;
    Ok(unqualified.unalias())
}

fn mentions(expr: &Expr, column: &str) -> bool {
    find_word(&expr.to_string(), column).is_some()
}

pub(super) fn placed(mut error: Error, position: Option<usize>) -> Error {
    error.position = error.position.or(position);
    error
}

/// `30 seconds`, `5m`, `1 hour`.
pub(super) fn duration_us(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim().to_lowercase().as_str() {
        "ms" | "millisecond" | "milliseconds" => 1e3,
        "" | "s" | "second" | "seconds" => 1e6,
        "m" | "min" | "minute" | "minutes" => 6e7,
        "h" | "hour" | "hours" => 3.6e9,
        "d" | "day" | "days" => 8.64e10,
        _ => return None,
    };
    let us = number * unit;
    (us.is_finite() && us < 9e18).then_some(us as i64)
}

/// `512 MB`, `4GB`; a unit counts 1024 of the one before it, as in the options of connectors.
pub(super) fn size_bytes(text: &str) -> Option<usize> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: usize = text[..digits].parse().ok()?;
    let unit: usize = match text[digits..].trim().to_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "kib" | "k" => 1 << 10,
        "mb" | "mib" | "m" => 1 << 20,
        "gb" | "gib" | "g" => 1 << 30,
        "tb" | "tib" | "t" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(unit)
}
