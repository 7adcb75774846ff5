//! Following profile's feed: behaviour, redirects, declared attributes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ::store::Error as StoreError;
use contracts::profile::v1::{EventKind, ProfileChanged, ProfileRedirected, TraitChanged};
use feed::receipt::{self, Part};
use feed::{Entry, HandleError, Handler};
use kernel::{CustomerId, TenantId};
use prost::Message;
use sqlx::PgConnection;

use super::App;
use super::rescore::{Held, write_and_tell};
use crate::events::customers_erased;
use crate::store::{self, DeclaredTrait, Key, Subject};

/// After a lost race so many runs lock what they read: the clock or a sweep is at work, and who
/// only looks would lose to it again and again.
const CAREFUL_RUNS: u32 = 64;

/// Applies entries of profile's feed.
pub(crate) struct ProfileHandler {
    app: Arc<App>,
    careful: AtomicU32,
}

/// What a run of entries says, the newest of each subject.
#[derive(Default)]
struct News {
    customers: BTreeMap<Key, CustomerNews>,
    traits: BTreeMap<(TenantId, String), DeclaredTrait>,
    erased: Vec<Part>,
}

#[derive(Default)]
struct CustomerNews {
    /// Version and state.
    behaviour: Option<(i64, Vec<u8>)>,
    /// Version and target.
    redirect: Option<(i64, CustomerId)>,
    traceparent: Option<String>,
}

impl Handler for ProfileHandler {
    async fn handle(
        &self,
        connection: &mut PgConnection,
        entries: &[Entry],
    ) -> Result<(), HandleError> {
        let news = News::read(entries)?;
        let changed = self.declare(connection, &news).await?;
        let (news, erased) = news.without_erased();
        if news.customers.is_empty() {
            let told = erase(connection, &erased).await?;
            feed::append(connection, &told).await?;
            return Ok(());
        }
        let mut tenants: Vec<TenantId> = news.customers.keys().map(|key| key.tenant).collect();
        tenants.dedup(); // keys are sorted by tenant
        let held = Held::new(&self.app.rules, connection, &tenants, &changed).await?;
        let keys: Vec<Key> = news.customers.keys().copied().collect();
        let careful = self.careful.load(Ordering::Relaxed);
        self.careful.store(careful.saturating_sub(1), Ordering::Relaxed);
        let known = match careful {
            0 => store::known(connection, &keys).await?,
            _ => store::lock(connection, &keys).await?,
        };
        let mut known: BTreeMap<Key, Subject> =
            known.into_iter().map(|subject| (subject.key, subject)).collect();

        let now_us = self.app.clock.now_us();
        let (mut subjects, mut told) = (Vec::new(), Vec::new());
        for (key, news) in news.customers {
            let mut subject = known.remove(&key).unwrap_or_else(|| Subject::new(key));
            if !news.apply(&mut subject) {
                continue;
            }
            let entry = held.rescore(&mut subject, now_us)?;
            told.extend(entry.map(|entry| entry.traced(news.traceparent)));
            subjects.push(subject);
        }
        if !erased.is_empty() {
            // Written before the rows of others are taken; told with them, as the last statement.
            store::write(connection, &sorted(std::mem::take(&mut subjects))).await?;
            told.extend(erase(connection, &erased).await?);
        }
        let written = write_and_tell(connection, subjects, &told).await;
        if let Err(feed::Error::Database(StoreError::Conflict(_))) = &written {
            self.careful.store(CAREFUL_RUNS, Ordering::Relaxed);
        }
        let scored = written?;
        self.app.metrics.scored_on_event.inc_by(scored as u64);
        Ok(())
    }

    fn committed(&self, entries: &[Entry]) {
        self.app.tail.wake();
        self.app.tail.pass_receipts();
        let trait_changed = EventKind::TraitChanged as i16;
        if entries.iter().any(|entry| entry.kind == trait_changed) {
            self.app.sweeps.notify_one();
        }
        let customers = entries.iter().filter(|entry| entry.kind != trait_changed);
        self.app
            .waiting
            .wake(customers.map(|entry| Key::new(entry.tenant, CustomerId::new(entry.subject))));
    }
}

impl ProfileHandler {
    pub(crate) fn new(app: Arc<App>) -> Self {
        Self { app, careful: AtomicU32::new(0) }
    }

    /// Takes declarations; answers the tenants whose set of scorers is another one now.
    async fn declare(
        &self,
        connection: &mut PgConnection,
        news: &News,
    ) -> Result<Vec<TenantId>, HandleError> {
        if news.traits.is_empty() {
            return Ok(Vec::new());
        }
        let traits: Vec<DeclaredTrait> = news.traits.values().cloned().collect();
        let changed = store::apply_traits(connection, &traits).await?;
        for tenant in &changed {
            store::bump(connection, *tenant).await?;
            store::begin_sweep(connection, *tenant).await?;
        }
        Ok(changed)
    }
}

impl News {
    fn read(entries: &[Entry]) -> Result<Self, HandleError> {
        let mut news = Self::default();
        for entry in entries {
            match EventKind::try_from(i32::from(entry.kind)) {
                Ok(EventKind::ProfileChanged) => news.changed(entry)?,
                Ok(EventKind::ProfileRedirected) => news.redirected(entry)?,
                Ok(EventKind::TraitChanged) => news.declared(entry)?,
                Ok(EventKind::CustomersErased) => news.erased.push(Part::read(entry)?),
                // A kind of a later release.
                Ok(EventKind::Unspecified) | Err(_) => {}
            }
        }
        Ok(news)
    }

    /// What is left of it without the customers that it says are erased, and those.
    fn without_erased(mut self) -> (Self, Vec<Part>) {
        let erased = std::mem::take(&mut self.erased);
        for part in &erased {
            for customer in &part.customers {
                self.customers.remove(&Key::new(part.tenant, *customer));
            }
        }
        (self, erased)
    }

    fn customer(&mut self, entry: &Entry) -> &mut CustomerNews {
        let key = Key::new(entry.tenant, CustomerId::new(entry.subject));
        let news = self.customers.entry(key).or_default();
        if entry.traceparent.is_some() {
            news.traceparent.clone_from(&entry.traceparent);
        }
        news
    }

    fn changed(&mut self, entry: &Entry) -> Result<(), HandleError> {
        let message = ProfileChanged::decode(entry.data.clone()).map_err(malformed)?;
        let news = self.customer(entry);
        if news.behaviour.as_ref().is_none_or(|(version, _)| *version < entry.version) {
            news.behaviour = Some((entry.version, message.state.into()));
        }
        Ok(())
    }

    fn redirected(&mut self, entry: &Entry) -> Result<(), HandleError> {
        let message = ProfileRedirected::decode(entry.data.clone()).map_err(malformed)?;
        let into = CustomerId::from_slice(&message.into_customer_id).map_err(malformed)?;
        let news = self.customer(entry);
        if news.redirect.is_none_or(|(version, _)| version < entry.version) {
            news.redirect = Some((entry.version, into));
        }
        Ok(())
    }

    fn declared(&mut self, entry: &Entry) -> Result<(), HandleError> {
        let message = TraitChanged::decode(entry.data.clone()).map_err(malformed)?;
        let declared = DeclaredTrait {
            tenant: entry.tenant,
            name: message.name.clone(),
            kind: i16::try_from(message.r#type).map_err(malformed)?,
            personal: message.personal,
            version: entry.version,
        };
        let key = (entry.tenant, message.name);
        if self.traits.get(&key).is_none_or(|known| known.version < declared.version) {
            self.traits.insert(key, declared);
        }
        Ok(())
    }
}

/// Erases customers; answers what to append.
async fn erase(connection: &mut PgConnection, erased: &[Part]) -> Result<Vec<Entry>, HandleError> {
    if erased.is_empty() {
        return Ok(Vec::new());
    }
    store::erase(connection, erased).await?;
    receipt::record(connection, crate::NAME, erased).await?;
    Ok(erased.iter().map(customers_erased).collect())
}

fn sorted(mut subjects: Vec<Subject>) -> Vec<Subject> {
    subjects.sort_by_key(|subject| subject.key);
    subjects
}

fn malformed(error: impl std::fmt::Display) -> HandleError {
    HandleError::Poison(error.to_string())
}

impl CustomerNews {
    /// Takes what is newer than what is stored; false if nothing is.
    fn apply(&self, subject: &mut Subject) -> bool {
        let mut newer = false;
        if subject.erased {
            return false; // older than the erasure: the id is never given out again
        }
        if let Some((version, state)) = &self.behaviour
            && *version > subject.profile_version
        {
            subject.profile_version = *version;
            subject.behaviour.clone_from(state);
            newer = true;
        }
        if let Some((version, into)) = self.redirect
            && version > subject.redirect_version
        {
            subject.redirect_version = version;
            subject.redirect_into = (into != subject.key.customer).then_some(into);
            newer = true;
        }
        newer
    }
}
