//! ExplainLink.

use contracts::identity::v1::link_step::Reason;
use contracts::identity::v1::{
    ExplainLinkRequest, ExplainLinkResponse, LinkStep, RefuseReason, RefusedLink,
};
use kernel::{Violations, id::NotAnId};
use server::Call;
use uuid::Uuid;

use super::parse;
use crate::Error;
use crate::app::{App, By};

pub(super) async fn link(
    app: &App,
    call: &Call,
    request: ExplainLinkRequest,
) -> Result<ExplainLinkResponse, Error> {
    let mut violations = Violations::new();
    let id = |text: &str| Uuid::try_parse(text).map_err(|_| NotAnId);
    let left = violations.check("left_id", id(&request.left_id));
    let right = violations.check("right_id", id(&request.right_id));
    let (Some(left), Some(right)) = (left, right) else { return Err(violations.into()) };
    let explanation = app.explain(call.tenant(), (left, right)).await?;
    let path = explanation.path.iter().map(|(from, to, by)| LinkStep {
        from_evidence_id: from.to_string(),
        to_evidence_id: to.to_string(),
        reason: Some(match by {
            By::Identifier(identifier) => Reason::Identifier(parse::identifier(identifier)),
            By::Decision(id) => Reason::DecisionId(id.to_string()),
        }),
    });
    let shared = explanation.shared.iter().map(|identifier| RefusedLink {
        identifier: Some(parse::identifier(identifier)),
        reason: RefuseReason::Shared.into(),
    });
    let separated = explanation.separated.iter().map(|by| RefusedLink {
        identifier: match by {
            By::Identifier(identifier) => Some(parse::identifier(identifier)),
            By::Decision(_) => None,
        },
        reason: RefuseReason::Split.into(),
    });
    Ok(ExplainLinkResponse {
        linked: explanation.linked,
        path: path.collect(),
        refused: shared.chain(separated).collect(),
        summary: explanation.summary,
    })
}
