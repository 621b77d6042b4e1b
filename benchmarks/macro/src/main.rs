//! `make bench`: what one machine does with real Kafka, as one JSON line per run.
//!
//! Starts its own broker and its own `ebap` (the one in `EBAP_BIN`), measures, stops both. What each
//! number means is in `benchmarks/README.md`.

mod catch_up;
mod ceiling;
mod latency;
mod machine;

use std::io::Write;

use anyhow::Context;
use clap::Parser;
use ebap_connector::time;
use ebap_tests::{Ebap, Service, Stack, kafka::Kafka};
use serde_json::json;

const TOPIC: &str = "bench-events";

/// Measures catching up, latency, and the ceiling of a plain consumer, in one run.
#[derive(Debug, Parser)]
struct Args {
    /// Events in the topic.
    #[arg(long, default_value_t = 5_000_000)]
    rows: u64,
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// Events a second while latency is measured.
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
    /// Seconds of measuring latency, after as many seconds of warming up as `--warm-up` says.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    #[arg(long, default_value_t = 5)]
    warm_up: u64,
    /// Times each of catching up and the ceiling is measured; the line has all of them.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("runtime")?;
    runtime.block_on(run(&args))
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let mut stack = Stack::new()?;
    stack.need(&[Service::Kafka])?;
    let bootstrap = stack.bootstrap();
    let kafka = Kafka::new(&bootstrap);
    kafka.create_topic(TOPIC, args.partitions).await?;
    ebap_tests::server::generate(&bootstrap, TOPIC, &["--rows", &args.rows.to_string(), "--seed", "42"])?;

    // In turns, so that what else the machine does falls on both.
    let (mut caught_up, mut ceilings) = (Vec::new(), Vec::new());
    for _ in 0..args.repeats {
        ceilings.push(ceiling::measure(&bootstrap, TOPIC)?);
        caught_up.push(catch_up::measure(&bootstrap, TOPIC, args.rows).await?);
    }
    let ebap = Ebap::start().await?;
    let latency = latency::measure(&ebap, &kafka, &bootstrap, args.rate, args.seconds, args.warm_up).await?;
    drop(ebap);

    let line = json!({
        "benchmark": "macro",
        "at_us": time::now_us(),
        "commit": machine::commit(),
        "machine": machine::describe(),
        "settings": { "rows": args.rows, "partitions": args.partitions, "rate": args.rate, "seconds": args.seconds,
                      "repeats": args.repeats, "profile": if cfg!(debug_assertions) { "debug" } else { "release" } },
        "activity_catch_up": caught_up,
        "plain_consumer": ceilings,
        "latency": latency,
    });
    writeln!(std::io::stdout(), "{line}").context("stdout")
}
