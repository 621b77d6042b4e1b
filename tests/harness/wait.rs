//! Waiting for another process: until something is so, within a bound, never for a time.

use std::time::Duration;

use anyhow::bail;
use ebap_connector::time;

/// How often is looked.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// For whatever should take seconds, on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Looks until `look` gives something; an error ends it at once.
pub async fn until<T, F>(what: &str, patience: Duration, look: F) -> anyhow::Result<T>
where
    F: AsyncFnMut() -> anyhow::Result<Option<T>>,
{
    until_every(LOOK_AGAIN, what, patience, look).await
}

/// The same without a pause between two looks.
pub async fn until_busy<T, F>(what: &str, patience: Duration, look: F) -> anyhow::Result<T>
where
    F: AsyncFnMut() -> anyhow::Result<Option<T>>,
{
    until_every(Duration::ZERO, what, patience, look).await
}

async fn until_every<T, F>(pause: Duration, what: &str, patience: Duration, mut look: F) -> anyhow::Result<T>
where
    F: AsyncFnMut() -> anyhow::Result<Option<T>>,
{
    let began = time::instant();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if began.elapsed() > patience {
            bail!("waited {} s in vain until {what}", patience.as_secs());
        }
        time::sleep(pause).await;
    }
}
