//! Transaction blocks: all of it or nothing, and back to a savepoint.

use tokio::task::JoinSet;

use crate::process::{STREAM, Server, error, failure, rows, value};

async fn names(client: &tokio_postgres::Client) -> Vec<String> {
    rows(client, "SHOW STREAMS").await.into_iter().map(|mut row| row.swap_remove(0)).collect()
}

fn stream(name: &str) -> String {
    STREAM.replace("orders", name)
}

#[tokio::test]
async fn a_block_is_made_durable_as_a_whole() {
    let server = Server::start();
    let (client, other) = (server.connect().await, server.connect().await);
    client.batch_execute(&format!("BEGIN; {}", stream("one"))).await.expect("a block");
    assert_eq!(names(&client).await, ["one"]);
    assert!(names(&other).await.is_empty(), "others do not see it before COMMIT");
    assert_eq!(
        failure(&client, "SELECT * FROM one").await,
        error("0A000", "stream \"one\" cannot be read in the transaction that creates it")
    );
    client.batch_execute("ROLLBACK").await.expect("the end");
    assert!(names(&client).await.is_empty());

    client.batch_execute(&format!("BEGIN; {}; COMMIT", stream("two"))).await.expect("a block");
    assert_eq!(names(&other).await, ["two"]);
    assert_eq!(value(&client, "SELECT count(*) FROM two").await.parse::<u64>().map(|rows| rows <= 1), Ok(true));
}

#[tokio::test]
async fn a_savepoint_is_gone_back_to() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute(&format!("BEGIN; {}; SAVEPOINT a; {}", stream("one"), stream("two"))).await.expect("a block");
    assert_eq!(failure(&client, "SELECT nothing").await.0, "42703");
    assert_eq!(failure(&client, "SELECT 1").await.0, "25P02");
    client.batch_execute("ROLLBACK TO SAVEPOINT a").await.expect("a is there");
    assert_eq!(names(&client).await, ["one"]);
    client.batch_execute(&format!("{}; RELEASE a", stream("three"))).await.expect("the block goes on");
    assert_eq!(failure(&client, "ROLLBACK TO a").await, error("3B001", "savepoint \"a\" does not exist"));
    assert_eq!(failure(&client, "COMMIT AND").await.0, "42601");
    client.batch_execute("ROLLBACK").await.expect("the end");
    assert_eq!(
        failure(&client, "SAVEPOINT a").await,
        error("25P01", "SAVEPOINT can only be used in transaction blocks")
    );
}

#[tokio::test]
async fn a_failed_block_commits_nothing() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute(&format!("BEGIN; {}", stream("one"))).await.expect("a block");
    assert_eq!(failure(&client, "SELECT nothing").await.0, "42703");
    client.batch_execute("COMMIT").await.expect("it ends, as a ROLLBACK");
    assert!(names(&client).await.is_empty());
}

#[tokio::test]
async fn a_wrong_option_is_told_at_its_statement() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("BEGIN").await.expect("a block");
    let wrong = "CREATE STREAM bad (id BIGINT) WITH (connector = 'generator', rate = 0)";
    assert_eq!(failure(&client, wrong).await.0, "22023");
}

#[tokio::test]
async fn two_blocks_that_change_the_same_catalog_are_in_conflict() {
    let server = Server::start();
    let (first, second) = (server.connect().await, server.connect().await);
    for (client, name) in [(&first, "one"), (&second, "two")] {
        client.batch_execute(&format!("BEGIN; {}", stream(name))).await.expect("a block");
    }
    first.batch_execute("COMMIT").await.expect("the first wins");
    let lost = second.simple_query("COMMIT").await.expect_err("the second does not");
    let lost = lost.as_db_error().expect("of the server");
    assert_eq!((lost.code().code(), lost.hint()), ("40001", Some("Run the transaction again.")));
    // The block has ended by it.
    second.batch_execute(&stream("two")).await.expect("outside of a block");
    assert_eq!(names(&first).await, ["one", "two"]);
}

#[tokio::test]
async fn sessions_that_create_at_the_same_time_all_succeed() {
    let server = Server::start();
    let mut sessions = JoinSet::new();
    for number in 0..8 {
        let client = server.connect().await;
        sessions.spawn(async move { client.batch_execute(&stream(&format!("s{number}"))).await });
    }
    while let Some(created) = sessions.join_next().await {
        created.expect("no panic").expect("no conflict");
    }
    assert_eq!(names(&server.connect().await).await.len(), 8);
}
