//! The RPCs that have a path here, read from the descriptor set.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::uri::PathAndQuery;
use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor};
use server::Peer;
use server::auth::{self, Rule, Table};

use super::writer::{Writer, Writers};
use crate::Peers;

/// Descriptors that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An RPC without a rule, or bytes that are no descriptor set.
    #[error("the rules of the RPCs are not complete")]
    Auth(#[from] auth::Error),
    /// Not an encoded `FileDescriptorSet`.
    #[error("the descriptor set cannot be read")]
    Descriptors(#[from] prost_reflect::DescriptorError),
    /// A public service that is none of the five.
    #[error("{0} is public, but the gateway knows no service behind it")]
    Unknown(String),
    /// A name that makes no path.
    #[error("{0} makes no path")]
    Path(String),
}

/// Which of the five.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Identity,
    Profile,
    Scoring,
    Routing,
    Feedback,
}

impl Service {
    fn of(package: &str) -> Option<Self> {
        match package {
            "rapport.identity.v1" => Some(Self::Identity),
            "rapport.profile.v1" => Some(Self::Profile),
            "rapport.scoring.v1" => Some(Self::Scoring),
            "rapport.routing.v1" => Some(Self::Routing),
            "rapport.feedback.v1" => Some(Self::Feedback),
            _ => None,
        }
    }

    pub(crate) const fn peer(self, peers: &Peers) -> &Peer {
        match self {
            Self::Identity => &peers.identity,
            Self::Profile => &peers.profile,
            Self::Scoring => &peers.scoring,
            Self::Routing => &peers.routing,
            Self::Feedback => &peers.feedback,
        }
    }
}

/// Who sends streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Nobody.
    Unary,
    /// The server.
    Watch,
    /// The client, or both.
    Dialogue,
}

/// One RPC.
#[derive(Debug)]
pub(crate) struct Rpc {
    /// `/package.Service/Method`.
    pub(crate) path: PathAndQuery,
    pub(crate) service: Service,
    pub(crate) rule: Rule,
    pub(crate) shape: Shape,
    pub(crate) method: MethodDescriptor,
    pub(crate) input: MessageDescriptor,
    pub(crate) output: Writer,
}

/// All RPCs that callers from outside may try.
#[derive(Debug)]
pub(crate) struct Methods {
    rpcs: BTreeMap<String, Arc<Rpc>>,
    /// `/package.Service` of everything in the set, also of what is internal.
    services: Vec<String>,
}

impl Methods {
    /// Leaves out what is internal: it is answered like what does not exist.
    pub(crate) fn read(descriptors: &[u8]) -> Result<Self, Error> {
        let pool = DescriptorPool::decode(descriptors)?;
        let table = Table::from_descriptors(descriptors)?;
        let writers = Writers::new(&pool);
        let mut rpcs = BTreeMap::new();
        let mut services = Vec::new();
        for service in pool.services() {
            services.push(format!("/{}", service.full_name()));
            for method in service.methods() {
                let path = format!("/{}/{}", service.full_name(), method.name());
                let rule = match &table.lookup(&path).rule {
                    Some(rule @ (Rule::Scope(_) | Rule::Public)) => rule.clone(),
                    None | Some(Rule::Internal) => continue,
                };
                let behind = Service::of(service.package_name())
                    .ok_or_else(|| Error::Unknown(path.clone()))?;
                let rpc = Rpc {
                    path: path.parse().map_err(|_| Error::Path(path.clone()))?,
                    service: behind,
                    rule,
                    shape: shape(&method),
                    input: method.input(),
                    output: writers
                        .of(&method.output())
                        .ok_or_else(|| Error::Unknown(path.clone()))?,
                    method,
                };
                rpcs.insert(path, Arc::new(rpc));
            }
        }
        Ok(Self { rpcs, services })
    }

    /// In the order of their paths.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Rpc>> {
        self.rpcs.values()
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Arc<Rpc>> {
        self.rpcs.get(path)
    }

    pub(crate) fn services(&self) -> &[String] {
        &self.services
    }
}

fn shape(method: &MethodDescriptor) -> Shape {
    match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => Shape::Unary,
        (false, true) => Shape::Watch,
        (true, _) => Shape::Dialogue,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_internal_has_no_path() {
        let methods = Methods::read(contracts::DESCRIPTORS).unwrap();
        let table = Table::from_descriptors(contracts::DESCRIPTORS).unwrap();
        for method in table.methods() {
            let path = format!("/{}", method.name);
            let is_ours = method.name.starts_with("rapport.");
            let is_offered = is_ours && method.rule != Some(Rule::Internal);
            assert_eq!(methods.get(&path).is_some(), is_offered, "{path}");
        }
        assert!(methods.get("/rapport.feed.v1.FeedService/Subscribe").is_none());
        assert!(methods.iter().count() > 40);
    }
}
