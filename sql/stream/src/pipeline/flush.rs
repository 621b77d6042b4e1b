//! `FLUSH`: answered when all that was produced before it is in every job, durable, and visible outside.

use ebap_connector::Position;
use tokio::sync::oneshot;

use super::{Pipeline, ViewSlot, ViewState};
use crate::{Error, Result};

/// A view or table that has failed: `FLUSH` and whoever reads it hear of it.
#[derive(Clone, Debug)]
pub(crate) struct FailedJob {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) reason: String,
}

impl FailedJob {
    pub(crate) fn message(&self) -> String {
        format!("{} \"{}\" has failed: {}", self.kind, self.name, self.reason)
    }

    /// 55000, with the way out.
    pub(crate) fn error(self) -> Error {
        let (kind, name) = (self.kind.to_uppercase(), &self.name);
        let hint = format!("ALTER {kind} {name} RESUME starts it again from what was last saved of it.");
        ebap_sql::Error::new("55000", self.message()).hint(hint).into()
    }

    /// One error for all of them.
    pub(crate) fn error_of(mut failed: Vec<Self>) -> Option<Error> {
        if failed.len() <= 1 {
            return failed.pop().map(Self::error);
        }
        let names: Vec<String> = failed.iter().map(|one| format!("\"{}\"", one.name)).collect();
        let mut error = ebap_sql::Error::new("55000", format!("{} have failed", names.join(", ")));
        let lines = failed.iter().map(|one| format!("{} \"{}\": {}", one.kind, one.name, one.reason));
        error.detail = Some(lines.collect::<Vec<_>>().join("\n"));
        Some(error.hint("ALTER ... RESUME starts each again from what was last saved of it.").into())
    }
}

/// What a `FLUSH` is answered: the jobs that have failed and so have not come so far.
pub(crate) type Flushed = Vec<FailedJob>;

/// A `FLUSH` that waits.
pub(super) struct Flush {
    pub(super) target: Position,
    pub(super) reply: oneshot::Sender<Result<Flushed>>,
    /// All is in every job and durable, and the sinks have been asked to make it visible.
    pub(super) asked: bool,
}

/// What the sinks were asked to make visible.
pub(super) struct Forced {
    pub(super) told: Vec<oneshot::Receiver<()>>,
    /// A sink has failed before it came to it.
    pub(super) lost: bool,
}

impl Pipeline {
    /// Whether there is one to ask the sinks for; one asking at a time.
    pub(super) fn flush_is_due(&self) -> bool {
        self.forced.is_none() && self.flushes.iter().any(|flush| !flush.asked && self.reached(&flush.target))
    }

    /// True where all up to the target is in every job that is not paused and has not failed.
    pub(super) fn reached(&self, target: &Position) -> bool {
        let view = |view: &ViewSlot| match view.state {
            ViewState::CatchingUp | ViewState::Retrying { .. } => false,
            ViewState::Running(_) => view.sinks.iter().all(|sink| sink.head.settled()),
            ViewState::Paused(_) | ViewState::Failed { .. } => true,
        };
        self.position.covers(target)
            && self.views.values().all(view)
            && self.sinks.values().all(|sink| sink.head.settled())
    }

    /// Answers those whose sinks have made all visible. Where one has failed, they ask again when it is back.
    pub(super) fn answer_flushes(&mut self) {
        let Some(forced) = &mut self.forced else { return };
        forced.told.retain_mut(|told| match told.try_recv() {
            Ok(()) => false,
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(oneshot::error::TryRecvError::Closed) => {
                forced.lost = true;
                false
            }
        });
        if !forced.told.is_empty() {
            return;
        }
        if std::mem::take(&mut forced.lost) {
            self.flushes.iter_mut().for_each(|flush| flush.asked = false);
        } else {
            self.report_now();
            let failed: Flushed = self.views.values().filter_map(ViewSlot::failure).collect();
            for flush in self.flushes.extract_if(.., |flush| flush.asked) {
                let _ = flush.reply.send(Ok(failed.clone()));
            }
        }
        self.forced = None;
    }

    pub(super) fn fail_flushes(&mut self, error: Option<&Error>) {
        let error = error.cloned().unwrap_or(Error::ShuttingDown);
        for flush in self.flushes.drain(..) {
            let _ = flush.reply.send(Err(error.clone()));
        }
    }
}
