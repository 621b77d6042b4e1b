//! Clients from their registries, on EBAP over TLS with SCRAM and on a real PostgreSQL.

use std::process::Command;

use anyhow::{Context, ensure};
use ebap_tests::process::{ebap_bin, tests_dir};

use super::{Run, servers::Servers};

/// Python's: each check gives the same on both. What differs is printed.
pub(crate) fn python(servers: &Servers, _: Run) -> anyhow::Result<()> {
    let folder = Command::new("bash").arg(tests_dir().join("stack/python-clients.sh")).arg("path").output();
    let folder = folder.context("bash is not there")?;
    ensure!(folder.status.success(), "{}", String::from_utf8_lossy(&folder.stderr));
    let postgres = &servers.postgres_address;
    let mut clients = Command::new("python3");
    clients.arg(tests_dir().join("clients/clients.py"));
    clients.env("PYTHONPATH", String::from_utf8_lossy(&folder.stdout).trim());
    clients.env("EBAP_BIN", ebap_bin()?);
    clients.env("PGHOST", "127.0.0.1").env("PGPORT", postgres.port.to_string()).env("PGUSER", &postgres.user);
    clients.env("PGPASSWORD", &postgres.password).env("PGDATABASE", &postgres.database);
    let output = clients.output().context("python3 is not there")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
