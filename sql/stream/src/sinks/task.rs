//! A sink behind a bounded queue, on a task of its own: its stream goes on while it is opened and writes.
//!
//! ```text
//! loop: offer, checkpoint -> queue (ROWS_MAX rows, ITEMS_MAX items) -> task: Sink::write, Sink::checkpoint
//!       error, `Told`     <- shared                                  <-
//! ```
//!
//! # Invariants
//! - Work is done in the order in which it was given. After an error nothing more is done.
//! - A task whose handle is dropped ends; `end` tells when it has, so that a sink is never opened beside an
//!   older one of the same process.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    compute::concat_batches,
    datatypes::{Schema, SchemaRef},
};
use ebap_connector::{ChangeBatch, Epoch, Error, Position, Result, Sink, SinkInput, SinkOpened};
use parking_lot::Mutex;
use tokio::{
    sync::{
        mpsc,
        oneshot::{self, error::TryRecvError},
    },
    task::AbortHandle,
};

use super::Told;

/// What waits in a queue at the most; more makes the sink one that is behind.
pub(crate) const ROWS_MAX: usize = if cfg!(test) { 64 } else { 131_072 };
const ITEMS_MAX: usize = if cfg!(test) { 32 } else { 1_024 };

/// Where the sink comes to when its task has done what was left to do, or nothing when it was ended.
pub(crate) type Returned = oneshot::Receiver<Box<dyn Sink>>;

/// Runs a future in the background until it ends or is aborted.
pub(crate) type Spawn<'a> = &'a (dyn Fn(futures::future::BoxFuture<'static, ()>) -> AbortHandle + Sync);

/// A sink that is being opened: a catalog may take its time to answer.
pub(crate) struct Opening(oneshot::Receiver<Result<(Box<dyn Sink>, SinkOpened)>>);

impl Opening {
    pub(crate) fn start(mut sink: Box<dyn Sink>, spawn: Spawn<'_>) -> Self {
        let (tell, opened) = oneshot::channel();
        spawn(Box::pin(async move {
            let opened = sink.open().await.map(|opened| (sink, opened));
            // Nobody waits for a sink that was dropped meanwhile.
            let _ = tell.send(opened);
        }));
        Self(opened)
    }

    /// What came of it; none as long as nothing has.
    pub(crate) fn done(&mut self) -> Option<Result<(Box<dyn Sink>, SinkOpened)>> {
        match self.0.try_recv() {
            Ok(opened) => Some(opened),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => Some(Err(Error::internal("the opening of a sink has ended by itself"))),
        }
    }
}

enum Work {
    Write(SinkInput, Position),
    All(All, Position),
    Checkpoint { epoch: Epoch, position: Position, force: bool, done: Option<oneshot::Sender<()>> },
}

/// Every row of a view.
pub(crate) struct All {
    pub(crate) schema: SchemaRef,
    pub(crate) rows: Vec<RecordBatch>,
    /// Rows that may be outside: what of them is not among `rows` goes. Without any, the sink is asked to
    /// find out itself what goes.
    pub(crate) stale: Vec<RecordBatch>,
}

#[derive(Debug, Default)]
struct Shared {
    items: usize,
    rows: usize,
    error: Option<Error>,
}

pub(crate) struct SinkTask {
    work: mpsc::UnboundedSender<Work>,
    shared: Arc<Mutex<Shared>>,
    returned: Option<Returned>,
    /// None once the sink is to come back.
    abort: Option<AbortHandle>,
}

impl SinkTask {
    pub(crate) fn start(sink: Box<dyn Sink>, told: &Arc<Mutex<Told>>, spawn: Spawn<'_>) -> Self {
        let (work, inbox) = mpsc::unbounded_channel();
        let (give, returned) = oneshot::channel();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let abort = spawn(Box::pin(run(inbox, (Arc::clone(&shared), Arc::clone(told)), give, sink)));
        Self { work, shared, returned: Some(returned), abort: Some(abort) }
    }

    /// Takes the output of a step; false where the queue is full, and then it takes nothing.
    pub(crate) fn offer(&self, input: SinkInput, position: &Position) -> bool {
        let rows = rows_of(&input);
        {
            let shared = self.shared.lock();
            if shared.items >= ITEMS_MAX || (shared.items > 0 && shared.rows + rows > ROWS_MAX) {
                return false;
            }
        }
        self.give(Work::Write(input, position.clone()), rows);
        true
    }

    /// Takes every row of a view, whatever waits before it.
    pub(crate) fn write_all(&self, all: All, position: &Position) {
        self.give(Work::All(all, position.clone()), 0);
    }

    /// A checkpoint behind what was given before. Without `force` not where the queue is full: it will come
    /// again. With `force` tells when all is visible; never, after an error.
    pub(crate) fn checkpoint(&self, epoch: Epoch, position: &Position, force: bool) -> Option<oneshot::Receiver<()>> {
        if !force && self.shared.lock().items >= ITEMS_MAX {
            return None;
        }
        let (done, told) = match force {
            true => {
                let (done, told) = oneshot::channel();
                (Some(done), Some(told))
            }
            false => (None, None),
        };
        self.give(Work::Checkpoint { epoch, position: position.clone(), force, done }, 0);
        told
    }

    fn give(&self, work: Work, rows: usize) {
        {
            let mut shared = self.shared.lock();
            shared.items += 1;
            shared.rows += rows;
        }
        // Closed after an error, which `failed` tells.
        let _ = self.work.send(work);
    }

    /// All that was given is done.
    pub(crate) fn is_idle(&self) -> bool {
        let shared = self.shared.lock();
        shared.items == 0 && shared.error.is_none()
    }

    /// The error that ended it, once.
    pub(crate) fn failed(&self) -> Option<Error> {
        self.shared.lock().error.take()
    }

    /// Takes no more work. The sink comes back when what it was given is done.
    pub(crate) fn give_back(mut self) -> Option<Returned> {
        self.abort = None;
        self.returned.take()
    }

    /// Ends it where it stands; the answer comes when it has.
    pub(crate) fn end(mut self) -> Option<Returned> {
        self.returned.take()
    }
}

impl Drop for SinkTask {
    fn drop(&mut self) {
        if let Some(abort) = &self.abort {
            abort.abort();
        }
    }
}

/// `give` stands first, so that it is let go last: who hears of it may open the sink again.
async fn run(
    mut inbox: mpsc::UnboundedReceiver<Work>,
    (shared, told): (Arc<Mutex<Shared>>, Arc<Mutex<Told>>),
    give: oneshot::Sender<Box<dyn Sink>>,
    mut sink: Box<dyn Sink>,
) {
    while let Some(work) = inbox.recv().await {
        let rows = match &work {
            Work::Write(input, _) => rows_of(input),
            Work::All(..) | Work::Checkpoint { .. } => 0,
        };
        let done = perform(sink.as_mut(), work).await;
        told.lock().left_out += sink.take_left_out();
        let mut shared = shared.lock();
        match done {
            Ok(Done { visible, waits }) => {
                if visible.is_some() {
                    told.lock().visible = visible;
                }
                shared.items -= 1;
                shared.rows -= rows;
                if let Some(waits) = waits {
                    let _ = waits.send(());
                }
            }
            Err(error) => {
                shared.error = Some(error);
                return;
            }
        }
    }
    let _ = give.send(sink);
}

#[derive(Default)]
struct Done {
    visible: Option<Position>,
    waits: Option<oneshot::Sender<()>>,
}

async fn perform(sink: &mut dyn Sink, work: Work) -> Result<Done> {
    match work {
        Work::Write(input, position) => sink.write(input, &position).await.map(|()| Done::default()),
        Work::All(all, position) => write_all(sink, all, &position).await.map(|()| Done::default()),
        Work::Checkpoint { epoch, position, force, done } => {
            let visible = sink.checkpoint(epoch, &position, force).await?;
            Ok(Done { visible, waits: done })
        }
    }
}

async fn write_all(sink: &mut dyn Sink, all: All, position: &Position) -> Result<()> {
    if !all.stale.is_empty() {
        // In one batch, so that a value that stays is replaced and never away.
        let inserts = one_batch(&all.schema, &all.rows)?;
        let deletes = one_batch(&all.schema, &all.stale)?;
        return sink.write(SinkInput::Changes(ChangeBatch { deletes, inserts }), position).await;
    }
    for inserts in all.rows {
        let deletes = RecordBatch::new_empty(inserts.schema());
        sink.write(SinkInput::Changes(ChangeBatch { deletes, inserts }), position).await?;
    }
    sink.sweep(position).await
}

fn one_batch(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch> {
    // Columns of two views that were swapped may differ in whether they can be null.
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    concat_batches(&Arc::new(Schema::new(fields.collect::<Vec<_>>())), batches).map_err(Error::internal)
}

fn rows_of(input: &SinkInput) -> usize {
    match input {
        SinkInput::Rows(rows) => rows.num_rows(),
        SinkInput::Changes(ChangeBatch { deletes, inserts }) => deletes.num_rows() + inserts.num_rows(),
    }
}
