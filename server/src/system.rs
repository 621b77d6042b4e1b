//! What a query can name: the schemas `public`, `ebap`, `pg_catalog` and `information_schema`, resolved
//! anew for every query, and the functions all sessions share.

mod dialect;
mod functions;
mod information;
mod mentions;
mod pg_catalog;
mod pg_settings;
mod policies;
mod privileges;
mod roles;
mod search_path;
mod types;
mod yielding;

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{
        CatalogProvider, CatalogProviderList, MemTable, MemoryCatalogProvider, MemoryCatalogProviderList,
        SchemaProvider, TableProvider,
    },
    error::Result as DataFusionResult,
    execution::{SessionState, SessionStateBuilder, runtime_env::RuntimeEnvBuilder},
    prelude::SessionContext,
    sql::sqlparser::ast,
};
use datafusion_pg_catalog::{
    pg_catalog::{context::EmptyContextProvider, setup_pg_catalog},
    sql::PostgresCompatibilityParser,
};
use ebap_catalog::Catalog;
use ebap_sql::{expand_functions, hide_virtual_columns, session_config, session_state};
use ebap_stream::Engine;

use crate::{app::App, memory::QueryPool, pgwire::sqlstate::SqlError, session::Settings};
use information::Information;
use mentions::names_catalog;
use pg_catalog::{Described, PgCatalog};
use pg_settings::SessionCatalog;
use search_path::SearchPath;
use yielding::YieldingJoins;

pub(crate) const DATABASE: &str = "ebap";
pub(crate) const SERVER_VERSION: &str = "15.0";
pub(crate) const MIGRATIONS: &str = "schema_migrations";
/// Name of the schema that stands for the search path. Nobody writes it.
const SEARCH_PATH: &str = "$search_path";

/// What all sessions share.
#[derive(Clone)]
pub(crate) struct Shared {
    state: SessionState,
    schemas: Arc<dyn CatalogProvider>,
    described: Arc<Described>,
    compatibility: Arc<PostgresCompatibilityParser>,
}

/// What every session starts from: functions, settings, schemas.
///
/// # Errors
/// Where a schema cannot be registered.
pub(crate) fn shared(app: &Arc<App>) -> anyhow::Result<Shared> {
    let pool = Arc::new(QueryPool::new(app.config.query_memory_max, app.config.engine.memory.clone()));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc()?;
    let state = session_state(session_config(), runtime);
    let state =
        SessionStateBuilder::new_from_existing(state).with_physical_optimizer_rule(Arc::new(YieldingJoins)).build();
    let context = SessionContext::new_with_state(state);
    let described = Arc::new(Described::new(Arc::clone(app)));
    let schemas = set_up(&context, app, &described)?;
    let compatibility = Arc::new(PostgresCompatibilityParser::new());
    Ok(Shared { state: context.state(), schemas, described, compatibility })
}

fn set_up(
    context: &SessionContext,
    app: &Arc<App>,
    described: &Arc<Described>,
) -> DataFusionResult<Arc<dyn CatalogProvider>> {
    let schemas = Arc::new(MemoryCatalogProvider::new());
    schemas.register_schema("public", Arc::new(Relations { engine: Arc::clone(&app.engine) }))?;
    schemas.register_schema("ebap", Arc::new(System { app: Arc::clone(app) }))?;
    schemas.register_schema("information_schema", Arc::new(Information { app: Arc::clone(app) }))?;
    context.register_catalog(DATABASE, Arc::<MemoryCatalogProvider>::clone(&schemas));
    setup_pg_catalog(context, DATABASE, EmptyContextProvider).map_err(|error| *error)?;
    // Some of its functions have the names of others, and not what they do in PostgreSQL.
    ebap_sql::install_functions(&mut *context.state_ref().write())?;
    if let Some(inner) = schemas.schema("pg_catalog") {
        schemas.register_schema("pg_catalog", Arc::new(PgCatalog { inner, described: Arc::clone(described) }))?;
    }
    functions::register(context, described);
    Ok(schemas)
}

/// What one session runs its queries in: the shared state, its own search path, and the functions that
/// answer from its settings.
///
/// # Errors
/// Where a schema cannot be registered.
pub(crate) fn surroundings(shared: &Shared, settings: &Arc<Settings>) -> DataFusionResult<Surroundings> {
    let own: Arc<dyn CatalogProvider> = Arc::new(MemoryCatalogProvider::new());
    let config = shared.state.config().clone();
    let config =
        config.with_create_default_catalog_and_schema(false).with_default_catalog_and_schema(DATABASE, SEARCH_PATH);
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(DATABASE.to_owned(), Arc::clone(&own));
    let state = SessionStateBuilder::new_from_existing(shared.state.clone());
    let mut state = state.with_config(config).with_catalog_list(Arc::new(catalogs)).build();
    // Without the search path, which holds them.
    let named: Arc<dyn CatalogProvider> = Arc::new(MemoryCatalogProvider::new());
    for name in shared.schemas.schema_names() {
        let Some(schema) = shared.schemas.schema(&name) else { continue };
        let schema = match name.as_str() {
            "pg_catalog" => Arc::new(SessionCatalog { inner: schema, settings: Arc::clone(settings) }),
            _ => schema,
        };
        named.register_schema(&name, Arc::clone(&schema))?;
        own.register_schema(&name, schema)?;
    }
    let path = SearchPath { schemas: named, settings: Arc::clone(settings) };
    functions::register_session(&mut state, &path, &shared.described)?;
    own.register_schema(SEARCH_PATH, Arc::new(path.clone()))?;
    let described = Arc::clone(&shared.described);
    let compatibility = Arc::clone(&shared.compatibility);
    Ok(Surroundings { context: SessionContext::new_with_state(state), path, described, compatibility })
}

/// What a session runs its queries in.
pub(crate) struct Surroundings {
    pub(crate) context: SessionContext,
    path: SearchPath,
    described: Arc<Described>,
    compatibility: Arc<PostgresCompatibilityParser>,
}

impl Surroundings {
    /// The statement in words that DataFusion has: catalogs as it knows them, the functions of `functions` as
    /// what they are, `*` without virtual columns.
    ///
    /// # Errors
    /// 42P01 for a name that is none of a relation; those of `expand_functions`.
    pub(crate) fn understood(
        &self,
        statement: &ast::Statement,
        text: &str,
        functions: &Catalog,
    ) -> Result<ast::Statement, SqlError> {
        let mut understood = match names_catalog(statement) {
            true => self.translated(statement, text)?,
            false => statement.clone(),
        };
        expand_functions(functions, &mut understood, text)?;
        hide_virtual_columns(&mut understood, &|name| self.stream_columns(name));
        Ok(understood)
    }

    /// Declared columns of a stream that a query names.
    fn stream_columns(&self, name: &ast::ObjectName) -> Option<Vec<String>> {
        let fold = |ident: &ast::Ident| match ident.quote_style {
            Some(_) => ident.value.clone(),
            None => ident.value.to_lowercase(),
        };
        let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
        let name = match &parts[..] {
            [name] => self.path.leads_to("public", name).then_some(name)?,
            [schema, name] if schema == "public" => name,
            [database, schema, name] if database == DATABASE && schema == "public" => name,
            _ => return None,
        };
        let columns = self.described.declared(name)?;
        Some(columns.fields().iter().map(|field| field.name().clone()).collect())
    }

    fn translated(&self, statement: &ast::Statement, text: &str) -> Result<ast::Statement, SqlError> {
        let mut translated = match dialect::tree_of_types(statement) {
            Some(flat) => flat,
            None => statement.clone(),
        };
        // Some of the parser's rewrites are of the tokens that clients send: those must stay as they are.
        let parsed =
            |text: &str| self.compatibility.parse(text).ok().filter(|all| all.len() == 1).and_then(|mut all| all.pop());
        // A query within EXPLAIN, COPY, DECLARE or PREPARE is not all that was sent.
        let inner = statement.to_string();
        let is_whole = |found: &ast::Statement| std::mem::discriminant(found) == std::mem::discriminant(statement);
        let (as_sent, text) = match parsed(text) {
            Some(whole) if is_whole(&whole) => (Some(whole), text),
            Some(_) | None => (parsed(&inner), inner.as_str()),
        };
        let is_known = as_sent.is_some_and(|found| found != self.compatibility.rewrite(statement.clone()));
        dialect::translate(&mut translated, &self.path, &self.described, !is_known)?;
        let parsed = match translated == *statement {
            true => self.compatibility.parse(text),
            false => self.compatibility.parse(&translated.to_string()),
        };
        Ok(match parsed {
            Ok(mut all) if all.len() == 1 => all.swap_remove(0),
            _ => self.compatibility.rewrite(translated),
        })
    }
}

/// Streams, tables and views as they are now.
#[derive(Debug)]
struct Relations {
    engine: Arc<Engine>,
}

#[async_trait]
impl SchemaProvider for Relations {
    fn table_names(&self) -> Vec<String> {
        self.engine.relation_names()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        Ok(self.engine.relation(name))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.engine.relation(name).is_some()
    }
}

/// EBAP about itself.
#[derive(Debug)]
struct System {
    app: Arc<App>,
}

#[async_trait]
impl SchemaProvider for System {
    fn table_names(&self) -> Vec<String> {
        let names = Engine::system_table_names().iter().map(|name| (*name).to_owned());
        names.chain([MIGRATIONS.to_owned()]).collect()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        if name == MIGRATIONS {
            return Ok(Some(memory(migrations(&self.app.catalog())?)?));
        }
        Ok(self.app.engine.system_table(name))
    }

    fn table_exist(&self, name: &str) -> bool {
        is_system_table(name)
    }
}

/// Whether the schema `ebap` has a table of this name.
pub(crate) fn is_system_table(name: &str) -> bool {
    name == MIGRATIONS || Engine::system_table_names().contains(&name)
}

fn migrations(catalog: &Catalog) -> DataFusionResult<RecordBatch> {
    let all = &catalog.migrations;
    let times =
        TimestampMicrosecondArray::from_iter_values(all.iter().map(|one| one.applied_at_us)).with_timezone("+00:00");
    let columns: Vec<ArrayRef> =
        vec![strings(all.iter().map(|one| &one.name)), strings(all.iter().map(|one| &one.checksum)), Arc::new(times)];
    Ok(RecordBatch::try_new(migrations_schema(), columns)?)
}

fn migrations_schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    Arc::new(Schema::new(vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("checksum", DataType::Utf8, false),
        Field::new("applied_at", time, false),
    ]))
}

fn strings<T: AsRef<str>>(values: impl Iterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn memory(batch: RecordBatch) -> DataFusionResult<Arc<dyn TableProvider>> {
    Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
}
