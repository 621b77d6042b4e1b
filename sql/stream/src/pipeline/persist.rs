//! Opening a pipeline at its newest epoch, and making the next one durable.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use ebap_connector::{DeadLetter, Epoch, Position, SplitId};
use ebap_sql::Run;
use tokio::sync::mpsc;

use super::{
    Command, Forced, JobSet, Lanes, Pipeline, SourceRuntime, Start, Tasks, ViewSlot, ViewState, WRITERS_MAX, Writing,
    gaps::{self, Gap},
    keep::{Keeping, Seen},
    micros,
    pause::restore,
};
use crate::{
    Error, Result,
    accounting::Accounting,
    checkpoint::{CheckpointStore, FORMAT, Held, JobFiles, Manifest, Recovered, apart},
    failed_rows::FailedRows,
    figures::Figures,
    guard::guarded,
    late_log::{LateLog, LateRuns},
    status::CheckpointInfo,
    view::{Frozen, ViewJob},
    watermark::Watermarks,
};

/// Files of the late log after which they are written as one.
const LATE_FILES_MAX: usize = 100;
/// A broker keeps a transaction of dead letters for a minute.
const LETTERS_WAIT_MAX: Duration = Duration::from_secs(20);
/// Epochs between two looks at how much memory the states take.
const MEMORY_CHECK_EPOCHS: u64 = 10;

impl Pipeline {
    /// At the newest epoch, or at the beginning.
    pub(super) async fn open(
        runtime: Arc<SourceRuntime>,
        checkpoints: CheckpointStore,
        jobs: &JobSet,
        (commands, tasks): (mpsc::Sender<Command>, Tasks),
        start: Start<'_>,
    ) -> Result<Self> {
        let checkpoints = checkpoints.of_new_writer();
        let seen = Seen::now(runtime.clock.as_ref());
        let Recovered { manifest, after, oldest } = checkpoints.recover().await?;
        let is_own = |newest: &Manifest| start.writers.contains(&newest.writer);
        if !start.takes_over && !manifest.as_ref().is_none_or(is_own) {
            return Err(Error::Elsewhere { name: runtime.plan.name.clone() });
        }
        start.writers.push_back(checkpoints.writer());
        if start.writers.len() > WRITERS_MAX {
            start.writers.pop_front();
        }
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
            tasks,
            generation: start.generation,
            // The number of its first epoch, which one writer alone can put: two that start from the same manifest,
            // of which one has seen the next number torn, would else have the same.
            incarnation: after.next().0,
            reader: runtime.source.reader().await?,
            lanes: Lanes::new(&runtime, &runtime.everything())?,
            wanted: runtime.everything(),
            dead_letters,
            dead_letters_changed: false,
            letters_since_us: None,
            position: Position::default(),
            watermarks: Watermarks::new(delay_us, plan.idle_timeout_us),
            accounting: Accounting::default(),
            figures: Figures::default(),
            views: BTreeMap::new(),
            sinks: BTreeMap::new(),
            saved_alerts: BTreeMap::new(),
            alerts_dirty: false,
            rebuilt: BTreeMap::new(),
            paused: jobs.run.paused,
            resumed: 0,
            waiting: None,
            flushes: Vec::new(),
            forced: None,
            epoch: after,
            manifest: None,
            writing: None,
            keeping: Keeping::new(seen, oldest),
            idle_steps: 0,
            gather_until_us: i64::MIN,
            early: None,
            dirty: true,
            checkpoint_at_us: now_us,
            discover_at_us: now_us,
            status_at_us: now_us,
            forget_at_us: now_us + super::FORGET_INTERVAL_US,
            runtime,
        };
        let mut gaps = BTreeMap::new();
        match manifest {
            Some(manifest) => gaps = pipeline.recover(manifest, jobs).await?,
            None => pipeline.begin(jobs),
        }
        // An earlier start in this process may have published more than this one has read.
        pipeline.runtime.published.send_replace(pipeline.position.clone());
        if !pipeline.paused || pipeline.manifest.is_none() {
            pipeline.discover().await?;
        }
        pipeline.set_jobs(jobs).await?;
        // The first epoch of this incarnation fences an older instance before anything is read.
        pipeline.begin_epoch().await?;
        pipeline.end_epoch(true).await?;
        pipeline.retire_unnamed(after);
        pipeline.pass_over(gaps, jobs.run).await?;
        Ok(pipeline)
    }

    /// Nothing is durable: what an earlier start in this process knew is forgotten.
    fn begin(&mut self, jobs: &JobSet) {
        // Nothing is missed of what nobody has read.
        self.resumed = jobs.run.resume_from.map_or(0, |(number, _)| number);
        self.runtime.gaps.write().clear();
        *self.runtime.late_log.write() = LateLog::default();
        *self.runtime.start.write() = Position::default();
        self.runtime.dead_letters.lock().clear();
    }

    /// Gives what is to be passed over once the jobs run.
    async fn recover(&mut self, manifest: Manifest, jobs: &JobSet) -> Result<BTreeMap<SplitId, Gap>> {
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
        if let Some(file) = &manifest.alerts {
            self.saved_alerts = self.checkpoints.read_json(file).await?;
        }
        let gaps = gaps::asked(&self.runtime, &manifest, jobs.run).await?;
        self.resumed = manifest.resumed;
        self.runtime.gaps.write().clone_from(&manifest.gaps);
        self.accounting = manifest.accounting.clone();
        self.watermarks.restore(&manifest.watermarks, now_us);
        *self.runtime.start.write() = manifest.start.clone();
        for (split, offset) in &manifest.position.0 {
            self.position.set(split.clone(), *offset);
            if self.runtime.has_event_time(split) {
                self.watermarks.add(split, now_us);
            }
            let next = gaps.get(split).map_or(*offset, |gap| gap.to);
            self.reader.assign(split.clone(), next).await?;
        }
        if let Some(store) = &jobs.table
            && let Some(files) = manifest.jobs.get(&self.runtime.plan.id.0)
        {
            let run = Run { paused: false, ..jobs.run };
            let name = &self.runtime.plan.name;
            let slot = ViewSlot::new(name, None, Arc::clone(store), ViewState::CatchingUp, run);
            self.recover_view(slot, files, &manifest).await?;
        }
        for (plan, store) in &jobs.views {
            // Of another query where `SWAP WITH` has given a view that it reads another one.
            let own = |files: &JobFiles| files.definition.is_none_or(|definition| definition == plan.definition);
            let Some(files) = manifest.jobs.get(&plan.id.0) else { continue };
            if !own(files) {
                self.begins_again(plan.id.0, "what was saved is of another query or of an older version");
            } else {
                let (plan, store, run) = (Some(Arc::clone(plan)), Arc::clone(store), plan.run);
                let slot = ViewSlot::new(&self.runtime.plan.name, plan, store, ViewState::CatchingUp, run);
                self.recover_view(slot, files, &manifest).await?;
            }
        }
        self.manifest = Some(manifest);
        Ok(gaps)
    }

    /// Its saved state is of no use; what its source still has is read again.
    fn begins_again(&mut self, id: u64, reason: &str) {
        tracing::warn!(id, reason, "a view is built again");
        self.rebuilt.insert(id, format!("built again from what its source has: {reason}"));
    }

    /// A view as its files have it. Where they are not of the manifest's moment it does not run yet.
    async fn recover_view(&mut self, mut slot: ViewSlot, files: &JobFiles, manifest: &Manifest) -> Result<()> {
        let job = guarded(|| self.view_job(slot.plan.as_deref(), &slot.store));
        let mut job = match (job, &slot.plan) {
            (Ok(job), _) => job,
            (Err(error), None) => return Err(error),
            (Err(error), Some(plan)) => {
                let id = plan.id.0;
                slot.fail(&error);
                slot.files = files.clone();
                self.views.insert(id, slot);
                return Ok(());
            }
        };
        let now = Held { position: manifest.position.clone(), watermark: manifest.watermarks.current.0 };
        let at = files.held.clone().unwrap_or_else(|| now.clone());
        let (id, restored) = (job.id.0, restore(&self.checkpoints, &mut job, files, at.watermark).await);
        match (restored, &slot.plan) {
            (Ok(()), _) => {}
            (Err(error), _) if error.is_outdated() => {
                self.begins_again(id, &error.chain());
                return Ok(());
            }
            // The other views of the pipeline go on.
            (Err(error @ (Error::DataFusion(_) | Error::Internal(_) | Error::Memory { .. })), Some(_)) => {
                (slot.files, slot.saved) = (files.clone(), Some(at));
                slot.fail(&error);
                self.views.insert(id, slot);
                return Ok(());
            }
            (Err(error), _) => return Err(error),
        }
        if slot.run.paused || at.position != now.position {
            slot.hold(Box::new(job), at.clone());
        } else {
            slot.set_state(ViewState::Running(Box::new(job)));
        }
        (slot.files, slot.saved, slot.base_due) = (files.clone(), Some(at), false);
        self.views.insert(id, slot);
        Ok(())
    }

    /// Begins to make an epoch durable where one is due, and lets the sinks commit. `force`: does so now
    /// and waits for it.
    pub(super) async fn checkpoint(&mut self, force: bool) -> Result<()> {
        self.end_epoch(force).await?;
        let now_us = self.runtime.clock.now_us();
        let due = force || now_us >= self.checkpoint_at_us || self.letters_are_due(now_us);
        if self.writing.is_some() || !due {
            return Ok(());
        }
        let next_us = now_us.saturating_add(micros(self.runtime.config.checkpoint_interval));
        self.checkpoint_at_us = next_us;
        self.tend_old().await;
        if self.dirty || self.sinks_moved() {
            self.begin_epoch().await?;
            if force || self.runtime.config.checkpoint_waits {
                self.end_epoch(true).await?;
            }
        } else {
            // All that the views have is in the newest epoch. A sink may have been given it only since.
            self.seal_sinks(self.epoch);
            self.sinks_are_durable();
            self.look_around().await?;
        }
        let asked = self.flushes.iter().map(|flush| force && self.reached(&flush.target)).collect::<Vec<_>>();
        let (epoch, position) = (self.epoch, &self.position);
        let mut told: Vec<_> = self.sinks.values().filter_map(|sink| sink.checkpoint(epoch, force)).collect();
        // A view that does not run has not read up to here, and neither has its sink.
        for view in self.views.values().filter(|view| matches!(view.state, ViewState::Running(_))) {
            told.extend(view.sinks.iter().filter_map(|sink| sink.checkpoint(epoch, position, force)));
        }
        if force {
            self.flushes.iter_mut().zip(asked).for_each(|(flush, asked)| flush.asked = asked);
            self.forced = Some(Forced { told, lost: false });
        }
        Ok(())
    }

    /// Dead letters wait for an epoch in a transaction, which a broker ends after a while.
    fn letters_are_due(&self, now_us: i64) -> bool {
        self.letters_since_us.is_some_and(|since_us| now_us.saturating_sub(since_us) >= micros(LETTERS_WAIT_MAX))
    }

    /// What the views have told their sinks is in this epoch.
    fn seal_sinks(&self, epoch: Epoch) {
        for view in self.views.values() {
            let position = match &view.state {
                ViewState::Running(_) => &self.position,
                ViewState::Paused(Some((_, at))) => &at.position,
                // Nothing of it is written but what there was before.
                ViewState::CatchingUp
                | ViewState::Paused(None)
                | ViewState::Retrying { .. }
                | ViewState::Failed { .. } => continue,
            };
            view.sinks.iter().for_each(|sink| sink.seal(epoch, position));
        }
    }

    /// The epoch that was written last is durable.
    fn sinks_are_durable(&self) {
        self.views.values().flat_map(|view| &view.sinks).for_each(|sink| sink.durable(self.epoch));
    }

    /// One more, for what the sinks have said since the last.
    pub(super) async fn last_epoch(&mut self) -> Result<()> {
        self.begin_epoch().await?;
        self.end_epoch(true).await
    }

    /// What the manifest keeps for sinks whose system holds no position.
    fn sink_positions(&self) -> BTreeMap<u64, Position> {
        self.sinks.iter().filter_map(|(id, sink)| Some((*id, sink.kept()?))).collect()
    }

    /// More is outside than the newest manifest says, of sinks that go on from what it says.
    pub(super) fn sinks_moved(&self) -> bool {
        self.manifest.as_ref().is_some_and(|manifest| manifest.sink_positions != self.sink_positions())
    }

    /// Takes what the next epoch consists of as it is now, and has it written while the loop goes on:
    /// what it takes are batches that nobody changes.
    pub(super) async fn begin_epoch(&mut self) -> Result<()> {
        self.stop_looking();
        let begun = Seen::now(self.runtime.clock.as_ref());
        let epoch = self.epoch.next();
        let dead_letter_token = match &mut self.dead_letters {
            Some(writer) => Some(writer.flush().await?),
            None => None,
        };
        self.letters_since_us = None;
        // Files beside those of the jobs.
        let mut beside = Vec::new();
        let late_log = self.take_late_log(epoch, &mut beside)?;
        let dead_letters = self.take_dead_letters(epoch, &mut beside)?;
        let alerts = self.take_alerts_file(epoch, &mut beside)?;
        let (named, written) = self.take_jobs(epoch)?;
        self.seal_sinks(epoch);
        let saved = written.iter().map(|(id, job)| (*id, job.at.clone())).collect();
        let mut manifest = Manifest {
            format: FORMAT,
            epoch,
            incarnation: self.incarnation,
            writer: self.checkpoints.writer(),
            start: self.runtime.start.read().clone(),
            resumed: self.resumed,
            gaps: self.runtime.gaps.read().clone(),
            position: self.position.clone(),
            watermarks: self.watermarks.save(),
            late_log,
            dead_letters,
            alerts,
            dead_letter_token,
            accounting: self.accounting.clone(),
            jobs: named,
            sinks: self.sinks.iter().map(|(id, sink)| (*id, sink.counted().clone())).collect(),
            sink_positions: self.sink_positions(),
        };
        self.dirty = false;
        let (checkpoints, clock) = (self.checkpoints.clone(), Arc::clone(&self.runtime.clock));
        let (seen, sleeps_max_us) = (self.keeping.seen, self.sleeps_max_us());
        let task = tokio::spawn(async move {
            let mut bytes = 0;
            for (file, content) in beside {
                bytes += content.len() as u64;
                checkpoints.write(&file, content).await?;
            }
            for (id, job) in written {
                let (files, written) = job.write(&checkpoints, epoch).await?;
                manifest.jobs.insert(id, files);
                bytes += written;
            }
            bytes += checkpoints.publish(&manifest).await?;
            // The pause may have been in the middle of the put, so the clock is asked behind it.
            if seen.passed_us(clock.as_ref()) > sleeps_max_us {
                checkpoints.look_behind(epoch).await?;
            }
            Ok((manifest, bytes))
        });
        self.writing = Some(Writing { begun, saved, task });
        Ok(())
    }

    /// Takes note of the epoch that was being written, where it is durable by now. `wait`: until it is.
    pub(super) async fn end_epoch(&mut self, wait: bool) -> Result<()> {
        let Some(mut writing) = self.writing.take_if(|writing| wait || writing.task.is_finished()) else {
            return Ok(());
        };
        let (begun, saved) = (writing.begun, std::mem::take(&mut writing.saved));
        let (manifest, bytes) = (&mut writing.task).await.map_err(|error| Error::Internal(error.to_string()))??;
        self.epoch = manifest.epoch;
        self.keeping.seen = begun;
        self.alerts_are_durable();
        self.sinks_are_durable();
        for (id, at) in saved {
            if let (Some(view), Some(files)) = (self.views.get_mut(&id), manifest.jobs.get(&id)) {
                (view.files, view.saved) = (files.clone(), Some(at));
            }
        }
        if let Some(old) = self.manifest.replace(manifest) {
            let kept: std::collections::HashSet<&String> = self.manifest.iter().flat_map(Manifest::files).collect();
            let gone: Vec<String> = old.files().filter(|file| !kept.contains(file)).cloned().collect();
            self.keeping.retired.add_files(self.runtime.clock.monotonic_us(), gone);
        }
        let now_us = self.runtime.clock.monotonic_us();
        self.keeping.retired.durable(now_us, self.epoch.0);
        let (duration_us, at_us) = (now_us - begun.monotonic_us, begun.now_us);
        self.runtime.status.checkpointed(CheckpointInfo { epoch: self.epoch.0, at_us, duration_us, bytes });
        metrics::histogram!("ebap_checkpoint_seconds", "stream" => self.name().to_owned())
            .record(duration_us as f64 / 1e6);
        metrics::counter!("ebap_checkpoint_bytes_total", "stream" => self.name().to_owned()).increment(bytes);
        Ok(())
    }

    /// Of every job the files there are, and what is to be written. Those that do not run are among them.
    fn take_jobs(&mut self, epoch: Epoch) -> Result<(BTreeMap<u64, JobFiles>, JobWrites)> {
        let (mut named, mut written) = (BTreeMap::new(), Vec::new());
        let now = Held { position: self.position.clone(), watermark: self.watermarks.current().0 };
        let check_memory = epoch.0.is_multiple_of(MEMORY_CHECK_EPOCHS) || !self.flushes.is_empty();
        for (id, view) in &mut self.views {
            if let ViewState::Running(job) = &mut view.state
                && check_memory
            {
                match guarded(|| job.check_memory()) {
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
                    named.extend(view.left_files().map(|files| (*id, files)));
                    continue;
                }
            };
            match guarded(|| JobWrite::take(job, &view.files, base, at, held)) {
                Ok(mut write) => {
                    write.files.definition = view.plan.as_ref().map(|plan| plan.definition);
                    written.push((*id, write));
                    view.base_due = false;
                }
                Err(error) => {
                    view.fail(&error);
                    named.extend(view.left_files().map(|files| (*id, files)));
                }
            }
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

impl ViewSlot {
    /// What a job that does not run has left, with the moment that it is of.
    fn left_files(&self) -> Option<JobFiles> {
        self.saved.as_ref().map(|saved| JobFiles { held: Some(saved.clone()), ..self.files.clone() })
    }
}

pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::Internal(error.to_string()))
}

/// A base is worth its bytes when the deltas weigh more than it, or are many files to read.
fn base_pays(files: &JobFiles, deltas_max: usize) -> bool {
    files.deltas.len() >= deltas_max
        || (files.deltas.len() >= 10 && files.delta_bytes > 2 * files.base_bytes.max(1 << 20))
}

/// By the id of the job.
type JobWrites = Vec<(u64, JobWrite)>;

/// What an epoch writes of one job.
struct JobWrite {
    id: ebap_catalog::ObjectId,
    /// What there was before.
    files: JobFiles,
    /// The moment it is of.
    at: Held,
    what: JobPart,
    /// Rows that were left out, where there are new ones.
    failed: Option<FailedRows>,
}

enum JobPart {
    Base(Frozen),
    Delta(Vec<RecordBatch>),
}

impl JobWrite {
    fn take(job: &mut ViewJob, files: &JobFiles, base: bool, at: Held, held: Option<Held>) -> Result<Self> {
        let what = if base { JobPart::Base(job.freeze()?) } else { JobPart::Delta(job.take_delta()?) };
        let accounting = job.accounting.clone();
        let failed = files.failed.clone();
        let files = if base { JobFiles::default() } else { files.clone() };
        let files = JobFiles { accounting, held, failed, ..files };
        Ok(Self { id: job.id, files, at, what, failed: job.take_failed() })
    }

    /// Gives the files of the job, and the bytes written.
    async fn write(self, checkpoints: &CheckpointStore, epoch: Epoch) -> Result<(JobFiles, u64)> {
        let Self { id, mut files, what, failed, .. } = self;
        let mut bytes = 0;
        let name = |part: &str| checkpoints.file(epoch, &format!("{id}-{part}.arrow"));
        match what {
            JobPart::Base(frozen) => {
                let saved = apart(|| frozen.saved())?;
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
        if let Some(failed) = failed {
            let (file, content) = (checkpoints.file(epoch, &format!("{id}-failed.json")), json(&failed)?);
            bytes += content.len() as u64;
            checkpoints.write(&file, content).await?;
            files.failed = Some(file);
        }
        Ok((files, bytes))
    }
}

/// A dead letter as a manifest's file holds it.
#[derive(serde::Serialize, serde::Deserialize)]
struct SavedLetter {
    split: SplitId,
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
