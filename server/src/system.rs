//! What a query can name: the schemas `public`, `ebap`, `pg_catalog` and `information_schema`, resolved
//! anew for every query, and the functions all sessions share.

use std::{any::Any, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use arrow_pg::datatypes::into_pg_type;
use async_trait::async_trait;
use datafusion::{
    catalog::{
        CatalogProvider, MemTable, MemoryCatalogProvider, SchemaProvider, Session, TableProvider,
        memory::MemorySourceConfig,
    },
    error::{DataFusionError, Result as DataFusionResult},
    execution::{SessionState, memory_pool::FairSpillPool, runtime_env::RuntimeEnvBuilder},
    logical_expr::{ColumnarValue, Expr, TableType, Volatility, create_udf},
    physical_plan::{ExecutionPlan, collect},
    prelude::SessionContext,
    scalar::ScalarValue,
};
use datafusion_pg_catalog::pg_catalog::{context::EmptyContextProvider, setup_pg_catalog};
use ebap_catalog::{Catalog, ObjectKind};
use ebap_sql::{session_config, session_state};
use ebap_stream::Engine;

use crate::{app::App, session::type_name};

pub(crate) const DATABASE: &str = "ebap";
pub(crate) const SERVER_VERSION: &str = "15.0";
const MIGRATIONS: &str = "schema_migrations";

/// What every session starts from: functions, settings, schemas.
///
/// # Errors
/// Where a schema cannot be registered.
pub(crate) fn base_state(app: &Arc<App>) -> anyhow::Result<SessionState> {
    let pool = Arc::new(FairSpillPool::new(app.config.query_memory_max));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc()?;
    let context = SessionContext::new_with_state(session_state(session_config(), runtime));
    set_up(&context, app)?;
    Ok(context.state())
}

fn set_up(context: &SessionContext, app: &Arc<App>) -> DataFusionResult<()> {
    let schemas = Arc::new(MemoryCatalogProvider::new());
    schemas.register_schema("public", Arc::new(Relations { engine: Arc::clone(&app.engine) }))?;
    schemas.register_schema("ebap", Arc::new(System { app: Arc::clone(app) }))?;
    schemas.register_schema("information_schema", Arc::new(Information { app: Arc::clone(app) }))?;
    context.register_catalog(DATABASE, Arc::<MemoryCatalogProvider>::clone(&schemas));
    setup_pg_catalog(context, DATABASE, EmptyContextProvider).map_err(|error| *error)?;
    if let Some(inner) = schemas.schema("pg_catalog") {
        schemas.register_schema("pg_catalog", Arc::new(PgCatalog { inner, app: Arc::clone(app) }))?;
    }
    let version = format!("PostgreSQL {SERVER_VERSION} (EBAP {})", env!("CARGO_PKG_VERSION"));
    for (name, value) in [
        ("version", version.as_str()),
        ("current_database", DATABASE),
        ("session_user", DATABASE),
        ("current_user", DATABASE),
        ("current_catalog", DATABASE),
    ] {
        let value = ScalarValue::Utf8(Some(value.to_owned()));
        let constant = Arc::new(move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(value.clone())));
        context.register_udf(create_udf(name, vec![], DataType::Utf8, Volatility::Stable, constant));
    }
    Ok(())
}

/// Streams, tables and views as they are now.
#[derive(Debug)]
struct Relations {
    engine: Arc<Engine>,
}

#[async_trait]
impl SchemaProvider for Relations {
    fn as_any(&self) -> &dyn Any {
        self
    }

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
    fn as_any(&self) -> &dyn Any {
        self
    }

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
        name == MIGRATIONS || Engine::system_table_names().contains(&name)
    }
}

fn migrations(catalog: &Catalog) -> DataFusionResult<RecordBatch> {
    let all = &catalog.migrations;
    let times =
        TimestampMicrosecondArray::from_iter_values(all.iter().map(|one| one.applied_at_us)).with_timezone("+00:00");
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let schema = Schema::new(vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("checksum", DataType::Utf8, false),
        Field::new("applied_at", time, false),
    ]);
    let columns: Vec<ArrayRef> =
        vec![strings(all.iter().map(|one| &one.name)), strings(all.iter().map(|one| &one.checksum)), Arc::new(times)];
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}

fn strings<T: AsRef<str>>(values: impl Iterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn memory(batch: RecordBatch) -> DataFusionResult<Arc<dyn TableProvider>> {
    Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
}

/// `pg_catalog`, with the kinds of relation as the catalog has them.
#[derive(Debug)]
struct PgCatalog {
    inner: Arc<dyn SchemaProvider>,
    app: Arc<App>,
}

#[async_trait]
impl SchemaProvider for PgCatalog {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn table_names(&self) -> Vec<String> {
        self.inner.table_names()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        let table = self.inner.table(name).await?;
        Ok(match table {
            Some(inner) if name == "pg_class" => Some(Arc::new(PgClass { inner, app: Arc::clone(&self.app) })),
            other => other,
        })
    }

    fn table_exist(&self, name: &str) -> bool {
        self.inner.table_exist(name)
    }
}

#[derive(Debug)]
struct PgClass {
    inner: Arc<dyn TableProvider>,
    app: Arc<App>,
}

impl PgClass {
    fn corrected(&self, batch: &RecordBatch) -> DataFusionResult<RecordBatch> {
        let (names, kinds) = match (batch.column_by_name("relname"), batch.column_by_name("relkind")) {
            (Some(names), Some(kinds)) => (names.as_string::<i32>(), kinds.as_string::<i32>()),
            _ => return Err(DataFusionError::Internal("pg_class has no relkind".to_owned())),
        };
        let catalog = self.app.catalog();
        let kinds =
            names.iter().zip(kinds.iter()).map(|(name, kind)| match name.and_then(|name| catalog.relation(name)) {
                Some(object) if object.kind == ObjectKind::MaterializedView => Some("m"),
                Some(_) => Some("r"),
                None => kind,
            });
        let kinds: ArrayRef = Arc::new(kinds.collect::<StringArray>());
        let at = batch.schema().index_of("relkind")?;
        let mut columns = batch.columns().to_vec();
        columns[at] = kinds;
        Ok(RecordBatch::try_new(batch.schema(), columns)?)
    }
}

#[async_trait]
impl TableProvider for PgClass {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let plan = self.inner.scan(session, None, &[], None).await?;
        let batches = collect(plan, session.task_ctx()).await?;
        let batches = batches.iter().map(|batch| self.corrected(batch)).collect::<DataFusionResult<Vec<_>>>()?;
        Ok(MemorySourceConfig::try_new_exec(&[batches], self.schema(), projection.cloned())?)
    }
}

/// The part of `information_schema` that clients ask for.
#[derive(Debug)]
struct Information {
    app: Arc<App>,
}

impl Information {
    /// Schema, name, kind for `table_type`, columns.
    fn relations(&self) -> Vec<(&'static str, String, &'static str, SchemaRef)> {
        let catalog = self.app.catalog();
        let kind = |name: &str| match catalog.relation(name).map(|object| object.kind) {
            Some(ObjectKind::MaterializedView) => "VIEW",
            _ => "BASE TABLE",
        };
        let mut names = self.app.engine.relation_names();
        names.sort();
        let public = names.into_iter().filter_map(|name| {
            let schema = self.app.engine.relation(&name)?.schema();
            Some(("public", name.clone(), kind(&name), schema))
        });
        let own = Engine::system_table_names().iter();
        let own = own.filter_map(|name| {
            Some(("ebap", (*name).to_owned(), "VIEW", self.app.engine.system_table(name)?.schema()))
        });
        public.chain(own).collect()
    }

    fn tables(&self) -> DataFusionResult<RecordBatch> {
        let all = self.relations();
        let columns = vec![
            ("table_catalog", strings(all.iter().map(|_| DATABASE))),
            ("table_schema", strings(all.iter().map(|one| one.0))),
            ("table_name", strings(all.iter().map(|one| &one.1))),
            ("table_type", strings(all.iter().map(|one| one.2))),
            ("is_insertable_into", strings(all.iter().map(|_| "NO"))),
        ];
        Ok(RecordBatch::try_from_iter(columns)?)
    }

    fn columns(&self) -> DataFusionResult<RecordBatch> {
        let relations = self.relations();
        let all: Vec<_> = relations
            .iter()
            .flat_map(|(schema, name, _, columns)| {
                columns.fields().iter().enumerate().map(move |(at, field)| (*schema, name, at, field))
            })
            .collect();
        let count = i32::try_from(all.len()).unwrap_or(i32::MAX);
        let precision = |pick: fn(u8, i8) -> i32| -> ArrayRef {
            let values = all.iter().map(|one| match one.3.data_type() {
                DataType::Decimal128(precision, scale) => Some(pick(*precision, *scale)),
                _ => None,
            });
            Arc::new(values.collect::<Int32Array>())
        };
        let ordinals = all.iter().map(|one| i32::try_from(one.2 + 1).unwrap_or(count));
        let ordinals: ArrayRef = Arc::new(Int32Array::from_iter_values(ordinals));
        let columns = vec![
            ("table_catalog", strings(all.iter().map(|_| DATABASE))),
            ("table_schema", strings(all.iter().map(|one| one.0))),
            ("table_name", strings(all.iter().map(|one| one.1))),
            ("column_name", strings(all.iter().map(|one| one.3.name()))),
            ("ordinal_position", ordinals),
            ("column_default", Arc::new(StringArray::new_null(all.len())) as ArrayRef),
            ("is_nullable", strings(all.iter().map(|one| if one.3.is_nullable() { "YES" } else { "NO" }))),
            ("data_type", strings(all.iter().map(|one| short_type(one.3)))),
            ("udt_name", strings(all.iter().map(|one| udt_name(one.3)))),
            ("numeric_precision", precision(|precision, _| i32::from(precision))),
            ("numeric_scale", precision(|_, scale| i32::from(scale))),
        ];
        Ok(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))?)
    }

    fn schemata(&self) -> DataFusionResult<RecordBatch> {
        let all = self.table_schemas();
        let columns = vec![
            ("catalog_name", strings(all.iter().map(|_| DATABASE))),
            ("schema_name", strings(all.iter())),
            ("schema_owner", strings(all.iter().map(|_| "postgres"))),
        ];
        Ok(RecordBatch::try_from_iter(columns)?)
    }

    fn table_schemas(&self) -> [&'static str; 4] {
        ["ebap", "information_schema", "pg_catalog", "public"]
    }
}

#[async_trait]
impl SchemaProvider for Information {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn table_names(&self) -> Vec<String> {
        ["columns", "schemata", "tables"].map(str::to_owned).to_vec()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        Ok(match name {
            "columns" => Some(memory(self.columns()?)?),
            "schemata" => Some(memory(self.schemata()?)?),
            "tables" => Some(memory(self.tables()?)?),
            _ => None,
        })
    }

    fn table_exist(&self, name: &str) -> bool {
        matches!(name, "columns" | "schemata" | "tables")
    }
}

/// `data_type` has no precision; clients pick operators by it.
fn short_type(field: &Field) -> String {
    let name = type_name(field);
    if name.starts_with("numeric") { "numeric".to_owned() } else { name }
}

fn udt_name(field: &Field) -> String {
    into_pg_type(field.data_type()).map_or_else(|_| "json".to_owned(), |of| of.name().to_owned())
}
