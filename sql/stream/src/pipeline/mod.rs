//! The loop of one stream or table: read, decode, raise the watermark, run the jobs, publish; now
//! and then make an epoch durable.
//!
//! # Invariants
//! - Between two steps nothing is in flight: position, state and watermarks are of one moment.
//! - What a manifest says is below its position is in the state it names, once.

mod alerts;
pub(crate) mod flush;
pub(crate) mod gaps;
pub(crate) mod group;
mod jobs;
mod keep;
mod lanes;
mod pause;
mod persist;
pub(crate) mod range;
mod report;
pub(crate) mod runtime;
mod stand_by;
mod step;
mod wait;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use arrow::array::RecordBatch;
use ebap_connector::{
    DeadLetterWriter, Epoch, Offset, Position, Records, Retry, SourceReader, SplitId, SplitState, Wanted, time::Backoff,
};
use ebap_sql::{AlertPlan, Run, SinkPlan, SourceKind, ViewPlan};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use crate::{
    Error, Result,
    accounting::Accounting,
    alerts::{AlertJob, SavedAlert},
    catch_up::{CatchUp, CatchUpEnd},
    checkpoint::{CheckpointStore, Held, JobFiles, Manifest},
    figures::Figures,
    guard::guarded_async,
    sinks::{RowsSinkJob, ViewSink},
    view::{ViewJob, store::ViewStore},
    watermark::Watermarks,
};
use flush::{FailedJob, Flush, Flushed, Forced};
use keep::{Keeping, Seen};
use lanes::Lanes;
use runtime::SourceRuntime;
use stand_by::stand_by;
use wait::Waiting;

/// Commands waiting for a loop, at the most; senders wait beyond it.
pub(crate) const COMMANDS_MAX: usize = 64;
/// How often the late log is rid of what the source has dropped.
const FORGET_INTERVAL_US: i64 = 600_000_000;
/// Attempts to take over from an instance that still writes.
const STARTS_MAX: u64 = 20;
/// Starts whose epochs are known to be of this process; an older one has none that is the newest.
const WRITERS_MAX: usize = 1_000;

/// What should run on a stream.
#[derive(Clone, Default)]
pub(crate) struct JobSet {
    /// Of the stream itself.
    pub(crate) run: Run,
    /// The rows of the table itself.
    pub(crate) table: Option<Arc<ViewStore>>,
    pub(crate) views: Vec<(Arc<ViewPlan>, Arc<ViewStore>)>,
    pub(crate) sinks: Vec<Arc<SinkPlan>>,
    pub(crate) alerts: Vec<Arc<AlertPlan>>,
}

impl JobSet {
    /// Names and kinds of what runs, the source itself among them.
    pub(crate) fn names(&self, source: &str, kind: &'static str) -> Vec<(String, &'static str)> {
        let views = self.views.iter().map(|(plan, _)| (plan.name.clone(), "materialized view"));
        let sinks = self.sinks.iter().filter(|plan| !plan.on_view).map(|plan| (plan.name.clone(), "sink"));
        std::iter::once((source.to_owned(), kind)).chain(views).chain(sinks).collect()
    }

    /// Whether jobs that run now are to run differently.
    pub(crate) fn alters(&self, before: &Self) -> bool {
        let view = |(plan, _): &(Arc<ViewPlan>, Arc<ViewStore>)| {
            let mut same = before.views.iter().filter(|(other, _)| other.id == plan.id);
            same.any(|(other, _)| other.run != plan.run || other.name != plan.name)
        };
        let sink = |plan: &Arc<SinkPlan>| {
            let mut same = before.sinks.iter().filter(|other| other.id == plan.id);
            same.any(|other| other.run != plan.run || other.from != plan.from)
        };
        let alert = |plan: &Arc<AlertPlan>| {
            let mut same = before.alerts.iter().filter(|other| other.id == plan.id);
            same.any(|other| other.run != plan.run || other.silenced_until_us != plan.silenced_until_us)
        };
        let (views, sinks) = (self.views.iter().any(view), self.sinks.iter().any(sink));
        self.run != before.run || views || sinks || self.alerts.iter().any(alert)
    }
}

pub(crate) enum Command {
    /// Answered when it is so.
    Jobs {
        jobs: JobSet,
        origin: Origin,
        reply: oneshot::Sender<()>,
    },
    /// Answered when everything up to the position is visible everywhere.
    Flush {
        target: Position,
        reply: oneshot::Sender<Result<Flushed>>,
    },
    CaughtUp {
        generation: u64,
        end: Box<CatchUpEnd>,
    },
    /// Finishes the step and ends; answered when all is done.
    Stop {
        how: Stop,
        reply: oneshot::Sender<()>,
    },
}

/// The server that has changed the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Here,
    /// Another server, which does what is to be done once.
    Elsewhere,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Makes a last epoch durable.
    Durable,
    /// The stream was dropped: its files are deleted, by the server that runs it.
    Forget,
}

/// An epoch on its way to the store. A pipeline that ends lets it go: its successor finds the epoch
/// there or not, and fences it where it comes later.
struct Writing {
    begun: Seen,
    /// The moment that the files of each job are of.
    saved: Vec<(u64, Held)>,
    task: tokio::task::JoinHandle<Result<(Manifest, u64)>>,
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

enum Ended {
    Stopped,
    /// Who waits for its files to be gone.
    Forgotten(oneshot::Sender<()>),
}

/// What becomes of a pipeline that is down.
enum Next {
    Again,
    Ends,
    Forgotten(oneshot::Sender<()>),
}

/// A view with its sinks.
struct ViewSlot {
    /// Name of the table, where there is no plan.
    table: String,
    plan: Option<Arc<ViewPlan>>,
    store: Arc<ViewStore>,
    state: ViewState,
    /// What `ALTER` has said, as far as it has been done.
    run: Run,
    sinks: Vec<ViewSink>,
    alerts: Vec<AlertJob>,
    files: JobFiles,
    /// The moment the files are of.
    saved: Option<Held>,
    /// The rows as they were when the job stopped, for sinks that are not back yet.
    left: Option<Vec<RecordBatch>>,
    /// While it catches up.
    catching: Option<CatchUp>,
    /// As it was last looked.
    memory_bytes: Option<usize>,
    /// The next epoch writes a base snapshot.
    base_due: bool,
    /// Why it was built again, or what it has left out, since the start of this server.
    note: Option<String>,
    /// Rows that it cannot be computed for are left out when it catches up next.
    leaves_out: bool,
    /// It does so now.
    leaving_out: bool,
    /// Its definition is another one since it began to catch up: what comes of that is thrown away.
    begins_anew: bool,
}

enum ViewState {
    CatchingUp,
    Running(Box<ViewJob>),
    /// By `ALTER`: the job, and the moment its state is of. Without a job it starts from its files, if it has any.
    Paused(Option<(Box<ViewJob>, Held)>),
    /// Could not catch up, and tries again then.
    Retrying {
        until_us: i64,
        message: String,
    },
    /// `reason`: as `ebap.jobs` shows it. `counted`: up to where it came.
    Failed {
        reason: String,
        counted: Accounting,
    },
}

struct Pipeline {
    runtime: Arc<SourceRuntime>,
    checkpoints: CheckpointStore,
    commands: mpsc::Sender<Command>,
    tasks: Tasks,
    generation: u64,
    incarnation: u64,
    reader: Box<dyn SourceReader>,
    lanes: Lanes,
    /// What they make of a record.
    wanted: Vec<Wanted>,
    dead_letters: Option<Box<dyn DeadLetterWriter>>,
    dead_letters_changed: bool,
    /// When the first of the letters came that no epoch has committed.
    letters_since_us: Option<i64>,
    position: Position,
    watermarks: Watermarks,
    accounting: Accounting,
    figures: Figures,
    views: BTreeMap<u64, ViewSlot>,
    sinks: BTreeMap<u64, RowsSinkJob>,
    /// Of the manifest, until they run.
    saved_alerts: BTreeMap<u64, SavedAlert>,
    alerts_dirty: bool,
    /// Of views whose saved state is of no use, why: until they begin again.
    rebuilt: BTreeMap<u64, String>,
    /// Nothing is read.
    paused: bool,
    /// The last `RESUME FROM` that was done.
    resumed: u64,
    /// Read, and to be decoded before anything else is read.
    waiting: Option<Waiting>,
    flushes: Vec<Flush>,
    forced: Option<Forced>,
    epoch: Epoch,
    manifest: Option<Manifest>,
    writing: Option<Writing>,
    keeping: Keeping,
    /// Steps in a row that had nothing to do.
    idle_steps: u32,
    /// No step before that, so that each has more to do.
    gather_until_us: i64,
    /// Came while the loop waited for records.
    early: Option<Command>,
    /// Something the newest manifest does not say.
    dirty: bool,
    checkpoint_at_us: i64,
    discover_at_us: i64,
    status_at_us: i64,
    forget_at_us: i64,
}

/// One start of a pipeline.
struct Start<'a> {
    generation: u64,
    /// Also what another process has written last. A start after a failure does not: two processes would take it from
    /// each other again and again.
    takes_over: bool,
    /// Starts of this process, as they sign what they write.
    writers: &'a mut VecDeque<u64>,
}

/// What one start of a pipeline runs beside its loop: jobs that are behind, and sinks.
type Tasks = Arc<parking_lot::Mutex<JoinSet<()>>>;

/// Runs the pipeline until it is stopped; starts it again from its last epoch where that may help.
pub(crate) async fn supervise(
    runtime: Arc<SourceRuntime>,
    checkpoints: CheckpointStore,
    mut jobs: JobSet,
    origin: Origin,
    (commands, mut inbox): (mpsc::Sender<Command>, mpsc::Receiver<Command>),
) {
    let (name, kind) = (runtime.plan.name.clone(), runtime.kind());
    let mut backoff = Backoff::new(runtime.config.backoff_first, runtime.config.backoff_max);
    // Starts in a row that another instance was faster than.
    let mut outrun = 0;
    let (mut takes_over, mut writers) = (true, VecDeque::new());
    if origin == Origin::Elsewhere {
        let error = Error::Elsewhere { name: name.clone() };
        stand_by(&runtime, &jobs, &error);
        match wait_between(&runtime, &mut inbox, &mut jobs, None, &error).await {
            Next::Again => {}
            Next::Ends => return,
            Next::Forgotten(reply) => return forget(&checkpoints, &name, reply).await,
        }
    }
    for generation in 0.. {
        let (sender, tasks) = (commands.clone(), Tasks::default());
        let by = (sender, Arc::clone(&tasks));
        let start = Start { generation, takes_over, writers: &mut writers };
        let opened = Pipeline::open(Arc::clone(&runtime), checkpoints.clone(), &jobs, by, start);
        let opened = guarded_async(opened).await;
        let started = opened.is_ok();
        let ended = match opened {
            Ok(mut pipeline) => {
                *runtime.elsewhere.write() = None;
                runtime.gone.store(false, Ordering::Release);
                backoff.reset();
                (outrun, takes_over) = (0, false);
                let ended = guarded_async(pipeline.run(&mut inbox, &mut jobs)).await;
                pipeline.fail_flushes(ended.as_ref().err());
                ended
            }
            Err(error) => Err(error),
        };
        // They write into the views that the next start clears and fills again, and into the same systems.
        let mut beside = std::mem::take(&mut *tasks.lock());
        beside.shutdown().await;
        let error = match ended {
            // An older instance, or a put of an older start, was faster once more; the next attempt starts behind it.
            Err(Error::Fenced { .. }) if !started && outrun < STARTS_MAX => {
                outrun += 1;
                continue;
            }
            Ok(Ended::Stopped) => return,
            Ok(Ended::Forgotten(reply)) => return forget(&checkpoints, &name, reply).await,
            Err(error) => error,
        };
        let wait = match error.retry() {
            Retry::Backoff => {
                tracing::warn!(stream = name, error = error.chain(), "the pipeline tries again");
                runtime.status.set_state(&name, kind, "retrying", &error.chain());
                Some(backoff.advance())
            }
            Retry::Never if error.is_superseded() => {
                tracing::warn!(stream = name, error = error.chain(), "the pipeline stands by");
                stand_by(&runtime, &jobs, &error);
                None
            }
            Retry::Never => {
                tracing::error!(stream = name, error = error.chain(), "the pipeline has stopped");
                runtime.gone.store(error.is_gone(), Ordering::Release);
                runtime.status.set_state(&name, kind, "failed", &error.chain());
                fail_views(&runtime, &jobs, &error);
                None
            }
        };
        match wait_between(&runtime, &mut inbox, &mut jobs, wait, &error).await {
            // By `RESUME`, where nothing was waited for.
            Next::Again => takes_over |= wait.is_none(),
            Next::Ends => return,
            Next::Forgotten(reply) => return forget(&checkpoints, &name, reply).await,
        }
    }
}

/// Deletes the files of a stream that was dropped.
async fn forget(checkpoints: &CheckpointStore, name: &str, reply: oneshot::Sender<()>) {
    if let Err(error) = checkpoints.delete_all().await {
        tracing::warn!(stream = name, error = error.chain(), "state of a dropped stream stays behind");
    }
    let _ = reply.send(());
}

/// Nothing keeps these rows up to date any more: whoever reads them is told.
fn fail_views(runtime: &SourceRuntime, jobs: &JobSet, error: &Error) {
    let reason = format!("\"{}\" has stopped: {}", runtime.plan.name, error.reason());
    let failed = |kind, name: &str| FailedJob { kind, name: name.to_owned(), reason: reason.clone() }.error();
    if let Some(table) = &jobs.table {
        table.set_failure(Some(failed("table", &runtime.plan.name)));
    }
    for (plan, store) in &jobs.views {
        store.set_failure(Some(failed("materialized view", &plan.name)));
    }
}

/// Waits for the future or for a command, whichever comes first.
async fn or_command<T>(inbox: &mut mpsc::Receiver<Command>, waited: impl Future<Output = T>) -> Result<T, Command> {
    tokio::select! {
        // In order, so that a simulation plays the same again.
        biased;
        Some(command) = inbox.recv() => Err(command),
        done = waited => Ok(done),
    }
}

/// Answers commands while the pipeline is down, until it is to start again or to end.
async fn wait_between(
    runtime: &SourceRuntime,
    inbox: &mut mpsc::Receiver<Command>,
    jobs: &mut JobSet,
    wait: Option<Duration>,
    error: &Error,
) -> Next {
    let until = wait.map(|wait| runtime.clock.sleep(wait));
    let mut until = std::pin::pin!(async move {
        match until {
            Some(sleep) => sleep.await,
            None => std::future::pending().await,
        }
    });
    loop {
        let command = tokio::select! {
            // In order, so that a simulation plays the same again.
            biased;
            () = &mut until => return Next::Again,
            command = inbox.recv() => command,
        };
        match command {
            None => return Next::Ends,
            Some(Command::Jobs { jobs: new, origin, reply }) => {
                let resumed = origin == Origin::Here && new.run.resumes > jobs.run.resumes;
                *jobs = new;
                let _ = reply.send(());
                if resumed {
                    return Next::Again;
                }
                // What was created meanwhile does not run either.
                match wait {
                    Some(_) => {}
                    None if error.is_superseded() => stand_by(runtime, jobs, error),
                    None => fail_views(runtime, jobs, error),
                }
            }
            Some(Command::Flush { reply, .. }) => {
                let _ = reply.send(Err(error.clone()));
            }
            Some(Command::CaughtUp { .. }) => {}
            // The process that runs it deletes its files when it hears of it.
            Some(Command::Stop { how: Stop::Forget, reply }) if !error.is_superseded() => {
                return Next::Forgotten(reply);
            }
            Some(Command::Stop { reply, .. }) => {
                let _ = reply.send(());
                return Next::Ends;
            }
        }
    }
}

impl Pipeline {
    async fn run(&mut self, inbox: &mut mpsc::Receiver<Command>, jobs: &mut JobSet) -> Result<Ended> {
        loop {
            while let Some(command) = self.early.take().or_else(|| inbox.try_recv().ok()) {
                self.idle_steps = 0;
                if let Some(ended) = self.command(command, jobs).await? {
                    return Ok(ended);
                }
            }
            let now_us = self.runtime.clock.now_us();
            if now_us >= self.discover_at_us && !self.paused {
                self.discover_at_us = now_us + micros(self.runtime.config.discover_interval);
                self.discover().await?;
            }
            if self.paused {
                // No step: time must not make splits idle that nobody reads.
                let pause = self.runtime.clock.sleep(self.runtime.config.step_wait);
                self.early = or_command(inbox, pause).await.err();
            } else if let Some(records) = self.next_records(inbox).await? {
                self.idle_steps = if records.is_empty() { self.idle_steps.saturating_add(1) } else { 0 };
                let rows = records.iter().map(Records::len).sum();
                self.step(records).await?;
                self.gather_behind(rows);
            }
            self.tend_views().await?;
            self.tend_sinks();
            self.tend_alerts();
            self.report();
            let due = self.flush_is_due();
            self.checkpoint(due).await?;
            self.answer_flushes();
        }
    }

    async fn command(&mut self, command: Command, jobs: &mut JobSet) -> Result<Option<Ended>> {
        match command {
            Command::Jobs { jobs: new, reply, .. } => {
                *jobs = new;
                self.set_jobs(jobs).await?;
                self.report_now();
                let _ = reply.send(());
            }
            Command::Flush { reply, .. } if self.paused => {
                self.flushes.push(Flush { target: Position::default(), reply, asked: false });
            }
            Command::Flush { target, reply } => {
                self.discover().await?;
                self.flushes.push(Flush { target, reply, asked: false });
            }
            Command::CaughtUp { generation, end } if generation == self.generation => self.caught_up(*end).await,
            Command::CaughtUp { .. } => {}
            Command::Stop { how: Stop::Forget, reply } => {
                // What is still being written would come back after the rest has been deleted.
                return match self.end_epoch(true).await {
                    Err(error) if error.is_superseded() => {
                        let _ = reply.send(());
                        Ok(Some(Ended::Stopped))
                    }
                    Ok(()) | Err(_) => Ok(Some(Ended::Forgotten(reply))),
                };
            }
            Command::Stop { how: Stop::Durable, reply } => {
                if let Err(error) = self.checkpoint(true).await {
                    tracing::error!(stream = self.name(), error = error.chain(), "no last checkpoint");
                }
                for told in self.forced.take().into_iter().flat_map(|forced| forced.told) {
                    let _ = told.await;
                }
                // What the sinks have made visible just now need not come again.
                if self.sinks_moved()
                    && let Err(error) = self.last_epoch().await
                {
                    tracing::error!(stream = self.name(), error = error.chain(), "no last position of a sink");
                }
                let _ = reply.send(());
                return Ok(Some(Ended::Stopped));
            }
        }
        Ok(None)
    }

    fn name(&self) -> &str {
        &self.runtime.plan.name
    }

    /// Assigns splits that are new. A source that is away is asked again later.
    async fn discover(&mut self) -> Result<()> {
        let splits = match self.runtime.source.splits().await {
            Ok(splits) => splits,
            Err(error) if error.retry() == Retry::Backoff && !self.position.0.is_empty() => {
                tracing::warn!(stream = self.name(), %error, "splits cannot be listed");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let found_while_running = self.manifest.is_some();
        for split in splits {
            if self.position.get(&split).is_some() {
                continue;
            }
            let start = self.runtime.source.start(&split, found_while_running).await?;
            self.runtime.start.write().set(split.clone(), start);
            self.position.set(split.clone(), start);
            if self.runtime.has_event_time(&split) {
                self.watermarks.add(&split, self.runtime.clock.now_us());
            }
            self.reader.assign(split, start).await?;
            self.dirty = true;
        }
        self.runtime.published.send_replace(self.position.clone());
        self.forget_expired().await;
        Ok(())
    }

    /// Lets the late log forget records that the source has dropped.
    async fn forget_expired(&mut self) {
        let now_us = self.runtime.clock.now_us();
        if now_us < self.forget_at_us {
            return;
        }
        self.forget_at_us = now_us + FORGET_INTERVAL_US;
        for split in self.position.0.keys() {
            if let Ok(bounds) = self.runtime.source.bounds(split).await {
                self.runtime.late_log.write().forget_below(split, bounds.earliest);
            }
        }
    }

    /// The splits to read now: a split far ahead of one with records to read waits for it.
    fn wanted(&self) -> Vec<SplitId> {
        let behind =
            self.reader.status().into_iter().filter(|status| status.state == SplitState::Running).filter(|status| {
                let here = self.position.get(&status.split).unwrap_or_default();
                status.end.is_some_and(|end| end > here)
            });
        let slowest = behind.map(|status| self.watermarks.newest(&status.split).unwrap_or(i64::MIN)).min();
        let limit = match slowest {
            Some(slowest) if self.runtime.plan.watermark.is_some() => {
                slowest.saturating_add(micros(self.runtime.config.drift_max))
            }
            _ => i64::MAX,
        };
        let near = |split: &&SplitId| self.watermarks.newest(split).is_none_or(|newest| newest <= limit);
        self.position.0.keys().filter(near).cloned().collect()
    }

    fn offset(&self, split: &SplitId) -> Offset {
        self.position.get(split).unwrap_or_default()
    }
}

pub(crate) fn kind_text(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Stream => "stream",
        SourceKind::Table => "table",
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
