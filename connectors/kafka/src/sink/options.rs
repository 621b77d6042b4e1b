//! `WITH (…)` of a Kafka sink. Finds what cannot work when the sink is created; nothing is contacted.

use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema};
use ebap_connector::{Error, Result, SinkContext};
use rdkafka::ClientConfig;

use crate::options::{PASSED_THROUGH, base_config, client};

const KNOWN: [&str; 15] = [
    "bootstrap_servers",
    "commit_interval",
    "connection",
    "connector",
    "format",
    "key",
    "partitions",
    "position_topic",
    "schema_registry",
    "security.protocol",
    "subject",
    "timestamp_column",
    "topic",
    "transactional_id",
    "type",
];
const POSITION_TOPIC: &str = "ebap_sink_positions";
const COMMIT_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// A transaction may wait so long for its commit, and no reader of committed records sees what comes behind it meanwhile.
const COMMIT_INTERVAL_MAX: Duration = Duration::from_secs(30);
/// Kafka's own default. A server that died and does not come back holds up readers for so long.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);
const TRANSACTION_TIMEOUT_MIN: Duration = Duration::from_secs(2);
/// What the user may set otherwise.
const TUNING: [(&str, &str); 8] = [
    ("batch.num.messages", "20000"),
    ("compression.type", "lz4"),
    ("linger.ms", "5"),
    // As Java's clients find the partition of a key, so that both agree on it.
    ("partitioner", "murmur2_random"),
    ("queue.buffering.max.kbytes", "65536"),
    ("queue.buffering.max.messages", "200000"),
    ("reconnect.backoff.max.ms", "1000"),
    ("topic.metadata.refresh.interval.ms", "10000"),
];

/// What stands in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Avro,
}

/// What a record of the topic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A row of a stream.
    Row,
    /// A row of a view that does not change any more; the column is the end of its window.
    Final { window_end: usize },
    /// What is at a key of a view now.
    Upsert,
}

#[derive(Clone, Debug)]
pub(super) struct SinkOptions {
    pub(super) name: String,
    pub(super) topic: String,
    pub(super) position_topic: String,
    pub(super) transactional_id: String,
    /// Columns of the key; none where records have none.
    pub(super) key: Vec<usize>,
    pub(super) kind: Kind,
    pub(super) format: Format,
    /// Of the topic, where it is made.
    pub(super) partitions: Option<i32>,
    pub(super) commit_interval: Duration,
    pub(super) transaction_timeout: Duration,
    /// What the time of a record is; the time of writing where it is none. Not the event time unless somebody asks for it:
    /// retention goes by it, and old events would be gone before anybody has read them.
    pub(super) time_column: Option<usize>,
    pub(super) incarnation: u64,
    bootstrap: String,
    client: Vec<(String, String)>,
}

impl SinkOptions {
    pub(super) fn parse(context: &SinkContext) -> Result<Self> {
        let options = &context.options;
        let mut prefixes = PASSED_THROUGH.to_vec();
        prefixes.push(ebap_schema_registry::PREFIX);
        options.only(&KNOWN, &prefixes)?;
        if !context.partitions.is_empty() {
            return Err(Error::option("connector", "a kafka sink has no PARTITIONED BY: its key says the partition"));
        }
        let format = match options.get("format").unwrap_or("json") {
            "json" => Format::Json,
            "avro" => Format::Avro,
            other => {
                let message = format!("\"{other}\" is not written to Kafka; there are json and avro");
                return Err(Error::option("format", message));
            }
        };
        let kind = kind(context)?;
        let topic = options.required("topic")?.to_owned();
        let position_topic = options.get("position_topic").unwrap_or(POSITION_TOPIC).to_owned();
        if position_topic == topic {
            return Err(Error::option("position_topic", "is the topic of the rows; positions need one of their own"));
        }
        let partitions = options.number::<i32>("partitions")?;
        if partitions.is_some_and(|partitions| partitions < 1) {
            return Err(Error::option("partitions", "must be at least 1"));
        }
        let commit_interval = options.duration("commit_interval")?.unwrap_or(COMMIT_INTERVAL_DEFAULT);
        if kind != Kind::Row && options.get("commit_interval").is_some() {
            return Err(Error::option("commit_interval", "is of sinks on streams; those on views follow checkpoints"));
        }
        if commit_interval > COMMIT_INTERVAL_MAX {
            return Err(Error::option("commit_interval", "must be at most 30 seconds"));
        }
        let client = client(options)?;
        if let Some((name, _)) =
            client.iter().find(|(name, _)| ["acks", "request.required.acks"].contains(&name.as_str()))
        {
            return Err(Error::option(format!("kafka.{name}"), "is set by EBAP, since exactly-once rests on it"));
        }
        // The topic is among it, so that two servers that follow the same SQL and write elsewhere do not fence each other.
        let transactional_id = match options.get("transactional_id") {
            Some(id) => id.to_owned(),
            None => format!("ebap-{topic}-{}-{}", context.name, context.id),
        };
        let parsed = Self {
            name: context.name.clone(),
            transaction_timeout: transaction_timeout(&client, commit_interval)?,
            key: key(context, kind)?,
            topic,
            position_topic,
            transactional_id,
            kind,
            format,
            partitions,
            commit_interval,
            time_column: time_column(context)?,
            incarnation: context.incarnation,
            bootstrap: options.required("bootstrap_servers")?.to_owned(),
            client,
        };
        parsed.producer_config().create_native_config().map_err(|error| Error::option("kafka", error.to_string()))?;
        Ok(parsed)
    }

    /// Name of the system in errors.
    pub(super) fn system(&self) -> String {
        format!("kafka {}", self.bootstrap)
    }

    pub(super) fn base_config(&self) -> ClientConfig {
        base_config(&self.bootstrap, self.client.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    pub(super) fn producer_config(&self) -> ClientConfig {
        let mut config = self.base_config();
        for (name, value) in TUNING.into_iter().filter(|(name, _)| self.client.iter().all(|(other, _)| other != name)) {
            config.set(name, value);
        }
        config
            .set("transactional.id", &self.transactional_id)
            .set("transaction.timeout.ms", self.transaction_timeout.as_millis().to_string())
            .set("enable.idempotence", "true");
        config
    }

    /// For looking at what is outside: `isolation` as Kafka calls it.
    pub(super) fn consumer_config(&self, isolation: &str) -> ClientConfig {
        let mut config = self.base_config();
        config
            .set("group.id", format!("ebap-{}", self.name))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", isolation);
        config
    }
}

fn kind(context: &SinkContext) -> Result<Kind> {
    let named = context.options.get("type").map(str::to_ascii_lowercase);
    let named = named.as_deref();
    match (named, context.on_view) {
        (None | Some("append"), false) => Ok(Kind::Row),
        (Some("upsert"), false) => {
            let message = "a row of a stream replaces no other; make a materialized view, or use type = 'append'";
            Err(Error::option("type", message))
        }
        (None, true) if !context.on_close => Ok(Kind::Upsert),
        (Some("upsert"), true) => Ok(Kind::Upsert),
        (None | Some("append"), true) => {
            if !context.on_close {
                let message = "rows of this view change; give it EMIT ON WINDOW CLOSE, or use type = 'upsert'";
                return Err(Error::option("type", message));
            }
            let window_end = context.schema.column_with_name("window_end").filter(|(_, field)| is_time(field));
            let missing = "type = 'append' needs the column window_end among those of the view, which says what was \
                           written before; select it, or use type = 'upsert'";
            Ok(Kind::Final { window_end: window_end.ok_or_else(|| Error::schema(missing))?.0 })
        }
        (Some(other), _) => Err(Error::option("type", format!("\"{other}\" is not one of append, upsert"))),
    }
}

fn key(context: &SinkContext, kind: Kind) -> Result<Vec<usize>> {
    let schema: &Schema = &context.schema;
    let Some(text) = context.options.get("key") else {
        if kind == Kind::Upsert && context.upsert_key.is_empty() {
            let message =
                "a row of this view is known by no column: select what it is grouped by, or what is unique in it";
            return Err(Error::schema(message));
        }
        return Ok(context.upsert_key.clone());
    };
    let column = |name: &str| {
        schema.index_of(name).map_err(|_| Error::option("key", format!("column \"{name}\" does not exist")))
    };
    let key = text.split(',').map(|name| column(name.trim())).collect::<Result<Vec<_>>>()?;
    let left_out = context.upsert_key.iter().filter(|column| !key.contains(column));
    let left_out: Vec<_> = left_out.map(|column| schema.field(*column).name().as_str()).collect();
    if kind == Kind::Upsert && (!left_out.is_empty() || context.upsert_key.is_empty()) {
        let message = match left_out.as_slice() {
            [] => "a row of this view is known by no column, so two could share a key".to_owned(),
            names => format!("two rows of the view could share a key: {} is missing", names.join(", ")),
        };
        return Err(Error::option("key", message));
    }
    Ok(key)
}

fn is_time(field: &Field) -> bool {
    matches!(field.data_type(), DataType::Timestamp(_, _))
}

fn time_column(context: &SinkContext) -> Result<Option<usize>> {
    let Some(name) = context.options.get("timestamp_column") else { return Ok(None) };
    match context.schema.column_with_name(name) {
        Some((column, field)) if is_time(field) => Ok(Some(column)),
        Some(_) => Err(Error::option("timestamp_column", format!("column \"{name}\" is no timestamp"))),
        None => Err(Error::option("timestamp_column", format!("column \"{name}\" does not exist"))),
    }
}

fn transaction_timeout(client: &[(String, String)], commit_interval: Duration) -> Result<Duration> {
    let Some((_, text)) = client.iter().find(|(name, _)| name == "transaction.timeout.ms") else {
        return Ok(TRANSACTION_TIMEOUT);
    };
    let timeout = text.parse().map(Duration::from_millis).ok();
    let least = TRANSACTION_TIMEOUT_MIN.max(commit_interval * 2);
    timeout.filter(|timeout| *timeout >= least).ok_or_else(|| {
        let message = format!("must be at least {} ms: twice the commit_interval", least.as_millis());
        Error::option("kafka.transaction.timeout.ms", message)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::TimeUnit;
    use ebap_connector::Options;

    use super::*;

    fn context(pairs: &[(&str, &str)]) -> SinkContext {
        let mut options = Options::default();
        for (name, value) in [("bootstrap_servers", "b:1"), ("topic", "t")].iter().chain(pairs) {
            options.set(*name, *value);
        }
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        let schema = Schema::new(vec![
            Field::new("region", DataType::Utf8, true),
            Field::new("window_end", time, true),
            Field::new("n", DataType::Int64, true),
        ]);
        SinkContext {
            name: "s".to_owned(),
            id: "7".to_owned(),
            schema: Arc::new(schema),
            upsert_key: Vec::new(),
            on_view: false,
            on_close: false,
            time_column: None,
            partitions: Vec::new(),
            options,
            incarnation: 1,
            first_version: 0,
        }
    }

    fn view(pairs: &[(&str, &str)], on_close: bool) -> SinkContext {
        SinkContext { on_view: true, on_close, upsert_key: vec![0, 1], ..context(pairs) }
    }

    fn refused(context: &SinkContext) -> String {
        SinkOptions::parse(context).map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
    }

    #[test]
    fn what_a_record_is_follows_from_the_relation_and_is_said_where_it_cannot_be() {
        let kind = |context: &SinkContext| SinkOptions::parse(context).map(|options| options.kind).expect("options");
        assert_eq!(kind(&context(&[])), Kind::Row);
        assert_eq!(kind(&view(&[], false)), Kind::Upsert);
        assert_eq!(kind(&view(&[], true)), Kind::Final { window_end: 1 });
        assert_eq!(kind(&view(&[("type", "upsert")], true)), Kind::Upsert);
        assert!(refused(&context(&[("type", "upsert")])).contains("replaces no other"));
        assert!(refused(&view(&[("type", "append")], false)).contains("give it EMIT ON WINDOW CLOSE"));
        let mut without = view(&[], true);
        without.schema = Arc::new(without.schema.project(&[0, 2]).expect("columns"));
        without.upsert_key = vec![0];
        assert!(refused(&without).contains("needs the column window_end"));
        let keyless = SinkContext { upsert_key: Vec::new(), ..view(&[], false) };
        assert!(refused(&keyless).contains("known by no column"));
    }

    #[test]
    fn the_key_is_what_the_user_says_as_long_as_it_tells_rows_apart() {
        let key = |context: &SinkContext| SinkOptions::parse(context).map(|options| options.key).expect("options");
        assert_eq!(key(&context(&[])), Vec::<usize>::new());
        assert_eq!(key(&context(&[("key", "n, region")])), [2, 0]);
        assert_eq!(key(&view(&[], false)), [0, 1]);
        assert!(refused(&view(&[("key", "region")], false)).contains("window_end is missing"));
        assert_eq!(key(&view(&[("key", "region")], true)), [0]);
        assert!(refused(&context(&[("key", "who")])).contains("column \"who\" does not exist"));
    }

    #[test]
    fn what_exactness_rests_on_is_not_the_users() {
        assert!(refused(&context(&[("kafka.transactional.id", "x")])).contains("is set by EBAP"));
        assert!(refused(&context(&[("kafka.acks", "1")])).contains("acks"));
        assert!(refused(&context(&[("kafka.no.such.setting", "1")])).contains("no.such.setting"));
        assert!(refused(&context(&[("kafka.transaction.timeout.ms", "100")])).contains("at least 2000 ms"));
        assert!(refused(&context(&[("format", "csv")])).contains("there are json and avro"));
        assert!(refused(&context(&[("timestamp_column", "n")])).contains("is no timestamp"));
        assert!(refused(&context(&[("topik", "x")])).contains("did you mean \"topic\"?"));
        let options = SinkOptions::parse(&context(&[("kafka.linger.ms", "70")])).expect("options");
        assert_eq!(options.producer_config().get("linger.ms"), Some("70"));
        assert_eq!(options.transactional_id, "ebap-t-s-7");
    }
}
