//! Runs every `.slt` file below this folder and every page of `docs/sql`, each against a server process of its own.
//!
//! Of a page the blocks marked `slt` are run, one after the other, as one file. A page has no other SQL: a block
//! marked `sql` is an error, except `sql foreign` on the page that shows the SQL of other systems.
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
    let pages = process::tests_dir().join("../docs/sql");
    let mut of_docs = Vec::new();
    let found = collect(&root, "slt", &mut files).and_then(|()| collect(&pages, "md", &mut of_docs));
    if let Err(error) = found {
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
    of_docs.sort();
    tests.extend(of_docs.into_iter().map(|page| {
        let name = format!("docs/sql/{}", page.strip_prefix(&pages).unwrap_or(&page).display());
        Trial::test(name, move || trials::block_on(run_page(&page)))
    }));
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

fn collect(folder: &Path, extension: &str, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, extension, files)?;
        } else if path.extension().is_some_and(|found| found == extension) {
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

/// What a line of prose begins with in the script made of a page.
const PROSE: &str = "#md ";

/// Runs a page as a script with the same line numbers; what `EBAP_SLT_UPDATE` changes goes back into the page.
async fn run_page(page: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(page).with_context(|| page.display().to_string())?;
    let folder = tempfile::tempdir().context("a folder for the script")?;
    let script = folder.path().join(page.file_name().context("the name of the page")?);
    std::fs::write(&script, script_of(&text, page.ends_with("coming-from.md"))?).context("the script")?;
    run(&script).await?;
    if std::env::var_os("EBAP_SLT_UPDATE").is_some() {
        let updated = std::fs::read_to_string(&script).context("the script")?;
        std::fs::write(page, page_of(&updated)).with_context(|| page.display().to_string())?;
    }
    Ok(())
}

/// Prose becomes comments, and the end of a block the empty line that ends its last record.
fn script_of(page: &str, foreign: bool) -> anyhow::Result<String> {
    let mut script = String::new();
    let mut block: Option<&str> = None;
    for (at, line) in page.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (block, fence) {
            (Some("slt"), Some(_)) => script.push('\n'),
            (Some("slt"), None) => script.push_str(&format!("{line}\n")),
            _ => script.push_str(&format!("{PROSE}{line}\n")),
        }
        block = match (block, fence) {
            (None, Some(language)) => {
                let known = matches!(language, "slt" | "text" | "sh") || (foreign && language == "sql foreign");
                anyhow::ensure!(known, "line {}: a block marked \"{language}\" would not be run", at + 1);
                Some(language)
            }
            (Some(_), Some(_)) => None,
            (block, None) => block,
        };
    }
    anyhow::ensure!(block.is_none(), "a block is not closed");
    Ok(script)
}

/// The reverse of `script_of`.
fn page_of(script: &str) -> String {
    let mut page: Vec<&str> = Vec::new();
    let mut inside = false;
    for line in script.lines().chain([PROSE]) {
        let prose = line.strip_prefix(PROSE.trim_end());
        if inside && prose.is_some() {
            // Of the empty lines that end the last record one stood for the fence.
            if page.last().is_some_and(|last| last.is_empty()) {
                page.pop();
            }
            page.push("```");
            inside = false;
        }
        let line = prose.map_or(line, |prose| prose.strip_prefix(' ').unwrap_or(prose));
        inside |= prose.is_some() && line.trim_start() == "```slt";
        page.push(line);
    }
    page.pop();
    page.join("\n") + "\n"
}

fn connect_error(error: anyhow::Error) -> ebap_tests::slt::EngineError {
    ebap_tests::slt::EngineError::connect(&error)
}
