//! On a view: what stands at each key of the topic is the row of the view, and nothing where it has none.
//!
//! What the topic has is read when the sink is opened, and kept as hashes. So whatever the view writes again, after a
//! restart or when the sink was behind, only what differs is sent: a reader sees each result once.
//!
//! Records say in a header which sink they are of. Only those are compared and swept away: a topic that others write to
//! as well, by mistake or not, keeps what is theirs.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use ebap_connector::{ChangeBatch, Epoch, Error, Position, Result, Sink, SinkInput, SinkOpened};
use rdkafka::{
    Message,
    message::{BorrowedMessage, Headers},
};

use super::{
    TRANSACTION_ROWS_MAX,
    encode::{Encoder, time_ms},
    link::{Link, blocking, not_open},
    options::SinkOptions,
    scan::{self, To},
};
use crate::transactions::Outgoing;

const HEADER: &str = "ebap.sink";
/// Keys of one topic that are kept in memory, some 50 bytes each.
const KEYS_MAX: usize = 20_000_000;

/// Of the bytes of a key.
type KeyHash = u128;

pub(super) struct UpsertSink {
    options: Arc<SinkOptions>,
    encoder: Encoder,
    link: Option<Link>,
    outside: Outside,
    pending: Pending,
    sealed: Option<(Epoch, Position, Pending)>,
    /// All rows of the view are being written.
    all: bool,
}

/// What will stand at a key.
#[derive(Clone)]
enum Change {
    Row(Arc<RecordBatch>, usize),
    Gone(Arc<RecordBatch>, usize),
    /// Of a row that nobody has any more.
    Swept(Vec<u8>),
}

/// The newest change of each key, in the order in which the keys came.
#[derive(Default)]
struct Pending {
    places: HashMap<KeyHash, usize>,
    changes: Vec<(KeyHash, Change)>,
}

impl Pending {
    fn set(&mut self, key: KeyHash, change: Change) {
        match self.places.get(&key) {
            Some(place) => self.changes[*place].1 = change,
            None => {
                self.places.insert(key, self.changes.len());
                self.changes.push((key, change));
            }
        }
    }

    fn has(&self, key: KeyHash) -> bool {
        self.places.contains_key(&key)
    }
}

/// What the topic has of this sink.
struct Outside {
    /// Of each key the hash of its value, and the last writing of all rows that it was among.
    values: HashMap<KeyHash, (u64, u32)>,
    round: u32,
    hashers: [RandomState; 2],
}

impl Outside {
    fn key(&self, bytes: &[u8]) -> KeyHash {
        let [one, other] = self.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(bytes)));
        one << 64 | other
    }

    fn value(&self, bytes: &[u8]) -> u64 {
        self.hashers[0].hash_one(bytes)
    }

    fn set(&mut self, key: KeyHash, value: Option<u64>, topic: &str) -> Result<()> {
        match value {
            Some(value) => self.values.entry(key).or_insert((0, self.round)).0 = value,
            None => {
                self.values.remove(&key);
            }
        }
        if self.values.len() > KEYS_MAX {
            let message = format!("the sink has more than {KEYS_MAX} keys in topic \"{topic}\"");
            return Err(Error::Limit { message });
        }
        Ok(())
    }
}

impl UpsertSink {
    pub(super) fn new(options: Arc<SinkOptions>, encoder: Encoder) -> Self {
        let hashers = [RandomState::new(), RandomState::new()];
        let outside = Outside { values: HashMap::new(), round: 0, hashers };
        Self { options, encoder, link: None, outside, pending: Pending::default(), sealed: None, all: false }
    }

    fn key_bytes(&self, batch: &RecordBatch, row: usize) -> Result<Vec<u8>> {
        let key = self.encoder.key(batch, &self.options.key, row)?;
        key.ok_or_else(|| Error::internal("a row without a key"))
    }

    fn is_sealed(&self, key: KeyHash) -> bool {
        self.sealed.as_ref().is_some_and(|(_, _, sealed)| sealed.has(key))
    }

    fn insert(&mut self, batch: &Arc<RecordBatch>, row: usize) -> Result<()> {
        let key = self.outside.key(&self.key_bytes(batch, row)?);
        if self.all && !self.pending.has(key) && !self.is_sealed(key) {
            // Most of what is written again is there.
            let value = self.outside.value(&self.encoder.value(batch, row)?);
            let round = self.outside.round;
            if let Some(known) = self.outside.values.get_mut(&key) {
                known.1 = round;
                if known.0 == value {
                    return Ok(());
                }
            }
        }
        self.pending.set(key, Change::Row(Arc::clone(batch), row));
        Ok(())
    }

    fn delete(&mut self, batch: &Arc<RecordBatch>, row: usize) -> Result<()> {
        let key = self.outside.key(&self.key_bytes(batch, row)?);
        // Of rows that may be outside when all is written.
        if !self.all || self.outside.values.contains_key(&key) || self.is_sealed(key) {
            self.pending.set(key, Change::Gone(Arc::clone(batch), row));
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for UpsertSink {
    async fn open(&mut self) -> Result<SinkOpened> {
        (self.link, self.sealed, self.all) = (None, None, false);
        self.pending = Pending::default();
        self.encoder.open().await?;
        let (link, hashers) = (Link::open(&self.options).await?, self.outside.hashers.clone());
        let options = Arc::clone(&self.options);
        let found = blocking(move || {
            let mut outside = Outside { values: HashMap::new(), round: 0, hashers };
            scan::committed(&options, (&options.topic, To::End), |message| {
                let Some(key) = message.key() else { return Ok(()) };
                let key = outside.key(key);
                let ours = message.payload().filter(|_| is_of(message, &options.name));
                let value = ours.map(|value| outside.value(value));
                outside.set(key, value, &options.topic)
            })?;
            Ok(outside)
        });
        self.outside = found.await?;
        self.link = Some(link);
        // Nothing outside is newer than the epoch that the view starts from.
        Ok(SinkOpened::default())
    }

    async fn begin_all(&mut self) -> Result<()> {
        self.pending = Pending::default();
        self.outside.round += 1;
        self.all = true;
        Ok(())
    }

    async fn write(&mut self, input: SinkInput, _position: &Position) -> Result<()> {
        let SinkInput::Changes(ChangeBatch { deletes, inserts }) = input else {
            return Err(Error::internal("a kafka sink on a view was given rows of a stream"));
        };
        let (deletes, inserts) = (Arc::new(deletes), Arc::new(inserts));
        for row in 0..deletes.num_rows() {
            self.delete(&deletes, row)?;
        }
        for row in 0..inserts.num_rows() {
            self.insert(&inserts, row)?;
        }
        Ok(())
    }

    async fn sweep(&mut self, _position: &Position) -> Result<()> {
        self.all = false;
        if let Some((_, _, sealed)) = &self.sealed {
            for (key, change) in &sealed.changes {
                if let Change::Row(batch, row) = change
                    && !self.pending.has(*key)
                {
                    self.pending.set(*key, Change::Gone(Arc::clone(batch), *row));
                }
            }
        }
        let (round, pending) = (self.outside.round, &self.pending);
        let gone = self.outside.values.iter().filter(|(key, known)| known.1 != round && !pending.has(**key));
        let gone: HashSet<KeyHash> = gone.map(|(key, _)| *key).collect();
        if gone.is_empty() {
            return Ok(());
        }
        // Their bytes were not kept: most of the time nothing goes this way.
        let (options, hashers) = (Arc::clone(&self.options), self.outside.hashers.clone());
        let swept = blocking(move || {
            let (hasher, mut keys) = (Outside { values: HashMap::new(), round: 0, hashers }, HashMap::new());
            scan::committed(&options, (&options.topic, To::End), |message| {
                let bytes = message.key().unwrap_or_default();
                let key = hasher.key(bytes);
                if gone.contains(&key) {
                    keys.entry(key).or_insert_with(|| bytes.to_vec());
                }
                Ok(())
            })?;
            Ok(keys)
        });
        for (key, bytes) in swept.await? {
            self.pending.set(key, Change::Swept(bytes));
        }
        Ok(())
    }

    async fn seal(&mut self, epoch: Epoch, position: &Position) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let sealed = match self.sealed.take() {
            Some((_, _, mut sealed)) => {
                pending.changes.into_iter().for_each(|(key, change)| sealed.set(key, change));
                sealed
            }
            None => pending,
        };
        self.sealed = Some((epoch, position.clone(), sealed));
        Ok(())
    }

    async fn durable(&mut self, epoch: Epoch) -> Result<Option<Position>> {
        let Some((_, position, sealed)) = self.sealed.take_if(|(sealed, ..)| *sealed <= epoch) else {
            return Ok(None);
        };
        let link = self.link.take().ok_or_else(not_open)?;
        if sealed.changes.is_empty() {
            self.link = Some(link);
            return Ok(Some(position));
        }
        let hashers = self.outside.hashers.clone();
        let nothing = Outside { values: HashMap::new(), round: 0, hashers };
        let outside = std::mem::replace(&mut self.outside, nothing);
        let encoder = self.encoder.clone();
        let (link, outside) = blocking(move || send(link, outside, &encoder, sealed)).await?;
        (self.link, self.outside) = (Some(link), outside);
        Ok(Some(position))
    }

    async fn checkpoint(&mut self, _epoch: Epoch, position: &Position, _force: bool) -> Result<Option<Position>> {
        Ok((self.pending.changes.is_empty() && self.sealed.is_none()).then(|| position.clone()))
    }
}

fn is_of(message: &BorrowedMessage<'_>, sink: &str) -> bool {
    let mut headers = message.headers().into_iter().flat_map(Headers::iter);
    headers.any(|header| header.key == HEADER && header.value == Some(sink.as_bytes()))
}

/// What differs from what is outside, which is then so outside.
fn send(mut link: Link, mut outside: Outside, encoder: &Encoder, sealed: Pending) -> Result<(Link, Outside)> {
    let options = Arc::clone(&link.options);
    let mut sent: Vec<(KeyHash, Option<u64>)> = Vec::new();
    for (hash, change) in sealed.changes {
        let known = outside.values.get(&hash).map(|known| known.0);
        let mut timestamp_ms = None;
        let (key, value) = match change {
            Change::Row(batch, row) => {
                let value = encoder.value(&batch, row)?;
                if known == Some(outside.value(&value)) {
                    continue;
                }
                timestamp_ms = time_ms(&batch, options.time_column, row);
                (encoder.key(&batch, &options.key, row)?, Some(value))
            }
            _ if known.is_none() => continue,
            Change::Gone(batch, row) => (encoder.key(&batch, &options.key, row)?, None),
            Change::Swept(key) => (Some(key), None),
        };
        sent.push((hash, value.as_deref().map(|value| outside.value(value))));
        link.send(&Outgoing {
            topic: &options.topic,
            key: key.as_deref(),
            value: value.as_deref(),
            timestamp_ms,
            headers: &[(HEADER, Some(options.name.as_bytes()))],
        })?;
        if sent.len() >= TRANSACTION_ROWS_MAX {
            commit(&mut link, &mut outside, &mut sent)?;
        }
    }
    if !sent.is_empty() {
        commit(&mut link, &mut outside, &mut sent)?;
    }
    Ok((link, outside))
}

fn commit(link: &mut Link, outside: &mut Outside, sent: &mut Vec<(KeyHash, Option<u64>)>) -> Result<()> {
    link.commit(link.mark.clone())?;
    let topic = &link.options.topic;
    sent.drain(..).try_for_each(|(key, value)| outside.set(key, value, topic))
}
