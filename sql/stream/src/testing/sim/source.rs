//! A source that follows its script: splits that appear, lag, go idle; an outside that goes away.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use ebap_connector::{
    Error, Offset, Records, Result, Source, SourceReader, SplitBounds, SplitId, SplitState, SplitStatus, time::Clock,
};

use super::{
    script::SplitScript,
    world::{Point, Process},
};

#[derive(Debug)]
pub(super) struct SimSource {
    pub(super) process: Arc<Process>,
    /// Name of the stream or table.
    pub(super) name: String,
}

impl SimSource {
    fn now_us(&self) -> i64 {
        self.process.world.clock.now_us()
    }

    fn split(&self, split: &SplitId) -> Option<&SplitScript> {
        let mut all = self.process.world.script.of(&self.name).iter();
        all.find(|one| one.name == split.as_str())
    }

    async fn asked(&self) -> Result<()> {
        self.process.pass(Point::Anywhere).await;
        if self.process.world.script.away(self.now_us()) {
            return Err(Error::unreachable("the source", "nobody answers"));
        }
        Ok(())
    }
}

#[async_trait]
impl Source for SimSource {
    async fn splits(&self) -> Result<Vec<SplitId>> {
        self.asked().await?;
        let now_us = self.now_us();
        let splits = self.process.world.script.of(&self.name).iter().filter(|split| split.appears_us <= now_us);
        Ok(splits.map(|split| SplitId::new(split.name.as_str())).collect())
    }

    async fn bounds(&self, split: &SplitId) -> Result<SplitBounds> {
        self.asked().await?;
        let end = self.split(split).map_or(0, |split| split.end(self.now_us()));
        Ok(SplitBounds { earliest: Offset(0), end: Offset(end) })
    }

    async fn start(&self, _: &SplitId, _: bool) -> Result<Offset> {
        self.asked().await?;
        Ok(Offset(0))
    }

    async fn reader(&self) -> Result<Box<dyn SourceReader>> {
        let source = Self { process: Arc::clone(&self.process), name: self.name.clone() };
        Ok(Box::new(SimReader { source, at: BTreeMap::new() }))
    }
}

struct SimReader {
    source: SimSource,
    /// Next offset per split.
    at: BTreeMap<SplitId, i64>,
}

impl SimReader {
    /// What is there now, cut where chance wants it.
    fn take(&mut self, wanted: &[SplitId], rows_max: usize) -> Vec<Records> {
        let (now_us, world) = (self.source.now_us(), Arc::clone(&self.source.process.world));
        if world.script.away(now_us) {
            return Vec::new();
        }
        let mut out = Vec::new();
        for name in wanted {
            let (Some(at), Some(split)) = (self.at.get_mut(name), self.source.split(name)) else { continue };
            let most = {
                let mut random = world.random.lock();
                // Now and then a split has nothing to say although it has more.
                if random.chance(200) { 0 } else { random.within(1, rows_max as i64) as usize }
            };
            let first = split.records.partition_point(|record| record.offset < *at);
            let last = split.visible(now_us).min(first + most / wanted.len().max(1));
            let partition = name.as_str().parse().unwrap_or(0);
            let mut records = Records::new(name.clone(), partition, Offset(*at));
            for record in split.records.get(first..last).unwrap_or_default() {
                records.push(record.offset, record.at_us / 1_000, None, Some(record.bytes.as_bytes()));
                records.next_offset = Offset(record.next);
            }
            if !records.is_empty() {
                *at = records.next_offset.0;
                out.push(records);
            }
        }
        out
    }
}

#[async_trait]
impl SourceReader for SimReader {
    async fn assign(&mut self, split: SplitId, offset: Offset) -> Result<()> {
        self.source.process.pass(Point::Anywhere).await;
        self.at.insert(split, offset.0);
        Ok(())
    }

    async fn poll(&mut self, wanted: &[SplitId], rows_max: usize, wait: Duration) -> Result<Vec<Records>> {
        let process = Arc::clone(&self.source.process);
        process.pass(Point::Anywhere).await;
        let answer_us = process.world.random.lock().below(20_000);
        process.world.clock.sleep(Duration::from_micros(answer_us)).await;
        let mut read = self.take(wanted, rows_max);
        if read.is_empty() {
            process.world.clock.sleep(wait).await;
            read = self.take(wanted, rows_max);
        }
        Ok(read)
    }

    fn status(&self) -> Vec<SplitStatus> {
        let now_us = self.source.now_us();
        let away = self.source.process.world.script.away(now_us);
        let status = self.at.keys().map(|split| SplitStatus {
            split: split.clone(),
            end: self.source.split(split).map(|split| Offset(split.end(now_us))),
            state: if away { SplitState::Retrying("nobody answers".to_owned()) } else { SplitState::Running },
        });
        status.collect()
    }
}
