//! Bringing a job that is behind its stream up to it, without the stream waiting.
//!
//! A new view, and a sink whose outside system has less than the stream has read, read the records
//! again with a reader of their own until little is missing; the loop then reads that little itself
//! between two steps and the job has joined.
//!
//! Windows stay open meanwhile: which rows were on time is known from the late log, and one of them
//! may belong to any window until the stream's position is reached.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use ebap_catalog::ObjectId;
use ebap_connector::{Epoch, Position};
use tokio::sync::mpsc;

use crate::{
    Error, Result,
    guard::guarded_async,
    pipeline::{Command, range::RangeReader, runtime::SourceRuntime},
    prepare::StepBatch,
    sinks::{Counted, RowsSink},
    view::ViewJob,
};

/// Records the loop reads for a joining job between two steps, about at the most.
pub(crate) const JOIN_RECORDS_MAX: u64 = 20_000;

/// What the loop and a catch-up tell each other while it goes on.
#[derive(Debug, Default)]
struct Progress {
    /// Versions of positions: records since the beginning of the stream.
    from: AtomicU64,
    at: AtomicU64,
    stopped: AtomicBool,
}

/// The loop's end of it. A catch-up that nobody waits for any more ends.
#[derive(Debug)]
pub(crate) struct CatchUp(Arc<Progress>);

impl CatchUp {
    /// It ends soon and gives the job back as far as it came.
    pub(crate) fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    /// It shall go on, unless it has ended meanwhile.
    pub(crate) fn go_on(&self) {
        self.0.stopped.store(false, Ordering::Relaxed);
    }

    /// Records it still has to read to come to this version.
    pub(crate) fn left(&self, version: u64) -> u64 {
        version.saturating_sub(self.0.at.load(Ordering::Relaxed))
    }

    /// How much of the way to this version lies behind it, in percent.
    pub(crate) fn percent(&self, version: u64) -> f64 {
        let (from, at) = (self.0.from.load(Ordering::Relaxed), self.0.at.load(Ordering::Relaxed));
        let whole = version.saturating_sub(from);
        if whole == 0 { 100.0 } else { 100.0 * at.saturating_sub(from).min(whole) as f64 / whole as f64 }
    }
}

impl Drop for CatchUp {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) enum CatchUpJob {
    View(Box<ViewJob>),
    Sink(Box<RowsSink>),
}

impl CatchUpJob {
    fn id(&self) -> ObjectId {
        match self {
            Self::View(view) => view.id,
            Self::Sink(sink) => sink.plan.id,
        }
    }

    /// What a sink has counted; nothing for a view, whose accounting is of the records its state is of.
    pub(crate) fn counted(&self) -> Counted {
        match self {
            Self::View(_) => Counted::default(),
            Self::Sink(sink) => sink.counted.clone(),
        }
    }

    /// Takes all that the range still gives.
    pub(crate) async fn drain(&mut self, range: &mut RangeReader) -> Result<()> {
        while let Some(step) = range.next().await? {
            self.take(&step, range.epoch()).await?;
        }
        Ok(())
    }

    async fn take(&mut self, step: &StepBatch, epoch: Epoch) -> Result<()> {
        match self {
            Self::View(view) => {
                view.process(step, false)?;
                // A base snapshot is written when it joins: nothing is to be replayed before.
                view.forget_delta();
                Ok(())
            }
            Self::Sink(sink) => {
                sink.write(step).await?;
                sink.commit(epoch).await
            }
        }
    }
}

/// The outcome, for the loop.
pub(crate) enum CatchUpEnd {
    Joins { job: CatchUpJob, range: RangeReader },
    Failed { id: ObjectId, counted: Counted, error: Error },
}

/// A catch-up from there, to be spawned. The loop gets its end as a command.
pub(crate) fn start(
    runtime: &Arc<SourceRuntime>,
    job: CatchUpJob,
    from: Position,
    commands: &mpsc::Sender<Command>,
    generation: u64,
) -> (CatchUp, impl Future<Output = ()> + Send + use<>) {
    let progress = Arc::new(Progress::default());
    progress.from.store(from.version(), Ordering::Relaxed);
    progress.at.store(from.version(), Ordering::Relaxed);
    let (runtime, commands, seen) = (Arc::clone(runtime), commands.clone(), Arc::clone(&progress));
    (CatchUp(progress), async move { run(runtime, job, from, (commands, generation), &seen).await })
}

/// Runs until the job may join, or shall stop. `generation` tells the loop which of its starts this belongs to.
async fn run(
    runtime: Arc<SourceRuntime>,
    mut job: CatchUpJob,
    from: Position,
    (commands, generation): (mpsc::Sender<Command>, u64),
    progress: &Progress,
) {
    let read = guarded_async(near(&runtime, &mut job, &from, progress)).await;
    let end = match read {
        Ok(range) => CatchUpEnd::Joins { job, range },
        Err(error) => CatchUpEnd::Failed { id: job.id(), counted: job.counted(), error },
    };
    // The loop is gone only at shutdown.
    let _ = commands.send(Command::CaughtUp { generation, end: Box::new(end) }).await;
}

async fn near(
    runtime: &Arc<SourceRuntime>,
    job: &mut CatchUpJob,
    from: &Position,
    progress: &Progress,
) -> Result<RangeReader> {
    if let CatchUpJob::Sink(sink) = job {
        sink.ready().await?;
    }
    let mut range = RangeReader::open(Arc::clone(runtime), from).await?;
    // Up to what is counted first, so that no batch holds both counted and uncounted records.
    range.extend(&job.counted().position).await?;
    let mut goes_on = read(job, &mut range, progress).await?;
    while goes_on {
        let target = runtime.published.borrow().clone();
        range.extend(&target).await?;
        goes_on = read(job, &mut range, progress).await?;
        let missing = runtime.published.borrow().version().saturating_sub(range.position().version());
        if missing <= JOIN_RECORDS_MAX {
            break;
        }
    }
    Ok(range)
}

/// Takes what the range gives; false where it was told to stop before the end.
async fn read(job: &mut CatchUpJob, range: &mut RangeReader, progress: &Progress) -> Result<bool> {
    while let Some(step) = range.next().await? {
        job.take(&step, range.epoch()).await?;
        progress.at.store(range.position().version(), Ordering::Relaxed);
        if progress.stopped.load(Ordering::Relaxed) {
            return Ok(false);
        }
    }
    Ok(true)
}
