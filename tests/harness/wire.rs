//! PostgreSQL's protocol by hand: answers with the types that the server declares, and parameters in either format.
//! The same client speaks to EBAP and to PostgreSQL, so that nothing of it can make their answers differ.

use std::{
    fmt,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, bail};
use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::{
    IsNull,
    authentication::sasl::{self, ChannelBinding, ScramSha256},
    message::{
        backend::{ErrorResponseBody, Message},
        frontend,
    },
};

/// Where a server listens, and as whom to come in.
#[derive(Clone, Debug)]
pub struct Address {
    pub port: u16,
    pub user: String,
    pub password: String,
    pub database: String,
}

/// The answer to a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Rows(Rows),
    /// SQLSTATE and message.
    Error(String, String),
    /// The connection ended, or nothing came within the patience.
    Lost(String),
}

/// Values are as the server sent them: text, or binary where that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The OID of each column.
    pub types: Vec<u32>,
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
}

/// A parameter of the extended protocol.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// The type that the client declares; 0 leaves it to the server.
    pub of: u32,
    pub binary: bool,
    pub value: Option<Vec<u8>>,
}

impl Rows {
    /// The text of a value; what is no UTF-8 is shown as hexadecimal digits.
    pub fn text(&self, row: usize, column: usize) -> Option<String> {
        let value = self.rows.get(row)?.get(column)?.as_ref()?;
        Some(readable(value))
    }
}

/// Bytes as a person can read them.
pub fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("0x{}", hex(bytes)),
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(code, message) => write!(f, "{code} {message}"),
            Self::Lost(why) => write!(f, "no answer: {why}"),
            Self::Rows(found) => {
                write!(f, "{} rows, types {:?}", found.rows.len(), found.types)?;
                for at in 0..found.rows.len().min(4) {
                    let texts = (0..found.types.len()).map(|column| found.text(at, column));
                    let texts: Vec<String> = texts.map(|text| text.unwrap_or_else(|| "NULL".to_owned())).collect();
                    write!(f, " | {}", texts.join(", "))?;
                }
                Ok(())
            }
        }
    }
}

/// A connection that waits no longer than its patience.
#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
    input: BytesMut,
}

impl Session {
    /// # Errors
    /// Where nobody answers, or the server refuses.
    pub fn connect(address: &Address, patience: Duration) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", address.port)).context("connect")?;
        stream.set_nodelay(true).context("nodelay")?;
        stream.set_read_timeout(Some(patience)).context("timeout")?;
        stream.set_write_timeout(Some(patience)).context("timeout")?;
        let mut session = Self { stream, input: BytesMut::new() };
        let mut output = BytesMut::new();
        let parameters = [("user", address.user.as_str()), ("database", address.database.as_str())];
        frontend::startup_message(parameters.into_iter().chain([("client_encoding", "UTF8")]), &mut output)?;
        session.stream.write_all(&output)?;
        session.log_in(address)?;
        Ok(session)
    }

    fn log_in(&mut self, address: &Address) -> anyhow::Result<()> {
        let mut scram = None;
        loop {
            let mut output = BytesMut::new();
            match self.receive()? {
                Message::AuthenticationOk
                | Message::ParameterStatus(_)
                | Message::BackendKeyData(_)
                | Message::NoticeResponse(_) => {}
                Message::AuthenticationCleartextPassword => {
                    frontend::password_message(address.password.as_bytes(), &mut output)?;
                }
                Message::AuthenticationSasl(_) => {
                    let started = ScramSha256::new(address.password.as_bytes(), ChannelBinding::unsupported());
                    frontend::sasl_initial_response(sasl::SCRAM_SHA_256, started.message(), &mut output)?;
                    scram = Some(started);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let scram = scram.as_mut().context("SASL that was not begun")?;
                    scram.update(body.data())?;
                    frontend::sasl_response(scram.message(), &mut output)?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    scram.as_mut().context("SASL that was not begun")?.finish(body.data())?;
                }
                Message::ReadyForQuery(_) => return Ok(()),
                Message::ErrorResponse(body) => bail!("refused: {:?}", error_of(&body)),
                _ => bail!("an unexpected message while logging in"),
            }
            self.stream.write_all(&output)?;
        }
    }

    fn receive(&mut self) -> anyhow::Result<Message> {
        loop {
            if let Some(message) = Message::parse(&mut self.input)? {
                return Ok(message);
            }
            let mut chunk = [0; 16_384];
            let count = self.stream.read(&mut chunk)?;
            if count == 0 {
                bail!("the connection was closed");
            }
            self.input.extend_from_slice(&chunk[..count]);
        }
    }

    /// A statement by the simple protocol. The rows of the last of several statements.
    pub fn query(&mut self, sql: &str) -> Answer {
        let mut output = BytesMut::new();
        match frontend::query(sql, &mut output) {
            Ok(()) => self.exchange(&output),
            Err(error) => Answer::Lost(error.to_string()),
        }
    }

    /// A statement by the extended protocol: parsed, bound, described, executed.
    pub fn execute(&mut self, sql: &str, parameters: &[Parameter], binary_results: bool) -> Answer {
        match extended(sql, parameters, binary_results) {
            Ok(output) => self.exchange(&output),
            Err(error) => Answer::Lost(error.to_string()),
        }
    }

    /// Sends messages, and reads what is answered up to the server's being ready again.
    pub fn exchange(&mut self, output: &[u8]) -> Answer {
        match self.stream.write_all(output).map_err(anyhow::Error::from).and_then(|()| self.answered()) {
            Ok(answer) => answer,
            Err(error) => Answer::Lost(format!("{error:#}")),
        }
    }

    fn answered(&mut self) -> anyhow::Result<Answer> {
        let (mut found, mut failed) = (Rows::default(), None);
        loop {
            match self.receive()? {
                Message::RowDescription(body) => {
                    let types = body.fields().map(|field| Ok(field.type_oid())).collect()?;
                    found = Rows { types, rows: Vec::new() };
                }
                Message::DataRow(body) => {
                    let buffer = body.buffer();
                    let values = body.ranges().map(|range| Ok(range.map(|range| buffer[range].to_vec())));
                    found.rows.push(values.collect()?);
                }
                Message::ErrorResponse(body) => failed = Some(error_of(&body)?),
                Message::ReadyForQuery(_) => break,
                _ => {}
            }
        }
        Ok(match failed {
            Some((code, message)) => Answer::Error(code, message),
            None => Answer::Rows(found),
        })
    }
}

fn error_of(body: &ErrorResponseBody) -> anyhow::Result<(String, String)> {
    let (mut code, mut message) = (String::new(), String::new());
    let mut fields = body.fields();
    while let Some(field) = fields.next()? {
        let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => code = value,
            b'M' => message = value,
            _ => {}
        }
    }
    Ok((code, message))
}

/// The messages of one statement of the extended protocol.
fn extended(sql: &str, parameters: &[Parameter], binary_results: bool) -> anyhow::Result<BytesMut> {
    let mut output = BytesMut::new();
    frontend::parse("", sql, parameters.iter().map(|parameter| parameter.of), &mut output)?;
    let formats = parameters.iter().map(|parameter| i16::from(parameter.binary));
    let bound = frontend::bind(
        "",
        "",
        formats,
        parameters,
        |parameter, buffer| match &parameter.value {
            Some(value) => {
                buffer.extend_from_slice(value);
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        },
        [i16::from(binary_results)],
        &mut output,
    );
    if bound.is_err() {
        bail!("the parameters do not fit into a message");
    }
    frontend::describe(b'P', "", &mut output)?;
    frontend::execute("", 0, &mut output)?;
    frontend::sync(&mut output);
    Ok(output)
}
