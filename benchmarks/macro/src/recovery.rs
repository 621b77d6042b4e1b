//! `kill -9` with many keys of state: how long until the server answers from that state again, and how
//! long until it has caught up with what was produced meanwhile.

use std::{fmt::Write, fs, path::Path};

use anyhow::ensure;
use ebap_connector::time;
use ebap_tests::{Ebap, rows, wait};
use serde_json::json;

use crate::{bench::Bench, events::Draw, machine, meter::round, server, topic::Filler};

/// 2026-01-01T00:00:00Z.
const FIRST_MS: u64 = 1_767_225_600_000;
/// Of the keys, as many records come while the server is down.
const BACKLOG_SHARE: u64 = 2;

pub(crate) async fn run(bench: &Bench) -> anyhow::Result<()> {
    for run in 1..=bench.args.runs {
        run_once(bench, run).await?;
    }
    Ok(())
}

async fn run_once(bench: &Bench, run: usize) -> anyhow::Result<()> {
    let (keys, topic) = (bench.args.keys, format!("bench-keys-{}", time::now_us()));
    ensure!(keys > 0, "--keys 0 leaves nothing to recover");
    bench.create_topic(&topic).await?;
    // Each key once, then some again, as state is more than what the last delta holds.
    fill(bench, &topic, (0..keys).chain((0..keys).map(|row| Draw::new(row).below(keys))))?;

    let mut ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    let stream = format!(
        "CREATE STREAM payments (user_id TEXT, amount DOUBLE, at TIMESTAMPTZ NOT NULL,
            WATERMARK FOR at AS at - INTERVAL '10 seconds')
         WITH (connector = 'kafka', bootstrap_servers = '{}', topic = '{topic}', format = 'json')",
        bench.bootstrap
    );
    let view = "CREATE MATERIALIZED VIEW totals AS
        SELECT user_id, count(*) AS payments, sum(amount) AS amount FROM payments GROUP BY user_id";
    let began_us = time::now_us();
    server::create(&client, &[stream, view.to_owned()]).await?;
    rows::execute(&client, &["FLUSH"]).await?;
    let checkpoints = server::checkpoints(&client, "payments", began_us).await?;
    ensure!(rows::number(&client, "SELECT count(*) FROM totals").await? == i64::try_from(keys)?, "keys are missing");
    let rss_mib = ebap.pid().and_then(machine::rss_mib);
    ebap.kill()?;
    drop(client);
    let backlog = keys / BACKLOG_SHARE;
    fill(bench, &topic, (0..backlog).map(|row| Draw::new(!row).below(keys)))?;
    let state_bytes = folder_bytes(ebap.data_dir());

    let began = time::instant();
    ebap.start_again().await?;
    let ready = began.elapsed().as_secs_f64();
    let client = ebap.connect().await?;
    let lookup = format!("SELECT payments FROM totals WHERE user_id = 'user-{}'", keys / 2);
    wait::until_busy("the state is served", wait::PATIENCE, async || {
        Ok(rows::texts(&client, &lookup).await.ok().filter(|rows| !rows.is_empty()))
    })
    .await?;
    let serving = began.elapsed().as_secs_f64();
    rows::execute(&client, &["FLUSH"]).await?;
    let caught_up = began.elapsed().as_secs_f64();
    let counted = rows::number(&client, "SELECT CAST(sum(payments) AS BIGINT) FROM totals").await?;
    let wanted = i64::try_from(2 * keys + backlog)?;
    let figures = json!({
        "run": run,
        "keys": keys,
        "backlog": backlog,
        "ready_seconds": round(ready, 3),
        "serving_seconds": round(serving, 3),
        "caught_up_seconds": round(caught_up, 3),
        "correct": counted == wanted,
        "note": (counted != wanted).then(|| format!("{counted} payments instead of {wanted}")),
        "data_dir_bytes": state_bytes,
        "rss_mib_before": rss_mib,
        "rss_mib_after": ebap.pid().and_then(machine::rss_mib),
    });
    bench.report("ebap", "recovery", crate::meter::merge(checkpoints, figures))
}

fn fill(bench: &Bench, topic: &str, users: impl Iterator<Item = u64>) -> anyhow::Result<()> {
    let mut filler = Filler::connect(&bench.bootstrap, topic)?;
    let (mut key, mut value) = (String::new(), String::new());
    for (row, user) in users.enumerate() {
        key.clear();
        value.clear();
        write!(key, "user-{user}")?;
        let at_ms = FIRST_MS + row as u64 / 20;
        write!(value, r#"{{"user_id":"{key}","amount":{}.25,"at":{at_ms}}}"#, user % 500)?;
        filler.send(None, &key, &value)?;
    }
    filler.flush()
}

fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => folder_bytes(&entry.path()),
        _ => entry.metadata().map_or(0, |metadata| metadata.len()),
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_round_of_keys_stays_among_them() {
        assert!((0..1_000).all(|row| Draw::new(row).below(10) < 10));
        assert!((0..100).map(|row| Draw::new(!row).below(10)).any(|key| key != 0));
    }

    #[test]
    fn a_folder_weighs_what_its_files_do() {
        let folder = std::env::temp_dir().join(format!("ebap-bench-{}", std::process::id()));
        fs::create_dir_all(folder.join("inner")).expect("a folder");
        fs::write(folder.join("inner/file"), b"12345").expect("a file");
        let bytes = folder_bytes(&folder);
        fs::remove_dir_all(&folder).expect("clean up");
        assert_eq!(bytes, 5);
    }
}
