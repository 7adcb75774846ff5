//! Who is this? Known evidence by one read, new evidence through the committer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kernel::{EvidenceId, TenantId, Violations};
use linkage::graph::{Evidence, ValueKey};
use linkage::{EvidenceSet, IgnoreReason, Rules};

use super::place::{Answer, Placing, Work};
use super::seal::{What, seal};
use super::{App, read};
use crate::Error;
use crate::domain::{Arrival, Origin};
use crate::store::{evidence, value};

/// Namespaces and raw values of one request.
pub(crate) type Set = Vec<(String, String)>;

/// A set and when it was seen.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) set: Set,
    pub(crate) event_us: i64,
}

/// Why a set has no customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Something is wrong with it.
    Invalid(Violations),
    /// Its customer was erased at this time, and it was not seen after that.
    Erased(i64),
}

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
    event_us: i64,
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
        sets: &[Seen],
        (now_us, traceparent): (i64, Option<String>),
    ) -> Result<Vec<Result<Resolved, Refused>>, Error> {
        let rules = self.rules.get(tenant).await?;
        let lookup = self.lookup.tenant(tenant)?;
        let key = lookup.evidence_key();
        let read: Vec<Result<Read, Violations>> = sets
            .iter()
            .map(|seen| {
                let (set, ignored) = EvidenceSet::from_raw(&seen.set, &rules)?;
                let event_us = seen.event_us;
                Ok(Read { id: set.evidence_id(key), set, event_us, ignored })
            })
            .collect();
        let mut answers = self.known(tenant, &read).await?;
        let missing = read.iter().flatten().filter(|one| !answers.contains_key(&one.id));
        let mut latest: BTreeMap<EvidenceId, (&EvidenceSet, i64)> = BTreeMap::new();
        for one in missing {
            let seen = latest.entry(one.id).or_insert((&one.set, one.event_us));
            seen.1 = one.event_us.max(seen.1);
        }
        let missing = latest;
        if !missing.is_empty() {
            // In the order of the request: the first of a customer is the one that opens it.
            let mut ids: Vec<EvidenceId> = read.iter().flatten().map(|one| one.id).collect();
            let mut seen = BTreeSet::new();
            ids.retain(|id| missing.contains_key(id) && seen.insert(*id));
            let sets = ids.iter().filter_map(|id| missing.get(id).map(|seen| (*id, *seen)));
            let context = (key, rules, now_us, traceparent);
            answers.extend(self.place(tenant, sets.collect(), context).await?);
        }
        let keys = |one: &Read| -> Vec<ValueKey> {
            one.set.identifiers().iter().map(|identifier| identifier.value_key(key)).collect()
        };
        let shared = self.shared(tenant, read.iter().flatten().flat_map(keys).collect()).await?;
        let mut resolved = Vec::with_capacity(read.len());
        for one in read {
            let one = match one {
                Ok(one) => one,
                Err(violations) => {
                    resolved.push(Err(Refused::Invalid(violations)));
                    continue;
                }
            };
            let answer = match take(&mut answers, one.id)? {
                Ok(answer) => answer,
                Err(erased_us) => {
                    resolved.push(Err(Refused::Erased(erased_us)));
                    continue;
                }
            };
            resolved.push(match answer.mapping.erased_us {
                Some(erased_us) if one.event_us <= erased_us => Err(Refused::Erased(erased_us)),
                _ => Ok(Resolved {
                    answer,
                    shared_only: keys(&one).iter().all(|key| shared.contains(key)),
                    ignored: one.ignored,
                }),
            });
        }
        Ok(resolved)
    }

    async fn known(
        &self,
        tenant: TenantId,
        read: &[Result<Read, Violations>],
    ) -> Result<BTreeMap<EvidenceId, Placing>, Error> {
        let ids: BTreeSet<EvidenceId> = read.iter().flatten().map(|one| one.id).collect();
        let ids: Vec<EvidenceId> = ids.into_iter().collect();
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut connection = self.database.acquire().await?;
        let mappings = evidence::mappings(&mut connection, tenant, &ids).await?;
        let answer = |mapping| Ok(Answer { mapping, origin: Origin::default() });
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
        sets: Vec<(EvidenceId, (&EvidenceSet, i64))>,
        (key, rules, now_us, traceparent): (&[u8; 32], Arc<Rules>, i64, Option<String>),
    ) -> Result<BTreeMap<EvidenceId, Placing>, Error> {
        let tenant_key = self.tenant_keys.get(tenant).await?;
        let mut arrivals = Vec::with_capacity(sets.len());
        let ids: Vec<EvidenceId> = sets.iter().map(|(id, _)| *id).collect();
        for (id, (set, event_us)) in sets {
            let plain = set.encode();
            let sealed = seal(What::Identifiers, (tenant, &tenant_key), id.uuid(), &plain)?;
            let evidence = Evidence { id, values: read::values(set, key) };
            let (rules, traceparent) = (Arc::clone(&rules), traceparent.clone());
            arrivals.push(Arrival { evidence, sealed, rules, now_us, event_us, traceparent });
        }
        let weight = arrivals.len();
        let answers = self.committer.submit(Work { tenant, arrivals }, weight).await?;
        Ok(ids.into_iter().zip(answers).collect())
    }
}

/// The answer for evidence; what its arrival brought about is told once.
fn take(answers: &mut BTreeMap<EvidenceId, Placing>, id: EvidenceId) -> Result<Placing, Error> {
    let lost = || ::store::Error::internal("a resolved set has no answer");
    Ok(match answers.get_mut(&id).ok_or_else(lost)? {
        Ok(answer) => {
            let origin = std::mem::take(&mut answer.origin);
            Ok(Answer { mapping: answer.mapping, origin })
        }
        Err(erased_us) => Err(*erased_us),
    })
}
