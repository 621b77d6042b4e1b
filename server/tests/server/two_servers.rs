//! Two servers on one catalog and one state.

use std::time::Duration;

use tempfile::TempDir;
use tokio_postgres::Client;

use crate::process::{STREAM, Server, ebap, failure, printed, rows};

/// Longer than a server takes to see what another one has done.
const PATIENCE: Duration = Duration::from_secs(60);
const VIEW: &str =
    "CREATE MATERIALIZED VIEW by_region AS SELECT region, count(*) AS orders FROM orders GROUP BY region";

/// Two servers with folders of their own, and the folder that they share.
struct Two {
    first: Server,
    second: Server,
    shared: TempDir,
}

impl Two {
    fn start() -> Self {
        let shared = tempfile::tempdir().expect("a folder");
        let (first, second) = (one(&shared), one(&shared));
        Self { first, second, shared }
    }
}

fn one(shared: &TempDir) -> Server {
    Server::start_with(&[("EBAP_STATE_URL", &format!("file://{}/state", shared.path().display()))])
}

/// Asks until this is the answer.
async fn until(client: &Client, sql: &str, expected: &[&[&str]]) {
    let mut found = Vec::new();
    let asked = tokio::time::timeout(PATIENCE, async {
        while found != expected {
            found = rows(client, sql).await;
        }
    });
    let answered = asked.await.is_ok();
    assert!(answered, "{sql}: {found:?}");
}

const STATES: &str = "SELECT name, state FROM ebap.jobs ORDER BY name";
const RUNNING: &[&[&str]] = &[&["by_region", "running"], &["orders", "running"]];
const SUPERSEDED: &[&[&str]] = &[&["by_region", "superseded"], &["orders", "superseded"]];

#[tokio::test]
async fn what_one_server_creates_another_knows_and_can_take_over() {
    let two = Two::start();
    let (first, second) = (two.first.connect().await, two.second.connect().await);
    first.batch_execute(STREAM).await.expect("a stream");
    first.batch_execute(VIEW).await.expect("a view");
    until(&first, STATES, RUNNING).await;
    until(&second, STATES, SUPERSEDED).await;
    let told = "another process runs \"orders\"; ALTER STREAM orders RESUME, said to this server, takes it over";
    let message = rows(&second, "SELECT message FROM ebap.jobs WHERE name = 'orders'").await;
    assert_eq!(message, [[told]]);
    for (sql, what) in [
        ("SELECT * FROM by_region", "materialized view \"by_region\" is not up to date here: "),
        ("SELECT * FROM orders", "stream \"orders\" is not up to date here: "),
        ("SELECT * FROM \"orders$late\"", "stream \"orders\" is not up to date here: "),
        ("SELECT * FROM \"orders$dlq\"", "stream \"orders\" is not up to date here: "),
        ("FLUSH", ""),
    ] {
        let (code, message) = failure(&second, sql).await;
        assert_eq!((code.as_str(), message), ("55000", format!("{what}another process runs \"orders\"")), "{sql}");
    }
    first.batch_execute("FLUSH").await.expect("it runs there");
    let counted = "SELECT CAST(sum(orders) AS BIGINT) FROM by_region";
    assert_eq!(rows(&first, counted).await, [["1"]]);

    // The other way round: nothing is written, and the first notices all the same.
    second.batch_execute("ALTER STREAM orders RESUME").await.expect("it takes it over");
    second.batch_execute("FLUSH").await.expect("it runs here");
    assert_eq!(rows(&second, counted).await, [["1"]]);
    until(&first, STATES, SUPERSEDED).await;
    until(&second, STATES, RUNNING).await;
    let (code, message) = failure(&first, counted).await;
    assert_eq!(code, "55000");
    assert!(
        message.starts_with("materialized view \"by_region\" is not up to date here: another process"),
        "{message}"
    );

    // What is dropped on one is gone on both, with all files of it.
    first.batch_execute("DROP STREAM orders CASCADE").await.expect("dropped");
    until(&second, STATES, &[]).await;
    let state = two.shared.path().join("state/pipelines");
    let deleted = tokio::time::timeout(PATIENCE, async {
        while files(&state) > 0 {
            rows(&first, "SELECT 1").await;
        }
    });
    deleted.await.expect("the server that runs it deletes its files");
    first.batch_execute(STREAM).await.expect("the name is free here");
    until(&second, STATES, &[&["orders", "superseded"]]).await;
}

fn files(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}

#[tokio::test]
async fn a_server_that_slept_stands_by_and_knows_what_was_changed_meanwhile() {
    let shared = tempfile::tempdir().expect("a folder");
    let mut first = one(&shared);
    let client = first.connect().await;
    client.batch_execute(STREAM).await.expect("a stream");
    client.batch_execute(VIEW).await.expect("a view");
    until(&client, STATES, RUNNING).await;
    first.signal("STOP");
    // Who starts last takes all over.
    let second = one(&shared);
    let other = second.connect().await;
    until(&other, STATES, RUNNING).await;
    for number in 0..30 {
        let create = format!("CREATE FUNCTION f{number}(x BIGINT) RETURNS BIGINT AS 'x'");
        other.batch_execute(&create).await.expect("it is durable");
        other.batch_execute("FLUSH").await.expect("an epoch");
    }
    first.signal("CONT");
    let (code, _) = failure(&client, "CREATE FUNCTION f7(x BIGINT) RETURNS BIGINT AS 'x'").await;
    assert_eq!(code, "42723", "it was created meanwhile");
    client
        .batch_execute("CREATE FUNCTION mine(x BIGINT) RETURNS BIGINT AS 'f29(x)'")
        .await
        .expect("made from the newest");
    until(&client, STATES, SUPERSEDED).await;
    assert_eq!(failure(&client, "FLUSH").await.0, "55000", "nothing is acknowledged");
    until(&other, "SELECT count(*) FROM ebap.jobs WHERE state = 'running'", &[&["2"]]).await;
    other.batch_execute("DROP FUNCTION mine").await.expect("it is known here");
    assert!(first.ends(), "it is no failure");
    other.batch_execute("FLUSH").await.expect("the other one goes on");
}

#[tokio::test]
async fn a_block_that_another_server_was_faster_than_succeeds_when_it_runs_again() {
    let two = Two::start();
    let (first, second) = (two.first.connect().await, two.second.connect().await);
    second.batch_execute("BEGIN").await.expect("a block");
    second.batch_execute("CREATE FUNCTION twice(x BIGINT) RETURNS BIGINT AS 'x + x'").await.expect("staged");
    first.batch_execute("CREATE FUNCTION once(x BIGINT) RETURNS BIGINT AS 'x'").await.expect("it is durable");
    let (code, _) = failure(&second, "COMMIT").await;
    assert_eq!(code, "40001");
    second
        .batch_execute("BEGIN; CREATE FUNCTION twice(x BIGINT) RETURNS BIGINT AS 'x + x'; COMMIT")
        .await
        .expect("the second time");
    // A statement by itself is made from the newest catalog, whoever has changed it.
    first
        .batch_execute("CREATE FUNCTION four(x BIGINT) RETURNS BIGINT AS 'twice(twice(x))'")
        .await
        .expect("it knows of twice()");
    let (code, _) = failure(&second, "CREATE FUNCTION once(x BIGINT) RETURNS BIGINT AS 'x * 1'").await;
    assert_eq!(code, "42723");
    second.batch_execute("DROP FUNCTION four").await.expect("it knows of four()");
}

#[tokio::test]
async fn twenty_clients_change_things_at_once_beside_migrate_and_nothing_is_lost() {
    const CLIENTS: usize = 20;
    const EACH: usize = 4;
    let two = Two::start();
    two.first.connect().await.batch_execute(STREAM).await.expect("a stream");
    for number in 1..=3 {
        let view = VIEW.replace("by_region", &format!("migrated_{number}"));
        two.first.file(&format!("migrations/000{number}_view.sql"), &format!("{view};"));
    }
    let mut migrate = ebap();
    migrate.args(["migrate", "--url", &two.first.url, "--dir"]).arg(two.first.folder.path().join("migrations"));
    let migrated = tokio::task::spawn_blocking(move || migrate.output().expect("the binary starts"));
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        let session = if client % 2 == 0 { two.first.connect().await } else { two.second.connect().await };
        clients.push(tokio::spawn(async move {
            for number in 0..EACH {
                let name = format!("f{client}_{number}");
                let create = format!("CREATE FUNCTION {name}(x BIGINT) RETURNS BIGINT AS 'x + {number}'");
                session.batch_execute(&create).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
                if number % 2 == 1 {
                    let drop = format!("DROP FUNCTION {name}");
                    session.batch_execute(&drop).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
                }
            }
        }));
    }
    for client in clients {
        client.await.expect("each statement succeeds");
    }
    let (done, text) = printed(&migrated.await.expect("it ends"));
    assert!(done, "{text}");
    let mut expected: Vec<String> =
        (0..CLIENTS).flat_map(|client| [0, 2].map(|number| format!("f{client}_{number}"))).collect();
    expected.sort();
    for server in [&two.first, &two.second] {
        let client = server.connect().await;
        until(&client, "SELECT name FROM ebap.schema_migrations ORDER BY name", MIGRATED).await;
        // What the other server has changed last comes a moment later, too.
        let mut found = Vec::new();
        let all = tokio::time::timeout(PATIENCE, async {
            while found != expected {
                found = rows(&client, "SHOW FUNCTIONS").await.into_iter().map(|mut row| row.swap_remove(0)).collect();
                found.sort();
            }
        });
        assert!(all.await.is_ok(), "{found:?}, and not {expected:?}");
    }
}

const MIGRATED: &[&[&str]] = &[&["0001_view.sql"], &["0002_view.sql"], &["0003_view.sql"]];
