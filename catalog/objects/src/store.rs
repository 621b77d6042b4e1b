//! The catalog on an object store: one numbered file per version, put only where none exists yet.
//!
//! # Invariants
//! - The newest whole file is the catalog. Two writers from the same version cannot both succeed.
//! - A version goes only when it is old in time and in number, and whoever puts one looks for newer ones behind it.
//!   So a writer that has slept, and finds its number free again, is told of the conflict.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path};

use crate::{Catalog, Error, Result};

/// Newest versions that stay, whatever their age: a number is free again only when as many are above it.
const VERSIONS_KEPT: u64 = 100;
/// Time that a version stays, whatever its number.
const SECONDS_KEPT: i64 = 3_600;
/// Versions between two looks for old ones: each look lists all there are.
const FORGET_VERSIONS: u64 = 20;
/// Old versions that one look takes away, at the most.
const FORGET_MAX: usize = 1_000;
/// Attempts at a request that other writers are in the way of.
const ATTEMPTS_MAX: usize = 10;

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
        for _ in 0..ATTEMPTS_MAX {
            let Some(version) = self.newest_after(None).await? else { return Ok(Catalog::default()) };
            let path = self.path(version);
            let bytes = match self.store.get(&path).await {
                Ok(found) => found.bytes().await.map_err(stored)?,
                // It has grown old since it was listed.
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(error) => return Err(stored(error)),
            };
            return serde_json::from_slice(&bytes)
                .map_err(|error| Error::Unreadable { path: path.to_string(), message: error.to_string() });
        }
        let message = "it is deleted each time that it is looked for".to_owned();
        Err(Error::Unreadable { path: self.prefix.to_string(), message })
    }

    /// Whether there is a version right after this one: cheap, and true for an hour at least after it was put.
    pub async fn has_next(&self, version: u64) -> Result<bool> {
        match self.store.head(&self.path(version + 1)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(stored(error)),
        }
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
        self.put(expected, &self.path(next.version), bytes).await?;
        // The number may have been taken and deleted while this writer slept. That needs as many newer versions as
        // are kept; with fewer, the newer ones were made from this one.
        if let Some(found) = self.newest_after(Some(next.version)).await?
            && found - next.version >= VERSIONS_KEPT
        {
            return Err(Error::Conflict { expected, found });
        }
        if next.version.is_multiple_of(FORGET_VERSIONS)
            && let Err(error) = self.forget_old().await
        {
            // They are only room lost, so a failure here is not one of the change.
            tracing::warn!(%error, "old catalog versions cannot be deleted");
        }
        Ok(next)
    }

    async fn put(&self, expected: u64, path: &Path, bytes: Vec<u8>) -> Result<()> {
        let mut put = Ok(());
        for _ in 0..ATTEMPTS_MAX {
            let options = PutOptions { mode: PutMode::Create, ..Default::default() };
            put = self.store.put_opts(path, PutPayload::from(bytes.clone()), options).await.map(|_| ());
            let Err(error) = &put else { return Ok(()) };
            // Where the response was lost, what is there may be ours: the store's client puts again by itself, and
            // then finds that it exists.
            match (error, self.read(path).await) {
                (_, Ok(Some(found))) if found == bytes => return Ok(()),
                // S3 answers so (409) where two puts meet; none of them may have been taken.
                (object_store::Error::AlreadyExists { .. }, Ok(None)) => {}
                (object_store::Error::AlreadyExists { .. }, _) => {
                    let found = self.newest_after(None).await?.unwrap_or(0);
                    return Err(Error::Conflict { expected, found });
                }
                _ => break,
            }
        }
        put.map_err(stored)
    }

    async fn read(&self, path: &Path) -> object_store::Result<Option<Vec<u8>>> {
        match self.store.get(path).await {
            Ok(found) => Ok(Some(found.bytes().await?.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn path(&self, version: u64) -> Path {
        self.prefix.clone().join(format!("{version:012}.json"))
    }

    /// The greatest number there is, above this one where there is one.
    async fn newest_after(&self, version: Option<u64>) -> Result<Option<u64>> {
        let listed = match version {
            Some(version) => self.store.list_with_offset(Some(&self.prefix), &self.path(version)),
            None => self.store.list(Some(&self.prefix)),
        };
        let files: Vec<_> = listed.try_collect().await.map_err(stored)?;
        Ok(files.iter().filter_map(number).max())
    }

    /// By the store's own clock: those who write may not agree on the time.
    async fn forget_old(&self) -> Result<()> {
        let files: Vec<_> = self.store.list(Some(&self.prefix)).try_collect().await.map_err(stored)?;
        let mut numbered: Vec<_> = files.into_iter().filter_map(|file| Some((number(&file)?, file))).collect();
        numbered.sort_unstable_by_key(|(number, _)| *number);
        let Some((newest, newest_at)) = numbered.last().map(|(number, file)| (*number, file.last_modified)) else {
            return Ok(());
        };
        let old = numbered.into_iter().filter(|(number, file)| {
            let seconds = newest_at.signed_duration_since(file.last_modified).num_seconds();
            newest - number >= VERSIONS_KEPT && seconds >= SECONDS_KEPT
        });
        let paths: Vec<_> = old.take(FORGET_MAX).map(|(_, file)| Ok(file.location)).collect();
        let mut deleted = self.store.delete_stream(futures::stream::iter(paths).boxed());
        while let Some(done) = deleted.next().await {
            match done {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(stored(error)),
            }
        }
        Ok(())
    }
}

fn number(file: &ObjectMeta) -> Option<u64> {
    file.location.filename()?.strip_suffix(".json")?.parse().ok()
}

fn stored(error: object_store::Error) -> Error {
    Error::Store(Arc::new(error))
}

#[cfg(test)]
mod tests;
