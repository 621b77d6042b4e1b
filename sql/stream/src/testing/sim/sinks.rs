//! The outside systems that sinks write to, as their contracts in `ebap_connector::sink` say: rows and
//! position in one act on a stream, absolute values with versions behind a position on a view.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::Int64Type,
    util::display::{ArrayFormatter, FormatOptions},
};
use async_trait::async_trait;
use ebap_connector::{
    ChangeBatch, DeadLetter, DeadLetterWriter, Epoch, Error, Position, Result, Sink, SinkContext, SinkInput, SinkOpened,
};
use parking_lot::MutexGuard;

use super::world::{Point, Process, furthest};

/// A table outside: rows and the position behind them, replaced in one act.
#[derive(Debug, Default)]
pub(super) struct RowsOutside {
    /// The `id` of each row, in the order of their commits.
    pub(super) ids: Vec<i64>,
    pub(super) position: Option<Position>,
    incarnation: u64,
}

/// A key-value store outside.
#[derive(Debug, Default)]
pub(super) struct ViewOutside {
    /// Row and version by upsert key; no row where it was removed.
    pub(super) values: BTreeMap<String, (u64, Option<String>)>,
    position: Option<Position>,
    incarnation: u64,
}

pub(super) fn lost() -> Error {
    Error::unreachable("the system outside", "no answer")
}

pub(super) fn fenced() -> Error {
    Error::Fenced { message: "a newer sink writes".to_owned() }
}

/// On a stream: prepares rows as they come, commits them with their position.
#[derive(Debug)]
pub(super) struct RowsSink {
    process: Arc<Process>,
    incarnation: u64,
    pending: Vec<i64>,
    /// Commits at every so manieth checkpoint that is not forced.
    every: u64,
    /// Nothing outside holds its position.
    forgets: bool,
}

impl RowsSink {
    pub(super) fn new(process: Arc<Process>, context: &SinkContext) -> Self {
        let forgets = context.options.get("forgets").is_some();
        Self { process, incarnation: context.incarnation, pending: Vec::new(), every: 2, forgets }
    }

    fn outside(&self) -> MutexGuard<'_, RowsOutside> {
        let world = &self.process.world;
        if self.forgets { world.samples.lock() } else { world.rows.lock() }
    }
}

#[async_trait]
impl Sink for RowsSink {
    async fn open(&mut self) -> Result<SinkOpened> {
        self.process.pass(Point::Anywhere).await;
        let mut outside = self.outside();
        if outside.incarnation > self.incarnation {
            return Err(fenced());
        }
        outside.incarnation = self.incarnation;
        Ok(SinkOpened { position: outside.position.clone() })
    }

    async fn write(&mut self, input: SinkInput, _: &Position) -> Result<()> {
        self.process.pass(Point::Anywhere).await;
        if self.process.world.fails(self.process.world.faults.outside) {
            return Err(lost());
        }
        let SinkInput::Rows(batch) = input else { return Err(Error::internal("changes of a view")) };
        let ids = batch.column_by_name("id").expect("the stream has ids");
        self.pending.extend(ids.as_primitive::<Int64Type>().values());
        Ok(())
    }

    async fn checkpoint(&mut self, epoch: Epoch, position: &Position, force: bool) -> Result<Option<Position>> {
        if !force && !epoch.0.is_multiple_of(self.every) {
            return Ok(None);
        }
        self.process.pass(Point::BeforeCommit).await;
        let (world, faults) = (&self.process.world, self.process.world.faults);
        if world.fails(faults.outside) {
            return Err(lost());
        }
        {
            let pending = std::mem::take(&mut self.pending);
            let mut outside = self.outside();
            if outside.incarnation > self.incarnation {
                return Err(fenced());
            }
            outside.ids.extend(pending);
            outside.position = (!self.forgets).then(|| position.clone());
        }
        self.process.pass(Point::AfterCommit).await;
        if world.fails(faults.outside) {
            return Err(lost());
        }
        Ok(Some(position.clone()))
    }

    fn holds_position(&self) -> bool {
        !self.forgets
    }
}

/// On a view: the position first, then value by value.
#[derive(Debug)]
pub(super) struct ViewSink {
    process: Arc<Process>,
    name: String,
    incarnation: u64,
    upsert_key: Vec<usize>,
    /// Keys written since `open`, until they have been swept around.
    written: BTreeSet<String>,
}

impl ViewSink {
    pub(super) fn new(process: Arc<Process>, context: &SinkContext) -> Self {
        let (name, upsert_key) = (context.name.clone(), context.upsert_key.clone());
        Self { process, name, incarnation: context.incarnation, upsert_key, written: BTreeSet::new() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut ViewOutside) -> T) -> Result<T> {
        let mut views = self.process.world.views.lock();
        let outside = views.entry(self.name.clone()).or_default();
        if outside.incarnation > self.incarnation {
            return Err(fenced());
        }
        Ok(act(outside))
    }
}

#[async_trait]
impl Sink for ViewSink {
    async fn open(&mut self) -> Result<SinkOpened> {
        self.process.pass(Point::Anywhere).await;
        let incarnation = self.incarnation;
        self.with(|outside| {
            outside.incarnation = incarnation;
            SinkOpened { position: outside.position.clone() }
        })
    }

    async fn write(&mut self, input: SinkInput, position: &Position) -> Result<()> {
        let SinkInput::Changes(ChangeBatch { deletes, inserts }) = input else {
            return Err(Error::internal("rows of a stream"));
        };
        let outside = self.process.world.faults.outside;
        self.process.pass(Point::Anywhere).await;
        if self.process.world.fails(outside) {
            return Err(lost());
        }
        self.with(|outside| {
            let known = outside.position.take().unwrap_or_default();
            outside.position = Some(furthest(&known, position));
        })?;
        self.process.pass(Point::BetweenPositionAndValues).await;
        let came = keyed(&inserts, &self.upsert_key);
        self.written.extend(came.iter().map(|(key, _)| key.clone()));
        let gone = keyed(&deletes, &self.upsert_key).into_iter().map(|(key, _)| (key, None));
        let gone: Vec<_> = gone.filter(|(key, _)| came.iter().all(|(kept, _)| kept != key)).collect();
        let all = gone.into_iter().chain(came.into_iter().map(|(key, row)| (key, Some(row))));
        let version = position.version();
        for (key, row) in all {
            self.process.pass(Point::AmongValues).await;
            if self.process.world.fails(outside / 4) {
                return Err(lost());
            }
            self.with(|outside| {
                let value = outside.values.entry(key).or_insert((0, None));
                if value.0 <= version {
                    *value = (version, row);
                }
            })?;
        }
        Ok(())
    }

    async fn sweep(&mut self, position: &Position) -> Result<()> {
        let keys: Vec<String> = self.with(|outside| outside.values.keys().cloned().collect())?;
        let written = std::mem::take(&mut self.written);
        for key in keys.into_iter().filter(|key| !written.contains(key)) {
            self.process.pass(Point::AmongValues).await;
            self.with(|outside| outside.values.insert(key, (position.version(), None)))?;
        }
        Ok(())
    }

    async fn checkpoint(&mut self, _: Epoch, position: &Position, _: bool) -> Result<Option<Position>> {
        self.process.pass(Point::Anywhere).await;
        if self.process.world.fails(self.process.world.faults.outside) {
            return Err(lost());
        }
        Ok(Some(position.clone()))
    }
}

/// Upsert key and whole row of each, as text.
pub(super) fn keyed(batch: &RecordBatch, key: &[usize]) -> Vec<(String, String)> {
    let options = FormatOptions::default().with_null("NULL");
    let formatters: Vec<ArrayFormatter<'_>> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options).expect("every column can be printed"))
        .collect();
    let text = |columns: &[usize], row: usize| {
        let values = columns.iter().map(|at| formatters[*at].value(row).to_string());
        values.collect::<Vec<_>>().join("|")
    };
    let all: Vec<usize> = (0..batch.num_columns()).collect();
    (0..batch.num_rows()).map(|row| (text(key, row), text(&all, row))).collect()
}

/// A topic of dead letters: `open` finds what came after the token and leaves it out.
#[derive(Debug)]
pub(super) struct SimDeadLetters {
    process: Arc<Process>,
    delivered: BTreeSet<(String, i64)>,
    /// What `open` was given.
    resumed: usize,
}

impl SimDeadLetters {
    pub(super) fn new(process: Arc<Process>) -> Self {
        Self { process, delivered: BTreeSet::new(), resumed: 0 }
    }
}

#[async_trait]
impl DeadLetterWriter for SimDeadLetters {
    async fn open(&mut self, token: Option<&str>) -> Result<()> {
        self.process.pass(Point::Anywhere).await;
        self.resumed = token.map_or(0, |token| token.parse().expect("our own token"));
        self.delivered = self.process.world.dead_letters.lock()[self.resumed..].iter().cloned().collect();
        Ok(())
    }

    async fn write(&mut self, letters: &[DeadLetter]) -> Result<()> {
        let outside = self.process.world.faults.outside;
        for letter in letters {
            self.process.pass(Point::Anywhere).await;
            let place = (letter.split.to_string(), letter.offset);
            if !self.delivered.remove(&place) {
                self.process.world.dead_letters.lock().push(place);
            }
            if self.process.world.fails(outside / 4) {
                return Err(lost());
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<String> {
        self.process.pass(Point::Anywhere).await;
        if self.process.world.fails(self.process.world.faults.outside / 4) {
            return Err(lost());
        }
        // Letters from before a death are still to be met again: the next start must find them too.
        let all = self.process.world.dead_letters.lock().len();
        Ok(if self.delivered.is_empty() { all } else { self.resumed }.to_string())
    }
}
