//! Where everything listens by default. One place, so that documents, k8s and code agree.

/// The public RPCs of all services in `rapport up`; the gateway of RPC clients.
pub const PUBLIC: u16 = 7400;
/// HTTP of the gateway: the Segment paths.
pub const HTTP: u16 = 7480;
/// `/metrics`, `/livez`, `/readyz`.
pub const ADMIN: u16 = 7490;
