//! Processing time that passes when nobody has anything left to do, and not before.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use ebap_connector::time::Clock;
use parking_lot::Mutex;

/// Turns of the executor in which nobody sleeps, before that counts as a deadlock.
const TURNS_MAX: u32 = 2_000_000;

#[derive(Debug)]
pub(super) struct SimClock(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    now_us: i64,
    /// By the moment to be woken at, then in the order of coming.
    sleepers: BTreeMap<(i64, u64), Waker>,
    next: u64,
}

impl SimClock {
    pub(super) fn at(now_us: i64) -> Arc<Self> {
        Arc::new(Self(Arc::new(Mutex::new(State { now_us, sleepers: BTreeMap::new(), next: 0 }))))
    }

    /// Time passes while no process runs.
    pub(super) fn pass(&self, micros: i64) {
        self.0.lock().now_us += micros;
    }

    /// Lets time pass for as long as it is polled: a turn of a single-threaded executor ends when no
    /// task can go on, and then the clock goes to the moment the next one waits for.
    pub(super) async fn run(&self) {
        let mut turns = 0;
        loop {
            tokio::task::yield_now().await;
            let woken: Vec<Waker> = {
                let mut state = self.0.lock();
                let Some((at, _)) = state.sleepers.keys().next().copied() else {
                    turns += 1;
                    assert!(turns < TURNS_MAX, "nobody sleeps and nothing ends: a deadlock");
                    continue;
                };
                state.now_us = state.now_us.max(at);
                let later = state.sleepers.split_off(&(at, u64::MAX));
                std::mem::replace(&mut state.sleepers, later).into_values().collect()
            };
            turns = 0;
            woken.into_iter().for_each(Waker::wake);
        }
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now_us(&self) -> i64 {
        self.0.lock().now_us
    }

    fn monotonic_us(&self) -> i64 {
        self.now_us()
    }

    async fn sleep(&self, duration: Duration) {
        let until_us = self.now_us() + duration.as_micros() as i64;
        Sleep { clock: Arc::clone(&self.0), until_us, number: None }.await;
    }
}

struct Sleep {
    clock: Arc<Mutex<State>>,
    until_us: i64,
    number: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = Arc::clone(&self.clock);
        let mut state = clock.lock();
        // At least one turn, so that a sleep of nothing still lets others go on.
        if self.number.is_some() && state.now_us >= self.until_us {
            return Poll::Ready(());
        }
        let number = *self.number.get_or_insert_with(|| {
            state.next += 1;
            state.next
        });
        state.sleepers.insert((self.until_us, number), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.clock.lock().sleepers.remove(&(self.until_us, number));
        }
    }
}
