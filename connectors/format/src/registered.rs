//! Schemas of a registry as a format uses them: fetched before the records that name them are decoded, and kept within a
//! bound in the form that decodes.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use ebap_connector::{ByteColumn, Error, Options, Rejected, Result, time::instant};
use ebap_schema_registry::{Kind, Schema, SchemaRegistry, wire};
use futures::{StreamExt, TryStreamExt, stream};

/// Ids remembered from earlier batches, at the most; the one that was named least lately goes first.
const KNOWN_MAX: usize = 1_000;
/// Asked for at once.
const REQUESTS_MAX: usize = 8;
/// How long an id that the registry does not have is not asked for again: garbage names one with each record. A producer
/// has its schema registered before it writes, so nothing waits for this.
const ABSENT: Duration = Duration::from_secs(10);

enum Known<T> {
    Fit(T),
    /// Why no record of it can be decoded.
    Unfit(String),
    Absent(Instant),
}

struct Entry<T> {
    known: Known<T>,
    /// The last batch that named it.
    batch: u64,
}

pub(crate) struct Registered<T> {
    registry: SchemaRegistry,
    kind: Kind,
    known: HashMap<u32, Entry<T>>,
    batch: u64,
}

/// Records by the schema they name, in order.
pub(crate) struct Groups(pub(crate) Vec<(u32, Vec<u32>)>);

impl<T> Registered<T> {
    pub(crate) fn new(options: &Options, kind: Kind) -> Result<Self> {
        Ok(Self { registry: SchemaRegistry::new(options)?, kind, known: HashMap::new(), batch: 0 })
    }

    /// Knows a schema without a registry.
    #[cfg(test)]
    pub(crate) fn put(&mut self, id: u32, known: Result<T, String>) {
        let known = known.map_or_else(Known::Unfit, Known::Fit);
        self.known.insert(id, Entry { known, batch: self.batch });
    }

    /// Fetches what these values name and is not known. `compile` makes of a schema what decodes, or says why nothing can.
    ///
    /// # Errors
    /// `Unreachable` where the registry cannot be asked; no record is to blame.
    pub(crate) async fn prepare<'a>(
        &mut self,
        columns: impl Iterator<Item = &'a ByteColumn>,
        compile: impl Fn(&Schema) -> Result<T, String>,
    ) -> Result<()> {
        let wanted = self.look(columns);
        if wanted.is_empty() {
            return Ok(());
        }
        let registry = &self.registry;
        let ask = |id: u32| async move { registry.schema(id).await.map(|schema| (id, schema)) };
        let found: Vec<_> = stream::iter(wanted).map(ask).buffer_unordered(REQUESTS_MAX).try_collect().await?;
        for (id, schema) in found {
            let known = match schema {
                None => Known::Absent(instant()),
                Some(schema) if schema.kind != self.kind => {
                    Known::Unfit(format!("schema {id} is {}, not {}", schema.kind, self.kind))
                }
                Some(schema) => match compile(&schema) {
                    Ok(ready) => Known::Fit(ready),
                    Err(reason) => Known::Unfit(format!("schema {id}: {reason}")),
                },
            };
            self.known.insert(id, Entry { known, batch: self.batch });
        }
        self.forget();
        Ok(())
    }

    /// Which ids are to be asked for.
    fn look<'a>(&mut self, columns: impl Iterator<Item = &'a ByteColumn>) -> BTreeSet<u32> {
        self.batch += 1;
        let (mut wanted, mut last) = (BTreeSet::new(), None);
        for value in columns.flat_map(|values| (0..values.len()).filter_map(|at| values.get(at))) {
            let Ok((id, _)) = wire::split(value) else { continue };
            if last.replace(id) == Some(id) {
                continue;
            }
            match self.known.get_mut(&id) {
                Some(Entry { known: Known::Absent(since), .. }) if since.elapsed() >= ABSENT => {
                    wanted.insert(id);
                }
                Some(entry) => entry.batch = self.batch,
                None => {
                    wanted.insert(id);
                }
            }
        }
        wanted
    }

    fn forget(&mut self) {
        let excess = self.known.len().saturating_sub(KNOWN_MAX);
        if excess == 0 {
            return;
        }
        // Those of this batch stay, however many they are.
        let mut older: Vec<(u64, u32)> = self.known.iter().map(|(id, entry)| (entry.batch, *id)).collect();
        older.retain(|(batch, _)| *batch < self.batch);
        older.sort_unstable();
        for (_, id) in older.into_iter().take(excess) {
            self.known.remove(&id);
        }
    }

    /// What decodes the records of this schema.
    ///
    /// # Errors
    /// The reason why nothing does.
    pub(crate) fn get(&mut self, id: u32) -> Result<Result<&mut T, String>> {
        match self.known.get_mut(&id).map(|entry| &mut entry.known) {
            Some(Known::Fit(ready)) => Ok(Ok(ready)),
            Some(Known::Unfit(reason)) => Ok(Err(reason.clone())),
            Some(Known::Absent(_)) => Ok(Err(format!("schema {id} is not in the registry"))),
            None => Err(Error::internal(format!("schema {id} was not fetched before its records were decoded"))),
        }
    }
}

impl Groups {
    /// Of the values at these places. Those that name no schema are rejected.
    pub(crate) fn of(
        values: &ByteColumn,
        at: impl Iterator<Item = usize>,
        rejected: &mut Vec<Rejected>,
    ) -> Result<Self> {
        let mut groups: Vec<(u32, Vec<u32>)> = Vec::new();
        let mut last = 0;
        for at in at {
            let record = u32::try_from(at).map_err(Error::internal)?;
            match wire::split(values.get(at).unwrap_or_default()) {
                Ok((id, _)) => {
                    if groups.get(last).is_none_or(|(other, _)| *other != id) {
                        last = groups.iter().position(|(other, _)| *other == id).unwrap_or(groups.len());
                    }
                    match groups.get_mut(last) {
                        Some((_, group)) => group.push(record),
                        None => groups.push((id, vec![record])),
                    }
                }
                Err(reason) => rejected.push(Rejected { record, reason }),
            }
        }
        Ok(Self(groups))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_step_names_is_known_until_it_is_decoded_and_what_is_older_goes() {
        let mut options = Options::default();
        options.set("schema_registry", "http://127.0.0.1:1");
        let mut schemas: Registered<()> = Registered::new(&options, Kind::Avro).expect("options fit");
        let column = |ids: std::ops::Range<u32>| {
            let mut column = ByteColumn::default();
            ids.for_each(|id| column.push(Some(&wire::prefix(id))));
            column
        };
        // Two splits of one step, with more ids between them than are kept.
        let splits = [column(0..800), column(800..1_600)];
        let wanted = schemas.look(splits.iter());
        assert_eq!(wanted.len(), 1_600);
        wanted.into_iter().for_each(|id| schemas.put(id, Err("none".to_owned())));
        schemas.forget();
        assert!((0..1_600).all(|id| schemas.get(id).is_ok()), "an id of this step was forgotten");
        assert!(schemas.look([column(1_599..1_700)].iter()).len() == 100);
        schemas.forget();
        assert_eq!(schemas.known.len(), KNOWN_MAX);
        assert!(schemas.get(1_599).is_ok());
    }
}
