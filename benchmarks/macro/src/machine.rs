//! What a figure was measured on, and what `/proc` says of processes.

use std::{fs, path::PathBuf, process::Command};

use serde_json::{Value, json};

/// USER_HZ is 100 on every Linux there is.
const TICKS_PER_SECOND: f64 = 100.0;

/// The commit of this folder, with a `+` where files differ from it.
pub(crate) fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let changed = git(&["status", "--porcelain"])?;
    Some(git(&["rev-parse", "--short=12", "HEAD"])? + if changed.is_empty() { "" } else { "+" })
}

/// The time of the clock, to the second.
pub(crate) fn now_text() -> String {
    chrono::DateTime::from_timestamp_micros(ebap_connector::time::now_us())
        .map_or_else(String::new, |now| now.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Load is that of the last minute, so it includes the benchmark itself.
pub(crate) fn describe() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu_info = read("/proc/cpuinfo");
    let field = |text: &str, name: &str| {
        text.lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| line.split_once(':'))
            .map(|(_, v)| v.trim().to_owned())
    };
    json!({
        "cpu": field(&cpu_info, "model name"),
        "cores": std::thread::available_parallelism().map(usize::from).unwrap_or(0),
        "memory": field(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load": read("/proc/loadavg").trim(),
    })
}

/// Load of the last minute.
pub(crate) fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// CPU seconds, user and system, that a process has used, its threads included.
pub(crate) fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks / TICKS_PER_SECOND)
}

/// CPU seconds for which any core did anything since the machine started.
pub(crate) fn busy_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let ticks: Vec<f64> =
        stat.lines().next()?.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is in user and nice already.
    let (all, idle) = (ticks.iter().take(8).sum::<f64>(), ticks.get(3)? + ticks.get(4)?);
    Some((all - idle) / TICKS_PER_SECOND)
}

/// Memory that a process holds now, MiB.
pub(crate) fn rss_mib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1_024)
}

/// The process that `tests/stack/kafka.sh` started on this port.
pub(crate) fn broker_pid(bootstrap: &str) -> Option<u32> {
    let port = bootstrap.rsplit_once(':')?.1;
    let home = std::env::var_os("STACK_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/ebap-stack")))?;
    let file = fs::read_to_string(home.join(format!("data/kafka-{port}-n1/node-1.pid"))).ok()?;
    file.split_whitespace().next()?.parse().ok()
}
