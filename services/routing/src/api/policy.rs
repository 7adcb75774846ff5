//! Routing policies.

use ::store::resource::Stored;
use contracts::routing::v1::*;
use kernel::Violations;
use server::Call;

use super::page::Page;
use super::read;
use super::team::{change, meta_of, meta_of_saved};
use crate::Error;
use crate::app::App;
use crate::domain::Policy;
use crate::domain::policy::{Trigger, Weights};
use crate::message;

const LIST: &str = "rapport.routing.v1.RoutingService/ListPolicies";

pub(super) async fn upsert_policy(
    app: &App,
    call: &Call,
    request: UpsertPolicyRequest,
) -> Result<UpsertPolicyResponse, Error> {
    let Some(policy) = request.policy else {
        return Err(Violations::of("policy", "must be set").into());
    };
    let mut violations = Violations::new();
    let name = read::name(&mut violations, "policy.name", &policy.name);
    let body = body(&mut violations, policy);
    violations.add_below("policy", body.violations());
    violations.into_result(())?;
    let wanted = (request.etag.as_str(), request.validate_only);
    let change = change(call, wanted, &request.change_id)?;
    let saved = app.save_policy(call.tenant(), &name, &body, change).await?;
    let policy = message::policy(&name, &body, &meta_of_saved(&saved));
    Ok(UpsertPolicyResponse { policy: Some(policy) })
}

fn body(violations: &mut Violations, policy: RoutingPolicy) -> Policy {
    let trigger = |trigger: ThresholdTrigger| Trigger {
        scorer: trigger.scorer,
        threshold: trigger.threshold,
        demand_kind: trigger.demand_kind,
        // Out of range stays out of range.
        priority: i16::try_from(trigger.priority).unwrap_or(i16::MAX),
    };
    Policy {
        eligibility: policy.eligibility,
        weights: policy.weights.map(|weights| Weights {
            spare_capacity: weights.spare_capacity,
            skill_level: weights.skill_level,
            idle_time: weights.idle_time,
            same_agent: weights.same_agent,
        }),
        offer_timeout_us: read::duration(violations, "policy.offer_timeout", policy.offer_timeout),
        sla_us: read::duration(violations, "policy.sla", policy.sla),
        triggers: policy.triggers.into_iter().map(trigger).collect(),
        description: policy.description,
    }
}

fn show(stored: &Stored<Policy>) -> RoutingPolicy {
    message::policy(&stored.name, &stored.body, &meta_of(stored))
}

pub(super) async fn get_policy(
    app: &App,
    call: &Call,
    request: GetPolicyRequest,
) -> Result<GetPolicyResponse, Error> {
    let mut violations = Violations::new();
    let name = read::name(&mut violations, "name", &request.name);
    violations.into_result(())?;
    let stored = app.policy(call.tenant(), &name).await?;
    Ok(GetPolicyResponse { policy: Some(show(&stored)) })
}

pub(super) async fn list_policies(
    app: &App,
    call: &Call,
    request: ListPoliciesRequest,
) -> Result<ListPoliciesResponse, Error> {
    let wanted = (request.page_size, request.page_token.as_str());
    let page = Page::read(app, call.tenant(), LIST, &[], wanted)?;
    let found = app.resources.list::<Policy>(call.tenant(), &page.after(), page.size + 1).await?;
    let (policies, next_page_token) = page.cut(found, |policy| policy.name.clone().into_bytes())?;
    Ok(ListPoliciesResponse { policies: policies.iter().map(show).collect(), next_page_token })
}

pub(super) async fn delete_policy(
    app: &App,
    call: &Call,
    request: DeletePolicyRequest,
) -> Result<DeletePolicyResponse, Error> {
    let mut violations = Violations::new();
    let name = read::name(&mut violations, "name", &request.name);
    violations.into_result(())?;
    let change = change(call, (&request.etag, false), &request.change_id)?;
    app.delete_policy(call.tenant(), &name, change).await?;
    Ok(DeletePolicyResponse {})
}
