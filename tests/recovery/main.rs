//! Recovery equivalence: a server that is killed again and again ends with the answer of a batch
//! query over the same records, and with every record accounted for once.
//!
//! Here the real binary dies, on a real disk. What the properties are, one by one, and deaths at listed
//! points and among faults of the store: `sql/stream/src/testing/sim/properties`.
//! `EBAP_RECOVERY_KILLS` sets how often the server is killed.

mod kafka_sink;
mod made_anew;
mod redis_sink;

use std::{process::ExitCode, sync::Arc};

use anyhow::{Context, ensure};
use ebap_tests::{Ebap, EbapOptions, rows, trials, wait};
use tokio_postgres::Client;

const ROWS: i64 = 300_000;
const KILLS_DEFAULT: i64 = 4;

const STREAM: &str = "CREATE STREAM events (id UUID NOT NULL, user_id TEXT NOT NULL, action TEXT NOT NULL,
        metadata STRUCT<amount DOUBLE, platform TEXT>, timestamp TIMESTAMPTZ NOT NULL,
        WATERMARK FOR timestamp AS timestamp - INTERVAL '5 seconds')
    WITH (connector = 'generator', dataset = 'ebap.events', rows = 300000, event_rate = 100, splits = 3, seed = 11,
        late_share = 0.02, bad_share = 0.01, late_by = '10 minutes')";

/// A view, and the batch query over the stream that it must equal. Sums are of whole cents, as those
/// of floats depend on their order.
struct Case {
    view: &'static str,
    batch: &'static str,
}

const CASES: [Case; 4] = [
    Case {
        view: "SELECT metadata['platform'] AS platform, action, count(*) AS events, count(DISTINCT user_id) AS users,
                      sum(CAST(round(metadata['amount'] * 100) AS BIGINT)) AS cents
               FROM events GROUP BY metadata['platform'], action
               WINDOW TUMBLE (timestamp, INTERVAL '1 minute')",
        batch: "SELECT metadata['platform'] AS platform, action, count(*) AS events, count(DISTINCT user_id) AS users,
                       sum(CAST(round(metadata['amount'] * 100) AS BIGINT)) AS cents,
                       date_bin(INTERVAL '1 minute', timestamp) AS window_start
                FROM events WHERE NOT _late OR date_bin(INTERVAL '1 minute', timestamp) + INTERVAL '1 minute' > _watermark
                GROUP BY metadata['platform'], action, date_bin(INTERVAL '1 minute', timestamp)",
    },
    Case {
        view: "SELECT action, min(user_id) AS first_user, max(metadata['amount']) AS most, count(*) FILTER (WHERE
                      metadata['amount'] > 100) AS large
               FROM events GROUP BY action",
        batch: "SELECT action, min(user_id) AS first_user, max(metadata['amount']) AS most, count(*) FILTER (WHERE
                       metadata['amount'] > 100) AS large
                FROM events GROUP BY action",
    },
    Case {
        view: "SELECT user_id, count(*) AS events FROM events GROUP BY user_id HAVING count(*) > 30",
        batch: "SELECT user_id, count(*) AS events FROM events GROUP BY user_id HAVING count(*) > 30",
    },
    Case {
        view: "SELECT id, action FROM events WHERE action = 'purchase'",
        batch: "SELECT id, action FROM events WHERE action = 'purchase'",
    },
];

fn main() -> ExitCode {
    let kills = std::env::var("EBAP_RECOVERY_KILLS").ok();
    let kills = kills.map_or(KILLS_DEFAULT, |kills| kills.parse().expect("a number of kills"));
    let nothing = Arc::new(());
    let services = Arc::new(made_anew::Services::default());
    let outcome = trials::run(vec![
        trials::trial("an_unbroken_run_equals_the_batch_answer", &nothing, |_| run(0)),
        trials::trial("a_run_killed_again_and_again_equals_the_batch_answer", &nothing, move |_| run(kills)),
        trials::trial("redis_ends_with_the_batch_answer_whatever_is_killed", &nothing, move |_| redis_sink::run(kills)),
        trials::trial("kafka_ends_with_each_result_once_whatever_is_killed", &nothing, move |_| kafka_sink::run(kills)),
        trials::trial("views_made_anew_are_whole", &nothing, |_| made_anew::views_made_anew_are_whole()),
        trials::trial("streams_made_anew_are_whole", &services, |services| {
            made_anew::streams_made_anew_are_whole(services)
        }),
        trials::trial("sinks_made_anew_have_the_whole_view", &services, |services| {
            made_anew::sinks_made_anew_have_the_whole_view(services)
        }),
        trials::trial("a_run_that_is_asked_to_end_goes_on_where_it_was", &nothing, |_| ends_and_goes_on()),
    ]);
    // The last holder: ends the services.
    drop(services);
    outcome
}

async fn create(client: &Client) -> anyhow::Result<()> {
    rows::execute(client, &[STREAM]).await?;
    for (number, case) in CASES.iter().enumerate() {
        rows::execute(client, &[&format!("CREATE MATERIALIZED VIEW v{number} AS {}", case.view)]).await?;
    }
    Ok(())
}

/// Epochs follow each other closely, so that kills fall into all that happens between two of them.
fn options(data: &tempfile::TempDir) -> EbapOptions {
    EbapOptions {
        data_dir: Some(data.path().join("data")),
        env: vec![("EBAP_CHECKPOINT_INTERVAL".to_owned(), "20ms".to_owned())],
        ..EbapOptions::default()
    }
}

/// What is read before the kill of this number: another part each time, so that the kills are spread whatever the speed.
fn rows_before(kill: i64, kills: i64) -> i64 {
    let part = ROWS / (kills + 2);
    // A prime to spread them within a part too.
    part * kill + kill * 7_919 % part
}

async fn run(kills: i64) -> anyhow::Result<()> {
    let data = tempfile::tempdir().context("a data directory")?;
    let mut ebap = Ebap::start_with(options(&data)).await?;
    create(&ebap.connect().await?).await?;
    for kill in 1..=kills {
        read_at_least(&ebap.connect().await?, rows_before(kill, kills)).await?;
        ebap.kill()?;
        ebap.start_again().await?;
    }
    verify(&ebap.connect().await?).await
}

async fn ends_and_goes_on() -> anyhow::Result<()> {
    let mut ebap = Ebap::start().await?;
    create(&ebap.connect().await?).await?;
    read_at_least(&ebap.connect().await?, ROWS / 3).await?;
    let status = ebap.terminate().await?;
    ensure!(status.success(), "SIGTERM: {status}");
    ebap.start_again().await?;
    verify(&ebap.connect().await?).await
}

async fn read_at_least(client: &Client, wanted: i64) -> anyhow::Result<()> {
    let sql = "SELECT CAST(coalesce(sum(\"offset\"), 0) AS BIGINT) FROM ebap.splits WHERE source = 'events'";
    wait::until("so many records are read", wait::PATIENCE, async || {
        Ok((rows::number(client, sql).await? >= wanted).then_some(()))
    })
    .await
}

async fn verify(client: &Client) -> anyhow::Result<()> {
    rows::execute(client, &["FLUSH"]).await?;
    for (number, case) in CASES.iter().enumerate() {
        let columns: Vec<String> = rows::texts(
            client,
            &format!("SELECT column_name FROM information_schema.columns WHERE table_name = 'v{number}'"),
        )
        .await?
        .into_iter()
        .flatten()
        .filter(|column| !["window_end", "window_size"].contains(&column.as_str()))
        .collect();
        ensure!(!columns.is_empty(), "v{number} has no columns");
        let columns = columns.join(", ");
        let sorted = async |from: String| {
            let mut rows = rows::texts(client, &format!("SELECT {columns} FROM {from}")).await?;
            rows.sort();
            anyhow::Ok(rows)
        };
        let (view, batch) = (sorted(format!("v{number}")).await?, sorted(format!("({}) AS batch", case.batch)).await?);
        ensure!(!batch.is_empty(), "v{number}: nothing to compare");
        let differs = view.iter().zip(&batch).find(|(view, batch)| view != batch);
        ensure!(
            view.len() == batch.len() && differs.is_none(),
            "v{number}: {} and {} rows, {differs:?}",
            view.len(),
            batch.len()
        );
    }
    let wrong = "SELECT count(*) FROM ebap.accounting WHERE consumed <> emitted + late + dead_lettered + filtered";
    ensure!(rows::number(client, wrong).await? == 0, "ebap.accounting does not add up");
    let consumed = "SELECT CAST(sum(consumed) AS BIGINT) FROM ebap.accounting WHERE job = 'v0'";
    ensure!(rows::number(client, consumed).await? == ROWS, "not every record is accounted for once");
    Ok(())
}

/// Rows of what is outside against those of a query.
fn compare(what: &str, expected: &mut [Vec<String>], found: &mut [Vec<String>]) -> anyhow::Result<()> {
    expected.sort();
    found.sort();
    ensure!(!expected.is_empty(), "{what}: nothing to compare");
    let differs = expected.iter().zip(found.iter()).find(|(expected, found)| expected != found);
    ensure!(
        expected.len() == found.len() && differs.is_none(),
        "{what}: {} expected, {} outside, {differs:?}",
        expected.len(),
        found.len()
    );
    Ok(())
}
