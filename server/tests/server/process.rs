//! A server process of a test's own.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use tempfile::TempDir;
use tokio_postgres::{Client, Config, Connection, NoTls, SimpleQueryMessage, Socket, tls::NoTlsStream};

/// A stream without end, as long as nobody reads it.
pub(crate) const STREAM: &str = "CREATE STREAM orders (id BIGINT NOT NULL, region TEXT)
    WITH (connector = 'generator', rows = 1)";

/// Kilobytes of addresses that a server under test may have, so that what eats memory fails.
const ADDRESSES_KB: &str = "3000000";

/// Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    /// Lines up to the one that says that it is ready.
    pub(crate) said: Vec<String>,
    /// What came after them.
    log: Arc<Mutex<String>>,
    /// Collects it.
    reader: Option<thread::JoinHandle<()>>,
    pub(crate) folder: TempDir,
}

pub(crate) fn ebap() -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v \"$1\"; shift; exec \"$@\"", "sh", ADDRESSES_KB, env!("CARGO_BIN_EXE_ebap")]);
    // Settings of whoever runs the tests are none of theirs.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("EBAP_")) {
        command.env_remove(name);
    }
    command
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with these variables of the environment, and waits until it is ready.
    pub(crate) fn start_with(environment: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), environment)
    }

    /// The same where another one has ended.
    pub(crate) fn start_in(folder: TempDir, environment: &[(&str, &str)]) -> Self {
        let mut child = ebap()
            .args(["server", "--pg-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path().join("data"))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let mut said = Vec::new();
        let url = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let url = line.strip_prefix("ebap is ready: psql \"").map(|url| url.trim_end_matches('"').to_owned());
            said.push(line);
            url
        });
        let url = url.unwrap_or_else(|| panic!("it does not say that it is ready: {said:?}"));
        let log = Arc::new(Mutex::new(String::new()));
        let collected = Arc::clone(&log);
        let reader = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = collected.lock().expect("no panic");
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, url, said, log, reader: Some(reader), folder }
    }

    pub(crate) fn config(&self) -> Config {
        self.url.parse().expect("a URL")
    }

    pub(crate) fn address(&self) -> String {
        let address = self.url.split(['@', '/']).nth(3);
        address.expect("a URL with an address").to_owned()
    }

    pub(crate) async fn open(&self) -> (Client, Connection<Socket, NoTlsStream>) {
        self.config().connect(NoTls).await.expect("a connection")
    }

    pub(crate) async fn connect(&self) -> Client {
        let (client, connection) = self.open().await;
        // Ends with the client.
        tokio::spawn(connection);
        client
    }

    /// Asks the server to end, as a supervisor does.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// `STOP` lets it sleep, `CONT` wakes it.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill is there").success());
    }

    /// Asks it to end, and gives whether it did so in order.
    pub(crate) fn ends(&mut self) -> bool {
        self.terminate();
        self.child.wait().expect("it ends").success()
    }

    /// Ends it; gives what it has logged.
    pub(crate) fn log(mut self) -> String {
        assert!(self.ends(), "it ends in order");
        self.reader.take().expect("it is read once").join().expect("no panic");
        std::mem::take(&mut self.log.lock().expect("no panic"))
    }

    pub(crate) fn has_logged(&self, text: &str) -> bool {
        self.log.lock().expect("no panic").contains(text)
    }

    /// Ends it, and starts another one in its folder.
    pub(crate) fn restart(mut self, environment: &[(&str, &str)]) -> Self {
        assert!(self.ends(), "it ends in order");
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a folder"));
        Self::start_in(folder, environment)
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("a folder");
        fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already where a test ended it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Rows of a simple query, as text.
pub(crate) async fn rows(client: &Client, sql: &str) -> Vec<Vec<String>> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).unwrap_or("NULL").to_owned()).collect())
        }
        _ => None,
    });
    rows.collect()
}

/// The first value of a simple query.
pub(crate) async fn value(client: &Client, sql: &str) -> String {
    rows(client, sql).await.swap_remove(0).swap_remove(0)
}

/// SQLSTATE and message of a failure.
pub(crate) fn told(error: &tokio_postgres::Error) -> (String, String) {
    let error = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
    (error.code().code().to_owned(), error.message().to_owned())
}

/// SQLSTATE and message of a statement that fails.
pub(crate) async fn failure(client: &Client, sql: &str) -> (String, String) {
    told(&client.simple_query(sql).await.err().unwrap_or_else(|| panic!("{sql} does not fail")))
}

pub(crate) fn error(code: &str, message: &str) -> (String, String) {
    (code.to_owned(), message.to_owned())
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command printed, and whether it succeeded.
pub(crate) fn printed(output: &Output) -> (bool, String) {
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}
