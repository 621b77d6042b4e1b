//! The running application: the durable catalog and the engine that runs what it says.

mod follow;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ebap_catalog::{Catalog, CatalogStore, ObjectKind};
use ebap_connector::{
    ConnectorRegistry, DecodeSpec, NotifierContext, Options, SinkContext, SinkPartition, SourceContext, Wanted,
    time::SystemClock,
};
use ebap_sql::{PersonalColumns, Plans, SecretSource, plan_catalog, secret_source};
use ebap_stream::{Engine, EngineConfig};
use object_store::{ObjectStore, aws::AmazonS3Builder, local::LocalFileSystem, prefix::PrefixStore};
use parking_lot::{Mutex as SyncMutex, RwLock};
use tokio::sync::{Mutex, OwnedMutexGuard};
use uuid::Uuid;

use crate::{auth::AuthMethod, pgwire::sqlstate::SqlError, registry::Connectors};

/// Attempts at a change that other servers are in the way of.
const ATTEMPTS_MAX: usize = 100;
pub(crate) const SERIALIZATION_FAILURE: &str = "40001";

#[derive(Clone, Debug)]
pub struct AppConfig {
    pub data_dir: PathBuf,
    /// `s3://bucket/prefix` or `file:///folder`; the data directory where it is `None`.
    pub state_url: Option<String>,
    pub engine: EngineConfig,
    /// Bytes all queries together may take.
    pub query_memory_max: usize,
    pub connections_max: usize,
    /// Bytes of one message of a client.
    pub message_bytes_max: usize,
    pub auth: AuthMethod,
    /// The port of the Postgres wire; `None` where any free one is taken.
    pub pg_port: Option<u16>,
    /// From a client's first byte until it is let in.
    pub authentication_timeout: Duration,
}

#[derive(Debug)]
pub struct App {
    pub(crate) engine: Arc<Engine>,
    catalog: RwLock<Arc<Catalog>>,
    store: CatalogStore,
    /// Held by whoever changes the catalog.
    changing: Arc<Mutex<()>>,
    /// With the version of the catalog that it is of.
    personal: SyncMutex<Option<(u64, Arc<PersonalColumns>)>>,
    /// Nothing is started any more.
    ended: AtomicBool,
    pub(crate) config: AppConfig,
    /// Held for as long as the server runs: a second one must not use the same folder.
    _lock: File,
}

impl App {
    /// Opens the catalog and starts every job in it.
    ///
    /// # Errors
    /// Where the folder is in use or cannot be written, or the catalog cannot be read.
    pub async fn open(config: AppConfig) -> anyhow::Result<Arc<Self>> {
        let folder = config.data_dir.display().to_string();
        std::fs::create_dir_all(&config.data_dir)
            .map_err(|error| anyhow::anyhow!("the data directory {folder} cannot be made (--data-dir): {error}"))?;
        let lock = lock(&config.data_dir)?;
        remove_leftovers(&config.data_dir.join("pipelines"));
        let store = object_store(&config)?;
        let engine =
            Engine::open(config.engine.clone(), Arc::clone(&store), Arc::new(Connectors), SystemClock::shared())
                .await?;
        let store = CatalogStore::new(store);
        let mut catalog = match store.load().await? {
            nothing if nothing == Catalog::default() => Catalog::begun(origin()),
            catalog => catalog,
        };
        // It is durable with the next change, and no role without UNMASK can be there before one.
        catalog.begin_masks(|| format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()));
        let mut plans = resolved(&catalog)?;
        number_joins(&mut catalog, &mut plans);
        if let Err(error) = engine.reconcile(plans).await {
            tracing::error!(error = error.chain(), "not every job could be started");
        }
        let (forgetting, known) = (Arc::clone(&engine), catalog.clone());
        // Beside all else: nobody has their names any more.
        tokio::spawn(async move { forgetting.forget_dropped(&known).await });
        let catalog = RwLock::new(Arc::new(catalog));
        let (changing, ended) = (Arc::default(), AtomicBool::new(false));
        let personal = SyncMutex::default();
        let app = Arc::new(Self { engine, catalog, store, changing, personal, ended, config, _lock: lock });
        tokio::spawn(follow::others(Arc::downgrade(&app)));
        Ok(app)
    }

    /// Which columns of this catalog hold personal data; found once for each change of it.
    ///
    /// # Errors
    /// Where the catalog cannot be planned.
    pub(crate) fn personal_columns(&self, catalog: &Catalog) -> Result<Arc<PersonalColumns>, SqlError> {
        if let Some((version, found)) = self.personal.lock().as_ref()
            && *version == catalog.version
        {
            return Ok(Arc::clone(found));
        }
        let found = Arc::new(PersonalColumns::of(catalog)?);
        *self.personal.lock() = Some((catalog.version, Arc::clone(&found)));
        Ok(found)
    }

    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read())
    }

    /// Makes a changed catalog durable and runs what it says.
    ///
    /// # Errors
    /// 40001 where the catalog is no longer the one `next` was made from; of a connector whose options
    /// are wrong. Nothing has changed then.
    pub(crate) async fn commit(self: &Arc<Self>, base: u64, next: Catalog) -> Result<(), SqlError> {
        let turn = Arc::clone(&self.changing).lock_owned().await;
        let found = self.catalog().version;
        if found != base {
            return Err(ebap_sql::Error::from(ebap_catalog::Error::Conflict { expected: base, found }).into());
        }
        self.replace(turn, next).await
    }

    /// The same for a change that is made now, from the newest catalog. Other sessions wait meanwhile; where another
    /// server was faster, it is made again from what that one has made.
    pub(crate) async fn change<T>(
        self: &Arc<Self>,
        mut make: impl FnMut(&Catalog) -> Result<(Catalog, T), SqlError>,
    ) -> Result<T, SqlError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let turn = Arc::clone(&self.changing).lock_owned().await;
            let now = self.catalog();
            let (next, made) = match make(&now) {
                Ok(made) => made,
                Err(error) => {
                    drop(turn);
                    // It may be about what another server has created or dropped just now.
                    if attempts < ATTEMPTS_MAX && self.has_news().await && self.catch_up().await.is_ok() {
                        continue;
                    }
                    return Err(error);
                }
            };
            if next == *now {
                return Ok(made);
            }
            match self.replace(turn, next).await {
                Err(error) if error.code == SERIALIZATION_FAILURE && attempts < ATTEMPTS_MAX => {}
                done => return done.map(|()| made),
            }
        }
    }

    /// Whether the catalog could be made durable: every error that a connector has with its options.
    pub(crate) fn check(&self, next: &Catalog) -> Result<(), SqlError> {
        self.validate(&resolved(next)?)
    }

    async fn replace(self: &Arc<Self>, turn: OwnedMutexGuard<()>, mut next: Catalog) -> Result<(), SqlError> {
        let mut plans = resolved(&next)?;
        self.validate(&plans)?;
        number_joins(&mut next, &mut plans);
        let app = Arc::clone(self);
        // On a task of its own: a client that goes away must not leave it half done.
        let done = tokio::spawn(async move {
            let _turn = turn;
            if app.ended.load(Ordering::Acquire) {
                return Err(ebap_stream::Error::ShuttingDown.into());
            }
            let base = app.catalog().version;
            match app.store.replace(base, next).await {
                Ok(next) => {
                    *app.catalog.write() = Arc::new(next);
                    app.engine.reconcile(plans).await.map_err(SqlError::from)
                }
                Err(error @ ebap_catalog::Error::Conflict { .. }) => {
                    // Whoever tries again starts from what the other server has made.
                    app.adopt_newest().await?;
                    Err(ebap_sql::Error::from(error).into())
                }
                Err(error) => Err(ebap_sql::Error::from(error).into()),
            }
        });
        done.await.map_err(|error| SqlError::new("XX000", format!("the change was given up: {error}")))?
    }

    /// Builds every connector that is new, so that a wrong option is an error of the statement.
    fn validate(&self, plans: &Plans) -> Result<(), SqlError> {
        let known = self.catalog();
        let connectors = Connectors;
        for source in plans.sources.iter().filter(|source| known.get(source.id).is_none()) {
            let context = SourceContext {
                name: source.name.clone(),
                id: source.name_outside.clone(),
                connector: source.connector.clone(),
                schema: Arc::clone(&source.decoded),
                options: Options(source.options.clone()),
            };
            connectors.source(&context)?;
            Connectors::check_new(&context)?;
            connectors.dead_letters(&context)?;
            let format = context.options.get("format").unwrap_or("json").to_owned();
            connectors.decoder(&DecodeSpec {
                format,
                schema: Arc::clone(&source.decoded),
                key: source.decoded_key(),
                options: context.options,
                wanted: Wanted::All,
            })?;
        }
        for sink in plans.sinks.iter().filter(|sink| known.get(sink.id).is_none()) {
            let partitions = sink.partitions.iter();
            let context = SinkContext {
                name: sink.name.clone(),
                id: sink.name_outside.clone(),
                first_version: sink.first_version,
                schema: Arc::clone(&sink.schema),
                upsert_key: sink.upsert_key.clone(),
                on_view: sink.on_view,
                on_close: sink.on_close,
                time_column: sink.time_column,
                partitions: partitions
                    .map(|one| SinkPartition { column: one.column.clone(), transform: one.transform.clone() })
                    .collect(),
                options: Options(sink.options.clone()),
                incarnation: 0,
            };
            connectors.sink(&sink.connector, &context)?;
        }
        for alert in plans.alerts.iter().filter(|alert| known.get(alert.id).is_none()) {
            let options = Options(alert.options.clone());
            connectors.notifiers(&NotifierContext { alert: alert.name.clone(), options })?;
        }
        Ok(())
    }

    /// Finishes every step and makes it durable.
    pub async fn shutdown(&self) {
        // A change that is being made comes first.
        let _turn = self.changing.lock().await;
        self.ended.store(true, Ordering::Release);
        self.engine.shutdown().await;
    }
}

/// Tells a catalog that begins apart from all others.
fn origin() -> String {
    format!("{:016x}", Uuid::new_v4().as_u64_pair().0)
}

/// Empty folders of dropped pipelines, as the store deletes files alone: one may be written to at that very moment. And
/// files that a server was writing when it died, which the store does not list. Here nothing writes.
fn remove_leftovers(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_leftovers(&path);
            // One that is not empty stays.
            let _ = std::fs::remove_dir(&path);
        } else if is_cut_off(&entry.file_name().to_string_lossy()) {
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// `LocalFileSystem` writes to such a name first.
fn is_cut_off(name: &str) -> bool {
    let number = name.rsplit_once('#').map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Gives the sets of sources that views join now a place each for their state.
fn number_joins(catalog: &mut Catalog, plans: &mut Plans) {
    catalog.number_joins(plans.joined());
    plans.joins = catalog.joins().cloned().collect();
}

/// Plans with the values of secrets in their options.
fn resolved(catalog: &Catalog) -> Result<Plans, SqlError> {
    let mut plans = plan_catalog(catalog)?;
    plans.joins = catalog.joins().cloned().collect();
    for source in &mut plans.sources {
        resolve(catalog, &mut Arc::make_mut(source).options)?;
    }
    for sink in &mut plans.sinks {
        resolve(catalog, &mut Arc::make_mut(sink).options)?;
    }
    for alert in &mut plans.alerts {
        resolve(catalog, &mut Arc::make_mut(alert).options)?;
    }
    Ok(plans)
}

/// Puts the values of secrets in their places.
pub(crate) fn resolve(
    catalog: &Catalog,
    options: &mut std::collections::BTreeMap<String, String>,
) -> Result<(), SqlError> {
    for value in options.values_mut() {
        let Some(name) = value.strip_prefix("secret:") else { continue };
        let Some(source) = catalog.find(ObjectKind::Secret, name).and_then(secret_source) else { continue };
        let unreadable = |what: String| SqlError::new("58000", format!("secret \"{name}\" cannot be read: {what}"));
        *value = match source {
            SecretSource::Literal(value) => value,
            SecretSource::Env(variable) => std::env::var(&variable)
                .map_err(|_| unreadable(format!("environment variable {variable} is not set")))?,
            SecretSource::File(path) => {
                let text =
                    std::fs::read_to_string(&path).map_err(|error| unreadable(format!("file {path}: {error}")))?;
                text.trim_end_matches(['\n', '\r']).to_owned()
            }
        };
    }
    Ok(())
}

fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("LOCK");
    let file = File::options().create(true).truncate(false).write(true).open(&path)?;
    file.try_lock().map_err(|_| {
        anyhow::anyhow!(
            "another server uses the data directory {} (stop it, or give another --data-dir)",
            folder.display()
        )
    })?;
    Ok(file)
}

fn object_store(config: &AppConfig) -> anyhow::Result<Arc<dyn ObjectStore>> {
    let Some(url) = &config.state_url else {
        return Ok(Arc::new(LocalFileSystem::new_with_prefix(&config.data_dir)?.with_automatic_cleanup(false)));
    };
    if let Some(folder) = url.strip_prefix("file://").filter(|folder| folder.starts_with('/')) {
        std::fs::create_dir_all(folder)
            .map_err(|error| anyhow::anyhow!("the folder {folder} cannot be made (state_url): {error}"))?;
        return Ok(Arc::new(LocalFileSystem::new_with_prefix(folder)?.with_automatic_cleanup(false)));
    }
    let Some((bucket, prefix)) = url.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, "")))
    else {
        anyhow::bail!("state_url \"{url}\" is not of the form s3://bucket/prefix or file:///folder");
    };
    let s3 = AmazonS3Builder::from_env().with_bucket_name(bucket).build()?;
    match prefix.trim_matches('/') {
        "" => Ok(Arc::new(s3)),
        prefix => Ok(Arc::new(PrefixStore::new(s3, prefix))),
    }
}
