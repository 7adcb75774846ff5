//! How new events change fragments and customers.
//!
//! All events of a batch for one evidence become one delta; the fragment takes it, and so does
//! its customer where the customer carries state of its own (two fragments or more). When the
//! second fragment joins, the customer's state is merged from all of them, once.

use std::collections::{BTreeMap, HashMap};

use aggregate::{Behaviour, Error, limit};
use kernel::{CustomerId, EvidenceId, TenantId};

/// A fragment as it was locked.
#[derive(Debug)]
pub(crate) struct Fragment {
    pub(crate) tenant: TenantId,
    pub(crate) evidence: EvidenceId,
    pub(crate) customer: CustomerId,
    pub(crate) map_version: i64,
    /// 0 while it has no event.
    pub(crate) version: i64,
    /// Events up to this time are void: its customer was erased.
    pub(crate) erased_us: Option<i64>,
    /// Absent where only the map was asked for.
    pub(crate) behaviour: Vec<u8>,
    /// Sealed; absent where it was not asked for.
    pub(crate) personal: Option<Vec<u8>>,
}

/// A customer as it was locked.
#[derive(Debug)]
pub(crate) struct Customer {
    pub(crate) tenant: TenantId,
    pub(crate) customer: CustomerId,
    pub(crate) version: i64,
    /// Those with events.
    pub(crate) fragments: i32,
    pub(crate) behaviour: Option<Vec<u8>>,
    /// The state still has fragments that moved away.
    pub(crate) stale: bool,
}

/// A customer, within its tenant.
pub(crate) type CustomerKey = (TenantId, CustomerId);
/// An evidence, within its tenant.
pub(crate) type EvidenceKey = (TenantId, EvidenceId);

/// A fragment after the batch.
#[derive(Debug)]
pub(crate) struct NewFragment {
    /// Its place among the locked ones.
    pub(crate) at: usize,
    pub(crate) behaviour: Vec<u8>,
    pub(crate) shown: Shown,
}

/// What of a state stands in columns of its own, for views.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) events: i64,
    pub(crate) first_us: Option<i64>,
    pub(crate) last_us: Option<i64>,
    pub(crate) identified: bool,
}

impl Shown {
    fn of(state: &Behaviour) -> Self {
        Self {
            events: i64::try_from(state.total_events()).unwrap_or(i64::MAX),
            first_us: state.first_us(),
            last_us: state.last_us(),
            identified: state.is_identified(),
        }
    }
}

/// A customer's row as it is to be written.
#[derive(Debug)]
pub(crate) struct NewCustomer {
    pub(crate) tenant: TenantId,
    pub(crate) customer: CustomerId,
    pub(crate) version: i64,
    pub(crate) fragments: i32,
    /// Kept in the row: from two fragments on.
    pub(crate) behaviour: Option<Vec<u8>>,
    /// Of a customer with fewer, for the feed.
    pub(crate) single: Vec<u8>,
    /// As [`Customer::stale`].
    pub(crate) stale: bool,
}

impl NewCustomer {
    /// The state of the profile.
    pub(crate) fn state(&self) -> &[u8] {
        self.behaviour.as_deref().unwrap_or(&self.single)
    }
}

/// What of a batch concerns one customer.
#[derive(Debug, Default)]
struct Share {
    /// Places in [`Folded::fragments`].
    fragments: Vec<usize>,
    joined: i32,
}

/// The fragments are folded; the customers follow once they are locked.
#[derive(Debug)]
pub(crate) struct Folded {
    pub(crate) fragments: Vec<NewFragment>,
    deltas: Vec<Behaviour>,
    shares: BTreeMap<CustomerKey, Share>,
}

/// Evidence whose events cannot be folded, and why: state that does not decode, its own or its
/// customer's. Never empty where it is an error.
pub(crate) type Damaged = Vec<(EvidenceKey, Error)>;

/// The stored form, if it can be read again.
///
/// # Errors
/// [`Error::TooLong`].
pub(crate) fn encoded(state: &Behaviour) -> Result<Vec<u8>, Error> {
    let bytes = state.encode();
    if bytes.len() > limit::MAX_BYTES { Err(Error::TooLong) } else { Ok(bytes) }
}

/// Folds deltas (by place among the locked fragments) into fragments.
///
/// # Errors
/// All evidence of the batch that is damaged.
pub(crate) fn fold(
    locked: &[Fragment],
    deltas: BTreeMap<usize, Behaviour>,
) -> Result<Folded, Damaged> {
    let mut damaged = Damaged::new();
    let mut folded = Folded {
        fragments: Vec::with_capacity(deltas.len()),
        deltas: Vec::with_capacity(deltas.len()),
        shares: BTreeMap::new(),
    };
    for (at, delta) in deltas {
        let Some(fragment) = locked.get(at) else { continue };
        let is_first = fragment.version == 0;
        let (behaviour, shown) = match fragment.with(&delta) {
            Ok(state) => state,
            Err(error) => {
                damaged.push(((fragment.tenant, fragment.evidence), error));
                continue;
            }
        };
        let share = folded.shares.entry((fragment.tenant, fragment.customer)).or_default();
        share.fragments.push(folded.fragments.len());
        share.joined += i32::from(is_first);
        folded.fragments.push(NewFragment { at, behaviour, shown });
        folded.deltas.push(delta);
    }
    if damaged.is_empty() { Ok(folded) } else { Err(damaged) }
}

impl Fragment {
    /// True if its customer was erased and nobody came since.
    pub(crate) fn is_void(&self) -> bool {
        self.customer.uuid().is_nil()
    }

    /// The state with a delta more.
    fn with(&self, delta: &Behaviour) -> Result<(Vec<u8>, Shown), Error> {
        if self.version == 0 {
            return Ok((encoded(delta)?, Shown::of(delta)));
        }
        let mut state = Behaviour::decode(&self.behaviour)?;
        state.merge(delta);
        Ok((encoded(&state)?, Shown::of(&state)))
    }
}

impl Folded {
    /// Customers that have to be merged from all their fragments: they get their second one.
    pub(crate) fn to_merge(&self, customers: &[Customer]) -> Vec<CustomerKey> {
        let mut keys = Vec::new();
        for customer in customers {
            let key = (customer.tenant, customer.customer);
            let Some(share) = self.shares.get(&key) else { continue };
            if customer.behaviour.is_none() && customer.fragments + share.joined >= 2 {
                keys.push(key);
            }
        }
        keys
    }

    /// The customers after the batch. `stored` has the fragments (with events, as committed)
    /// of those [`Folded::to_merge`] named.
    ///
    /// # Errors
    /// All evidence of the batch that belongs to a damaged customer.
    pub(crate) fn customers(
        &self,
        locked: &[Fragment],
        customers: &[Customer],
        stored: &HashMap<CustomerKey, Vec<(EvidenceId, Vec<u8>)>>,
    ) -> Result<Vec<NewCustomer>, Damaged> {
        let mut changed = Vec::with_capacity(self.shares.len());
        let mut damaged = Damaged::new();
        for customer in customers {
            let key = (customer.tenant, customer.customer);
            let Some(share) = self.shares.get(&key) else { continue };
            let others = stored.get(&key).map_or(&[][..], Vec::as_slice);
            match self.customer(locked, customer, share, others) {
                Ok(new) => changed.push(new),
                Err(error) => {
                    let evidence = |at: &usize| locked[self.fragments[*at].at].evidence;
                    let key = |at| ((customer.tenant, evidence(at)), error.clone());
                    damaged.extend(share.fragments.iter().map(key));
                }
            }
        }
        if damaged.is_empty() { Ok(changed) } else { Err(damaged) }
    }

    fn customer(
        &self,
        locked: &[Fragment],
        customer: &Customer,
        share: &Share,
        others: &[(EvidenceId, Vec<u8>)],
    ) -> Result<NewCustomer, Error> {
        let fragments = customer.fragments + share.joined;
        let (behaviour, single) = match &customer.behaviour {
            _ if fragments < 2 => (None, self.single(share)),
            Some(bytes) => {
                let mut state = Behaviour::decode(bytes)?;
                for at in &share.fragments {
                    state.merge(&self.deltas[*at]);
                }
                (Some(encoded(&state)?), Vec::new())
            }
            None => (Some(self.merged(locked, share, others)?), Vec::new()),
        };
        Ok(NewCustomer {
            tenant: customer.tenant,
            customer: customer.customer,
            version: customer.version + 1,
            fragments,
            behaviour,
            single,
            stale: customer.stale,
        })
    }

    fn single(&self, share: &Share) -> Vec<u8> {
        let first = share.fragments.first();
        first.map(|at| self.fragments[*at].behaviour.clone()).unwrap_or_default()
    }

    /// All fragments of a customer: the changed ones as they are now, the others as stored.
    fn merged(
        &self,
        locked: &[Fragment],
        share: &Share,
        stored: &[(EvidenceId, Vec<u8>)],
    ) -> Result<Vec<u8>, Error> {
        let mut state = Behaviour::default();
        let mut changed = Vec::with_capacity(share.fragments.len());
        for at in &share.fragments {
            let fragment = &self.fragments[*at];
            changed.push(locked[fragment.at].evidence);
            state.merge(&Behaviour::decode(&fragment.behaviour)?);
        }
        for (evidence, behaviour) in stored {
            if !changed.contains(evidence) {
                state.merge(&Behaviour::decode(behaviour)?);
            }
        }
        encoded(&state)
    }
}
