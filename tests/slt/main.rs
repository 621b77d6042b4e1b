//! Runs every `.slt` file below this folder, each against a server process of its own.
//!
//! Relative paths in the SQL begin in `tests/`, so `path = 'fixtures/orders.jsonl'` is a fixture. With
//! `control substitution on` the variable `$__TEST_DIR__` is a folder of the file's own; a `$` of an
//! identifier is then written `\$`. `EBAP_SLT_UPDATE=1` writes what was answered into the files.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Context;
use ebap_tests::{Ebap, process, server, slt::Engine, trials};
use libtest_mimic::Trial;
use sqllogictest::{
    DefaultColumnType, Record, Runner, default_normalizer, default_validator, parse_file, strict_column_validator,
};

/// What the issue asks for.
const RECORDS_MIN: usize = 150;

/// Records of all files, counted as they are parsed.
static RECORDS: AtomicUsize = AtomicUsize::new(0);

fn main() -> ExitCode {
    let root = process::tests_dir().join("slt");
    let mut files = Vec::new();
    if let Err(error) = collect(&root, &mut files) {
        let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{error:?}\n").as_bytes());
        return ExitCode::FAILURE;
    }
    files.sort();
    let all = Mutex::new(files.clone());
    let mut tests: Vec<Trial> = files
        .into_iter()
        .map(|file| {
            let name = file.strip_prefix(&root).unwrap_or(&file).display().to_string();
            Trial::test(name, move || trials::block_on(run(&file)))
        })
        .collect();
    tests.push(Trial::test("there_are_enough_records", move || {
        let files = all.lock().map_err(|_| "poisoned")?;
        for file in files.iter() {
            let records = parse_file::<DefaultColumnType>(file).map_err(|error| error.to_string())?;
            let asks =
                |record: &&Record<DefaultColumnType>| matches!(record, Record::Statement { .. } | Record::Query { .. });
            RECORDS.fetch_add(records.iter().filter(asks).count(), Ordering::Relaxed);
        }
        let records = RECORDS.load(Ordering::Relaxed);
        if records < RECORDS_MIN { Err(format!("{records} records, wanted {RECORDS_MIN}").into()) } else { Ok(()) }
    }));
    trials::run(tests)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            files.push(path);
        }
    }
    Ok(())
}

async fn run(file: &Path) -> anyhow::Result<()> {
    let ebap = Ebap::start().await?;
    let port = ebap.pg_port;
    let mut runner =
        Runner::new(move || async move { server::connect(port).await.map(Engine::new).map_err(connect_error) });
    runner.with_column_validator(strict_column_validator);
    if std::env::var_os("EBAP_SLT_UPDATE").is_some() {
        let updated =
            runner.update_test_file(file, "\t", default_validator, default_normalizer, strict_column_validator).await;
        return updated.map_err(|error| anyhow::anyhow!("{error}"));
    }
    runner.run_file_async(file).await.map_err(|error| anyhow::anyhow!("{}", error.display(false)))
}

fn connect_error(error: anyhow::Error) -> ebap_tests::slt::EngineError {
    ebap_tests::slt::EngineError::connect(&error)
}
