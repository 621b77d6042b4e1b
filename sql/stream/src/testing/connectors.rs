//! A source of JSON lines, its decoder, and a sink that keeps what it gets.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, StructArray, new_null_array},
    datatypes::{DataType, FieldRef, Fields, Schema},
    util::display::array_value_to_string,
};
use async_trait::async_trait;
use ebap_connector::{
    AlertEvent, ChangeBatch, ConnectorRegistry, DeadLetterWriter, DecodeSpec, Decoded, Decoder, Delete, Epoch, Error,
    EventTime, LeftOut, Notifier, NotifierContext, Offset, Position, Records, Rejected, Result, Sink, SinkContext,
    SinkInput, SinkOpened, Source, SourceContext, SourceReader, SplitBounds, SplitId, SplitState, SplitStatus, Wanted,
};
use parking_lot::Mutex;
use tokio::sync::watch;

/// What lies outside of the engine: it stays when the engine dies.
#[derive(Debug, Default)]
pub(super) struct Outside {
    splits: Mutex<BTreeMap<SplitId, Vec<String>>>,
    /// Offsets below which retention has passed.
    gone: Mutex<BTreeMap<SplitId, i64>>,
    /// Rows and position, replaced in one act as a transactional system does.
    pub(super) committed: Mutex<(Vec<RecordBatch>, Option<Position>)>,
    /// What sinks on views have put, by key: the row as text.
    pub(super) values: Mutex<BTreeMap<String, String>>,
    /// What was told of alerts.
    pub(super) alerts: Mutex<Vec<AlertEvent>>,
    /// Nobody listens to alerts.
    pub(super) deaf: Mutex<bool>,
    /// Sinks wait, in being opened and with what they are given.
    pub(super) held: watch::Sender<bool>,
    /// It holds no position of a sink.
    pub(super) forgets: AtomicBool,
    /// Of the newest sink that was opened: an older one may still run for a moment after a kill.
    incarnation: AtomicU64,
    /// Splits whose names start with this give nothing.
    pub(super) silent: Mutex<Option<String>>,
    readers: Mutex<Readers>,
}

#[derive(Debug, Default)]
struct Readers {
    now: usize,
    most: usize,
}

impl Outside {
    pub(super) fn produce(&self, split: &str, lines: impl IntoIterator<Item = String>) {
        self.splits.lock().entry(SplitId::new(split)).or_default().extend(lines);
    }

    /// Deletes the oldest records, as retention does.
    pub(super) fn expire(&self, split: &str, below: i64) {
        self.gone.lock().insert(SplitId::new(split), below);
    }

    fn earliest(&self, split: &SplitId) -> i64 {
        self.gone.lock().get(split).copied().unwrap_or(0)
    }

    /// The most readers that there were at once since the last call.
    pub(super) fn readers_most(&self) -> usize {
        let mut readers = self.readers.lock();
        let now = readers.now;
        std::mem::replace(&mut readers.most, now)
    }

    fn is_silent(&self, split: &SplitId) -> bool {
        self.silent.lock().as_ref().is_some_and(|prefix| split.as_str().starts_with(prefix))
    }

    /// The sink has the rows below this offset already.
    pub(super) fn already_committed(&self, split: &str, offset: i64) {
        let mut position = Position::default();
        position.set(SplitId::new(split), Offset(offset));
        self.committed.lock().1 = Some(position);
    }
}

#[derive(Debug)]
pub(super) struct TestConnectors(pub(super) Arc<Outside>);

impl ConnectorRegistry for TestConnectors {
    /// Option `splits`: what the names of its splits start with; without it those that are numbers.
    fn source(&self, context: &SourceContext) -> Result<Arc<dyn Source>> {
        let prefix = context.options.get("splits").unwrap_or_default().to_owned();
        Ok(Arc::new(Lines(Arc::clone(&self.0), prefix)))
    }

    fn decoder(&self, spec: &DecodeSpec) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(JsonLines(spec.clone())))
    }

    fn dead_letters(&self, _: &SourceContext) -> Result<Option<Box<dyn DeadLetterWriter>>> {
        Ok(None)
    }

    fn notifiers(&self, context: &NotifierContext) -> Result<Vec<Box<dyn Notifier>>> {
        let told = context.options.get("told").is_some();
        Ok(told.then(|| Box::new(Told(Arc::downgrade(&self.0))) as Box<dyn Notifier>).into_iter().collect())
    }

    fn sink(&self, _: &str, context: &SinkContext) -> Result<Box<dyn Sink>> {
        let (incarnation, key) = (context.incarnation, context.upsert_key.clone());
        Ok(Box::new(Keeper {
            outside: Arc::downgrade(&self.0),
            pending: Vec::new(),
            key,
            incarnation,
            left_out: LeftOut::default(),
        }))
    }
}

/// Who is told of alerts, with the option `told`.
struct Told(Weak<Outside>);

#[async_trait]
impl Notifier for Told {
    fn describe(&self) -> String {
        "told".to_owned()
    }

    async fn notify(&mut self, events: &[AlertEvent]) -> Result<()> {
        let Some(outside) = self.0.upgrade() else { return Ok(()) };
        if *outside.deaf.lock() {
            return Err(Error::unreachable("told", "nobody listens"));
        }
        outside.alerts.lock().extend(events.iter().filter(|event| event.page && !event.repeated).cloned());
        Ok(())
    }
}

struct Lines(Arc<Outside>, String);

#[async_trait]
impl Source for Lines {
    async fn splits(&self) -> Result<Vec<SplitId>> {
        let own = |split: &&SplitId| match self.1.as_str() {
            "" => split.as_str().parse::<i32>().is_ok(),
            prefix => split.as_str().starts_with(prefix),
        };
        Ok(self.0.splits.lock().keys().filter(own).cloned().collect())
    }

    async fn bounds(&self, split: &SplitId) -> Result<SplitBounds> {
        let end = self.0.splits.lock().get(split).map_or(0, Vec::len);
        Ok(SplitBounds { earliest: Offset(self.0.earliest(split)), end: Offset(end as i64) })
    }

    async fn start(&self, _: &SplitId, _: bool) -> Result<Offset> {
        Ok(Offset(0))
    }

    async fn reader(&self) -> Result<Box<dyn SourceReader>> {
        let mut readers = self.0.readers.lock();
        readers.now += 1;
        readers.most = readers.most.max(readers.now);
        Ok(Box::new(LinesReader { outside: Arc::clone(&self.0), at: BTreeMap::new() }))
    }
}

struct LinesReader {
    outside: Arc<Outside>,
    at: BTreeMap<SplitId, i64>,
}

impl Drop for LinesReader {
    fn drop(&mut self) {
        self.outside.readers.lock().now -= 1;
    }
}

#[async_trait]
impl SourceReader for LinesReader {
    async fn assign(&mut self, split: SplitId, offset: Offset) -> Result<()> {
        self.at.insert(split, offset.0);
        Ok(())
    }

    async fn poll(&mut self, wanted: &[SplitId], rows_max: usize, _: Duration) -> Result<Vec<Records>> {
        let mut out = Vec::new();
        {
            let splits = self.outside.splits.lock();
            for split in wanted.iter().filter(|split| !self.outside.is_silent(split)) {
                let (Some(at), Some(lines)) = (self.at.get_mut(split), splits.get(split)) else { continue };
                if *at < self.outside.earliest(split) {
                    return Err(Error::Gone { message: format!("offset {at} of split {split} is not there any more") });
                }
                let partition = split.as_str().parse().unwrap_or(0);
                let mut records = Records::new(split.clone(), partition, Offset(*at));
                for line in lines.iter().skip(*at as usize).take(rows_max / wanted.len().max(1)) {
                    records.push(*at, -1, None, Some(line.as_bytes()));
                    *at += 1;
                }
                if !records.is_empty() {
                    out.push(records);
                }
            }
        }
        if out.is_empty() {
            tokio::task::yield_now().await;
        }
        Ok(out)
    }

    fn status(&self) -> Vec<SplitStatus> {
        let splits = self.outside.splits.lock();
        let status = self.at.keys().map(|split| SplitStatus {
            split: split.clone(),
            end: splits.get(split).map(|lines| Offset(lines.len() as i64)),
            state: SplitState::Running,
        });
        status.collect()
    }
}

pub(super) struct JsonLines(pub(super) DecodeSpec);

impl JsonLines {
    /// All records at once, where each is a row.
    fn all(&self, records: &Records) -> Option<RecordBatch> {
        let mut text = Vec::new();
        for at in 0..records.len() {
            text.extend_from_slice(records.values.get(at).unwrap_or_default());
            text.push(b'\n');
        }
        let builder = arrow_json::ReaderBuilder::new(Arc::clone(&self.0.schema)).with_batch_size(records.len() + 1);
        let mut decoder = builder.build_decoder().ok()?;
        let read = decoder.decode(&text).ok()?;
        let batch = decoder.flush().ok()??;
        (read == text.len() && batch.num_rows() == records.len()).then_some(batch)
    }
}

impl JsonLines {
    /// Format `changes`: a line with `"op":"d"` takes the row of its key away, at `at_us` where it has that; one with
    /// `"op":"m"` says nothing.
    fn changes(&self, records: &Records) -> Result<Decoded> {
        let fields =
            self.0.schema.fields().iter().enumerate().map(|(at, field)| {
                field.as_ref().clone().with_nullable(field.is_nullable() || !self.0.key.contains(&at))
            });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let builder = arrow_json::ReaderBuilder::new(Arc::clone(&schema)).with_batch_size(records.len() + 1);
        let mut decoder = builder.build_decoder().map_err(Error::internal)?;
        let (mut rows, mut deletes, mut skipped) = (Vec::new(), Vec::new(), 0);
        for at in 0..records.len() {
            let line = std::str::from_utf8(records.values.get(at).unwrap_or_default()).map_err(Error::internal)?;
            if line.contains(r#""op":"m""#) {
                skipped += 1;
                continue;
            }
            decoder.decode(format!("{line}\n").as_bytes()).map_err(Error::internal)?;
            rows.push(at as u32);
            if line.contains(r#""op":"d""#) {
                let us =
                    line.split_once(r#""at_us":"#).and_then(|(_, rest)| rest.split([',', '}']).next()?.parse().ok());
                deletes.push(Delete { record: at as u32, at: us.map(EventTime) });
            }
        }
        let batch = decoder.flush().map_err(Error::internal)?.unwrap_or_else(|| RecordBatch::new_empty(schema));
        Ok(Decoded { batch, rows, rejected: Vec::new(), deletes, skipped })
    }
}

impl Decoder for JsonLines {
    fn decode(&mut self, records: &Records) -> Result<Decoded> {
        if self.0.format == "changes" {
            return self.changes(records);
        }
        if let Some(batch) = self.all(records) {
            let rows = (0..records.len() as u32).collect();
            return Ok(Decoded::of_rows(batch, rows, Vec::new()));
        }
        let (mut batches, mut rows, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
        for at in 0..records.len() {
            let builder = arrow_json::ReaderBuilder::new(Arc::clone(&self.0.schema));
            let mut decoder = builder.build_decoder().map_err(Error::internal)?;
            let line = records.values.get(at).unwrap_or_default();
            match decoder.decode(line).and_then(|_| decoder.flush()) {
                Ok(Some(batch)) => {
                    batches.push(batch);
                    rows.push(at as u32);
                }
                Ok(None) => rejected.push(Rejected { record: at as u32, reason: "no row".to_owned() }),
                Err(error) => rejected.push(Rejected { record: at as u32, reason: error.to_string() }),
            }
        }
        let batch = arrow::compute::concat_batches(&self.0.schema, &batches).map_err(Error::internal)?;
        let schema = self.0.wanted.relaxed(&self.0.schema);
        let columns = only_wanted(&self.0.wanted, schema.fields(), batch.columns());
        let batch = RecordBatch::try_new(schema, columns).map_err(Error::internal)?;
        Ok(Decoded::of_rows(batch, rows, rejected))
    }
}

/// NULLs in place of what is not wanted.
fn only_wanted(wanted: &Wanted, fields: &Fields, columns: &[ArrayRef]) -> Vec<ArrayRef> {
    let one = |(field, column): (&FieldRef, &ArrayRef)| -> ArrayRef {
        match (wanted.of(field.name()), field.data_type()) {
            (None, of) => new_null_array(of, column.len()),
            (Some(wanted @ Wanted::Only(_)), DataType::Struct(fields)) => {
                let column = column.as_struct();
                let inner = only_wanted(wanted, fields, column.columns());
                Arc::new(StructArray::new(fields.clone(), inner, column.nulls().cloned()))
            }
            _ => Arc::clone(column),
        }
    };
    fields.iter().zip(columns).map(one).collect()
}

/// Commits rows with their position at every checkpoint. Says of rows from `nowhere` that they are refused.
struct Keeper {
    outside: Weak<Outside>,
    pending: Vec<RecordBatch>,
    key: Vec<usize>,
    incarnation: u64,
    left_out: LeftOut,
}

/// A row's columns as text.
fn text(batch: &RecordBatch, row: usize, columns: &[usize]) -> String {
    let one = |at: &usize| array_value_to_string(batch.column(*at), row).unwrap_or_default();
    columns.iter().map(one).collect::<Vec<_>>().join(" ")
}

impl Keeper {
    async fn released(&self) -> Result<()> {
        let mut held = self.outside.upgrade().ok_or_else(|| Error::internal("gone"))?.held.subscribe();
        held.wait_for(|held| !held).await.map_err(Error::internal)?;
        Ok(())
    }
}

#[async_trait]
impl Sink for Keeper {
    async fn open(&mut self) -> Result<SinkOpened> {
        self.released().await?;
        let outside = self.outside.upgrade().ok_or_else(|| Error::internal("gone"))?;
        let committed = outside.committed.lock();
        outside.incarnation.fetch_max(self.incarnation, Ordering::SeqCst);
        let position = committed.1.clone().filter(|_| self.holds_position());
        Ok(SinkOpened { position })
    }

    async fn write(&mut self, input: SinkInput, _: &Position) -> Result<()> {
        self.released().await?;
        match input {
            SinkInput::Rows(batch) => {
                let nowhere = (0..batch.num_rows()).filter(|row| text(&batch, *row, &[1]) == "nowhere");
                self.left_out.refused += nowhere.count() as u64;
                self.pending.push(batch);
            }
            SinkInput::Changes(ChangeBatch { deletes, inserts }) => {
                let outside = self.outside.upgrade().ok_or_else(|| Error::internal("gone"))?;
                let mut values = outside.values.lock();
                for row in 0..deletes.num_rows() {
                    values.remove(&text(&deletes, row, &self.key));
                }
                let all: Vec<usize> = (0..inserts.num_columns()).collect();
                for row in 0..inserts.num_rows() {
                    values.insert(text(&inserts, row, &self.key), text(&inserts, row, &all));
                }
            }
        }
        Ok(())
    }

    fn holds_position(&self) -> bool {
        !self.outside.upgrade().is_some_and(|outside| outside.forgets.load(Ordering::SeqCst))
    }

    fn take_left_out(&mut self) -> LeftOut {
        std::mem::take(&mut self.left_out)
    }

    async fn checkpoint(&mut self, _: Epoch, position: &Position, _: bool) -> Result<Option<Position>> {
        let outside = self.outside.upgrade().ok_or_else(|| Error::internal("gone"))?;
        let mut committed = outside.committed.lock();
        if outside.incarnation.load(Ordering::SeqCst) > self.incarnation {
            return Err(Error::Fenced { message: "a newer sink writes".to_owned() });
        }
        committed.0.append(&mut self.pending);
        committed.1 = Some(position.clone());
        Ok(Some(position.clone()))
    }
}
