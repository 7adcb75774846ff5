//! Puts the gateway together and listens.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus_client::registry::Registry;
use server::{Drain, Peer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::Config;
use crate::api::Api;
use crate::budget::Budget;
use crate::intake::Shared;
use crate::metrics::Metrics;
use crate::routes::segment_routes;
use crate::stall::Guarded;

/// What the gateway gets from whoever starts it.
#[derive(Debug)]
pub struct Deps {
    /// Knows write keys, which are tokens.
    pub verifier: server::token::Verifier,
    /// Issues tokens for browsers.
    pub signer: server::token::Signer,
    /// Ends and owns every connection.
    pub drain: Drain,
    /// The services that it calls.
    pub peers: Peers,
}

/// The services that the gateway calls, each with its caller's own token.
#[derive(Debug, Clone)]
pub struct Peers {
    /// `rapport.identity.v1`.
    pub identity: Peer,
    /// `rapport.profile.v1`; takes the events.
    pub profile: Peer,
    /// `rapport.scoring.v1`.
    pub scoring: Peer,
    /// `rapport.routing.v1`.
    pub routing: Peer,
    /// `rapport.feedback.v1`.
    pub feedback: Peer,
}

/// The gateway cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The contracts cannot be served.
    #[error("the RPCs cannot be offered")]
    Api(#[from] crate::api::Error),
}

/// Ready to listen.
#[derive(Debug, Clone)]
pub struct Gateway {
    router: Router,
    config: Arc<Config>,
    drain: Drain,
}

/// Builds the gateway.
///
/// # Errors
/// When the contracts cannot be read.
pub fn build(config: Config, deps: Deps, registry: &mut Registry) -> Result<Gateway, Error> {
    let api = Api::new(&config, &deps, registry)?;
    let metrics = Metrics::register(registry);
    let shared = Shared {
        verifier: deps.verifier,
        profile: deps.peers.profile,
        memory: Budget::new(config.max_in_flight_bytes, metrics.memory()),
        unproven: Budget::new(config.max_in_flight_bytes / 4, metrics.memory()),
        metrics,
        tracker: deps.drain.tracker(),
        config: config.clone(),
    };
    let stop = deps.drain.token();
    let health = move || {
        let stopping = stop.is_cancelled();
        async move {
            if stopping {
                return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
            }
            (StatusCode::OK, "ok\n")
        }
    };
    let router = Router::new()
        .merge(segment_routes(Arc::new(shared), config.bare_paths))
        .merge(crate::api::routes(Arc::new(api)))
        .merge(crate::snippet::routes())
        .route("/healthz", get(health));
    Ok(Gateway { router, config: Arc::new(config), drain: deps.drain })
}

/// After an error of `accept`, such as too many open files: let some close.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

impl Gateway {
    /// Serves on a socket until the drain; the connections belong to the drain's tracker.
    pub fn listen(self, listener: TcpListener) {
        let tracker = self.drain.tracker();
        tracker.spawn(self.accept(listener));
    }

    async fn accept(self, listener: TcpListener) {
        let stop = self.drain.token();
        let tracker = self.drain.tracker();
        let places = Arc::new(Semaphore::new(self.config.max_connections));
        loop {
            // First a place, then a connection: who finds none waits in the listen queue.
            let accepted = tokio::select! {
                () = stop.cancelled() => return, // and closes the socket
                accepted = async {
                    let place = Arc::clone(&places).acquire_owned().await;
                    (listener.accept().await, place)
                } => accepted,
            };
            match accepted {
                (Ok((stream, _)), Ok(place)) => {
                    let gateway = self.clone();
                    tracker.spawn(async move {
                        gateway.serve(stream).await;
                        drop(place);
                    });
                }
                (Err(error), _) => {
                    tracing::warn!(event = "accept_failed", %error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                (_, Err(_)) => return,
            }
        }
    }

    async fn serve(self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(event = "nodelay_failed", %error);
        }
        let stop = self.drain.token();
        let guarded = Guarded::new(stream, self.config.write_timeout());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.header_timeout())
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(guarded), TowerToHyperService::new(self.router));
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            () = stop.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        // Bounded by the time-outs of body, deadline and writing; an error says that the client left.
        let _ = connection.await;
    }
}
