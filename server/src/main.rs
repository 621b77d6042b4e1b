//! The binary `ebap`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ebap_server::{check, config, demo, generate, memory, migrate, server};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// Streaming SQL over Kafka, served on the Postgres wire.
#[derive(Parser)]
#[command(name = "ebap", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Server(config::ServerArgs),
    /// Run the platform on generated data, with nothing else
    Demo(demo::DemoArgs),
    /// Apply SQL files in order, each once
    Migrate(migrate::MigrateArgs),
    /// Parse and plan SQL files without a server
    Check(check::CheckArgs),
    /// Write generated records to stdout or into a Kafka topic
    Generate(generate::GenerateArgs),
}

/// Plans and expressions are trees, and what walks one goes as deep as it is.
const STACK_BYTES: usize = 16 << 20;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build();
    match runtime {
        // The command runs on a thread of the runtime, for its stack.
        Ok(runtime) => runtime.block_on(async { tokio::spawn(run()).await }).unwrap_or(ExitCode::FAILURE),
        Err(error) => {
            eprintln!("error: the threads cannot be started: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> ExitCode {
    // Two crates below bring a provider each, so the one for clients that leave it open must be named.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ended = match Cli::parse().command {
        Command::Server(args) => server::run(args).await.map(|()| true),
        Command::Demo(args) => demo::run(args).await.map(|()| true),
        Command::Migrate(args) => migrate::run(&args).await.map(|()| true),
        Command::Check(args) => check::run(&args),
        Command::Generate(args) => generate::run(args).await.map(|()| true),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
