//! Clients: many at once, psql, broken ones, and those that are connected when the server ends.

use std::process::Command;

use anyhow::{Context, ensure};
use ebap_tests::{Ebap, rows, server, wait};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

const CONNECTIONS: usize = 200;
const QUERIES: usize = 20;
/// As the protocol counts: 3.0.
const PROTOCOL_VERSION: i32 = 196_608;

const STREAM: &str =
    "CREATE STREAM events (user_id TEXT NOT NULL, action TEXT NOT NULL, timestamp TIMESTAMPTZ NOT NULL,
        WATERMARK FOR timestamp AS timestamp - INTERVAL '5 seconds')
    WITH (connector = 'generator', dataset = 'ebap.events', rate = 5000, seed = 7)";
const VIEW: &str = "CREATE MATERIALIZED VIEW activity AS
    SELECT action, count(*) AS events, count(DISTINCT user_id) AS users FROM events GROUP BY action
    WINDOW TUMBLE (timestamp, INTERVAL '10 seconds', INTERVAL '1 minute')";

/// A server that is ingesting, with rows in its view.
async fn ingesting() -> anyhow::Result<Ebap> {
    let ebap = Ebap::start().await?;
    let client = ebap.connect().await?;
    rows::execute(&client, &[STREAM, VIEW]).await?;
    wait::until("the view has rows", wait::PATIENCE, async || {
        Ok((rows::number(&client, "SELECT count(*) FROM activity").await? > 0).then_some(()))
    })
    .await?;
    Ok(ebap)
}

pub(crate) async fn two_hundred_connections() -> anyhow::Result<()> {
    let ebap = ingesting().await?;
    let port = ebap.pg_port;
    let before = ebap.connect().await?;
    let events = "SELECT CAST(sum(events) AS BIGINT) FROM activity WHERE window_size = INTERVAL '10 seconds'";
    let counted = rows::number(&before, events).await?;
    let mut sessions = JoinSet::new();
    for session in 0..CONNECTIONS {
        sessions.spawn(async move {
            let client = server::connect(port).await.with_context(|| format!("session {session}"))?;
            client.simple_query(&format!("SET application_name = 'session {session}'")).await?;
            for query in 0..QUERIES {
                let name = rows::texts(&client, "SHOW application_name").await?;
                ensure!(name == [[format!("session {session}")]], "a session sees the setting of another: {name:?}");
                let sql = match query % 3 {
                    0 => "SELECT action, sum(events) FROM activity GROUP BY action ORDER BY action",
                    1 => "SELECT window_start, action, users FROM activity ORDER BY window_start DESC, action LIMIT 5",
                    _ => "SELECT job, sum(consumed) FROM ebap.accounting GROUP BY job ORDER BY job",
                };
                let rows = client.query(sql, &[]).await.with_context(|| format!("session {session}, query {query}"))?;
                ensure!(!rows.is_empty(), "session {session}, query {query}: no rows");
            }
            anyhow::Ok(())
        });
    }
    while let Some(session) = sessions.join_next().await {
        session.context("a session panicked")??;
    }
    ensure!(rows::number(&before, events).await? > counted, "nothing was ingested meanwhile");
    Ok(())
}

/// What psql's own commands ask, as it asks it.
pub(crate) async fn psql_lists_what_exists() -> anyhow::Result<()> {
    let ebap = ingesting().await?;
    let url = ebap.url();
    let psql = |command: &str| {
        let output =
            Command::new("psql").args([&url, "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", command]).output();
        let output = output.context("psql is not there: `make deps`")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && errors.is_empty(), "psql {command}: {errors}");
        anyhow::Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for (command, parts) in [
        ("\\l", &["ebap"][..]),
        ("\\d", &["events", "activity"]),
        ("\\dt", &["events"]),
        ("\\dm", &["activity"]),
        ("\\dv ebap.*", &["accounting", "splits"]),
        ("\\d activity", &["window_start", "timestamp with time zone", "users", "bigint"]),
        ("\\dn", &["public", "ebap"]),
        ("SELECT action FROM activity LIMIT 1", &[""]),
    ] {
        let shown = psql(command)?;
        for part in parts {
            ensure!(shown.contains(part), "psql {command} does not show {part}:\n{shown}");
        }
    }
    Ok(())
}

pub(crate) async fn a_broken_client_harms_nobody() -> anyhow::Result<()> {
    let ebap = ingesting().await?;
    let alive = async |after: &str| {
        let client = ebap.connect().await.with_context(|| format!("after {after}"))?;
        ensure!(rows::number(&client, "SELECT count(*) FROM activity").await? > 0, "after {after}");
        anyhow::Ok(())
    };
    let address = ("127.0.0.1", ebap.pg_port);

    for (what, bytes) in [
        ("a length of nothing", vec![0, 0, 0, 0]),
        ("a negative length", vec![0xff; 64]),
        ("another protocol", b"GET / HTTP/1.1\r\nHost: ebap\r\n\r\n".to_vec()),
        ("an unknown version", [8_i32.to_be_bytes(), 0x7777_0000_i32.to_be_bytes()].concat()),
        ("text without an end", startup(b"user\0ebap")),
        ("a huge startup packet", [0x7fff_fff0_i32.to_be_bytes(), PROTOCOL_VERSION.to_be_bytes()].concat()),
    ] {
        let mut stream = TcpStream::connect(address).await?;
        // The server may hang up before all is sent.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        alive(what).await?;
    }

    let mut stream = session(address).await?;
    let oversize = [&b"Q"[..], &0x7fff_ffff_i32.to_be_bytes(), b"SELECT 1"].concat();
    stream.write_all(&oversize).await?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    alive("an oversize message").await?;

    let mut stream = session(address).await?;
    let sql = b"SELECT a.a, b.b FROM generate_series(1, 10000) AS a, generate_series(1, 1000) AS b\0";
    let length = i32::try_from(sql.len() + 4)?.to_be_bytes();
    stream.write_all(&[&b"Q"[..], &length, sql].concat()).await?;
    stream.read_exact(&mut [0; 1_024]).await.context("the first bytes of a long result")?;
    drop(stream);
    alive("a client that vanished").await
}

fn startup(parameters: &[u8]) -> Vec<u8> {
    let length = i32::try_from(parameters.len() + 8).unwrap_or(i32::MAX);
    [&length.to_be_bytes(), &PROTOCOL_VERSION.to_be_bytes(), parameters].concat()
}

/// A session that is ready for a query.
async fn session(address: (&str, u16)) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&startup(b"user\0ebap\0database\0ebap\0\0")).await?;
    loop {
        let kind = stream.read_u8().await.context("the server hung up")?;
        let length = usize::try_from(stream.read_i32().await?)?.saturating_sub(4);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        if kind == b'Z' {
            return Ok(stream);
        }
    }
}

pub(crate) async fn sigterm_says_57p01() -> anyhow::Result<()> {
    let mut ebap = ingesting().await?;
    let mut stream = session(("127.0.0.1", ebap.pg_port)).await?;
    let status = ebap.terminate().await?;
    ensure!(status.success(), "SIGTERM: {status}\n{}", ebap.log());
    let mut last = Vec::new();
    stream.read_to_end(&mut last).await.context("the last message")?;
    ensure!(last.windows(5).any(|part| part == b"57P01"), "last message: {:?}", String::from_utf8_lossy(&last));
    // And nothing is lost by it.
    ebap.start_again().await?;
    let client = ebap.connect().await?;
    ensure!(rows::number(&client, "SELECT count(*) FROM activity").await? > 0, "the view is empty after a restart");
    Ok(())
}
