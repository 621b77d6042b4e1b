//! Clients from their registries, on EBAP over TLS with SCRAM and on a real PostgreSQL.

use std::process::Command;

use anyhow::{Context, ensure};
use ebap_tests::process::{ebap_bin, tests_dir};

use super::{Run, servers::Servers};

/// Each check gives the same on both. What differs is printed.
pub(crate) fn all(servers: &Servers, _: Run) -> anyhow::Result<()> {
    let places = Command::new("bash").arg(tests_dir().join("stack/clients.sh")).arg("env").output();
    let places = places.context("bash is not there")?;
    ensure!(places.status.success(), "{}", String::from_utf8_lossy(&places.stderr));
    let postgres = &servers.postgres_address;
    let mut clients = Command::new("python3");
    clients.arg(tests_dir().join("clients/clients.py")).env("EBAP_BIN", ebap_bin()?);
    clients.envs(String::from_utf8_lossy(&places.stdout).lines().filter_map(|line| line.split_once('=')));
    clients.env("PGHOST", "127.0.0.1").env("PGPORT", postgres.port.to_string()).env("PGUSER", &postgres.user);
    clients.env("PGPASSWORD", &postgres.password).env("PGDATABASE", &postgres.database);
    let output = clients.output().context("python3 is not there")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
