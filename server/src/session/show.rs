//! Statements that show something: `SHOW`, `SHOW CREATE`, `DESCRIBE`, `EXPLAIN`.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::{
    common::TableReference, logical_expr::LogicalPlanBuilder, physical_plan::displayable, sql::sqlparser::ast,
};
use ebap_catalog::{Object, ObjectKind};
use ebap_sql::{
    Reads, ShowKind, Statement, check_definition, check_read, explain_view_plan, plan_catalog, printable_sql,
};
use futures::{StreamExt, stream};

use super::{Output, Planned, Result, Session, set::shown_columns};
use crate::pgwire::sqlstate::{SqlError, from_query};

impl Session {
    /// Types of a statement's answer before it runs; `None` where it answers with a tag.
    pub(crate) fn answer_schema(&self, statement: &Statement) -> Option<SchemaRef> {
        match statement {
            Statement::Show(ShowKind::Objects(_)) => Some(texts_schema(&["name", "comment"])),
            Statement::Show(ShowKind::Jobs) => Some(texts_schema(&["name", "kind", "source", "state", "message"])),
            Statement::Show(ShowKind::Alerts) => {
                Some(texts_schema(&["name", "key", "state", "since", "value", "summary"]))
            }
            Statement::ShowCreate { .. } => Some(texts_schema(&["name", "create_sql"])),
            Statement::Describe { .. } => Some(texts_schema(&["column", "type", "nullable", "comment"])),
            Statement::Explain { .. } | Statement::ExplainView { .. } => Some(texts_schema(&["QUERY PLAN"])),
            Statement::ExplainAlert { .. } => Some(texts_schema(&["ALERT"])),
            Statement::Query(query) => match query.as_ref() {
                ast::Statement::ShowVariable { variable } => Some(texts_schema(&shown_columns(variable))),
                _ => None,
            },
            Statement::Fetch { name, moves: false, .. } => self.cursor_schema(name),
            Statement::Copy(_)
            | Statement::Declare(_)
            | Statement::Fetch { .. }
            | Statement::Close { .. }
            | Statement::Prepare(_)
            | Statement::Execute { .. }
            | Statement::Create(_)
            | Statement::Alter { .. }
            | Statement::Drop { .. }
            | Statement::Comment { .. }
            | Statement::Role(_)
            | Statement::Flush => None,
        }
    }

    pub(super) fn show_objects(&self, kind: ObjectKind) -> Result<Output> {
        let catalog = self.catalog();
        let mut found: Vec<&Object> = catalog.objects().filter(|object| object.kind == kind).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        let names = found.iter().map(|object| Some(object.name.clone())).collect();
        let comments = found.iter().map(|object| object.comment.clone()).collect();
        texts(&["name", "comment"], vec![names, comments], "SHOW")
    }

    pub(super) fn show_create(&self, kind: Option<ObjectKind>, name: &str) -> Result<Output> {
        let catalog = self.catalog();
        let found = catalog.objects().find(|object| object.name == name && kind.is_none_or(|kind| object.kind == kind));
        let Some(object) = found else {
            let kind = kind.map_or("object".to_owned(), |kind| kind.to_string());
            return Err(SqlError::new("42P01", format!("{kind} \"{name}\" does not exist")));
        };
        check_definition(&catalog, &self.settings.actor(&catalog), object)?;
        texts(&["name", "create_sql"], vec![vec![Some(name.to_owned())], vec![Some(printable_sql(object))]], "SHOW")
    }

    pub(super) async fn describe(&self, name: &str) -> Result<Output> {
        let reference = match name.split_once('.') {
            Some((schema, table)) => TableReference::partial(schema, table),
            None => TableReference::bare(name),
        };
        let unknown = || SqlError::new("42P01", format!("relation \"{name}\" does not exist"));
        let table = self.surroundings.context.table_provider(reference).await.map_err(|_| self.not_yet(unknown()))?;
        let catalog = self.catalog();
        let comments = catalog.relation(name).map(|object| object.column_comments.clone()).unwrap_or_default();
        let columns = table.schema();
        let all = columns.fields();
        let values = vec![
            all.iter().map(|field| Some(field.name().clone())).collect(),
            all.iter().map(|field| Some(type_name(field))).collect(),
            all.iter().map(|field| Some(if field.is_nullable() { "yes" } else { "no" }.to_owned())).collect(),
            all.iter().map(|field| comments.get(field.name()).cloned()).collect(),
        ];
        texts(&["column", "type", "nullable", "comment"], values, "DESCRIBE")
    }

    pub(super) async fn explain(
        &self,
        analyze: bool,
        verbose: bool,
        statement: &Statement,
        text: &str,
    ) -> Result<Output> {
        match statement {
            Statement::Create(_) => {
                let (source, view) = explain_view_plan(&self.catalog(), statement, text)?;
                lines(&ebap_stream::explain(&source, &view)?)
            }
            Statement::Query(query) => {
                let Planned { plan, zone, generation, .. } = self.plan(query, text, &[]).await?;
                if analyze {
                    let explained = LogicalPlanBuilder::from(plan).explain(verbose, true);
                    let plan = explained.and_then(LogicalPlanBuilder::build);
                    let plan = plan.map_err(|error| from_query(error, text))?;
                    let schema = Arc::new(plan.schema().as_arrow().clone());
                    return measured(self.execute(Planned { plan, schema, zone, generation }, text).await?).await;
                }
                let plan = self.permitted(plan, text).await?;
                let physical = self
                    .surroundings
                    .context
                    .state()
                    .create_physical_plan(&plan)
                    .await
                    .map_err(|error| from_query(error, text))?;
                lines(&displayable(physical.as_ref()).indent(verbose).to_string())
            }
            _ => Err(SqlError::new("0A000", "EXPLAIN of this statement is not supported")
                .hint("Use EXPLAIN with SELECT or CREATE MATERIALIZED VIEW.")),
        }
    }

    pub(super) fn explain_alert(&self, name: &str) -> Result<Output> {
        if self.catalog().find(ObjectKind::Alert, name).is_none() {
            return Err(SqlError::new("42704", format!("alert \"{name}\" does not exist")));
        }
        // It shows values, as the table of alerts does.
        let catalog = self.app.catalog();
        check_read(&catalog, &self.settings.actor(&catalog), &Reads::System("alerts"))?;
        let text = self.app.engine.explain_alert(name);
        let text = text.unwrap_or_else(|| format!("alert {name} has not been started yet, or its view does not run"));
        texts(&["ALERT"], vec![text.lines().map(|line| Some(line.to_owned())).collect()], "EXPLAIN")
    }

    pub(super) fn explain_view(&self, analyze: bool, name: &str) -> Result<Output> {
        let plans = plan_catalog(&self.catalog())?;
        let Some(view) = plans.views.iter().find(|view| view.name == name) else {
            return Err(SqlError::new("42P01", format!("materialized view \"{name}\" does not exist")));
        };
        let source = plans.sources.iter().find(|source| view.sources.contains(&source.id));
        let source = source.ok_or_else(|| SqlError::new("XX000", "the view has no source"))?;
        lines(&match analyze {
            true => self.app.engine.explain_analyze(source, view)?,
            false => ebap_stream::explain(source, view)?,
        })
    }
}

fn texts_schema<T: AsRef<str>>(names: &[T]) -> SchemaRef {
    Arc::new(Schema::new(names.iter().map(|name| Field::new(name.as_ref(), DataType::Utf8, true)).collect::<Vec<_>>()))
}

pub(super) fn texts<T: AsRef<str>>(names: &[T], columns: Vec<Vec<Option<String>>>, tag: &str) -> Result<Output> {
    let schema = texts_schema(names);
    let columns = columns.into_iter().map(|column| Arc::new(StringArray::from(column)) as ArrayRef).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)
        .map_err(|error| SqlError::new("XX000", error.to_string()))?;
    Ok(Output::Rows { schema, rows: stream::iter([Ok(batch)]).boxed(), tag: tag.to_owned(), binary: false })
}

fn lines(text: &str) -> Result<Output> {
    texts(&["QUERY PLAN"], vec![text.lines().map(|line| Some(line.to_owned())).collect()], "EXPLAIN")
}

/// The plan of a query that has run, as lines.
async fn measured(output: Output) -> Result<Output> {
    let Output::Rows { mut rows, .. } = output else { return Ok(output) };
    let mut plans = Vec::new();
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        // Kind and plan.
        let texts = batch.columns().get(1).map(|column| column.as_string::<i32>().clone());
        plans.extend(texts.iter().flatten().flatten().map(str::to_owned));
    }
    lines(&plans.join("\n"))
}

/// PostgreSQL's long name of a type.
pub(crate) fn type_name(field: &Field) -> String {
    if let Some(marker) = field.metadata().get("ebap.type") {
        return match marker.as_str() {
            "json" | "bpchar" => ebap_functions::pg_type(field).to_string(),
            other => other.to_owned(),
        };
    }
    of_type(field.data_type())
}

pub(super) fn of_type(of: &DataType) -> String {
    match of {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint".to_owned(),
        DataType::Int32 | DataType::UInt16 => "integer".to_owned(),
        DataType::Int64 | DataType::UInt32 => "bigint".to_owned(),
        DataType::UInt64 => "numeric".to_owned(),
        DataType::Float16 | DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double precision".to_owned(),
        DataType::Decimal128(precision, scale) => format!("numeric({precision},{scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::LargeBinary => "numeric".to_owned(),
        DataType::Binary | DataType::BinaryView => "bytea".to_owned(),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone".to_owned(),
        DataType::Timestamp(_, None) => "timestamp without time zone".to_owned(),
        DataType::Interval(_) | DataType::Duration(_) => "interval".to_owned(),
        DataType::List(field) => format!("{}[]", of_type(field.data_type())),
        DataType::Struct(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|field| format!("{} {}", field.name(), type_name(field))).collect();
            format!("struct<{}>", fields.join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => {
                let of: Vec<String> = fields.iter().map(|field| type_name(field)).collect();
                format!("map<{}>", of.join(", "))
            }
            _ => "map".to_owned(),
        },
        other => other.to_string().to_lowercase(),
    }
}
