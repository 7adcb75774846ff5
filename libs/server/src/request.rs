//! What a handler needs to know of the call besides its message: for whom, how long, and the
//! id that leads to it in the logs.

use std::sync::Arc;
use std::time::Duration;

use kernel::TenantId;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};
use uuid::Uuid;

use crate::layers::deadline::Deadline;
use crate::layers::request_id::RequestId;
use crate::status::status;
use crate::token::{Error, Principal};

/// The connection is about to end: streams on it shall end first.
#[derive(Debug, Clone)]
pub(crate) struct Ending(pub(crate) CancellationToken);

/// One call being served, or one piece of background work. Goes into every outgoing call
/// ([`crate::Peer::during`]).
#[derive(Debug, Clone)]
pub struct Call {
    principal: Arc<Principal>,
    deadline: Option<Deadline>,
    request_id: Option<RequestId>,
    ending: CancellationToken,
}

impl Call {
    /// Of a request that came through the layers.
    ///
    /// # Errors
    /// UNAUTHENTICATED for a public method, which has no principal.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let extensions = request.extensions();
        let principal = extensions.get::<Arc<Principal>>().cloned();
        Ok(Self {
            principal: principal.ok_or_else(|| status(&Error::Refused))?,
            deadline: extensions.get::<Deadline>().copied(),
            request_id: extensions.get::<RequestId>().cloned(),
            ending: extensions.get::<Ending>().map(|Ending(t)| t.clone()).unwrap_or_default(),
        })
    }

    /// Background work for one tenant.
    #[must_use]
    pub fn background(tenant: TenantId) -> Self {
        let principal = Principal {
            tenant,
            subject: "background".to_owned(),
            scopes: std::collections::HashSet::new(),
            internal: true,
            token_id: String::new(),
            browser: None,
        };
        Self {
            principal: Arc::new(principal),
            deadline: None,
            request_id: None,
            ending: CancellationToken::new(),
        }
    }

    /// Work that spans tenants: the subscription to a feed. The tenant is the nil UUID.
    #[must_use]
    pub fn across_tenants() -> Self {
        Self::background(TenantId::new(Uuid::nil()))
    }

    /// The same, with this long to go.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.deadline = Some(Deadline::after(time));
        self
    }

    /// The isolation boundary.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        self.principal.tenant
    }

    /// Who is calling.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// When the caller stops waiting; streams and background work have none.
    #[must_use]
    pub const fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    /// What remains until then.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(Deadline::remaining)
    }

    /// The `x-request-id` of the call.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_ref().map(|id| &*id.0)
    }

    /// Cancelled when streams of this call shall end: the server drains or the connection has
    /// reached its age.
    #[must_use]
    pub fn ending(&self) -> CancellationToken {
        self.ending.clone()
    }
}
