//! Child processes and ports.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::{Context, bail};

/// Lines of a log that an error shows.
const LOG_LINES_SHOWN: usize = 40;

/// The folder `tests/`.
pub fn tests_dir() -> PathBuf {
    // What cargo says now: a build cache may be shared by clones, and the path of another be compiled in.
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

/// The binary under test: `EBAP_BIN`, else the one beside this test in the target folder.
pub fn ebap_bin() -> anyhow::Result<PathBuf> {
    let bin = match std::env::var_os("EBAP_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let here = std::env::current_exe().context("the path of this test")?;
            let target = here.parent().and_then(Path::parent).context("tests lie in target/PROFILE/deps")?;
            target.join("ebap")
        }
    };
    if !bin.is_file() {
        bail!("{} does not exist: run `cargo build -p ebap-server` first, or set EBAP_BIN", bin.display());
    }
    Ok(bin)
}

/// Below the range from which the system gives ports to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// A port of the loopback interface that nobody listens on now, and that no other test of this process
/// is given.
pub fn free_port() -> anyhow::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = PORTS.end - PORTS.start;
    // Test binaries that run at once start at different places.
    let first = (std::process::id() % 50) as u16 * 200;
    for _ in 0..span {
        let port = PORTS.start + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % span;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port in {PORTS:?}")
}

/// A free port whose neighbour at this distance is free too.
pub fn free_port_with(distance: u16) -> anyhow::Result<u16> {
    for _ in 0..100 {
        let port = free_port()?;
        let neighbour = port.checked_add(distance);
        if neighbour.is_some_and(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return Ok(port);
        }
    }
    bail!("no two free ports {distance} apart")
}

/// Sends a signal by name to this process alone.
pub fn signal(child: &Child, name: &str) -> anyhow::Result<()> {
    let status = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().context("kill")?;
    if !status.success() {
        bail!("signal {name} could not be sent to process {}", child.id());
    }
    Ok(())
}

/// The end of a log, for an error message.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LOG_LINES_SHOWN);
    format!("end of {}:\n{}", log.display(), lines[from..].join("\n"))
}
