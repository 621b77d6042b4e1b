//! What a step costs behind the decoder: rows to partial rows, merged into windows, the rows of the view
//! updated; and what the state costs to write whole and to read back.
//!
//! The state is filled before anything is measured: keys or users as many as the name says. A delta is taken
//! every 64 steps, so that what an epoch writes is in the figure of a step.

use std::{hint::black_box, sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::SchemaRef,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ebap_stream::bench::ViewBench;

const STREAM: &str =
    "CREATE STREAM events (user_id TEXT, region TEXT, amount DOUBLE, key BIGINT, at TIMESTAMPTZ NOT NULL,
    WATERMARK FOR at AS at - INTERVAL '10 seconds') WITH (connector = 'generator')";
/// 2026-01-01T00:00:00Z
const START_US: i64 = 1_767_225_600_000_000;
const ONE: &str = "INTERVAL '1 minute'";
const THREE: &str = "INTERVAL '1 minute', INTERVAL '5 minutes', INTERVAL '1 hour'";
/// Rows of the batches that fill a state.
const FILL: usize = 65_536;
const BATCHES: usize = 16;
const STEPS_PER_EPOCH: usize = 64;

fn view(select: &str, by: &str, sizes: &str) -> ViewBench {
    let view = format!("CREATE MATERIALIZED VIEW v AS SELECT {by}, {select} FROM events GROUP BY {by}");
    ViewBench::new(&format!("{STREAM}; {view} WINDOW TUMBLE (at, {sizes})")).expect("the view plans")
}

/// Rows of one minute. Numbers `from` on, scattered over `keys` keys and as many users.
fn rows(schema: &SchemaRef, count: usize, from: usize, keys: usize) -> RecordBatch {
    // Knuth's multiplicative hash: every key comes before one comes again, and neighbours lie apart.
    let scattered = |at: usize| (from + at) % keys * 2_654_435_761 % keys;
    let times = (0..count).map(|at| START_US + (at as i64 * 997) % 60_000_000);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values((0..count).map(|at| format!("user-{:09}", scattered(at))))),
        Arc::new(StringArray::from_iter_values((0..count).map(|at| format!("region-{}", at % 5)))),
        Arc::new(Float64Array::from_iter_values((0..count).map(|at| at as f64 * 0.25))),
        Arc::new(Int64Array::from_iter_values((0..count).map(|at| scattered(at) as i64))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("+00:00")),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns).expect("columns fit the stream")
}

fn filled(mut view: ViewBench, keys: usize) -> ViewBench {
    let schema = Arc::clone(view.schema());
    // Five turns: a user has been in every region.
    for from in (0..5 * keys).step_by(FILL) {
        view.step(&rows(&schema, FILL.min(5 * keys - from), from, keys)).expect("a step");
    }
    view.delta().expect("a delta");
    view
}

fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));
    let thin = "count(*) AS n, sum(amount) AS total, max(amount) AS most";
    let distinct = "count(DISTINCT user_id) AS users";
    for (name, select, by, sizes) in [
        ("thin", thin, "key", ONE),
        ("thin x3", thin, "key", THREE),
        ("distinct", distinct, "region", ONE),
        ("distinct x3", distinct, "region", THREE),
        ("sketch", "approx_distinct(user_id) AS users", "region", ONE),
    ] {
        for (keys, label) in [(1_000, "1k"), (100_000, "100k"), (1_000_000, "1M")] {
            let mut view = filled(view(select, by, sizes), keys);
            let schema = Arc::clone(view.schema());
            for count in [512, 4_096, 32_768] {
                let batches: Vec<RecordBatch> =
                    (0..BATCHES).map(|turn| rows(&schema, count, turn * count, keys)).collect();
                group.throughput(Throughput::Elements(count as u64));
                let mut turn = 0;
                group.bench_function(BenchmarkId::new(format!("{name}, {label}"), count), |bencher| {
                    bencher.iter(|| {
                        turn += 1;
                        view.step(&batches[turn % BATCHES]).expect("a step");
                        if turn.is_multiple_of(STEPS_PER_EPOCH) {
                            black_box(view.delta().expect("a delta"));
                        }
                    });
                });
            }
        }
    }
    group.finish();
}

/// Partial rows of one epoch, one per group, into a state that has the groups.
fn merge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));
    for (name, select, by) in [
        ("thin", "count(*) AS n, sum(amount) AS total, max(amount) AS most", "key"),
        ("distinct", "count(DISTINCT user_id) AS users", "region"),
    ] {
        for (keys, label) in [(1_000, "1k"), (100_000, "100k"), (1_000_000, "1M")] {
            let mut state = filled(view(select, by, ONE), keys);
            for count in [512, 4_096, 32_768] {
                let mut other = view(select, by, ONE);
                let schema = Arc::clone(other.schema());
                other.step(&rows(&schema, count, 0, keys)).expect("a step");
                let partial = other.partial_rows().expect("a delta");
                group.throughput(Throughput::Elements(count as u64));
                group.bench_function(BenchmarkId::new(format!("{name}, {label}"), count), |bencher| {
                    bencher.iter(|| black_box(state.merge(&partial).expect("merges")));
                });
            }
        }
    }
    group.finish();
}

/// Views that are run as operators over changelogs: rows of one minute after the other, so that windows close and
/// bounds pass as they do in a stream.
fn flows(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flow");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    let users = "CREATE TABLE users (user_id TEXT PRIMARY KEY, tier TEXT) WITH (connector = 'generator')";
    for (name, query) in [
        (
            "project",
            "SELECT region, amount FROM (SELECT region, amount, user_id FROM events WHERE amount > 10 UNION ALL SELECT region, amount, user_id FROM events WHERE amount < 0)",
        ),
        (
            "hop 5 by 1 minute",
            "SELECT region, count(*) AS n, sum(amount) AS s FROM events GROUP BY region WINDOW HOP (at, INTERVAL '1 minute', INTERVAL '5 minutes')",
        ),
        (
            "session",
            "SELECT user_id, count(*) AS n FROM events GROUP BY user_id WINDOW SESSION (at, INTERVAL '1 second')",
        ),
        (
            "latest per user",
            "SELECT user_id, key FROM (SELECT user_id, key, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY at DESC) AS n FROM events) WHERE n = 1",
        ),
        (
            "two levels",
            "SELECT n, count(*) AS users FROM (SELECT user_id, count(*) AS n FROM events GROUP BY user_id) GROUP BY n",
        ),
        ("lookup", "SELECT e.region, u.tier, e.amount FROM events e LEFT JOIN users u ON u.user_id = e.user_id"),
    ] {
        let text = format!("{STREAM}; {users}; CREATE MATERIALIZED VIEW v WITH (memory_limit = '8 GB') AS {query}");
        let keys = 1_000_000;
        let mut view = ViewBench::new(&text).expect("the view plans");
        let schema = Arc::clone(view.schema());
        if name == "lookup" {
            let of = Arc::clone(view.schema_of(1));
            for from in (0..keys).step_by(FILL) {
                let ids = from..keys.min(from + FILL);
                let columns: Vec<ArrayRef> = vec![
                    Arc::new(StringArray::from_iter_values(ids.clone().map(|at| format!("user-{at:09}")))),
                    Arc::new(StringArray::from_iter_values(ids.map(|at| format!("tier-{}", at % 4)))),
                ];
                view.step_of(1, &RecordBatch::try_new(Arc::clone(&of), columns).expect("columns fit")).expect("a step");
            }
        }
        let count = 4_096;
        group.throughput(Throughput::Elements(count as u64));
        let mut turn = 0;
        group.bench_function(BenchmarkId::new(name, count), |bencher| {
            bencher.iter_batched(
                || {
                    turn += 1;
                    rows(&schema, count, turn * count, keys)
                },
                |batch| view.step(&batch).expect("a step"),
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn state(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("state");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for (name, select, by) in [
        ("thin", "count(*) AS n, sum(amount) AS total", "key"),
        ("distinct", "count(DISTINCT user_id) AS users", "region"),
    ] {
        for (keys, label) in [(100_000, "100k"), (1_000_000, "1M")] {
            let mut view = filled(view(select, by, ONE), keys);
            group.throughput(Throughput::Elements(keys as u64));
            group.bench_function(BenchmarkId::new(format!("snapshot {name}"), label), |bencher| {
                bencher.iter(|| black_box(view.snapshot().expect("a snapshot")));
            });
            let snapshot = view.snapshot().expect("a snapshot");
            group.bench_function(BenchmarkId::new(format!("restore {name}"), label), |bencher| {
                bencher.iter(|| black_box(view.restored(&snapshot).expect("restores")));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, steps, merge, flows, state);
criterion_main!(benches);
