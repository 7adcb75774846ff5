//! Who is this? Known evidence by one read, new evidence through the committer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kernel::{EvidenceId, TenantId, Violations};
use linkage::graph::{Evidence, ValueKey};
use linkage::{EvidenceSet, IgnoreReason, Rules};

use super::place::{Answer, Work};
use super::seal::{What, seal};
use super::{App, read};
use crate::Error;
use crate::domain::{Arrival, Origin};
use crate::store::{evidence, value};

/// Namespaces and raw values of one request.
pub(crate) type Set = Vec<(String, String)>;

/// The answer for one set.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub(crate) answer: Answer,
    /// Places in the request that were not used, and why.
    pub(crate) ignored: Vec<(usize, IgnoreReason)>,
    /// No identifier of the set tells one person from another.
    pub(crate) shared_only: bool,
}

struct Read {
    id: EvidenceId,
    set: EvidenceSet,
    ignored: Vec<(usize, IgnoreReason)>,
}

impl App {
    /// Resolves sets, each on its own: a bad one fails alone.
    ///
    /// # Errors
    /// Those of the store, for all.
    pub(crate) async fn resolve(
        &self,
        tenant: TenantId,
        sets: &[Set],
        (now_us, traceparent): (i64, Option<String>),
    ) -> Result<Vec<Result<Resolved, Violations>>, Error> {
        let rules = self.rules.get(tenant).await?;
        let lookup = self.lookup.tenant(tenant)?;
        let key = lookup.evidence_key();
        let read: Vec<Result<Read, Violations>> = sets
            .iter()
            .map(|raw| {
                let (set, ignored) = EvidenceSet::from_raw(raw, &rules)?;
                Ok(Read { id: set.evidence_id(key), set, ignored })
            })
            .collect();
        let mut answers = self.known(tenant, &read).await?;
        let missing = read.iter().flatten().filter(|one| !answers.contains_key(&one.id));
        let missing: BTreeMap<EvidenceId, &EvidenceSet> =
            missing.map(|one| (one.id, &one.set)).collect();
        if !missing.is_empty() {
            // In the order of the request: the first of a customer is the one that opens it.
            let mut ids: Vec<EvidenceId> = read.iter().flatten().map(|one| one.id).collect();
            let mut seen = BTreeSet::new();
            ids.retain(|id| missing.contains_key(id) && seen.insert(*id));
            let sets = ids.iter().filter_map(|id| missing.get(id).map(|set| (*id, *set)));
            let context = (key, rules, now_us, traceparent);
            answers.extend(self.place(tenant, sets.collect(), context).await?);
        }
        let keys = |one: &Read| -> Vec<ValueKey> {
            one.set.identifiers().iter().map(|identifier| identifier.value_key(key)).collect()
        };
        let shared = self.shared(tenant, read.iter().flatten().flat_map(keys).collect()).await?;
        let mut resolved = Vec::with_capacity(read.len());
        for one in read {
            resolved.push(match one {
                Ok(one) => Ok(Resolved {
                    answer: take(&mut answers, one.id)?,
                    shared_only: keys(&one).iter().all(|key| shared.contains(key)),
                    ignored: one.ignored,
                }),
                Err(violations) => Err(violations),
            });
        }
        Ok(resolved)
    }

    async fn known(
        &self,
        tenant: TenantId,
        read: &[Result<Read, Violations>],
    ) -> Result<BTreeMap<EvidenceId, Answer>, Error> {
        let ids: BTreeSet<EvidenceId> = read.iter().flatten().map(|one| one.id).collect();
        let ids: Vec<EvidenceId> = ids.into_iter().collect();
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut connection = self.database.acquire().await?;
        let mappings = evidence::mappings(&mut connection, tenant, &ids).await?;
        let answer = |mapping| Answer { mapping, origin: Origin::default() };
        Ok(mappings.into_iter().map(|mapping| (mapping.evidence, answer(mapping))).collect())
    }

    /// Those of the values that are shared now.
    async fn shared(
        &self,
        tenant: TenantId,
        values: BTreeSet<ValueKey>,
    ) -> Result<BTreeSet<ValueKey>, Error> {
        if values.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut connection = self.database.acquire().await?;
        Ok(value::shared(&mut connection, tenant, &values).await?.into_iter().collect())
    }

    /// Seals new evidence and waits until it is committed.
    async fn place(
        &self,
        tenant: TenantId,
        sets: Vec<(EvidenceId, &EvidenceSet)>,
        (key, rules, now_us, traceparent): (&[u8; 32], Arc<Rules>, i64, Option<String>),
    ) -> Result<BTreeMap<EvidenceId, Answer>, Error> {
        let tenant_key = self.tenant_keys.get(tenant).await?;
        let mut arrivals = Vec::with_capacity(sets.len());
        for (id, set) in sets {
            let plain = set.encode();
            let sealed = seal(What::Identifiers, (tenant, &tenant_key), id.uuid(), &plain)?;
            let evidence = Evidence { id, values: read::values(set, key) };
            let (rules, traceparent) = (Arc::clone(&rules), traceparent.clone());
            arrivals.push(Arrival { evidence, sealed, rules, now_us, traceparent });
        }
        let weight = arrivals.len();
        let answers = self.committer.submit(Work { tenant, arrivals }, weight).await?;
        Ok(answers.into_iter().map(|answer| (answer.mapping.evidence, answer)).collect())
    }
}

/// The answer for evidence; what its arrival brought about is told once.
fn take(answers: &mut BTreeMap<EvidenceId, Answer>, id: EvidenceId) -> Result<Answer, Error> {
    let lost = || ::store::Error::internal("a resolved set has no answer");
    let answer = answers.get_mut(&id).ok_or_else(lost)?;
    let origin = std::mem::take(&mut answer.origin);
    Ok(Answer { mapping: answer.mapping, origin })
}
