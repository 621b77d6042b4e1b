//! What librdkafka tells in callbacks, kept for whoever asks.

use std::{collections::HashMap, sync::Mutex};

use rdkafka::{ClientContext, Statistics, consumer::ConsumerContext, error::KafkaError, types::RDKafkaErrorCode};

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PartitionFacts {
    /// Last stable offset, once a broker has said it.
    pub(crate) end: Option<i64>,
    /// All records below have been handed out, where the queue is empty.
    pub(crate) fetched: i64,
    pub(crate) queued: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) partitions: HashMap<i32, PartitionFacts>,
    /// Why no broker answers.
    pub(crate) away: Option<String>,
    /// How many callbacks were served.
    pub(crate) heard: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Context {
    pub(crate) facts: Mutex<Facts>,
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        let mut facts = self.facts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        facts.heard += 1;
        // Only brokers that were learned from metadata have a number; the others are the addresses given.
        if statistics.brokers.values().any(|broker| broker.nodeid >= 0 && broker.state == "UP") {
            facts.away = None;
        }
        for topic in statistics.topics.values() {
            for (number, partition) in &topic.partitions {
                let known = facts.partitions.entry(*number).or_default();
                known.end = known.end.max((partition.ls_offset >= 0).then_some(partition.ls_offset));
                known.fetched = partition.next_offset;
                known.queued = partition.fetchq_cnt;
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // An event of the main queue, where it comes before its partition has a queue of its own; no broker is away.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        tracing::warn!(%error, reason, "kafka");
        let mut facts = self.facts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        facts.heard += 1;
        facts.away = Some(reason.to_owned());
    }
}

impl ConsumerContext for Context {}
