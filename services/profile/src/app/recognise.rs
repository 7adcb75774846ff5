//! Which evidence do events hang on, and under which key?
//!
//! Known evidence is found in the process or by one read; identity is asked once per call for
//! the rest. The id computed here is a name for what was asked: rules may change meanwhile, so
//! identity's answer is what counts.

use std::collections::HashMap;
use std::sync::Arc;

use ::store::{DataKey, TenantKey};
use contracts::common::v1::Identifier;
use contracts::identity::v1::batch_resolve_result::Result as Resolved;
use contracts::identity::v1::identity_service_client::IdentityServiceClient;
use contracts::identity::v1::{BatchResolveRequest, Resolution, ResolveRequest};
use kernel::{CustomerId, EvidenceId, TenantId};
use moka::future::Cache;
use server::{Call, Peer};

use super::ingest::DAMAGED;
use super::{Shared, seal};
use crate::error::Error;
use crate::store::fragment::{self, NewMapping};

/// Raw identifiers as they were sent: namespace and value.
pub(crate) type Identifiers = Vec<(String, String)>;

/// An evidence with a map row, and its key.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) evidence: EvidenceId,
    pub(crate) key: Arc<DataKey>,
}

/// Finds evidence. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Recognise {
    shared: Shared,
    identity: Peer,
    known: Cache<(TenantId, EvidenceId), Known>,
}

/// By the id that was computed here: what it is, or why identity refused it.
pub(crate) type Recognised = HashMap<EvidenceId, Result<Known, String>>;

impl Recognise {
    pub(crate) fn new(shared: Shared, identity: Peer, capacity: u64) -> Self {
        Self { shared, identity, known: Cache::builder().max_capacity(capacity).build() }
    }

    /// Finds or makes the evidence of the given ids, each with its raw identifiers.
    pub(crate) async fn all(
        &self,
        call: &Call,
        wanted: HashMap<EvidenceId, &Identifiers>,
    ) -> Result<Recognised, Error> {
        let tenant = call.tenant();
        let mut found = Recognised::with_capacity(wanted.len());
        let mut missing = Vec::new();
        for (id, identifiers) in wanted {
            match self.known.get(&(tenant, id)).await {
                Some(known) => {
                    found.insert(id, Ok(known));
                }
                None => missing.push((id, identifiers)),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let tenant_key = self.shared.tenant_keys.get(tenant).await?;
        self.stored(tenant, &tenant_key, &mut missing, &mut found).await?;
        if !missing.is_empty() {
            self.resolved(call, &tenant_key, &missing, &mut found).await?;
        }
        Ok(found)
    }

    /// Takes out of `missing` what has a row and a key.
    async fn stored(
        &self,
        tenant: TenantId,
        tenant_key: &TenantKey,
        missing: &mut Vec<(EvidenceId, &Identifiers)>,
        found: &mut Recognised,
    ) -> Result<(), Error> {
        let ids: Vec<EvidenceId> = missing.iter().map(|(id, _)| *id).collect();
        let keys = fragment::keys(&self.shared.database, tenant, &ids).await?;
        for (id, wrapped) in keys {
            let Some(wrapped) = wrapped else { continue };
            let known = open(tenant, tenant_key, id, &wrapped)?;
            if let Ok(known) = &known {
                self.known.insert((tenant, id), known.clone()).await;
            }
            found.insert(id, known);
        }
        missing.retain(|(id, _)| !found.contains_key(id));
        Ok(())
    }

    /// Asks identity, and makes the rows that are not there.
    async fn resolved(
        &self,
        call: &Call,
        tenant_key: &TenantKey,
        missing: &[(EvidenceId, &Identifiers)],
        found: &mut Recognised,
    ) -> Result<(), Error> {
        let tenant = call.tenant();
        let results = self.ask(call, missing).await?;
        let mut named = Vec::with_capacity(missing.len());
        let mut rows = Vec::with_capacity(missing.len());
        for ((id, _), result) in missing.iter().zip(results) {
            match result {
                Ok(resolution) => {
                    let row = row(tenant, tenant_key, &resolution)?;
                    named.push((*id, row.evidence));
                    rows.push(row);
                }
                Err(reason) => {
                    found.insert(*id, Err(reason));
                }
            }
        }
        let keys = self.make(&mut rows).await?;
        for (id, evidence) in named {
            let wrapped = keys.get(&evidence).ok_or_else(missing_row)?;
            let known = open(tenant, tenant_key, evidence, wrapped)?;
            if let Ok(known) = &known {
                self.known.insert((tenant, id), known.clone()).await;
            }
            found.insert(id, known);
        }
        Ok(())
    }

    async fn ask(
        &self,
        call: &Call,
        missing: &[(EvidenceId, &Identifiers)],
    ) -> Result<Vec<Result<Resolution, String>>, Error> {
        let identifier = |(namespace, value): &(String, String)| Identifier {
            namespace: namespace.clone(),
            value: value.clone(),
        };
        let request = |identifiers: &Identifiers| ResolveRequest {
            identifiers: identifiers.iter().map(identifier).collect(),
        };
        let requests: Vec<ResolveRequest> =
            missing.iter().map(|(_, identifiers)| request(identifiers)).collect();
        self.shared.metrics.resolved.inc_by(requests.len() as u64);
        let mut client = IdentityServiceClient::new(self.identity.during(call).idempotent());
        let answer = client
            .batch_resolve(BatchResolveRequest { requests })
            .await
            .map_err(|status| Error::Identity(Box::new(status)))?;
        let results = answer.into_inner().results;
        if results.len() != missing.len() {
            return Err(malformed());
        }
        let result = |result: contracts::identity::v1::BatchResolveResult| match result.result {
            Some(Resolved::Resolution(resolution)) => Ok(Ok(resolution)),
            Some(Resolved::Error(reason)) => Ok(Err(reason)),
            None => Err(malformed()),
        };
        results.into_iter().map(result).collect()
    }

    /// Makes map rows and keys where there are none; answers the wrapped keys in force. In
    /// one statement of its own: a row without events is harmless, and the key must be
    /// settled before an event is sealed with it.
    async fn make(
        &self,
        rows: &mut Vec<NewMapping>,
    ) -> Result<HashMap<EvidenceId, Vec<u8>>, Error> {
        let database = &self.shared.database;
        // Two sets of identifiers may be one evidence under the tenant's rules.
        rows.sort_unstable_by_key(|row| row.evidence);
        rows.dedup_by_key(|row| row.evidence);
        // In one, to be repeated: a move of evidence inserts and locks such rows too.
        ::store::transaction!(database, async |connection| {
            Ok::<_, Error>(fragment::insert_with_keys(connection, rows).await?)
        })
    }
}

/// The key of an evidence; one that does not open is this evidence's trouble only.
fn open(
    tenant: TenantId,
    tenant_key: &TenantKey,
    evidence: EvidenceId,
    wrapped: &[u8],
) -> Result<Result<Known, String>, Error> {
    match seal::open_key(tenant, tenant_key, evidence, wrapped) {
        Ok(key) => Ok(Ok(Known { evidence, key: Arc::new(key) })),
        Err(error) if error.blames_one_row() => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(%tenant, %evidence, error, "the key of an evidence does not open");
            Ok(Err(DAMAGED.to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

fn row(
    tenant: TenantId,
    tenant_key: &TenantKey,
    resolution: &Resolution,
) -> Result<NewMapping, Error> {
    let evidence: EvidenceId = resolution.evidence_id.parse().map_err(|_| malformed())?;
    let customer: CustomerId = resolution.customer_id.parse().map_err(|_| malformed())?;
    let wrapped_key = Some(seal::new_key(tenant, tenant_key, evidence)?);
    Ok(NewMapping { tenant, evidence, customer, map_version: resolution.map_version, wrapped_key })
}

fn malformed() -> Error {
    Error::Store(::store::Error::internal("identity's answer is malformed"))
}

fn missing_row() -> Error {
    Error::Store(::store::Error::internal("a map row is missing"))
}
