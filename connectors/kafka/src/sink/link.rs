//! What every kind of sink has of the outside: its producer, and what is known of what it wrote.
//!
//! The position of a sink is the newest record at its transactional id in a topic of positions, written in the
//! transaction of the rows it is of. Offsets of a consumer group would not do: Kafka forgets them after a week of silence.
//!
//! # Invariants
//! - Of two instances the newer incarnation writes. An id that was taken over says nothing by itself, as brokers treat a
//!   transaction that took too long the same: so whoever opens leaves a mark of its incarnation, and whoever finds a
//!   newer one gives up.
//! - After an error the link is dropped, and `open` starts with a new one.

use std::sync::Arc;

use ebap_connector::{Error, Position, Result};
use rdkafka::Message;
use serde::{Deserialize, Serialize};

use super::{
    options::{Kind, SinkOptions},
    scan::{self, To},
};
use crate::{
    topic,
    transactions::{Outgoing, Transactions},
};

/// Positions come with every commit, and the newest alone is read: segments that are closed often are compacted often.
const POSITION_SETTINGS: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("segment.ms", "600000"),
    ("segment.bytes", "16777216"),
    ("min.cleanable.dirty.ratio", "0.1"),
];

/// What is outside of a sink, as a record of the topic of positions says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) sink: String,
    pub(super) incarnation: u64,
    /// On a stream: rows below are in the topic.
    pub(super) position: Option<Position>,
    /// Of final rows: those of windows that end up to here are in the topic.
    pub(super) window_end_us: Option<i64>,
}

pub(super) struct Link {
    pub(super) options: Arc<SinkOptions>,
    pub(super) mark: Mark,
    producer: Transactions,
}

impl Link {
    pub(super) async fn open(options: &Arc<SinkOptions>) -> Result<Self> {
        let (config, system) = (options.base_config(), options.system());
        let compacted: &[(&str, &str)] =
            if options.kind == Kind::Upsert { &[("cleanup.policy", "compact")] } else { &[] };
        topic::ensure(&config, &system, (&options.topic, options.partitions), compacted).await?;
        topic::ensure(&config, &system, (&options.position_topic, Some(1)), &POSITION_SETTINGS).await?;
        let options = Arc::clone(options);
        blocking(move || {
            // First without a claim: an older instance must not put the newer one out of its work. What is open may be
            // our own, from before a crash, and ends with the claim.
            check(&options, read(&options, To::Stable)?)?;
            let timeout = options.transaction_timeout;
            let producer = Transactions::take_over(&options.producer_config(), options.system(), timeout)?;
            let found = check(&options, read(&options, To::End)?)?.unwrap_or_default();
            let mark = Mark { sink: options.name.clone(), incarnation: options.incarnation, ..found };
            let mut link = Self { options, mark: mark.clone(), producer };
            link.commit(mark)?;
            Ok(link)
        })
        .await
    }

    pub(super) fn send(&mut self, record: &Outgoing<'_>) -> Result<()> {
        self.producer.send(record)
    }

    /// What was sent becomes visible together with the mark.
    pub(super) fn commit(&mut self, mark: Mark) -> Result<()> {
        let value = serde_json::to_vec(&mark).map_err(Error::internal)?;
        let options = Arc::clone(&self.options);
        self.send(&Outgoing {
            topic: &options.position_topic,
            key: Some(options.transactional_id.as_bytes()),
            value: Some(&value),
            timestamp_ms: None,
            headers: &[],
        })?;
        self.producer.commit()?;
        self.mark = mark;
        Ok(())
    }
}

/// The newest mark of this sink.
fn read(options: &SinkOptions, to: To) -> Result<Option<Mark>> {
    let mut newest = None;
    scan::committed(options, (&options.position_topic, to), |message| {
        if message.key() == Some(options.transactional_id.as_bytes()) {
            newest = message.payload().map(<[u8]>::to_vec);
        }
        Ok(())
    })?;
    let parse = |bytes: Vec<u8>| {
        serde_json::from_slice(&bytes).map_err(|error| {
            let (topic, id) = (&options.position_topic, &options.transactional_id);
            Error::refused(options.system(), format!("topic \"{topic}\" holds no position at key {id}: {error}"))
        })
    };
    newest.map(parse).transpose()
}

fn check(options: &SinkOptions, mark: Option<Mark>) -> Result<Option<Mark>> {
    match mark {
        Some(mark) if mark.incarnation > options.incarnation => {
            let (id, ours, theirs) = (&options.transactional_id, options.incarnation, mark.incarnation);
            let way = "where that is not an instance of this server, give the sink a transactional_id of its own";
            Err(Error::Fenced { message: format!("incarnation {theirs} writes as \"{id}\", newer than {ours}; {way}") })
        }
        other => Ok(other),
    }
}

/// The client blocks.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
}

pub(super) fn not_open() -> Error {
    Error::internal("a kafka sink was used before it was opened, or after it failed")
}
