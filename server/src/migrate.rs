//! `ebap migrate`: SQL files in git, applied in order, each once and whole.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use ebap_connector::time::{self, Backoff};
use ebap_sql::{parse, substitute_variables};
use sha2::{Digest, Sha256};
use tokio_postgres::{
    Client, SimpleQueryMessage,
    error::{ErrorPosition, SqlState},
};

use crate::{check::place, client::connect};

/// Attempts at a file that other clients are in the way of: some ten minutes.
const ATTEMPTS_MAX: usize = 600;
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

#[derive(Clone, Debug, clap::Args)]
pub struct MigrateArgs {
    /// Folder with NNNN_name.sql files
    #[arg(long, default_value = "sql/migrations")]
    pub dir: PathBuf,
    /// Server to apply them to; with sslmode=verify-full&sslrootcert=FILE encrypted. Without a password in it PGPASSWORD counts
    #[arg(long, default_value = "postgres://ebap@127.0.0.1:5410/ebap")]
    pub url: String,
    /// List what would be applied, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// A file is not what was applied under its name.
#[derive(Debug)]
pub(crate) struct Changed(String);

impl std::fmt::Display for Changed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} has changed since it was applied; undo the change and write a new migration", self.0)
    }
}

impl std::error::Error for Changed {}

/// A migration file as it lies in the folder.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl File {
    /// Of the bytes in git: values of variables do not change what was reviewed.
    fn checksum(&self) -> String {
        hex(&Sha256::digest(self.text.as_bytes()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// # Errors
/// For a changed file, a gap in the numbers, an unreachable server, and the first statement that
/// fails, with file, line and column.
pub async fn run(args: &MigrateArgs) -> anyhow::Result<()> {
    let files = read(&args.dir)?;
    for line in apply(&files, &args.url, args.dry_run).await? {
        println!("{line}");
    }
    Ok(())
}

fn read(folder: &Path) -> anyhow::Result<Vec<File>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("the folder {} cannot be read (--dir)", folder.display()))?;
    let mut numbered = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(".sql")) else {
            continue;
        };
        let number: Option<u32> =
            name.split_once('_').filter(|(digits, _)| digits.len() == 4).and_then(|(digits, _)| digits.parse().ok());
        let Some(number) = number else { bail!("{name} is not named NNNN_name.sql") };
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        if let Some(File { name: other, .. }) = numbered.insert(number, File { name: name.to_owned(), text }) {
            bail!("{other} and {name} have the same number");
        }
    }
    for (expected, number) in (1..).zip(numbered.keys()) {
        if expected != *number {
            bail!("migration {expected:04} is missing in {}", folder.display());
        }
    }
    Ok(numbered.into_values().collect())
}

/// Applies what is not applied yet; gives a line for each file.
pub(crate) async fn apply(files: &[File], url: &str, dry_run: bool) -> anyhow::Result<Vec<String>> {
    let (client, connection) = connect(url).await?;
    let applied = applied(&client).await?;
    for name in applied.keys().filter(|name| files.iter().all(|file| file.name != **name)) {
        eprintln!("warning: {name} is applied and not in the folder");
    }
    let mut report = Vec::new();
    for file in files {
        match applied.get(&file.name) {
            Some(checksum) if *checksum == file.checksum() => {}
            Some(_) => return Err(Changed(file.name.clone()).into()),
            None if dry_run => report.push(format!("would apply {}", file.name)),
            None => report.push(until_applied(&client, file).await?),
        }
    }
    if report.is_empty() {
        report.push("nothing to apply".to_owned());
    }
    drop(client);
    let _ = connection.await;
    Ok(report)
}

async fn applied(client: &Client) -> anyhow::Result<BTreeMap<String, String>> {
    let rows = client.simple_query("SELECT name, checksum FROM ebap.schema_migrations").await?;
    let pairs = rows.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((row.get(0)?.to_owned(), row.get(1)?.to_owned())),
        _ => None,
    });
    Ok(pairs.collect())
}

/// Again and again while other clients change the catalog between its beginning and its end.
async fn until_applied(client: &Client, file: &File) -> anyhow::Result<String> {
    let mut pauses = Backoff::new(PAUSE.0, PAUSE.1);
    let mut attempts = 0;
    loop {
        attempts += 1;
        let Err(error) = one(client, file).await else { return Ok(format!("applied {}", file.name)) };
        if applied(client).await?.get(&file.name) == Some(&file.checksum()) {
            return Ok(format!("{} has been applied by another client", file.name));
        }
        if !is_conflict(&error) || attempts == ATTEMPTS_MAX {
            return Err(error);
        }
        time::sleep(pauses.advance()).await;
    }
}

/// Another client was faster: the same again may succeed.
fn is_conflict(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<tokio_postgres::Error>());
    causes.any(|cause| cause.code() == Some(&SqlState::T_R_SERIALIZATION_FAILURE))
}

/// One file in one transaction: all of it or nothing.
async fn one(client: &Client, file: &File) -> anyhow::Result<()> {
    let located = |text: &str, position: usize| {
        let (line, column) = place(text, position);
        format!("{}:{line}:{column}", file.name)
    };
    let text = substitute_variables(&file.text, |name| std::env::var(name).ok()).map_err(|error| {
        anyhow::anyhow!("{}: {error} ({})", located(&file.text, error.position.unwrap_or(1)), error.sqlstate)
    })?;
    let statements = parse(&text).map_err(|error| {
        anyhow::anyhow!("{}: {error} ({})", located(&text, error.position.unwrap_or(1)), error.sqlstate)
    })?;
    client.simple_query("BEGIN").await?;
    for statement in statements {
        if let Err(error) = client.simple_query(&statement.text).await {
            client.simple_query("ROLLBACK").await?;
            let Some(error) = error.as_db_error() else { return Err(error.into()) };
            let within = match error.position() {
                Some(ErrorPosition::Original(position)) => *position as usize,
                _ => 1,
            };
            let place = located(&text, text[..statement.start].chars().count() + within);
            let hint = error.hint().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
            bail!("{place}: {} ({}){hint}", error.message(), error.code().code());
        }
    }
    let record = format!(
        "INSERT INTO ebap.schema_migrations (name, checksum) VALUES ('{}', '{}')",
        file.name.replace('\'', "''"),
        file.checksum()
    );
    client.simple_query(&record).await?;
    client.simple_query("COMMIT").await.with_context(|| format!("{} was not applied", file.name))?;
    Ok(())
}
