//! Names without a schema: looked up as a session's `search_path` says.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{
    catalog::{CatalogProvider, SchemaProvider, TableProvider},
    error::Result as DataFusionResult,
};

use crate::session::Settings;

const PG_CATALOG: &str = "pg_catalog";

/// A schema that has what the schemas of the path have; the first one wins.
#[derive(Clone, Debug)]
pub(super) struct SearchPath {
    pub(super) schemas: Arc<dyn CatalogProvider>,
    pub(super) settings: Arc<Settings>,
}

impl SearchPath {
    /// Schemas of the path that are there, in order. `pg_catalog` comes first where it is not named.
    pub(super) fn effective(&self, implicit: bool) -> Vec<String> {
        let named = self.settings.search_path();
        let mut path: Vec<String> = Vec::new();
        if implicit && !named.iter().any(|name| name == PG_CATALOG) {
            path.push(PG_CATALOG.to_owned());
        }
        for name in named {
            if !path.contains(&name) && self.schemas.schema(&name).is_some() {
                path.push(name);
            }
        }
        path
    }

    /// Whether the name alone is one of this schema.
    pub(super) fn leads_to(&self, schema: &str, name: &str) -> bool {
        let exists = |of: &String| self.schemas.schema(of).is_some_and(|schema| schema.table_exist(name));
        self.effective(true).into_iter().find(exists).is_some_and(|found| found == schema)
    }

    fn providers(&self) -> impl Iterator<Item = Arc<dyn SchemaProvider>> {
        self.effective(true).into_iter().filter_map(|name| self.schemas.schema(&name))
    }
}

#[async_trait]
impl SchemaProvider for SearchPath {
    fn table_names(&self) -> Vec<String> {
        self.providers().flat_map(|schema| schema.table_names()).collect()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        for schema in self.providers() {
            if let Some(table) = schema.table(name).await? {
                return Ok(Some(table));
            }
        }
        Ok(None)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.providers().any(|schema| schema.table_exist(name))
    }
}
