//! One server, a cluster, or the master that sentinels name. Must not print a URL, which may hold a password.

use std::time::{Duration, Instant};

use ebap_connector::{Error, Options, Result, time};
use futures::{StreamExt, TryStreamExt, stream};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue, IntoConnectionInfo,
    Pipeline, RedisError, RedisResult, ServerErrorKind, TlsCertificates, TlsMode,
    aio::MultiplexedConnection,
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    sentinel::{SentinelClientBuilder, SentinelServerType},
};

use crate::change::TOMBSTONE;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// Commands of some fifty rows each that are sent to a server before its answers are waited for.
const PIPELINE_COMMANDS_MAX: usize = 200;
/// The same in a cluster, where each waits for its own answer.
const IN_FLIGHT_MAX: usize = 256;

/// Where to connect to.
pub(crate) struct Server {
    nodes: Vec<ConnectionInfo>,
    topology: Topology,
    user: Option<String>,
    password: Option<String>,
    ca_cert: Option<String>,
    /// As errors call it.
    pub(crate) name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Topology {
    One,
    Cluster,
    /// Of this name.
    Sentinel(String),
}

/// An open connection.
pub(crate) enum Link {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// Commands of which those of one list run in order.
pub(crate) type Phase = Vec<Vec<Cmd>>;

impl Server {
    pub(crate) fn of(options: &Options) -> Result<Self> {
        let cluster = options.bool("cluster", false)?;
        let topology = match (options.get("sentinel"), cluster) {
            (Some(_), true) => return Err(Error::option("sentinel", "cannot be used together with cluster")),
            (Some(""), false) => return Err(Error::option("sentinel", "must be the name of the master")),
            (Some(name), false) => Topology::Sentinel(name.to_owned()),
            (None, true) => Topology::Cluster,
            (None, false) => Topology::One,
        };
        let urls: Vec<_> = options.required("url")?.split(',').map(str::trim).collect();
        if topology == Topology::One && urls.len() > 1 {
            return Err(Error::option("url", "several addresses are for cluster = 'true' and for sentinel"));
        }
        // The parser's own message could repeat the URL, and with it the password.
        let refused = |error: RedisError| Error::option("url", format!("cannot be used: {}", error.category()));
        let nodes = urls.iter().map(|url| url.into_connection_info().map_err(refused)).collect::<Result<Vec<_>>>()?;
        let tls = |node: &ConnectionInfo| matches!(node.addr(), ConnectionAddr::TcpTls { .. });
        if nodes.iter().any(|node| matches!(node.addr(), ConnectionAddr::TcpTls { insecure: true, .. })) {
            return Err(Error::option("url", "#insecure is not supported; give the certificate's issuer as ca_cert"));
        }
        if nodes.iter().any(|node| tls(node) != tls(&nodes[0])) {
            return Err(Error::option("url", "has addresses with and without TLS"));
        }
        let ca_cert = options.get("ca_cert").map(str::to_owned);
        if ca_cert.is_some() && !tls(&nodes[0]) {
            return Err(Error::option("ca_cert", "needs a url that begins with rediss://"));
        }
        let address = match nodes[0].addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => format!("{host}:{port}"),
            other => other.to_string(),
        };
        let name = match &topology {
            Topology::One => format!("redis {address}"),
            Topology::Cluster => format!("redis cluster {address}"),
            Topology::Sentinel(master) => format!("redis {master} of sentinel {address}"),
        };
        let (user, password) = (options.get("user").map(str::to_owned), options.get("password").map(str::to_owned));
        if user.is_some() && password.is_none() {
            return Err(Error::option("password", "is required with user"));
        }
        Ok(Self { nodes, topology, user, password, ca_cert, name })
    }

    pub(crate) async fn connect(&self) -> Result<Link> {
        let certificates = self.certificates()?;
        let failed = |error: RedisError| self.failed(&error);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        match &self.topology {
            Topology::One => {
                let node = self.with_user(&self.nodes[0]);
                let client = match certificates {
                    Some(certificates) => Client::build_with_tls(node, certificates),
                    None => Client::open(node),
                };
                let connected = client.map_err(failed)?.get_multiplexed_async_connection_with_config(&config).await;
                connected.map(Link::One).map_err(failed)
            }
            Topology::Cluster => {
                let nodes = self.nodes.iter().map(|node| self.with_user(node));
                let mut builder = ClusterClient::builder(nodes)
                    .connection_timeout(CONNECT_TIMEOUT)
                    .response_timeout(RESPONSE_TIMEOUT);
                if let Some(certificates) = certificates {
                    builder = builder.certs(certificates);
                }
                let connected = builder.build().map_err(failed)?.get_async_connection().await;
                connected.map(Link::Cluster).map_err(failed)
            }
            Topology::Sentinel(master) => {
                let mut builder = self.sentinel(master, certificates).map_err(failed)?.build().map_err(failed)?;
                let connected = builder.get_async_connection_with_config(&config).await;
                connected.map(Link::One).map_err(failed)
            }
        }
    }

    /// What a URL says of a user is for the sentinel it names; the options are for the master.
    fn sentinel(&self, master: &str, certificates: Option<TlsCertificates>) -> RedisResult<SentinelClientBuilder> {
        let first = &self.nodes[0];
        let addresses = self.nodes.iter().map(|node| node.addr().clone());
        let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?
            .set_client_to_redis_db(first.redis_settings().db());
        if let Some(user) = &self.user {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = &self.password {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(user) = first.redis_settings().username() {
            builder = builder.set_client_to_sentinel_username(user);
        }
        if let Some(password) = first.redis_settings().password() {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if matches!(first.addr(), ConnectionAddr::TcpTls { .. }) {
            builder =
                builder.set_client_to_redis_tls_mode(TlsMode::Secure).set_client_to_sentinel_tls_mode(TlsMode::Secure);
        }
        if let Some(certificates) = certificates {
            builder = builder
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates);
        }
        Ok(builder)
    }

    fn with_user(&self, node: &ConnectionInfo) -> ConnectionInfo {
        let mut settings = node.redis_settings().clone();
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        node.clone().set_redis_settings(settings)
    }

    /// Read at every opening: a certificate may be replaced while the server runs.
    fn certificates(&self) -> Result<Option<TlsCertificates>> {
        let Some(path) = &self.ca_cert else { return Ok(None) };
        let pem = std::fs::read(path).map_err(|error| Error::option("ca_cert", format!("\"{path}\": {error}")))?;
        Ok(Some(TlsCertificates { client_tls: None, root_cert: Some(pem) }))
    }

    /// What passes by itself: lost connections, a server that loads, fails over, is full or forgot the scripts.
    pub(crate) fn failed(&self, error: &RedisError) -> Error {
        let passing = match error.kind() {
            ErrorKind::Io
            | ErrorKind::ClusterConnectionNotFound
            | ErrorKind::MasterNameNotFoundBySentinel
            | ErrorKind::NoValidReplicasFoundBySentinel => true,
            ErrorKind::Server(kind) => matches!(
                kind,
                ServerErrorKind::BusyLoading
                    | ServerErrorKind::NoScript
                    | ServerErrorKind::Moved
                    | ServerErrorKind::Ask
                    | ServerErrorKind::TryAgain
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ReadOnly
            ),
            _ => matches!(error.code(), Some("OOM" | "MISCONF" | "BUSY" | "NOREPLICAS")),
        };
        if passing { Error::unreachable(&self.name, error) } else { Error::refused(&self.name, error) }
    }
}

impl Link {
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    pub(crate) async fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// Phase after phase. `check` sees every answer; in a cluster no phase begins where it refused one before.
    pub(crate) async fn run(
        &mut self,
        phases: Vec<Phase>,
        failed: &(dyn Fn(&RedisError) -> Error + Sync),
        check: &(dyn Fn(&str) -> Result<()> + Sync),
    ) -> Result<()> {
        match self {
            // A server does what comes by one connection in order, and each script looks for itself whether it may.
            Self::One(connection) => {
                let mut commands = phases.into_iter().flatten().flatten().peekable();
                while commands.peek().is_some() {
                    let mut pipeline = Pipeline::new();
                    for command in commands.by_ref().take(PIPELINE_COMMANDS_MAX) {
                        pipeline.add_command(command);
                    }
                    let answers: Vec<String> =
                        pipeline.query_async(connection).await.map_err(|error| failed(&error))?;
                    answers.iter().try_for_each(|answer| check(answer))?;
                }
                Ok(())
            }
            Self::Cluster(connection) => {
                let began = time::instant();
                for phase in phases {
                    let runs = phase.into_iter().map(|commands| {
                        let mut connection = connection.clone();
                        async move {
                            for command in commands {
                                in_time(began).map_err(|error| failed(&error))?;
                                let answer: String =
                                    command.query_async(&mut connection).await.map_err(|error| failed(&error))?;
                                check(&answer)?;
                            }
                            Ok(())
                        }
                    });
                    stream::iter(runs).buffer_unordered(IN_FLIGHT_MAX).try_collect::<()>().await?;
                }
                Ok(())
            }
        }
    }
}

/// Whether what a successor has deleted is still known: later a row of ours could come back.
fn in_time(began: Instant) -> RedisResult<()> {
    if began.elapsed() < TOMBSTONE / 2 {
        return Ok(());
    }
    Err(RedisError::from((ErrorKind::Io, "the writer was held up for too long")))
}
