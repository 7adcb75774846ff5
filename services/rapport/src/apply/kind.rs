//! The kinds of resources and the RPCs that save, delete and list them.

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor};

/// A kind of resource and where it lives.
#[derive(Debug)]
pub struct ResourceKind {
    /// As written in the file.
    pub kind: &'static str,
    /// The service it belongs to.
    pub service: &'static str,
    /// The full name of its message.
    pub message: &'static str,
    /// The name of the RPC that saves it.
    pub method: &'static str,
    /// The request field that carries it.
    pub field: &'static str,
    /// The name of the RPC that deletes it; the one of its kind cannot be deleted.
    pub delete: Option<&'static str>,
    /// The fields that only the server sets.
    pub output_only: &'static [&'static str],
}

/// All kinds, in the order in which they are applied: what others refer to comes first.
pub const KINDS: &[ResourceKind] = &[
    ResourceKind {
        kind: "IdentityRules",
        service: "rapport.identity.v1.IdentityService",
        message: "rapport.identity.v1.IdentityRules",
        method: "UpsertIdentityRules",
        field: "rules",
        delete: None,
        output_only: &["meta"],
    },
    ResourceKind {
        kind: "Trait",
        service: "rapport.profile.v1.ProfileService",
        message: "rapport.profile.v1.TraitDefinition",
        method: "UpsertTrait",
        field: "trait",
        delete: Some("DeleteTrait"),
        output_only: &["meta"],
    },
    ResourceKind {
        kind: "Scorecard",
        service: "rapport.scoring.v1.ScoringService",
        message: "rapport.scoring.v1.Scorecard",
        method: "UpsertScorecard",
        field: "scorecard",
        delete: Some("DeleteScorecard"),
        output_only: &["meta"],
    },
    ResourceKind {
        kind: "ModelPolicy",
        service: "rapport.scoring.v1.ScoringService",
        message: "rapport.scoring.v1.ModelPolicy",
        method: "UpsertModelPolicy",
        field: "policy",
        delete: Some("DeleteModelPolicy"),
        output_only: &["meta"],
    },
    ResourceKind {
        kind: "Team",
        service: "rapport.routing.v1.RoutingService",
        message: "rapport.routing.v1.Team",
        method: "UpsertTeam",
        field: "team",
        delete: Some("DeleteTeam"),
        output_only: &["meta"],
    },
    ResourceKind {
        kind: "Agent",
        service: "rapport.routing.v1.RoutingService",
        message: "rapport.routing.v1.Agent",
        method: "UpsertAgent",
        field: "agent",
        delete: Some("DeleteAgent"),
        output_only: &["presence", "load", "meta"],
    },
    ResourceKind {
        kind: "RoutingPolicy",
        service: "rapport.routing.v1.RoutingService",
        message: "rapport.routing.v1.RoutingPolicy",
        method: "UpsertPolicy",
        field: "policy",
        delete: Some("DeletePolicy"),
        output_only: &["meta"],
    },
];

/// The services that have resources, each once.
pub(super) fn services() -> Vec<&'static str> {
    let mut services: Vec<&'static str> = KINDS.iter().map(|kind| kind.service).collect();
    services.dedup();
    services
}

/// An RPC of the contracts.
///
/// # Errors
/// When it is not in them, which a test excludes.
pub(super) fn rpc(
    pool: &DescriptorPool,
    service: &str,
    method: &str,
) -> anyhow::Result<MethodDescriptor> {
    pool.get_service_by_name(service)
        .and_then(|found| found.methods().find(|rpc| rpc.name() == method))
        .ok_or_else(|| anyhow::anyhow!("{service}/{method} is not in the contracts"))
}

impl ResourceKind {
    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.kind == name)
    }

    /// What a resource without a name is called: there is one of its kind.
    #[must_use]
    pub fn only_name(&self) -> Option<&'static str> {
        self.delete.is_none().then_some("default")
    }

    /// Where it comes in the order of application.
    #[must_use]
    pub fn rank(&self) -> usize {
        KINDS.iter().position(|kind| kind.kind == self.kind).unwrap_or(KINDS.len())
    }

    /// Its message.
    ///
    /// # Errors
    /// As [`rpc`].
    pub(super) fn descriptor(&self, pool: &DescriptorPool) -> anyhow::Result<MessageDescriptor> {
        pool.get_message_by_name(self.message)
            .ok_or_else(|| anyhow::anyhow!("{} is not in the contracts", self.message))
    }

    /// Takes away what only the server sets.
    pub(super) fn strip(&self, message: &mut DynamicMessage) {
        for name in self.output_only {
            message.clear_field_by_name(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_in_the_contracts_and_in_the_docs() {
        let pool = DescriptorPool::decode(contracts::DESCRIPTORS).expect("descriptors");
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/apply.md");
        let docs = std::fs::read_to_string(docs).expect("docs/apply.md");
        let documented: Vec<&str> =
            docs.lines().filter_map(|line| line.strip_prefix("### ")).collect();
        let known: Vec<&str> = KINDS.iter().map(|kind| kind.kind).collect();
        assert_eq!(documented, known);
        for kind in KINDS {
            let save = rpc(&pool, kind.service, kind.method).expect(kind.kind).input();
            for field in [kind.field, "etag", "validate_only", "change_id"] {
                assert!(save.get_field_by_name(field).is_some(), "{}: {field}", kind.kind);
            }
            if let Some(delete) = kind.delete {
                let delete = rpc(&pool, kind.service, delete).expect(kind.kind).input();
                for field in ["name", "etag", "change_id"] {
                    assert!(delete.get_field_by_name(field).is_some(), "{}: {field}", kind.kind);
                }
            }
            rpc(&pool, kind.service, "ListResourceVersions").expect(kind.kind);
            let message = kind.descriptor(&pool).expect(kind.kind);
            for field in kind.output_only {
                assert!(message.get_field_by_name(field).is_some(), "{}: {field}", kind.kind);
            }
        }
    }
}
