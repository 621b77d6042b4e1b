//! Telling people of alerts over HTTP: Prometheus Alertmanager (API v2) and webhooks.
//!
//! Options of an alert:
//!
//! ```text
//! alertmanager            http://host:9093, several with commas: all are told, one that takes it is enough
//! alertmanager_username   and alertmanager_password, or alertmanager_bearer_token
//! webhook                 a URL that gets a POST with JSON
//! webhook_secret          signs it
//! ```

mod alertmanager;
mod http;
mod webhook;

use ebap_connector::{Notifier, NotifierContext, Result};

/// Options that this crate takes.
pub const OPTIONS: &[&str] = &[
    "alertmanager",
    "alertmanager_username",
    "alertmanager_password",
    "alertmanager_bearer_token",
    "webhook",
    "webhook_secret",
];

/// One for each receiver that the options name. Nothing is contacted.
///
/// # Errors
/// `Option` for an address or a login that cannot work.
pub fn notifiers(context: &NotifierContext) -> Result<Vec<Box<dyn Notifier>>> {
    let mut found: Vec<Box<dyn Notifier>> = Vec::new();
    if let Some(alertmanager) = alertmanager::Alertmanager::parse(&context.options)? {
        found.push(Box::new(alertmanager));
    }
    if let Some(webhook) = webhook::Webhook::parse(&context.options)? {
        found.push(Box::new(webhook));
    }
    Ok(found)
}
