//! Starting, killing and asking an engine.

use std::{sync::Arc, time::Duration};

use arrow::util::pretty::pretty_format_batches;
use datafusion::{execution::runtime_env::RuntimeEnv, prelude::SessionContext};
use ebap_catalog::Catalog;
use ebap_connector::time::SystemClock;
use ebap_sql::{apply, parse, plan_catalog, session_config, session_state};
use object_store::{ObjectStore, memory::InMemory};

use super::connectors::{Outside, TestConnectors};
use crate::{Engine, EngineConfig};

pub(super) struct Rig {
    pub(super) outside: Arc<Outside>,
    pub(super) store: Arc<dyn ObjectStore>,
    catalog: Catalog,
    engine: Option<Arc<Engine>>,
    pub(super) config: EngineConfig,
}

impl Rig {
    pub(super) fn new() -> Self {
        let config = EngineConfig {
            checkpoint_interval: Duration::from_millis(5),
            lanes: 3,
            step_rows_max: 64,
            step_wait: Duration::from_millis(1),
            idle_wait_max: Duration::from_millis(1),
            discover_interval: Duration::from_millis(20),
            ..EngineConfig::default()
        };
        Self {
            outside: Arc::default(),
            store: Arc::new(InMemory::new()),
            catalog: Catalog::default(),
            engine: None,
            config,
        }
    }

    /// Applies DDL, and runs what the catalog then says.
    pub(super) async fn sql(&mut self, text: &str) {
        self.declare(text);
        self.start().await;
    }

    /// Applies DDL; `start` runs it.
    pub(super) fn declare(&mut self, text: &str) {
        for parsed in parse(text).expect("the test's SQL parses") {
            self.catalog = match apply(&self.catalog, &parsed.statement, &parsed.text, 0) {
                Ok(applied) => applied.catalog,
                Err(error) => panic!("{error:?}\n{}", parsed.text),
            };
        }
    }

    pub(super) async fn start(&mut self) {
        let engine = match &self.engine {
            Some(engine) => Arc::clone(engine),
            None => {
                let connectors = Arc::new(TestConnectors(Arc::clone(&self.outside)));
                let store = Arc::clone(&self.store);
                Engine::open(self.config.clone(), store, connectors, SystemClock::shared()).await.expect("engine opens")
            }
        };
        engine.reconcile(plan_catalog(&self.catalog).expect("plans")).await.expect("jobs start");
        self.engine = Some(engine);
    }

    /// Runs what the catalog says, as if another server had changed it.
    pub(super) async fn follow(&mut self) {
        if self.engine.is_none() {
            let connectors = Arc::new(TestConnectors(Arc::clone(&self.outside)));
            let opened = Engine::open(self.config.clone(), Arc::clone(&self.store), connectors, SystemClock::shared());
            self.engine = Some(opened.await.expect("engine opens"));
        }
        let engine = self.engine.as_ref().expect("it was opened");
        engine.follow(plan_catalog(&self.catalog).expect("plans")).await.expect("jobs follow");
    }

    /// The engine is gone from one moment to the next: no last checkpoint.
    pub(super) fn kill(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.kill();
        }
    }

    /// As a server is stopped that shall start again.
    pub(super) async fn stop(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.shutdown().await;
        }
    }

    pub(super) async fn flush(&self) {
        self.engine.as_ref().expect("running").flush().await.expect("flush");
    }

    pub(super) async fn try_flush(&self) -> Result<(), String> {
        let flushed = self.engine.as_ref().expect("running").flush().await;
        flushed.map_err(|error| error.chain())
    }

    /// Another instance over the same outside world and the same state.
    pub(super) fn twin(&self) -> Self {
        let (outside, store) = (Arc::clone(&self.outside), Arc::clone(&self.store));
        Self { outside, store, catalog: self.catalog.clone(), engine: None, config: self.config.clone() }
    }

    /// The answer as a table of text.
    pub(super) async fn query(&self, text: &str) -> String {
        self.try_query(text).await.unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    /// The same, where DataFusion may not be able to answer.
    pub(super) async fn try_query(&self, text: &str) -> Result<String, String> {
        let engine = self.engine.as_ref().expect("running");
        let state = session_state(session_config(), Arc::new(RuntimeEnv::default()));
        let context = SessionContext::new_with_state(state);
        for name in engine.relation_names() {
            for name in [name.clone(), format!("{name}$late"), format!("{name}$dlq"), format!("{name}$errors")] {
                if let Some(table) = engine.relation(&name) {
                    context.register_table(datafusion::sql::TableReference::bare(name), table).expect("register");
                }
            }
        }
        for name in Engine::system_table_names() {
            let table = engine.system_table(name).expect("system table");
            context.register_table(*name, table).expect("register");
        }
        let rows = super::query::frame(&context, text).await?.collect().await;
        let rows = rows.map_err(|error| error.to_string())?;
        Ok(pretty_format_batches(&super::query::readable(&rows)).expect("prints").to_string())
    }
}
