//! The administrative port: `/metrics` (OpenMetrics), `/livez`, `/readyz`. HTTP/1.1, not for
//! the outside.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::drain::Drain;
use crate::health::Health;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The three paths.
pub fn router(registry: Arc<Registry>, health: Health) -> Router {
    let ready = move || {
        let health = health.clone();
        async move {
            if health.is_ready() {
                (StatusCode::OK, "ready\n")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
            }
        }
    };
    Router::new()
        .route("/metrics", get(metrics))
        .with_state(registry)
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
}

async fn metrics(State(registry): State<Arc<Registry>>) -> impl IntoResponse {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Serves until the very end of the drain, so that it can be watched.
pub fn listen(listener: TcpListener, router: Router, drain: &Drain) {
    let abort = drain.abort();
    // Not on the tracker: the drain would wait for it.
    tokio::spawn(async move {
        tokio::select! {
            served = axum::serve(listener, router).into_future() => {
                if let Err(error) = served {
                    tracing::error!(event = "admin_failed", %error);
                }
            }
            () = abort.cancelled() => {}
        }
    });
}
