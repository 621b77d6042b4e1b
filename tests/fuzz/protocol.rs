//! The protocol: bytes before and behind the startup packet, and valid messages that are changed.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use anyhow::{Context, bail};
use bytes::BytesMut;
use ebap_tests::{
    hostile_records::{garbage, mutated},
    random::Random,
};
use postgres_protocol::{IsNull, message::frontend};

use crate::{Target, corpus, print};

/// Inputs of `make test`, at the most.
const USUAL: u64 = 100_000;
/// Behind so many inputs the server is looked at by a session of its own.
const LOOK_EVERY: u64 = 50;
/// The client has said all: so long the server may take to close.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn run() -> anyhow::Result<()> {
    let target = Target::start().await?;
    for (name, input) in corpus::kept("protocol")? {
        send(&target, &input).and_then(|()| target.stands()).with_context(|| format!("corpus/protocol/{name}"))?;
    }
    let mut count = 0;
    let mut since: Vec<Vec<u8>> = Vec::new();
    while target.goes_on(count, USUAL) {
        let mut random = Random::new(target.seed.wrapping_mul(179_424_673).wrapping_add(count));
        let input = input(&mut random)?;
        let sent = send(&target, &input);
        since.push(input);
        count += 1;
        let outcome = if count % LOOK_EVERY == 0 { sent.and_then(|()| target.stands()) } else { sent };
        if let Err(why) = outcome {
            // The last is the likeliest; the others since the last look stand in front of it.
            let input = since.pop().unwrap_or_default();
            return corpus::find("protocol", &format!("seed-{}-{count}", target.seed), &input, &why);
        }
        if count % LOOK_EVERY == 0 {
            since.clear();
        }
    }
    target.stands()?;
    print(&format!("protocol: {count} inputs"));
    Ok(())
}

/// Sends all, closes its side, and waits until the server closes the other.
fn send(target: &Target, input: &[u8]) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", target.address.port)).context("connect")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // A server that has refused may close while it is being written to.
    let _ = stream.write_all(input).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = [0; 16_384];
    loop {
        match stream.read(&mut answer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut].contains(&error.kind()) => {
                bail!("the connection is still open {} s after the client has closed its side", PATIENCE.as_secs())
            }
            // Closed by a reset, as something unread was left.
            Err(_) => return Ok(()),
        }
    }
}

fn input(random: &mut Random) -> anyhow::Result<Vec<u8>> {
    let mut output = BytesMut::new();
    match random.below(10) {
        0 => return Ok(garbage(random)),
        1 => {
            frontend::ssl_request(&mut output);
            output.extend_from_slice(&garbage(random));
        }
        2 => frontend::cancel_request(random.number() as i32, random.number() as i32, &mut output),
        // GSSENCRequest
        3 => output.extend_from_slice(&[0, 0, 0, 8, 4, 210, 22, 48]),
        _ => {}
    }
    startup(random, &mut output)?;
    if random.one_in(4) {
        return Ok(mutated(random, output.to_vec()));
    }
    let mut bytes = output.to_vec();
    for _ in 0..1 + random.below(6) {
        let message = message(random)?;
        bytes.extend_from_slice(&match random.below(3) {
            0 => message,
            1 => mutated(random, message),
            _ => resized(random, message),
        });
    }
    Ok(bytes)
}

fn startup(random: &mut Random, output: &mut BytesMut) -> anyhow::Result<()> {
    let long = "x".repeat(20_000);
    let values = ["ebap", "", "UTC", "ä", "' OR 1=1", long.as_str()];
    let names =
        ["application_name", "client_encoding", "options", "replication", "TimeZone", "DateStyle", "nothing", "_pq_.x"];
    let mut parameters = vec![("user", "ebap"), ("database", "ebap")];
    for _ in 0..random.below(3) {
        parameters.push((*random.of(&names), *random.of(&values)));
    }
    frontend::startup_message(parameters, output)?;
    Ok(())
}

fn message(random: &mut Random) -> anyhow::Result<Vec<u8>> {
    let sql = *random.of(&[
        "SELECT 1",
        "SELECT $1::int4 + $2",
        "SELECT $1",
        "",
        ";",
        "BEGIN",
        "ROLLBACK",
        "SELECT 1; SELECT 2; x",
        "COPY (SELECT 1) TO STDOUT",
        "COPY x FROM STDIN",
        "DECLARE c CURSOR FOR SELECT 1",
        "SHOW ALL",
        "SELECT count(*) FROM ebap.jobs",
    ]);
    let names = ["", "a", "b", "ä"];
    let (statement, portal) = (*random.of(&names), *random.of(&names));
    let types = [0, 16, 20, 23, 25, 701, 1700, 1184, 2950, 3802, 1007, 999_999_999];
    let mut output = BytesMut::new();
    match random.below(13) {
        0 | 1 => frontend::query(sql, &mut output)?,
        2 | 3 => {
            let types: Vec<u32> = (0..random.below(4)).map(|_| *random.of(&types)).collect();
            frontend::parse(statement, sql, types, &mut output)?;
        }
        4 | 5 => bind(random, portal, statement, &mut output)?,
        6 => frontend::describe(*random.of(b"SPX\0"), statement, &mut output)?,
        7 => frontend::execute(portal, *random.of(&[0, 1, -1, i32::MAX, i32::MIN]), &mut output)?,
        8 => frontend::close(*random.of(b"SPX\0"), portal, &mut output)?,
        9 => frontend::flush(&mut output),
        10 => frontend::sync(&mut output),
        11 => frontend::copy_done(&mut output),
        _ => frontend::password_message(sql.as_bytes(), &mut output)?,
    }
    Ok(output.to_vec())
}

fn bind(random: &mut Random, portal: &str, statement: &str, output: &mut BytesMut) -> anyhow::Result<()> {
    let formats: Vec<i16> = (0..random.below(4)).map(|_| *random.of(&[0, 1, 2, -1])).collect();
    let values: Vec<Option<Vec<u8>>> =
        (0..random.below(4)).map(|_| if random.one_in(4) { None } else { Some(garbage(random)) }).collect();
    let results: Vec<i16> = (0..random.below(3)).map(|_| *random.of(&[0, 1, 7])).collect();
    let bound = frontend::bind(
        portal,
        statement,
        formats,
        values,
        |value, buffer| match value {
            Some(value) => {
                buffer.extend_from_slice(&value);
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        },
        results,
        output,
    );
    if bound.is_err() {
        bail!("the message cannot be written");
    }
    Ok(())
}

/// A length that is not that of the message.
fn resized(random: &mut Random, mut message: Vec<u8>) -> Vec<u8> {
    let length: i32 = *random.of(&[0, 1, 3, 4, 5, 255, 65_536, 1 << 28, i32::MAX, -1, i32::MIN]);
    if message.len() >= 5 {
        message[1..5].copy_from_slice(&length.to_be_bytes());
    }
    message
}
