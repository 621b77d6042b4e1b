//! A statement ends when its time is over, when the client wants it, and when the server ends.

use futures::{StreamExt, pin_mut};
use tokio_postgres::NoTls;

use crate::process::{Server, error, failure, told, value};

/// A count over a million times a million rows: hours of work, and no row before the end.
const COMPUTES: &str = "SELECT count(*) FROM generate_series(1, 1000000) AS a, generate_series(1, 1000000) AS b";
/// Rows from the start, for hours.
const STREAMS: &str = "SELECT a.a FROM generate_series(1, 1000000) AS a, generate_series(1, 1000000) AS b";

fn timed_out() -> (String, String) {
    error("57014", "canceling statement due to statement timeout")
}

fn cancelled() -> (String, String) {
    error("57014", "canceling statement due to user request")
}

#[tokio::test]
async fn a_timeout_ends_a_query_that_only_computes() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("SET statement_timeout = '20ms'").await.expect("a time");
    assert_eq!(failure(&client, COMPUTES).await, timed_out());
    assert_eq!(told(&client.query(COMPUTES, &[]).await.expect_err("too long")), timed_out());
    assert_eq!(value(&client, "SELECT 1").await, "1");
}

#[tokio::test]
async fn a_timeout_holds_after_the_first_rows_too() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("SET statement_timeout = '20ms'").await.expect("a time");
    let rows = client.simple_query_raw(STREAMS).await.expect("it begins");
    pin_mut!(rows);
    let end = loop {
        if let Err(end) = rows.next().await.expect("it does not come to its end") {
            break end;
        }
    };
    assert_eq!(told(&end), timed_out());
    assert_eq!(value(&client, "SELECT 1").await, "1");
}

#[tokio::test]
async fn a_timeout_fails_the_block_it_happens_in() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("BEGIN; SET LOCAL statement_timeout = '20ms'").await.expect("a block");
    assert_eq!(failure(&client, COMPUTES).await, timed_out());
    assert_eq!(failure(&client, "SELECT 1").await.0, "25P02");
    client.batch_execute("ROLLBACK").await.expect("the end");
    assert_eq!(value(&client, "SHOW statement_timeout").await, "0");
}

#[tokio::test]
async fn a_client_cancels_what_only_computes() {
    let server = Server::start();
    let client = server.connect().await;
    let token = client.cancel_token();
    for _ in 0..2 {
        let query = client.simple_query(COMPUTES);
        pin_mut!(query);
        // A request that comes before the query is for nothing, so it is made until one is heard.
        let end = loop {
            tokio::select! {
                end = &mut query => break end.expect_err("it is cancelled"),
                sent = token.cancel_query(NoTls) => sent.expect("a request"),
            }
        };
        assert_eq!(told(&end), cancelled());
    }
}

#[tokio::test]
async fn a_client_cancels_a_result_that_it_reads() {
    let server = Server::start();
    let client = server.connect().await;
    let none: [&str; 0] = [];
    let rows = client.query_raw(STREAMS, none).await.expect("it begins");
    pin_mut!(rows);
    rows.next().await.expect("a row").expect("a row");
    client.cancel_token().cancel_query(NoTls).await.expect("a request");
    let end = loop {
        if let Err(end) = rows.next().await.expect("it does not come to its end") {
            break end;
        }
    };
    assert_eq!(told(&end), cancelled());
    assert_eq!(value(&client, "SELECT 1").await, "1");
}

#[tokio::test]
async fn a_server_that_ends_says_so() {
    let server = Server::start();
    let (client, connection) = server.open().await;
    server.terminate();
    let end = connection.await.expect_err("the server ends it");
    assert_eq!(told(&end), error("57P01", "terminating connection due to administrator command"));
    drop(client);
}
