//! Asking scoring for the scores of a demand, logged as used under the demand's id.

use std::time::Duration;

use contracts::scoring::v1::scoring_service_client::ScoringServiceClient;
use contracts::scoring::v1::{Score as Answer, ScoreCustomerRequest};
use kernel::{CustomerId, DemandId};
use server::{Call, Peer};
use tonic::Code;

use crate::domain::{Demand, Score};
use crate::message;

/// The most scores that a demand keeps: its feed entry is bounded.
const MAX_SCORES: usize = 64;
/// Left of the caller's time to commit what was scored.
const MARGIN: Duration = Duration::from_millis(500);

/// Which scores are wanted, for what.
#[derive(Debug, Clone)]
pub(crate) struct Use {
    customer: CustomerId,
    demand: DemandId,
    as_of_us: i64,
    at_least_profile_version: i64,
}

impl Use {
    pub(crate) fn of(demand: &Demand, at_least_profile_version: i64) -> Self {
        Self {
            customer: demand.customer,
            demand: demand.id,
            as_of_us: demand.event_us,
            at_least_profile_version,
        }
    }
}

/// What scoring said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scored {
    /// These; none where nothing scores.
    Scores(Vec<Score>),
    /// It does not know the customer: perhaps not yet.
    NotYet,
    /// Asking again will not help.
    Unknown,
    /// Nothing in time: to be asked again.
    Later,
}

/// Asks once. Never fails: a demand is created without scores rather than lost.
pub(crate) async fn score(peer: &Peer, call: &Call, usage: &Use, at_most: Duration) -> Scored {
    let left = call.remaining().map_or(at_most, |left| left.saturating_sub(MARGIN).min(at_most));
    let request = ScoreCustomerRequest {
        customer_id: usage.customer.to_string(),
        scorers: Vec::new(),
        as_of_time: Some(message::timestamp(usage.as_of_us)),
        at_least_profile_version: usage.at_least_profile_version,
        use_id: usage.demand.to_string(),
    };
    // A repeat with the same use id returns the first answer.
    let peer = peer.during(&call.clone().within(left)).idempotent();
    match ScoringServiceClient::new(peer).score_customer(request).await {
        Ok(answer) => Scored::Scores(used(answer.into_inner().scores)),
        Err(status) => {
            let demand = usage.demand;
            tracing::info!(%demand, code = ?status.code(), "demand is not scored");
            match status.code() {
                Code::NotFound => Scored::NotYet,
                Code::InvalidArgument | Code::PermissionDenied => Scored::Unknown,
                _ => Scored::Later,
            }
        }
    }
}

fn used(answers: Vec<Answer>) -> Vec<Score> {
    let used = |answer: Answer| Score {
        scorer: answer.scorer,
        version: answer.scorer_version,
        value: answer.value,
        probability: answer.probability.filter(|probability| probability.is_finite()),
    };
    answers.into_iter().map(used).filter(|score| score.value.is_finite()).take(MAX_SCORES).collect()
}
