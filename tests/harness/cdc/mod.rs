//! Rows of a table of PostgreSQL on their way by Debezium, Kafka Connect and Kafka, and what events have met of them.
//!
//! ```text
//! People ──> PostgreSQL ──> topic of changes ──> EBAP's table ──+
//!    |                            |                             +──> view: what each event met
//!    |                       History <── compared with ──────── |
//!    +──── the last rows, compared with what a last round met ──+        events
//! ```

mod history;
mod people;

use std::{path::PathBuf, process::Command};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

pub use history::{History, Met, all_met, met_once};
pub use people::{Change, People, Row};

use crate::process;

fn docker(path: &str) -> PathBuf {
    process::tests_dir().join("../docker").join(path)
}

/// The connector that is documented, of `public.users` into `ebap.cdc.users`.
pub fn users_json() -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(docker("connect/users.json")).context("users.json")?;
    serde_json::from_str(&text).context("users.json")
}

/// The same of another table, into `NAME.cdc.TABLE`.
pub fn connector_of(name: &str, table: &str) -> anyhow::Result<Value> {
    let mut config = users_json()?;
    for (key, value) in [
        ("slot.name", format!("ebap_{name}")),
        ("publication.name", format!("ebap_{name}")),
        ("table.include.list", format!("public.{table}")),
        ("topic.prefix", name.to_owned()),
        ("transforms.route.regex", format!(r"{name}\.public\.(.*)")),
        ("transforms.route.replacement", format!("{name}.cdc.$1")),
    ] {
        config[key] = json!(value);
    }
    Ok(config)
}

/// Registers the connector of this configuration as an operator would.
pub fn register(connect_url: &str, name: &str, config: &Value) -> anyhow::Result<()> {
    let file = tempfile::NamedTempFile::new().context("a file for the configuration")?;
    std::fs::write(file.path(), config.to_string()).context("the configuration")?;
    let output = Command::new("bash")
        .arg(docker("connect/register.sh"))
        .arg(name)
        .arg(file.path())
        .env("CONNECT_URL", connect_url)
        .output()
        .context("register.sh")?;
    ensure!(output.status.success(), "register.sh: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
