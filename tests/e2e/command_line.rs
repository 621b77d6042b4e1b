//! `ebap check`, `ebap migrate`, `ebap server --print-config`.

use std::{
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context, ensure};
use ebap_tests::{Ebap, process, rows};

const STREAM: &str = "CREATE STREAM ticks (n BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL,
    WATERMARK FOR at AS at - INTERVAL '1 second') WITH (connector = 'generator', rows = 10);\n";
const VIEW: &str = "CREATE MATERIALIZED VIEW tick_count AS SELECT count(*) AS ticks FROM ticks;\n";

fn ebap(args: &[&str]) -> anyhow::Result<(bool, String)> {
    let Output { status, stdout, stderr } = Command::new(process::ebap_bin()?).args(args).output().context("ebap")?;
    Ok((status.success(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr))))
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path of plain text")
}

/// Whether `ebap check` passes these statements, and what it says.
pub(crate) fn check(sql: &str) -> anyhow::Result<(bool, String)> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("some.sql");
    std::fs::write(&file, sql)?;
    ebap(&["check", text(&file)?])
}

pub(crate) async fn check_names_the_place() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (good, bad) = (folder.path().join("good.sql"), folder.path().join("bad.sql"));
    std::fs::write(&good, format!("{STREAM}{VIEW}"))?;
    std::fs::write(&bad, format!("{STREAM}\nCREATE MATERIALIZED VIEW v AS\nSELECT nn FROM ticks;\n"))?;
    let (fine, shown) = ebap(&["check", text(&good)?])?;
    ensure!(fine, "a good file is refused: {shown}");
    let (fine, shown) = ebap(&["check", text(&bad)?])?;
    ensure!(!fine, "a bad file passes: {shown}");
    // The statement begins in line 4; the column is named in line 5 at 8.
    for part in ["bad.sql:5:8", "42703", "nn"] {
        ensure!(shown.contains(part), "{part} is not in: {shown}");
    }
    Ok(())
}

pub(crate) async fn print_config_shows_each_origin() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("ebap.toml");
    std::fs::write(&file, "data_dir = \"/var/lib/from-file\"\n")?;
    let output = Command::new(process::ebap_bin()?)
        .args(["server", "--print-config", "--config", text(&file)?, "--pg-listen", "127.0.0.1:5999"])
        .env("EBAP_HTTP_LISTEN", "127.0.0.1:8999")
        .output()
        .context("ebap server --print-config")?;
    let shown = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (value, origin) in
        [("/var/lib/from-file", "ebap.toml"), ("127.0.0.1:5999", "--pg-listen"), ("127.0.0.1:8999", "EBAP_HTTP_LISTEN")]
    {
        let line =
            shown.lines().find(|line| line.contains(value)).with_context(|| format!("no {value} in:\n{shown}"))?;
        ensure!(line.contains(origin), "the origin {origin} is not in: {line}");
    }
    Ok(())
}

pub(crate) async fn migrations_are_applied_once() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str, sql: &str| std::fs::write(folder.path().join(name), sql).context("a migration");
    let server = Ebap::start().await?;
    let client = server.connect().await?;
    let url = server.url();
    let dir = text(folder.path())?;
    let migrate = |more: &[&str]| ebap(&[&["migrate", "--dir", dir, "--url", &url], more].concat());
    let relations = async || rows::texts(&client, "SELECT name FROM ebap.jobs ORDER BY name").await;
    let applied = async || rows::texts(&client, "SELECT name FROM ebap.schema_migrations ORDER BY name").await;

    file("0001_ticks.sql", STREAM)?;
    let (fine, shown) = migrate(&["--dry-run"])?;
    ensure!(fine && shown.contains("0001_ticks"), "dry run: {shown}");
    ensure!(applied().await?.is_empty(), "a dry run applied something");

    let (fine, shown) = migrate(&[])?;
    ensure!(fine, "{shown}");
    let (fine, shown) = migrate(&[])?;
    ensure!(fine, "applying twice: {shown}");
    ensure!(applied().await?.len() == 1, "{:?}", applied().await?);

    // The second statement of the file fails, so its first must leave nothing.
    file("0002_views.sql", &format!("{VIEW}\nCREATE MATERIALIZED VIEW broken AS SELECT nn FROM ticks;\n"))?;
    let (fine, shown) = migrate(&[])?;
    ensure!(!fine && shown.contains("0002_views.sql:3:"), "the place is not named: {shown}");
    ensure!(applied().await?.len() == 1, "a failed file counts as applied");
    ensure!(relations().await? == [["ticks"]], "half a file was applied: {:?}", relations().await?);

    file("0002_views.sql", VIEW)?;
    let (fine, shown) = migrate(&[])?;
    ensure!(fine, "{shown}");
    ensure!(relations().await? == [["tick_count"], ["ticks"]], "{:?}", relations().await?);

    file("0001_ticks.sql", &format!("-- changed\n{STREAM}"))?;
    let (fine, shown) = migrate(&[])?;
    ensure!(!fine && shown.contains("0001_ticks"), "a changed file is accepted: {shown}");
    Ok(())
}
