//! Puts the service together: use cases, background tasks, routes.

use std::sync::Arc;
use std::time::Duration;

use ::store::{Bell, Cache, Database, KeyRing, idempotency};
use contracts::routing::v1::routing_service_server::RoutingServiceServer;
use feed::{Consumer, FeedService, Tail, Upstream, consumer, receipt};
use prometheus_client::registry::Registry;
use server::{Drain, Peer};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::api::Api;
use crate::app::router::{Metrics, Router};
use crate::app::trigger::Thresholds;
use crate::app::{App, now_us, rescore};
use crate::config::Config;
use crate::events::Snapshot;

/// What the service gets from whoever starts it.
#[derive(Debug)]
pub struct Deps {
    /// Its own database, migrated.
    pub database: Database,
    /// The same keys in every service.
    pub keys: Arc<KeyRing>,
    /// May be without Redis: then other replicas hear of changes by their poll.
    pub cache: Cache,
    /// Owns the background tasks and says when they end.
    pub drain: Drain,
    /// The services it calls.
    pub peers: Peers,
}

/// The services that routing calls. They need not answer yet.
#[derive(Debug, Clone)]
pub struct Peers {
    /// Scores of demands; the crossings of thresholds.
    pub scoring: Peer,
}

/// The service, ready to be mounted.
pub struct Service {
    /// The public RPCs.
    pub public: Routes,
    /// All RPCs, the feed among them.
    pub own: Routes,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

/// Why the service cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The schema is not the one that this release knows.
    #[error("the schema of the routing database does not fit")]
    Schema(#[from] ::store::migrate::Error),
    /// Keys or database.
    #[error(transparent)]
    Store(#[from] ::store::Error),
}

/// How often request ids that are old enough are forgotten.
const SWEEP: Duration = Duration::from_secs(600);

/// Builds the service and starts its background tasks on the tracker of `deps.drain`.
///
/// # Errors
/// When the schema is not the expected one, or the database does not answer.
pub async fn build(
    config: Config,
    deps: Deps,
    registry: &mut Registry,
) -> Result<Service, BuildError> {
    let Deps { database, keys, cache, drain, peers } = deps;
    ::store::migrate::check(&database, crate::MIGRATIONS).await?;
    let (tasks, stop) = (drain.tracker(), drain.token());

    let metrics = feed::Metrics::default();
    metrics.register(registry);
    let routing = Metrics::default();
    routing.register(registry);
    let bell = Bell::start(&cache, "feed", &tasks, &stop);
    let tail = Tail::new(&database, Some(bell.clone()), metrics.clone());
    let scoring = peers.scoring.clone();
    // Every statement of the service goes by key.
    let keyed = database.keyed();
    let app = App::start(config, keyed.clone(), keys, (tail.clone(), bell), scoring, drain)?;

    let (reading, until) = (tail.clone(), stop.clone());
    tasks.spawn(async move { reading.run(until).await });
    let retention = feed::retention::Options::default();
    tasks.spawn(feed::retention::run(database.clone(), retention, metrics.clone(), stop.clone()));
    tasks.spawn(sweep(database.clone(), stop.clone()));
    tasks.spawn(Router::new(app.clone(), routing.clone()).run(stop.clone()));
    tasks.spawn(rescore::run(app.clone(), routing, stop.clone()));
    let upstream = Upstream::new(peers.scoring.without_deadline());
    let passing = receipt::relay(keyed.clone(), tail.clone(), upstream.clone(), stop.clone());
    tasks.spawn(passing);
    let consumer = Consumer::new(
        "routing.scoring",
        upstream,
        keyed,
        Thresholds(app.clone()),
        consumer::Options::default(),
        metrics,
    );
    let until = stop.clone();
    tasks.spawn(async move { consumer.run(until).await });

    let api = RoutingServiceServer::new(Api(app));
    let public = Routes::new(server::limited!(api));
    let log = FeedService::new(tail, Snapshot(database), stop).into_server();
    let own = public.clone().add_service(server::limited!(log));
    Ok(Service { public, own })
}

/// Forgets old request ids.
async fn sweep(database: Database, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
        if let Err(error) = idempotency::sweep(&database, now_us()).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "request ids not swept");
        }
    }
}
