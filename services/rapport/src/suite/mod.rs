//! Every service in one process, or one of them alone: the same code path, the same layers.
//!
//! Services meet through `contracts` clients over memory endpoints (here) or TCP (`serve`),
//! never by function calls: same codec, same failures.

mod assemble;
mod claim;
mod keys;
pub mod private;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use kernel::TenantId;
use server::token::{Audience, Grant};
use server::{Drain, Health, drain};

pub use assemble::{Databases, Listeners, assemble};
pub(crate) use assemble::{section, service_name};
use claim::Claim;
pub use keys::Keys;
pub use private::Private;

use crate::backup::Metrics;

/// The five services and the gateway, by the names that settings and commands use.
pub const SERVICES: [&str; 5] = ["identity", "profile", "scoring", "routing", "feedback"];

/// Everything a person at the command line may do.
pub const ALL_SCOPES: &[&str] = &[
    "identity:read",
    "identity:write",
    "identity:admin",
    "profile:ingest",
    "profile:read",
    "profile:admin",
    "scoring:read",
    "scoring:admin",
    "routing:read",
    "routing:write",
    "routing:work",
    "routing:admin",
    "feedback:read",
    "feedback:write",
];

/// Where a suite keeps its keys, and its private servers if it has any.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data directory; created if absent.
    pub directory: PathBuf,
    /// Where Postgres' programs are (`PG_BIN`); sought in the usual places if absent.
    pub pg_bin: Option<PathBuf>,
    /// The port of the RPCs; 0 takes a free one.
    pub rpc_port: u16,
    /// The port of the gateway; 0 takes a free one.
    pub http_port: u16,
    /// The port of metrics and health; 0 takes a free one.
    pub admin_port: u16,
    /// Layers of settings above the compiled-in defaults.
    pub layers: Vec<server::settings::Layer>,
    /// False only for tests: commits do not wait for the disk.
    pub durable: bool,
}

/// A running suite.
#[derive(Debug)]
pub struct Suite {
    pub(crate) keys: Keys,
    pub(crate) drain: Drain,
    pub(crate) health: Health,
    pub(crate) rpc: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Suite {
    /// `http://…` of the RPCs.
    #[must_use]
    pub fn rpc_address(&self) -> String {
        format!("http://{}", self.rpc)
    }

    /// `http://…` of the gateway.
    #[must_use]
    pub fn http_address(&self) -> String {
        format!("http://{}", self.http)
    }

    /// `http://…` of metrics and health.
    #[must_use]
    pub fn admin_address(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// A token for a tenant.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn token(
        &self,
        tenant: TenantId,
        subject: &str,
        scopes: &[&str],
        ttl: Duration,
    ) -> anyhow::Result<String> {
        let grant = Grant { audience: Audience::Public, tenant, subject, scopes, ttl };
        Ok(self.keys.signer.issue(&grant)?.0)
    }

    /// A client of the command line's kind with all scopes for a tenant.
    ///
    /// # Errors
    /// When the token cannot be signed.
    pub fn client(&self, tenant: TenantId) -> anyhow::Result<crate::client::Client> {
        let day = Duration::from_secs(24 * 3_600);
        let token = self.token(tenant, "rapport", ALL_SCOPES, day)?;
        crate::client::Client::new(&self.rpc_address(), &token)
    }

    /// Ends it in order: NOT_SERVING, then no new calls, then nothing left at work.
    pub async fn stop(&self) -> drain::Outcome {
        self.drain.run(&self.health).await
    }
}

/// Starts the private servers and the suite on them.
///
/// # Errors
/// When the directory or a port is taken, a server is missing or a service cannot be built.
pub async fn start(options: &Options) -> anyhow::Result<(Suite, Private)> {
    let claim = Claim::take(&options.directory).await?;
    let listeners = Listeners::bind(options).await?;
    let keys = Keys::load_or_generate(&options.directory.join("keys"))?;
    let mut private = Private::start(claim, options)
        .await
        .context("starting the private servers (`rapport doctor` says what is missing)")?;
    let databases = private.databases().await?;
    let caches = |service: &str| private.cache(service);
    let metrics = Metrics::default();
    let suite = assemble::assemble_with(options, keys, databases, caches, listeners, |registry| {
        metrics.register(registry);
    });
    let suite = suite.await?;
    private.keep(options, metrics)?;
    Ok((suite, private))
}
