//! The catalog as other servers change it: looked for all the time, and run.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use ebap_connector::time;

use super::{App, resolved};
use crate::pgwire::sqlstate::SqlError;

/// Between two questions for the next version: one small request.
const LOOK: Duration = Duration::from_millis(500);
/// Looks of which one lists the catalog: whoever slept does not find the next number any more.
const LOOKS_LISTED: u64 = 120;
/// Looks between two for what dropped streams have left.
const LOOKS_SWEPT: u64 = 7_200;

/// Until the server ends.
pub(super) async fn others(app: Weak<App>) {
    let mut failure = None;
    for look in 0_u64.. {
        let Some(app) = app.upgrade().filter(|app| !app.ended.load(Ordering::Acquire)) else { return };
        let listed = look % LOOKS_LISTED == LOOKS_LISTED - 1;
        if listed || app.has_news().await {
            let failed = app.catch_up().await.err().map(|error| format!("{}: {}", error.code, error.message));
            if let Some(error) = failed.as_ref().filter(|_| failed != failure) {
                tracing::error!(error, "what another server has changed does not run here");
            }
            failure = failed;
        }
        // Not at the start, which has looked by itself.
        if look % LOOKS_SWEPT == LOOKS_SWEPT - 1 {
            app.sweep().await;
        }
        drop(app);
        time::sleep(LOOK).await;
    }
}

impl App {
    /// Asks the store for the version that another server may have put.
    pub(super) async fn has_news(&self) -> bool {
        // Where the store does not answer now, the next look will tell.
        self.store.has_next(self.catalog().version).await.unwrap_or(false)
    }

    /// Runs what the newest catalog says.
    ///
    /// # Errors
    /// Where it cannot be read or run.
    pub(super) async fn catch_up(self: &Arc<Self>) -> Result<(), SqlError> {
        let turn = Arc::clone(&self.changing).lock_owned().await;
        let app = Arc::clone(self);
        // On a task of its own: a client that goes away must not leave it half done.
        let adopted = tokio::spawn(async move {
            let _turn = turn;
            app.adopt_newest().await
        });
        adopted.await.map_err(|error| SqlError::new("XX000", format!("the change was given up: {error}")))?
    }

    /// By whoever has the turn.
    pub(super) async fn adopt_newest(&self) -> Result<(), SqlError> {
        let newest = self.store.load().await.map_err(ebap_sql::Error::from)?;
        if newest.version <= self.catalog().version || self.ended.load(Ordering::Acquire) {
            return Ok(());
        }
        let plans = resolved(&newest);
        // Also where it cannot run here: the next change is made from it, or it would be lost.
        *self.catalog.write() = Arc::new(newest);
        self.engine.follow(plans?).await.map_err(SqlError::from)
    }

    async fn sweep(&self) {
        let Ok(catalog) = self.store.load().await else { return };
        if let Err(error) = self.engine.sweep(&catalog).await {
            tracing::warn!(error = error.chain(), "what dropped streams have left cannot be deleted");
        }
    }
}
