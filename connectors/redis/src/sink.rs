//! The sink itself: options, connection, batches. Must not print the URL, which may hold a password.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use ebap_connector::{
    ChangeBatch, Epoch, Error, Offset, Position, Result, Sink, SinkContext, SinkInput, SinkOpened, SplitId,
};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, Pipeline, RedisError, Script, ServerErrorKind,
    aio::MultiplexedConnection,
};

use crate::{
    script::{self, DONE, LOST},
    template::KeyTemplate,
    text,
};

const KNOWN_OPTIONS: &[&str] = &["connector", "connection", "url", "key", "ttl", "flush_interval", "type"];
const TTL_DEFAULT: Duration = Duration::from_secs(24 * 3_600);
const FLUSH_INTERVAL_DEFAULT: Duration = Duration::from_millis(50);
/// Long enough to survive a pipeline that was paused over a holiday, and yet not for ever.
const CONTROL_TTL: Duration = Duration::from_secs(30 * 24 * 3_600);
const PIPELINE_COMMANDS_MAX: usize = 1_000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
const VERSION_FIELD: &str = "_version";
const SPLIT_PREFIX: &str = "split:";

/// # Errors
/// `Option` for whatever the user wrote that cannot work; nothing is contacted before `open`.
pub fn sink(context: &SinkContext) -> Result<Box<dyn Sink>> {
    let options = &context.options;
    if !context.on_view {
        return Err(Error::option("connector", "a redis sink needs a materialized view, as a stream has no key"));
    }
    options.only(KNOWN_OPTIONS, &[])?;
    if let Some(kind) = options.get("type").filter(|kind| *kind != "hash") {
        return Err(Error::option("type", format!("\"{kind}\" is not supported; use 'hash'")));
    }
    if context.schema.column_with_name(VERSION_FIELD).is_some() {
        return Err(Error::schema(format!("column \"{VERSION_FIELD}\" is reserved by the redis sink")));
    }
    let key = KeyTemplate::parse(options.required("key")?, &context.schema, &context.upsert_key)?;
    let ttl = options.duration("ttl")?.unwrap_or(TTL_DEFAULT);
    if ttl < Duration::from_millis(1) {
        return Err(Error::option("ttl", "must be at least one millisecond"));
    }
    // Accepted so that a statement written for batching stays valid; every step is written out at once today.
    options.duration("flush_interval")?.unwrap_or(FLUSH_INTERVAL_DEFAULT);
    // The parser's own message could repeat the URL, and with it the password.
    let client = Client::open(options.required("url")?)
        .map_err(|error| Error::option("url", format!("cannot be used: {}", error.category())))?;
    let system = match client.get_connection_info().addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => format!("redis {host}:{port}"),
        other => format!("redis {other}"),
    };
    Ok(Box::new(RedisSink {
        control_key: format!("ebap:sink:{}", context.id),
        index_key: format!("ebap:sink:{}:rows", context.id),
        written: Some(HashSet::new()),
        hasher: RandomState::new(),
        incarnation: context.incarnation.to_string(),
        fields: context.schema.fields().iter().map(|field| field.name().clone()).collect(),
        key,
        ttl_ms: millis(ttl),
        client,
        system,
        connection: None,
        advance: Script::new(&script::advance()),
        put: Script::new(&script::put()),
        remove: Script::new(&script::remove()),
    }))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

struct RedisSink {
    control_key: String,
    /// Keys of the rows that are there, by when they expire.
    index_key: String,
    /// Hashes of the keys written since `open`, until they have been swept around.
    written: Option<HashSet<u64>>,
    hasher: RandomState,
    incarnation: String,
    fields: Vec<String>,
    key: KeyTemplate,
    ttl_ms: u64,
    client: Client,
    system: String,
    connection: Option<MultiplexedConnection>,
    advance: Script,
    put: Script,
    remove: Script,
}

#[async_trait]
impl Sink for RedisSink {
    async fn open(&mut self) -> Result<SinkOpened> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let connected = self.client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = connected.map_err(|error| self.failed(&error))?;
        for script in [&self.advance, &self.put, &self.remove] {
            script.load_async(&mut connection).await.map_err(|error| self.failed(&error))?;
        }
        let holder: Option<String> = Script::new(&script::take_over())
            .key(&self.control_key)
            .arg(&self.incarnation)
            .arg(millis(CONTROL_TTL))
            .invoke_async(&mut connection)
            .await
            .map_err(|error| self.failed(&error))?;
        if let Some(holder) = holder {
            return Err(self.fenced(&holder));
        }
        let stored: Vec<(String, String)> =
            Cmd::hgetall(&self.control_key).query_async(&mut connection).await.map_err(|error| self.failed(&error))?;
        let mut position = Position::default();
        for (field, offset) in &stored {
            if let Some(split) = field.strip_prefix(SPLIT_PREFIX) {
                let offset = offset.parse().map_err(|_| {
                    Error::refused(
                        &self.system,
                        format!("field \"{field}\" of \"{}\" is not an offset", self.control_key),
                    )
                })?;
                position.set(SplitId::new(split), Offset(offset));
            }
        }
        self.connection = Some(connection);
        self.written = Some(HashSet::new());
        Ok(SinkOpened { position: (!position.0.is_empty()).then_some(position) })
    }

    async fn write(&mut self, input: SinkInput, position: &Position) -> Result<()> {
        let SinkInput::Changes(ChangeBatch { deletes, inserts }) = input else {
            return Err(Error::internal("a redis sink was given rows of a stream"));
        };
        let version = position.version().to_string();
        let mut pending = Pipeline::new();
        self.add_advance(&mut pending, position);
        let keys = (0..inserts.num_rows()).map(|row| self.key.render(&inserts, row)).collect::<Result<Vec<_>>>()?;
        let kept: HashSet<&str> = keys.iter().map(String::as_str).collect();
        for row in 0..deletes.num_rows() {
            let key = self.key.render(&deletes, row)?;
            if kept.contains(key.as_str()) {
                continue;
            }
            pending.add_command(self.remove_command(&key, &version));
            self.send_if_full(&mut pending).await?;
        }
        if let Some(written) = &mut self.written {
            written.extend(keys.iter().map(|key| self.hasher.hash_one(key)));
        }
        for (row, key) in keys.iter().enumerate() {
            let command = self.put_command(&inserts, row, key, &version)?;
            pending.add_command(command);
            self.send_if_full(&mut pending).await?;
        }
        self.send(&mut pending).await
    }

    async fn sweep(&mut self, position: &Position) -> Result<()> {
        let Some(written) = self.written.take() else { return Ok(()) };
        let version = position.version().to_string();
        let (mut cursor, mut pending) = (0_u64, Pipeline::new());
        loop {
            let Some(connection) = &mut self.connection else {
                return Err(Error::internal("a redis sink was swept before it was opened"));
            };
            let mut scan = redis::cmd("ZSCAN");
            scan.arg(&self.index_key).arg(cursor).arg("COUNT").arg(PIPELINE_COMMANDS_MAX);
            let (next, found): (u64, Vec<(String, String)>) = match scan.query_async(connection).await {
                Ok(answer) => answer,
                Err(error) => return Err(self.failed(&error)),
            };
            for (key, _) in found {
                if !written.contains(&self.hasher.hash_one(&key)) {
                    pending.add_command(self.remove_command(&key, &version));
                    self.send_if_full(&mut pending).await?;
                }
            }
            if next == 0 {
                return self.send(&mut pending).await;
            }
            cursor = next;
        }
    }

    async fn checkpoint(&mut self, _epoch: Epoch, position: &Position, _force: bool) -> Result<Option<Position>> {
        // Every write has been answered, so nothing is held back.
        Ok(Some(position.clone()))
    }
}

impl RedisSink {
    fn add_advance(&self, pending: &mut Pipeline, position: &Position) {
        let mut arguments = vec![self.control_key.clone(), self.incarnation.clone(), millis(CONTROL_TTL).to_string()];
        for (split, offset) in &position.0 {
            arguments.push(format!("{SPLIT_PREFIX}{split}"));
            arguments.push(offset.0.max(0).to_string());
        }
        pending.add_command(evalsha(&self.advance, 1, &arguments));
    }

    fn put_command(&self, batch: &RecordBatch, row: usize, key: &str, version: &str) -> Result<Cmd> {
        let arguments = [self.control_key.as_str(), key, &self.index_key, &self.incarnation, version];
        let mut command = evalsha(&self.put, 3, &arguments);
        command.arg(self.ttl_ms);
        let mut value = String::new();
        for (name, column) in self.fields.iter().zip(batch.columns()) {
            if column.is_null(row) {
                continue;
            }
            value.clear();
            text::write_value(&mut value, column, row)?;
            command.arg(name).arg(&value);
        }
        Ok(command)
    }

    fn remove_command(&self, key: &str, version: &str) -> Cmd {
        evalsha(&self.remove, 3, &[self.control_key.as_str(), key, &self.index_key, &self.incarnation, version])
    }

    async fn send_if_full(&mut self, pending: &mut Pipeline) -> Result<()> {
        if pending.len() >= PIPELINE_COMMANDS_MAX { self.send(pending).await } else { Ok(()) }
    }

    async fn send(&mut self, pending: &mut Pipeline) -> Result<()> {
        let Some(connection) = &mut self.connection else {
            return Err(Error::internal("a redis sink was written to before it was opened"));
        };
        if pending.is_empty() {
            return Ok(());
        }
        let answers: Vec<String> = match pending.query_async(connection).await {
            Ok(answers) => answers,
            Err(error) => return Err(self.failed(&error)),
        };
        pending.clear();
        match answers.into_iter().find(|answer| answer != DONE) {
            None => Ok(()),
            Some(lost) if lost == LOST => {
                Err(Error::unreachable(&self.system, format!("key \"{}\" is gone, data was lost", self.control_key)))
            }
            Some(holder) => Err(self.fenced(&holder)),
        }
    }

    fn fenced(&self, holder: &str) -> Error {
        let (key, mine) = (&self.control_key, &self.incarnation);
        Error::Fenced { message: format!("incarnation {holder} of \"{key}\" is newer than this one, {mine}") }
    }

    /// What passes by itself: lost connections, a server that loads, fails over, is full or forgot the scripts.
    fn failed(&self, error: &RedisError) -> Error {
        let passing = match error.kind() {
            ErrorKind::Io => true,
            ErrorKind::Server(kind) => matches!(
                kind,
                ServerErrorKind::BusyLoading
                    | ServerErrorKind::NoScript
                    | ServerErrorKind::TryAgain
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ReadOnly
            ),
            _ => matches!(error.code(), Some("OOM" | "MISCONF" | "BUSY")),
        };
        if passing { Error::unreachable(&self.system, error) } else { Error::refused(&self.system, error) }
    }
}

fn evalsha<T: redis::ToRedisArgs>(script: &Script, keys: usize, arguments: &[T]) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(script.get_hash()).arg(keys);
    for argument in arguments {
        command.arg(argument);
    }
    command
}
