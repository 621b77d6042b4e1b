//! Records that cannot be decoded yet, since what says how cannot be asked: the schemas of a registry.
//!
//! # Invariants
//! - They are kept and given to the next step as they are. Until then the position stands before them, nothing else is
//!   read, and no time passes for idle splits.

use std::time::Duration;

use ebap_connector::{Records, SplitId, SplitStatus, time::Backoff};
use tokio::sync::mpsc;

use super::{Command, Pipeline, ViewSlot, ViewState, micros, or_command};
use crate::Result;

pub(super) struct Waiting {
    records: Vec<Records>,
    until_us: i64,
    backoff: Backoff,
    message: String,
}

impl Waiting {
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn holds(&self, split: &SplitId) -> bool {
        self.records.iter().any(|records| records.split == *split)
    }
}

/// Steps without work after which a job is idle: it waits longer, and brings `ebap.jobs` up to date more rarely.
const IDLE_STEPS: u32 = 20;
/// Where something is decided by the clock.
const CLOCK_WAIT: Duration = Duration::from_millis(100);
/// A step costs each view something, however few its rows are: with many views, records gather for so long per view.
const GATHER_PER_VIEW: Duration = Duration::from_micros(500);
const GATHER_MAX: Duration = Duration::from_millis(100);

impl Pipeline {
    /// The time that the next step waits for records. It grows while nothing comes, so that a thousand idle jobs cost
    /// next to nothing. Records and commands end it at once.
    fn wait(&self) -> Duration {
        let config = &self.runtime.config;
        let waited_for = self.dirty
            || self.writing.is_some()
            || self.forced.is_some()
            || !self.flushes.is_empty()
            || self.views.values().any(ViewSlot::is_under_way)
            || self.sinks.values().any(|sink| !sink.head.settled());
        if waited_for || !self.is_idle() {
            return config.step_wait;
        }
        let by_clock = self.views.values().any(|view| view.follows_clock() || !view.alerts.is_empty());
        let most = if by_clock { CLOCK_WAIT.min(config.idle_wait_max) } else { config.idle_wait_max };
        config.step_wait.saturating_mul(self.idle_steps - IDLE_STEPS + 1).min(most).max(config.step_wait)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.idle_steps >= IDLE_STEPS
    }

    /// Lets records gather before the next step, where this one gave many views few rows and the source has no more.
    pub(super) fn gather_behind(&mut self, rows: usize) {
        let running = self.views.values().filter(|view| matches!(view.state, ViewState::Running(_))).count();
        let pause = GATHER_PER_VIEW.saturating_mul(u32::try_from(running).unwrap_or(u32::MAX)).min(GATHER_MAX);
        let here = |split: &SplitId| self.offset(split).0;
        let more = |status: &SplitStatus| status.end.map_or(0, |end| end.0.saturating_sub(here(&status.split)).max(0));
        let gathers = rows > 0
            && pause > self.runtime.config.step_wait
            && self.reader.status().iter().map(more).sum::<i64>() <= rows as i64;
        self.gather_until_us = if gathers { self.runtime.clock.now_us() + micros(pause) } else { i64::MIN };
    }

    /// Waits until they have. A command ends it, and it goes on behind the command; for `FLUSH` it does not.
    async fn gather(&mut self, inbox: &mut mpsc::Receiver<Command>) {
        let left_us = self.gather_until_us.saturating_sub(self.runtime.clock.now_us());
        if left_us > 0 && self.flushes.is_empty() && self.forced.is_none() {
            let pause = self.runtime.clock.sleep(Duration::from_micros(left_us.unsigned_abs()));
            self.early = or_command(inbox, pause).await.err();
        }
    }

    /// What the next step takes; none where nothing can be decoded now.
    pub(super) async fn next_records(&mut self, inbox: &mut mpsc::Receiver<Command>) -> Result<Option<Vec<Records>>> {
        self.gather(inbox).await;
        if self.early.is_some() {
            return Ok(None);
        }
        let (rows, wait) = (self.runtime.config.step_rows_max, self.wait());
        let (records, mut backoff) = match self.waiting.take() {
            Some(waiting) => {
                let left_us = waiting.until_us - self.runtime.clock.now_us();
                if left_us > 0 {
                    self.waiting = Some(waiting);
                    let pause = self.runtime.clock.sleep(wait.min(Duration::from_micros(left_us.unsigned_abs())));
                    self.early = or_command(inbox, pause).await.err();
                    return Ok(None);
                }
                (waiting.records, Some(waiting.backoff))
            }
            None => {
                let wanted = self.wanted();
                if wanted.is_empty() {
                    self.early = or_command(inbox, self.runtime.clock.sleep(wait)).await.err();
                    return Ok(Some(Vec::new()));
                }
                let read = self.reader.poll(&wanted, rows, wait);
                if wait <= self.runtime.config.step_wait {
                    (read.await?, None)
                } else {
                    match or_command(inbox, read).await {
                        Ok(records) => (records?, None),
                        Err(command) => {
                            self.early = Some(command);
                            return Ok(None);
                        }
                    }
                }
            }
        };
        let Err(error) = self.lanes.fetch(&records).await else {
            if backoff.is_some() {
                tracing::info!(stream = self.name(), "goes on");
                self.watermarks.wake(self.runtime.clock.now_us());
            }
            return Ok(Some(records));
        };
        if backoff.is_none() {
            tracing::warn!(stream = self.name(), %error, "the stream waits");
        }
        let config = &self.runtime.config;
        let mut backoff = backoff.take().unwrap_or_else(|| Backoff::new(config.backoff_first, config.backoff_max));
        let until_us = self.runtime.clock.now_us() + backoff.advance().as_micros() as i64;
        self.waiting = Some(Waiting { records, until_us, backoff, message: error.to_string() });
        Ok(None)
    }
}
