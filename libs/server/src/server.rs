//! A server: the layers around the mounted services, to be offered on TCP and in memory.
//!
//! One `Server` per process holds what is process-wide (limits, metrics, health, drain); each
//! set of services becomes an [`Endpoint`]. The same stack stands before TCP and memory.

use std::sync::Arc;

use tonic::service::Routes;
use tonic::{Code, Status};

use crate::auth::{self, Table};
use crate::drain::Drain;
use crate::health::Health;
use crate::layers::authentication::Authentication;
use crate::layers::authorisation::Authorisation;
use crate::layers::deadline::Deadlines;
use crate::layers::garbage::Garbage;
use crate::layers::metrics::Metrics;
use crate::layers::panic::CatchPanic;
use crate::layers::rate::Rate;
use crate::layers::request_id::Ids;
use crate::layers::route::{Route, Surface};
use crate::layers::shed::Shed;
use crate::layers::trace::Trace;
use crate::layers::{Mounted, Request, Response, Rpc, Stack};
use crate::request::Ending;
use crate::settings;
use crate::status::plain;
use crate::token::Verifier;

/// The largest request message. More is RESOURCE_EXHAUSTED `MESSAGE_TOO_LARGE`.
pub const MAX_REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// The largest response message.
pub const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;

/// A generated server with the message limits of the house (tonic has none on responses):
/// `routes.add_service(server::limited!(ProfileServiceServer::new(profile)))`.
#[macro_export]
macro_rules! limited {
    ($server:expr) => {
        $server
            .max_decoding_message_size($crate::server::MAX_REQUEST_BYTES)
            .max_encoding_message_size($crate::server::MAX_RESPONSE_BYTES)
    };
}

/// A server that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// RPCs without a rule, or descriptors that cannot be read.
    #[error("the rules of the RPCs are not complete")]
    Auth(#[from] auth::Error),
    /// Reflection refuses the descriptors.
    #[error("reflection cannot be served")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// See the module. Cheap to clone; clones share all limits.
#[derive(Debug, Clone)]
pub struct Server {
    table: Table,
    verifier: Verifier,
    metrics: Metrics,
    health: Health,
    drain: Drain,
    settings: Arc<settings::Server>,
    shed: Shed,
    rate: Rate,
    descriptors: Arc<[u8]>,
}

impl Server {
    /// `descriptors` is an encoded `FileDescriptorSet` with all services that will be mounted.
    ///
    /// # Errors
    /// Names every RPC without a rule.
    pub fn new(
        settings: settings::Server,
        descriptors: &[u8],
        verifier: Verifier,
        metrics: Metrics,
        health: Health,
        drain: Drain,
    ) -> Result<Self, Error> {
        Ok(Self {
            table: Table::from_descriptors(descriptors)?,
            verifier,
            metrics,
            health,
            drain,
            shed: Shed::new(settings.max_in_flight, settings.max_streams),
            rate: Rate::new(settings.rate_per_second, settings.rate_burst),
            settings: Arc::new(settings),
            descriptors: descriptors.into(),
        })
    }

    /// Puts health, reflection and the layers around `routes`.
    ///
    /// # Errors
    /// When reflection refuses the descriptors.
    pub fn mount(&self, routes: Routes, surface: Surface) -> Result<Endpoint, Error> {
        let mut routes = routes.add_service(self.health.server());
        if self.settings.reflection {
            let reflection = tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(&self.descriptors)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                .build_v1()?;
            routes = routes.add_service(reflection);
        }
        // The innermost first. What is below the deadline runs in a task of its own.
        let inner = Mounted(routes.prepare())
            .within(Garbage)
            .within(self.rate.clone())
            .within(Authorisation)
            .within(Authentication::new(self.verifier.clone()));
        let stack = Arc::new(inner)
            .within(Deadlines::new(&self.settings, &self.drain))
            .within(self.shed.clone())
            .within(CatchPanic)
            .within(Trace)
            .within(Ids)
            .within(self.metrics.clone())
            .within(Route::new(self.table.clone(), surface));
        Ok(Endpoint {
            stack: Stack::new(stack),
            settings: Arc::clone(&self.settings),
            drain: self.drain.clone(),
        })
    }

    /// The health that this server reports.
    #[must_use]
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// How this server ends.
    #[must_use]
    pub const fn drain(&self) -> &Drain {
        &self.drain
    }

    /// The rules of all RPCs.
    #[must_use]
    pub const fn table(&self) -> &Table {
        &self.table
    }
}

/// Services with their layers. [`Endpoint::listen`] offers them on TCP,
/// [`Endpoint::memory`] inside the process, [`crate::client::Endpoint::Direct`] there without a
/// connection.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub(crate) stack: Stack,
    pub(crate) settings: Arc<settings::Server>,
    pub(crate) drain: Drain,
}

impl Endpoint {
    /// Through all layers without a connection, until the end of the drain. Like one, it
    /// carries headers and messages and nothing else.
    pub(crate) async fn call(&self, mut request: Request) -> Result<Response, Status> {
        if self.drain.idle().is_cancelled() {
            return Err(plain(Code::Unavailable, "UNAVAILABLE", "the server is shutting down"));
        }
        request.extensions_mut().clear();
        request.extensions_mut().insert(Ending(self.drain.token()));
        Ok(self.stack.call(request).await)
    }
}
