//! ScoreCustomer, BatchScore, GetScores.

use contracts::scoring::v1::{
    BatchScoreRequest, BatchScoreResponse, Contribution, GetScoresRequest, GetScoresResponse,
    ListScoresRequest, ListScoresResponse, Score, ScoreCustomerRequest, ScoreCustomerResponse,
    ScorerKind,
};
use kernel::Violations;
use prost::Message as _;
use server::Call;

use super::parse;
use crate::app::{Answered, App, Ask};
use crate::domain::{self, Kind, Scored, Standing};
use crate::error::Error;
use crate::store::{self, Subject};

const MAX_BATCH: usize = 100;
const MAX_NAMED_SCORERS: usize = 100;

pub(super) async fn score_customer(
    app: &App,
    call: &Call,
    request: ScoreCustomerRequest,
) -> Result<ScoreCustomerResponse, Error> {
    let mut violations = Violations::new();
    let customer = parse::customer("customer_id", &request.customer_id, &mut violations);
    let as_of_us = parse::time("as_of_time", request.as_of_time, &mut violations);
    check_scorers(&request.scorers, &mut violations);
    if request.at_least_profile_version < 0 {
        violations.add("at_least_profile_version", "must not be negative");
    }
    let use_id = match request.use_id.as_str() {
        "" => None,
        text => violations.check("use_id", text.parse()),
    };
    let Some(customer) = customer.filter(|_| violations.is_empty()) else {
        return Err(violations.into());
    };
    let ask = Ask {
        customer,
        scorers: request.scorers,
        as_of_us,
        at_least_profile_version: request.at_least_profile_version,
        use_id,
    };
    let wait = call.remaining().unwrap_or_else(|| app.config.max_wait());
    let answered = app.score(call.tenant(), ask, wait).await?;
    Ok(ScoreCustomerResponse { scores: scores(&answered) })
}

pub(super) async fn batch_score(
    app: &App,
    call: &Call,
    request: BatchScoreRequest,
) -> Result<BatchScoreResponse, Error> {
    let mut violations = Violations::new();
    if request.customer_ids.is_empty() || request.customer_ids.len() > MAX_BATCH {
        violations.add("customer_ids", format!("must have 1 to {MAX_BATCH} items"));
    }
    let mut customers = Vec::with_capacity(request.customer_ids.len());
    for (position, id) in request.customer_ids.iter().take(MAX_BATCH).enumerate() {
        customers.extend(parse::customer(
            &format!("customer_ids[{position}]"),
            id,
            &mut violations,
        ));
    }
    let as_of_us = parse::time("as_of_time", request.as_of_time, &mut violations);
    check_scorers(&request.scorers, &mut violations);
    violations.into_result(())?;
    let answers = app.score_many(call.tenant(), &customers, &request.scorers, as_of_us).await?;
    Ok(BatchScoreResponse { scores: answers.iter().flat_map(scores).collect() })
}

pub(super) async fn get_scores(
    app: &App,
    call: &Call,
    request: GetScoresRequest,
) -> Result<GetScoresResponse, Error> {
    let mut violations = Violations::new();
    let customer = parse::customer("customer_id", &request.customer_id, &mut violations);
    let Some(customer) = customer else { return Err(violations.into()) };
    let subject = app.stored(call.tenant(), customer).await?;
    Ok(GetScoresResponse { scores: stored(&subject).collect() })
}

/// The scores as they are kept.
fn stored(subject: &Subject) -> impl Iterator<Item = Score> {
    subject.scores.iter().map(|standing: &Standing| Score {
        customer_id: subject.key.customer.to_string(),
        scorer: standing.scorer.clone(),
        kind: kind(standing.kind).into(),
        value: standing.value,
        probability: standing.probability,
        grade: standing.grade().to_owned(),
        scorer_version: standing.version,
        as_of_time: Some(parse::timestamp(subject.scored_us)),
        profile_version: subject.profile_version,
        top_reasons: standing.reasons.iter().map(contribution).collect(),
    })
}

const LIST: &str = "rapport.scoring.v1.ScoringService/ListScores";
/// Customers that one look at the database reads.
const MOST: usize = 200;
/// An answer that is at least so long is the whole page: clients take 4 MiB.
const LONG_BYTES: usize = 2 << 20;

pub(super) async fn list(
    app: &App,
    call: &Call,
    request: ListScoresRequest,
) -> Result<ListScoresResponse, Error> {
    let tenant = call.tenant();
    let asked = (request.page_size, request.page_token.as_str());
    let page = parse::page(&app.tokens, tenant, LIST, asked)?;
    let size = page.size.min(MOST);
    let after = page.after.parse().unwrap_or_default();
    let mut subjects = store::scored_after(app.database.pool(), tenant, after, size + 1).await?;
    let mut more = parse::cut(&mut subjects, size);
    let (mut scores, mut bytes, mut last) = (Vec::new(), 0, None);
    for (position, subject) in subjects.iter().enumerate() {
        last = Some(subject.key.customer.to_string());
        for score in stored(subject) {
            bytes += score.encoded_len();
            scores.push(score);
        }
        if bytes >= LONG_BYTES && position + 1 < subjects.len() {
            more = true;
            break;
        }
    }
    let last = last.as_deref().filter(|_| more);
    let next_page_token = parse::next_page(&app.tokens, tenant, LIST, last)?;
    Ok(ListScoresResponse { scores, next_page_token })
}

fn check_scorers(scorers: &[String], violations: &mut Violations) {
    if scorers.len() > MAX_NAMED_SCORERS {
        violations.add("scorers", format!("must have at most {MAX_NAMED_SCORERS} items"));
    }
}

pub(super) const fn kind(kind: Kind) -> ScorerKind {
    match kind {
        Kind::Scorecard => ScorerKind::Scorecard,
        Kind::Model => ScorerKind::Model,
    }
}

pub(super) fn contribution(contribution: &domain::Contribution) -> Contribution {
    Contribution {
        name: contribution.name.clone(),
        amount: contribution.amount,
        description: contribution.description.clone(),
    }
}

fn scores(answered: &Answered) -> Vec<Score> {
    answered.scores.iter().map(|scored| score(answered, scored)).collect()
}

pub(super) fn score(answered: &Answered, scored: &Scored) -> Score {
    Score {
        customer_id: answered.customer.to_string(),
        scorer: scored.scorer.clone(),
        kind: kind(scored.kind).into(),
        value: scored.value,
        probability: scored.probability,
        grade: scored.grade().to_owned(),
        scorer_version: scored.version,
        as_of_time: Some(parse::timestamp(answered.as_of_us)),
        profile_version: answered.profile_version,
        top_reasons: scored.top_reasons().iter().map(contribution).collect(),
    }
}
