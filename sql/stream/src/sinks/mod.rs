//! Sinks as the loop drives them.
//!
//! ```text
//! SinkHead   what both kinds have: the plan, how it stands, when it is tried again
//! on_view    changes of a view, absolute values
//! on_stream  rows of a stream, each once
//! task       opening and writing, beside the loop
//! ```

mod on_stream;
mod on_view;
mod task;

use std::sync::Arc;

use ebap_connector::{
    ConnectorRegistry, LeftOut, Options, Position, Retry, Sink, SinkContext, SinkPartition, time::Backoff,
};
use ebap_sql::{Run, SinkPlan};
use parking_lot::Mutex;

use crate::{EngineConfig, Result, status::SinkInfo};

pub(crate) use on_stream::{Counted, RowsSink, RowsSinkJob};
pub(crate) use on_view::ViewSink;
pub(crate) use task::Spawn;

/// How it stands with a sink.
#[derive(Debug)]
pub(crate) enum SinkState {
    /// To be opened at this processing time.
    Waiting {
        until_us: i64,
    },
    /// On a view: replays without writing up to what was published before. On a stream: reads again
    /// what the outside system does not have.
    CatchingUp,
    Running,
    /// By `ALTER`.
    Paused,
    Failed,
}

/// What a sink has told, wherever it was written to from: its task, or a catch-up.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Up to where all is visible outside.
    visible: Option<Position>,
    /// Since the start of the pipeline.
    left_out: LeftOut,
}

/// To be opened at the next opportunity.
const NOW: SinkState = SinkState::Waiting { until_us: i64::MIN };

/// What both kinds have.
#[derive(Debug)]
pub(crate) struct SinkHead {
    pub(crate) plan: Arc<SinkPlan>,
    pub(crate) state: SinkState,
    message: Option<String>,
    backoff: Backoff,
    told: Arc<Mutex<Told>>,
    /// Of the plan, as far as it has been followed.
    run: Run,
    /// Time it was behind its job because it was too slow for it, and since when it is.
    behind_us: i64,
    behind_since_us: Option<i64>,
}

impl SinkHead {
    fn new(plan: Arc<SinkPlan>, config: &EngineConfig) -> Self {
        let backoff = Backoff::new(config.backoff_first, config.backoff_max);
        let run = plan.run;
        let state = if run.paused { SinkState::Paused } else { NOW };
        Self { plan, state, message: None, backoff, told: Arc::default(), run, behind_us: 0, behind_since_us: None }
    }

    /// Its queue is full.
    fn fall_behind(&mut self, now_us: i64) {
        tracing::warn!(sink = self.plan.name, "the sink is slower than its job");
        self.state = SinkState::CatchingUp;
        self.message = Some("slower than its job, which does not wait for it".to_owned());
        self.behind_since_us.get_or_insert(now_us);
    }

    fn keep_up(&mut self, now_us: i64) {
        if let Some(since_us) = self.behind_since_us.take() {
            // The clock may have been set back.
            self.behind_us += (now_us - since_us).max(0);
        }
    }

    pub(crate) fn fail(&mut self, error: &ebap_connector::Error, now_us: i64) {
        self.keep_up(now_us);
        self.message = Some(error.to_string());
        self.state = match error.retry() {
            Retry::Never => {
                tracing::error!(sink = self.plan.name, %error, "the sink has stopped");
                SinkState::Failed
            }
            Retry::Backoff => {
                tracing::warn!(sink = self.plan.name, %error, "the sink tries again");
                SinkState::Waiting { until_us: now_us + self.backoff.advance().as_micros() as i64 }
            }
        };
    }

    pub(crate) fn run(&mut self, now_us: i64) {
        self.keep_up(now_us);
        self.state = SinkState::Running;
        self.message = None;
        self.backoff.reset();
    }

    /// Follows `ALTER`. True where the sink has to stop.
    fn set_run(&mut self, run: Run) -> bool {
        let resumed = run.resumes > self.run.resumes;
        self.run = run;
        match (&self.state, run.paused) {
            (SinkState::Paused, false) => self.state = NOW,
            (SinkState::Failed | SinkState::Waiting { .. }, false) if resumed => self.state = NOW,
            (SinkState::Paused, true) | (_, false) => return false,
            (_, true) => self.state = SinkState::Paused,
        }
        self.message = None;
        self.backoff.reset();
        run.paused
    }

    /// Follows `ALTER … REBUILD`. True where all is to be written again; a sink that is paused does that anyway when
    /// it is resumed.
    fn rebuild(&mut self, run: Run) -> bool {
        let rebuilt = run.rebuilds > self.run.rebuilds;
        if !rebuilt || matches!(self.state, SinkState::Paused) {
            return false;
        }
        self.state = NOW;
        self.message = None;
        self.backoff.reset();
        true
    }

    pub(crate) fn due(&self, now_us: i64) -> bool {
        matches!(self.state, SinkState::Waiting { until_us } if until_us <= now_us)
    }

    /// Nothing more is to be waited for.
    pub(crate) fn settled(&self) -> bool {
        matches!(self.state, SinkState::Running | SinkState::Paused | SinkState::Failed)
    }

    pub(crate) fn info(&self, now_us: i64) -> SinkInfo {
        let state = match self.state {
            SinkState::Waiting { .. } => "retrying",
            SinkState::CatchingUp => "catching up",
            SinkState::Running => "running",
            SinkState::Paused => "paused",
            SinkState::Failed => "failed",
        };
        let told = self.told.lock();
        SinkInfo {
            name: self.plan.name.clone(),
            connector: self.plan.connector.clone(),
            state: state.to_owned(),
            position: told.visible.as_ref().map(position_text),
            left_out: told.left_out,
            behind_us: self.behind_us + self.behind_since_us.map_or(0, |since_us| (now_us - since_us).max(0)),
            message: self.message.clone(),
        }
    }
}

/// `{"0": 15, "1": 20}`
pub(crate) fn position_text(position: &Position) -> String {
    serde_json::to_string(position).unwrap_or_default()
}

pub(crate) fn build(plan: &SinkPlan, connectors: &dyn ConnectorRegistry, incarnation: u64) -> Result<Box<dyn Sink>> {
    let partitions = plan.partitions.iter();
    let partitions =
        partitions.map(|one| SinkPartition { column: one.column.clone(), transform: one.transform.clone() }).collect();
    let context = SinkContext {
        name: plan.name.clone(),
        id: plan.name_outside.clone(),
        first_version: plan.first_version,
        schema: Arc::clone(&plan.schema),
        upsert_key: plan.upsert_key.clone(),
        on_view: plan.on_view,
        on_close: plan.on_close,
        time_column: plan.time_column,
        partitions,
        options: Options(plan.options.clone()),
        incarnation,
    };
    Ok(connectors.sink(&plan.connector, &context)?)
}

/// The engine's error as a sink's: what is not a connector's own is our bug.
pub(crate) fn connector_error(error: crate::Error) -> ebap_connector::Error {
    match error {
        crate::Error::Connector(inner) => match Arc::try_unwrap(inner) {
            Ok(inner) => inner,
            Err(shared) => ebap_connector::Error::internal(shared),
        },
        other => ebap_connector::Error::internal(other.chain()),
    }
}
