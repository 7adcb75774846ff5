//! Scores for demands that have none yet: those that a threshold created, and those created
//! while scoring was away. Asked again, ever more seldom, until they are scored or offered.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::join_all;
use kernel::DemandId;
use server::Call;
use tokio_util::sync::CancellationToken;

use super::commit::{Act, Request, Verb};
use super::score::{self, Scored, Use};
use super::{App, now_us};
use crate::Error;
use crate::domain::{Demand, State};
use crate::store::demand;

/// How many are asked for at the same time.
const AT_ONCE: i64 = 16;
/// A customer whom scoring does not know by then does not come any more.
const KNOWN_BY_US: i64 = 60_000_000;
/// The floor when no bell rings.
const POLL: Duration = Duration::from_millis(500);
/// More demands than this and the memory of attempts starts afresh.
const REMEMBERED: usize = 10_000;

/// Scores until cancelled.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let mut listener = app.bell.listen();
    let mut attempts: HashMap<DemandId, u32> = HashMap::new();
    while !stop.is_cancelled() {
        let round = round(&app, &mut attempts);
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
                _ = listener.heard(POLL) => {}
            }
        }
    }
}

async fn round(app: &App, attempts: &mut HashMap<DemandId, u32>) -> Result<usize, Error> {
    let pool = app.database.pool();
    let next = demand::next_unscored(pool).await?;
    if next.is_none_or(|next| next > now_us()) {
        return Ok(0);
    }
    let mut demands = demand::unscored(pool, now_us(), AT_ONCE).await?;
    let found = demands.len();
    for decided in demands.extract_if(.., |demand| demand.state != State::Queued) {
        // It went on unscored: a score of today was no part of that decision, and what came
        // after it must not become a feature of its own outcome.
        demand::put_off_score(pool, &decided, None).await?;
    }
    let answers = join_all(demands.iter().map(|demand| ask(app, demand))).await;
    for (demand, answer) in demands.iter().zip(answers) {
        match answer {
            Scored::Scores(scores) => {
                attempts.remove(&demand.id);
                let verb = Verb::Score { demand: demand.id, scores };
                let act = Act { tenant: demand.tenant, verb, traceparent: None };
                match app.submit(Request::Act(act)).await {
                    Ok(_) => {}
                    Err(Error::WrongState(_)) => {
                        demand::put_off_score(pool, demand, None).await?;
                    }
                    Err(error) => return Err(error),
                }
            }
            Scored::NotYet if now_us() - demand.created_us > KNOWN_BY_US => {
                demand::put_off_score(pool, demand, None).await?;
            }
            Scored::Unknown => demand::put_off_score(pool, demand, None).await?,
            Scored::NotYet | Scored::Later => {
                if attempts.len() >= REMEMBERED {
                    attempts.clear();
                }
                let made = attempts.entry(demand.id).or_default();
                *made += 1;
                let due_us = now_us() + app.config.rescore_after_us(*made);
                demand::put_off_score(pool, demand, Some(due_us)).await?;
            }
        }
    }
    Ok(found)
}

async fn ask(app: &App, demand: &Demand) -> Scored {
    let call = Call::background(demand.tenant);
    score::score(&app.scoring, &call, &Use::of(demand, 0), app.config.scoring_timeout()).await
}
