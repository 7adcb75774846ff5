//! Models: UpsertModelPolicy, GetModelPolicy, DeleteModelPolicy, ListModels.

use ::store::resource::Origin;
use contracts::common::v1::ResourceMeta;
use contracts::scoring::v1::{
    DeleteModelPolicyRequest, DeleteModelPolicyResponse, GetModelPolicyRequest,
    GetModelPolicyResponse, LearningMode, ListModelsRequest, ListModelsResponse, Model,
    ModelPolicy, UpsertModelPolicyRequest, UpsertModelPolicyResponse,
};
use kernel::Violations;
use server::Call;

use super::parse;
use super::scorecard::absent;
use crate::app::{App, Draft};
use crate::domain::{Learning, ModelSpec};
use crate::error::Error;

const LIST: &str = "rapport.scoring.v1.ScoringService/ListModels";

pub(super) async fn upsert(
    app: &App,
    call: &Call,
    request: UpsertModelPolicyRequest,
) -> Result<UpsertModelPolicyResponse, Error> {
    let Some(policy) = request.policy else { return Err(parse::missing("policy")) };
    let mut violations = Violations::new();
    parse::name("policy.name", &policy.name, &mut violations);
    let given = (request.assumed_traits, request.validate_only);
    let assumed = parse::assumed(given, &mut violations);
    let learning = match policy.learning() {
        LearningMode::On => Learning::On,
        LearningMode::Frozen => Learning::Frozen,
        LearningMode::Unspecified => {
            violations.add("policy.learning", "must be set: on or frozen");
            Learning::Frozen
        }
    };
    let spec = ModelSpec {
        features: policy.features,
        learning,
        demand_kinds: policy.demand_kinds,
        thresholds: parse::thresholds(policy.thresholds),
        description: policy.description,
    };
    let draft = Draft {
        name: policy.name,
        spec,
        etag: parse::etag(request.etag),
        validate_only: request.validate_only,
        assumed,
        author: call.principal().subject.clone(),
        change_id: request.change_id,
    };
    let saved = app.save_model(call, &draft, violations).await?;
    let policy = proto(draft.name, draft.spec, parse::meta_of_saved(saved));
    Ok(UpsertModelPolicyResponse { policy: Some(policy) })
}

pub(super) async fn get(
    app: &App,
    call: &Call,
    request: GetModelPolicyRequest,
) -> Result<GetModelPolicyResponse, Error> {
    let stored = app.resources.get::<ModelSpec>(call.tenant(), &request.name).await;
    let stored = stored.map_err(|error| absent(error, "model policy"))?;
    let meta = parse::meta(&stored);
    Ok(GetModelPolicyResponse { policy: Some(proto(stored.name, stored.body, meta)) })
}

pub(super) async fn delete(
    app: &App,
    call: &Call,
    request: DeleteModelPolicyRequest,
) -> Result<DeleteModelPolicyResponse, Error> {
    let origin = Origin::new(&call.principal().subject, &request.change_id)?;
    let etag = parse::etag(request.etag);
    app.delete_model(call.tenant(), &request.name, etag.as_deref(), origin).await?;
    Ok(DeleteModelPolicyResponse {})
}

pub(super) async fn list(
    app: &App,
    call: &Call,
    request: ListModelsRequest,
) -> Result<ListModelsResponse, Error> {
    let tenant = call.tenant();
    let asked = (request.page_size, request.page_token.as_str());
    let page = parse::page(&app.tokens, tenant, LIST, asked)?;
    let listed = app.resources.list::<ModelSpec>(tenant, &page.after, page.size + 1);
    let mut stored = listed.await?;
    let more = parse::cut(&mut stored, page.size);
    let last = stored.last().filter(|_| more).map(|last| last.name.as_str());
    let next_page_token = parse::next_page(&app.tokens, tenant, LIST, last)?;
    let mut models = Vec::with_capacity(stored.len());
    for (stored, learned) in app.with_progress(tenant, stored).await? {
        let meta = parse::meta(&stored);
        models.push(Model {
            policy: Some(proto(stored.name, stored.body, meta)),
            labels_learned: learned.labels,
            positive_labels: learned.positives,
            labels_waiting: learned.waiting,
        });
    }
    Ok(ListModelsResponse { models, next_page_token })
}

pub(super) fn proto(name: String, spec: ModelSpec, meta: ResourceMeta) -> ModelPolicy {
    let learning = match spec.learning {
        Learning::On => LearningMode::On,
        Learning::Frozen => LearningMode::Frozen,
    };
    ModelPolicy {
        name,
        features: spec.features,
        learning: learning.into(),
        demand_kinds: spec.demand_kinds,
        thresholds: parse::thresholds_out(spec.thresholds),
        description: spec.description,
        meta: Some(meta),
    }
}
