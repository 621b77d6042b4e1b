//! How a session begins, what it is told of its settings, and clients that do not keep to the protocol.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_postgres::NoTls;

use crate::process::{Server, error, rows, text, told, value};

/// As the protocol counts: 3.0.
const VERSION: i32 = 196_608;

#[tokio::test]
async fn startup_parameters_and_options_are_settings() {
    let server = Server::start();
    let mut config = server.config();
    config.application_name("ledger").options("-c search_path=ebap --statement-timeout=5s");
    let (client, connection) = config.connect(NoTls).await.expect("a connection");
    tokio::spawn(connection);
    let shown = rows(
        &client,
        "SELECT current_setting('application_name'), current_setting('search_path'),
            current_setting('statement_timeout'), current_schema()",
    )
    .await;
    assert_eq!(shown, [["ledger", "ebap", "5s", "ebap"]]);
    client.batch_execute("SET application_name = 'other'; RESET application_name").await.expect("a setting");
    assert_eq!(value(&client, "SHOW application_name").await, "ledger");
}

#[tokio::test]
async fn a_session_that_cannot_begin_is_told_why() {
    let server = Server::start();
    let refused = async |config: &tokio_postgres::Config| told(&config.connect(NoTls).await.err().expect("refused"));
    let mut config = server.config();
    assert_eq!(refused(config.dbname("nowhere")).await, error("3D000", "database \"nowhere\" does not exist"));
    let mut config = server.config();
    assert_eq!(
        refused(config.options("-c statement_timeout=soon")).await,
        error("22023", "invalid value for parameter \"statement_timeout\": \"soon\"")
    );
}

#[tokio::test]
async fn a_client_is_told_of_settings_that_change() {
    let server = Server::start();
    let (client, mut connection) = server.open().await;
    assert_eq!(connection.parameter("TimeZone"), Some("UTC"));
    assert_eq!(connection.parameter("integer_datetimes"), Some("on"));
    for (sql, name, told) in [
        ("SET TIME ZONE 'Europe/Berlin'", "TimeZone", "Europe/Berlin"),
        ("SET application_name = 'report'", "application_name", "report"),
        ("BEGIN; SET application_name = 'lost'; ROLLBACK", "application_name", "report"),
        ("SET DateStyle = 'ISO, DMY'", "DateStyle", "ISO, DMY"),
        ("SELECT set_config('application_name', 'other', false)", "application_name", "other"),
        ("RESET ALL", "TimeZone", "UTC"),
    ] {
        let mut statement = pin!(client.batch_execute(sql));
        poll_fn(|context| {
            if let Poll::Ready(Some(Err(error))) = connection.poll_message(context) {
                panic!("{sql}: {error}");
            }
            statement.as_mut().poll(context)
        })
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(connection.parameter(name), Some(told), "{sql}");
    }
}

#[tokio::test]
async fn columns_without_a_name_have_that_of_postgresql() {
    let server = Server::start();
    let client = server.connect().await;
    let statement = client
        .prepare("SELECT count(*), sum(generate_series), sum(generate_series), 1 + 1 FROM generate_series(1, 3)")
        .await;
    let statement = statement.expect("a query");
    let names: Vec<&str> = statement.columns().iter().map(|column| column.name()).collect();
    assert_eq!(names, ["count", "sum", "sum", "?column?"]);
}

fn startup(parameters: &[u8]) -> Vec<u8> {
    let length = i32::try_from(parameters.len() + 8).expect("short");
    [&length.to_be_bytes(), &VERSION.to_be_bytes(), parameters].concat()
}

/// All that the server answers until it hangs up.
async fn answer(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
    stream.write_all(bytes).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer and the end");
    text(&answer)
}

#[tokio::test]
async fn a_malformed_start_is_a_fatal_error_and_harms_nobody() {
    let server = Server::start();
    for (bytes, expected) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "invalid length of startup packet"),
        (vec![0, 0, 0, 0], "invalid length of startup packet"),
        (startup(b"user\0ebap"), "invalid startup packet layout"),
        (startup(b"\0"), "no PostgreSQL user name specified"),
        ([8_i32.to_be_bytes(), 0x0007_0001_i32.to_be_bytes()].concat(), "unsupported frontend protocol 7.1"),
    ] {
        let answer = answer(&server, &bytes).await;
        assert!(answer.contains("FATAL") && answer.contains(expected), "{bytes:?}: {answer}");
    }
    assert_eq!(value(&server.connect().await, "SELECT 1").await, "1");
}

#[tokio::test]
async fn a_message_is_no_longer_than_it_may_be() {
    let server = Server::start_with(&[("EBAP_MESSAGE_BYTES_MAX", "1KB")]);
    let begin = startup(b"user\0ebap\0database\0ebap\0\0");
    let claim = [&begin[..], b"Q", &0x3fff_ffff_i32.to_be_bytes(), b"SELECT 1"].concat();
    let answer = answer(&server, &claim).await;
    assert!(answer.contains("FATAL") && answer.contains("08P01") && answer.contains("is longer than"), "{answer}");
    let client = server.connect().await;
    assert_eq!(value(&client, "SELECT 1").await, "1");
}
