//! Writers that race, sleep, lose answers, and meet a store that answers 409.

use std::{
    fmt,
    ops::Range,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, PutMultipartOptions, PutResult, memory::InMemory,
};

use super::*;
use crate::ObjectKind;

/// A store in memory that is not always what it should be.
#[derive(Debug, Default)]
struct Odd {
    store: InMemory,
    /// Creates that are answered with "exists" though nothing is there, as after a 409 of S3.
    conflicts: AtomicUsize,
    /// The files that exist now are an hour old.
    old: AtomicBool,
}

impl Odd {
    fn aged(&self, mut file: ObjectMeta) -> ObjectMeta {
        // The newest is as new as it is.
        let newest = number(&file).is_some_and(|number| number > KEPT_BEFORE);
        if self.old.load(Ordering::Relaxed) && !newest {
            file.last_modified -= std::time::Duration::from_secs(SECONDS_KEPT.unsigned_abs());
        }
        file
    }
}

/// Versions up to here are made old by `Odd::old`.
const KEPT_BEFORE: u64 = 139;

#[async_trait]
impl ObjectStore for Odd {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        let one = |left: usize| left.checked_sub(1);
        if self.conflicts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one).is_ok() {
            return Err(object_store::Error::AlreadyExists { path: path.to_string(), source: "409".into() });
        }
        self.store.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.store.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.store.get_ranges(path, ranges).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.store.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let files = futures::executor::block_on(self.store.list(prefix).collect::<Vec<_>>());
        let aged: Vec<_> = files.into_iter().map(|file| file.map(|file| self.aged(file))).collect();
        futures::stream::iter(aged).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("odd store")
    }
}

fn with(catalog: &Catalog, name: &str) -> Catalog {
    let mut next = catalog.clone();
    next.create(ObjectKind::Stream, name, String::new(), vec![], 0).expect("a new name");
    next
}

/// Adds streams until the catalog has this version.
async fn grow(store: &CatalogStore, version: u64) -> Catalog {
    let mut catalog = store.load().await.expect("it is there");
    while catalog.version < version {
        let next = with(&catalog, &format!("s{}", catalog.version));
        catalog = store.replace(catalog.version, next).await.expect("nobody else writes");
    }
    catalog
}

async fn versions(odd: &Odd) -> Vec<u64> {
    let files: Vec<_> = odd.store.list(Some(&Path::from("catalog"))).try_collect().await.expect("in memory");
    files.iter().filter_map(number).collect()
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
    let again = store.replace(0, next.clone()).await.expect("the same put again");
    assert_eq!(store.load().await.expect("once"), again);
    // Others may have gone on from it before its writer heard the answer.
    let newest = grow(&store, 99).await;
    store.replace(0, next).await.expect("it is part of all that came since");
    assert_eq!(store.load().await.expect("unchanged"), newest);
}

#[tokio::test]
async fn a_writer_that_slept_until_its_number_was_free_again_is_told_so() {
    let odd = Arc::new(Odd::default());
    let store = CatalogStore::new(Arc::clone(&odd) as Arc<dyn ObjectStore>);
    let known = grow(&store, 5).await;
    odd.old.store(true, Ordering::Relaxed);
    let newest = grow(&store, 140).await;
    assert_eq!(versions(&odd).await, (41..=140).collect::<Vec<_>>(), "a hundred stay");
    let error = store.replace(5, with(&known, "lost")).await.expect_err("135 versions have passed");
    assert!(matches!(error, Error::Conflict { expected: 5, found: 140 }), "{error}");
    assert_eq!(store.load().await.expect("the newest"), newest);
    // What it has put is in nobody's way.
    assert_eq!(grow(&store, 160).await.find(ObjectKind::Stream, "lost"), None);
}

#[tokio::test]
async fn young_versions_stay_whatever_their_number() {
    let odd = Arc::new(Odd::default());
    let store = CatalogStore::new(Arc::clone(&odd) as Arc<dyn ObjectStore>);
    let known = grow(&store, 5).await;
    grow(&store, 140).await;
    assert_eq!(versions(&odd).await, (1..=140).collect::<Vec<_>>(), "none is an hour old");
    let error = store.replace(5, with(&known, "late")).await.expect_err("the number is still taken");
    assert!(matches!(error, Error::Conflict { expected: 5, found: 140 }), "{error}");
}

#[tokio::test]
async fn a_409_that_nobody_caused_is_tried_again() {
    let odd = Arc::new(Odd::default());
    let store = CatalogStore::new(Arc::clone(&odd) as Arc<dyn ObjectStore>);
    odd.conflicts.store(3, Ordering::Relaxed);
    let made = store.replace(0, with(&Catalog::default(), "one")).await.expect("the fourth attempt");
    assert_eq!(store.load().await.expect("it is there"), made);
    odd.conflicts.store(1_000, Ordering::Relaxed);
    let error = store.replace(1, with(&made, "two")).await.expect_err("the store never takes it");
    assert!(matches!(error, Error::Store(_)), "nobody else has changed it: {error}");
    odd.conflicts.store(0, Ordering::Relaxed);
    assert_eq!(store.load().await.expect("unchanged"), made);
}

#[tokio::test]
async fn a_next_version_is_found_by_its_number() {
    let store = CatalogStore::new(Arc::new(InMemory::new()));
    assert!(!store.has_next(0).await.expect("an answer"));
    grow(&store, 2).await;
    assert!(store.has_next(0).await.expect("an answer"));
    assert!(store.has_next(1).await.expect("an answer"));
    assert!(!store.has_next(2).await.expect("an answer"));
}
