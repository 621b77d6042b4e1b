//! Statements that stay prepared while the relations they name are changed.

use tokio_postgres::{Client, Statement};

use crate::process::{STREAM, Server, error, told, value};

/// A stream of `rows` rows, all of them read.
async fn stream(client: &Client, rows: usize) {
    let stream = STREAM.replace("rows = 1", &format!("rows = {rows}"));
    made(client, &stream).await;
}

async fn view(client: &Client, sql: &str) {
    made(client, &format!("CREATE MATERIALIZED VIEW {sql}")).await;
}

/// All that the statements make has the rows that there are.
async fn made(client: &Client, sql: &str) {
    client.batch_execute(sql).await.expect(sql);
    client.batch_execute("FLUSH").await.expect("all is read");
}

async fn count(client: &Client, statement: &Statement) -> i64 {
    client.query_one(statement, &[]).await.expect("a row").get(0)
}

#[tokio::test]
async fn a_view_made_again_is_what_a_prepared_statement_reads() {
    let server = Server::start();
    let (client, other) = (server.connect().await, server.connect().await);
    stream(&client, 10).await;
    view(&client, "v AS SELECT id, region FROM orders").await;
    let statement = client.prepare("SELECT count(*) FROM v").await.expect("a statement");
    assert_eq!(count(&client, &statement).await, 10);
    let twice = "SELECT id FROM orders UNION ALL SELECT id FROM orders";
    for (made_again, rows) in [
        (format!("DROP MATERIALIZED VIEW v; CREATE MATERIALIZED VIEW v AS {twice}"), 20),
        ("CREATE MATERIALIZED VIEW w AS SELECT id FROM orders; ALTER MATERIALIZED VIEW v SWAP WITH w".to_owned(), 10),
        (format!("BEGIN; DROP MATERIALIZED VIEW v; CREATE MATERIALIZED VIEW v AS {twice}; COMMIT"), 20),
    ] {
        // By another session, as a migration does it.
        made(&other, &made_again).await;
        assert_eq!(count(&client, &statement).await, rows, "{made_again}");
        assert_eq!(value(&client, "SELECT count(*) FROM v").await, rows.to_string(), "{made_again}");
    }
    other.batch_execute("DROP MATERIALIZED VIEW v").await.expect("a drop");
    let gone = client.query_one(&statement, &[]).await.expect_err("it is gone");
    assert_eq!(told(&gone), error("42P01", "relation \"v\" does not exist"));
}

#[tokio::test]
async fn other_columns_than_the_client_was_told_of_are_an_error() {
    let server = Server::start();
    let client = server.connect().await;
    stream(&client, 2).await;
    view(&client, "v AS SELECT id FROM orders").await;
    let statement = client.prepare("SELECT * FROM v").await.expect("a statement");
    assert_eq!(client.query(&statement, &[]).await.expect("rows").len(), 2);
    client.batch_execute("DROP MATERIALIZED VIEW v").await.expect("a drop");
    view(&client, "v AS SELECT region AS id FROM orders").await;
    let changed = client.query(&statement, &[]).await.expect_err("other columns");
    assert_eq!(told(&changed), error("0A000", "cached plan must not change result type"));
    // Prepared again it runs, and one that the change does not touch always did.
    let again = client.prepare("SELECT * FROM v").await.expect("a statement");
    assert_eq!(client.query(&again, &[]).await.expect("rows").len(), 2);
}

#[tokio::test]
async fn a_function_made_again_is_what_a_prepared_statement_calls() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("CREATE FUNCTION f(x BIGINT) RETURNS BIGINT AS 'x + 1'").await.expect("a function");
    let statement = client.prepare("SELECT f($1)").await.expect("a statement");
    let called = |x: i64| {
        let (client, statement) = (&client, &statement);
        async move { client.query_one(statement, &[&x]).await.expect("a row").get::<_, i64>(0) }
    };
    assert_eq!(called(1).await, 2);
    client.batch_execute("CREATE OR REPLACE FUNCTION f(x BIGINT) RETURNS BIGINT AS 'x * 10'").await.expect("another");
    assert_eq!((called(1).await, called(2).await), (10, 20));
}
