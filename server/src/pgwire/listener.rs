//! Accepting connections, and ending them.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ebap_connector::time;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{self, farewell},
    frames::Bounds,
    handlers::Connection,
    sessions::Sessions,
    sqlstate::SqlError,
    tls::Tls,
};
use crate::{
    app::App,
    auth::Gate,
    session::Session,
    system::{Shared, shared, surroundings},
};

/// Until the next try where a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Runs `opening`, and tells whoever connects meanwhile that it is not done.
pub(crate) async fn while_starting<T>(listener: &TcpListener, opening: impl Future<Output = T>) -> T {
    let mut opening = pin!(opening);
    loop {
        tokio::select! {
            biased;
            opened = &mut opening => return opened,
            socket = accept(listener) => {
                tokio::spawn(connection::refuse(socket, SqlError::new("57P03", "the database system is starting up")));
            }
        }
    }
}

/// The next connection.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => return socket,
            Err(error) => {
                // Out of descriptors, most likely: others may close soon.
                tracing::warn!(%error, "a connection cannot be accepted");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves until `shutdown`; then tells every client 57P01 and closes.
///
/// # Errors
/// Where the session catalog cannot be built.
pub(crate) async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let gate = Arc::new(Gate::new(app.config.auth, app.config.authentication_timeout));
    let (shared, open) = (shared(&app)?, AtomicUsize::new(0));
    let server = Arc::new(Server { shared, app, sessions: Arc::default(), gate, tls, open });
    let mut connections = JoinSet::new();
    loop {
        let socket = tokio::select! {
            () = shutdown.cancelled() => break,
            socket = accept(&listener) => socket,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        connections.spawn(Arc::clone(&server).serve(socket, shutdown.clone()));
    }
    while connections.join_next().await.is_some() {}
    Ok(())
}

struct Server {
    app: Arc<App>,
    shared: Shared,
    sessions: Arc<Sessions>,
    gate: Arc<Gate>,
    tls: Option<Arc<Tls>>,
    open: AtomicUsize,
}

impl Server {
    async fn serve(self: Arc<Self>, socket: TcpStream, shutdown: CancellationToken) {
        let Ok((socket, second)) = split(socket) else { return };
        let (open, most) = (self.open.fetch_add(1, Ordering::Relaxed), self.app.config.connections_max);
        let _open = Open(&self.open);
        if open < most {
            self.session(socket, second, shutdown).await;
        } else if open < most.saturating_mul(2) {
            // Beyond that nobody is told why: a refusal takes as long as the client likes, up to its limit.
            let full = SqlError::new("53300", "sorry, too many clients already");
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = connection::refuse(socket, full) => {}
            }
        }
    }

    async fn session(&self, socket: TcpStream, second: std::net::TcpStream, shutdown: CancellationToken) {
        let settings = Arc::default();
        let surroundings = match surroundings(&self.shared, &settings) {
            Ok(surroundings) => surroundings,
            Err(error) => return farewell(&second, false, &SqlError::new("XX000", error.to_string())),
        };
        let session = Session::new(Arc::clone(&self.app), surroundings, settings);
        let connection =
            Arc::new(Connection::new(session, Arc::clone(&self.sessions), Arc::clone(&self.gate), self.tls.clone()));
        let config = &self.app.config;
        let bounds = Bounds { bytes_max: config.message_bytes_max, memory: config.engine.memory.clone() };
        let mut served = tokio::spawn(connection::serve(socket, Arc::clone(&connection), bounds));
        let last_word = |error| farewell(&second, connection.channel.get().is_some(), &error);
        tokio::select! {
            () = shutdown.cancelled() => {
                served.abort();
                let _ = served.await;
                last_word(SqlError::new("57P01", "terminating connection due to administrator command"));
            }
            ended = &mut served => match ended {
                // A client that vanishes is its own business.
                Ok(result) => if let Err(error) = result { tracing::debug!(%error, "a connection ended") },
                Err(panic) => {
                    tracing::error!(%panic, "a connection failed");
                    last_word(SqlError::new("XX000", "internal error; the connection is closed, the server goes on"));
                }
            },
        }
    }
}

/// Counts a connection, also where its task panics.
struct Open<'a>(&'a AtomicUsize);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The socket, and a second handle on it for the last word.
fn split(socket: TcpStream) -> std::io::Result<(TcpStream, std::net::TcpStream)> {
    let socket = socket.into_std()?;
    let second = socket.try_clone()?;
    Ok((TcpStream::from_std(socket)?, second))
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio_postgres::{NoTls, error::SqlState};

    use super::*;

    #[tokio::test]
    async fn a_client_is_told_that_the_server_starts() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("postgres://ebap@{}/ebap", listener.local_addr().expect("bound"));
        let (open, opened) = oneshot::channel::<()>();
        let starting = tokio::spawn(async move { while_starting(&listener, opened).await });
        let refused = tokio_postgres::connect(&url, NoTls).await.err().expect("it is starting");
        assert_eq!(refused.code(), Some(&SqlState::CANNOT_CONNECT_NOW));
        assert_eq!(refused.as_db_error().map(|error| error.message()), Some("the database system is starting up"));
        open.send(()).expect("it waits");
        assert_eq!(starting.await.expect("no panic"), Ok(()));
    }
}
