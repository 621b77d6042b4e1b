//! A sink behind a bounded queue, on a task of its own: its stream goes on while it is opened and writes.
//!
//! ```text
//! loop: offer, checkpoint -> queue (ROWS_MAX rows, ITEMS_MAX items) -> task: Sink::write, Sink::checkpoint
//!       error, `Told`     <- shared                                  <-
//! ```
//!
//! # Invariants
//! - Work is done in the order in which it was given. After an error nothing more is done.
//! - What the sink keeps back for a while is flushed when that is over, also between two works and before it is given back.
//! - A task whose handle is dropped ends; `end` tells when it has, so that a sink is never opened beside an
//!   older one of the same process.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use arrow::{
    array::RecordBatch,
    compute::concat_batches,
    datatypes::{Schema, SchemaRef},
};
use ebap_connector::{ChangeBatch, Epoch, Error, Position, Result, Sink, SinkInput, SinkOpened, time};
use futures::FutureExt;
use parking_lot::Mutex;
use tokio::{
    sync::{
        mpsc,
        oneshot::{self, error::TryRecvError},
    },
    task::AbortHandle,
};

use super::Told;
use crate::guard::panicked;

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
    Seal(Epoch, Position),
    Durable(Epoch),
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

    /// What was given before is in this epoch. Not where the queue is full: the next one has it too.
    pub(crate) fn seal(&self, epoch: Epoch, position: &Position) {
        if self.shared.lock().items < ITEMS_MAX {
            self.give(Work::Seal(epoch, position.clone()), 0);
        }
    }

    pub(crate) fn durable(&self, epoch: Epoch) {
        if self.shared.lock().items < ITEMS_MAX {
            self.give(Work::Durable(epoch), 0);
        }
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
    loop {
        let next = next(&mut inbox, sink.flush_due()).await;
        let (items, rows) = match &next {
            Next::Work(Work::Write(input, _)) => (1, rows_of(input)),
            Next::Work(Work::All(..) | Work::Seal(..) | Work::Durable(_) | Work::Checkpoint { .. }) => (1, 0),
            Next::Due | Next::End => (0, 0),
        };
        let ends = matches!(next, Next::End);
        let done = match next {
            // Of a sink that panics its stream hears, as of any other error.
            Next::Work(work) => AssertUnwindSafe(perform(sink.as_mut(), work))
                .catch_unwind()
                .await
                .unwrap_or_else(|panic| Err(Error::internal(panicked(panic.as_ref())))),
            Next::Due | Next::End => sink.flush().await.map(|visible| Done { visible, waits: None }),
        };
        told.lock().left_out += sink.take_left_out();
        let mut shared = shared.lock();
        match done {
            Ok(Done { visible, waits }) => {
                if visible.is_some() {
                    told.lock().visible = visible;
                }
                shared.items -= items;
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
        if ends {
            break;
        }
    }
    let _ = give.send(sink);
}

enum Next {
    Work(Work),
    /// What the sink keeps back is to go out.
    Due,
    /// No work will come any more.
    End,
}

/// What is overdue comes before work that waits: a queue that is never empty must not hold it up.
async fn next(inbox: &mut mpsc::UnboundedReceiver<Work>, due: Option<Duration>) -> Next {
    let work = match due {
        None => inbox.recv().await,
        Some(due) if due.is_zero() => return Next::Due,
        Some(due) => tokio::select! {
            work = inbox.recv() => work,
            () = time::sleep(due) => return Next::Due,
        },
    };
    work.map_or(Next::End, Next::Work)
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
        Work::Seal(epoch, position) => sink.seal(epoch, &position).await.map(|()| Done::default()),
        Work::Durable(epoch) => Ok(Done { visible: sink.durable(epoch).await?, waits: None }),
        Work::Checkpoint { epoch, position, force, done } => {
            let visible = sink.checkpoint(epoch, &position, force).await?;
            Ok(Done { visible, waits: done })
        }
    }
}

async fn write_all(sink: &mut dyn Sink, all: All, position: &Position) -> Result<()> {
    sink.begin_all().await?;
    if !all.stale.is_empty() {
        // In one batch, so that a value that stays is replaced and never away.
        let inserts = one_batch(&all.schema, &all.rows)?;
        let deletes = one_batch(&all.schema, &all.stale)?;
        sink.write(SinkInput::Changes(ChangeBatch { deletes, inserts }), position).await?;
    } else {
        for inserts in all.rows {
            let deletes = RecordBatch::new_empty(inserts.schema());
            sink.write(SinkInput::Changes(ChangeBatch { deletes, inserts }), position).await?;
        }
    }
    // With stale rows given too: they may not be all, and what a sink keeps of what it has written ends here.
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use arrow::datatypes::{DataType, Field};
    use async_trait::async_trait;
    use ebap_connector::{Offset, SplitId};

    use super::*;

    const INTERVAL: Duration = Duration::from_millis(20);

    /// Keeps everything back for an interval.
    #[derive(Default)]
    struct Slow {
        waits: Option<(Position, Instant)>,
    }

    #[async_trait]
    impl Sink for Slow {
        async fn open(&mut self) -> Result<SinkOpened> {
            Ok(SinkOpened::default())
        }

        async fn write(&mut self, _: SinkInput, position: &Position) -> Result<()> {
            let since = self.waits.take().map_or_else(time::instant, |(_, since)| since);
            self.waits = Some((position.clone(), since));
            Ok(())
        }

        fn flush_due(&self) -> Option<Duration> {
            self.waits.as_ref().map(|(_, since)| INTERVAL.saturating_sub(since.elapsed()))
        }

        async fn flush(&mut self) -> Result<Option<Position>> {
            Ok(self.waits.take().map(|(position, _)| position))
        }

        async fn checkpoint(&mut self, _: Epoch, _: &Position, _: bool) -> Result<Option<Position>> {
            Ok(None)
        }
    }

    type Shown = Arc<Mutex<Told>>;

    fn task() -> (SinkTask, Shown) {
        let told = Shown::default();
        let task = SinkTask::start(Box::<Slow>::default(), &told, &|run| tokio::spawn(run).abort_handle());
        (task, told)
    }

    fn row() -> SinkInput {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        SinkInput::Rows(RecordBatch::new_empty(schema))
    }

    fn at(offset: i64) -> Position {
        Position([(SplitId::new("0"), Offset(offset))].into())
    }

    async fn visible(told: &Shown) -> Position {
        loop {
            if let Some(position) = told.lock().visible.clone() {
                return position;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_is_kept_back_goes_out_when_nothing_more_comes() {
        let (task, told) = task();
        let began = time::instant();
        assert!(task.offer(row(), &at(1)));
        assert_eq!(visible(&told).await, at(1));
        assert!(began.elapsed() >= INTERVAL);
    }

    #[tokio::test]
    async fn what_is_kept_back_goes_out_while_more_comes() {
        let (task, told) = task();
        let mut offset = 0;
        let first = loop {
            offset += 1;
            while !task.offer(row(), &at(offset)) {
                tokio::task::yield_now().await;
            }
            if let Some(position) = told.lock().visible.clone() {
                break position;
            }
        };
        assert!(at(offset).covers(&first));
    }

    #[tokio::test]
    async fn what_is_kept_back_goes_out_before_the_sink_comes_back() {
        let (task, told) = task();
        assert!(task.offer(row(), &at(1)));
        let returned = task.give_back().expect("a sink");
        assert_eq!(returned.await.expect("the sink").flush_due(), None);
        assert_eq!(told.lock().visible, Some(at(1)));
    }
}
