//! Files of one pipeline on the object store.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io::Cursor,
    sync::Arc,
};

use arrow::array::RecordBatch;
use arrow_ipc::{
    CompressionType,
    reader::StreamReader,
    writer::{IpcWriteOptions, StreamWriter},
};
use bytes::Bytes;
use ebap_connector::Epoch;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path};
use serde::de::DeserializeOwned;

use super::{
    manifest::{FORMAT, Manifest},
    recover::{Decision, Found, decide},
    retired::Old,
};
use crate::{Error, Result};

/// Attempts at a put that other writers are in the way of.
const PUTS_MAX: usize = 10;

const PIPELINES: &str = "pipelines";

#[derive(Clone, Debug)]
pub(crate) struct CheckpointStore {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Name of the stream, for errors.
    name: String,
    /// Part of the name of every file of state, so that two writers never write the same one.
    writer: u64,
}

/// The epoch to open, and the number of the newest that was ever begun.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) manifest: Option<Manifest>,
    pub(crate) after: Epoch,
    /// The oldest manifest that there is; the next one where there is none.
    pub(crate) oldest: u64,
}

impl CheckpointStore {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, folder: &str, name: &str) -> Self {
        Self { store, prefix: Path::from(PIPELINES).join(folder), name: name.to_owned(), writer: 0 }
    }

    /// Lists the pipelines that have written anything.
    pub(crate) async fn folders(store: &Arc<dyn ObjectStore>) -> Result<Vec<String>> {
        let stored = |error| Error::Store { name: PIPELINES.to_owned(), source: Arc::new(error) };
        let found = store.list_with_delimiter(Some(&Path::from(PIPELINES))).await.map_err(stored)?;
        Ok(found.common_prefixes.iter().filter_map(|folder| Some(folder.filename()?.to_owned())).collect())
    }

    /// For another start of the pipeline. A request of an older start, or of another instance, may arrive
    /// while this one writes the same epoch: under a name of its own it does no harm.
    pub(crate) fn of_new_writer(&self) -> Self {
        Self { writer: RandomState::new().build_hasher().finish(), ..self.clone() }
    }

    /// Of this start alone.
    pub(crate) fn writer(&self) -> u64 {
        self.writer
    }

    /// Name of a file of state.
    pub(crate) fn file(&self, epoch: Epoch, what: &str) -> String {
        format!("{:012}-{:016x}-{what}", epoch.0, self.writer)
    }

    /// What to open.
    ///
    /// # Errors
    /// `Unreadable` where there is state and none of it can be opened.
    pub(crate) async fn recover(&self) -> Result<Recovered> {
        let mut epochs = self.epochs().await?;
        epochs.sort_unstable();
        let oldest = epochs.first().copied();
        let mut looked = Vec::new();
        loop {
            match decide(&looked, !epochs.is_empty()) {
                Decision::LookFurther => {
                    let Some(epoch) = epochs.pop() else { continue };
                    let found = self.look(epoch, looked.is_empty()).await?;
                    looked.push((epoch, found));
                }
                Decision::Begin { after } => {
                    let oldest = oldest.unwrap_or(after + 1);
                    return Ok(Recovered { manifest: None, after: Epoch(after), oldest });
                }
                Decision::Open { manifest, after } => {
                    if manifest.epoch.0 < after {
                        tracing::warn!(
                            stream = self.name,
                            epoch = manifest.epoch.0,
                            after,
                            "a torn manifest is left out"
                        );
                    }
                    let oldest = oldest.unwrap_or(after);
                    return Ok(Recovered { manifest: Some(*manifest), after: Epoch(after), oldest });
                }
                Decision::Refuse { epoch, message } => {
                    let path = self.manifest_path(epoch).to_string();
                    return Err(Error::Unreadable { path, message });
                }
            }
        }
    }

    /// The files of the newest are not asked for: they are read next.
    async fn look(&self, epoch: u64, newest: bool) -> Result<Found> {
        /// Enough to tell what an unknown format is.
        #[derive(serde::Deserialize)]
        struct Head {
            format: u32,
        }
        let bytes = self.read(&self.manifest_path(epoch)).await?;
        if let Ok(Head { format }) = serde_json::from_slice(&bytes)
            && format > FORMAT
        {
            return Ok(Found::TooNew { format });
        }
        let manifest: Manifest = match serde_json::from_slice(&bytes) {
            Ok(manifest) => manifest,
            Err(error) => return Ok(Found::Torn { message: error.to_string() }),
        };
        let mut complete = true;
        for file in manifest.files().filter(|_| !newest) {
            match self.store.head(&self.path(file)).await {
                Ok(_) => {}
                Err(object_store::Error::NotFound { .. }) => complete = false,
                Err(error) => return Err(self.stored(error)),
            }
        }
        Ok(Found::Whole { manifest: Box::new(manifest), complete })
    }

    /// Makes the epoch exist.
    ///
    /// # Errors
    /// `Fenced` where another instance has written this epoch.
    pub(crate) async fn publish(&self, manifest: &Manifest) -> Result<u64> {
        let bytes = serde_json::to_vec(manifest).map_err(|error| Error::Internal(error.to_string()))?;
        let (path, size) = (self.manifest_path(manifest.epoch.0), bytes.len() as u64);
        let fenced = || Error::Fenced { name: self.name.clone(), epoch: manifest.epoch.0 };
        let mut refused = None;
        for _ in 0..PUTS_MAX {
            let options = PutOptions { mode: PutMode::Create, ..Default::default() };
            match self.store.put_opts(&path, PutPayload::from(bytes.clone()), options).await {
                Ok(_) => {
                    if refused.is_some() {
                        // Somebody else's may have been there, and is deleted by now.
                        self.look_behind(manifest.epoch).await?;
                    }
                    return Ok(size);
                }
                Err(error @ object_store::Error::AlreadyExists { .. }) => match self.store.get(&path).await {
                    // The answer to our own put may have been lost and the put sent again.
                    Ok(found) => {
                        let found = found.bytes().await.map_err(|error| self.stored(error))?;
                        return if found.as_ref() == bytes.as_slice() { Ok(size) } else { Err(fenced()) };
                    }
                    // S3 answers so (409) where two puts meet; none of them may have been taken.
                    Err(object_store::Error::NotFound { .. }) => refused = Some(error),
                    Err(error) => return Err(self.stored(error)),
                },
                Err(error) => return Err(self.stored(error)),
            }
        }
        Err(refused.map_or_else(fenced, |error| self.stored(error)))
    }

    /// # Errors
    /// `Fenced` where there is a later epoch: after a pause, another instance may have passed and cleaned
    /// up the very number that was just written.
    pub(crate) async fn look_behind(&self, epoch: Epoch) -> Result<()> {
        let (folder, own) = (self.manifest_folder(), self.manifest_path(epoch.0));
        let later: Vec<_> =
            self.store.list_with_offset(Some(&folder), &own).try_collect().await.map_err(|error| self.stored(error))?;
        if later.iter().filter_map(|file| number(&file.location)).any(|later| later > epoch.0) {
            return Err(Error::Fenced { name: self.name.clone(), epoch: epoch.0 });
        }
        Ok(())
    }

    /// The same where no manifest can have been deleted since it was last looked: cheaper.
    ///
    /// # Errors
    /// `Fenced` where the next epoch exists.
    pub(crate) async fn look_at_next(&self, epoch: Epoch) -> Result<()> {
        match self.store.head(&self.manifest_path(epoch.next().0)).await {
            Ok(_) => Err(Error::Fenced { name: self.name.clone(), epoch: epoch.next().0 }),
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.stored(error)),
        }
    }

    pub(crate) async fn write_batches(&self, file: &str, batches: &[RecordBatch]) -> Result<u64> {
        let first = batches.first().ok_or_else(|| Error::Internal(format!("{file} would be empty")))?;
        let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &first.schema(), options)?;
        let bytes = apart(|| {
            batches.iter().try_for_each(|batch| writer.write(batch))?;
            writer.into_inner()
        })?;
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
        let path = self.path(file);
        let bytes = self.read(&path).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::Unreadable { path: path.to_string(), message: error.to_string() })
    }

    /// Deletes what no manifest needs any more. What cannot be deleted is only room lost.
    pub(crate) async fn delete_old(&self, old: Old) {
        let Old { files, manifests } = old;
        let files = files.into_iter().map(|file| self.path(&file));
        let paths: Vec<_> = files.chain(manifests.map(|epoch| self.manifest_path(epoch))).map(Ok).collect();
        let mut deleted = self.store.delete_stream(futures::stream::iter(paths).boxed());
        while let Some(done) = deleted.next().await {
            match done {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => {
                    tracing::warn!(stream = self.name, %error, "a file of an old checkpoint cannot be deleted");
                }
            }
        }
    }

    /// Files of state, up to this epoch, that the manifest does not name: of epochs that never came to exist, and of
    /// older ones whose writer ended before it deleted them.
    pub(crate) async fn unnamed(&self, manifest: &Manifest, epoch: Epoch) -> Result<Vec<String>> {
        let named: std::collections::HashSet<&String> = manifest.files().collect();
        let folder = self.prefix.clone().join("state");
        let files: Vec<_> = self.store.list(Some(&folder)).try_collect().await.map_err(|error| self.stored(error))?;
        let names = files.iter().filter_map(|file| file.location.filename());
        let old = names.filter(|name| {
            let number = name.split_once('-').and_then(|(number, _)| number.parse::<u64>().ok());
            number.is_some_and(|number| number <= epoch.0)
        });
        Ok(old.map(str::to_owned).filter(|name| !named.contains(name)).collect())
    }

    /// Deletes everything: the stream was dropped. Manifests first and the newest last, so that what a failure leaves
    /// behind can be opened or is not looked at.
    pub(crate) async fn delete_all(&self) -> Result<()> {
        let mut epochs = self.epochs().await?;
        epochs.sort_unstable();
        for epoch in epochs {
            self.delete(&self.manifest_path(epoch)).await?;
        }
        let files: Vec<_> =
            self.store.list(Some(&self.prefix)).try_collect().await.map_err(|error| self.stored(error))?;
        for file in files {
            self.delete(&file.location).await?;
        }
        Ok(())
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.stored(error)),
        }
    }

    pub(crate) async fn write(&self, file: &str, bytes: Vec<u8>) -> Result<()> {
        self.store.put(&self.path(file), PutPayload::from(bytes)).await.map_err(|error| self.stored(error))?;
        Ok(())
    }

    async fn read(&self, path: &Path) -> Result<Bytes> {
        let found = self.store.get(path).await.map_err(|error| self.stored(error))?;
        found.bytes().await.map_err(|error| self.stored(error))
    }

    async fn epochs(&self) -> Result<Vec<u64>> {
        let folder = self.manifest_folder();
        let files: Vec<_> = self.store.list(Some(&folder)).try_collect().await.map_err(|error| self.stored(error))?;
        Ok(files.iter().filter_map(|file| number(&file.location)).collect())
    }

    fn manifest_folder(&self) -> Path {
        self.prefix.clone().join("manifest")
    }

    fn manifest_path(&self, epoch: u64) -> Path {
        self.manifest_folder().join(format!("{epoch:012}.json"))
    }

    fn path(&self, file: &str) -> Path {
        self.prefix.clone().join("state").join(file)
    }

    fn stored(&self, error: object_store::Error) -> Error {
        Error::Store { name: self.name.clone(), source: Arc::new(error) }
    }
}

/// The epoch that a manifest's path names.
fn number(path: &Path) -> Option<u64> {
    path.filename()?.strip_suffix(".json")?.parse().ok()
}

/// Runs what takes long without holding up what else runs on this thread.
pub(crate) fn apart<T>(run: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::current().runtime_flavor() {
        tokio::runtime::RuntimeFlavor::MultiThread => tokio::task::block_in_place(run),
        _ => run(),
    }
}
