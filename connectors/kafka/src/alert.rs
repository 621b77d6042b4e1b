//! Changes of an alert as records of a topic: key `alert/{"region":"eu"}`, value the event as JSON, every state among
//! them. What is told again after a crash has the same `id`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use ebap_connector::{AlertEvent, Error, Notifier, NotifierContext, Result};

use crate::writer::TopicWriter;

/// Options of an alert that are ours, besides those that begin with `kafka.`, `sasl.` and `ssl.`.
const ALERT_OPTIONS: &[&str] = &["topic", "bootstrap_servers", "security.protocol"];

/// Whether this option is one of Kafka's.
pub fn is_alert_option(name: &str) -> bool {
    let prefixed = ["kafka.", "sasl.", "ssl."].iter().any(|prefix| name.starts_with(prefix));
    prefixed || ALERT_OPTIONS.contains(&name) || is_of_registry(name)
}

/// It may come with a connection, and says nothing of an alert, which is told in JSON.
fn is_of_registry(name: &str) -> bool {
    name == ebap_schema_registry::OPTION || name.starts_with(ebap_schema_registry::PREFIX)
}

struct Topic {
    bootstrap: String,
    topic: String,
    settings: BTreeMap<String, String>,
    /// Open; a call that fails closes it.
    writer: Option<TopicWriter>,
}

/// Where the options name a topic.
///
/// # Errors
/// `Option` for a topic without a broker; nothing is contacted.
pub fn notifier(context: &NotifierContext) -> Result<Option<Box<dyn Notifier>>> {
    let options = &context.options;
    let Some(topic) = options.get("topic") else {
        let own = options.0.keys().find(|name| is_alert_option(name) && !is_of_registry(name));
        return match own {
            Some(option) => Err(Error::option(option, "needs topic")),
            None => Ok(None),
        };
    };
    let bootstrap = options.get("bootstrap_servers");
    let bootstrap = bootstrap.ok_or_else(|| Error::option("topic", "needs bootstrap_servers, or connection"))?;
    let setting = |(name, value): (&String, &String)| {
        let name = name.strip_prefix("kafka.").unwrap_or(name);
        let passed = name.starts_with("sasl.") || name.starts_with("ssl.") || name == "security.protocol";
        (passed || !ALERT_OPTIONS.contains(&name)).then(|| (name.to_owned(), value.clone()))
    };
    let own = options.0.iter().filter(|(name, _)| is_alert_option(name) && !is_of_registry(name));
    let settings = own.filter_map(setting).collect();
    Ok(Some(Box::new(Topic { bootstrap: bootstrap.to_owned(), topic: topic.to_owned(), settings, writer: None })))
}

#[async_trait]
impl Notifier for Topic {
    fn describe(&self) -> String {
        format!("topic {} of kafka {}", self.topic, self.bootstrap)
    }

    async fn notify(&mut self, events: &[AlertEvent]) -> Result<()> {
        let records: Vec<_> = events
            .iter()
            .filter(|event| !event.repeated)
            .map(|event| (format!("{}/{}", event.alert, event.key_json()), event.json(), event.decided_us / 1_000))
            .collect();
        if records.is_empty() {
            return Ok(());
        }
        let (open, bootstrap, topic) = (self.writer.take(), self.bootstrap.clone(), self.topic.clone());
        let settings = self.settings.clone();
        // The client blocks.
        let told = tokio::task::spawn_blocking(move || -> Result<TopicWriter> {
            let mut writer = match open {
                Some(writer) => writer,
                // A topic that is not there yet may be made; what is to be told waits for it.
                None => TopicWriter::connect(&bootstrap, &settings, &topic).map_err(|error| match error {
                    Error::Refused { system, message } => Error::unreachable(system, message),
                    other => other,
                })?,
            };
            for (key, value, at_ms) in &records {
                writer.send(None, Some(key.as_bytes()), Some(value.as_bytes()), Some(*at_ms))?;
            }
            writer.flush()?;
            Ok(writer)
        });
        self.writer = Some(told.await.map_err(Error::internal)??);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ebap_connector::Options;

    use super::*;

    #[test]
    fn a_connection_may_say_where_the_registry_is() {
        let mut options = Options::default();
        for (name, value) in [
            ("topic", "t"),
            ("bootstrap_servers", "b:1"),
            ("schema_registry", "http://r"),
            ("schema_registry.username", "me"),
            ("kafka.linger.ms", "1"),
        ] {
            assert!(is_alert_option(name), "{name}");
            options.set(name, value);
        }
        assert!(notifier(&NotifierContext { alert: "a".to_owned(), options }).is_ok_and(|found| found.is_some()));
        let mut options = Options::default();
        options.set("schema_registry.username", "me");
        assert!(notifier(&NotifierContext { alert: "a".to_owned(), options }).is_ok_and(|found| found.is_none()));
    }
}
