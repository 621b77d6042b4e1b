//! Telling somebody that an alert fires or is resolved, beside the loop.
//!
//! # Invariants
//! - What is told is durable before: an event is given out only when an epoch holds it.
//! - Events of one alert are told in the order in which they were decided. One that is not accepted for a passing
//!   reason holds up those behind it, for this receiver alone.
//! - An event leaves the manifest when every receiver has it or has refused it for good.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use ebap_connector::{
    AlertEvent, Notifier, Retry,
    time::{Backoff, Clock},
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task::AbortHandle};

use crate::{EngineConfig, sinks::Spawn};

/// Events that wait for receivers, at the most; beyond it the oldest are given up.
const WAITING_MAX: usize = 10_000;
/// Events of one request.
const BATCH_MAX: usize = 100;

/// An event that not everybody has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    seq: u64,
    event: AlertEvent,
    /// Receivers that have it.
    told: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Of the newest event that the receiver has, or has refused.
    done: u64,
    error: Option<String>,
}

/// One receiver and the task that tells it.
#[derive(Debug)]
struct Receiver {
    name: String,
    events: mpsc::UnboundedSender<Vec<(u64, AlertEvent)>>,
    shared: Arc<Mutex<Shared>>,
    /// Up to which event it has been given.
    given: u64,
    abort: AbortHandle,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// What is to be told, and to whom.
#[derive(Debug, Default)]
pub(crate) struct Tell {
    waiting: VecDeque<Waiting>,
    receivers: Vec<Receiver>,
    seq: u64,
    /// Of the newest event in the epoch that is being written, and in the newest one that is durable.
    taken: u64,
    durable: u64,
    /// Given up because too many waited.
    lost: u64,
}

impl Tell {
    pub(crate) fn restore(waiting: VecDeque<Waiting>, seq: u64) -> Self {
        Self { waiting, seq, taken: seq, durable: seq, ..Self::default() }
    }

    pub(crate) fn saved(&self) -> (VecDeque<Waiting>, u64) {
        (self.waiting.clone(), self.seq)
    }

    pub(crate) fn start(
        &mut self,
        notifiers: Vec<Box<dyn Notifier>>,
        config: &EngineConfig,
        clock: &Arc<dyn Clock>,
        spawn: Spawn<'_>,
    ) {
        self.receivers = notifiers
            .into_iter()
            .map(|notifier| {
                let (name, shared) = (notifier.describe(), Arc::new(Mutex::new(Shared::default())));
                let (events, inbox) = mpsc::unbounded_channel();
                let backoff = Backoff::new(config.backoff_first, config.backoff_max);
                let run = run(notifier, inbox, Arc::clone(&shared), backoff, Arc::clone(clock));
                Receiver { name, events, shared, given: 0, abort: spawn(Box::pin(run)) }
            })
            .collect();
    }

    pub(crate) fn has_receivers(&self) -> bool {
        !self.receivers.is_empty()
    }

    pub(crate) fn push(&mut self, event: AlertEvent) {
        self.seq += 1;
        if self.receivers.is_empty() {
            return;
        }
        self.waiting.push_back(Waiting { seq: self.seq, event, told: BTreeSet::new() });
        if self.waiting.len() > WAITING_MAX {
            self.waiting.pop_front();
            self.lost += 1;
            tracing::error!(lost = self.lost, "too many alerts wait for somebody to be told; the oldest is given up");
        }
    }

    /// An epoch takes what there is.
    pub(crate) fn taken(&mut self) {
        self.taken = self.seq;
    }

    /// The epoch that took it is durable.
    pub(crate) fn durable(&mut self) {
        self.durable = self.taken;
    }

    /// Gives receivers what they have not and takes note of what they have. True where the manifest is to say so.
    pub(crate) fn tend(&mut self) -> bool {
        for receiver in &mut self.receivers {
            let done = receiver.shared.lock().done;
            for one in self.waiting.iter_mut().take_while(|one| one.seq <= done) {
                one.told.insert(receiver.name.clone());
            }
            if receiver.given > done {
                continue;
            }
            let due = self.waiting.iter().filter(|one| one.seq > receiver.given && one.seq <= self.durable);
            let due = due.filter(|one| !one.told.contains(&receiver.name));
            let batch: Vec<_> = due.take(BATCH_MAX).map(|one| (one.seq, one.event.clone())).collect();
            if let Some((last, _)) = batch.last() {
                receiver.given = *last;
                // A task that has ended is started again with the pipeline.
                let _ = receiver.events.send(batch);
            }
        }
        let before = self.waiting.len();
        let names: Vec<&String> = self.receivers.iter().map(|receiver| &receiver.name).collect();
        self.waiting.retain(|one| !names.iter().all(|name| one.told.contains(*name)));
        self.waiting.len() < before
    }

    /// Tells again what fires still; nothing waits for it.
    pub(crate) fn repeat(&self, events: Vec<AlertEvent>) {
        if events.is_empty() {
            return;
        }
        for receiver in &self.receivers {
            if receiver.shared.lock().done >= receiver.given {
                let batch = events.iter().map(|event| (receiver.given, event.clone())).collect();
                let _ = receiver.events.send(batch);
            }
        }
    }

    pub(crate) fn message(&self) -> Option<String> {
        let errors: Vec<String> =
            self.receivers.iter().filter_map(|receiver| receiver.shared.lock().error.clone()).collect();
        (!errors.is_empty()).then(|| errors.join("; "))
    }

    pub(crate) fn waits(&self) -> usize {
        self.waiting.len()
    }
}

async fn run(
    mut notifier: Box<dyn Notifier>,
    mut inbox: mpsc::UnboundedReceiver<Vec<(u64, AlertEvent)>>,
    shared: Arc<Mutex<Shared>>,
    mut backoff: Backoff,
    clock: Arc<dyn Clock>,
) {
    while let Some(batch) = inbox.recv().await {
        let last = batch.iter().map(|(seq, _)| *seq).max().unwrap_or(0);
        let events: Vec<AlertEvent> = batch.into_iter().map(|(_, event)| event).collect();
        loop {
            match notifier.notify(&events).await {
                Ok(()) => {
                    backoff.reset();
                    shared.lock().error = None;
                    break;
                }
                Err(error) => {
                    let again = error.retry() == Retry::Backoff;
                    let what = if again { "tries again" } else { "gives up" };
                    tracing::warn!(receiver = notifier.describe(), %error, "telling of an alert failed; {what}");
                    shared.lock().error = Some(format!("{}: {error}", notifier.describe()));
                    if !again {
                        break;
                    }
                    clock.sleep(backoff.advance()).await;
                }
            }
        }
        let mut shared = shared.lock();
        shared.done = shared.done.max(last);
    }
}
