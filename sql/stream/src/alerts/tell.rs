//! Telling somebody that an alert fires or is resolved, beside the loop.
//!
//! # Invariants
//! - What is told is durable before: an event is given out only when an epoch holds it.
//! - Events of one alert are told in the order in which they were decided. One that is not accepted for a passing
//!   reason holds up those behind it, for this receiver alone.
//! - An event leaves the manifest when every receiver has it or has refused it for good.

use std::{
    collections::{BTreeSet, VecDeque},
    panic::AssertUnwindSafe,
    sync::Arc,
};

use ebap_connector::{
    AlertEvent, Notifier, Retry,
    time::{Backoff, Clock},
};
use futures::FutureExt;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task::AbortHandle};

use crate::{EngineConfig, guard::panicked, sinks::Spawn};

/// Events that wait for receivers, at the most; beyond it the oldest are given up.
const WAITING_MAX: usize = 10_000;
/// Events of one request.
const BATCH_MAX: usize = 100;
/// What is to be done where a receiver will never take what it is told.
const WAY_OUT: &str = "Where its address or login is wrong: CREATE OR REPLACE ALERT";

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
    /// What the task has been given and has not done.
    queued: usize,
    /// Events that it refused for good.
    refused: u64,
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
                receiver.shared.lock().queued += 1;
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
            let mut shared = receiver.shared.lock();
            // One that is away would have more of the same waiting every time.
            if shared.queued == 0 {
                shared.queued += 1;
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

/// Tells; a receiver that panics is told no more, and says so.
async fn run(
    notifier: Box<dyn Notifier>,
    inbox: mpsc::UnboundedReceiver<Vec<(u64, AlertEvent)>>,
    shared: Arc<Mutex<Shared>>,
    backoff: Backoff,
    clock: Arc<dyn Clock>,
) {
    let tell = tell_all(notifier, inbox, Arc::clone(&shared), backoff, clock);
    if let Err(panic) = AssertUnwindSafe(tell).catch_unwind().await {
        let error = panicked(panic.as_ref()).chain();
        tracing::error!(error, "nobody is told of alerts any more");
        shared.lock().error = Some(format!("{error}. {WAY_OUT}"));
    }
}

async fn tell_all(
    mut notifier: Box<dyn Notifier>,
    mut inbox: mpsc::UnboundedReceiver<Vec<(u64, AlertEvent)>>,
    shared: Arc<Mutex<Shared>>,
    mut backoff: Backoff,
    clock: Arc<dyn Clock>,
) {
    while let Some(batch) = inbox.recv().await {
        let last = batch.iter().map(|(seq, _)| *seq).max().unwrap_or(0);
        let events: Vec<AlertEvent> = batch.into_iter().map(|(_, event)| event).collect();
        for part in events.chunks(BATCH_MAX) {
            if notifier.notify(part).await.is_ok() {
                shared.lock().error = None;
                continue;
            }
            // By itself, so that one that is refused for good takes no other with it.
            for event in part {
                tell_one(notifier.as_mut(), event, &shared, &mut backoff, clock.as_ref()).await;
            }
        }
        let mut shared = shared.lock();
        shared.queued = shared.queued.saturating_sub(1);
        shared.done = shared.done.max(last);
    }
}

/// Until the receiver has it, or refuses it for a reason that does not pass.
async fn tell_one(
    notifier: &mut dyn Notifier,
    event: &AlertEvent,
    shared: &Mutex<Shared>,
    backoff: &mut Backoff,
    clock: &dyn Clock,
) {
    loop {
        let Err(error) = notifier.notify(std::slice::from_ref(event)).await else {
            backoff.reset();
            shared.lock().error = None;
            return;
        };
        if error.retry() != Retry::Backoff {
            let mut shared = shared.lock();
            shared.refused += 1;
            let given_up = format!("given up: {} since the start. {WAY_OUT}", shared.refused);
            tracing::error!(receiver = notifier.describe(), event = event.id, %error, "nobody is told of an alert; {given_up}");
            shared.error = Some(format!("{error}; {given_up}"));
            return;
        }
        tracing::warn!(receiver = notifier.describe(), event = event.id, %error, "telling of an alert failed; tries again");
        shared.lock().error = Some(error.to_string());
        clock.sleep(backoff.advance()).await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use async_trait::async_trait;
    use ebap_connector::{AlertStatus, Error, Result, time::SystemClock};

    use super::*;

    /// Refuses one event for good, and is away as often as is said.
    struct Picky {
        came: Arc<Mutex<Vec<String>>>,
        away: usize,
    }

    #[async_trait]
    impl Notifier for Picky {
        fn describe(&self) -> String {
            "picky".to_owned()
        }

        async fn notify(&mut self, events: &[AlertEvent]) -> Result<()> {
            if self.away > 0 {
                self.away -= 1;
                return Err(Error::unreachable("picky", "not now"));
            }
            if events.iter().any(|event| event.id == "1") {
                return Err(Error::refused("picky", "not this"));
            }
            self.came.lock().extend(events.iter().map(|event| event.id.clone()));
            Ok(())
        }
    }

    fn event(id: u64) -> AlertEvent {
        AlertEvent {
            id: id.to_string(),
            alert: "a".to_owned(),
            key: BTreeMap::new(),
            severity: None,
            labels: BTreeMap::new(),
            summary: String::new(),
            status: AlertStatus::Firing,
            page: true,
            repeated: false,
            value: None,
            since_us: 0,
            until_us: None,
            decided_us: 0,
        }
    }

    fn tell(away: usize) -> (Tell, Arc<Mutex<Vec<String>>>) {
        let (came, mut tell) = (Arc::<Mutex<Vec<String>>>::default(), Tell::default());
        let config = EngineConfig { backoff_first: std::time::Duration::from_millis(1), ..EngineConfig::default() };
        let notifier = Picky { came: Arc::clone(&came), away };
        tell.start(vec![Box::new(notifier)], &config, &SystemClock::shared(), &|run| tokio::spawn(run).abort_handle());
        (tell, came)
    }

    async fn until_told(tell: &mut Tell) {
        while tell.waits() > 0 {
            tell.tend();
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn one_that_is_refused_takes_no_other_with_it_and_one_that_is_away_hears_all() {
        for away in [0, 3] {
            let (mut tell, came) = tell(away);
            (0..4).for_each(|id| tell.push(event(id)));
            tell.tend();
            assert_eq!(*came.lock(), Vec::<String>::new(), "nothing is told before it is durable");
            tell.taken();
            tell.durable();
            until_told(&mut tell).await;
            assert_eq!(*came.lock(), ["0", "2", "3"], "away {away} times");
            assert!(tell.message().is_none(), "what came behind it was taken");
        }
    }

    #[tokio::test]
    async fn who_was_not_told_for_good_is_counted_with_the_way_out() {
        let (mut tell, came) = tell(0);
        (0..2).for_each(|id| tell.push(event(id)));
        tell.taken();
        tell.durable();
        until_told(&mut tell).await;
        assert_eq!(*came.lock(), ["0"]);
        let message = tell.message().expect("the last one was refused");
        assert!(message.contains("picky refused: not this; given up: 1 since the start"), "{message}");
        assert!(message.ends_with(WAY_OUT), "{message}");
    }

    #[tokio::test]
    async fn one_that_is_away_has_no_more_than_one_telling_again_waiting() {
        let (tell, _) = tell(usize::MAX);
        (0..5).for_each(|_| tell.repeat(vec![event(7)]));
        assert_eq!(tell.receivers[0].shared.lock().queued, 1);
    }
}
