//! Scores for demands that have none yet: those that a threshold created, and those created
//! while scoring was away. Asked again, ever more seldom, until they are scored or offered.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::join_all;
use kernel::DemandId;
use server::Call;
use tokio_util::sync::CancellationToken;

use super::commit::{Act, Request, Verb};
use super::router::Metrics;
use super::score::{self, Scored, Use};
use super::{App, faults, now_us};
use crate::Error;
use crate::domain::{Demand, Score, State};
use crate::store::demand::Key;
use crate::store::unscored;

/// How many are asked for at the same time.
const AT_ONCE: i64 = 16;
/// A customer whom scoring does not know by then does not come any more.
const KNOWN_BY_US: i64 = 60_000_000;
/// The floor when no bell rings.
const POLL: Duration = Duration::from_millis(500);
/// Every commit rings: a look answers all of this while.
const GATHER: Duration = Duration::from_millis(10);
/// More demands than this and the memory of attempts starts afresh.
const REMEMBERED: usize = 10_000;

/// Scores until cancelled.
pub(crate) async fn run(app: App, metrics: Metrics, stop: CancellationToken) {
    let mut listener = app.bell.listen();
    let mut attempts = Attempts::default();
    while !stop.is_cancelled() {
        let round = round(&app, &metrics, &mut attempts);
        let scored = match stop.run_until_cancelled(round).await {
            None => return,
            Some(Ok(scored)) => scored,
            Some(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "demands not scored");
                0
            }
        };
        if scored == 0 {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = listener.heard(POLL) => tokio::time::sleep(GATHER).await,
            }
        }
    }
}

/// Until when a demand waits for its next attempt; none: for ever.
type PutOff = Vec<(Key, Option<i64>)>;

async fn round(app: &App, metrics: &Metrics, attempts: &mut Attempts) -> Result<usize, Error> {
    let pool = app.database.pool();
    let next = unscored::next(pool).await?;
    if next.is_none_or(|next| next > now_us()) {
        return Ok(0);
    }
    let mut found = unscored::due(pool, now_us(), AT_ONCE).await?;
    let seen = found.demands.len() + found.damaged.len();
    let mut put_off = PutOff::new();
    for (key, error) in faults::of_damaged(found.damaged) {
        faults::tell(key, &error);
        metrics.faults.inc();
        put_off.push((key, Some(attempts.again(app, key.1))));
    }
    for decided in found.demands.extract_if(.., |demand| demand.state != State::Queued) {
        // It went on unscored: a score of today was no part of that decision, and what came
        // after it must not become a feature of its own outcome.
        put_off.push((key(&decided), None));
    }
    let answers = join_all(found.demands.iter().map(|demand| ask(app, demand))).await;
    let mut scored = Vec::new();
    for (demand, answer) in found.demands.iter().zip(answers) {
        match answer {
            Scored::Scores(scores) => scored.push((demand, scores)),
            Scored::NotYet if now_us() - demand.created_us > KNOWN_BY_US => {
                put_off.push((key(demand), None));
            }
            Scored::Unknown => put_off.push((key(demand), None)),
            Scored::NotYet | Scored::Later => {
                put_off.push((key(demand), Some(attempts.again(app, demand.id))));
            }
        }
    }
    let kept = keep(app, metrics, scored, attempts, &mut put_off).await;
    unscored::put_off(pool, &put_off).await?;
    kept.map(|()| seen)
}

/// Has scores committed, those of a round in a group.
async fn keep(
    app: &App,
    metrics: &Metrics,
    scored: Vec<(&Demand, Vec<Score>)>,
    attempts: &mut Attempts,
    put_off: &mut PutOff,
) -> Result<(), Error> {
    let submitted = scored.into_iter().map(|(demand, scores)| async move {
        let verb = Verb::Score { demand: demand.id, scores };
        let act = Act { tenant: demand.tenant, verb, traceparent: None };
        (key(demand), app.submit(Request::Act(act)).await)
    });
    let mut kept = Ok(());
    for (key, outcome) in join_all(submitted).await {
        match outcome {
            Ok(_) => attempts.0.remove(&key.1).map_or((), drop),
            Err(Error::WrongState(_)) => put_off.push((key, None)),
            Err(error) if error.is_transient() => kept = Err(error),
            Err(error) => {
                faults::tell(key, &error);
                metrics.faults.inc();
                put_off.push((key, Some(attempts.again(app, key.1))));
            }
        }
    }
    kept
}

fn key(demand: &Demand) -> Key {
    (demand.tenant, demand.id)
}

/// How often each demand was asked for.
#[derive(Default)]
struct Attempts(HashMap<DemandId, u32>);

impl Attempts {
    /// Counts one more, and answers when the next is due.
    fn again(&mut self, app: &App, demand: DemandId) -> i64 {
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        let made = self.0.entry(demand).or_default();
        *made += 1;
        now_us() + app.config.rescore_after_us(*made)
    }
}

async fn ask(app: &App, demand: &Demand) -> Scored {
    let call = Call::background(demand.tenant);
    score::score(&app.scoring, &call, &Use::of(demand, 0), app.config.scoring_timeout()).await
}
