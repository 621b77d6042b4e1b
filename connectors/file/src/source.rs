//! The `WITH (…)` options of `connector = 'file'`, and what is there to read.

use std::sync::Arc;

use async_trait::async_trait;
use ebap_connector::{Error, Offset, Result, Source, SourceContext, SourceReader, SplitBounds, SplitId};
use tokio::task::spawn_blocking;

use crate::{files::Files, framing::Framing, job, reader::FileReader};

/// Options that streams of other connectors do not have.
const OWN: [&str; 2] = ["path", "follow"];
/// Options of the formats that a record can have.
const OF_FORMATS: [&str; 2] = ["csv.", "json."];

/// Builds the source of a stream with `connector = 'file'`.
///
/// | option | |
/// |---|---|
/// | `path` | a file, or a pattern such as `in/*.jsonl` for files of one folder |
/// | `follow` | `true`: waits for more lines and, with a pattern, more files; default `false` |
/// | `start` | `earliest` (the default) or `latest` |
///
/// # Errors
/// `Option` for an unknown option or a bad value.
pub fn source(context: &SourceContext) -> Result<Arc<dyn Source>> {
    let options = &context.options;
    options.only_of_stream(&OWN, &OF_FORMATS)?;
    let latest = match options.get("start") {
        None | Some("earliest") => false,
        Some("latest") => true,
        Some(other) => return Err(Error::option("start", format!("\"{other}\" is neither earliest nor latest"))),
    };
    let files = Files::new(options.required("path")?)?;
    let framing = Arc::new(Framing::of(options)?);
    Ok(Arc::new(FileSource { files, framing, follow: options.bool("follow", false)?, latest }))
}

struct FileSource {
    files: Arc<Files>,
    framing: Arc<Framing>,
    follow: bool,
    latest: bool,
}

#[async_trait]
impl Source for FileSource {
    async fn splits(&self) -> Result<Vec<SplitId>> {
        let (files, follow) = (self.files.clone(), self.follow);
        let look = move || match files.look() {
            // What is followed may come later, as with `tail -F`.
            Err(Error::Unreachable { .. }) if follow && files.missing() => Ok(files.known()),
            found => found,
        };
        let found = spawn_blocking(look).await.map_err(Error::internal)??;
        if found.is_empty() && !self.follow {
            return Err(Error::unreachable(format!("file \"{}\"", self.files.display()), "no file matches"));
        }
        Ok(found)
    }

    async fn bounds(&self, split: &SplitId) -> Result<SplitBounds> {
        let (path, framing, follow) = (self.files.path(split), Arc::clone(&self.framing), self.follow);
        let known = self.files.known_end(split);
        let end = move || job::end(&path, &framing, follow, known);
        let end = spawn_blocking(end).await.map_err(Error::internal)??;
        if follow {
            self.files.note_end(split, end);
        }
        Ok(SplitBounds { earliest: Offset(0), end })
    }

    async fn start(&self, split: &SplitId, found_while_running: bool) -> Result<Offset> {
        if self.latest && !found_while_running { Ok(self.bounds(split).await?.end) } else { Ok(Offset(0)) }
    }

    async fn reader(&self) -> Result<Box<dyn SourceReader>> {
        Ok(Box::new(FileReader::new(self.files.clone(), Arc::clone(&self.framing), self.follow)))
    }

    fn unbounded(&self) -> bool {
        self.follow
    }
}

#[cfg(test)]
mod tests;
