//! A connection to a server, as `ebap migrate` makes one: an address as libpq takes it, with TLS where it says so.

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use anyhow::{Context, bail};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::JoinHandle,
};
use tokio_postgres::{
    Client, Config, NoTls, Socket,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Modes that encrypt. All of them look whose certificate it is: one that does not is no protection.
const ENCRYPTED: [&str; 3] = ["require", "verify-ca", "verify-full"];
const PLAIN: [&str; 3] = ["disable", "allow", "prefer"];

/// Connects; whoever drops the client awaits the task.
///
/// # Errors
/// For an address that cannot be read, and where no server answers there. No password is shown.
pub(crate) async fn connect(url: &str) -> anyhow::Result<(Client, JoinHandle<()>)> {
    let Address { mut config, roots } = Address::parse(url)?;
    if let (None, Ok(password)) = (config.get_password(), std::env::var("PGPASSWORD")) {
        config.password(password);
    }
    let nobody = || format!("no server answers at {} (--url)", without_password(url));
    match roots {
        None => {
            let (client, connection) = config.connect(NoTls).await.with_context(nobody)?;
            Ok((client, tokio::spawn(async move { ended(connection.await) })))
        }
        Some(roots) => {
            let tls = Tls(Arc::new(trusting(&roots)?));
            let (client, connection) = config.connect(tls).await.with_context(nobody)?;
            Ok((client, tokio::spawn(async move { ended(connection.await) })))
        }
    }
}

/// The client has had the error that ended its statement.
fn ended(result: Result<(), tokio_postgres::Error>) {
    if let Err(error) = result {
        tracing::debug!(%error, "the connection ended");
    }
}

#[derive(Debug)]
struct Address {
    config: Config,
    /// Issuers whose certificates are taken, where the connection is to be encrypted.
    roots: Option<PathBuf>,
}

impl Address {
    fn parse(url: &str) -> anyhow::Result<Self> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut roots, mut others) = ("prefer", None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = value,
                Some(("sslrootcert", value)) => roots = Some(PathBuf::from(decoded(value))),
                Some(_) | None => others.push(pair),
            }
        }
        let plain = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
        // What it says of the text could be a part of the password.
        let Ok(mut config) = plain.parse::<Config>() else {
            bail!("{} is no address such as postgres://ebap@127.0.0.1:5410/ebap (--url)", without_password(url));
        };
        let encrypts = ENCRYPTED.contains(&mode);
        if !encrypts && !PLAIN.contains(&mode) {
            bail!("sslmode={mode} (--url) is none of {}", [PLAIN, ENCRYPTED].concat().join(", "));
        }
        let roots = match (encrypts, roots) {
            (false, _) => None,
            (true, None) => bail!("sslmode={mode} (--url) needs sslrootcert, a PEM file of issuers"),
            (true, roots) => roots,
        };
        config.ssl_mode(match roots {
            Some(_) => tokio_postgres::config::SslMode::Require,
            None => tokio_postgres::config::SslMode::Disable,
        });
        Ok(Self { config, roots })
    }
}

/// `%2F` is `/`; what is no such pair stays.
fn decoded(text: &str) -> String {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let pair = text.get(at + 1..at + 3).filter(|_| *byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(pair.unwrap_or(*byte));
        at += if pair.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The address as it may be shown.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "the address".to_owned() };
    // It may stand behind the `?`, too.
    if url.to_ascii_lowercase().contains("password=") {
        return "the address".to_owned();
    }
    // A password may have an `@` of its own, and a `/` that should be written otherwise.
    match rest.rfind('@') {
        Some(at) => {
            let user = rest[..at].split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{}", &rest[at + 1..])
        }
        None => format!("{scheme}://{rest}"),
    }
}

fn trusting(roots: &Path) -> anyhow::Result<ClientConfig> {
    let unreadable = || format!("the certificates {} (sslrootcert) cannot be read", roots.display());
    let mut store = RootCertStore::empty();
    for issuer in CertificateDer::pem_file_iter(roots).with_context(unreadable)? {
        store.add(issuer.with_context(unreadable)?).with_context(unreadable)?;
    }
    if store.is_empty() {
        bail!("{} (sslrootcert) has no certificate", roots.display());
    }
    let provider = CryptoProvider::get_default().context("there is no cryptography")?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(store).with_no_client_auth())
}

/// rustls for the client, which has none of its own.
#[derive(Clone)]
struct Tls(Arc<ClientConfig>);

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Encrypted;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> io::Result<Handshake> {
        let name = ServerName::try_from(domain.to_owned()).map_err(io::Error::other)?;
        Ok(Handshake { connector: TlsConnector::from(Arc::clone(&self.0)), name })
    }
}

struct Handshake {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(
            async move { self.connector.connect(self.name, socket).await.map(|stream| Encrypted(Box::new(stream))) },
        )
    }
}

struct Encrypted(Box<TlsStream<Socket>>);

impl tokio_postgres::tls::TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, to)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_whether_to_encrypt() {
        let of = |url: &str| Address::parse(url).map(|address| address.roots).map_err(|error| error.to_string());
        assert_eq!(of("postgres://ebap@127.0.0.1:5410/ebap"), Ok(None));
        assert_eq!(of("postgres://e@h/d?sslmode=disable&application_name=x"), Ok(None));
        let roots = Some(PathBuf::from("/a b/ca.crt"));
        assert_eq!(of("postgres://e@h/d?sslrootcert=/a%20b/ca.crt&sslmode=verify-full"), Ok(roots));
        for (url, message) in [
            ("postgres://e@h/d?sslmode=require", "sslmode=require (--url) needs sslrootcert, a PEM file of issuers"),
            (
                "postgres://e@h/d?sslmode=x",
                "sslmode=x (--url) is none of disable, allow, prefer, require, verify-ca, verify-full",
            ),
            (
                "postgres://e:p@h:port/d",
                "postgres://e@h:port/d is no address such as postgres://ebap@127.0.0.1:5410/ebap (--url)",
            ),
        ] {
            assert_eq!(of(url), Err(message.to_owned()));
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        for (url, shown) in [
            ("postgres://ebap:secret@h:1/d?sslmode=x", "postgres://ebap@h:1/d?sslmode=x"),
            ("postgres://ebap:sec/r@t@h/d", "postgres://ebap@h/d"),
            ("postgres://h/d", "postgres://h/d"),
            ("postgres://h/d?user=x&password=secret", "the address"),
            ("host=h password=secret", "the address"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
