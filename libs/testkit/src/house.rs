//! A service under test, behind the layers that it has in production.
//!
//! A [`House`] is one deployment: keys, tokens, one server, one drain. A test builds the services
//! it needs with these, serves their routes in memory, and calls them through [`House::peer`],
//! which carries the internal token of a tenant. Nothing listens on TCP.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kernel::TenantId;
use prometheus_client::registry::Registry;
use server::client::Endpoint;
use server::layers::metrics::Metrics;
use server::settings::{self, Layer};
use server::token::{Audience, Grant, InternalTokens, Signer, Verifier};
use server::{Call, Drain, Health, Peer, Server, Surface};
use store::{Cache, Database, KeyRing, Migration, database, migrate};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

use crate::{Stack, TestDatabase};

/// The machine may be busy with other tests; time-outs have tests of their own.
const PATIENCE: Duration = Duration::from_secs(20);
/// Tests call more often than people.
const SETTINGS: &str = "[server]
rate_per_second = 1000000
rate_burst = 1000000
default_deadline_ms = 30000
drain_lag_ms = 0
drain_grace_ms = 5000";

/// See the module. Dropping it ends the services' background tasks.
pub struct House {
    /// The keys that every service of the house gets.
    pub keys: Arc<KeyRing>,
    /// Owns the background tasks.
    pub drain: Drain,
    /// What the services' metrics are registered with.
    pub registry: Registry,
    server: Server,
    verifier: Verifier,
    public: Signer,
    internal: Signer,
}

impl House {
    /// A deployment with fresh keys, for the RPCs of `descriptors`.
    ///
    /// # Errors
    /// No randomness, or an RPC without a rule.
    pub fn new(descriptors: &[u8]) -> anyhow::Result<Self> {
        let settings = settings::Server::load(&[Layer::toml("testkit", SETTINGS)])?;
        let drain = Drain::new(CancellationToken::new(), TaskTracker::new(), &settings);
        let (internal, _pem) = Signer::generate()?;
        let (public, _pem) = Signer::generate()?;
        let verifier = Verifier::new([
            (Audience::Internal, internal.public_key()),
            (Audience::Public, public.public_key()),
        ]);
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let health = Health::new();
        let server =
            Server::new(settings, descriptors, verifier.clone(), metrics, health, drain.clone())?;
        let keys = Arc::new(KeyRing::generate()?);
        Ok(Self { keys, drain, registry, server, verifier, public, internal })
    }

    /// A migrated database for a service, on the shared servers; the first part keeps it alive.
    ///
    /// # Errors
    /// The migration fails, or the server refuses.
    pub async fn database(
        &self,
        service: &'static str,
        migrations: &'static [Migration],
    ) -> anyhow::Result<(TestDatabase, Database)> {
        let key = migrate::fingerprint(migrations);
        let migrated = async |url: String| {
            let database = Database::connect(&options(&url)).await?;
            migrate::apply(&database, migrations).await?;
            database.close().await;
            anyhow::Ok(())
        };
        let clone = Stack::get().await.database(service, &key, migrated).await?;
        let database = Database::connect(&options(clone.url())).await?;
        Ok((clone, database))
    }

    /// A corner of the shared Redis.
    ///
    /// # Errors
    /// Never while the address is well-formed.
    pub async fn cache(&self) -> anyhow::Result<Cache> {
        let redis = Stack::get().await.redis();
        Cache::new(redis.url(), redis.prefix()).context("the cache of a test")
    }

    /// Serves a service's routes in memory, behind all layers.
    ///
    /// # Errors
    /// Reflection refuses the descriptors.
    pub fn serve(&self, own: Routes) -> anyhow::Result<Endpoint> {
        Ok(Endpoint::Memory(self.server.mount(own, Surface::All)?.memory()))
    }

    /// A client's channel to an endpoint, on behalf of a tenant.
    #[must_use]
    pub fn peer(&self, endpoint: &Endpoint, tenant: TenantId) -> Peer {
        let tokens = InternalTokens::new(self.internal.clone(), "test");
        Peer::new(endpoint.clone(), tokens).during(&Call::background(tenant)).without_deadline()
    }

    /// Knows the tokens of the house.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        self.verifier.clone()
    }

    /// Signs the tokens of callers from outside.
    #[must_use]
    pub fn signer(&self) -> Signer {
        self.public.clone()
    }

    /// A token of a caller from outside, good for an hour.
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn token(&self, tenant: TenantId, scopes: &[&str]) -> anyhow::Result<String> {
        let ttl = Duration::from_secs(3_600);
        let audience = Audience::Public;
        let grant = Grant { audience, tenant, subject: "tester", scopes, ttl };
        Ok(self.public.issue(&grant)?.0)
    }

    /// The tokens of a service of the house towards the others.
    #[must_use]
    pub fn internal_tokens(&self, service: &str) -> InternalTokens {
        InternalTokens::new(self.internal.clone(), service)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.drain.token().cancel();
    }
}

fn options(url: &str) -> database::Options {
    database::Options {
        acquire_timeout: PATIENCE,
        lock_timeout: PATIENCE,
        statement_timeout: PATIENCE,
        ..database::Options::new(url, "test")
    }
}
