//! Health of the process and of each service in it: `grpc.health.v1` and `/readyz` from one
//! source.
//!
//! A declared service is NOT_SERVING until it says otherwise; the process (service "") serves
//! when all declared services do. From the drain on nothing serves any more, but [`LIVENESS`]
//! does to the end: a process that answers lives, whatever it depends on, and whoever restarts
//! it because a database is away or because it drains does harm.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

/// The entry of `grpc.health.v1` that is SERVING for as long as the process answers: for
/// liveness probes.
pub const LIVENESS: &str = "liveness";

/// Cheap to clone; clones are the same.
#[derive(Debug, Clone)]
pub struct Health {
    reporter: HealthReporter,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    services: BTreeMap<String, bool>,
    draining: bool,
}

impl State {
    fn ready(&self) -> bool {
        !self.draining && self.services.values().all(|serving| *serving)
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// No services yet.
    #[must_use]
    pub fn new() -> Self {
        let reporter = HealthReporter::new();
        // Nobody else has the reporter yet, so its lock is free and this does not wait.
        let _done = reporter.set_service_status(LIVENESS, ServingStatus::Serving).now_or_never();
        Self { reporter, state: Arc::default() }
    }

    /// Announces a service (`rapport.profile.v1.ProfileService`) that is not serving yet, or
    /// says whether it does.
    pub async fn set(&self, service: &str, serving: bool) {
        let (serving, ready) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.services.insert(service.to_owned(), serving);
            (serving && !state.draining, state.ready())
        };
        self.reporter.set_service_status(service, status(serving)).await;
        self.reporter.set_service_status("", status(ready)).await;
    }

    /// True if every declared service serves and no drain has begun.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ready()
    }

    /// Everything NOT_SERVING, for good.
    pub async fn drain(&self) {
        let services: Vec<String> = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.draining = true;
            state.services.keys().cloned().collect()
        };
        self.reporter.set_service_status("", ServingStatus::NotServing).await;
        for service in services {
            self.reporter.set_service_status(service, ServingStatus::NotServing).await;
        }
    }

    pub(crate) fn server(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }
}

const fn status(serving: bool) -> ServingStatus {
    if serving { ServingStatus::Serving } else { ServingStatus::NotServing }
}
