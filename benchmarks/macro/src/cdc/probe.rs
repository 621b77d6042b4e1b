//! One user whose row is changed again and again: how long until an event that met it is in an answer.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ebap_connector::time;
use ebap_tests::{
    Ebap,
    cdc::{Change, History, Met, Row},
    wait,
};
use serde_json::Value;
use tokio_postgres::{Client, Statement};

use crate::{cdc::changes::Read, histogram::Histogram, paced::Sent};

/// An id, and versions, that no other change has.
pub(super) const PROBE: i64 = 1_000_000_000;
/// Between two looks. To look without a pause would take the processor from those who are measured.
const PAUSE: Duration = Duration::from_millis(1);
/// Between two changes.
const REST: Duration = Duration::from_millis(50);

/// One change of it, in the order in which they were made.
struct Turn {
    version: Option<i64>,
    began: Instant,
    visible: Instant,
}

pub(super) struct Probe<'a> {
    postgres: &'a Client,
    ebap: Client,
    ask: Statement,
    turns: Vec<Turn>,
    /// Those before are of the warm-up.
    measured: usize,
}

impl<'a> Probe<'a> {
    pub(super) fn insert_sql() -> String {
        Change::Insert { id: PROBE, row: Row::new(PROBE, PROBE) }.sql()
    }

    pub(super) async fn new(ebap: &Ebap, postgres: &'a Client) -> anyhow::Result<Self> {
        let ebap = ebap.connect().await?;
        let sql =
            "SELECT CAST(coalesce(max(version), 0) AS BIGINT), CAST(coalesce(max(absent), 0) AS BIGINT) FROM probe";
        let ask = ebap.prepare(sql).await.context(sql)?;
        Ok(Self { postgres, ebap, ask, turns: Vec::new(), measured: 0 })
    }

    /// Highest version met, and how many events have met nobody.
    async fn ask(&self) -> anyhow::Result<(i64, i64)> {
        let row = self.ebap.query_one(&self.ask, &[]).await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }

    /// Three updates, a delete, an insert, and again.
    pub(super) async fn run(&mut self, warm_up: u64, seconds: u64) -> anyhow::Result<()> {
        let began = time::instant();
        while began.elapsed() < Duration::from_secs(warm_up + seconds) {
            if began.elapsed() < Duration::from_secs(warm_up) {
                self.measured = self.turns.len() + 1;
            }
            let version = PROBE + 1 + self.turns.len() as i64;
            let row = Row::new(PROBE, version);
            let change = match self.turns.len() % 5 {
                3 => Change::Delete { id: PROBE },
                4 => Change::Insert { id: PROBE, row },
                _ => Change::Update { id: PROBE, row },
            };
            let (_, absent) = self.ask().await?;
            let began = time::instant();
            self.postgres.batch_execute(&change.sql()).await.context("the change that is watched")?;
            wait::until_busy("the change is visible", wait::PATIENCE, async || {
                let (shown, now_absent) = self.ask().await?;
                let visible = change.version().map_or(now_absent > absent, |version| shown >= version);
                if !visible {
                    time::sleep(PAUSE).await;
                }
                Ok(visible.then_some(()))
            })
            .await?;
            self.turns.push(Turn { version: change.version(), began, visible: time::instant() });
            time::sleep(REST).await;
        }
        Ok(())
    }

    /// Those that the topic has when all is in it: nobody, the snapshot, and one for each change.
    pub(super) fn states(&self) -> usize {
        2 + self.turns.len()
    }

    /// Whatever was made after an answer had shown a change met that change or a later one, in whichever partition it
    /// stood; gives how many.
    pub(super) fn check(&self, met: &[Met], sent: &Sent, history: &History) -> anyhow::Result<usize> {
        let mut checked = 0;
        for met in met.iter().filter(|met| met.id == PROBE) {
            let n = u64::try_from(met.n)?;
            let turn = sent.turns.partition_point(|(first, _)| *first <= n);
            let Some((_, made)) = turn.checked_sub(1).and_then(|turn| sent.turns.get(turn)) else { continue };
            // Nobody, and the row of the snapshot, come before the first change.
            let visible = self.turns.partition_point(|turn| turn.visible <= *made);
            if visible > 0 {
                history.place(PROBE, met.row.as_ref(), 1 + visible).with_context(|| format!("{met:?}"))?;
                checked += 1;
            }
        }
        ensure!(checked > 0, "no event came behind a change that was visible");
        Ok(checked)
    }

    fn waits<'b>(turns: impl Iterator<Item = &'b Turn>) -> Value {
        let mut waits = Histogram::new();
        for turn in turns {
            waits.add((turn.visible - turn.began).as_secs_f64() * 1e3, 1);
        }
        waits.json()
    }

    /// When the warm-up was over.
    pub(super) fn since(&self) -> anyhow::Result<Instant> {
        self.measured().first().map(|turn| turn.began).context("nothing was measured")
    }

    fn measured(&self) -> &[Turn] {
        self.turns.get(self.measured..).unwrap_or_default()
    }

    pub(super) fn visible(&self) -> Value {
        Self::waits(self.measured().iter())
    }

    pub(super) fn visible_deletes(&self) -> Value {
        Self::waits(self.measured().iter().filter(|turn| turn.version.is_none()))
    }

    pub(super) fn second_half(&self) -> Value {
        let turns = self.measured();
        Self::waits(turns[turns.len() / 2..].iter())
    }

    /// Until they were read from the topic of changes.
    pub(super) fn in_topic(&self, feed: &Read) -> Value {
        let handed_over: Vec<(i64, Instant)> =
            self.measured().iter().filter_map(|turn| Some((turn.version?, turn.began))).collect();
        feed.waits(&handed_over).json()
    }
}
