//! The catalog on an object store: one numbered file per version, put only where none exists yet.
//!
//! # Invariants
//! The newest whole file is the catalog. Two writers from the same version cannot both succeed.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path};

use crate::{Catalog, Error, Result};

/// Older versions kept, for whoever has to look what a catalog was before a mistake.
const VERSIONS_KEPT: u64 = 20;

#[derive(Debug)]
pub struct CatalogStore {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl CatalogStore {
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, prefix: Path::from("catalog") }
    }

    /// The newest catalog; an empty one where there is none.
    pub async fn load(&self) -> Result<Catalog> {
        let Some(version) = self.versions().await?.into_iter().max() else { return Ok(Catalog::default()) };
        let path = self.path(version);
        let bytes = self.store.get(&path).await.map_err(stored)?.bytes().await.map_err(stored)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::Unreadable { path: path.to_string(), message: error.to_string() })
    }

    /// Makes `next` durable as the version after `expected` and gives it back with its number.
    ///
    /// # Errors
    /// `Conflict` where somebody else was faster; nothing has changed then.
    pub async fn replace(&self, expected: u64, mut next: Catalog) -> Result<Catalog> {
        next.version = expected + 1;
        let bytes = serde_json::to_vec_pretty(&next).map_err(|error| Error::Unreadable {
            path: self.path(next.version).to_string(),
            message: error.to_string(),
        })?;
        let options = PutOptions { mode: PutMode::Create, ..Default::default() };
        match self.store.put_opts(&self.path(next.version), PutPayload::from(bytes), options).await {
            Ok(_) => {}
            Err(object_store::Error::AlreadyExists { .. }) => {
                let found = self.versions().await?.into_iter().max().unwrap_or(0);
                return Err(Error::Conflict { expected, found });
            }
            Err(error) => return Err(stored(error)),
        }
        self.forget_old(next.version).await;
        Ok(next)
    }

    fn path(&self, version: u64) -> Path {
        self.prefix.clone().join(format!("{version:012}.json"))
    }

    async fn versions(&self) -> Result<Vec<u64>> {
        let files: Vec<_> = self.store.list(Some(&self.prefix)).try_collect().await.map_err(stored)?;
        let numbers = files.iter().filter_map(|file| file.location.filename()?.strip_suffix(".json")?.parse().ok());
        Ok(numbers.collect())
    }

    /// Old versions are only a convenience, so a failure here is not one of the change.
    async fn forget_old(&self, newest: u64) {
        if let Some(old) = newest.checked_sub(VERSIONS_KEPT)
            && let Err(error) = self.store.delete(&self.path(old)).await
            && !matches!(error, object_store::Error::NotFound { .. })
        {
            tracing::warn!(%error, version = old, "an old catalog version cannot be deleted");
        }
    }
}

fn stored(error: object_store::Error) -> Error {
    Error::Store(Arc::new(error))
}
