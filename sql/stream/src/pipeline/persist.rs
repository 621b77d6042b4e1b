//! Opening a pipeline at its newest epoch, and making the next one durable.

use std::{collections::BTreeMap, sync::Arc};

use ebap_connector::{DeadLetter, Epoch, Position};
use tokio::sync::mpsc;

use super::{CatchUps, Command, JobSet, PAUSE_US, Pipeline, SourceRuntime, ViewSlot, ViewState, micros};
use crate::{
    Result,
    accounting::Accounting,
    checkpoint::{CheckpointStore, FORMAT, JobFiles, Manifest, Recovered},
    late_log::{LateLog, LateRuns},
    status::CheckpointInfo,
    view::{Saved, ViewJob, store::ViewStore},
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
        (commands, catch_ups): (mpsc::Sender<Command>, CatchUps),
        generation: u64,
    ) -> Result<Self> {
        let checkpoints = checkpoints.of_new_writer();
        let Recovered { manifest, after } = checkpoints.recover().await?;
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
            catch_ups,
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
            flushes: Vec::new(),
            epoch: after,
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
            None => pipeline.begin(),
        }
        // An earlier start in this process may have published more than this one has read.
        pipeline.runtime.published.send_replace(pipeline.position.clone());
        pipeline.discover().await?;
        pipeline.set_jobs(jobs).await?;
        // The first epoch of this incarnation fences an older instance before anything is read.
        pipeline.dirty = true;
        pipeline.checkpoint(false).await?;
        Ok(pipeline)
    }

    /// Nothing is durable: what an earlier start in this process knew is forgotten.
    fn begin(&mut self) {
        *self.runtime.late_log.write() = LateLog::default();
        *self.runtime.start.write() = Position::default();
        self.runtime.dead_letters.lock().clear();
    }

    async fn recover(&mut self, manifest: Manifest, jobs: &JobSet) -> Result<()> {
        let now_us = self.runtime.clock.now_us();
        let mut log = LateLog::default();
        for file in &manifest.late_log {
            log.restore(self.checkpoints.read_json::<LateRuns>(file).await?);
        }
        log.rewind(&manifest.position);
        *self.runtime.late_log.write() = log;
        let saved: Vec<SavedLetter> = match &manifest.dead_letters {
            Some(file) => self.checkpoints.read_json(file).await?,
            None => Vec::new(),
        };
        *self.runtime.dead_letters.lock() = saved.into_iter().map(SavedLetter::into_letter).collect();
        self.accounting = manifest.accounting.clone();
        self.watermarks.restore(&manifest.watermarks, now_us);
        *self.runtime.start.write() = manifest.start.clone();
        for (split, offset) in &manifest.position.0 {
            self.position.set(split.clone(), *offset);
            self.watermarks.add(split, now_us);
            self.reader.assign(split.clone(), *offset).await?;
        }
        let config = self.runtime.config.clone();
        if let Some(store) = &jobs.table
            && let Some(files) = manifest.jobs.get(&self.runtime.plan.id.0)
        {
            let job = ViewJob::table(&self.runtime.plan, Arc::clone(store), &config)?;
            self.recover_view(None, store, job, files, &manifest).await?;
        }
        for (plan, store) in &jobs.views {
            if let Some(files) = manifest.jobs.get(&plan.id.0) {
                let job = ViewJob::view(&self.runtime.plan, plan, Arc::clone(store), &config)?;
                self.recover_view(Some(Arc::clone(plan)), store, job, files, &manifest).await?;
            }
        }
        self.manifest = Some(manifest);
        Ok(())
    }

    async fn recover_view(
        &mut self,
        plan: Option<Arc<ebap_sql::ViewPlan>>,
        store: &Arc<ViewStore>,
        mut job: ViewJob,
        files: &JobFiles,
        manifest: &Manifest,
    ) -> Result<()> {
        store.clear();
        let mut saved = Saved::default();
        if let Some(file) = &files.state {
            saved.state = self.checkpoints.read_batches(file).await?;
        }
        if let Some(file) = &files.rows {
            saved.rows = self.checkpoints.read_batches(file).await?;
        }
        job.restore(saved)?;
        for file in &files.deltas {
            job.replay(self.checkpoints.read_batches(file).await?)?;
        }
        job.advance(manifest.watermarks.current.0, false)?;
        job.accounting = files.accounting.clone();
        let (id, store) = (job.id.0, Arc::clone(store));
        let state = ViewState::Running(Box::new(job));
        let slot = ViewSlot { plan, store, state, sinks: Vec::new(), files: files.clone(), base_due: false };
        self.views.insert(id, slot);
        Ok(())
    }

    /// Makes an epoch durable, if there is anything new, then lets the sinks commit.
    pub(super) async fn checkpoint(&mut self, force: bool) -> Result<()> {
        let begun_us = self.runtime.clock.monotonic_us();
        let now_us = self.runtime.clock.now_us();
        let due_us = std::mem::replace(
            &mut self.checkpoint_at_us,
            now_us.saturating_add(micros(self.runtime.config.checkpoint_interval)),
        );
        if self.dirty {
            let bytes = self.write_epoch(due_us).await?;
            self.dirty = false;
            let duration_us = self.runtime.clock.monotonic_us() - begun_us;
            let checkpoint = CheckpointInfo { epoch: self.epoch.0, at_us: now_us, duration_us, bytes };
            self.runtime.status.checkpointed(checkpoint);
            metrics::histogram!("ebap_checkpoint_seconds", "stream" => self.name().to_owned())
                .record(duration_us as f64 / 1e6);
            metrics::counter!("ebap_checkpoint_bytes_total", "stream" => self.name().to_owned()).increment(bytes);
        }
        for sink in self.sinks.values_mut() {
            sink.checkpoint(self.epoch, force, now_us).await;
        }
        for view in self.views.values_mut() {
            for sink in &mut view.sinks {
                sink.checkpoint(self.epoch, &self.position, force, now_us).await;
            }
        }
        if force {
            let (done, waiting) =
                std::mem::take(&mut self.flushes).into_iter().partition(|(target, _)| self.reached(target));
            self.flushes = waiting;
            for (_, reply) in done {
                let _ = reply.send(Ok(()));
            }
        }
        Ok(())
    }

    async fn write_epoch(&mut self, due_us: i64) -> Result<u64> {
        let epoch = self.epoch.next();
        let mut bytes = 0;
        let dead_letter_token = match &mut self.dead_letters {
            Some(writer) => Some(writer.flush().await?),
            None => None,
        };
        let late_log = self.write_late_log(epoch).await?;
        let dead_letters = self.write_dead_letters(epoch).await?;
        let mut jobs = BTreeMap::new();
        for (id, view) in &mut self.views {
            let ViewState::Running(job) = &mut view.state else { continue };
            if epoch.0.is_multiple_of(MEMORY_CHECK_EPOCHS)
                && let Err(error) = job.check_memory()
            {
                view.fail(&error);
                continue;
            }
            let base = view.base_due || base_pays(&view.files, self.runtime.config.deltas_max);
            bytes += write_job(&self.checkpoints, epoch, job, &mut view.files, base).await?;
            view.base_due = false;
            jobs.insert(*id, view.files.clone());
        }
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
        bytes += self.checkpoints.publish(&manifest).await?;
        // The pause may have been in the middle of the put, so the clock is asked behind it.
        if self.runtime.clock.now_us() - due_us > PAUSE_US {
            self.checkpoints.look_behind(epoch).await?;
        }
        self.epoch = epoch;
        if let Some(old) = self.manifest.replace(manifest) {
            let kept: std::collections::HashSet<&String> = self.manifest.iter().flat_map(Manifest::files).collect();
            let gone: Vec<String> = old.files().filter(|file| !kept.contains(file)).cloned().collect();
            self.checkpoints.forget(gone, epoch.0).await;
        }
        Ok(bytes)
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
        let file = self.checkpoints.file(epoch, "late.json");
        self.checkpoints.write_json(&file, &runs).await?;
        files.push(file);
        Ok(files)
    }

    async fn write_dead_letters(&mut self, epoch: Epoch) -> Result<Option<String>> {
        if !self.dead_letters_changed {
            return Ok(self.manifest.as_ref().and_then(|manifest| manifest.dead_letters.clone()));
        }
        let letters: Vec<SavedLetter> = self.runtime.dead_letters.lock().iter().map(SavedLetter::new).collect();
        let file = self.checkpoints.file(epoch, "dead-letters.json");
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
            let file = checkpoints.file(epoch, &format!("{}-{part}.arrow", job.id));
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
        let file = checkpoints.file(epoch, &format!("{}-delta.arrow", job.id));
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
