//! Health, readiness and metrics over HTTP.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use axum::{Router, http::StatusCode, routing::get};
use ebap_stream::Engine;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// True from the moment that queries are answered.
pub type Ready = Arc<AtomicBool>;

/// What there is to say of jobs, from the moment that they run.
pub type Jobs = Arc<OnceLock<Arc<Engine>>>;

/// Serves until `shutdown`.
///
/// # Errors
/// Where the listener fails.
pub async fn serve(
    listener: TcpListener,
    (ready, jobs): (Ready, Jobs),
    recorded: PrometheusHandle,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let readyz = move || {
        let ready = ready.load(Ordering::Acquire);
        async move { if ready { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "starting\n") } }
    };
    let router = Router::new()
        .route(
            "/",
            get(|| async {
                "ebap\n\n/healthz  the process lives\n/readyz   queries are answered\n/metrics  Prometheus\n"
            }),
        )
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route(
            "/metrics",
            get(move || {
                let jobs = jobs.get().map(|engine| metrics::render(engine)).unwrap_or_default();
                let text = recorded.render() + &jobs;
                async move { text }
            }),
        );
    axum::serve(listener, router).with_graceful_shutdown(async move { shutdown.cancelled().await }).await
}
