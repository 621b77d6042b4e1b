//! What a server says besides answering.

use std::future::poll_fn;

use tokio_postgres::AsyncMessage;

use crate::process::Server;

#[tokio::test]
async fn a_new_view_says_how_much_it_has_to_read() {
    let server = Server::start();
    let (client, mut connection) = server.open().await;
    let heard = tokio::spawn(async move {
        let mut heard = Vec::new();
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notice(notice) = message {
                heard.push(notice.message().to_owned());
            }
        }
        heard
    });
    let view = |name: &str| format!("CREATE MATERIALIZED VIEW {name} AS SELECT count(*) AS n FROM orders");
    for statement in [
        "CREATE STREAM orders (id BIGINT NOT NULL) WITH (connector = 'generator', rows = 500)",
        "FLUSH",
        &view("one"),
        "FLUSH",
        "BEGIN",
        &view("two"),
        "COMMIT",
        &view("one").replace("VIEW", "VIEW IF NOT EXISTS"),
        "ALTER MATERIALIZED VIEW one PAUSE",
        "ALTER MATERIALIZED VIEW one PAUSE",
    ] {
        client.batch_execute(statement).await.expect(statement);
    }
    let jobs = "SELECT lag, progress FROM ebap.jobs WHERE name = 'two'";
    client.batch_execute("FLUSH").await.expect("flush");
    let row = client.query_one(jobs, &[]).await.expect(jobs);
    assert_eq!((row.get::<_, i64>(0), row.get::<_, f64>(1)), (0, 100.0));
    drop(client);
    assert_eq!(
        heard.await.expect("the connection ends"),
        [
            "catching up with 500 records; see progress in ebap.jobs",
            "materialized view \"one\" already exists, skipping",
            "materialized view \"one\" is paused already",
        ]
    );
}
