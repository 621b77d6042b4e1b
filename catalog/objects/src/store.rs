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
        let path = self.path(next.version);
        let put = self.store.put_opts(&path, PutPayload::from(bytes.clone()), options).await;
        // Where the response was lost, what is there may be ours: the store's client puts again by itself, and
        // then finds that it exists.
        if let Err(error) = put
            && !self.holds(&path, &bytes).await
        {
            return Err(match error {
                object_store::Error::AlreadyExists { .. } => {
                    let found = self.versions().await?.into_iter().max().unwrap_or(0);
                    Error::Conflict { expected, found }
                }
                error => stored(error),
            });
        }
        self.forget_old(next.version).await;
        Ok(next)
    }

    async fn holds(&self, path: &Path, bytes: &[u8]) -> bool {
        match self.store.get(path).await {
            Ok(found) => found.bytes().await.is_ok_and(|found| found == bytes),
            Err(_) => false,
        }
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

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::ObjectKind;

    fn with(catalog: &Catalog, name: &str) -> Catalog {
        let mut next = catalog.clone();
        next.create(ObjectKind::Stream, name, String::new(), vec![], 0).expect("a new name");
        next
    }

    #[tokio::test]
    async fn of_two_writers_one_is_told_of_the_other() {
        let store = CatalogStore::new(Arc::new(InMemory::new()));
        let empty = store.load().await.expect("nothing yet");
        let first = store.replace(0, with(&empty, "one")).await.expect("the first");
        let second = store.replace(0, with(&empty, "two")).await.expect_err("the second");
        assert!(matches!(second, Error::Conflict { expected: 0, found: 1 }), "{second}");
        assert_eq!(store.load().await.expect("the first's"), first);
    }

    #[tokio::test]
    async fn a_change_whose_response_was_lost_counts() {
        let store = CatalogStore::new(Arc::new(InMemory::new()));
        let next = with(&Catalog::default(), "one");
        store.replace(0, next.clone()).await.expect("put, but nobody heard of it");
        let again = store.replace(0, next).await.expect("the same put again");
        assert_eq!(store.load().await.expect("once"), again);
    }
}
