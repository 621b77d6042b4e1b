//! Which files there are: one path, or a pattern within one folder.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use ebap_connector::{Error, Offset, Result, SplitId};

/// Files of one source, at the most.
const FILES_MAX: usize = 10_000;

/// Shared by a source and its readers.
#[derive(Debug)]
pub(crate) struct Files {
    folder: PathBuf,
    /// Name of the file, or a pattern of names.
    name: String,
    is_pattern: bool,
    /// In the order they were found, by name where found together: the index of a file stays the
    /// same while the process lives.
    found: Mutex<Vec<SplitId>>,
    /// The furthest known offset behind a record, by file.
    ends: Mutex<HashMap<SplitId, Offset>>,
}

impl Files {
    /// # Errors
    /// `Option` where the path names no file or has a pattern in its folder.
    pub(crate) fn new(path: &str) -> Result<Arc<Self>> {
        let whole = Path::new(path);
        let Some(name) = whole.file_name().and_then(|name| name.to_str()).filter(|_| !path.ends_with('/')) else {
            return Err(Error::option("path", format!("\"{path}\" names no file")));
        };
        let folder = match whole.parent() {
            Some(folder) if folder != Path::new("") => folder.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let is_pattern = |text: &str| text.contains(['*', '?']);
        if is_pattern(&folder.to_string_lossy()) {
            return Err(Error::option(
                "path",
                format!("\"{path}\" has a pattern before the last \"/\"; only file names may be one"),
            ));
        }
        let is_pattern = is_pattern(name);
        Ok(Arc::new(Self {
            folder,
            name: name.to_owned(),
            is_pattern,
            found: Mutex::default(),
            ends: Mutex::default(),
        }))
    }

    pub(crate) fn path(&self, split: &SplitId) -> PathBuf {
        self.folder.join(split.as_str())
    }

    /// The path or pattern as the user wrote it, for messages.
    pub(crate) fn display(&self) -> String {
        self.folder.join(&self.name).display().to_string()
    }

    /// Looks for files and gives all that were ever found. Blocks.
    ///
    /// # Errors
    /// `Unreachable` where the file or the folder is not there.
    pub(crate) fn look(&self) -> Result<Vec<SplitId>> {
        let names = if self.is_pattern { self.matching()? } else { self.alone()? };
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            let split = SplitId::new(name);
            if !found.contains(&split) {
                found.push(split);
            }
        }
        if found.len() > FILES_MAX {
            return Err(Error::Limit {
                message: format!("\"{}\" matches more than {FILES_MAX} files", self.display()),
            });
        }
        Ok(found.clone())
    }

    /// All that were ever found, without looking.
    pub(crate) fn known(&self) -> Vec<SplitId> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the file, or the folder of a pattern, is not there at all. Blocks.
    pub(crate) fn missing(&self) -> bool {
        let path = if self.is_pattern { self.folder.clone() } else { self.folder.join(&self.name) };
        path.try_exists().is_ok_and(|exists| !exists)
    }

    /// Number of the split, for `_partition`.
    pub(crate) fn index(&self, split: &SplitId) -> i32 {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let index = found.iter().position(|other| other == split).unwrap_or_else(|| {
            found.push(split.clone());
            found.len() - 1
        });
        i32::try_from(index).unwrap_or(i32::MAX)
    }

    /// An offset behind some record of the file: where to look for its last one.
    pub(crate) fn known_end(&self, split: &SplitId) -> Offset {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).get(split).copied().unwrap_or_default()
    }

    /// A record of the file ends here.
    pub(crate) fn note_end(&self, split: &SplitId, end: Offset) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        match ends.get_mut(split) {
            Some(known) => *known = end.max(*known),
            None => drop(ends.insert(split.clone(), end)),
        }
    }

    fn alone(&self) -> Result<Vec<String>> {
        let path = self.folder.join(&self.name);
        let metadata = fs::metadata(&path).map_err(|error| away(&path, &error))?;
        if !metadata.is_file() {
            return Err(Error::refused(shown(&path), "it is not a file"));
        }
        Ok(vec![self.name.clone()])
    }

    fn matching(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(|error| away(&self.folder, &error))? {
            let entry = entry.map_err(|error| away(&self.folder, &error))?;
            // A name that is not UTF-8 cannot match a pattern, which is.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let hidden = name.starts_with('.') && !self.name.starts_with('.');
            // `fs::metadata` and not that of the entry, so that a link to a file counts as one.
            let is_file = || fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_file());
            if !hidden && matches(self.name.as_bytes(), name.as_bytes()) && is_file() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// A file or folder that cannot be opened or read: it may come (back).
pub(crate) fn away(path: &Path, error: &io::Error) -> Error {
    Error::unreachable(shown(path), error)
}

pub(crate) fn shown(path: &Path) -> String {
    format!("file \"{}\"", path.display())
}

/// `*` stands for any number of bytes, `?` for one. Goes back to the last star only, which is
/// enough and keeps the worst case at the product of the lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, n));
            p += 1;
        } else if pattern.get(p).is_some_and(|byte| *byte == b'?' || *byte == name[n]) {
            p += 1;
            n += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            p = at + 1;
            n = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("*.jsonl", "a.jsonl", true),
            ("*.jsonl", "a.jsonl.gz", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("day-??.csv", "day-07.csv", true),
            ("day-??.csv", "day-7.csv", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_path_must_name_files_of_one_folder() {
        for (path, part) in [("", "names no file"), ("in/", "names no file"), ("*/x.jsonl", "before the last")] {
            let error = Files::new(path).expect_err(path).to_string();
            assert!(error.contains("option \"path\"") && error.contains(part), "{error}");
        }
    }
}
