//! Finds the method of a call once, for all layers below, and closes a surface that is open to
//! the outside against methods that are for the other services only.

use tonic::{Code, Status};

use super::{Around, Request, Response, Rpc, refuse};
use crate::auth::{Rule, Table};

/// What an endpoint offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// Everything that is mounted.
    All,
    /// Internal methods answer UNIMPLEMENTED, as if they did not exist.
    Public,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Route {
    table: Table,
    surface: Surface,
}

impl Route {
    /// For an endpoint with this surface.
    #[must_use]
    pub const fn new(table: Table, surface: Surface) -> Self {
        Self { table, surface }
    }
}

impl Around for Route {
    async fn around<R: Rpc>(&self, mut request: Request, rest: &R) -> Response {
        let method = self.table.lookup(request.uri().path());
        if self.surface == Surface::Public && method.rule == Some(Rule::Internal) {
            return refuse(Status::new(Code::Unimplemented, ""));
        }
        request.extensions_mut().insert(method);
        rest.call(request).await
    }
}
