//! The bounds of memory: who goes over them is told so, and nobody else.

use crate::process::{Server, ebap, failure, printed, value};

#[tokio::test]
async fn a_query_that_needs_too_much_is_told_the_limit() {
    let server = Server::start_with(&[("EBAP_QUERY_MEMORY_MAX", "10MB")]);
    let client = server.connect().await;
    let sql = "SELECT cardinality(array_agg(value)) FROM generate_series(1, 3000000) AS s(value)";
    let error = client.simple_query(sql).await.expect_err("it needs more");
    let error = error.as_db_error().expect("an answer");
    assert_eq!((error.code().code(), error.message()), ("53200", "out of memory"));
    let detail = error.detail().unwrap_or_default();
    assert!(detail.contains("10485760 bytes (query_memory_max)"), "{detail}");
    assert_eq!(value(&client, "SELECT 1").await, "1");
}

#[tokio::test]
async fn what_no_query_accounts_for_counts_too() {
    let server = Server::start_with(&[("EBAP_MEMORY_LIMIT", "300MB")]);
    let client = server.connect().await;
    let sql = "SELECT sum(length(repeat(CAST(value AS TEXT), 20000))), max(repeat(CAST(value AS TEXT), 20000)) FROM generate_series(1000, 9191) AS s(value)";
    assert_eq!(failure(&client, sql).await.0, "53200");
    assert_eq!(value(&client, "SELECT 1").await, "1");
}

#[test]
fn the_budget_is_a_setting() {
    let shown =
        |args: &[&str]| printed(&ebap().args(["server", "--print-config"]).args(args).output().expect("it runs"));
    let (done, text) = shown(&["--memory-limit", "1GB"]);
    assert!(done && text.contains("memory_limit = \"1GB\"  # flag --memory-limit"), "{text}");
    let (done, text) = shown(&["--memory-limit", "much"]);
    assert!(!done && text.contains("memory_limit = \"much\""), "{text}");
}
