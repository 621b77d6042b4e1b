//! A pipeline deletes what its epochs no longer need, and looks whether it still is the one that writes them.
//!
//! Nothing of this may hold up the loop while the store is away, so it runs beside it.

use ebap_connector::{Epoch, time::Clock};
use tokio::task::JoinHandle;

use super::{Pipeline, micros};
use crate::{Error, Result, checkpoint::Retired};

/// Epochs without anything to write after which an idle pipeline looks whether another process has taken over.
const LOOK_EPOCHS: u32 = 10;
/// The shortest time between two such looks.
const LOOK_US: i64 = 1_000_000;

/// A moment by both clocks: one of them may stand still while the machine sleeps, the other may be set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) now_us: i64,
    pub(super) monotonic_us: i64,
}

impl Seen {
    pub(super) fn now(clock: &dyn Clock) -> Self {
        Self { now_us: clock.now_us(), monotonic_us: clock.monotonic_us() }
    }

    pub(super) fn passed_us(self, clock: &dyn Clock) -> i64 {
        (clock.now_us() - self.now_us).max(clock.monotonic_us() - self.monotonic_us)
    }
}

/// Ends with its pipeline.
struct Beside<T>(JoinHandle<T>);

impl<T> Drop for Beside<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) struct Keeping {
    /// When the newest epoch was last known to be this pipeline's.
    pub(super) seen: Seen,
    pub(super) retired: Retired,
    deleting: Option<Beside<()>>,
    /// Files that no manifest names.
    unnamed: Option<Beside<Result<Vec<String>>>>,
    /// Since when, and whether it is still the newest.
    looking: Option<(Seen, Beside<Result<()>>)>,
    idle_epochs: u32,
}

impl Keeping {
    /// `oldest`: the oldest manifest there is.
    pub(super) fn new(seen: Seen, oldest: u64) -> Self {
        let retired = Retired::since(oldest);
        Self { seen, retired, deleting: None, unnamed: None, looking: None, idle_epochs: 0 }
    }
}

impl Pipeline {
    /// A process that was away for longer looks behind what it writes: manifests stay for four times as long.
    pub(super) fn sleeps_max_us(&self) -> i64 {
        micros(self.runtime.config.manifests_kept / 4)
    }

    /// Files that an earlier start has left behind go like those that are not needed any more.
    pub(super) fn retire_unnamed(&mut self, after: Epoch) {
        let Some(manifest) = self.manifest.clone() else { return };
        let checkpoints = self.checkpoints.clone();
        self.keeping.unnamed = Some(Beside(tokio::spawn(async move { checkpoints.unnamed(&manifest, after).await })));
    }

    /// Deletes what has been kept for long enough.
    pub(super) async fn tend_old(&mut self) {
        let now_us = self.runtime.clock.monotonic_us();
        if let Some(unnamed) = self.keeping.unnamed.take_if(|unnamed| unnamed.0.is_finished())
            && let Ok(Ok(files)) = unnamed.await
        {
            self.keeping.retired.add_files(now_us, files);
        }
        if self.keeping.deleting.as_ref().is_some_and(|deleting| !deleting.0.is_finished()) {
            return;
        }
        let kept = (self.runtime.config.files_kept, self.runtime.config.manifests_kept);
        let old = self.keeping.retired.take_due(now_us, self.epoch.0, kept);
        self.keeping.deleting = old.map(|old| {
            let checkpoints = self.checkpoints.clone();
            Beside(tokio::spawn(async move { checkpoints.delete_old(old).await }))
        });
    }

    /// An epoch begins: the look would find that one.
    pub(super) fn stop_looking(&mut self) {
        (self.keeping.looking, self.keeping.idle_epochs) = (None, 0);
    }

    /// A pipeline with nothing to write looks now and then whether another process writes.
    ///
    /// # Errors
    /// `Fenced` where another process has taken over.
    pub(super) async fn look_around(&mut self) -> Result<()> {
        if let Some((since, look)) = self.keeping.looking.take_if(|(_, look)| look.0.is_finished()) {
            match look.await {
                Ok(Ok(())) => self.keeping.seen = since,
                Ok(Err(error @ Error::Fenced { .. })) => return Err(error),
                // The store is away: it is asked again.
                Ok(Err(error)) => tracing::debug!(stream = self.name(), error = error.chain(), "no look at the store"),
                Err(error) => return Err(Error::Internal(error.to_string())),
            }
        }
        self.keeping.idle_epochs += 1;
        let since = Seen::now(self.runtime.clock.as_ref());
        let passed_us = self.keeping.seen.passed_us(self.runtime.clock.as_ref());
        if self.keeping.looking.is_some() || self.keeping.idle_epochs < LOOK_EPOCHS || passed_us < LOOK_US {
            return Ok(());
        }
        self.keeping.idle_epochs = 0;
        let (checkpoints, epoch, slept) = (self.checkpoints.clone(), self.epoch, passed_us > self.sleeps_max_us());
        let task = tokio::spawn(async move {
            if slept { checkpoints.look_behind(epoch).await } else { checkpoints.look_at_next(epoch).await }
        });
        self.keeping.looking = Some((since, Beside(task)));
        Ok(())
    }
}

impl<T> Future for Beside<T> {
    type Output = Result<T, tokio::task::JoinError>;

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(context)
    }
}
