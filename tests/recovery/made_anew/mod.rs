//! An object that is dropped and made again under its name has all of what is there now and nothing of what was,
//! whatever comes in meanwhile and whenever the server dies.
//!
//! `EBAP_ANEW_ROUNDS` sets how often each kind is made again.

mod sinks;
mod streams;
mod views;

use std::{
    fmt::Write,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use ebap_tests::{Service, Stack, rows};
use tokio::sync::Mutex;
use tokio_postgres::Client;

pub(crate) use sinks::sinks_made_anew_have_the_whole_view;
pub(crate) use streams::streams_made_anew_are_whole;
pub(crate) use views::views_made_anew_are_whole;

const ROUNDS_DEFAULT: u64 = 24;
/// Rounds after which the server is killed in the middle of the changes.
const ROUNDS_PER_KILL: u64 = 8;

pub(crate) fn rounds() -> u64 {
    let rounds = std::env::var("EBAP_ANEW_ROUNDS").ok();
    rounds.map_or(ROUNDS_DEFAULT, |rounds| rounds.parse().expect("a number of rounds"))
}

/// Started by whoever needs them first.
#[derive(Default)]
pub(crate) struct Services(Mutex<Option<Stack>>);

impl Services {
    /// Where Kafka and Redis are; of `wanted` alone something answers there.
    async fn started(&self, wanted: &[Service]) -> anyhow::Result<(String, String)> {
        let mut stack = self.0.lock().await;
        let stack = match &mut *stack {
            Some(stack) => stack,
            none => none.insert(Stack::new()?),
        };
        stack.need(wanted)?;
        Ok((stack.bootstrap(), stack.redis_url()))
    }
}

/// A file that a stream follows.
struct Feed {
    path: PathBuf,
    file: File,
    next: u64,
    line: fn(u64) -> String,
}

impl Feed {
    fn new(folder: &Path, name: &str, line: fn(u64) -> String) -> anyhow::Result<Self> {
        let path = folder.join(name);
        let file = File::create(&path).context("a file of records")?;
        Ok(Self { path, file, next: 0, line })
    }

    fn append(&mut self, records: u64) -> anyhow::Result<()> {
        let mut text = String::new();
        for number in self.next..self.next + records {
            writeln!(text, "{}", (self.line)(number))?;
        }
        self.next += records;
        self.file.write_all(text.as_bytes()).context("append")
    }
}

/// Seven seconds apart, and ten minutes behind every twentieth, so that sessions end.
fn time_of(number: u64) -> String {
    let second = number * 7 + number / 20 * 600;
    format!("2026-01-{:02}T{:02}:{:02}:{:02}Z", 1 + second / 86_400, second / 3_600 % 24, second / 60 % 60, second % 60)
}

fn event(number: u64) -> String {
    let (key, value) = (number % 7, number * 37 % 101);
    format!(r#"{{"n":{number},"k":"k{key}","v":{value},"at":"{}"}}"#, time_of(number))
}

/// Inserts, updates and deletes of forty keys.
fn change(number: u64) -> String {
    let (id, group, value) = (number * 11 % 40, number % 5, number * 13 % 97);
    if number % 6 == 5 {
        return format!(r#"{{"op":"d","before":{{"id":{id}}}}}"#);
    }
    format!(r#"{{"op":"u","after":{{"id":{id},"g":"g{group}","x":{value}}}}}"#)
}

/// A view, and the batch query that it must equal.
struct Case {
    name: &'static str,
    view: &'static str,
    /// Columns of the view that are compared.
    columns: &'static str,
    batch: &'static str,
}

async fn verify(client: &Client, cases: &[Case]) -> anyhow::Result<()> {
    for Case { name, columns, batch, .. } in cases {
        let sorted = async |sql: String| {
            let mut rows = rows::texts(client, &sql).await?;
            rows.sort();
            anyhow::Ok(rows)
        };
        let shown = sorted(format!("SELECT {columns} FROM {name}")).await?;
        let expected = sorted((*batch).to_owned()).await?;
        ensure!(!expected.is_empty(), "{name}: nothing to compare");
        let differs = shown.iter().zip(&expected).find(|(shown, expected)| shown != expected);
        let (found, wanted) = (shown.len(), expected.len());
        ensure!(found == wanted && differs.is_none(), "{name}: {found} rows for {wanted}, {differs:?}");
    }
    let odd = rows::texts(client, "SELECT name, state, message FROM ebap.jobs WHERE state <> 'running'").await?;
    ensure!(odd.is_empty(), "not all runs: {odd:?}");
    Ok(())
}
