//! Why two are one customer, or are not.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{CustomerId, DecisionId, EvidenceId, TenantId};
use linkage::Identifier;
use linkage::graph::{self, Evidence, Joint, Ledger, Refusal, Step, ValueKey};
use sqlx::PgConnection;
use uuid::Uuid;

use super::graph::{Near, Start, close};
use super::{App, read};
use crate::Error;
use crate::store::{customer, evidence};

/// What joins, or does not join, two pieces of evidence.
#[derive(Debug, Clone)]
pub(crate) enum By {
    Identifier(Identifier),
    Decision(DecisionId),
}

/// The answer.
#[derive(Debug, Clone)]
pub(crate) struct Explanation {
    pub(crate) linked: bool,
    /// From, to, what joins them.
    pub(crate) path: Vec<(EvidenceId, EvidenceId, By)>,
    /// Shared values.
    pub(crate) shared: Vec<Identifier>,
    /// Values that a split overrules, and the splits.
    pub(crate) separated: Vec<By>,
    pub(crate) summary: String,
}

/// One end of the question.
#[derive(Debug, Clone, Copy)]
struct End {
    evidence: EvidenceId,
    customer: CustomerId,
    /// The evidence itself was asked about, not its customer.
    is_evidence: bool,
}

/// What was found, values still as keys.
struct Found {
    linked: bool,
    path: Vec<Step>,
    refusals: Vec<Refusal>,
    identifiers: BTreeMap<ValueKey, Identifier>,
}

impl App {
    /// Explains two ids, each of evidence or of a customer.
    ///
    /// # Errors
    /// [`Error::NotFound`] if one is neither. O(evidence of both customers).
    pub(crate) async fn explain(
        &self,
        tenant: TenantId,
        (left, right): (Uuid, Uuid),
    ) -> Result<Explanation, Error> {
        let tenant_key = self.tenant_keys.get(tenant).await?;
        let lookup = self.lookup.tenant(tenant)?;
        let found = read::snapshot!(&self.database, async |connection| {
            let left = end(connection, tenant, left).await?;
            let right = end(connection, tenant, right).await?;
            let customers = BTreeSet::from([left.customer, right.customer]);
            let mut ledger = Ledger::default();
            let start = Start { customers: customers.clone(), ..Start::default() };
            let near = close(connection, tenant, start, &mut ledger).await?;
            let mut found = ask(&near, &ledger, left, right);
            let wanted = found.values();
            let customers: Vec<CustomerId> = customers.into_iter().collect();
            let holds = |evidence: &Evidence| {
                evidence.values.iter().any(|value| wanted.contains(&value.key))
            };
            let holders: BTreeSet<EvidenceId> = near
                .hood
                .placed
                .iter()
                .map(|placed| &placed.evidence)
                .filter(|evidence| holds(evidence))
                .map(|evidence| evidence.id)
                .collect();
            for (id, sealed) in evidence::sealed(connection, tenant, &customers).await? {
                if !holders.contains(&id) {
                    continue;
                }
                for identifier in read::identifiers((tenant, &tenant_key), id, &sealed)? {
                    let key = identifier.value_key(lookup.evidence_key());
                    found.identifiers.insert(key, identifier);
                }
            }
            Ok::<_, Error>(found)
        })?;
        Ok(found.told())
    }
}

async fn end(connection: &mut PgConnection, tenant: TenantId, id: Uuid) -> Result<End, Error> {
    let as_evidence = EvidenceId::new(id);
    let known = evidence::mappings(connection, tenant, &[as_evidence]).await?;
    if let Some(mapping) = known.first() {
        let (evidence, customer) = (mapping.evidence, mapping.customer);
        return Ok(End { evidence, customer, is_evidence: true });
    }
    let lead = customer::lead(connection, tenant, CustomerId::new(id)).await?;
    let lead = lead.ok_or(Error::NotFound("evidence or customer"))?;
    Ok(End { evidence: lead.founder, customer: lead.customer, is_evidence: false })
}

fn ask(near: &Near, ledger: &Ledger, left: End, right: End) -> Found {
    let shared = |key: &ValueKey| ledger.is_shared(key);
    let of = |end: End| -> Vec<Evidence> {
        let own = near.hood.placed.iter().filter(|placed| {
            placed.customer == end.customer
                && (!end.is_evidence || placed.evidence.id == end.evidence)
        });
        own.map(|placed| placed.evidence.clone()).collect()
    };
    let all: Vec<Evidence> =
        near.hood.placed.iter().map(|placed| placed.evidence.clone()).collect();
    let linked = left.customer == right.customer;
    let path = if linked {
        graph::path(&all, shared, &near.decisions, left.evidence, right.evidence)
    } else {
        Vec::new()
    };
    let mut refusals = Vec::new();
    if left.evidence != right.evidence {
        refusals = graph::refusals(&of(left), &of(right), shared, &near.decisions);
    }
    if linked {
        // Between two of one customer only shared values are without effect.
        refusals.retain(|refusal| matches!(refusal, Refusal::Shared(_)));
    }
    Found { linked, path, refusals, identifiers: BTreeMap::new() }
}

impl Found {
    fn values(&self) -> BTreeSet<ValueKey> {
        let in_path = self.path.iter().filter_map(|step| match step.by {
            Joint::Value(key) => Some(key),
            Joint::Decision(_) => None,
        });
        let refused = self.refusals.iter().filter_map(|refusal| match refusal {
            Refusal::Shared(key) | Refusal::Overruled(key) => Some(*key),
            Refusal::Separated(_) => None,
        });
        in_path.chain(refused).collect()
    }

    fn told(self) -> Explanation {
        let identifier = |key: &ValueKey| self.identifiers.get(key).cloned();
        let path = self.path.iter().filter_map(|step| {
            let by = match &step.by {
                Joint::Value(key) => By::Identifier(identifier(key)?),
                Joint::Decision(id) => By::Decision(*id),
            };
            Some((step.from, step.to, by))
        });
        let path: Vec<(EvidenceId, EvidenceId, By)> = path.collect();
        let (mut shared, mut separated) = (Vec::new(), Vec::new());
        for refusal in &self.refusals {
            match refusal {
                Refusal::Shared(key) => shared.extend(identifier(key)),
                Refusal::Overruled(key) => separated.extend(identifier(key).map(By::Identifier)),
                Refusal::Separated(id) => separated.push(By::Decision(*id)),
            }
        }
        let summary = summary(self.linked, &path, &shared, &separated);
        Explanation { linked: self.linked, path, shared, separated, summary }
    }
}

/// A sentence that names kinds of values, never the values.
fn summary(
    linked: bool,
    path: &[(EvidenceId, EvidenceId, By)],
    shared: &[Identifier],
    separated: &[By],
) -> String {
    let kind = |by: &By| match by {
        By::Identifier(identifier) => format!("a common {}", identifier.namespace()),
        By::Decision(_) => "a merge decision".to_owned(),
    };
    if linked && path.is_empty() {
        return "Both are the same evidence of one customer.".to_owned();
    }
    if linked {
        let chain: Vec<String> = path.iter().map(|(_, _, by)| kind(by)).collect();
        let steps = if path.len() == 1 { "step" } else { "steps" };
        return format!(
            "One customer, joined in {} {steps}: {}.",
            path.len(),
            chain.join(", then ")
        );
    }
    if !separated.is_empty() {
        return "Two customers: a split keeps them apart.".to_owned();
    }
    if shared.is_empty() {
        return "Two customers: nothing that identifies a person joins them.".to_owned();
    }
    let kinds: BTreeSet<&str> =
        shared.iter().map(|identifier| identifier.namespace().as_str()).collect();
    let kinds: Vec<&str> = kinds.into_iter().collect();
    format!(
        "Two customers: the {} that both have is shared by too many people to identify one.",
        kinds.join(" and the ")
    )
}
