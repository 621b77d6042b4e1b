//! What can end a statement before it is done: the client's cancel request, and `statement_timeout`.
//!
//! A statement runs on a task of its own. Whoever waits for it waits for the interrupt too, and when
//! that comes first the task is dropped, which ends it at the next point where it yields.

use std::{any::Any, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use datafusion::common::runtime::SpawnedTask;
use ebap_connector::time;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::pgwire::sqlstate::SqlError;

#[derive(Debug, Default)]
pub(crate) struct Interrupt {
    cancelled: CancellationToken,
    timed_out: CancellationToken,
    /// Ends with the interrupt, so that a short statement leaves no timer behind.
    _timer: Option<SpawnedTask<()>>,
}

impl Interrupt {
    fn after(limit: Option<Duration>) -> Self {
        let timed_out = CancellationToken::new();
        let token = timed_out.clone();
        let timer = limit.map(|limit| {
            SpawnedTask::spawn(async move {
                time::sleep(limit).await;
                token.cancel();
            })
        });
        Self { cancelled: CancellationToken::new(), timed_out, _timer: timer }
    }

    /// Returns when there is one.
    async fn raised(&self) -> SqlError {
        let reason = tokio::select! {
            biased;
            () = self.cancelled.cancelled() => "user request",
            () = self.timed_out.cancelled() => "statement timeout",
        };
        SqlError::new("57014", format!("canceling statement due to {reason}"))
    }

    /// What `work` gives, unless an interrupt comes first.
    pub(crate) async fn or<T>(&self, work: impl Future<Output = Result<T, SqlError>>) -> Result<T, SqlError> {
        tokio::select! {
            biased;
            error = self.raised() => Err(error),
            done = work => done,
        }
    }
}

/// The interrupt of the statement that a session runs now.
#[derive(Debug, Default)]
pub(crate) struct Interrupts {
    current: Mutex<Option<Arc<Interrupt>>>,
}

impl Interrupts {
    /// Begins a statement: from here its time is counted and it can be cancelled.
    pub(crate) fn begin(&self, limit: Option<Duration>) -> Arc<Interrupt> {
        let interrupt = Arc::new(Interrupt::after(limit));
        *self.current.lock() = Some(Arc::clone(&interrupt));
        interrupt
    }

    /// Ends it: a cancel request that comes late must not hit the next one.
    pub(crate) fn end(&self) {
        self.current.lock().take();
    }

    /// Of the statement that runs now; one that never comes where none runs.
    pub(crate) fn current(&self) -> Arc<Interrupt> {
        self.current.lock().as_ref().map_or_else(Arc::default, Arc::clone)
    }

    /// Ends what runs now, if anything does.
    pub(crate) fn cancel(&self) {
        if let Some(interrupt) = self.current.lock().as_ref() {
            interrupt.cancelled.cancel();
        }
    }
}

/// Runs `work` on a task of its own, so that a panic in it is an error of the statement and no more.
pub(crate) async fn on_own_task<T: Send + 'static>(
    work: impl Future<Output = Result<T, SqlError>> + Send + 'static,
) -> Result<T, SqlError> {
    match SpawnedTask::spawn(work).join().await {
        Ok(done) => done,
        Err(ended) => Err(panicked(ended)),
    }
}

/// Does `work` here, with the same promise.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, SqlError>) -> Result<T, SqlError> {
    // What it leaves half done is dropped with the statement.
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(given_up(Some(payload.as_ref()))))
}

/// Our bug, as the client is told of it. The panic itself is in the log.
pub(crate) fn panicked(ended: tokio::task::JoinError) -> SqlError {
    given_up(ended.try_into_panic().ok().as_deref())
}

fn given_up(payload: Option<&(dyn Any + Send)>) -> SqlError {
    let mut error = SqlError::new("XX000", "internal error; the statement was given up, the session goes on");
    error.detail = payload.and_then(text_of).map(|text| format!("{text}."));
    tracing::error!(detail = error.detail, "a statement panicked");
    error
}

fn text_of(payload: &(dyn Any + Send)) -> Option<&str> {
    payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_cancel_request_ends_what_runs_and_nothing_after_it() {
        let interrupts = Interrupts::default();
        let interrupt = interrupts.begin(None);
        interrupts.cancel();
        let error = interrupt.or(pending::<Result<(), _>>()).await.expect_err("cancelled");
        assert_eq!((error.code, error.message.as_str()), ("57014", "canceling statement due to user request"));
        interrupts.end();
        interrupts.cancel();
        let next = interrupts.begin(None);
        assert_eq!(next.or(async { Ok(1) }).await, Ok(1));
    }

    #[tokio::test]
    async fn a_timeout_ends_what_takes_longer() {
        let interrupt = Interrupts::default().begin(Some(Duration::from_millis(1)));
        let error = interrupt.or(pending::<Result<(), _>>()).await.expect_err("timed out");
        assert_eq!((error.code, error.message.as_str()), ("57014", "canceling statement due to statement timeout"));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_the_statement() {
        let error = on_own_task::<()>(async { panic!("out of luck") }).await.expect_err("it panicked");
        assert_eq!((error.code, error.detail.as_deref()), ("XX000", Some("out of luck.")));
        let error = guarded::<()>(|| panic!("out of {}", "luck")).expect_err("it panicked");
        assert_eq!((error.code, error.detail.as_deref()), ("XX000", Some("out of luck.")));
    }
}
