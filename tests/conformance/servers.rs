//! The two servers that are compared, with the same rows in both.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, bail};
use ebap_tests::{
    Ebap, EbapOptions, Service, Stack,
    wire::{Address, Answer, Session},
};
use serde_json::{Map, Value};
use tempfile::TempDir;

use super::data;

/// The memory limit of EBAP, in KiB: a statement that wants more fails alone.
const ADDRESSES_KB: u64 = 2_097_152;
const MEMORY_LIMIT: &str = "512MiB";
/// No statement here takes longer; a server that does is said to hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Servers {
    ebap: Mutex<Ebap>,
    pub(crate) ebap_address: Address,
    pub(crate) postgres_address: Address,
    folder: TempDir,
    _stack: Stack,
}

impl Servers {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let mut stack = Stack::new()?;
        stack.need(&[Service::Postgres])?;
        let options = EbapOptions {
            args: ["--memory-limit", MEMORY_LIMIT].map(str::to_owned).to_vec(),
            addresses_kb: Some(ADDRESSES_KB),
            ..EbapOptions::default()
        };
        let ebap = Ebap::start_with(options).await?;
        let address = |port: u16| Address {
            port,
            user: "ebap".to_owned(),
            password: "ebap".to_owned(),
            database: "ebap".to_owned(),
        };
        let servers = Self {
            ebap_address: address(ebap.pg_port),
            postgres_address: address(stack.postgres_port()),
            ebap: Mutex::new(ebap),
            folder: tempfile::tempdir().context("a folder for rows")?,
            _stack: stack,
        };
        servers.load()?;
        Ok(servers)
    }

    /// The table `d`, and the stream `e` of the same rows, in both.
    fn load(&self) -> anyhow::Result<()> {
        let (columns, rows) = (data::declaration(), data::rows(7));
        self.relation("d", &columns, &|path| created("TABLE", "d", &columns, path), &rows)?;
        let columns = columns.replace("PRIMARY KEY", "NOT NULL");
        self.relation("e", &columns, &|path| created("STREAM", "e", &columns, path), &rows)
    }

    /// A table of these rows in PostgreSQL, and what `create` makes of a file of them in EBAP.
    pub(crate) fn relation(
        &self,
        name: &str,
        columns: &str,
        create: &dyn Fn(&Path) -> String,
        rows: &[Map<String, Value>],
    ) -> anyhow::Result<()> {
        self.loaded(name, columns, create, rows, rows)
    }

    /// The same for a table whose records replace each other: `kept` is what they leave.
    pub(crate) fn loaded(
        &self,
        name: &str,
        columns: &str,
        create: &dyn Fn(&Path) -> String,
        rows: &[Map<String, Value>],
        kept: &[Map<String, Value>],
    ) -> anyhow::Result<()> {
        let path = self.folder.path().join(format!("{name}.jsonl"));
        std::fs::write(&path, lines(rows)).context("the rows")?;
        let mut pair = self.pair("UTC")?;
        done(pair.ebap(&create(&path)))?;
        self.kept(&mut pair, name, columns, kept)
    }

    /// Rows that come in several parts, each behind what the one before it has brought about.
    pub(crate) fn growing(
        &self,
        name: &str,
        columns: &str,
        create: &dyn Fn(&Path) -> String,
        rows: &[Map<String, Value>],
        parts: usize,
    ) -> anyhow::Result<()> {
        let path = self.folder.path().join(format!("{name}.jsonl"));
        let mut pair = self.pair("UTC")?;
        for (at, part) in rows.chunks(rows.len().div_ceil(parts.max(1))).enumerate() {
            let mut file = std::fs::File::options().create(true).append(true).open(&path).context("the rows")?;
            std::io::Write::write_all(&mut file, lines(part).as_bytes()).context("the rows")?;
            if at == 0 {
                done(pair.ebap(&create(&path)))?;
            }
            done(pair.ebap("FLUSH"))?;
        }
        self.kept(&mut pair, name, columns, rows)
    }

    /// The rows in PostgreSQL, and as many in EBAP.
    fn kept(&self, pair: &mut Pair<'_>, name: &str, columns: &str, kept: &[Map<String, Value>]) -> anyhow::Result<()> {
        done(pair.postgres(&format!("CREATE TABLE {name} ({columns})")))?;
        for row in kept {
            done(pair.postgres(&data::inserted(name, row)))?;
        }
        done(pair.ebap("FLUSH"))?;
        let (right, ours) = pair.both(&format!("SELECT count(*) FROM {name}"));
        if right != ours {
            let why = pair.ebap(&format!("SELECT reason FROM {name}$dlq"));
            bail!("{name} has other rows in EBAP: {right}, {ours}; {why}");
        }
        Ok(())
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn pair(&self, zone: &str) -> anyhow::Result<Pair<'_>> {
        let setup = vec![format!("SET TIME ZONE '{zone}'"), "SET statement_timeout = '30s'".to_owned()];
        let mut pair = Pair { servers: self, setup, postgres: None, ebap: None };
        let (right, ours) = pair.both("SELECT 1");
        match right == ours {
            true => Ok(pair),
            false => bail!("the servers do not answer: {right}, {ours}"),
        }
    }

    /// Starts EBAP again where it has ended; true where it had.
    fn revive(&self) -> anyhow::Result<bool> {
        let mut ebap = self.ebap.lock().map_err(|_| anyhow::anyhow!("another test has panicked"))?;
        if Session::connect(&self.ebap_address, PATIENCE).is_ok() {
            return Ok(false);
        }
        ebap.kill()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
        runtime.block_on(ebap.start_again())?;
        Ok(true)
    }
}

fn lines(rows: &[Map<String, Value>]) -> String {
    let lines: Vec<String> = rows.iter().map(|row| Value::Object(row.clone()).to_string() + "\n").collect();
    lines.concat()
}

/// The statement that makes a stream or a table of a file.
pub(crate) fn created(kind: &str, name: &str, columns: &str, path: &Path) -> String {
    format!("CREATE {kind} {name} ({columns}) WITH (connector = 'file', path = '{}', format = 'json')", path.display())
}

fn done(answer: Answer) -> anyhow::Result<()> {
    match answer {
        Answer::Rows(_) => Ok(()),
        other => bail!("{other}"),
    }
}

/// One session of each server.
pub(crate) struct Pair<'a> {
    servers: &'a Servers,
    setup: Vec<String>,
    postgres: Option<Session>,
    ebap: Option<Session>,
}

impl Pair<'_> {
    /// PostgreSQL's answer, then EBAP's.
    pub(crate) fn both(&mut self, sql: &str) -> (Answer, Answer) {
        (self.postgres(sql), self.ebap(sql))
    }

    pub(crate) fn postgres(&mut self, sql: &str) -> Answer {
        self.on_postgres(&|session| session.query(sql))
    }

    pub(crate) fn ebap(&mut self, sql: &str) -> Answer {
        self.on_ebap(&|session| session.query(sql))
    }

    pub(crate) fn on_postgres(&mut self, ask: &dyn Fn(&mut Session) -> Answer) -> Answer {
        let answer = asked(&mut self.postgres, &self.servers.postgres_address, &self.setup, ask);
        if matches!(answer, Answer::Lost(_)) {
            self.postgres = None;
        }
        answer
    }

    /// A server that has ended is started again, so that one fault does not hide the others.
    pub(crate) fn on_ebap(&mut self, ask: &dyn Fn(&mut Session) -> Answer) -> Answer {
        let answer = asked(&mut self.ebap, &self.servers.ebap_address, &self.setup, ask);
        let Answer::Lost(why) = answer else { return answer };
        self.ebap = None;
        match self.servers.revive() {
            Ok(true) => Answer::Lost(format!("the server ended ({why})")),
            Ok(false) => Answer::Lost(format!("the session ended ({why})")),
            Err(error) => Answer::Lost(format!("the server does not start again: {error:#}")),
        }
    }
}

fn asked(
    kept: &mut Option<Session>,
    address: &Address,
    setup: &[String],
    ask: &dyn Fn(&mut Session) -> Answer,
) -> Answer {
    let session = match kept {
        Some(session) => session,
        None => match Session::connect(address, PATIENCE) {
            Ok(mut session) => {
                for statement in setup {
                    if let answer @ (Answer::Lost(_) | Answer::Error(..)) = session.query(statement) {
                        return Answer::Lost(format!("{statement}: {answer}"));
                    }
                }
                kept.insert(session)
            }
            Err(error) => return Answer::Lost(format!("{error:#}")),
        },
    };
    ask(session)
}

/// Servers that several tests share, from the first that asks for them to the end of the run.
pub(crate) struct Shared(Mutex<Option<Arc<Servers>>>);

impl Shared {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(None))
    }

    pub(crate) fn servers(&self) -> anyhow::Result<Arc<Servers>> {
        let mut kept = self.0.lock().map_err(|_| anyhow::anyhow!("another test has panicked"))?;
        if let Some(servers) = &*kept {
            return Ok(Arc::clone(servers));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
        let servers = Arc::new(runtime.block_on(Servers::start())?);
        *kept = Some(Arc::clone(&servers));
        Ok(servers)
    }

    pub(crate) fn stop(&self) {
        if let Ok(mut kept) = self.0.lock() {
            *kept = None;
        }
    }
}
