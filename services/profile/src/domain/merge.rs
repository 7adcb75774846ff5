//! How moves of evidence change customers.
//!
//! A customer that gains fragments takes them into its state. One that loses some is merged
//! anew from those it keeps, so that a split is the exact inverse of a merge. Moves arrive in
//! runs, and merging a large customer at each of them would cost the square of its size: above
//! [`AT_ONCE`] fragments that is put off, to be done at most once a second, and its state is
//! *stale* until then, it still has what moved away.

use std::collections::HashMap;

use aggregate::{Behaviour, Error};
use kernel::EvidenceId;

use super::fold::{Customer, CustomerKey, NewCustomer, encoded};

/// A customer with at most so many fragments is merged anew whenever it loses one.
pub(crate) const AT_ONCE: i32 = 1_000;

/// What of a run concerns one customer: fragments with events.
#[derive(Debug, Default)]
pub(crate) struct Share<'a> {
    pub(crate) lost: i32,
    /// Their states.
    pub(crate) gained: Vec<&'a [u8]>,
}

/// How a customer follows a run of moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Its state takes what is gained.
    Add,
    /// From the fragments it has then.
    Anew,
    /// Only counted now, merged anew later.
    Later,
}

impl Share<'_> {
    fn fragments(&self, customer: &Customer) -> i32 {
        let gained = i32::try_from(self.gained.len()).unwrap_or(i32::MAX);
        customer.fragments.saturating_add(gained).saturating_sub(self.lost)
    }

    pub(crate) fn how(&self, customer: &Customer) -> How {
        if customer.behaviour.is_none() {
            return How::Anew; // it had one fragment at most
        }
        match (self.lost, customer.stale) {
            (0, false) => How::Add,
            _ if self.fragments(customer) <= AT_ONCE => How::Anew,
            _ => How::Later,
        }
    }

    /// The customer with what it gained.
    ///
    /// # Errors
    /// A stored state that does not decode.
    pub(crate) fn added(&self, customer: Customer) -> Result<NewCustomer, Error> {
        let mut state = Behaviour::decode(customer.behaviour.as_deref().unwrap_or_default())?;
        for gained in &self.gained {
            state.merge(&Behaviour::decode(gained)?);
        }
        let (version, behaviour) = (customer.version + 1, Some(encoded(&state)?));
        Ok(NewCustomer { version, behaviour, ..self.put_off(customer, false) })
    }

    /// The customer with its old state, which is merged later.
    pub(crate) fn counted(&self, customer: Customer) -> NewCustomer {
        self.put_off(customer, true)
    }

    fn put_off(&self, customer: Customer, stale: bool) -> NewCustomer {
        NewCustomer {
            tenant: customer.tenant,
            customer: customer.customer,
            version: customer.version,
            fragments: self.fragments(&customer),
            behaviour: customer.behaviour,
            single: Vec::new(),
            stale,
        }
    }
}

/// Merges each customer from its fragments with events.
///
/// # Errors
/// A stored state that does not decode.
pub(crate) fn merge(
    customers: Vec<Customer>,
    fragments: &HashMap<CustomerKey, Vec<(EvidenceId, Vec<u8>)>>,
) -> Result<Vec<NewCustomer>, Error> {
    let mut merged = Vec::with_capacity(customers.len());
    for customer in customers {
        let own = fragments.get(&(customer.tenant, customer.customer));
        let own = own.map_or(&[][..], Vec::as_slice);
        let state = match own {
            [(_, single)] => single.clone(),
            _ => {
                let mut state = Behaviour::default();
                for (_, behaviour) in own {
                    state.merge(&Behaviour::decode(behaviour)?);
                }
                encoded(&state)?
            }
        };
        let is_kept = own.len() >= 2;
        let (behaviour, single) = if is_kept { (Some(state), Vec::new()) } else { (None, state) };
        merged.push(NewCustomer {
            tenant: customer.tenant,
            customer: customer.customer,
            version: customer.version + 1,
            fragments: i32::try_from(own.len()).unwrap_or(i32::MAX),
            behaviour,
            single,
            stale: false,
        });
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use kernel::{CustomerId, TenantId};
    use uuid::Uuid;

    use super::*;

    fn customer(fragments: i32, stale: bool) -> Customer {
        Customer {
            tenant: TenantId::new(Uuid::from_u128(1)),
            customer: CustomerId::new(Uuid::from_u128(2)),
            version: 1,
            fragments,
            behaviour: (fragments >= 2).then(|| Behaviour::default().encode()),
            stale,
        }
    }

    #[test]
    fn a_large_customer_is_read_whole_at_no_run_of_moves() {
        let gains = |n| Share { lost: 0, gained: vec![&[]; n] };
        let loses = |lost| Share { lost, gained: Vec::new() };
        assert_eq!(gains(500).how(&customer(50_000, false)), How::Add);
        assert_eq!(loses(500).how(&customer(50_000, false)), How::Later);
        assert_eq!(gains(500).how(&customer(50_000, true)), How::Later);
        assert_eq!(loses(500).counted(customer(50_000, false)).fragments, 49_500);
        // What is left is small, or was.
        assert_eq!(loses(500).how(&customer(1_500, true)), How::Anew);
        assert_eq!(loses(1).how(&customer(2, false)), How::Anew);
        assert_eq!(gains(2).how(&customer(1, false)), How::Anew);
        assert_eq!(gains(1).how(&customer(0, false)), How::Anew);
    }
}
