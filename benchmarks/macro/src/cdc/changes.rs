//! Changes of the table at a steady rate, and the topic in which Debezium tells of them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use ebap_connector::time;
use ebap_tests::{
    cdc::{Change, History, People},
    wait,
};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::{
    consumer::{self, Pass},
    histogram::Histogram,
};

const TURN: Duration = Duration::from_millis(5);
/// Of one turn; what is behind comes in the next ones.
const TURN_MAX: u64 = 200;

/// What was given to PostgreSQL.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) count: u64,
    pub(super) deletes: u64,
    pub(super) seconds: f64,
    /// Of each version the time before its turn was handed over.
    handed_over: Vec<(i64, Instant)>,
}

/// Changes until it is finished.
pub(super) struct Changes {
    stopped: Arc<AtomicBool>,
    task: JoinHandle<anyhow::Result<(People, Made)>>,
}

impl Changes {
    pub(super) fn start(postgres: Client, people: People, rate: u64) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(change(postgres, people, rate, Arc::clone(&stopped)));
        Self { stopped, task }
    }

    pub(super) async fn finish(self) -> anyhow::Result<(People, Made)> {
        self.stopped.store(true, Ordering::Relaxed);
        self.task.await.context("the changes")?
    }
}

async fn change(
    postgres: Client,
    mut people: People,
    rate: u64,
    stopped: Arc<AtomicBool>,
) -> anyhow::Result<(People, Made)> {
    let (mut made, began) = (Made::default(), time::instant());
    while !stopped.load(Ordering::Relaxed) {
        let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
        let count = (due - made.count).min(TURN_MAX);
        let changes: Vec<Change> = (0..count).map(|_| people.change()).collect();
        // One message, and a transaction for each change.
        let sql: String = changes.iter().map(|change| format!("BEGIN; {}; COMMIT;", change.sql())).collect();
        let now = time::instant();
        postgres.batch_execute(&sql).await.context("changes")?;
        made.handed_over.extend(changes.iter().filter_map(|change| Some((change.version()?, now))));
        made.deletes += changes.iter().filter(|change| change.version().is_none()).count() as u64;
        made.count += count;
        time::sleep(TURN).await;
    }
    made.seconds = began.elapsed().as_secs_f64();
    Ok((people, made))
}

impl Made {
    /// From before a change was given to PostgreSQL until it was read from the topic; of those since then.
    pub(super) fn in_topic(&self, feed: &Read, since: Instant) -> Value {
        let first = self.handed_over.partition_point(|(_, at)| *at < since);
        feed.waits(&self.handed_over[first..]).json()
    }
}

/// What was read of the topic of changes so far.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) records: usize,
    pub(super) history: History,
    /// When which version came.
    came: HashMap<i64, Instant>,
}

impl Read {
    pub(super) fn waits(&self, handed_over: &[(i64, Instant)]) -> Histogram {
        let mut waits = Histogram::new();
        for (version, at) in handed_over {
            if let Some(came) = self.came.get(version) {
                waits.add(came.saturating_duration_since(*at).as_secs_f64() * 1e3, 1);
            }
        }
        waits
    }
}

/// Reads the topic of changes until it is finished.
pub(super) struct Feed {
    read: Arc<Mutex<Read>>,
    stopped: Arc<AtomicBool>,
    thread: thread::JoinHandle<anyhow::Result<()>>,
}

impl Feed {
    /// Waits until there is the topic.
    pub(super) async fn follow(bootstrap: &str, topic: &str) -> anyhow::Result<Self> {
        wait::until("Debezium has made the topic", wait::PATIENCE, async || {
            // It is made before its partitions have leaders, who are asked for their ends.
            Ok(tokio::task::block_in_place(|| consumer::records(bootstrap, topic)).ok().flatten())
        })
        .await?;
        let pass = Pass::open(bootstrap, topic)?;
        let (read, stopped) = (Arc::<Mutex<Read>>::default(), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (read, stopped) = (Arc::clone(&read), Arc::clone(&stopped));
            thread::spawn(move || {
                pass.follow_until(&stopped, |key, value| {
                    let now = time::instant();
                    let mut read = look(&read)?;
                    read.records += 1;
                    if let Some(version) = read.history.add(key, value)? {
                        read.came.insert(version, now);
                    }
                    Ok(())
                })
            })
        };
        Ok(Self { read, stopped, thread })
    }

    pub(super) fn look(&self) -> anyhow::Result<MutexGuard<'_, Read>> {
        anyhow::ensure!(!self.thread.is_finished(), "the topic of changes is read no further");
        look(&self.read)
    }

    pub(super) fn finish(self) -> anyhow::Result<Read> {
        self.stopped.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the reader of the topic of changes panicked"))??;
        Ok(std::mem::take(&mut *look(&self.read)?))
    }
}

fn look(read: &Mutex<Read>) -> anyhow::Result<MutexGuard<'_, Read>> {
    read.lock().map_err(|_| anyhow!("the reader of the topic of changes panicked"))
}
