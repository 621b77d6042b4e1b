//! `make bench`: what one machine does with real Kafka, as JSON lines.
//!
//! Starts its own broker, unless it is given one, and its own `ebap` (the one in `EBAP_BIN`), measures,
//! stops both. What each number means is in `benchmarks/README.md`.

mod args;
mod bench;
mod catch_up;
mod cdc;
mod ceiling;
mod close_latency;
mod consumer;
mod events;
mod expected;
mod freshness;
mod histogram;
mod idle;
mod latency;
mod levels;
mod machine;
mod many_views;
mod meter;
mod nexmark;
mod paced;
mod recovery;
mod redis_sink;
mod server;
mod soak;
mod topic;
mod views;
mod wide;
mod windows;

use anyhow::{Context, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    args::{Args, Job},
    bench::Bench,
};

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("runtime")?;
    runtime.block_on(async {
        // What was started is stopped when it is dropped, which a signal alone would not do.
        tokio::select! {
            done = run(args) => done,
            signal = interrupted() => signal,
        }
    })
}

async fn interrupted() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("signals")?;
    tokio::select! {
        _ = terminate.recv() => bail!("terminated"),
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let jobs = args.jobs();
    let bench = Bench::new(args)?;
    for job in jobs {
        let done = match job {
            Job::Ceiling => ceiling::run(&bench).await,
            Job::CatchUp => catch_up::run(&bench).await,
            Job::Latency => latency::run(&bench).await,
            Job::Redis => redis_sink::run(&bench).await,
            Job::Levels => levels::run(&bench).await,
            Job::Freshness => freshness::run(&bench).await,
            Job::Cdc => cdc::run(&bench).await,
            Job::T1 | Job::T3 | Job::D1 => windows::run(&bench, job).await,
            Job::L1 => close_latency::run(&bench).await,
            Job::Views10 => views::run(&bench).await,
            Job::Wide => wide::run(&bench).await,
            Job::Idle => idle::run(&bench).await,
            Job::ManyViews => many_views::run(&bench).await,
            Job::Soak => soak::run(&bench).await,
            Job::Recovery => recovery::run(&bench).await,
            Job::Nexmark => nexmark::run(&bench).await,
            Job::NexmarkTopic => nexmark::fill_only(&bench).await,
            Job::Topic => expected::run(&bench).await,
            Job::Live => close_latency::produce_only(&bench).await,
        };
        done.with_context(|| format!("job {}", job.name()))?;
    }
    Ok(())
}
