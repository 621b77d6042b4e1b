//! Who is told when an alert fires and when it is resolved.
//!
//! The engine decides, makes its decision durable, and tells it then: a notifier is told each change at
//! least once, again after a crash between the telling and the next epoch. `AlertEvent::id` is the same
//! each time, so that a receiver can leave out what it knows.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Options, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertStatus {
    /// It pended, and does not any more.
    Normal,
    Pending,
    Firing,
    Resolved,
}

impl AlertStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// What is told of one key of an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertEvent {
    /// Of this change: `region_overload/{"region":"eu"}/1767225600000000/firing/1767225607000000`. The times are that as of
    /// which it is so, and that of the decision.
    pub id: String,
    pub alert: String,
    /// Columns of `BY` and their values.
    pub key: BTreeMap<String, String>,
    pub severity: Option<String>,
    /// The labels that the user gave, besides the key.
    pub labels: BTreeMap<String, String>,
    pub summary: String,
    pub status: AlertStatus,
    /// Somebody is to be called, or to hear that it is over: it fires or is resolved, and is not silenced. What is not is
    /// for those who show states.
    pub page: bool,
    /// Not a change: it fires still. For receivers that forget what they do not hear again.
    pub repeated: bool,
    pub value: Option<f64>,
    /// Event time since when the condition holds, in microseconds since 1970-01-01T00:00:00Z.
    pub since_us: i64,
    /// Event time of the end, where it is resolved.
    pub until_us: Option<i64>,
    /// Processing time of the decision.
    pub decided_us: i64,
}

impl AlertEvent {
    /// `{"region":"eu"}`
    pub fn key_json(&self) -> String {
        serde_json::to_string(&self.key).unwrap_or_default()
    }

    /// As webhooks and topics have it; times are RFC 3339.
    pub fn json(&self) -> String {
        let time = |us: i64| {
            let time = DateTime::from_timestamp_micros(us);
            time.map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true))
        };
        json!({
            "id": self.id,
            "alert": self.alert,
            "status": self.status.as_str(),
            "page": self.page,
            "key": self.key,
            "severity": self.severity,
            "labels": self.labels,
            "summary": self.summary,
            "value": self.value,
            "since": time(self.since_us),
            "until": self.until_us.and_then(time),
            "decided_at": time(self.decided_us),
        })
        .to_string()
    }
}

/// What notifiers are built from.
#[derive(Clone, Debug)]
pub struct NotifierContext {
    /// Name of the alert.
    pub alert: String,
    /// `WITH` options that the engine does not take itself, secrets resolved.
    pub options: Options,
}

/// One place that is told.
///
/// # Errors
/// `Unreachable` has the engine try again, later and later; any other is shown with the alert
/// (`ebap.alerts.message`) and the event is given up.
#[async_trait]
pub trait Notifier: Send {
    /// For messages: `alertmanager 127.0.0.1:9093`. Without secrets.
    fn describe(&self) -> String;

    /// Gives the events in the order in which they were decided. Returns when the other side has them.
    async fn notify(&mut self, events: &[AlertEvent]) -> Result<()>;
}
