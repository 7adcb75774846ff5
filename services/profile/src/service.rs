//! Puts the service together: use cases, background tasks, routes.

use std::sync::Arc;
use std::time::Duration;

use ::store::{Bell, Cache, Database, KeyRing, TenantKeys, TokenSealer};
use contracts::profile::v1::profile_service_server::ProfileServiceServer;
use feed::tail::Position;
use feed::{Consumer, FeedService, Tail, Upstream, consumer};
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use server::{Drain, Peer};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::api::Api;
use crate::app::cache::Profiles;
use crate::app::ingest::Ingest;
use crate::app::moves;
use crate::app::rules::Follow;
use crate::app::snapshot::Snapshot;
use crate::app::{App, Shared};
use crate::config::Config;
use crate::events::{self, IdentityEvents};
use crate::metrics::Metrics;
use crate::store::rejected;

/// What the service gets from whoever starts it.
#[derive(Debug)]
pub struct Deps {
    /// Its own database, migrated.
    pub database: Database,
    /// The same keys in every service.
    pub keys: Arc<KeyRing>,
    /// May be without Redis: then everything works, slower.
    pub cache: Cache,
    /// Owns the background tasks and says when they end.
    pub drain: Drain,
    /// The services that this one calls.
    pub peers: Peers,
}

/// The services that this one calls.
#[derive(Debug, Clone)]
pub struct Peers {
    /// Public RPCs and feed of identity.
    pub identity: Peer,
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
    #[error("the schema of the profile database does not fit")]
    Schema(#[from] ::store::migrate::Error),
    /// Keys or database.
    #[error(transparent)]
    Store(#[from] ::store::Error),
}

/// How often refused events that are old enough are forgotten.
const SWEEP: Duration = Duration::from_secs(3_600);
/// How often it is looked whether a customer's merge was put off.
const SETTLE: Duration = Duration::from_secs(1);
/// The pause before the own log is followed again.
const PAUSE: Duration = Duration::from_millis(500);

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

    let feed_metrics = feed::Metrics::default();
    feed_metrics.register(registry);
    let metrics = Metrics::default();
    metrics.register(registry);
    let bell = Bell::start(&cache, "feed", &tasks, &stop);
    let tail = Tail::new(&database, Some(bell), feed_metrics.clone());
    let keyed = database.keyed();
    let shared = Shared {
        tenant_keys: TenantKeys::new(keyed.clone(), Arc::clone(keys.root())),
        lookup: Arc::clone(keys.lookup()),
        schemas: Shared::schemas(&keyed),
        profiles: Profiles::new(cache, config.cached_profiles, config.cache_time()),
        known: moka::future::Cache::builder().max_capacity(config.known_evidence).build(),
        tail: tail.clone(),
        metrics,
        database: keyed.clone(),
    };
    let rules = Follow::new(peers.identity.clone(), drain.tracker());
    let ingest = Ingest::start(shared.clone(), peers.identity.clone(), &config, &drain);

    let (reading, until) = (tail.clone(), stop.clone());
    tasks.spawn(async move { reading.run(until).await });
    let keeping =
        feed::retention::run(database, config.retention(), feed_metrics.clone(), stop.clone());
    tasks.spawn(keeping);
    tasks.spawn(sweep(keyed.clone(), config.rejected_us(), stop.clone()));
    tasks.spawn(stop.clone().run_until_cancelled_owned(follow_self(shared.clone())));
    tasks.spawn(stop.clone().run_until_cancelled_owned(settle(shared.clone())));
    let upstream = Upstream::new(peers.identity.without_deadline());
    let receipts =
        feed::receipt::relay(keyed.clone(), tail.clone(), upstream.clone(), stop.clone());
    tasks.spawn(receipts);
    let follower = Consumer::new(
        "profile.identity",
        upstream,
        keyed,
        IdentityEvents(shared.clone()),
        consumer::Options::default(),
        feed_metrics,
    );
    let until = stop.clone();
    tasks.spawn(async move { follower.run(until).await });

    let snapshot = Snapshot(shared.clone());
    let app = App { shared, ingest, rules };
    let api = Api::new(app, TokenSealer::new(&keys)?, drain, config.stream_chunks);
    let public = Routes::new(server::limited!(ProfileServiceServer::new(api)));
    let log = FeedService::new(tail, snapshot, stop).into_server();
    let own = public.clone().add_service(server::limited!(log));
    Ok(Service { public, own })
}

/// Forgets old refused events.
async fn sweep(database: Database, kept_us: i64, stop: CancellationToken) {
    loop {
        let before_us = Timestamp::now().as_microsecond().saturating_sub(kept_us);
        if let Err(error) = rejected::sweep(&database, before_us).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "rejected events not swept");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
    }
}

/// Merges customers whose merge was put off.
async fn settle(shared: Shared) {
    let mut resting = moves::Resting::new();
    loop {
        tokio::time::sleep(SETTLE).await;
        if let Err(error) = moves::settle(&shared, &mut resting).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "customers not settled");
        }
    }
}

/// Follows the own log, so that changes of other replicas are seen here.
async fn follow_self(shared: Shared) {
    loop {
        if let Err(error) = follow_self_once(&shared).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "own log not followed");
        }
        shared.profiles.forget_all();
        tokio::time::sleep(PAUSE).await;
    }
}

/// A process that was killed after a commit did not empty Redis of what it changed: whoever
/// begins does it, for this many changes before.
const AGAIN: i64 = 10_000;

async fn follow_self_once(shared: &Shared) -> Result<(), feed::Error> {
    let head = shared.tail.read_head().await?;
    let from = |seq| Position { epoch: Some(head.epoch), seq };
    let mut subscription = match shared.tail.subscribe(from((head.seq - AGAIN).max(0))).await {
        Err(feed::Error::Truncated) => shared.tail.subscribe(from(head.seq)).await?,
        subscription => subscription?,
    };
    shared.profiles.forget_all();
    loop {
        let run = subscription.next().await?;
        let customers: Vec<_> = run.entries().iter().flat_map(events::customers_of).collect();
        for key in run.entries().iter().flat_map(events::erased_evidence) {
            shared.known.invalidate(&key).await;
        }
        if !customers.is_empty() {
            shared.profiles.forget(&customers).await;
        }
    }
}
