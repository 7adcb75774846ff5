//! UpsertIdentityRules, GetIdentityRules.

use ::store::resource::{Change, Origin};
use contracts::common::v1::{Identifier, ResourceMeta};
use contracts::identity::v1::{
    GetIdentityRulesResponse, IdentityRules, NamespaceRule, UpsertIdentityRulesRequest,
    UpsertIdentityRulesResponse,
};
use jiff::Timestamp;
use kernel::Violations;
use linkage::rules::NamespaceDraft;
use server::Call;

use super::parse;
use crate::Error;
use crate::app::{App, RuleDraft, RulesMeta};

pub(super) async fn upsert(
    app: &App,
    call: &Call,
    request: UpsertIdentityRulesRequest,
) -> Result<UpsertIdentityRulesResponse, Error> {
    let Some(rules) = request.rules else {
        return Err(Violations::of("rules", "must be set").into());
    };
    let namespace = |one: NamespaceRule| NamespaceDraft {
        namespace: one.namespace,
        unique: one.unique,
        max_companions: one.max_companions,
        ignore_case: one.ignore_case,
    };
    let draft = RuleDraft {
        namespaces: rules.namespaces.into_iter().map(namespace).collect(),
        blocked: parse::set(rules.blocked),
        default_region: rules.default_region,
    };
    let change = Change {
        etag: (!request.etag.is_empty()).then_some(request.etag.as_str()),
        validate_only: request.validate_only,
        now: Timestamp::now(),
        origin: Origin::new(&call.principal().subject, &request.change_id)?,
    };
    let meta = app.rules().upsert(call.tenant(), &draft, change).await?;
    Ok(UpsertIdentityRulesResponse { rules: Some(message(draft, meta)) })
}

pub(super) async fn get(app: &App, call: &Call) -> Result<GetIdentityRulesResponse, Error> {
    let (draft, meta) = app.rules().read(call.tenant()).await?;
    Ok(GetIdentityRulesResponse { rules: Some(message(draft, meta)) })
}

pub(super) fn message(draft: RuleDraft, meta: RulesMeta) -> IdentityRules {
    let namespace = |one: NamespaceDraft| NamespaceRule {
        namespace: one.namespace,
        unique: one.unique,
        max_companions: one.max_companions,
        ignore_case: one.ignore_case,
    };
    let blocked = |(namespace, value)| Identifier { namespace, value };
    IdentityRules {
        namespaces: draft.namespaces.into_iter().map(namespace).collect(),
        blocked: draft.blocked.into_iter().map(blocked).collect(),
        default_region: draft.default_region,
        meta: Some(ResourceMeta {
            version: meta.version,
            etag: meta.etag,
            update_time: meta.update_time.map(parse::time),
        }),
    }
}
