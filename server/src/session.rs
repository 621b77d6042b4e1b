//! One client's session: its settings, its transaction, and what each statement does.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::{
    common::ParamValues,
    execution::SendableRecordBatchStream,
    logical_expr::LogicalPlan,
    physical_plan::stream::RecordBatchStreamAdapter,
    prelude::SessionContext,
    sql::{
        parser::Statement as DataFusionStatement,
        sqlparser::ast::{self, SetExpr, Value},
    },
};
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use ebap_catalog::{Catalog, Migration, Object, ObjectKind};
use ebap_connector::time;
use ebap_sql::{Parsed, ShowKind, Statement, apply, explain_view_plan, parse, plan_catalog, printable_sql};
use futures::StreamExt;
use parking_lot::Mutex;

use crate::{
    app::App,
    pgwire::sqlstate::{SqlError, from_query},
    system::SERVER_VERSION,
};

/// What a statement answers with.
pub(crate) enum Output {
    Rows { schema: SchemaRef, rows: SendableRecordBatchStream, tag: String },
    Done(String),
    Begun,
    Ended(String),
    Empty,
}

/// DDL of a transaction block, not durable yet.
struct Staged {
    base: u64,
    catalog: Catalog,
    changed: bool,
    failed: bool,
    /// Made by a query of several statements, not by `BEGIN`.
    implicit: bool,
}

pub(crate) struct Session {
    pub(crate) app: Arc<App>,
    context: SessionContext,
    settings: Mutex<BTreeMap<String, String>>,
    transaction: Mutex<Option<Staged>>,
    compatibility: Arc<PostgresCompatibilityParser>,
    /// Notices of the statement that runs.
    notices: Mutex<Vec<String>>,
}

type Result<T, E = SqlError> = std::result::Result<T, E>;

const DEFAULTS: [(&str, &str); 20] = [
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("datestyle", "ISO, MDY"),
    ("default_transaction_read_only", "off"),
    ("extra_float_digits", "1"),
    ("idle_in_transaction_session_timeout", "0"),
    ("intervalstyle", "postgres"),
    ("lock_timeout", "0"),
    ("search_path", "public"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "150000"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("timezone", "UTC"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "off"),
    ("row_security", "on"),
];

impl Session {
    pub(crate) fn new(app: Arc<App>, context: SessionContext, compatibility: Arc<PostgresCompatibilityParser>) -> Self {
        Self {
            app,
            context,
            settings: Mutex::default(),
            transaction: Mutex::default(),
            compatibility,
            notices: Mutex::default(),
        }
    }

    pub(crate) fn set(&self, name: &str, value: &str) {
        self.settings.lock().insert(name.to_lowercase(), value.to_owned());
    }

    pub(crate) fn setting(&self, name: &str) -> Option<String> {
        let name = name.to_lowercase();
        let own = self.settings.lock().get(&name).cloned();
        own.or_else(|| DEFAULTS.iter().find(|(default, _)| *default == name).map(|(_, value)| (*value).to_owned()))
    }

    pub(crate) fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut self.notices.lock())
    }

    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        let text = self.setting("statement_timeout")?;
        let limit = match text.trim().parse::<u64>() {
            Ok(ms) => Duration::from_millis(ms),
            Err(_) => ebap_connector::parse_duration(&text)?,
        };
        (!limit.is_zero()).then_some(limit)
    }

    /// Begins the implicit transaction of a query of several statements.
    pub(crate) fn begin_implicit(&self) {
        let mut transaction = self.transaction.lock();
        if transaction.is_none() {
            *transaction = Some(self.staged(true));
        }
    }

    /// Ends it; `ok` is false where a statement failed.
    pub(crate) async fn end_implicit(&self, ok: bool) -> Result<()> {
        let staged = {
            let mut transaction = self.transaction.lock();
            if transaction.as_ref().is_none_or(|staged| !staged.implicit) { None } else { transaction.take() }
        };
        match staged {
            Some(staged) if ok && staged.changed => self.app.commit(staged.base, staged.catalog).await,
            _ => Ok(()),
        }
    }

    /// Marks an open block as failed.
    pub(crate) fn failed(&self) {
        if let Some(staged) = self.transaction.lock().as_mut() {
            staged.failed = true;
        }
    }

    fn staged(&self, implicit: bool) -> Staged {
        let catalog = self.app.catalog();
        Staged { base: catalog.version, catalog: catalog.as_ref().clone(), changed: false, failed: false, implicit }
    }

    fn catalog(&self) -> Catalog {
        match self.transaction.lock().as_ref() {
            Some(staged) => staged.catalog.clone(),
            None => self.app.catalog().as_ref().clone(),
        }
    }

    /// The plan of a query, for the extended protocol.
    pub(crate) async fn plan(&self, statement: &ast::Statement, text: &str) -> Result<LogicalPlan> {
        let statement = self.compatibility.rewrite(statement.clone());
        let state = self.context.state();
        let plan = state.statement_to_plan(DataFusionStatement::Statement(Box::new(statement))).await;
        let plan = plan.map_err(|error| from_query(error, text))?;
        match &plan {
            LogicalPlan::Ddl(_) | LogicalPlan::Dml(_) | LogicalPlan::Copy(_) => {
                Err(SqlError::new("0A000", "the statement is not supported")
                    .hint("Data come in through streams and tables."))
            }
            _ => Ok(plan),
        }
    }

    /// Runs one statement. `planned`: its plan, where the extended protocol has made it already.
    pub(crate) async fn run(&self, parsed: &Parsed, planned: Option<(LogicalPlan, ParamValues)>) -> Result<Output> {
        let ends = matches!(&parsed.statement, Statement::Query(query) if matches!(query.as_ref(), ast::Statement::Commit { .. } | ast::Statement::Rollback { .. }));
        if !ends && self.transaction.lock().as_ref().is_some_and(|staged| staged.failed) {
            return Err(SqlError::new(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        match &parsed.statement {
            Statement::Create(_) | Statement::Drop { .. } | Statement::Comment { .. } => self.change(parsed).await,
            Statement::Show(ShowKind::Objects(kind)) => self.show_objects(*kind),
            Statement::Show(ShowKind::Jobs) => {
                self.select("SELECT name, kind, source, state, message FROM ebap.jobs ORDER BY name").await
            }
            Statement::ShowCreate { kind, name } => self.show_create(*kind, name),
            Statement::Describe { name } => self.describe(name).await,
            Statement::Flush => {
                self.app.engine.flush().await?;
                Ok(Output::Done("FLUSH".to_owned()))
            }
            Statement::Explain { analyze, verbose, statement } => {
                self.explain(*analyze, *verbose, statement, &parsed.text).await
            }
            Statement::ExplainView { name } => self.explain_view(name),
            Statement::Query(query) => match planned {
                Some((plan, values)) => {
                    self.execute(
                        plan.with_param_values(values).map_err(|error| from_query(error, &parsed.text))?,
                        &parsed.text,
                    )
                    .await
                }
                None => self.query(query, &parsed.text).await,
            },
        }
    }

    async fn change(&self, parsed: &Parsed) -> Result<Output> {
        let applied = apply(&self.catalog(), &parsed.statement, &parsed.text, time::now_us())?;
        self.notices.lock().extend(applied.notices);
        {
            let mut transaction = self.transaction.lock();
            if let Some(staged) = transaction.as_mut() {
                staged.changed = true;
                staged.catalog = applied.catalog;
                return Ok(Output::Done(applied.tag));
            }
        }
        let base = applied.catalog.version;
        if applied.catalog != *self.app.catalog() {
            self.app.commit(base, applied.catalog).await?;
        }
        Ok(Output::Done(applied.tag))
    }

    async fn query(&self, query: &ast::Statement, text: &str) -> Result<Output> {
        match query {
            ast::Statement::StartTransaction { .. } => {
                let mut transaction = self.transaction.lock();
                match transaction.as_mut() {
                    Some(staged) if !staged.implicit => {
                        self.notices.lock().push("there is already a transaction in progress".to_owned())
                    }
                    Some(staged) => staged.implicit = false,
                    None => *transaction = Some(self.staged(false)),
                }
                Ok(Output::Begun)
            }
            ast::Statement::Commit { .. } => {
                let staged = self.transaction.lock().take();
                match staged {
                    Some(staged) if staged.failed => Ok(Output::Ended("ROLLBACK".to_owned())),
                    Some(staged) if staged.changed => {
                        self.app.commit(staged.base, staged.catalog).await?;
                        Ok(Output::Ended("COMMIT".to_owned()))
                    }
                    _ => Ok(Output::Ended("COMMIT".to_owned())),
                }
            }
            ast::Statement::Rollback { .. } => {
                self.transaction.lock().take();
                Ok(Output::Ended("ROLLBACK".to_owned()))
            }
            ast::Statement::Savepoint { .. } => Ok(Output::Done("SAVEPOINT".to_owned())),
            ast::Statement::ReleaseSavepoint { .. } => Ok(Output::Done("RELEASE".to_owned())),
            ast::Statement::Set(set) => self.set_statement(&set.to_string()),
            ast::Statement::Reset(reset) => {
                let text = reset.to_string();
                let name = text.trim_start_matches("RESET ").to_lowercase();
                match name.as_str() {
                    "all" => self.settings.lock().clear(),
                    name => {
                        self.settings.lock().remove(name);
                    }
                }
                Ok(Output::Done("RESET".to_owned()))
            }
            ast::Statement::Discard { .. } => {
                self.settings.lock().clear();
                Ok(Output::Done("DISCARD ALL".to_owned()))
            }
            ast::Statement::Deallocate { .. } => Ok(Output::Done("DEALLOCATE".to_owned())),
            ast::Statement::ShowVariable { variable } => {
                let name = variable.iter().map(|part| part.value.to_lowercase()).collect::<Vec<_>>().join("_");
                self.show_setting(&name)
            }
            ast::Statement::Insert(insert) => self.insert(insert).await,
            query => {
                let plan = self.plan(query, text).await?;
                self.execute(plan, text).await
            }
        }
    }

    async fn execute(&self, plan: LogicalPlan, text: &str) -> Result<Output> {
        let frame = self.context.execute_logical_plan(plan).await.map_err(|error| from_query(error, text))?;
        let schema: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
        let mut rows = frame.execute_stream().await.map_err(|error| from_query(error, text))?;
        // The first rows are waited for here, so that a query can be cancelled while it computes them.
        let first = rows.next().await.transpose().map_err(|error| from_query(error, text))?;
        let rest = futures::stream::iter(first.map(Ok)).chain(rows);
        let rows = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), rest));
        Ok(Output::Rows { schema, rows, tag: "SELECT".to_owned() })
    }

    async fn select(&self, text: &str) -> Result<Output> {
        let parsed = parse(text)?;
        match parsed.into_iter().next() {
            Some(Parsed { statement: Statement::Query(query), text, .. }) => {
                let plan = self.plan(&query, &text).await?;
                self.execute(plan, &text).await
            }
            _ => Ok(Output::Empty),
        }
    }

    /// Types of a statement's answer before it runs; `None` where it answers with a tag.
    pub(crate) fn answer_schema(&self, statement: &Statement) -> Option<SchemaRef> {
        match statement {
            Statement::Show(ShowKind::Objects(_)) => Some(texts_schema(&["name", "comment"])),
            Statement::Show(ShowKind::Jobs) => Some(texts_schema(&["name", "kind", "source", "state", "message"])),
            Statement::ShowCreate { .. } => Some(texts_schema(&["name", "create_sql"])),
            Statement::Describe { .. } => Some(texts_schema(&["column", "type", "nullable", "comment"])),
            Statement::Explain { .. } | Statement::ExplainView { .. } => Some(texts_schema(&["QUERY PLAN"])),
            Statement::Query(query) => match query.as_ref() {
                ast::Statement::ShowVariable { variable } => {
                    let name = variable.iter().map(|part| part.value.to_lowercase()).collect::<Vec<_>>().join("_");
                    Some(texts_schema(&[name.as_str()]))
                }
                _ => None,
            },
            Statement::Create(_) | Statement::Drop { .. } | Statement::Comment { .. } | Statement::Flush => None,
        }
    }

    fn show_objects(&self, kind: ObjectKind) -> Result<Output> {
        let catalog = self.catalog();
        let mut found: Vec<&Object> = catalog.objects().filter(|object| object.kind == kind).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        let names = found.iter().map(|object| Some(object.name.clone())).collect();
        let comments = found.iter().map(|object| object.comment.clone()).collect();
        texts(&["name", "comment"], vec![names, comments], "SHOW")
    }

    fn show_create(&self, kind: Option<ObjectKind>, name: &str) -> Result<Output> {
        let catalog = self.catalog();
        let found = catalog.objects().find(|object| object.name == name && kind.is_none_or(|kind| object.kind == kind));
        let Some(object) = found else {
            let kind = kind.map_or("object".to_owned(), |kind| kind.to_string());
            return Err(SqlError::new("42P01", format!("{kind} \"{name}\" does not exist")));
        };
        texts(&["name", "create_sql"], vec![vec![Some(name.to_owned())], vec![Some(printable_sql(object))]], "SHOW")
    }

    async fn describe(&self, name: &str) -> Result<Output> {
        let (schema, table) = name.split_once('.').unwrap_or(("public", name));
        let provider = self.context.catalog("ebap").and_then(|catalog| catalog.schema(schema));
        let table = match provider {
            Some(provider) => provider.table(table).await.map_err(|error| from_query(error, name))?,
            None => None,
        };
        let Some(table) = table else {
            return Err(SqlError::new("42P01", format!("relation \"{name}\" does not exist")));
        };
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

    async fn explain(&self, analyze: bool, verbose: bool, statement: &Statement, text: &str) -> Result<Output> {
        match statement {
            Statement::Create(_) => {
                let (source, view) = explain_view_plan(&self.catalog(), statement, text)?;
                lines(&ebap_stream::explain(&source, &view)?)
            }
            Statement::Query(query) => {
                let plan = self.plan(query, text).await?;
                if analyze {
                    let explained = datafusion::logical_expr::LogicalPlanBuilder::from(plan).explain(verbose, true);
                    let explained = explained.and_then(datafusion::logical_expr::LogicalPlanBuilder::build);
                    return self.execute(explained.map_err(|error| from_query(error, text))?, text).await;
                }
                let physical =
                    self.context.state().create_physical_plan(&plan).await.map_err(|error| from_query(error, text))?;
                lines(&datafusion::physical_plan::displayable(physical.as_ref()).indent(verbose).to_string())
            }
            _ => Err(SqlError::new("0A000", "EXPLAIN of this statement is not supported")
                .hint("Use EXPLAIN with SELECT or CREATE MATERIALIZED VIEW.")),
        }
    }

    fn explain_view(&self, name: &str) -> Result<Output> {
        let plans = plan_catalog(&self.catalog())?;
        let Some(view) = plans.views.iter().find(|view| view.name == name) else {
            return Err(SqlError::new("42P01", format!("materialized view \"{name}\" does not exist")));
        };
        let source = plans.sources.iter().find(|source| source.id == view.source);
        let source = source.ok_or_else(|| SqlError::new("XX000", "the view has no source"))?;
        lines(&ebap_stream::explain(source, view)?)
    }

    /// `SET name = value`, as sqlparser prints it.
    fn set_statement(&self, text: &str) -> Result<Output> {
        let rest = text.strip_prefix("SET ").unwrap_or(text);
        let rest = rest.strip_prefix("SESSION ").or(rest.strip_prefix("LOCAL ")).unwrap_or(rest);
        let done = Ok(Output::Done("SET".to_owned()));
        if let Some(zone) = rest.strip_prefix("TIME ZONE ").or(rest.strip_prefix("TIMEZONE ")) {
            self.set("timezone", zone.trim_matches('\''));
            return done;
        }
        let Some((name, value)) = rest.split_once(" = ").or(rest.split_once(" TO ")) else { return done };
        let (name, value) = (name.trim().to_lowercase(), value.trim().trim_matches('\''));
        if !name.contains('.') && !DEFAULTS.iter().any(|(default, _)| *default == name) {
            return Err(SqlError::new("42704", format!("unrecognized configuration parameter \"{name}\"")));
        }
        if name == "client_encoding"
            && !["utf8", "utf-8", "unicode", "sql_ascii"].contains(&value.to_lowercase().as_str())
        {
            return Err(SqlError::new(
                "22023",
                format!("invalid value for parameter \"client_encoding\": \"{value}\""),
            )
            .hint("The encoding is UTF8."));
        }
        if name == "statement_timeout"
            && value.parse::<u64>().is_err()
            && ebap_connector::parse_duration(value).is_none()
        {
            return Err(SqlError::new(
                "22023",
                format!("invalid value for parameter \"statement_timeout\": \"{value}\""),
            ));
        }
        match value.to_lowercase().as_str() {
            "default" => {
                self.settings.lock().remove(&name);
            }
            _ => self.set(&name, value),
        }
        done
    }

    fn show_setting(&self, name: &str) -> Result<Output> {
        let key = match name {
            "time_zone" => "timezone",
            "transaction_isolation_level" => "transaction_isolation",
            other => other,
        };
        if key == "all" {
            let names: Vec<String> = DEFAULTS.iter().map(|(name, _)| (*name).to_owned()).collect();
            let values = names.iter().map(|name| self.setting(name)).collect();
            return texts(&["name", "setting"], vec![names.into_iter().map(Some).collect(), values], "SHOW");
        }
        match self.setting(key) {
            Some(value) => texts(&[name], vec![vec![Some(value)]], "SHOW"),
            None => Err(SqlError::new("42704", format!("unrecognized configuration parameter \"{name}\""))),
        }
    }

    /// `INSERT INTO ebap.schema_migrations (name, checksum) VALUES (…)`: what `ebap migrate` writes.
    async fn insert(&self, insert: &ast::Insert) -> Result<Output> {
        let refused = || {
            SqlError::new("0A000", "INSERT is not supported")
                .hint("Data come in through streams and tables; see CREATE STREAM.")
        };
        if insert.table.to_string().to_lowercase() != "ebap.schema_migrations" {
            return Err(refused());
        }
        let body = insert.source.as_ref().map(|source| source.body.as_ref());
        let Some(SetExpr::Values(values)) = body else { return Err(refused()) };
        let text = |expr: &ast::Expr| match expr {
            ast::Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) => Some(text.clone()),
                _ => None,
            },
            _ => None,
        };
        let mut rows = Vec::new();
        for row in &values.rows {
            match row.iter().map(text).collect::<Option<Vec<_>>>().as_deref() {
                Some([name, checksum]) => {
                    rows.push(Migration {
                        name: name.clone(),
                        checksum: checksum.clone(),
                        applied_at_us: time::now_us(),
                    });
                }
                _ => return Err(refused()),
            }
        }
        let count = rows.len();
        let mut catalog = self.catalog();
        if let Some(twice) = rows.iter().find(|row| catalog.migrations.iter().any(|other| other.name == row.name)) {
            return Err(SqlError::new("23505", format!("migration \"{}\" is applied already", twice.name)));
        }
        catalog.migrations.extend(rows);
        {
            let mut transaction = self.transaction.lock();
            if let Some(staged) = transaction.as_mut() {
                staged.changed = true;
                staged.catalog = catalog;
                return Ok(Output::Done(format!("INSERT 0 {count}")));
            }
        }
        self.app.commit(catalog.version, catalog).await?;
        Ok(Output::Done(format!("INSERT 0 {count}")))
    }
}

fn texts_schema(names: &[&str]) -> SchemaRef {
    Arc::new(Schema::new(names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect::<Vec<_>>()))
}

fn texts(names: &[&str], columns: Vec<Vec<Option<String>>>, tag: &str) -> Result<Output> {
    let schema = texts_schema(names);
    let columns = columns.into_iter().map(|column| Arc::new(StringArray::from(column)) as ArrayRef).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)
        .map_err(|error| SqlError::new("XX000", error.to_string()))?;
    let rows = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), futures::stream::iter([Ok(batch)])));
    Ok(Output::Rows { schema, rows, tag: tag.to_owned() })
}

fn lines(text: &str) -> Result<Output> {
    texts(&["QUERY PLAN"], vec![text.lines().map(|line| Some(line.to_owned())).collect()], "EXPLAIN")
}

/// PostgreSQL's long name of a type.
pub(crate) fn type_name(field: &Field) -> String {
    if let Some(marker) = field.metadata().get("ebap.type") {
        return marker.clone();
    }
    of_type(field.data_type())
}

fn of_type(of: &DataType) -> String {
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
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea".to_owned(),
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
