//! `WITH (…)` of a Redis sink. Finds what cannot work when the sink is created; nothing is contacted.

use std::time::Duration;

use arrow::datatypes::{DataType, Schema};
use ebap_connector::{Error, Options, Result, SinkContext};

use crate::{connection::Server, kind::Kind, template::Template};

const KNOWN: &[&str] = &[
    "connector",
    "connection",
    "url",
    "user",
    "password",
    "ca_cert",
    "cluster",
    "sentinel",
    "key",
    "member",
    "type",
    "value",
    "score",
    "max_length",
    "ttl",
    "flush_interval",
];
/// Which option belongs to which types.
const OF_TYPES: &[(&str, &[&str])] = &[
    ("value", &["string"]),
    ("member", &["set", "sorted set"]),
    ("score", &["sorted set"]),
    ("max_length", &["stream"]),
];
const TTL_DEFAULT: Duration = Duration::from_secs(24 * 3_600);
const FLUSH_INTERVAL_DEFAULT: Duration = Duration::from_millis(50);
/// What is kept back is not visible; a minute is more than any reader of Redis expects.
const FLUSH_INTERVAL_MAX: Duration = Duration::from_secs(60);
const MAX_LENGTH_DEFAULT: u64 = 100_000;

pub(crate) struct Settings {
    pub(crate) server: Server,
    pub(crate) kind: Kind,
    pub(crate) key: Template,
    pub(crate) ttl: Duration,
    pub(crate) flush_interval: Duration,
}

impl Settings {
    pub(crate) fn of(context: &SinkContext) -> Result<Self> {
        let options = &context.options;
        if !context.on_view {
            return Err(Error::option("connector", "a redis sink needs a materialized view, as a stream has no key"));
        }
        options.only(KNOWN, &[])?;
        let schema = context.schema.as_ref();
        let key = Template::parse("key", options.required("key")?, schema)?;
        let kind = kind(options, schema, &context.upsert_key)?;
        reserved(&kind, schema)?;
        let unnamed = |column: &&usize| !key.names(**column) && !kind.names(**column);
        let named = |column: &usize| format!("{{{}}}", schema.field(*column).name());
        let missing: Vec<_> = context.upsert_key.iter().filter(unnamed).map(named).collect();
        let missing = missing.join(", ");
        if !missing.is_empty() {
            let (option, what) = match kind.has_members() {
                true => ("member", "a key and a member"),
                false => ("key", "a key"),
            };
            return Err(Error::option(
                option,
                format!("two rows of the view could share {what}: {missing} is missing"),
            ));
        }
        let ttl = options.duration("ttl")?.unwrap_or(TTL_DEFAULT);
        if ttl < Duration::from_millis(1) {
            return Err(Error::option("ttl", "must be at least one millisecond"));
        }
        let flush_interval = options.duration("flush_interval")?.unwrap_or(FLUSH_INTERVAL_DEFAULT);
        if flush_interval > FLUSH_INTERVAL_MAX {
            return Err(Error::option("flush_interval", "must be at most one minute"));
        }
        Ok(Self { server: Server::of(options)?, kind, key, ttl, flush_interval })
    }
}

fn kind(options: &Options, schema: &Schema, upsert_key: &[usize]) -> Result<Kind> {
    let name = options.get("type").unwrap_or("hash").to_ascii_lowercase();
    let name = match name.as_str() {
        "hash" | "string" | "set" | "stream" => name.as_str(),
        "sorted set" | "sorted_set" | "zset" => "sorted set",
        other => {
            let types = "'hash', 'string', 'set', 'sorted set' or 'stream'";
            return Err(Error::option("type", format!("\"{other}\" is not supported; use {types}")));
        }
    };
    for (option, types) in OF_TYPES {
        if options.get(option).is_some() && !types.contains(&name) {
            return Err(Error::option(*option, format!("is of type '{}', not of '{name}'", types.join("' and '"))));
        }
    }
    let column = |option: &str| {
        let Some(name) = options.get(option) else { return Ok(None) };
        let missing = || Error::option(option, format!("column \"{name}\" does not exist in the view"));
        schema.index_of(name).map(Some).map_err(|_| missing())
    };
    let member = || Template::parse("member", options.required("member")?, schema);
    Ok(match name {
        "string" => Kind::String { value: column("value")? },
        "set" => Kind::Set { member: member()? },
        "sorted set" => {
            let score = column("score")?.ok_or_else(|| Error::option("score", "is required for a sorted set"))?;
            let of = schema.field(score).data_type();
            // Computed values of NUMERIC come in LargeBinary.
            if !of.is_numeric() && *of != DataType::LargeBinary {
                let name = schema.field(score).name();
                return Err(Error::option("score", format!("column \"{name}\" is not a number")));
            }
            Kind::SortedSet { member: member()?, score }
        }
        "stream" => {
            let max_length = options.number("max_length")?.unwrap_or(MAX_LENGTH_DEFAULT);
            if max_length == 0 {
                return Err(Error::option("max_length", "must be at least 1"));
            }
            // Rows of a view without a key are told apart by all they have.
            let all = || (0..schema.fields().len()).collect();
            let identity = if upsert_key.is_empty() { all() } else { upsert_key.to_vec() };
            Kind::Stream { max_length, identity }
        }
        _ => Kind::Hash,
    })
}

/// Columns that would be taken for what the sink adds.
fn reserved(kind: &Kind, schema: &Schema) -> Result<()> {
    let names: &[&str] = match kind {
        Kind::Hash => &["_version", "_writer"],
        Kind::Stream { .. } => &["_version", "op"],
        Kind::String { .. } | Kind::Set { .. } | Kind::SortedSet { .. } => &[],
    };
    match names.iter().find(|name| schema.column_with_name(name).is_some()) {
        Some(name) => Err(Error::schema(format!("column \"{name}\" is reserved by the redis sink"))),
        None => Ok(()),
    }
}
