//! What waits to be written: for each place in Redis the newest change, and in a cluster by slot.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use ebap_connector::Result;
use redis::cluster_routing::Slot;

use crate::{kind::Kind, template::Template};

/// How long a cluster remembers what was deleted, so that an older writer does not bring it back.
pub(crate) const TOMBSTONE: Duration = Duration::from_secs(600);
/// More places than this are written at once, whatever the interval.
const PLACES_MAX: usize = 10_000;
/// Rows that are held in memory by what waits: a batch is held as long as one row of it waits.
const ROWS_MAX: usize = 100_000;

/// Of one place: a key, or a member of a set, or in a stream what is known of one row of the view.
pub(crate) struct Change {
    pub(crate) key: String,
    /// See `Kind::parts`.
    pub(crate) parts: Vec<Option<String>>,
    pub(crate) version: u64,
    /// None where there is none any more.
    pub(crate) row: Option<(Arc<RecordBatch>, usize)>,
}

/// Changes by entry of the index.
#[derive(Default)]
pub(crate) struct Pending {
    changes: HashMap<String, Change>,
    rows: usize,
}

impl Pending {
    /// A later change of a place takes the place of an earlier one.
    pub(crate) fn add(&mut self, entry: String, change: Change) {
        self.changes.insert(entry, change);
    }

    pub(crate) fn hold(&mut self, rows: usize) {
        self.rows += rows;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.changes.len() >= PLACES_MAX || self.rows >= ROWS_MAX
    }

    /// In the order of their versions, which a stream is to have.
    pub(crate) fn take(&mut self) -> Vec<(String, Change)> {
        let mut changes: Vec<_> = std::mem::take(self).changes.into_iter().collect();
        changes.sort_by_key(|(_, change)| change.version);
        changes
    }
}

/// The places of the rows of a batch, each with what is its entry in the index.
pub(crate) fn places(kind: &Kind, key: &Template, batch: &RecordBatch, row: usize) -> Result<(String, Change)> {
    let change = Change { key: key.render(batch, row)?, parts: kind.parts(batch, row)?, version: 0, row: None };
    Ok((entry(&change), change))
}

fn entry(change: &Change) -> String {
    if change.parts.is_empty() {
        return change.key.clone();
    }
    let parts = std::iter::once(Some(&change.key)).chain(change.parts.iter().map(Option::as_ref));
    serde_json::Value::from_iter(parts.map(|part| part.cloned())).to_string()
}

/// The place of an entry, without a row. None where the entry is not one of ours.
pub(crate) fn of_entry(kind: &Kind, entry: &str, version: u64) -> Option<Change> {
    if !kind.has_parts() {
        return Some(Change { key: entry.to_owned(), parts: Vec::new(), version, row: None });
    }
    let mut parts: Vec<Option<String>> = serde_json::from_str(entry).ok()?;
    let key = (!parts.is_empty()).then(|| parts.remove(0)).flatten()?;
    Some(Change { key, parts, version, row: None })
}

/// The name of what is kept beside a key, in the key's slot.
pub(crate) fn companion(prefix: &str, key: &str) -> String {
    if tag(key).is_some() {
        return format!("{prefix}:{key}");
    }
    if !key.contains('}') {
        return format!("{prefix}:{{{key}}}");
    }
    // Braces that make no tag, and would end ours: any tag of the same slot does.
    let slot = Slot::for_key(key);
    let same = (0_u64..).map(|n| n.to_string()).find(|tag| Slot::for_key(tag) == slot).unwrap_or_default();
    format!("{prefix}:{{{same}}}:{key}")
}

/// What a cluster chooses the slot by, where that is not the whole key.
fn tag(key: &str) -> Option<&str> {
    let (_, rest) = key.split_once('{')?;
    let (tag, _) = rest.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

/// In the order in which they are, apart by slot.
pub(crate) fn by_slot<'a>(changes: &[&'a Change]) -> Vec<Vec<&'a Change>> {
    let mut slots: HashMap<Slot, Vec<&Change>> = HashMap::new();
    for change in changes {
        slots.entry(Slot::for_key(&change.key)).or_default().push(change);
    }
    slots.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_companion_is_in_the_slot_of_its_key() {
        for key in ["a:b", "a:{b}:c", "{a}", "{}a", "a}b", "a{b", "}{", "{}{x}", "ä"] {
            let companion = companion("ebap:version", key);
            assert_eq!(Slot::for_key(key), Slot::for_key(&companion), "{key} and {companion}");
        }
    }

    #[test]
    fn an_entry_names_its_place() {
        let kind = Kind::Stream { max_length: 1, identity: vec![0, 1] };
        let parts = vec![Some("a\"b".to_owned()), None];
        let change = Change { key: "k:{x}".to_owned(), parts: parts.clone(), version: 3, row: None };
        let found = of_entry(&kind, &entry(&change), 3).expect("an entry");
        assert_eq!((found.key.as_str(), &found.parts), ("k:{x}", &parts));
        assert!(of_entry(&kind, "no entry", 3).is_none());
        assert_eq!(of_entry(&Kind::Hash, "k:1", 3).expect("a key").key, "k:1");
    }
}
