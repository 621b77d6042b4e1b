//! A topic outside: what is in it stays, so nothing may get there that a crash can undo, or twice.

use std::sync::Arc;

use arrow::{array::AsArray, datatypes::TimestampMicrosecondType};
use async_trait::async_trait;
use ebap_connector::{ChangeBatch, Epoch, Error, Position, Result, Sink, SinkContext, SinkInput, SinkOpened};
use parking_lot::MutexGuard;

use super::{
    sinks::{fenced, keyed, lost},
    world::{Point, Process},
};

#[derive(Debug, Default)]
pub(super) struct Topic {
    /// Rows as text, in the order of their commits.
    pub(super) rows: Vec<String>,
    /// Rows of windows that begin up to here are in it; committed with them.
    written_to: Option<i64>,
    incarnation: u64,
    /// Epochs that were said to be durable and did not exist.
    pub(super) early: Vec<u64>,
}

/// Start of the window, and the row.
type Waiting = (i64, String);

/// On a view with final rows of windows of one size: writes what is durable.
#[derive(Debug)]
pub(super) struct TopicSink {
    process: Arc<Process>,
    incarnation: u64,
    pending: Vec<Waiting>,
    sealed: Option<(Epoch, Position, Vec<Waiting>)>,
    written_to: Option<i64>,
    all: bool,
}

impl TopicSink {
    pub(super) fn new(process: Arc<Process>, context: &SinkContext) -> Self {
        let incarnation = context.incarnation;
        Self { process, incarnation, pending: Vec::new(), sealed: None, written_to: None, all: false }
    }

    fn topic(&self) -> Result<MutexGuard<'_, Topic>> {
        let topic = self.process.world.topic.lock();
        if topic.incarnation > self.incarnation { Err(fenced()) } else { Ok(topic) }
    }

    async fn passes(&self, point: Point) -> Result<()> {
        self.process.pass(point).await;
        let world = &self.process.world;
        if world.fails(world.faults.outside) { Err(lost()) } else { Ok(()) }
    }
}

#[async_trait]
impl Sink for TopicSink {
    async fn open(&mut self) -> Result<SinkOpened> {
        self.passes(Point::Anywhere).await?;
        self.written_to = {
            let mut topic = self.topic()?;
            topic.incarnation = self.incarnation;
            topic.written_to
        };
        Ok(SinkOpened::default())
    }

    async fn begin_all(&mut self) -> Result<()> {
        self.pending.clear();
        self.all = true;
        Ok(())
    }

    async fn write(&mut self, input: SinkInput, _: &Position) -> Result<()> {
        let SinkInput::Changes(ChangeBatch { inserts, .. }) = input else {
            return Err(Error::internal("rows of a stream"));
        };
        self.passes(Point::Anywhere).await?;
        let starts = inserts.column_by_name("window_start").expect("the view has windows");
        let starts = starts.as_primitive::<TimestampMicrosecondType>().values();
        for ((_, row), start) in keyed(&inserts, &[]).into_iter().zip(starts) {
            match self.written_to {
                Some(to) if *start <= to && self.all => {}
                Some(to) if *start <= to => return Err(Error::internal(format!("{row} came behind its window"))),
                _ => self.pending.push((*start, row)),
            }
        }
        Ok(())
    }

    async fn sweep(&mut self, _: &Position) -> Result<()> {
        self.all = false;
        Ok(())
    }

    async fn seal(&mut self, epoch: Epoch, position: &Position) -> Result<()> {
        self.written_to = self.written_to.max(self.pending.iter().map(|row| row.0).max());
        let mut rows = self.sealed.take().map(|(_, _, rows)| rows).unwrap_or_default();
        rows.append(&mut self.pending);
        self.sealed = Some((epoch, position.clone(), rows));
        Ok(())
    }

    async fn durable(&mut self, epoch: Epoch) -> Result<Option<Position>> {
        let Some((_, position, rows)) = self.sealed.take_if(|(sealed, ..)| *sealed <= epoch) else {
            return Ok(None);
        };
        self.passes(Point::BeforeCommit).await?;
        let exists = self.process.world.seen.lock().iter().any(|seen| seen.manifest.epoch == epoch);
        {
            let mut topic = self.topic()?;
            if !exists {
                topic.early.push(epoch.0);
            }
            topic.written_to = topic.written_to.max(rows.iter().map(|row| row.0).max());
            topic.rows.extend(rows.into_iter().map(|(_, row)| row));
        }
        self.passes(Point::AfterCommit).await?;
        Ok(Some(position))
    }

    async fn checkpoint(&mut self, _: Epoch, position: &Position, force: bool) -> Result<Option<Position>> {
        let visible = self.pending.is_empty() && self.sealed.is_none();
        if force && !visible {
            return Err(Error::internal("what is to be visible was not made durable"));
        }
        Ok(visible.then(|| position.clone()))
    }
}
