//! Opening a pipeline at its newest epoch, and making the next one durable.

use std::{collections::BTreeMap, sync::Arc};

use ebap_connector::{DeadLetter, Epoch, Position};
use ebap_sql::Run;
use tokio::sync::mpsc;

use super::{Command, JobSet, PAUSE_US, Pipeline, SourceRuntime, ViewSlot, ViewState, micros, pause::restore};
use crate::{
    Result,
    accounting::Accounting,
    checkpoint::{CheckpointStore, FORMAT, Held, JobFiles, Manifest},
    late_log::{LateLog, LateRuns},
    status::CheckpointInfo,
    view::ViewJob,
    watermark::Watermarks,
};

/// Files of the late log after which they are written as one.
const LATE_FILES_MAX: usize = 100;
/// Epochs between two looks at how much memory the states take.
const MEMORY_CHECK_EPOCHS: u64 = 10;

impl Pipeline {
    /// At the newest epoch, or at the beginning.
    pub(super) async fn open(
        runtime: Arc<SourceRuntime>,
        checkpoints: CheckpointStore,
        jobs: &JobSet,
        commands: mpsc::Sender<Command>,
        generation: u64,
    ) -> Result<Self> {
        let manifest = checkpoints.newest().await?;
        let now_us = runtime.clock.now_us();
        let plan = Arc::clone(&runtime.plan);
        let delay_us = plan.watermark.map_or(0, |watermark| watermark.delay_us);
        let mut dead_letters = runtime.dead_letter_writer()?;
        if let Some(writer) = &mut dead_letters {
            let token = manifest.as_ref().and_then(|manifest| manifest.dead_letter_token.as_deref());
            writer.open(token).await?;
        }
        let mut pipeline = Self {
            checkpoints,
            commands,
            generation,
            incarnation: manifest.as_ref().map_or(0, |manifest| manifest.incarnation) + 1,
            reader: runtime.source.reader().await?,
            decoder: runtime.decoder()?,
            preparer: runtime.preparer()?,
            dead_letters,
            dead_letters_changed: false,
            position: Position::default(),
            watermarks: Watermarks::new(delay_us, plan.idle_timeout_us),
            accounting: Accounting::default(),
            views: BTreeMap::new(),
            sinks: BTreeMap::new(),
            paused: jobs.run.paused,
            flushes: Vec::new(),
            epoch: Epoch(0),
            manifest: None,
            dirty: true,
            checkpoint_at_us: now_us,
            discover_at_us: now_us,
            status_at_us: now_us,
            forget_at_us: now_us + super::FORGET_INTERVAL_US,
            runtime,
        };
        match manifest {
            Some(manifest) => pipeline.recover(manifest, jobs).await?,
            None => *pipeline.runtime.late_log.write() = LateLog::default(),
        }
        if !pipeline.paused || pipeline.manifest.is_none() {
            pipeline.discover().await?;
        }
        pipeline.runtime.published.send_replace(pipeline.position.clone());
        pipeline.set_jobs(jobs).await?;
        // The first epoch of this incarnation fences an older instance before anything is read.
        pipeline.dirty = true;
        pipeline.checkpoint(false).await?;
        Ok(pipeline)
    }

    async fn recover(&mut self, manifest: Manifest, jobs: &JobSet) -> Result<()> {
        let now_us = self.runtime.clock.now_us();
        let mut log = LateLog::default();
        for file in &manifest.late_log {
            log.restore(self.checkpoints.read_json::<LateRuns>(file).await?);
        }
        log.rewind(&manifest.position);
        *self.runtime.late_log.write() = log;
        if let Some(file) = &manifest.dead_letters {
            let saved: Vec<SavedLetter> = self.checkpoints.read_json(file).await?;
            *self.runtime.dead_letters.lock() = saved.into_iter().map(SavedLetter::into_letter).collect();
        }
        self.epoch = manifest.epoch;
        self.accounting = manifest.accounting.clone();
        self.watermarks.restore(&manifest.watermarks, now_us);
        *self.runtime.start.write() = manifest.start.clone();
        for (split, offset) in &manifest.position.0 {
            self.position.set(split.clone(), *offset);
            self.watermarks.add(split, now_us);
            self.reader.assign(split.clone(), *offset).await?;
        }
        if let Some(store) = &jobs.table
            && let Some(files) = manifest.jobs.get(&self.runtime.plan.id.0)
        {
            let run = Run { paused: false, ..jobs.run };
            self.recover_view(ViewSlot::new(None, Arc::clone(store), ViewState::CatchingUp, run), files, &manifest)
                .await?;
        }
        for (plan, store) in &jobs.views {
            if let Some(files) = manifest.jobs.get(&plan.id.0) {
                let slot = ViewSlot::new(Some(Arc::clone(plan)), Arc::clone(store), ViewState::CatchingUp, plan.run);
                self.recover_view(slot, files, &manifest).await?;
            }
        }
        self.manifest = Some(manifest);
        Ok(())
    }

    /// A view as its files have it. Where they are not of the manifest's moment it does not run yet.
    async fn recover_view(&mut self, mut slot: ViewSlot, files: &JobFiles, manifest: &Manifest) -> Result<()> {
        let mut job = self.view_job(slot.plan.as_deref(), &slot.store)?;
        let now = Held { position: manifest.position.clone(), watermark: manifest.watermarks.current.0 };
        let at = files.held.clone().unwrap_or_else(|| now.clone());
        restore(&self.checkpoints, &mut job, files, at.watermark).await?;
        let id = job.id.0;
        if slot.run.paused || at.position != now.position {
            slot.hold(Box::new(job), at.clone());
        } else {
            slot.state = ViewState::Running(Box::new(job));
        }
        (slot.files, slot.saved, slot.base_due) = (files.clone(), Some(at), false);
        self.views.insert(id, slot);
        Ok(())
    }

    /// Makes an epoch durable, if there is anything new, then lets the sinks commit.
    pub(super) async fn checkpoint(&mut self, force: bool) -> Result<()> {
        let begun_us = self.runtime.clock.monotonic_us();
        let now_us = self.runtime.clock.now_us();
        let paused = now_us - self.checkpoint_at_us > PAUSE_US;
        self.checkpoint_at_us = now_us + micros(self.runtime.config.checkpoint_interval);
        if self.dirty {
            let bytes = self.write_epoch(paused).await?;
            self.dirty = false;
            let duration_us = self.runtime.clock.monotonic_us() - begun_us;
            let checkpoint = CheckpointInfo { epoch: self.epoch.0, at_us: now_us, duration_us, bytes };
            self.runtime.status.checkpointed(checkpoint);
            metrics::histogram!("ebap_checkpoint_seconds", "stream" => self.name().to_owned())
                .record(duration_us as f64 / 1e6);
            metrics::counter!("ebap_checkpoint_bytes_total", "stream" => self.name().to_owned()).increment(bytes);
        }
        let clock = self.runtime.clock.as_ref();
        for sink in self.sinks.values_mut() {
            sink.checkpoint(self.epoch, force, clock).await;
        }
        // A view that does not run has not read up to here, and neither has its sink.
        for view in self.views.values_mut().filter(|view| matches!(view.state, ViewState::Running(_))) {
            for sink in &mut view.sinks {
                sink.checkpoint(self.epoch, &self.position, force, clock).await;
            }
        }
        if force {
            self.report_now();
            let (done, waiting) =
                std::mem::take(&mut self.flushes).into_iter().partition(|(target, _)| self.reached(target));
            self.flushes = waiting;
            for (_, reply) in done {
                let _ = reply.send(Ok(()));
            }
        }
        Ok(())
    }

    async fn write_epoch(&mut self, paused: bool) -> Result<u64> {
        let epoch = self.epoch.next();
        let mut bytes = 0;
        let dead_letter_token = match &mut self.dead_letters {
            Some(writer) => Some(writer.flush().await?),
            None => None,
        };
        let late_log = self.write_late_log(epoch).await?;
        let dead_letters = self.write_dead_letters(epoch).await?;
        let (jobs, job_bytes) = self.write_jobs(epoch).await?;
        bytes += job_bytes;
        let manifest = Manifest {
            format: FORMAT,
            epoch,
            incarnation: self.incarnation,
            start: self.runtime.start.read().clone(),
            position: self.position.clone(),
            watermarks: self.watermarks.save(),
            late_log,
            dead_letters,
            dead_letter_token,
            accounting: self.accounting.clone(),
            jobs,
            sinks: self.sinks.iter().map(|(id, sink)| (*id, sink.counted().clone())).collect(),
        };
        bytes += self.checkpoints.publish(&manifest, paused).await?;
        self.epoch = epoch;
        if let Some(old) = self.manifest.replace(manifest) {
            let kept: std::collections::HashSet<&String> = self.manifest.iter().flat_map(Manifest::files).collect();
            let gone: Vec<String> = old.files().filter(|file| !kept.contains(file)).cloned().collect();
            self.checkpoints.forget(gone, epoch.0).await;
        }
        Ok(bytes)
    }

    /// The files of every job, those that do not run among them.
    async fn write_jobs(&mut self, epoch: Epoch) -> Result<(BTreeMap<u64, JobFiles>, u64)> {
        let (mut jobs, mut bytes) = (BTreeMap::new(), 0);
        let now = Held { position: self.position.clone(), watermark: self.watermarks.current().0 };
        let check_memory = epoch.0.is_multiple_of(MEMORY_CHECK_EPOCHS) || !self.flushes.is_empty();
        for (id, view) in &mut self.views {
            if let ViewState::Running(job) = &view.state
                && check_memory
            {
                match job.check_memory() {
                    Ok(bytes) => view.memory_bytes = Some(bytes),
                    Err(error) => view.fail(&error),
                }
            }
            let base = view.base_due || base_pays(&view.files, self.runtime.config.deltas_max);
            let written = match &mut view.state {
                ViewState::Running(job) => Some((job, now.clone())),
                ViewState::Paused(Some((job, at))) if view.saved.as_ref() != Some(at) => Some((job, at.clone())),
                _ => None,
            };
            if let Some((job, at)) = written {
                bytes += write_job(&self.checkpoints, epoch, job, &mut view.files, base).await?;
                (view.saved, view.base_due) = (Some(at), false);
            }
            if let Some(saved) = &view.saved {
                let held = (!matches!(view.state, ViewState::Running(_))).then(|| saved.clone());
                jobs.insert(*id, JobFiles { held, ..view.files.clone() });
            }
        }
        Ok((jobs, bytes))
    }

    async fn write_late_log(&mut self, epoch: Epoch) -> Result<Vec<String>> {
        let mut files = self.manifest.as_ref().map(|manifest| manifest.late_log.clone()).unwrap_or_default();
        let runs = {
            let mut log = self.runtime.late_log.write();
            let fresh = log.take_fresh();
            if fresh.is_empty() {
                return Ok(files);
            }
            if files.len() >= LATE_FILES_MAX {
                files.clear();
                log.all().clone()
            } else {
                fresh
            }
        };
        let file = format!("{:012}-late.json", epoch.0);
        self.checkpoints.write_json(&file, &runs).await?;
        files.push(file);
        Ok(files)
    }

    async fn write_dead_letters(&mut self, epoch: Epoch) -> Result<Option<String>> {
        if !self.dead_letters_changed {
            return Ok(self.manifest.as_ref().and_then(|manifest| manifest.dead_letters.clone()));
        }
        let letters: Vec<SavedLetter> = self.runtime.dead_letters.lock().iter().map(SavedLetter::new).collect();
        let file = format!("{:012}-dead-letters.json", epoch.0);
        self.checkpoints.write_json(&file, &letters).await?;
        self.dead_letters_changed = false;
        Ok(Some(file))
    }
}

/// A base is worth its bytes when the deltas weigh more than it, or are many files to read.
fn base_pays(files: &JobFiles, deltas_max: usize) -> bool {
    files.deltas.len() >= deltas_max
        || (files.deltas.len() >= 10 && files.delta_bytes > 2 * files.base_bytes.max(1 << 20))
}

async fn write_job(
    checkpoints: &CheckpointStore,
    epoch: Epoch,
    job: &mut ViewJob,
    files: &mut JobFiles,
    base: bool,
) -> Result<u64> {
    let mut bytes = 0;
    files.accounting = job.accounting.clone();
    if base {
        let saved = job.snapshot()?;
        *files = JobFiles { accounting: job.accounting.clone(), ..JobFiles::default() };
        for (part, batches) in [("state", &saved.state), ("rows", &saved.rows)] {
            if batches.iter().all(|batch| batch.num_rows() == 0) {
                continue;
            }
            let file = format!("{:012}-{}-{part}.arrow", epoch.0, job.id);
            bytes += checkpoints.write_batches(&file, batches).await?;
            match part {
                "state" => files.state = Some(file),
                _ => files.rows = Some(file),
            }
        }
        files.base_bytes = bytes;
        return Ok(bytes);
    }
    let delta = job.take_delta();
    if !delta.is_empty() {
        let file = format!("{:012}-{}-delta.arrow", epoch.0, job.id);
        bytes = checkpoints.write_batches(&file, &delta).await?;
        files.deltas.push(file);
        files.delta_bytes += bytes;
    }
    Ok(bytes)
}

/// A dead letter as a manifest's file holds it.
#[derive(serde::Serialize, serde::Deserialize)]
struct SavedLetter {
    split: ebap_connector::SplitId,
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: ebap_connector::Headers,
    reason: String,
    rejected_at_us: i64,
}

impl SavedLetter {
    fn new(letter: &DeadLetter) -> Self {
        let DeadLetter { split, partition, offset, timestamp_ms, key, value, headers, reason, rejected_at_us } =
            letter.clone();
        Self { split, partition, offset, timestamp_ms, key, value, headers, reason, rejected_at_us }
    }

    fn into_letter(self) -> DeadLetter {
        let Self { split, partition, offset, timestamp_ms, key, value, headers, reason, rejected_at_us } = self;
        DeadLetter { split, partition, offset, timestamp_ms, key, value, headers, reason, rejected_at_us }
    }
}
