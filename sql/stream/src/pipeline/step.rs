//! One turn of the loop.

use std::sync::Arc;

use ebap_connector::{DeadLetter, Records};

use super::{Pipeline, ViewState, lanes::Prepared};
use crate::{
    Result,
    accounting::Counts,
    guard::guarded,
    late_log::LateRun,
    prepare::{SplitBatch, StepBatch},
    sinks::RowsSinkJob,
};

impl Pipeline {
    /// Takes records, gives their rows to every job, raises the watermark and closes windows.
    pub(super) async fn step(&mut self, records: Vec<Records>) -> Result<()> {
        let now_us = self.runtime.clock.now_us();
        // Lateness is decided against the watermark before the step: rows read together do not make
        // each other late.
        let watermark = self.watermarks.current();
        let (mut splits, mut letters) = (Vec::new(), Vec::new());
        let mut records = records;
        records.retain(|records| !records.is_empty() || records.next_offset > self.offset(&records.split));
        for Prepared { records, split, letters: mut rejected, time } in
            self.lanes.prepare(records, watermark, now_us).await?
        {
            self.figures.input.took(records.len(), split.batch.num_rows(), time);
            self.take_in(&records, &split, watermark.0, now_us);
            letters.append(&mut rejected);
            splits.push(split);
        }
        self.deliver(letters).await?;
        if !splits.is_empty() {
            self.figures.steps += 1;
            self.dirty = true;
            let step = StepBatch { splits, position: self.position.clone() };
            let failed = {
                let gate = Arc::clone(&self.runtime.gate);
                let shared = gate.read();
                let failed = self.run_jobs(&step);
                drop(shared);
                failed
            };
            // Jobs have the step; now readers of the position may rely on it.
            self.runtime.published.send_replace(self.position.clone());
            for id in failed {
                self.start_behind_bad_rows(id).await?;
            }
        }
        let advanced = self.watermarks.advance(now_us);
        if advanced > watermark {
            self.dirty = true;
            self.close_windows(advanced.0);
        } else if self.views.values().any(|view| view.follows_clock()) {
            self.close_windows(advanced.0);
        }
        Ok(())
    }

    /// Notes where the stream stands behind these records.
    fn take_in(&mut self, records: &Records, split: &SplitBatch, watermark: i64, now_us: i64) {
        self.position.set(records.split.clone(), records.next_offset);
        if split.consumed > 0 {
            self.watermarks.observe(&records.split, split.newest, now_us);
        }
        self.watermarks.count_future(&records.split, split.future);
        if split.late > 0 || split.future > 0 {
            let read_at_us = (split.future > 0).then_some(now_us);
            let run = LateRun { start: split.offsets.0, end: split.offsets.1, watermark, read_at_us };
            self.runtime.late_log.write().record(&records.split, run);
        }
        let counts = Counts {
            consumed: split.consumed,
            emitted: split.consumed - split.rejected - split.skipped - split.missed,
            dead_lettered: split.rejected,
            filtered: split.skipped,
            late: 0,
            failed: 0,
            missed: split.missed,
        };
        self.accounting.add(&records.split, counts);
        metrics::counter!("ebap_records_total", "stream" => self.name().to_owned())
            .increment(split.consumed - split.missed);
        metrics::counter!("ebap_late_rows_total", "stream" => self.name().to_owned()).increment(split.late);
        metrics::counter!("ebap_dead_letters_total", "stream" => self.name().to_owned()).increment(split.rejected);
    }

    async fn deliver(&mut self, letters: Vec<DeadLetter>) -> Result<()> {
        if letters.is_empty() {
            return Ok(());
        }
        if let Some(writer) = &mut self.dead_letters {
            writer.write(&letters).await?;
            self.letters_since_us.get_or_insert(self.runtime.clock.now_us());
        }
        self.dead_letters_changed = true;
        let mut ring = self.runtime.dead_letters.lock();
        ring.extend(letters);
        let excess = ring.len().saturating_sub(self.runtime.config.dead_letters_max);
        ring.drain(..excess);
        Ok(())
    }

    /// Gives the views whose state has half of the step now, and which are to go on without the rows that it fails for.
    fn run_jobs(&mut self, step: &StepBatch) -> Vec<u64> {
        let now_us = self.runtime.clock.now_us();
        let mut again = Vec::new();
        for (id, view) in &mut self.views {
            let wanted = view.wants_changes();
            let ViewState::Running(job) = &mut view.state else { continue };
            match guarded(|| job.process(step, wanted)) {
                Ok(changes) => {
                    view.tell(&changes, &step.position, now_us);
                }
                Err(error) => {
                    if view.fail_at_rows(&error) {
                        again.push(*id);
                    }
                }
            }
        }
        let slow = |(id, sink): (&u64, &mut RowsSinkJob)| Some((*id, sink.write(step, now_us)?));
        let slow: Vec<_> = self.sinks.iter_mut().filter_map(slow).collect();
        for (id, (sink, from)) in slow {
            self.catch_sink_up(id, Box::new(sink), from);
        }
        again
    }

    fn close_windows(&mut self, watermark: i64) {
        let gate = Arc::clone(&self.runtime.gate);
        let _shared = gate.read();
        let now_us = self.runtime.clock.now_us();
        for view in self.views.values_mut() {
            let wanted = view.wants_changes();
            let ViewState::Running(job) = &mut view.state else { continue };
            match guarded(|| job.advance(watermark, wanted)) {
                Ok(changes) => {
                    view.tell(&changes, &self.position, now_us);
                }
                Err(error) => view.fail(&error),
            }
        }
    }
}
