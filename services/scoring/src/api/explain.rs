//! ExplainScore.

use contracts::common::v1::{TraitValue, trait_value};
use contracts::scoring::v1::explain_score_request::Subject;
use contracts::scoring::v1::{ExplainScoreRequest, ExplainScoreResponse, Feature};
use kernel::{UseId, Violations};
use server::Call;

use super::{parse, score};
use crate::app::App;
use crate::domain::Logged;
use crate::error::Error;

pub(super) async fn explain_score(
    app: &App,
    call: &Call,
    request: ExplainScoreRequest,
) -> Result<ExplainScoreResponse, Error> {
    let mut violations = Violations::new();
    parse::name("scorer", &request.scorer, &mut violations);
    let as_of_us = parse::time("as_of_time", request.as_of_time, &mut violations);
    let (tenant, scorer) = (call.tenant(), request.scorer.as_str());
    let explained = match &request.subject {
        None => {
            violations.add("customer_id", "must be set, or use_id");
            return Err(violations.into());
        }
        Some(Subject::CustomerId(text)) => {
            let customer = parse::customer("customer_id", text, &mut violations);
            let Some(customer) = customer.filter(|_| violations.is_empty()) else {
                return Err(violations.into());
            };
            app.explain(tenant, customer, scorer, as_of_us).await?
        }
        Some(Subject::UseId(text)) => {
            let id: Option<UseId> = violations.check("use_id", text.parse());
            if as_of_us.is_some() {
                violations.add("as_of_time", "must not be set with use_id: the use has its time");
            }
            let Some(id) = id.filter(|_| violations.is_empty()) else {
                return Err(violations.into());
            };
            app.explain_use(tenant, id, scorer).await?
        }
    };
    let scored = explained.answered.scores.first().ok_or(Error::NotFound("scorer"))?;
    Ok(ExplainScoreResponse {
        score: Some(score::score(&explained.answered, scored)),
        contributions: scored.contributions.iter().map(score::contribution).collect(),
        total: scored.total,
        features: explained.features.iter().map(feature).collect(),
    })
}

fn feature((name, value): &(String, Logged)) -> Feature {
    use trait_value::Kind;
    let kind = match value {
        Logged::Int(number) => Kind::NumberValue(*number as f64),
        Logged::Number(number) => Kind::NumberValue(*number),
        Logged::Bool(value) => Kind::BoolValue(*value),
        Logged::Text(text) => Kind::StringValue(text.clone()),
        Logged::Time(us) => Kind::TimeValue(parse::timestamp(*us)),
    };
    Feature { name: name.clone(), value: Some(TraitValue { kind: Some(kind) }) }
}
