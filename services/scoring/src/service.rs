//! Puts the service together: use cases, RPCs, feed, and the tasks in the background.

use std::sync::Arc;
use std::time::Duration;

use ::store::{Bell, Cache, Database, KeyRing, TokenSealer};
use contracts::scoring::v1::scoring_service_server::ScoringServiceServer;
use feed::consumer::Options;
use feed::{Consumer, FeedService, Handler, Tail, Upstream, receipt, retention};
use prometheus_client::registry::Registry;
use server::{Drain, Peer};
use tonic::service::Routes;

use crate::api::Api;
use crate::app::{self, App, FeedbackHandler, Learner, Parts, ProfileHandler};
use crate::clock::Clock;
use crate::config::Config;
use crate::events::Snapshots;
use crate::metrics::Metrics;

/// What the service gets from whoever starts it.
#[derive(Debug)]
pub struct Deps {
    /// Its own database, migrated.
    pub database: Database,
    /// The keys of the installation.
    pub keys: Arc<KeyRing>,
    /// Redis, or [`Cache::disabled`].
    pub cache: Cache,
    /// How the process ends; owns every background task.
    pub drain: Drain,
    /// The services that it calls and follows.
    pub peers: Peers,
}

/// The services that scoring calls. None needs to answer yet.
#[derive(Debug)]
pub struct Peers {
    /// Whose feed has behaviour and declared attributes.
    pub profile: Peer,
    /// Whose feed has labels.
    pub feedback: Peer,
}

/// Ready to be mounted.
#[derive(Debug)]
pub struct Service {
    /// The public RPCs; one port can serve those of all services.
    pub public: Routes,
    /// The public RPCs and the feed: the service's own endpoint.
    pub own: Routes,
}

/// Why the service cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database is not migrated, or away.
    #[error("the database cannot be used")]
    Schema(#[from] ::store::migrate::Error),
    /// A key is not one.
    #[error("the keys cannot be used")]
    Keys(#[from] ::store::Error),
}

/// Builds the service by the clock of the machine, and starts its tasks.
///
/// # Errors
/// When the database is not migrated or a key is not one. Peers are not called.
pub async fn build(config: Config, deps: Deps, registry: &mut Registry) -> Result<Service, Error> {
    build_with_clock(config, deps, registry, Clock::system()).await
}

/// The same by another clock.
///
/// # Errors
/// As [`build`].
pub async fn build_with_clock(
    config: Config,
    deps: Deps,
    registry: &mut Registry,
    clock: Clock,
) -> Result<Service, Error> {
    ::store::migrate::check(&deps.database, crate::MIGRATIONS).await?;
    let feed_metrics = feed::Metrics::default();
    feed_metrics.register(registry);
    let metrics = Metrics::default();
    metrics.register(registry);
    let (tasks, stop) = (deps.drain.tracker(), deps.drain.token());
    let bell = Bell::start(&deps.cache, "feed", &tasks, &stop);
    let tail = Tail::new(&deps.database, Some(bell), feed_metrics.clone());
    let Peers { profile, feedback } = deps.peers;
    let app = Arc::new(App::new(Parts {
        config,
        database: deps.database.keyed(), // every statement goes by key
        tail: tail.clone(),
        tokens: TokenSealer::new(&deps.keys)?,
        clock,
        drain: deps.drain.clone(),
        metrics,
        profile: profile.clone(),
    }));
    spawn(&app, &feed_metrics, (profile, feedback));

    let api = Arc::new(Api(app));
    let rpcs = || server::limited!(ScoringServiceServer::from_arc(Arc::clone(&api)));
    let source = Snapshots(deps.database);
    let feed = server::limited!(FeedService::new(tail, source, stop).into_server());
    Ok(Service { public: Routes::new(rpcs()), own: Routes::new(rpcs()).add_service(feed) })
}

/// Everything that goes on without being called.
fn spawn(app: &Arc<App>, metrics: &feed::Metrics, (profile, feedback): (Peer, Peer)) {
    let (tasks, stop) = (app.drain.tracker(), app.drain.token());
    let (tail, token) = (app.tail.clone(), stop.clone());
    tasks.spawn(async move { tail.run(token).await });
    let keep = retention::Options {
        max_age: Duration::from_secs(app.config.feed_max_age_hours * 3_600),
        max_bytes: app.config.feed_max_mib.saturating_mul(1 << 20),
        ..retention::Options::default()
    };
    let retained = retention::run(app.database.clone(), keep, metrics.clone(), stop);
    tasks.spawn(retained);
    let lanes = Options { lanes: app.config.profile_lanes, ..Options::default() };
    let (tail, upstream) = (app.tail.clone(), Upstream::new(profile.clone().without_deadline()));
    tasks.spawn(receipt::relay(app.database.clone(), tail, upstream, app.drain.token()));
    follow(app, metrics, "scoring.profile", profile, ProfileHandler::new(Arc::clone(app)), lanes);
    // One lane: the label log is written in one order.
    let handler = FeedbackHandler(Arc::clone(app));
    follow(app, metrics, "scoring.feedback", feedback, handler, Options::default());
    tasks.spawn(app::run_due(Arc::clone(app)));
    tasks.spawn(app::run_sweep(Arc::clone(app)));
    tasks.spawn(Learner::new(Arc::clone(app)).run());
}

fn follow<H: Handler>(
    app: &App,
    metrics: &feed::Metrics,
    name: &str,
    peer: Peer,
    handler: H,
    options: Options,
) {
    let upstream = Upstream::new(peer.without_deadline());
    let database = app.database.clone();
    let consumer = Consumer::new(name, upstream, database, handler, options, metrics.clone());
    let stop = app.drain.token();
    app.drain.tracker().spawn(async move { consumer.run(stop).await });
}
