//! Transactions. Everything here blocks.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ebap_connector::{Error, Result, time::instant};
use rdkafka::{
    ClientConfig, ClientContext,
    error::KafkaError,
    message::{DeliveryResult, Header, Message, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig},
    types::RDKafkaErrorCode,
};

/// How long the brokers may take to say whose the transactional id is.
const INIT_MAX: Duration = Duration::from_secs(30);
const ABORT_MAX: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(2);
/// Sent between two looks at what was delivered.
const SERVE_RECORDS: usize = 1_000;
/// Of a key, in an error.
const KEY_SHOWN_MAX: usize = 200;

/// What librdkafka tells in callbacks.
#[derive(Clone, Default)]
pub(crate) struct Reports(Arc<Mutex<Said>>);

#[derive(Default)]
struct Said {
    /// The first record that was not delivered, and its key.
    failed: Option<(KafkaError, String)>,
    /// Why no broker answers.
    away: Option<(KafkaError, String)>,
}

impl Reports {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "kafka");
        self.said().away = Some((error, reason.to_owned()));
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            self.said().failed.get_or_insert_with(|| (error.clone(), shown(message.key())));
        }
    }
}

fn shown(key: Option<&[u8]>) -> String {
    key.map_or("without a key".to_owned(), |key| {
        let text = String::from_utf8_lossy(key);
        format!("with key {}", text.chars().take(KEY_SHOWN_MAX).collect::<String>())
    })
}

/// The one producer of whoever has the transactional id: a sink, or a writer of dead letters.
pub(crate) struct Transactions {
    /// None once it is being dropped.
    producer: Option<BaseProducer<Reports>>,
    reports: Reports,
    system: String,
    timeout: Duration,
    open: bool,
    /// Records sent since reports were served last.
    unserved: usize,
}

/// A record to be written.
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: &'a str,
    pub(crate) key: Option<&'a [u8]>,
    /// None takes away what is at the key.
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) timestamp_ms: Option<i64>,
    pub(crate) headers: &'a [(&'a str, Option<&'a [u8]>)],
}

impl Transactions {
    /// Takes the transactional id over: who had it before can write no more, and what it had begun is aborted, or
    /// committed where that was decided.
    ///
    /// `config` has the id. `timeout`: how long a full queue, an acknowledgement and a commit may take.
    pub(crate) fn take_over(config: &ClientConfig, system: String, timeout: Duration) -> Result<Self> {
        let reports = Reports::default();
        let producer: BaseProducer<Reports> =
            config.create_with_context(reports.clone()).map_err(|error| Error::option("kafka", error.to_string()))?;
        let one = Self { producer: Some(producer), reports, system, timeout, open: false, unserved: 0 };
        one.producer()?.init_transactions(INIT_MAX).map_err(|error| one.failed(&error, "its transactional id"))?;
        Ok(one)
    }

    pub(crate) fn producer(&self) -> Result<&BaseProducer<Reports>> {
        self.producer.as_ref().ok_or_else(|| Error::internal("a producer was used after its end"))
    }

    /// Hands a record over, in the transaction that is open or a new one; waits while the client's queue is full.
    pub(crate) fn send(&mut self, record: &Outgoing<'_>) -> Result<()> {
        if !self.open {
            self.producer()?.begin_transaction().map_err(|error| self.failed(&error, "a transaction"))?;
            self.open = true;
        }
        let producer = self.producer()?;
        let mut next = BaseRecord::<[u8], [u8]>::to(record.topic);
        (next.key, next.payload, next.timestamp) = (record.key, record.value, record.timestamp_ms);
        if !record.headers.is_empty() {
            let headers = record
                .headers
                .iter()
                .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: *value }));
            next = next.headers(headers);
        }
        let begun = instant();
        loop {
            match producer.send(next) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    next = again;
                    producer.poll(POLL);
                    self.check()?;
                    if begun.elapsed() > self.timeout {
                        return Err(self.away("records are not taken"));
                    }
                }
                Err((error, _)) => return Err(self.undelivered(&error, &shown(record.key))),
            }
        }
        self.unserved += 1;
        if self.unserved >= SERVE_RECORDS {
            self.unserved = 0;
            self.producer()?.poll(Duration::ZERO);
            self.check()?;
        }
        Ok(())
    }

    /// Makes what was sent visible, in one act. After an error the outcome is unknown: who takes over finds it out.
    pub(crate) fn commit(&mut self) -> Result<()> {
        if !self.open {
            return Ok(());
        }
        let (producer, begun) = (self.producer()?, instant());
        // The binding's own flush looks every 100 ms.
        while producer.in_flight_count() > 0 {
            producer.poll(POLL);
            self.check()?;
            if begun.elapsed() > self.timeout {
                return Err(self.away("records are not acknowledged"));
            }
        }
        self.check()?;
        producer.commit_transaction(self.timeout).map_err(|error| self.failed(&error, "a commit"))?;
        self.open = false;
        // What was said of brokers is over.
        self.reports.said().away = None;
        Ok(())
    }

    fn check(&self) -> Result<()> {
        match self.reports.said().failed.take() {
            None => Ok(()),
            Some((error, record)) => Err(self.undelivered(&error, &record)),
        }
    }

    fn away(&self, what: &str) -> Error {
        let away = self.reports.said().away.take();
        match away {
            Some((error, reason)) if is_final(&error) => Error::refused(&self.system, format!("{what}: {reason}")),
            Some((_, reason)) => Error::unreachable(&self.system, format!("{what}: {reason}")),
            None => Error::unreachable(&self.system, what),
        }
    }

    fn failed(&self, error: &KafkaError, what: &str) -> Error {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::MessageTimedOut) => self.away(what),
            _ if is_final(error) => Error::refused(&self.system, format!("{what}: {error}")),
            // Somebody has taken over, or a transaction took too long: `open` finds out which.
            _ => Error::unreachable(&self.system, format!("{what}: {error}")),
        }
    }

    fn undelivered(&self, error: &KafkaError, record: &str) -> Error {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
                let way = "raise kafka.message.max.bytes here and max.message.bytes of the topic";
                Error::refused(&self.system, format!("the record {record} is too large; {way}"))
            }
            _ => self.failed(error, &format!("the record {record}")),
        }
    }
}

/// Whether trying again changes nothing.
fn is_final(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::InvalidRecord
                | RDKafkaErrorCode::InvalidTimestamp
                | RDKafkaErrorCode::InvalidTransactionTimeout
                | RDKafkaErrorCode::PolicyViolation
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
        )
    )
}

impl Drop for Transactions {
    /// What is open would hold up readers until it times out. On a thread of its own, as it may be dropped anywhere.
    fn drop(&mut self) {
        let (producer, open) = (self.producer.take(), self.open);
        std::thread::spawn(move || {
            let Some(producer) = producer.filter(|_| open) else { return };
            producer.purge(PurgeConfig::default().queue().inflight());
            let begun = instant();
            while producer.in_flight_count() > 0 && begun.elapsed() < ABORT_MAX {
                producer.poll(POLL);
            }
            if let Err(error) = producer.abort_transaction(ABORT_MAX) {
                tracing::debug!(%error, "a transaction is left to whoever takes over");
            }
        });
    }
}
