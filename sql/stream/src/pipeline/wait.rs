//! Records that cannot be decoded yet, since what says how cannot be asked: the schemas of a registry.
//!
//! # Invariants
//! - They are kept and given to the next step as they are. Until then the position stands before them, nothing else is
//!   read, and no time passes for idle splits.

use std::time::Duration;

use ebap_connector::{Records, SplitId, time::Backoff};

use super::Pipeline;
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

impl Pipeline {
    /// What the next step takes; none where nothing can be decoded now.
    pub(super) async fn next_records(&mut self) -> Result<Option<Vec<Records>>> {
        let (rows, wait) = (self.runtime.config.step_rows_max, self.runtime.config.step_wait);
        let (records, mut backoff) = match self.waiting.take() {
            Some(waiting) => {
                let left_us = waiting.until_us - self.runtime.clock.now_us();
                if left_us > 0 {
                    self.waiting = Some(waiting);
                    self.runtime.clock.sleep(wait.min(Duration::from_micros(left_us.unsigned_abs()))).await;
                    return Ok(None);
                }
                (waiting.records, Some(waiting.backoff))
            }
            None => {
                let wanted = self.wanted();
                if wanted.is_empty() {
                    self.runtime.clock.sleep(wait).await;
                    return Ok(Some(Vec::new()));
                }
                (self.reader.poll(&wanted, rows, wait).await?, None)
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
