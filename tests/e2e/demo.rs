//! The first thing a stranger does.

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use ebap_tests::{process, rows, server, wait};

pub(crate) async fn a_fresh_demo_shows_live_rows() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (pg_port, http_port) = (process::free_port()?, process::free_port()?);
    let child = Command::new(process::ebap_bin()?)
        .args(["demo", "--for", "20s", "--pg-listen", &format!("127.0.0.1:{pg_port}")])
        .args(["--http-listen", &format!("127.0.0.1:{http_port}"), "--data-dir"])
        .arg(folder.path().join("data"))
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("ebap demo")?;
    // Ends by itself; a failure below must not leave it behind for longer than that.
    let seen = live_rows(pg_port).await;
    let output = child.wait_with_output().context("ebap demo")?;
    let shown = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    seen.with_context(|| shown.clone())?;
    ensure!(output.status.success(), "ebap demo: {}\n{shown}", output.status);
    ensure!(shown.contains("psql") && shown.contains(&pg_port.to_string()), "no line for psql:\n{shown}");
    ensure!(!shown.contains('\u{1b}'), "control characters where there is no terminal:\n{shown}");
    Ok(())
}

async fn live_rows(pg_port: u16) -> anyhow::Result<()> {
    let client =
        wait::until("the demo listens", wait::PATIENCE, async || Ok(server::connect(pg_port).await.ok())).await?;
    let count = "SELECT CAST(coalesce(sum(events), 0) AS BIGINT) FROM activity WHERE window_size = INTERVAL '1 minute'";
    let counted = async |more_than: i64| {
        wait::until("the view grows", wait::PATIENCE, async || {
            // The migrations may still be running.
            let events = rows::number(&client, count).await.unwrap_or(0);
            Ok((events > more_than).then_some(events))
        })
        .await
    };
    let first = counted(0).await?;
    counted(first).await?;
    for view in ["active_users_now", "cart_abandonment", "regional_health"] {
        let select = format!("SELECT * FROM {view}");
        // The migrations may still be running here too.
        wait::until(view, wait::PATIENCE, async || Ok(rows::texts(&client, &select).await.ok())).await?;
    }
    Ok(())
}
