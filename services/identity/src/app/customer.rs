//! Reading customers and their identifiers.

use std::collections::{BTreeMap, BTreeSet};

use ::store::page_token::Scope;
use kernel::{CustomerId, TenantId};
use linkage::Identifier;
use linkage::graph::ValueKey;
use sqlx::PgConnection;

use super::{App, read};
use crate::Error;
use crate::store::{customer, evidence, value};

/// Which customer.
#[derive(Debug, Clone)]
pub(crate) enum Key {
    /// Its id, or one that was merged into it.
    Id(CustomerId),
    /// A namespace and a raw value.
    Identifier(String, String),
}

/// A customer as it is now.
#[derive(Debug, Clone)]
pub(crate) struct CustomerView {
    pub(crate) id: CustomerId,
    /// Other ids that lead here, oldest first.
    pub(crate) merged: Vec<CustomerId>,
    /// Oldest first; never empty.
    pub(crate) evidence: Vec<evidence::Row>,
}

/// An identifier of a customer.
#[derive(Debug, Clone)]
pub(crate) struct IdentifierView {
    pub(crate) identifier: Identifier,
    pub(crate) shared: bool,
    pub(crate) evidence_count: usize,
}

/// Some identifiers of a customer.
#[derive(Debug, Clone)]
pub(crate) struct IdentifierPage {
    pub(crate) identifiers: Vec<IdentifierView>,
    /// Empty on the last page.
    pub(crate) next_page_token: String,
}

const LIST_METHOD: &str = "rapport.identity.v1.IdentityService/ListIdentifiers";
const ABSENT: Error = Error::NotFound("customer");

impl App {
    /// The customer with this id or identifier.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for an identifier that identifies nobody.
    pub(crate) async fn customer(
        &self,
        tenant: TenantId,
        key: &Key,
    ) -> Result<CustomerView, Error> {
        let key = match key {
            Key::Id(id) => Ok(*id),
            Key::Identifier(namespace, raw) => Err(self.value_key(tenant, namespace, raw).await?),
        };
        read::snapshot!(&self.database, async |connection| {
            let id = match &key {
                Ok(id) => current(connection, tenant, *id).await?,
                Err(value) => value::customer_of(connection, tenant, value).await?.ok_or(ABSENT)?,
            };
            view(connection, tenant, id).await
        })
    }

    pub(super) async fn value_key(
        &self,
        tenant: TenantId,
        namespace: &str,
        raw: &str,
    ) -> Result<ValueKey, Error> {
        let namespace = namespace.parse().map_err(|error: linkage::namespace::NotANamespace| {
            kernel::Violations::of("identifier.namespace", error.to_string())
        })?;
        let rules = self.rules.get(tenant).await?;
        // What identifies nobody finds nobody.
        let identifier = rules.read(&namespace, raw).map_err(|_| ABSENT)?;
        Ok(identifier.value_key(self.lookup.tenant(tenant)?.evidence_key()))
    }

    /// A page of the identifiers of a customer, ordered by namespace and value.
    ///
    /// # Errors
    /// [`Error::NotFound`], or a page token of something else. O(evidence of the customer).
    pub(crate) async fn identifiers(
        &self,
        tenant: TenantId,
        id: CustomerId,
        (size, page_token): (usize, &str),
    ) -> Result<IdentifierPage, Error> {
        let scope = Scope { tenant, method: LIST_METHOD, filter: id.as_bytes() };
        let after = self.tokens.page(&scope, page_token)?;
        let after = after.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let tenant_key = self.tenant_keys.get(tenant).await?;
        let lookup = self.lookup.tenant(tenant)?;
        read::snapshot!(&self.database, async |connection| {
            let current = current(connection, tenant, id).await?;
            let mut counted: BTreeMap<Identifier, usize> = BTreeMap::new();
            for (evidence, sealed) in evidence::sealed(connection, tenant, &[current]).await? {
                for identifier in read::identifiers((tenant, &tenant_key), evidence, &sealed)? {
                    *counted.entry(identifier).or_default() += 1;
                }
            }
            let is_later = |identifier: &Identifier| {
                after.as_ref().is_none_or(|after| position(identifier) > *after)
            };
            let later = counted.into_iter().filter(|(identifier, _)| is_later(identifier));
            let mut page: Vec<(Identifier, usize)> = later.take(size + 1).collect();
            let is_last = page.len() <= size;
            page.truncate(size);
            let next_page_token = match page.last() {
                Some((last, _)) if !is_last => {
                    self.tokens.seal(&scope, position(last).as_bytes())?
                }
                _ => String::new(),
            };
            let keys =
                page.iter().map(|(identifier, _)| identifier.value_key(lookup.evidence_key()));
            let keys: BTreeSet<ValueKey> = keys.collect();
            let shared = value::shared(connection, tenant, &keys).await?;
            let view = |(identifier, evidence_count): (Identifier, usize)| {
                let shared = shared.contains(&identifier.value_key(lookup.evidence_key()));
                IdentifierView { identifier, shared, evidence_count }
            };
            let identifiers = page.into_iter().map(view).collect();
            Ok(IdentifierPage { identifiers, next_page_token })
        })
    }
}

/// Orders as identifiers do: a namespace has no byte below the separator.
fn position(identifier: &Identifier) -> String {
    format!("{}\0{}", identifier.namespace(), identifier.value())
}

/// The customer that an id leads to.
pub(super) async fn current(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: CustomerId,
) -> Result<CustomerId, Error> {
    let lead = customer::lead(connection, tenant, id).await?;
    Ok(lead.ok_or(ABSENT)?.customer)
}

async fn view(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: CustomerId,
) -> Result<CustomerView, Error> {
    let evidence = evidence::of_customers(connection, tenant, [id]).await?;
    let founded = evidence.iter().filter_map(|row| row.placed.founded);
    let mut merged: Vec<CustomerId> = founded.filter(|founded| *founded != id).collect();
    merged.sort_unstable();
    Ok(CustomerView { id, merged, evidence })
}
