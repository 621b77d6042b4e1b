//! Several streams and tables read as one, for views that join them: one loop, one position, one watermark.
//!
//! A split is named by the place of its source among the others, and its own name: `1/0`. Tables are read to the end
//! that they had at first, before anything of the streams is, so that a stream's rows meet the table and not its
//! beginning.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use ebap_connector::{
    Decoded, Decoder, Offset, Records, Result, Source, SourceReader, SplitBounds, SplitId, SplitStatus,
};

pub(super) struct Member {
    pub(super) source: Arc<dyn Source>,
    pub(super) is_table: bool,
}

pub(super) struct GroupSource(pub(super) Arc<Vec<Member>>);

/// The place of the source among the others, and the split's own name.
pub(crate) fn member_of(split: &SplitId) -> (usize, SplitId) {
    match split.as_str().split_once('/') {
        Some((at, own)) => (at.parse().unwrap_or(0), SplitId::new(own)),
        None => (0, split.clone()),
    }
}

fn named(at: usize, own: &SplitId) -> SplitId {
    SplitId::new(format!("{at}/{}", own.as_str()))
}

#[async_trait]
impl Source for GroupSource {
    async fn splits(&self) -> Result<Vec<SplitId>> {
        let mut all = Vec::new();
        for (at, member) in self.0.iter().enumerate() {
            all.extend(member.source.splits().await?.iter().map(|split| named(at, split)));
        }
        Ok(all)
    }

    async fn bounds(&self, split: &SplitId) -> Result<SplitBounds> {
        let (at, own) = member_of(split);
        self.0[at].source.bounds(&own).await
    }

    async fn start(&self, split: &SplitId, found_while_running: bool) -> Result<Offset> {
        let (at, own) = member_of(split);
        self.0[at].source.start(&own, found_while_running).await
    }

    async fn reader(&self) -> Result<Box<dyn SourceReader>> {
        let mut readers = Vec::with_capacity(self.0.len());
        for member in self.0.iter() {
            readers.push(member.source.reader().await?);
        }
        let (first, at) = (BTreeMap::new(), BTreeMap::new());
        Ok(Box::new(GroupReader { members: Arc::clone(&self.0), readers, first, at, gathered: Vec::new() }))
    }

    fn unbounded(&self) -> bool {
        self.0.iter().any(|member| member.source.unbounded())
    }
}

/// How long one source is waited for before the next is asked.
const TURN: Duration = Duration::from_millis(5);
/// The same, where none has had anything for a while.
const TURN_MAX: Duration = Duration::from_millis(10);

struct GroupReader {
    members: Arc<Vec<Member>>,
    readers: Vec<Box<dyn SourceReader>>,
    /// Of splits of tables the end that comes before the streams.
    first: BTreeMap<SplitId, Offset>,
    at: BTreeMap<SplitId, Offset>,
    /// Records of a turn that is not over. The turn may be given up while the next source is asked.
    gathered: Vec<Records>,
}

#[async_trait]
impl SourceReader for GroupReader {
    async fn assign(&mut self, split: SplitId, offset: Offset) -> Result<()> {
        let (at, own) = member_of(&split);
        if self.members[at].is_table && !self.first.contains_key(&split) {
            let bounds = self.members[at].source.bounds(&own).await?;
            self.first.insert(split.clone(), bounds.end);
        }
        self.gathered.retain(|records| records.split != split);
        self.at.insert(split, offset);
        self.readers[at].assign(own, offset).await
    }

    async fn poll(&mut self, wanted: &[SplitId], rows_max: usize, wait: Duration) -> Result<Vec<Records>> {
        let behind = |split: &&SplitId| self.first.get(split).is_some_and(|end| self.at.get(split) < Some(end));
        let tables: Vec<SplitId> = wanted.iter().filter(behind).cloned().collect();
        let wanted = if tables.is_empty() { wanted.to_vec() } else { tables };
        let mut of: Vec<Vec<SplitId>> = vec![Vec::new(); self.readers.len()];
        for split in &wanted {
            let (at, own) = member_of(split);
            of[at].push(own);
        }
        let asked = of.iter().filter(|splits| !splits.is_empty()).count().max(1);
        let rows = (rows_max / asked).max(1);
        let of: Vec<(usize, Vec<SplitId>)> = of.into_iter().enumerate().filter(|(_, own)| !own.is_empty()).collect();
        let (mut waited, mut slice) = (Duration::ZERO, Duration::ZERO);
        loop {
            for (at, own) in &of {
                // Whoever has something makes the others not wait.
                let slice = if self.gathered.is_empty() { slice } else { Duration::ZERO };
                for mut records in self.readers[*at].poll(own, rows, slice).await? {
                    records.split = named(*at, &records.split);
                    self.at.insert(records.split.clone(), records.next_offset);
                    self.gathered.push(records);
                }
                waited += slice;
            }
            if !self.gathered.is_empty() || waited >= wait {
                return Ok(std::mem::take(&mut self.gathered));
            }
            // One that has nothing must not hold up another that soon has.
            slice = (slice * 2).clamp(TURN, TURN_MAX).min(wait - waited);
        }
    }

    fn status(&self) -> Vec<SplitStatus> {
        let each = self.readers.iter().enumerate();
        each.flat_map(|(at, reader)| {
            reader.status().into_iter().map(move |status| SplitStatus { split: named(at, &status.split), ..status })
        })
        .collect()
    }
}

/// Each source's records by its own decoder.
pub(super) struct GroupDecoder(pub(super) Vec<Box<dyn Decoder>>);

#[async_trait]
impl Decoder for GroupDecoder {
    async fn prepare(&mut self, records: &[&Records]) -> Result<()> {
        for (at, decoder) in self.0.iter_mut().enumerate() {
            let own = records.iter().filter(|records| member_of(&records.split).0 == at);
            decoder.prepare(&own.copied().collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    fn decode(&mut self, records: &Records) -> Result<Decoded> {
        let (at, _) = member_of(&records.split);
        self.0[at].decode(records)
    }
}
