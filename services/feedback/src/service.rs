//! Puts the service together.

use std::sync::Arc;
use std::time::Duration;

use ::store::{Bell, Cache, Database, KeyRing, TokenSealer};
use contracts::feedback::v1::feedback_service_server::FeedbackServiceServer;
use feed::{Consumer, FeedService, Tail, Upstream, consumer, receipt, retention};
use prometheus_client::registry::Registry;
use server::{Drain, Peer};
use tokio::sync::Semaphore;
use tonic::service::Routes;

use crate::Config;
use crate::api::Api;
use crate::app::follow::Demands;
use crate::app::{self, App};
use crate::events::Labels;

/// Nobody waits for an outcome to be joined: a hundred transactions a second are enough.
const PACE: Duration = Duration::from_millis(10);

/// What the service gets from whoever starts it.
#[derive(Debug)]
pub struct Deps {
    /// Its own database, migrated.
    pub database: Database,
    /// The keys of the suite; this service keeps nothing personal and only seals page tokens.
    pub keys: Arc<KeyRing>,
    /// A bell between replicas; [`Cache::disabled`] without Redis.
    pub cache: Cache,
    /// Ends and owns every background task.
    pub drain: Drain,
    /// The services that it calls.
    pub peers: Peers,
}

/// The services that feedback calls.
#[derive(Debug)]
pub struct Peers {
    /// For its feed.
    pub routing: Peer,
}

/// Ready to be mounted.
#[derive(Debug)]
pub struct Service {
    /// The public RPCs.
    pub public: Routes,
    /// The public RPCs and the FeedService.
    pub own: Routes,
}

/// The service cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The schema is not the one of this release.
    #[error("the database of feedback is not usable")]
    Schema(#[from] ::store::migrate::Error),
    /// A key is not one.
    #[error("the keys are not usable")]
    Keys(#[source] ::store::Error),
}

/// Builds the service and starts its background tasks.
///
/// # Errors
/// When the schema is not the one of this release, or a key is none.
pub async fn build(config: Config, deps: Deps, registry: &mut Registry) -> Result<Service, Error> {
    let Deps { database, keys, cache, drain, peers } = deps;
    ::store::migrate::check(&database, crate::MIGRATIONS).await?;
    let (tracker, token) = (drain.tracker(), drain.token());
    let metrics = feed::Metrics::default();
    metrics.register(registry);

    let bell = Bell::start(&cache, "feed", &tracker, &token);
    let tail = Tail::new(&database, Some(bell), metrics.clone());
    let running = tail.clone();
    let stop = token.clone();
    tracker.spawn(async move { running.run(stop).await });
    let retention = retention::Options {
        max_age: Duration::from_secs(config.feed_max_age_hours.saturating_mul(3_600)),
        max_bytes: config.feed_max_bytes,
        ..retention::Options::default()
    };
    tracker.spawn(retention::run(database.clone(), retention, metrics.clone(), token.clone()));

    // Reports read many rows; everything else goes by key.
    let keyed = database.keyed();
    let arrivals = Bell::start(&cache, "arrivals", &tracker, &token);
    let upstream = Upstream::new(peers.routing.without_deadline());
    let passing = receipt::relay(keyed.clone(), tail.clone(), upstream.clone(), token.clone());
    tracker.spawn(passing);
    let consumer = Consumer::new(
        "feedback.routing",
        upstream,
        keyed.clone(),
        Demands { tail: tail.clone(), arrivals: arrivals.clone() },
        consumer::Options { lanes: config.consumer_lanes, pace: PACE, ..Default::default() },
        metrics,
    );
    let stop = token.clone();
    tracker.spawn(async move { consumer.run(stop).await });

    let api = Api(App {
        outcomes: app::outcome::committer(&keyed, &tail, &drain),
        database: database.clone(),
        tokens: TokenSealer::new(&keys).map_err(Error::Keys)?,
        arrivals,
        wait_for_demand: config.wait_for_demand(),
        reports: Arc::new(Semaphore::new(config.reports_at_once)),
        report_max_rows: config.report_max_rows,
    });
    let log = FeedService::new(tail, Labels(database), token).into_server();
    let public = Routes::new(server::limited!(FeedbackServiceServer::new(api)));
    Ok(Service { own: public.clone().add_service(log), public })
}
