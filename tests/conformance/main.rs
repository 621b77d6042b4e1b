//! Compares EBAP's SQL with a real PostgreSQL's: random statements from a seed, on both servers.
//!
//! `EBAP_CONFORMANCE_STATEMENTS=N` makes N statements of each mode, `EBAP_CONFORMANCE_SEED=S` others than usual.
//! `EBAP_CONFORMANCE_STATEMENT='SELECT …'` runs that one alone and prints both answers.
//! `known.tsv` has the differences that are known: each must still be there, and nothing else may differ.

mod clients;
mod compare;
mod data;
mod differ;
mod expression;
mod expressions;
mod findings;
mod forms;
mod generate;
mod hostile;
mod operations;
mod parameters;
mod pool;
mod precedence;
mod privileges;
mod protocol;
mod queries;
mod records;
mod servers;
mod values;
mod whole;
mod windowed;

use std::{process::ExitCode, sync::Arc};

use anyhow::{Context, ensure};
use ebap_tests::trials;
use libtest_mimic::{Failed, Trial};

use servers::{Servers, Shared};

/// A seed, and how many statements are made of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) statements: usize,
}

fn main() -> ExitCode {
    let shared = Arc::new(Shared::new());
    let mut tests = Vec::new();
    if let Ok(sql) = std::env::var("EBAP_CONFORMANCE_STATEMENT") {
        tests.push(trial("statement", &shared, move |servers| alone(&servers, &sql)));
    } else {
        tests.push(trial("what_is_known_still_differs", &shared, |servers| known_still_differs(&servers)));
        for (name, usual, mode) in MODES {
            tests.push(trial(name, &shared, move |servers| mode(&servers, run_of(usual)?)));
        }
    }
    let outcome = trials::run(tests);
    shared.stop();
    outcome
}

type Mode = fn(&Servers, Run) -> anyhow::Result<()>;

/// Each with the number of statements that `make test` makes.
const MODES: [(&str, usize, Mode); 14] = [
    ("every_operation", 1, expressions::every_operation),
    ("every_pair_of_types", 400, expressions::every_pair_of_types),
    ("expressions", 1000, expressions::random),
    ("precedence", 1, precedence::fixed),
    ("parameters", 600, parameters::random),
    ("copies", 1, protocol::copies),
    ("cursors_and_prepared_statements", 1, protocol::scripts),
    ("privileges", 1, privileges::script),
    ("clients", 1, clients::all),
    ("queries", 300, whole::queries),
    ("views", 100, whole::views),
    ("windows", 140, windowed::random),
    ("hostile_statements", 3000, hostile::statements),
    ("hostile_records", 3000, records::hostile),
];

fn run_of(usual: usize) -> anyhow::Result<Run> {
    let number = |name: &str| match std::env::var(name) {
        Ok(text) => text.parse::<u64>().map(Some).with_context(|| format!("{name}={text}")),
        Err(_) => Ok(None),
    };
    let statements = number("EBAP_CONFORMANCE_STATEMENTS")?;
    let statements = statements.map_or(Ok(usual), usize::try_from).context("EBAP_CONFORMANCE_STATEMENTS")?;
    Ok(Run { seed: number("EBAP_CONFORMANCE_SEED")?.unwrap_or(1), statements })
}

fn trial(
    name: &str,
    shared: &Arc<Shared>,
    test: impl FnOnce(Arc<Servers>) -> anyhow::Result<()> + Send + 'static,
) -> Trial {
    let shared = Arc::clone(shared);
    Trial::test(name, move || shared.servers().and_then(test).map_err(|error| Failed::from(format!("{error:?}"))))
}

fn alone(servers: &Servers, sql: &str) -> anyhow::Result<()> {
    let (right, ours) = servers.pair("UTC")?.both(sql);
    findings::print(&format!("PostgreSQL  {right}\nEBAP        {ours}"));
    Ok(())
}

fn known_still_differs(servers: &Servers) -> anyhow::Result<()> {
    let mut pair = servers.pair("UTC")?;
    let mut mended = Vec::new();
    for known in findings::known()?.iter().filter(|known| !known.statement.is_empty()) {
        let (right, ours) = pair.both(&known.statement);
        let (right, ours) = (compare::sorted(right), compare::sorted(ours));
        let found = compare::difference(&right, &ours, compare::Strictness::Exact);
        if found != Some(known.kind) {
            let now = found.map_or("no difference", compare::Kind::name);
            mended.push(format!("{} {}: {now}\n  {}", known.kind.name(), known.shape, known.statement));
        }
    }
    ensure!(mended.is_empty(), "no longer as known.tsv says; take out these lines:\n{}", mended.join("\n"));
    Ok(())
}
