//! The use cases, one per file, and what they share.

pub(crate) mod agents;
pub(crate) mod commit;
pub(crate) mod configuration;
pub(crate) mod create;
mod erase;
pub(crate) mod faults;
pub(crate) mod policies;
pub(crate) mod rescore;
pub(crate) mod router;
pub(crate) mod routing;
pub(crate) mod score;
pub(crate) mod teams;
pub(crate) mod trigger;
pub(crate) mod work;

use ::store::committer::{Committer, Options};
use ::store::{Bell, Database, KeyRing, Resources, TokenSealer};
use feed::Tail;
use jiff::Timestamp;
use server::{Drain, Peer};

use self::commit::{Outcome, Request};
use self::configuration::Configuration;
use crate::Error;
use crate::config::Config;
use crate::domain::{Demand, Timing};

/// What all use cases work with; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) database: Database,
    pub(crate) resources: Resources,
    pub(crate) configuration: Configuration,
    pub(crate) keys: std::sync::Arc<KeyRing>,
    pub(crate) sealer: TokenSealer,
    pub(crate) tail: Tail,
    pub(crate) bell: Bell,
    pub(crate) scoring: Peer,
    pub(crate) drain: Drain,
    pub(crate) timing: Timing,
    pub(crate) config: std::sync::Arc<Config>,
    committer: Committer<Request, Outcome>,
}

impl App {
    pub(crate) fn start(
        config: Config,
        database: Database,
        keys: std::sync::Arc<KeyRing>,
        (tail, bell): (Tail, Bell),
        scoring: Peer,
        drain: Drain,
    ) -> Result<Self, ::store::Error> {
        let timing = config.timing();
        let resources = Resources::new(database.clone());
        let (writing, woken) = (database.clone(), tail.clone());
        let committer = Committer::start(
            Options { committers: 1, ..Options::default() }, // every batch ends in the one feed lock
            &drain.tracker(),
            drain.token(),
            move |requests| {
                let (database, tail) = (writing.clone(), woken.clone());
                async move {
                    let outcomes = commit::commit(&database, &requests, &timing).await;
                    tail.wake();
                    outcomes
                }
            },
        );
        Ok(Self {
            configuration: Configuration::new(&resources),
            sealer: TokenSealer::new(&keys)?,
            config: std::sync::Arc::new(config),
            database,
            resources,
            keys,
            tail,
            bell,
            scoring,
            drain,
            timing,
            committer,
        })
    }

    /// Has a request committed in a group, and answers the demand after it.
    pub(crate) async fn submit(&self, request: Request) -> Result<Demand, Error> {
        self.committer.submit(request, 1).await?
    }
}

/// The wall clock, in microseconds since 1970.
pub(crate) fn now_us() -> i64 {
    Timestamp::now().as_microsecond()
}
