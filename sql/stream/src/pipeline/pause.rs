//! `ALTER … PAUSE` and `RESUME`, and starting again what has failed.
//!
//! A stream that is paused is not read; nothing else about it changes. A view that is paused keeps its job
//! and its rows as they are, and the place in the stream they are of. To resume is to catch up from there,
//! with what was late known from the late log, as for a new view.
//!
//! # Invariants
//! - While a job does not run, the manifests go on naming the files it left, with the moment they are of
//!   (`Held`): a crash, and even records that the source has dropped since, take nothing away from it.

use ebap_connector::Position;
use ebap_sql::Run;

use super::{Pipeline, ViewSlot, ViewState};
use crate::{
    Result,
    checkpoint::{CheckpointStore, Held, JobFiles},
    guard::{guarded, guarded_async},
    view::{Saved, ViewJob},
};

impl ViewSlot {
    /// Keeps the job as of this moment.
    pub(super) fn hold(&mut self, job: Box<ViewJob>, at: Held) {
        self.set_state(ViewState::Paused(Some((job, at))));
    }

    /// The name may have been exchanged with that of another view.
    pub(super) fn rename(&mut self) {
        self.tell_readers();
        let job = match &mut self.state {
            ViewState::Running(job) | ViewState::Paused(Some((job, _))) => job,
            _ => return,
        };
        if let Some(plan) = &self.plan {
            job.name.clone_from(&plan.name);
        }
    }

    /// What the sinks have is as of the moment the job stopped; they get the difference when it runs again.
    pub(super) fn keep_for_sinks(&mut self) -> Result<()> {
        let rows = self.store.snapshot()?;
        for sink in &mut self.sinks {
            sink.replace(rows.clone());
        }
        self.alerts.iter_mut().for_each(crate::alerts::AlertJob::reload);
        // Sinks are taken out of their views while jobs are set.
        self.left = Some(rows);
        Ok(())
    }
}

impl Pipeline {
    pub(super) fn set_paused(&mut self, paused: bool) {
        if self.paused && !paused {
            self.watermarks.wake(self.runtime.clock.now_us());
        }
        self.paused = paused;
        if paused {
            // Nobody waits for records that are not read.
            for flush in &mut self.flushes {
                flush.target = Position::default();
            }
        }
    }

    /// Does what `ALTER` has said since the last time.
    pub(super) async fn set_run(&mut self, id: u64, run: Run) -> Result<()> {
        let now = Held { position: self.position.clone(), watermark: self.watermarks.current().0 };
        let Some(view) = self.views.get_mut(&id) else { return Ok(()) };
        let resumed = run.resumes > view.run.resumes;
        view.run = run;
        if !run.paused {
            return match &view.state {
                ViewState::Paused(_) => self.resume(id, now).await,
                ViewState::Failed { .. } if resumed => self.start_behind_bad_rows(id).await,
                ViewState::Retrying { .. } if resumed => self.start_again(id).await,
                _ => Ok(()),
            };
        }
        let state = view.set_state(ViewState::Paused(None));
        match state {
            ViewState::Running(job) => view.hold(job, now),
            ViewState::CatchingUp => {
                if let Some(catching) = &view.catching {
                    catching.stop();
                }
            }
            ViewState::Paused(held) => drop(view.set_state(ViewState::Paused(held))),
            ViewState::Retrying { .. } | ViewState::Failed { .. } => {}
        }
        Ok(())
    }

    async fn resume(&mut self, id: u64, now: Held) -> Result<()> {
        let Some(view) = self.views.get_mut(&id) else { return Ok(()) };
        match view.set_state(ViewState::CatchingUp) {
            ViewState::Paused(Some((mut job, at))) => {
                view.keep_for_sinks()?;
                if at.position == now.position {
                    job.bad_rows = None;
                    let advanced = guarded(|| job.advance(now.watermark, false));
                    view.set_state(ViewState::Running(job));
                    if let Err(error) = advanced {
                        view.fail(&error);
                    }
                } else {
                    self.catch_view_up(id, *job, at.position);
                }
                Ok(())
            }
            ViewState::Paused(None) => match &view.catching {
                // It has not noticed yet that it shall stop, or its end is on the way.
                Some(catching) => {
                    if !view.begins_anew {
                        catching.go_on();
                    }
                    Ok(())
                }
                None => self.start_again(id).await,
            },
            other => {
                view.set_state(other);
                Ok(())
            }
        }
    }

    /// The same again, and rows that the query cannot be computed for are left out until it has caught up.
    pub(super) async fn start_behind_bad_rows(&mut self, id: u64) -> Result<()> {
        let Some(view) = self.views.get_mut(&id) else { return Ok(()) };
        view.leaves_out = true;
        self.start_again(id).await
    }

    /// From what was last made durable of it, or from the beginning.
    pub(super) async fn start_again(&mut self, id: u64) -> Result<()> {
        let Some(view) = self.views.get(&id) else { return Ok(()) };
        let Some(saved) = view.saved.clone() else { return self.start_anew(id) };
        let job = guarded(|| self.view_job(view.plan.as_deref(), &view.store));
        let files = view.files.clone();
        if let Some(view) = self.views.get_mut(&id) {
            view.keep_for_sinks()?;
        }
        let restored = match job {
            Ok(mut job) => restore(&self.checkpoints, &mut job, &files, saved.watermark).await.map(|()| job),
            Err(error) => Err(error),
        };
        match restored {
            Ok(job) => self.catch_view_up(id, job, saved.position),
            Err(error) if error.is_outdated() => return self.start_anew(id),
            Err(error) => {
                if let Some(view) = self.views.get_mut(&id) {
                    view.fail(&error);
                }
            }
        }
        Ok(())
    }

    /// Starts what waits for its next attempt.
    pub(super) async fn tend_views(&mut self) -> Result<()> {
        let now_us = self.runtime.clock.now_us();
        let due = |view: &ViewSlot| matches!(view.state, ViewState::Retrying { until_us, .. } if until_us <= now_us);
        let due: Vec<u64> = self.views.iter().filter(|(_, view)| due(view)).map(|(id, _)| *id).collect();
        for id in due {
            self.start_again(id).await?;
            if let Some(view) = self.views.get_mut(&id) {
                view.left = None;
            }
        }
        Ok(())
    }
}

/// Reads a job's files into it. Readers see the rows there were until all of it is back. Windows are closed up to the watermark once, after the last delta: rows of
/// a closed window that came late are in none of them.
pub(super) async fn restore(
    checkpoints: &CheckpointStore,
    job: &mut ViewJob,
    files: &JobFiles,
    watermark: i64,
) -> Result<()> {
    guarded_async(read_back(checkpoints, job, files, watermark)).await
}

async fn read_back(checkpoints: &CheckpointStore, job: &mut ViewJob, files: &JobFiles, watermark: i64) -> Result<()> {
    let shown = job.hide();
    let mut saved = Saved::default();
    if let Some(file) = &files.state {
        saved.state = checkpoints.read_batches(file).await?;
    }
    if let Some(file) = &files.rows {
        saved.rows = checkpoints.read_batches(file).await?;
    }
    job.restore(saved)?;
    for file in &files.deltas {
        job.replay(checkpoints.read_batches(file).await?)?;
    }
    if let Some(file) = &files.failed {
        job.failed = checkpoints.read_json(file).await?;
    }
    job.settle()?;
    job.advance(watermark, false)?;
    job.begin()?;
    job.show(shown);
    job.accounting = files.accounting.clone();
    Ok(())
}
