//! A panic as an error of the job in which it happened, so that the others go on.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use futures::FutureExt;

use crate::{Error, Result};

/// Runs it. A job that has panicked must not be used again: half of a change may be in its state.
pub(crate) fn guarded<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
}

/// The same for what waits on the way.
pub(crate) async fn guarded_async<T>(run: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
}

pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Error::Internal(format!("internal error: {}", text.as_deref().unwrap_or("a panic without a message")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(done: Result<()>) -> String {
        done.expect_err("it panicked").chain()
    }

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        assert_eq!(text(guarded(|| panic!("index {} of {}", 2, 1))), "internal error: index 2 of 1");
        assert_eq!(text(guarded(|| panic!("no value"))), "internal error: no value");
        assert_eq!(text(guarded(|| std::panic::panic_any(7))), "internal error: a panic without a message");
        assert_eq!(guarded(|| Ok(7)).ok(), Some(7));
        assert_eq!(text(guarded(|| Err(Error::Internal("as it is".to_owned())))), "as it is");
    }

    #[tokio::test]
    async fn a_panic_behind_a_wait_is_an_error_too() {
        let late = async {
            tokio::task::yield_now().await;
            panic!("later")
        };
        assert_eq!(text(guarded_async(late).await), "internal error: later");
        assert_eq!(guarded_async(async { Ok(7) }).await.ok(), Some(7));
    }
}
