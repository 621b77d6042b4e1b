//! `ebap check`: parse and plan SQL files without a server.

use std::path::PathBuf;

use anyhow::Context;
use ebap_sql::substitute_variables;
use tokio::runtime::Handle;

use crate::{auth, columns, pgwire::sqlstate::SqlError};

#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// SQL files, in the order they would be applied
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

/// Prints what is wrong, a line each. Gives whether all is well.
///
/// # Errors
/// Where a file cannot be read.
pub fn run(args: &CheckArgs) -> anyhow::Result<bool> {
    let (mut files, mut bad) = (Vec::new(), 0);
    for path in &args.files {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("{name} cannot be read"))?;
        match substitute_variables(&text, |name| std::env::var(name).ok()) {
            Ok(text) => files.push((name, text)),
            Err(error) => {
                bad += 1;
                let (line, column) = place(&text, error.position.unwrap_or(1));
                eprintln!("{name}:{line}:{column}: {error} ({})", error.sqlstate);
            }
        }
    }
    let (statements, errors) = ebap_sql::check(&files, |catalog, statement| {
        let complete = columns::complete(catalog, statement);
        let complete = tokio::task::block_in_place(|| Handle::current().block_on(complete));
        complete.and_then(|statement| Ok(auth::hashed(statement)?.0)).map_err(|error: SqlError| {
            let mut plain = ebap_sql::Error::new(error.code, error.message);
            (plain.detail, plain.hint, plain.position) = (error.detail, error.hint, error.position);
            plain
        })
    });
    for found in &errors {
        eprintln!("{}:{}:{}: {} ({})", found.file, found.line, found.column, found.error, found.error.sqlstate);
        if let Some(detail) = &found.error.detail {
            eprintln!("  detail: {detail}");
        }
        if let Some(hint) = &found.error.hint {
            eprintln!("  hint: {hint}");
        }
    }
    bad += errors.len();
    if bad == 0 {
        println!("{statements} statements in {} files: ok", files.len());
    }
    Ok(bad == 0)
}

/// Line and column of a character, all counted from 1.
pub(crate) fn place(text: &str, position: usize) -> (usize, usize) {
    let before: String = text.chars().take(position.saturating_sub(1)).collect();
    let line = before.matches('\n').count() + 1;
    (line, before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1)
}
