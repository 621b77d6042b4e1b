//! `ebap server`: from configuration to a running process, and back down in order.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::{
    app::App,
    auth::{self, AuthMethod},
    config::{Config, ServerArgs},
    http,
    pgwire::{self, tls::Tls},
};

/// Exit code when a second signal cuts the end short, as shells have it for SIGINT.
const EXIT_CUT_SHORT: i32 = 130;

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// Where the configuration does not fit, an address is taken, or the catalog cannot be opened.
pub async fn run(args: ServerArgs) -> anyhow::Result<()> {
    let config = Config::load(&args, |name| std::env::var(name).ok())?;
    if args.print_config {
        print!("{config}");
        return Ok(());
    }
    start_logging(config.log());
    let stop = CancellationToken::new();
    watch_signals(stop.clone())?;
    let mut running = Running::start(&config).await?;
    eprintln!("ebap is ready: psql \"postgres://ebap@{}/ebap\"", running.pg_address);
    tokio::select! {
        () = stop.cancelled() => running.stop().await,
        // A process that serves nobody any more must not look as if it did.
        error = running.ended() => Err(error),
    }
}

/// Opens the catalog. Where clients need passwords and nobody has one yet, `ebap` gets one.
async fn open(config: &Config) -> anyhow::Result<Arc<App>> {
    let app = App::open(config.app()?).await?;
    if app.config.auth == AuthMethod::Scram
        && let Some(password) = auth::prepare(&app).await?
    {
        // Not to the log: nothing keeps it.
        eprintln!(
            "the superuser \"ebap\" has a password now, which is not shown again:\n\n    {password}\n\nchange it with ALTER ROLE ebap PASSWORD '…'"
        );
    }
    Ok(app)
}

pub(crate) fn start_logging(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // Tests start several servers in one process: the first one's filter stays.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

/// A first SIGTERM or SIGINT asks for the end, a second one ends at once.
pub(crate) fn watch_signals(stop: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if first {
                stop.cancel();
            } else {
                std::process::exit(EXIT_CUT_SHORT);
            }
        }
    });
    Ok(())
}

/// A server with its listeners.
pub(crate) struct Running {
    pub(crate) app: Arc<App>,
    /// Where clients connect: the port that was given, where any was asked for.
    pub(crate) pg_address: SocketAddr,
    stop: CancellationToken,
    stop_http: CancellationToken,
    clients: tokio::task::JoinHandle<anyhow::Result<()>>,
    http: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Running {
    pub(crate) async fn start(config: &Config) -> anyhow::Result<Self> {
        let (pg, web) = (config.pg_listen()?, config.http_listen()?);
        let tls = config.tls()?.map(|files| Tls::open(files, config.require_tls())).transpose()?;
        // HTTP answers first, so that a supervisor sees a start that takes long.
        let listener = TcpListener::bind(web).await.with_context(|| format!("{web} is not free (--http-listen)"))?;
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let _ = metrics::set_global_recorder(recorder);
        let (ready, stop, stop_http) = (http::Ready::default(), CancellationToken::new(), CancellationToken::new());
        let jobs = http::Jobs::default();
        let told = (Arc::clone(&ready), Arc::clone(&jobs));
        let http = tokio::spawn(http::serve(listener, told, handle, stop_http.clone()));
        let listener = TcpListener::bind(pg).await.with_context(|| format!("{pg} is not free (--pg-listen)"))?;
        let pg_address = listener.local_addr()?;
        let app = pgwire::while_starting(&listener, open(config)).await?;
        if let Some(tls) = &tls {
            tokio::spawn(Arc::clone(tls).follow(stop.clone()));
        }
        let clients = tokio::spawn(pgwire::serve(Arc::clone(&app), listener, tls, stop.clone()));
        let _ = jobs.set(Arc::clone(&app.engine));
        ready.store(true, Ordering::Release);
        Ok(Self { app, pg_address, stop, stop_http, clients, http })
    }

    /// Returns where a listener has ended of itself.
    async fn ended(&mut self) -> anyhow::Error {
        let (name, ended) = tokio::select! {
            ended = &mut self.clients => ("Postgres", ended.map_err(anyhow::Error::from).flatten()),
            ended = &mut self.http => ("HTTP", ended.map(|done| done.map_err(anyhow::Error::from)).map_err(anyhow::Error::from).flatten()),
        };
        match ended {
            Ok(()) => anyhow::anyhow!("the {name} listener has ended"),
            Err(error) => error.context(format!("the {name} listener has ended")),
        }
    }

    /// Clients are told 57P01, every step is finished and made durable.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.clients.await??;
        self.app.shutdown().await;
        self.stop_http.cancel();
        self.http.await??;
        Ok(())
    }
}
