//! The sink itself: what waits for its interval, what a flush sends, what is swept away.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use ebap_connector::{
    ChangeBatch, Epoch, Error, Offset, Position, Result, Sink, SinkContext, SinkInput, SinkOpened, SplitId, time,
};
use redis::{Cmd, Script};

use crate::{
    change::{self, Change, Pending, TOMBSTONE, by_slot, companion, places},
    connection::{Link, Phase},
    options::Settings,
    script::{self, DONE, LOST},
};

/// Long enough to survive a pipeline that was paused over a holiday, and yet not for ever.
const CONTROL_TTL: Duration = Duration::from_secs(30 * 24 * 3_600);
/// How often a sink that has nothing to write looks whether Redis still has what it wrote: a server may have been
/// restarted without its memory, and a replica promoted that had not got all of it.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const SPLIT_PREFIX: &str = "split:";
/// Rows of one call of a script: some 0.3 ms, during which Redis does nothing else.
const SCRIPT_ROWS: usize = 50;
const INDEX_ENTRIES: usize = 500;
const SWEEP_ENTRIES: usize = 1_000;
/// Parts of the index in a cluster.
const SHARDS: usize = 16;
/// Places that are known to be in the index. More are written there once more.
const INDEXED_MAX: usize = 1_000_000;
/// Digits of what tells the openings of a process apart, behind its incarnation.
const OPENING_DIGITS: usize = 10;

/// # Errors
/// `Option` for whatever the user wrote that cannot work; nothing is contacted before `open`.
pub fn sink(context: &SinkContext) -> Result<Box<dyn Sink>> {
    let settings = Settings::of(context)?;
    Ok(Box::new(RedisSink {
        id: context.id.clone(),
        first_version: context.first_version,
        incarnation: context.incarnation,
        columns: context.schema.fields().iter().map(|field| field.name().clone()).collect(),
        settings,
        opened: None,
        pending: Pending::default(),
        waiting: None,
        looked: time::instant(),
        visible: None,
        written: None,
        indexed: HashSet::new(),
        indexed_since: time::instant(),
        hasher: RandomState::new(),
    }))
}

struct RedisSink {
    id: String,
    first_version: u64,
    incarnation: u64,
    settings: Settings,
    columns: Vec<String>,
    opened: Option<Opened>,
    pending: Pending,
    /// The position behind what waits, and since when the oldest of it does.
    waiting: Option<(Position, Instant)>,
    /// When Redis last answered as it should.
    looked: Instant,
    /// What was flushed and not told yet.
    visible: Option<Position>,
    /// Hashes of the places written since `open`, until they have been swept around.
    written: Option<HashSet<u64>>,
    /// Hashes of the places that the index has, of about the last quarter of a TTL.
    indexed: HashSet<u64>,
    indexed_since: Instant,
    hasher: RandomState,
}

struct Opened {
    link: Link,
    writer: String,
    shards: Vec<Shard>,
    advance: Script,
    index: Script,
    rows: Script,
}

/// A part of the index, and what says whose it is.
struct Shard {
    control: String,
    rows: String,
}

#[async_trait]
impl Sink for RedisSink {
    async fn open(&mut self) -> Result<SinkOpened> {
        self.opened = None;
        (self.pending, self.waiting, self.visible) = (Pending::default(), None, None);
        self.written = Some(HashSet::new());
        self.indexed.clear();
        let mut link = self.settings.server.connect().await?;
        let cluster = link.is_cluster();
        let rows = script::rows(&self.settings.kind, cluster);
        let codes = [script::take_over(), script::advance(), script::index(), rows];
        for code in &codes {
            let mut load = redis::cmd("SCRIPT");
            load.arg("LOAD").arg(code);
            let _: redis::Value = link.query(&load).await.map_err(|error| self.settings.server.failed(&error))?;
        }
        let [take_over, advance, index, rows] = codes.map(|code| Script::new(&code));
        let writer = self.writer();
        let shards: Vec<_> = (0..if cluster { SHARDS } else { 1 }).map(|number| Shard::of(&self.id, number)).collect();
        for shard in &shards {
            let command = evalsha(&take_over, &[&shard.control], &[&writer, &millis(CONTROL_TTL).to_string()]);
            let holder: Option<String> =
                link.query(&command).await.map_err(|error| self.settings.server.failed(&error))?;
            if let Some(holder) = holder {
                return Err(fenced(&shard.control, &holder, &writer));
            }
        }
        let control = Cmd::hgetall(&shards[0].control);
        let stored: Vec<(String, String)> =
            link.query(&control).await.map_err(|error| self.settings.server.failed(&error))?;
        let position = self.published(&stored)?;
        self.looked = time::instant();
        self.opened = Some(Opened { link, writer, shards, advance, index, rows });
        Ok(SinkOpened { position: (!position.0.is_empty()).then_some(position) })
    }

    async fn write(&mut self, input: SinkInput, position: &Position) -> Result<()> {
        let SinkInput::Changes(ChangeBatch { deletes, inserts }) = input else {
            return Err(Error::internal("a redis sink was given rows of a stream"));
        };
        let since = self.waiting.take().map_or_else(time::instant, |(_, since)| since);
        self.waiting = Some((position.clone(), since));
        let version = self.version(position);
        let (kind, key) = (&self.settings.kind, &self.settings.key);
        for row in 0..deletes.num_rows() {
            let (entry, change) = places(kind, key, &deletes, row)?;
            self.pending.add(entry, Change { version, ..change });
        }
        let rows = inserts.num_rows();
        let inserts = Arc::new(inserts);
        for row in 0..rows {
            let (entry, change) = places(kind, key, &inserts, row)?;
            let there = kind.is_present(&inserts, row)?.then(|| (Arc::clone(&inserts), row));
            self.pending.add(entry, Change { version, row: there, ..change });
        }
        self.pending.hold(rows);
        if self.pending.is_full() || self.settings.flush_interval.is_zero() {
            self.send().await?;
        }
        Ok(())
    }

    fn flush_due(&self) -> Option<Duration> {
        Some(match &self.waiting {
            Some((_, since)) => self.settings.flush_interval.saturating_sub(since.elapsed()),
            None => LOOK_INTERVAL.saturating_sub(self.looked.elapsed()),
        })
    }

    async fn flush(&mut self) -> Result<Option<Position>> {
        match self.waiting {
            Some(_) => self.send().await?,
            None => self.apply(Vec::new(), &Position::default()).await?,
        }
        Ok(self.visible.take())
    }

    async fn sweep(&mut self, position: &Position) -> Result<()> {
        self.send().await?;
        let Some(written) = self.written.take() else { return Ok(()) };
        let version = self.version(position);
        for shard in 0..self.opened()?.shards.len() {
            let mut cursor = 0_u64;
            loop {
                let opened = self.opened.as_mut().ok_or_else(not_open)?;
                let mut scan = redis::cmd("ZSCAN");
                scan.arg(&opened.shards[shard].rows).arg(cursor).arg("COUNT").arg(SWEEP_ENTRIES);
                let (next, found): (u64, Vec<(String, String)>) =
                    opened.link.query(&scan).await.map_err(|error| self.settings.server.failed(&error))?;
                let left = found.into_iter().map(|(entry, _)| entry);
                let left = left.filter(|entry| !written.contains(&self.hasher.hash_one(entry)));
                let gone = left.filter_map(|entry| {
                    change::of_entry(&self.settings.kind, &entry, version).map(|change| (entry, change))
                });
                let gone: Vec<_> = gone.collect();
                if !gone.is_empty() {
                    self.apply(gone, position).await?;
                }
                if next == 0 {
                    break;
                }
                cursor = next;
            }
        }
        Ok(())
    }

    async fn checkpoint(&mut self, _epoch: Epoch, position: &Position, force: bool) -> Result<Option<Position>> {
        if force {
            self.send().await?;
        }
        let flushed = self.visible.take();
        Ok(if self.waiting.is_none() { Some(position.clone()) } else { flushed })
    }
}

impl RedisSink {
    /// Rises with every opening within a process, and from process to process.
    fn writer(&self) -> String {
        static OPENINGS: AtomicU64 = AtomicU64::new(0);
        let opening = OPENINGS.fetch_add(1, Ordering::Relaxed);
        format!("{}{opening:0OPENING_DIGITS$}", self.incarnation)
    }

    fn version(&self, position: &Position) -> u64 {
        self.first_version.saturating_add(position.version())
    }

    fn published(&self, stored: &[(String, String)]) -> Result<Position> {
        let mut position = Position::default();
        for (field, offset) in stored {
            let Some(split) = field.strip_prefix(SPLIT_PREFIX) else { continue };
            let no_offset = || format!("field \"{field}\" of sink {} is not an offset", self.id);
            let offset = offset.parse().map_err(|_| Error::refused(&self.settings.server.name, no_offset()))?;
            position.set(SplitId::new(split), Offset(offset));
        }
        Ok(position)
    }

    fn opened(&self) -> Result<&Opened> {
        self.opened.as_ref().ok_or_else(not_open)
    }

    /// All that waits.
    async fn send(&mut self) -> Result<()> {
        let Some((position, _)) = self.waiting.take() else { return Ok(()) };
        let changes = self.pending.take();
        if let Some(written) = &mut self.written {
            let there = changes.iter().filter(|(_, change)| change.row.is_some());
            written.extend(there.map(|(entry, _)| self.hasher.hash_one(entry)));
        }
        self.apply(changes, &position).await?;
        self.visible = Some(position);
        Ok(())
    }

    /// Position, index, rows, index: see the invariants of this crate.
    async fn apply(&mut self, changes: Vec<(String, Change)>, position: &Position) -> Result<()> {
        let now_ms = time::now_us() / 1_000;
        let added = self.not_indexed(&changes);
        let opened = self.opened.as_ref().ok_or_else(not_open)?;
        let cluster = opened.link.is_cluster();
        let ttl_ms = millis(self.settings.ttl);
        let gone: Vec<&str> =
            changes.iter().filter(|(_, change)| change.row.is_none()).map(|(entry, _)| entry.as_str()).collect();
        let added: Vec<&str> = added.iter().map(|index| changes[*index].0.as_str()).collect();
        let changes: Vec<&Change> = changes.iter().map(|(_, change)| change).collect();
        let in_order = if cluster { by_slot(&changes) } else { vec![changes] };
        let mut rows = Phase::new();
        for changes in in_order {
            let commands = changes.chunks(SCRIPT_ROWS).map(|changes| self.rows(opened, changes, now_ms));
            rows.push(commands.collect::<Result<_>>()?);
        }
        // Without anything to add the parts of a cluster are asked all the same whether they are still ours.
        let mut add = opened.index(&added, true, (ttl_ms, now_ms));
        if cluster {
            add.extend(
                opened.shards.iter().map(|shard| vec![opened.index_command(shard, &[], true, (ttl_ms, now_ms))]),
            );
        }
        let phases =
            vec![vec![vec![opened.advance(position)]], add, rows, opened.index(&gone, false, (ttl_ms, now_ms))];
        let (control, writer) = (opened.shards[0].control.clone(), opened.writer.clone());
        let server = &self.settings.server;
        let check = |answer: &str| match answer {
            DONE => Ok(()),
            LOST => Err(Error::unreachable(&server.name, format!("key \"{control}\" is gone, data was lost"))),
            holder => Err(fenced(&control, holder, &writer)),
        };
        let failed = |error: &redis::RedisError| server.failed(error);
        let opened = self.opened.as_mut().ok_or_else(not_open)?;
        opened.link.run(phases, &failed, &check).await?;
        self.looked = time::instant();
        Ok(())
    }

    /// Which of the changes put something that the index may not have; it is taken to have it from now on.
    fn not_indexed(&mut self, changes: &[(String, Change)]) -> Vec<usize> {
        if self.indexed_since.elapsed() > self.settings.ttl / 4 || self.indexed.len() > INDEXED_MAX {
            self.indexed.clear();
            self.indexed_since = time::instant();
        }
        let mut added = Vec::new();
        for (index, (entry, change)) in changes.iter().enumerate() {
            let hash = self.hasher.hash_one(entry);
            if change.row.is_none() {
                self.indexed.remove(&hash);
            } else if self.indexed.insert(hash) {
                added.push(index);
            }
        }
        added
    }

    fn rows(&self, opened: &Opened, changes: &[&Change], now_ms: i64) -> Result<Cmd> {
        let kind = &self.settings.kind;
        let cluster = opened.link.is_cluster();
        let companions = script::companions(kind, cluster);
        let mut command = redis::cmd("EVALSHA");
        command.arg(opened.rows.get_hash());
        command.arg(changes.len() * (1 + companions.len()) + usize::from(!cluster));
        if !cluster {
            command.arg(&opened.shards[0].control);
        }
        for change in changes {
            command.arg(&change.key);
            for prefix in companions {
                command.arg(companion(prefix, &change.key));
            }
        }
        let tombstone_ms = millis(TOMBSTONE);
        let horizon_ms = now_ms - i64::try_from(tombstone_ms).unwrap_or(i64::MAX);
        command.arg(&opened.writer).arg(millis(self.settings.ttl)).arg(tombstone_ms).arg(now_ms).arg(horizon_ms);
        kind.add_head(&mut command, &self.columns);
        for change in changes {
            kind.add(&mut command, change, &self.columns)?;
        }
        Ok(command)
    }
}

impl Opened {
    fn advance(&self, position: &Position) -> Cmd {
        let mut arguments = vec![self.writer.clone(), millis(CONTROL_TTL).to_string()];
        for (split, offset) in &position.0 {
            arguments.push(format!("{SPLIT_PREFIX}{split}"));
            arguments.push(offset.0.max(0).to_string());
        }
        let arguments: Vec<_> = arguments.iter().collect();
        evalsha(&self.advance, &[&self.shards[0].control], &arguments)
    }

    /// What adds entries to the index, or takes them out.
    fn index(&self, entries: &[&str], add: bool, times: (u64, i64)) -> Phase {
        let mut by_shard: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for entry in entries {
            by_shard.entry(shard_of(entry, self.shards.len())).or_default().push(entry);
        }
        let commands = |(shard, entries): (usize, Vec<&str>)| {
            let shard = &self.shards[shard];
            entries.chunks(INDEX_ENTRIES).map(|entries| self.index_command(shard, entries, add, times)).collect()
        };
        by_shard.into_iter().map(commands).collect()
    }

    fn index_command(&self, shard: &Shard, entries: &[&str], add: bool, (ttl_ms, now_ms): (u64, i64)) -> Cmd {
        // A place that is known to be indexed may be written for another quarter without being indexed again.
        let ttl = i64::try_from(ttl_ms).unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
        let forgotten_ms = now_ms.saturating_add(ttl).saturating_add(ttl / 2);
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.index.get_hash()).arg(2).arg(&shard.control).arg(&shard.rows);
        command.arg(&self.writer).arg(millis(CONTROL_TTL)).arg(ttl.saturating_mul(3)).arg(now_ms).arg(forgotten_ms);
        command.arg(if add { entries.len() } else { 0 }).arg(entries);
        command
    }
}

impl Shard {
    /// The first one has the position too.
    fn of(id: &str, number: usize) -> Self {
        let tag = if number == 0 { id.to_owned() } else { format!("{id}.{number}") };
        let control = format!("ebap:sink:{{{tag}}}");
        Self { rows: format!("{control}:rows"), control }
    }
}

/// The same in every process (FNV-1a): another one looks for the entry there.
fn shard_of(entry: &str, shards: usize) -> usize {
    let hash = entry
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    usize::try_from(hash % u64::try_from(shards).unwrap_or(1)).unwrap_or(0)
}

fn evalsha(script: &Script, keys: &[&String], arguments: &[&String]) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(script.get_hash()).arg(keys.len()).arg(keys).arg(arguments);
    command
}

fn fenced(key: &str, holder: &str, writer: &str) -> Error {
    let (theirs, mine) = (incarnation(holder), incarnation(writer));
    Error::Fenced {
        message: match theirs == mine {
            true => format!("a newer opening of the sink holds \"{key}\""),
            false => format!("incarnation {theirs} of \"{key}\" is newer than this one, {mine}"),
        },
    }
}

fn incarnation(writer: &str) -> &str {
    writer.get(..writer.len().saturating_sub(OPENING_DIGITS)).unwrap_or(writer)
}

fn not_open() -> Error {
    Error::internal("a redis sink was used before it was opened")
}

fn millis(duration: Duration) -> u64 {
    // What is far beyond any age of a server, and small enough for Redis to add to its clock.
    const MOST: u64 = 100 * 365 * 24 * 3_600 * 1_000;
    u64::try_from(duration.as_millis()).unwrap_or(MOST).min(MOST)
}
