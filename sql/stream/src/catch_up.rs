//! Bringing a job that is behind its stream up to it, without the stream waiting.
//!
//! A new view, and a sink whose outside system has less than the stream has read, read the records
//! again with a reader of their own until little is missing; the loop then reads that little itself
//! between two steps and the job has joined.
//!
//! Windows stay open meanwhile: which rows were on time is known from the late log, and one of them
//! may belong to any window until the stream's position is reached.

use std::sync::Arc;

use ebap_catalog::ObjectId;
use ebap_connector::Position;
use tokio::sync::mpsc;

use crate::{
    Error, Result,
    pipeline::{Command, range::RangeReader, runtime::SourceRuntime},
    sinks::{Counted, RowsSink},
    view::ViewJob,
};

/// Records the loop reads for a joining job between two steps, about at the most.
const JOIN_RECORDS_MAX: u64 = 20_000;

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

    /// What a sink has counted; nothing for a view, which starts anew.
    fn counted(&self) -> Counted {
        match self {
            Self::View(_) => Counted::default(),
            Self::Sink(sink) => sink.counted.clone(),
        }
    }

    /// Takes all that the range still gives.
    pub(crate) async fn drain(&mut self, range: &mut RangeReader) -> Result<()> {
        while let Some(step) = range.next().await? {
            match self {
                Self::View(view) => {
                    view.process(&step, false)?;
                    // A base snapshot is written when it joins: nothing is to be replayed before.
                    view.forget_delta();
                }
                Self::Sink(sink) => sink.write(&step).await?,
            }
        }
        Ok(())
    }
}

/// The outcome, for the loop.
pub(crate) enum CatchUpEnd {
    Joins { job: CatchUpJob, range: RangeReader },
    Failed { id: ObjectId, counted: Counted, error: Error },
}

/// Runs until the job may join. `generation` tells the loop which of its starts this belongs to.
pub(crate) async fn run(
    runtime: Arc<SourceRuntime>,
    mut job: CatchUpJob,
    from: Position,
    commands: mpsc::Sender<Command>,
    generation: u64,
) {
    let end = match near(&runtime, &mut job, &from).await {
        Ok(range) => CatchUpEnd::Joins { job, range },
        Err(error) => CatchUpEnd::Failed { id: job.id(), counted: job.counted(), error },
    };
    // The loop is gone only at shutdown.
    let _ = commands.send(Command::CaughtUp { generation, end: Box::new(end) }).await;
}

async fn near(runtime: &Arc<SourceRuntime>, job: &mut CatchUpJob, from: &Position) -> Result<RangeReader> {
    let mut range = RangeReader::open(Arc::clone(runtime), from).await?;
    // Up to what is counted first, so that no batch holds both counted and uncounted records.
    range.extend(&job.counted().position).await?;
    job.drain(&mut range).await?;
    loop {
        let target = runtime.published.borrow().clone();
        range.extend(&target).await?;
        job.drain(&mut range).await?;
        let missing = runtime.published.borrow().version().saturating_sub(range.position().version());
        if missing <= JOIN_RECORDS_MAX {
            return Ok(range);
        }
    }
}
