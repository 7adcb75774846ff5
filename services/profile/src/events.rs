//! What others hear of profiles, and what is heard of identity.

use bytes::Bytes;
use contracts::common::v1::CustomersErased;
use contracts::identity::v1 as identity;
use contracts::profile::v1 as wire;
use feed::receipt::Part;
use feed::{Entry, HandleError, Handler};
use kernel::{CustomerId, EvidenceId, TenantId, Violations};
use prost::Message;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::app::Shared;
use crate::app::erase::Erased;
use crate::app::moves::{self, Heard};
use crate::domain::schema::{Declaration, Type};
use crate::store::fragment::Move;
use crate::store::redirect::Redirect;

const PROFILE_CHANGED: i16 = wire::EventKind::ProfileChanged as i16;
const PROFILE_REDIRECTED: i16 = wire::EventKind::ProfileRedirected as i16;
const TRAIT_CHANGED: i16 = wire::EventKind::TraitChanged as i16;
const CUSTOMERS_ERASED: i16 = wire::EventKind::CustomersErased as i16;

/// A profile has a new version; `state` is empty for a customer without fragments.
pub(crate) fn profile_changed(
    tenant: TenantId,
    customer: CustomerId,
    version: i64,
    state: &[u8],
) -> Entry {
    let state = if state.is_empty() {
        Bytes::from(aggregate::Behaviour::default().encode())
    } else {
        Bytes::copy_from_slice(state)
    };
    let data = wire::ProfileChanged { state }.encode_to_vec();
    Entry::new(tenant, customer.uuid(), PROFILE_CHANGED, version, data.into())
}

/// A customer id leads elsewhere, or to itself again.
pub(crate) fn profile_redirected(redirect: &Redirect) -> Entry {
    let into_customer_id = Bytes::copy_from_slice(redirect.into.as_bytes());
    let data = wire::ProfileRedirected { into_customer_id }.encode_to_vec();
    let subject = redirect.customer.uuid();
    Entry::new(redirect.tenant, subject, PROFILE_REDIRECTED, redirect.version, data.into())
}

/// Customers are gone for good.
pub(crate) fn customers_erased(erased: &Erased) -> Entry {
    let bytes = |id: &[u8]| Bytes::copy_from_slice(id);
    let data = CustomersErased {
        customer_ids: erased.customers.iter().map(|id| bytes(id.as_bytes())).collect(),
        evidence_ids: erased.evidence.iter().map(|(id, _)| bytes(id.as_bytes())).collect(),
    };
    let data = data.encode_to_vec();
    Entry::new(erased.tenant, erased.part, CUSTOMERS_ERASED, 1, data.into())
}

/// The same, as it is told to those who begin anew.
pub(crate) fn customers_erased_before(part: &Part) -> Entry {
    part.entry(CUSTOMERS_ERASED)
}

/// A trait was declared, changed or (without declaration) deleted.
pub(crate) fn trait_changed(
    tenant: TenantId,
    subject: Uuid,
    name: &str,
    version: i64,
    declaration: Option<&Declaration>,
) -> Entry {
    let r#type = declaration.map_or(0, |declaration| trait_type(declaration.r#type) as i32);
    let personal = declaration.is_some_and(|declaration| declaration.personal);
    let data = wire::TraitChanged { name: name.to_owned(), r#type, personal }.encode_to_vec();
    Entry::new(tenant, subject, TRAIT_CHANGED, version, data.into())
}

pub(crate) const fn trait_type(r#type: Type) -> wire::TraitType {
    match r#type {
        Type::String => wire::TraitType::String,
        Type::Number => wire::TraitType::Number,
        Type::Boolean => wire::TraitType::Boolean,
        Type::Time => wire::TraitType::Time,
    }
}

/// What a watcher of profiles is told of an entry of the own log.
pub(crate) fn to_change(entry: &Entry) -> Option<wire::watch_profiles_response::Change> {
    use wire::watch_profiles_response::Change;
    let customer_id = entry.subject.to_string();
    match entry.kind {
        PROFILE_CHANGED => {
            Some(Change::Profile(wire::ProfileChange { customer_id, version: entry.version }))
        }
        PROFILE_REDIRECTED => {
            let into = wire::ProfileRedirected::decode(entry.data.clone()).ok()?;
            let into = CustomerId::from_slice(&into.into_customer_id).ok()?;
            let into_customer_id = into.to_string();
            Some(Change::Redirect(wire::ProfileRedirect { customer_id, into_customer_id }))
        }
        CUSTOMERS_ERASED => {
            let erased = CustomersErased::decode(entry.data.clone()).ok()?;
            let ids = erased.customer_ids.iter().filter_map(|id| CustomerId::from_slice(id).ok());
            let customer_ids = ids.map(|id| id.to_string()).collect();
            Some(Change::Erasure(wire::ProfileErasure { customer_ids }))
        }
        _ => None,
    }
}

/// The customers that an entry of the own log is about.
pub(crate) fn customers_of(entry: &Entry) -> Vec<(TenantId, CustomerId)> {
    match entry.kind {
        PROFILE_CHANGED | PROFILE_REDIRECTED => {
            vec![(entry.tenant, CustomerId::new(entry.subject))]
        }
        CUSTOMERS_ERASED => {
            let erased = CustomersErased::decode(entry.data.clone()).unwrap_or_default();
            let ids = erased.customer_ids.iter().filter_map(|id| CustomerId::from_slice(id).ok());
            ids.map(|id| (entry.tenant, id)).collect()
        }
        _ => Vec::new(),
    }
}

/// The evidence that an entry of the own log says is erased.
pub(crate) fn erased_evidence(entry: &Entry) -> Vec<(TenantId, EvidenceId)> {
    if entry.kind != CUSTOMERS_ERASED {
        return Vec::new();
    }
    let erased = CustomersErased::decode(entry.data.clone()).unwrap_or_default();
    let ids = erased.evidence_ids.iter().filter_map(|id| EvidenceId::from_slice(id).ok());
    ids.map(|id| (entry.tenant, id)).collect()
}

/// `RejectedEvent` with an event that is encoded already.
pub(crate) fn encode_rejected(event: &[u8], violations: &Violations) -> Vec<u8> {
    let violations = violations.iter().map(|violation| wire::FieldViolation {
        field: violation.field.clone(),
        description: violation.description.clone(),
    });
    let reasons =
        wire::RejectedEvent { violations: violations.collect(), ..wire::RejectedEvent::default() };
    let mut bytes = reasons.encode_to_vec();
    // Field 2 of the message, `event`: fields may come in any order.
    prost::encoding::bytes::encode(2, &event.to_vec(), &mut bytes);
    bytes
}

/// Applies identity's moves and redirects.
pub(crate) struct IdentityEvents(pub(crate) Shared);

impl Handler for IdentityEvents {
    async fn handle(
        &self,
        connection: &mut PgConnection,
        entries: &[Entry],
    ) -> Result<(), HandleError> {
        let mut heard = Heard::default();
        for entry in entries {
            hear(entry, &mut heard)?;
        }
        Ok(moves::apply(connection, heard).await?)
    }

    fn committed(&self, entries: &[Entry]) {
        let mut customers = Vec::with_capacity(2 * entries.len());
        for entry in entries {
            for customer in touched_by(entry) {
                customers.push((entry.tenant, customer));
            }
        }
        // Redis is emptied of them when they come by in the own log.
        self.0.profiles.bump(&customers);
        self.0.tail.wake();
        self.0.tail.pass_receipts();
    }
}

fn hear(entry: &Entry, heard: &mut Heard) -> Result<(), HandleError> {
    let damaged = || HandleError::Poison("the message of identity is damaged".to_owned());
    match identity::EventKind::try_from(i32::from(entry.kind)) {
        Ok(identity::EventKind::EvidenceMoved) => {
            let moved =
                identity::EvidenceMoved::decode(entry.data.clone()).map_err(|_| damaged())?;
            let customer = CustomerId::from_slice(&moved.customer_id).map_err(|_| damaged())?;
            let key = (entry.tenant, EvidenceId::new(entry.subject));
            heard.moved(Move { key, customer, map_version: entry.version });
        }
        Ok(identity::EventKind::CustomerRedirected) => {
            let redirected =
                identity::CustomerRedirected::decode(entry.data.clone()).map_err(|_| damaged())?;
            let into =
                CustomerId::from_slice(&redirected.into_customer_id).map_err(|_| damaged())?;
            let (tenant, customer) = (entry.tenant, CustomerId::new(entry.subject));
            heard.redirected(Redirect { tenant, customer, into, version: entry.version });
        }
        Ok(identity::EventKind::CustomerErased) => {
            let erased = identity::CustomerErased::decode(entry.data.clone());
            heard.erased(read_erased(entry, erased.map_err(|_| damaged())?).ok_or_else(damaged)?);
        }
        // Of a later release: nothing that a profile depends on.
        Ok(identity::EventKind::Unspecified) | Err(_) => {}
    }
    Ok(())
}

fn read_erased(entry: &Entry, erased: identity::CustomerErased) -> Option<Erased> {
    let customers = erased.customer_ids.iter().map(|id| CustomerId::from_slice(id).ok());
    let evidence = |it: &identity::ErasedEvidence| {
        Some((EvidenceId::from_slice(&it.evidence_id).ok()?, it.map_version.max(1)))
    };
    Some(Erased {
        tenant: entry.tenant,
        part: entry.subject,
        customers: customers.collect::<Option<Vec<CustomerId>>>()?,
        evidence: erased.evidence.iter().map(evidence).collect::<Option<Vec<_>>>()?,
        erased_us: erased.erase_us,
    })
}

/// The customers whose profiles an entry of identity changes.
fn touched_by(entry: &Entry) -> Vec<CustomerId> {
    let of = |bytes: &[u8]| CustomerId::from_slice(bytes).ok();
    match identity::EventKind::try_from(i32::from(entry.kind)) {
        Ok(identity::EventKind::EvidenceMoved) => {
            let moved = identity::EvidenceMoved::decode(entry.data.clone()).unwrap_or_default();
            let both = [of(&moved.customer_id), of(&moved.previous_customer_id)];
            both.into_iter().flatten().collect()
        }
        Ok(identity::EventKind::CustomerRedirected) => vec![CustomerId::new(entry.subject)],
        Ok(identity::EventKind::CustomerErased) => {
            let erased = identity::CustomerErased::decode(entry.data.clone()).unwrap_or_default();
            erased.customer_ids.iter().filter_map(|id| of(id)).collect()
        }
        _ => Vec::new(),
    }
}
