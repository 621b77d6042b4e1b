//! The state of an alert as a hash, for panels that read Redis: one per key, refreshed while it fires.
//!
//! `ebap:alert:{name}` and behind it the values of the key's columns, each after a colon; by default for 24 hours.
//! Fields: `alert`, `key` (JSON), `state`, `colour`, `since` (microseconds since 1970), `value`, `summary`, `severity`,
//! and `_version`, the time of the decision: what is told again after a crash does not put back an older state.

use async_trait::async_trait;
use ebap_connector::{AlertEvent, AlertStatus, Error, Notifier, NotifierContext, Options, Result};
use redis::Cmd;

use crate::connection::{Link, Server};

/// Options of an alert that are ours, and what the connection calls them.
const OPTIONS: &[(&str, &str)] = &[
    ("redis", "url"),
    ("redis_user", "user"),
    ("redis_password", "password"),
    ("redis_ca_cert", "ca_cert"),
    ("redis_cluster", "cluster"),
    ("redis_sentinel", "sentinel"),
];
pub const ALERT_OPTIONS: &[&str] =
    &["redis", "redis_user", "redis_password", "redis_ca_cert", "redis_cluster", "redis_sentinel"];
const TTL_MS: u64 = 24 * 3_600_000;

/// `KEYS[1]` the hash, `ARGV` version, TTL in ms, then field and value in turn.
const PUT: &str = "
local stored = redis.call('HGET', KEYS[1], '_version')
if stored and (#stored > #ARGV[1] or (#stored == #ARGV[1] and stored > ARGV[1])) then return 'ok' end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], '_version', ARGV[1], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'ok'";

struct AlertHash {
    server: Server,
    link: Option<Link>,
}

/// Where the options name a Redis.
///
/// # Errors
/// `Option` for an address that cannot work; nothing is contacted.
pub fn notifier(context: &NotifierContext) -> Result<Option<Box<dyn Notifier>>> {
    let mut options = Options::default();
    for (ours, theirs) in OPTIONS {
        if let Some(value) = context.options.get(ours) {
            options.set(*theirs, value);
        }
    }
    if context.options.get("redis").is_none() {
        return match OPTIONS.iter().find(|(ours, _)| context.options.get(ours).is_some()) {
            Some((ours, _)) => Err(Error::option(*ours, "needs redis")),
            None => Ok(None),
        };
    }
    // The connection names its own options.
    let server = Server::of(&options).map_err(|error| match error {
        Error::Option { option, message } => {
            let ours = OPTIONS.iter().find(|(_, theirs)| *theirs == option).map_or(option.as_str(), |(ours, _)| ours);
            Error::option(ours, message)
        }
        other => other,
    })?;
    Ok(Some(Box::new(AlertHash { server, link: None })))
}

#[async_trait]
impl Notifier for AlertHash {
    fn describe(&self) -> String {
        self.server.name.clone()
    }

    async fn notify(&mut self, events: &[AlertEvent]) -> Result<()> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => self.server.connect().await?,
        };
        for event in events {
            // A connection that has failed is not used again.
            link.query::<String>(&command(event)).await.map_err(|error| self.server.failed(&error))?;
        }
        self.link = Some(link);
        Ok(())
    }
}

fn command(event: &AlertEvent) -> Cmd {
    let mut key = format!("ebap:alert:{}", event.alert);
    for value in event.key.values() {
        key.push(':');
        key.push_str(value);
    }
    let (state, colour) = match event.status {
        AlertStatus::Normal | AlertStatus::Resolved => ("normal", "green"),
        AlertStatus::Pending => ("pending", "yellow"),
        AlertStatus::Firing => ("firing", "red"),
    };
    let since_us = event.until_us.unwrap_or(event.since_us);
    let mut command = redis::cmd("EVAL");
    command.arg(PUT).arg(1).arg(key).arg(event.decided_us.to_string()).arg(TTL_MS);
    command.arg("alert").arg(&event.alert).arg("key").arg(event.key_json());
    command.arg("state").arg(state).arg("colour").arg(colour).arg("since").arg(since_us.to_string());
    command.arg("summary").arg(&event.summary);
    if let Some(value) = event.value {
        command.arg("value").arg(value.to_string());
    }
    if let Some(severity) = &event.severity {
        command.arg("severity").arg(severity);
    }
    command
}
