//! Reading a bounded range of a stream again, with lateness as it was decided the first time.

use std::{collections::BTreeMap, sync::Arc};

use ebap_connector::{Decoder, Epoch, Offset, Position, Records, SourceReader, SplitId};

use crate::{
    Result,
    event_time::Decided,
    pipeline::{gaps, runtime::SourceRuntime},
    prepare::{Preparers, StepBatch},
};

pub(crate) struct RangeReader {
    runtime: Arc<SourceRuntime>,
    reader: Box<dyn SourceReader>,
    decoder: Box<dyn Decoder>,
    preparer: Preparers,
    position: Position,
    to: BTreeMap<SplitId, Offset>,
    /// Records that are passed over first.
    missing: Vec<Records>,
}

impl RangeReader {
    pub(crate) async fn open(runtime: Arc<SourceRuntime>, from: &Position) -> Result<Self> {
        let mut reader = runtime.source.reader().await?;
        let missing = gaps::behind(&runtime, from).await?;
        for (split, offset) in &from.0 {
            let passed = missing.iter().find(|records| records.split == *split);
            reader.assign(split.clone(), passed.map_or(*offset, |records| records.next_offset)).await?;
        }
        let all = runtime.everything();
        let (decoder, preparer) = (runtime.decoder(&all)?, runtime.preparer(&all)?);
        Ok(Self { runtime, reader, decoder, preparer, position: from.clone(), to: BTreeMap::new(), missing })
    }

    /// Reads up to here from now on. Splits that were not known start where the stream started them.
    pub(crate) async fn extend(&mut self, to: &Position) -> Result<()> {
        for (split, offset) in &to.0 {
            if self.position.get(split).is_none() {
                let start = self.runtime.start.read().get(split).unwrap_or_default();
                self.position.set(split.clone(), start);
                self.reader.assign(split.clone(), start).await?;
            }
            self.to.insert(split.clone(), *offset);
        }
        Ok(())
    }

    /// The newest of the stream.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.runtime.status.epoch())
    }

    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// The next rows; `None` at the end of the range.
    pub(crate) async fn next(&mut self) -> Result<Option<StepBatch>> {
        loop {
            let behind = |split: &SplitId| self.to.get(split).is_some_and(|to| self.position.get(split) < Some(*to));
            let wanted: Vec<SplitId> = self.position.0.keys().filter(|split| behind(split)).cloned().collect();
            if wanted.is_empty() {
                return Ok(None);
            }
            let config = &self.runtime.config;
            let mut read = std::mem::take(&mut self.missing);
            if read.is_empty() {
                read = self.reader.poll(&wanted, config.step_rows_max, config.step_wait * 10).await?;
            }
            let mut splits = Vec::new();
            for records in read {
                let Some(to) = self.to.get(&records.split).copied() else { continue };
                // A gap is passed over as a whole.
                let to = if records.missed > 0 { to.max(records.next_offset) } else { to };
                let Some(records) = self.cut(records, to).await? else { continue };
                self.decoder.prepare(&[&records]).await?;
                let decoded = self.decoder.decode(&records)?;
                let log = self.runtime.late_log.read();
                let now_us = self.runtime.clock.now_us();
                let (split, _) = self.preparer.prepare(&records, decoded, Decided::Logged(&log), now_us)?;
                drop(log);
                self.position.set(records.split.clone(), records.next_offset.min(to));
                splits.push(split);
            }
            if !splits.is_empty() {
                return Ok(Some(StepBatch { splits, position: self.position.clone() }));
            }
        }
    }

    /// Leaves out what lies beyond the end; those records are read again if the end moves on.
    async fn cut(&mut self, records: Records, to: Offset) -> Result<Option<Records>> {
        if records.next_offset <= to {
            return Ok(Some(records));
        }
        let at = self.position.get(&records.split).unwrap_or_default();
        if at >= to {
            return Ok(None);
        }
        let mut kept = Records::new(records.split.clone(), records.partition, to);
        for index in 0..records.len() {
            if records.offsets[index] >= to.0 {
                break;
            }
            let (key, value) = (records.keys.get(index), records.values.get(index));
            kept.push(records.offsets[index], records.timestamps_ms[index], key, value);
        }
        kept.header.clone_from(&records.header);
        kept.next_offset = to;
        self.reader.assign(records.split, to).await?;
        Ok(Some(kept))
    }
}
