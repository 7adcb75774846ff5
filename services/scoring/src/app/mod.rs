//! The use cases, one per file, and what they share.

mod configure;
mod due;
mod follow_feedback;
mod follow_profile;
mod learner;
mod read;
mod rescore;
mod rules;
mod setback;
mod sweep;
mod waiting;

pub(crate) use configure::Draft;
pub(crate) use due::run as run_due;
pub(crate) use follow_feedback::FeedbackHandler;
pub(crate) use follow_profile::ProfileHandler;
pub(crate) use learner::Learner;
pub(crate) use read::{Answered, Ask};
pub(crate) use sweep::run as run_sweep;

use std::future::Future;
use std::time::Duration;

use ::store::committer::{self, Committer};
use ::store::{Database, Resource, Resources, TokenSealer};
use feed::Tail;
use server::{Drain, Peer};
use tokio::sync::Notify;

use self::rules::Rules;
use self::waiting::Waiting;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::{ModelSpec, ScorecardSpec};
use crate::metrics::Metrics;
use crate::store::{self, Key, NewUse};

impl Resource for ScorecardSpec {
    const KIND: &'static str = "Scorecard";
}

impl Resource for ModelSpec {
    const KIND: &'static str = "ModelPolicy";
}

/// What the use cases work with.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) database: Database,
    pub(crate) resources: Resources,
    pub(crate) tail: Tail,
    pub(crate) tokens: TokenSealer,
    pub(crate) clock: Clock,
    pub(crate) drain: Drain,
    pub(crate) metrics: Metrics,
    /// Asked for declarations of attributes that the feed has not brought yet.
    pub(crate) profile: Peer,
    pub(crate) rules: Rules,
    /// Keeps uses, many in one commit. False: the id was used before.
    uses: Committer<NewUse, bool>,
    waiting: Waiting,
    /// Rung when there may be labels to learn.
    labels: Notify,
    /// Rung when customers are to be scored again.
    sweeps: Notify,
}

/// What an [`App`] is made of.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) database: Database,
    pub(crate) tail: Tail,
    pub(crate) tokens: TokenSealer,
    pub(crate) clock: Clock,
    pub(crate) drain: Drain,
    pub(crate) metrics: Metrics,
    pub(crate) profile: Peer,
}

impl App {
    pub(crate) fn new(parts: Parts) -> Self {
        let (database, drain) = (parts.database.clone(), &parts.drain);
        let options = committer::Options::default();
        let uses = Committer::start(options, &drain.tracker(), drain.token(), move |uses| {
            let database = database.clone();
            async move { store::insert_uses(database.pool(), &uses).await }
        });
        Self {
            uses,
            resources: Resources::new(parts.database.clone()),
            rules: Rules::new(parts.database.clone()),
            config: parts.config,
            database: parts.database,
            tail: parts.tail,
            tokens: parts.tokens,
            clock: parts.clock,
            drain: parts.drain,
            metrics: parts.metrics,
            profile: parts.profile,
            waiting: Waiting::default(),
            labels: Notify::new(),
            sweeps: Notify::new(),
        }
    }
}

/// Repeats background work until the service ends: at once while there is more to do, else
/// when rung or after a pause. A failure is logged and repeated.
async fn repeat<F, W>(app: &App, what: &str, bell: Option<&Notify>, pause: Duration, mut work: W)
where
    W: FnMut() -> F,
    F: Future<Output = Result<bool, crate::Error>>,
{
    let stop = app.drain.token();
    while !stop.is_cancelled() {
        match work().await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::warn!(
                task = what,
                error = &error as &dyn std::error::Error,
                "background work is repeated"
            ),
        }
        let rung = async {
            match bell {
                Some(bell) => bell.notified().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = rung => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Notes customers that background work left as they are because their rows are damaged.
fn pass_over(app: &App, task: &'static str, damaged: &[Key]) {
    for key in damaged {
        let (tenant, customer) = (key.tenant, key.customer);
        tracing::error!(task, %tenant, %customer, "what is stored of a customer does not decode");
    }
    app.metrics.pass_over(task, damaged.len() as u64);
}
