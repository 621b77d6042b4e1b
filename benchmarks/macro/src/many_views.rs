//! Many plain views over one quiet stream: what they cost, and what one more `CREATE` costs beside a thousand.

use std::time::Duration;

use anyhow::{Context, ensure};
use ebap_connector::time::{instant, sleep};
use ebap_tests::{Ebap, EbapOptions, rows};
use serde_json::json;
use tokio_postgres::Client;

use crate::{bench::Bench, machine, meter::round};

const RATE: usize = 100;
/// Views that run while it is measured.
const VIEWS: usize = 200;
/// Views that there are when the last one is created.
const VIEWS_MAX: usize = 1_000;
/// Last views, of whose times the median is reported.
const LAST: usize = 11;
const ADDRESSES_KB: u64 = 16_000_000;
/// Until what was created has come to rest.
const SETTLES: Duration = Duration::from_secs(10);
const MEASURED: Duration = Duration::from_secs(30);

pub(crate) async fn run(bench: &Bench) -> anyhow::Result<()> {
    // What a thousand views take is to be measured, and not to end the server.
    let options = EbapOptions { addresses_kb: Some(ADDRESSES_KB), ..EbapOptions::default() };
    let ebap = Ebap::start_with(options).await?;
    let client = ebap.connect().await?;
    let stream = format!(
        "CREATE STREAM s (id UUID NOT NULL, user_id TEXT NOT NULL, action TEXT NOT NULL,
            metadata STRUCT<amount DOUBLE, region TEXT>, timestamp TIMESTAMPTZ NOT NULL,
            WATERMARK FOR timestamp AS timestamp - INTERVAL '5 seconds')
         WITH (connector = 'generator', dataset = 'ebap.events', rate = {RATE})"
    );
    rows::execute(&client, &[&stream]).await?;
    create(&client, 0..VIEWS).await?;
    sleep(SETTLES).await;
    let pid = ebap.pid().context("the server runs")?;
    let read = "SELECT CAST(sum(\"offset\") AS BIGINT) FROM ebap.splits";
    let (before, first) = (machine::cpu_seconds(pid).context("the server runs")?, rows::number(&client, read).await?);
    let measured = instant();
    sleep(MEASURED).await;
    let used = machine::cpu_seconds(pid).context("the server runs")? - before;
    let seconds = measured.elapsed().as_secs_f64();
    let events = rows::number(&client, read).await? - first;
    let rss_mib = machine::rss_mib(pid);
    let times = create(&client, VIEWS..VIEWS_MAX).await?;
    let mut last = times[times.len() - LAST..].to_vec();
    last.sort_unstable();
    rows::execute(&client, &["FLUSH"]).await?;
    let failed = rows::number(&client, "SELECT count(*) FROM ebap.jobs WHERE state <> 'running'").await?;
    ensure!(failed == 0, "{failed} jobs do not run");
    let figures = json!({
        "views": VIEWS,
        "events_per_second": round(events as f64 / seconds, 1),
        "percent_of_a_core": round(100.0 * used / seconds, 2),
        "rss_mib": rss_mib,
        "views_max": VIEWS_MAX,
        "last_create_ms": round(last[LAST / 2].as_secs_f64() * 1e3, 1),
        "rss_mib_of_all": machine::rss_mib(pid),
    });
    bench.report("ebap", "many-views", figures)
}

/// Creates the views and gives the time that each took.
async fn create(client: &Client, numbers: std::ops::Range<usize>) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(numbers.len());
    for number in numbers {
        let view = format!(
            "CREATE MATERIALIZED VIEW v{number} AS SELECT action, count(*) AS n, sum(metadata['amount']) AS x FROM s
             GROUP BY action WINDOW TUMBLE (timestamp, INTERVAL '1 minute')"
        );
        let one = instant();
        rows::execute(client, &[&view]).await?;
        times.push(one.elapsed());
    }
    Ok(times)
}
