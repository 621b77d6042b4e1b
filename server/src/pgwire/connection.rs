//! One connection from its first byte to its last: what comes before the protocol proper, the loop over
//! its messages, and the last word where it does not end well.

use std::{
    io::{self, Write},
    net::Shutdown,
    sync::Arc,
    time::Duration,
};

use bytes::{BufMut, BytesMut};
use pgwire::{
    api::{ClientInfo, DefaultClient, ErrorHandler, NoopHandler, PgWireConnectionState},
    error::PgWireError,
    messages::{DecodeContext, PgWireBackendMessage, PgWireFrontendMessage, response::ErrorResponse},
    tokio::server::{PgWireMessageServerCodec, process_error, process_message},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use tokio_util::codec::Framed;

use super::{
    extended::Prepared,
    frames::{self, Bounds, Frame},
    handlers::Connection,
    sqlstate::SqlError,
    tls::{self, Duplex, Tls},
};

/// The time that a client may take to be refused.
const REFUSAL_LIMIT: Duration = Duration::from_secs(60);
/// As PostgreSQL bounds it; the length counts itself and the version after it.
const STARTUP_BYTES: std::ops::RangeInclusive<usize> = 8..=10_000;
const SSL_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;
/// Types of messages.
const SYNC: u8 = b'S';
const PASSWORD: u8 = b'p';
const TERMINATE: u8 = b'X';
/// Bytes of what a client says about itself before it is let in, as in PostgreSQL.
const PASSWORD_BYTES_MAX: usize = 1_024;
/// Bytes of a cancel request: there is no other of its kind.
const CANCEL_BYTES: std::ops::RangeInclusive<usize> = 16..=268;

fn malformed(message: impl Into<String>) -> SqlError {
    SqlError::new("08P01", message)
}

/// What a client said first: its startup message or cancel request, as it came.
enum Opening {
    Message(BytesMut),
    Malformed(SqlError),
    /// It has been told to go on encrypted.
    Encrypted,
}

/// Reads up to the startup message. Encryption is declined as often as it is asked for, unless it `encrypts`.
async fn opening(socket: &mut (impl Duplex + ?Sized), encrypts: bool) -> io::Result<Opening> {
    loop {
        let claimed = socket.read_i32().await?;
        let length = usize::try_from(claimed).unwrap_or(0);
        if !STARTUP_BYTES.contains(&length) {
            return Ok(Opening::Malformed(malformed("invalid length of startup packet")));
        }
        let version = socket.read_i32().await?;
        if length == 8 && version == SSL_REQUEST && encrypts {
            socket.write_all(b"S").await?;
            return Ok(Opening::Encrypted);
        }
        if length == 8 && [SSL_REQUEST, GSS_REQUEST].contains(&version) {
            socket.write_all(b"N").await?;
            continue;
        }
        if version == CANCEL_REQUEST && !CANCEL_BYTES.contains(&length) {
            return Ok(Opening::Malformed(malformed("invalid length of cancel request")));
        }
        if version != CANCEL_REQUEST && version >> 16 != 3 {
            let (major, minor) = (version >> 16, version & 0xffff);
            let message = format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2");
            return Ok(Opening::Malformed(SqlError::new("0A000", message)));
        }
        let mut message = BytesMut::zeroed(length);
        message[..4].copy_from_slice(&claimed.to_be_bytes());
        message[4..8].copy_from_slice(&version.to_be_bytes());
        socket.read_exact(&mut message[8..]).await?;
        if version != CANCEL_REQUEST && message.last() != Some(&0) {
            let message = "invalid startup packet layout: expected terminator as last byte";
            return Ok(Opening::Malformed(malformed(message)));
        }
        return Ok(Opening::Message(message));
    }
}

/// Tells a client why it cannot be served.
pub(super) async fn refuse(mut socket: TcpStream, error: SqlError) {
    // It has to be heard first: a socket closed with unread bytes would take the answer with it.
    let error = match tokio::time::timeout(REFUSAL_LIMIT, opening(&mut socket, false)).await {
        Ok(Ok(Opening::Message(_))) => error,
        Ok(Ok(Opening::Malformed(own))) => own,
        // It went away, or took too long.
        Ok(Ok(Opening::Encrypted) | Err(_)) | Err(_) => return,
    };
    let _ = socket.write_all(&last_word(&error)).await;
    let _ = socket.shutdown().await;
}

/// Serves a client until it or we end it.
pub(super) async fn serve(socket: TcpStream, connection: Arc<Connection>, bounds: Bounds) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let let_in = tokio::time::timeout(connection.gate.limit, let_in(socket, &connection, &bounds)).await;
    // Whoever takes too long is not told why, as in PostgreSQL: he may not read either.
    let Some(mut client) = let_in.unwrap_or(Ok(None))? else { return Ok(()) };
    loop {
        let frame = match frames::next(client.get_mut(), &bounds).await? {
            Frame::Message(frame) if frame.first() == Some(&TERMINATE) => return Ok(()),
            Frame::Message(frame) => frame,
            Frame::Gone => return Ok(()),
            Frame::Broken(error) => return give_up(client, error.fatal()).await,
        };
        let is_extended = frames::is_extended(&frame);
        if let Err(mut error) = answer(&mut client, frame, &connection).await {
            if matches!(error, PgWireError::InvalidMessageType(_) | PgWireError::MessageTooLarge(..)) {
                return give_up(client, error).await;
            }
            connection.on_error(&client, &mut error);
            process_error(&mut client, error, is_extended).await?;
        }
    }
}

/// An encrypted connection, and who is at its other end.
#[derive(Debug)]
pub(super) struct Channel {
    /// In the client's certificate.
    pub(super) common_name: Option<String>,
}

/// Encrypts where the client wants it and can have it, and reads up to its startup message.
async fn encrypted(mut socket: TcpStream, connection: &Connection) -> io::Result<(Box<dyn Duplex>, Opening)> {
    let tls: Option<&Tls> = connection.tls.as_deref();
    match (opening(&mut socket, tls.is_some()).await?, tls) {
        (Opening::Encrypted, Some(tls)) => {
            let mut stream = tls.accept(socket).await?;
            let common_name = tls::common_name(&stream);
            connection.channel.get_or_init(|| Channel { common_name });
            let opening = opening(&mut stream, false).await?;
            Ok((Box::new(stream), opening))
        }
        (opening, _) => Ok((Box::new(socket), opening)),
    }
}

/// From the first byte until the client has a session; `None` where it gets none.
async fn let_in(socket: TcpStream, connection: &Arc<Connection>, bounds: &Bounds) -> io::Result<Option<Client>> {
    let address = socket.peer_addr()?;
    let (mut socket, opening) = encrypted(socket, connection).await?;
    let mut frame = match opening {
        Opening::Message(message) => message,
        Opening::Encrypted => return Ok(None),
        Opening::Malformed(error) => {
            socket.write_all(&last_word(&error)).await?;
            return drain(socket).await.map(|()| None);
        }
    };
    let info = DefaultClient::new(address, connection.channel.get().is_some());
    let mut client = Framed::new(BufReader::new(socket), PgWireMessageServerCodec::new(info));
    client.set_state(PgWireConnectionState::AwaitingStartup);
    let bounds = Bounds { bytes_max: PASSWORD_BYTES_MAX, ..bounds.clone() };
    loop {
        if let Err(error) = answer(&mut client, frame, connection).await {
            return give_up(client, error).await.map(|()| None);
        }
        if matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Ok(Some(client));
        }
        frame = match frames::next(client.get_mut(), &bounds).await? {
            Frame::Message(frame) if frame.first() == Some(&PASSWORD) => frame,
            Frame::Message(frame) if frame.first() == Some(&TERMINATE) => return Ok(None),
            Frame::Message(frame) => {
                let kind = frame.first().copied().unwrap_or_default();
                let error = malformed(format!("expected SASL response, got message type {kind}"));
                return give_up(client, error.fatal()).await.map(|()| None);
            }
            Frame::Gone => return Ok(None),
            Frame::Broken(error) => return give_up(client, error.fatal()).await.map(|()| None),
        };
    }
}

type Client = Framed<BufReader<Box<dyn Duplex>>, PgWireMessageServerCodec<Prepared>>;

/// Does what one message asks for.
async fn answer(client: &mut Client, mut frame: BytesMut, connection: &Arc<Connection>) -> Result<(), PgWireError> {
    let mut context = DecodeContext::new(client.protocol_version());
    context.awaiting_frontend_ssl = false;
    context.awaiting_frontend_startup = matches!(client.state(), PgWireConnectionState::AwaitingStartup);
    let passed_over = matches!(client.state(), PgWireConnectionState::AwaitingSync) && frame.first() != Some(&SYNC);
    if passed_over {
        return Ok(());
    }
    if !context.awaiting_frontend_startup {
        frames::check(&frame)?;
    }
    let Some(message) = PgWireFrontendMessage::decode(&mut frame, &context)? else {
        return Err(malformed("invalid message format").into());
    };
    process_message(
        message,
        client,
        Arc::clone(connection),
        Arc::clone(connection),
        Arc::clone(connection),
        Arc::new(NoopHandler),
        Arc::clone(connection),
    )
    .await
}

/// The client does not keep to the protocol, or may not come in.
async fn give_up(mut client: Client, error: PgWireError) -> io::Result<()> {
    use futures::SinkExt;
    let mut info = match error {
        PgWireError::IoError(error) if error.kind() != io::ErrorKind::InvalidData => return Err(error),
        PgWireError::IoError(error) => malformed(error.to_string()).info("FATAL"),
        error => error.into(),
    };
    info.severity = "FATAL".to_owned();
    client.send(PgWireBackendMessage::ErrorResponse(ErrorResponse::from(info))).await?;
    drain(client.into_inner().into_inner()).await
}

/// Closes so that the client can read the last word: what it still sends is read and dropped, for as long
/// as it takes it to notice.
async fn drain(mut socket: impl Duplex) -> io::Result<()> {
    const NOTICE_LIMIT: Duration = Duration::from_secs(1);
    socket.shutdown().await?;
    let mut rest = [0; 4_096];
    let read = async {
        while socket.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    tokio::time::timeout(NOTICE_LIMIT, read).await.unwrap_or(Ok(()))
}

/// An ErrorResponse that ends the connection.
fn last_word(error: &SqlError) -> BytesMut {
    let mut body = BytesMut::new();
    let fields = [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', error.code), (b'M', error.message.as_str())];
    for (field, value) in fields.into_iter().chain(error.hint.as_deref().map(|hint| (b'H', hint))) {
        body.put_u8(field);
        body.put_slice(value.as_bytes());
        body.put_u8(0);
    }
    body.put_u8(0);
    let mut message = BytesMut::new();
    message.put_u8(b'E');
    message.put_i32(i32::try_from(body.len()).unwrap_or(0) + 4);
    message.put_slice(&body);
    message
}

/// Sends it where the connection's own task is gone. Who speaks encrypted would not understand it.
pub(super) fn farewell(mut socket: &std::net::TcpStream, is_encrypted: bool, error: &SqlError) {
    if !is_encrypted {
        // The client may be gone already.
        let _ = socket.write_all(&last_word(error));
    }
    let _ = socket.shutdown(Shutdown::Both);
}
