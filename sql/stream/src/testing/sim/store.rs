//! An object store that loses answers, doubles and delays requests, is slow, and tears what it was
//! writing when the process dies. What it holds is consistent as S3 is: a put is whole or absent.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::physical_plan::ExecutionPlan;
use ebap_connector::time::Clock;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};

use super::world::{Point, Process, World};
use crate::{checkpoint::Manifest, late_log::LateRuns};

/// A put that arrives after its client gave up.
#[derive(Debug)]
pub(super) struct Delayed {
    due_us: i64,
    path: Path,
    payload: PutPayload,
    options: PutOptions,
}

/// A view as readers saw it: name and a plan over its rows.
pub(super) type Shown = (String, Arc<dyn ExecutionPlan>);

/// A manifest at the moment it came to exist.
#[derive(Debug)]
pub(super) struct Seen {
    /// Id of the stream or table.
    pub(super) pipeline: u64,
    pub(super) manifest: Manifest,
    pub(super) late: LateRuns,
    /// Files it names that do not exist.
    pub(super) missing: Vec<String>,
    pub(super) shown: Vec<Shown>,
}

#[derive(Debug)]
pub(super) struct SimStore(pub(super) Arc<Process>);

impl SimStore {
    fn world(&self) -> &World {
        &self.0.world
    }

    fn fault(message: &str) -> Error {
        Error::Generic { store: "simulated", source: message.into() }
    }

    async fn wait(&self, per_mille: u64, millis: (i64, i64)) {
        let wait_ms = {
            let quiet = self.world().quiet.load(Ordering::Relaxed);
            let mut random = self.world().random.lock();
            if quiet || !random.chance(per_mille) {
                return;
            }
            random.within(millis.0, millis.1)
        };
        self.world().clock.sleep(Duration::from_millis(wait_ms.unsigned_abs())).await;
    }

    /// What every request has in common: the process may die, the disk be slow, the request lost.
    async fn request(&self) -> Result<()> {
        self.0.pass(Point::Anywhere).await;
        self.arrive().await;
        self.wait(self.world().faults.slow, (1, 400)).await;
        if self.world().fails(self.world().faults.failed) {
            return Err(Self::fault("the request is lost"));
        }
        Ok(())
    }

    async fn answer(&self) -> Result<()> {
        self.wait(self.world().faults.slow, (1, 400)).await;
        if self.world().fails(self.world().faults.lost) {
            return Err(Self::fault("the answer is lost"));
        }
        Ok(())
    }

    /// Lets requests arrive whose clients have given up.
    async fn arrive(&self) {
        let now_us = self.world().clock.now_us();
        let due: Vec<Delayed> = {
            let mut delayed = self.world().delayed.lock();
            delayed.extract_if(.., |one| one.due_us <= now_us).collect()
        };
        for Delayed { path, payload, options, .. } in due {
            // Nobody waits for the answer.
            let _ = self.take(&path, payload, options, false).await;
        }
    }

    /// The put arrives. A manifest is looked at as it does.
    async fn take(&self, path: &Path, payload: PutPayload, options: PutOptions, ours: bool) -> Result<PutResult> {
        let manifest = path.as_ref().contains("/manifest/");
        let shown = match &*self.0.observe.lock() {
            Some(observe) if manifest && ours && self.world().shows() => observe(),
            _ => Vec::new(),
        };
        let bytes = Bytes::from(payload.clone());
        let done = self.world().store.put_opts(path, payload, options).await?;
        if manifest && let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) {
            self.see(path, manifest, shown).await;
        }
        Ok(done)
    }

    async fn see(&self, path: &Path, manifest: Manifest, shown: Vec<Shown>) {
        let parts: Vec<String> = path.parts().map(|part| part.as_ref().to_owned()).collect();
        let state = Path::from_iter(["pipelines", parts[1].as_str(), "state"]);
        let mut missing = Vec::new();
        for file in manifest.files() {
            if self.world().store.head(&state.clone().join(file.as_str())).await.is_err() {
                missing.push(file.clone());
            }
        }
        let mut late: LateRuns = BTreeMap::new();
        for file in &manifest.late_log {
            let Ok(found) = self.world().store.get(&state.clone().join(file.as_str())).await else { continue };
            let bytes = found.bytes().await.expect("it is in memory");
            let runs: LateRuns = serde_json::from_slice(&bytes).expect("a late log is whole");
            for (split, mut more) in runs {
                late.entry(split).or_default().append(&mut more);
            }
        }
        let pipeline = parts[1].parse().expect("a pipeline's folder is its number");
        self.world().seen.lock().push(Seen { pipeline, manifest, late, missing, shown });
    }

    /// Writes half of it, as a disk that had no time for more.
    async fn tear(&self, path: &Path, payload: &PutPayload) {
        let bytes = Bytes::from(payload.clone());
        let half = bytes.slice(..bytes.len() / 2);
        if self.world().store.head(path).await.is_err() {
            self.world().store.put(path, PutPayload::from(half)).await.expect("it is in memory");
        }
    }
}

#[async_trait]
impl ObjectStore for SimStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let manifest = path.as_ref().contains("/manifest/");
        let (before, torn) = match manifest {
            true => (Point::BetweenStateAndManifest, Point::TornManifest),
            false => (Point::BeforeState, Point::TornState),
        };
        if self.0.dies_at(torn) {
            self.tear(path, &payload).await;
        }
        self.0.pass(torn).await;
        self.0.pass(before).await;
        self.request().await?;
        if manifest && self.world().fails(self.world().faults.conflicts) {
            return Err(Error::AlreadyExists { path: path.to_string(), source: "409".into() });
        }
        if self.world().fails(self.world().faults.delayed) {
            let after_us = self.world().random.lock().within(1_000, 3_000_000);
            let due_us = self.world().clock.now_us() + after_us;
            let delayed = Delayed { due_us, path: path.clone(), payload, options };
            self.world().delayed.lock().push(delayed);
            return Err(Self::fault("no answer in time"));
        }
        let twice = self.world().fails(self.world().faults.doubled);
        let again = twice.then(|| (payload.clone(), options.clone()));
        let mut done = self.take(path, payload, options, true).await;
        if let Some((payload, options)) = again {
            // The client's own retry: what it hears is the answer to the second.
            done = self.world().store.put_opts(path, payload, options).await;
        }
        if manifest {
            self.0.pass(Point::AfterManifest).await;
        }
        self.answer().await?;
        done
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(Self::fault("nothing here is written in parts"))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.request().await?;
        let found = self.world().store.get_opts(path, options).await?;
        self.answer().await?;
        Ok(found)
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.request().await?;
        self.world().store.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let process = Arc::clone(&self.0);
        let deleted = paths.and_then(move |path| {
            let store = Self(Arc::clone(&process));
            async move {
                store.request().await?;
                store.world().store.delete(&path).await?;
                store.answer().await?;
                Ok(path)
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (Self(Arc::clone(&self.0)), prefix.cloned());
        let listed = async move {
            store.request().await?;
            store.world().store.list(prefix.as_ref()).try_collect::<Vec<_>>().await
        };
        futures::stream::once(listed)
            .map_ok(|all| futures::stream::iter(all.into_iter().map(Ok::<_, Error>)))
            .try_flatten()
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.request().await?;
        self.world().store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(Self::fault("nothing here is copied"))
    }
}

impl fmt::Display for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("simulated store")
    }
}
