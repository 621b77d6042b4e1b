//! Cursors of SQL: read in parts, ended with their transaction, described as portals.

use futures::{StreamExt, TryStreamExt};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::process::{Server, error, failure, told, value};

/// More rows than a server of this memory could hold.
const MANY: &str = "SELECT n, repeat('x', 100) AS t FROM generate_series(1, 50000000) AS g (n)";

async fn fetched(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.expect(sql);
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        _ => None,
    });
    rows.collect()
}

#[tokio::test]
async fn a_large_result_is_read_in_parts_within_the_memory_of_one() {
    let server = Server::start_with(&[("EBAP_MEMORY_LIMIT", "256MiB")]);
    let client = server.connect().await;
    client.batch_execute(&format!("BEGIN; DECLARE c CURSOR FOR {MANY}")).await.expect("a cursor");
    assert_eq!(fetched(&client, "FETCH 3 FROM c").await, ["1", "2", "3"]);
    client.batch_execute("MOVE 99997 FROM c").await.expect("rows to pass over");
    assert_eq!(fetched(&client, "FETCH 2 FROM c").await, ["100001", "100002"]);
    // Another one beside it, and other statements.
    client.batch_execute("DECLARE d CURSOR FOR SELECT 7").await.expect("a cursor");
    assert_eq!(fetched(&client, "FETCH ALL FROM d").await, ["7"]);
    assert_eq!(value(&client, "SELECT 1").await, "1");
    assert_eq!(fetched(&client, "FETCH c").await, ["100003"]);
    client.batch_execute("COMMIT").await.expect("an end");
    assert_eq!(failure(&client, "FETCH c").await, error("34000", "cursor \"c\" does not exist"));
}

#[tokio::test]
async fn a_cursor_takes_parameters_and_is_read_in_both_protocols() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("BEGIN").await.expect("a block");
    let declare = "DECLARE c CURSOR FOR SELECT n, n::text AS t FROM generate_series(1, 10) AS g (n) WHERE n > $1";
    client.execute(declare, &[&7_i32]).await.expect("a cursor");
    // As psycopg reads: the statement is described, then its rows come in the binary format.
    let rows = client.query("FETCH 2 FROM c", &[]).await.expect("rows");
    assert_eq!(rows.iter().map(|row| row.get::<_, &str>("t")).collect::<Vec<_>>(), ["8", "9"]);
    let rest = client.query("FETCH ALL FROM c", &[]).await.expect("rows");
    assert_eq!(rest.len(), 1);
    // The same name may have other columns the next time.
    client.batch_execute("CLOSE c; DECLARE c CURSOR FOR SELECT true AS b").await.expect("another");
    assert!(client.query_one("FETCH c", &[]).await.expect("a row").get::<_, bool>("b"));
}

#[tokio::test]
async fn a_query_that_fails_ends_its_cursor_and_its_transaction() {
    let server = Server::start();
    let client = server.connect().await;
    let failing = "SELECT 10 / (5 - n) FROM generate_series(1, 100000) AS g (n)";
    client.batch_execute(&format!("BEGIN; DECLARE c CURSOR FOR {failing}")).await.expect("a cursor");
    assert_eq!(failure(&client, "FETCH ALL FROM c").await, error("22012", "division by zero"));
    assert_eq!(failure(&client, "FETCH c").await.0, "25P02");
    client.batch_execute("ROLLBACK").await.expect("an end");
    assert_eq!(failure(&client, "FETCH c").await.0, "34000");
    assert_eq!(failure(&client, "BEGIN; DECLARE c SCROLL CURSOR FOR SELECT 1").await.0, "0A000");
}

#[tokio::test]
async fn a_session_may_have_so_many_cursors() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("BEGIN").await.expect("a block");
    for number in 0..500 {
        client.batch_execute(&format!("DECLARE c{number} CURSOR FOR SELECT 1")).await.expect("a cursor");
    }
    let more = failure(&client, "DECLARE more CURSOR FOR SELECT 1").await;
    assert_eq!(more, error("53400", "too many cursors in this session"));
    client.batch_execute("ROLLBACK").await.expect("an end");
    client.batch_execute("BEGIN; DECLARE c1 CURSOR FOR SELECT 1; CLOSE ALL").await.expect("room again");
}

#[tokio::test]
async fn a_copy_comes_as_its_rows_do_and_ends_where_the_client_says() {
    let server = Server::start_with(&[("EBAP_MEMORY_LIMIT", "256MiB")]);
    let client = server.connect().await;
    let token = client.cancel_token();
    let mut copy = Box::pin(client.copy_out(&format!("COPY ({MANY}) TO STDOUT")).await.expect("a copy"));
    let first = copy.next().await.expect("a part").expect("rows");
    assert!(first.starts_with(b"1\txxx"), "{first:?}");
    token.cancel_query(tokio_postgres::NoTls).await.expect("a request");
    let ended = copy.try_for_each(|_| async { Ok(()) }).await.expect_err("it was cancelled");
    assert_eq!(told(&ended), error("57014", "canceling statement due to user request"));
    assert_eq!(value(&client, "SELECT 1").await, "1");
}

#[tokio::test]
async fn a_portal_that_reads_a_cursor_gives_its_rows_to_no_other_cursor() {
    let server = Server::start();
    let mut client = server.connect().await;
    let block = client.transaction().await.expect("a block");
    block.batch_execute("DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 9) AS g (n)").await.expect("a cursor");
    let fetch = block.prepare("FETCH ALL FROM c").await.expect("a statement");
    let portal = block.bind(&fetch, &[]).await.expect("a portal");
    assert_eq!(block.query_portal(&portal, 2).await.expect("rows").len(), 2);
    block.batch_execute("SAVEPOINT s").await.expect("a savepoint");
    let busy = block.batch_execute("FETCH c").await.expect_err("the portal has its rows");
    assert_eq!(told(&busy).0, "55000");
    block.batch_execute("ROLLBACK TO s; CLOSE c; DECLARE c CURSOR FOR SELECT 'new' AS t").await.expect("another");
    // The rest of the old rows goes back, and must not come here.
    drop(portal);
    let rows = block.query("FETCH ALL FROM c", &[]).await.expect("rows");
    assert_eq!(rows.iter().map(|row| row.get::<_, &str>(0)).collect::<Vec<_>>(), ["new"]);
}
