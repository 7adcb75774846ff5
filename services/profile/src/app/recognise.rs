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
use server::{Call, Peer};

use super::ingest::DAMAGED;
use super::{Shared, seal};
use crate::error::Error;
use crate::store::fragment::{self, Held, NewMapping};

/// Raw identifiers as they were sent: namespace and value.
pub(crate) type Identifiers = Vec<(String, String)>;

/// An evidence with a map row, and its key.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) evidence: EvidenceId,
    pub(crate) key: Arc<DataKey>,
    /// Events up to this time are void: a former customer was erased. Tells this key from those
    /// before.
    pub(crate) erased_us: Option<i64>,
}

impl Known {
    /// True for an event of before the erasure of a former customer.
    pub(crate) fn is_void(&self, event_us: i64) -> bool {
        self.erased_us.is_some_and(|erased_us| event_us <= erased_us)
    }
}

/// Why events have no evidence to hang on.
#[derive(Debug, Clone)]
pub(crate) enum Unknown {
    /// Identity refused the identifiers, or what is stored of them is damaged.
    Refused(String),
    /// Their customer was erased after they were seen.
    Erased,
    /// Their customer is being erased just now: asking again helps.
    Stale,
}

/// Identifiers whose evidence is wanted, and the latest time at which they were seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) identifiers: &'a Identifiers,
    pub(crate) event_us: i64,
}

/// Finds evidence. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Recognise {
    shared: Shared,
    identity: Peer,
}

/// By the id that was computed here: what it is, or why it is nothing.
pub(crate) type Recognised = HashMap<EvidenceId, Result<Known, Unknown>>;
type Missing<'a> = Vec<(EvidenceId, Wanted<'a>)>;

impl Recognise {
    pub(crate) fn new(shared: Shared, identity: Peer) -> Self {
        Self { shared, identity }
    }

    /// Forgets evidence whose key was another one when it was used.
    pub(crate) async fn forget(&self, tenant: TenantId, asked: EvidenceId) {
        self.shared.known.invalidate(&(tenant, asked)).await;
    }

    /// Finds or makes the evidence of the given ids, each with its raw identifiers.
    pub(crate) async fn all(
        &self,
        call: &Call,
        wanted: HashMap<EvidenceId, Wanted<'_>>,
    ) -> Result<Recognised, Error> {
        let tenant = call.tenant();
        let mut found = Recognised::with_capacity(wanted.len());
        let mut missing = Vec::new();
        for (id, wanted) in wanted {
            match self.shared.known.get(&(tenant, id)).await {
                Some(known) => {
                    found.insert(id, Ok(known));
                }
                None => missing.push((id, wanted)),
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
        missing: &mut Missing<'_>,
        found: &mut Recognised,
    ) -> Result<(), Error> {
        let ids: Vec<EvidenceId> = missing.iter().map(|(id, _)| *id).collect();
        let held = fragment::keys(&self.shared.database, tenant, &ids).await?;
        for (id, wanted) in &*missing {
            let Some(held) = held.get(id) else { continue };
            let is_late = held.erased_us.is_some_and(|erased_us| wanted.event_us <= erased_us);
            let known = match &held.wrapped_key {
                None if is_late => Err(Unknown::Erased),
                None => continue,
                Some(_) => open(tenant, tenant_key, *id, held)?,
            };
            if let Ok(known) = &known {
                self.shared.known.insert((tenant, *id), known.clone()).await;
            }
            found.insert(*id, known);
        }
        missing.retain(|(id, _)| !found.contains_key(id));
        Ok(())
    }

    /// Asks identity, and makes the rows that are not there.
    async fn resolved(
        &self,
        call: &Call,
        tenant_key: &TenantKey,
        missing: &[(EvidenceId, Wanted<'_>)],
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
        let told: HashMap<EvidenceId, Option<i64>> =
            rows.iter().map(|row| (row.evidence, row.erased_us)).collect();
        let made = self.make(&mut rows).await?;
        for (id, evidence) in named {
            let held = made.get(&evidence).ok_or_else(missing_row)?;
            let known = if held.erased_us < told.get(&evidence).copied().flatten() {
                // Identity has erased it; the log has not told yet.
                Err(Unknown::Stale)
            } else {
                open(tenant, tenant_key, evidence, held)?
            };
            if let Ok(known) = &known {
                self.shared.known.insert((tenant, id), known.clone()).await;
            }
            found.insert(id, known);
        }
        Ok(())
    }

    async fn ask(
        &self,
        call: &Call,
        missing: &[(EvidenceId, Wanted<'_>)],
    ) -> Result<Vec<Result<Resolution, Unknown>>, Error> {
        let identifier = |(namespace, value): &(String, String)| Identifier {
            namespace: namespace.clone(),
            value: value.clone(),
        };
        let request = |wanted: &Wanted<'_>| ResolveRequest {
            identifiers: wanted.identifiers.iter().map(identifier).collect(),
            event_time: Some(prost_types::Timestamp {
                seconds: wanted.event_us.div_euclid(1_000_000),
                nanos: wanted.event_us.rem_euclid(1_000_000) as i32 * 1_000,
            }),
        };
        let requests: Vec<ResolveRequest> =
            missing.iter().map(|(_, wanted)| request(wanted)).collect();
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
            Some(Resolved::Error(reason)) => Ok(Err(Unknown::Refused(reason))),
            Some(Resolved::Erased(_)) => Ok(Err(Unknown::Erased)),
            None => Err(malformed()),
        };
        results.into_iter().map(result).collect()
    }

    /// Makes map rows and keys where there are none; answers the wrapped keys in force. In
    /// one statement of its own: a row without events is harmless, and the key must be
    /// settled before an event is sealed with it.
    async fn make(&self, rows: &mut Vec<NewMapping>) -> Result<HashMap<EvidenceId, Held>, Error> {
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
    held: &Held,
) -> Result<Result<Known, Unknown>, Error> {
    let erased_us = held.erased_us;
    let Some(wrapped) = &held.wrapped_key else { return Ok(Err(Unknown::Stale)) };
    match seal::open_key(tenant, tenant_key, evidence, wrapped) {
        Ok(key) => Ok(Ok(Known { evidence, key: Arc::new(key), erased_us })),
        Err(error) if error.blames_one_row() => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(%tenant, %evidence, error, "the key of an evidence does not open");
            Ok(Err(Unknown::Refused(DAMAGED.to_owned())))
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
    let micros = |time: &prost_types::Timestamp| {
        time.seconds.saturating_mul(1_000_000).saturating_add(i64::from(time.nanos / 1_000))
    };
    let erased_us = resolution.erase_time.as_ref().map(micros);
    let map_version = resolution.map_version;
    Ok(NewMapping { tenant, evidence, customer, map_version, wrapped_key, erased_us })
}

fn malformed() -> Error {
    Error::Store(::store::Error::internal("identity's answer is malformed"))
}

fn missing_row() -> Error {
    Error::Store(::store::Error::internal("a map row is missing"))
}
