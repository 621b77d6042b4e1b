//! Files of one pipeline on the object store.

use std::{io::Cursor, sync::Arc};

use arrow::array::RecordBatch;
use arrow_ipc::{
    CompressionType,
    reader::StreamReader,
    writer::{IpcWriteOptions, StreamWriter},
};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path};
use serde::de::DeserializeOwned;

use super::manifest::{FORMAT, Manifest};
use crate::{Error, Result};

/// Manifests younger than this many epochs stay: an instance that slept must still find its number
/// taken when it wakes.
const MANIFESTS_KEPT: u64 = 200;

#[derive(Clone, Debug)]
pub(crate) struct CheckpointStore {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Name of the stream, for errors.
    name: String,
}

impl CheckpointStore {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, id: u64, name: &str) -> Self {
        Self { store, prefix: Path::from("pipelines").join(id.to_string()), name: name.to_owned() }
    }

    /// The newest manifest, if there is any.
    pub(crate) async fn newest(&self) -> Result<Option<Manifest>> {
        let Some(epoch) = self.epochs().await?.into_iter().max() else { return Ok(None) };
        let path = self.manifest_path(epoch);
        let manifest: Manifest = self.read_json_at(&path).await?;
        if manifest.format > FORMAT {
            let message = format!("its format is {}, this version reads up to {FORMAT}", manifest.format);
            return Err(Error::Unreadable { path: path.to_string(), message });
        }
        Ok(Some(manifest))
    }

    /// Makes the epoch exist. `look_behind` lists what exists afterwards too: needed after a pause long
    /// enough for another instance to have passed and cleaned up this very number.
    ///
    /// # Errors
    /// `Fenced` where another instance has written this epoch, or a later one.
    pub(crate) async fn publish(&self, manifest: &Manifest, look_behind: bool) -> Result<u64> {
        let bytes = serde_json::to_vec(manifest).map_err(|error| Error::Internal(error.to_string()))?;
        let (path, size) = (self.manifest_path(manifest.epoch.0), bytes.len() as u64);
        let fenced = || Error::Fenced { name: self.name.clone(), epoch: manifest.epoch.0 };
        let options = PutOptions { mode: PutMode::Create, ..Default::default() };
        match self.store.put_opts(&path, PutPayload::from(bytes.clone()), options).await {
            Ok(_) => {}
            Err(object_store::Error::AlreadyExists { .. }) => {
                // The answer to our own put may have been lost and the put sent again.
                let found = self.read(&path).await?;
                if found.as_ref() != bytes.as_slice() {
                    return Err(fenced());
                }
            }
            Err(error) => return Err(self.stored(error)),
        }
        if look_behind && self.epochs().await?.into_iter().any(|epoch| epoch > manifest.epoch.0) {
            return Err(fenced());
        }
        Ok(size)
    }

    pub(crate) async fn write_batches(&self, file: &str, batches: &[RecordBatch]) -> Result<u64> {
        let first = batches.first().ok_or_else(|| Error::Internal(format!("{file} would be empty")))?;
        let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &first.schema(), options)?;
        for batch in batches {
            writer.write(batch)?;
        }
        let bytes = writer.into_inner()?;
        let size = bytes.len() as u64;
        self.write(file, bytes).await?;
        Ok(size)
    }

    pub(crate) async fn read_batches(&self, file: &str) -> Result<Vec<RecordBatch>> {
        let path = self.path(file);
        let bytes = self.read(&path).await?;
        let unreadable =
            |error: arrow::error::ArrowError| Error::Unreadable { path: path.to_string(), message: error.to_string() };
        let reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(unreadable)?;
        reader.collect::<Result<_, _>>().map_err(unreadable)
    }

    pub(crate) async fn read_json<T: DeserializeOwned>(&self, file: &str) -> Result<T> {
        self.read_json_at(&self.path(file)).await
    }

    /// Deletes files no manifest needs any more. What cannot be deleted is only room lost.
    pub(crate) async fn forget(&self, files: impl IntoIterator<Item = String>, epoch: u64) {
        let old = epoch.checked_sub(MANIFESTS_KEPT).map(|old| self.manifest_path(old));
        for path in files.into_iter().map(|file| self.path(&file)).chain(old) {
            if let Err(error) = self.store.delete(&path).await
                && !matches!(error, object_store::Error::NotFound { .. })
            {
                tracing::warn!(%error, %path, "a file of an old checkpoint cannot be deleted");
            }
        }
    }

    /// Deletes everything: the stream was dropped.
    pub(crate) async fn delete_all(&self) -> Result<()> {
        let files: Vec<_> =
            self.store.list(Some(&self.prefix)).try_collect().await.map_err(|error| self.stored(error))?;
        for file in files {
            self.store.delete(&file.location).await.map_err(|error| self.stored(error))?;
        }
        Ok(())
    }

    pub(crate) async fn write(&self, file: &str, bytes: Vec<u8>) -> Result<()> {
        self.store.put(&self.path(file), PutPayload::from(bytes)).await.map_err(|error| self.stored(error))?;
        Ok(())
    }

    async fn read(&self, path: &Path) -> Result<Bytes> {
        let found = self.store.get(path).await.map_err(|error| self.stored(error))?;
        found.bytes().await.map_err(|error| self.stored(error))
    }

    async fn read_json_at<T: DeserializeOwned>(&self, path: &Path) -> Result<T> {
        let bytes = self.read(path).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::Unreadable { path: path.to_string(), message: error.to_string() })
    }

    async fn epochs(&self) -> Result<Vec<u64>> {
        let folder = self.prefix.clone().join("manifest");
        let files: Vec<_> = self.store.list(Some(&folder)).try_collect().await.map_err(|error| self.stored(error))?;
        Ok(files.iter().filter_map(|file| file.location.filename()?.strip_suffix(".json")?.parse().ok()).collect())
    }

    fn manifest_path(&self, epoch: u64) -> Path {
        self.prefix.clone().join("manifest").join(format!("{epoch:012}.json"))
    }

    fn path(&self, file: &str) -> Path {
        self.prefix.clone().join("state").join(file)
    }

    fn stored(&self, error: object_store::Error) -> Error {
        Error::Store { name: self.name.clone(), source: Arc::new(error) }
    }
}
