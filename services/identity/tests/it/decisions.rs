//! Merging, splitting, and why.

use contracts::identity::v1::link_step::Reason;
use contracts::identity::v1::{ExplainLinkRequest, ExplainLinkResponse, RefuseReason};
use tonic::Code;
use uuid::Uuid;

use crate::world::{Client, World, fields};

async fn explain(client: &mut Client, left: &str, right: &str) -> ExplainLinkResponse {
    let request = ExplainLinkRequest { left_id: left.to_owned(), right_id: right.to_owned() };
    client.0.explain_link(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_explained_step_by_step_and_a_refusal_too() {
    let world = World::new().await;
    let mut client = world.tenant();
    let web = client.resolve(&[("anonymous_id", "c1"), ("email", "li@example.cn")]).await;
    let shop = client.resolve(&[("email", "li@example.cn"), ("phone", "13800138000")]).await;
    let call = client.resolve(&[("phone", "13800138000"), ("member_no", "M1")]).await;
    let told = explain(&mut client, &web.evidence_id, &call.evidence_id).await;
    assert!(told.linked && told.refused.is_empty());
    let steps: Vec<(&str, &str, String)> = told
        .path
        .iter()
        .map(|step| {
            let Some(Reason::Identifier(by)) = &step.reason else { unreachable!("no identifier") };
            let by = format!("{}={}", by.namespace, by.value);
            (step.from_evidence_id.as_str(), step.to_evidence_id.as_str(), by)
        })
        .collect();
    let expected = [
        (web.evidence_id.as_str(), shop.evidence_id.as_str(), "email=li@example.cn".to_owned()),
        (&shop.evidence_id, &call.evidence_id, "phone=+8613800138000".to_owned()),
    ];
    assert_eq!(steps, expected);
    assert_eq!(
        told.summary,
        "One customer, joined in 2 steps: a common email, then a common phone."
    );

    let hotline = ("phone", "4008001234");
    let mut callers = Vec::new();
    for user in ["u1", "u2", "u3"] {
        callers.push(client.resolve(&[("user_id", user), hotline]).await);
    }
    let (first, last) = (&callers[0].customer_id, &callers[2].customer_id);
    let told = explain(&mut client, first, last).await;
    assert!(!told.linked && told.path.is_empty());
    assert_eq!(told.refused.len(), 1);
    assert_eq!(told.refused[0].reason(), RefuseReason::Shared);
    assert_eq!(told.refused[0].identifier.as_ref().unwrap().namespace, "phone");
    let told = explain(&mut client, first, &web.evidence_id).await;
    assert_eq!(told.summary, "Two customers: nothing that identifies a person joins them.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_is_explained_by_its_decision_and_undone_by_a_split() {
    let world = World::new().await;
    let mut client = world.tenant();
    let old = client.resolve(&[("email", "li@example.cn")]).await;
    let young = client.resolve(&[("phone", "13800138000")]).await;
    let merged = client.merge(&young.customer_id, &old.customer_id).await.unwrap();
    assert_eq!(merged.customer_id, old.customer_id, "the older survives, whoever is named first");
    let told = explain(&mut client, &old.customer_id, &young.customer_id).await;
    assert_eq!(told.path.len(), 1);
    assert_eq!(told.path[0].reason, Some(Reason::DecisionId(merged.decision_id)));

    let split = client.split(&young.customer_id, &[&young.evidence_id]).await.unwrap();
    assert_eq!(split.customer_id, old.customer_id);
    assert_eq!(split.split_customer_id, young.customer_id, "it is itself again");
    let both = [("email", "li@example.cn"), ("phone", "13800138000")];
    client.resolve(&both).await;
    let told = explain(&mut client, &old.customer_id, &young.customer_id).await;
    assert!(!told.linked, "a split holds against values that come later");
    assert!(told.refused.iter().all(|refused| refused.reason() == RefuseReason::Split));
    assert!(told.refused.iter().any(|refused| refused.identifier.is_none()));

    let merged = client.merge(&old.customer_id, &young.customer_id).await.unwrap();
    assert_eq!(merged.customer_id, old.customer_id, "a later merge takes the split back");
    assert_eq!(client.customer(&young.customer_id).await.unwrap().evidence_count, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_split_off_is_one_customer_even_if_only_the_rest_held_it_together() {
    let world = World::new().await;
    let mut client = world.tenant();
    let hub = client.resolve(&[("email", "li@example.cn"), ("phone", "13800138000")]).await;
    let left = client.resolve(&[("email", "li@example.cn"), ("anonymous_id", "c1")]).await;
    let right = client.resolve(&[("phone", "13800138000"), ("anonymous_id", "c2")]).await;
    assert_eq!((&left.customer_id, &right.customer_id), (&hub.customer_id, &hub.customer_id));
    let moved = [left.evidence_id.as_str(), right.evidence_id.as_str()];
    let split = client.split(&hub.customer_id, &moved).await.unwrap();
    assert_eq!(split.customer_id, hub.customer_id);
    let own = client.customer(&split.split_customer_id).await.unwrap();
    assert_eq!((own.customer_id, own.evidence_count), (split.split_customer_id, 2));
    assert_eq!(client.customer(&hub.customer_id).await.unwrap().evidence_count, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_decisions_are_refused_with_every_fault() {
    let world = World::new().await;
    let mut client = world.tenant();
    let one = client.resolve(&[("email", "li@example.cn")]).await;
    let other = client.resolve(&[("phone", "13800138000")]).await;
    let refused = client.merge("x", "y").await.unwrap_err();
    assert_eq!(fields(&refused), ["customer_id", "other_customer_id"]);
    let refused = client.merge(&one.customer_id, &one.customer_id).await.unwrap_err();
    assert_eq!(fields(&refused), ["other_customer_id"]);
    let foreign = [other.evidence_id.as_str(), "x"];
    let refused = client.split(&one.customer_id, &foreign).await.unwrap_err();
    assert_eq!(fields(&refused), ["evidence_ids[1]"]);
    let refused = client.split(&one.customer_id, &foreign[..1]).await.unwrap_err();
    assert_eq!(fields(&refused), ["evidence_ids[0]"], "not the customer's");
    let refused = client.split(&one.customer_id, &[&one.evidence_id]).await.unwrap_err();
    assert_eq!(
        (refused.code(), fields(&refused)),
        (Code::InvalidArgument, vec!["evidence_ids".into()])
    );
    let refused = client.split(&one.customer_id, &[]).await.unwrap_err();
    assert_eq!(fields(&refused), ["evidence_ids"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_id_has_one_effect_and_the_first_answer() {
    let world = World::new().await;
    let mut client = world.tenant();
    let one = client.resolve(&[("email", "li@example.cn")]).await;
    let other = client.resolve(&[("phone", "13800138000")]).await;
    let request_id = Uuid::new_v4().to_string();
    let (left, right) = (one.customer_id.as_str(), other.customer_id.as_str());
    let (mut here, mut there) = (client.clone(), client.clone());
    let (first, second) = tokio::join!(
        here.merge_as(left, right, &request_id),
        there.merge_as(left, right, &request_id)
    );
    let first = first.unwrap();
    assert_eq!(first, second.unwrap());
    assert_eq!(client.merge_as(left, right, &request_id).await.unwrap(), first);
    let map = client.map(&[vec![("phone", "13800138000")]]).await;
    assert_eq!(map[&other.evidence_id].1, 2, "moved once");
    let reused = client.merge_as(right, left, &request_id).await.unwrap_err();
    assert_eq!(fields(&reused), ["request_id"]);

    let evidence = [other.evidence_id.as_str()];
    let split = client.split_as(left, &evidence, &request_id).await.unwrap();
    let again = client.split_as(left, &evidence, &request_id).await.unwrap();
    assert_eq!(split, again, "another method has its own request ids; a repeat is answered alike");
}
