//! Folders that nobody owns: a put of a process that was slow or paused may arrive after the stream was dropped and its
//! files deleted. Ids are never given twice, so what is of an id that the catalog has had and does not have is garbage.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, path::Path};

/// A folder younger than this stays: who drops the stream may be at it now.
const AGE_US: i64 = 24 * 3_600 * 1_000_000;

/// Deletes folders of pipelines that `dropped` is true for, and gives their names.
///
/// # Errors
/// Those of the store. Files that have been deleted by then are gone.
pub(crate) async fn sweep(
    store: &Arc<dyn ObjectStore>,
    dropped: impl Fn(&str) -> bool,
    now_us: i64,
) -> object_store::Result<Vec<String>> {
    let mut swept = Vec::new();
    let folders = store.list_with_delimiter(Some(&Path::from("pipelines"))).await?.common_prefixes;
    for folder in folders {
        let Some(name) = folder.filename() else { continue };
        if !dropped(name) {
            continue;
        }
        let files: Vec<_> = store.list(Some(&folder)).try_collect().await?;
        let newest_us = files.iter().map(|file| file.last_modified.timestamp_micros()).max().unwrap_or(now_us);
        if now_us.saturating_sub(newest_us) < AGE_US {
            continue;
        }
        let paths = futures::stream::iter(files.into_iter().map(|file| Ok(file.location))).boxed();
        let mut deleted = store.delete_stream(paths);
        while let Some(done) = deleted.next().await {
            match done {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        swept.push(name.to_owned());
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use object_store::{ObjectStoreExt, PutPayload, memory::InMemory};

    use super::*;

    async fn left(store: &Arc<dyn ObjectStore>) -> Vec<String> {
        let files: Vec<_> = store.list(None).try_collect().await.expect("in memory");
        files.into_iter().map(|file| file.location.to_string()).collect()
    }

    #[tokio::test]
    async fn what_is_of_no_id_goes_when_it_is_a_day_old() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let files = [
            "pipelines/3/manifest/000000000001.json",
            "pipelines/3/state/000000000001-a-late.json",
            "pipelines/4/manifest/000000000001.json",
            "pipelines/3-4/state/000000000001-a-late.json",
            "pipelines/4-5/state/000000000001-a-late.json",
            "pipelines/99/state/000000000001-a-late.json",
            "pipelines/of somebody else/file",
            "catalog/000000000003.json",
        ];
        for file in files {
            store.put(&Path::from(file), PutPayload::from_static(b"x")).await.expect("in memory");
        }
        // 3 was dropped; 99 is not known here yet.
        let dropped = |folder: &str| folder.split('-').any(|id| id == "3");
        let now_us = ebap_connector::time::now_us();
        assert_eq!(sweep(&store, dropped, now_us).await.expect("it answers"), Vec::<String>::new(), "too young");
        assert_eq!(left(&store).await.len(), files.len());
        let swept = sweep(&store, dropped, now_us + AGE_US + 60_000_000).await.expect("it answers");
        assert_eq!(swept, ["3", "3-4"]);
        let left = left(&store).await;
        assert_eq!(left.len(), files.len() - 3, "{left:?}");
        assert!(left.iter().all(|file| !file.contains("/3/") && !file.contains("/3-4/")), "{left:?}");
    }
}
