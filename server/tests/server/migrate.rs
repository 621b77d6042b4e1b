//! `ebap migrate`: files in order, each once and whole.

use std::{path::Path, process::Output};

use crate::process::{STREAM, Server, ebap, printed, rows};

const VIEW: &str =
    "CREATE MATERIALIZED VIEW by_region AS SELECT region, count(*) AS orders FROM orders GROUP BY region;";

fn migrate(server: &Server, args: &[&str]) -> Output {
    migrate_from(server, &server.folder.path().join("migrations"), args)
}

pub(crate) fn migrate_from(server: &Server, folder: &Path, args: &[&str]) -> Output {
    let mut command = ebap();
    command.args(["migrate", "--url", &server.url, "--dir"]).arg(folder);
    command.args(args).output().expect("the binary starts")
}

async fn objects(server: &Server) -> Vec<Vec<String>> {
    rows(&server.connect().await, "SELECT name FROM ebap.jobs ORDER BY name").await
}

#[tokio::test]
async fn files_are_applied_once_and_in_order() {
    let server = Server::start();
    server.file("migrations/0001_orders.sql", &format!("{STREAM};"));
    server.file("migrations/0002_view.sql", VIEW);
    let (done, text) = printed(&migrate(&server, &[]));
    assert!(done && text.contains("applied 0001_orders.sql\napplied 0002_view.sql"), "{text}");
    assert_eq!(objects(&server).await, [["by_region"], ["orders"]]);
    let (done, text) = printed(&migrate(&server, &[]));
    assert!(done && text.contains("nothing to apply"), "{text}");
}

#[tokio::test]
async fn a_dry_run_lists_and_changes_nothing() {
    let server = Server::start();
    server.file("migrations/0001_orders.sql", &format!("{STREAM};"));
    let (done, text) = printed(&migrate(&server, &["--dry-run"]));
    assert!(done && text.contains("would apply 0001_orders.sql"), "{text}");
    assert!(objects(&server).await.is_empty());
}

#[tokio::test]
async fn a_file_that_has_changed_since_is_an_error() {
    let server = Server::start();
    server.file("migrations/0001_orders.sql", &format!("{STREAM};"));
    assert!(printed(&migrate(&server, &[])).0);
    server.file("migrations/0001_orders.sql", &format!("{STREAM}; -- changed"));
    let (done, text) = printed(&migrate(&server, &[]));
    assert!(!done && text.contains("0001_orders.sql has changed since it was applied"), "{text}");
}

#[tokio::test]
async fn a_demo_of_another_version_says_which_folder_to_remove() {
    let mut server = Server::start();
    server.file("migrations/0001_sources.sql", &format!("{STREAM};"));
    assert!(printed(&migrate(&server, &[])).0);
    assert!(server.ends(), "in order");
    let data = server.folder.path().join("data");
    let mut demo = ebap();
    demo.args(["demo", "--for", "1s", "--pg-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--data-dir"])
        .arg(&data);
    let (done, text) = printed(&demo.output().expect("the binary starts"));
    let wanted = format!(
        "{} has the demo of another version; remove it, or name another folder with --data-dir",
        data.display()
    );
    assert!(!done && text.contains(&wanted) && text.contains("0001_sources.sql has changed"), "{text}");
}

#[tokio::test]
async fn a_statement_that_fails_is_named_with_its_place_and_nothing_of_its_file_stays() {
    let server = Server::start();
    server.file("migrations/0001_orders.sql", &format!("{STREAM};\n\n{}", VIEW.replace("region,", "nix,")));
    let (done, text) = printed(&migrate(&server, &[]));
    let place = "0001_orders.sql:4:46: column \"nix\" does not exist (42703)";
    assert!(!done && text.contains(place), "{text}");
    assert!(objects(&server).await.is_empty());
    let applied = rows(&server.connect().await, "SELECT name FROM ebap.schema_migrations").await;
    assert!(applied.is_empty(), "{applied:?}");
}

#[tokio::test]
async fn files_that_cannot_be_ordered_are_an_error() {
    let server = Server::start();
    server.file("migrations/0002_orders.sql", STREAM);
    let (done, text) = printed(&migrate(&server, &[]));
    assert!(!done && text.contains("migration 0001 is missing"), "{text}");
    server.file("migrations/first.sql", STREAM);
    let (done, text) = printed(&migrate(&server, &[]));
    assert!(!done && text.contains("first.sql is not named NNNN_name.sql"), "{text}");
}
