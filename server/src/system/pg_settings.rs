//! `pg_settings`, the table of `pg_catalog` that is of a session.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::{
    catalog::{SchemaProvider, TableProvider},
    error::Result as DataFusionResult,
};

use super::{
    memory,
    pg_catalog::{Same, batch},
    strings,
};
use crate::session::Settings;

const NAME: &str = "pg_settings";
/// Settings that clients ask for and nobody can set: columns of an index, at the most.
const FIXED: [(&str, &str); 1] = [("max_index_keys", "32")];

/// `pg_catalog` as a session sees it.
#[derive(Debug)]
pub(super) struct SessionCatalog {
    pub(super) inner: Arc<dyn SchemaProvider>,
    pub(super) settings: Arc<Settings>,
}

#[async_trait]
impl SchemaProvider for SessionCatalog {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.inner.table_names();
        if !names.iter().any(|name| name == NAME) {
            names.push(NAME.to_owned());
        }
        names
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        match name {
            NAME => Ok(Some(memory(settings(&self.settings)?)?)),
            name => self.inner.table(name).await,
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        name == NAME || self.inner.table_exist(name)
    }
}

/// `ALTER SYSTEM`, files and units are none of it: values are texts with their units.
fn settings(settings: &Settings) -> DataFusionResult<RecordBatch> {
    let mut all: Vec<(String, String)> =
        settings.all().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    all.extend(FIXED.map(|(name, value)| (name.to_owned(), value.to_owned())));
    all.sort();
    let same = Same(all.len());
    batch(vec![
        ("name", strings(all.iter().map(|one| &one.0))),
        ("setting", strings(all.iter().map(|one| &one.1))),
        ("unit", same.null()),
        ("category", same.text("Client Connection Defaults")),
        ("short_desc", same.null()),
        ("extra_desc", same.null()),
        ("context", same.text("user")),
        ("vartype", same.text("string")),
        ("source", same.text("session")),
        ("min_val", same.null()),
        ("max_val", same.null()),
        ("enumvals", same.no_list()),
        ("boot_val", same.null()),
        ("reset_val", same.null()),
        ("sourcefile", same.null()),
        ("sourceline", same.null()),
        ("pending_restart", same.truth(false)),
    ])
}
