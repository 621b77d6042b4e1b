//! `ebap demo`: the platform on generated data, in one process, with nothing else running.

use std::{io::IsTerminal, time::Duration};

use ebap_connector::{parse_duration, time};
use tokio_postgres::{NoTls, SimpleQueryMessage};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, ServerArgs},
    migrate::{self, File},
    server::{Running, start_logging, watch_signals},
};

const REFRESH: Duration = Duration::from_secs(2);

/// The same files a user would apply with `ebap migrate`.
const MIGRATIONS: [(&str, &str); 9] = [
    ("0001_sources.sql", include_str!("../../sql/migrations/0001_sources.sql")),
    ("0002_activity.sql", include_str!("../../sql/migrations/0002_activity.sql")),
    ("0003_active_users_now.sql", include_str!("../../sql/migrations/0003_active_users_now.sql")),
    ("0004_cart_abandonment.sql", include_str!("../../sql/migrations/0004_cart_abandonment.sql")),
    ("0005_regional_health.sql", include_str!("../../sql/migrations/0005_regional_health.sql")),
    ("0006_checkout_error_rate.sql", include_str!("../../sql/migrations/0006_checkout_error_rate.sql")),
    ("0007_cart_churn.sql", include_str!("../../sql/migrations/0007_cart_churn.sql")),
    ("0008_alerts.sql", include_str!("../../sql/migrations/0008_alerts.sql")),
    ("0009_roles.sql", include_str!("../../sql/migrations/0009_roles.sql")),
];

#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// End after this time, with exit code 0
    #[arg(long = "for", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Folder of catalog and state; a second start goes on where the first ended
    #[arg(long, default_value = "ebap-demo-data")]
    pub data_dir: String,
    #[arg(long)]
    pub pg_listen: Option<String>,
    #[arg(long)]
    pub http_listen: Option<String>,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| format!("\"{text}\" is not a duration such as 30s"))
}

/// # Errors
/// Where the server cannot start or a migration fails.
pub async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let folder = args.data_dir.clone();
    let server = ServerArgs {
        data_dir: Some(args.data_dir),
        pg_listen: args.pg_listen,
        http_listen: args.http_listen,
        // Whatever the environment says: it comes without a password.
        auth: Some("trust".to_owned()),
        ..ServerArgs::default()
    };
    let config = Config::load(&server, |name| std::env::var(name).ok())?;
    start_logging("warn");
    let stop = CancellationToken::new();
    watch_signals(stop.clone())?;
    let running = Running::start(&config).await?;
    let url = format!("postgres://ebap@{}/ebap", running.pg_address);
    let files: Vec<File> =
        MIGRATIONS.iter().map(|(name, text)| File { name: (*name).to_owned(), text: (*text).to_owned() }).collect();
    if let Err(error) = migrate::apply(&files, &url, false).await {
        // Nobody who only wants to see the demo has a migration to undo.
        return Err(if error.is::<migrate::Changed>() {
            error.context(format!(
                "{folder} has the demo of another version; remove it, or name another folder with --data-dir"
            ))
        } else {
            error
        });
    }
    println!(
        "ebap is running. In another terminal:\n\n    psql \"{url}\" -c 'SELECT * FROM active_users_now ORDER BY window_start DESC LIMIT 5'\n"
    );
    let watched = watch(&url, &stop);
    match args.duration {
        Some(limit) => {
            let ended = tokio::time::timeout(limit, watched).await;
            ended.unwrap_or(Ok(()))?;
        }
        None => watched.await?,
    }
    running.stop().await
}

/// Prints live numbers until it is stopped.
async fn watch(url: &str, stop: &CancellationToken) -> anyhow::Result<()> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let connection = tokio::spawn(connection);
    let in_place = std::io::stdout().is_terminal();
    let mut printed = 0;
    loop {
        let lines = numbers(&client).await?;
        if in_place && printed > 0 {
            // Up to where the table began, and over it.
            print!("\x1b[{printed}A\x1b[J");
        }
        lines.iter().for_each(|line| println!("{line}"));
        printed = lines.len();
        tokio::select! {
            () = stop.cancelled() => break,
            () = time::sleep(REFRESH) => {}
        }
    }
    connection.abort();
    Ok(())
}

async fn numbers(client: &tokio_postgres::Client) -> anyhow::Result<Vec<String>> {
    const TEXT: &str =
        "SELECT action, sum(events) AS events, sum(users) AS users, round(CAST(sum(revenue) AS NUMERIC), 2) AS revenue
        FROM activity WHERE window_size = INTERVAL '1 minute'
          AND window_start = (SELECT max(window_start) FROM activity WHERE window_size = INTERVAL '1 minute')
        GROUP BY action ORDER BY action";
    let mut lines = vec![format!("{:<10} {:>10} {:>10} {:>14}", "this minute", "events", "users", "revenue")];
    for message in client.simple_query(TEXT).await? {
        if let SimpleQueryMessage::Row(row) = message {
            let cell = |at: usize| row.get(at).unwrap_or("-");
            lines.push(format!("{:<11} {:>10} {:>10} {:>14}", cell(0), cell(1), cell(2), cell(3)));
        }
    }
    Ok(lines)
}
