//! The RPCs for browsers, scripts and whoever has no gRPC: the Connect protocol's unary and
//! streaming shapes in JSON and binary, server-sent events, gRPC-Web, and what is the gateway's
//! own: one view of a customer, tokens for browsers, the description of all that (OpenAPI).
//!
//! A map: `methods` knows the RPCs, all from the descriptor set; `routes` puts them on paths;
//! `call` is one call to a service; `message` turns JSON into messages and back; `unary`,
//! `watch` and `web` are the three shapes of an answer; `failure` is how one fails; `origin`
//! decides which pages of which sites may call; `customers`, `browser`, `openapi` are the
//! gateway's own paths.
//!
//! Invariants: no code per RPC; internal RPCs have no path; the caller's own token travels on,
//! so scope, tenant and rate are judged by the service; bodies and answers are bounded.

mod body;
mod browser;
mod call;
mod customers;
mod failure;
mod message;
mod methods;
mod openapi;
mod origin;
mod routes;
mod unary;
mod watch;
mod web;
mod writer;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use prometheus_client::registry::Registry;
use server::token::{Signer, Verifier};
use server::{Drain, settings};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Config, Deps, Peers};

pub use methods::Error;
pub use openapi::text as description;
pub(crate) use routes::routes;

/// What the requests of this module share.
#[derive(Debug)]
pub(crate) struct Api {
    config: Config,
    methods: methods::Methods,
    peers: Peers,
    verifier: Verifier,
    signer: Signer,
    drain: Drain,
    origins: origin::Origins,
    budget: body::Budget,
    /// Places for streams.
    streams: Arc<Semaphore>,
    metrics: failure::Metrics,
    /// Made when first asked for.
    description: OnceLock<Bytes>,
}

impl Api {
    /// Reads the descriptors.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn new(
        config: &Config,
        deps: &Deps,
        registry: &mut Registry,
    ) -> Result<Self, Error> {
        Ok(Self {
            methods: methods::Methods::read(contracts::DESCRIPTORS)?,
            peers: deps.peers.clone(),
            verifier: deps.verifier.clone(),
            signer: deps.signer.clone(),
            drain: deps.drain.clone(),
            origins: origin::Origins::new(&config.allowed_origins),
            budget: body::Budget::new(config.max_api_buffer_bytes),
            streams: Arc::new(Semaphore::new(config.max_streams())),
            metrics: failure::Metrics::register(registry),
            config: config.clone(),
            description: OnceLock::new(),
        })
    }
}

impl Api {
    /// A place for one more stream, until it is dropped.
    fn place(&self) -> Result<OwnedSemaphorePermit, failure::Refusal> {
        let place = Arc::clone(&self.streams).try_acquire_owned();
        place.map_err(|_| failure::Refusal::Streams)
    }
}

/// The settings of this module.
///
/// # Errors
/// Names the one that will not do.
pub(crate) fn check(config: &Config) -> Result<(), settings::Error> {
    let wrong = |text: String| Err(settings::Error::Invalid(text));
    if config.max_api_buffer_bytes < server::server::MAX_REQUEST_BYTES {
        let least = server::server::MAX_REQUEST_BYTES;
        return wrong(format!("gateway.max_api_buffer_bytes must be at least {least}"));
    }
    if !(1..=browser::MAX_SECONDS).contains(&config.browser_token_seconds) {
        let most = browser::MAX_SECONDS;
        return wrong(format!("gateway.browser_token_seconds must be 1 to {most}"));
    }
    let bad_origin = config.allowed_origins.iter().find(|one| !origin::is_well_formed(one));
    if let Some(origin) = bad_origin {
        return wrong(format!(
            "gateway.allowed_origins: {origin:?} is none: expected e.g. \"https://desk.example\""
        ));
    }
    let admin = config.browser_scopes.iter().find(|scope| scope.ends_with(":admin"));
    if let Some(scope) = admin {
        return wrong(format!("gateway.browser_scopes: {scope} is not for browsers"));
    }
    Ok(())
}
