//! A real `ebap server` on ports of its own.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_postgres::{Client, NoTls};

use crate::{process, wait};

/// Kilobytes of addresses that a server may have, so that what eats memory fails.
const ADDRESSES_KB: u64 = 4_000_000;

/// How a server is started.
#[derive(Debug, Default)]
pub struct EbapOptions {
    /// None: a new one that goes with the server.
    pub data_dir: Option<PathBuf>,
    /// More arguments of `ebap server`.
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Where relative paths in SQL begin; None: the folder `tests/`.
    pub work_dir: Option<PathBuf>,
    /// Kilobytes of addresses; None: what every other server of the tests has.
    pub addresses_kb: Option<u64>,
}

/// Killed when dropped. After a failed test the end of its log is shown.
#[derive(Debug)]
pub struct Ebap {
    child: Option<Child>,
    options: EbapOptions,
    data_dir: PathBuf,
    log: PathBuf,
    pub pg_port: u16,
    pub http_port: u16,
    _own_dir: TempDir,
}

impl Ebap {
    /// Starts a server on an empty data directory and waits until it is ready.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(EbapOptions::default()).await
    }

    pub async fn start_with(options: EbapOptions) -> anyhow::Result<Self> {
        let own_dir = tempfile::Builder::new().prefix("ebap-test-").tempdir().context("a data directory")?;
        let data_dir = options.data_dir.clone().unwrap_or_else(|| own_dir.path().join("data"));
        let log = own_dir.path().join("ebap.log");
        let (pg_port, http_port) = (process::free_port()?, process::free_port()?);
        let mut server = Self { child: None, options, data_dir, log, pg_port, http_port, _own_dir: own_dir };
        server.start_again().await?;
        Ok(server)
    }

    /// Starts it on the same data directory and ports, after it ended.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log).context("the log")?;
        let child = Command::new("sh")
            .args(["-c", "ulimit -v \"$1\"; shift; exec \"$@\"", "sh"])
            .arg(self.options.addresses_kb.unwrap_or(ADDRESSES_KB).to_string())
            .arg(process::ebap_bin()?)
            .arg("server")
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(["--pg-listen", &format!("127.0.0.1:{}", self.pg_port)])
            .args(["--http-listen", &format!("127.0.0.1:{}", self.http_port)])
            .args(&self.options.args)
            .envs(self.options.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.options.work_dir.clone().unwrap_or_else(process::tests_dir))
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("the log")?)
            .stderr(log)
            .spawn()
            .context("ebap server does not start")?;
        self.child = Some(child);
        let port = self.http_port;
        let began = wait::until("the server is ready", wait::PATIENCE, async || {
            if let Some(status) = self.exited()? {
                bail!("the server ended while it was starting: {status}");
            }
            Ok(http_status(port, "/readyz").await.filter(|status| *status == 200))
        });
        began.await.with_context(|| process::tail(&self.log))?;
        Ok(())
    }

    fn exited(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.as_mut().map_or(Ok(None), |child| child.try_wait().context("wait"))
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn url(&self) -> String {
        format!("postgres://ebap@127.0.0.1:{}/ebap", self.pg_port)
    }

    /// A session of its own.
    pub async fn connect(&self) -> anyhow::Result<Client> {
        connect(self.pg_port).await
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().context("kill -9")?;
            child.wait().context("wait")?;
        }
        Ok(())
    }

    /// `SIGTERM`; gives how it ended.
    pub async fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        let child = self.child.as_ref().context("the server is not running")?;
        process::signal(child, "TERM")?;
        let status = wait::until("the server ends", wait::PATIENCE, async || self.exited()).await;
        let status = status.with_context(|| process::tail(&self.log))?;
        self.child = None;
        Ok(status)
    }

    /// The text of an HTTP path.
    pub async fn http(&self, path: &str) -> anyhow::Result<(u16, String)> {
        http_get(self.http_port, path).await
    }
}

impl Drop for Ebap {
    fn drop(&mut self) {
        if self.kill().is_err() || std::thread::panicking() {
            // No println in libraries; a test binary's stderr is where its reader looks.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), process::tail(&self.log).as_bytes());
        }
    }
}

/// `ebap generate` into a topic.
pub fn generate(bootstrap: &str, topic: &str, args: &[&str]) -> anyhow::Result<()> {
    let command = ["generate", "--bootstrap-servers", bootstrap, "--topic", topic];
    let output = Command::new(process::ebap_bin()?).args(command).args(args).output().context("ebap generate")?;
    ensure!(output.status.success(), "ebap generate: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A session on a port of the loopback interface.
pub async fn connect(pg_port: u16) -> anyhow::Result<Client> {
    let config = format!("host=127.0.0.1 port={pg_port} user=ebap dbname=ebap connect_timeout=30");
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.context("connect to ebap")?;
    // Ends with the client; a lost connection shows in the client's next call.
    tokio::spawn(connection);
    Ok(client)
}

async fn http_status(port: u16, path: &str) -> Option<u16> {
    http_get(port, path).await.ok().map(|(status, _)| status)
}

async fn http_get(port: u16, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no HTTP status")?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}
