//! What a call knows of the session.

use std::cell::OnceCell;

use datafusion_common::config::ConfigOptions;
use ebap_values::Result;
use ebap_values::time::Zone;

/// The session's settings, read once per call.
pub(crate) struct Session<'a> {
    options: &'a ConfigOptions,
    zone: OnceCell<Zone>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(options: &'a ConfigOptions) -> Self {
        Self { options, zone: OnceCell::new() }
    }

    /// The time zone that values without one are in.
    pub(crate) fn zone(&self) -> Result<Zone> {
        if let Some(zone) = self.zone.get() {
            return Ok(zone.clone());
        }
        let zone = Zone::parse_setting(self.options.execution.time_zone.as_deref().unwrap_or("UTC"))?;
        Ok(self.zone.get_or_init(|| zone).clone())
    }
}
