//! Opening a pipeline at its newest epoch, and making the next one durable.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::RecordBatch;
use ebap_connector::{DeadLetter, Epoch, Position, Wanted};
use ebap_sql::Run;
use tokio::sync::mpsc;

use super::{
    CatchUps, Command, JobSet, PAUSE_US, Pipeline, SourceRuntime, ViewSlot, ViewState, micros, pause::restore,
};
use crate::{
    Error, Result,
    accounting::Accounting,
    checkpoint::{CheckpointStore, FORMAT, Held, JobFiles, Manifest, Recovered},
    figures::Figures,
    late_log::{LateLog, LateRuns},
    status::CheckpointInfo,
    view::{Saved, ViewJob},
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
            decoder: runtime.decoder(&Wanted::All)?,
            preparer: runtime.preparer(&Wanted::All)?,
            wanted: Wanted::All,
            dead_letters,
            dead_letters_changed: false,
            position: Position::default(),
            watermarks: Watermarks::new(delay_us, plan.idle_timeout_us),
            accounting: Accounting::default(),
            figures: Figures::default(),
            views: BTreeMap::new(),
            sinks: BTreeMap::new(),
            paused: jobs.run.paused,
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
        if !pipeline.paused || pipeline.manifest.is_none() {
            pipeline.discover().await?;
        }
        pipeline.set_jobs(jobs).await?;
        // The first epoch of this incarnation fences an older instance before anything is read.
        pipeline.write_epoch(now_us).await?;
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
        let now_us = self.runtime.clock.now_us();
        let next_us = now_us.saturating_add(micros(self.runtime.config.checkpoint_interval));
        let due_us = std::mem::replace(&mut self.checkpoint_at_us, next_us);
        if self.dirty {
            self.write_epoch(due_us).await?;
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

    pub(super) async fn write_epoch(&mut self, due_us: i64) -> Result<()> {
        let (begun_us, at_us) = (self.runtime.clock.monotonic_us(), self.runtime.clock.now_us());
        let epoch = self.epoch.next();
        let dead_letter_token = match &mut self.dead_letters {
            Some(writer) => Some(writer.flush().await?),
            None => None,
        };
        // Files beside those of the jobs.
        let mut beside = Vec::new();
        let late_log = self.take_late_log(epoch, &mut beside)?;
        let dead_letters = self.take_dead_letters(epoch, &mut beside)?;
        let (named, written) = self.take_jobs(epoch)?;
        let mut manifest = Manifest {
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
            jobs: named,
            sinks: self.sinks.iter().map(|(id, sink)| (*id, sink.counted().clone())).collect(),
        };
        let mut bytes = 0;
        for (file, content) in beside {
            bytes += content.len() as u64;
            self.checkpoints.write(&file, content).await?;
        }
        for (id, job) in written {
            let at = job.at.clone();
            let (files, written) = job.write(&self.checkpoints, epoch).await?;
            bytes += written;
            if let Some(view) = self.views.get_mut(&id) {
                (view.files, view.saved) = (files.clone(), Some(at));
            }
            manifest.jobs.insert(id, files);
        }
        bytes += self.checkpoints.publish(&manifest).await?;
        // The pause may have been in the middle of the put, so the clock is asked behind it.
        if self.runtime.clock.now_us() - due_us > PAUSE_US {
            self.checkpoints.look_behind(epoch).await?;
        }
        self.epoch = epoch;
        self.dirty = false;
        if let Some(old) = self.manifest.replace(manifest) {
            let kept: std::collections::HashSet<&String> = self.manifest.iter().flat_map(Manifest::files).collect();
            let gone: Vec<String> = old.files().filter(|file| !kept.contains(file)).cloned().collect();
            self.checkpoints.forget(gone, self.epoch.0).await;
        }
        let duration_us = self.runtime.clock.monotonic_us() - begun_us;
        self.runtime.status.checkpointed(CheckpointInfo { epoch: self.epoch.0, at_us, duration_us, bytes });
        metrics::histogram!("ebap_checkpoint_seconds", "stream" => self.name().to_owned())
            .record(duration_us as f64 / 1e6);
        metrics::counter!("ebap_checkpoint_bytes_total", "stream" => self.name().to_owned()).increment(bytes);
        Ok(())
    }

    /// Of every job the files there are, and what is to be written. Those that do not run are among them.
    fn take_jobs(&mut self, epoch: Epoch) -> Result<(BTreeMap<u64, JobFiles>, Vec<(u64, JobWrite)>)> {
        let (mut named, mut written) = (BTreeMap::new(), Vec::new());
        let now = Held { position: self.position.clone(), watermark: self.watermarks.current().0 };
        let check_memory = epoch.0.is_multiple_of(MEMORY_CHECK_EPOCHS) || !self.flushes.is_empty();
        for (id, view) in &mut self.views {
            if let ViewState::Running(job) = &mut view.state
                && check_memory
            {
                match job.check_memory() {
                    Ok(bytes) => view.memory_bytes = Some(bytes),
                    Err(error) => view.fail(&error),
                }
            }
            let base = view.base_due || base_pays(&view.files, self.runtime.config.deltas_max);
            let (job, at, held) = match &mut view.state {
                ViewState::Running(job) => (job, now.clone(), None),
                ViewState::Paused(Some((job, at))) if view.saved.as_ref() != Some(at) => {
                    (job, at.clone(), Some(at.clone()))
                }
                _ => {
                    if let Some(saved) = &view.saved {
                        named.insert(*id, JobFiles { held: Some(saved.clone()), ..view.files.clone() });
                    }
                    continue;
                }
            };
            written.push((*id, JobWrite::take(job, &view.files, base, at, held)?));
            view.base_due = false;
        }
        Ok((named, written))
    }

    fn take_late_log(&mut self, epoch: Epoch, beside: &mut Vec<(String, Vec<u8>)>) -> Result<Vec<String>> {
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
        beside.push((file.clone(), json(&runs)?));
        files.push(file);
        Ok(files)
    }

    fn take_dead_letters(&mut self, epoch: Epoch, beside: &mut Vec<(String, Vec<u8>)>) -> Result<Option<String>> {
        if !self.dead_letters_changed {
            return Ok(self.manifest.as_ref().and_then(|manifest| manifest.dead_letters.clone()));
        }
        let letters: Vec<SavedLetter> = self.runtime.dead_letters.lock().iter().map(SavedLetter::new).collect();
        let file = self.checkpoints.file(epoch, "dead-letters.json");
        beside.push((file.clone(), json(&letters)?));
        self.dead_letters_changed = false;
        Ok(Some(file))
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::Internal(error.to_string()))
}

/// A base is worth its bytes when the deltas weigh more than it, or are many files to read.
fn base_pays(files: &JobFiles, deltas_max: usize) -> bool {
    files.deltas.len() >= deltas_max
        || (files.deltas.len() >= 10 && files.delta_bytes > 2 * files.base_bytes.max(1 << 20))
}

/// What an epoch writes of one job.
struct JobWrite {
    id: ebap_catalog::ObjectId,
    /// What there was before.
    files: JobFiles,
    /// The moment it is of.
    at: Held,
    what: JobPart,
}

enum JobPart {
    Base(Saved),
    Delta(Vec<RecordBatch>),
}

impl JobWrite {
    fn take(job: &mut ViewJob, files: &JobFiles, base: bool, at: Held, held: Option<Held>) -> Result<Self> {
        let what = if base { JobPart::Base(job.snapshot()?) } else { JobPart::Delta(job.take_delta()?) };
        let accounting = job.accounting.clone();
        let files = if base { JobFiles::default() } else { files.clone() };
        Ok(Self { id: job.id, files: JobFiles { accounting, held, ..files }, at, what })
    }

    /// Gives the files of the job, and the bytes written.
    async fn write(self, checkpoints: &CheckpointStore, epoch: Epoch) -> Result<(JobFiles, u64)> {
        let Self { id, mut files, what, .. } = self;
        let mut bytes = 0;
        let name = |part: &str| checkpoints.file(epoch, &format!("{id}-{part}.arrow"));
        match what {
            JobPart::Base(saved) => {
                if saved.state.iter().any(|batch| batch.num_rows() > 0) {
                    bytes += checkpoints.write_batches(&name("state"), &saved.state).await?;
                    files.state = Some(name("state"));
                }
                if saved.rows.iter().any(|batch| batch.num_rows() > 0) {
                    bytes += checkpoints.write_batches(&name("rows"), &saved.rows).await?;
                    files.rows = Some(name("rows"));
                }
                files.base_bytes = bytes;
            }
            JobPart::Delta(delta) if delta.is_empty() => {}
            JobPart::Delta(delta) => {
                bytes = checkpoints.write_batches(&name("delta"), &delta).await?;
                files.deltas.push(name("delta"));
                files.delta_bytes += bytes;
            }
        }
        Ok((files, bytes))
    }
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
