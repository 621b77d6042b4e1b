//! State that ends: ten million rows through every kind of window and join, a watermark behind them. What is held must be
//! the same at every look, and so must the memory of the process.
//!
//! ```sh
//! cargo bench -p ebap-bench-micro --bench ends [-- ROWS [NAME…]]
//! ```
//!
//! Rows come 4,096 at a time, 10,000 to a second of event time, a million users scattered over them; an epoch every 16
//! steps. Views close their windows (`EMIT ON WINDOW CLOSE`) or let rows go by `retention`, so that what grows would be state.

use std::sync::Arc;

use anyhow::{Context, bail};
use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::SchemaRef,
};
use cpu_time::ProcessTime;
use ebap_stream::bench::ViewBench;

const ROWS: usize = 10_000_000;
const STEP: usize = 4_096;
const STEPS_PER_EPOCH: usize = 16;
const USERS: usize = 1_000_000;
const ROWS_PER_SECOND: usize = 10_000;
/// 2026-01-01T00:00:00Z
const START_US: i64 = 1_767_225_600_000_000;
const LOOKS: usize = 5;
const DELAY_US: i64 = 4_000_000;

const STREAMS: &str = "
CREATE STREAM events (user_id TEXT, region TEXT, amount DOUBLE, key BIGINT, at TIMESTAMPTZ NOT NULL,
    WATERMARK FOR at AS at - INTERVAL '4 seconds') WITH (connector = 'generator');
CREATE STREAM clicks (user_id TEXT, region TEXT, amount DOUBLE, key BIGINT, at TIMESTAMPTZ NOT NULL,
    WATERMARK FOR at AS at - INTERVAL '4 seconds') WITH (connector = 'generator');
CREATE TABLE users (user_id TEXT PRIMARY KEY, tier TEXT) WITH (connector = 'generator');";

/// Name, whether the second stream is fed too, options and query.
const VIEWS: [(&str, bool, &str, &str); 12] = [
    (
        "tumble",
        false,
        "retention = '30 seconds'",
        "SELECT user_id, count(*) AS n FROM events GROUP BY user_id WINDOW TUMBLE (at, INTERVAL '10 seconds') EMIT ON WINDOW CLOSE",
    ),
    (
        "hop",
        false,
        "retention = '30 seconds'",
        "SELECT region, count(*) AS n, count(DISTINCT user_id) AS users FROM events GROUP BY region WINDOW HOP (at, INTERVAL '2 seconds', INTERVAL '10 seconds') EMIT ON WINDOW CLOSE",
    ),
    (
        "hop on update",
        false,
        "retention = '30 seconds'",
        "SELECT key % 1000 AS k, count(*) AS n FROM events GROUP BY key % 1000 WINDOW HOP (at, INTERVAL '2 seconds', INTERVAL '10 seconds')",
    ),
    (
        "session",
        false,
        "retention = '30 seconds'",
        "SELECT user_id, count(*) AS n FROM events GROUP BY user_id WINDOW SESSION (at, INTERVAL '10 seconds') EMIT ON WINDOW CLOSE",
    ),
    (
        "session on update",
        false,
        "retention = '30 seconds'",
        "SELECT user_id, count(*) AS n FROM events GROUP BY user_id WINDOW SESSION (at, INTERVAL '10 seconds')",
    ),
    (
        "top 3 of a window",
        false,
        "retention = '30 seconds'",
        "SELECT * FROM (SELECT window_start, region, user_id, amount, ROW_NUMBER() OVER (PARTITION BY window_start, region ORDER BY amount DESC) AS n FROM TUMBLE(events, at, INTERVAL '10 seconds')) WHERE n <= 3",
    ),
    (
        "interval join",
        true,
        "retention = '30 seconds'",
        "SELECT e.at, e.user_id, c.amount FROM events e JOIN clicks c ON e.user_id = c.user_id AND c.at BETWEEN e.at AND e.at + INTERVAL '10 seconds'",
    ),
    (
        "interval left join",
        true,
        "retention = '30 seconds'",
        "SELECT e.at, e.key, e.user_id, c.amount FROM events e LEFT JOIN clicks c ON e.user_id = c.user_id AND c.at BETWEEN e.at AND e.at + INTERVAL '10 seconds'",
    ),
    (
        "interval full join",
        true,
        "retention = '30 seconds'",
        "SELECT coalesce(e.at, c.at) AS at, e.at AS e_at, c.at AS c_at, e.user_id, c.amount FROM events e FULL JOIN clicks c ON e.user_id = c.user_id AND c.at BETWEEN e.at AND e.at + INTERVAL '10 seconds'",
    ),
    (
        "window join",
        true,
        "retention = '30 seconds'",
        "SELECT e.window_start, e.user_id, c.amount FROM TUMBLE(events, at, INTERVAL '10 seconds') e JOIN TUMBLE(clicks, at, INTERVAL '10 seconds') c ON e.user_id = c.user_id AND e.window_start = c.window_start",
    ),
    (
        "join with state_ttl",
        true,
        "state_ttl = '10 seconds', retention = '30 seconds'",
        "SELECT e.at, e.user_id, c.amount FROM events e JOIN clicks c ON e.user_id = c.user_id",
    ),
    (
        "lookup join",
        false,
        "retention = '30 seconds'",
        "SELECT e.at, e.region, u.tier, e.amount FROM events e LEFT JOIN users u ON u.user_id = e.user_id",
    ),
];

fn main() -> anyhow::Result<()> {
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let rows = match args.first().and_then(|arg| arg.parse().ok()) {
        Some(rows) => {
            args.remove(0);
            rows
        }
        None => ROWS,
    };
    println!(
        "| view | rows per CPU-second | state MiB at each fifth | rows of the view, MiB | memory of the process, MiB |"
    );
    println!("|---|--:|---|---|---|");
    for (name, both, options, query) in VIEWS {
        if args.is_empty() || args.iter().any(|arg| arg == name) {
            run(name, both, options, query, rows).with_context(|| name.to_owned())?;
        }
    }
    Ok(())
}

fn run(name: &str, both: bool, options: &str, query: &str, rows: usize) -> anyhow::Result<()> {
    let with = if options.is_empty() { String::new() } else { format!("WITH ({options}) ") };
    let view = ViewBench::new(&format!("{STREAMS} CREATE MATERIALIZED VIEW v {with}AS {query}"));
    let mut view = view.map_err(anyhow::Error::from_boxed)?;
    if name == "lookup join" {
        users(&mut view)?;
    }
    let schema = Arc::clone(view.schema());
    let (mut looks, mut cpu) = (Vec::new(), 0.0);
    for (step, from) in (0..rows).step_by(STEP).enumerate() {
        let batch = batch(&schema, from)?;
        let other = if both { Some(self::batch(&schema, from + STEP / 2)?) } else { None };
        let begun = ProcessTime::now();
        view.step(&batch).map_err(anyhow::Error::from_boxed)?;
        if let Some(other) = &other {
            view.step_of(1, other).map_err(anyhow::Error::from_boxed)?;
        }
        view.advance(time_us(from + STEP) - DELAY_US).map_err(anyhow::Error::from_boxed)?;
        if step % STEPS_PER_EPOCH == 0 {
            view.delta().map_err(anyhow::Error::from_boxed)?;
        }
        cpu += begun.elapsed().as_secs_f64();
        if (from + STEP) * LOOKS / rows > from * LOOKS / rows {
            let (state, shown) = view.bytes().map_err(anyhow::Error::from_boxed)?;
            looks.push((state >> 20, shown >> 20, resident_mib()?));
        }
    }
    let list = |of: &dyn Fn(&(usize, usize, usize)) -> usize| {
        looks.iter().map(|look| of(look).to_string()).collect::<Vec<_>>().join(", ")
    };
    let each = rows as f64 * if both { 2.0 } else { 1.0 } / cpu;
    println!("| {name} | {each:.0} | {} | {} | {} |", list(&|look| look.0), list(&|look| look.1), list(&|look| look.2));
    Ok(())
}

fn time_us(row: usize) -> i64 {
    START_US + (row as i64) * (1_000_000 / ROWS_PER_SECOND as i64)
}

fn batch(schema: &SchemaRef, from: usize) -> anyhow::Result<RecordBatch> {
    // Knuth's multiplicative hash: neighbours lie apart.
    let user = |at: usize| (from + at) * 2_654_435_761 % USERS;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values((0..STEP).map(|at| format!("user-{:09}", user(at))))),
        Arc::new(StringArray::from_iter_values((0..STEP).map(|at| format!("region-{}", at % 5)))),
        Arc::new(Float64Array::from_iter_values((0..STEP).map(|at| at as f64 * 0.25))),
        Arc::new(Int64Array::from_iter_values((0..STEP).map(|at| (from + at) as i64))),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values((0..STEP).map(|at| time_us(from + at))).with_timezone("+00:00"),
        ),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns).context("columns fit the stream")
}

fn users(view: &mut ViewBench) -> anyhow::Result<()> {
    let of = Arc::clone(view.schema_of(2));
    for from in (0..USERS).step_by(65_536) {
        let ids = from..USERS.min(from + 65_536);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(ids.clone().map(|at| format!("user-{at:09}")))),
            Arc::new(StringArray::from_iter_values(ids.map(|at| format!("tier-{}", at % 4)))),
        ];
        let rows = RecordBatch::try_new(Arc::clone(&of), columns)?;
        view.step_of(2, &rows).map_err(anyhow::Error::from_boxed)?;
    }
    Ok(())
}

fn resident_mib() -> anyhow::Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let Some(kib) = line.split_whitespace().next() else { bail!("VmRSS has no number") };
    Ok(kib.parse::<usize>()? >> 10)
}
