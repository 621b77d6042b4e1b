//! Scenarios as tests: each async, each reported by name, with what they share ended afterwards.

use std::sync::Arc;

use anyhow::Context;
use libtest_mimic::{Arguments, Failed, Trial};

/// Runs the future to its end on a runtime of its own.
pub fn block_on(future: impl Future<Output = anyhow::Result<()>>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = runtime.context("a runtime").and_then(|runtime| runtime.block_on(future));
    outcome.map_err(|error| Failed::from(format!("{error:?}")))
}

/// A scenario over something that several share.
pub fn trial<S, F, R>(name: impl Into<String>, shared: &Arc<S>, scenario: F) -> Trial
where
    S: Send + Sync + 'static,
    F: FnOnce(Arc<S>) -> R + Send + 'static,
    R: Future<Output = anyhow::Result<()>>,
{
    let shared = Arc::clone(shared);
    Trial::test(name, move || block_on(scenario(shared)))
}

/// Runs them one after the other unless told otherwise: each starts processes that want the whole machine.
pub fn run(trials: Vec<Trial>) -> std::process::ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}
