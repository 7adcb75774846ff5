//! Scorecards: Upsert, Get, List, Delete.

use ::store::resource::Origin;
use contracts::common::v1::ResourceMeta;
use contracts::scoring::v1::{
    DeleteScorecardRequest, DeleteScorecardResponse, GetScorecardRequest, GetScorecardResponse,
    ListScorecardsRequest, ListScorecardsResponse, ScoreGroup, ScoreRule, Scorecard,
    UpsertScorecardRequest, UpsertScorecardResponse,
};
use kernel::Violations;
use prost_types::Duration;
use server::Call;

use super::parse;
use crate::app::{App, Draft};
use crate::domain::{GroupSpec, RuleSpec, ScorecardSpec};
use crate::error::Error;

const LIST: &str = "rapport.scoring.v1.ScoringService/ListScorecards";

pub(super) async fn upsert(
    app: &App,
    call: &Call,
    request: UpsertScorecardRequest,
) -> Result<UpsertScorecardResponse, Error> {
    let Some(card) = request.scorecard else { return Err(parse::missing("scorecard")) };
    let mut violations = Violations::new();
    parse::name("scorecard.name", &card.name, &mut violations);
    let given = (request.assumed_traits, request.validate_only);
    let assumed = parse::assumed(given, &mut violations);
    let spec = ScorecardSpec {
        base_points: card.base_points,
        rules: card.rules.into_iter().map(rule).collect(),
        groups: card.groups.into_iter().map(group).collect(),
        thresholds: parse::thresholds(card.thresholds),
        description: card.description,
    };
    let draft = Draft {
        name: card.name,
        spec,
        etag: parse::etag(request.etag),
        validate_only: request.validate_only,
        assumed,
        author: call.principal().subject.clone(),
        change_id: request.change_id,
    };
    let saved = app.save_scorecard(call, &draft, violations).await?;
    let card = proto(draft.name, draft.spec, parse::meta_of_saved(saved));
    Ok(UpsertScorecardResponse { scorecard: Some(card) })
}

pub(super) async fn get(
    app: &App,
    call: &Call,
    request: GetScorecardRequest,
) -> Result<GetScorecardResponse, Error> {
    let stored = app.resources.get::<ScorecardSpec>(call.tenant(), &request.name).await;
    let stored = stored.map_err(|error| absent(error, "scorecard"))?;
    let meta = parse::meta(&stored);
    Ok(GetScorecardResponse { scorecard: Some(proto(stored.name, stored.body, meta)) })
}

/// An absent resource has a name for people.
pub(super) fn absent(error: ::store::Error, what: &'static str) -> Error {
    match error {
        ::store::Error::NotFound => Error::NotFound(what),
        other => other.into(),
    }
}

pub(super) async fn list(
    app: &App,
    call: &Call,
    request: ListScorecardsRequest,
) -> Result<ListScorecardsResponse, Error> {
    let tenant = call.tenant();
    let asked = (request.page_size, request.page_token.as_str());
    let page = parse::page(&app.tokens, tenant, LIST, asked)?;
    let listed = app.resources.list::<ScorecardSpec>(tenant, &page.after, page.size + 1);
    let mut stored = listed.await?;
    let more = parse::cut(&mut stored, page.size);
    let last = stored.last().filter(|_| more).map(|last| last.name.as_str());
    let next_page_token = parse::next_page(&app.tokens, tenant, LIST, last)?;
    let cards = stored.into_iter().map(|stored| {
        let meta = parse::meta(&stored);
        proto(stored.name, stored.body, meta)
    });
    Ok(ListScorecardsResponse { scorecards: cards.collect(), next_page_token })
}

pub(super) async fn delete(
    app: &App,
    call: &Call,
    request: DeleteScorecardRequest,
) -> Result<DeleteScorecardResponse, Error> {
    let origin = Origin::new(&call.principal().subject, &request.change_id)?;
    let etag = parse::etag(request.etag);
    app.delete_scorecard(call.tenant(), &request.name, etag.as_deref(), origin).await?;
    Ok(DeleteScorecardResponse {})
}

fn rule(rule: ScoreRule) -> RuleSpec {
    let micros = |half_life: Duration| {
        half_life
            .seconds
            .saturating_mul(1_000_000)
            .saturating_add(i64::from(half_life.nanos / 1_000))
    };
    RuleSpec {
        name: rule.name,
        when: rule.when,
        points: rule.points,
        group: rule.group,
        half_life_us: rule.half_life.map(micros),
        decay_since: rule.decay_since,
    }
}

fn group(group: ScoreGroup) -> GroupSpec {
    GroupSpec { name: group.name, max_points: group.max_points, min_points: group.min_points }
}

pub(super) fn proto(name: String, spec: ScorecardSpec, meta: ResourceMeta) -> Scorecard {
    let duration =
        |us: i64| Duration { seconds: us / 1_000_000, nanos: (us % 1_000_000) as i32 * 1_000 };
    let rule = |rule: RuleSpec| ScoreRule {
        name: rule.name,
        when: rule.when,
        points: rule.points,
        group: rule.group,
        half_life: rule.half_life_us.map(duration),
        decay_since: rule.decay_since,
    };
    let group = |group: GroupSpec| ScoreGroup {
        name: group.name,
        max_points: group.max_points,
        min_points: group.min_points,
    };
    Scorecard {
        name,
        base_points: spec.base_points,
        rules: spec.rules.into_iter().map(rule).collect(),
        groups: spec.groups.into_iter().map(group).collect(),
        thresholds: parse::thresholds_out(spec.thresholds),
        description: spec.description,
        meta: Some(meta),
    }
}
