//! Saving and deleting scorers.
//!
//! A change takes the tenant's set of scorers alone, so nobody scores by the old set after it
//! has committed; then all customers are scored again in the background.

use ::store::resource::{self, Change, Origin, Saved, Stored};
use ::store::{Resource, transaction};
use contracts::profile::v1::ListTraitsRequest;
use contracts::profile::v1::profile_service_client::ProfileServiceClient;
use kernel::{TenantId, Violations};
use server::Call;
use sqlx::PgConnection;

use super::App;
use crate::domain::{Learning, MAX_SCORERS, ModelSpec, ScorecardSpec, TraitKind, TraitSchema};
use crate::error::Error;
use crate::store::{self, DeclaredTrait};

/// Pages of 1,000 declarations that are read of profile at most.
const MAX_PAGES: usize = 4;

/// A scorer to be saved.
#[derive(Debug, Clone)]
pub(crate) struct Draft<S> {
    pub(crate) name: String,
    pub(crate) spec: S,
    /// The etag that was read, if the caller insists on it.
    pub(crate) etag: Option<String>,
    pub(crate) validate_only: bool,
    /// What counts as declared for this check, and as what; nothing where it saves.
    pub(crate) assumed: Vec<(String, Option<TraitKind>)>,
    pub(crate) author: String,
    /// What the caller calls the change, unchecked.
    pub(crate) change_id: String,
}

/// How far a model is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    pub(crate) labels: i64,
    pub(crate) positives: i64,
    /// In the log and not learned yet.
    pub(crate) waiting: i64,
}

impl App {
    /// Models with what they have learned so far.
    pub(crate) async fn with_progress(
        &self,
        tenant: TenantId,
        models: Vec<Stored<ModelSpec>>,
    ) -> Result<Vec<(Stored<ModelSpec>, Progress)>, Error> {
        let pool = self.database.pool();
        let names: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
        let rows = store::Progress::of(pool, tenant, &names).await?;
        let mut listed = Vec::with_capacity(models.len());
        for model in models {
            let Some(row) = rows.iter().find(|row| row.model == model.name) else {
                listed.push((model, Progress::default()));
                continue;
            };
            let kinds = &model.body.demand_kinds;
            let waiting = store::waiting(pool, tenant, row.position, kinds).await?;
            let progress = Progress { labels: row.labels, positives: row.positives, waiting };
            listed.push((model, progress));
        }
        Ok(listed)
    }

    /// Saves a scorecard. `found` is what is wrong with it already.
    pub(crate) async fn save_scorecard(
        &self,
        call: &Call,
        draft: &Draft<ScorecardSpec>,
        found: Violations,
    ) -> Result<Saved, Error> {
        let check = |traits: TraitSchema| draft.spec.check(&traits.assuming(&draft.assumed));
        self.check(call, "scorecard", found, check).await?;
        let tenant = call.tenant();
        let saved: Saved = transaction!(&self.database, async |connection| {
            self.save::<_, ModelSpec>(connection, tenant, "scorecard", draft).await
        })?;
        self.sweeps.notify_one();
        Ok(saved)
    }

    /// Saves a model's policy. `found` is what is wrong with it already.
    pub(crate) async fn save_model(
        &self,
        call: &Call,
        draft: &Draft<ModelSpec>,
        found: Violations,
    ) -> Result<Saved, Error> {
        let check = |traits: TraitSchema| draft.spec.check(&traits.assuming(&draft.assumed));
        self.check(call, "policy", found, check).await?;
        let tenant = call.tenant();
        let saved: Saved = transaction!(&self.database, async |connection| {
            let saved = self.save::<_, ScorecardSpec>(connection, tenant, "policy", draft).await?;
            if !draft.validate_only {
                let learns = draft.spec.learning == Learning::On;
                store::declare(connection, tenant, &draft.name, learns).await?;
            }
            Ok::<Saved, Error>(saved)
        })?;
        self.sweeps.notify_one();
        self.labels.notify_one();
        Ok(saved)
    }

    /// Deletes a scorecard and its scores; an absent one is deleted already.
    pub(crate) async fn delete_scorecard(
        &self,
        tenant: TenantId,
        name: &str,
        etag: Option<&str>,
        origin: Origin<'_>,
    ) -> Result<(), Error> {
        let change = Change { etag, ..Change::at(self.clock.now()).by(origin) };
        transaction!(&self.database, async |connection| {
            self.delete::<ScorecardSpec>(connection, tenant, name, change).await
        })?;
        self.sweeps.notify_one();
        Ok(())
    }

    /// Deletes a model with what it has learned; an absent one is deleted already.
    pub(crate) async fn delete_model(
        &self,
        tenant: TenantId,
        name: &str,
        etag: Option<&str>,
        origin: Origin<'_>,
    ) -> Result<(), Error> {
        let change = Change { etag, ..Change::at(self.clock.now()).by(origin) };
        transaction!(&self.database, async |connection| {
            self.delete::<ModelSpec>(connection, tenant, name, change).await?;
            Ok::<(), Error>(store::forget(connection, tenant, name).await?)
        })?;
        self.sweeps.notify_one();
        Ok(())
    }

    /// Checks against the declared attributes. What seems wrong may have been declared a
    /// moment ago, before the feed told: then profile is asked.
    async fn check(
        &self,
        call: &Call,
        field: &str,
        mut found: Violations,
        check: impl Fn(TraitSchema) -> Violations,
    ) -> Result<(), Error> {
        let tenant = call.tenant();
        let pool = self.database.pool();
        if !check(store::traits(pool, tenant).await?).is_empty() {
            self.ask_for_traits(call).await?;
            found.add_below(field, check(store::traits(pool, tenant).await?));
        }
        Ok(found.into_result(())?)
    }

    async fn ask_for_traits(&self, call: &Call) -> Result<(), Error> {
        let mut profile = ProfileServiceClient::new(self.profile.during(call).idempotent());
        let mut traits = Vec::new();
        let mut page_token = String::new();
        for _ in 0..MAX_PAGES {
            let request = ListTraitsRequest { page_size: 1_000, page_token };
            let page = match profile.list_traits(request).await {
                Ok(page) => page.into_inner(),
                Err(status) => {
                    tracing::info!(code = ?status.code(), "profile was not asked for attributes");
                    return Ok(());
                }
            };
            traits.extend(page.traits.into_iter().map(|definition| DeclaredTrait {
                tenant: call.tenant(),
                kind: i16::try_from(definition.r#type).unwrap_or_default(),
                version: definition.meta.map_or(0, |meta| meta.version),
                personal: definition.personal,
                name: definition.name,
            }));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        transaction!(&self.database, async |connection| {
            for tenant in store::apply_traits(connection, &traits).await? {
                store::bump(connection, tenant).await?;
                store::begin_sweep(connection, tenant).await?;
            }
            Ok::<(), Error>(())
        })
    }

    /// Saves a scorer whose name no scorer of the other kind has.
    async fn save<S: Resource, Other: Resource>(
        &self,
        connection: &mut PgConnection,
        tenant: TenantId,
        field: &str,
        draft: &Draft<S>,
    ) -> Result<Saved, Error> {
        if !draft.validate_only {
            store::bump(connection, tenant).await?;
        }
        // Read aside: whoever would change them waits for the lock taken above.
        let own = self.resources.list::<S>(tenant, "", MAX_SCORERS).await?;
        let others = self.resources.list::<Other>(tenant, "", MAX_SCORERS).await?;
        if others.iter().any(|other| other.name == draft.name) {
            let text = format!("is already the name of a {}", Other::KIND);
            return Err(Violations::of(format!("{field}.name"), text).into());
        }
        let is_new = !own.iter().any(|own| own.name == draft.name);
        if is_new && own.len() + others.len() >= MAX_SCORERS {
            let text = format!("would be one more than {MAX_SCORERS} scorers: delete one first");
            return Err(Violations::of(format!("{field}.name"), text).into());
        }
        let change = Change {
            etag: draft.etag.as_deref(),
            validate_only: draft.validate_only,
            now: self.clock.now(),
            origin: Origin::new(&draft.author, &draft.change_id)?,
        };
        let saved = resource::upsert(connection, tenant, &draft.name, &draft.spec, change).await?;
        if saved.changed && !draft.validate_only {
            store::begin_sweep(connection, tenant).await?;
        }
        Ok(saved)
    }

    async fn delete<S: Resource>(
        &self,
        connection: &mut PgConnection,
        tenant: TenantId,
        name: &str,
        change: Change<'_>,
    ) -> Result<(), Error> {
        store::bump(connection, tenant).await?;
        match resource::delete::<S>(connection, tenant, name, change).await {
            Ok(_) => Ok(store::begin_sweep(connection, tenant).await?),
            Err(::store::Error::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
