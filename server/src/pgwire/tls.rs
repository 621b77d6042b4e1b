//! Encryption of connections: certificates from files, read again when they change or at SIGHUP.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, bail};
use ebap_connector::time;
use parking_lot::RwLock;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    signal::unix::{SignalKind, signal},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use x509_certificate::CapturedX509Certificate;

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);
/// Clients from version 17 of libpq on name the protocol.
const ALPN: &[u8] = b"postgresql";

/// A client's connection, encrypted or not.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for T {}

/// Where certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Issuers of the certificates that clients must have.
    pub client_ca: Option<PathBuf>,
}

impl TlsFiles {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        [&self.cert, &self.key].into_iter().chain(&self.client_ca).map(PathBuf::as_path)
    }

    /// Times and sizes, by which a file that was written is told from the one before.
    fn stamps(&self) -> Vec<Option<(SystemTime, u64)>> {
        let stamp = |path: &Path| {
            let of = fs::metadata(path).ok()?;
            Some((of.modified().ok()?, of.len()))
        };
        self.paths().map(stamp).collect()
    }

    fn read(&self) -> anyhow::Result<Arc<ServerConfig>> {
        let chain = certificates(&self.cert, "tls_cert")?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .with_context(|| format!("the key {} (tls_key) cannot be read", self.key.display()))?;
        let provider = CryptoProvider::get_default().context("there is no cryptography")?;
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions()?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut issuers = RootCertStore::empty();
                for issuer in certificates(path, "tls_client_ca")? {
                    issuers.add(issuer).with_context(|| format!("{} (tls_client_ca)", path.display()))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(issuers), Arc::clone(provider)).build()?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).with_context(|| {
            format!("the certificate {} and the key {} do not go together", self.cert.display(), self.key.display())
        })?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Arc::new(config))
    }
}

fn certificates(path: &Path, setting: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let unreadable = || format!("the certificates {} ({setting}) cannot be read", path.display());
    let all = CertificateDer::pem_file_iter(path).with_context(unreadable)?;
    let all = all.collect::<Result<Vec<_>, _>>().with_context(unreadable)?;
    if all.is_empty() {
        bail!("{} ({setting}) has no certificate", path.display());
    }
    Ok(all)
}

/// The certificate that connections are encrypted with at the moment.
#[derive(Debug)]
pub(crate) struct Tls {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
    /// Nobody comes in without.
    pub(super) required: bool,
}

impl Tls {
    /// # Errors
    /// Where a file cannot be read, or they do not go together.
    pub(crate) fn open(files: TlsFiles, required: bool) -> anyhow::Result<Arc<Self>> {
        let config = RwLock::new(files.read()?);
        Ok(Arc::new(Self { files, config, required }))
    }

    pub(super) fn wants_client_certificate(&self) -> bool {
        self.files.client_ca.is_some()
    }

    pub(super) async fn accept(&self, socket: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.config.read());
        TlsAcceptor::from(config).accept(socket).await
    }

    /// Follows the files until the end. What cannot be used leaves what was there.
    pub(crate) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let Ok(mut asked) = signal(SignalKind::hangup()) else { return };
        let mut known = self.files.stamps();
        loop {
            let is_asked = tokio::select! {
                () = stop.cancelled() => return,
                _ = asked.recv() => true,
                () = time::sleep(LOOK) => false,
            };
            let now = self.files.stamps();
            if !is_asked && now == known {
                continue;
            }
            known = now;
            match self.files.read() {
                Ok(config) => {
                    *self.config.write() = config;
                    tracing::info!(cert = %self.files.cert.display(), "the TLS certificate has been read again");
                }
                Err(error) => {
                    tracing::warn!("the TLS certificate stays what it was: {error:#}");
                }
            }
        }
    }
}

/// The common name in the certificate that a client has shown.
pub(super) fn common_name(stream: &TlsStream<TcpStream>) -> Option<String> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    CapturedX509Certificate::from_der(certificate.as_ref()).ok()?.subject_common_name()
}
