//! Many jobs with nothing to do: what they cost, and what one more `CREATE` costs beside them.

use std::{io::Write, time::Duration};

use anyhow::Context;
use ebap_connector::time::{instant, sleep};
use ebap_tests::{Ebap, rows};
use serde_json::json;

use crate::{bench::Bench, machine, meter::round};

/// Finished file streams, and views over them.
const STREAMS: usize = 54;
const VIEWS: usize = 284;
/// Records of each file.
const RECORDS: usize = 100;
/// Until what was created has come to rest.
const SETTLES: Duration = Duration::from_secs(10);
const MEASURED: Duration = Duration::from_secs(30);

pub(crate) async fn run(bench: &Bench) -> anyhow::Result<()> {
    let mut file = tempfile::NamedTempFile::new().context("a file of records")?;
    for row in 0..RECORDS {
        let (key, minute) = (row % 5, row % 60);
        writeln!(file, r#"{{"id":{row},"k":"k{key}","x":{row}.5,"at":"2026-01-01T00:{minute:02}:00Z"}}"#)?;
    }
    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    let (begun, path) = (instant(), file.path().display());
    for stream in 0..STREAMS {
        let create = format!(
            "CREATE STREAM s{stream} (id BIGINT, k TEXT, x DOUBLE, at TIMESTAMPTZ NOT NULL, WATERMARK FOR at AS at)
             WITH (connector = 'file', path = '{path}')"
        );
        rows::execute(&client, &[&create]).await?;
    }
    let mut last = Duration::ZERO;
    for view in 0..VIEWS {
        let create = format!(
            "CREATE MATERIALIZED VIEW v{view} AS SELECT k, count(*) AS n, sum(x) AS x FROM s{} WHERE id > {view}
             GROUP BY k WINDOW TUMBLE (at, INTERVAL '10 minutes')",
            view % STREAMS
        );
        let one = instant();
        rows::execute(&client, &[&create]).await?;
        last = one.elapsed();
    }
    let created = begun.elapsed();
    rows::execute(&client, &["FLUSH"]).await?;
    sleep(SETTLES).await;
    let pid = ebap.pid().context("the server runs")?;
    let before = machine::cpu_seconds(pid).context("the server runs")?;
    let measured = instant();
    sleep(MEASURED).await;
    let used = machine::cpu_seconds(pid).context("the server runs")? - before;
    let figures = json!({
        "streams": STREAMS,
        "views": VIEWS,
        "created_seconds": round(created.as_secs_f64(), 2),
        "last_create_ms": round(last.as_secs_f64() * 1e3, 1),
        "idle_percent_of_a_core": round(100.0 * used / measured.elapsed().as_secs_f64(), 2),
        "rss_mib": machine::rss_mib(pid),
    });
    bench.report("ebap", "idle", figures)
}
