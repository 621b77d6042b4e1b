//! Where rows and changes go: everything a new connector has to keep.
//!
//! A sink is driven by one job. `open` comes first, then any number of `write`s, and at every
//! checkpoint one `checkpoint`. There are two kinds, told apart by what the sink is created on:
//!
//! - **On a stream** it gets every decoded row once, in the order of each split, late rows included
//!   ([`SinkInput::Rows`]). It is *transactional*: rows and the position behind them become visible
//!   in one act of the outside system, and `open` reads that position back. The engine feeds it
//!   again from exactly there, so the outside system alone is the truth and nothing is prepared in
//!   our own manifest. After an unknown outcome (a lost response) the sink must look for its own
//!   commit before it tries again. A system that cannot hold a position (`holds_position`) has its sink fed from
//!   the last one that `checkpoint` returned and a manifest kept: rows behind it may come again after a crash,
//!   and must do no harm then.
//! - **On a view** it gets the changelog ([`SinkInput::Changes`]): for a key the row that went and
//!   the row that came. It is *idempotent*: values are absolute, each is stored with its version
//!   (`version`, a number that grows with the input position), and a value is replaced only by one
//!   at least as new. It also stores, **before** the values themselves, the position up to which it
//!   has published; `open` reads it back. After a crash the engine replays without writing until it
//!   has read at least that far, then writes every row of the view once, has the sink `sweep` what is
//!   outside and was not among them, and goes on with changes.
//!   A system in which nothing can be replaced (a topic, in which each result is to be there once) must not be given what
//!   a crash may undo. Its sink keeps what it is given, is told where an epoch ends (`seal`), and makes that visible
//!   when the epoch is `durable`; `open` needs to give no position then.
//!
//! # Invariants
//! - `write` may buffer within a fixed bound, by number and, with `flush_due`, by time, and must wait when it is full. It runs on a task of its own behind a
//!   bounded queue; when that is full too, the sink is taken off its stream and catches up at its own pace.
//! - When `checkpoint(force = true)` returns, all that was written before it is visible outside.
//! - Errors that may pass are `Unreachable`: the engine drops the sink, waits, and starts again with
//!   `open`. A sink therefore needs no retry loop around lost state of its own, but a short bounded
//!   retry of single requests is welcome.
//! - A newer `incarnation` fences an older one: a writer that finds a newer one gives `Fenced`.

use std::time::Duration;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;

use crate::{Epoch, Options, Position, Result};

/// What a sink is built from.
#[derive(Clone, Debug)]
pub struct SinkContext {
    /// Name of the sink in the catalog.
    pub name: String,
    /// Stable over restarts. No other sink has it, of this catalog or of another one.
    pub id: String,
    /// The first version of a value: later sinks have greater ones, so that theirs replace what is there.
    pub first_version: u64,
    /// Columns of the stream (declared and computed) or of the view.
    pub schema: SchemaRef,
    /// Columns that identify a row of a view; empty for a stream.
    pub upsert_key: Vec<usize>,
    pub on_view: bool,
    /// The view gives a row when its window is closed, and does not change it any more.
    pub on_close: bool,
    /// Column of the event time, if the stream has a watermark.
    pub time_column: Option<usize>,
    /// The `PARTITIONED BY` list.
    pub partitions: Vec<SinkPartition>,
    /// `WITH` options, those of the connection merged in, secrets resolved.
    pub options: Options,
    /// Grows with every start of the pipeline; the newest one may write.
    pub incarnation: u64,
}

/// One entry of `PARTITIONED BY`: `day(timestamp)`, `region`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkPartition {
    pub column: String,
    /// `identity`, `day`, `hour`, `month`, `year`.
    pub transform: String,
}

/// What the outside system already has of this sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkOpened {
    /// On a stream: rows below this position are visible outside. On a view: the furthest position
    /// whose values may have been published. `None` where the sink has never written.
    pub position: Option<Position>,
}

/// An update is one row in `deletes` and one in `inserts` with the same upsert key.
#[derive(Clone, Debug)]
pub struct ChangeBatch {
    pub deletes: RecordBatch,
    pub inserts: RecordBatch,
}

#[derive(Clone, Debug)]
pub enum SinkInput {
    Rows(RecordBatch),
    Changes(ChangeBatch),
}

/// Rows that are not outside although the sink went on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// The outside system does not take them, whenever it is asked.
    pub refused: u64,
    /// There was nothing to write: a sample without a value.
    pub skipped: u64,
}

impl std::ops::AddAssign for LeftOut {
    fn add_assign(&mut self, more: Self) {
        self.refused += more.refused;
        self.skipped += more.skipped;
    }
}

#[async_trait]
pub trait Sink: Send {
    /// Connects, creates what is missing outside (a table), checks that the schema fits, takes over
    /// from an older incarnation.
    ///
    /// # Errors
    /// `Option` and `Schema` where what the user wrote cannot work; `Unreachable` where trying
    /// again may help.
    async fn open(&mut self) -> Result<SinkOpened>;

    /// Takes the output of one step. `position` lies behind the records it was computed from;
    /// its `version()` is the version of the values.
    async fn write(&mut self, input: SinkInput, position: &Position) -> Result<()>;

    /// How long what `write` has buffered may still wait. When that is over, or the sink is to end, the engine calls
    /// `flush`, whether anything more is written or not. A sink that has nothing to write may ask for it too, to look
    /// whether its system still has what it wrote. `None` where nothing waits for the time.
    fn flush_due(&self) -> Option<Duration> {
        None
    }

    /// Makes visible what waits for the time. Returns a position as `checkpoint` does.
    async fn flush(&mut self) -> Result<Option<Position>> {
        Ok(None)
    }

    /// On a view: every row of it follows, then `sweep`. What was written and is not sealed is among them where it holds.
    async fn begin_all(&mut self) -> Result<()> {
        Ok(())
    }

    /// On a view, when every row of it has been written since `open`: what this sink once put outside
    /// and has not written again belongs to no row any more and goes. A row may have left the view while
    /// nothing could be written, and a value may come from steps that a crash undid.
    async fn sweep(&mut self, _position: &Position) -> Result<()> {
        Ok(())
    }

    /// On a view: what was written before this is in that epoch, which is not durable yet. No part of a step is among it.
    async fn seal(&mut self, _epoch: Epoch, _position: &Position) -> Result<()> {
        Ok(())
    }

    /// On a view: the epoch is durable, so no crash undoes what was sealed with it, or before. Returns a position as
    /// `checkpoint` does. Before a forced `checkpoint` all that was written is durable.
    async fn durable(&mut self, _epoch: Epoch) -> Result<Option<Position>> {
        Ok(None)
    }

    /// Called between two writes, about at every epoch. Returns the position up to which all is
    /// visible outside, where that has changed. `force` (a `FLUSH`, a shutdown) makes all visible now;
    /// otherwise the sink may wait for its own interval.
    async fn checkpoint(&mut self, epoch: Epoch, position: &Position, force: bool) -> Result<Option<Position>>;

    /// On a stream: whether the outside system holds the position. Where it does not, `open` gives none, and the
    /// engine keeps the last one that `checkpoint` returned.
    fn holds_position(&self) -> bool {
        true
    }

    /// What was left out since this was asked last. It is asked after every other call, whatever came of that.
    fn take_left_out(&mut self) -> LeftOut {
        LeftOut::default()
    }
}
