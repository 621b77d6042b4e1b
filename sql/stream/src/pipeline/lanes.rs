//! The splits of a step, decoded on several cores at once.
//!
//! Each lane has a decoder of its own; splits go to the lane that has the least to do. Lanes meet before
//! the watermark and the jobs see anything of the step, so a step is what it would be on one core.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ebap_connector::{DeadLetter, Decoder, EventTime, Records, Wanted, time::instant};

use super::SourceRuntime;
use crate::{
    Error, Result,
    checkpoint::apart,
    event_time::Decided,
    prepare::{Preparers, SplitBatch},
};

/// Fewer records than this are not worth a lane.
const ROWS_MIN: usize = if cfg!(test) { 16 } else { 4_096 };

pub(super) struct Lanes {
    decoders: Vec<Box<dyn Decoder>>,
    preparer: Arc<Preparers>,
}

/// Records of a split and what became of them.
pub(super) struct Prepared {
    pub(super) records: Records,
    pub(super) split: SplitBatch,
    pub(super) letters: Vec<DeadLetter>,
    pub(super) time: Duration,
}

/// Where in the step they stand, and the records.
type Part = Vec<(usize, Records)>;
type Done = Vec<(usize, Prepared)>;

impl Lanes {
    pub(super) fn new(runtime: &SourceRuntime, wanted: &[Wanted]) -> Result<Self> {
        let decoders = (0..runtime.config.lanes.max(1)).map(|_| runtime.decoder(wanted));
        Ok(Self { decoders: decoders.collect::<Result<_>>()?, preparer: Arc::new(runtime.preparer(wanted)?) })
    }

    /// Fetches what is needed to decode these records.
    ///
    /// # Errors
    /// Where it cannot be fetched now.
    pub(super) async fn fetch(&mut self, records: &[Records]) -> ebap_connector::Result<()> {
        let records: Vec<&Records> = records.iter().collect();
        // Which of them comes to which lane is not known yet.
        for decoder in &mut self.decoders {
            decoder.prepare(&records).await?;
        }
        Ok(())
    }

    /// Gives what came of each split, in their order.
    pub(super) async fn prepare(
        &mut self,
        records: Vec<Records>,
        watermark: EventTime,
        now_us: i64,
    ) -> Result<Vec<Prepared>> {
        let mut parts = self.spread(records).into_iter();
        let own = parts.next().unwrap_or_default();
        let mut others = Vec::new();
        for part in parts {
            // It comes back with what it has decoded.
            let Some(decoder) = self.decoders.pop() else { break };
            let preparer = Arc::clone(&self.preparer);
            others.push(tokio::task::spawn_blocking(move || {
                let mut decoder = decoder;
                let done = lane(decoder.as_mut(), &preparer, part, watermark, now_us);
                (decoder, done)
            }));
        }
        let (decoder, preparer) = (&mut self.decoders[0], &self.preparer);
        let run = || lane(decoder.as_mut(), preparer, own, watermark, now_us);
        let mut all = if others.is_empty() { run()? } else { apart(run)? };
        for other in others {
            let (decoder, done) = other.await.map_err(|error| Error::Internal(error.to_string()))?;
            self.decoders.push(decoder);
            all.extend(done?);
        }
        all.sort_unstable_by_key(|(at, _)| *at);
        Ok(all.into_iter().map(|(_, prepared)| prepared).collect())
    }

    /// Which lane takes which splits: the largest first, each to the lane with the fewest records.
    fn spread(&self, records: Vec<Records>) -> Vec<Part> {
        let rows: usize = records.iter().map(Records::len).sum();
        let lanes = self.decoders.len().min(records.len()).min(rows / ROWS_MIN).max(1);
        let mut all: Part = records.into_iter().enumerate().collect();
        if lanes == 1 {
            return vec![all];
        }
        all.sort_by_key(|(_, records)| std::cmp::Reverse(records.len()));
        let mut parts: Vec<(usize, Part)> = (0..lanes).map(|_| (0, Part::new())).collect();
        for (at, records) in all {
            if let Some(least) = parts.iter_mut().min_by_key(|(rows, _)| *rows) {
                least.0 += records.len();
                least.1.push((at, records));
            }
        }
        parts.into_iter().map(|(_, part)| part).collect()
    }
}

fn lane(
    decoder: &mut dyn Decoder,
    preparer: &Preparers,
    part: Part,
    watermark: EventTime,
    now_us: i64,
) -> Result<Done> {
    let one = |(at, records): (usize, Records)| {
        let begun: Instant = instant();
        let decoded = decoder.decode(&records)?;
        let (split, letters) = preparer.prepare(&records, decoded, Decided::Live { watermark, now_us }, now_us)?;
        Ok((at, Prepared { records, split, letters, time: begun.elapsed() }))
    };
    part.into_iter().map(one).collect()
}
