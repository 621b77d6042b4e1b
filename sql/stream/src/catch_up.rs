//! Bringing a job that is behind its stream up to it, without the stream waiting.
//!
//! A new view, and a sink whose outside system has less than the stream has read, read the records
//! again with a reader of their own until little is missing; the loop then reads that little itself
//! between two steps and the job has joined.
//!
//! Windows stay open meanwhile: which rows were on time is known from the late log, and one of them
//! may belong to any window until the stream's position is reached.
//!
//! Few catch-ups read at a time (`CatchUpTurns`): each has a consumer, a decoder and decoded rows of its own, and a
//! migration creates hundreds of views at once. One that has read much makes room for those that wait.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use ebap_catalog::ObjectId;
use ebap_connector::{Epoch, Position};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::{
    EngineConfig, Error, Result,
    guard::{guarded, guarded_async},
    pipeline::{Command, range::RangeReader, runtime::SourceRuntime},
    prepare::StepBatch,
    sinks::{Counted, RowsSink},
    view::ViewJob,
};

/// Records the loop reads for a joining job between two steps, about at the most.
pub(crate) const JOIN_RECORDS_MAX: u64 = 20_000;

/// Records a catch-up reads before it makes room for one that waits, about.
const TURN_RECORDS: u64 = 1_000_000;

/// Views and sinks that may read at once, in the whole engine. Sinks have turns of their own, as an outside
/// system may keep one waiting.
pub(crate) struct CatchUpTurns {
    views: Arc<Semaphore>,
    sinks: Arc<Semaphore>,
}

impl CatchUpTurns {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        let semaphore = |turns: usize| Arc::new(Semaphore::new(turns.max(1)));
        Self { views: semaphore(config.view_catch_ups_max), sinks: semaphore(config.sink_catch_ups_max) }
    }

    fn of(&self, job: &CatchUpJob) -> &Arc<Semaphore> {
        match job {
            CatchUpJob::View(_) => &self.views,
            CatchUpJob::Sink(_) => &self.sinks,
        }
    }
}

/// A reader that is near its stream, and its turn, which ends when the job has joined.
pub(crate) struct Turn {
    pub(crate) range: RangeReader,
    _permit: OwnedSemaphorePermit,
}

/// What the loop and a catch-up tell each other while it goes on.
#[derive(Debug, Default)]
struct Progress {
    /// Versions of positions: records since the beginning of the stream.
    from: AtomicU64,
    at: AtomicU64,
    stopped: watch::Sender<bool>,
}

impl Progress {
    /// Ends when the loop has told it to stop.
    async fn stop(&self) {
        // The sender is part of this, so that it cannot be gone.
        let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }
}

/// The loop's end of it. A catch-up that nobody waits for any more ends.
#[derive(Debug)]
pub(crate) struct CatchUp(Arc<Progress>);

impl CatchUp {
    /// It ends soon and gives the job back as far as it came.
    pub(crate) fn stop(&self) {
        self.0.stopped.send_replace(true);
    }

    /// It shall go on, unless it has ended meanwhile.
    pub(crate) fn go_on(&self) {
        self.0.stopped.send_replace(false);
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
    Joins {
        job: CatchUpJob,
        turn: Turn,
    },
    /// It was told to stop, and has read up to there.
    Stopped {
        job: CatchUpJob,
        at: Position,
    },
    Failed {
        id: ObjectId,
        counted: Counted,
        error: Error,
    },
}

impl CatchUpEnd {
    pub(crate) fn id(&self) -> ObjectId {
        match self {
            Self::Joins { job, .. } | Self::Stopped { job, .. } => job.id(),
            Self::Failed { id, .. } => *id,
        }
    }
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
    mut at: Position,
    (commands, generation): (mpsc::Sender<Command>, u64),
    progress: &Progress,
) {
    if let CatchUpJob::View(view) = &mut job {
        view.begin_behind();
    }
    let read = guarded_async(near(&runtime, &mut job, &mut at, progress)).await;
    let read = read.and_then(|turn| match &mut job {
        CatchUpJob::View(view) => guarded(|| view.end_behind()).map(|()| turn),
        CatchUpJob::Sink(_) => Ok(turn),
    });
    let end = match read {
        Ok(Some(turn)) => CatchUpEnd::Joins { job, turn },
        Ok(None) => CatchUpEnd::Stopped { job, at },
        Err(error) => CatchUpEnd::Failed { id: job.id(), counted: job.counted(), error },
    };
    // The loop is gone only at shutdown.
    let _ = commands.send(Command::CaughtUp { generation, end: Box::new(end) }).await;
}

/// Why a turn has ended.
enum TurnEnd {
    Near(Box<Turn>),
    Stopped,
    /// Another waits, and this one has read much, or its source gives nothing.
    GivesWay,
}

/// Reads in turns until little is missing. `None` where it was told to stop; `at` is what the job has then.
async fn near(
    runtime: &Arc<SourceRuntime>,
    job: &mut CatchUpJob,
    at: &mut Position,
    progress: &Progress,
) -> Result<Option<Turn>> {
    if let CatchUpJob::Sink(sink) = job {
        sink.ready().await?;
    }
    let turns = Arc::clone(runtime.turns.of(job));
    loop {
        let permit = tokio::select! {
            biased;
            () = progress.stop() => return Ok(None),
            permit = Arc::clone(&turns).acquire_owned() => permit,
        };
        let Ok(permit) = permit else { return Ok(None) };
        let others_wait = || turns.available_permits() == 0;
        match take_turn(runtime, job, at, permit, (&others_wait, progress)).await? {
            TurnEnd::Near(turn) => return Ok(Some(*turn)),
            TurnEnd::Stopped => return Ok(None),
            TurnEnd::GivesWay => {}
        }
    }
}

async fn take_turn(
    runtime: &Arc<SourceRuntime>,
    job: &mut CatchUpJob,
    at: &mut Position,
    permit: OwnedSemaphorePermit,
    (others_wait, progress): (&(impl Fn() -> bool + Sync), &Progress),
) -> Result<TurnEnd> {
    let first = at.version();
    let mut range = RangeReader::open(Arc::clone(runtime), at).await?;
    // Up to what is counted first, so that no batch holds both counted and uncounted records.
    range.extend(&job.counted().position).await?;
    let mut extended = false;
    loop {
        let step = tokio::select! {
            biased;
            () = progress.stop() => return Ok(TurnEnd::Stopped),
            step = range.next() => step?,
            () = silence(runtime, others_wait) => return Ok(TurnEnd::GivesWay),
        };
        if let Some(step) = step {
            job.take(&step, range.epoch()).await?;
            at.clone_from(range.position());
            progress.at.store(at.version(), Ordering::Relaxed);
            if at.version().saturating_sub(first) >= TURN_RECORDS && others_wait() {
                return Ok(TurnEnd::GivesWay);
            }
            continue;
        }
        let target = runtime.published.borrow().clone();
        if extended && target.version().saturating_sub(range.position().version()) <= JOIN_RECORDS_MAX {
            return Ok(TurnEnd::Near(Box::new(Turn { range, _permit: permit })));
        }
        range.extend(&target).await?;
        extended = true;
    }
}

/// Ends when nothing has come for long and somebody waits for the turn: the source of this one may be down.
async fn silence(runtime: &SourceRuntime, others_wait: &(impl Fn() -> bool + Sync)) {
    loop {
        runtime.clock.sleep(runtime.config.backoff_max).await;
        if others_wait() {
            return;
        }
    }
}
