//! Health, readiness and metrics over HTTP.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Router, http::StatusCode, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// True from the moment that queries are answered.
pub type Ready = Arc<AtomicBool>;

/// Serves until `shutdown`.
///
/// # Errors
/// Where the listener fails.
pub async fn serve(
    listener: TcpListener,
    ready: Ready,
    metrics: PrometheusHandle,
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
                let text = metrics.render();
                async move { text }
            }),
        );
    axum::serve(listener, router).with_graceful_shutdown(async move { shutdown.cancelled().await }).await
}
