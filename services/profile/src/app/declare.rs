//! Declaring attributes.

use ::store::resource::{self, Change, Saved, Stored};
use ::store::{Resources, TenantLookup, blind};
use jiff::Timestamp;
use kernel::TenantId;
use uuid::Uuid;

use super::Shared;
use crate::domain::schema::{self, Declaration, Schema};
use crate::error::Error;
use crate::events;
use crate::store::traits;

/// A declaration with its place in history; none for a built-in one.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) declaration: Declaration,
    pub(crate) version: i64,
    pub(crate) etag: String,
    pub(crate) update_time: Option<Timestamp>,
}

impl Declared {
    fn stored(stored: Stored<Declaration>) -> Self {
        Self {
            name: stored.name,
            declaration: stored.body,
            version: stored.version,
            etag: stored.etag,
            update_time: Some(stored.update_time),
        }
    }

    fn built_in(name: &str, declaration: Declaration) -> Self {
        let (name, etag) = (name.to_owned(), String::new());
        Self { name, declaration, version: 0, etag, update_time: None }
    }
}

/// The schema admits no more in each of its two classes.
const MAX_DECLARATIONS: usize = 2 * aggregate::limit::TRAITS;

/// The subject under which a trait stands in the feed.
pub(crate) fn subject(lookup: &TenantLookup, name: &str) -> Uuid {
    Uuid::new_v8(blind::short_index(lookup, "trait", name.as_bytes()))
}

impl Shared {
    /// Saves a declaration and tells the others. It is checked against those in force, and
    /// what the name once stood for, under a lock: no other one comes between.
    ///
    /// # Errors
    /// Everything that is wrong with it; an etag that is not in force.
    pub(crate) async fn declare(
        &self,
        tenant: TenantId,
        name: &str,
        declaration: Declaration,
        change: Change<'_>,
    ) -> Result<Declared, Error> {
        let lookup = self.lookup.tenant(tenant)?;
        let traceparent = server::layers::trace::traceparent();
        let saved: Result<Saved, Error> =
            ::store::transaction!(&self.database, async |connection| {
                let known = traits::lock(connection, tenant, name).await?;
                Schema::new(known.in_force).check(name, &declaration, known.deleted.as_ref())?;
                let saved =
                    resource::upsert(connection, tenant, name, &declaration, change).await?;
                if saved.changed && !change.validate_only {
                    let subject = subject(&lookup, name);
                    let version = saved.version;
                    let entry =
                        events::trait_changed(tenant, subject, name, version, Some(&declaration));
                    feed::append(connection, &[entry.traced(traceparent.clone())]).await?;
                }
                Ok(saved)
            });
        let saved = saved?;
        self.told(tenant);
        Ok(Declared {
            name: name.to_owned(),
            declaration,
            version: saved.version,
            etag: saved.etag,
            update_time: Some(saved.update_time),
        })
    }

    /// Takes a declaration back and tells the others; an absent one is deleted already. A
    /// built-in one comes into force again.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn undeclare(
        &self,
        tenant: TenantId,
        name: &str,
        change: Change<'_>,
    ) -> Result<(), Error> {
        let lookup = self.lookup.tenant(tenant)?;
        let again = schema::built_in_of(name);
        let traceparent = server::layers::trace::traceparent();
        let deleted: Result<(), Error> =
            ::store::transaction!(&self.database, async |connection| {
                let saved = resource::delete::<Declaration>(connection, tenant, name, change).await;
                let saved = match saved {
                    Err(::store::Error::NotFound) => return Ok(()),
                    saved => saved?,
                };
                let subject = subject(&lookup, name);
                let version = saved.version;
                let entry = events::trait_changed(tenant, subject, name, version, again.as_ref());
                feed::append(connection, &[entry.traced(traceparent.clone())]).await?;
                Ok(())
            });
        deleted?;
        self.told(tenant);
        Ok(())
    }

    fn told(&self, tenant: TenantId) {
        self.schemas.refresh(tenant);
        self.tail.wake();
    }

    /// The declaration in force.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn declared(&self, tenant: TenantId, name: &str) -> Result<Declared, Error> {
        let resources = Resources::new(self.database.clone());
        match resources.get::<Declaration>(tenant, name).await {
            Ok(stored) => Ok(Declared::stored(stored)),
            Err(::store::Error::NotFound) => {
                let found = schema::built_in_of(name).ok_or(Error::NotFound("the trait"))?;
                Ok(Declared::built_in(name, found))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// At most `limit` declarations by name after `after`, and whether there are more.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn declarations(
        &self,
        tenant: TenantId,
        after: &str,
        limit: usize,
    ) -> Result<(Vec<Declared>, bool), Error> {
        let resources = Resources::new(self.database.clone());
        // All of them (at most 128): the database may order names otherwise than by byte.
        let own = resources.list::<Declaration>(tenant, "", MAX_DECLARATIONS).await?;
        let mut all: Vec<Declared> = own.into_iter().map(Declared::stored).collect();
        for (name, declaration) in schema::built_in() {
            let is_overridden = all.iter().any(|declared| declared.name == name);
            if !is_overridden {
                all.push(Declared::built_in(name, declaration));
            }
        }
        all.retain(|declared| declared.name.as_str() > after);
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let has_more = all.len() > limit;
        all.truncate(limit);
        Ok((all, has_more))
    }
}
