//! Reading scores: fresh, stored, explained, logged as used.

use std::collections::HashMap;
use std::time::Duration;

use aggregate::Behaviour;
use kernel::{CustomerId, TenantId, UseId, Violations};
use tokio::time::{Instant, timeout};

use super::App;
use crate::domain::{Features, Logged, Moment, Scored};
use crate::error::Error;
use crate::store::{self, Key, NewUse, Reading, Subject, Use};

/// How long to wait before looking again when another replica may have heard the news.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Redirects lead to their end at once; more steps than this is a circle in transit.
const MAX_REDIRECTS: usize = 8;

/// Whose scores are asked for.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) customer: CustomerId,
    /// None means all.
    pub(crate) scorers: Vec<String>,
    /// Default: now.
    pub(crate) as_of_us: Option<i64>,
    /// 0: as it is.
    pub(crate) at_least_profile_version: i64,
    pub(crate) use_id: Option<UseId>,
}

/// Scores with where they came from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answered {
    pub(crate) customer: CustomerId,
    pub(crate) as_of_us: i64,
    pub(crate) profile_version: i64,
    pub(crate) scores: Vec<Scored>,
}

/// One score with everything that it consists of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Explained {
    pub(crate) answered: Answered,
    /// The features that were read, by name.
    pub(crate) features: Vec<(String, Logged)>,
}

/// A customer that scores can be computed of.
struct Current {
    reading: Reading,
    subject: Subject,
    behaviour: Behaviour,
}

impl App {
    /// Computes scores; with a use id, keeps what was known, or repeats the first answer.
    pub(crate) async fn score(
        &self,
        tenant: TenantId,
        ask: Ask,
        wait: Duration,
    ) -> Result<Answered, Error> {
        if ask.at_least_profile_version > 0 {
            self.wait_for(tenant, &ask, wait).await?;
        }
        let found = self.current(tenant, ask.customer).await;
        let Some(id) = ask.use_id else {
            let (usage, _) = self.answer(tenant, &ask, found?).await?;
            return Ok(answered(usage, &ask.scorers));
        };
        let usage = match found {
            Ok(current) => {
                let (usage, logged) = self.answer(tenant, &ask, current).await?;
                let usage = Use { features: logged, ..usage };
                if self.uses.submit(NewUse { tenant, id, usage: usage.clone() }, 1).await? {
                    self.metrics.uses.inc();
                    return Ok(answered(usage, &ask.scorers));
                }
                self.used(tenant, id).await?
            }
            // The customer may be gone since the first call.
            Err(Error::NotFound(what)) => {
                let usage = store::find_use(self.database.pool(), tenant, id).await?;
                usage.ok_or(Error::NotFound(what))?
            }
            Err(error) => return Err(error),
        };
        if ask.customer != usage.asked && ask.customer != usage.customer {
            let text = "was already used for another customer; use a new one";
            return Err(Violations::of("use_id", text).into());
        }
        Ok(answered(usage, &ask.scorers))
    }

    /// What all scorers say, and all that was known.
    async fn answer(
        &self,
        tenant: TenantId,
        ask: &Ask,
        current: Current,
    ) -> Result<(Use, Features), Error> {
        let Current { reading, subject, behaviour } = current;
        let set = self.rules.set(tenant, reading.revision).await?;
        let weights = self.rules.weights(tenant, &reading.models).await?;
        let mut unknown = Violations::new();
        for (position, name) in ask.scorers.iter().enumerate() {
            if set.get(name).is_none() {
                unknown.add(format!("scorers[{position}]"), "must be the name of a scorer");
            }
        }
        unknown.into_result(())?;
        let read_us = self.clock.now_us();
        let as_of_us = ask.as_of_us.unwrap_or(read_us);
        let moment = Moment::new(&behaviour, as_of_us);
        let features = if ask.use_id.is_some() { set.snapshot(moment) } else { Features::new() };
        let usage = Use {
            customer: subject.key.customer,
            asked: ask.customer,
            as_of_us,
            read_us,
            profile_version: subject.profile_version,
            features: Features::new(),
            answers: set.score(moment, &weights),
        };
        Ok((usage, features))
    }

    async fn used(&self, tenant: TenantId, id: UseId) -> Result<Use, Error> {
        let usage = store::find_use(self.database.pool(), tenant, id).await?;
        usage.ok_or(Error::NotFound("use"))
    }

    /// Computes the scores of many customers; unknown ones are left out.
    pub(crate) async fn score_many(
        &self,
        tenant: TenantId,
        customers: &[CustomerId],
        scorers: &[String],
        as_of_us: Option<i64>,
    ) -> Result<Vec<Answered>, Error> {
        let mut known: HashMap<CustomerId, Subject> = HashMap::new();
        let mut wanted = customers.to_vec();
        let mut in_force = None;
        for _ in 0..MAX_REDIRECTS {
            wanted.retain(|customer| !known.contains_key(customer));
            if wanted.is_empty() {
                break;
            }
            let reading = store::read_many(self.database.pool(), tenant, &wanted).await?;
            let targets = reading.subjects.iter().filter_map(|subject| subject.redirect_into);
            wanted = targets.collect();
            known.extend(
                reading.subjects.iter().map(|subject| (subject.key.customer, subject.clone())),
            );
            if !reading.subjects.is_empty() {
                in_force = Some(reading);
            }
        }
        let Some(reading) = in_force else { return Ok(Vec::new()) };
        let set = self.rules.set(tenant, reading.revision).await?;
        let weights = self.rules.weights(tenant, &reading.models).await?;
        let as_of_us = as_of_us.unwrap_or_else(|| self.clock.now_us());
        let mut answers = Vec::new();
        for customer in customers {
            let Some(subject) = follow(&known, *customer) else { continue };
            let Some(behaviour) = subject.behaviour()? else { continue };
            let mut scores = set.score(Moment::new(&behaviour, as_of_us), &weights);
            retain(&mut scores, scorers);
            answers.push(Answered {
                customer: subject.key.customer,
                as_of_us,
                profile_version: subject.profile_version,
                scores,
            });
        }
        Ok(answers)
    }

    /// The stored scores.
    pub(crate) async fn stored(
        &self,
        tenant: TenantId,
        customer: CustomerId,
    ) -> Result<Subject, Error> {
        Ok(self.current(tenant, customer).await?.subject)
    }

    /// Accounts for a score of a customer at an instant.
    pub(crate) async fn explain(
        &self,
        tenant: TenantId,
        customer: CustomerId,
        scorer: &str,
        as_of_us: Option<i64>,
    ) -> Result<Explained, Error> {
        let Current { reading, subject, behaviour } = self.current(tenant, customer).await?;
        let set = self.rules.set(tenant, reading.revision).await?;
        let weights = self.rules.weights(tenant, &reading.models).await?;
        let read_us = self.clock.now_us();
        let as_of_us = as_of_us.unwrap_or(read_us);
        let moment = Moment::new(&behaviour, as_of_us);
        let mut scores = set.score(moment, &weights);
        scores.retain(|score| score.scorer == scorer);
        let usage = Use {
            customer: subject.key.customer,
            asked: customer,
            as_of_us,
            read_us,
            profile_version: subject.profile_version,
            features: set.snapshot(moment),
            answers: scores,
        };
        explained(usage, scorer)
    }

    /// Accounts for a score that was used.
    pub(crate) async fn explain_use(
        &self,
        tenant: TenantId,
        id: UseId,
        scorer: &str,
    ) -> Result<Explained, Error> {
        explained(self.used(tenant, id).await?, scorer)
    }

    /// The customer that an id leads to, with what is needed to score it.
    async fn current(&self, tenant: TenantId, customer: CustomerId) -> Result<Current, Error> {
        let absent = Error::NotFound("customer");
        let mut id = customer;
        for _ in 0..MAX_REDIRECTS {
            let mut reading = store::read(self.database.pool(), tenant, id).await?;
            let Some(subject) = reading.subjects.pop() else { return Err(absent) };
            if let Some(into) = subject.redirect_into {
                id = into;
                continue;
            }
            let Some(behaviour) = subject.behaviour()? else { return Err(absent) };
            return Ok(Current { reading, subject, behaviour });
        }
        Err(absent)
    }

    /// Returns when scoring has seen the version. A redirect is no substitute: an older one may
    /// be about to end; one that came after the version was also told after it. Only of an id
    /// that never was more than a redirect no version is to be expected.
    async fn wait_for(&self, tenant: TenantId, ask: &Ask, wait: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + wait;
        let mut place = self.waiting.join(Key::new(tenant, ask.customer));
        loop {
            let reading = store::read(self.database.pool(), tenant, ask.customer).await?;
            let arrived = reading.subjects.first().is_some_and(|subject| {
                let mere_redirect = subject.redirect_into.is_some() && subject.profile_version == 0;
                mere_redirect || subject.profile_version >= ask.at_least_profile_version
            });
            if arrived {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Late);
            }
            // A time-out is a look without news.
            let _ = timeout(left.min(LOOK_AGAIN), place.changed()).await;
        }
    }
}

fn follow(known: &HashMap<CustomerId, Subject>, customer: CustomerId) -> Option<&Subject> {
    let mut subject = known.get(&customer)?;
    for _ in 0..MAX_REDIRECTS {
        let Some(into) = subject.redirect_into else { return Some(subject) };
        subject = known.get(&into)?;
    }
    None
}

fn retain(scores: &mut Vec<Scored>, scorers: &[String]) {
    if !scorers.is_empty() {
        scores.retain(|score| scorers.contains(&score.scorer));
    }
}

fn answered(usage: Use, scorers: &[String]) -> Answered {
    let mut scores = usage.answers;
    retain(&mut scores, scorers);
    Answered {
        customer: usage.customer,
        as_of_us: usage.as_of_us,
        profile_version: usage.profile_version,
        scores,
    }
}

fn explained(usage: Use, scorer: &str) -> Result<Explained, Error> {
    let Use { features, .. } = &usage;
    let score = usage.answers.iter().find(|score| score.scorer == scorer);
    let score = score.ok_or(Error::NotFound("scorer"))?.clone();
    let read = features.iter().filter(|(name, _)| score.read.contains(name));
    let features = read.map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut answered = answered(usage, &[]);
    answered.scores = vec![score];
    Ok(Explained { answered, features })
}
