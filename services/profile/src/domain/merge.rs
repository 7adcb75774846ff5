//! How moves of evidence change customers: their states are merged anew from the fragments
//! they have now, so that a split is the exact inverse of a merge.

use std::collections::HashMap;

use aggregate::{Behaviour, Error};
use kernel::EvidenceId;

use super::fold::{Customer, CustomerKey, NewCustomer};

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
                state.encode()
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
        });
    }
    Ok(merged)
}
