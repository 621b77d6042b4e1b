//! The generator as a source: which offsets exist now, and reading them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use ebap_connector::{
    Error, Offset, Records, Result, Source, SourceContext, SourceReader, SplitBounds, SplitId, SplitState, SplitStatus,
    time::{Clock, SystemClock},
};

use crate::{Generator, GeneratorOptions, StartTime};

/// Builds the source of a stream with `connector = 'generator'`.
///
/// `start` is `earliest` (the default) or `latest`; where rows begin with the one due now both
/// mean that one.
///
/// # Errors
/// `Option` for an unknown option or a bad value, `Schema` for a column that cannot be filled.
pub fn source(context: &SourceContext) -> Result<Arc<dyn Source>> {
    Ok(Arc::new(GeneratorSource::new(context, SystemClock::shared())?))
}

/// When a row comes to exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    /// All do from the start.
    AtOnce,
    /// All do, but each reader gets them no faster than the rate.
    Throttled,
    /// When the clock has passed its frontier.
    ByClock,
    /// When it is read: without rate and end there is always one more.
    ByReading,
}

/// What source and readers share.
#[derive(Debug)]
struct Lanes {
    generator: Generator,
    arrival: Arrival,
    lanes: Vec<Lane>,
}

#[derive(Debug)]
struct Lane {
    split: SplitId,
    /// First offset that has been asked for, where rows begin with the one due now; else 0.
    earliest: AtomicI64,
    /// Behind the furthest record read; counts for `Arrival::ByReading` alone.
    read: AtomicI64,
}

struct GeneratorSource {
    shared: Arc<Lanes>,
    latest: bool,
    clock: Arc<dyn Clock>,
}

struct GeneratorReader {
    shared: Arc<Lanes>,
    clock: Arc<dyn Clock>,
    assigned: BTreeMap<SplitId, Reading>,
    key: Vec<u8>,
    value: Vec<u8>,
    /// Which of the wanted splits comes first, so that none starves when there are more of them than rows.
    turn: usize,
}

struct Reading {
    lane: u32,
    next: Offset,
    /// Where and when this reading began, for `Arrival::Throttled`.
    began_at: Offset,
    began_us: i64,
}

impl GeneratorSource {
    fn new(context: &SourceContext, clock: Arc<dyn Clock>) -> Result<Self> {
        let latest = match context.options.get("start") {
            None | Some("earliest") => false,
            Some("latest") => true,
            Some(other) => return Err(Error::option("start", format!("\"{other}\" is neither earliest nor latest"))),
        };
        let generator = Generator::new(GeneratorOptions::from_context(context)?)?;
        let options = generator.options();
        let arrival = match (options.rate, generator.rows()) {
            (Some(_), Some(_)) if options.start_time == StartTime::Unset => Arrival::Throttled,
            (Some(_), _) => Arrival::ByClock,
            (None, Some(_)) => Arrival::AtOnce,
            (None, None) => Arrival::ByReading,
        };
        let due = if generator.starts_now() { generator.rows_due(clock.now_us()) } else { 0 };
        let lanes = (0..options.splits)
            .map(|split| Lane {
                split: SplitId::new(split.to_string()),
                earliest: AtomicI64::new(offset_of(generator.rows_in_split(split, due))),
                read: AtomicI64::new(0),
            })
            .collect();
        Ok(Self { shared: Arc::new(Lanes { generator, arrival, lanes }), latest, clock })
    }
}

impl Lanes {
    fn find(&self, split: &SplitId) -> Result<u32> {
        let found = self.lanes.iter().position(|lane| lane.split == *split);
        let found = found.and_then(|found| u32::try_from(found).ok());
        found.ok_or_else(|| Error::internal(format!("the generator has no split \"{split}\"")))
    }

    /// Behind the last record of the split that exists.
    fn end(&self, lane: u32, now_us: i64) -> Offset {
        let rows = match self.arrival {
            Arrival::AtOnce | Arrival::Throttled => self.generator.rows().unwrap_or(0),
            Arrival::ByClock => self.generator.rows_due(now_us),
            Arrival::ByReading => return Offset(self.lanes[lane as usize].read.load(Ordering::Relaxed)),
        };
        Offset(offset_of(self.generator.rows_in_split(lane, rows)))
    }

    /// Behind the last record the split will ever have.
    fn finish(&self, lane: u32) -> Option<Offset> {
        let rows = self.generator.rows()?;
        Some(Offset(offset_of(self.generator.rows_in_split(lane, rows))))
    }
}

#[async_trait]
impl Source for GeneratorSource {
    async fn splits(&self) -> Result<Vec<SplitId>> {
        Ok(self.shared.lanes.iter().map(|lane| lane.split.clone()).collect())
    }

    async fn bounds(&self, split: &SplitId) -> Result<SplitBounds> {
        let lane = self.shared.find(split)?;
        let earliest = Offset(self.shared.lanes[lane as usize].earliest.load(Ordering::Relaxed));
        let end = self.shared.end(lane, self.clock.now_us()).max(earliest);
        Ok(SplitBounds { earliest, end })
    }

    async fn start(&self, split: &SplitId, found_while_running: bool) -> Result<Offset> {
        let bounds = self.bounds(split).await?;
        let latest = self.shared.generator.starts_now() || (self.latest && !found_while_running);
        Ok(if latest { bounds.end } else { bounds.earliest })
    }

    async fn reader(&self) -> Result<Box<dyn SourceReader>> {
        Ok(Box::new(GeneratorReader {
            shared: self.shared.clone(),
            clock: self.clock.clone(),
            assigned: BTreeMap::new(),
            key: Vec::new(),
            value: Vec::new(),
            turn: 0,
        }))
    }

    fn unbounded(&self) -> bool {
        self.shared.generator.rows().is_none()
    }
}

impl GeneratorReader {
    /// Behind the last record that may be given out now.
    fn readable(&self, reading: &Reading, now_us: i64) -> Offset {
        match self.shared.arrival {
            Arrival::ByReading => Offset(i64::MAX),
            Arrival::AtOnce | Arrival::ByClock => self.shared.end(reading.lane, now_us),
            Arrival::Throttled => {
                let since_us = now_us.saturating_sub(reading.began_us).max(0).unsigned_abs();
                let due = offset_of(since_us.saturating_mul(1_000) / self.split_period_ns() + 1);
                Offset(reading.began_at.0.saturating_add(due)).min(self.shared.end(reading.lane, now_us))
            }
        }
    }

    /// Time from one row of a split to its next.
    fn split_period_ns(&self) -> u64 {
        self.shared.generator.period_ns().saturating_mul(self.shared.lanes.len() as u64)
    }

    /// What is readable now. Advances the splits without ever giving up control, so a dropped poll
    /// has either given its records out or left them.
    fn take(&mut self, wanted: &[SplitId], rows_max: usize) -> Result<Vec<Records>> {
        let mut out = Vec::new();
        let mut left = rows_max;
        let now_us = self.clock.now_us();
        self.turn = self.turn.wrapping_add(1);
        for index in 0..wanted.len() {
            let split = &wanted[(index + self.turn) % wanted.len()];
            let reading = self.assigned.get(split).ok_or_else(|| unassigned(split))?;
            let share = left.div_ceil(wanted.len() - index);
            let waiting = self.readable(reading, now_us).0.saturating_sub(reading.next.0).max(0);
            let rows = usize::try_from(waiting).unwrap_or(usize::MAX).min(share);
            if rows > 0 {
                left -= rows;
                out.push(self.read(split, rows)?);
            }
        }
        Ok(out)
    }

    fn read(&mut self, split: &SplitId, rows: usize) -> Result<Records> {
        let reading = self.assigned.get_mut(split).ok_or_else(|| unassigned(split))?;
        let partition = i32::try_from(reading.lane).map_err(Error::internal)?;
        let mut records = Records::new(split.clone(), partition, reading.next);
        for _ in 0..rows {
            let written =
                self.shared.generator.write_record(reading.lane, reading.next, &mut self.key, &mut self.value);
            let key = (!self.key.is_empty()).then_some(self.key.as_slice());
            records.push(reading.next.0, written.frontier.0.div_euclid(1_000), key, Some(&self.value));
            reading.next = records.next_offset;
        }
        self.shared.lanes[reading.lane as usize].read.fetch_max(reading.next.0, Ordering::Relaxed);
        Ok(records)
    }

    /// How long until one of the splits has another record: never shorter than a millisecond, which
    /// is the least a timer can wait.
    fn next_due(&self) -> Duration {
        let period = Duration::from_nanos(self.split_period_ns());
        period.max(Duration::from_millis(1))
    }
}

#[async_trait]
impl SourceReader for GeneratorReader {
    async fn assign(&mut self, split: SplitId, offset: Offset) -> Result<()> {
        if offset.0 < 0 {
            return Err(Error::internal(format!("split \"{split}\" has no offset {offset}")));
        }
        let lane = self.shared.find(&split)?;
        let known = &self.shared.lanes[lane as usize];
        known.earliest.fetch_min(offset.0, Ordering::Relaxed);
        known.read.fetch_max(offset.0, Ordering::Relaxed);
        let reading = Reading { lane, next: offset, began_at: offset, began_us: self.clock.now_us() };
        self.assigned.insert(split, reading);
        Ok(())
    }

    async fn poll(&mut self, wanted: &[SplitId], rows_max: usize, wait: Duration) -> Result<Vec<Records>> {
        let records = self.take(wanted, rows_max)?;
        if !records.is_empty() {
            return Ok(records);
        }
        let finished = self.shared.arrival == Arrival::AtOnce;
        let pause = if finished || wanted.is_empty() { wait } else { wait.min(self.next_due()) };
        self.clock.sleep(pause).await;
        self.take(wanted, rows_max)
    }

    fn status(&self) -> Vec<SplitStatus> {
        let now_us = self.clock.now_us();
        let status = |(split, reading): (&SplitId, &Reading)| {
            let done = self.shared.finish(reading.lane).is_some_and(|finish| reading.next >= finish);
            let state = if done { SplitState::Finished } else { SplitState::Running };
            let end = self.shared.end(reading.lane, now_us).max(reading.next);
            SplitStatus { split: split.clone(), end: Some(end), state }
        };
        self.assigned.iter().map(status).collect()
    }
}

fn offset_of(rows: u64) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

fn unassigned(split: &SplitId) -> Error {
    Error::internal(format!("split \"{split}\" is read before it is assigned"))
}

#[cfg(test)]
mod tests;
