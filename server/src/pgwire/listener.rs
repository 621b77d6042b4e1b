//! Accepting connections, and ending them.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{BufMut, BytesMut};
use datafusion::prelude::SessionContext;
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use pgwire::{api::ConnectionManager, tokio::process_socket};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    handlers::{Connection, Handlers},
    sqlstate::SqlError,
};
use crate::{app::App, session::Session, system::base_state};

/// Serves until `shutdown`; then tells every client 57P01 and closes.
///
/// # Errors
/// Where the session catalog cannot be built.
pub async fn serve(app: Arc<App>, listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    let state = base_state(&app)?;
    let manager = Arc::new(ConnectionManager::new());
    let compatibility = Arc::new(PostgresCompatibilityParser::new());
    let open = Arc::new(AtomicUsize::new(0));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                // Out of descriptors, most likely: others may close soon.
                tracing::warn!(%error, "a connection cannot be accepted");
                ebap_connector::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok((socket, second)) = split(socket) else { continue };
        if open.fetch_add(1, Ordering::Relaxed) >= app.config.connections_max {
            open.fetch_sub(1, Ordering::Relaxed);
            farewell(second, SqlError::new("53300", "sorry, too many clients already"));
            continue;
        }
        let context = SessionContext::new_with_state(state.clone());
        let session = Session::new(Arc::clone(&app), context, Arc::clone(&compatibility));
        let handlers = Handlers(Arc::new(Connection::new(session, Arc::clone(&manager))));
        let (shutdown, open) = (shutdown.clone(), Arc::clone(&open));
        connections.spawn(async move {
            let served = tokio::spawn(process_socket(socket, None, handlers));
            let abort = served.abort_handle();
            tokio::select! {
                () = shutdown.cancelled() => {
                    abort.abort();
                    farewell(second, SqlError::new("57P01", "terminating connection due to administrator command"));
                }
                served = served => match served {
                    // A client that vanishes is its own business.
                    Ok(result) => if let Err(error) = result { tracing::debug!(%error, "a connection ended") },
                    Err(panic) => {
                        tracing::error!(%panic, "a connection failed");
                        farewell(second, SqlError::new("XX000", "internal error; the connection is closed, the server goes on"));
                    }
                },
            }
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// The socket, and a second handle on it for the last word.
fn split(socket: tokio::net::TcpStream) -> std::io::Result<(tokio::net::TcpStream, std::net::TcpStream)> {
    let socket = socket.into_std()?;
    let second = socket.try_clone()?;
    Ok((tokio::net::TcpStream::from_std(socket)?, second))
}

/// Sends an ErrorResponse as the last message.
fn farewell(mut socket: std::net::TcpStream, error: SqlError) {
    let mut body = BytesMut::new();
    for (field, value) in [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', error.code), (b'M', error.message.as_str())] {
        body.put_u8(field);
        body.put_slice(value.as_bytes());
        body.put_u8(0);
    }
    body.put_u8(0);
    let mut message = BytesMut::new();
    message.put_u8(b'E');
    message.put_i32(i32::try_from(body.len()).unwrap_or(0) + 4);
    message.put_slice(&body);
    // The client may be gone already.
    let _ = socket.write_all(&message);
    let _ = socket.shutdown(std::net::Shutdown::Both);
}
