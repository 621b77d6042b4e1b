//! Options of a Kafka source, and the client's settings that follow from them.

use ebap_connector::{Error, Options, Result, SourceContext};
use rdkafka::ClientConfig;

/// Where a split starts the first time it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Earliest,
    Latest,
    TimestampMs(i64),
    Offsets(Vec<(i32, i64)>),
}

#[derive(Clone, Debug)]
pub(crate) struct KafkaOptions {
    pub(crate) bootstrap: String,
    pub(crate) topic: String,
    pub(crate) start: Start,
    pub(crate) dead_letter_topic: Option<String>,
    client: Vec<(String, String)>,
    group: String,
}

/// Options that streams of other connectors do not have.
const OWN: [&str; 8] = [
    "bootstrap_servers",
    "group_id",
    "schema_registry",
    "security.protocol",
    "start_offsets",
    "start_timestamp",
    "subject",
    "topic",
];
pub(crate) const PASSED_THROUGH: [&str; 3] = ["kafka.", "sasl.", "ssl."];
/// Settings that decide exactness are not the user's; nor is any `enable.auto.*`.
const OURS: [&str; 10] = [
    "auto.commit.enable",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "isolation.level",
    "metadata.broker.list",
    "statistics.interval.ms",
    "transactional.id",
];
/// What the user may set otherwise.
const TUNING: [(&str, &str); 8] = [
    // The defaults cap a consumer at 140,000 small records a second: it waits a second whenever its queue is full.
    ("fetch.queue.backoff.ms", "5"),
    // A broker that answers each produced batch by itself is busy with answers alone: it gathers, but not for long.
    ("fetch.wait.max.ms", "10"),
    ("fetch.min.bytes", "16384"),
    // Fewer and larger answers of the broker; the queue below holds a few of them.
    ("fetch.message.max.bytes", "2097152"),
    ("queued.min.messages", "100000"),
    // Of each partition, so that many partitions do not take the machine's memory.
    ("queued.max.messages.kbytes", "8192"),
    ("reconnect.backoff.max.ms", "1000"),
    ("topic.metadata.refresh.interval.ms", "10000"),
];

impl KafkaOptions {
    pub(crate) fn parse(context: &SourceContext) -> Result<Self> {
        let options = &context.options;
        let mut prefixes = PASSED_THROUGH.to_vec();
        prefixes.extend(["csv.", "json.", "schema_registry."]);
        options.only_of_stream(&OWN, &prefixes)?;
        let group = options.get("group_id").map_or_else(|| format!("ebap-{}", context.name), str::to_owned);
        Ok(Self {
            bootstrap: options.required("bootstrap_servers")?.to_owned(),
            topic: options.required("topic")?.to_owned(),
            start: start(options)?,
            dead_letter_topic: options.get("dead_letter_topic").map(str::to_owned),
            client: client(options)?,
            group,
        })
    }

    /// Name of the system in errors.
    pub(crate) fn system(&self) -> String {
        format!("kafka {}", self.bootstrap)
    }

    pub(crate) fn base_config(&self) -> ClientConfig {
        base_config(&self.bootstrap, self.client.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    pub(crate) fn consumer_config(&self) -> ClientConfig {
        let set = TUNING.into_iter().filter(|(name, _)| self.client.iter().all(|(other, _)| other != name));
        let mut config = self.base_config();
        for (name, value) in set {
            config.set(name, value);
        }
        config
            .set("group.id", &self.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            // An offset that is gone is said, not skipped.
            .set("auto.offset.reset", "error");
        config
    }
}

pub(crate) fn base_config<'a>(bootstrap: &str, settings: impl Iterator<Item = (&'a str, &'a str)>) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("client.id", "ebap");
    for (name, value) in settings {
        config.set(name, value);
    }
    config
}

pub(crate) fn client(options: &Options) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for (name, value) in &options.0 {
        let setting = match name.strip_prefix("kafka.") {
            Some(setting) => setting,
            None if name == "security.protocol" || name.starts_with("sasl.") || name.starts_with("ssl.") => name,
            None => continue,
        };
        if (setting, value.as_str()) == ("isolation.level", "read_committed") {
            continue;
        }
        if OURS.contains(&setting) || setting.starts_with("enable.auto.") {
            return Err(Error::option(name, "is set by EBAP, since exactly-once rests on it"));
        }
        found.push((setting.to_owned(), value.clone()));
    }
    Ok(found)
}

fn start(options: &Options) -> Result<Start> {
    match options.get("start").unwrap_or("earliest") {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        "timestamp" => {
            let text = options.required("start_timestamp")?;
            let moment = || chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis());
            let ms = text.parse().ok().or_else(moment);
            let wrong = || {
                let known = "neither milliseconds since 1970 nor a time with its zone, such as 2026-01-01T00:00:00Z";
                Error::option("start_timestamp", format!("\"{text}\" is {known}"))
            };
            Ok(Start::TimestampMs(ms.ok_or_else(wrong)?))
        }
        "offsets" => {
            let text = options.required("start_offsets")?;
            let one = |part: &str| {
                let (partition, offset) = part.split_once(':')?;
                // Below zero they have other meanings in Kafka.
                let (partition, offset): (i32, i64) = (partition.trim().parse().ok()?, offset.trim().parse().ok()?);
                (partition >= 0 && offset >= 0).then_some((partition, offset))
            };
            let all: Option<Vec<(i32, i64)>> = text.split(',').map(one).collect();
            Ok(Start::Offsets(
                all.ok_or_else(|| {
                    Error::option("start_offsets", format!("\"{text}\" is not of the form '0:15,1:20'"))
                })?,
            ))
        }
        other => Err(Error::option("start", format!("\"{other}\" is not one of earliest, latest, timestamp, offsets"))),
    }
}

#[cfg(test)]
mod tests {
    use arrow_free::context;

    use super::*;

    mod arrow_free {
        use std::sync::Arc;

        use ebap_connector::{Options, SourceContext};

        pub(super) fn context(pairs: &[(&str, &str)]) -> SourceContext {
            let mut options = Options::default();
            for (name, value) in pairs {
                options.set(*name, *value);
            }
            let schema = Arc::new(arrow::datatypes::Schema::empty());
            SourceContext {
                name: "events".to_owned(),
                id: "1".to_owned(),
                connector: "kafka".to_owned(),
                schema,
                options,
            }
        }
    }

    #[test]
    fn each_start_is_read_and_a_wrong_one_is_named() {
        let parse = |more: &[(&str, &str)]| {
            let mut pairs = vec![("bootstrap_servers", "b:1"), ("topic", "t")];
            pairs.extend(more);
            KafkaOptions::parse(&context(&pairs)).map(|options| options.start).map_err(|error| error.to_string())
        };
        assert_eq!(parse(&[]), Ok(Start::Earliest));
        assert_eq!(
            parse(&[("start", "offsets"), ("start_offsets", "0:15, 1:20")]),
            Ok(Start::Offsets(vec![(0, 15), (1, 20)]))
        );
        assert_eq!(
            parse(&[("start", "timestamp"), ("start_timestamp", "2026-01-01T00:00:00Z")]),
            Ok(Start::TimestampMs(1_767_225_600_000))
        );
        assert_eq!(
            parse(&[("start", "timestamp"), ("start_timestamp", "2026-01-01T02:30:00.5+02:30")]),
            Ok(Start::TimestampMs(1_767_225_600_500))
        );
        for text in ["2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-01-01T24:00:00Z", "soon"] {
            let wrong = parse(&[("start", "timestamp"), ("start_timestamp", text)]).expect_err(text);
            assert!(wrong.starts_with(&format!("option \"start_timestamp\": \"{text}\" is neither")), "{wrong}");
        }
        assert!(parse(&[("start", "offsets"), ("start_offsets", "0:-1")]).is_err());
        assert_eq!(
            parse(&[("start", "soon")]),
            Err("option \"start\": \"soon\" is not one of earliest, latest, timestamp, offsets".to_owned())
        );
        assert_eq!(
            parse(&[("kafka.isolation.level", "read_uncommitted")]),
            Err("option \"kafka.isolation.level\": is set by EBAP, since exactly-once rests on it".to_owned())
        );
        assert!(parse(&[("kafka.enable.auto.offset.store", "true")]).is_err());
        assert_eq!(parse(&[("kafka.isolation.level", "read_committed")]), Ok(Start::Earliest));
    }

    #[test]
    fn the_users_tuning_is_used_and_what_exactness_needs_stays() {
        let pairs = [("bootstrap_servers", "b:1"), ("topic", "t"), ("kafka.fetch.wait.max.ms", "70")];
        let config = KafkaOptions::parse(&context(&pairs)).expect("options").consumer_config();
        assert_eq!(config.get("fetch.wait.max.ms"), Some("70"));
        assert_eq!(config.get("fetch.min.bytes"), Some("16384"));
        assert_eq!(config.get("isolation.level"), Some("read_committed"));
    }
}
